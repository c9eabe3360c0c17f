//! The module as Envoy sees it: contexts that hand what arrives to an [`Exchange`] and apply what
//! it says. Nothing is decided here.

pub mod host;
mod telemetry;
mod tokens;

use std::cell::{Cell, OnceCell};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

use self::host::{Buffer, HeaderMap};
use self::telemetry::Telemetry;
use self::tokens::Tokens;
use crate::budget::{Budget, Held, NoRoom, Share};
use crate::contract::{BACKEND_MEMBER, METADATA_NAMESPACE};
use crate::exchange::{BodyChange, Caller, Exchange, Next, Step, Surroundings};
use crate::gateway::{Gateway, Placement, Role};
use crate::headers::{HeaderEdit, Headers};
use crate::json;
use crate::moment::Moment;
use crate::patience::{Event, Patience, Wait};
use crate::pool::Turns;
use crate::refusal::Refusal;
use crate::shared::{Expected, Shared, Version};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

thread_local! {
    /// What all plugins of this VM hold together.
    static BUDGET: Rc<Budget> = Rc::default();

    /// What makes numbers that no other VM makes, and how many it has made.
    static UNIQUE: (RandomState, Cell<u64>) = (RandomState::new(), Cell::new(0));
}

/// The streams of a worker that may wait too long.
type StreamTimers = Patience<Caller>;

/// One plugin: a configuration, and the requests that it makes contexts for.
#[derive(Default)]
struct Root {
    gateway: Option<Rc<Gateway>>,
    telemetry: Option<Rc<Telemetry>>,
    /// How long requests wait, where there is a limit.
    patience: Option<Rc<StreamTimers>>,
    /// What goes on besides requests.
    errands: Vec<Box<dyn Errand>>,
    /// The period of the ticks that were asked for.
    period: Option<Duration>,
    /// Whose turn it is in the pools.
    turns: Rc<Turns>,
}

/// Something that goes on besides requests. One that has nothing to do is not made.
trait Errand {
    /// How long it can wait for the next [`Errand::tick`] at most; `None`: it needs none.
    fn period(&self) -> Option<Duration>;

    /// Some time has passed, not more than [`Errand::period`] unless the worker was busy. Another
    /// errand may need a shorter period: it is up to this one to see whether it is time.
    fn tick(&mut self);

    /// The call with this number has got its reply, or failed. Gives whether the call was ours.
    fn call_ended(&mut self, _call: u32) -> bool {
        false
    }
}

impl Root {
    /// What goes on besides requests, with this configuration.
    fn errands(&self, gateway: &Rc<Gateway>) -> Vec<Box<dyn Errand>> {
        let mut errands: Vec<Box<dyn Errand>> = Vec::new();
        if gateway.plugin.role == Role::Send {
            // Whoever only chooses needs no tokens.
            errands.extend(Tokens::of(gateway).map(|tokens| Box::new(tokens) as Box<dyn Errand>));
        }
        let watch = self.patience.as_ref().map(|patience| Watch {
            patience: Rc::clone(patience),
            next: Moment::NEVER,
        });
        errands.extend(watch.map(|watch| Box::new(watch) as Box<dyn Errand>));
        errands
    }

    /// Asks for ticks as often as the errand that needs them most often.
    fn ask_for_ticks(&mut self) {
        let period = self.errands.iter().filter_map(|errand| errand.period());
        let period = period.min();
        if period != self.period {
            self.period = period;
            host::set_tick_period(period);
        }
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, call: u32, _: usize, _: usize, _: usize) {
        self.errands
            .iter_mut()
            .any(|errand| errand.call_ended(call));
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let text = host::buffer(Buffer::PluginConfiguration, 0, usize::MAX);
        match Gateway::parse_plugin(&text, &host::environment_variable) {
            Ok(gateway) => {
                let gateway = Rc::new(gateway);
                // Who answers by itself waits for nothing.
                let waits = gateway.plugin.role != Role::Ready;
                self.patience = waits.then(|| Rc::new(Patience::new(gateway.shortest_wait())));
                self.errands = self.errands(&gateway);
                if gateway.plugin.placement == Placement::Upstream && !gateway.pools.is_empty() {
                    host::declare_variable(KEPT_ERROR);
                }
                self.telemetry = Some(Telemetry::new(&gateway));
                self.gateway = Some(gateway);
                self.ask_for_ticks();
                true
            }
            Err(errors) => {
                for error in errors.iter() {
                    error!("configuration: {error}");
                }
                false
            }
        }
    }

