//! What is rendered for stock Envoy, patched into the configuration that Envoy Gateway makes: for pools
//! and access tokens, which need clusters and an upstream placement that no resource has.
//!
//! ```text
//!   Envoy's bootstrap                        Envoy Gateway
//!   clusters ───────────── add ────────────► clusters
//!   routes ─────────────── replace ────────► the virtual host of our HTTPRoute
//!   listener's filters ─── add ────────────► HTTP filters, before all others
//!   the rest of router, routes, manager ──── the same members
//!   the module ─────────── a file, or fetched by Envoy from an https:// address
//! ```
//!
//! Envoy Gateway serves images to Envoy at an address that is not known here, and only in the filters
//! of its own policies. So Envoy gets the module by itself.
//!
//! Source: <https://gateway.envoyproxy.io/docs/tasks/extensibility/envoy-patch-policy/>, and the names
//! in its repository's `internal/xds/translator/testdata`, read 2026-11-28.

use serde_json::{Value, json};

use super::super::Source;
use super::super::envoy::{self, Machine};
use super::super::kubernetes::{self, GATEWAY_API, Module, Origin, resource};
use super::{Cluster, ENVOY_GATEWAY, Gateway, LISTENER};
use crate::config::{ConfigErrors, KeyPath};

/// Whether a gateway needs this form.
pub fn is_needed(source: &Source) -> bool {
    source.pools().next().is_some() || !source.token_sources().is_empty()
}

/// The resources behind the Gateway: a route that makes the virtual host, and the patches.
pub fn resources(source: &Source, cluster: &Cluster, errors: &mut ConfigErrors) -> Vec<Value> {
    let root = KeyPath::root();
    if matches!(cluster.gateway, Gateway::Existing(_)) {
        let message = "--gateway: pools and access tokens replace all routes of a listener, so they \
                       need a Gateway of their own: leave --gateway away";
        errors.push(&root, message);
    }
    if cluster.module.origin == Origin::Oci {
        let message = "--wasm: pools and access tokens need the module at an https:// address with its \
                       --sha256, or as a file:// in the proxy's image: Envoy fetches it by itself, and \
                       cannot read images";
        errors.push(&root, message);
    }
    for backend in source.backends() {
        kubernetes::address_of(source, backend, errors);
    }
    let (name, namespace) = (&cluster.name, &cluster.namespace);
    let not_found = json!({"directResponse": {"statusCode": 404}});
    let filter = json!({"type": "ExtensionRef", "extensionRef": {
        "group": "gateway.envoyproxy.io",
        "kind": "HTTPRouteFilter",
        "name": name,
    }});
    let route = json!({
        "parentRefs": [{"name": cluster.gateway_name()}],
        "rules": [{"filters": [filter]}],
    });
    let policy = json!({
        "targetRef": {
            "group": "gateway.networking.k8s.io",
            "kind": "Gateway",
            "name": cluster.gateway_name(),
        },
        "type": "JSONPatch",
        "jsonPatches": patches(source, cluster, errors),
    });
    vec![
        resource(ENVOY_GATEWAY, "HTTPRouteFilter", name, namespace, not_found),
        resource(GATEWAY_API, "HTTPRoute", name, namespace, route),
        resource(ENVOY_GATEWAY, "EnvoyPatchPolicy", name, namespace, policy),
    ]
}

