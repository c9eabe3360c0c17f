//! What it takes to speak a provider's own dialect.

use std::fmt;

use super::LimitName;
use super::adapt::Policy;
use super::members::MemberRules;
use crate::chat::{CallStyle, Delta, Reply, Request};
use crate::embed;
use crate::failure::Failure;
use crate::json::{self, Splice, TooLong, Unread, Unwritten, Writer};
use crate::operation::Kind;
use crate::sse::{self, Item};

/// A wire format into which conversations are translated.
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

    /// What reads a streamed reply. `max_event_bytes`: how much of it may be kept until its next part is
    /// there.
    fn stream(&self, max_event_bytes: usize) -> Box<dyn ReplyStream>;

    /// Embeddings in this dialect, where it has them.
    fn embeddings(&self) -> Option<&'static dyn Embeddings> {
        None
    }

    /// How the tokens of a conversation are counted in this dialect, where the provider can.
    fn counting(&self) -> Option<&'static dyn Counting> {
        None
    }

    /// A call of a client API that the model speaks itself, where the provider wants it addressed in
    /// another way; `None`: it is translated. `body` is what the client sent, after all rules.
    ///
    /// # Errors
    ///
    /// What of the body cannot stay.
    fn pass(&self, _kind: Kind, _model: &str, _body: &[u8]) -> Result<Option<Passed>, Unsupported> {
        Ok(None)
    }

    /// A reply with a status of 400 or more.
    fn error(&self, status: u16, body: &[u8]) -> Failure<'static>;

    /// How long the body of an error asks to wait, where the dialect says that there and not in a
    /// header. Unit: seconds.
    fn retry_after(&self, body: &[u8]) -> Option<u64>;
}

/// Embeddings in a provider's words.
pub trait Embeddings {
    /// Writes the body of the request, the same each time. `model` is the provider's name of the model.
    ///
    /// # Errors
    ///
    /// The parameters that cannot be expressed, unless `options` let them be dropped.
    fn write(
        &self,
        request: &embed::Request<'_>,
        model: &str,
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
        request: &embed::Request<'_>,
        model: &str,
        options: &Options,
        length: usize,
        limit: usize,
    ) -> Result<Encoded, Unwritten<Unsupported>> {
        let guess = request.size_hint(length);
        let mut write = |json: &mut Writer| self.write(request, model, options, json);
        let (head, body) = json::write_within(guess, limit, &mut write)?;
        Ok(Encoded { head, body })
    }

    /// Reads the provider's reply to a request of `count` texts.
    ///
    /// # Errors
    ///
    /// When the bytes are not a reply, or hold another number of vectors: the client gets 502.
    fn decode<'a>(&self, body: &'a [u8], count: usize) -> Result<embed::Reply<'a>, BrokenReply>;
}

/// Counting the tokens of a conversation in a provider's words.
pub trait Counting {
    /// Writes the body of the request.
    ///
    /// # Errors
    ///
    /// The parameters that cannot be expressed, unless `options` let them be dropped.
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

    /// How many tokens the provider's reply counts.
    ///
    /// # Errors
    ///
    /// When the bytes are not a reply: the client gets 502.
    fn decode(&self, body: &[u8]) -> Result<u64, BrokenReply>;
}

/// A request that passes to a model that speaks its API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The path below the base path.
    pub suffix: String,
    /// What changes in the body, in order.
    pub splices: Vec<Splice>,
    /// Whether it requests a stream.
    pub is_stream: bool,
}