    fn on_tick(&mut self) {
        for errand in &mut self.errands {
            errand.tick();
        }
        self.ask_for_ticks();
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        let exchange = self
            .gateway
            .as_ref()
            .map(|gateway| Exchange::new(Rc::clone(gateway)));
        let host = Host {
            turns: Rc::clone(&self.turns),
            budget: BUDGET.with(Rc::clone),
        };
        // Where another plugin sends the request, that one counts what has gone on.
        let sends = |it: &Rc<Gateway>| it.plugin.role == Role::Send;
        let sent = self.gateway.as_ref().filter(|it| sends(it));
        let sent = sent.map(|it| Share::new(Rc::clone(&host.budget), it.max_held_bytes));
        let waiting = self.patience.as_ref().map(|patience| Waiting {
            context,
            since: patience.now(),
            patience: Rc::clone(patience),
            wait: None,
        });
        Some(Box::new(Stream {
            exchange,
            host,
            telemetry: self.telemetry.clone(),
            waiting,
            held: None,
            sent,
        }))
    }
}

/// Ends streams that have waited too long.
struct Watch {
    patience: Rc<StreamTimers>,
    /// When the next tick counts.
    next: Moment,
}

impl Errand for Watch {
    fn period(&self) -> Option<Duration> {
        Some(self.patience.period())
    }

    fn tick(&mut self) {
        let now = host::now();
        let period = self.patience.period();
        // Ticks come more often where another errand wants them; a clock may be set back.
        if self.next.is_ahead_of(now, period) {
            return;
        }
        // What a timer is early by, which is less than its unit.
        self.next = now.after(period.saturating_sub(TIMER_UNIT));
        let over = self.patience.tick();
        telemetry::show_held(BUDGET.with(|budget| budget.taken()));
        for (context, event, caller) in over {
            let refusal = refusal_of(event);
            host::set_effective_context(context);
            // A reply that has started can only be cut off, and this is how Envoy does it. Closing
            // the stream would end it, and call the module, within this very call.
            host::reply(&caller.reply(&refusal));
        }
    }
}

/// What a client gets of a stream that has waited for this too long.
fn refusal_of(event: Event) -> Refusal {
    match event {
        Event::FirstByte => Refusal::Deadline,
        Event::FirstStreamByte => Refusal::NoStream,
        Event::NextByte => Refusal::Silence,
        Event::RequestByte => Refusal::BodyTimeout,
    }
}

/// One request, or one attempt of it in the upstream placement.
struct Stream {
    /// `None` only where no configuration was taken, and then Envoy sends no requests.
    exchange: Option<Exchange>,
    host: Host,
    telemetry: Option<Rc<Telemetry>>,
    /// `None` where nothing is ever waited for too long.
    waiting: Option<Waiting>,
    /// The part of the request's body that waits, where one does.
    held: Option<Held>,
    /// What Envoy holds of the request's body until a reply begins: all that has gone on where its
    /// router has a copy, else what has gone on at once, after it was held here or translated. Flow control
    /// bounds neither, and a provider may be slow to read. `None`: another plugin counts.
    sent: Option<Share>,
}

/// How long a stream waits.
struct Waiting {
    context: u32,
    /// The tick in which the stream came.
    since: u64,
    patience: Rc<StreamTimers>,
    wait: Option<Rc<Wait<Caller>>>,
}

impl Waiting {
    /// Begins to wait for what the exchange waits for, if it does not already.
    fn begin(&mut self, exchange: &Exchange) {
        let limit = exchange.waits_for();
        let event = self.wait.as_ref().map(|wait| wait.event);
        if event == limit.map(|(event, _)| event) {
            // It begins when a part of the body has arrived.
            if event == Some(Event::RequestByte) {
                self.came();
            }
            return;
        }
        let since = match limit {
            Some((Event::FirstByte, _)) => self.since,
            Some((Event::FirstStreamByte | Event::NextByte | Event::RequestByte, _)) | None => {
                self.patience.now()
            }
        };
        let wait = |limit| {
            let caller = exchange.caller();
            self.patience.wait(self.context, limit, since, caller)
        };
        self.wait = limit.map(wait);
    }

    /// What is waited for has come, and is waited for again.
    fn came(&self) {
        if let Some(wait) = &self.wait {
            self.patience.came(wait);
        }
    }

    /// Whether the stream has been given up.
    fn is_over(&self) -> bool {
        self.wait.as_ref().is_some_and(|wait| wait.is_over())
    }
}

