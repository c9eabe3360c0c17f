//! The route table: the gateway's routes in file order, then what nobody answers.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::Source;
use super::{Machine, NAME, aggregate, health, seconds};
use crate::api::ClientApi;
use crate::api::messages::Messages;
use crate::api::openai::OpenAi;
use crate::backend::Backend;
use crate::catalog::{self, Listing};
use crate::contract::{
    CLUSTER_HEADER, MESSAGES_VERSION, METADATA_NAMESPACE, RETRIABLE_STATUSES, ROUTE_HEADER,
    RouteMetadata, SELECTION_HEADERS, SERVER_ERRORS,
};
use crate::gateway::Gateway;
use crate::model::Renaming;
use crate::operation::Operation;
use crate::operation::table::Definition;
use crate::pool::Pool;
use crate::refusal::{LocalReply, Refusal};
use crate::route::{ByPath, Destination, Host, Route};

/// The routes, in the order in which they match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The probes, and the lists of models.
    lists: Vec<Value>,
    /// Those that lead to backends.
    to_backends: Vec<Value>,
    /// Those on which a request waits for its body.
    waiting: Vec<Value>,
    /// Those that refuse a request.
    refusals: Vec<Value>,
    /// Whether the module selects.
    has_chooser: bool,
    /// Unit: bytes.
    max_request_bytes: u64,
}

impl Table {
    /// The routes of a gateway.
    pub fn new(source: &Source, machine: &Machine) -> Self {
        let gateway = source.gateway();
        let routes = gateway.routes.iter();
        let wrong_methods = wrong_methods(&gateway.routes).into_iter();
        // Where the configuration may change, the listener always has a place for the plugin.
        let has_plugin = source.needs_chooser() || source.has_plugins_apart();
        let probes = health::routes(&health::rendered(source, machine), has_plugin).into_iter();
        Self {
            lists: probes.chain(model_lists(gateway)).collect(),
            to_backends: routes.flat_map(|it| to_backends(gateway, it)).collect(),
            waiting: gateway.routes.iter().filter_map(waiting).collect(),
            refusals: wrong_methods.chain(unknown()).collect(),
            has_chooser: source.needs_chooser(),
            max_request_bytes: gateway.max_request_bytes,
        }
    }

    /// The routes for requests about which the module of either configuration may have decided: each finds
    /// those of the new one, or where it has selected what only the old one has, that.
    pub fn both(new: &Self, old: &Self) -> Self {
        let guarded = |routes: &[Value]| -> Vec<Value> {
            let mut routes = routes.to_vec();
            for route in &mut routes {
                if route.pointer("/route/cluster_header").is_some()
                    && let Some(matches) = route.get_mut("match")
                {
                    // Without the header the request has not been in a module that knows the pool.
                    let is_there = json!({"name": CLUSTER_HEADER, "present_match": true});
                    add_header(matches, is_there);
                }
            }
            routes
        };
        Self {
            lists: new.lists.clone(),
            to_backends: [guarded(&new.to_backends), guarded(&old.to_backends)].concat(),
            waiting: [&*new.waiting, &*old.waiting].concat(),
            refusals: new.refusals.clone(),
            has_chooser: new.has_chooser || old.has_chooser,
            max_request_bytes: new.max_request_bytes.max(old.max_request_bytes),
        }
    }

    /// The route configuration.
    pub fn to_value(&self) -> Value {
        let parts = [
            &self.lists,
            &self.to_backends,
            &self.waiting,
            &self.refusals,
        ];
        let routes: Vec<&Value> = parts.into_iter().flatten().collect();
        let mut table = Map::from_iter([("name".to_owned(), NAME.into())]);
        if self.has_chooser {
            // The module says these; from a client Envoy does not take them.
            let ours = json!(SELECTION_HEADERS);
            table.insert("internal_only_headers".to_owned(), ours);
        }
        let longest_body = longest_body(&self.lists);
        if longest_body > MAX_DIRECT_BODY_BYTES {
            let limit = json!(longest_body);
            table.insert("max_direct_response_body_size_bytes".to_owned(), limit);
        }
        let hosts = json!([{
            // One virtual host for all: hosts are matched by each route, so the order of the file
            // decides among them as well.
            "name": NAME,
            "domains": ["*"],
            "request_body_buffer_limit": self.max_request_bytes + BODY_BUFFER_MARGIN_BYTES,
            "routes": routes,
        }]);
        table.insert("virtual_hosts".to_owned(), hosts);
        Value::Object(table)
    }
}

