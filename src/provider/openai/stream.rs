//! A streamed reply.
//!
//! Source: <https://platform.openai.com/docs/api-reference/chat-streaming>, read 2026-11-21. Servers
//! differ: some leave out the `index` of a call, its id, `[DONE]`, or the chunk with the usage.

use std::borrow::Cow;

use super::reply::{Counts, OrElse, stop_reason};
use crate::chat::{Delta, StopReason};
use crate::failure::Failure;
use crate::json::{self, Items, Raw, Text, object};
use crate::provider::dialect::{BrokenReply, EventDecoder};
use crate::sse;

/// Reads the chunks of one reply.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    has_started: bool,
    has_ended: bool,
    /// By number.
    choices: Vec<Choice>,
}

#[derive(Debug, Default)]
struct Choice {
    has_stopped: bool,
    calls: Vec<OpenCall>,
}

#[derive(Debug)]
struct OpenCall {
    /// The provider's number of it, where it has one.
    number: Option<u64>,
    id: String,
    has_arguments: bool,
}

/// More than any reply has: a stream with more is broken, and costs memory.
const MAX_CHOICES: u64 = 128;
const MAX_CALLS: usize = 512;
/// The longest id of a call that is kept. Unit: bytes.
const MAX_ID_BYTES: usize = 512;

object! {
    Chunk<'a> {
        id: Cow<'a, str> = b"id",
        model: Cow<'a, str> = b"model",
        choices: Items<'a, ChunkChoice<'a>> = b"choices",
        usage: Counts = b"usage",
        error: Raw<'a> = b"error",
    }
}

object! {
    ChunkChoice<'a> {
        index: u64 = b"index",
        delta: Change<'a> = b"delta",
        finish_reason: Text<'a> = b"finish_reason",
    }
}

object! {
    Change<'a> {
        content: OrElse<Cow<'a, str>> = b"content",
        refusal: Cow<'a, str> = b"refusal",
        reasoning_content: Cow<'a, str> = b"reasoning_content",
        reasoning: OrElse<Cow<'a, str>> = b"reasoning",
        tool_calls: Items<'a, CallChange<'a>> = b"tool_calls",
    }
}

object! {
    CallChange<'a> {
        index: u64 = b"index",
        id: Cow<'a, str> = b"id",
        function: FunctionChange<'a> = b"function",
    }
}

object! {
    FunctionChange<'a> {
        name: Cow<'a, str> = b"name",
        arguments: Cow<'a, str> = b"arguments",
    }
}

