//! The neutral conversation: what every dialect is translated from and to.
//!
//! A client's OpenAI request is read into a [`Request`], which a dialect writes in its own words;
//! a provider's reply is read by its dialect into a [`Reply`], or a stream into [`Delta`]s, which
//! are written back as OpenAI (`chat/openai.rs`). Text is borrowed from the bytes that arrived
//! wherever it can be.
//!
//! Source: <https://platform.openai.com/docs/api-reference/chat>, read 2026-11-21.

pub mod openai;

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::json::Quoted;
use crate::usage::Usage;

/// A chat completion that a client asks for.
#[derive(Debug)]
pub struct Request<'a> {
    /// The provider's name of the model: the rules of the backend have been applied.
    pub model: Cow<'a, str>,
    /// In order. `system` and `developer` messages may stand anywhere.
    pub messages: Vec<Message<'a>>,
    /// `max_completion_tokens`, else `max_tokens`. Unit: tokens.
    pub max_tokens: Option<u64>,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// 0 to 1.
    pub top_p: Option<f64>,
    /// `stop`, as a list; empty where absent.
    pub stop: Vec<Cow<'a, str>>,
    /// Whether the reply is a stream.
    pub stream: bool,
    /// `stream_options.include_usage`: whether the client wants the usage chunk.
    pub include_usage: bool,
    /// The functions that the model may call.
    pub tools: Vec<Tool<'a>>,
    /// Whether and what to call; `None`: absent.
    pub tool_choice: Option<ToolChoice<'a>>,
    /// `parallel_tool_calls`.
    pub parallel_tool_calls: Option<bool>,
    /// The form of the answer; `None`: text.
    pub response_format: Option<ResponseFormat<'a>>,
    /// `reasoning_effort`: `none`, `minimal`, `low`, `medium`, `high`, `xhigh`, or another word.
    pub reasoning_effort: Option<Cow<'a, str>>,
    /// `user` or `safety_identifier`.
    pub user: Option<Cow<'a, str>>,
    /// `seed`.
    pub seed: Option<i64>,
    /// `n`: how many choices; 1 where absent.
    pub n: u64,
    /// `presence_penalty`, -2 to 2.
    pub presence_penalty: Option<f64>,
    /// `frequency_penalty`, -2 to 2.
    pub frequency_penalty: Option<f64>,
    /// `logprobs`.
    pub logprobs: bool,
    /// `top_logprobs`.
    pub top_logprobs: Option<u64>,
    /// Every other member that is present and not `null`, by name, with its JSON text. What a
    /// dialect does not take out of here and cannot express is refused by name.
    pub other: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// Paths of members below the top level that the conversation has no place for, such as
    /// `messages[2].name`: what they say would be lost, so they are refused by name too.
    pub unplaced: Vec<String>,
}

impl Request<'_> {
    /// About how long it becomes in any dialect. Unit: bytes.
    pub fn size_hint(&self) -> usize {
        let part = |part: &Part<'_>| match &part.kind {
            PartKind::Audio { data, .. } => data.len(),
            PartKind::File { data, .. } => data.as_ref().map_or(0, |data| data.len()),
            PartKind::Image { url, .. } => url.len(),
            PartKind::Text(text) => text.text().len(),
        };
        let messages = self.messages.iter().map(|message| match message {
            Message::Assistant { content, .. }
            | Message::System { content, .. }
            | Message::Tool { content, .. }
            | Message::User { content, .. } => 128 + content.iter().map(part).sum::<usize>(),
        });
        let tools = self.tools.iter().map(|tool| {
            128 + tool.parameters.map_or(0, |schema| schema.get().len())
                + tool.description.as_ref().map_or(0, |text| text.len())
        });
        512 + messages.sum::<usize>() + tools.sum::<usize>()
    }
}

