//! Probes: paths that Envoy and the module answer by themselves, before any route.
//!
//! `live` is answered by Envoy. `ready` is a route to a cluster where nothing listens: the module on it
//! answers before a connection is needed. While Envoy is told to fail its health checks
//! (`POST /healthcheck/fail` at the admin interface), its own filter answers `ready` with 503.

use serde_json::{Map, Value, json};

use super::super::Source;
use super::route::{direct, escaped, header, named, regex};
use super::{Machine, NAME, extension, module, secrets, typed};
use crate::contract::{LIVE_ROUTE, READY_ROUTE};
use crate::gateway::Health;
use crate::refusal::LocalReply;

/// The probes that are rendered. In an Envoy that belongs to a control plane they are its concern: it
/// has probes of its own, and Istio's proxy is built without the filter.
pub fn rendered(source: &Source, machine: &Machine) -> Health {
    match machine.is_whole {
        true => source.gateway().health.clone(),
        false => Health {
            live: None,
            ready: None,
        },
    }
}

/// The routes of the probes. `has_plugin`: the listener has a plugin, which need not see them.
pub fn routes(health: &Health, has_plugin: bool) -> Vec<Value> {
    let route = |name: &str, path: &String, mut rest: Map<String, Value>| {
        let matches = json!({
            "path": path,
            "headers": [method()],
        });
        if has_plugin {
            let disabled = typed(
                "envoy.config.route.v3.FilterConfig",
                json!({"disabled": true}),
            );
            let filters = json!({NAME: disabled});
            rest.insert("typed_per_filter_config".to_owned(), filters);
        }
        named(name, matches, rest)
    };
    let live = health.live.as_ref().map(|path| {
        let reply = LocalReply::json(200, LIVE.to_owned());
        route(LIVE_ROUTE, path, direct(&reply))
    });
    let ready = health.ready.as_ref().map(|path| {
        let action = json!({"cluster": READY_CLUSTER, "timeout": "2s"});
        let rest = Map::from_iter([("route".to_owned(), action)]);
        route(READY_ROUTE, path, rest)
    });
    live.into_iter().chain(ready).collect()
}

/// The filter that answers with 503 while Envoy fails its health checks.
pub fn filter(health: &Health) -> Option<Value> {
    let path = health.ready.as_ref()?;
    let path = format!("{}(\\?.*)?", escaped(path));
    // Any other method is a request like all others, for Envoy's statistics and logs, too.
    let headers = [header(":path", regex(&path)), method()];
    Some(extension(
        "envoy.filters.http.health_check",
        "envoy.extensions.filters.http.health_check.v3.HealthCheck",
        json!({"pass_through_mode": true, "headers": headers}),
    ))
}

/// The methods of probes.
fn method() -> Value {
    header(":method", regex("GET|HEAD"))
}

/// The cluster of `ready`.
pub fn cluster(source: &Source, machine: &Machine) -> Option<Value> {
    rendered(source, machine).ready?;
    let mut module = module::filter(source, machine, "ready", &source.ready_plugin());
    if let Value::Object(module) = &mut module {
        // The routes of probes disable the other ones.
        module.insert("name".to_owned(), READY_CLUSTER.into());
    }
    let mut filters = secrets::filters(source, source.backends(), machine);
    filters.extend([module, module::codec()]);
    let options = typed(
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        json!({
            "explicit_http_config": {"http_protocol_options": {}},
            "http_filters": filters,
        }),
    );
    Some(json!({
        "name": READY_CLUSTER,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": READY_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {
                "address": "127.0.0.1",
                "port_value": 1,
            }}}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options,
        },
    }))
}

/// What leaves probes out of an access log; `None`: there are none.
pub fn log_filter(health: &Health) -> Option<Value> {
    health.paths().next()?;
    Some(json!({"extension_filter": extension(
        "envoy.access_loggers.extension_filters.cel",
        "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        json!({"expression": format!("!(xds.route_name in ['{LIVE_ROUTE}', '{READY_ROUTE}'])")}),
    )}))
}

const READY_CLUSTER: &str = "llm-proxy/ready";

const LIVE: &str = r#"{"status":"live"}"#;
