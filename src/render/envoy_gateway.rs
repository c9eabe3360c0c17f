//! A gateway as manifests for Envoy Gateway.
//!
//! An `EnvoyExtensionPolicy` loads the module among the listener's filters. Envoy Gateway switches it on
//! for the routes that the policy names, by the route that a request matches as it comes; the
//! module then rewrites host and path, Envoy matches again, and finds the route by the header that
//! the module has set. So each backend's `HTTPRoute` has both: the paths by which clients come, and
//! the header.
//!
//! Source: the CRDs of Envoy Gateway 1.7 to 1.9 and of Gateway API 1.4 to 1.6, and
//! <https://gateway.envoyproxy.io/docs/api/extension_types/>, read 2026-11-21.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Source;
use super::envoy::{PLAIN_IDLE_TIMEOUT, TLS_IDLE_TIMEOUT};
use super::istio::MAX_CONNECT_TIMEOUT;
use super::kubernetes::{self, GATEWAY_API, Module, NAME, Origin, accepted, resource, with};
use crate::config::{Backend, ConfigErrors, KeyPath};
use crate::route::Route;

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
    accepted::check_for_envoy_gateway(source, &mut errors);
    let plugin = kubernetes::listener_plugin(source, cluster.holds, REMEDY, &mut errors);
    let mut resources = Vec::new();
    if let Gateway::Own { class, secret } = &cluster.gateway {
        resources.extend(own_gateway(source, cluster, class, secret));
    }
    for backend in source.backends() {
        resources.extend(backend_resources(source, backend, cluster, &mut errors));
    }
    resources.push(extension_policy(source, plugin, cluster, &mut errors));
    resources.push(client_policy(source, cluster));
    if cluster.holds {
        resources.push(patch_policy(cluster));
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
    kubernetes::yaml(source, resources(source, cluster), file, &needs)
}

fn own_gateway(source: &Source, cluster: &Cluster, class: &str, secret: &str) -> Vec<Value> {
    let (name, namespace) = (&cluster.name, &cluster.namespace);
    let names = source.variable_names();
    let mut resources = Vec::new();
    let mut parameters = None;
    if !names.is_empty() {
        let environment = kubernetes::from_secret(&names, secret);
        let container = json!({"container": {"env": environment}});
        let spec = json!({"provider": {
            "type": "Kubernetes",
            "kubernetes": {"envoyDeployment": container},
        }});
        resources.push(resource(ENVOY_GATEWAY, "EnvoyProxy", name, namespace, spec));
        parameters = Some(json!({"parametersRef": {
            "group": "gateway.envoyproxy.io",
            "kind": "EnvoyProxy",
            "name": name,
        }}));
    }
    let spec = with(
        json!({"gatewayClassName": class}),
        [
            ("infrastructure", parameters),
            (
                "listeners",
                Some(json!([{"name": LISTENER, "protocol": "HTTP", "port": 80}])),
            ),
        ],
    );
    resources.push(resource(GATEWAY_API, "Gateway", name, namespace, spec));
    resources
}

