//! What is rendered for stock Envoy, grafted onto the configuration that Istio makes.
//!
//! ```text
//!   Envoy's bootstrap                       Istio's gateway
//!   clusters ───────────── ADD ───────────► clusters
//!   routes ─────────────── INSERT_BEFORE ─► the one route of our VirtualService
//!   listener's filters ─── INSERT_BEFORE ─► the router
//!   the rest of router, routes, manager ── MERGE ─► the same
//!   the module's plugins ─ ADD ───────────► extension configurations, which the proxies' agent
//!                                           completes: it fetches the image
//! ```
//!
//! Source: <https://istio.io/latest/docs/reference/config/networking/envoy-filter/>, read
//! 2026-11-21.

use serde_json::{Map, Value, json};

use super::super::Source;
use super::super::envoy::{self, Machine};
use super::super::kubernetes::{self, Module, Origin, resource, with};
use super::{Mesh, Proxies, own_gateway, targets, virtual_service};
use crate::config::{ConfigErrors, KeyPath};

/// The resources.
pub fn resources(source: &Source, mesh: &Mesh, errors: &mut ConfigErrors) -> Vec<Value> {
    let Proxies::Gateways { .. } = &mesh.proxies else {
        let message = "--hold patches gateways that --selector chooses, not sidecars and not \
                       those of --gateway-api";
        errors.push(&KeyPath::root(), message);
        return Vec::new();
    };
    if mesh.module.origin != Origin::File && mesh.module.sha256.is_none() {
        let message = "--hold: an EnvoyFilter names the module with its --sha256";
        errors.push(&KeyPath::root(), message);
    }
    for backend in source.backends() {
        kubernetes::address_of(source, backend, errors);
    }
    // In whichever table of routes Istio keeps it, by this it is found: a server of plain HTTP shares
    // its table with those of other Gateways, and the table's name has no Gateway in it.
    let anchor = format!("{}.{}", mesh.namespace, mesh.name);
    let spec = with(
        targets(mesh, "labels"),
        [("configPatches", Some(patches(source, mesh, &anchor).into()))],
    );
    let filter = resource(
        "networking.istio.io/v1alpha3",
        "EnvoyFilter",
        &mesh.name,
        &mesh.namespace,
        spec,
    );
    let mut resources = Vec::from_iter(own_gateway(mesh));
    // Something has to make the virtual host, and our routes a place before it.
    let anchor = json!({"name": anchor, "directResponse": {"status": 404}});
    resources.push(virtual_service(Vec::new(), vec![anchor], mesh));
    resources.push(filter);
    resources
}

