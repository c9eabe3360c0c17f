//! A gateway as manifests for Envoy Gateway.
//!
//! An `EnvoyExtensionPolicy` loads the module among the listener's filters, and switches it on for the
//! `HTTPRoute`s of the gateway: one for each of its routes, with the route's conditions. What they
//! choose stays chosen, whatever the client's headers say; host and path are written after the last
//! filter.
//!
//! Envoy Gateway puts a `Wasm` filter before limits and authorization; in the order that is rendered it
//! comes after them, so that they see what the client has sent.
//!
//! Source: the CRDs of Envoy Gateway 1.7 to 1.9 and of Gateway API 1.4 to 1.6, and
//! <https://gateway.envoyproxy.io/docs/api/extension_types/>, read 2026-11-21.

mod patched;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Source;
use super::envoy::{MAX_CONCURRENCY, PLAIN_IDLE_TIMEOUT, TLS_IDLE_TIMEOUT, UNSENT};
use super::istio::MAX_CONNECT_TIMEOUT;
use super::kubernetes::routing::{self, Choice, Way, literal};
use super::kubernetes::{
    self, GATEWAY_API, Module, Origin, accepted, header_modifier, http_matches, prefix, resource,
    with,
};
use super::yaml::{self, Layout};
use crate::backend::Backend;
use crate::config::{ConfigErrors, KeyPath};
use crate::contract::{RETRIABLE_STATUSES, SCHEME_HEADER, SERVER_ERRORS};

/// What the configuration of the gateway does not say, since it concerns the cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The name of the resources, and of the gateway in their labels.
    pub name: String,
    /// Where Envoy Gateway gets the module.
    pub module: Module,
    /// The namespace of all resources.
    pub namespace: String,
    /// The Gateway.
    pub gateway: Gateway,
    /// Whether headers wait for the body, by an `EnvoyPatchPolicy`.
    pub holds: bool,
    /// The path of the CA certificates for providers without `tls.caFile`, as Envoy sees it.
    pub roots: String,
    /// The listeners of the Gateway that serve the routes; none: all of them, and where headers are
    /// held the one named as the rendered Gateway's.
    pub listeners: Vec<String>,
    /// Whether Envoy Gateway merges an `EnvoyExtensionPolicy` with one of the whole Gateway: from 1.9 on.
    pub merges_extensions: bool,
}

/// The Gateway that carries the routes.
#[derive(Clone, Debug)]
pub enum Gateway {
    /// One that is there already, by name. Its proxies' environment is its owner's concern.
    Existing(String),
    /// One that is rendered as well.
    Own {
        /// Its class.
        class: String,
        /// The Secret that has the keys, by the names of their variables.
        secret: String,
    },
}

/// The resources.
///
/// # Errors
///
/// What Envoy Gateway cannot do, each with its key path.
pub fn resources(source: &Source, cluster: &Cluster) -> Result<Vec<Value>, ConfigErrors> {
    let mut errors = ConfigErrors::default();
    kubernetes::check_names(source, &cluster.name, &mut errors);
    if cluster.holds && patched::is_needed(source) {
        let mut resources = Vec::new();
        if let Gateway::Own { class, secret } = &cluster.gateway {
            resources.extend(own_gateway(source, cluster, class, secret));
        }
        resources.extend(client_policy(source, cluster));
        resources.extend(patched::resources(source, cluster, &mut errors));
        return match errors.is_empty() {
            true => Ok(kubernetes::labelled(resources, &cluster.name)),
            false => Err(errors),
        };
    }
    accepted::check_for_envoy_gateway(source, &mut errors);
    kubernetes::check_listener(source, cluster.holds, REMEDY, &mut errors);
    routing::check_order(source, &mut errors);
    let internal = kubernetes::internal_root(&cluster.name, &cluster.namespace);
    let ways = routing::ways(source, &internal);
    let routes = http_routes(source, &ways, cluster);
    let mut resources = Vec::new();
    if let Gateway::Own { class, secret } = &cluster.gateway {
        resources.extend(own_gateway(source, cluster, class, secret));
    }
    for backend in source.backends() {
        resources.extend(backend_resources(source, backend, cluster, &mut errors));
        let own = routes
            .iter()
            .filter(|it| it.way.backend.name == backend.name);
        let own: Vec<&HttpRoute<'_>> = own.collect();
        resources.extend(own.iter().map(|it| it.resource(cluster)));
        resources.push(traffic_policy(backend, &own, cluster));
    }
    resources.extend(rewrites(&ways, cluster, &internal, &mut errors));
    let plugin = |holds| {
        source.listener_plugin(holds, &internal, None, &|route| {
            let chosen = routes
                .iter()
                .find(|it| it.is_chosen && it.way.route.name == route.name);
            chosen.map(|it| format!("httproute/{}/{}/*", cluster.namespace, it.name))
        })
    };
    // The patch alone holds headers. Where it is not in force, the module refuses a configuration
    // that needs it, and requests get 503: with `holdHeaders` they would wait forever.
    resources.push(extension_policy(
        source,
        plugin(false),
        &routes,
        cluster,
        &mut errors,
    ));
    resources.extend(client_policy(source, cluster));
    if cluster.holds {
        resources.push(patch_policy(&plugin(true), cluster));
    }
    match errors.is_empty() {
        true => Ok(kubernetes::labelled(resources, &cluster.name)),
        false => Err(errors),
    }
}

