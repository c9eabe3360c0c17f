//! One request and its reply, as a state machine without host calls.
//!
//! The filter tells what arrived, and applies the [`Step`] it gets back. Nothing here knows Envoy's
//! ABI; what must be asked of the host is asked through [`Surroundings`] and `read` arguments,
//! and only when it is needed, because every call costs.
//!
//! ```text
//!   request:  headers ─► where to? ─► host, path, key ─┬─► no JSON, no rules: body passes unread
//!                        (may wait for                 ├─► BodyEdit: hold, or edit as it passes
//!                        the body's model)             └─► ChatRequest: hold, translate whole
//!   reply:    status ─┬─ below 400: passes as it comes, or is translated
//!                     └─ error: collected, and reshaped where it has not the shape of the client's API
//! ```
//!
//! # Invariants
//!
//! * A reply that is neither an error nor translated is never read, held or counted; a translated
//!   stream stays a stream.
//! * Every attempt starts from what the client sent: host, path, length, body.
//! * A request is in one phase, which owns what it needs. A transition takes it and gives the next one; what
//!   no transition leads to is refused with 500, and never goes on.
//! * Nothing of a client's credentials passes, unless the backend has [`Auth::Client`](crate::backend::Auth).

mod address;
mod admission;
mod asked;
mod betas;
mod body;
mod chat;
mod choices;
pub mod choose;
mod foreign;
mod form;
pub mod labels;
mod last_error;
mod original;
mod ready;
mod reply;
pub mod report;
mod request_id;
mod scan;

use std::rc::Rc;

use self::address::{DeferredPath, ModelInQuery, Series, Target};
use self::admission::Body;
use self::asked::{RoutingReader, Search};
use self::betas::{BETA_HEADER, Betas};
use self::body::{BodyEdit, Edit, OfRoute, Pushed};
use self::chat::{Call, ChatRequest, Outgoing, ReplyContext};
use self::form::FormEdit;
use self::last_error::LastError;
use self::original::Original;
use self::reply::{Head, Reply};
use self::report::{Outcome as Ending, Report};
pub use self::request_id::Caller;
use self::request_id::RequestId;
use crate::api::openai::OpenAi;
use crate::api::{self, ClientApi};
use crate::backend::{Auth, Backend, Injected, UsageReport};
use crate::budget::{Budget, Share};
use crate::catalog::{self, Listing};
use crate::contract::{self, ADAPTED_HEADER, BACKEND_HEADER, MESSAGES_VERSION, SCHEME_HEADER};
use crate::failure::Failure;
use crate::firewall;
use crate::gateway::{Gateway, Placement, Role};
use crate::headers::{HeaderEdit, Headers, KeptHeaders, Text};
use crate::json::{Blank, Splice};
use crate::moment::Moment;
use crate::operation::table::{Definition, Media};
use crate::operation::{Kind, ModelMember, Operation, check_path};
use crate::patience::{Event, Limit, MAX_BODY_PAUSE, MAX_ERROR_PAUSE};
use crate::pool::Turns;
use crate::pool::health::{self, Outcome};
use crate::provider::dialect::Options;
use crate::provider::{Dialects, PathError};
use crate::refusal::{JSON, LocalReply, Refusal};
use crate::rewrite::{self, Rewrite};
use crate::route::{Model, Route, path_is_below};
use crate::shared::Shared;

/// What the host can be asked while it handles a request; and what the workers share.
pub trait Surroundings: Shared {
    /// The `llm-proxy` metadata of Envoy's route, as a [pair list](crate::pairs).
    fn route_metadata(&self) -> Option<Vec<u8>>;

    /// The backend that the metadata of the picked endpoint names, else of the cluster.
    fn backend_name(&self) -> Option<String>;

    /// The name of Envoy's route; `None`: no route matches.
    fn route_name(&self) -> Option<String>;

    /// The resource of Istio's that Envoy's route was made of: the path of a `VirtualService` in the
    /// Kubernetes API.
    fn route_origin(&self) -> Option<String>;

    /// The cluster of Envoy's route: for a pool the aggregate one.
    fn cluster_name(&self) -> Option<String>;

    /// Which attempt this is, from 1, where the host counts them.
    fn attempt(&self) -> Option<u64>;

    /// Whether the client has gone away.
    fn client_left(&self) -> bool;

    /// The time.
    fn now(&self) -> Moment;

    /// A number that differs from request to request, on all workers.
    fn unique(&self) -> u128;

    /// What an earlier attempt of this request has [kept](Self::keep). Asking costs.
    fn kept(&self) -> Option<Vec<u8>>;

    /// Keeps bytes for the next attempt of this request. It costs.
    fn keep(&self, bytes: &[u8]);

    /// The error that an earlier attempt of this request has [kept](Self::keep_error). Asking costs.
    fn kept_error(&self) -> Option<Vec<u8>>;

    /// Keeps an error of this attempt for the module in the listener, in place of an earlier one. It costs.
    fn keep_error(&self, bytes: &[u8]);

    /// Whether the reply is Envoy's own, since no provider has replied to the last attempt.
    fn is_without_reply(&self) -> bool;

    /// Whose turn it is, on this worker.
    fn turns(&self) -> &Turns;

    /// The memory that all streams of this VM share.
    fn budget(&self) -> &Rc<Budget>;

    /// What the workers share.
    fn as_shared(&self) -> &dyn Shared;
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
    /// Parts of them change.
    Splice {
        /// What spaces overwrite, first.
        blanks: Vec<Blank>,
        /// What is replaced, in order.
        splices: Vec<Splice>,
    },
}

/// How the message goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Next {
    /// What is at hand goes on.
    #[default]
    Continue,
    /// What is at hand waits for more. A host calls again with it and what follows.
    Hold,
    /// Nothing goes on, and the exchange has what is at hand, or drops it. A host calls again with what
    /// follows alone.
    Take,
    /// The client gets this, and the exchange is over.
    Reply(LocalReply),
}

impl Step {
    fn hold() -> Self {
        Self {
            next: Next::Hold,
            ..Self::default()
        }
    }

    fn reply(reply: LocalReply) -> Self {
        Self {
            next: Next::Reply(reply),
            ..Self::default()
        }
    }
}

/// One request and its reply.
pub struct Exchange {
    gateway: Rc<Gateway>,
    /// The API of the request: all that the client sees is written in it.
    api: &'static dyn ClientApi,
    /// Our id of the request.
    id: RequestId,
    phase: Phase,
    reply: Reply,
    /// Where the request went, once that is known.
    backend: Option<Rc<Backend>>,
    /// Of our routes, the one that Envoy has chosen, where the module follows it.
    envoy_route: Option<usize>,
    /// As one of how many attempts, in a pool.
    series: Option<Series>,
    /// Upstream, on the first attempt: what another one would need, as long as there may be one.
    original: Option<Original>,
    /// Upstream, in a pool: the error of this attempt, until the client has got it.
    last_error: Option<Box<LastError>>,
    is_head: bool,
    /// Whether the client wants to use the connection for another protocol, such as WebSocket.
    is_upgrade: bool,
    /// What is waited for, where somebody set a limit to that.
    waits_for: Option<Limit>,
    /// What the reply to a translated request needs.
    chat: Option<ReplyContext>,
    /// Bytes of the request's body that have gone on.
    passed: u64,
    /// Bytes of it that have been seen and wait.
    held: usize,
    /// The length of the request's body, where the client declares it.
    declared: Option<u64>,
    /// Whether the request has arrived to its end.
    is_whole: bool,
    /// What is reported of it at its end.
    report: Box<Report>,
    /// Whether it has ended, and has been reported.
    progress: Progress,
}

/// How far a request is, for its report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Progress {
    /// It goes on.
    #[default]
    Running,
    /// It has ended.
    Ended,
    /// It was reported, or is not ours to report.
    Reported,
}

