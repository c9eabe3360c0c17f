//! Azure OpenAI: OpenAI's bodies under Azure's paths.
//!
//! Sources, read 2026-11-21: <https://learn.microsoft.com/azure/ai-foundry/openai/reference> (dated
//! versions) and <https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle> (`v1`).

use std::fmt;

use super::PathError;
use crate::operation::{Kind, Operation};
use crate::percent;

/// A backend's `apiVersion`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiVersion {
    /// `2024-10-21` and the like: the deployment is part of the path, the version of the query.
    Dated(String),
    /// `preview`: as `V1`, with the word in the query.
    Preview,
    /// `v1`, or none: OpenAI's paths; the model names the deployment.
    V1,
}

impl ApiVersion {
    /// Reads `YYYY-MM-DD`, `YYYY-MM-DD-preview`, `v1` or `preview`.
    ///
    /// # Errors
    ///
    /// When the text is none of them.
    pub fn parse(text: &str) -> Result<Self, InvalidApiVersion> {
        match text {
            "v1" => return Ok(Self::V1),
            "preview" => return Ok(Self::Preview),
            _ => {}
        }
        let date = text.strip_suffix("-preview").unwrap_or(text);
        let fits = |(byte, form): (u8, u8)| match form {
            b'0' => byte.is_ascii_digit(),
            _ => byte == form,
        };
        let form = b"0000-00-00";
        if date.len() != form.len() || !date.bytes().zip(*form).all(fits) {
            return Err(InvalidApiVersion(text.to_owned()));
        }
        Ok(Self::Dated(text.to_owned()))
    }

    /// The path of an operation below the resource's endpoint, with its query.
    ///
    /// # Errors
    ///
    /// When the deployment belongs into the path and is not known, or does not fit there.
    pub fn path(
        &self,
        operation: &Operation<'_>,
        deployment: Option<&str>,
    ) -> Result<String, PathError> {
        let suffix = operation.suffix();
        match self {
            Self::V1 => Ok(format!("{V1}{suffix}")),
            Self::Preview => Ok(format!("{V1}{suffix}?api-version=preview")),
            Self::Dated(version) if is_about_a_deployment(operation) => {
                let deployment = deployment.ok_or(PathError::NeedsModel)?;
                let deployment = percent::encode_segment(deployment, b":@");
                let deployment = deployment.ok_or(PathError::NotASegment)?;
                Ok(format!(
                    "/openai/deployments/{deployment}{suffix}?api-version={version}"
                ))
            }
            Self::Dated(version) => Ok(format!("/openai{suffix}?api-version={version}")),
        }
    }
}

/// An endpoint's path without what every path here starts with: people copy it with or without.
pub fn resource_path(path: &str) -> &str {
    let path = path.strip_suffix("/v1").unwrap_or(path);
    path.strip_suffix("/openai").unwrap_or(path)
}

/// Responses, files, batches, models belong to the resource, the rest to a deployment.
fn is_about_a_deployment(operation: &Operation<'_>) -> bool {
    match operation.kind() {
        Kind::Audio
        | Kind::ChatCompletions
        | Kind::Completions
        | Kind::Embeddings
        | Kind::Images
        | Kind::Speech => true,
        Kind::Other => operation.suffix().starts_with("/audio/"),
        Kind::CountTokens
        | Kind::InputTokens
        | Kind::Messages
        | Kind::Models
        | Kind::Moderations
        | Kind::Rerank
        | Kind::Responses
        | Kind::StoredResponses => false,
    }
}

/// The base of what is not dated.
pub const V1: &str = "/openai/v1";

/// A text that is no version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidApiVersion(String);

impl fmt::Display for InvalidApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not v1, preview, or a date such as 2024-10-21 or 2024-08-01-preview",
            self.0
        )
    }
}

impl std::error::Error for InvalidApiVersion {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_dates_or_words() {
        for text in ["2024-10-21", "2024-08-01-preview"] {
            assert_eq!(
                ApiVersion::parse(text),
                Ok(ApiVersion::Dated(text.to_owned()))
            );
        }
        assert_eq!(ApiVersion::parse("v1"), Ok(ApiVersion::V1));
        assert_eq!(ApiVersion::parse("preview"), Ok(ApiVersion::Preview));
        for text in [
            "",
            "v2",
            "2024",
            "2024-10-21-beta",
            "2024/10/21",
            "2024-10-2&x=y",
        ] {
            assert!(ApiVersion::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_version_decides_where_the_deployment_stands() {
        let dated = ApiVersion::parse("2024-10-21").unwrap();
        for (version, asked, expected) in [
            (
                &dated,
                "/v1/chat/completions",
                "/openai/deployments/d-1/chat/completions?api-version=2024-10-21",
            ),
            (
                &dated,
                "/v1/embeddings",
                "/openai/deployments/d-1/embeddings?api-version=2024-10-21",
            ),
            (
                &dated,
                "/v1/images/generations",
                "/openai/deployments/d-1/images/generations?api-version=2024-10-21",
            ),
            (
                &dated,
                "/v1/audio/transcriptions",
                "/openai/deployments/d-1/audio/transcriptions?api-version=2024-10-21",
            ),
            (
                &dated,
                "/v1/responses",
                "/openai/responses?api-version=2024-10-21",
            ),
            (
                &dated,
                "/v1/models",
                "/openai/models?api-version=2024-10-21",
            ),
            (
                &dated,
                "/v1/files/f1",
                "/openai/files/f1?api-version=2024-10-21",
            ),
            (
                &ApiVersion::V1,
                "/v1/chat/completions",
                "/openai/v1/chat/completions",
            ),
            (
                &ApiVersion::Preview,
                "/v1/responses",
                "/openai/v1/responses?api-version=preview",
            ),
        ] {
            let operation = Operation::of(asked, None).unwrap();
            assert_eq!(
                version.path(&operation, Some("d-1")).as_deref(),
                Ok(expected)
            );
        }
        let chat = Operation::of("/v1/chat/completions", None).unwrap();
        assert_eq!(dated.path(&chat, None), Err(PathError::NeedsModel));
        assert_eq!(dated.path(&chat, Some("a/b")), Err(PathError::NotASegment));
    }

    #[test]
    fn an_endpoint_may_be_copied_with_its_path() {
        for path in ["", "/openai", "/openai/v1"] {
            assert_eq!(resource_path(path), "", "{path}");
        }
        assert_eq!(resource_path("/proxy/openai"), "/proxy");
    }
}
