//! A whole reply.

use std::borrow::Cow;

use crate::chat::tape::{Kind, MAX_TEXT_BYTES, Tape};
use crate::chat::{Choices, Reply, StopReason};
use crate::failure::Failure;
use crate::json::{self, Items, Raw, Read, Reader, Text, Unread, object};
use crate::provider::dialect::BrokenReply;
use crate::usage::Usage;

object! {
    Completion<'a> {
        id: Cow<'a, str> = b"id",
        model: Cow<'a, str> = b"model",
        choices: Items<'a, Choice<'a>> = b"choices",
        usage: Counts = b"usage",
        error: Raw<'a> = b"error",
    }
}

object! {
    Choice<'a> {
        message: Message<'a> = b"message",
        finish_reason: Text<'a> = b"finish_reason",
    }
}

object! {
    Message<'a> {
        content: Content<'a> = b"content",
        refusal: Cow<'a, str> = b"refusal",
        // DeepSeek, and servers that follow it.
        reasoning_content: Text<'a> = b"reasoning_content",
        // OpenRouter, and newer servers.
        reasoning: OrElse<Text<'a>> = b"reasoning",
        tool_calls: Items<'a, Call<'a>> = b"tool_calls",
    }
}

/// A value, or something of another shape, which is passed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct OrElse<T>(pub(super) Option<T>);

impl<'a, T: Read<'a>> Read<'a> for OrElse<T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        let mut ahead = reader.clone();
        if let Ok(value) = ahead.value() {
            *reader = ahead;
            return Ok(Self(Some(value)));
        }
        reader.skip().map(|_| Self(None))
    }
}

/// `content`: text, or parts as Mistral's models that reason have it.
#[derive(Debug)]
enum Content<'a> {
    Parts(Items<'a, Part<'a>>),
    Text(Text<'a>),
}

impl<'a> Read<'a> for Content<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        match reader.peek() {
            Some(b'"') => reader.value().map(Self::Text),
            Some(b'[') => reader.value().map(Self::Parts),
            _ => Err(reader.unfit("a string or an array of parts")),
        }
    }
}

object! {
    Part<'a> {
        text: Text<'a> = b"text",
    }
}

object! {
    Call<'a> {
        id: Text<'a> = b"id",
        function: Function<'a> = b"function",
    }
}

object! {
    Function<'a> {
        name: Text<'a> = b"name",
        arguments: Text<'a> = b"arguments",
    }
}

object! {
    /// Unit: tokens. Source: <https://platform.openai.com/docs/api-reference/chat/object>.
    #[derive(Clone, Copy)]
    pub(super) Counts {
        prompt_tokens: u64 = b"prompt_tokens",
        completion_tokens: u64 = b"completion_tokens",
        total_tokens: u64 = b"total_tokens",
        prompt_tokens_details: PromptDetails = b"prompt_tokens_details",
        completion_tokens_details: CompletionDetails = b"completion_tokens_details",
    }
}

object! {
    #[derive(Clone, Copy)]
    pub(super) PromptDetails {
        cached_tokens: u64 = b"cached_tokens",
        cache_write_tokens: u64 = b"cache_write_tokens",
    }
}

object! {
    #[derive(Clone, Copy)]
    pub(super) CompletionDetails {
        reasoning_tokens: u64 = b"reasoning_tokens",
    }
}

impl Counts {
    pub(super) fn usage(self) -> Usage {
        let prompt = self.prompt_tokens_details.unwrap_or_default();
        let completion = self.completion_tokens_details.unwrap_or_default();
        Usage {
            prompt: self.prompt_tokens,
            completion: self.completion_tokens,
            cached: prompt.cached_tokens,
            cache_written: prompt.cache_write_tokens,
            reasoning: completion.reasoning_tokens,
            total: self.total_tokens,
        }
    }
}

object! {
    /// The same with the names that other calls have: the Responses API, and images. Unit: tokens. Source:
    /// <https://platform.openai.com/docs/api-reference/responses/object>, read 2026-11-28.
    AnyCounts {
        prompt_tokens: u64 = b"prompt_tokens",
        completion_tokens: u64 = b"completion_tokens",
        input_tokens: u64 = b"input_tokens",
        output_tokens: u64 = b"output_tokens",
        total_tokens: u64 = b"total_tokens",
        prompt_tokens_details: PromptDetails = b"prompt_tokens_details",
        completion_tokens_details: CompletionDetails = b"completion_tokens_details",
        input_tokens_details: PromptDetails = b"input_tokens_details",
        output_tokens_details: CompletionDetails = b"output_tokens_details",
    }
}

