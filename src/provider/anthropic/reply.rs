//! A whole reply.

use std::borrow::Cow;

use super::{ProviderError, thinking};
use crate::chat::citations::Citations;
use crate::chat::tape::{Kind, MAX_TEXT_BYTES, Tape};
use crate::chat::{Annotation, Choices, Reply, StopReason};
use crate::json::{self, Items, Raw, Text, object};
use crate::provider::dialect::BrokenReply;
use crate::usage::Usage;

object! {
    /// `{"type": "message", …}`, or an error with a status that says there is none.
    Message<'a> {
        kind: Cow<'a, str> = b"type",
        id: Cow<'a, str> = b"id",
        model: Cow<'a, str> = b"model",
        content: Items<'a, Block<'a>> = b"content",
        stop_reason: Text<'a> = b"stop_reason",
        stop_details: StopDetails<'a> = b"stop_details",
        usage: Counts = b"usage",
        error: ProviderError<'a> = b"error",
    }
}

object! {
    /// Why a reply ended with `refusal`. Source: `anthropic` 2.14.0, `RefusalStopDetails`.
    pub(super) StopDetails<'a> {
        explanation: Text<'a> = b"explanation",
        category: Text<'a> = b"category",
    }
}

impl StopDetails<'_> {
    /// What OpenAI's `refusal` says; `None`: there is nothing to say.
    pub(super) fn refusal(self) -> Option<String> {
        if let Some(explanation) = self.explanation.filter(|it| !it.is_empty()) {
            return Some(explanation.decode().into_owned());
        }
        let category = self.category.filter(|it| !it.is_empty())?.decode();
        Some(format!("the provider refused to answer: {category}"))
    }
}

object! {
    /// A content block; which members are there depends on its type.
    pub(super) Block<'a> {
        kind: Text<'a> = b"type",
        text: Text<'a> = b"text",
        thinking: Text<'a> = b"thinking",
        signature: Text<'a> = b"signature",
        data: Text<'a> = b"data",
        id: Text<'a> = b"id",
        name: Text<'a> = b"name",
        input: Raw<'a> = b"input",
        citations: Items<'a, Citation<'a>> = b"citations",
    }
}

object! {
    /// What a text cites. Of the kinds in `anthropic` 2.14.0, `TextCitation`, two have an address:
    /// `web_search_result_location`, and `search_result_location` where its source is one.
    pub(super) Citation<'a> {
        url: Text<'a> = b"url",
        source: Text<'a> = b"source",
        title: Text<'a> = b"title",
    }
}

impl Citation<'_> {
    /// The same about a part of the text; without an address where it has none.
    pub(super) fn annotation(self, start: usize, end: usize) -> Annotation {
        let text = |it: Option<Text<'_>>| it.unwrap_or_default().decode().into_owned();
        let source = self.source.filter(|it| it.decode().starts_with("http"));
        Annotation {
            start,
            end,
            title: text(self.title),
            url: text(self.url.or(source)),
        }
    }
}

object! {
    /// Shape: `usage` of a message, of `message_start` and of `message_delta`. Unit: tokens. Absent
    /// means not said. Source: <https://platform.claude.com/docs/en/api/messages>, read 2026-11-21.
    #[derive(Clone, Copy)]
    pub(crate) Counts {
        /// Without those that the cache had.
        input_tokens: u64 = b"input_tokens",
        cache_creation_input_tokens: u64 = b"cache_creation_input_tokens",
        cache_read_input_tokens: u64 = b"cache_read_input_tokens",
        output_tokens: u64 = b"output_tokens",
        output_tokens_details: OutputDetails = b"output_tokens_details",
    }
}

object! {
    #[derive(Clone, Copy)]
    pub(crate) OutputDetails {
        thinking_tokens: u64 = b"thinking_tokens",
    }
}

