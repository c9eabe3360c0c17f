//! Looks at a provider's reply while it passes: the usage, the model, why it ended. It is not parsed, and
//! every byte stays, but for the one chunk of a stream that the client has not asked for.
//!
//! # The chunk with the usage
//!
//! A stream of chat completions tells the usage only on request, in a chunk of its own:
//! `"choices":[]` beside `usage`. Where the gateway has requested it and the client has not, that event is taken
//! out. An event goes on as soon as it is certain that it is another one: when a choice begins, or at its
//! end. Until then its first bytes wait here.
//!
//! Source: <https://platform.openai.com/docs/api-reference/chat/create#chat_create-stream_options>.

use super::BodyChange;
use crate::json::{self, Place, ROOT, Seeker, Wants};
use crate::operation::Kind;
use crate::provider::{anthropic, openai};
use crate::usage::Observed;

/// A reply that passes.
pub struct ReplyScan {
    form: Form,
    seeker: Seeker,
    /// The counts of a Messages reply, which come in several events.
    counts: anthropic::Counts,
    /// What is known until now.
    pub observed: Observed,
    /// Where a stream is; `None`: the reply is one JSON text.
    lines: Option<Lines>,
    /// The event that may have to be taken out; `None`: none ever has.
    hidden: Option<Hidden>,
}

/// The form of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Chat,
    Messages,
    /// Only a model and the usage.
    Plain,
    Responses,
}

/// Where the bytes at hand are within a stream of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lines {
    line: Line,
    /// Whether the last line has ended with a CR: an LF belongs to it.
    was_cr: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// The text of a `data` field.
    Data,
    /// Another field, or a comment.
    Other,
    /// The beginning, of which so many bytes are those of `data:`.
    Start(usize),
}

/// The event at hand, as long as it may be the one to be taken out.
#[derive(Default)]
struct Hidden {
    /// Its bytes that have arrived earlier.
    waiting: Vec<u8>,
    /// Whether it goes on.
    passes: bool,
    /// Whether it has the usage.
    has_usage: bool,
}

impl ReplyScan {
    /// A reply to a call of this kind; `None`: such a reply has no usage. `hides_usage`: it is a stream whose
    /// chunk with the usage is not for the client.
    pub fn new(kind: Kind, is_stream: bool, hides_usage: bool) -> Option<Self> {
        let (form, places): (Form, &'static [Place]) = match kind {
            Kind::ChatCompletions | Kind::Completions => (Form::Chat, &CHAT),
            Kind::Messages => (Form::Messages, &MESSAGES),
            Kind::Responses => (Form::Responses, &RESPONSES),
            Kind::Audio | Kind::Embeddings | Kind::Images => (Form::Plain, &PLAIN),
            Kind::CountTokens
            | Kind::InputTokens
            | Kind::Models
            | Kind::Moderations
            | Kind::Other
            | Kind::Rerank
            | Kind::Speech
            | Kind::StoredResponses => return None,
        };
        let lines = Lines {
            line: Line::Start(0),
            was_cr: false,
        };
        let mut seeker = Seeker::new(places);
        if !is_stream {
            (FIRST_TOKEN..places.len()).for_each(|place| seeker.give_up(place));
        }
        Some(Self {
            form,
            seeker,
            counts: anthropic::Counts::default(),
            observed: Observed::default(),
            lines: is_stream.then_some(lines),
            hidden: (is_stream && hides_usage).then(Hidden::default),
        })
    }