/// The resources as YAML. `file` is the name of what they are rendered from.
///
/// # Errors
///
/// As [`resources`].
pub fn yaml(source: &Source, cluster: &Cluster, file: &str) -> Result<String, ConfigErrors> {
    let needs = match &cluster.gateway {
        Gateway::Existing(_) => "read in the environment of the proxies' pods".to_owned(),
        Gateway::Own { secret, .. } => format!("keys of the Secret {secret}"),
    };
    let text = kubernetes::yaml(source, resources(source, cluster), file, &needs)?;
    let Gateway::Existing(name) = &cluster.gateway else {
        return Ok(text);
    };
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let mut lines = vec![first.to_owned()];
    for (kind, spec) in [
        ("EnvoyProxy", proxy_settings()),
        ("ClientTrafficPolicy", client_settings(source, cluster)),
    ] {
        lines.push(format!("# the {kind} of the Gateway {name} needs:"));
        let spec = yaml::document(&json!({"spec": spec}), Layout::Compact);
        lines.extend(spec.lines().map(|line| format!("#   {line}")));
    }
    lines.push(rest.to_owned());
    Ok(lines.join("\n"))
}

fn own_gateway(source: &Source, cluster: &Cluster, class: &str, secret: &str) -> Vec<Value> {
    let (name, namespace) = (&cluster.name, &cluster.namespace);
    let names = source.variable_names();
    let environment = (!names.is_empty()).then(|| {
        json!({
            "type": "Kubernetes",
            "kubernetes": {"envoyDeployment": {
                "container": {"env": kubernetes::from_secret(names, secret)},
            }},
        })
    });
    let proxy = with(proxy_settings(), [("provider", environment)]);
    let reference = json!({
        "group": "gateway.envoyproxy.io",
        "kind": "EnvoyProxy",
        "name": name,
    });
    let gateway = json!({
        "gatewayClassName": class,
        "infrastructure": {"parametersRef": reference},
        "listeners": [{"name": LISTENER, "protocol": "HTTP", "port": 80}],
    });
    vec![
        resource(ENVOY_GATEWAY, "EnvoyProxy", name, namespace, proxy),
        resource(GATEWAY_API, "Gateway", name, namespace, gateway),
    ]
}

/// What the proxies of a Gateway need, beside the keys.
fn proxy_settings() -> Value {
    // Each moves the module behind one of them, if it is there: the last one counts.
    let order = AFTER_CLIENT.map(|after| json!({"name": WASM_FILTER, "after": after}));
    json!({
        "filterOrder": order,
        // A change of the configuration ends the streams that run longer than this.
        "shutdown": {"drainTimeout": DRAIN_TIMEOUT},
    })
}

/// Where a provider is, and how it is trusted.
fn backend_resources(
    source: &Source,
    backend: &Backend,
    cluster: &Cluster,
    errors: &mut ConfigErrors,
) -> Option<Value> {
    let name = backend_name(backend, cluster);
    let address = kubernetes::address_of(source, backend, errors);
    let endpoint = match address.is_ip {
        true => {
            let ip = accepted::ip_address(&address.host);
            json!({"ip": {"address": ip, "port": address.port}})
        }
        false => json!({"fqdn": {"hostname": address.host, "port": address.port}}),
    };
    let tls = backend
        .endpoint
        .is_tls
        .then(|| tls(source, backend, errors));
    let spec = with(json!({"endpoints": [endpoint]}), [("tls", tls)]);
    Some(resource(
        ENVOY_GATEWAY,
        "Backend",
        &name,
        &cluster.namespace,
        spec,
    ))
}

