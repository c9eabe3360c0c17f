//! A provider's reply on its way to the client: passed on, reshaped, or translated.

use super::chat::{self, Asked};
use super::{BodyChange, Next, Step, provider_error};
use crate::chat::openai::Stamp;
use crate::firewall;
use crate::headers::{HeaderEdit, Headers};
use crate::provider::relay::Relay;
use crate::refusal::{ErrorBody, JSON, LocalReply, Refusal};

/// What the reply waits for.
#[derive(Default)]
#[allow(
    clippy::enum_variant_names,
    reason = "a state is named for what it waits for"
)]
pub enum Reply {
    /// Headers, or a body that passes unread.
    #[default]
    ExpectNothing,
    /// The rest of an error.
    ExpectError { status: u16, is_json: bool },
    /// The end of a reply that is going to be translated.
    ExpectChat(Box<ChatReply>),
    /// More of a stream that is translated as it comes.
    ExpectChatStream(Box<ChatStream>),
    /// A body in whose place the client gets this one.
    ExpectReplaced(String),
    /// The reply has been told; what still comes is dropped.
    ExpectEnd,
}

/// A reply in another dialect, up to here.
pub struct ChatReply {
    asked: Asked,
    status: u16,
    stamp: Stamp,
    /// Whether the headers say when to try again.
    has_retry_after: bool,
    /// Whether Envoy is going to try again, by this status.
    is_retried: bool,
    /// How long the body is, where the headers say so. Unit: bytes.
    length: Option<usize>,
    body: Vec<u8>,
}

/// A stream in another dialect.
pub struct ChatStream {
    relay: Relay,
    /// How much of what waits is translated already. Unit: bytes.
    ///
    /// It waits where the stream may be complete, and only its end can tell: in Envoy, nothing can
    /// be added to a body that ends with trailers, unless a part of it waits.
    translated: usize,
}

/// The headers of a reply.
pub struct Head<'a> {
    /// All of them.
    pub headers: &'a Headers<'a>,
    /// `:status`; 0 where it is no number.
    pub status: u16,
    /// Whether there is no body.
    pub ends: bool,
    /// Whether Envoy is going to try again after a reply with this status, so that an answer of ours
    /// would only get in the way.
    pub is_retried: &'a dyn Fn(u16) -> bool,
}

impl Reply {
    /// The headers of a reply in OpenAI's dialect have arrived. `is_bodiless`: it answers `HEAD`.
    pub fn headers(&mut self, head: &Head<'_>, is_bodiless: bool) -> Step {
        let (headers, status) = (head.headers, head.status);
        let mut step = Step::default();
        firewall::withhold_from_client(headers, &mut step.headers);
        if status < FIRST_ERROR || is_bodiless || is_encoded(headers) {
            return step;
        }
        if head.ends {
            if !(head.is_retried)(status) {
                step = Step {
                    next: Next::Reply(empty_error(status, headers)),
                    ..Step::default()
                };
            }
            return step;
        }
        let is_json = super::is_json(headers);
        if !is_json {
            step.headers.push(HeaderEdit::set("content-type", JSON));
        }
        step.headers.push(HeaderEdit::remove("content-length"));
        *self = Self::ExpectError { status, is_json };
        step
    }

    /// The headers of a redirect have arrived, whatever the dialect. The client gets an error in its
    /// place: who follows a redirect leaves the gateway, with the prompt, and its address may have
    /// the key.
    pub fn redirect_headers(&mut self, head: &Head<'_>, redirect: u16) -> Step {
        let reply = LocalReply::from(&Refusal::Redirected(redirect));
        if !(head.is_retried)(reply.status) {
            return Step {
                next: Next::Reply(reply),
                ..Step::default()
            };
        }
        let mut step = Step::default();
        firewall::withhold_from_client(head.headers, &mut step.headers);
        step.headers
            .push(HeaderEdit::set(":status", reply.status.to_string()));
        step.headers.push(HeaderEdit::set("content-type", JSON));
        step.headers.push(HeaderEdit::remove("content-encoding"));
        if !head.ends {
            step.headers.push(HeaderEdit::remove("content-length"));
            *self = Self::ExpectReplaced(reply.body);
        }
        step
    }

