//! Writing a streamed reply.

use std::rc::Rc;

use super::custom;
use super::error;
use super::reply::{
    MAX_NAME_BYTES, annotations, extra_content, finish_reason, is_known, logprobs, usage,
};
use crate::api::{Stamp, StreamWriter};
use crate::chat::{CallStyle, Delta, Logprobs};
use crate::failure::Failure;
use crate::json::Writer;
use crate::sse;
use crate::usage::Usage;

/// Writes deltas as `chat.completion.chunk` events.
///
/// One id, time and model for the whole stream; the role once per choice, in a chunk of its own; one
/// `finish_reason` per choice; the usage chunk only for a client that asked; then exactly one
/// `[DONE]`. A stream that fails ends with one error event and without `[DONE]`.
#[derive(Debug)]
pub struct ChunkWriter {
    stamp: Stamp,
    /// What the model is called where the provider does not say.
    model: String,
    include_usage: bool,
    /// Every event up to its choices, once it is known.
    head: Option<Vec<u8>>,
    /// By number.
    choices: Vec<Choice>,
    /// How the text goes on that was written last. Its choice has its role, and has not stopped.
    row: Option<Row>,
    /// The names of the custom tools.
    custom_tools: Rc<[String]>,
    /// The calls of them that have begun: of which choice, and which.
    custom_calls: Vec<((u64, u64), custom::Input)>,
    usage: Usage,
    is_finished: bool,
}

/// Chunks of which only the text differs. Nearly all chunks of a stream are in one or two rows.
#[derive(Debug)]
struct Row {
    choice: u64,
    /// Of the chunk's `delta`: what the text is.
    member: &'static str,
    before: Vec<u8>,
    after: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Choice {
    has_role: bool,
    has_stopped: bool,
}

/// More than any reply has.
const MAX_CUSTOM_CALLS: usize = 1024;

/// More choices than any provider gives: a number beyond them is not worth memory.
const MAX_CHOICES: u64 = 1024;

impl ChunkWriter {
    /// A writer at the start of a stream. `model` is what it is called where the provider does not
    /// say.
    pub fn new(model: impl Into<String>, stamp: Stamp, include_usage: bool) -> Self {
        Self {
            stamp,
            model: model.into(),
            include_usage,
            head: None,
            choices: Vec::new(),
            row: None,
            custom_tools: Rc::default(),
            custom_calls: Vec::new(),
            usage: Usage::default(),
            is_finished: false,
        }
    }

    /// The same, where these functions are custom tools.
    pub(super) fn with_custom_tools(mut self, names: Rc<[String]>) -> Self {
        self.custom_tools = names;
        self
    }

    /// What a piece of the arguments says of a custom tool's text; `None`: the call is of a function.
    fn custom_input(&mut self, choice: u64, index: u64, fragment: &str) -> Option<String> {
        let mut calls = self.custom_calls.iter_mut();
        let (_, input) = calls.find(|(call, _)| *call == (choice, index))?;
        let mut text = String::new();
        input.push(fragment, &mut text);
        Some(text)
    }
}

impl StreamWriter for ChunkWriter {
    fn is_finished(&self) -> bool {
        self.is_finished
    }

