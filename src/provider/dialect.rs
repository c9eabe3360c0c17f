//! What it takes to speak a provider's own dialect.

use std::fmt;

use super::adapt::Policy;
use crate::chat::{CallStyle, Delta, Reply, Request};
use crate::json::{self, TooLong, Unread, Unwritten, Writer};
use crate::refusal::ErrorBody;
use crate::sse;

/// A wire format into which chat completions are translated.
///
/// A dialect knows bytes and meaning; it knows no hosts, keys or header maps.
pub trait Dialect {
    /// Writes the body of the request in the provider's words, the same each time.
    ///
    /// # Errors
    ///
    /// The parameters that the dialect cannot express, unless `options` let them be dropped.
    fn write(
        &self,
        request: &Request<'_>,
        options: &Options,
        json: &mut Writer,
    ) -> Result<Head, Unsupported>;

    /// The request in the provider's words. `length`: that of the body that it was read from. Unit of
    /// `length` and `limit`: bytes.
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write), and when the body would be longer than `limit`.
    fn encode_within(
        &self,
        request: &Request<'_>,
        options: &Options,
        length: usize,
        limit: usize,
    ) -> Result<Encoded, Unwritten<Unsupported>> {
        let guess = request.size_hint(length);
        let mut write = |json: &mut Writer| self.write(request, options, json);
        let (head, body) = json::write_within(guess, limit, &mut write)?;
        Ok(Encoded { head, body })
    }

    /// The same without a limit.
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write).
    fn encode(&self, request: &Request<'_>, options: &Options) -> Result<Encoded, Unsupported> {
        self.encode_within(request, options, 0, usize::MAX)
            .map_err(|unwritten| match unwritten {
                Unwritten::Failed(unsupported) => unsupported,
                // Nothing is longer than that.
                Unwritten::TooLong(TooLong { limit }) => Unsupported {
                    param: "messages".to_owned(),
                    message: format!("become longer than {limit} bytes"),
                },
            })
    }

    /// A whole reply with a status below 400.
    ///
    /// # Errors
    ///
    /// When the bytes are not a reply: the client gets 502.
    fn decode<'a>(&self, body: &'a [u8]) -> Result<Reply<'a>, BrokenReply>;

    /// What reads a streamed reply.
    fn stream(&self) -> Box<dyn StreamDecoder>;

    /// Embeddings in this dialect, where it has them.
    fn embeddings(&self) -> Option<&'static dyn Embeddings> {
        None
    }

    /// A reply with a status of 400 or more, as OpenAI would have told it. The status that the
    /// client sees comes with it.
    fn error(&self, status: u16, body: &[u8]) -> (u16, ErrorBody<'static>);

    /// How long the body of an error asks to wait, where the dialect says that there and not in a
    /// header. Unit: seconds.
    fn retry_after(&self, body: &[u8]) -> Option<u64>;
}

/// Translates embeddings.
pub trait Embeddings {
    /// An OpenAI request in the provider's words. `model` is the provider's name of the model, `limit`
    /// how long its body may be. Unit: bytes.
    ///
    /// # Errors
    ///
    /// What is missing or wrong, or cannot be expressed; and when it would be too long.
    fn encode(
        &self,
        body: &[u8],
        model: &str,
        options: &Options,
        limit: usize,
    ) -> Result<EncodedEmbeddings, Unwritten<Unsupported>>;

    /// The provider's reply as OpenAI's. `encoding` and `count` are what the request came to, `limit`
    /// is how long the reply may become. Unit: bytes.
    ///
    /// # Errors
    ///
    /// When the bytes are not a reply, or it would be too long: the client gets 502.
    fn decode(
        &self,
        body: &[u8],
        model: &str,
        encoding: Encoding,
        count: usize,
        limit: usize,
    ) -> Result<Vec<u8>, BrokenReply>;
}

