//! The neutral conversation: what every dialect is translated from and to.
//!
//! A client's API reads a request into a [`Request`], which a dialect writes in its own words; a dialect
//! reads a provider's reply into a [`Reply`], or a stream into [`Delta`]s, which the client's API writes. A request and a reply are places in the text that
//! arrived (`chat/tape.rs`): whatever their shape, they take less memory than it.
//!
//! Source: <https://platform.openai.com/docs/api-reference/chat>, read 2026-11-21.

pub mod citations;
pub(crate) mod tape;

use std::borrow::Cow;

use self::citations::Citations;
use self::tape::{Kind, Span, Tape};
use crate::base64;
use crate::data_uri;
use crate::json::{self, Items, Quoted, Raw, Read, Reader, Text, Unread, Writer};
use crate::usage::Usage;

/// A chat completion that a client asks for.
#[derive(Debug)]
pub struct Request<'a> {
    /// The provider's name of the model: the rules of the backend have been applied.
    pub model: Cow<'a, str>,
    /// In order. `system` and `developer` messages may stand anywhere.
    pub messages: Messages<'a>,
    /// `max_completion_tokens`, else `max_tokens`. Unit: tokens.
    pub max_tokens: Option<u64>,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// 0 to 1.
    pub top_p: Option<f64>,
    /// `stop`, as a list; empty where absent.
    pub stop: Stops<'a>,
    /// Whether the reply is a stream.
    pub stream: bool,
    /// `stream_options.include_usage`: whether the client wants the usage chunk.
    pub include_usage: bool,
    /// The functions that the model may call.
    pub tools: Tools<'a>,
    /// Tools of the request that OpenAI would run itself, such as `web_search`.
    pub hosted_tools: Vec<HostedTool<'a>>,
    /// Whether the client speaks of `functions` instead of `tools`, and expects `function_call`.
    pub uses_functions: bool,
    /// Whether and what to call; `None`: absent.
    pub tool_choice: Option<ToolChoice<'a>>,
    /// `parallel_tool_calls`.
    pub parallel_tool_calls: Option<bool>,
    /// The form of the answer; `None`: text.
    pub response_format: Option<ResponseFormat<'a>>,
    /// `reasoning_effort`, or `reasoning.effort`: `none`, `minimal`, `low`, `medium`, `high`, `xhigh`, or another word.
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
    pub other: Vec<(Cow<'a, str>, Raw<'a>)>,
    /// Paths of members below the top level that the conversation has no place for, such as
    /// `messages[2].name`: what they say would be lost, so they are refused by name too. Of those that
    /// differ in nothing but the numbers, the first is here.
    pub unplaced: Vec<String>,
}

impl Request<'_> {
    /// About how long it becomes in any dialect, where it was read from so many bytes; 0: it is long
    /// and of small parts, and should be counted first. What a dialect notes about each part then has
    /// the memory that a wrong guess would take. Unit: bytes.
    pub fn size_hint(&self, length: usize) -> usize {
        // What stands around a text is longer in some dialects.
        let around = 32 * self.messages.len();
        if length > MAX_GUESSED_BYTES && around > length / 4 {
            return 0;
        }
        length + around.min(length / 4) + 1024
    }
}

/// How long a request of small parts may be whose length is guessed. Unit: bytes.
const MAX_GUESSED_BYTES: usize = 64 << 10;

/// The messages of a [`Request`], which are made of its text one by one.
#[derive(Debug)]
pub struct Messages<'a> {
    /// Instructions that stand before the conversation, wherever they stand in the text.
    instructions: Tape<'a>,
    conversation: Tape<'a>,
}

impl<'a> Messages<'a> {
    /// Messages, as they stand on a tape.
    pub(crate) fn new(conversation: Tape<'a>) -> Self {
        Self::after(Tape::new(b""), conversation)
    }

    /// The same after instructions, which are system messages on a tape of their own.
    pub(crate) fn after(instructions: Tape<'a>, conversation: Tape<'a>) -> Self {
        Self {
            instructions,
            conversation,
        }
    }

    /// The messages, in order.
    pub fn iter(&self) -> MessageIter<'_> {
        MessageIter {
            rest: self.instructions.all(),
            then: Some(self.conversation.all()),
        }
    }

    /// How many entries they have.
    fn len(&self) -> usize {
        self.instructions.len() + self.conversation.len()
    }

    /// The call with this [number](ToolCall::number).
    pub fn call(&self, number: u32) -> Option<ToolCall<'_>> {
        let found = self.conversation.from(number);
        let (call, _) = ToolCall::first_of(found)?;
        Some(call)
    }
}

