//! A gateway as manifests for Istio.
//!
//! Two forms. The plain one is a `WasmPlugin` among the listener's filters, which follows the routes of
//! a `VirtualService`, with a `ServiceEntry` and a `DestinationRule` (TLS) for each provider. The
//! other, `--hold`, grafts what [`super::envoy`] renders onto Istio's
//! own configuration with an `EnvoyFilter`: the module sits on each backend's cluster, headers
//! wait for the body, and pools work.
//!
//! Source: the CRDs of Istio 1.29 to 1.32, and
//! <https://istio.io/latest/docs/reference/config/>, read 2026-11-21.
//!
//! # Routes
//!
//! The `VirtualService` has the conditions of the gateway's routes, in file order, and writes host and
//! path after the last filter. So the client's own host counts: at a gateway any, in sidecars one of the
//! providers', on a port of their own. The module looks at the name of the route and at the
//! `VirtualService` that it came from, and leaves every other route of the proxy alone.

mod envoy_filter;
mod service;

use std::time::Duration;

use serde_json::{Map, Value, json};

use self::service::{Service, Services};
use super::Source;
use super::envoy::{UNSENT, hosts as hosts_regex, seconds};
use super::kubernetes::routing::{self, Way, literal};
use super::kubernetes::{
    self, Module, accepted, header_modifier, http_matches, prefix, resource, with,
};
use crate::api::openai::OpenAi;
use crate::backend::Backend;
use crate::config::{ConfigErrors, KeyPath};
use crate::contract::{RETRIABLE_STATUSES, SCHEME_HEADER, SERVER_ERRORS};
use crate::refusal::Refusal;

/// What the configuration of the gateway does not say, since it concerns the mesh.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// The name of the resources, and of the gateway in their labels.
    pub name: String,
    /// Where the proxies get the module.
    pub module: Module,
    /// The namespace of the proxies, in which all resources are.
    pub namespace: String,
    /// The proxies.
    pub proxies: Proxies,
    /// Whether headers wait for the body: an `EnvoyFilter` instead of the resource of `api`.
    pub holds: bool,
    /// The resource that loads the module, unless headers are held.
    pub api: Api,
    /// The path of the system's CA certificates (PEM) in the proxies.
    pub roots: String,
}

/// A resource of Istio's that loads a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Api {
    /// `TrafficExtension`, from Istio 1.30 on.
    TrafficExtension,
    /// `WasmPlugin`.
    WasmPlugin,
}

/// Which proxies carry the gateway. The kinds exclude each other: their requests are routed by
/// different resources.
#[derive(Clone, Debug)]
pub enum Proxies {
    /// Ingress (or egress) gateways by Istio's own API.
    Gateways {
        /// Their labels.
        selector: Vec<(String, String)>,
        /// The `Gateway` (`name` or `namespace/name`) that is there already, if one is.
        gateway: Option<String>,
    },
    /// The gateway of a Kubernetes `Gateway`, by name.
    GatewayApi(String),
    /// The sidecars of applications.
    Sidecars {
        /// Their labels.
        selector: Vec<(String, String)>,
        /// The port at which applications call any host.
        port: u16,
    },
}

/// The resources.
///
/// # Errors
///
/// What Istio cannot do in this form, each with its key path and the form that can.
pub fn resources(source: &Source, mesh: &Mesh) -> Result<Vec<Value>, ConfigErrors> {
    let mut errors = ConfigErrors::default();
    kubernetes::check_names(source, &mesh.name, &mut errors);
    let resources = match mesh.holds {
        true => envoy_filter::resources(source, mesh, &mut errors),
        false => plain(source, mesh, &mut errors),
    };
    match errors.is_empty() {
        true => Ok(kubernetes::labelled(resources, &mesh.name)),
        false => Err(errors),
    }
}

/// The resources as YAML. `file` is the name of what they are rendered from.
///
/// # Errors
///
/// As [`resources`].
pub fn yaml(source: &Source, mesh: &Mesh, file: &str) -> Result<String, ConfigErrors> {
    let needs = "read in the environment of the pods";
    kubernetes::yaml(source, resources(source, mesh), file, needs)
}