/// Reads a streamed reply from its bytes, whatever their framing. Most are server-sent events: see
/// [`SseStream`].
pub trait ReplyStream {
    /// Takes the next bytes, and emits what they mean.
    ///
    /// # Errors
    ///
    /// When they cannot be part of the stream.
    fn push(&mut self, bytes: &[u8], emit: &mut dyn FnMut(Delta<'_>)) -> Result<(), BrokenReply>;

    /// The stream's bytes have ended. Emits what only now is known, or that the stream was cut.
    ///
    /// # Errors
    ///
    /// When the stream ended before the reply did.
    fn finish(&mut self, emit: &mut dyn FnMut(Delta<'_>)) -> Result<(), BrokenReply>;

    /// See [`EventDecoder::may_be_complete`].
    fn may_be_complete(&self) -> bool;

    /// What the part that has begun takes, and what is kept of earlier ones. Unit: bytes.
    fn pending_bytes(&self) -> usize;

    /// Forgets the part that has begun.
    fn clear(&mut self);
}

/// A stream of server-sent events.
pub struct SseStream {
    events: sse::Decoder,
    decoder: Box<dyn EventDecoder>,
}

impl SseStream {
    /// A stream at its start. `max_event_bytes`: how large one event may be.
    pub fn new(decoder: impl EventDecoder + 'static, max_event_bytes: usize) -> Self {
        Self {
            events: sse::Decoder::new(max_event_bytes),
            decoder: Box::new(decoder),
        }
    }
}

/// Reads a streamed reply, event by event.
pub trait EventDecoder {
    /// Emits what an event means. After [`Delta::End`] or [`Delta::Error`] nothing follows.
    ///
    /// # Errors
    ///
    /// When the event cannot be one of the stream's.
    fn event(
        &mut self,
        event: &sse::Event<'_>,
        emit: &mut dyn FnMut(Delta<'_>),
    ) -> Result<(), BrokenReply>;

    /// Whether only the end of the stream's bytes can tell that the reply is complete, and it may be:
    /// what has just been emitted is best kept until more comes. Most dialects say so themselves.
    fn may_be_complete(&self) -> bool {
        false
    }

    /// What is kept of earlier events until the end of the stream, as far as a provider determines
    /// its length. Unit: bytes.
    fn kept_bytes(&self) -> usize {
        0
    }

    /// The stream's bytes have ended. Emits what only now is known, or that the stream was cut.
    ///
    /// # Errors
    ///
    /// When the stream ended before the reply did.
    fn finish(&mut self, emit: &mut dyn FnMut(Delta<'_>)) -> Result<(), BrokenReply>;
}

/// Emits what an item means, unless one before it was broken.
fn read_item(
    decoder: &mut dyn EventDecoder,
    item: &Item<'_>,
    broken: &mut Option<BrokenReply>,
    emit: &mut dyn FnMut(Delta<'_>),
) {
    match item {
        _ if broken.is_some() => {}
        Item::Comment(comment) => emit(Delta::Comment(comment)),
        Item::Event(event) => *broken = decoder.event(event, emit).err(),
    }
}

impl ReplyStream for SseStream {
    fn push(&mut self, bytes: &[u8], emit: &mut dyn FnMut(Delta<'_>)) -> Result<(), BrokenReply> {
        let Self { events, decoder } = self;
        let mut broken = None;
        let give = |item: Item<'_>| read_item(&mut **decoder, &item, &mut broken, emit);
        let fits = events.push(bytes, give);
        broken.map_or(Ok(()), Err)?;
        fits.map_err(|error| BrokenReply(error.to_string()))
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Delta<'_>)) -> Result<(), BrokenReply> {
        let Self { events, decoder } = self;
        let mut broken = None;
        let give = |item: Item<'_>| read_item(&mut **decoder, &item, &mut broken, emit);
        let fits = events.finish(give);
        broken.map_or(Ok(()), Err)?;
        fits.map_err(|error| BrokenReply(error.to_string()))?;
        self.decoder.finish(emit)
    }

    fn may_be_complete(&self) -> bool {
        self.decoder.may_be_complete()
    }

    fn pending_bytes(&self) -> usize {
        let pending = self.events.pending_bytes();
        pending.saturating_add(self.decoder.kept_bytes())
    }

    fn clear(&mut self) {
        self.events.clear();
    }
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
    /// By which name the provider takes the limit of an answer.
    pub limit_name: LimitName,
    /// What the provider refuses in a chat completion.
    pub members: MemberRules,
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    pub fn to_failure(&self) -> Failure<'static> {
        Failure::new(400, self.to_string())
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

/// The most values, of any kind, that a schema may have which is rewritten. Tools and answers of real
/// applications have some thousand.
pub const MAX_SCHEMA_VALUES: usize = 20_000;

/// How long such a schema may be. Unit: bytes.
pub const MAX_SCHEMA_BYTES: usize = 1 << 20;

/// The most objects and arrays that may be open at once in such a schema.
pub(super) const MAX_SCHEMA_DEPTH: usize = 100;

/// Bytes of a provider that are no reply. Caused by the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenReply(pub String);

impl BrokenReply {
    /// What the client sees, with a 502 or in a stream.
    pub fn to_failure(&self) -> Failure<'static> {
        Failure::new(502, self.to_string()).with_code(Some("broken_reply".into()))
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
