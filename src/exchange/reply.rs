//! A provider's reply on its way to the client: passed on, reshaped, or translated.

use super::chat::ReplyContext;
use super::scan::ReplyScan;
use super::{BodyChange, Next, Step};
use crate::api::{ClientApi, Stamp};
use crate::budget::{Held, NoRoom, Share};
use crate::contract::ADAPTED_HEADER;
use crate::failure::{Failure, plain_message};
use crate::firewall;
use crate::headers::{HeaderEdit, Headers};
use crate::moment::Moment;
use crate::operation::Kind;
use crate::refusal::{JSON, LocalReply, NO_ROOM, Refusal};
use crate::relay::Relay;
use crate::usage::Observed;

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
    /// The rest of an error whose headers have gone on.
    ExpectError {
        status: u16,
        is_json: bool,
        api: &'static dyn ClientApi,
    },
    /// The rest of an error whose headers wait.
    ExpectHeldError(Box<HeldError>),
    /// The end of a reply that is going to be translated.
    ExpectChat(Box<ChatReply>),
    /// More of a stream that is translated as it comes.
    ExpectChatStream(Box<ChatStream>),
    /// A body in whose place the client gets this one.
    ExpectReplaced(String),
    /// More of a body that passes, and is looked at.
    ExpectScanned(Box<ReplyScan>),
    /// The reply has been told; what still comes is dropped.
    ExpectEnd,
}

/// An error of which headers and body wait.
pub struct HeldError {
    api: &'static dyn ClientApi,
    status: u16,
    is_json: bool,
    body: Held,
}

/// A reply in another dialect, up to here.
pub struct ChatReply {
    context: ReplyContext,
    status: u16,
    stamp: Stamp,
    /// Whether the headers say when to try again.
    has_retry_after: bool,
    /// Whether Envoy is going to try again, by this status.
    is_retried: bool,
    /// How long the body is, where the headers say so. Unit: bytes.
    length: Option<usize>,
    body: Held,
}

/// A stream in another dialect.
pub struct ChatStream {
    relay: Relay,
    /// How much of what waits is translated already. Unit: bytes.
    ///
    /// It waits where the stream may be complete, and only its end can tell: in Envoy, nothing can
    /// be added to a body that ends with trailers, unless a part of it waits.
    translated: usize,
    /// What the event that has begun takes, and what is kept of earlier ones.
    share: Share,
}

/// The headers of a reply.
pub struct Head<'a> {
    /// All of them.
    pub headers: &'a Headers<'a>,
    /// `:status`; 0 where it is no number.
    pub status: u16,
    /// Whether there is no body.
    pub ends: bool,
    /// The API of the request.
    pub api: &'static dyn ClientApi,
    /// Whether Envoy is going to try again after a reply with this status, so that an answer of ours
    /// would only get in the way.
    pub is_retried: &'a dyn Fn(u16) -> bool,
}

impl Reply {
    /// Whether it is an error whose body has to arrive before the client gets anything of it.
    pub fn collects_error(&self) -> bool {
        match self {
            Self::ExpectError { .. } | Self::ExpectHeldError(_) => true,
            Self::ExpectChat(chat) => chat.status >= FIRST_ERROR,
            Self::ExpectNothing
            | Self::ExpectChatStream(_)
            | Self::ExpectEnd
            | Self::ExpectReplaced(_)
            | Self::ExpectScanned(_) => false,
        }
    }

    /// A reply whose body becomes this one.
    pub fn replaced(body: String) -> Self {
        Self::ExpectReplaced(body)
    }

    /// The status that the client gets of an error in another dialect.
    pub fn status_for_client(&self) -> Option<u16> {
        match self {
            Self::ExpectChat(chat) => Some(chat.context.error(chat.status, b"").0),
            _ => None,
        }
    }

    /// The headers of a reply that is not translated have arrived. `is_bodiless`: it answers `HEAD`.
    /// `holds`: headers can wait for the body.
    pub fn headers(
        &mut self,
        head: &Head<'_>,
        is_bodiless: bool,
        holds: bool,
        share: &dyn Fn() -> Share,
    ) -> Step {
        let (headers, status) = (head.headers, head.status);
        let mut step = Step::default();
        firewall::withhold_from_client(headers, &mut step.headers);
        if status < FIRST_ERROR || is_bodiless || is_encoded(headers) {
            return step;
        }
        if head.ends {
            if !(head.is_retried)(status) {
                step = Step {
                    next: Next::Reply(empty_error(status, head)),
                    ..Step::default()
                };
            }
            return step;
        }
        let is_json = super::is_json(headers);
        if !is_json {
            step.headers.push(HeaderEdit::set("content-type", JSON));
        }
        if holds {
            let length = declared_length(headers);
            step.next = Next::Hold;
            *self = Self::ExpectHeldError(Box::new(HeldError {
                api: head.api,
                status,
                is_json,
                body: Held::new(share(), 1, length),
            }));
            return step;
        }
        step.headers.push(HeaderEdit::remove("content-length"));
        *self = Self::ExpectError {
            status,
            is_json,
            api: head.api,
        };
        step
    }

