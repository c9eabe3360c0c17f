//! What a backend's API is on the wire: its paths, and whether its bodies are translated.

use std::borrow::Cow;

use super::azure::{self, ApiVersion};
use super::{Dialects, PathError};
use crate::operation::{Kind, Operation};

/// The API of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    /// OpenAI's bodies below Azure's paths.
    Azure(ApiVersion),
    /// OpenAI's bodies below the base path and the operation's suffix.
    OpenAi {
        /// The full path for chat completions, with its query, where it is irregular.
        chat_path: Option<String>,
    },
    /// Bodies are translated into one of these dialects, which makes the paths as well.
    Translated(Dialects),
}

impl Wire {
    /// What its models speak; `None`: OpenAI's dialect.
    pub fn dialects(&self) -> Option<Dialects> {
        match self {
            Self::Azure(_) | Self::OpenAi { .. } => None,
            Self::Translated(dialects) => Some(*dialects),
        }
    }

    /// Whether bodies are translated.
    pub fn is_translated(&self) -> bool {
        self.dialects().is_some()
    }

    /// The path of an operation, with its query. `base` is the endpoint's own path.
    ///
    /// # Errors
    ///
    /// When the model is part of it and is not known, or does not fit there.
    pub fn path(
        &self,
        base: &str,
        operation: &Operation<'_>,
        model: Option<&str>,
    ) -> Result<String, PathError> {
        match self {
            Self::Azure(version) => Ok([base, &version.path(operation, model)?].concat()),
            Self::OpenAi {
                chat_path: Some(path),
            } if operation.is_chat_completions() => Ok(path.clone()),
            Self::OpenAi { .. } => Ok([base, operation.suffix()].concat()),
            Self::Translated(..) => match operation.kind() {
                // What the provider speaks itself.
                Kind::CountTokens | Kind::Messages => Ok([base, operation.suffix()].concat()),
                // The dialect makes the path; what is not translated is not sent.
                _ => Err(PathError::NeedsModel),
            },
        }
    }

    /// The path of a request that was translated for this model, with its query. `base` is the endpoint's
    /// own path, `suffix` what the dialect has below it.
    ///
    /// # Errors
    ///
    /// As those of [`path`](Self::path).
    pub fn translated(&self, base: &str, suffix: &str, model: &str) -> Result<String, PathError> {
        if self.is_translated() {
            return Ok([base, suffix].concat());
        }
        let operation = Operation::of(suffix, None).map_err(|_| PathError::NotASegment)?;
        self.path(base, &operation, Some(model))
    }

    /// A query whose names are never the client's, wherever they stand in a path.
    ///
    /// Azure's `v1` API takes a version there, too, which chooses what the call does.
    pub fn reserved_query(&self) -> &'static str {
        match self {
            Self::Azure(_) => "api-version",
            Self::OpenAi { .. } | Self::Translated(..) => "",
        }
    }

    /// What every path of the provider starts with, where the rest is the operation's suffix alone.
    /// `base` is the endpoint's own path.
    pub fn fixed_base<'b>(&self, base: &'b str) -> Option<Cow<'b, str>> {
        match self {
            Self::Azure(ApiVersion::V1 | ApiVersion::Preview) => {
                Some(Cow::Owned([base, azure::V1].concat()))
            }
            Self::OpenAi { chat_path: None } => Some(Cow::Borrowed(base)),
            Self::Azure(ApiVersion::Dated(_))
            | Self::OpenAi { chat_path: Some(_) }
            | Self::Translated(..) => None,
        }
    }

    /// Whether the model can be part of a path.
    pub fn has_model_in_path(&self) -> bool {
        matches!(self, Self::Azure(ApiVersion::Dated(_)))
    }

    /// Whether the body of an operation keeps what the client calls the model.
    ///
    /// Azure's images take the name of a model there, and refuse that of a deployment, which the path
    /// has: <https://github.com/langgenius/dify-official-plugins/pull/2946>,
    /// <https://github.com/BerriAI/litellm/issues/20741>.
    pub fn keeps_model(&self, operation: &Operation<'_>) -> bool {
        self.has_model_in_path() && operation.kind() == Kind::Images
    }
}