fn plain(source: &Source, mesh: &Mesh, errors: &mut ConfigErrors) -> Vec<Value> {
    accepted::check_for_istio(source, errors);
    kubernetes::check_listener(source, false, REMEDY, errors);
    let services = service::of(source, mesh, errors);
    let internal = kubernetes::internal_root(&mesh.name, &mesh.namespace);
    let ways = routing::ways(source, &internal);
    let (routes, plugin) = match &mesh.proxies {
        Proxies::GatewayApi(name) => {
            accepted::check_for_gateway_api(source, errors);
            refuse_retries(source, errors);
            routing::check_order(source, errors);
            let routes = http_routes(source, &ways, &services, name, mesh);
            let plugin = source.listener_plugin(false, &internal, None, &|route| {
                let way = ways.iter().find(|way| way.route.name == route.name)?;
                // Istio numbers the rules of a route.
                Some(format!("{}.{}.*", mesh.namespace, route_name(way, mesh)))
            });
            (routes, plugin)
        }
        Proxies::Gateways { .. } | Proxies::Sidecars { .. } => {
            let entries = virtual_routes(source, &ways, &services, mesh);
            let routes = vec![virtual_service(services.hosts(), entries, mesh)];
            let owner = format!("{}/{}", mesh.namespace, mesh.name);
            let plugin = source.listener_plugin(false, &internal, Some(owner), &|_| None);
            (routes, plugin)
        }
    };
    let mut resources = vec![extension(source, plugin, mesh, errors)];
    resources.extend(own_gateway(mesh));
    resources.extend(services.resources(mesh));
    resources.extend(routes);
    resources
}

/// What loads the module.
///
/// Source: <https://istio.io/latest/docs/reference/config/proxy_extensions/wasm-plugin/> and the
/// `TrafficExtension` of istio.io/api 1.30, which has what concerns the module as a member `wasm`.
fn extension(source: &Source, plugin: Value, mesh: &Mesh, errors: &mut ConfigErrors) -> Value {
    // istiod reads the configuration as a `Struct`, whose numbers are all doubles.
    check_numbers(&plugin, &KeyPath::root(), errors);
    let environment: Vec<Value> = source
        .variable_names()
        .iter()
        .map(|name| json!({"name": name, "valueFrom": "HOST"}))
        .collect();
    let only_there = match &mesh.proxies {
        // Whatever else the applications call stays out of it.
        Proxies::Sidecars { port, .. } => {
            Some(json!([{"mode": "CLIENT", "ports": [{"number": port}]}]))
        }
        Proxies::Gateways { .. } | Proxies::GatewayApi(_) => None,
    };
    let module = with(
        json!({"url": mesh.module.url()}),
        [
            ("sha256", mesh.module.sha256.clone().map(Value::from)),
            // A request that the module did not see must not leave.
            ("failStrategy", Some("FAIL_CLOSE".into())),
            ("pluginConfig", Some(plugin)),
            (
                "vmConfig",
                (!environment.is_empty()).then(|| json!({"env": environment})),
            ),
        ],
    );
    let place = with(
        targets(mesh, "matchLabels"),
        [
            // After what authenticates clients: the module removes their credentials.
            ("phase", Some("STATS".into())),
            ("match", only_there),
        ],
    );
    let (kind, spec) = match mesh.api {
        Api::TrafficExtension => ("TrafficExtension", with(place, [("wasm", Some(module))])),
        Api::WasmPlugin => ("WasmPlugin", merged(place, module)),
    };
    resource(
        "extensions.istio.io/v1alpha1",
        kind,
        &mesh.name,
        &mesh.namespace,
        spec,
    )
}

/// The members of both.
fn merged(first: Value, second: Value) -> Value {
    match (first, second) {
        (Value::Object(mut first), Value::Object(second)) => {
            first.extend(second);
            Value::Object(first)
        }
        (first, _) => first,
    }
}

/// By what a policy finds its proxies; `labels` is the key of its selector.
fn targets(mesh: &Mesh, labels: &str) -> Value {
    match &mesh.proxies {
        Proxies::Gateways { selector, .. } | Proxies::Sidecars { selector, .. } => {
            let mut selected = Map::new();
            selected.insert(labels.to_owned(), kubernetes::labels(selector));
            let key = match labels {
                "matchLabels" => "selector",
                _ => "workloadSelector",
            };
            let mut targets = Map::new();
            targets.insert(key.to_owned(), Value::Object(selected));
            Value::Object(targets)
        }
        Proxies::GatewayApi(name) => json!({"targetRefs": [{
            "group": "gateway.networking.k8s.io",
            "kind": "Gateway",
            "name": name,
        }]}),
    }
}

/// The `Gateway`, where none is there: plain HTTP at port 80, for any host.
fn own_gateway(mesh: &Mesh) -> Option<Value> {
    let Proxies::Gateways {
        selector,
        gateway: None,
    } = &mesh.proxies
    else {
        return None;
    };
    let spec = json!({
        "selector": kubernetes::labels(selector),
        "servers": [{
            "port": {"number": 80, "name": "http", "protocol": "HTTP"},
            "hosts": ["*"],
        }],
    });
    Some(resource(
        NETWORKING,
        "Gateway",
        &mesh.name,
        &mesh.namespace,
        spec,
    ))
}

