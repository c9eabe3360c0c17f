//! A file that is nearly one of ours: `backends` and `routes` with the same keys, and further ones, as
//! RealTimeDetect's LLM gateway has them.
//!
//! Sources, read 2026-11-28: <https://www.realtimedetect.com/docs/llm-gateway/configuration> and
//! <https://www.realtimedetect.com/docs/llm-gateway/traffic-management>.
//!
//! # What is decided here
//!
//! * What is ours is copied as it is; keys that are not are reported.
//! * Routes are in the order of their `priority`: the smallest first, 100 where there is none.
//! * The policy `timeout` of a route is its `deadline`. Other policies are left out, each with what does
//!   the same in Envoy.
//! * Of several `listeners` the first one without TLS gives the port.

use serde_json::{Map, Value};

use super::draft::{Draft, Route};
use super::source::Node;
use crate::config::value::BackendType;
use crate::pool::Strategy;

/// Reads the documents.
pub fn read(roots: &[Node<'_>], draft: &mut Draft) {
    for root in roots {
        for key in ["listen", "port"] {
            let node = root.get(key);
            let port = node.text_if_scalar();
            let port = port.and_then(|it| it.rsplit(':').next()?.parse().ok());
            if let Some(port) = port {
                draft.listen(port, &node);
            }
        }
        read_listeners(&root.get("listeners").items(), draft);
        read_gateway(&root.get("gateway"));
        for (kind, policy) in root.get("policies").entries() {
            policy.ignore();
            policy.warn(instead_of(kind));
        }
        for backend in root.get("backends").items() {
            read_backend(&backend, draft);
        }
        let mut routes = root.get("routes").items();
        let priority = |route: &Node<'_>| route.get("priority").number().unwrap_or(LAST_PRIORITY);
        routes.sort_by_cached_key(priority);
        for route in routes {
            read_route(&route, draft);
        }
    }
}

/// One port is read: that of the first listener whose clients come without TLS.
fn read_listeners(listeners: &[Node<'_>], draft: &mut Draft) {
    let plain = listeners.iter().position(|it| !it.has("tls"));
    for (index, listener) in listeners.iter().enumerate() {
        let port = listener.get("port");
        match port.number() {
            Some(number) if Some(index) == plain => draft.listen(number, &port),
            _ => port.warn(
                "left out: one gateway.yaml has one port, and TLS of clients is ended in front of it or \
                 by a listener of your own Envoy",
            ),
        }
        listener.ignore_keys(&["name", "protocol", "tls"]);
    }
}

fn read_gateway(gateway: &Node<'_>) {
    gateway.ignore_keys(&["name", "version"]);
    for kind in ["auth", "rateLimit"] {
        gateway.get(kind).warn_if_present(instead_of(kind));
    }
}

fn read_backend(backend: &Node<'_>, draft: &mut Draft) {
    let name = backend.get("name").text().unwrap_or_default();
    let kind = backend.get("type");
    let text = kind.text().unwrap_or_default();
    let known = BackendType::all()
        .into_iter()
        .find(|(name, _)| *name == text);
    match known {
        Some((_, BackendType::Provider(provider))) => {
            let config = taken(&backend.get("config"), CONFIG);
            let name = draft.name(&name);
            draft.backend(&name, provider, config, Vec::new());
        }
        Some((_, BackendType::Pool)) => {
            let mut keys = taken(backend, POOL);
            if let Some(strategy) = keys.get("strategy").and_then(Value::as_str)
                && Strategy::named(strategy).is_none()
            {
                backend.get("strategy").warn(format!(
                    "{strategy:?}: members are selected by their weights instead"
                ));
                keys.shift_remove("strategy");
            }
            let name = draft.name(&name);
            draft.raw_pool(&name, keys);
        }
        None => {
            kind.error(format!("there is no type {text:?} here"));
            backend.ignore();
        }
    }
}

fn read_route(route: &Node<'_>, draft: &mut Draft) {
    let Some(backend) = route.get("backend").text() else {
        route.error("has no backend");
        route.ignore();
        return;
    };
    let mut keys = taken(route, ROUTE);
    let name = keys.shift_remove("name");
    let mut found = Route {
        name: name.and_then(|it| it.as_str().map(str::to_owned)),
        keys,
        comments: Vec::new(),
    };
    for policy in route.get("policies").items() {
        for (kind, value) in policy.entries() {
            match (kind, value.text_if_scalar()) {
                ("timeout", Some(text)) => {
                    found.comments.push(format!(
                        "timeout: {text} was for the whole request; deadline is for its first byte"
                    ));
                    let deadline = found.keys.entry("deadline");
                    deadline.or_insert_with(|| text.into());
                }
                _ => {
                    value.ignore();
                    value.warn(instead_of(kind));
                }
            }
        }
    }
    draft.route(found, &backend);
}

/// What does the work of a policy that there is not.
fn instead_of(policy: &str) -> &'static str {
    match policy {
        "auth" => {
            "left out: clients are not authenticated here; let Envoy do that before requests reach the \
             gateway"
        }
        "rateLimit" => "left out: limit rates in Envoy",
        "retry" => {
            "left out: maxRetries of a backend or a pool is the number of attempts after the first"
        }
        "circuitBreaker" => {
            "left out: a member of a pool that fails is not selected for a while, by itself"
        }
        "contentPolicy" => {
            "left out: contents are not inspected here; put a filter for that before the module in Envoy"
        }
        _ => "has no equivalent here; left out",
    }
}

/// The members that have these keys, with everything that they contain.
fn taken(node: &Node<'_>, keys: &[&str]) -> Map<String, Value> {
    let mut found = Map::new();
    for key in keys.iter().filter(|key| node.has(key)) {
        let value = node.get(key);
        value.ignore();
        let json = value.value().filter(|it| !it.is_null());
        found.extend(json.map(|json| ((*key).to_owned(), json.clone())));
    }
    found
}

/// The priority of a route that has none.
const LAST_PRIORITY: u64 = 100;

/// The keys of a configuration that this version has.
const CONFIG: &[&str] = crate::config::file::BackendConfig::KEYS;
const ROUTE: &[&str] = &[
    "name",
    "path",
    "methods",
    "headers",
    "hosts",
    "models",
    "backendFromModel",
    "modelAliases",
    "model",
    "deadline",
];
const POOL: &[&str] = &[
    "strategy",
    "fallback",
    "fallbackOn",
    "maxRetries",
    "timeout",
    "firstByteTimeout",
    "backends",
];