/// Gives messages, in order.
#[derive(Clone, Debug)]
pub struct MessageIter<'r> {
    rest: Span<'r>,
    then: Option<Span<'r>>,
}

impl<'r> Iterator for MessageIter<'r> {
    type Item = Message<'r>;

    fn next(&mut self) -> Option<Message<'r>> {
        let (kind, place, rest) = match self.rest.split_first() {
            Some(first) => first,
            None => self.then.take()?.split_first()?,
        };
        let (content, rest) = rest.split_while(|kind| !kind.is_message());
        self.rest = rest;
        let cache_control = content.raw(Kind::MessageCache);
        Some(match kind {
            Kind::Assistant => Message::Assistant {
                content: Content(content),
                tool_calls: ToolCalls(content),
                reasoning: content.text(Kind::Reasoning),
                reasoning_signature: content.text(Kind::ReasoningSignature),
                cache_control,
            },
            Kind::System => Message::System {
                content: Content(content),
                cache_control,
            },
            Kind::Tool => Message::Tool {
                tool_call_id: Text::checked(place),
                content: Content(content),
                cache_control,
            },
            // There are no others.
            _ => Message::User {
                content: Content(content),
                cache_control,
            },
        })
    }
}

/// One message of a [`Request`].
#[derive(Clone, Copy, Debug)]
pub enum Message<'r> {
    /// `role: assistant`.
    Assistant {
        /// Text parts (and refusals, as text); empty where `content` is absent or `null`.
        content: Content<'r>,
        /// In order.
        tool_calls: ToolCalls<'r>,
        /// `reasoning_content`: thinking that an earlier reply brought.
        reasoning: Option<Text<'r>>,
        /// The signature that came with it, opaque to everybody but its provider.
        reasoning_signature: Option<Text<'r>>,
        /// The member `cache_control` of the message, as it is.
        cache_control: Option<Raw<'r>>,
    },
    /// `role: system` or `role: developer`.
    System {
        /// Text parts only.
        content: Content<'r>,
        /// The member `cache_control` of the message, as it is.
        cache_control: Option<Raw<'r>>,
    },
    /// `role: tool`.
    Tool {
        /// The call that this is the result of.
        tool_call_id: Text<'r>,
        /// Text, or (beyond OpenAI) images.
        content: Content<'r>,
        /// The member `cache_control` of the message, as it is.
        cache_control: Option<Raw<'r>>,
    },
    /// `role: user`.
    User {
        /// In order.
        content: Content<'r>,
        /// The member `cache_control` of the message, as it is.
        cache_control: Option<Raw<'r>>,
    },
}

/// The parts of a message, which are made of its text one by one.
#[derive(Clone, Copy, Debug)]
pub struct Content<'r>(Span<'r>);

impl<'r> Content<'r> {
    /// The parts, in order.
    pub fn iter(self) -> impl Iterator<Item = Part<'r>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            loop {
                let (kind, place, after) = rest.split_first()?;
                let (attributes, after) =
                    after.split_while(|kind| (Kind::Detail..=Kind::PartCache).contains(&kind));
                rest = after;
                if kind.is_part() {
                    return Some(Part {
                        kind: part_kind(kind, place, attributes),
                        cache_control: attributes.raw(Kind::PartCache).map(|it| {
                            // OpenAI's breakpoint, which is a mark without members.
                            match it.bytes().is_empty() {
                                true => Raw::checked(EPHEMERAL),
                                false => it,
                            }
                        }),
                    });
                }
            }
        })
    }

    /// The part, where there is one and no more.
    pub fn only(self) -> Option<Part<'r>> {
        let mut parts = self.iter();
        let part = parts.next()?;
        parts.next().is_none().then_some(part)
    }
}

/// The mark for the cache that OpenAI's `prompt_cache_breakpoint` comes to.
const EPHEMERAL: &[u8] = br#"{"type":"ephemeral"}"#;