    /// The headers of a reply in another dialect have arrived. `now`: nanoseconds since 1970.
    pub fn chat_headers(&mut self, asked: Asked, head: &Head<'_>, now: u64) -> Step {
        let (headers, status, ends) = (head.headers, head.status, head.ends);
        let mut step = Step::default();
        firewall::withhold_from_client(headers, &mut step.headers);
        let is_error = status >= FIRST_ERROR;
        if is_error && (ends || is_encoded(headers)) && (head.is_retried)(status) {
            return step;
        }
        let stamp = Stamp {
            created: now / NANOSECONDS,
            nonce: now,
        };
        if is_encoded(headers) || ends {
            let reply = match is_error {
                true => {
                    let (status, body) = asked.error(status, b"");
                    LocalReply::json(status, body).with_headers_of(headers)
                }
                false if ends => chat::empty_reply(),
                false => chat::compressed_reply(),
            };
            step.next = Next::Reply(reply);
            return step;
        }
        if !is_error && asked.is_stream() != is_event_stream(headers) {
            step.next = Next::Reply(chat::mistaken_reply());
            return step;
        }
        if !is_error && asked.is_stream() {
            step.headers.push(HeaderEdit::remove("content-length"));
            *self = Self::ExpectChatStream(Box::new(ChatStream {
                relay: asked.stream(stamp),
                translated: 0,
            }));
            return step;
        }
        step.next = Next::Hold;
        if headers.get("content-type") != Some(JSON.as_bytes()) {
            step.headers.push(HeaderEdit::set("content-type", JSON));
        }
        *self = Self::ExpectChat(Box::new(ChatReply {
            asked,
            status,
            stamp,
            is_retried: is_error && (head.is_retried)(status),
            has_retry_after: headers.get("retry-after").is_some(),
            length: headers
                .text("content-length")
                .and_then(|length| length.parse().ok()),
            body: Vec::new(),
        }));
        step
    }

    /// More of the reply's body has arrived: `at_hand` bytes wait or have just come, which `read`
    /// gives.
    pub fn body(&mut self, at_hand: usize, ends: bool, read: impl FnOnce() -> Vec<u8>) -> Step {
        match self {
            Self::ExpectNothing => Step::default(),
            Self::ExpectChat(chat) => {
                let step = chat.push(read(), ends);
                if !matches!(step.next, Next::Hold) {
                    *self = Self::ExpectEnd;
                }
                step
            }
            Self::ExpectChatStream(stream) => stream.push(&read(), ends),
            Self::ExpectEnd => Step {
                body: nothing_of(at_hand),
                ..Step::default()
            },
            Self::ExpectReplaced(body) => {
                let body = std::mem::take(body).into_bytes();
                *self = Self::ExpectEnd;
                Step {
                    body: BodyChange::Replace(body),
                    ..Step::default()
                }
            }
            Self::ExpectError { .. } if !ends && at_hand <= MAX_ERROR_BYTES => Step {
                next: Next::Hold,
                ..Step::default()
            },
            &mut Self::ExpectError { status, is_json } => {
                let body = read();
                // Too long to wait for: its beginning tells.
                if !ends && is_json && provider_error::begins_well(&body) {
                    *self = Self::ExpectNothing;
                    return Step::default();
                }
                *self = match ends {
                    true => Self::ExpectNothing,
                    false => Self::ExpectEnd,
                };
                let body = match provider_error::reshape(status, &body) {
                    Some(reshaped) => BodyChange::Replace(reshaped.into_bytes()),
                    None => BodyChange::Keep,
                };
                Step {
                    body,
                    ..Step::default()
                }
            }
        }
    }
}

impl Reply {
    /// The reply ends with trailers instead of the last part of its body.
    pub fn trailers(&mut self, read: impl FnOnce() -> Vec<u8>) -> Step {
        match self {
            // Nothing waits.
            Self::ExpectNothing | Self::ExpectReplaced(_) | Self::ExpectEnd => Step::default(),
            Self::ExpectChat(chat) => {
                let step = chat.push(Vec::new(), true);
                *self = Self::ExpectEnd;
                step
            }
            Self::ExpectChatStream(_) | Self::ExpectError { .. } => {
                let waiting = read();
                self.body(waiting.len(), true, || waiting)
            }
        }
    }
}

