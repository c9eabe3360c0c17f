//! OpenAI's chat completions as a dialect: what requests in other APIs become for the providers that
//! speak it.
//!
//! Source: <https://platform.openai.com/docs/api-reference/chat>, read 2026-11-21.
//!
//! A chat completion of a client's is not translated for these providers: it passes as it is. What
//! cannot be expressed, and what is sent instead, is one table: [`RULES`].

mod reply;
mod request;
mod rules;
mod stream;

pub use self::reply::usage_of;
pub use self::rules::RULES;
use super::adapt::Adapter;
use super::dialect::{BrokenReply, Dialect, Head, Options, ReplyStream, SseStream, Unsupported};
use crate::chat::{CallStyle, Reply, Request};
use crate::failure::Failure;
use crate::json::Writer;

/// Chat completions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenAi;

impl Dialect for OpenAi {
    fn write(
        &self,
        request: &Request<'_>,
        options: &Options,
        json: &mut Writer,
    ) -> Result<Head, Unsupported> {
        let adapter = Adapter::new(options.unsupported);
        request::write(json, request, options, &adapter);
        Ok(Head {
            suffix: CHAT_COMPLETIONS.to_owned(),
            headers: &[],
            adapted: adapter.finish()?,
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

    fn error(&self, status: u16, body: &[u8]) -> Failure<'static> {
        Failure::of_body(status, body)
    }

    /// Providers say it in a header.
    fn retry_after(&self, _: &[u8]) -> Option<u64> {
        None
    }
}

const CHAT_COMPLETIONS: &str = "/chat/completions";

/// Whether a model refuses `max_tokens` and takes only `max_completion_tokens`, as far as its name
/// tells: those that reason, `o1` and its successors, and everything from `gpt-5` on.
///
/// > max_tokens: This value is now deprecated in favor of `max_completion_tokens`, and is not
/// > compatible with o-series models.
///
/// <https://platform.openai.com/docs/api-reference/chat/create>, read 2026-11-21. For `gpt-5` and
/// later the API says the same: "Unsupported parameter: 'max_tokens' is not supported with this
/// model. Use 'max_completion_tokens' instead." Azure's models are the same, and its deployments
/// are often named for them, with words of their own before and after:
/// <https://learn.microsoft.com/azure/ai-services/openai/how-to/reasoning>, read 2026-11-21.
///
/// ```
/// use llm_proxy::provider::openai::insists_on_completion_tokens;
///
/// assert!(insists_on_completion_tokens("o4-mini"));
/// assert!(!insists_on_completion_tokens("gpt-4o"));
/// ```
pub fn insists_on_completion_tokens(model: &str) -> bool {
    let name = model.as_bytes();
    let starts = (0..name.len()).filter(|&at| {
        let before = at.checked_sub(1).and_then(|before| name.get(before));
        !before.is_some_and(u8::is_ascii_alphanumeric)
    });
    starts
        .filter_map(|at| name.get(at..))
        .any(|rest| is_o_series(rest) || is_gpt_5_or_later(rest))
}

/// `o1`, `o3-mini`, `o4-mini-2025-04-16`.
fn is_o_series(name: &[u8]) -> bool {
    match name {
        [b'o' | b'O', b'1'..=b'9', rest @ ..] => {
            !rest.first().is_some_and(u8::is_ascii_alphanumeric)
        }
        _ => false,
    }
}

/// `gpt-5`, `gpt-5.1-codex`, `gpt-6-mini`. Azure writes `gpt-35-turbo` for 3.5.
fn is_gpt_5_or_later(name: &[u8]) -> bool {
    let Some((family, version)) = name.split_at_checked(4) else {
        return false;
    };
    match version {
        [b'5'..=b'9', rest @ ..] => {
            family.eq_ignore_ascii_case(b"gpt-")
                && !rest.first().is_some_and(u8::is_ascii_alphanumeric)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_who_insists() {
        for (model, expected) in [
            ("o1", true),
            ("o1-preview-2024-09-12", true),
            ("o3-mini", true),
            ("o4-mini", true),
            ("gpt-5", true),
            ("gpt-5.1-codex-mini", true),
            ("gpt-5-chat-latest", true),
            ("gpt-6", true),
            ("ft:o4-mini-2025-04-16:team::id", true),
            ("team-GPT-5-prod", true),
            ("prod_o3", true),
            ("gpt-4o", false),
            ("gpt-4.5-preview", false),
            ("gpt-4.1-mini", false),
            ("gpt-3.5-turbo", false),
            ("gpt-35-turbo", false),
            ("chatgpt-4o-latest", false),
            ("foo1", false),
            ("o1x", false),
            ("o", false),
            ("gpt-", false),
            ("", false),
        ] {
            assert_eq!(insists_on_completion_tokens(model), expected, "{model}");
        }
    }
}