/// One message of a [`Request`].
#[derive(Debug)]
pub enum Message<'a> {
    /// `role: assistant`.
    Assistant {
        /// Text parts (and refusals, as text); empty where `content` is absent or `null`.
        content: Vec<Part<'a>>,
        /// In order.
        tool_calls: Vec<ToolCall<'a>>,
        /// `reasoning_content`: thinking that an earlier reply brought.
        reasoning: Option<Cow<'a, str>>,
        /// The signature that came with it, opaque to everybody but its provider.
        reasoning_signature: Option<Cow<'a, str>>,
        /// The member `cache_control` of the message, as it is.
        cache_control: Option<&'a RawValue>,
    },
    /// `role: system` or `role: developer`.
    System {
        /// Text parts only.
        content: Vec<Part<'a>>,
        /// The member `cache_control` of the message, as it is.
        cache_control: Option<&'a RawValue>,
    },
    /// `role: tool`.
    Tool {
        /// The call that this is the result of.
        tool_call_id: Cow<'a, str>,
        /// Text, or (beyond OpenAI) images.
        content: Vec<Part<'a>>,
        /// The member `cache_control` of the message, as it is.
        cache_control: Option<&'a RawValue>,
    },
    /// `role: user`.
    User {
        /// In order.
        content: Vec<Part<'a>>,
        /// The member `cache_control` of the message, as it is.
        cache_control: Option<&'a RawValue>,
    },
}

/// A part of a message's content.
#[derive(Debug)]
pub struct Part<'a> {
    /// What it is.
    pub kind: PartKind<'a>,
    /// The member `cache_control` of the part, as it is.
    pub cache_control: Option<&'a RawValue>,
}

/// What a [`Part`] is.
#[derive(Debug)]
pub enum PartKind<'a> {
    /// `file`.
    File {
        /// `file.file_id`.
        id: Option<Cow<'a, str>>,
        /// `file.filename`.
        name: Option<Cow<'a, str>>,
        /// `file.file_data`: a data URI, or bare base64.
        data: Option<Cow<'a, str>>,
    },
    /// `image_url`: a `data:` URI, or an http(s) URL.
    Image {
        /// `image_url.url`.
        url: Cow<'a, str>,
        /// `image_url.detail`.
        detail: Option<Cow<'a, str>>,
    },
    /// `input_audio`.
    Audio {
        /// Base64.
        data: Cow<'a, str>,
        /// `wav` or `mp3`.
        format: Cow<'a, str>,
    },
    /// `text`: passed on as it stands, unless a dialect has to look into it.
    Text(Quoted<'a>),
}

/// A call of a function, in a request or a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall<'a> {
    /// Unique within the conversation. In a reply, empty where the provider has none: then one is
    /// made.
    pub id: Cow<'a, str>,
    /// The function's name.
    pub name: Cow<'a, str>,
    /// JSON text of an object; may be empty, which means `{}`.
    pub arguments: Cow<'a, str>,
    /// A signature that must go back to the provider with the call (Gemini's `thoughtSignature`).
    pub signature: Option<Cow<'a, str>>,
}

impl ToolCall<'_> {
    /// The same, borrowed from nothing.
    pub fn into_owned(self) -> ToolCall<'static> {
        ToolCall {
            id: Cow::Owned(self.id.into_owned()),
            name: Cow::Owned(self.name.into_owned()),
            arguments: Cow::Owned(self.arguments.into_owned()),
            signature: self.signature.map(|it| Cow::Owned(it.into_owned())),
        }
    }
}

/// A function that the model may call.
#[derive(Debug)]
pub struct Tool<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// What it does.
    pub description: Option<Cow<'a, str>>,
    /// JSON Schema of its arguments; `None`: it takes none.
    pub parameters: Option<&'a RawValue>,
    /// `strict`.
    pub strict: Option<bool>,
    /// The member `cache_control` of the tool, as it is.
    pub cache_control: Option<&'a RawValue>,
}

/// Whether and what the model is to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    /// It decides.
    Auto,
    /// This one.
    Function(Cow<'a, str>),
    /// None.
    None,
    /// At least one.
    Required,
}

