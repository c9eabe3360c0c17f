//! Writing a streamed reply.
//!
//! Source: <https://platform.openai.com/docs/api-reference/responses-streaming>, read 2026-11-28.

use std::rc::Rc;

use super::item::{self, Call, End};
use super::{CALL_SIGNATURE, Context, MAX_NAME_BYTES, call_id, carrier, item_id, response_id};
use crate::api::openai::{CustomInput, tokens};
use crate::api::{Stamp, StreamWriter};
use crate::chat::citations::Citations;
use crate::chat::{CallStyle, Delta, StopReason};
use crate::failure::{CONTEXT_OVERFLOW, Failure};
use crate::json::{Piece, Quoted, Writer};
use crate::sse;
use crate::usage::Usage;

/// Writes deltas as the events of a response: `response.created` and `response.in_progress`, then items,
/// each from `response.output_item.added` to `response.output_item.done`, and last
/// `response.completed` or `response.incomplete`. A stream that fails ends with one `error` and
/// `response.failed`.
///
/// The last event repeats all items, so their texts are kept.
///
/// The API has one answer: what other choices say is left out.
#[derive(Debug)]
pub struct EventWriter {
    context: Rc<Context>,
    stamp: Stamp,
    /// The number of the next event.
    sequence: u64,
    has_started: bool,
    id: String,
    model: String,
    items: Vec<Item>,
    /// The items of the calls, by the number of the call.
    calls: Vec<usize>,
    /// The item that texts belong to, where one is open.
    open: Option<usize>,
    stop: Option<StopReason<'static>>,
    has_refusal: bool,
    usage: Usage,
    /// What the items keep. Unit: bytes.
    kept: usize,
    is_finished: bool,
}

#[derive(Debug)]
struct Item {
    id: String,
    kind: Kind,
    is_done: bool,
}

#[derive(Debug)]
enum Kind {
    Call {
        call_id: String,
        name: String,
        /// What has come of a custom tool's text; `None`: it is a function.
        custom: Option<CustomInput>,
        /// The arguments, or the text.
        input: String,
    },
    Message {
        text: String,
        /// A list without its brackets.
        logprobs: Vec<u8>,
        annotations: Citations,
        refusal: String,
        /// The part that is open, or the last one.
        part: Part,
    },
    Thinking {
        text: String,
        signature: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    None,
    Refusal,
    Text,
}

impl EventWriter {
    /// A writer at the start of a stream.
    pub(super) fn new(context: Rc<Context>, stamp: Stamp) -> Self {
        Self {
            id: response_id("", stamp),
            model: context.model.clone(),
            context,
            stamp,
            sequence: 0,
            has_started: false,
            items: Vec::new(),
            calls: Vec::new(),
            open: None,
            stop: None,
            has_refusal: false,
            usage: Usage::default(),
            kept: 0,
            is_finished: false,
        }
    }

    /// The number of the event that comes next.
    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence - 1
    }