/// The usage that a `usage` of any call says; `None`: it is none.
pub fn usage_of(text: &[u8]) -> Option<Usage> {
    if text.first() != Some(&b'{') {
        return None;
    }
    let counts = json::read::<AnyCounts>(text).ok()?;
    let counts = Counts {
        prompt_tokens: counts.prompt_tokens.or(counts.input_tokens),
        completion_tokens: counts.completion_tokens.or(counts.output_tokens),
        total_tokens: counts.total_tokens,
        prompt_tokens_details: counts.prompt_tokens_details.or(counts.input_tokens_details),
        completion_tokens_details: counts
            .completion_tokens_details
            .or(counts.output_tokens_details),
    };
    Some(counts.usage())
}

pub(super) fn read(body: &[u8]) -> Result<Reply<'_>, BrokenReply> {
    if body.len() > MAX_TEXT_BYTES {
        return Err(BrokenReply(format!(
            "it is larger than {MAX_TEXT_BYTES} bytes"
        )));
    }
    let completion: Completion<'_> = json::read(body)?;
    if completion.error.is_some() {
        let message = Failure::of_body(500, body).message.into_owned();
        return Err(BrokenReply(message));
    }
    let Some(choices) = completion.choices else {
        return Err(BrokenReply("it has no choices".to_owned()));
    };
    let mut tape = Tape::new(body);
    let mut refusal = None;
    for choice in choices.iter() {
        let stop = choice.finish_reason.map(stop_reason);
        let (kind, word): (_, &[u8]) = match stop.unwrap_or(StopReason::Stop) {
            StopReason::ContentFilter => (Kind::ChoiceFiltered, b""),
            StopReason::Length => (Kind::ChoiceLength, b""),
            StopReason::Other(word) => (Kind::ChoiceOther, word.quoted().text()),
            StopReason::Stop => (Kind::ChoiceStop, b""),
            StopReason::ToolCalls => (Kind::ChoiceCalls, b""),
        };
        tape.push(kind, word);
        let Some(message) = choice.message else {
            return Err(BrokenReply("a choice has no message".to_owned()));
        };
        read_message(&mut tape, &message)?;
        refusal = refusal.or(message.refusal.filter(|it| !it.is_empty()));
    }
    if tape.len() == 0 {
        return Err(BrokenReply("it has no choices".to_owned()));
    }
    Ok(Reply {
        id: completion.id.unwrap_or_default(),
        model: completion.model.unwrap_or_default(),
        choices: Choices(tape),
        refusal: refusal.map(Cow::into_owned),
        annotations: Vec::new(),
        write_signature: |_, _, _| {},
        usage: completion.usage.unwrap_or_default().usage(),
    })
}

fn read_message<'a>(tape: &mut Tape<'a>, message: &Message<'a>) -> Result<(), BrokenReply> {
    let reasoning = message.reasoning_content.filter(|it| !it.is_empty());
    let reasoning = reasoning.or(message.reasoning.and_then(|it| it.0));
    if let Some(text) = reasoning.filter(|it| !it.is_empty()) {
        tape.push(Kind::Reasoning, text.quoted().text());
    }
    match &message.content {
        None => {}
        Some(Content::Text(text)) => tape.push(Kind::Text, text.quoted().text()),
        Some(Content::Parts(parts)) => {
            for text in parts.iter().filter_map(|part| part.text) {
                tape.push(Kind::Text, text.quoted().text());
            }
        }
    }
    for call in message.tool_calls.iter().flat_map(Items::iter) {
        let function = call.function.unwrap_or_default();
        let Some(name) = function.name else {
            return Err(BrokenReply("a call has no name".to_owned()));
        };
        tape.push(Kind::Call, call.id.unwrap_or_default().quoted().text());
        if let Some(arguments) = function.arguments {
            tape.push(Kind::Arguments, arguments.quoted().text());
        }
        tape.push(Kind::CallName, name.quoted().text());
    }
    Ok(())
}

/// <https://platform.openai.com/docs/api-reference/chat/object>, read 2026-11-21.
pub(super) fn stop_reason(word: Text<'_>) -> StopReason<'_> {
    match &*word.decode() {
        "stop" => StopReason::Stop,
        "length" => StopReason::Length,
        "tool_calls" | "function_call" => StopReason::ToolCalls,
        "content_filter" => StopReason::ContentFilter,
        _ => StopReason::Other(word),
    }
}
