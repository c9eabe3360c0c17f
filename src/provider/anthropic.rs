//! Anthropic's Messages API, at Anthropic and on Vertex AI.
//!
//! Sources, read 2026-11-21: <https://platform.claude.com/docs/en/api/messages>, the pages named
//! beside the code, and the types of the official Python package.
//!
//! What it cannot express, and what is sent instead, is one table: [`RULES`]. What differs between
//! models is another: `anthropic/model.rs`.
//!
//! Refused in any case: arguments of a call that are no JSON object, and a conversation without a
//! message beside system messages.
//!
//! `cache_control` passes as Anthropic has it, on messages, parts, tools and the whole request, and
//! `file_id`s are those of Anthropic's own Files API, which need a header `anthropic-beta` in the
//! configuration.

mod model;
mod reply;
mod request;
mod rules;
mod stream;
mod thinking;

use std::borrow::Cow;

pub(crate) use self::reply::Counts;
use self::request::Purpose;
pub(super) use self::request::vertex_suffix;
pub use self::rules::RULES;
use super::adapt::Adapter;
use super::dialect::{
    BrokenReply, Counting, Dialect, Head, Options, ReplyStream, SseStream, Unsupported,
};
use crate::chat::{CallStyle, Reply, Request};
use crate::failure::{
    CONTEXT_OVERFLOW, Failure, MAX_MESSAGE_CHARS, is_context_overflow, plain_message,
};
use crate::json::{self, Items, Writer, object};

/// The dialect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anthropic {
    host: Host,
}

/// Who serves the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Host {
    #[default]
    Anthropic,
    /// > `model` is not passed in the request body. Instead, it is specified in the Google Cloud
    /// > endpoint URL. `anthropic_version` is passed in the request body (rather than as a header),
    /// > and must be set to the value `vertex-2023-10-16`.
    ///
    /// <https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai>, read 2026-11-21.
    Vertex,
}

impl Anthropic {
    /// As Anthropic itself serves it: `/messages`.
    pub const fn new() -> Self {
        Self {
            host: Host::Anthropic,
        }
    }

    /// As Vertex AI serves it: `/publishers/anthropic/models/{model}:rawPredict`.
    pub const fn on_vertex() -> Self {
        Self { host: Host::Vertex }
    }
}

impl Dialect for Anthropic {
    fn write(
        &self,
        request: &Request<'_>,
        options: &Options,
        json: &mut Writer,
    ) -> Result<Head, Unsupported> {
        let adapter = Adapter::new(options.unsupported);
        let purpose = Purpose::Answer;
        let written = request::write(json, request, *options, &adapter, self.host, purpose);
        // What cannot be expressed comes first: without it the rest may be empty.
        let adapted = adapter.finish()?;
        written?;
        let headers: &'static [_] = match self.host {
            // https://platform.claude.com/docs/en/api/versioning, read 2026-11-21.
            Host::Anthropic => &[("anthropic-version", "2023-06-01")],
            // > sending the request with a beta header
            // https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/web-search
            Host::Vertex if options.has_web_search => {
                &[("anthropic-beta", "web-search-2025-03-05")]
            }
            Host::Vertex => &[],
        };
        Ok(Head {
            suffix: match self.host {
                Host::Anthropic => "/messages".to_owned(),
                Host::Vertex => vertex_suffix(&request.model, request.stream)?,
            },
            headers,
            adapted,
            calls: CallStyle::All,
        })
    }

    fn decode<'a>(&self, body: &'a [u8]) -> Result<Reply<'a>, BrokenReply> {
        reply::read(body)
    }

    fn stream(&self, max_event_bytes: usize) -> Box<dyn ReplyStream> {
        let decoder = stream::Decoder::default();
        Box::new(SseStream::new(decoder, max_event_bytes))
    }

    fn counting(&self) -> Option<&'static dyn Counting> {
        Some(match self.host {
            Host::Anthropic => &const { Anthropic::new() },
            Host::Vertex => &const { Anthropic::on_vertex() },
        })
    }

    fn error(&self, status: u16, body: &[u8]) -> Failure<'static> {
        // Vertex's own errors have a status word, and sometimes a list around them.
        let parsed = match body.trim_ascii_start().starts_with(b"[") {
            true => json::read::<Items<'_, ErrorReply<'_>>>(body)
                .ok()
                .and_then(|replies| replies.iter().next()),
            false => json::read(body).ok(),
        };
        let parsed = parsed.and_then(|reply| reply.error);
        let status = if status == OVERLOADED { 503 } else { status };
        let Some(error) = parsed else {
            return Failure::new(status, plain_message(status, body));
        };
        let (message, code) = error.told();
        Failure::new(status, message).with_code(code.map(Into::into))
    }

    /// Anthropic says it in a header.
    fn retry_after(&self, _: &[u8]) -> Option<u64> {
        None
    }
}