    fn start(&mut self, id: &str, model: &str, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.has_started, true) {
            return;
        }
        self.id = response_id(id, self.stamp);
        if (1..=MAX_NAME_BYTES).contains(&model.len()) {
            model.clone_into(&mut self.model);
        }
        for kind in ["response.created", "response.in_progress"] {
            self.response(kind, out, |_, json| {
                json.key("output").array(|_| {});
                json.key("status").string("in_progress");
                json.key("error").null();
                json.key("incomplete_details").null();
                json.key("usage").null();
            });
        }
    }

    /// An event with the response, whose last members are these.
    fn response(
        &mut self,
        kind: &'static str,
        out: &mut Vec<u8>,
        members: impl FnOnce(&Self, &mut Writer),
    ) {
        let number = self.next();
        event(kind, number, out, |json| {
            json.key("response").object(|json| {
                item::head(json, &self.id, &self.model, &self.context, self.stamp);
                members(self, json);
            });
        });
    }

    /// An event about an item.
    fn of_item(
        &mut self,
        kind: &'static str,
        index: usize,
        out: &mut Vec<u8>,
        members: impl FnOnce(&Item, &mut Writer),
    ) {
        let sequence = self.next();
        if let Some(it) = self.items.get(index) {
            event(kind, sequence, out, |json| {
                json.key("output_index").number(number(index));
                json.key("item_id").string(&it.id);
                members(it, json);
            });
        }
    }

    /// An event with an item.
    fn with_item(&mut self, kind: &'static str, index: usize, status: &str, out: &mut Vec<u8>) {
        let sequence = self.next();
        if let Some(it) = self.items.get(index) {
            event(kind, sequence, out, |json| {
                json.key("output_index").number(number(index));
                it.write(json.key("item"), status, &self.context);
            });
        }
    }

    /// Begins an item.
    fn add(&mut self, prefix: &str, kind: Kind, out: &mut Vec<u8>) -> usize {
        self.start("", "", out);
        let index = self.items.len();
        let it = Item {
            id: item_id(prefix, self.stamp, number(index)),
            kind,
            is_done: false,
        };
        self.kept += size_of::<Item>();
        self.items.push(it);
        self.with_item("response.output_item.added", index, "in_progress", out);
        index
    }

    /// The item that texts of this kind belong to.
    fn open(&mut self, is_thinking: bool, out: &mut Vec<u8>) -> usize {
        if let Some(index) = self.open
            && let Some(it) = self.items.get(index)
            && matches!(it.kind, Kind::Thinking { .. }) == is_thinking
        {
            return index;
        }
        self.close(out);
        let index = match is_thinking {
            true => {
                let kind = Kind::Thinking {
                    text: String::new(),
                    signature: None,
                };
                self.add("rs", kind, out)
            }
            false => {
                let kind = Kind::Message {
                    text: String::new(),
                    logprobs: Vec::new(),
                    annotations: Citations::default(),
                    refusal: String::new(),
                    part: Part::None,
                };
                self.add("msg", kind, out)
            }
        };
        self.open = Some(index);
        index
    }

    /// Ends the item that is open.
    fn close(&mut self, out: &mut Vec<u8>) {
        if let Some(index) = self.open.take() {
            self.end_item(index, "completed", out);
        }
    }

    /// Ends an item.
    fn end_item(&mut self, index: usize, status: &'static str, out: &mut Vec<u8>) {
        let Some(it) = self.items.get_mut(index) else {
            return;
        };
        if std::mem::replace(&mut it.is_done, true) {
            return;
        }
        match &it.kind {
            Kind::Call { custom, .. } => {
                let (kind, member) = match custom {
                    Some(_) => ("response.custom_tool_call_input.done", "input"),
                    None => ("response.function_call_arguments.done", "arguments"),
                };
                let context = Rc::clone(&self.context);
                self.of_item(kind, index, out, |it, json| {
                    if let Kind::Call { name, input, .. } = &it.kind {
                        let local = context.namespaced(name).map_or(&**name, |it| it.name);
                        json.key("name").string(local);
                        json.key(member).string(input);
                    }
                });
            }
            Kind::Message { .. } => self.end_part(index, out),
            Kind::Thinking { text, .. } if !text.is_empty() => {
                let kinds = [
                    "response.reasoning_summary_text.done",
                    "response.reasoning_summary_part.done",
                ];
                for (kind, is_part) in kinds.into_iter().zip([false, true]) {
                    self.of_item(kind, index, out, |it, json| {
                        json.key("summary_index").number(0);
                        let text: item::Write<'_> = &|json| it.write_text(json);
                        match is_part {
                            true => json
                                .key("part")
                                .object(|json| item::summary_text(json, text)),
                            false => {
                                json.key("text").open_string();
                                text(json);
                                json.close_string();
                            }
                        }
                    });
                }
            }
            Kind::Thinking { .. } => {}
        }
        self.with_item("response.output_item.done", index, status, out);
    }

    /// Opens a part of the message at `index`, unless it is open.
    fn open_part(&mut self, index: usize, wanted: Part, out: &mut Vec<u8>) {
        let Some(Kind::Message { part, .. }) = self.items.get(index).map(|it| &it.kind) else {
            return;
        };
        if *part == wanted {
            return;
        }
        self.end_part(index, out);
        if let Some(it) = self.items.get_mut(index)
            && let Kind::Message { part, .. } = &mut it.kind
        {
            *part = wanted;
        }
        self.of_item("response.content_part.added", index, out, |it, json| {
            json.key("content_index").number(it.content_index());
            json.key("part");
            match wanted {
                Part::Refusal => item::refusal(json, &|_| {}),
                _ => item::output_text(json, &|_| {}, &[], &|_| {}),
            }
        });
    }

    /// Ends the part of a message that is open.
    fn end_part(&mut self, index: usize, out: &mut Vec<u8>) {
        let Some(Kind::Message { part, .. }) = self.items.get(index).map(|it| &it.kind) else {
            return;
        };
        let (kind, is_text) = match part {
            Part::None => return,
            Part::Refusal => ("response.refusal.done", false),
            Part::Text => ("response.output_text.done", true),
        };
        self.of_item(kind, index, out, |it, json| {
            json.key("content_index").number(it.content_index());
            let Kind::Message {
                text,
                logprobs,
                refusal,
                ..
            } = &it.kind
            else {
                return;
            };
            match is_text {
                true => {
                    json.key("text").string(text);
                    json.key("logprobs").array(|json| raw_items(json, logprobs));
                }
                false => json.key("refusal").string(refusal),
            }
        });
        self.of_item("response.content_part.done", index, out, |it, json| {
            json.key("content_index").number(it.content_index());
            json.key("part");
            match is_text {
                true => it.write_text_part(json),
                false => it.write_refusal_part(json),
            }
        });
    }

    fn text(&mut self, text: &str, wanted: Part, out: &mut Vec<u8>) {
        let index = self.open(false, out);
        // Behind a refusal, a text is one of another message.
        let has_refused = matches!(
            self.items.get(index).map(|it| &it.kind),
            Some(Kind::Message {
                part: Part::Refusal,
                ..
            })
        );
        let index = match wanted == Part::Text && has_refused {
            true => {
                self.close(out);
                self.open(false, out)
            }
            false => index,
        };
        self.open_part(index, wanted, out);
        self.kept += text.len();
        if let Some(it) = self.items.get_mut(index)
            && let Kind::Message {
                text: all, refusal, ..
            } = &mut it.kind
        {
            match wanted {
                Part::Refusal => refusal.push_str(text),
                _ => all.push_str(text),
            }
        }
        let (kind, is_text) = match wanted {
            Part::Refusal => ("response.refusal.delta", false),
            _ => ("response.output_text.delta", true),
        };
        self.of_item(kind, index, out, |it, json| {
            json.key("content_index").number(it.content_index());
            json.key("delta").string(text);
            if is_text {
                json.key("logprobs").array(|_| {});
            }
        });
    }

    fn thinking(&mut self, more: &str, out: &mut Vec<u8>) {
        let index = self.open(true, out);
        self.kept += more.len();
        let is_first = self
            .items
            .get_mut(index)
            .is_some_and(|it| match &mut it.kind {
                Kind::Thinking { text, .. } => {
                    let is_first = text.is_empty();
                    text.push_str(more);
                    is_first
                }
                _ => false,
            });
        if is_first {
            let kind = "response.reasoning_summary_part.added";
            self.of_item(kind, index, out, |_, json| {
                json.key("summary_index").number(0);
                json.key("part")
                    .object(|json| item::summary_text(json, &|_| {}));
            });
        }
        let kind = "response.reasoning_summary_text.delta";
        self.of_item(kind, index, out, |_, json| {
            json.key("summary_index").number(0);
            json.key("delta").string(more);
        });
    }

    /// The signature of the thinking that is open, else one of its own.
    fn signature(&mut self, it: &str, out: &mut Vec<u8>) {
        self.kept += it.len();
        let index = self.open(true, out);
        if let Some(item) = self.items.get_mut(index)
            && let Kind::Thinking { signature, .. } = &mut item.kind
        {
            *signature = Some(it.to_owned());
        }
    }

    fn call(&mut self, id: &str, name: &str, signature: Option<&str>, out: &mut Vec<u8>) {
        self.close(out);
        if let Some(signature) = signature {
            self.signature(&[CALL_SIGNATURE, signature].concat(), out);
            self.close(out);
        }
        let is_custom = self.context.is_custom(name);
        let call_id = match id.is_empty() {
            true => call_id(self.stamp, number(self.calls.len())),
            false => id.to_owned(),
        };
        self.kept += call_id.len() + name.len();
        let kind = Kind::Call {
            call_id,
            name: name.to_owned(),
            custom: is_custom.then(CustomInput::default),
            input: String::new(),
        };
        let index = self.add(if is_custom { "ctc" } else { "fc" }, kind, out);
        self.calls.push(index);
    }

    fn arguments(&mut self, call: u64, fragment: &str, out: &mut Vec<u8>) {
        let call = usize::try_from(call).unwrap_or(usize::MAX);
        let Some(&index) = self.calls.get(call) else {
            return;
        };
        let Some(Item {
            kind: Kind::Call { custom, input, .. },
            is_done: false,
            ..
        }) = self.items.get_mut(index)
        else {
            return;
        };
        let before = input.len();
        let kind = match custom {
            Some(custom) => {
                custom.push(fragment, input);
                "response.custom_tool_call_input.delta"
            }
            None => {
                input.push_str(fragment);
                "response.function_call_arguments.delta"
            }
        };
        if input.len() == before {
            return;
        }
        self.kept += input.len() - before;
        self.of_item(kind, index, out, |it, json| {
            if let Kind::Call { input, .. } = &it.kind {
                json.key("delta")
                    .string(input.get(before..).unwrap_or_default());
            }
        });
    }

    fn end_calls(&mut self, out: &mut Vec<u8>) {
        for index in std::mem::take(&mut self.calls) {
            if let Some(Item {
                kind:
                    Kind::Call {
                        custom: None,
                        input,
                        ..
                    },
                ..
            }) = self.items.get_mut(index)
                && input.trim().is_empty()
            {
                "{}".clone_into(input);
            }
            self.end_item(index, "completed", out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start("", "", out);
        let end = End::of(self.stop.unwrap_or(StopReason::Stop), self.has_refusal);
        if let Some(index) = self.open.take() {
            self.end_item(index, end.status(), out);
        }
        self.end_calls(out);
        let carrier = match self.context.echo.is_stored() {
            true => carrier::id(&mut |json| self.output(json, end)),
            false => None,
        };
        if let Some(id) = &carrier {
            let index = number(self.items.len());
            for kind in ["response.output_item.added", "response.output_item.done"] {
                let sequence = self.next();
                event(kind, sequence, out, |json| {
                    json.key("output_index").number(index);
                    carrier::write(json.key("item"), id);
                });
            }
        }
        let kind = match end {
            End::Completed => "response.completed",
            End::Incomplete(_) => "response.incomplete",
        };
        self.response(kind, out, |it, json| {
            json.key("output").array(|json| {
                it.output(json, end);
                if let Some(id) = &carrier {
                    carrier::write(json, id);
                }
            });
            end.write(json, &it.usage);
        });
        self.is_finished = true;
    }

    /// All items.
    fn output(&self, json: &mut Writer, end: End) {
        let last = self.items.len().saturating_sub(1);
        for (index, it) in self.items.iter().enumerate() {
            let status = match index == last && matches!(it.kind, Kind::Message { .. }) {
                true => end.status(),
                false => "completed",
            };
            it.write(json, status, &self.context);
        }
    }
}

impl Item {
    /// Writes the item, as far as it has come.
    fn write(&self, json: &mut Writer, status: &str, context: &Context) {
        match &self.kind {
            Kind::Call {
                call_id,
                name,
                custom,
                input,
            } => {
                // Of a provider, or made here: it may have to be escaped.
                let call_id = crate::json::encode_string(call_id);
                let call_id = call_id.get(1..call_id.len() - 1).unwrap_or_default();
                let call = Call {
                    id: &self.id,
                    call_id: Quoted::checked(call_id.as_bytes()),
                    name,
                    is_custom: custom.is_some(),
                };
                call.write(json, status, context, &|json| {
                    json.piece(Piece::Plain(input))
                });
            }
            Kind::Message { text, refusal, .. } => {
                item::message(json, &self.id, status, &|json| {
                    if !text.is_empty() {
                        self.write_text_part(json);
                    }
                    if !refusal.is_empty() {
                        self.write_refusal_part(json);
                    }
                });
            }
            Kind::Thinking { text, signature } => {
                let write: item::Write<'_> = &|json| json.piece(Piece::Plain(text));
                let summary = (!text.is_empty()).then_some(write);
                item::reasoning(json, &self.id, summary, &|json| {
                    json.key("encrypted_content");
                    match signature {
                        Some(signature) => json.string(signature),
                        None => json.null(),
                    }
                });
            }
        }
    }

    fn write_text(&self, json: &mut Writer) {
        if let Kind::Message { text, .. } | Kind::Thinking { text, .. } = &self.kind {
            json.piece(Piece::Plain(text));
        }
    }

    fn write_text_part(&self, json: &mut Writer) {
        if let Kind::Message {
            annotations,
            logprobs,
            ..
        } = &self.kind
        {
            let all = annotations.as_slice();
            let text: item::Write<'_> = &|json| self.write_text(json);
            item::output_text(json, text, all, &|json| raw_items(json, logprobs));
        }
    }

    fn write_refusal_part(&self, json: &mut Writer) {
        if let Kind::Message { refusal, .. } = &self.kind {
            item::refusal(json, &|json| json.piece(Piece::Plain(refusal)));
        }
    }

    /// The number of the part that is open: a refusal follows the text.
    fn content_index(&self) -> u64 {
        match &self.kind {
            Kind::Message {
                part: Part::Refusal,
                text,
                ..
            } if !text.is_empty() => 1,
            _ => 0,
        }
    }
}

/// An event of this type and number with these members. JSON text has no line ends.
fn event(kind: &'static str, number: u64, out: &mut Vec<u8>, members: impl FnOnce(&mut Writer)) {
    for piece in ["event: ", kind, "\ndata: "] {
        out.extend_from_slice(piece.as_bytes());
    }
    let mut json = Writer::after(std::mem::take(out));
    json.object(|json| {
        json.key("type").string(kind);
        json.key("sequence_number").number(number);
        members(json);
    });
    *out = json.into_bytes();
    out.extend_from_slice(b"\n\n");
}

/// Items of a list, which are JSON text.
fn raw_items(json: &mut Writer, items: &[u8]) {
    if !items.is_empty() {
        json.raw(std::str::from_utf8(items).unwrap_or_default());
    }
}

fn number(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

impl StreamWriter for EventWriter {
    fn write(&mut self, delta: Delta<'_>, out: &mut Vec<u8>) {
        if self.is_finished {
            return;
        }
        match delta {
            Delta::Start { id, model } => self.start(id, model, out),
            Delta::Text { choice: 0, text } => self.text(text, Part::Text, out),
            Delta::Reasoning { choice: 0, text } => self.thinking(text, out),
            Delta::Refusal { choice: 0, text } => {
                self.has_refusal = true;
                self.text(text, Part::Refusal, out);
            }
            Delta::ReasoningSignature {
                choice: 0,
                signature,
            } => self.signature(signature, out),
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
            } => self.arguments(index, fragment, out),
            Delta::Annotations {
                choice: 0,
                annotations,
            } => self.annotations(annotations, out),
            Delta::Logprobs {
                choice: 0,
                tokens: all,
            } => {
                if let Some(it) = self.open.and_then(|index| self.items.get_mut(index))
                    && let Kind::Message { logprobs, .. } = &mut it.kind
                {
                    let before = logprobs.len();
                    if before > 0 {
                        logprobs.push(b',');
                    }
                    let mut json = Writer::after(std::mem::take(logprobs));
                    tokens(&mut json, all);
                    *logprobs = json.into_bytes();
                    self.kept += logprobs.len() - before;
                }
            }
            Delta::Stop { choice: 0, reason } => {
                let reason = match reason {
                    StopReason::ContentFilter => StopReason::ContentFilter,
                    StopReason::Length => StopReason::Length,
                    StopReason::ToolCalls => StopReason::ToolCalls,
                    StopReason::Stop | StopReason::Other(_) => StopReason::Stop,
                };
                self.stop.get_or_insert(reason);
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
            // Other choices.
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
        if self.is_finished {
            return;
        }
        self.start("", "", out);
        self.is_finished = true;
        let code = failure.code.as_deref();
        let sequence = self.next();
        event("error", sequence, out, |json| {
            match code {
                Some(code) => json.key("code").string(code),
                None => json.key("code").null(),
            }
            json.key("message").string(&failure.message);
            match failure.param.as_deref() {
                Some(param) => json.key("param").string(param),
                None => json.key("param").null(),
            }
        });
        self.response("response.failed", out, |_, json| {
            json.key("output").array(|_| {});
            json.key("status").string("failed");
            json.key("error").object(|json| {
                json.key("code").string(error_code(failure.status, code));
                json.key("message").string(&failure.message);
            });
            json.key("incomplete_details").null();
            json.key("usage").null();
        });
    }

    fn is_finished(&self) -> bool {
        self.is_finished
    }

    fn kept_bytes(&self) -> usize {
        self.kept
    }
}

impl EventWriter {
    fn annotations(&mut self, all: &[crate::chat::Annotation], out: &mut Vec<u8>) {
        let index = self.open(false, out);
        self.open_part(index, Part::Text, out);
        for it in all {
            let Some(Kind::Message { annotations, .. }) =
                self.items.get_mut(index).map(|it| &mut it.kind)
            else {
                return;
            };
            let place = annotations.as_slice().len();
            let before = annotations.kept_bytes();
            annotations.push(it.clone());
            let kept = annotations.kept_bytes() - before;
            if kept == 0 {
                continue;
            }
            self.kept += kept;
            let kind = "response.output_text.annotation.added";
            self.of_item(kind, index, out, |item, json| {
                json.key("content_index").number(item.content_index());
                json.key("annotation_index").number(number(place));
                item::annotation(json.key("annotation"), it);
            });
        }
    }
}

/// The code of a response that has failed. Codex, among others, goes by it.
///
/// Source: `openai/types/responses/response_error.py` in `openai` 3.57.0.
fn error_code(status: u16, code: Option<&str>) -> &str {
    match (status, code) {
        (_, Some(code @ (CONTEXT_OVERFLOW | "insufficient_quota"))) => code,
        (429, _) => "rate_limit_exceeded",
        (400, _) => "invalid_prompt",
        _ => "server_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::responses::expand::Namespaces;

    fn written(context: Context, deltas: &[Delta<'_>]) -> Vec<serde_json::Value> {
        let mut writer = EventWriter::new(Rc::new(context), Stamp::default());
        let mut out = Vec::new();
        for &delta in deltas {
            writer.write(delta, &mut out);
        }
        let text = String::from_utf8(out).unwrap();
        let events = text.split("\n\n").filter(|it| it.starts_with("event: "));
        events
            .map(|event| {
                let (name, data) = event.split_once("\ndata: ").unwrap();
                let data: serde_json::Value = serde_json::from_str(data).expect(data);
                assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
                data
            })
            .collect()
    }

    fn types(events: &[serde_json::Value]) -> Vec<&str> {
        let types = events.iter().map(|it| it["type"].as_str().unwrap());
        types
            .map(|it| it.strip_prefix("response.").unwrap_or(it))
            .collect()
    }

    fn stop(reason: StopReason<'static>) -> Delta<'static> {
        Delta::Stop { choice: 0, reason }
    }

    const STORE_NOTHING: &[u8] = br#"{"store":false}"#;

    fn context(body: &[u8]) -> Context {
        Context {
            model: "asked".to_owned(),
            echo: crate::api::responses::echo::Echo::of(body),
            custom_tools: "p\0".to_owned(),
            namespaces: Namespaces::one("n__f", "n", "f"),
        }
    }

    fn start_call(index: u64, name: &'static str) -> Delta<'static> {
        Delta::ToolCallStart {
            choice: 0,
            index,
            id: "",
            name,
            signature: (index == 0).then_some("G"),
        }
    }

    fn arguments(index: u64, fragment: &str) -> Delta<'_> {
        Delta::ToolCallArguments {
            choice: 0,
            index,
            fragment,
        }
    }

    #[test]
    fn calls_have_their_kind_their_namespace_and_their_signature() {
        let deltas = [
            start_call(0, "n__f"),
            arguments(0, "{\"a\""),
            start_call(1, "p"),
            arguments(1, "{\"input\":\"x\\n"),
            // Pieces of several calls may alternate.
            arguments(0, ":1}"),
            arguments(1, "y\"}"),
            arguments(7, "lost"),
            stop(StopReason::ToolCalls),
            Delta::End,
        ];
        let events = written(context(STORE_NOTHING), &deltas);
        let expected = [
            "created",
            "in_progress",
            "output_item.added",
            "output_item.done",
            "output_item.added",
            "function_call_arguments.delta",
            "output_item.added",
            "custom_tool_call_input.delta",
            "function_call_arguments.delta",
            "custom_tool_call_input.delta",
            "function_call_arguments.done",
            "output_item.done",
            "custom_tool_call_input.done",
            "output_item.done",
            "completed",
        ];
        assert_eq!(types(&events), expected);
        let output = &events.last().unwrap()["response"]["output"];
        let expected = serde_json::json!([
            {"id": "rs_000000000000000000", "type": "reasoning", "summary": [],
             "encrypted_content": "call-signature:G"},
            {"id": "fc_000000000000000001", "type": "function_call", "status": "completed",
             "call_id": "call_0000000000000000_0", "name": "f", "namespace": "n",
             "arguments": "{\"a\":1}"},
            {"id": "ctc_000000000000000002", "type": "custom_tool_call", "status": "completed",
             "call_id": "call_0000000000000000_1", "name": "p", "input": "x\ny"},
        ]);
        assert_eq!(*output, expected);
    }

    #[test]
    fn texts_refusals_and_thoughts_are_parts_and_items() {
        let text = |text| Delta::Text { choice: 0, text };
        let annotation = crate::chat::Annotation {
            start: 0,
            end: 1,
            title: "t".to_owned(),
            url: "https://a.example".to_owned(),
        };
        let deltas = [
            Delta::Start {
                id: "i",
                model: "m",
            },
            Delta::Reasoning {
                choice: 0,
                text: "t",
            },
            text("a"),
            Delta::Annotations {
                choice: 0,
                annotations: &[annotation],
            },
            text("b"),
            Delta::Refusal {
                choice: 0,
                text: "no",
            },
            // Later than its thinking.
            Delta::ReasoningSignature {
                choice: 0,
                signature: "gemini:S",
            },
            stop(StopReason::Length),
            Delta::End,
            text("late"),
        ];
        let events = written(context(STORE_NOTHING), &deltas);
        let expected = [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.annotation.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "content_part.added",
            "refusal.delta",
            "refusal.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "output_item.done",
            "incomplete",
        ];
        assert_eq!(types(&events), expected);
        let response = &events.last().unwrap()["response"];
        assert_eq!(response["id"], "resp_i");
        assert_eq!(
            response["incomplete_details"]["reason"],
            "max_output_tokens"
        );
        let content = &response["output"][1]["content"];
        assert_eq!(
            (&content[0]["text"], &content[1]["refusal"]),
            (&"ab".into(), &"no".into())
        );
        assert_eq!(content[0]["annotations"][0]["url"], "https://a.example");
        assert_eq!(response["output"][2]["encrypted_content"], "gemini:S");
    }

    #[test]
    fn an_error_fails_the_response() {
        let error = Delta::Error {
            status: 429,
            message: "slow down",
            code: None,
        };
        let events = written(context(STORE_NOTHING), &[error, Delta::End]);
        assert_eq!(
            types(&events),
            ["created", "in_progress", "error", "failed"]
        );
        assert_eq!(events[2]["message"], "slow down");
        let response = &events[3]["response"];
        assert_eq!(response["status"], "failed");
        assert_eq!(response["error"]["code"], "rate_limit_exceeded");
    }

    #[test]
    fn what_a_carrier_has_is_the_output_before_it() {
        let deltas = [
            Delta::Text {
                choice: 0,
                text: "a",
            },
            stop(StopReason::Stop),
            Delta::End,
        ];
        let events = written(context(b"{}"), &deltas);
        let output = events.last().unwrap()["response"]["output"]
            .as_array()
            .unwrap();
        let [.., carrier] = output.as_slice() else {
            panic!("{output:?}");
        };
        let items = carrier::items(carrier["id"].as_str().unwrap()).unwrap();
        let items: serde_json::Value = serde_json::from_slice(&items).unwrap();
        assert_eq!(items[0], output[0]);
        assert_eq!(items.as_array().unwrap().len() + 1, output.len());
    }
}