    fn write(&mut self, delta: Delta<'_>, out: &mut Vec<u8>) {
        if self.is_finished {
            return;
        }
        match delta {
            Delta::Start { id, model } => {
                if self.head.is_none() {
                    self.head = Some(self.new_head(id, model));
                }
                self.role(0, out);
            }
            Delta::Text { choice, text } => self.text(choice, "content", text, out),
            Delta::Reasoning { choice, text } => {
                self.text(choice, "reasoning_content", text, out);
            }
            Delta::Refusal { choice, text } => self.text(choice, "refusal", text, out),
            Delta::ReasoningSignature { choice, signature } => self.delta(choice, out, |json| {
                json.key("reasoning_signature").string(signature);
            }),
            Delta::ToolCallStart { index, .. } | Delta::ToolCallArguments { index, .. }
                if index > 0 && self.stamp.calls != CallStyle::All => {}
            Delta::ToolCallStart { choice, name, .. }
                if self.stamp.calls == CallStyle::Function =>
            {
                self.delta(choice, out, |json| {
                    json.key("function_call").object(|json| {
                        json.key("name").string(name);
                        json.key("arguments").string("");
                    });
                });
            }
            Delta::ToolCallArguments {
                choice, fragment, ..
            } if self.stamp.calls == CallStyle::Function => self.delta(choice, out, |json| {
                json.key("function_call").object(|json| {
                    json.key("arguments").string(fragment);
                });
            }),
            Delta::Annotations {
                choice,
                annotations: all,
            } => self.delta(choice, out, |json| {
                annotations(json.key("annotations"), all)
            }),
            Delta::ToolCallStart {
                choice,
                index,
                id,
                name,
                signature,
            } => {
                let id = self.stamp.call_id(id, choice, index);
                let is_custom = self.custom_tools.iter().any(|it| it == name)
                    && self.custom_calls.len() < MAX_CUSTOM_CALLS;
                if is_custom {
                    let call = ((choice, index), custom::Input::default());
                    self.custom_calls.push(call);
                }
                let (kind, text) = match is_custom {
                    true => ("custom", "input"),
                    false => ("function", "arguments"),
                };
                self.call(choice, out, |json| {
                    json.key("index").number(index);
                    json.key("id").string(&id);
                    json.key("type").string(kind);
                    json.key(kind).object(|json| {
                        json.key("name").string(name);
                        json.key(text).string("");
                    });
                    if let Some(signature) = signature {
                        extra_content(json, |json| json.string(signature));
                    }
                });
            }
            Delta::ToolCallArguments {
                choice,
                index,
                fragment,
            } if !self.custom_calls.is_empty()
                && let Some(input) = self.custom_input(choice, index, fragment) =>
            {
                if !input.is_empty() {
                    self.call(choice, out, |json| {
                        json.key("index").number(index);
                        json.key("custom")
                            .object(|json| json.key("input").string(&input));
                    });
                }
            }
            Delta::ToolCallArguments {
                choice,
                index,
                fragment,
            } => self.call(choice, out, |json| {
                json.key("index").number(index);
                json.key("function").object(|json| {
                    json.key("arguments").string(fragment);
                });
            }),
            Delta::Logprobs { choice, tokens } => {
                if self.goes_on(choice, out) {
                    self.chunk(choice, out, Some(tokens), None, |_| {});
                }
            }
            Delta::Stop { choice, reason } => {
                self.role(choice, out);
                if let Some(state) = self.choice(choice)
                    && !std::mem::replace(&mut state.has_stopped, true)
                {
                    self.chunk(
                        choice,
                        out,
                        None,
                        Some(finish_reason(reason, self.stamp.calls)),
                        |_| {},
                    );
                    self.row = None;
                }
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
            Delta::Ping => sse::write_comment(" ping", out),
            Delta::End => self.end(out),
        }
    }

    fn fail(&mut self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.is_finished, true) {
            sse::write_data(&error::to_json(failure), out);
        }
    }
}

impl ChunkWriter {
    fn end(&mut self, out: &mut Vec<u8>) {
        if self.include_usage && is_known(&self.usage) {
            out.extend_from_slice(self.head());
            let mut json = Writer::after(std::mem::take(out));
            json.close_array();
            usage(json.key("usage"), &self.usage);
            json.close_object();
            *out = json.into_bytes();
            out.extend_from_slice(b"\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        self.is_finished = true;
    }

    /// The chunk with the role, unless the choice had it.
    fn role(&mut self, choice: u64, out: &mut Vec<u8>) {
        if let Some(state) = self.choice(choice)
            && !std::mem::replace(&mut state.has_role, true)
        {
            self.chunk(choice, out, None, None, |json| {
                json.key("role").string("assistant");
                json.key("content").string("");
            });
        }
    }

    /// Whether more of a choice can come, after its role, and before its end.
    fn goes_on(&mut self, choice: u64, out: &mut Vec<u8>) -> bool {
        self.role(choice, out);
        self.choice(choice).is_some_and(|state| !state.has_stopped)
    }

    /// A chunk with more text.
    fn text(&mut self, choice: u64, member: &'static str, text: &str, out: &mut Vec<u8>) {
        // A name that stands somewhere else begins a row, which says the same.
        let is_of = |row: &Row| row.choice == choice && std::ptr::eq(row.member, member);
        if !self.row.as_ref().is_some_and(is_of) {
            self.begin_row(choice, member, out);
        }
        if let Some(row) = &self.row {
            out.extend_from_slice(&row.before);
            let mut json = Writer::after(std::mem::take(out));
            json.string(text);
            *out = json.into_bytes();
            out.extend_from_slice(&row.after);
        }
    }

    #[cold]
    fn begin_row(&mut self, choice: u64, member: &'static str, out: &mut Vec<u8>) {
        self.row = None;
        if self.goes_on(choice, out) {
            let mut before = self.open(choice, Vec::new());
            before.key(member);
            self.row = Some(Row {
                choice,
                member,
                before: before.into_bytes(),
                after: self.close(Writer::default(), None, None),
            });
        }
    }

    /// A chunk with a piece of a tool call.
    fn call(&mut self, choice: u64, out: &mut Vec<u8>, call: impl FnOnce(&mut Writer)) {
        self.delta(choice, out, |json| {
            json.key("tool_calls").array(|json| json.object(call));
        });
    }

    /// A chunk with a piece of a choice, after its role and before its end.
    fn delta(&mut self, choice: u64, out: &mut Vec<u8>, members: impl FnOnce(&mut Writer)) {
        if self.goes_on(choice, out) {
            self.chunk(choice, out, None, None, members);
        }
    }

    fn chunk(
        &mut self,
        choice: u64,
        out: &mut Vec<u8>,
        tokens: Option<Logprobs<'_>>,
        stop: Option<&str>,
        members: impl FnOnce(&mut Writer),
    ) {
        let mut json = self.open(choice, std::mem::take(out));
        members(&mut json);
        *out = self.close(json, tokens, stop);
    }

    /// A chunk up to the members of its `delta`.
    fn open(&mut self, choice: u64, mut out: Vec<u8>) -> Writer {
        out.extend_from_slice(self.head());
        let mut json = Writer::after(out);
        json.open_object();
        json.key("index").number(choice);
        json.key("delta").open_object();
        json
    }

    /// The rest of a chunk. JSON text has no line ends.
    fn close(&self, mut json: Writer, tokens: Option<Logprobs<'_>>, stop: Option<&str>) -> Vec<u8> {
        json.close_object();
        logprobs(json.key("logprobs"), tokens);
        match stop {
            Some(stop) => json.key("finish_reason").string(stop),
            None => json.key("finish_reason").null(),
        }
        json.close_object();
        json.close_array();
        // > All other chunks will also include a usage field, but with a null value.
        if self.include_usage {
            json.key("usage").null();
        }
        json.close_object();
        let mut out = json.into_bytes();
        out.extend_from_slice(b"\n\n");
        out
    }

    fn head(&mut self) -> &[u8] {
        if self.head.is_none() {
            self.head = Some(self.new_head("", ""));
        }
        self.head.as_deref().unwrap_or_default()
    }

    fn new_head(&self, id: &str, model: &str) -> Vec<u8> {
        let mut json = Writer::after(b"data: ".to_vec());
        json.open_object();
        json.key("id").string(&self.stamp.reply_id(id));
        json.key("object").string("chat.completion.chunk");
        json.key("created").number(self.stamp.created);
        let model = match model.len() {
            1..=MAX_NAME_BYTES => model,
            _ => &self.model,
        };
        json.key("model").string(model);
        json.key("choices").open_array();
        json.into_bytes()
    }

    fn choice(&mut self, choice: u64) -> Option<&mut Choice> {
        if choice >= MAX_CHOICES {
            return None;
        }
        let index = usize::try_from(choice).ok()?;
        if self.choices.len() <= index {
            self.choices.resize(index + 1, Choice::default());
        }
        self.choices.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::StopReason;

    fn written(deltas: &[Delta<'_>], include_usage: bool) -> String {
        let stamp = Stamp {
            created: 5,
            nonce: 7,
            calls: CallStyle::All,
        };
        let mut writer = ChunkWriter::new("asked", stamp, include_usage);
        let mut out = Vec::new();
        for &delta in deltas {
            writer.write(delta, &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    fn start() -> Delta<'static> {
        Delta::Start {
            id: "i",
            model: "m",
        }
    }

    fn text(choice: u64, text: &str) -> Delta<'_> {
        Delta::Text { choice, text }
    }

    fn stop(choice: u64) -> Delta<'static> {
        Delta::Stop {
            choice,
            reason: StopReason::Stop,
        }
    }

    const HEAD: &str =
        r#"data: {"id":"i","object":"chat.completion.chunk","created":5,"model":"m","choices":["#;

    #[test]
    fn a_stream_of_text() {
        let deltas = [
            start(),
            start(),
            text(0, "a\n"),
            Delta::Ping,
            stop(0),
            stop(0),
            Delta::End,
        ];
        let expected = [
            r#"{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}"#,
            r#"{"index":0,"delta":{"content":"a\n"},"logprobs":null,"finish_reason":null}]}"#,
            "",
            r#"{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}"#,
        ]
        .map(|text| match text {
            "" => ": ping\n\n".to_owned(),
            text => format!("{HEAD}{text}\n\n"),
        })
        .concat()
            + "data: [DONE]\n\n";
        assert_eq!(written(&deltas, false), expected);
    }

    #[test]
    fn a_text_is_written_alike_wherever_it_stands() {
        let thought = |choice| Delta::Reasoning { choice, text: "t" };
        let deltas = [
            start(),
            text(0, "x"),
            text(0, "x"),
            Delta::Ping,
            text(0, "x"),
            thought(0),
            text(0, "x"),
            text(1, "x"),
            thought(1),
            thought(1),
            stop(0),
            text(0, "late"),
            text(1, "x"),
        ];
        for include_usage in [false, true] {
            let all = written(&deltas, include_usage);
            let usage = if include_usage {
                r#","usage":null"#
            } else {
                ""
            };
            for (choice, member, value, count) in [
                (0, "content", "x", 4),
                (0, "reasoning_content", "t", 1),
                (1, "content", "x", 2),
                (1, "reasoning_content", "t", 2),
            ] {
                let chunk = format!(
                    r#"{HEAD}{{"index":{choice},"delta":{{"{member}":"{value}"}},"logprobs":null,"finish_reason":null}}]{usage}}}"#
                );
                let events = all.split("\n\n");
                assert_eq!(events.filter(|event| *event == chunk).count(), count);
            }
            assert!(!all.contains("late"), "{all}");
        }
    }

    #[test]
    fn usage_comes_last_for_a_client_that_asked() {
        let usage = Delta::Usage(Usage {
            prompt: Some(1),
            completion: Some(2),
            cached: Some(1),
            reasoning: Some(2),
            ..Usage::default()
        });
        let deltas = [start(), usage, stop(0), Delta::End];
        let all = written(&deltas, true);
        let expected = concat!(
            r#""choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"#,
            r#""prompt_tokens_details":{"cached_tokens":1},"#,
            r#""completion_tokens_details":{"reasoning_tokens":2}}}"#,
            "\n\ndata: [DONE]\n\n"
        );
        assert!(all.ends_with(expected), "{all}");
        assert_eq!(all.matches(r#""usage":null"#).count(), 2);
        assert!(!written(&deltas, false).contains("usage"));
    }

    #[test]
    fn an_error_ends_the_stream_without_done() {
        let error = Delta::Error {
            status: 503,
            message: "busy",
            code: Some("overloaded_error"),
        };
        let all = written(&[start(), error, text(0, "b"), Delta::End], true);
        let expected = concat!(
            r#"data: {"error":{"message":"busy","type":"server_error","param":null,"#,
            r#""code":"overloaded_error"}}"#,
            "\n\n"
        );
        assert!(all.ends_with(expected), "{all}");
    }

    #[test]
    fn every_choice_has_its_role_once_and_says_nothing_after_its_end() {
        let deltas = [
            start(),
            text(1, "x"),
            text(1, "y"),
            stop(1),
            text(1, "late"),
            stop(0),
            text(u64::MAX, "far"),
            Delta::End,
        ];
        let all = written(&deltas, false);
        assert_eq!(all.matches(r#""role""#).count(), 2);
        assert_eq!(all.matches(r#""finish_reason":"stop""#).count(), 2);
        assert!(!all.contains("late") && !all.contains("far"));
    }

    #[test]
    fn a_stream_that_does_not_say_who_it_is_gets_an_id() {
        let all = written(&[text(0, "a"), Delta::End], false);
        let head = r#"data: {"id":"chatcmpl-0000000000000007","object":"chat.completion.chunk","created":5,"model":"asked","#;
        assert_eq!(all.matches(head).count(), 2);
    }

    #[test]
    fn a_call_has_its_name_in_the_first_piece_only() {
        let deltas = [
            start(),
            Delta::ToolCallStart {
                choice: 0,
                index: 1,
                id: "",
                name: "f",
                signature: None,
            },
            Delta::ToolCallArguments {
                choice: 0,
                index: 1,
                fragment: "{\"a\"",
            },
        ];
        let all = written(&deltas, false);
        let first = r#""delta":{"tool_calls":[{"index":1,"id":"call_0000000000000007_0_1","type":"function","function":{"name":"f","arguments":""}}]}"#;
        let second = r#""delta":{"tool_calls":[{"index":1,"function":{"arguments":"{\"a\""}}]}"#;
        assert!(all.contains(first) && all.contains(second), "{all}");
    }
}