impl Stream {
    /// Reports the request, if it has ended.
    fn report(&mut self) {
        if let (Some(exchange), Some(telemetry)) = (&mut self.exchange, &self.telemetry)
            && let Some(report) = exchange.report()
        {
            telemetry.record(&report, &self.host);
        }
    }

    /// There is no memory for more of the request's body.
    fn no_room(&mut self) -> Action {
        self.held = None;
        match &mut self.exchange {
            Some(exchange) => go_on(exchange.no_room()),
            None => Action::Continue,
        }
    }
}

impl Context for Stream {
    fn on_done(&mut self) -> bool {
        if let Some(exchange) = &mut self.exchange {
            let wait = self.waiting.as_ref().and_then(|it| it.wait.as_ref());
            if let Some(wait) = wait.filter(|it| it.is_over()) {
                exchange.gave_up(&refusal_of(wait.event));
            }
            exchange.ended(&self.host);
        }
        self.report();
        true
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, ends: bool) -> Action {
        let action = self.request_headers(ends);
        self.report();
        action
    }

    fn on_http_request_body(&mut self, size: usize, ends: bool) -> Action {
        let action = self.request_body(size, ends);
        self.report();
        action
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        let action = self.request_trailers();
        self.report();
        action
    }

    fn on_http_response_headers(&mut self, _: usize, ends: bool) -> Action {
        let action = self.reply_headers(ends);
        self.report();
        action
    }

    fn on_http_response_body(&mut self, size: usize, ends: bool) -> Action {
        let action = self.reply_body(size, ends);
        self.report();
        action
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        let action = self.reply_trailers();
        self.report();
        action
    }
}

/// What the callbacks do, but for the report.
impl Stream {
    fn request_headers(&mut self, ends: bool) -> Action {
        let Some(exchange) = &mut self.exchange else {
            return Action::Continue;
        };
        let list = host::header_list(HeaderMap::Request);
        let headers = Headers::of_list(&list);
        let step = exchange.request_headers(&headers, ends, &self.host);
        if let Some(waiting) = &mut self.waiting {
            waiting.begin(exchange);
        }
        apply_headers(HeaderMap::Request, &step.headers);
        go_on(step)
    }

    fn request_body(&mut self, size: usize, ends: bool) -> Action {
        let Some(exchange) = &mut self.exchange else {
            return Action::Continue;
        };
        if let (Some(held), true) = (&mut self.held, size > 0)
            && held
                .receive(size, |it| host::append(Buffer::RequestBody, 0, size, it))
                .is_err()
        {
            return self.no_room();
        }
        // What has come since the last call, and all that waits: each is read once, if at all.
        let (arrived, all) = (OnceCell::new(), OnceCell::new());
        let read = |from| match &self.held {
            Some(held) => held.as_slice().get(from..).unwrap_or_default(),
            None => {
                let read = || host::buffer(Buffer::RequestBody, from, size - from.min(size));
                let cell = if from == 0 { &all } else { &arrived };
                cell.get_or_init(read).as_slice()
            }
        };
        let at_hand = self.held.as_ref().map_or(size, Held::len);
        let step = exchange.request_body(at_hand, ends, read, &self.host);
        if let Some(waiting) = &mut self.waiting {
            waiting.begin(exchange);
        }
        match step.next {
            Next::Hold => {
                if self.held.is_none() {
                    let all = all.into_inner();
                    let all = all.unwrap_or_else(|| host::buffer(Buffer::RequestBody, 0, size));
                    let share = exchange.share(&self.host);
                    let mut held = Held::new(share, exchange.copies(), exchange.declared_length());
                    if held.push(all).is_err() {
                        return self.no_room();
                    }
                    self.held = Some(held);
                }
                return taken(Buffer::RequestBody, size);
            }
            Next::Continue | Next::Take | Next::Reply(_) => {}
        }
        // From here on it is paid for as sent.
        let held = self.held.take().map(|mut held| held.take());
        let is_copied = exchange.copies() > 1 && !matches!(step.next, Next::Reply(_));
        let is_whole = held.is_some() || matches!(step.body, BodyChange::Replace(_));
        let goes_on_at_once = is_whole && step.next == Next::Continue;
        if (is_copied || goes_on_at_once)
            && let Some(sent) = &mut self.sent
            && sent.resize(sent.bytes().saturating_add(at_hand as u64)) == Err(NoRoom)
        {
            return self.no_room();
        }
        if step.next == Next::Take {
            return taken(Buffer::RequestBody, size);
        }
        apply_headers(HeaderMap::Request, &step.headers);
        match (&step.body, held) {
            (BodyChange::Keep, None) => {}
            (BodyChange::Keep, Some(held)) => host::replace(Buffer::RequestBody, &held),
            (BodyChange::Replace(bytes), _) => host::replace(Buffer::RequestBody, bytes),
            (BodyChange::Splice { blanks, splices }, held) => {
                let is_in_place = held.is_none() && blanks.is_empty();
                let all = held.or_else(|| all.into_inner());
                let mut all = all.unwrap_or_else(|| host::buffer(Buffer::RequestBody, 0, size));
                json::overwrite(&mut all, blanks);
                let Ok(pieces) = json::pieces(&all, 0, splices) else {
                    error!("request body: the edits do not fit it; this is a defect");
                    let refusal = Refusal::Gateway("the body was not edited");
                    host::reply(&exchange.caller().reply(&refusal));
                    return Action::Pause;
                };
                match pieces.split_last() {
                    // What is behind the last change need not be written.
                    Some((end, front)) if is_in_place && end.len() > size / 2 => {
                        let length = size - end.len();
                        host::replace_front(Buffer::RequestBody, length, &front.concat());
                    }
                    _ => host::replace_with_pieces(Buffer::RequestBody, &pieces),
                }
            }
        }
        go_on(step)
    }