    /// Takes the next part of the body, and gives what becomes of it. `ends`: it is the last.
    pub fn push(&mut self, bytes: &[u8], ends: bool) -> BodyChange {
        if self.lines.is_none() {
            self.look(bytes);
            return BodyChange::Keep;
        }
        // What goes on, once it is not all that is at hand.
        let mut out: Option<Vec<u8>> = None;
        // Where the event at hand begins in `bytes`.
        let mut start = 0;
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let (length, has_ended) = self.line(rest);
            at += length;
            if has_ended {
                let event = bytes.get(start..at).unwrap_or_default();
                self.event_ends(event, bytes, start, &mut out);
                start = at;
            }
        }
        if let Some(hidden) = &mut self.hidden {
            let event = bytes.get(start..).unwrap_or_default();
            let is_long = hidden.waiting.len() + event.len() > MAX_HIDDEN_BYTES;
            hidden.passes |= is_long || (ends && !hidden.has_usage);
            if hidden.passes {
                let waiting = std::mem::take(&mut hidden.waiting);
                pass(&waiting, event, bytes, start, &mut out);
            } else if !event.is_empty() {
                out.get_or_insert_with(|| bytes.get(..start).unwrap_or_default().to_vec());
                hidden.waiting.extend_from_slice(event);
            }
        }
        match out {
            Some(out) => BodyChange::Replace(out),
            None => BodyChange::Keep,
        }
    }

    /// Reads up to the end of a line at most. Gives the length, and whether an event has ended.
    fn line(&mut self, bytes: &[u8]) -> (usize, bool) {
        let Some(lines) = &mut self.lines else {
            return (bytes.len(), false);
        };
        let Some(&first) = bytes.first() else {
            return (0, false);
        };
        if std::mem::take(&mut lines.was_cr) && first == b'\n' {
            return (1, false);
        }
        match lines.line {
            Line::Start(0) if matches!(first, b'\r' | b'\n') => {
                lines.was_cr = first == b'\r';
                (1, true)
            }
            Line::Start(matched) if DATA.get(matched) == Some(&first) => {
                lines.line = match matched + 1 == DATA.len() {
                    true => Line::Data,
                    false => Line::Start(matched + 1),
                };
                (1, false)
            }
            Line::Start(_) => {
                lines.line = Line::Other;
                (0, false)
            }
            line @ (Line::Data | Line::Other) => {
                let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
                let text = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes);
                let length = match end {
                    Some(end) => {
                        lines.was_cr = bytes.get(end) == Some(&b'\r');
                        lines.line = Line::Start(0);
                        end + 1
                    }
                    None => bytes.len(),
                };
                if line == Line::Data {
                    self.look(text);
                }
                (length, false)
            }
        }
    }

    /// The event at hand, whose last part is `event`, has ended.
    fn event_ends(&mut self, event: &[u8], bytes: &[u8], start: usize, out: &mut Option<Vec<u8>>) {
        self.seeker.restart();
        let Some(hidden) = &mut self.hidden else {
            return;
        };
        let Hidden {
            waiting,
            passes,
            has_usage,
        } = std::mem::take(hidden);
        if has_usage && !passes {
            out.get_or_insert_with(|| bytes.get(..start).unwrap_or_default().to_vec());
            return;
        }
        pass(&waiting, event, bytes, start, out);
    }

    /// Looks at the next part of a JSON text.
    fn look(&mut self, text: &[u8]) {
        let Self {
            form,
            seeker,
            counts,
            observed,
            hidden,
            ..
        } = self;
        seeker.push(text, &mut |seeker, place, text| match (*form, place) {
            (_, MODEL | MODEL_WITHIN) => {
                observed.model = json::decode_string(text).map(Into::into);
                if observed.model.is_some() {
                    seeker.give_up(MODEL);
                    seeker.give_up(MODEL_WITHIN);
                }
            }
            (Form::Messages, USAGE | USAGE_WITHIN) => {
                if counts.update_by(text) {
                    observed.usage = counts.usage();
                }
            }
            (_, USAGE | USAGE_WITHIN) => {
                if let Some(usage) = openai::usage_of(text) {
                    observed.usage = usage;
                    if let Some(hidden) = hidden {
                        hidden.has_usage = true;
                    }
                }
            }
            (_, REASON | REASON_WITHIN) => {
                let reason = json::decode_string(text);
                if let Some(reason) = reason.filter(|it| !UNFINISHED.contains(&&**it)) {
                    observed.finish_reason = Some(reason.into());
                }
            }
            (Form::Chat, CHAT_ITEM) => {
                if let Some(hidden) = hidden {
                    hidden.passes = true;
                }
            }
            _ => {
                observed.has_begun = true;
                for place in FIRST_TOKEN..places_of(*form).len() {
                    seeker.give_up(place);
                }
            }
        });
    }
}