/// Reads a streamed reply, event by event.
pub trait StreamDecoder {
    /// Says what an event means. After [`Delta::End`] or [`Delta::Error`] nothing follows.
    ///
    /// # Errors
    ///
    /// When the event cannot be one of the stream's.
    fn event(
        &mut self,
        event: &sse::Event<'_>,
        say: &mut dyn FnMut(Delta<'_>),
    ) -> Result<(), BrokenReply>;

    /// Whether only the end of the stream's bytes can tell that the reply is complete, and it may be:
    /// what has just been said is best kept until more comes. Most dialects say so themselves.
    fn may_be_complete(&self) -> bool {
        false
    }

    /// What is kept of earlier events until the end of the stream, as far as a provider determines
    /// its length. Unit: bytes.
    fn kept_bytes(&self) -> usize {
        0
    }

    /// The stream's bytes have ended. Says what only now is known, or that the stream was cut.
    ///
    /// # Errors
    ///
    /// When the stream ended before the reply did.
    fn finish(&mut self, say: &mut dyn FnMut(Delta<'_>)) -> Result<(), BrokenReply>;
}

/// What the configuration says about translating.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The limit that is sent where the client gives none and the dialect demands one. Unit:
    /// tokens.
    pub max_tokens: Option<u64>,
    /// What becomes of a parameter that cannot be expressed.
    pub unsupported: Policy,
    /// Whether `web_search_options` becomes the provider's own search.
    pub has_web_search: bool,
}

/// A request in the provider's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Where it goes.
    pub head: Head,
    /// JSON.
    pub body: Vec<u8>,
}

/// What goes before the body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The path below the base path, with its query: `/messages`.
    pub suffix: String,
    /// Headers that belong to the dialect: lower-case names.
    pub headers: &'static [(&'static str, &'static str)],
    /// The parameters that were adapted: the value of `x-llm-proxy-adapted`; `None`: none was.
    pub adapted: Option<String>,
    /// Which calls of a reply the client gets, and how.
    pub calls: CallStyle,
}

/// In which form the client wants a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Base64 of 32-bit floats, little-endian.
    Base64,
    /// A list of numbers.
    #[default]
    Float,
}

/// A request for embeddings in the provider's words, and what is needed to read its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedEmbeddings {
    /// What is sent.
    pub request: Encoded,
    /// For [`Embeddings::decode`].
    pub encoding: Encoding,
    /// For [`Embeddings::decode`]: how many texts there are.
    pub count: usize,
}

/// A parameter that a dialect cannot express. Caused by the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The parameter as the client wrote it: `n`, `messages[2].content[0]`.
    pub param: String,
    /// What about it, and what can be done: lower case, no final period.
    pub message: String,
}

impl Unsupported {
    /// What the client sees, with a 400.
    pub fn to_error(&self) -> ErrorBody<'static> {
        ErrorBody::new(400, self.to_string())
            .with_param(Some(self.param.clone().into()))
            .with_code(Some("unsupported_parameter".into()))
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.param, self.message)
    }
}

impl std::error::Error for Unsupported {}

/// What a person reads of an error that is no JSON: never empty, and not too long.
pub(super) fn plain_error(status: u16, body: &[u8]) -> String {
    let body = body.trim_ascii();
    // A character has at most four bytes.
    let beginning = body.get(..4 * MAX_MESSAGE_CHARS).unwrap_or(body);
    error_message(status, &String::from_utf8_lossy(beginning))
}

/// The same of an error's message.
pub(super) fn error_message(status: u16, message: &str) -> String {
    let message = message.trim();
    if message.is_empty() {
        return format!("the provider answered with status {status} and no message");
    }
    message.chars().take(MAX_MESSAGE_CHARS).collect()
}

/// The most values, of any kind, that a schema may have which is read as a tree.
///
/// A tree is a hundred times as large as the smallest values: this bounds it to some megabytes, one at
/// a time, whatever the body. Tools and answers of real applications have some thousand.
pub const MAX_SCHEMA_VALUES: usize = 20_000;

/// How much of a provider's message is passed on.
pub(super) const MAX_MESSAGE_CHARS: usize = 4_000;

/// Bytes of a provider that are no reply. Caused by the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenReply(pub String);

impl BrokenReply {
    /// What the client sees, with a 502 or in a stream.
    pub fn to_error(&self) -> ErrorBody<'static> {
        ErrorBody::new(502, self.to_string()).with_code(Some("broken_reply".into()))
    }
}

impl From<Unwritten<Self>> for BrokenReply {
    fn from(unwritten: Unwritten<Self>) -> Self {
        match unwritten {
            Unwritten::Failed(broken) => broken,
            Unwritten::TooLong(long) => Self::from(long),
        }
    }
}

impl From<TooLong> for BrokenReply {
    fn from(TooLong { limit }: TooLong) -> Self {
        Self(format!(
            "it becomes larger than the limit of {limit} bytes when it is translated"
        ))
    }
}

impl From<Unread> for BrokenReply {
    fn from(unread: Unread) -> Self {
        Self(unread.to_string())
    }
}

impl fmt::Display for BrokenReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the provider's reply cannot be read: {}", self.0)
    }
}

impl std::error::Error for BrokenReply {}
