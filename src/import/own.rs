//! A file that is nearly one of ours: `backends` and `routes` with the same keys, and further ones.
//!
//! What is ours is copied as it is; keys that are not are reported.

use serde_json::{Map, Value};

use super::draft::{Draft, Route};
use super::source::Node;
use crate::config::value::BackendType;

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
        for backend in root.get("backends").items() {
            read_backend(&backend, draft);
        }
        for route in root.get("routes").items() {
            read_route(&route, draft);
        }
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
            let keys = taken(backend, POOL);
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
    let mut route_keys = taken(route, ROUTE);
    let name = route_keys.shift_remove("name");
    let found = Route {
        name: name.and_then(|it| it.as_str().map(str::to_owned)),
        keys: route_keys,
        comments: Vec::new(),
    };
    draft.route(found, &backend);
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
