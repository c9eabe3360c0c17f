//! A streamed reply.
//!
//! Source: <https://platform.claude.com/docs/en/build-with-claude/streaming>, read 2026-11-21:
//!
//! ```text
//! message_start (content_block_start content_block_delta* content_block_stop)* message_delta+ message_stop
//! ```
//!
//! with `ping` and `error` anywhere, and:
//!
//! > Your code should handle unknown event types gracefully.

use std::borrow::Cow;

use super::ProviderError;
use super::reply::{Block, Citation, Counts, StopDetails, arguments, stop_reason, untyped_block};
use super::thinking::Thinking;
use crate::chat::Delta;
use crate::chat::citations::Citations;
use crate::json::{self, Text, object};
use crate::provider::dialect::{BrokenReply, EventDecoder};
use crate::sse;

/// Reads the events of one reply.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    has_started: bool,
    has_stopped: bool,
    has_ended: bool,
    counts: Counts,
    thinking: Thinking,
    /// How much text there has been, and how much before the block that began last. Unit: characters.
    said: usize,
    block_start: usize,
    /// What the open block of text cites.
    citations: Citations,
    /// Calls whose blocks are open.
    calls: Vec<OpenCall>,
    /// How many calls there have been.
    call_count: u64,
}

#[derive(Debug)]
struct OpenCall {
    /// Which content block it is.
    block: u64,
    /// Which call it is: calls are counted, not blocks.
    index: u64,
    has_arguments: bool,
}

/// More than any reply has at once: a stream that opens more is broken, and costs memory.
const MAX_OPEN_CALLS: usize = 128;

object! {
    Event<'a> {
        kind: Cow<'a, str> = b"type",
        index: u64 = b"index",
        message: Start<'a> = b"message",
        content_block: Block<'a> = b"content_block",
        delta: Change<'a> = b"delta",
        usage: Counts = b"usage",
        error: ProviderError<'a> = b"error",
    }
}

object! {
    Start<'a> {
        id: Cow<'a, str> = b"id",
        model: Cow<'a, str> = b"model",
        usage: Counts = b"usage",
    }
}

object! {
    /// `delta` of a block or of the message.
    Change<'a> {
        kind: Cow<'a, str> = b"type",
        text: Cow<'a, str> = b"text",
        thinking: Cow<'a, str> = b"thinking",
        signature: Cow<'a, str> = b"signature",
        partial_json: Cow<'a, str> = b"partial_json",
        citation: Citation<'a> = b"citation",
        stop_reason: Text<'a> = b"stop_reason",
        stop_details: StopDetails<'a> = b"stop_details",
    }
}