fn virtual_service(hosts: Vec<String>, routes: Vec<Value>, mesh: &Mesh) -> Value {
    let (hosts, gateway) = match &mesh.proxies {
        Proxies::Sidecars { .. } => (hosts, "mesh".to_owned()),
        Proxies::Gateways { gateway, .. } => {
            let gateway = gateway.clone().unwrap_or_else(|| mesh.name.clone());
            (vec!["*".to_owned()], gateway)
        }
        Proxies::GatewayApi(name) => (hosts, name.clone()),
    };
    let spec = json!({"hosts": hosts, "gateways": [gateway], "http": routes});
    // A gateway sees what is bound to it; sidecars see everything of the mesh.
    let only_here = matches!(mesh.proxies, Proxies::Sidecars { .. }).then(|| json!(["."]));
    let spec = with(spec, [("exportTo", only_here)]);
    resource(
        NETWORKING,
        "VirtualService",
        &mesh.name,
        &mesh.namespace,
        spec,
    )
}

/// The routes, and what a gateway of our own answers where none of them matches.
fn virtual_routes(
    source: &Source,
    ways: &[Way<'_>],
    services: &Services,
    mesh: &Mesh,
) -> Vec<Value> {
    let routes = ways.iter().filter_map(|way| {
        let service = services.of(&way.backend)?;
        Some(virtual_route(source, way, service))
    });
    let is_own = matches!(mesh.proxies, Proxies::Gateways { gateway: None, .. });
    let unknown = is_own.then(|| {
        let reply = Refusal::UnknownRoute.reply(&OpenAi);
        let headers: Map<String, Value> = reply
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string().into()))
            .collect();
        json!({
            "name": "unknown",
            "directResponse": {"status": reply.status, "body": {"string": reply.body}},
            "headers": {"response": {"set": headers}},
        })
    });
    routes.chain(unknown).collect()
}

/// One route. Without a `timeout` Istio's is 0s: none, which `0s` itself is not allowed to say.
fn virtual_route(source: &Source, way: &Way<'_>, service: &Service) -> Value {
    let conditions = routing::conditions(source, way.route);
    let path = match conditions.path {
        // Istio keeps such a route behind those of others.
        "/" => json!({"prefix": "/"}),
        path => {
            let lists = conditions.lists.iter().map(String::as_str);
            let chosen = [path].into_iter().chain(lists);
            let chosen = chosen.map(|path| format!("{}(?:/.*)?", literal(path)));
            let internal = format!("{}/.*", literal(&way.internal));
            json!({"regex": chosen.chain([internal]).collect::<Vec<_>>().join("|")})
        }
    };
    let headers = conditions.headers.iter();
    let headers: Map<String, Value> = headers
        .map(|(name, value)| (name.clone(), json!({"exact": value})))
        .collect();
    let some = |is_there: bool, value: Value| is_there.then_some(value);
    let chosen = with(
        json!({"uri": path}),
        [
            (
                "method",
                some(
                    !conditions.methods.is_empty(),
                    json!({"regex": conditions.methods.join("|")}),
                ),
            ),
            ("headers", some(!headers.is_empty(), headers.into())),
            (
                "authority",
                some(
                    !conditions.hosts.is_empty(),
                    json!({"regex": hosts_regex(conditions.hosts)}),
                ),
            ),
        ],
    );
    let set = source.route_headers(&way.backend);
    let headers = with(
        json!({"remove": kubernetes::removed_headers(&way.backend, &REMOVED_HEADERS)}),
        [("set", some(!set.is_empty(), json!(set)))],
    );
    let (pattern, substitution) = way.substitution();
    json!({
        "name": way.route.name.as_str(),
        "match": [chosen],
        "rewrite": {
            "authority": &*way.backend.endpoint.authority,
            "uriRegexRewrite": {"match": pattern, "rewrite": substitution},
        },
        "route": [{"destination": {"host": service.host, "port": {"number": service.number}}}],
        "retries": retries(&way.backend),
        "headers": {"request": headers},
    })
}

/// Source: <https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRetry>.
fn retries(backend: &Backend) -> Value {
    let (attempts, conditions) = match backend.max_retries {
        0 => (1, UNSENT.join(",")),
        max_retries => {
            let statuses = RETRIABLE_STATUSES.iter().map(u16::to_string);
            let conditions = [SERVER_ERRORS.to_owned()].into_iter().chain(statuses);
            let conditions: Vec<String> = conditions.collect();
            (
                max_retries.min(i32::MAX.unsigned_abs()),
                conditions.join(","),
            )
        }
    };
    json!({
        "attempts": attempts,
        "perTryTimeout": seconds(backend.timeout),
        "retryOn": conditions,
    })
}