impl Counting for Anthropic {
    fn write(
        &self,
        request: &Request<'_>,
        options: &Options,
        json: &mut Writer,
    ) -> Result<Head, Unsupported> {
        let adapter = Adapter::new(options.unsupported);
        let purpose = Purpose::Count;
        let written = request::write(json, request, *options, &adapter, self.host, purpose);
        let adapted = adapter.finish()?;
        written?;
        Ok(Head {
            suffix: match self.host {
                Host::Anthropic => "/messages/count_tokens".to_owned(),
                Host::Vertex => super::vertex::COUNT_TOKENS.to_owned(),
            },
            headers: match self.host {
                Host::Anthropic => &[("anthropic-version", "2023-06-01")],
                Host::Vertex => &[],
            },
            adapted,
            calls: CallStyle::All,
        })
    }

    fn decode(&self, body: &[u8]) -> Result<u64, BrokenReply> {
        let reply: CountReply<'_> = json::read(body)?;
        let missing = || BrokenReply("it has no input_tokens".to_owned());
        reply.input_tokens.ok_or_else(missing)
    }
}

object! {
    /// Source: <https://platform.claude.com/docs/en/api/messages-count-tokens>, read 2026-11-28.
    CountReply<'a> {
        input_tokens: u64 = b"input_tokens",
        ..unknown
    }
}

object! {
    /// `{"type": "error", "error": {…}}`.
    ErrorReply<'a> {
        error: ProviderError<'a> = b"error",
    }
}

object! {
    /// Source: <https://platform.claude.com/docs/en/api/errors>, read 2026-11-21.
    ProviderError<'a> {
        kind: Cow<'a, str> = b"type",
        /// Google's word, on Vertex.
        status: Cow<'a, str> = b"status",
        message: Cow<'a, str> = b"message",
    }
}

impl ProviderError<'_> {
    /// Message and code, as OpenAI would have told them.
    fn told(&self) -> (String, Option<String>) {
        let message = match &self.message {
            Some(message) if !message.is_empty() => {
                message.chars().take(MAX_MESSAGE_CHARS).collect()
            }
            _ => "the provider gave no message".to_owned(),
        };
        let code = match self.kind.as_ref().or(self.status.as_ref()) {
            None => return (message, None),
            Some(kind) => match &**kind {
                "authentication_error" => "invalid_api_key",
                "billing_error" => "insufficient_quota",
                // > model: claude-x
                "not_found_error" if message.starts_with("model:") => "model_not_found",
                "rate_limit_error" => "rate_limit_exceeded",
                _ if is_context_overflow(self.status(), &message) => CONTEXT_OVERFLOW,
                other => other,
            },
        };
        let code = Some(code.to_owned());
        (message, code)
    }

    /// The status that an error within a stream would have had.
    fn status(&self) -> u16 {
        match self.kind.as_deref() {
            Some("invalid_request_error") => 400,
            Some("authentication_error") => 401,
            Some("billing_error") => 402,
            Some("permission_error") => 403,
            Some("not_found_error") => 404,
            Some("request_too_large") => 413,
            Some("rate_limit_error") => 429,
            Some("overloaded_error") => 503,
            Some("timeout_error") => 504,
            _ => 500,
        }
    }
}

/// > 529 - `overloaded_error`: The API is temporarily overloaded.
///
/// No client knows this status.
const OVERLOADED: u16 = 529;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::openai;

    #[test]
    fn errors_become_openais() {
        for (status, body, expected_status, expected) in [
            (
                529,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}"#,
                503,
                r#"{"error":{"message":"Overloaded","type":"server_error","param":null,"code":"overloaded_error"}}"#,
            ),
            (
                401,
                r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#,
                401,
                r#"{"error":{"message":"invalid x-api-key","type":"authentication_error","param":null,"code":"invalid_api_key"}}"#,
            ),
            (
                404,
                r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-0"}}"#,
                404,
                r#"{"error":{"message":"model: claude-0","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
                400,
                r#"{"error":{"message":"prompt is too long: 210000 tokens > 200000 maximum","type":"invalid_request_error","param":null,"code":"context_length_exceeded"}}"#,
            ),
            (
                429,
                r#"{"error":{"type":"rate_limit_error","message":"slow down"}}"#,
                429,
                r#"{"error":{"message":"slow down","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}"#,
            ),
            (
                400,
                r#"[{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT"}}]"#,
                400,
                r#"{"error":{"message":"bad","type":"invalid_request_error","param":null,"code":"INVALID_ARGUMENT"}}"#,
            ),
            (
                502,
                "<html>bad gateway",
                502,
                r#"{"error":{"message":"<html>bad gateway","type":"server_error","param":null,"code":null}}"#,
            ),
            (
                500,
                "",
                500,
                r#"{"error":{"message":"the provider answered with status 500 and no message","type":"server_error","param":null,"code":null}}"#,
            ),
            (
                529,
                "{}",
                503,
                r#"{"error":{"message":"{}","type":"server_error","param":null,"code":null}}"#,
            ),
        ] {
            let error = Anthropic::new().error(status, body.as_bytes());
            assert_eq!(
                (error.status, openai::error(&error).as_str()),
                (expected_status, expected)
            );
        }
    }
}
