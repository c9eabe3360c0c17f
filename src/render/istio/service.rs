//! The providers as Istio's services: how each is found, and with which TLS it is asked.

use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::{Value, json};

use super::super::Source;
use super::super::envoy::{PLAIN_IDLE_TIMEOUT, TLS_IDLE_TIMEOUT, seconds};
use super::super::kubernetes::{self, resource, with};
use super::{MAX_CONNECT_TIMEOUT, Mesh, NETWORKING, Proxies};
use crate::backend::Backend;
use crate::config::ConfigErrors;
use crate::endpoint::Address;

/// A host and a port of Istio's registry that lead to a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The host, by which routes and TLS settings refer to it.
    pub host: String,
    /// The port, as Istio knows it.
    pub number: u16,
    /// Where the provider is, where Istio has to be told.
    entry: Option<Entry>,
    /// The TLS settings of a `DestinationRule`; none without TLS.
    tls: Option<Value>,
}

/// What a `ServiceEntry` says of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// Where to connect instead of the host.
    address: Option<Address>,
    /// The port there.
    target_port: u16,
    is_tls: bool,
}

/// The services of all backends.
pub struct Services(Vec<(Rc<Backend>, Service)>);

/// The services of the backends; notes what cannot be one.
pub fn of(source: &Source, mesh: &Mesh, errors: &mut ConfigErrors) -> Services {
    let mut services: Vec<(Rc<Backend>, Service)> = Vec::new();
    for backend in source.backends() {
        let service = service(source, backend, mesh, errors);
        let other = services.iter().find(|(_, it)| it.contradicts(&service));
        if let Some((other, _)) = other {
            let message = format!(
                "{:?} and {:?} reach {:?} in different ways, and Istio knows one way to a host",
                other.name.as_str(),
                backend.name.as_str(),
                service.host,
            );
            errors.push(&kubernetes::place(source, backend).key("config"), message);
        }
        services.push((Rc::clone(backend), service));
    }
    Services(services)
}

fn service(source: &Source, backend: &Backend, mesh: &Mesh, errors: &mut ConfigErrors) -> Service {
    let endpoint = &backend.endpoint;
    let target = kubernetes::address_of(source, backend, errors);
    let at = kubernetes::place(source, backend).key("config");
    let sidecar_port = match &mesh.proxies {
        Proxies::Sidecars { port, .. } => Some(*port),
        Proxies::Gateways { .. } | Proxies::GatewayApi(_) => None,
    };
    let is_internal = backend.address.is_none() && is_in_the_cluster(&target.host);
    if sidecar_port.is_some() && (is_internal || endpoint.address.is_ip) {
        // Its virtual host would have to be another service's, or no name.
        let message = "a sidecar finds providers by their host outside of the cluster; \
                       a gateway (without --sidecar) can reach this one";
        errors.push(&at.key("endpoint"), message);
    }
    let host = match endpoint.address.is_ip {
        // An address is no name.
        true => format!(
            "{}.internal",
            kubernetes::name_of(&mesh.name, backend.name.as_str())
        ),
        false => endpoint.address.host.clone(),
    };
    let differs = *target != endpoint.address || endpoint.address.is_ip;
    let entry = Entry {
        address: differs.then(|| target.clone()),
        target_port: target.port,
        is_tls: endpoint.is_tls,
    };
    Service {
        host,
        number: sidecar_port.unwrap_or(endpoint.address.port),
        entry: (!is_internal).then_some(entry),
        tls: endpoint.is_tls.then(|| tls(backend, mesh)),
    }
}

/// Whether Istio knows a host already: a Kubernetes service.
fn is_in_the_cluster(host: &str) -> bool {
    !host.contains('.')
        || [".svc", ".svc.cluster.local"]
            .iter()
            .any(|suffix| host.ends_with(suffix))
}

/// TLS origination. Without `caCertificates` older Istios check no certificate at all.
///
/// Source: <https://istio.io/latest/docs/reference/config/networking/destination-rule/#ClientTLSSettings>.
fn tls(backend: &Backend, mesh: &Mesh) -> Value {
    let endpoint = &backend.endpoint.address;
    let name = backend.tls.server_name.as_ref().unwrap_or(&endpoint.host);
    let is_ip = endpoint.is_ip && backend.tls.server_name.is_none();
    let settings = json!({"mode": "SIMPLE"});
    let settings = with(settings, [("sni", (!is_ip).then(|| name.as_str().into()))]);
    match backend.tls.insecure {
        true => with(settings, [("insecureSkipVerify", Some(true.into()))]),
        false => {
            let roots = backend.tls.ca_file.as_ref().unwrap_or(&mesh.roots);
            with(
                settings,
                [
                    ("subjectAltNames", Some(json!([name]))),
                    ("caCertificates", Some(roots.as_str().into())),
                ],
            )
        }
    }
}