fn part_kind<'r>(kind: Kind, place: &'r [u8], attributes: Span<'r>) -> PartKind<'r> {
    match kind {
        Kind::Audio => PartKind::Audio {
            data: Text::checked(place),
            format: attributes.text(Kind::Format).unwrap_or_default(),
        },
        Kind::File => PartKind::File {
            id: attributes.text(Kind::FileId),
            name: attributes.text(Kind::FileName),
            data: match (
                attributes.text(Kind::FileData),
                attributes.text(Kind::FileText),
            ) {
                (Some(data), _) => Some(Source::of(attributes, data)),
                (None, Some(text)) => Some(Source::Text(text)),
                (None, None) => None,
            },
        },
        Kind::Image | Kind::ImageData => PartKind::Image {
            url: Source::of(attributes, Text::checked(place)),
            detail: attributes.text(Kind::Detail),
        },
        // Refusals are text, and there are no others.
        _ => PartKind::Text(Quoted::checked(place)),
    }
}

/// A part of a message's content.
#[derive(Clone, Copy, Debug)]
pub struct Part<'r> {
    /// What it is.
    pub kind: PartKind<'r>,
    /// The member `cache_control` of the part, as it is.
    pub cache_control: Option<Raw<'r>>,
}

/// What a [`Part`] is.
#[derive(Clone, Copy, Debug)]
pub enum PartKind<'r> {
    /// `file`.
    File {
        /// `file.file_id`.
        id: Option<Text<'r>>,
        /// `file.filename`.
        name: Option<Text<'r>>,
        /// A data URI, bare base64, or an http(s) URL.
        data: Option<Source<'r>>,
    },
    /// `image_url`: a `data:` URI, or an http(s) URL.
    Image {
        /// `image_url.url`.
        url: Source<'r>,
        /// `image_url.detail`.
        detail: Option<Text<'r>>,
    },
    /// `input_audio`.
    Audio {
        /// Base64.
        data: Text<'r>,
        /// `wav` or `mp3`.
        format: Text<'r>,
    },
    /// `text`: passed on as it stands, unless a dialect has to look into it.
    Text(Quoted<'r>),
}

/// Where the content of an image or a file is.
#[derive(Clone, Copy, Debug)]
pub enum Source<'r> {
    /// Base64, and its media type.
    Base64 {
        /// Such as `image/png`.
        media_type: Text<'r>,
        /// The base64.
        data: Text<'r>,
    },
    /// Plain text.
    Text(Text<'r>),
    /// An address or a data URI; for a file also bare base64.
    Url(Text<'r>),
}

impl<'r> Source<'r> {
    fn of(attributes: Span<'r>, place: Text<'r>) -> Self {
        match attributes.text(Kind::MediaType) {
            Some(media_type) => Self::Base64 {
                media_type,
                data: place,
            },
            None => Self::Url(place),
        }
    }

    /// The media type and the base64 as they stand in the text, where nothing of them has to be changed.
    pub fn in_place(self) -> Option<(&'r str, Quoted<'r>)> {
        match self {
            Self::Base64 { media_type, data } => data_uri::parts_in_place(media_type, data),
            Self::Text(_) => None,
            Self::Url(url) => data_uri::in_place(url),
        }
    }

    /// As a URL: a data URI where the content itself is here.
    pub fn decode(self) -> Cow<'r, str> {
        match self {
            Self::Base64 { media_type, data } => {
                let (media_type, data) = (media_type.decode(), data.decode());
                Cow::Owned(["data:", &*media_type, ";base64,", &*data].concat())
            }
            Self::Text(text) => {
                let text = text.decode();
                let data = base64::encode(text.as_bytes());
                Cow::Owned(["data:text/plain;base64,", &data].concat())
            }
            Self::Url(url) => url.decode(),
        }
    }
}

/// The calls of a message, which are made of its text one by one.
#[derive(Clone, Copy, Debug)]
pub struct ToolCalls<'r>(Span<'r>);

impl<'r> ToolCalls<'r> {
    /// The calls, in order.
    pub fn iter(self) -> impl Iterator<Item = ToolCall<'r>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (_, found) = rest.split_while(|kind| kind != Kind::Call);
            let (call, after) = ToolCall::first_of(found)?;
            rest = after;
            Some(call)
        })
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }
}