fn patches(source: &Source, cluster: &Cluster, errors: &mut ConfigErrors) -> Vec<Value> {
    let machine = Machine {
        is_whole: false,
        secrets: String::new(),
        module: cluster.module.rest.clone(),
        roots: cluster.roots.clone(),
        // These proxies are the cluster's: its operator sizes them.
        heap_limit: envoy::DEFAULT_HEAP_LIMIT,
        has_cgroup_limit: false,
    };
    let mut bootstrap = envoy::bootstrap(source, &machine);
    let mut clusters = items(taken(&mut bootstrap, "/static_resources/clusters"));
    if cluster.module.origin != Origin::File {
        match envoy::server_cluster(MODULE_CLUSTER, &cluster.module.url(), &machine) {
            Some(server) => clusters.push(server),
            None => errors.push(&KeyPath::root(), "--wasm: the URL has no host"),
        }
    }
    let mut manager = taken(
        &mut bootstrap,
        "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config",
    );
    for value in clusters.iter_mut().chain([&mut manager]) {
        fetch_module(value, &cluster.module);
    }
    let mut filters = items(taken(&mut manager, "/http_filters"));
    let router = filters.pop().unwrap_or_default();
    let mut table = taken(&mut manager, "/route_config");
    let host = taken(&mut table, "/virtual_hosts/0");

    let listener = format!(
        "{}/{}/{LISTENER}",
        cluster.namespace,
        cluster.gateway_name()
    );
    let mut patches = Vec::new();
    let mut patch = |kind: &str, name: &str, operation: Value| {
        patches.push(json!({
            "type": format!("type.googleapis.com/envoy.config.{kind}"),
            "name": name,
            "operation": operation,
        }));
    };
    for cluster in clusters {
        let name = cluster.get("name").and_then(Value::as_str);
        let name = name.unwrap_or_default().to_owned();
        // With an empty path the whole resource is added.
        patch(
            CLUSTER,
            &name,
            json!({"op": "add", "path": "", "value": cluster}),
        );
    }
    for (key, value) in members(table) {
        if !["name", "virtual_hosts"].contains(&key.as_str()) {
            let path = format!("/{key}");
            patch(
                ROUTES,
                &listener,
                json!({"op": "add", "path": path, "value": value}),
            );
        }
    }
    for (key, value) in members(host) {
        if !["name", "domains"].contains(&key.as_str()) {
            let path = format!("/virtual_hosts/0/{key}");
            patch(
                ROUTES,
                &listener,
                json!({"op": "add", "path": path, "value": value}),
            );
        }
    }
    let mut in_listener = |json_path: String, path: String, value: Value| {
        let operation = json!({"op": "add", "jsonPath": json_path, "path": path, "value": value});
        patch(LISTENERS, &listener, operation);
    };
    let named = |list: &str, name: &str| format!("..{list}[?(@.name=='{name}')]");
    for (key, value) in members(taken(&mut { router }, "/typed_config")) {
        if key != "@type" {
            in_listener(
                named("http_filters", ROUTER),
                format!("/typed_config/{key}"),
                value,
            );
        }
    }
    let manager_at = named("filters", MANAGER);
    for (key, value) in members(manager) {
        if MANAGER_KEYS.contains(&key.as_str()) {
            in_listener(manager_at.clone(), format!("/typed_config/{key}"), value);
        }
    }
    // The last that is inserted comes first.
    for filter in filters.into_iter().rev() {
        let path = "/typed_config/http_filters/0".to_owned();
        in_listener(manager_at.clone(), path, filter);
    }
    patches
}

/// Replaces the code of each plugin within `value` by an address from which Envoy fetches it.
fn fetch_module(value: &mut Value, module: &Module) {
    if module.origin == Origin::File {
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|it| fetch_module(it, module)),
        Value::Object(members) => {
            for (key, member) in members.iter_mut() {
                match member.get_mut("code") {
                    Some(code) if key == "vm_config" => {
                        *code = json!({"remote": {
                            "http_uri": {
                                "uri": module.url(),
                                "cluster": MODULE_CLUSTER,
                                "timeout": "30s",
                            },
                            "sha256": module.sha256,
                            "retry_policy": {"num_retries": FETCH_RETRIES},
                        }});
                    }
                    _ => fetch_module(member, module),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn taken(value: &mut Value, pointer: &str) -> Value {
    value
        .pointer_mut(pointer)
        .map(Value::take)
        .unwrap_or_default()
}

fn members(value: Value) -> serde_json::Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => serde_json::Map::new(),
    }
}

fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

const CLUSTER: &str = "cluster.v3.Cluster";
const ROUTES: &str = "route.v3.RouteConfiguration";
const LISTENERS: &str = "listener.v3.Listener";
const MANAGER: &str = "envoy.filters.network.http_connection_manager";
const ROUTER: &str = "envoy.filters.http.router";

/// The cluster of the server that has the module.
const MODULE_CLUSTER: &str = "llm-proxy-module";

/// A proxy whose network comes a moment later gets the module all the same.
const FETCH_RETRIES: u32 = 10;

/// What of the connection manager is the gateway's own: the shape of Envoy's errors, the scheme, which is
/// the provider's, and that no client is internal. The rest is for Envoy Gateway to say.
const MANAGER_KEYS: [&str; 3] = [
    "internal_address_config",
    "local_reply_config",
    "scheme_header_transformation",
];