/// A route, once for each destination among which the module chooses by the model.
fn to_backends(gateway: &Gateway, route: &Route) -> Vec<Value> {
    let leads = gateway.leads(route).into_iter();
    leads
        .map(|to| {
            let mut matches = matches(route, &route.methods);
            if route.needs_model() {
                let label = json!({"exact": route.label(&to)});
                add_header(&mut matches, header(ROUTE_HEADER, label));
            }
            named(route.name.as_str(), matches, action(route, &to))
        })
        .collect()
}

/// Where a request is until its body has said the model. How much of it may wait, Envoy takes from
/// the route that it is on, and what is answered directly has no such limit. Nobody stays here: the
/// module says where to go on, or refuses.
fn waiting(route: &Route) -> Option<Value> {
    let is_allowed =
        |method: &&str| route.methods.is_empty() || route.methods.iter().any(|it| it == method);
    let methods = WITH_BODY.into_iter().filter(is_allowed);
    let methods: Vec<String> = methods.map(str::to_owned).collect();
    if !route.needs_model() || methods.is_empty() {
        return None;
    }
    let action = json!({
        "cluster_header": CLUSTER_HEADER,
        "timeout": "0s",
        "idle_timeout": seconds(MIN_IDLE_TIMEOUT),
    });
    let rest = Map::from_iter([("route".to_owned(), action)]);
    let name = format!("{}-waiting", route.name);
    Some(named(&name, matches(route, &methods), rest))
}

fn action(route: &Route, to: &Destination) -> Map<String, Value> {
    let mut action = match to {
        Destination::Backend(backend) => json!({"cluster": backend.name.as_str()}),
        Destination::Pool(_) => json!({"cluster_header": CLUSTER_HEADER}),
    };
    let (longest, retry_policy) = match to {
        Destination::Backend(backend) => (longest(backend), retry_policy(backend)),
        Destination::Pool(pool) => (longest_of(pool), pool_retry_policy(pool)),
    };
    if let Value::Object(action) = &mut action {
        // No limit on the whole: a stream lasts as long as it lasts.
        action.insert("timeout".to_owned(), "0s".into());
        let silences = to.backends().into_iter();
        let silence = silences.filter_map(|it| it.stream_idle_timeout).max();
        let longest = longest.max(silence.unwrap_or_default());
        let idle_timeout = longest.clamp(MIN_IDLE_TIMEOUT, MAX_IDLE_TIMEOUT);
        action.insert("idle_timeout".to_owned(), seconds(idle_timeout).into());
        action.insert("retry_policy".to_owned(), retry_policy);
    }
    let mut rest = Map::new();
    if let Some(metadata) = metadata(route, to.name().as_str()) {
        rest.insert(
            "metadata".to_owned(),
            json!({"filter_metadata": {METADATA_NAMESPACE: metadata}}),
        );
    }
    rest.insert("route".to_owned(), action);
    rest
}

/// Whether the module has to know something about a route.
pub fn has_metadata(route: &Route) -> bool {
    metadata(route, "").is_some()
}

/// What the module has to know about a route to `to`. It costs time with each request, so a path is
/// there only where the operation cannot be found without.
fn metadata(route: &Route, to: &str) -> Option<Value> {
    let metadata = RouteMetadata {
        backend: None,
        model: route.model.as_deref().map(str::to_owned),
        path: Operation::needs_base(&route.path).then(|| route.path.clone()),
        renaming: Renaming {
            aliases: Some(Rc::clone(&route.aliases)),
            prefix: route.backend_from_model.then(|| Rc::from(format!("{to}/"))),
        },
    };
    let members = metadata.encode().into_iter();
    let members = members.map(|(name, text)| (name.to_owned(), Value::from(text)));
    let members: Map<String, Value> = members.collect();
    (!members.is_empty()).then_some(Value::Object(members))
}

/// The models below each base URL, where the configuration has to tell them.
///
/// They come before the other routes, so where only some clients are told by us, what takes the
/// others to their provider stands among them.
fn model_lists(gateway: &Gateway) -> Vec<Value> {
    let bases: BTreeSet<String> = gateway.routes.iter().flat_map(catalog::bases).collect();
    let by_path = ByPath::new(&gateway.routes);
    bases
        .iter()
        .flat_map(|base| model_lists_below(gateway, &by_path, base))
        .collect()
}