/// A call of a function.
#[derive(Clone, Copy, Debug)]
pub struct ToolCall<'r> {
    /// Which entry of its conversation it is: later calls have higher numbers.
    pub number: u32,
    /// Unique within the conversation. In a reply, empty where the provider has none: then one is
    /// made.
    pub id: Text<'r>,
    /// The function's name.
    pub name: Text<'r>,
    /// JSON text of an object; may be empty, which means `{}`.
    ///
    /// See [`arguments`](Self::arguments).
    arguments: Text<'r>,
    /// The text of a call of a custom tool, which has it in place of arguments.
    custom_input: Option<Text<'r>>,
    /// The same in a reply, where it is no text; `None`: `{}`.
    pub input: Option<Input<'r>>,
    /// A signature that must go back to the provider with the call (Gemini's `thoughtSignature`).
    pub signature: Option<Text<'r>>,
}

impl<'r> ToolCall<'r> {
    /// The call that these entries begin with, and what stands behind it.
    fn first_of(found: Span<'r>) -> Option<(Self, Span<'r>)> {
        let (_, id, after) = found.split_first()?;
        let is_attribute = |kind| {
            let of_request = Kind::Arguments..=Kind::CallSignature;
            of_request.contains(&kind) || matches!(kind, Kind::CallInput | Kind::CallInputSpaced)
        };
        let (attributes, after) = after.split_while(is_attribute);
        let call = Self {
            number: found.position(),
            id: Text::checked(id),
            name: attributes.text(Kind::CallName).unwrap_or_default(),
            arguments: attributes.text(Kind::Arguments).unwrap_or_default(),
            custom_input: attributes.text(Kind::CallCustomInput),
            input: match attributes.raw(Kind::CallInput) {
                None => attributes.raw(Kind::CallInputSpaced).map(Input::Spaced),
                input => input.map(Input::Plain),
            },
            signature: attributes.text(Kind::CallSignature),
        };
        Some((call, after))
    }

    /// The arguments as JSON text of an object, whether they came as text or as JSON; `{}` where there are
    /// none.
    pub fn arguments(&self) -> Cow<'r, str> {
        let text = match (self.custom_input, self.input) {
            // As `CUSTOM_PARAMETERS` describes it.
            (Some(input), _) => {
                let input = json::encode_string(&input.decode());
                Cow::Owned(format!("{{\"input\":{input}}}"))
            }
            (None, None) => self.arguments.decode(),
            (None, Some(Input::Plain(input))) => Cow::Borrowed(input.get()),
            (None, Some(Input::Spaced(input))) => {
                let mut text = String::with_capacity(input.bytes().len());
                input.without_space(&mut |piece| text.push_str(piece));
                Cow::Owned(text)
            }
        };
        match text.trim().is_empty() {
            true => Cow::Borrowed("{}"),
            false => text,
        }
    }
}

/// The arguments of a call, as JSON.
#[derive(Clone, Copy, Debug)]
pub enum Input<'r> {
    /// As they are passed on.
    Plain(Raw<'r>),
    /// With white space between tokens, which is left out.
    Spaced(Raw<'r>),
}

/// The tools of a [`Request`], which are made of its text one by one.
#[derive(Debug)]
pub struct Tools<'a>(pub(crate) Tape<'a>);

impl Tools<'_> {
    /// The tools, in order.
    pub fn iter(&self) -> impl Iterator<Item = Tool<'_>> {
        let mut rest = self.0.all();
        std::iter::from_fn(move || {
            let (_, name, after) = rest.split_first()?;
            let (attributes, after) = after.split_while(|kind| kind != Kind::Function);
            rest = after;
            let is_strict = attributes.entries().find_map(|(kind, _)| match kind {
                Kind::IsStrict => Some(true),
                Kind::IsNotStrict => Some(false),
                _ => None,
            });
            let is_custom = attributes.entries().any(|(kind, _)| kind == Kind::IsCustom);
            Some(Tool {
                name: Text::checked(name),
                description: attributes.text(Kind::Description),
                parameters: match is_custom {
                    true => Some(Raw::checked(CUSTOM_PARAMETERS)),
                    false => attributes.raw(Kind::Parameters),
                },
                is_custom,
                strict: is_strict,
                cache_control: attributes.raw(Kind::ToolCache),
            })
        })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }
}

/// What a custom tool takes, as a function.
const CUSTOM_PARAMETERS: &[u8] =
    br#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}"#;

impl<'r> IntoIterator for &'r Messages<'_> {
    type Item = Message<'r>;
    type IntoIter = MessageIter<'r>;

    fn into_iter(self) -> MessageIter<'r> {
        self.iter()
    }
}

