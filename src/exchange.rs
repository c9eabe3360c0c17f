//! One request and its reply, as a state machine without host calls.
//!
//! The filter tells what arrived, and applies the [`Step`] it gets back. Nothing here knows Envoy's
//! ABI; what must be asked of the host is asked through [`Surroundings`] and `read` arguments,
//! and only when it is needed, because every call costs.
//!
//! ```text
//!   request:  headers ─► where to? ─► host, path, key ─┬─► no JSON, no rules: body passes unread
//!                                                      └─► BodyEdit: hold, or edit as it passes
//!   reply:    status ─┬─ below 400: passes as it comes
//!                     └─ error: collected, and reshaped where it is not OpenAI's
//! ```
//!
//! # Invariants
//!
//! * A reply that is no error is never read, held or counted: a stream stays a stream.
//! * Every attempt starts from what the client sent: host, path, length, body.
//! * Nothing of a client's credentials passes, unless the backend has [`Auth::Client`].

mod body;
mod chat;
mod firewall;
mod metadata;
mod models;
mod original;
mod provider_error;

use std::rc::Rc;

use self::body::{BodyEdit, Pushed};
use self::chat::{Asked, ChatRequest};
pub use self::metadata::RouteMetadata;
use self::original::Original;
use crate::chat::openai::Stamp;
use crate::config::{Auth, Backend, Gateway, Placement};
use crate::headers::{HeaderEdit, Headers, Text};
use crate::json::Splice;
use crate::operation::{Kind, ModelMember, Operation};
use crate::provider::PathError;
use crate::provider::dialect::{Dialect, Encoded};
use crate::provider::relay::Relay;
use crate::refusal::{ErrorBody, JSON, LocalReply, Refusal};
use crate::route::{self, Routed};

/// What the host can be asked while it handles a request.
pub trait Surroundings {
    /// The `llm-proxy` metadata of Envoy's route, as a [pair list](crate::pairs).
    fn route_metadata(&self) -> Option<Vec<u8>>;

    /// The backend that the metadata of the picked endpoint names, else of the cluster.
    fn backend_name(&self) -> Option<String>;

    /// Which attempt this is, from 1, where the host counts them.
    fn attempt(&self) -> Option<u64>;

    /// The time. Unit: nanoseconds since 1970.
    fn now(&self) -> u64;

    /// What an earlier attempt of this request has [kept](Self::keep).
    fn kept(&self) -> Option<Vec<u8>>;

    /// Keeps bytes for the next attempt of this request.
    fn keep(&self, bytes: &[u8]);
}

/// What is to be done now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Changes to the headers, in order.
    pub headers: Vec<HeaderEdit>,
    /// The change to the body that is at hand.
    pub body: BodyChange,
    /// And then.
    pub next: Next,
}

/// What happens to the body bytes that the host has at hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BodyChange {
    /// They stay.
    #[default]
    Keep,
    /// They become this.
    Replace(Vec<u8>),
    /// These ranges of them change.
    Splice(Vec<Splice>),
}

/// How the message goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Next {
    /// What is at hand goes on.
    #[default]
    Continue,
    /// What is at hand waits for more.
    Hold,
    /// The client gets this, and the exchange is over.
    Reply(LocalReply),
}

/// One request and its reply.
pub struct Exchange {
    gateway: Rc<Gateway>,
    request: Request,
    reply: Reply,
    /// Where the request went, once that is known.
    backend: Option<Rc<Backend>>,
    is_head: bool,
    /// What the reply to a translated request needs.
    chat: Option<Asked>,
    /// The path that was asked for and the route's own, while the provider's waits for the model.
    asked: Option<(String, Option<String>)>,
    /// Bytes of the request's body that have gone on.
    passed: u64,
    /// Bytes of it that have been seen and wait.
    held: usize,
}

/// What the request waits for.
enum Request {
    ExpectHeaders,
    /// The body passes unread.
    ExpectNothing,
    ExpectBody(Box<BodyEdit>),
    /// The end of a body that is going to be translated.
    ExpectChat(Box<ChatRequest>),
    Refused,
}