/// TLS to a provider, whose certificate has to be for the name that is asked for.
fn tls(source: &Source, backend: &Backend, errors: &mut ConfigErrors) -> Value {
    let at = kubernetes::place(source, backend).key("config");
    let endpoint = &backend.endpoint.address;
    let host = backend.tls.server_name.as_ref().unwrap_or(&endpoint.host);
    if backend.tls.ca_file.is_some() {
        let message = "a Backend takes certificates from a ConfigMap, not from a file; render \
                       without it and write caCertificateRefs by hand";
        errors.push(&at.key("tls").key("caFile"), message);
    }
    let is_ip = endpoint.is_ip && backend.tls.server_name.is_none();
    if is_ip && !backend.tls.insecure {
        let message = "a Backend needs a name for the certificate of an address: tls.serverName";
        errors.push(&at.key("endpoint"), message);
    }
    let trust = match backend.tls.insecure {
        true => json!({"insecureSkipVerify": true}),
        false => json!({"wellKnownCACertificates": "System"}),
    };
    with(
        trust,
        [("sni", (!is_ip).then(|| host.to_ascii_lowercase().into()))],
    )
}

/// An `HTTPRoute`.
struct HttpRoute<'a> {
    name: String,
    way: &'a Way<'a>,
    /// Whether clients' requests come to it.
    is_chosen: bool,
    rules: Vec<Value>,
}

/// What leads to each backend: for each way an `HTTPRoute`, and one more where requests wait for
/// their body.
fn http_routes<'a>(
    source: &'a Source,
    ways: &'a [Way<'a>],
    cluster: &Cluster,
) -> Vec<HttpRoute<'a>> {
    let mut routes = Vec::new();
    for way in ways {
        let name = kubernetes::name_of(&cluster.name, &way.name);
        let conditions = routing::conditions(source, way.route);
        let chosen = http_matches(&conditions);
        let internal = json!({"path": prefix(&way.internal)});
        let plain = json!({"matches": chosen, "backendRefs": [reference(way, cluster)]});
        let headers = header_modifier(source, &way.backend, &REMOVED_HEADERS);
        let strip = json!({"type": "URLRewrite", "urlRewrite": {"path": {
            "type": "ReplacePrefixMatch",
            "replacePrefixMatch": "/",
        }}});
        let served = |matches: Vec<Value>| {
            let rewrite = match &way.to {
                Some(to) => json!({"type": "ExtensionRef", "extensionRef": {
                    "group": "gateway.envoyproxy.io",
                    "kind": "HTTPRouteFilter",
                    "name": rewrite_name(&to.to, cluster),
                }}),
                None => strip,
            };
            let mut reference = reference(way, cluster);
            if let Value::Object(reference) = &mut reference {
                let host = json!({"hostname": host(&way.backend, cluster)});
                let filter = json!({"type": "URLRewrite", "urlRewrite": host});
                // At the route itself Envoy Gateway would add the client's host as x-forwarded-host.
                reference.insert("filters".to_owned(), json!([filter]));
            }
            json!({
                "matches": matches,
                "filters": [rewrite, headers],
                "backendRefs": [reference],
            })
        };
        let mut add = |name: String, is_chosen: bool, rules: Vec<Value>| {
            routes.push(HttpRoute {
                name,
                way,
                is_chosen,
                rules,
            });
        };
        match (way.choice, &way.to) {
            (Choice::Direct, Some(_)) => {
                let matches = chosen.into_iter().chain([internal]).collect();
                add(name, true, vec![served(matches)]);
            }
            // The module moves every request to the second.
            (Choice::Direct, None) => add(name, true, vec![plain, served(vec![internal])]),
            (Choice::Internal, _) => add(name, false, vec![served(vec![internal])]),
            (Choice::Waiting, _) => {
                add(format!("{name}-waiting"), true, vec![plain]);
                add(name, false, vec![served(vec![internal])]);
            }
        }
    }
    routes
}