fn model_lists_below(gateway: &Gateway, by_path: &ByPath<'_>, base: &str) -> Vec<Value> {
    let above = |path: &str| by_path.above(path).collect();
    // Clients for whom only routes elsewhere are get the same list as all others.
    let suffixes = Definition::with_model()
        .map(|call| call.path)
        .chain(["/models"]);
    let relevant: BTreeMap<usize, &Route> = suffixes
        .flat_map(|suffix| by_path.above(&[base, suffix].concat()))
        .collect();
    let mut groups: Vec<&Route> = Vec::new();
    let mut seen = BTreeSet::new();
    for route in relevant.into_values() {
        if !route.is_for_all_clients() && seen.insert((&route.hosts, &route.headers)) {
            groups.push(route);
        }
    }
    // Whose conditions are within another's come first.
    let all = groups.clone();
    groups.sort_by_key(|route| {
        let wider = all.iter().filter(|other| other.covers_clients_of(route));
        std::cmp::Reverse(wider.count())
    });
    let groups = groups.into_iter().map(Some).chain([None]);
    let listings: Vec<(Option<&Route>, Listing<'_>)> = groups
        .map(|group| {
            let meets = |route: &Route| match group {
                Some(group) => route.covers_clients_of(group),
                None => route.is_for_all_clients(),
            };
            (group, catalog::listing_among(gateway, &above, base, &meets))
        })
        .collect();
    let is_ours = |(_, listing): &(_, Listing<'_>)| matches!(listing, Listing::Configured(_));
    if !listings.iter().any(is_ours) {
        return Vec::new();
    }
    let below = [base, "/models"].concat();
    let mut routes = Vec::new();
    for (group, listing) in listings {
        let mut add = |path: Value, rest: Map<String, Value>| {
            let mut matches = path;
            let methods = header(":method", regex("GET|HEAD"));
            add_header(&mut matches, methods);
            if let Some(group) = group {
                conditions(group)
                    .into_iter()
                    .for_each(|it| add_header(&mut matches, it));
            }
            routes.push(named("models", matches, rest));
        };
        match listing {
            Listing::Nobody => {}
            Listing::Provider(route) => {
                add(
                    json!({"path_separated_prefix": below}),
                    action(route, &route.to),
                );
            }
            Listing::Configured(models) => {
                // Clients of the Messages API are known by a header.
                let apis: [&dyn ClientApi; 2] = [&Messages, &OpenAi];
                for (api, header) in apis.into_iter().zip([Some(MESSAGES_VERSION), None]) {
                    let mut add = |mut matches: Value, rest| {
                        if let Some(name) = header {
                            add_header(&mut matches, json!({"name": name, "present_match": true}));
                        }
                        add(matches, rest);
                    };
                    let all = LocalReply::json(200, api.model_list(&models));
                    add(regex(&format!("{}/?", escaped(&below))), direct(&all));
                    for model in &models {
                        let path = match segment(&model.id) {
                            Segment::Plain => json!({"path": format!("{below}/{}", model.id)}),
                            Segment::Escaped(id) => regex(&format!("{}/{id}", escaped(&below))),
                        };
                        add(path, direct(&LocalReply::json(200, api.model(model))));
                    }
                    let unknown = Refusal::UnknownModelInPath.reply(api);
                    add(json!({"path_separated_prefix": below}), direct(&unknown));
                }
            }
        }
    }
    routes
}

/// A model's name as the last part of a path.
enum Segment {
    /// As it is.
    Plain,
    /// As a regular expression, since clients may or may not escape what it has.
    Escaped(String),
}

fn segment(name: &str) -> Segment {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if name.bytes().all(is_plain) {
        return Segment::Plain;
    }
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            _ if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
            0x21..=0x7e => text.push_str(&format!("(\\{}|(?i:%{byte:02x}))", char::from(byte))),
            _ => text.push_str(&format!("(?i:%{byte:02x})")),
        }
    }
    Segment::Escaped(text)
}

/// Unit: bytes.
fn longest_body(routes: &[Value]) -> usize {
    let bodies = routes.iter().filter_map(|route| {
        route
            .pointer("/direct_response/body/inline_string")?
            .as_str()
    });
    bodies.map(str::len).max().unwrap_or(0)
}

/// How long a request may be silent: what all attempts and the pauses between take.
fn longest(backend: &Backend) -> Duration {
    (backend.timeout + MAX_PAUSE).saturating_mul(attempts(backend))
}

