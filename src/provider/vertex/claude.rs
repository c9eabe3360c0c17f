//! Claude on Vertex AI: requests of Anthropic's own API pass, and every other is translated as for
//! Anthropic.
//!
//! Sources: <https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai>,
//! <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/count-tokens>, read
//! 2026-11-28, and `lib/vertex/_client.py` of the `anthropic` package 2.14.0.
//!
//! What changes in a body that passes:
//!
//! ```text
//!   /messages               "model":"claude-x"   ─►  "anthropic_version":"vertex-2023-10-16"
//!   /messages/count_tokens  "model":"claude-x"   ─►  "anthropic_version":"vertex-2023-10-16","model":"claude-x"
//! ```

use crate::chat::{Reply, Request};
use crate::failure::Failure;
use crate::json::{Event, Scanner, Splice, ValueText, Watched, Writer};
use crate::operation::Kind;
use crate::provider::anthropic::{Anthropic, vertex_suffix};
use crate::provider::dialect::{
    BrokenReply, Counting, Dialect, Head, Options, Passed, ReplyStream, Unsupported,
};

/// Claude.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Claude;

/// What writes and reads everything that does not pass.
const TRANSLATED: Anthropic = Anthropic::on_vertex();

impl Dialect for Claude {
    fn write(
        &self,
        request: &Request<'_>,
        options: &Options,
        json: &mut Writer,
    ) -> Result<Head, Unsupported> {
        Dialect::write(&TRANSLATED, request, options, json)
    }

    fn decode<'a>(&self, body: &'a [u8]) -> Result<Reply<'a>, BrokenReply> {
        Dialect::decode(&TRANSLATED, body)
    }

    fn stream(&self, max_event_bytes: usize) -> Box<dyn ReplyStream> {
        TRANSLATED.stream(max_event_bytes)
    }

    fn counting(&self) -> Option<&'static dyn Counting> {
        Some(&const { Anthropic::on_vertex() })
    }

    fn pass(&self, kind: Kind, model: &str, body: &[u8]) -> Result<Option<Passed>, Unsupported> {
        let is_counted = match kind {
            Kind::CountTokens => true,
            Kind::Messages => false,
            _ => return Ok(None),
        };
        let found = Found::of(body)?;
        let with = match is_counted {
            true => format!("{ANTHROPIC_VERSION},"),
            false => ANTHROPIC_VERSION.to_owned(),
        };
        let end = match is_counted {
            true => found.model.start,
            false => found.model.end,
        };
        let is_stream = found.is_stream && !is_counted;
        Ok(Some(Passed {
            suffix: match is_counted {
                true => COUNT_TOKENS.to_owned(),
                false => vertex_suffix(model, is_stream)?,
            },
            splices: vec![Splice {
                range: found.model.start..end,
                with: with.into_bytes(),
            }],
            is_stream,
        }))
    }

    fn error(&self, status: u16, body: &[u8]) -> Failure<'static> {
        TRANSLATED.error(status, body)
    }

    fn retry_after(&self, body: &[u8]) -> Option<u64> {
        TRANSLATED.retry_after(body)
    }
}

/// What is found in a body.
struct Found {
    /// The whole member, key and value.
    model: std::ops::Range<u64>,
    is_stream: bool,
}

impl Found {
    fn of(body: &[u8]) -> Result<Self, Unsupported> {
        let watched = [MODEL, "stream", VERSION_MEMBER];
        let mut scanner = Scanner::new(Watched::new(watched));
        let (mut model, mut is_stream) = (None, false);
        let mut rest = body;
        loop {
            let event = scanner.scan(&mut rest);
            // The rules have read the body before.
            match event.map_err(|error| unsupported(MODEL, &error.to_string()))? {
                Event::InputEmpty => break,
                Event::ValueEnd { member: 0, range } => {
                    model = Some(scanner.key_range().start..range.end);
                }
                Event::ValueEnd { member: 1, .. } => {
                    is_stream = scanner.value_text() == ValueText::Whole(b"true");
                }
                Event::ValueEnd { .. } => {
                    let message = "is the gateway's to set; the Messages API has it as a header";
                    return Err(unsupported(VERSION_MEMBER, message));
                }
                Event::ObjectEnd { .. } | Event::ValueStart { .. } => {}
            }
        }
        let model = model.ok_or_else(|| unsupported(MODEL, "is required"))?;
        Ok(Self { model, is_stream })
    }
}

fn unsupported(param: &str, message: &str) -> Unsupported {
    Unsupported {
        param: param.to_owned(),
        message: message.to_owned(),
    }
}

const MODEL: &str = "model";
const VERSION_MEMBER: &str = "anthropic_version";
const ANTHROPIC_VERSION: &str = "\"anthropic_version\":\"vertex-2023-10-16\"";

/// Below the project's path.
pub(in crate::provider) const COUNT_TOKENS: &str =
    "/publishers/anthropic/models/count-tokens:rawPredict";

/// The values of `anthropic-beta` that Vertex AI takes; it answers 400 to others. A `*` at the end stands
/// for any text.
///
/// Source: `anthropic_beta_headers_config.json` of LiteLLM (`vertex_ai`), by its users' reports, read
/// 2026-11-28: <https://github.com/BerriAI/litellm/blob/main/litellm/anthropic_beta_headers_config.json>.
pub const BETAS: [&str; 12] = [
    "compact-2026-01-12",
    "compact-2026-09-04",
    "computer-use-2025-01-24",
    "computer-use-2025-11-24",
    "context-1m-2025-08-07",
    "context-management-2025-06-27",
    "interleaved-thinking-2025-05-14",
    "per-turn-control-2026-07-01",
    "thinking-binding-controls-2026-08-01",
    "thinking-display-updates-2026-08-18",
    "tool-search-tool-2025-10-19",
    "web-search-2025-03-05",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn passed(kind: Kind, body: &str) -> Result<Option<(String, String, bool)>, Unsupported> {
        let passed = Claude.pass(kind, "claude-x@1", body.as_bytes())?;
        Ok(passed.map(|it| {
            let mut text = Vec::new();
            json::apply(body.as_bytes(), 0, &it.splices, &mut text).unwrap();
            (it.suffix, String::from_utf8(text).unwrap(), it.is_stream)
        }))
    }

    #[test]
    fn the_model_goes_into_the_path_and_the_version_takes_its_place() {
        let body = r#"{ "x" : 1, "model" : "claude-x@1" , "stream":true}"#;
        let (path, sent, is_stream) = passed(Kind::Messages, body).unwrap().unwrap();
        assert_eq!(
            path,
            "/publishers/anthropic/models/claude-x@1:streamRawPredict"
        );
        let expected = r#"{ "x" : 1, "anthropic_version":"vertex-2023-10-16" , "stream":true}"#;
        assert_eq!((&*sent, is_stream), (expected, true));
    }

    #[test]
    fn a_count_keeps_the_model_in_its_body() {
        let (path, sent, _) = passed(Kind::CountTokens, r#"{"model":"claude-x@1"}"#)
            .unwrap()
            .unwrap();
        assert_eq!(path, COUNT_TOKENS);
        let expected = r#"{"anthropic_version":"vertex-2023-10-16","model":"claude-x@1"}"#;
        assert_eq!(sent, expected);
    }

    #[test]
    fn other_calls_do_not_pass_and_a_version_of_the_clients_is_refused() {
        assert_eq!(passed(Kind::ChatCompletions, "{}"), Ok(None));
        let body = r#"{"model":"claude-x","anthropic_version":"y"}"#;
        assert_eq!(
            passed(Kind::Messages, body).unwrap_err().param,
            VERSION_MEMBER
        );
    }
}
