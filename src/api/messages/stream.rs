//! Writing a streamed reply.
//!
//! Source: <https://platform.claude.com/docs/en/build-with-claude/streaming>, read 2026-11-21.

use super::reply::{head, stop_reason, usage};
use super::{CALL_SIGNATURE, call_id, error};
use crate::api::{Stamp, StreamWriter};
use crate::chat::{CallStyle, Delta, StopReason};
use crate::failure::Failure;
use crate::json::Writer;
use crate::sse;
use crate::usage::Usage;

/// Writes deltas as the events of a message: one `message_start`, blocks one after the other, then
/// `message_delta` with the reason and the usage, and `message_stop`. A stream that fails ends with one
/// `error` and without `message_stop`.
///
/// The API has one answer: what other choices say is left out.
#[derive(Debug)]
pub struct EventWriter {
    stamp: Stamp,
    /// What the model is called where the provider does not say.
    model: String,
    has_started: bool,
    /// The block that is open.
    block: Block,
    /// How many blocks have begun.
    blocks: u64,
    /// The blocks of the calls, by the number of the call.
    calls: Vec<u64>,
    stop: Option<&'static str>,
    has_refusal: bool,
    usage: Usage,
    is_finished: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    None,
    Text,
    Thinking,
    ToolUse,
}

impl EventWriter {
    /// A writer at the start of a stream. `model` is what it is called where the provider does not say.
    pub fn new(model: impl Into<String>, stamp: Stamp) -> Self {
        Self {
            stamp,
            model: model.into(),
            has_started: false,
            block: Block::None,
            blocks: 0,
            calls: Vec::new(),
            stop: None,
            has_refusal: false,
            usage: Usage::default(),
            is_finished: false,
        }
    }

    fn start(&mut self, id: &str, model: &str, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.has_started, true) {
            return;
        }
        event("message_start", out, |json| {
            json.key("message").object(|json| {
                head(json, id, model, &self.model, self.stamp);
                json.key("content").array(|_| {});
                json.key("stop_reason").null();
                json.key("stop_sequence").null();
                usage(json.key("usage"), &self.usage);
            });
        });
    }

    /// Opens a block of this kind, unless it is open.
    fn open(&mut self, block: Block, out: &mut Vec<u8>, members: impl FnOnce(&mut Writer)) {
        self.start("", "", out);
        self.close(out);
        self.block = block;
        let index = self.blocks;
        self.blocks += 1;
        event("content_block_start", out, |json| {
            json.key("index").number(index);
            json.key("content_block").object(members);
        });
    }

    /// Closes the block that is open.
    fn close(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.block, Block::None) != Block::None {
            let index = self.blocks.saturating_sub(1);
            event("content_block_stop", out, |json| {
                json.key("index").number(index);
            });
        }
    }

    fn delta(&self, index: u64, kind: &str, member: &'static str, text: &str, out: &mut Vec<u8>) {
        event("content_block_delta", out, |json| {
            json.key("index").number(index);
            json.key("delta").object(|json| {
                json.key("type").string(kind);
                json.key(member).string(text);
            });
        });
    }

    fn text(&mut self, text: &str, out: &mut Vec<u8>) {
        if self.block != Block::Text {
            self.open(Block::Text, out, |json| {
                json.key("type").string("text");
                json.key("text").string("");
            });
        }
        self.delta(
            self.blocks.saturating_sub(1),
            "text_delta",
            "text",
            text,
            out,
        );
    }

    fn thinking(&mut self, text: &str, out: &mut Vec<u8>) {
        if self.block != Block::Thinking {
            self.open(Block::Thinking, out, |json| {
                json.key("type").string("thinking");
                json.key("thinking").string("");
                json.key("signature").string("");
            });
        }
        let index = self.blocks.saturating_sub(1);
        self.delta(index, "thinking_delta", "thinking", text, out);
    }

    fn call(&mut self, id: &str, name: &str, signature: Option<&str>, out: &mut Vec<u8>) {
        if let Some(signature) = signature {
            self.open(Block::ToolUse, out, |json| {
                json.key("type").string("redacted_thinking");
                json.key("data").string_of(&[CALL_SIGNATURE, signature]);
            });
        }
        let made;
        let id = match id.is_empty() {
            true => {
                made = call_id(self.stamp, self.calls.len() as u64);
                &made
            }
            false => id,
        };
        self.open(Block::ToolUse, out, |json| {
            json.key("type").string("tool_use");
            json.key("id").string(id);
            json.key("name").string(name);
            json.key("input").object(|_| {});
        });
        self.calls.push(self.blocks.saturating_sub(1));
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start("", "", out);
        self.close(out);
        let stop = self.stop.unwrap_or(stop_reason(StopReason::Stop));
        let stop = match self.has_refusal && stop == stop_reason(StopReason::Stop) {
            true => stop_reason(StopReason::ContentFilter),
            false => stop,
        };
        event("message_delta", out, |json| {
            json.key("delta").object(|json| {
                json.key("stop_reason").string(stop);
                json.key("stop_sequence").null();
            });
            usage(json.key("usage"), &self.usage);
        });
        event("message_stop", out, |_| {});
        self.is_finished = true;
    }
}