/// What the request waits for. A transition takes the phase and gives the next one.
enum Phase {
    /// Nothing: the client has got a reply of ours, or is going to get one that is right.
    Answered,
    /// The body, which changes while it passes.
    ExpectBody(Editing),
    /// The end of a body that is going to be translated.
    ExpectChat(Box<Translating>),
    /// No body: the first byte of one ends the exchange.
    ExpectEmpty(&'static Definition),
    /// Nothing but the end: all of the body has been translated, and has gone on.
    ExpectEnd {
        /// Whether it requests a stream.
        is_stream: bool,
    },
    /// The headers.
    ExpectHeaders,
    /// The model, by which the route is chosen, or whether the reply is a stream.
    ExpectModel(Box<Unrouted>),
    /// The body passes unread.
    ExpectNothing,
    /// A transition that has not ended. What arrives is refused: it must not pass by any rule.
    Lost,
    /// The end of a body that is dropped: clients that are still sending may not read a reply.
    Refused(LocalReply),
}

/// A body that changes while it passes.
struct Editing {
    edit: Box<dyn Edit>,
    /// The path, where it waits for the model.
    path: Option<Box<WaitingPath>>,
}

/// A request that is going to be translated.
struct Translating {
    request: ChatRequest,
    backend: Rc<Backend>,
    /// The internal path that the provider's is written below, where Envoy's routes are followed.
    internal: Option<InternalPath>,
    /// The value of [`BETA_HEADER`] for a request that passes.
    betas: Option<String>,
}

/// A path that waits for the model.
struct WaitingPath {
    deferred: DeferredPath,
    backend: Rc<Backend>,
    /// As [`Translating::internal`].
    internal: Option<InternalPath>,
}

/// What Envoy's choice of a route means for the module.
enum Followed {
    /// No route matches, or none that a client may choose.
    Nowhere,
    /// The route of somebody else.
    Other,
    /// One of ours, or the module chooses by itself.
    Ours,
}

/// An internal path, and what Envoy's route puts in its place.
struct InternalPath {
    path: String,
    base: String,
}

impl InternalPath {
    fn of((rewrite, path): (Option<Rewrite<'_>>, String)) -> Self {
        let base = rewrite.map_or_else(String::new, |rewrite| rewrite.to.into_owned());
        Self { path, base }
    }
}

/// A request whose route is chosen when its model is known.
struct Unrouted {
    reader: RoutingReader,
    headers: KeptHeaders,
}

/// A request that is going to be translated.
struct Waiting {
    backend: Rc<Backend>,
    of_route: OfRoute,
    dialects: Dialects,
    options: Options,
    /// As [`Translating::internal`].
    internal: Option<InternalPath>,
    /// As [`Translating::betas`].
    betas: Option<String>,
}

impl Exchange {
    /// An exchange of which nothing is known yet.
    pub fn new(gateway: Rc<Gateway>) -> Self {
        Self {
            gateway,
            api: &OpenAi,
            id: RequestId::default(),
            phase: Phase::ExpectHeaders,
            reply: Reply::default(),
            backend: None,
            envoy_route: None,
            series: None,
            original: None,
            last_error: None,
            is_head: false,
            is_upgrade: false,
            waits_for: None,
            chat: None,
            passed: 0,
            held: 0,
            declared: None,
            is_whole: false,
            report: Box::default(),
            progress: Progress::default(),
        }
    }

    /// The request's headers have arrived. `ends`: there is no body.
    pub fn request_headers(
        &mut self,
        headers: &Headers<'_>,
        ends: bool,
        surroundings: &dyn Surroundings,
    ) -> Step {
        self.id = RequestId::of(headers, surroundings);
        if self.gateway.plugin.role == Role::Send {
            self.report.began = surroundings.now();
        }
        let step = self.begin(headers, ends, surroundings);
        self.identified(step)
    }

    fn begin(
        &mut self,
        headers: &Headers<'_>,
        ends: bool,
        surroundings: &dyn Surroundings,
    ) -> Step {
        self.api = api_of(headers, None);
        if self.gateway.plugin.role == Role::Ready {
            self.phase = Phase::Answered;
            return Step::reply(ready::reply(&self.gateway, headers, surroundings));
        }
        match self.follow_envoy(headers, surroundings) {
            Followed::Ours => {}
            Followed::Other => {
                // Neither the request nor its reply concern us.
                self.phase = Phase::Answered;
                self.progress = Progress::Reported;
                return Step::default();
            }
            Followed::Nowhere => return self.refuse(&Refusal::UnknownRoute),
        }
        if let Some(list) = self.model_list(headers) {
            self.phase = Phase::Answered;
            return Step::reply(list);
        }
        let started = match self.gateway.plugin.role {
            Role::Choose => {
                let known = choose::Known {
                    model: asked_by(headers, ends),
                    is_stream: None,
                };
                self.choose(headers, ends, known, surroundings)
            }
            Role::Ready | Role::Send => self.start(headers, ends, surroundings),
        };
        if ends {
            self.request_is_whole(surroundings);
        }
        match started {
            Ok((phase, step)) => {
                self.phase = phase;
                step
            }
            Err(Refusal::UnknownRoute) if is_probe(headers) => {
                self.phase = Phase::Answered;
                Step::reply(LocalReply::empty(200))
            }
            Err(refusal) => {
                let length = headers.text("content-length");
                self.declared = length.and_then(|length| length.parse().ok());
                self.refuse(&refusal)
            }
        }
    }

    /// What a reply needs that ends a stream from outside.
    pub fn caller(&self) -> Caller {
        Caller::new(self.api, self.id.clone())
    }

    /// The same step, with our id in a reply of ours.
    fn identified(&mut self, mut step: Step) -> Step {
        if let Next::Reply(reply) = &mut step.next {
            self.id.add_to(reply, self.api);
            self.report.error_code = reply.code.as_deref().map(Box::from);
            if reply.code.is_some() || reply.status >= FIRST_ERROR {
                self.report.outcome = Ending::Refused(reply.status);
                self.progress = Progress::Ended;
            } else {
                self.progress = Progress::Reported;
            }
        }
        step
    }

    /// What is to be reported, once the request has ended.
    pub fn report(&mut self) -> Option<Box<Report>> {
        if self.progress != Progress::Ended {
            return None;
        }
        self.progress = Progress::Reported;
        let mut report = std::mem::take(&mut self.report);
        if let Some(observed) = self.reply.observed() {
            report.observed = std::mem::take(observed);
        }
        report.backend = self.backend.clone();
        report.pool = self.series.as_ref().map(|it| it.pool.name.clone());
        if let Phase::ExpectBody(editing) = &self.phase {
            report.requested = editing.edit.requested_model();
            report.sent = editing.edit.chosen_model().map(Rc::from);
        }
        Some(report)
    }

    /// Whether the first token of a stream has come, and its [time](Self::first_token_came) is not known.
    pub fn wants_time_of_first_token(&mut self) -> bool {
        self.report.first_token.is_none() && self.reply.observed().is_some_and(|it| it.has_begun)
    }

    /// The first token has come now.
    pub fn first_token_came(&mut self, now: Moment) {
        self.report.first_token = Some(now);
    }

    /// The stream was given up, since it has waited too long.
    pub fn gave_up(&mut self, refusal: &Refusal) {
        let code = refusal.failure().code.map(|it| it.into_owned().into());
        self.report.error_code = code;
        self.report.outcome = Ending::Refused(refusal.status());
        if self.progress == Progress::Running {
            self.progress = Progress::Ended;
        }
    }

    /// The length of the request's body, where the client declares it. Unit: bytes.
    pub fn declared_length(&self) -> Option<usize> {
        self.declared.and_then(|length| length.try_into().ok())
    }

    /// A share of the memory that all streams of the VM have together.
    pub fn share(&self, surroundings: &dyn Surroundings) -> Share {
        Share::new(
            Rc::clone(surroundings.budget()),
            self.gateway.max_held_bytes,
        )
    }

    /// In how many places a byte of the request is held that is held here: upstream, Envoy's router
    /// keeps what it has sent for another attempt.
    pub fn copies(&self) -> u64 {
        match self.gateway.plugin.placement {
            Placement::Listener => 1,
            Placement::Upstream => 2,
        }
    }

    /// There is no memory for more of the request's body.
    pub fn no_room(&mut self) -> Step {
        let reply = match std::mem::replace(&mut self.phase, Phase::Answered) {
            Phase::Refused(reply) => reply,
            _ => Refusal::NoRoom.reply(self.api),
        };
        self.identified(Step::reply(reply))
    }