impl Counts {
    /// > The token counts shown in the usage field of the message_delta event are cumulative.
    ///
    /// So a count never falls, and what a later one does not say stays.
    pub(super) fn update(&mut self, later: Self) {
        // A later 0 is a count that is not said: some servers send it.
        let most = |later: Option<u64>, earlier: Option<u64>| later.max(earlier);
        let thinking = most(
            later
                .output_tokens_details
                .and_then(|it| it.thinking_tokens),
            self.output_tokens_details.and_then(|it| it.thinking_tokens),
        );
        *self = Self {
            input_tokens: most(later.input_tokens, self.input_tokens),
            cache_creation_input_tokens: most(
                later.cache_creation_input_tokens,
                self.cache_creation_input_tokens,
            ),
            cache_read_input_tokens: most(
                later.cache_read_input_tokens,
                self.cache_read_input_tokens,
            ),
            output_tokens: most(later.output_tokens, self.output_tokens),
            output_tokens_details: thinking.map(|count| OutputDetails {
                thinking_tokens: Some(count),
            }),
        };
    }

    /// The same by the text of a `usage`. Gives whether it is one.
    pub fn update_by(&mut self, text: &[u8]) -> bool {
        let later = json::read::<Self>(text).ok();
        let is_read = later.is_some();
        self.update(later.unwrap_or_default());
        is_read
    }

    /// > Total input tokens in a request is the summation of `input_tokens`,
    /// > `cache_creation_input_tokens`, and `cache_read_input_tokens`.
    pub fn usage(&self) -> Usage {
        let written = self.cache_creation_input_tokens;
        let read = self.cache_read_input_tokens;
        let prompt = self.input_tokens.map(|input| {
            input
                .saturating_add(written.unwrap_or_default())
                .saturating_add(read.unwrap_or_default())
        });
        Usage {
            prompt,
            completion: self.output_tokens,
            cached: read,
            cache_written: written,
            reasoning: self
                .output_tokens_details
                .and_then(|details| details.thinking_tokens),
            total: None,
        }
    }
}

pub(super) fn read(body: &[u8]) -> Result<Reply<'_>, BrokenReply> {
    if body.len() > MAX_TEXT_BYTES {
        return Err(BrokenReply(format!(
            "it is larger than {MAX_TEXT_BYTES} bytes"
        )));
    }
    let message: Message<'_> = json::read(body)?;
    if let Some(error) = &message.error {
        return Err(BrokenReply(error.told().0));
    }
    let (Some("message"), Some(blocks)) = (message.kind.as_deref(), message.content) else {
        return Err(BrokenReply("it is not a message".to_owned()));
    };
    let Some(stop) = message.stop_reason else {
        return Err(BrokenReply("it has no stop_reason".to_owned()));
    };
    let mut tape = Tape::new(body);
    let (kind, word): (_, &[u8]) = match stop_reason(stop) {
        StopReason::ContentFilter => (Kind::ChoiceFiltered, b""),
        StopReason::Length => (Kind::ChoiceLength, b""),
        StopReason::Other(word) => (Kind::ChoiceOther, word.quoted().text()),
        StopReason::Stop => (Kind::ChoiceStop, b""),
        StopReason::ToolCalls => (Kind::ChoiceCalls, b""),
    };
    tape.push(kind, word);
    let mut says_something = false;
    let mut citations = Citations::default();
    // Unit: characters.
    let mut said = 0;
    for block in blocks.iter() {
        let kind = block.kind.ok_or_else(untyped_block)?.decode();
        says_something |= matches!(&*kind, "text" | "tool_use");
        let mut push = |kind: Kind, text: Text<'_>| tape.push(kind, text.quoted().text());
        match &*kind {
            "text" => {
                let Some(text) = block.text else {
                    return Err(BrokenReply("a text block has no text".to_owned()));
                };
                push(Kind::Text, text);
                let start = said;
                said += text.decode().chars().count();
                for it in block.citations.iter().flat_map(Items::iter) {
                    citations.push(it.annotation(start, said));
                }
            }
            "thinking" => {
                push(Kind::Reasoning, block.thinking.unwrap_or_default());
                if let Some(signature) = block.signature {
                    push(Kind::BlockSignature, signature);
                }
            }
            "redacted_thinking" => push(Kind::Redacted, block.data.unwrap_or_default()),
            "tool_use" => {
                let Some(name) = block.name else {
                    return Err(BrokenReply("a tool_use block has no name".to_owned()));
                };
                push(Kind::Call, block.id.unwrap_or_default());
                push(Kind::CallName, name);
                if let Some(input) = block.input {
                    tape.push(Kind::CallInput, input.bytes());
                }
            }
            // Tools that the provider runs itself, and what may come.
            _ => {}
        }
    }
    let refusal = message.stop_details.and_then(StopDetails::refusal);
    if !says_something && refusal.is_none() {
        tape.push(Kind::Text, b"");
    }
    Ok(Reply {
        id: message.id.unwrap_or_default(),
        model: message.model.unwrap_or_default(),
        choices: Choices(tape),
        refusal,
        annotations: match citations.is_empty() {
            true => Vec::new(),
            false => vec![(0, citations)],
        },
        write_signature: thinking::write_signature,
        usage: message.usage.unwrap_or_default().usage(),
    })
}