/// Passes an event on whose first part has waited: a copy is made where the bytes at hand are not all that goes on.
fn pass(waiting: &[u8], event: &[u8], bytes: &[u8], start: usize, out: &mut Option<Vec<u8>>) {
    if !waiting.is_empty() {
        let out = out.get_or_insert_with(|| bytes.get(..start).unwrap_or_default().to_vec());
        out.extend_from_slice(waiting);
    }
    if let Some(out) = out {
        out.extend_from_slice(event);
    }
}

fn places_of(form: Form) -> &'static [Place] {
    match form {
        Form::Chat => &CHAT,
        Form::Messages => &MESSAGES,
        Form::Plain => &PLAIN,
        Form::Responses => &RESPONSES,
    }
}

const fn place(within: usize, name: &'static str, wants: Wants) -> Place {
    Place {
        within: within as u8,
        name,
        wants,
    }
}

const TOP: usize = ROOT as usize;

// The places that several forms have, by their numbers, which are the same in all.
const MODEL: usize = 0;
const USAGE: usize = 1;
const REASON: usize = 2;
/// What has a model, a usage and a reason within it.
const WITHIN: usize = 3;
const MODEL_WITHIN: usize = 4;
const USAGE_WITHIN: usize = 5;
const REASON_WITHIN: usize = 6;
/// A choice, in a chat.
const CHAT_ITEM: usize = 7;
/// From here on what tells that the answer has begun.
const FIRST_TOKEN: usize = 10;

/// `finish_reason` of a choice is [`REASON_WITHIN`]. Nothing is ever in [`WITHIN`].
const CHAT: [Place; 17] = [
    place(TOP, "model", Wants::Text),
    place(TOP, "usage", Wants::Text),
    place(TOP, "\0", Wants::Nothing),
    place(TOP, "choices", Wants::Nothing),
    place(2, "\0", Wants::Nothing),
    place(2, "\0", Wants::Nothing),
    place(CHAT_ITEM, "finish_reason", Wants::Text),
    place(WITHIN, "", Wants::Presence),
    place(CHAT_ITEM, "delta", Wants::Nothing),
    place(2, "\0", Wants::Nothing),
    place(8, "content", Wants::Presence),
    place(8, "reasoning_content", Wants::Presence),
    place(8, "reasoning", Wants::Presence),
    place(8, "refusal", Wants::Presence),
    place(8, "tool_calls", Wants::Presence),
    place(8, "function_call", Wants::Presence),
    place(CHAT_ITEM, "text", Wants::Presence),
];

/// `message` of `message_start`, and `delta` of `message_delta` and of `content_block_delta`.
const MESSAGES: [Place; 13] = [
    place(TOP, "model", Wants::Text),
    place(TOP, "usage", Wants::Text),
    place(TOP, "stop_reason", Wants::Text),
    place(TOP, "message", Wants::Nothing),
    place(WITHIN, "model", Wants::Text),
    place(WITHIN, "usage", Wants::Text),
    place(8, "stop_reason", Wants::Text),
    place(2, "\0", Wants::Nothing),
    place(TOP, "delta", Wants::Nothing),
    place(2, "\0", Wants::Nothing),
    place(8, "text", Wants::Presence),
    place(8, "thinking", Wants::Presence),
    place(8, "partial_json", Wants::Presence),
];

const RESPONSES: [Place; 11] = [
    place(TOP, "model", Wants::Text),
    place(TOP, "usage", Wants::Text),
    place(TOP, "status", Wants::Text),
    place(TOP, "response", Wants::Nothing),
    place(WITHIN, "model", Wants::Text),
    place(WITHIN, "usage", Wants::Text),
    place(WITHIN, "status", Wants::Text),
    place(2, "\0", Wants::Nothing),
    place(2, "\0", Wants::Nothing),
    place(2, "\0", Wants::Nothing),
    place(TOP, "delta", Wants::Presence),
];