/// What the reply waits for.
#[allow(
    clippy::enum_variant_names,
    reason = "a state is named for what it waits for"
)]
enum Reply {
    /// Headers, or a body that passes unread.
    ExpectNothing,
    /// The rest of an error.
    ExpectError { status: u16, is_json: bool },
    /// The end of a reply that is going to be translated.
    ExpectChat(Box<ChatReply>),
    /// More of a stream that is translated as it comes.
    ExpectChatStream(Box<Relay>),
    /// The error has been told; what still comes is dropped.
    ExpectEnd,
}

/// A reply in another dialect, up to here.
struct ChatReply {
    asked: Asked,
    status: u16,
    stamp: Stamp,
    body: Vec<u8>,
}

/// Where a request goes.
struct Target {
    backend: Rc<Backend>,
    model: Option<Rc<str>>,
    path: Option<String>,
}

/// A request that is going to be translated.
struct Waiting {
    backend: Rc<Backend>,
    model: Option<Rc<str>>,
    dialect: &'static dyn Dialect,
}

impl ChatReply {
    /// Takes more of the body. What is at hand is always taken, so that Envoy's buffer, which is
    /// smaller than an image, stays empty.
    fn push(&mut self, bytes: &[u8], ends: bool) -> Step {
        self.body.extend_from_slice(bytes);
        let (status, body) = match ends {
            false if self.body.len() <= MAX_REPLY_BYTES => {
                return Step {
                    body: BodyChange::Replace(Vec::new()),
                    next: Next::Hold,
                    ..Step::default()
                };
            }
            _ if self.status >= FIRST_ERROR => {
                let (status, body) = self.asked.error(self.status, &self.body);
                (status, body.into_bytes())
            }
            _ => match self.asked.reply(&self.body, self.stamp) {
                Ok(body) => (self.status, body),
                Err(reply) => (reply.status, reply.body.into_bytes()),
            },
        };
        Step {
            headers: vec![
                HeaderEdit::set(":status", status.to_string()),
                HeaderEdit::set("content-type", JSON),
                HeaderEdit::set("content-length", body.len().to_string()),
            ],
            body: BodyChange::Replace(body),
            next: Next::Continue,
        }
    }
}

impl Exchange {
    /// An exchange of which nothing is known yet.
    pub fn new(gateway: Rc<Gateway>) -> Self {
        Self {
            gateway,
            request: Request::ExpectHeaders,
            reply: Reply::ExpectNothing,
            backend: None,
            is_head: false,
            chat: None,
            asked: None,
            passed: 0,
            held: 0,
        }
    }

    /// The request's headers have arrived. `ends`: there is no body.
    pub fn request_headers(
        &mut self,
        headers: &Headers<'_>,
        ends: bool,
        surroundings: &dyn Surroundings,
    ) -> Step {
        match self.start(headers, ends, surroundings) {
            Ok(step) => step,
            Err(refusal) => self.refuse(&refusal),
        }
    }