fn reference(way: &Way<'_>, cluster: &Cluster) -> Value {
    json!({
        "group": "gateway.envoyproxy.io",
        "kind": "Backend",
        "name": backend_name(&way.backend, cluster),
    })
}

/// The host that a provider sees: without a port, and a name in any case, since the Gateway API takes
/// nothing else.
fn host(backend: &Backend, cluster: &Cluster) -> String {
    let endpoint = &backend.endpoint.address;
    match (&backend.tls.server_name, endpoint.is_ip) {
        (_, false) => endpoint.host.clone(),
        (Some(name), true) => name.clone(),
        (None, true) => format!("{}.internal", backend_name(backend, cluster)),
    }
}

fn backend_name(backend: &Backend, cluster: &Cluster) -> String {
    kubernetes::name_of(&cluster.name, backend.name.as_str())
}

/// What turns clients' paths into providers': one filter for all ways to the same start of a path.
fn rewrites(
    ways: &[Way<'_>],
    cluster: &Cluster,
    internal: &str,
    errors: &mut ConfigErrors,
) -> Vec<Value> {
    let mut starts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for way in ways {
        if let Some(to) = &way.to {
            let all = starts
                .entry(&to.to)
                .or_insert_with(|| vec![format!("{}/[^/]+", literal(internal))]);
            let start = to.start();
            if way.choice == Choice::Direct && !all.contains(&start) {
                all.push(start);
            }
        }
    }
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for to in starts.keys() {
        let name = rewrite_name(to, cluster);
        if let Some(other) = names.insert(name.clone(), (*to).to_owned()) {
            let message = format!("providers' paths {other:?} and {to:?} would be one {name:?}");
            errors.push(&KeyPath::root().key("backends"), message);
        }
    }
    let filter = |(to, starts): (&&str, &Vec<String>)| {
        let name = rewrite_name(to, cluster);
        let spec = json!({"urlRewrite": {"path": {
            "type": "ReplaceRegexMatch",
            "replaceRegexMatch": {
                "pattern": format!("^(?:{})/", starts.join("|")),
                "substitution": format!("{to}/"),
            },
        }}});
        resource(
            ENVOY_GATEWAY,
            "HTTPRouteFilter",
            &name,
            &cluster.namespace,
            spec,
        )
    };
    starts.iter().map(filter).collect()
}

fn rewrite_name(to: &str, cluster: &Cluster) -> String {
    kubernetes::name_of(&cluster.name, to.trim_start_matches('/'))
}

/// How often a provider is tried, how long that takes, and how many requests there are at once.
fn traffic_policy(backend: &Backend, routes: &[&HttpRoute<'_>], cluster: &Cluster) -> Value {
    let idle_timeout = match backend.endpoint.is_tls {
        true => TLS_IDLE_TIMEOUT,
        false => PLAIN_IDLE_TIMEOUT,
    };
    let connect_timeout = backend.timeout.min(MAX_CONNECT_TIMEOUT);
    let targets = routes.iter().map(|it| http_route_reference(&it.name));
    let spec = json!({
        "targetRefs": targets.collect::<Vec<_>>(),
        // What another policy says of the whole Gateway, a limit for example, stays in force.
        "mergeType": "StrategicMerge",
        "timeout": {
            "tcp": {"connectTimeout": kubernetes::duration(connect_timeout)},
            "http": {
                "connectionIdleTimeout": kubernetes::duration(idle_timeout),
                // No limit on the whole: a stream lasts as long as it lasts.
                "requestTimeout": "0s",
            },
        },
        "circuitBreaker": {
            "maxConnections": MAX_CONCURRENCY,
            "maxPendingRequests": MAX_CONCURRENCY,
            "maxParallelRequests": MAX_CONCURRENCY,
            "maxParallelRetries": MAX_CONCURRENCY,
        },
        "retry": retry(backend),
    });
    resource(
        ENVOY_GATEWAY,
        "BackendTrafficPolicy",
        &backend_name(backend, cluster),
        &cluster.namespace,
        spec,
    )
}

fn retry(backend: &Backend) -> Value {
    let (times, on) = match backend.max_retries {
        0 => (1, json!({"triggers": UNSENT})),
        max_retries => (
            max_retries.min(i32::MAX.unsigned_abs()),
            json!({
                "triggers": [SERVER_ERRORS, "retriable-status-codes"],
                "httpStatusCodes": RETRIABLE_STATUSES,
            }),
        ),
    };
    json!({
        "numRetries": times,
        "perRetry": {
            "timeout": kubernetes::duration(backend.timeout),
            "backOff": {"baseInterval": "250ms", "maxInterval": "8s"},
        },
        "retryOn": on,
    })
}

fn extension_policy(
    source: &Source,
    plugin: Value,
    routes: &[HttpRoute<'_>],
    cluster: &Cluster,
    errors: &mut ConfigErrors,
) -> Value {
    let module = &cluster.module;
    let (kind, key, url) = match module.origin {
        Origin::Oci => ("Image", "image", module.rest.clone()),
        Origin::Http | Origin::Https => ("HTTP", "http", module.url()),
        Origin::File => {
            let message = "--wasm: Envoy Gateway takes the module from oci:// or https://, and \
                           hands it to Envoy itself";
            errors.push(&KeyPath::root(), message);
            ("HTTP", "http", module.url())
        }
    };
    let origin = with(
        json!({"url": url}),
        [("sha256", module.sha256.clone().map(Value::from))],
    );
    let code = with(json!({"type": kind}), [(key, Some(origin))]);
    let names = source.variable_names();
    let environment = (!names.is_empty()).then(|| json!({"hostKeys": names}));
    let wasm = with(
        json!({
            "name": wasm_name(cluster),
            "code": code,
            // A request that the module did not see must not leave.
            "failOpen": false,
            "config": plugin,
        }),
        [("env", environment)],
    );
    let targets = routes.iter().map(|it| http_route_reference(&it.name));
    let targets: Vec<Value> = targets.collect();
    resource(
        ENVOY_GATEWAY,
        "EnvoyExtensionPolicy",
        &cluster.name,
        &cluster.namespace,
        with(
            json!({"targetRefs": targets, "wasm": [wasm]}),
            [(
                "mergeType",
                cluster.merges_extensions.then(|| "StrategicMerge".into()),
            )],
        ),
    )
}

/// The policy of the clients' side, for a Gateway of our own: Envoy Gateway takes one for each Gateway,
/// the oldest, and a Gateway that is there already may have one.
fn client_policy(source: &Source, cluster: &Cluster) -> Option<Value> {
    let Gateway::Own { .. } = cluster.gateway else {
        return None;
    };
    let target = json!([{
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        "name": cluster.gateway_name(),
    }]);
    let spec = with(
        client_settings(source, cluster),
        [("targetRefs", Some(target))],
    );
    Some(resource(
        ENVOY_GATEWAY,
        "ClientTrafficPolicy",
        &cluster.name,
        &cluster.namespace,
        spec,
    ))
}

/// What concerns the clients' side: above all how much of a body may wait. Envoy Gateway's
/// default is 32 KiB.
fn client_settings(source: &Source, cluster: &Cluster) -> Value {
    let limit = match cluster.holds {
        // What is held counts, and the module, not Envoy, says that a body is too large.
        true => source.gateway().max_request_bytes.saturating_add(1 << 20),
        false => 1 << 20,
    };
    json!({
        "connection": {"bufferLimit": kibibytes(limit)},
        // As in OpenAI's own API; what must not pass the module removes.
        "headers": {"withUnderscoresAction": "Allow"},
        // `%2F`, as model names have it, stays as it is.
        "path": {"escapedSlashesAction": "KeepUnchanged"},
        // Silence, not length, ends a request. OpenAI's SDKs wait ten minutes.
        "timeout": {"http": {"streamIdleTimeout": "600s"}},
    })
}

/// Lets headers wait for the body, which no other resource can set: in Envoy and, by `plugin`, in the
/// module.
///
/// Source: the names that Envoy Gateway gives, `NAMESPACE/GATEWAY/LISTENER` and
/// `envoy.filters.http.wasm/envoyextensionpolicy/NAMESPACE/NAME/wasm/0`, as in its repository's
/// `internal/xds/translator/testdata`, read 2026-11-21.
fn patch_policy(plugin: &Value, cluster: &Cluster) -> Value {
    let namespace = &cluster.namespace;
    let gateway = cluster.gateway_name();
    let mut listeners = cluster.named_listeners();
    if listeners.is_empty() {
        listeners.push(LISTENER);
    }
    let patch = |listener: &str, path: &str, value: Value| {
        json!({
            "type": "type.googleapis.com/envoy.config.listener.v3.Listener",
            "name": format!("{namespace}/{gateway}/{listener}"),
            "operation": {
                "op": "add",
                "jsonPath": format!(
                    "..http_filters[?(@.typed_config.config.name=='{}')]", wasm_name(cluster)
                ),
                "path": format!("/typed_config/config/{path}"),
                "value": value,
            },
        })
    };
    let configuration = json!({
        "@type": "type.googleapis.com/google.protobuf.StringValue",
        "value": plugin.to_string(),
    });
    let patches = listeners.into_iter().flat_map(|it| {
        [
            patch(it, "allow_on_headers_stop_iteration", true.into()),
            patch(it, "configuration", configuration.clone()),
        ]
    });
    let patches: Vec<Value> = patches.collect();
    let spec = json!({
        "targetRef": {
            "group": "gateway.networking.k8s.io",
            "kind": "Gateway",
            "name": gateway,
        },
        "type": "JSONPatch",
        "jsonPatches": patches,
    });
    resource(
        ENVOY_GATEWAY,
        "EnvoyPatchPolicy",
        &cluster.name,
        namespace,
        spec,
    )
}

fn http_route_reference(name: &str) -> Value {
    json!({"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": name})
}

/// A size as Kubernetes writes it.
fn kibibytes(bytes: u64) -> String {
    format!("{}Ki", bytes.div_ceil(1 << 10))
}

impl HttpRoute<'_> {
    fn resource(&self, cluster: &Cluster) -> Value {
        let gateway = cluster.gateway_name();
        let listeners = cluster.named_listeners();
        let parents: Vec<Value> = match listeners.as_slice() {
            [] => vec![json!({"name": gateway})],
            listeners => listeners
                .iter()
                .map(|listener| json!({"name": gateway, "sectionName": listener}))
                .collect(),
        };
        let spec = json!({"parentRefs": parents, "rules": self.rules});
        resource(
            GATEWAY_API,
            "HTTPRoute",
            &self.name,
            &cluster.namespace,
            spec,
        )
    }
}

/// The name of the module among the Gateway's filters.
fn wasm_name(cluster: &Cluster) -> &str {
    &cluster.name
}

impl Cluster {
    /// The listeners that the routes name; none where all of the Gateway's serve them.
    ///
    /// Headers are held on listeners that are patched, each by its name, so routes that need that are
    /// on no others.
    fn named_listeners(&self) -> Vec<&str> {
        match (&self.gateway, self.listeners.as_slice()) {
            (Gateway::Existing(_), []) if self.holds => vec![LISTENER],
            (_, listeners) => listeners.iter().map(String::as_str).collect(),
        }
    }

    fn gateway_name(&self) -> &str {
        match &self.gateway {
            Gateway::Existing(name) => name,
            Gateway::Own { .. } => &self.name,
        }
    }
}

/// The group and version of Envoy Gateway's own resources.
const ENVOY_GATEWAY: &str = "gateway.envoyproxy.io/v1alpha1";

/// The name of the Gateway's listener.
const LISTENER: &str = "http";

/// How what a plain plugin cannot do can be done.
const REMEDY: &str = "; an EnvoyExtensionPolicy cannot hold headers, `render envoy-gateway --hold` \
     can, with an EnvoyPatchPolicy";

/// The kind of filter that the module is.
const WASM_FILTER: &str = "envoy.filters.http.wasm";

/// What goes by what clients send, and has to come before the module: it sees replies after the module.
const AFTER_CLIENT: [&str; 4] = [
    "envoy.filters.http.rbac",
    "envoy.filters.http.local_ratelimit",
    "envoy.filters.http.ratelimit",
    // By `accept-encoding`, which does not reach providers whose replies are read.
    "envoy.filters.http.compressor",
];

/// Envoy needs it to find a route.
const REMOVED_HEADERS: [&str; 1] = [SCHEME_HEADER];

/// Longer than models think: by default it is a minute.
const DRAIN_TIMEOUT: &str = "30m";