/// The same for a pool.
fn longest_of(pool: &Pool) -> Duration {
    let attempts = pool.orders().iter().map(|order| order.attempts);
    let attempts = u32::try_from(attempts.max().unwrap_or(1)).unwrap_or(u32::MAX);
    (pool.timeout + MAX_POOL_PAUSE).saturating_mul(attempts)
}

fn attempts(backend: &Backend) -> u32 {
    backend.max_retries.max(1).saturating_add(1)
}

fn retry_policy(backend: &Backend) -> Value {
    let per_try_timeout = seconds(backend.timeout);
    let retry_back_off = json!({"base_interval": "0.250s", "max_interval": "8s"});
    match backend.max_retries {
        0 => json!({
            "retry_on": UNSENT.join(","),
            "num_retries": 1,
            "per_try_timeout": per_try_timeout,
            "retry_back_off": retry_back_off,
        }),
        max_retries => json!({
            "retry_on": format!("{SERVER_ERRORS},retriable-status-codes"),
            "retriable_status_codes": RETRIABLE_STATUSES,
            "num_retries": max_retries,
            "per_try_timeout": per_try_timeout,
            "retry_back_off": retry_back_off,
            "rate_limited_retry_back_off": {
                "reset_headers": [{"name": "retry-after", "format": "SECONDS"}],
                "max_interval": seconds(MAX_PAUSE),
            },
        }),
    }
}

/// The module sets the number of attempts of each request.
fn pool_retry_policy(pool: &Pool) -> Value {
    let mut retry_on = vec!["reset", "connect-failure", "refused-stream"];
    if pool.fallback_on.server_errors {
        retry_on.push(SERVER_ERRORS);
    }
    if !pool.fallback_on.statuses.is_empty() {
        retry_on.push("retriable-status-codes");
    }
    let mut policy = Map::from_iter([("retry_on".to_owned(), retry_on.join(",").into())]);
    if !pool.fallback_on.statuses.is_empty() {
        let statuses = json!(pool.fallback_on.statuses);
        policy.insert("retriable_status_codes".to_owned(), statuses);
    }
    policy.insert("num_retries".to_owned(), 0.into());
    policy.insert("retry_priority".to_owned(), aggregate::retry_priority());
    policy.insert("per_try_timeout".to_owned(), seconds(pool.timeout).into());
    // The next attempt goes to another member, so there is nothing to wait for, unless a further round
    // begins.
    let mut orders = pool.orders().iter();
    let repeats = orders.any(|order| order.attempts > order.round.len());
    let longest = if repeats {
        MAX_POOL_PAUSE
    } else {
        MIN_POOL_PAUSE
    };
    let pauses = json!({
        "base_interval": seconds(MIN_POOL_PAUSE),
        "max_interval": seconds(longest),
    });
    policy.insert("retry_back_off".to_owned(), pauses);
    Value::Object(policy)
}

/// What a route is chosen by; `methods` replaces its own.
fn matches(route: &Route, methods: &[String]) -> Value {
    let mut matches = match route.path.as_str() {
        "" => json!({"prefix": "/"}),
        path => json!({"path_separated_prefix": path}),
    };
    match methods {
        [] => {}
        [method] => add_header(&mut matches, header(":method", json!({"exact": method}))),
        methods => add_header(&mut matches, header(":method", regex(&methods.join("|")))),
    }
    for condition in conditions(route) {
        add_header(&mut matches, condition);
    }
    matches
}

/// What a route demands of its clients, path and method aside.
fn conditions(route: &Route) -> Vec<Value> {
    let mut conditions = Vec::new();
    if !route.hosts.is_empty() {
        conditions.push(header(":authority", regex(&hosts(&route.hosts))));
    }
    for (name, value) in &route.headers {
        conditions.push(header(name, json!({"exact": value})));
    }
    conditions
}

/// Adds one more header to what a route is chosen by.
fn add_header(matches: &mut Value, header: Value) {
    let Value::Object(matches) = matches else {
        return;
    };
    let headers = matches.entry("headers").or_insert_with(|| json!([]));
    if let Value::Array(headers) = headers {
        headers.push(header);
    }
}

pub fn header(name: &str, string_match: Value) -> Value {
    json!({"name": name, "string_match": string_match})
}

/// A regular expression (RE2) that the whole text has to match.
pub fn regex(regex: &str) -> Value {
    json!({"safe_regex": {"regex": regex}})
}