    fn request_trailers(&mut self) -> Action {
        let Some(exchange) = &mut self.exchange else {
            return Action::Continue;
        };
        let list = host::header_list(HeaderMap::RequestTrailers);
        let edits = exchange.request_trailer_edits(&Headers::of_list(&list));
        apply_headers(HeaderMap::RequestTrailers, &edits);
        go_on(exchange.request_trailers())
    }

    fn reply_headers(&mut self, ends: bool) -> Action {
        let Some(exchange) = &mut self.exchange else {
            return Action::Continue;
        };
        if self.waiting.as_ref().is_some_and(Waiting::is_over) {
            // This is what we answered ourselves.
            return Action::Continue;
        }
        // From here on there is no other attempt, or it begins with a stream of its own.
        self.sent = None;
        let list = host::header_list(HeaderMap::Response);
        let headers = Headers::of_list(&list);
        let step = exchange.reply_headers(&headers, ends, &self.host);
        if let Some(waiting) = &mut self.waiting {
            waiting.begin(exchange);
        }
        apply_headers(HeaderMap::Response, &step.headers);
        go_on(step)
    }

    fn reply_body(&mut self, size: usize, ends: bool) -> Action {
        let Some(exchange) = &mut self.exchange else {
            return Action::Continue;
        };
        if let Some(waiting) = &self.waiting {
            waiting.came();
        }
        let read = || host::buffer(Buffer::ResponseBody, 0, size);
        let step = exchange.reply_body(size, ends, read);
        if exchange.wants_time_of_first_token() {
            exchange.first_token_came(host::now());
        }
        if step.next == Next::Take {
            return taken(Buffer::ResponseBody, size);
        }
        apply_headers(HeaderMap::Response, &step.headers);
        if let BodyChange::Replace(bytes) = &step.body {
            host::replace(Buffer::ResponseBody, bytes);
        }
        go_on(step)
    }

    fn reply_trailers(&mut self) -> Action {
        let Some(exchange) = &mut self.exchange else {
            return Action::Continue;
        };
        let list = host::header_list(HeaderMap::ResponseTrailers);
        let edits = exchange.reply_trailer_edits(&Headers::of_list(&list));
        apply_headers(HeaderMap::ResponseTrailers, &edits);
        let read = || host::buffer(Buffer::ResponseBody, 0, usize::MAX);
        let headers = || host::header_list(HeaderMap::Response);
        let step = exchange.reply_trailers(headers, read);
        apply_headers(HeaderMap::Response, &step.headers);
        if let BodyChange::Replace(bytes) = &step.body {
            host::replace(Buffer::ResponseBody, bytes);
        }
        go_on(step)
    }
}

fn apply_headers(map: HeaderMap, edits: &[HeaderEdit]) {
    for edit in edits {
        match edit {
            HeaderEdit::Remove(name) => host::remove_header(map, name.as_str()),
            HeaderEdit::Set(name, value) => host::set_header(map, name.as_str(), value.as_str()),
        }
    }
}

/// What is at hand of a body has been taken, and goes on later or never. Envoy's own buffer stays
/// empty: a body that waits there ends its stream when it grows over the buffer's limit.
fn taken(buffer: Buffer, size: usize) -> Action {
    if size > 0 {
        host::replace(buffer, &[]);
    }
    Action::PauseWithoutBuffer
}