/// The stop sequences of a [`Request`].
#[derive(Debug, Default)]
pub struct Stops<'a> {
    /// Where it is no list.
    one: Option<Text<'a>>,
    several: Items<'a, Text<'a>>,
}

impl<'a> Stops<'a> {
    /// The sequences, in order. None is empty.
    pub fn iter(&self) -> impl Iterator<Item = Text<'a>> {
        let all = self.one.into_iter().chain(self.several.iter());
        // An empty sequence requests nothing.
        all.filter(|stop| !stop.is_empty())
    }
}

impl<'a> Read<'a> for Stops<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        let mut stops = Self::default();
        match reader.peek() {
            Some(b'"') => stops.one = Some(reader.value()?),
            Some(b'[' | b'{') => stops.several = reader.value()?,
            _ => return Err(reader.unfit("a string or an array of strings")),
        }
        Ok(stops)
    }
}

/// A function that the model may call.
#[derive(Clone, Copy, Debug)]
pub struct Tool<'r> {
    /// Its name.
    pub name: Text<'r>,
    /// What it does.
    pub description: Option<Text<'r>>,
    /// JSON Schema of its arguments; `None`: it takes none.
    pub parameters: Option<Raw<'r>>,
    /// Whether it is a custom tool, which takes a text: calls of it have one argument, `input`.
    pub is_custom: bool,
    /// `strict`.
    pub strict: Option<bool>,
    /// The member `cache_control` of the tool, as it is.
    pub cache_control: Option<Raw<'r>>,
}

/// A tool that OpenAI would run itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostedTool<'a> {
    /// Its place among the request's tools.
    pub index: usize,
    /// Its `type`.
    pub kind: Cow<'a, str>,
    /// Whether it refers to files or containers that OpenAI stores.
    pub has_files: bool,
}

/// Which calls of a reply the client gets, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallStyle {
    /// All, as `tool_calls`.
    #[default]
    All,
    /// The first of each choice, as `tool_calls`: the provider has no switch for parallel calls.
    First,
    /// The first of each choice, as `function_call`, which OpenAI has deprecated.
    Function,
}

/// Whether and what the model is to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    /// It decides among these, or must call one of them.
    Allowed {
        /// The functions' names.
        names: Vec<Cow<'a, str>>,
        /// Whether one must be called.
        is_required: bool,
    },
    /// It decides.
    Auto,
    /// This one.
    Function(Cow<'a, str>),
    /// A tool of this type, which OpenAI would run itself.
    Hosted(Cow<'a, str>),
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
        /// `json_schema.description`.
        description: Option<Cow<'a, str>>,
        /// `json_schema.schema`.
        schema: Option<Raw<'a>>,
        /// `json_schema.strict`.
        strict: Option<bool>,
    },
}

/// Why a choice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason<'a> {
    /// Withheld by a filter, or refused.
    ContentFilter,
    /// The token limit.
    Length,
    /// The answer is complete.
    Stop,
    /// The model wants functions to be called.
    ToolCalls,
    /// Another word of the provider's, which passes as `stop` would and is kept here.
    Other(Text<'a>),
}

/// A whole reply, as places in the provider's.
#[derive(Debug)]
pub struct Reply<'a> {
    /// The provider's id; empty where it has none: then one is made.
    pub id: Cow<'a, str>,
    /// The model that answered, in the provider's words.
    pub model: Cow<'a, str>,
    /// By index, from 0.
    pub choices: Choices<'a>,
    /// Why nothing was answered, where no choice says it.
    pub refusal: Option<String>,
    /// The pages that choices cite: which choice, and where in its text.
    pub annotations: Vec<(u64, Citations)>,
    /// Writes the signature of a choice's thinking as a string, where it has one: each dialect has a form
    /// of its own. Before it, calls what writes the name of the member.
    pub write_signature: WriteSignature,
    /// As billed.
    pub usage: Usage,
}

/// See [`Reply::write_signature`].
pub type WriteSignature = fn(&mut Writer, Choice<'_>, &mut dyn FnMut(&mut Writer));

/// The answers of a [`Reply`], which are made of its text one by one.
#[derive(Debug)]
pub struct Choices<'a>(pub(crate) Tape<'a>);