impl EventDecoder for Decoder {
    fn event(
        &mut self,
        event: &sse::Event<'_>,
        say: &mut dyn FnMut(Delta<'_>),
    ) -> Result<(), BrokenReply> {
        if self.has_ended {
            return Ok(());
        }
        // Its data says nothing, and may be nothing.
        if event.name == "ping" {
            say(Delta::Ping);
            return Ok(());
        }
        match text_delta(event.data) {
            Some(text) if self.has_started => self.say_text(&text, say),
            _ => self.any_event(event, say)?,
        }
        if self.thinking.is_too_large() {
            let message = "its thinking has too many blocks, or too long signatures";
            return Err(BrokenReply(message.to_owned()));
        }
        Ok(())
    }

    fn kept_bytes(&self) -> usize {
        self.thinking.kept_bytes() + self.citations.kept_bytes()
    }

    fn finish(&mut self, _: &mut dyn FnMut(Delta<'_>)) -> Result<(), BrokenReply> {
        if self.has_ended {
            return Ok(());
        }
        Err(BrokenReply("it ended before message_stop".to_owned()))
    }
}

impl Decoder {
    #[inline(never)]
    fn any_event(
        &mut self,
        event: &sse::Event<'_>,
        say: &mut dyn FnMut(Delta<'_>),
    ) -> Result<(), BrokenReply> {
        let broken = |what: &str| BrokenReply(format!("{what} in event {:?}", event.name));
        // Only the type matters of what is not known: its other members may have any shape.
        let it: Event<'_> = match json::read(event.data.as_bytes()) {
            Ok(it) => it,
            Err(error) if is_known(event.name) => return Err(broken(&error.to_string())),
            Err(error) => {
                return match json::read(event.data.as_bytes()) {
                    Ok(Kind { kind: Some(kind) }) if !is_known(&kind) => Ok(()),
                    _ => Err(broken(&error.to_string())),
                };
            }
        };
        let kind = it.kind.as_deref().unwrap_or(event.name);
        if !self.has_started && !matches!(kind, "message_start" | "ping" | "error") {
            if is_known(kind) {
                return Err(broken("no message_start before it"));
            }
            return Ok(());
        }
        match kind {
            "message_start" => self.start(it.message, say),
            "content_block_start" => {
                let (Some(index), Some(block)) = (it.index, it.content_block) else {
                    return Err(broken("no block"));
                };
                self.block_start(index, block, say)?;
            }
            "content_block_delta" => {
                let (Some(index), Some(change)) = (it.index, it.delta) else {
                    return Err(broken("no delta"));
                };
                self.block_delta(index, change, say);
            }
            "content_block_stop" => {
                let Some(index) = it.index else {
                    return Err(broken("no index"));
                };
                self.block_stop(index, say);
            }
            "message_delta" => {
                self.counts.update(it.usage.unwrap_or_default());
                let change = it.delta.unwrap_or_default();
                if let Some(stop) = change.stop_reason
                    && !std::mem::replace(&mut self.has_stopped, true)
                {
                    let refusal = change.stop_details.and_then(StopDetails::refusal);
                    if let Some(text) = refusal.as_deref() {
                        say(Delta::Refusal { choice: 0, text });
                    }
                    self.stop(stop, say);
                }
            }
            "message_stop" => {
                if !self.has_stopped {
                    return Err(broken("no stop_reason before it"));
                }
                self.has_ended = true;
                say(Delta::Usage(self.counts.usage()));
                say(Delta::End);
            }
            "ping" => say(Delta::Ping),
            "error" => {
                let Some(error) = it.error else {
                    return Err(broken("no error"));
                };
                self.has_ended = true;
                let (message, code) = error.told();
                say(Delta::Error {
                    status: error.status(),
                    message: &message,
                    code: code.as_deref(),
                });
            }
            _ => {}
        }
        Ok(())
    }
}

/// The text of an event in just the form in which Anthropic writes it.
///
/// Nearly every event of a stream is one, and comes at a time when no code is in the processor's
/// caches: what is short here is what counts.
fn text_delta(data: &str) -> Option<Cow<'_, str>> {
    let rest = data.strip_prefix(r#"{"type":"content_block_delta","index":"#)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let rest = rest.get(digits..)?;
    let rest = rest.strip_prefix(r#","delta":{"type":"text_delta","text":"#)?;
    // Blanks before the end hide the event's length from who watches the line.
    let rest = rest.strip_suffix('}')?;
    let blanks = rest.bytes().rev().take_while(|&byte| byte == b' ').count();
    let text = rest.get(..rest.len() - blanks)?.strip_suffix('}')?;
    (digits > 0).then(|| json::decode_text(text)).flatten()
}

object! {
    Kind<'a> {
        kind: Cow<'a, str> = b"type",
    }
}

fn is_known(kind: &str) -> bool {
    matches!(
        kind,
        "message_start"
            | "content_block_start"
            | "content_block_delta"
            | "content_block_stop"
            | "message_delta"
            | "message_stop"
            | "ping"
            | "error"
    )
}

impl Decoder {
    fn start(&mut self, message: Option<Start<'_>>, say: &mut dyn FnMut(Delta<'_>)) {
        if std::mem::replace(&mut self.has_started, true) {
            return;
        }
        let (id, model) = match message {
            Some(message) => {
                self.counts.update(message.usage.unwrap_or_default());
                (message.id, message.model)
            }
            None => (None, None),
        };
        say(Delta::Start {
            id: &id.unwrap_or_default(),
            model: &model.unwrap_or_default(),
        });
        say(Delta::Usage(self.counts.usage()));
    }

    fn block_start(
        &mut self,
        block: u64,
        it: Block<'_>,
        say: &mut dyn FnMut(Delta<'_>),
    ) -> Result<(), BrokenReply> {
        match &*it.kind.ok_or_else(untyped_block)?.decode() {
            "text" => {
                self.block_start = self.said;
                self.say_text(&it.text.unwrap_or_default().decode(), say);
            }
            "thinking" => {
                self.thinking.begin();
                self.say_thinking(&it.thinking.unwrap_or_default().decode(), say);
                self.thinking
                    .add_signature(&it.signature.unwrap_or_default().decode());
            }
            "redacted_thinking" => self
                .thinking
                .add_redacted(&it.data.unwrap_or_default().decode()),
            "tool_use" => {
                if self.calls.len() >= MAX_OPEN_CALLS {
                    return Err(BrokenReply("it has too many open blocks".to_owned()));
                }
                let Some(name) = it.name else {
                    return Err(BrokenReply("a tool_use block has no name".to_owned()));
                };
                self.thinking.pass_call();
                let index = self.call_count;
                self.call_count += 1;
                say(Delta::ToolCallStart {
                    choice: 0,
                    index,
                    id: &it.id.unwrap_or_default().decode(),
                    name: &name.decode(),
                    signature: None,
                });
                // The input is empty here and comes in pieces, unless somebody sends it whole.
                let whole = arguments(it.input);
                let is_whole = whole.len() > 2;
                if is_whole {
                    say(Delta::ToolCallArguments {
                        choice: 0,
                        index,
                        fragment: whole,
                    });
                }
                self.calls.push(OpenCall {
                    block,
                    index,
                    has_arguments: is_whole,
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn block_delta(&mut self, block: u64, it: Change<'_>, say: &mut dyn FnMut(Delta<'_>)) {
        match it.kind.as_deref() {
            Some("text_delta") => self.say_text(&it.text.unwrap_or_default(), say),
            Some("thinking_delta") => self.say_thinking(&it.thinking.unwrap_or_default(), say),
            Some("signature_delta") => {
                self.thinking
                    .add_signature(&it.signature.unwrap_or_default());
            }
            Some("citations_delta") => {
                let citation = it.citation.unwrap_or_default();
                self.citations
                    .push(citation.annotation(self.block_start, 0));
            }
            Some("input_json_delta") => {
                let fragment = it.partial_json.unwrap_or_default();
                let call = self.calls.iter_mut().find(|call| call.block == block);
                if let Some(call) = call
                    && !fragment.is_empty()
                {
                    call.has_arguments = true;
                    say(Delta::ToolCallArguments {
                        choice: 0,
                        index: call.index,
                        fragment: &fragment,
                    });
                }
            }
            _ => {}
        }
    }

    fn block_stop(&mut self, block: u64, say: &mut dyn FnMut(Delta<'_>)) {
        let mut citations = std::mem::take(&mut self.citations);
        if !citations.is_empty() {
            // Where the text ends is known now.
            let all = citations.as_mut_slice();
            all.iter_mut().for_each(|it| it.end = self.said);
            say(Delta::Annotations {
                choice: 0,
                annotations: all,
            });
        }
        let Some(at) = self.calls.iter().position(|call| call.block == block) else {
            return;
        };
        let call = self.calls.swap_remove(at);
        // A call without arguments has no pieces; the empty text would not parse.
        if !call.has_arguments {
            say(Delta::ToolCallArguments {
                choice: 0,
                index: call.index,
                fragment: "{}",
            });
        }
    }

    fn stop(&mut self, reason: Text<'_>, say: &mut dyn FnMut(Delta<'_>)) {
        if let Some(signature) = self.thinking.signature() {
            say(Delta::ReasoningSignature {
                choice: 0,
                signature: &signature,
            });
        }
        say(Delta::Stop {
            choice: 0,
            reason: stop_reason(reason),
        });
    }

    fn say_thinking(&mut self, text: &str, say: &mut dyn FnMut(Delta<'_>)) {
        if !text.is_empty() {
            self.thinking.add_text(text);
            say(Delta::Reasoning { choice: 0, text });
        }
    }

    fn say_text(&mut self, text: &str, say: &mut dyn FnMut(Delta<'_>)) {
        if !text.is_empty() {
            self.thinking.pass_text(text);
            self.said += text.chars().count();
            say(Delta::Text { choice: 0, text });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(data: &str) -> Vec<String> {
        let mut decoder = Decoder {
            has_started: true,
            ..Decoder::default()
        };
        let mut deltas = Vec::new();
        let event = sse::Event {
            name: "content_block_delta",
            data,
        };
        let mut say = |delta: Delta<'_>| deltas.push(format!("{delta:?}"));
        decoder.event(&event, &mut say).expect(data);
        deltas
    }

    #[test]
    fn the_usual_text_says_what_an_unusual_one_does() {
        for text in [" Hello, über 🦀", "", "}}", r"a\n", r#"\"}}"#, r"\u00fc"] {
            for end in ["}}", "}   }", "} \t}"] {
                let data = format!(
                    r#"{{"type":"content_block_delta","index":10,"delta":{{"type":"text_delta","text":"{text}"{end}"#
                );
                assert_eq!(text_delta(&data).is_some(), !end.contains('\t'), "{data}");
                assert_eq!(said(&data), said(&data.replace(':', ": ")), "{data}");
            }
        }
        for data in [
            r#"{"type":"content_block_delta","index":,"delta":{"type":"text_delta","text":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a","x":"b"}}"#,
        ] {
            assert_eq!(text_delta(data), None, "{data}");
        }
    }
}