/// The form of the answer.
#[derive(Debug)]
pub enum ResponseFormat<'a> {
    /// Any JSON object.
    JsonObject,
    /// What this schema describes.
    JsonSchema {
        /// `json_schema.name`.
        name: Cow<'a, str>,
        /// `json_schema.schema`.
        schema: Option<&'a RawValue>,
        /// `json_schema.strict`.
        strict: Option<bool>,
    },
}

/// Why a choice ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Withheld by a filter, or refused.
    ContentFilter,
    /// The token limit.
    Length,
    /// The answer is complete.
    Stop,
    /// The model wants functions to be called.
    ToolCalls,
    /// Another word of the provider's, which passes as `stop` would and is kept here.
    Other(String),
}

/// A whole reply.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// The provider's id; empty where it has none: then one is made.
    pub id: String,
    /// The model that answered, in the provider's words.
    pub model: String,
    /// By index, from 0.
    pub choices: Vec<Choice>,
    /// As billed.
    pub usage: Usage,
}

/// One answer of a [`Reply`].
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Text; `None` where there is none beside tool calls.
    pub content: Option<String>,
    /// Thinking.
    pub reasoning: Option<String>,
    /// Its signature.
    pub reasoning_signature: Option<String>,
    /// `refusal`.
    pub refusal: Option<String>,
    /// In order.
    pub tool_calls: Vec<ToolCall<'static>>,
    /// How likely each token of the text was; empty where the provider does not say.
    pub logprobs: Vec<Logprob>,
    /// Why it ended.
    pub stop: StopReason,
}

/// A token of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logprob {
    /// Its text.
    pub token: String,
    /// The natural logarithm of its probability: at most 0.
    pub logprob: f64,
    /// The likeliest tokens in its place, with their logarithms.
    pub top: Vec<(String, f64)>,
}

/// A piece of a streamed reply. `choice` counts from 0.
///
/// It is passed on at once, so it owns nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Delta<'a> {
    /// The stream has begun: the provider's id and model, as far as it says.
    Start {
        /// Empty: none.
        id: &'a str,
        /// Empty: none.
        model: &'a str,
    },
    /// More text.
    Text {
        /// Of which choice.
        choice: u64,
        /// Not empty.
        text: &'a str,
    },
    /// More thinking.
    Reasoning {
        /// Of which choice.
        choice: u64,
        /// Not empty.
        text: &'a str,
    },
    /// More of why the model, or a filter, refuses to answer.
    Refusal {
        /// Of which choice.
        choice: u64,
        /// Not empty.
        text: &'a str,
    },
    /// The signature of the thinking, whole.
    ReasoningSignature {
        /// Of which choice.
        choice: u64,
        /// Opaque.
        signature: &'a str,
    },
    /// A call begins.
    ToolCallStart {
        /// Of which choice.
        choice: u64,
        /// Counts the calls of the choice, from 0.
        index: u64,
        /// Its id; empty where the provider has none: then one is made.
        id: &'a str,
        /// The function.
        name: &'a str,
        /// See [`ToolCall::signature`].
        signature: Option<&'a str>,
    },
    /// More of a call's arguments.
    ToolCallArguments {
        /// Of which choice.
        choice: u64,
        /// Which call.
        index: u64,
        /// A piece of JSON text.
        fragment: &'a str,
    },
    /// How likely tokens of the text were.
    Logprobs {
        /// Of which choice.
        choice: u64,
        /// In order; not empty.
        tokens: &'a [Logprob],
    },
    /// A choice has ended.
    Stop {
        /// Which.
        choice: u64,
        /// Why.
        reason: &'a StopReason,
    },
    /// Usage so far: the last one counts, and comes before the end.
    Usage(Usage),
    /// The provider reports an error in the stream: nothing follows.
    Error {
        /// The status that it would have had.
        status: u16,
        /// What it says.
        message: &'a str,
        /// The provider's word for it.
        code: Option<&'a str>,
    },
    /// A comment or ping: keeps the connection alive.
    Ping,
    /// The stream is complete.
    End,
}