impl Services {
    /// Each backend with its service.
    pub fn by_backend(&self) -> impl Iterator<Item = (&Backend, &Service)> {
        self.0
            .iter()
            .map(|(backend, service)| (&**backend, service))
    }

    /// The service of a backend.
    pub fn of(&self, backend: &Backend) -> Option<&Service> {
        let mut services = self.0.iter();
        let found = services.find(|(other, _)| other.name == backend.name);
        found.map(|(_, service)| service)
    }

    /// The hosts of all services, each once.
    pub fn hosts(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let hosts = self.0.iter().map(|(_, service)| &service.host);
        hosts.filter(|it| seen.insert(*it)).cloned().collect()
    }

    /// A `ServiceEntry` and a `DestinationRule` for each host that Istio does not know.
    pub fn resources(&self, mesh: &Mesh) -> Vec<Value> {
        let mut resources = Vec::new();
        for host in self.hosts() {
            let mut ports: Vec<(&Backend, &Service)> = Vec::new();
            for (backend, service) in self.by_backend() {
                let is_new = !ports.iter().any(|(_, it)| it.number == service.number);
                if service.host == host && is_new {
                    ports.push((backend, service));
                }
            }
            resources.extend(service_entry(&host, &ports, mesh));
            resources.extend(destination_rule(&host, &ports, mesh));
        }
        resources
    }
}

impl Service {
    /// Whether both cannot be: Istio knows one address of a host, and one way to a port of it.
    fn contradicts(&self, other: &Self) -> bool {
        let differs = match self.number == other.number {
            true => self != other,
            false => self.address() != other.address(),
        };
        self.host == other.host && differs
    }

    fn address(&self) -> Option<&str> {
        let address = self.entry.as_ref()?.address.as_ref()?;
        Some(&address.host)
    }
}

fn service_entry(host: &str, ports: &[(&Backend, &Service)], mesh: &Mesh) -> Option<Value> {
    let (first, _) = ports.first()?;
    let mut address = None;
    let mut listed = Vec::new();
    for (_, service) in ports {
        let entry = service.entry.as_ref()?;
        address = entry.address.as_ref();
        let is_sidecar = matches!(mesh.proxies, Proxies::Sidecars { .. });
        // In a sidecar the port is one at which applications speak plain HTTP.
        let protocol = match entry.is_tls && !is_sidecar {
            true => "HTTPS",
            false => "HTTP",
        };
        let target = (entry.target_port != service.number).then(|| entry.target_port.into());
        listed.push(with(
            json!({
                "number": service.number,
                "name": format!("{}-{}", protocol.to_lowercase(), service.number),
                "protocol": protocol,
            }),
            [("targetPort", target)],
        ));
    }
    let resolution = match address.is_some_and(|it| it.is_ip) {
        true => "STATIC",
        // A provider's name has many addresses that change all the time: one is enough, and a
        // change must not drain the connections that are there.
        false => "DNS_ROUND_ROBIN",
    };
    let endpoints = address.map(|address| json!([{"address": address.host}]));
    let spec = with(
        json!({
            "exportTo": ["."],
            "hosts": [host],
            "ports": listed,
            "resolution": resolution,
        }),
        [("endpoints", endpoints)],
    );
    let name = kubernetes::name_of(&mesh.name, first.name.as_str());
    Some(resource(
        NETWORKING,
        "ServiceEntry",
        &name,
        &mesh.namespace,
        spec,
    ))
}

fn destination_rule(host: &str, ports: &[(&Backend, &Service)], mesh: &Mesh) -> Option<Value> {
    let (first, _) = ports.first()?;
    let mut settings = Vec::new();
    for (backend, service) in ports {
        // Inside of the cluster the mesh has its own TLS.
        if service.entry.is_none() && service.tls.is_none() {
            continue;
        }
        let idle_timeout = match service.tls.is_some() {
            true => TLS_IDLE_TIMEOUT,
            false => PLAIN_IDLE_TIMEOUT,
        };
        let none = json!({"mode": "DISABLE"});
        settings.push(json!({
            "port": {"number": service.number},
            "connectionPool": {
                "tcp": {"connectTimeout": seconds(backend.timeout.min(MAX_CONNECT_TIMEOUT))},
                "http": {"idleTimeout": seconds(idle_timeout)},
            },
            "tls": service.tls.clone().unwrap_or(none),
        }));
    }
    if settings.is_empty() {
        return None;
    }
    let spec = json!({
        "exportTo": ["."],
        "host": host,
        "trafficPolicy": {"portLevelSettings": settings},
    });
    let name = kubernetes::name_of(&mesh.name, first.name.as_str());
    Some(resource(
        NETWORKING,
        "DestinationRule",
        &name,
        &mesh.namespace,
        spec,
    ))
}