pub(super) fn untyped_block() -> BrokenReply {
    BrokenReply("a content block has no type".to_owned())
}

/// <https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons>, read 2026-11-21.
pub(super) fn stop_reason(word: Text<'_>) -> StopReason<'_> {
    match &*word.decode() {
        "end_turn" | "stop_sequence" => StopReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => StopReason::Length,
        "refusal" => StopReason::ContentFilter,
        "tool_use" => StopReason::ToolCalls,
        _ => StopReason::Other(word),
    }
}

/// The JSON text of a call's input.
pub(super) fn arguments(input: Option<Raw<'_>>) -> &str {
    input.map_or("{}", Raw::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_is_broken() {
        for body in [
            "",
            "null",
            "[]",
            "{}",
            "<html>",
            r#"{"type":"message"}"#,
            r#"{"type":"message","content":[]}"#,
            r#"{"type":"message","content":{},"stop_reason":"end_turn"}"#,
            r#"{"type":"message","content":[{}],"stop_reason":"end_turn"}"#,
            r#"{"type":"message","content":[{"type":"text"}],"stop_reason":"end_turn"}"#,
            r#"{"type":"message","content":[{"type":"tool_use"}],"stop_reason":"tool_use"}"#,
            r#"{"type":"error","error":{"type":"api_error","message":"m"}}"#,
            r#"{"type":"message","content":[{"type":"text","text":"cut"#,
        ] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
        assert!(read(&[0xff; 9]).is_err());
        assert!(read("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn stop_reasons() {
        for (word, expected) in [
            ("end_turn", StopReason::Stop),
            ("stop_sequence", StopReason::Stop),
            ("max_tokens", StopReason::Length),
            ("model_context_window_exceeded", StopReason::Length),
            ("refusal", StopReason::ContentFilter),
            ("tool_use", StopReason::ToolCalls),
            (
                "pause_turn",
                StopReason::Other(Text::checked(b"pause_turn")),
            ),
        ] {
            let word = Text::checked(word.as_bytes());
            assert_eq!(stop_reason(word), expected, "{word:?}");
        }
    }

    #[test]
    fn a_count_never_falls() {
        let mut counts = Counts {
            input_tokens: Some(11),
            output_tokens: Some(1),
            ..Counts::default()
        };
        counts.update(Counts {
            input_tokens: Some(0),
            output_tokens: Some(7),
            ..Counts::default()
        });
        let usage = counts.usage();
        assert_eq!((usage.prompt, usage.completion), (Some(11), Some(7)));
    }

    #[test]
    fn a_refusal_says_why() {
        let reply = |details: &str| {
            let body = format!(
                r#"{{"type":"message","content":[],"stop_reason":"refusal","stop_details":{details}}}"#
            );
            read(body.as_bytes()).map(|reply| reply.refusal).unwrap()
        };
        let told = r#"{"type":"refusal","category":"cyber","explanation":"No exploits."}"#;
        assert_eq!(reply(told).as_deref(), Some("No exploits."));
        let category = r#"{"type":"refusal","category":"bio","explanation":null}"#;
        let expected = "the provider refused to answer: bio";
        assert_eq!(reply(category).as_deref(), Some(expected));
        assert_eq!(reply("null"), None);
    }

    #[test]
    fn cached_tokens_are_part_of_the_prompt() {
        let body = br#"{"type":"message","content":[],"stop_reason":"end_turn","usage":{
            "input_tokens":3,"cache_creation_input_tokens":5,"cache_read_input_tokens":7,
            "output_tokens":11,"output_tokens_details":{"thinking_tokens":2}}}"#;
        let expected = Usage {
            prompt: Some(15),
            completion: Some(11),
            cached: Some(7),
            cache_written: Some(5),
            reasoning: Some(2),
            total: None,
        };
        assert_eq!(read(body).unwrap().usage, expected);
    }
}
