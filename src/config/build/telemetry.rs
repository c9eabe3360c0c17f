//! To whom Envoy reports: `telemetry`.

use super::super::error::KeyPath;
use super::super::value::{Share, Span, Template};
use super::super::{defaults, file};
use super::Build;
use crate::endpoint::Endpoint;
use crate::telemetry::{Collector, Protocol};

impl Build<'_> {
    /// The collector, where one is written.
    pub(super) fn collector(&mut self, file: &file::Gateway) -> Option<Collector> {
        let written = file.telemetry.as_ref()?;
        let at = KeyPath::root().key("telemetry");
        let at_otlp = at.key("otlp");
        let Some(url) = &written.otlp else {
            for key in OF_COLLECTOR.into_iter().filter(|key| written.has(key)) {
                self.errors.push(&at.key(key), "only with otlp");
            }
            return None;
        };
        let url = self.text(Some(url), &at_otlp);
        let endpoint = url.and_then(|url| {
            let parsed = Endpoint::parse(&url, "").map_err(|why| {
                let example = "https://llm.example.com/v1";
                why.replace(example, "http://collector:4318")
            });
            self.noted(parsed, &at_otlp)
        });
        for (name, value) in written.headers.iter().flatten() {
            let at = at.key("headers").key(name);
            self.header_name(name, &at);
            self.header_value(value, &at);
        }
        let tls = self.tls(written.tls.as_ref(), &at);
        let default = Template::literal(defaults::SERVICE_NAME);
        let service_name = written.service_name.as_ref().unwrap_or(&default);
        let service_name = self.printable_text(Some(service_name), &at.key("serviceName"));
        let endpoint = endpoint?;
        let port = endpoint.address.port;
        let protocol = written.protocol.unwrap_or_else(|| Protocol::of_port(port));
        if protocol == Protocol::Grpc && !endpoint.base_path.is_empty() {
            self.errors.push(&at_otlp, "a gRPC endpoint has no path");
        }
        if written.tls.is_some() && !endpoint.is_tls {
            self.errors.push(&at.key("tls"), "only with https");
        }
        let Span(interval) = written.interval.unwrap_or(Span(defaults::INTERVAL));
        let metrics = written.metrics.unwrap_or(defaults::METRICS);
        if !metrics && written.interval.is_some() {
            let message = "cannot be combined with metrics: false";
            self.errors.push(&at.key("interval"), message);
        }
        let Share(traces) = written.traces.unwrap_or(defaults::TRACES);
        Some(Collector {
            endpoint,
            protocol,
            tls,
            service_name: service_name?,
            metrics: metrics.then_some(interval),
            logs: written.logs.unwrap_or(defaults::LOGS),
            traces,
        })
    }
}

/// The keys that mean nothing without a collector.
const OF_COLLECTOR: [&str; 8] = [
    "protocol",
    "headers",
    "tls",
    "serviceName",
    "metrics",
    "interval",
    "logs",
    "traces",
];