    /// Finds the route that Envoy has chosen, where the module does not choose by itself.
    fn follow_envoy(&mut self, headers: &Headers<'_>, surroundings: &dyn Surroundings) -> Followed {
        let Some(envoy) = &self.gateway.plugin.envoy_routes else {
            return Followed::Ours;
        };
        // What only the module may write would make the choice without the route's own path.
        let path = headers.text(":path").unwrap_or_default();
        if path_is_below(path, &envoy.internal_path) {
            return Followed::Nowhere;
        }
        let Some(name) = surroundings.route_name() else {
            return Followed::Nowhere;
        };
        let mut routes = self.gateway.routes.iter();
        let Some(index) = routes.position(|route| route.is_envoys(&name)) else {
            return Followed::Other;
        };
        if let Some(owner) = &envoy.owner
            && !surroundings
                .route_origin()
                .is_some_and(|origin| origin.ends_with(owner))
        {
            return Followed::Other;
        }
        self.envoy_route = Some(index);
        Followed::Ours
    }

    /// The answer to a request for models that no provider can give, where Envoy's routes do not
    /// give it.
    fn model_list(&self, headers: &Headers<'_>) -> Option<LocalReply> {
        let plugin = &self.gateway.plugin;
        if plugin.placement != Placement::Listener || plugin.role != Role::Send {
            return None;
        }
        let path = headers.text(":path")?;
        let method = headers.text(":method")?;
        if !matches!(method, "GET" | "HEAD") || !path.contains("/models") {
            return None;
        }
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let operation = Operation::of(path, None).ok()?;
        if operation.kind() != Kind::Models {
            return None;
        }
        let base = path.strip_suffix(operation.suffix())?;
        let authority = headers.text(":authority").unwrap_or_default();
        let header = |name: &str| headers.get(name);
        let meets = |route: &Route| route.is_for_client(authority, &header);
        match catalog::listing(&self.gateway, base, &meets) {
            Listing::Configured(models) => {
                Some(catalog::reply(&models, operation.suffix(), self.api))
            }
            Listing::Nobody | Listing::Provider(_) => None,
        }
    }

    /// More of the request's body has arrived: `at_hand` bytes wait or have just come, which `read`
    /// gives from a place on.
    pub fn request_body<'a>(
        &mut self,
        at_hand: usize,
        ends: bool,
        read: impl Fn(usize) -> &'a [u8],
        surroundings: &dyn Surroundings,
    ) -> Step {
        let step = self.take_request_body(at_hand, ends, &read, surroundings);
        self.identified(step)
    }

    fn take_request_body<'a>(
        &mut self,
        at_hand: usize,
        ends: bool,
        read: &dyn Fn(usize) -> &'a [u8],
        surroundings: &dyn Surroundings,
    ) -> Step {
        if ends {
            self.request_is_whole(surroundings);
        }
        let (phase, step) = match std::mem::replace(&mut self.phase, Phase::Lost) {
            Phase::ExpectModel(unrouted) => {
                self.more_to_route_by(unrouted, at_hand, ends, read, surroundings)
            }
            Phase::Refused(reply) => self.more_of_a_refused_body(reply, at_hand, ends),
            phase => self.more_of_the_body(phase, at_hand, ends, read),
        };
        self.phase = phase;
        match step.next {
            Next::Hold if at_hand as u64 > MAX_HELD_BYTES => {
                self.held = 0;
                return self.refuse(&Refusal::TooLarge(MAX_HELD_BYTES));
            }
            Next::Hold => self.held = at_hand,
            Next::Continue | Next::Reply(_) | Next::Take => {
                self.passed = self.passed.saturating_add(at_hand as u64);
                self.held = 0;
            }
        }
        if ends && matches!(step.next, Next::Continue) {
            self.limit_first_byte();
        }
        step
    }

    /// The whole request has gone on: the first byte of a stream may have a limit of its own. In a pool
    /// Envoy keeps it, which can make another attempt.
    fn limit_first_byte(&mut self) {
        let is_stream = match &self.phase {
            Phase::ExpectBody(editing) => editing.edit.is_stream(),
            Phase::ExpectEnd { is_stream } => *is_stream,
            _ => false,
        };
        let limit = self.backend.as_ref().and_then(|it| it.first_byte_timeout);
        let Some(limit) = limit.filter(|_| is_stream && self.series.is_none()) else {
            return;
        };
        if self.waits_for.is_none_or(|(_, other)| limit < other) {
            self.waits_for = Some((Event::FirstStreamByte, limit));
        }
    }

    /// The same after a refusal: the body is dropped up to its end, or up to the size that is allowed.
    fn more_of_a_refused_body(
        &self,
        reply: LocalReply,
        at_hand: usize,
        ends: bool,
    ) -> (Phase, Step) {
        let seen = self.passed.saturating_add(at_hand as u64);
        if !ends && seen <= self.gateway.max_request_bytes {
            let step = Step {
                next: Next::Take,
                ..Step::default()
            };
            return (Phase::Refused(reply), step);
        }
        (Phase::Answered, Step::reply(reply))
    }