impl Choices<'_> {
    /// The choices, in order.
    pub fn iter(&self) -> impl Iterator<Item = Choice<'_>> {
        let mut rest = self.0.all();
        std::iter::from_fn(move || {
            let (kind, word, after) = rest.split_first()?;
            let (said, after) = after.split_while(|kind| !kind.is_choice());
            rest = after;
            Some(Choice {
                stop: match kind {
                    Kind::ChoiceCalls => StopReason::ToolCalls,
                    Kind::ChoiceFiltered => StopReason::ContentFilter,
                    Kind::ChoiceLength => StopReason::Length,
                    Kind::ChoiceOther => StopReason::Other(Text::checked(word)),
                    _ => StopReason::Stop,
                },
                said,
            })
        })
    }
}

/// One answer of a [`Reply`].
#[derive(Clone, Copy, Debug)]
pub struct Choice<'r> {
    /// Why it ended.
    pub stop: StopReason<'r>,
    said: Span<'r>,
}

impl<'r> Choice<'r> {
    /// What it says, in order: what each is, and where.
    pub(crate) fn entries(self) -> impl Iterator<Item = (Kind, &'r [u8])> {
        self.said.entries()
    }

    /// The calls, in order.
    pub fn tool_calls(self) -> ToolCalls<'r> {
        ToolCalls(self.said)
    }

    /// How likely each token of the text was.
    pub fn logprobs(self) -> Logprobs<'r> {
        Logprobs(self.said)
    }
}

/// How likely tokens were, which are made of their text one by one.
#[derive(Clone, Copy, Debug)]
pub struct Logprobs<'r>(Span<'r>);

impl<'r> Logprobs<'r> {
    /// All that is on a tape.
    pub(crate) fn new(tape: &'r Tape<'_>) -> Self {
        Self(tape.all())
    }

    /// The tokens, in order.
    pub fn iter(self) -> impl Iterator<Item = Logprob<'r>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (_, found) = rest.split_while(|kind| kind != Kind::Token);
            let (token, after) = Logprob::split(found)?;
            let of_token = |kind| matches!(kind, Kind::Logprob | Kind::TopToken);
            let (top, after) = after.split_while(of_token);
            rest = after;
            Some(Logprob { top, ..token })
        })
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }
}

impl PartialEq for Logprobs<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.entries().eq(other.0.entries())
    }
}

/// A page that a part of the text cites.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotation {
    /// Where the part begins. Unit: characters of the text.
    pub start: usize,
    /// Where the part ends. Unit: characters of the text.
    pub end: usize,
    /// The page's title; may be empty.
    pub title: String,
    /// The page's address.
    pub url: String,
}

/// A token of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Logprob<'r> {
    /// Its text.
    pub token: Text<'r>,
    /// The natural logarithm of its probability: at most 0.
    pub logprob: f64,
    top: Span<'r>,
}

impl<'r> Logprob<'r> {
    /// The likeliest tokens in its place.
    pub fn top(self) -> impl Iterator<Item = Self> {
        let mut rest = self.top;
        std::iter::from_fn(move || {
            let (token, after) = Self::split(rest)?;
            rest = after;
            Some(token)
        })
    }

    /// The token at the front, without those in its place, and what follows.
    fn split(entries: Span<'r>) -> Option<(Self, Span<'r>)> {
        let (_, token, after) = entries.split_first()?;
        let (number, after) = after.split_while(|kind| kind == Kind::Logprob);
        let number = number.raw(Kind::Logprob);
        let logprob = number.and_then(|it| json::read(it.bytes()).ok());
        let token = Self {
            token: Text::checked(token),
            // 0 is left out.
            logprob: logprob.unwrap_or_default(),
            top: entries.split_while(|_| false).0,
        };
        Some((token, after))
    }
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
    /// Pages that the text cites.
    Annotations {
        /// Of which choice.
        choice: u64,
        /// Not empty.
        annotations: &'a [Annotation],
    },
    /// How likely tokens of the text were.
    Logprobs {
        /// Of which choice.
        choice: u64,
        /// In order; not empty.
        tokens: Logprobs<'a>,
    },
    /// A choice has ended.
    Stop {
        /// Which.
        choice: u64,
        /// Why.
        reason: StopReason<'a>,
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
    /// A comment of the provider's, which keeps the connection alive.
    Comment(&'a str),
    /// A ping, which does the same.
    Ping,
    /// The stream is complete.
    End,
}