/// The patches, in the order in which they have to be applied.
fn patches(source: &Source, mesh: &Mesh, anchor: &str) -> Vec<Value> {
    let machine = Machine {
        is_whole: false,
        secrets: String::new(),
        module: mesh.module.rest.clone(),
        roots: mesh.roots.clone(),
        // These proxies are the mesh's: its operator sizes them.
        heap_limit: envoy::DEFAULT_HEAP_LIMIT,
        has_cgroup_limit: false,
    };
    let mut bootstrap = envoy::bootstrap(source, &machine);
    let mut plugins = Vec::new();
    if mesh.module.origin != Origin::File {
        take_plugins(&mut bootstrap, &mesh.module, &mut plugins);
    }
    let mut taken = |pointer: &str| {
        let value = bootstrap.pointer_mut(pointer);
        value.map(Value::take).unwrap_or_default()
    };
    let clusters = taken("/static_resources/clusters");
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let mut manager = members(taken(manager));
    let mut table = members(manager.remove("route_config").unwrap_or_default());
    let host = table.get_mut("virtual_hosts").and_then(|it| it.get_mut(0));
    let mut host = host.map(Value::take).map(members).unwrap_or_default();
    let routes = items(host.remove("routes").unwrap_or_default());
    let mut filters = items(manager.remove("http_filters").unwrap_or_default());
    let router = filters.pop().unwrap_or_default();

    let in_manager = |rest: Value| {
        let filter = with(json!({"name": MANAGER}), [("subFilter", Some(rest))]);
        json!({"listener": {"filterChain": {"filter": filter}}})
    };
    let before_router = || in_manager(json!({"name": ROUTER}));
    let before_anchor = || json!({"routeConfiguration": {"vhost": {"route": {"name": anchor}}}});

    let mut patches = Vec::new();
    let mut patch = |apply_to: &str, place: Value, operation: &str, value: Value| {
        let mut place = members(place);
        place.insert("context".to_owned(), "GATEWAY".into());
        patches.push(json!({
            "applyTo": apply_to,
            "match": place,
            "patch": {"operation": operation, "value": value},
        }));
    };
    for plugin in plugins {
        patch("EXTENSION_CONFIG", json!({}), "ADD", plugin);
    }
    for cluster in items(clusters) {
        patch("CLUSTER", json!({}), "ADD", cluster);
    }
    // It only keeps clients from sending what the module says, so every table may have it.
    if let Some(headers) = table.get("internal_only_headers") {
        let headers = json!({"internal_only_headers": headers});
        patch("ROUTE_CONFIGURATION", json!({}), "MERGE", headers);
    }
    for mut route in routes {
        // The virtual host may be shared.
        if let (Some(limit), Some(route)) = (host.get(BUFFER_LIMIT), route.as_object_mut())
            && route.contains_key("route")
        {
            route.insert(BUFFER_LIMIT.to_owned(), limit.clone());
        }
        patch("HTTP_ROUTE", before_anchor(), "INSERT_BEFORE", route);
    }
    for filter in filters {
        patch("HTTP_FILTER", before_router(), "INSERT_BEFORE", filter);
    }
    patch("HTTP_FILTER", before_router(), "MERGE", router);
    manager.retain(|key, _| MANAGER_KEYS.contains(&key.as_str()));
    let place = json!({"listener": {"filterChain": {"filter": {"name": MANAGER}}}});
    let manager = json!({"name": MANAGER, "typed_config": manager});
    patch("NETWORK_FILTER", place, "MERGE", manager);
    patches
}

/// Takes the plugins out of the filters within `value`, and leaves their names there.
fn take_plugins(value: &mut Value, module: &Module, plugins: &mut Vec<Value>) {
    match value {
        Value::Array(items) => {
            for item in items {
                take_plugins(item, module, plugins);
            }
        }
        Value::Object(filter) if is_plugin(filter.get("typed_config")) => {
            let mut config = filter.shift_remove("typed_config").unwrap_or_default();
            let name = config.pointer("/config/name").cloned().unwrap_or_default();
            if let Some(code) = config.pointer_mut("/config/vm_config/code") {
                *code = json!({"remote": {
                    // The agent fetches it; the cluster has to be named and is not used.
                    "http_uri": {"uri": module.url(), "timeout": "30s", "cluster": "_"},
                    "sha256": module.sha256,
                }});
            }
            filter.insert(
                "config_discovery".to_owned(),
                json!({
                    // Without the module there is nothing to do: Envoy waits for it.
                    "config_source": {
                        "ads": {},
                        "resource_api_version": "V3",
                        "initial_fetch_timeout": "0s",
                    },
                    "type_urls": [WASM],
                }),
            );
            let plugin = json!({"name": name, "typed_config": config});
            if !plugins.contains(&plugin) {
                plugins.push(plugin);
            }
            // By its name the configuration is found.
            filter.insert("name".to_owned(), name);
        }
        Value::Object(members) => {
            for (_, member) in members.iter_mut() {
                take_plugins(member, module, plugins);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_plugin(config: Option<&Value>) -> bool {
    let kind = config.and_then(|config| config.get("@type"));
    kind.and_then(Value::as_str) == Some(WASM)
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const MANAGER: &str = "envoy.filters.network.http_connection_manager";
const ROUTER: &str = "envoy.filters.http.router";

/// How much of a body may wait.
const BUFFER_LIMIT: &str = "request_body_buffer_limit";

/// What of the connection manager is the gateway's own: the shape of Envoy's errors, and the scheme,
/// which is the provider's. The rest is for Istio to say.
const MANAGER_KEYS: [&str; 3] = [
    "@type",
    "local_reply_config",
    "scheme_header_transformation",
];