    /// The same while the route is not chosen: what is at hand is all of the body so far.
    fn more_to_route_by<'a>(
        &mut self,
        mut unrouted: Box<Unrouted>,
        at_hand: usize,
        ends: bool,
        read: &dyn Fn(usize) -> &'a [u8],
        surroundings: &dyn Surroundings,
    ) -> (Phase, Step) {
        if at_hand as u64 > self.gateway.max_request_bytes {
            return self.refused(&Refusal::TooLarge(self.gateway.max_request_bytes));
        }
        let bytes = match at_hand > self.held {
            true => read(self.held),
            false => &[],
        };
        let search = unrouted.reader.search();
        let (model, is_stream) = match unrouted.reader.push(bytes, ends) {
            Ok(asked::Found::All { model, is_stream }) => (model, is_stream),
            Ok(asked::Found::Nothing) => return (Phase::ExpectModel(unrouted), Step::hold()),
            // The code that edits the body refuses it, where it has to.
            Err(_) if search == Search::Stream => (None, false),
            Err(refusal) => return self.refused(&refusal),
        };
        let model = match search {
            Search::Stream => Model::Unread,
            _ => model.as_deref().map_or(Model::Absent, Model::Named),
        };
        let headers = unrouted.headers.headers();
        if self.gateway.plugin.role == Role::Choose {
            let known = choose::Known {
                model,
                is_stream: Some(is_stream),
            };
            let chosen = self.choose(&headers, false, known, surroundings);
            return chosen.unwrap_or_else(|refusal| self.refused(&refusal));
        }
        let (phase, step) = match self.route(&headers, false, &|| model, surroundings) {
            Ok(routed) => routed,
            Err(refusal) => return self.refused(&refusal),
        };
        if let Next::Reply(_) = step.next {
            return (phase, step);
        }
        // The body starts anew: who changes it has not seen anything of it.
        self.held = 0;
        let (phase, mut rest) = self.more_of_the_body(phase, at_hand, ends, read);
        rest.headers.splice(0..0, step.headers);
        (phase, rest)
    }

    fn more_of_the_body<'a>(
        &mut self,
        phase: Phase,
        at_hand: usize,
        ends: bool,
        read: &dyn Fn(usize) -> &'a [u8],
    ) -> (Phase, Step) {
        if matches!(phase, Phase::Answered) {
            return (phase, Step::default());
        }
        // Who only chooses does not count: whoever sends does, and knows that it was not the provider.
        if self.gateway.plugin.role == Role::Send
            && self.passed.saturating_add(at_hand as u64) > self.gateway.max_request_bytes
        {
            return self.refused(&Refusal::TooLarge(self.gateway.max_request_bytes));
        }
        match phase {
            Phase::ExpectBody(editing) => self.edit(editing, at_hand, ends, read),
            // Envoy often tells the end of a body by itself. What has all of its length need not wait
            // for that.
            Phase::ExpectChat(_) if !ends && self.declared != Some(at_hand as u64) => {
                (phase, Step::hold())
            }
            Phase::ExpectChat(translating) => self.translate(&translating, read(0)),
            // Envoy does not let a client send more than it declares.
            Phase::ExpectEnd { .. } if at_hand > 0 => self.refused(&Refusal::TooLarge(self.passed)),
            Phase::ExpectEmpty(definition) if at_hand > 0 => {
                self.refused(&admission::wrong_method(definition))
            }
            Phase::ExpectEmpty(_) if !ends => (phase, Step::hold()),
            Phase::Answered
            | Phase::ExpectEmpty(_)
            | Phase::ExpectEnd { .. }
            | Phase::ExpectNothing => (phase, Step::default()),
            // No transition leads here.
            Phase::ExpectHeaders | Phase::ExpectModel(_) | Phase::Lost | Phase::Refused(_) => {
                self.refused(&Refusal::Gateway(LOST))
            }
        }
    }

    fn edit<'a>(
        &self,
        mut editing: Editing,
        at_hand: usize,
        ends: bool,
        read: &dyn Fn(usize) -> &'a [u8],
    ) -> (Phase, Step) {
        let bytes = match at_hand > self.held {
            true => read(self.held),
            false => &[],
        };
        match editing.edit.push(bytes, ends) {
            Ok(Pushed::Hold) => (Phase::ExpectBody(editing), Step::hold()),
            Ok(Pushed::Pass {
                mut headers,
                mut splices,
                blanks,
            }) => {
                if let Some(waiting) = editing.path.take() {
                    let model = editing.edit.chosen_model();
                    match waiting.deferred.path_with(model, &waiting.backend) {
                        Ok(path) => {
                            let path = below_internal(waiting.internal.as_ref(), path);
                            headers.push(HeaderEdit::set(":path", path));
                        }
                        Err(refusal) => return self.refused(&refusal),
                    }
                }
                for splice in &mut splices {
                    splice.range.start = splice.range.start.saturating_sub(self.passed);
                    splice.range.end = splice.range.end.saturating_sub(self.passed);
                }
                let body = match splices.is_empty() && blanks.is_empty() {
                    true => BodyChange::Keep,
                    false => BodyChange::Splice { blanks, splices },
                };
                let step = Step {
                    headers,
                    body,
                    next: Next::Continue,
                };
                (Phase::ExpectBody(editing), step)
            }
            Err(refusal) => self.refused(&refusal),
        }
    }

    /// What the exchange waits for now, and how long at most. It may change when headers arrive, and
    /// as long as the request's body does.
    pub fn waits_for(&self) -> Option<Limit> {
        let is_held = self.held > 0 || matches!(self.phase, Phase::Refused(_));
        let body = (is_held && !self.is_whole).then_some((Event::RequestByte, MAX_BODY_PAUSE));
        self.waits_for
            .or(body)
            .filter(|_| !matches!(self.phase, Phase::Answered))
    }

    /// The changes to the trailers of a request: what its headers must not have, they must not have
    /// either.
    pub fn request_trailer_edits(&self, trailers: &Headers<'_>) -> Vec<HeaderEdit> {
        let mut edits = Vec::new();
        if let Some(backend) = &self.backend {
            let configured = backend.headers.iter().map(|(name, _)| &**name);
            let configured = configured.chain(backend.auth.header());
            let rules = &backend.header_rules;
            firewall::withhold_trailers_from_provider(trailers, rules, configured, &mut edits);
        }
        edits
    }

    /// The request ends with trailers: its body has ended without saying so, and what still waits
    /// would go on as it is, past all rules.
    pub fn request_trailers(&mut self) -> Step {
        let waits = match &self.phase {
            Phase::ExpectBody(editing) => self.held > 0 || !editing.edit.is_closed(),
            Phase::ExpectChat(_) | Phase::ExpectModel(_) => true,
            Phase::Answered
            | Phase::ExpectEmpty(_)
            | Phase::ExpectEnd { .. }
            | Phase::ExpectNothing => false,
            Phase::ExpectHeaders | Phase::Lost => {
                let step = self.refuse(&Refusal::Gateway(LOST));
                return self.identified(step);
            }
            Phase::Refused(_) => return self.no_room(),
        };
        self.is_whole = true;
        match waits {
            true => {
                let step = self.refuse(&Refusal::Trailers);
                self.identified(step)
            }
            false => Step::default(),
        }
    }

    /// The whole request in the provider's words.
    fn translate(&mut self, translating: &Translating, body: &[u8]) -> (Phase, Step) {
        let limit = longest_translation(self.gateway.max_request_bytes);
        let outgoing = match translating.request.outgoing(body, limit) {
            Ok(outgoing) => outgoing,
            Err(refusal) => return self.refused(&refusal),
        };
        self.report.requested = translating.request.requested_model();
        let backend = &translating.backend;
        let base = &backend.endpoint.base_path;
        let (suffix, model) = match &outgoing {
            Outgoing::Passed { suffix, model, .. } => (suffix, &**model),
            Outgoing::Translated(encoded, context) => (&encoded.head.suffix, context.model()),
        };
        self.report.sent = Some(Rc::from(model));
        let path = match backend.wire.translated(base, suffix, model) {
            Ok(path) => path,
            Err(error) => {
                let refusal = address::unaddressable(error, Some(model));
                return self.refused(&refusal);
            }
        };
        // The client's query was for OpenAI's call, and Google has words of its own there.
        let path = address::with_queries(path, "", backend, ModelInQuery::Withheld);
        let path = below_internal(translating.internal.as_ref(), path);
        let mut headers = Vec::with_capacity(4);
        let (body, is_stream) = match outgoing {
            Outgoing::Passed {
                body, is_stream, ..
            } => {
                let betas = translating.betas.clone();
                headers.extend(betas.map(|it| HeaderEdit::set(BETA_HEADER, it)));
                (body, is_stream)
            }
            Outgoing::Translated(encoded, context) => {
                for (name, value) in encoded.head.headers {
                    headers.push(HeaderEdit::set(*name, *value));
                }
                let is_stream = context.is_stream();
                self.chat = Some(context);
                (encoded.body, is_stream)
            }
        };
        headers.push(HeaderEdit::set(":path", path));
        headers.push(HeaderEdit::set("content-length", body.len().to_string()));
        let step = Step {
            headers,
            body: BodyChange::Replace(body),
            next: Next::Continue,
        };
        (Phase::ExpectEnd { is_stream }, step)
    }

    /// The reply's headers have arrived. `ends`: there is no body.
    pub fn reply_headers(
        &mut self,
        headers: &Headers<'_>,
        ends: bool,
        surroundings: &dyn Surroundings,
    ) -> Step {
        let is_identified = matches!(self.phase, Phase::Answered | Phase::Refused(_))
            || self.gateway.plugin.role == Role::Choose;
        let mut step = self.take_reply_headers(headers, ends, surroundings);
        if !is_identified && !matches!(step.next, Next::Reply(_)) {
            self.id.add_to_headers(headers, self.api, &mut step.headers);
        }
        self.identified(step)
    }

    fn take_reply_headers(
        &mut self,
        headers: &Headers<'_>,
        ends: bool,
        surroundings: &dyn Surroundings,
    ) -> Step {
        // In the listener our own replies come by here, too.
        if matches!(self.phase, Phase::Answered | Phase::Refused(_)) {
            self.waits_for = None;
            return Step::default();
        }
        // Replies of providers were made right upstream.
        if self.gateway.plugin.role == Role::Choose {
            self.waits_for = None;
            return self.last_error_instead(headers, ends, surroundings);
        }
        let silence = self.backend.as_ref().and_then(|it| it.stream_idle_timeout);
        self.waits_for = silence
            .filter(|_| !ends)
            .map(|limit| (Event::NextByte, limit));
        let status = headers.text(":status");
        let status = status.and_then(|status| status.parse().ok()).unwrap_or(0);
        let switches = status == SWITCHING_PROTOCOLS && self.is_upgrade;
        if !(FIRST_FINAL..=LAST_STATUS).contains(&status) && !switches {
            return self.no_such_status(status, headers, surroundings);
        }
        let chat = self.chat.take();
        // A redirect is a failure of the provider's, for pools as well. 304 is none, where a client
        // can have asked for it: <https://www.rfc-editor.org/rfc/rfc9110#section-15.4.5>.
        let is_redirect =
            |it: &u16| REDIRECTS.contains(it) && (*it != NOT_MODIFIED || chat.is_some());
        let redirect = Some(status).filter(is_redirect);
        let status = redirect.map_or(status, |_| BAD_GATEWAY);
        self.tell_pool(status, headers, surroundings);
        self.report.outcome = Ending::Replied(status);
        self.report.provider_id = provider_id(headers);
        let adapted = chat.as_ref().and_then(ReplyContext::adapted);
        self.report.adapted = adapted.map(Box::from).or_else(|| match &self.phase {
            Phase::ExpectBody(editing) => editing.edit.adapted().map(Into::into),
            _ => None,
        });
        let is_well = (200..300).contains(&status);
        match is_well && ends {
            true => self.original = None,
            false if is_well => {}
            false => self.keep_original(surroundings),
        }
        let holds = self.gateway.plugin.hold_headers;
        let head = Head {
            headers,
            status,
            ends,
            api: self.api,
            is_retried: &|status| self.is_retried(status, surroundings),
        };
        let mut reply = Reply::default();
        let share = || self.share(surroundings);
        let step = match (redirect, chat) {
            (Some(redirect), _) => reply.redirect_headers(&head, redirect),
            (None, Some(context)) => reply.chat_headers(context, &head, surroundings.now(), &share),
            // What has no body anyway cannot get one.
            (None, None) => {
                let mut step = reply.headers(&head, self.is_head, holds, &share);
                if let Phase::ExpectBody(editing) = &self.phase
                    && let Some(names) = editing.edit.adapted()
                {
                    step.headers.push(HeaderEdit::set(ADAPTED_HEADER, names));
                }
                if is_well {
                    self.scan(&mut reply, &head, &mut step);
                }
                step
            }
        };
        let is_retried = self.is_retried(status, surroundings);
        self.report.is_repeated = is_retried;
        if ends {
            self.progress = Progress::Ended;
        }
        let series = self.series.as_ref();
        let failed = series.is_some_and(|it| it.pool.fallback_on.contains(status));
        if failed && !matches!(step.next, Next::Reply(_)) {
            let status = reply.status_for_client().unwrap_or(status);
            let error = LastError::new(self.api, status, headers, is_retried);
            self.last_error = Some(Box::new(error));
        }
        // Another attempt is up to Envoy, whose own limit holds as long as it has not seen the headers.
        if reply.collects_error() && !is_retried {
            let limit = silence.map_or(MAX_ERROR_PAUSE, |silence| silence.min(MAX_ERROR_PAUSE));
            self.waits_for = Some((Event::NextByte, limit));
        }
        self.reply = reply;
        if matches!(step.next, Next::Reply(_)) {
            self.waits_for = None;
        }
        step
    }

    /// A provider's status that is none of a final reply: after an informational one that Envoy does not
    /// know, another head would follow.
    fn no_such_status(
        &mut self,
        status: u16,
        headers: &Headers<'_>,
        surroundings: &dyn Surroundings,
    ) -> Step {
        self.tell_pool(BAD_GATEWAY, headers, surroundings);
        self.keep_original(surroundings);
        self.phase = Phase::Answered;
        self.waits_for = None;
        let message = format!("the provider's status {status} is not that of a reply");
        let failure = Failure::new(BAD_GATEWAY, message).with_code(Some("broken_reply".into()));
        Step {
            next: Next::Reply(LocalReply::error(&failure, self.api)),
            ..Step::default()
        }
    }

    /// More of the reply's body has arrived: `at_hand` bytes wait or have just come, which `read`
    /// gives.
    pub fn reply_body(
        &mut self,
        at_hand: usize,
        ends: bool,
        read: impl FnOnce() -> Vec<u8>,
    ) -> Step {
        if ends {
            self.original = None;
        }
        let observed = &mut self.report.observed;
        let step = self.reply.body(at_hand, ends, read, observed);
        let step = self.identified(step);
        if ends && self.progress == Progress::Running {
            self.progress = Progress::Ended;
        }
        if let Some(error) = &mut self.last_error
            && matches!(step.next, Next::Continue)
        {
            match error.is_retried {
                true => error.add(&step),
                // The client gets it from here.
                false => self.last_error = None,
            }
        }
        step
    }

    /// The last error of a provider in place of Envoy's own reply, where one was kept.
    fn last_error_instead(
        &mut self,
        headers: &Headers<'_>,
        ends: bool,
        surroundings: &dyn Surroundings,
    ) -> Step {
        let mut step = Step::default();
        // The statuses of Envoy's replies after attempts that have got none.
        if !matches!(headers.text(":status"), Some("503" | "504"))
            || !surroundings.is_without_reply()
        {
            return step;
        }
        let kept = surroundings.kept_error();
        let Some((edits, body)) = kept.and_then(|kept| last_error::instead(&kept)) else {
            return step;
        };
        step.headers = edits;
        if !ends {
            let length = body.len().to_string();
            step.headers.push(HeaderEdit::set("content-length", length));
            self.reply = Reply::replaced(body);
        }
        step
    }

    /// Keeps the error of an attempt that ends before the client has got it.
    fn keep_last_error(&mut self, surroundings: &dyn Surroundings) {
        let Some(mut error) = self.last_error.take() else {
            return;
        };
        // What has arrived until now has to do.
        let observed = &mut self.report.observed;
        error.add(&self.reply.body(0, true, Vec::new, observed));
        surroundings.keep_error(&error.encode());
    }

    /// The reply ends with trailers: its body has ended without saying so. `read` gives what waits
    /// of it, `headers` the list of its headers.
    pub fn reply_trailers(
        &mut self,
        headers: impl FnOnce() -> Vec<u8>,
        read: impl FnOnce() -> Vec<u8>,
    ) -> Step {
        self.original = None;
        let observed = &mut self.report.observed;
        let step = self.reply.trailers(headers, read, observed);
        let step = self.identified(step);
        if self.progress == Progress::Running {
            self.progress = Progress::Ended;
        }
        if let (Some(error), Next::Reply(reply)) = (&mut self.last_error, &step.next) {
            error.add_reply(reply);
        }
        step
    }

    /// The changes to the trailers of a reply.
    pub fn reply_trailer_edits(&self, trailers: &Headers<'_>) -> Vec<HeaderEdit> {
        let mut edits = Vec::new();
        if self.gateway.plugin.role == Role::Send {
            firewall::withhold_trailers_from_client(trailers, &mut edits);
        }
        edits
    }

    /// Looks at what passes of a reply, where its backend reports usage.
    fn scan(&self, reply: &mut Reply, head: &Head<'_>, step: &mut Step) {
        let backend = self.backend.as_ref();
        let is_on = backend.is_some_and(|it| it.usage_report == UsageReport::On);
        let Some(call) = self
            .report
            .call
            .filter(|it| is_on && !it.path.ends_with('*'))
        else {
            return;
        };
        let hides_usage = match &self.phase {
            Phase::ExpectBody(editing) => editing.edit.hides_usage(),
            _ => false,
        };
        if self.has_body() && !self.is_head {
            reply.scan(call.kind, head, hides_usage, step);
        }
    }

    /// Whether the request has a body, so that its reply is the result of a call and not the repetition of an
    /// earlier one.
    fn has_body(&self) -> bool {
        self.passed > 0 || self.declared.is_some_and(|it| it > 0)
    }

    fn keep_original(&mut self, surroundings: &dyn Surroundings) {
        if let Some(original) = self.original.take() {
            surroundings.keep(original.as_bytes());
        }
    }

    /// Whether it is certain that no attempt has changed the headers: Envoy gives one of these to
    /// every request, and whatever we send upstream has none, unless a backend's configuration says
    /// so.
    fn is_untouched(&self, headers: &Headers<'_>) -> bool {
        let is_set = |backend: &Rc<Backend>| {
            let mut names = backend.headers.iter().map(|(name, _)| &**name);
            names.any(|name| name == SCHEME_HEADER)
        };
        headers.get(SCHEME_HEADER).is_some() && !self.gateway.backends.iter().any(is_set)
    }

    /// Only says where the request goes.
    fn choose(
        &mut self,
        headers: &Headers<'_>,
        ends: bool,
        known: choose::Known<'_>,
        surroundings: &dyn Surroundings,
    ) -> Result<(Phase, Step), Refusal> {
        match choose::choose(&self.gateway, headers, ends, known, surroundings)? {
            choose::Chosen::Edits(edits, deadline) => {
                // The rest is done upstream.
                self.waits_for = deadline.map(|limit| (Event::FirstByte, limit));
                let step = Step {
                    headers: edits,
                    ..Step::default()
                };
                Ok((Phase::ExpectNothing, step))
            }
            choose::Chosen::Needs(search) => self.wait_for_body(headers, search),
        }
    }

    /// Whether the body has to be read to its end, since nobody else is going to: of two models, a
    /// provider could take the one that did not choose the route.
    fn reads_all(&self, headers: &Headers<'_>) -> bool {
        let path = headers.text(":path").unwrap_or_default();
        let is_incidental = |base: Option<&str>| {
            let operation = Operation::of(path, base);
            operation.is_ok_and(|it| !it.kind().is_always_read())
        };
        let mut routes = self.gateway.routes.iter();
        is_incidental(None) || routes.any(|route| is_incidental(Some(&route.path)))
    }

    /// Holds the request until what its route or its limits depend on is found in its body.
    ///
    /// # Errors
    ///
    /// When the body cannot be read.
    fn wait_for_body(
        &mut self,
        headers: &Headers<'_>,
        search: Search,
    ) -> Result<(Phase, Step), Refusal> {
        admission::check_encoding(headers)?;
        let length = headers.text("content-length");
        self.declared = length.and_then(|length| length.parse().ok());
        let unrouted = Unrouted {
            reader: match admission::form(headers) {
                Some(boundary) => RoutingReader::form(&boundary),
                None => {
                    let reads_all = search != Search::Stream && self.reads_all(headers);
                    RoutingReader::json(search, reads_all)
                }
            },
            headers: headers.to_kept(),
        };
        Ok((Phase::ExpectModel(Box::new(unrouted)), Step::hold()))
    }

    /// The attempt is over. Where no reply has come, its pool has to know, and there may be another.
    pub fn ended(&mut self, surroundings: &dyn Surroundings) {
        if self.progress == Progress::Running {
            self.progress = self.progress_at_end(surroundings);
        }
        if matches!(self.phase, Phase::Answered | Phase::Refused(_)) {
            return;
        }
        self.keep_original(surroundings);
        self.keep_last_error(surroundings);
        if let Some(series) = &mut self.series
            && !series.is_told
            // Before, it may be the client who did not go on.
            && series.asked_at.is_some()
        {
            let left = surroundings.client_left();
            let outcome = |took| {
                if left {
                    Outcome::Abandoned
                } else {
                    Outcome::Failed(took, None)
                }
            };
            series.tell(outcome, surroundings);
        }
    }

    /// How the report of a request comes out whose reply has not ended.
    fn progress_at_end(&mut self, surroundings: &dyn Surroundings) -> Progress {
        if self.gateway.plugin.role != Role::Send || self.backend.is_none() {
            return Progress::Reported;
        }
        let has_reply = matches!(self.report.outcome, Ending::Replied(_));
        if surroundings.client_left() {
            self.report.outcome = Ending::Abandoned;
        } else if !has_reply {
            let attempts = self.series.as_ref().map(|it| it.attempts);
            let attempt = attempts.and_then(|_| surroundings.attempt());
            let is_repeated = |(all, this): (u64, u64)| this < all;
            self.report.is_repeated = attempts.zip(attempt).is_some_and(is_repeated);
        }
        Progress::Ended
    }

    /// The client has sent everything: from now on it is the member of a pool who takes its time.
    fn request_is_whole(&mut self, surroundings: &dyn Surroundings) {
        self.is_whole = true;
        if let Some(series) = &mut self.series {
            series.asked_at = Some(surroundings.now());
        }
    }

    /// Tells a pool how its member does, by the head of its reply.
    fn tell_pool(&mut self, status: u16, headers: &Headers<'_>, surroundings: &dyn Surroundings) {
        let Some(series) = &mut self.series else {
            return;
        };
        // Of a client's own key only that client learns something: what it may not, others may.
        let is_clients = matches!(status, 401..=403 | 429)
            && matches!(self.backend.as_deref(), Some(it) if matches!(it.auth, Auth::Client(_)));
        let failed = series.pool.fallback_on.contains(status) && !is_clients;
        if failed {
            let pause = health::pause_asked_for(headers);
            series.tell(|took| Outcome::Failed(took, pause), surroundings);
        } else if status < FIRST_ERROR {
            series.tell(Outcome::Answered, surroundings);
        } else {
            series.tell(|_| Outcome::Rejected, surroundings);
        }
    }

    fn refuse(&mut self, refusal: &Refusal) -> Step {
        let (phase, step) = self.refused(refusal);
        self.phase = phase;
        step
    }

    /// The phase and the step after a refusal.
    fn refused(&self, refusal: &Refusal) -> (Phase, Step) {
        let reply = refusal.reply(self.api);
        let may_fit = |length: u64| length <= self.gateway.max_request_bytes;
        let waits = self.gateway.plugin.hold_headers
            && !self.is_whole
            && self.declared.is_none_or(may_fit)
            && !matches!(refusal, Refusal::TooLarge(_));
        if !waits {
            return (Phase::Answered, Step::reply(reply));
        }
        // The body has not arrived, and a client that is still sending it may see a broken connection
        // instead of the reply.
        let step = Step {
            next: Next::Take,
            ..Step::default()
        };
        (Phase::Refused(reply), step)
    }

    fn start(
        &mut self,
        headers: &Headers<'_>,
        ends: bool,
        surroundings: &dyn Surroundings,
    ) -> Result<(Phase, Step), Refusal> {
        self.is_head = headers.get(":method") == Some(b"HEAD");
        self.is_upgrade = headers.get("upgrade").is_some();
        if self.gateway.plugin.placement == Placement::Upstream {
            let is_untouched = self.is_untouched(headers);
            let kept = match is_untouched {
                true => None,
                false => surroundings.kept().and_then(Original::decode),
            };
            // With what an earlier attempt has left in the headers its key would go elsewhere.
            if !is_untouched && kept.is_none() && surroundings.attempt().is_some_and(|it| it > 1) {
                return Err(Refusal::Gateway(NOT_KEPT));
            }
            if let Some(original) = kept {
                let was = original.headers();
                let (phase, mut step) = self.route(&was, ends, &|| Model::Absent, surroundings)?;
                if let Some(series) = &self.series
                    && let Some(pause) = series.pause(surroundings)
                {
                    return Err(Refusal::Pausing(series.pool.name.clone(), pause));
                }
                step.headers
                    .splice(0..0, original::restoration(&was, headers));
                return Ok((phase, step));
            }
            self.original = Some(Original::of(headers));
            let routed = self.route(headers, ends, &|| asked_by(headers, ends), surroundings)?;
            if let Some(series) = &self.series {
                series.report_unresolved(surroundings);
            }
            return Ok(routed);
        }
        if self.gateway.plugin.envoy_routes.is_none() && headers.get(BACKEND_HEADER).is_some() {
            // The filters before the module, policies among them, have worked by the route of another
            // backend.
            return Err(Refusal::ReservedHeader(BACKEND_HEADER));
        }
        let model = || asked_by(headers, ends);
        self.route(headers, ends, &model, surroundings)
    }

    /// Finds out where the request goes, and starts it on its way. `model` is asked for where routes
    /// may go by it.
    fn route<'m>(
        &mut self,
        headers: &Headers<'_>,
        ends: bool,
        model: &dyn Fn() -> Model<'m>,
        surroundings: &dyn Surroundings,
    ) -> Result<(Phase, Step), Refusal> {
        let method = headers.text(":method").unwrap_or_default();
        let path = headers.text(":path").ok_or(Refusal::InvalidPath)?;
        let content_length = headers.text("content-length");
        let content_length = content_length.and_then(|length| length.parse().ok());
        self.declared = content_length;
        let too_large = |length: u64| length > self.gateway.max_request_bytes;
        if content_length.is_some_and(too_large) {
            return Err(Refusal::TooLarge(self.gateway.max_request_bytes));
        }
        // Before a route is looked for: what servers read in different ways, routes do, too.
        check_path(path).map_err(|_| Refusal::InvalidPath)?;

        let followed = self.envoy_route;
        let gateway = &self.gateway;
        let target = match Target::of(gateway, headers, path, model, followed, surroundings)? {
            address::Found::Target(target) => target,
            address::Found::NeedsModel => return self.wait_for_body(headers, Search::Model),
        };
        self.waits_for = target.deadline.map(|limit| (Event::FirstByte, limit));
        let base = target.path;
        let operation = Operation::of(path, base.as_deref()).map_err(|_| Refusal::InvalidPath)?;
        // Only with the route's path it is certain which operation it is.
        self.api = api::of(Some(&operation), headers);
        self.report.call = Some(operation.definition());
        let is_preflight = admission::is_preflight(headers);
        let envoy_routes = gateway.plugin.envoy_routes.as_ref();
        if is_preflight && envoy_routes.is_some_and(|routes| routes.set_headers) {
            // The route would send it with the key.
            return Err(Refusal::WrongMethod("POST".to_owned()));
        }
        let backend = match is_preflight {
            true => Rc::new(target.backend.without_credentials()),
            false => target
                .backend
                .with_secrets(|name| headers.text(name))
                .map_err(|missing| no_secret(&target.backend, missing))?,
        };
        self.backend = Some(target.backend);
        self.series = target.series;
        let route = target.route.and_then(|index| gateway.routes.get(index));
        let envoy = gateway.plugin.envoy_routes.as_ref().zip(route);
        let in_place = target.route == followed;
        let envoy = envoy.map(|(envoy, route)| {
            let rewrite = Rewrite::of(route, &backend);
            let internal = rewrite::internal_path(&envoy.internal_path, route, &backend);
            (rewrite, internal)
        });

        if !backend.supports(operation.kind())
            && let Some(refusal) = cannot(operation.kind(), backend.provider.as_str())
        {
            return Err(refusal);
        }
        if let Some((dialects, options)) = backend.translation(operation.kind()) {
            if !ends {
                admission::check_encoding(headers)?;
            }
            let mut edits = address::edits(&self.gateway, &backend, None, headers, surroundings)?;
            if headers.get("content-type") != Some(JSON.as_bytes()) {
                edits.push(HeaderEdit::set("content-type", JSON));
            }
            let mut betas = None;
            if matches!(operation.kind(), Kind::CountTokens | Kind::Messages) {
                edits.extend(without_headers_of_messages(headers, &backend));
                betas = Betas::of(headers, &backend).passing;
            }
            let waiting = Waiting {
                internal: envoy.map(InternalPath::of),
                backend,
                of_route: target.of_route,
                dialects,
                options,
                betas,
            };
            return self.start_chat(waiting, &operation, method, ends, edits);
        }

        let holds = self.gateway.plugin.hold_headers;
        let is_restricted = target.of_route.is_restricted() || backend.model.is_restricted();
        let request = admission::Request {
            operation: &operation,
            headers,
            ends,
            reads_forms: backend.wire.has_model_in_path(),
        };
        let body = match is_restricted {
            true => request.restricted(&backend)?,
            false => request.unrestricted(),
        };
        let is_unchecked = admission::is_unchecked(&backend, operation.definition());
        let model_in_query = match is_restricted && !is_unchecked {
            true => ModelInQuery::Withheld,
            false => ModelInQuery::Passes,
        };
        let model = target.of_route.model.as_deref();
        let model = model.or(backend.model.always.as_deref());
        let may_name_model = matches!(body, Body::Json | Body::Form(_)) && !ends;
        let mut waiting_path = None;
        let upstream = match address::path(&backend, &operation, path, model, model_in_query) {
            Ok(upstream) => Some(match &envoy {
                Some((rewrite, internal)) => {
                    rewrite::envoy_path(rewrite.as_ref(), in_place, internal, path, &upstream)
                }
                None => upstream,
            }),
            Err(PathError::NeedsModel) if may_name_model && holds => {
                waiting_path = Some(Box::new(WaitingPath {
                    deferred: DeferredPath {
                        path: path.to_owned(),
                        base,
                        model_in_query,
                    },
                    backend: Rc::clone(&backend),
                    internal: envoy.map(InternalPath::of),
                }));
                None
            }
            Err(error) => return Err(address::unaddressable(error, model)),
        };
        let needs_model = upstream.is_none();
        let keeps_model = backend.wire.keeps_model(&operation);
        let mut step = Step {
            headers: address::edits(&self.gateway, &backend, upstream, headers, surroundings)?,
            ..Step::default()
        };
        let is_message = matches!(operation.kind(), Kind::CountTokens | Kind::Messages);
        if is_message && headers.get(MESSAGES_VERSION).is_none() {
            step.headers
                .push(HeaderEdit::set(MESSAGES_VERSION, DEFAULT_MESSAGES_VERSION));
        }
        if is_message {
            step.headers.extend(Betas::of(headers, &backend).edit());
        }

        let member = operation.model_member();
        let has_rules =
            !target.of_route.is_empty() || !backend.model.is_empty() || !backend.members.is_empty();
        let is_read = has_rules || needs_model || operation.kind().is_always_read();
        match body {
            Body::Empty if !ends => {
                if holds {
                    step.next = Next::Hold;
                }
                return Ok((Phase::ExpectEmpty(operation.definition()), step));
            }
            Body::Form(boundary) => {
                admission::check_encoding(headers)?;
                let of_route = target.of_route;
                let edit =
                    FormEdit::new(backend, of_route, member, &boundary, content_length, holds);
                let edit = match keeps_model {
                    true => edit.keeping_model(),
                    false => edit,
                };
                if holds {
                    step.next = Next::Hold;
                } else {
                    step.headers.push(HeaderEdit::remove("content-length"));
                }
                let editing = Editing {
                    edit: Box::new(edit),
                    path: waiting_path,
                };
                return Ok((Phase::ExpectBody(editing), step));
            }
            Body::Json if is_read => {}
            Body::Empty | Body::Json | Body::Unread => return Ok((Phase::ExpectNothing, step)),
        }
        if ends {
            // Without a body nothing can be filled in: a call that needs one is refused.
            return match member {
                ModelMember::Required => Err(Refusal::MissingBody),
                ModelMember::Optional | ModelMember::Incidental => Ok((Phase::ExpectNothing, step)),
            };
        }
        admission::check_encoding(headers)?;
        if !is_plain_json(headers) {
            step.headers.push(HeaderEdit::set("content-type", JSON));
        }
        let edit = BodyEdit::new(
            backend,
            target.of_route,
            member,
            content_length,
            holds,
            needs_model,
        );
        let edit = match operation.is_chat_completions() {
            true => edit.with_renames().without_foreign_members().with_usage(),
            false if keeps_model => edit.keeping_model(),
            false => edit,
        };
        if holds {
            step.next = Next::Hold;
        } else if edit.may_change() {
            step.headers.push(HeaderEdit::remove("content-length"));
        }
        let editing = Editing {
            edit: Box::new(edit),
            path: waiting_path,
        };
        Ok((Phase::ExpectBody(editing), step))
    }

    /// Starts a call of a provider that has a dialect of its own.
    fn start_chat(
        &mut self,
        waiting: Waiting,
        operation: &Operation<'_>,
        method: &str,
        ends: bool,
        headers: Vec<HeaderEdit>,
    ) -> Result<(Phase, Step), Refusal> {
        let Waiting {
            backend,
            of_route,
            dialects,
            options,
            internal,
            betas,
        } = waiting;
        let kind = operation.kind();
        let call = match kind {
            Kind::ChatCompletions | Kind::Messages | Kind::Responses => Some(Call::Chat),
            Kind::CountTokens | Kind::InputTokens => Some(Call::Count),
            Kind::Embeddings => {
                let embeddings = self.api.embeddings();
                let embeddings = embeddings.filter(|_| dialects.have_embeddings());
                embeddings.map(Call::Embeddings)
            }
            _ => None,
        };
        match (operation.kind(), call) {
            (_, Some(_)) if method == "POST" && ends => Err(Refusal::MissingBody),
            (_, Some(call)) if method == "POST" => {
                let shared = Rc::clone(&backend);
                let translating = Translating {
                    request: ChatRequest::new(
                        shared,
                        dialects,
                        options,
                        self.api,
                        (kind, call),
                        of_route,
                    ),
                    backend,
                    internal,
                    betas,
                };
                let step = Step {
                    headers,
                    next: Next::Hold,
                    ..Step::default()
                };
                Ok((Phase::ExpectChat(Box::new(translating)), step))
            }
            (Kind::Models, _) if method == "GET" => {
                let models = catalog::of_backend(&backend);
                let reply = catalog::reply(&models, operation.suffix(), self.api);
                Ok((Phase::Answered, Step::reply(reply)))
            }
            _ => Err(Refusal::UnsupportedOperation {
                provider: backend.provider.as_str(),
                operation: operation.definition().name,
                served: backend.served(),
            }),
        }
    }

    /// Whether Envoy is going to try again after a reply with this status, so that ours would
    /// only get in the way.
    fn is_retried(&self, status: u16, surroundings: &dyn Surroundings) -> bool {
        let backend = self.backend.as_ref();
        let retries = match &self.series {
            Some(series) if series.pool.fallback_on.contains(status) => {
                series.attempts.saturating_sub(1)
            }
            None if contract::is_retriable(status) => {
                backend.map_or(0, |it| u64::from(it.max_retries))
            }
            _ => 0,
        };
        self.gateway.plugin.placement == Placement::Upstream
            && retries > 0
            && surroundings
                .attempt()
                .is_some_and(|attempt| attempt <= retries)
    }
}