/// Where a provider is, how it is trusted, which requests go to it, and how often.
fn backend_resources(
    source: &Source,
    backend: &Backend,
    cluster: &Cluster,
    errors: &mut ConfigErrors,
) -> Vec<Value> {
    let name = kubernetes::name_of(&cluster.name, backend);
    let namespace = &cluster.namespace;
    let address = kubernetes::address_of(source, backend, errors);
    let endpoint = match address.is_ip {
        true => {
            let ip = accepted::ip_address(&address.host);
            json!({"ip": {"address": ip, "port": address.port}})
        }
        false => json!({"fqdn": {"hostname": address.host, "port": address.port}}),
    };
    let unchecked = backend.endpoint.is_tls && backend.tls.insecure;
    let spec = with(
        json!({"endpoints": [endpoint]}),
        [(
            "tls",
            unchecked.then(|| json!({"insecureSkipVerify": true})),
        )],
    );
    let mut resources = vec![resource(ENVOY_GATEWAY, "Backend", &name, namespace, spec)];
    if backend.endpoint.is_tls && !backend.tls.insecure {
        let spec = tls(source, backend, &name, errors);
        resources.push(resource(
            GATEWAY_API,
            "BackendTLSPolicy",
            &name,
            namespace,
            spec,
        ));
    }
    let spec = http_route(source, backend, &name, cluster, errors);
    resources.push(resource(GATEWAY_API, "HTTPRoute", &name, namespace, spec));
    let idle_timeout = match backend.endpoint.is_tls {
        true => TLS_IDLE_TIMEOUT,
        false => PLAIN_IDLE_TIMEOUT,
    };
    let connect_timeout = backend.timeout.min(MAX_CONNECT_TIMEOUT);
    let spec = json!({
        "targetRefs": [http_route_reference(&name)],
        "timeout": {
            "tcp": {"connectTimeout": kubernetes::duration(connect_timeout)},
            "http": {"connectionIdleTimeout": kubernetes::duration(idle_timeout)},
        },
        "retry": retry(backend),
    });
    resources.push(resource(
        ENVOY_GATEWAY,
        "BackendTrafficPolicy",
        &name,
        namespace,
        spec,
    ));
    resources
}

fn tls(source: &Source, backend: &Backend, name: &str, errors: &mut ConfigErrors) -> Value {
    let at = kubernetes::place(source, backend).key("config");
    let endpoint = &backend.endpoint.address;
    let host = backend.tls.server_name.as_ref().unwrap_or(&endpoint.host);
    if backend.tls.ca_file.is_some() {
        let message = "a BackendTLSPolicy takes certificates from a ConfigMap, not from a file; \
                       render without it and write caCertificateRefs by hand";
        errors.push(&at.key("tls").key("caFile"), message);
    }
    if endpoint.is_ip && backend.tls.server_name.is_none() {
        let message = "a BackendTLSPolicy needs a name for the certificate of an address: \
                       tls.serverName";
        errors.push(&at.key("endpoint"), message);
    }
    json!({
        "targetRefs": [{
            "group": "gateway.envoyproxy.io",
            "kind": "Backend",
            "name": name,
        }],
        "validation": {"hostname": host.to_ascii_lowercase(), "wellKnownCACertificates": "System"},
    })
}

/// The paths by which clients come, and the header by which the module says where they go.
fn http_route(
    source: &Source,
    backend: &Backend,
    name: &str,
    cluster: &Cluster,
    errors: &mut ConfigErrors,
) -> Value {
    let of_route = |route: &Route| match route.path.as_str() {
        "" => "/".to_owned(),
        path => path.to_owned(),
    };
    let routes = &source.gateway().routes;
    // A longer path goes before a header, and the provider's path may begin as a client's does: so
    // the header stands beside every path that there is, and there it decides.
    let paths: BTreeSet<String> = routes.iter().map(of_route).collect();
    let mut matches = vec![kubernetes::chosen(backend)];
    for path in paths.iter().filter(|path| *path != "/") {
        matches.push(with(
            kubernetes::chosen(backend),
            [("path", Some(prefix(path)))],
        ));
    }
    // Headers, methods and hosts are the module's: it sees whatever comes below the path.
    let own = routes.iter().filter(|it| *it.to.name() == backend.name);
    for path in own.map(of_route).collect::<BTreeSet<String>>() {
        matches.push(json!({"path": prefix(&path)}));
    }
    if matches.len() > MAX_MATCHES {
        let message = format!(
            "its HTTPRoute would have {} matches, one for each path of the gateway and of its own, \
             and can have {MAX_MATCHES}",
            matches.len()
        );
        errors.push(&kubernetes::place(source, backend), message);
    }
    let reference = json!({
        "group": "gateway.envoyproxy.io",
        "kind": "Backend",
        "name": name,
    });
    json!({
        "parentRefs": [{"name": cluster.gateway_name()}],
        "rules": [kubernetes::http_rule(matches, reference)],
    })
}

