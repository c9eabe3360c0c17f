//! What Envoy reports, and to whom.

use std::time::Duration;

use crate::backend::Tls;
use crate::endpoint::Endpoint;

/// An OpenTelemetry collector, and what it gets.
///
/// Its headers may be secret, so the renderer takes them from what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// Its base path is that below which `/v1/traces` and the like are; `grpc` has none.
    pub endpoint: Endpoint,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Where the endpoint has TLS.
    pub tls: Tls,
    /// The resource attribute `service.name`.
    pub service_name: String,
    /// The time between two exports of metrics; `None`: it gets none.
    pub metrics: Option<Duration>,
    /// Whether it gets the access log.
    pub logs: bool,
    /// The share of requests whose spans it gets. Unit: millionths.
    pub traces: u32,
}

/// The transport of OTLP.
///
/// Source: <https://opentelemetry.io/docs/specs/otlp/>, read 2026-11-28.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with protobuf.
    Http,
}

impl Protocol {
    /// The one that a port is registered for: 4317 is gRPC's.
    pub fn of_port(port: u16) -> Self {
        if port == GRPC_PORT {
            Self::Grpc
        } else {
            Self::Http
        }
    }
}

const GRPC_PORT: u16 = 4317;