impl EventDecoder for Decoder {
    fn event(
        &mut self,
        event: &sse::Event<'_>,
        emit: &mut dyn FnMut(Delta<'_>),
    ) -> Result<(), BrokenReply> {
        if self.has_ended {
            return Ok(());
        }
        if event.data.trim() == "[DONE]" {
            return self.end(emit);
        }
        let chunk: Chunk<'_> = json::read(event.data.as_bytes())?;
        if chunk.error.is_some() {
            self.has_ended = true;
            let failure = Failure::of_body(500, event.data.as_bytes());
            emit(Delta::Error {
                status: failure.status,
                message: &failure.message,
                code: failure.code.as_deref(),
            });
            return Ok(());
        }
        if !std::mem::replace(&mut self.has_started, true) {
            emit(Delta::Start {
                id: &chunk.id.unwrap_or_default(),
                model: &chunk.model.unwrap_or_default(),
            });
        }
        for choice in chunk.choices.iter().flat_map(Items::iter) {
            self.choice(choice, emit)?;
        }
        if let Some(usage) = chunk.usage {
            emit(Delta::Usage(usage.usage()));
        }
        Ok(())
    }

    fn kept_bytes(&self) -> usize {
        let calls = self.choices.iter().flat_map(|choice| &choice.calls);
        calls
            .map(|call| call.id.len() + size_of::<OpenCall>())
            .sum()
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Delta<'_>)) -> Result<(), BrokenReply> {
        if self.has_ended {
            return Ok(());
        }
        // Some servers send no `[DONE]`.
        match !self.choices.is_empty() && self.choices.iter().all(|it| it.has_stopped) {
            true => self.end(emit),
            false => Err(BrokenReply("it ended before the reply did".to_owned())),
        }
    }
}

impl Decoder {
    fn choice(
        &mut self,
        it: ChunkChoice<'_>,
        emit: &mut dyn FnMut(Delta<'_>),
    ) -> Result<(), BrokenReply> {
        let choice = it.index.unwrap_or_default();
        let too_many = || BrokenReply("it has too many choices".to_owned());
        let index = usize::try_from(choice).map_err(|_| too_many())?;
        if choice >= MAX_CHOICES {
            return Err(too_many());
        }
        while self.choices.len() <= index {
            self.choices.push(Choice::default());
        }
        let change = it.delta.unwrap_or_default();
        let reasoning = change.reasoning_content.filter(|it| !it.is_empty());
        let reasoning = reasoning.or(change.reasoning.and_then(|it| it.0));
        if let Some(text) = reasoning.as_deref().filter(|it| !it.is_empty()) {
            emit(Delta::Reasoning { choice, text });
        }
        let content = change.content.and_then(|it| it.0);
        if let Some(text) = content.as_deref().filter(|it| !it.is_empty()) {
            emit(Delta::Text { choice, text });
        }
        if let Some(text) = change.refusal.as_deref().filter(|it| !it.is_empty()) {
            emit(Delta::Refusal { choice, text });
        }
        let Some(state) = self.choices.get_mut(index) else {
            return Ok(());
        };
        for call in change.tool_calls.iter().flat_map(Items::iter) {
            state.call(choice, &call, emit)?;
        }
        if let Some(reason) = it.finish_reason
            && !reason.is_empty()
        {
            state.stop(choice, stop_reason(reason), emit);
        }
        Ok(())
    }

    fn end(&mut self, emit: &mut dyn FnMut(Delta<'_>)) -> Result<(), BrokenReply> {
        if self.choices.is_empty() {
            return Err(BrokenReply("it has no choices".to_owned()));
        }
        self.has_ended = true;
        for (choice, state) in (0..).zip(&mut self.choices) {
            let reason = match state.calls.is_empty() {
                true => StopReason::Stop,
                false => StopReason::ToolCalls,
            };
            state.stop(choice, reason, emit);
        }
        emit(Delta::End);
        Ok(())
    }
}

impl Choice {
    fn call(
        &mut self,
        choice: u64,
        it: &CallChange<'_>,
        emit: &mut dyn FnMut(Delta<'_>),
    ) -> Result<(), BrokenReply> {
        let id = it.id.as_deref().unwrap_or_default();
        let function = it.function.as_ref();
        let name = function.and_then(|it| it.name.as_deref());
        let name = name.filter(|it| !it.is_empty());
        let known = self.calls.iter().rposition(|call| match it.index {
            Some(number) => call.number == Some(number),
            // Without a number, what has neither an id nor a name goes on.
            None => name.is_none() || call.id == id,
        });
        // Some servers count all calls as the first one.
        let is_other = |call: &OpenCall| {
            !id.is_empty() && !call.id.is_empty() && call.id != id && name.is_some()
        };
        let known = known.filter(|at| !self.calls.get(*at).is_some_and(is_other));
        let at = match known {
            Some(at) => at,
            None => {
                let Some(name) = name else {
                    return Err(BrokenReply("a call has no name".to_owned()));
                };
                if self.calls.len() >= MAX_CALLS || id.len() > MAX_ID_BYTES {
                    return Err(BrokenReply("it has too many calls".to_owned()));
                }
                self.calls.push(OpenCall {
                    number: it.index,
                    id: id.to_owned(),
                    has_arguments: false,
                });
                let at = self.calls.len() - 1;
                emit(Delta::ToolCallStart {
                    choice,
                    index: at as u64,
                    id,
                    name,
                    signature: None,
                });
                at
            }
        };
        let fragment = function.and_then(|it| it.arguments.as_deref());
        if let Some(fragment) = fragment.filter(|it| !it.is_empty())
            && let Some(call) = self.calls.get_mut(at)
        {
            call.has_arguments = true;
            emit(Delta::ToolCallArguments {
                choice,
                index: at as u64,
                fragment,
            });
        }
        Ok(())
    }

    fn stop(&mut self, choice: u64, reason: StopReason<'_>, emit: &mut dyn FnMut(Delta<'_>)) {
        if std::mem::replace(&mut self.has_stopped, true) {
            return;
        }
        for (index, call) in (0..).zip(&self.calls) {
            // The empty text would not parse.
            if !call.has_arguments {
                emit(Delta::ToolCallArguments {
                    choice,
                    index,
                    fragment: "{}",
                });
            }
        }
        emit(Delta::Stop { choice, reason });
    }
}