/// The same as `HTTPRoute`s, whose rules cut off one start of a path each.
fn http_routes(
    source: &Source,
    ways: &[Way<'_>],
    services: &Services,
    gateway: &str,
    mesh: &Mesh,
) -> Vec<Value> {
    let route = |way: &Way<'_>| {
        let service = services.of(&way.backend)?;
        let spec = json!({
            "parentRefs": [{"name": gateway}],
            "rules": http_rules(source, way, service),
        });
        Some(resource(
            kubernetes::GATEWAY_API,
            "HTTPRoute",
            &route_name(way, mesh),
            &mesh.namespace,
            spec,
        ))
    };
    ways.iter().filter_map(route).collect()
}

fn http_rules(source: &Source, way: &Way<'_>, service: &Service) -> Vec<Value> {
    let reference = json!({
        "group": "networking.istio.io",
        "kind": "Hostname",
        "name": service.host,
        "port": service.number,
    });
    let served = |matches: Vec<Value>, replacement: &str| {
        let replacement = if replacement.is_empty() {
            "/"
        } else {
            replacement
        };
        json!({
            "matches": matches,
            "filters": [
                {"type": "URLRewrite", "urlRewrite": {
                    "hostname": way.backend.endpoint.address.host,
                    "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": replacement},
                }},
                header_modifier(source, &way.backend, &REMOVED_HEADERS),
            ],
            "backendRefs": [reference],
        })
    };
    let mut conditions = routing::conditions(source, way.route);
    let mut rules = Vec::new();
    match &way.to {
        Some(to) => {
            // A rule that cuts off has one path, and one match.
            let lists = std::mem::take(&mut conditions.lists);
            let below = way.route.path.strip_prefix(&*to.from).unwrap_or_default();
            let replacement = [&*to.to, below].concat();
            let versioned = format!("{}/v1", way.route.path);
            for (path, replacement) in [(&*versioned, &*to.to), (conditions.path, &*replacement)] {
                if path != versioned || to.version {
                    let conditions = routing::Conditions {
                        path,
                        ..conditions.clone()
                    };
                    for matched in http_matches(&conditions) {
                        rules.push(served(vec![matched], replacement));
                    }
                }
            }
            for list in &lists {
                let matched = json!({"path": prefix(list)});
                rules.push(json!({"matches": [matched], "backendRefs": [reference]}));
            }
        }
        // The module moves every request to the last rule.
        None => rules.push(json!({
            "matches": http_matches(&conditions),
            "backendRefs": [reference],
        })),
    }
    let replacement = way.to.as_ref().map_or("", |to| &*to.to);
    rules.push(served(
        vec![json!({"path": prefix(&way.internal)})],
        replacement,
    ));
    rules
}

fn route_name(way: &Way<'_>, mesh: &Mesh) -> String {
    kubernetes::name_of(&mesh.name, &way.name)
}

/// Notes what an `HTTPRoute` of the standard channel cannot say.
fn refuse_retries(source: &Source, errors: &mut ConfigErrors) {
    for backend in source.backends().filter(|it| it.max_retries > 0) {
        let at = kubernetes::place(source, backend).key("config");
        let message = "an HTTPRoute has no retries; --selector, with a VirtualService, can";
        errors.push(&at.key("maxRetries"), message);
    }
}

/// Notes integers that a double does not have.
fn check_numbers(value: &Value, at: &KeyPath, errors: &mut ConfigErrors) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                check_numbers(value, &at.key(key), errors);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                check_numbers(value, &at.index(index), errors);
            }
        }
        Value::Number(number) => {
            let magnitude = number
                .as_u64()
                .or_else(|| number.as_i64().map(i64::unsigned_abs));
            if magnitude.is_some_and(|it| it > MAX_EXACT_INTEGER) {
                let message = format!(
                    "a WasmPlugin cannot carry {number} exactly: its numbers are doubles; \
                     --hold can"
                );
                errors.push(at, message);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// The group and version of most of Istio's resources.
const NETWORKING: &str = "networking.istio.io/v1";

/// What is removed when a request has got its route: Envoy adds it before, or needs it until then.
const REMOVED_HEADERS: [&str; 4] = [
    SCHEME_HEADER,
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-expected-rq-timeout-ms",
];

/// How what a plain plugin cannot do can be done.
const REMEDY: &str = "; a WasmPlugin cannot hold headers, `render istio --hold` can";

/// Up to 2^53 a double has every integer.
const MAX_EXACT_INTEGER: u64 = 1 << 53;

/// Longer than any provider takes to accept a connection, TLS included.
pub(super) const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