/// Host names in any case, with or without a port.
pub fn hosts(hosts: &[Host]) -> String {
    let alternatives: Vec<String> = hosts
        .iter()
        .map(|host| match host {
            Host::Exact(name) => escaped(name),
            Host::Below(suffix) => format!(".*{}", escaped(suffix)),
        })
        .collect();
    format!("(?i)({})(:[0-9]+)?", alternatives.join("|"))
}

pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_punctuation() {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// What is answered where only the method is wrong.
///
/// Longest paths and most conditions first: they are within what the others match, so the methods
/// of all that a request could have matched are there.
fn wrong_methods(routes: &[Route]) -> Vec<Value> {
    let mut limited: Vec<&Route> = routes
        .iter()
        .filter(|route| !route.methods.is_empty())
        .collect();
    limited.sort_by_key(|route| {
        let conditions = route.headers.len() + usize::from(!route.hosts.is_empty());
        std::cmp::Reverse((route.path.len(), conditions))
    });
    let by_path = ByPath::new(routes);
    let mut seen = BTreeSet::new();
    let mut answers: Vec<Value> = Vec::new();
    for route in &limited {
        let allowed: BTreeSet<&str> = by_path
            .above(&route.path)
            .filter(|(_, other)| other.covers_all_but_methods(route))
            .flat_map(|(_, other)| other.methods.iter().map(String::as_str))
            .collect();
        let allowed = Vec::from_iter(allowed).join(", ");
        let matches = matches(route, &[]);
        if !seen.insert(matches.to_string()) {
            continue;
        }
        let name = format!("{}-wrong-method", route.name);
        let refusal = direct(&Refusal::WrongMethod(allowed).reply(&OpenAi));
        answers.push(named(&name, matches, refusal));
    }
    answers
}

/// What is answered where no route matches: a probe of the base URL, as Claude Code sends it, and an error
/// in the API of the request.
fn unknown() -> [Value; 3] {
    let mut probe = json!({"path": "/"});
    add_header(
        &mut probe,
        json!({"name": ":method", "string_match": {"exact": "HEAD"}}),
    );
    let messages = regex("/(.*/)?messages(/count_tokens)?");
    let refusal = |api| direct(&Refusal::UnknownRoute.reply(api));
    [
        named("probe", probe, direct(&LocalReply::empty(200))),
        named("unknown-messages", messages, refusal(&Messages)),
        named("unknown", json!({"prefix": "/"}), refusal(&OpenAi)),
    ]
}

pub fn named(name: &str, matches: Value, mut rest: Map<String, Value>) -> Value {
    let mut route = Map::new();
    route.insert("name".to_owned(), name.into());
    route.insert("match".to_owned(), matches);
    route.append(&mut rest);
    Value::Object(route)
}

/// What the module would answer, answered by Envoy itself.
pub fn direct(reply: &LocalReply) -> Map<String, Value> {
    let headers: Vec<Value> = reply
        .headers
        .iter()
        .map(|(key, value)| {
            json!({
                "header": {"key": key, "value": value},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            })
        })
        .collect();
    let response = json!({"status": reply.status, "body": {"inline_string": reply.body}});
    Map::from_iter([
        ("direct_response".to_owned(), response),
        ("response_headers_to_add".to_owned(), Value::Array(headers)),
    ])
}

/// Envoy's retry conditions for a request that has certainly not reached the provider: a backend without
/// retries has one for these.
pub const UNSENT: [&str; 3] = ["connect-failure", "refused-stream", "reset-before-request"];

/// The methods whose requests have a body that can say a model.
const WITH_BODY: [&str; 3] = ["PATCH", "POST", "PUT"];

/// What Envoy takes without being told to. Unit: bytes.
const MAX_DIRECT_BODY_BYTES: usize = 4096;

/// The module, not Envoy, says that a body is too large: Envoy's limit is a little higher.
const BODY_BUFFER_MARGIN_BYTES: u64 = 1 << 20;

/// A provider that asks for more patience than this is not waited for.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The longest time between two attempts at different members of a pool.
const MIN_POOL_PAUSE: Duration = Duration::from_millis(25);

/// The longest time between two attempts of a pool that may be at the same member.
const MAX_POOL_PAUSE: Duration = Duration::from_millis(250);

/// OpenAI's SDKs wait ten minutes.
const MIN_IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// More than any sensible configuration comes to, and less than protobuf's longest duration.
const MAX_IDLE_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
