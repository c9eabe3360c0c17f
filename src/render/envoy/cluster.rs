//! A cluster: one backend, how to reach it, and the module that speaks its dialect.

use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::Source;
use super::{
    Machine, circuit_breakers, extension, module, seconds, secrets, socket_address, typed,
};
use crate::backend::{Backend, Tls};
use crate::contract::telemetry::PROVIDER_MEMBER;
use crate::contract::{BACKEND_MEMBER, METADATA_NAMESPACE};
use crate::endpoint::Address;
use crate::token;

/// The cluster of one backend.
pub fn cluster(source: &Source, backend: &Rc<Backend>, machine: &Machine) -> Value {
    let name = backend.name.as_str();
    let address = backend
        .address
        .as_ref()
        .unwrap_or(&backend.endpoint.address);
    let mut cluster = serde_json::Map::new();
    let mut add = |members: Value| {
        if let Value::Object(mut members) = members {
            cluster.append(&mut members);
        }
    };
    add(json!({"name": name}));
    add(discovery(address));
    add(json!({
        "connect_timeout": seconds(backend.timeout.min(MAX_CONNECT_TIMEOUT)),
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{
                "endpoint": {
                    "hostname": backend.endpoint.address.host,
                    "address": socket_address(address),
                },
                // By this the module knows for whom it speaks.
                "metadata": {"filter_metadata": {METADATA_NAMESPACE: metadata(backend, machine)}},
            }]}],
        },
    }));
    if backend.endpoint.is_tls {
        let endpoint = &backend.endpoint.address;
        add(json!({"transport_socket": tls(endpoint, &backend.tls, machine, &["h2", "http/1.1"])}));
    }
    add(json!({
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions":
                http(source, backend, machine),
        },
        "circuit_breakers": circuit_breakers(),
    }));
    add(json!({
        "upstream_connection_options": {"tcp_keepalive": {
            "keepalive_time": 30,
            "keepalive_interval": 10,
            "keepalive_probes": 3,
        }},
    }));
    Value::Object(cluster)
}

/// What the module, and logs, find at the host of a backend.
fn metadata(backend: &Backend, machine: &Machine) -> Value {
    let mut metadata = json!({BACKEND_MEMBER: backend.name.as_str()});
    if let (Value::Object(metadata), true) = (&mut metadata, machine.is_whole) {
        metadata.insert(PROVIDER_MEMBER.to_owned(), backend.provider_name().into());
    }
    metadata
}

/// The cluster of a server that gives access tokens. The module calls it, no route leads to it.
pub fn token_cluster(source: &token::Source, machine: &Machine) -> Value {
    let endpoint = source.endpoint();
    let tls = Tls::default();
    let tls = endpoint.is_tls.then_some((&tls, "http/1.1"));
    let mut cluster = server(&source.cluster(), &endpoint.address, tls, machine);
    let options = typed(
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        json!({
            // A token is asked for once in an hour.
            "common_http_protocol_options": {"idle_timeout": seconds(PLAIN_IDLE_TIMEOUT)},
            "explicit_http_config": {"http_protocol_options": {}},
            "http_filters": [
                // What Envoy tells of itself is nobody's business there, and the metadata server
                // refuses what was forwarded.
                extension(
                    "envoy.filters.http.header_mutation",
                    "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
                    json!({"mutations": {"request_mutations": [
                        {"remove": "x-envoy-internal"},
                        {"remove": "x-envoy-expected-rq-timeout-ms"},
                        {"remove": "x-forwarded-for"},
                    ]}}),
                ),
                module::codec(),
            ],
        }),
    );
    if let Value::Object(cluster) = &mut cluster {
        let options = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options,
        });
        cluster.insert("typed_extension_protocol_options".to_owned(), options);
    }
    cluster
}

/// The cluster of a server to which no route leads. With TLS it speaks one protocol.
pub fn server(
    name: &str,
    address: &Address,
    protected: Option<(&Tls, &str)>,
    machine: &Machine,
) -> Value {
    let mut cluster = json!({"name": name});
    let mut add = |members: Value| {
        if let (Value::Object(cluster), Value::Object(mut members)) = (&mut cluster, members) {
            cluster.append(&mut members);
        }
    };
    add(discovery(address));
    add(json!({
        "connect_timeout": seconds(MAX_CONNECT_TIMEOUT),
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {
                "hostname": address.host,
                "address": socket_address(address),
            }}]}],
        },
    }));
    if let Some((how, protocol)) = protected {
        add(json!({"transport_socket": tls(address, how, machine, &[protocol])}));
    }
    cluster
}