/// How much of one request's body is held, whatever the limit for bodies that pass: what is read as a
/// whole has to fit into the VM several times. Unit: bytes.
const MAX_HELD_BYTES: u64 = 64 << 20;

/// How long a body may become when it is translated. A conversation of one-letter messages becomes
/// 1.4 times as long; what becomes far longer was made for that. Unit: bytes.
fn longest_translation(max_request_bytes: u64) -> u64 {
    max_request_bytes.saturating_mul(2).saturating_add(1 << 20)
}

const SWITCHING_PROTOCOLS: u16 = 101;
const FIRST_FINAL: u16 = 200;
const FIRST_ERROR: u16 = 400;
const BAD_GATEWAY: u16 = 502;
const LAST_STATUS: u16 = 599;
const NOT_MODIFIED: u16 = 304;
const REDIRECTS: std::ops::Range<u16> = 300..FIRST_ERROR;

/// A provider's path that waited for the body, as Envoy's route expects it.
fn below_internal(internal: Option<&InternalPath>, path: String) -> String {
    match internal {
        Some(internal) => {
            let below = path.strip_prefix(&*internal.base).unwrap_or(&path);
            [&internal.path, below].concat()
        }
        None => path,
    }
}

/// The provider's own id of a request.
fn provider_id(headers: &Headers<'_>) -> Option<Box<str>> {
    let mut names = PROVIDER_ID_HEADERS.iter();
    names.find_map(|name| headers.text(name)).map(Box::from)
}