    /// More of the request's body has arrived: `at_hand` bytes wait or have just come, which `read`
    /// gives from a place on.
    pub fn request_body<'a>(
        &mut self,
        at_hand: usize,
        ends: bool,
        read: impl FnOnce(usize) -> &'a [u8],
    ) -> Step {
        let step = self.more_of_the_body(at_hand, ends, read);
        match step.next {
            Next::Hold => self.held = at_hand,
            Next::Continue | Next::Reply(_) => {
                self.passed = self.passed.saturating_add(at_hand as u64);
                self.held = 0;
            }
        }
        step
    }

    fn more_of_the_body<'a>(
        &mut self,
        at_hand: usize,
        ends: bool,
        read: impl FnOnce(usize) -> &'a [u8],
    ) -> Step {
        if matches!(self.request, Request::Refused) {
            return Step::default();
        }
        if self.passed.saturating_add(at_hand as u64) > self.gateway.max_request_bytes {
            return self.refuse(&Refusal::TooLarge(self.gateway.max_request_bytes));
        }
        let edit = match &mut self.request {
            Request::ExpectBody(edit) => edit,
            Request::ExpectChat(_) if !ends => {
                return Step {
                    next: Next::Hold,
                    ..Step::default()
                };
            }
            Request::ExpectChat(chat) => {
                let translated = chat.translate(read(0));
                return self.translated(translated);
            }
            Request::ExpectHeaders | Request::ExpectNothing | Request::Refused => {
                return Step::default();
            }
        };
        let bytes = match at_hand > self.held {
            true => read(self.held),
            false => &[],
        };
        match edit.push(bytes, ends) {
            Ok(Pushed::Hold) => Step {
                next: Next::Hold,
                ..Step::default()
            },
            Ok(Pushed::Pass {
                mut headers,
                mut splices,
            }) => {
                if let (Some((asked, base)), Some(backend)) = (self.asked.take(), &self.backend) {
                    let model = edit.chosen_model();
                    match late_path(backend, &asked, base.as_deref(), model) {
                        Ok(path) => headers.push(HeaderEdit::set(":path", path)),
                        Err(refusal) => return self.refuse(&refusal),
                    }
                }
                for splice in &mut splices {
                    splice.range.start = splice.range.start.saturating_sub(self.passed);
                    splice.range.end = splice.range.end.saturating_sub(self.passed);
                }
                let body = match splices.is_empty() {
                    true => BodyChange::Keep,
                    false => BodyChange::Splice(splices),
                };
                Step {
                    headers,
                    body,
                    next: Next::Continue,
                }
            }
            Err(refusal) => self.refuse(&refusal),
        }
    }

    /// The reply's headers have arrived. `ends`: there is no body.
    pub fn reply_headers(
        &mut self,
        headers: &Headers<'_>,
        ends: bool,
        surroundings: &dyn Surroundings,
    ) -> Step {
        // In the listener our own refusals come by here, too.
        if matches!(self.request, Request::Refused) {
            return Step::default();
        }
        let status = headers
            .text(":status")
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        if let Some(asked) = self.chat.take() {
            return self.chat_headers(asked, status, headers, ends, surroundings);
        }
        let mut step = Step::default();
        firewall::withhold_from_client(headers, &mut step.headers);
        if status < FIRST_ERROR || self.is_head || is_encoded(headers) {
            return step;
        }
        if ends {
            if !self.is_retried(status, surroundings) {
                step = Step {
                    next: Next::Reply(empty_error(status, headers)),
                    ..Step::default()
                };
            }
            return step;
        }
        let is_json = is_json(headers);
        if !is_json {
            step.headers.push(HeaderEdit::set("content-type", JSON));
        }
        step.headers.push(HeaderEdit::remove("content-length"));
        self.reply = Reply::ExpectError { status, is_json };
        step
    }

    /// More of the reply's body has arrived: `at_hand` bytes wait or have just come, which `read`
    /// gives.
    pub fn reply_body(
        &mut self,
        at_hand: usize,
        ends: bool,
        read: impl FnOnce() -> Vec<u8>,
    ) -> Step {
        match &mut self.reply {
            Reply::ExpectNothing => Step::default(),
            Reply::ExpectChat(chat) => {
                let step = chat.push(&read(), ends);
                if !matches!(step.next, Next::Hold) {
                    self.reply = Reply::ExpectEnd;
                }
                step
            }
            Reply::ExpectChatStream(relay) => {
                let arrived = read();
                let mut chunks = Vec::with_capacity(arrived.len());
                relay.push(&arrived, &mut chunks);
                if ends {
                    relay.finish(&mut chunks);
                }
                Step {
                    body: BodyChange::Replace(chunks),
                    ..Step::default()
                }
            }
            Reply::ExpectEnd => Step {
                body: BodyChange::Replace(Vec::new()),
                ..Step::default()
            },
            Reply::ExpectError { .. } if !ends && at_hand <= MAX_ERROR_BYTES => Step {
                next: Next::Hold,
                ..Step::default()
            },
            &mut Reply::ExpectError { status, is_json } => {
                let body = read();
                // Too long to wait for: its beginning tells.
                if !ends && is_json && provider_error::begins_well(&body) {
                    self.reply = Reply::ExpectNothing;
                    return Step::default();
                }
                self.reply = match ends {
                    true => Reply::ExpectNothing,
                    false => Reply::ExpectEnd,
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

    /// The whole request in the provider's words.
    fn translated(&mut self, translated: Result<(Encoded, Asked), Refusal>) -> Step {
        let (Some(backend), Some((asked_path, _))) = (&self.backend, self.asked.take()) else {
            return Step::default();
        };
        let (encoded, asked) = match translated {
            Ok(translated) => translated,
            Err(refusal) => return self.refuse(&refusal),
        };
        let path = [&*backend.endpoint.base_path, &encoded.suffix].concat();
        let path = with_queries(path, &asked_path, backend);
        let mut headers = chat::header_edits(&encoded);
        headers.push(HeaderEdit::set(":path", path));
        headers.push(HeaderEdit::set("content-type", JSON));
        headers.push(HeaderEdit::set(
            "content-length",
            encoded.body.len().to_string(),
        ));
        self.chat = Some(asked);
        Step {
            headers,
            body: BodyChange::Replace(encoded.body),
            next: Next::Continue,
        }
    }

    /// The headers of a reply in another dialect.
    fn chat_headers(
        &mut self,
        asked: Asked,
        status: u16,
        headers: &Headers<'_>,
        ends: bool,
        surroundings: &dyn Surroundings,
    ) -> Step {
        let mut step = Step::default();
        firewall::withhold_from_client(headers, &mut step.headers);
        let is_error = status >= FIRST_ERROR;
        if !is_error && status >= FIRST_REDIRECTION {
            return step;
        }
        if is_error && ends && self.is_retried(status, surroundings) {
            return step;
        }
        let now = surroundings.now();
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
        if !is_error && asked.is_stream() && is_event_stream(headers) {
            step.headers.push(HeaderEdit::remove("content-length"));
            self.reply = Reply::ExpectChatStream(Box::new(asked.stream(stamp)));
            return step;
        }
        step.next = Next::Hold;
        self.reply = Reply::ExpectChat(Box::new(ChatReply {
            asked,
            status,
            stamp,
            body: Vec::new(),
        }));
        step
    }

    fn refuse(&mut self, refusal: &Refusal) -> Step {
        self.request = Request::Refused;
        Step {
            next: Next::Reply(LocalReply::from(refusal)),
            ..Step::default()
        }
    }

    fn start(
        &mut self,
        headers: &Headers<'_>,
        ends: bool,
        surroundings: &dyn Surroundings,
    ) -> Result<Step, Refusal> {
        let method = headers.text(":method").unwrap_or_default();
        self.is_head = method == "HEAD";
        let kept = match self.gateway.plugin.placement {
            Placement::Listener => None,
            Placement::Upstream => surroundings.kept().and_then(|it| Original::decode(&it)),
        };
        let is_first = kept.is_none();
        let original = kept
            .or_else(|| Original::of(headers))
            .ok_or(Refusal::InvalidPath)?;
        if is_first && self.gateway.plugin.placement == Placement::Upstream {
            surroundings.keep(&original.encode());
        }
        let path = original.path.as_str();
        let too_large = |length| length > self.gateway.max_request_bytes;
        if original.content_length.is_some_and(too_large) {
            return Err(Refusal::TooLarge(self.gateway.max_request_bytes));
        }

        let target = self.target(headers, method, path, surroundings)?;
        let base = target.path;
        let operation = Operation::of(path, base.as_deref()).map_err(|_| Refusal::InvalidPath)?;
        let backend = Rc::clone(&target.backend);
        self.backend = Some(target.backend);

        if let Some(dialect) = backend.provider.dialect() {
            let edits = self.readdressed(&backend, None, headers, is_first);
            self.asked = Some((original.path.clone(), base.clone()));
            let waiting = Waiting {
                backend,
                model: target.model,
                dialect,
            };
            return self.start_chat(waiting, &operation, method, ends, edits);
        }

        let is_json = is_json(headers) || headers.get("content-type").is_none();
        let has_json = is_json && matches!(method, "POST" | "PUT" | "PATCH");
        let holds = self.gateway.plugin.hold_headers;
        let model = target.model.as_deref().or(backend.model.always.as_deref());
        let upstream = match upstream_path(&backend, &operation, path, model) {
            Ok(path) => Some(path),
            Err(PathError::NeedsModel) if has_json && !ends && holds => {
                self.asked = Some((path.to_owned(), base.clone()));
                None
            }
            Err(error) => return Err(unaddressable(error, model)),
        };
        let needs_model = upstream.is_none();
        let mut step = Step {
            headers: self.readdressed(&backend, upstream, headers, is_first),
            ..Step::default()
        };

        let member = operation.kind().model_member();
        let has_rules =
            target.model.is_some() || !backend.model.is_empty() || !backend.members.is_empty();
        let is_read = has_rules || needs_model || member != ModelMember::Incidental;
        self.request = Request::ExpectNothing;
        if !has_json || !is_read {
            return Ok(step);
        }
        if ends {
            // Without a body nothing can be filled in: a call that needs one is refused.
            return match member {
                ModelMember::Required => Err(Refusal::MissingBody),
                ModelMember::Optional | ModelMember::Incidental => Ok(step),
            };
        }
        let edit = BodyEdit::new(
            backend,
            target.model,
            member,
            original.content_length,
            holds,
            needs_model,
        );
        if holds {
            step.next = Next::Hold;
        } else if edit.may_change() {
            step.headers.push(HeaderEdit::remove("content-length"));
        }
        self.request = Request::ExpectBody(Box::new(edit));
        Ok(step)
    }

    /// Starts a call of a provider that has a dialect of its own.
    fn start_chat(
        &mut self,
        waiting: Waiting,
        operation: &Operation<'_>,
        method: &str,
        ends: bool,
        headers: Vec<HeaderEdit>,
    ) -> Result<Step, Refusal> {
        let Waiting {
            backend,
            model,
            dialect,
        } = waiting;
        match operation.kind() {
            Kind::ChatCompletions if method == "POST" && ends => Err(Refusal::MissingBody),
            Kind::ChatCompletions if method == "POST" => {
                let member = ModelMember::Required;
                let rules = BodyEdit::new(Rc::clone(&backend), model, member, None, true, false);
                self.request =
                    Request::ExpectChat(Box::new(ChatRequest::new(backend, dialect, rules)));
                Ok(Step {
                    headers,
                    next: Next::Hold,
                    ..Step::default()
                })
            }
            Kind::Models if method == "GET" => {
                self.request = Request::Refused;
                Ok(Step {
                    next: Next::Reply(models::reply(&backend, operation.suffix())),
                    ..Step::default()
                })
            }
            _ => Err(Refusal::UnsupportedOperation(backend.provider.as_str())),
        }
    }

    /// Where the request goes: what Envoy's route says, else where we sit, else our own routes.
    fn target(
        &self,
        headers: &Headers<'_>,
        method: &str,
        path: &str,
        surroundings: &dyn Surroundings,
    ) -> Result<Target, Refusal> {
        let metadata = surroundings.route_metadata();
        let metadata = metadata
            .map(|bytes| RouteMetadata::decode(&bytes))
            .unwrap_or_default();
        let model = metadata.model.map(Rc::from);
        let named = |name: &str| {
            let backend = self.gateway.backend(name).map(Rc::clone);
            backend.ok_or(Refusal::Gateway(UNKNOWN_BACKEND))
        };
        if let Some(name) = &metadata.backend {
            return Ok(Target {
                backend: named(name)?,
                model,
                path: metadata.path,
            });
        }
        let backend = match (
            self.gateway.plugin.placement,
            self.gateway.backends.as_slice(),
        ) {
            // One backend is no choice, and asking the host costs.
            (Placement::Upstream, [backend]) => Some(Rc::clone(backend)),
            (Placement::Upstream, _) => match surroundings.backend_name() {
                Some(name) => Some(named(&name)?),
                None => self.gateway.plugin.backend.clone(),
            },
            (Placement::Listener, _) => None,
        };
        if let Some(backend) = backend {
            return Ok(Target {
                backend,
                model,
                path: metadata.path,
            });
        }

        let request = route::Request {
            path,
            method,
            authority: headers.text(":authority").unwrap_or_default(),
            header: &|name| headers.get(name),
        };
        match route::choose(&self.gateway.routes, &request) {
            Routed::Route(route) => Ok(Target {
                backend: Rc::clone(&route.backend),
                model: model.or_else(|| route.model.clone()),
                path: Some(route.path.clone()),
            }),
            Routed::WrongMethod(allowed) => Err(Refusal::WrongMethod(
                allowed.into_iter().collect::<Vec<_>>().join(", "),
            )),
            Routed::Nowhere => match &self.gateway.plugin.backend {
                Some(backend) if self.gateway.routes.is_empty() => Ok(Target {
                    backend: Rc::clone(backend),
                    model,
                    path: metadata.path,
                }),
                _ if self.gateway.routes.is_empty() => Err(Refusal::Gateway(NO_BACKEND)),
                _ => Err(Refusal::UnknownRoute),
            },
        }
    }

    /// The header edits that make the request one to `backend`; `path` where it is known by now.
    /// `is_first`: no earlier attempt has changed the headers.
    fn readdressed(
        &self,
        backend: &Backend,
        path: Option<String>,
        headers: &Headers<'_>,
        is_first: bool,
    ) -> Vec<HeaderEdit> {
        let is_listener = self.gateway.plugin.placement == Placement::Listener;
        let mut edits = Vec::with_capacity(16);
        // Without it Envoy's listener finds no route any more; see the README's limits.
        let is_kept = |name: &[u8]| is_listener && name == b"x-forwarded-proto";
        let mut set = Vec::with_capacity(backend.headers.len() + 3);
        match &backend.auth {
            Auth::Gateway(Some((name, value))) => {
                set.push((Rc::clone(name), value.expose().into()))
            }
            Auth::Client(header) => {
                let key = match is_first {
                    true => firewall::client_key(headers),
                    // The last attempt has put it where it belongs.
                    false => headers
                        .text(&header.name)
                        .and_then(|value| value.strip_prefix(&*header.prefix)),
                };
                set.extend(key.map(|key| {
                    (
                        Rc::clone(&header.name),
                        Text::Made([&*header.prefix, key].concat()),
                    )
                }));
            }
            Auth::Gateway(None) | Auth::Nobody => {}
        }
        let extra = backend.headers.iter();
        set.extend(extra.map(|(name, value)| (Rc::clone(name), value.expose().into())));

        let is_set = |name: &[u8]| set.iter().any(|(it, _)| it.as_bytes() == name);
        firewall::withhold_from_provider(headers, |it| is_set(it) || is_kept(it), &mut edits);
        edits.push(HeaderEdit::set(
            ":authority",
            Rc::clone(&backend.endpoint.authority),
        ));
        edits.extend(path.map(|path| HeaderEdit::set(":path", path)));
        edits.extend(
            set.into_iter()
                .map(|(name, value)| HeaderEdit::set(name, value)),
        );
        if is_listener {
            edits.push(HeaderEdit::set(BACKEND_HEADER, backend.name.to_shared()));
        }
        edits
    }

    /// Whether Envoy is going to try again after a reply with this status, so that ours would
    /// only get in the way.
    fn is_retried(&self, status: u16, surroundings: &dyn Surroundings) -> bool {
        let retries = self
            .backend
            .as_ref()
            .map_or(0, |backend| backend.max_retries);
        self.gateway.plugin.placement == Placement::Upstream
            && retries > 0
            && is_retriable(status)
            && surroundings
                .attempt()
                .is_some_and(|attempt| attempt <= u64::from(retries))
    }
}

/// Whether a status is worth another attempt: the provider is busy or broken, and may not be the
/// next time. The rendered retry policies say the same.
fn is_retriable(status: u16) -> bool {
    status == 429 || status >= 500
}

/// The path of a request at its backend, with the queries of the client and of the configuration.
fn upstream_path(
    backend: &Backend,
    operation: &Operation<'_>,
    asked: &str,
    model: Option<&str>,
) -> Result<String, PathError> {
    let base = &backend.endpoint.base_path;
    Ok(with_queries(
        backend.paths.path(base, operation, model)?,
        asked,
        backend,
    ))
}

/// A provider's path with the queries of the client, whose path was `asked`, and of the
/// configuration.
fn with_queries(mut path: String, asked: &str, backend: &Backend) -> String {
    if path.is_empty() {
        path.push('/');
    }
    let ours = backend.query.as_ref();
    let client = asked.split_once('?').map_or("", |(_, query)| query);
    let client = client.split('&').filter(|pair| {
        // A client cannot put its own value beside one of ours.
        !pair.is_empty() && !ours.is_some_and(|ours| ours.sets(pair))
    });
    let ours = ours.map(|ours| ours.encoded.expose());
    for pair in client.chain(ours.as_deref()) {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str(pair);
    }
    path
}

/// The same for a path that waited for the model.
fn late_path(
    backend: &Backend,
    asked: &str,
    base: Option<&str>,
    model: Option<&str>,
) -> Result<String, Refusal> {
    let operation = Operation::of(asked, base).map_err(|_| Refusal::InvalidPath)?;
    upstream_path(backend, &operation, asked, model).map_err(|error| unaddressable(error, model))
}

fn unaddressable(error: PathError, model: Option<&str>) -> Refusal {
    match (error, model) {
        (PathError::NotASegment, Some(model)) => Refusal::ModelNotInPath(model.to_owned()),
        (PathError::NotASegment | PathError::NeedsModel, _) => Refusal::ModelNotTold,
    }
}

/// What a client sees of an error that has no body.
fn empty_error(status: u16, headers: &Headers<'_>) -> LocalReply {
    let body = provider_error::reshape(status, b"");
    let body = body.unwrap_or_else(|| ErrorBody::new(status, "").to_json());
    LocalReply::json(status, body).with_headers_of(headers)
}

fn is_json(headers: &Headers<'_>) -> bool {
    let media_type = headers.text("content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case(JSON)
        || media_type
            .rsplit_once('+')
            .is_some_and(|(_, it)| it.eq_ignore_ascii_case("json"))
}

fn is_event_stream(headers: &Headers<'_>) -> bool {
    let media_type = headers.text("content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("text/event-stream")
}

fn is_encoded(headers: &Headers<'_>) -> bool {
    headers
        .text("content-encoding")
        .is_some_and(|it| !it.eq_ignore_ascii_case("identity"))
}

/// The header by which the filter, in the listener, tells Envoy's routes which backend it chose.
pub const BACKEND_HEADER: &str = "x-llm-proxy-backend";

const FIRST_ERROR: u16 = 400;
const FIRST_REDIRECTION: u16 = 300;
const NANOSECONDS: u64 = 1_000_000_000;

/// How long a reply may be that is translated whole. Unit: bytes.
const MAX_REPLY_BYTES: usize = 64 << 20;

/// How much of an error is collected, in bytes.
const MAX_ERROR_BYTES: usize = 64 << 10;

const UNKNOWN_BACKEND: &str = "the gateway's metadata names a backend that it does not have";
const NO_BACKEND: &str = "the gateway has no route and no backend for this request";