/// How the address is found.
fn discovery(address: &Address) -> Value {
    if address.is_ip {
        return json!({"type": "STATIC"});
    }
    let discovery = extension(
        "envoy.cluster.dns",
        "envoy.extensions.clusters.dns.v3.DnsCluster",
        json!({
            // Both families, and the first that answers: `localhost` may be served on either.
            "dns_lookup_family": "ALL",
            "respect_dns_ttl": true,
            "dns_refresh_rate": "30s",
            // A machine that starts may have its network a moment later, and a provider is back when
            // its name is.
            "dns_failure_refresh_rate": {"base_interval": "1s", "max_interval": "1s"},
            // A provider's name has many addresses that change all the time. One is enough, and a
            // change must not drain the connections that are there.
            "all_addresses_in_single_endpoint": true,
        }),
    );
    json!({"cluster_type": discovery})
}

/// TLS to `endpoint`, which may speak these protocols.
fn tls(endpoint: &Address, tls: &Tls, machine: &Machine, protocols: &[&str]) -> Value {
    let name = tls.server_name.as_ref().unwrap_or(&endpoint.host);
    // An address is no name: there is no SNI for it, and a certificate has it elsewhere.
    // https://www.rfc-editor.org/rfc/rfc6066#section-3
    let is_ip = endpoint.is_ip && tls.server_name.is_none();
    let validation = match tls.insecure {
        true => json!({"trust_chain_verification": "ACCEPT_UNTRUSTED"}),
        false => json!({
            "trusted_ca": {
                "filename": tls.ca_file.as_ref().unwrap_or(&machine.roots),
            },
            "match_typed_subject_alt_names": [{
                "san_type": if is_ip { "IP_ADDRESS" } else { "DNS" },
                "matcher": {"exact": name},
            }],
        }),
    };
    let mut context = json!({
        "common_tls_context": {
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_2",
                "tls_maximum_protocol_version": "TLSv1_3",
            },
            "alpn_protocols": protocols,
            "validation_context": validation,
        },
    });
    if let (Value::Object(context), false) = (&mut context, is_ip) {
        context.shift_insert(0, "sni".to_owned(), name.as_str().into());
    }
    extension(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        context,
    )
}

fn http(source: &Source, backend: &Rc<Backend>, machine: &Machine) -> Value {
    let protocol = match backend.endpoint.is_tls {
        // What ALPN comes to.
        true => json!({"auto_config": {
            "http_protocol_options": {},
            "http2_protocol_options": {
                "connection_keepalive": {"interval": "30s", "timeout": "10s"},
            },
        }}),
        false => json!({"explicit_http_config": {"http_protocol_options": {}}}),
    };
    let idle_timeout = match backend.endpoint.is_tls {
        true => TLS_IDLE_TIMEOUT,
        false => PLAIN_IDLE_TIMEOUT,
    };
    let mut options = json!({
        "common_http_protocol_options": {"idle_timeout": seconds(idle_timeout)},
    });
    if let (Value::Object(options), Value::Object(mut protocol)) = (&mut options, protocol) {
        options.append(&mut protocol);
        // A member of pools alone is asked through their clusters, whose filters count. Where a route may
        // be added while Envoy runs, the cluster is ready for it.
        let is_asked = source.is_asked_alone(backend) || source.has_plugins_apart();
        let mut filters = secrets::filters(source, [backend].into_iter(), machine);
        if is_asked && (!source.shares_plugin() || !filters.is_empty()) {
            let plugin = source.plugin(backend);
            let module = module::filter(source, machine, backend.name.as_str(), &plugin);
            filters.extend([module, module::codec()]);
            options.insert("http_filters".to_owned(), filters.into());
        }
    }
    typed(
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        options,
    )
}

/// Longer than any provider takes, TLS included; the backend's own timeout may be shorter.
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Below the 60 seconds after which common load balancers close an idle connection: a request on
/// a connection that is just being closed would be lost.
pub const TLS_IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// Below the 5 seconds of uvicorn, under which vLLM and many others run.
pub const PLAIN_IDLE_TIMEOUT: Duration = Duration::from_secs(4);