    /// The headers of a redirect have arrived, whatever the dialect. The client gets an error in its
    /// place: who follows a redirect leaves the gateway, with the prompt, and its address may have
    /// the key.
    pub fn redirect_headers(&mut self, head: &Head<'_>, redirect: u16) -> Step {
        let reply = Refusal::Redirected(redirect).reply(head.api);
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

    /// The headers of a reply in another dialect have arrived.
    pub fn chat_headers(
        &mut self,
        context: ReplyContext,
        head: &Head<'_>,
        now: Moment,
        share: &dyn Fn() -> Share,
    ) -> Step {
        let (headers, status, ends) = (head.headers, head.status, head.ends);
        let mut step = Step::default();
        firewall::withhold_from_client(headers, &mut step.headers);
        match context.adapted() {
            Some(names) => step
                .headers
                .push(HeaderEdit::set(ADAPTED_HEADER, names.to_owned())),
            None if headers.get(ADAPTED_HEADER).is_some() => {
                step.headers.push(HeaderEdit::remove(ADAPTED_HEADER));
            }
            None => {}
        }
        let is_error = status >= FIRST_ERROR;
        if is_error && (ends || is_encoded(headers)) && (head.is_retried)(status) {
            return step;
        }
        let stamp = Stamp {
            created: now.as_secs(),
            nonce: now.as_nanos(),
            calls: context.calls(),
        };
        if is_encoded(headers) || ends {
            let reply = match is_error {
                true => {
                    let (status, body) = context.error(status, b"");
                    LocalReply::json(status, body).with_headers_of(headers)
                }
                false if ends => context.empty_reply(),
                false => context.compressed_reply(),
            };
            step.next = Next::Reply(reply);
            return step;
        }
        let relay = context.stream(stamp).filter(|_| !is_error);
        if !is_error && relay.is_some() != is_event_stream(headers) {
            step.next = Next::Reply(context.mistaken_reply());
            return step;
        }
        if let Some(relay) = relay {
            step.headers.push(HeaderEdit::remove("content-length"));
            *self = Self::ExpectChatStream(Box::new(ChatStream {
                relay,
                translated: 0,
                share: share(),
            }));
            return step;
        }
        step.next = Next::Hold;
        if headers.get("content-type") != Some(JSON.as_bytes()) {
            step.headers.push(HeaderEdit::set("content-type", JSON));
        }
        let length = declared_length(headers);
        *self = Self::ExpectChat(Box::new(ChatReply {
            context,
            status,
            stamp,
            is_retried: is_error && (head.is_retried)(status),
            has_retry_after: headers.get("retry-after").is_some(),
            length,
            body: Held::new(share(), 1, length),
        }));
        step
    }

    /// Looks at what passes of a reply to a call of this kind, where that has a usage. `hides_usage`: the
    /// usage in a stream is not for the client.
    pub fn scan(&mut self, kind: Kind, head: &Head<'_>, hides_usage: bool, step: &mut Step) {
        let headers = head.headers;
        let is_stream = is_event_stream(headers);
        let is_readable = !head.ends && !is_encoded(headers);
        if !matches!(self, Self::ExpectNothing)
            || !is_readable
            || !(is_stream || super::is_json(headers))
        {
            return;
        }
        let Some(scan) = ReplyScan::new(kind, is_stream, hides_usage) else {
            return;
        };
        if is_stream && hides_usage && headers.get("content-length").is_some() {
            step.headers.push(HeaderEdit::remove("content-length"));
        }
        *self = Self::ExpectScanned(Box::new(scan));
    }

    /// What was seen of the answer, as far as it is not given by [`body`](Self::body).
    pub fn observed(&mut self) -> Option<&mut Observed> {
        match self {
            Self::ExpectChatStream(stream) => Some(stream.relay.observed()),
            Self::ExpectScanned(scan) => Some(&mut scan.observed),
            _ => None,
        }
    }

    /// More of the reply's body has arrived: `at_hand` bytes wait or have just come, which `read`
    /// gives. `observed`: what was seen of an answer that is now complete.
    pub fn body(
        &mut self,
        at_hand: usize,
        ends: bool,
        read: impl FnOnce() -> Vec<u8>,
        observed: &mut Observed,
    ) -> Step {
        match self {
            Self::ExpectNothing => Step::default(),
            Self::ExpectScanned(scan) => {
                let bytes = match at_hand {
                    0 => Vec::new(),
                    _ => read(),
                };
                Step {
                    body: scan.push(&bytes, ends),
                    ..Step::default()
                }
            }
            Self::ExpectChat(chat) => {
                let step = chat.push(read(), ends, observed);
                if !matches!(step.next, Next::Take) {
                    *self = Self::ExpectEnd;
                }
                step
            }
            Self::ExpectHeldError(error) => {
                let (step, rest) = error.push(read(), ends);
                if let Some(rest) = rest {
                    *self = rest;
                }
                step
            }
            Self::ExpectChatStream(stream) => {
                let step = stream.push(&read(), ends);
                // What it keeps is not needed any more.
                if stream.relay.is_finished() && stream.translated == 0 {
                    *observed = std::mem::take(stream.relay.observed());
                    *self = Self::ExpectEnd;
                }
                step
            }
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
            Self::ExpectError { .. } if !ends && at_hand <= MAX_BYTES_IN_PLACE => Step {
                next: Next::Hold,
                ..Step::default()
            },
            &mut Self::ExpectError {
                status,
                is_json,
                api,
            } => {
                let body = read();
                // Too long to wait for: its beginning tells.
                if !ends && is_json && api.is_error_beginning(&body) {
                    *self = Self::ExpectNothing;
                    return Step::default();
                }
                *self = match ends {
                    true => Self::ExpectNothing,
                    false => Self::ExpectEnd,
                };
                let body = match api.reshape_error(status, &body) {
                    Some(reshaped) if fits_in_place(reshaped.len(), at_hand) => {
                        BodyChange::Replace(reshaped.into_bytes())
                    }
                    // The message is too long to be repeated.
                    Some(_) => {
                        BodyChange::Replace(api.error(&Failure::new(status, "")).into_bytes())
                    }
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
    /// The reply ends with trailers instead of the last part of its body. `headers` gives the list of
    /// its headers.
    ///
    /// Envoy cannot add a body to a reply of which no part waits in Envoy's own buffer. Where the body
    /// was held here, the whole reply becomes one of ours.
    pub fn trailers(
        &mut self,
        headers: impl FnOnce() -> Vec<u8>,
        read: impl FnOnce() -> Vec<u8>,
        observed: &mut Observed,
    ) -> Step {
        match self {
            // Nothing waits. Of a stream that is scanned, an event without an end may, which no client
            // takes for one.
            Self::ExpectNothing
            | Self::ExpectReplaced(_)
            | Self::ExpectScanned(_)
            | Self::ExpectEnd => Step::default(),
            Self::ExpectChat(_) | Self::ExpectHeldError(_) => {
                let step = self.body(0, true, Vec::new, observed);
                let body = match step.body {
                    BodyChange::Replace(body) => body,
                    BodyChange::Keep | BodyChange::Splice { .. } => Vec::new(),
                };
                *self = Self::ExpectEnd;
                let list = headers();
                let headers = Headers::of_list(&list);
                let set = |name: &str| {
                    let edits = step.headers.iter();
                    edits.filter_map(|edit| edit.value_of(name)).next_back()
                };
                let status = set(":status").or_else(|| headers.text(":status"));
                let status = status.and_then(|status| status.parse().ok());
                // What is passed on is text, or the client could not read it.
                let body = String::from_utf8_lossy(&body).into_owned();
                let mut reply = LocalReply::json(status.unwrap_or(BAD_GATEWAY), body);
                reply = reply.with_headers_of(&headers);
                if let Some(seconds) = set("retry-after") {
                    reply
                        .headers
                        .push(("retry-after".to_owned(), seconds.to_owned()));
                }
                Step {
                    next: Next::Reply(reply),
                    ..Step::default()
                }
            }
            Self::ExpectChatStream(_) | Self::ExpectError { .. } => {
                let waiting = read();
                self.body(waiting.len(), true, || waiting, observed)
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
        let pending = self.relay.pending_bytes() as u64;
        if self.share.resize(pending) == Err(NoRoom) {
            self.relay.fail(NO_ROOM, &mut chunks);
            self.share.clear();
        }
        let waited = !translated.is_empty();
        let mut next = Next::Continue;
        if ends {
            self.relay.finish(&mut chunks);
        } else if self.relay.may_be_complete() && chunks.len() <= MAX_BYTES_IN_PLACE {
            self.translated = chunks.len();
            next = Next::Hold;
        }
        if waited && !fits_in_place(chunks.len(), at_hand.len()) {
            // After what may have been the end, nothing of this size follows in any reply.
            chunks.truncate(translated.len());
            self.relay.fail(TOO_MUCH_AFTER_THE_END, &mut chunks);
            self.translated = 0;
            next = Next::Continue;
        }
        Step {
            body: BodyChange::Replace(chunks),
            next,
            ..Step::default()
        }
    }
}

impl ChatReply {
    /// Takes more of the body. What is at hand is always taken, so that Envoy's buffer, which may be
    /// smaller than an image, stays empty.
    ///
    /// A body ends where its `content-length` says so, and need not wait for Envoy to say it, too:
    /// what comes after is none of it.
    fn push(&mut self, bytes: Vec<u8>, ends: bool, observed: &mut Observed) -> Step {
        if !bytes.is_empty() && self.body.push(bytes).is_err() {
            return Step {
                next: Next::Reply(Refusal::NoRoom.reply(self.context.api())),
                ..Step::default()
            };
        }
        self.body.truncate(self.length.unwrap_or(usize::MAX));
        let is_whole = ends || self.length == Some(self.body.len());
        match is_whole || self.body.len() > MAX_REPLY_BYTES {
            true => self.told(observed),
            false => Step {
                next: Next::Take,
                ..Step::default()
            },
        }
    }

    /// The body, which is whole, in the client's API.
    fn told(&mut self, observed: &mut Observed) -> Step {
        let mut edits = Vec::with_capacity(4);
        let text = self.body.take();
        let (status, body) = match self.status >= FIRST_ERROR {
            true => {
                let wait = self.context.retry_after(&text);
                if let Some(seconds) = wait.filter(|_| !self.has_retry_after) {
                    edits.push(HeaderEdit::set("retry-after", seconds.to_string()));
                }
                let (status, body) = self.context.error(self.status, &text);
                let status = match self.is_retried {
                    true => self.status,
                    false => status,
                };
                (status, body.into_bytes())
            }
            false => match self
                .context
                .reply(&text, self.stamp, MAX_REPLY_BYTES, observed)
            {
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

impl HeldError {
    /// Takes more of the body. Gives what the reply expects afterwards, where that is something else.
    fn push(&mut self, bytes: Vec<u8>, ends: bool) -> (Step, Option<Reply>) {
        let is_lost = !bytes.is_empty() && self.body.push(bytes).is_err();
        if !ends && !is_lost && self.body.len() <= MAX_ERROR_BYTES {
            let step = Step {
                next: Next::Take,
                ..Step::default()
            };
            return (step, None);
        }
        let body = self.body.take();
        // Too long to wait for: its beginning tells.
        let passes = match ends {
            true => None,
            false => Some(!is_lost && self.is_json && self.api.is_error_beginning(&body)),
        };
        let reshaped = match passes {
            Some(true) => None,
            Some(false) | None => self.api.reshape_error(self.status, &body),
        };
        let mut headers = Vec::new();
        let body = match reshaped {
            Some(reshaped) => reshaped.into_bytes(),
            None => body,
        };
        if passes != Some(true) {
            headers.push(HeaderEdit::set("content-length", body.len().to_string()));
        }
        let step = Step {
            headers,
            body: BodyChange::Replace(body),
            next: Next::Continue,
        };
        let rest = match passes {
            Some(false) => Reply::ExpectEnd,
            Some(true) | None => Reply::ExpectNothing,
        };
        (step, Some(rest))
    }
}

/// Whether a body of this length can take the place of what is at hand in Envoy's buffer. A body that
/// pushes the buffer over its limit ends the stream.
fn fits_in_place(length: usize, at_hand: usize) -> bool {
    length <= at_hand.max(MAX_BYTES_IN_PLACE)
}

fn declared_length(headers: &Headers<'_>) -> Option<usize> {
    let length = headers.text("content-length");
    length.and_then(|length| length.parse().ok())
}

/// Takes away what is at hand, if there is anything.
fn nothing_of(at_hand: usize) -> BodyChange {
    match at_hand {
        0 => BodyChange::Keep,
        _ => BodyChange::Replace(Vec::new()),
    }
}

/// What a client sees of an error that has no body.
fn empty_error(status: u16, head: &Head<'_>) -> LocalReply {
    let failure = Failure::new(status, plain_message(status, b""));
    LocalReply::error(&failure, head.api).with_headers_of(head.headers)
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

/// What a chunk with a word takes. Unit: bytes.
const MAX_USUAL_CHUNK: usize = 256;

/// How long a reply may be that is translated whole. Unit: bytes.
const MAX_REPLY_BYTES: usize = 64 << 20;

/// What is held in Envoy's own buffer at most, and written into it. No Envoy has a smaller one: 32 KiB
/// is what Envoy Gateway sets. Unit: bytes.
const MAX_BYTES_IN_PLACE: usize = 16 << 10;

const TOO_MUCH_AFTER_THE_END: &str = "too much follows what may have been its end";

const BAD_GATEWAY: u16 = 502;

/// How much of an error is collected. Unit: bytes.
const MAX_ERROR_BYTES: usize = 64 << 10;