impl ChatStream {
    /// Takes what is at hand.
    fn push(&mut self, at_hand: &[u8], ends: bool) -> Step {
        let translated = std::mem::take(&mut self.translated);
        let (translated, arrived) = at_hand.split_at_checked(translated).unwrap_or_default();
        // OpenAI's chunks are mostly the longer ones: one allocation for each.
        let mut chunks = Vec::with_capacity(2 * at_hand.len() + MAX_USUAL_CHUNK);
        if !translated.is_empty() {
            chunks.extend_from_slice(translated);
        }
        self.relay.push(arrived, &mut chunks);
        let mut next = Next::Continue;
        if ends {
            self.relay.finish(&mut chunks);
        } else if self.relay.may_be_complete() {
            self.translated = chunks.len();
            next = Next::Hold;
        }
        Step {
            body: BodyChange::Replace(chunks),
            next,
            ..Step::default()
        }
    }
}

impl ChatReply {
    /// Takes more of the body. What is at hand is always taken, so that Envoy's buffer, which is
    /// smaller than an image, stays empty.
    ///
    /// A body ends where its `content-length` says so, and need not wait for Envoy to say it, too:
    /// what comes after is none of it.
    fn push(&mut self, bytes: Vec<u8>, ends: bool) -> Step {
        let at_hand = bytes.len();
        match self.body.is_empty() {
            true => self.body = bytes,
            false => self.body.extend_from_slice(&bytes),
        }
        self.body.truncate(self.length.unwrap_or(usize::MAX));
        let is_whole = ends || self.length == Some(self.body.len());
        match is_whole || self.body.len() > MAX_REPLY_BYTES {
            true => self.told(),
            false => Step {
                body: nothing_of(at_hand),
                next: Next::Hold,
                ..Step::default()
            },
        }
    }

    /// The body, which is whole, as OpenAI would have told it.
    fn told(&self) -> Step {
        let mut edits = Vec::with_capacity(4);
        let (status, body) = match self.status >= FIRST_ERROR {
            true => {
                let wait = self.asked.retry_after(&self.body);
                if let Some(seconds) = wait.filter(|_| !self.has_retry_after) {
                    edits.push(HeaderEdit::set("retry-after", seconds.to_string()));
                }
                let (status, body) = self.asked.error(self.status, &self.body);
                let status = match self.is_retried {
                    true => self.status,
                    false => status,
                };
                (status, body.into_bytes())
            }
            false => match self.asked.reply(&self.body, self.stamp, MAX_REPLY_BYTES) {
                Ok(body) => (self.status, body),
                Err(reply) => (reply.status, reply.body.into_bytes()),
            },
        };
        if status != self.status {
            edits.push(HeaderEdit::set(":status", status.to_string()));
        }
        edits.push(HeaderEdit::set("content-length", body.len().to_string()));
        Step {
            headers: edits,
            body: BodyChange::Replace(body),
            next: Next::Continue,
        }
    }
}

/// Takes away what is at hand, if there is anything.
fn nothing_of(at_hand: usize) -> BodyChange {
    match at_hand {
        0 => BodyChange::Keep,
        _ => BodyChange::Replace(Vec::new()),
    }
}

/// What a client sees of an error that has no body.
fn empty_error(status: u16, headers: &Headers<'_>) -> LocalReply {
    let body = provider_error::reshape(status, b"");
    let body = body.unwrap_or_else(|| ErrorBody::new(status, "").to_json());
    LocalReply::json(status, body).with_headers_of(headers)
}

fn is_event_stream(headers: &Headers<'_>) -> bool {
    super::media_type(headers).eq_ignore_ascii_case(b"text/event-stream")
}

fn is_encoded(headers: &Headers<'_>) -> bool {
    headers
        .get("content-encoding")
        .is_some_and(|it| !it.eq_ignore_ascii_case(b"identity"))
}

const FIRST_ERROR: u16 = 400;
const NANOSECONDS: u64 = 1_000_000_000;

/// What a chunk with a word takes. Unit: bytes.
const MAX_USUAL_CHUNK: usize = 256;

/// How long a reply may be that is translated whole. Unit: bytes.
const MAX_REPLY_BYTES: usize = 64 << 20;

/// How much of an error is collected. Unit: bytes.
const MAX_ERROR_BYTES: usize = 64 << 10;