impl StreamWriter for EventWriter {
    fn write(&mut self, delta: Delta<'_>, out: &mut Vec<u8>) {
        if self.is_finished {
            return;
        }
        match delta {
            Delta::Start { id, model } => self.start(id, model, out),
            Delta::Text { choice: 0, text } => self.text(text, out),
            Delta::Reasoning { choice: 0, text } => self.thinking(text, out),
            Delta::Refusal { choice: 0, text } => {
                self.has_refusal = true;
                self.text(text, out);
            }
            // Later it would stand behind what was said, where no client expects it.
            Delta::ReasoningSignature {
                choice: 0,
                signature,
            } if self.block == Block::Thinking => {
                let index = self.blocks.saturating_sub(1);
                self.delta(index, "signature_delta", "signature", signature, out);
            }
            Delta::ToolCallStart { index, .. } | Delta::ToolCallArguments { index, .. }
                if index > 0 && self.stamp.calls != CallStyle::All => {}
            Delta::ToolCallStart {
                choice: 0,
                id,
                name,
                signature,
                ..
            } => self.call(id, name, signature, out),
            Delta::ToolCallArguments {
                choice: 0,
                index,
                fragment,
            } => {
                let index = usize::try_from(index).unwrap_or(usize::MAX);
                if let Some(block) = self.calls.get(index) {
                    self.delta(*block, "input_json_delta", "partial_json", fragment, out);
                }
            }
            Delta::Stop { choice: 0, reason } => {
                self.stop.get_or_insert(stop_reason(reason));
            }
            Delta::Usage(usage) => self.usage = usage,
            Delta::Error {
                status,
                message,
                code,
            } => {
                let failure = Failure::new(status, message);
                self.fail(&failure.with_code(code.map(Into::into)), out);
            }
            Delta::Comment(comment) => sse::write_comment(comment, out),
            Delta::Ping => event("ping", out, |_| {}),
            Delta::End => self.end(out),
            // What the API has no place for, and other choices.
            Delta::Annotations { .. }
            | Delta::Logprobs { .. }
            | Delta::Reasoning { .. }
            | Delta::ReasoningSignature { .. }
            | Delta::Refusal { .. }
            | Delta::Stop { .. }
            | Delta::Text { .. }
            | Delta::ToolCallArguments { .. }
            | Delta::ToolCallStart { .. } => {}
        }
    }

    fn fail(&mut self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.is_finished, true) {
            out.extend_from_slice(b"event: error\n");
            sse::write_data(&error::to_json(failure), out);
        }
    }

    fn is_finished(&self) -> bool {
        self.is_finished
    }
}

/// An event of which the data has this type and these members. JSON text has no line ends.
fn event(kind: &'static str, out: &mut Vec<u8>, members: impl FnOnce(&mut Writer)) {
    for piece in ["event: ", kind, "\ndata: "] {
        out.extend_from_slice(piece.as_bytes());
    }
    let mut json = Writer::after(std::mem::take(out));
    json.object(|json| {
        json.key("type").string(kind);
        members(json);
    });
    *out = json.into_bytes();
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(deltas: &[Delta<'_>]) -> Vec<String> {
        let mut writer = EventWriter::new("asked", Stamp::default());
        let mut out = Vec::new();
        for &delta in deltas {
            writer.write(delta, &mut out);
        }
        let text = String::from_utf8(out).unwrap();
        let events = text.split("\n\n").filter(|it| !it.is_empty());
        events
            .map(|event| {
                let (name, data) = event.split_once("\ndata: ").unwrap();
                let name = name.strip_prefix("event: ").unwrap();
                assert!(
                    data.starts_with(&format!(r#"{{"type":"{name}""#)),
                    "{event}"
                );
                data.to_owned()
            })
            .collect()
    }

    #[test]
    fn blocks_come_one_after_the_other() {
        let text = |text| Delta::Text { choice: 0, text };
        let seen = written(&[
            Delta::Start {
                id: "i",
                model: "m",
            },
            Delta::Reasoning {
                choice: 0,
                text: "t",
            },
            Delta::ReasoningSignature {
                choice: 0,
                signature: "S",
            },
            text("a"),
            Delta::Ping,
            text("b"),
            Delta::ToolCallStart {
                choice: 0,
                index: 0,
                id: "",
                name: "f",
                signature: Some("G"),
            },
            Delta::ToolCallArguments {
                choice: 0,
                index: 0,
                fragment: "{}",
            },
            Delta::Stop {
                choice: 0,
                reason: StopReason::ToolCalls,
            },
            Delta::Usage(Usage {
                prompt: Some(9),
                completion: Some(2),
                cached: Some(4),
                ..Usage::default()
            }),
            Delta::End,
            text("late"),
        ]);
        let expected = [
            r#"{"type":"message_start","message":{"id":"i","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"t"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"S"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"a"}}"#,
            r#"{"type":"ping"}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"b"}}"#,
            r#"{"type":"content_block_stop","index":1}"#,
            r#"{"type":"content_block_start","index":2,"content_block":{"type":"redacted_thinking","data":"call-signature:G"}}"#,
            r#"{"type":"content_block_stop","index":2}"#,
            r#"{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_0000000000000000_0","name":"f","input":{}}}"#,
            r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
            r#"{"type":"content_block_stop","index":3}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":4,"output_tokens":2}}"#,
            r#"{"type":"message_stop"}"#,
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn an_error_ends_the_stream_without_its_end() {
        let seen = written(&[
            Delta::Start { id: "", model: "" },
            Delta::Error {
                status: 503,
                message: "busy",
                code: None,
            },
            Delta::End,
        ]);
        let expected = r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[1], expected);
    }
}