fn prefix(path: &str) -> Value {
    json!({"type": "PathPrefix", "value": path})
}

fn retry(backend: &Backend) -> Value {
    let (times, on) = match backend.max_retries {
        // Once, and only what has certainly not reached the provider.
        0 => (
            1,
            json!({"triggers": ["connect-failure", "refused-stream", "reset-before-request"]}),
        ),
        max_retries => (
            max_retries.min(i32::MAX.unsigned_abs()),
            json!({"triggers": ["5xx", "retriable-status-codes"], "httpStatusCodes": [429]}),
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
            "name": NAME,
            "code": code,
            // A request that the module did not see must not leave.
            "failOpen": false,
            "config": plugin,
        }),
        [("env", environment)],
    );
    let targets: Vec<Value> = source
        .backends()
        .map(|backend| http_route_reference(&kubernetes::name_of(&cluster.name, backend)))
        .collect();
    resource(
        ENVOY_GATEWAY,
        "EnvoyExtensionPolicy",
        &cluster.name,
        &cluster.namespace,
        json!({"targetRefs": targets, "wasm": [wasm]}),
    )
}

/// What concerns the clients' side: above all how much of a body may wait. Envoy Gateway's
/// default is 32 KiB.
fn client_policy(source: &Source, cluster: &Cluster) -> Value {
    let limit = match cluster.holds {
        // What is held counts, and the module, not Envoy, says that a body is too large.
        true => source.gateway().max_request_bytes.saturating_add(1 << 20),
        false => 1 << 20,
    };
    let spec = json!({
        "targetRefs": [{
            "group": "gateway.networking.k8s.io",
            "kind": "Gateway",
            "name": cluster.gateway_name(),
        }],
        "connection": {"bufferLimit": kibibytes(limit)},
        // `%2F`, as model names have it, stays as it is.
        "path": {"escapedSlashesAction": "KeepUnchanged"},
        // Silence, not length, ends a request. OpenAI's SDKs wait ten minutes.
        "timeout": {"http": {"streamIdleTimeout": "600s"}},
    });
    resource(
        ENVOY_GATEWAY,
        "ClientTrafficPolicy",
        &cluster.name,
        &cluster.namespace,
        spec,
    )
}

/// Lets headers wait for the body, which no other resource can say.
///
/// Source: the names that Envoy Gateway gives, `NAMESPACE/GATEWAY/LISTENER` and
/// `envoy.filters.http.wasm/envoyextensionpolicy/NAMESPACE/NAME/wasm/0`, as in its repository's
/// `internal/xds/translator/testdata`, read 2026-11-21.
fn patch_policy(cluster: &Cluster) -> Value {
    let (name, namespace) = (&cluster.name, &cluster.namespace);
    let gateway = cluster.gateway_name();
    let filter = format!("envoy.filters.http.wasm/envoyextensionpolicy/{namespace}/{name}/wasm/0");
    let spec = json!({
        "targetRef": {
            "group": "gateway.networking.k8s.io",
            "kind": "Gateway",
            "name": gateway,
        },
        "type": "JSONPatch",
        "jsonPatches": [{
            "type": "type.googleapis.com/envoy.config.listener.v3.Listener",
            "name": format!("{namespace}/{gateway}/{LISTENER}"),
            "operation": {
                "op": "add",
                "jsonPath": format!("..http_filters[?(@.name=='{filter}')]"),
                "path": "/typed_config/config/allow_on_headers_stop_iteration",
                "value": true,
            },
        }],
    });
    resource(ENVOY_GATEWAY, "EnvoyPatchPolicy", name, namespace, spec)
}

fn http_route_reference(name: &str) -> Value {
    json!({"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": name})
}

/// A size as Kubernetes writes it.
fn kibibytes(bytes: u64) -> String {
    format!("{}Ki", bytes.div_ceil(1 << 10))
}

impl Cluster {
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

/// The matches of a rule, by the CRD.
const MAX_MATCHES: usize = 64;