/// Where providers write it: OpenAI and most others, Anthropic, Azure.
const PROVIDER_ID_HEADERS: [&str; 3] = ["x-request-id", "request-id", "apim-request-id"];

/// Whether a request's body could name a model that can be read, as far as its headers say.
fn may_have_model(headers: &Headers<'_>, operation: &Operation<'_>) -> bool {
    let method = headers.text(":method").unwrap_or_default();
    let takes_forms = operation.definition().media().contains(&Media::Form);
    let is_form = || takes_forms && admission::form(headers).is_some();
    takes_body(method) && (can_be_json(headers, operation.kind()) || is_form())
}

/// Whether a body can be JSON. A media type must not be a way around the rules: curl says that JSON
/// is a form.
fn can_be_json(headers: &Headers<'_>, kind: Kind) -> bool {
    is_json(headers)
        || headers.get("content-type").is_none()
        || (kind.takes_json_alone() && !is_multipart(headers))
}

/// The model, as far as the headers tell: whoever goes by it waits for the body, where that could
/// say it.
fn asked_by(headers: &Headers<'_>, ends: bool) -> Model<'static> {
    let path = headers.text(":path").unwrap_or_default();
    let may_name = || Operation::of(path, None).is_ok_and(|it| may_have_model(headers, &it));
    match !ends && may_name() {
        true => Model::Unread,
        false => Model::Absent,
    }
}

/// Whether this is how clients find out whether somebody answers at their base URL. Claude Code does.
fn is_probe(headers: &Headers<'_>) -> bool {
    headers.text(":method") == Some("HEAD") && headers.text(":path") == Some("/")
}

/// The edits that take the Messages API's own headers from a request to a provider that does not speak it.
fn without_headers_of_messages(headers: &Headers<'_>, backend: &Backend) -> Vec<HeaderEdit> {
    let is_configured = |it: &[u8]| {
        backend
            .headers
            .iter()
            .any(|(name, _)| name.as_bytes() == it)
    };
    let names = headers.iter().map(|(name, _)| name);
    let names = names.filter(|name| name.starts_with(b"anthropic-") && !is_configured(name));
    let names = names.filter_map(|name| String::from_utf8(name.to_vec()).ok());
    names
        .map(|name| HeaderEdit::Remove(Text::Made(name)))
        .collect()
}

/// The version of the Messages API that a request has which names none.
/// <https://platform.claude.com/docs/en/api/versioning>, read 2026-11-21.
const DEFAULT_MESSAGES_VERSION: &str = "2023-06-01";

/// Why backends of this type have no such call, where more can be said than that.
fn cannot(kind: Kind, backend: &'static str) -> Option<Refusal> {
    match kind {
        Kind::CountTokens | Kind::InputTokens => Some(Refusal::CannotCount(backend)),
        Kind::StoredResponses => Some(Refusal::NothingStored(backend)),
        _ => None,
    }
}

/// The API of a request, as far as it is known. `base`: the path of its route.
fn api_of(headers: &Headers<'_>, base: Option<&str>) -> &'static dyn ClientApi {
    let path = headers.text(":path").unwrap_or_default();
    api::of(Operation::of(path, base).ok().as_ref(), headers)
}

fn takes_body(method: &str) -> bool {
    matches!(method, "POST" | "PUT" | "PATCH")
}

/// Why a request for a model does not match routes that go by it.
fn unknown_model(model: Model<'_>) -> Refusal {
    match model {
        Model::Named(name) => Refusal::UnknownModel(name.to_owned()),
        Model::Absent | Model::Unread => Refusal::MissingModel,
    }
}

/// A backend whose key is in a file that is missing, empty or not text.
fn no_secret(backend: &Backend, missing: &Injected) -> Refusal {
    Refusal::NoCredential(format!(
        "the backend {:?} has no {}: the file that has it is missing, is empty, or has a character that \
         cannot stand in a header",
        backend.name.as_str(),
        missing.key,
    ))
}

/// Why a request without a model does not match routes that go by it.
fn no_model(headers: &Headers<'_>, path: &str) -> Refusal {
    match headers.text(":method") {
        Some(method) if !takes_body(method) => Refusal::UnknownRoute,
        _ if Operation::of(path, None).is_ok_and(|it| may_have_model(headers, &it)) => {
            Refusal::MissingModel
        }
        _ => Refusal::ModelNotRouted,
    }
}

fn is_json(headers: &Headers<'_>) -> bool {
    // Most say exactly this.
    if headers.get("content-type") == Some(JSON.as_bytes()) {
        return true;
    }
    let media_type = media_type(headers);
    let suffix = media_type.last_chunk();
    media_type.eq_ignore_ascii_case(JSON.as_bytes())
        || suffix.is_some_and(|it: &[u8; 5]| it.eq_ignore_ascii_case(b"+json"))
}

/// Whether the headers say once that the body is JSON, and name no other encoding than the one in which it
/// is read: a server that reads UTF-7 finds another `model` in it.
fn is_plain_json(headers: &Headers<'_>) -> bool {
    if headers.get("content-type") == Some(JSON.as_bytes()) {
        return headers.all(b"content-type").count() == 1;
    }
    let mut values = headers.all(b"content-type");
    let (Some(only), None) = (values.next(), values.next()) else {
        return false;
    };
    let mut parameters = only.split(|&byte| byte == b';').skip(1);
    is_json(headers)
        && parameters.all(|it| {
            let parameter = it.trim_ascii().to_ascii_lowercase();
            matches!(&*parameter, b"" | b"charset=utf-8" | b"charset=\"utf-8\"")
        })
}

fn is_multipart(headers: &Headers<'_>) -> bool {
    let r#type = media_type(headers).split(|&byte| byte == b'/').next();
    r#type.is_some_and(|it| it.eq_ignore_ascii_case(b"multipart"))
}

/// The media type without its parameters; empty where there is none.
fn media_type<'a>(headers: &Headers<'a>) -> &'a [u8] {
    let media_type = headers.get("content-type").unwrap_or_default();
    let media_type = media_type.split(|&byte| byte == b';').next();
    media_type.unwrap_or_default().trim_ascii()
}

const LOST: &str = "the gateway has lost the state of this request; this is a defect";
const NOT_KEPT: &str = "another attempt needs what the first one has seen, and that is lost";