fn go_on(step: Step) -> Action {
    match step.next {
        Next::Continue => Action::Continue,
        Next::Hold | Next::Take => Action::Pause,
        Next::Reply(reply) => {
            host::reply(&reply);
            Action::Pause
        }
    }
}

/// What Envoy can be asked about the request at hand.
#[derive(Default)]
struct Host {
    turns: Rc<Turns>,
    budget: Rc<Budget>,
}

impl Surroundings for Host {
    fn route_metadata(&self) -> Option<Vec<u8>> {
        host::property(&[
            "xds",
            "route_metadata",
            "filter_metadata",
            METADATA_NAMESPACE,
        ])
    }

    fn backend_name(&self) -> Option<String> {
        let named = |source| {
            let path = [
                "xds",
                source,
                "filter_metadata",
                METADATA_NAMESPACE,
                BACKEND_MEMBER,
            ];
            host::property(&path).and_then(|bytes| String::from_utf8(bytes).ok())
        };
        named("upstream_host_metadata").or_else(|| named("cluster_metadata"))
    }

    fn route_name(&self) -> Option<String> {
        host::property(&["xds", "route_name"]).and_then(|bytes| String::from_utf8(bytes).ok())
    }

    fn route_origin(&self) -> Option<String> {
        let path = [
            "xds",
            "route_metadata",
            "filter_metadata",
            "istio",
            "config",
        ];
        host::property(&path).and_then(|bytes| String::from_utf8(bytes).ok())
    }

    fn cluster_name(&self) -> Option<String> {
        host::property(&["xds", "cluster_name"]).and_then(|bytes| String::from_utf8(bytes).ok())
    }

    fn attempt(&self) -> Option<u64> {
        let bytes = host::property(&["upstream", "request_attempt_count"])?;
        bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }

    fn client_left(&self) -> bool {
        // `downstream_remote_disconnect`, `http2.remote_reset`; what becomes of a provider's
        // connection begins otherwise, and is not there while attempts are left.
        let details = host::property(&["response", "code_details"]);
        details.is_some_and(|it| it.starts_with(b"downstream") || it.starts_with(b"http"))
    }

    fn now(&self) -> Moment {
        host::now()
    }

    fn unique(&self) -> u128 {
        // Keyed by 128 random bits, its results tell nothing about each other.
        UNIQUE.with(|(random, count)| {
            let number = count.get();
            count.set(number.wrapping_add(1));
            let half = |which: u64| u128::from(random.hash_one((number, which)));
            (half(0) << 64) | half(1)
        })
    }

    fn kept(&self) -> Option<Vec<u8>> {
        host::property(&[KEPT])
    }

    fn keep(&self, bytes: &[u8]) {
        host::set_property(&[KEPT], bytes);
    }

    fn kept_error(&self) -> Option<Vec<u8>> {
        host::property(&[KEPT_ERROR])
    }

    fn keep_error(&self, bytes: &[u8]) {
        host::set_property(&[KEPT_ERROR], bytes);
    }

    fn is_without_reply(&self) -> bool {
        let details = host::property(&["response", "code_details"]);
        details.is_some_and(|it| NO_REPLY.iter().any(|prefix| it.starts_with(prefix)))
    }

    fn turns(&self) -> &Turns {
        &self.turns
    }

    fn budget(&self) -> &Rc<Budget> {
        &self.budget
    }

    fn as_shared(&self) -> &dyn Shared {
        self
    }
}

impl Shared for Host {
    fn get(&self, key: &str) -> Option<(Vec<u8>, Version)> {
        host::shared_data(key)
    }

    fn set(&self, key: &str, value: &[u8], expected: Expected) -> bool {
        host::set_shared_data(key, value, expected)
    }
}

/// Envoy counts time in milliseconds.
const TIMER_UNIT: Duration = Duration::from_millis(1);

/// The name of what an attempt keeps for the next one, in Envoy's filter state.
const KEPT: &str = "llm-proxy.original";

/// The name of the last error of a provider, in Envoy's filter state.
const KEPT_ERROR: &str = "llm-proxy.error";

/// How the details of Envoy's own replies begin, where a provider has not replied: no connection, or one
/// that was reset; silence; no host. A `response_timeout` is the deadline of a route.
///
/// Source: <https://github.com/envoyproxy/envoy/blob/v1.40.0/envoy/stream_info/stream_info.h>,
/// `ResponseCodeDetailValues`.
const NO_REPLY: [&[u8]; 3] = [
    b"upstream_reset_before_response_started",
    b"upstream_per_try_timeout",
    b"no_healthy_upstream",
];
