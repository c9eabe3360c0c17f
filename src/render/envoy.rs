//! A gateway as a complete configuration of stock Envoy.
//!
//! Routing, TLS, DNS, retries, limits and Envoy's own errors are rendered, not programmed. The
//! module sits on each backend's cluster, so it runs once per attempt.
//!
//! Source: <https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/api>; accepted by 1.37.0, too.

mod aggregate;
mod cluster;
mod health;
mod listener;
mod module;
mod overload;
pub mod parts;
mod route;
pub mod secrets;
mod stats;
mod telemetry;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

pub(super) use self::cluster::{PLAIN_IDLE_TIMEOUT, TLS_IDLE_TIMEOUT};
pub use self::overload::DEFAULT_HEAP_LIMIT;
pub use self::route::{Table, has_metadata};
pub(super) use self::route::{UNSENT, hosts};
use super::Source;
use super::yaml::{Layout, document};
use crate::backend::Tls;
use crate::endpoint::{Address, Endpoint};

/// What the configuration of the gateway does not say, since it concerns the machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The path of the module, as Envoy sees it.
    pub module: String,
    /// The path of the system's CA certificates (PEM), as Envoy sees it.
    pub roots: String,
    /// Whether all of Envoy is rendered here, so that ids of requests, logs, metrics and probes are ours to
    /// say. A control plane says them itself.
    pub is_whole: bool,
    /// The directory of the files by which Envoy reads secrets from files, as Envoy sees it: see
    /// [`secrets`].
    pub secrets: String,
    /// What Envoy may hold outside of the VMs. Unit: bytes.
    pub heap_limit: u64,
    /// Whether a cgroup limits the memory of the process. Without one Envoy would not start with
    /// its monitor.
    pub has_cgroup_limit: bool,
}

/// The bootstrap configuration.
pub fn bootstrap(source: &Source, machine: &Machine) -> Value {
    let clusters = source
        .backends()
        .map(|backend| cluster::cluster(source, backend, machine));
    let token_clusters = source.token_sources().into_values();
    let token_clusters = token_clusters.map(|it| cluster::token_cluster(&it, machine));
    let clusters: Vec<Value> = clusters
        .chain(token_clusters)
        .chain(
            source
                .pools()
                .flat_map(|pool| aggregate::clusters(source, pool, machine)),
        )
        .chain(health::cluster(source, machine))
        .chain(telemetry::cluster(source, machine))
        .collect();
    let mut bootstrap = json!({
        "node": {"id": NAME, "cluster": NAME},
        "admin": {"address": socket_address(&source.gateway().admin)},
        "static_resources": {
            "listeners": [listener::listener(source, machine)],
            "clusters": clusters,
        },
        "overload_manager": overload::manager(machine),
    });
    if let (Value::Object(bootstrap), true) = (&mut bootstrap, machine.is_whole) {
        bootstrap.insert("stats_config".to_owned(), stats::config());
    }
    let collector = telemetry::collector(source, machine);
    if let (Value::Object(bootstrap), Some(metrics)) =
        (&mut bootstrap, collector.and_then(telemetry::metrics))
    {
        bootstrap.extend(metrics.map(|(key, value)| (key.to_owned(), value)));
    }
    bootstrap
}

/// The cluster of the server of a URL, to which no route leads; `None`: the URL has no host.
pub(super) fn server_cluster(name: &str, url: &str, machine: &Machine) -> Option<Value> {
    let endpoint = Endpoint::parse(url, "").ok()?;
    let tls = Tls::default();
    let tls = endpoint.is_tls.then_some((&tls, "http/1.1"));
    Some(cluster::server(name, &endpoint.address, tls, machine))
}

/// The bootstrap configuration as YAML. `file` is the name of what it is rendered from.
pub fn yaml(source: &Source, machine: &Machine, file: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!("# rendered by llm-proxy {version} from {file}; do not edit\n");
    let mut names: BTreeSet<&str> = source.variable_names().iter().map(String::as_str).collect();
    names.extend(source.collector_variables());
    if !names.is_empty() {
        let names: Vec<&str> = names.into_iter().collect();
        let names = names.join(", ");
        text.push_str(&format!("# read in Envoy's environment: {names}\n"));
    }
    text.push_str(&document(&bootstrap(source, machine), Layout::Block));
    text
}

fn socket_address(address: &Address) -> Value {
    json!({"socket_address": {"address": address.host, "port_value": address.port}})
}

fn circuit_breakers() -> Value {
    json!({"thresholds": [{
        "max_connections": MAX_CONCURRENCY,
        "max_pending_requests": MAX_CONCURRENCY,
        "max_requests": MAX_CONCURRENCY,
        "max_retries": MAX_CONCURRENCY,
    }]})
}

/// A duration as protobuf's JSON has it.
pub(super) fn seconds(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        millis => format!("{}.{millis:03}s", duration.as_secs()),
    }
}

/// An extension: `{name, typed_config: {@type, …}}`.
fn extension(name: &str, message: &str, config: Value) -> Value {
    json!({"name": name, "typed_config": typed(message, config)})
}

/// A message that says of which type it is.
fn typed(message: &str, config: Value) -> Value {
    let mut typed = serde_json::Map::new();
    typed.insert(
        "@type".to_owned(),
        format!("type.googleapis.com/{message}").into(),
    );
    if let Value::Object(config) = config {
        typed.extend(config);
    }
    Value::Object(typed)
}

/// Model requests take long, so there are many at once. Envoy's default, 1024, is too few, and its
/// default of retries, 3, even more so.
pub(super) const MAX_CONCURRENCY: u32 = 16_384;

/// The name of whatever has no better one.
const NAME: &str = "llm-proxy";

/// The plugin that selects, in the listener: what tells it from the others.
const CHOOSER: &str = "choose";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_protobuf_has_them() {
        for (millis, expected) in [(60_000, "60s"), (250, "0.250s"), (1_005, "1.005s")] {
            assert_eq!(seconds(Duration::from_millis(millis)), expected);
        }
    }
}
