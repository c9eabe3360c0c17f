//! An error before it has the shape of a client's API.
//!
//! Whatever fails (a request that is refused, a provider's error, a stream that is cut) is described by
//! a [`Failure`]; the API of the request writes it ([`crate::api`]).

mod body;

use std::borrow::Cow;

/// What a client is told about an error, whatever API it speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// The HTTP status; within a stream, the one that the reply would have had.
    pub status: u16,
    /// For people: never empty where a provider has said something.
    pub message: Cow<'a, str>,
    /// The provider's own type of the error; `None`: the one that goes with the status.
    pub kind: Option<Cow<'a, str>>,
    /// The parameter at fault, as the client wrote it.
    pub param: Option<Cow<'a, str>>,
    /// A word for programs, in OpenAI's vocabulary where that has one.
    pub code: Option<Cow<'a, str>>,
}

impl<'a> Failure<'a> {
    /// A failure of which the status and the message are known.
    pub fn new(status: u16, message: impl Into<Cow<'a, str>>) -> Self {
        Self {
            status,
            message: message.into(),
            kind: None,
            param: None,
            code: None,
        }
    }

    /// The same with a type of its own, where one is known.
    #[must_use]
    pub fn with_kind(mut self, kind: Option<Cow<'a, str>>) -> Self {
        self.kind = kind;
        self
    }

    /// The same about a parameter.
    #[must_use]
    pub fn with_param(mut self, param: Option<Cow<'a, str>>) -> Self {
        self.param = param;
        self
    }

    /// The same with a code.
    #[must_use]
    pub fn with_code(mut self, code: Option<Cow<'a, str>>) -> Self {
        self.code = code;
        self
    }
}

/// What a person reads of an error that is no JSON: never empty, and not too long.
pub fn plain_message(status: u16, body: &[u8]) -> String {
    let body = body.trim_ascii();
    // A character has at most four bytes.
    let beginning = body.get(..4 * MAX_MESSAGE_CHARS).unwrap_or(body);
    provider_message(status, &String::from_utf8_lossy(beginning))
}

/// The message of a provider's error: never empty, and not too long.
pub fn provider_message(status: u16, message: &str) -> String {
    let message = message.trim();
    if message.is_empty() {
        return format!("the provider answered with status {status} and no message");
    }
    message.chars().take(MAX_MESSAGE_CHARS).collect()
}

/// How much of a provider's message is passed on. Unit: characters.
pub const MAX_MESSAGE_CHARS: usize = 4_000;

/// Whether a provider's message says that the conversation is longer than the model's context. Clients
/// look for the code [`CONTEXT_OVERFLOW`] to shorten it.
pub fn is_context_overflow(status: u16, message: &str) -> bool {
    matches!(status, 400 | 413 | 422 | 500) && {
        let beginning: String = message.chars().take(1_000).collect();
        let beginning = beginning.to_ascii_lowercase();
        CONTEXT_OVERFLOW_WORDS
            .iter()
            .any(|words| words.iter().all(|word| beginning.contains(word)))
    }
}

/// OpenAI's code for it.
pub const CONTEXT_OVERFLOW: &str = "context_length_exceeded";

/// What the messages have in common, provider by provider. Source: the messages as users have
/// reported them.
const CONTEXT_OVERFLOW_WORDS: [&[&str]; 11] = [
    // Anthropic.
    &["prompt is too long"],
    &["exceed context limit"],
    // Google.
    &["input token count", "exceeds"],
    // OpenAI, vLLM, OpenRouter, Together, DeepSeek, Fireworks.
    &["maximum context length"],
    // Groq.
    &["reduce the length of the messages"],
    // Mistral.
    &["too large for model", "context"],
    // xAI.
    &["maximum prompt length"],
    // Cohere.
    &["too many tokens"],
    // llama.cpp, LM Studio, Ollama.
    &["exceeds the available context"],
    &["greater than the context length"],
    &["exceeds the context window"],
];

/// As much of a client's text as a message quotes.
pub fn quotable(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_QUOTED_BYTES))
        .unwrap_or_default()
}

const MAX_QUOTED_BYTES: usize = 200;