const PLAIN: [Place; 2] = [
    place(TOP, "model", Wants::Text),
    place(TOP, "usage", Wants::Text),
];

/// States of a response that has not ended.
const UNFINISHED: [&str; 2] = ["in_progress", "queued"];

const DATA: &[u8] = b"data:";

/// How long the chunk with the usage may be, and so how much waits. Unit: bytes.
const MAX_HIDDEN_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Usage;

    /// What goes on, and what was observed.
    fn passed(kind: Kind, hides: bool, chunks: &[&[u8]]) -> (String, Observed) {
        let is_stream = !chunks.concat().starts_with(b"{");
        let mut scan = ReplyScan::new(kind, is_stream, hides).unwrap();
        let mut all = Vec::new();
        let count = chunks.len();
        for (number, chunk) in chunks.iter().enumerate() {
            match scan.push(chunk, number + 1 == count) {
                BodyChange::Keep => all.extend_from_slice(chunk),
                BodyChange::Replace(bytes) => all.extend(bytes),
                BodyChange::Splice { .. } => panic!("nothing is spliced"),
            }
        }
        (String::from_utf8(all).unwrap(), scan.observed)
    }

    /// The same at every chunking, which must not matter.
    fn always(kind: Kind, hides: bool, body: &str) -> (String, Observed) {
        let bytes = body.as_bytes();
        let whole = passed(kind, hides, &[bytes]);
        let singly: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(passed(kind, hides, &singly), whole, "byte by byte");
        for at in 0..=bytes.len() {
            let parts = [&bytes[..at], &bytes[at..]];
            assert_eq!(passed(kind, hides, &parts), whole, "{body:?} at {at}");
        }
        whole
    }

    const CHUNK: &str = r#"data: {"id":"c","model":"gpt-x","choices":[{"index":0,"delta":{"content":"\"usage\":{\"prompt_tokens\":9}"},"finish_reason":null}],"usage":null}"#;
    const LAST: &str = r#"data: {"id":"c","model":"gpt-x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    const USAGE_CHUNK: &str = r#"data: {"id":"c","model":"gpt-x","choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":3}}}"#;

    fn usage() -> Usage {
        Usage {
            prompt: Some(11),
            completion: Some(7),
            cached: Some(4),
            cache_written: None,
            reasoning: Some(3),
            total: Some(18),
        }
    }

    #[test]
    fn the_chunk_that_nobody_requested_is_taken_out_whatever_the_chunks_and_line_ends() {
        for end in ["\n\n", "\r\n\r\n", "\r\r"] {
            let others = format!("{CHUNK}{end}: ping{end}{LAST}{end}");
            let body = format!("{others}{USAGE_CHUNK}{end}data: [DONE]{end}");
            let (passed, observed) = always(Kind::ChatCompletions, true, &body);
            let without = format!("{others}data: [DONE]{end}");
            // Of a line end of two bytes that is cut, the second one may stay: it ends an empty event.
            let lines = |text: &str| -> Vec<String> {
                let lines = text.split(['\r', '\n']).filter(|line| !line.is_empty());
                lines.map(str::to_owned).collect()
            };
            assert_eq!(lines(&passed), lines(&without));
            assert_eq!(observed.usage, usage());
            assert_eq!(observed.model.as_deref(), Some("gpt-x"));
            assert_eq!(observed.finish_reason.as_deref(), Some("stop"));
            assert!(observed.has_begun);
            let (passed, observed) = always(Kind::ChatCompletions, false, &body);
            assert_eq!(passed, body);
            assert_eq!(observed.usage, usage());
        }
    }

    #[test]
    fn what_is_not_that_chunk_passes_byte_for_byte() {
        let with_choice =
            r#"data: {"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":1}}"#;
        let of_azure = r#"data: {"choices":[],"prompt_filter_results":[{}],"usage":null}"#;
        for body in [
            format!("{with_choice}\n\n{of_azure}\n\ndata: [DONE]\n\n"),
            format!(
                "{CHUNK}\n\ndata: {{\"choices\":[],\"x\":\"{}\"}}\n\n",
                "y".repeat(100)
            ),
            "data: {\"error\":{}}".to_owned(),
            "event: x\ndata:{\"choices\":[],\ndata:\"a\":1}\nid: 1\n\n".to_owned(),
        ] {
            assert_eq!(always(Kind::ChatCompletions, true, &body).0, body);
        }
        let long = format!(
            "data: {{\"choices\":[],\"x\":\"{}\",\"usage\":{{\"prompt_tokens\":1}}}}\n\n",
            "y".repeat(2 * MAX_HIDDEN_BYTES)
        );
        let chunks: Vec<&[u8]> = long.as_bytes().chunks(1000).collect();
        assert_eq!(passed(Kind::ChatCompletions, true, &chunks).0, long);
    }

    #[test]
    fn an_event_goes_on_when_its_last_byte_has_come() {
        let mut scan = ReplyScan::new(Kind::ChatCompletions, true, true).unwrap();
        let event = format!("{CHUNK}\n\n");
        assert_eq!(scan.push(event.as_bytes(), false), BodyChange::Keep);
    }

    #[test]
    fn usage_is_found_in_every_form() {
        let anthropic = concat!(
            "event: message_start\n",
            r#"data: {"type":"message_start","message":{"model":"claude-x","usage":{"input_tokens":5,"cache_read_input_tokens":4,"cache_creation_input_tokens":2,"output_tokens":1}}}"#,
            "\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n",
            r#"data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}"#,
            "\n\n",
            r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}}"#,
            "\n\n",
        );
        let of_anthropic = Usage {
            prompt: Some(11),
            completion: Some(7),
            cached: Some(4),
            cache_written: Some(2),
            ..Usage::default()
        };
        let responses = concat!(
            r#"data: {"type":"response.created","response":{"model":"gpt-r","status":"in_progress","usage":null}}"#,
            "\n\n",
            r#"data: {"type":"response.output_text.delta","delta":"a"}"#,
            "\n\n",
            r#"data: {"type":"response.completed","response":{"status":"completed","output":[{"usage":{"input_tokens":99}}],"usage":{"input_tokens":11,"input_tokens_details":{"cached_tokens":4},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":18}}}"#,
            "\n\n",
        );
        for (kind, body, expected, model, reason) in [
            (
                Kind::Messages,
                anthropic,
                of_anthropic,
                "claude-x",
                Some("end_turn"),
            ),
            (
                Kind::Messages,
                r#"{"model":"claude-x","content":[{"usage":{"input_tokens":1}}],"stop_reason":"end_turn","usage":{"input_tokens":5,"cache_read_input_tokens":4,"cache_creation_input_tokens":2,"output_tokens":7}}"#,
                of_anthropic,
                "claude-x",
                Some("end_turn"),
            ),
            (
                Kind::Responses,
                responses,
                usage(),
                "gpt-r",
                Some("completed"),
            ),
            (
                Kind::ChatCompletions,
                r#"{"model":"gpt-x","choices":[{"message":{"content":"{\"usage\":{\"prompt_tokens\":1}}"},"finish_reason":"stop"}],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":3}}}"#,
                usage(),
                "gpt-x",
                Some("stop"),
            ),
            (
                Kind::Embeddings,
                r#"{"data":[{"embedding":[0.1,-2e3]}],"model":"e","usage":{"prompt_tokens":11,"total_tokens":11}}"#,
                Usage {
                    prompt: Some(11),
                    total: Some(11),
                    ..Usage::default()
                },
                "e",
                None,
            ),
        ] {
            let (passed, observed) = always(kind, false, body);
            assert_eq!(passed, body);
            assert_eq!(observed.usage, expected, "{body}");
            assert_eq!(observed.model.as_deref(), Some(model));
            assert_eq!(observed.finish_reason.as_deref(), reason);
        }
    }
}
