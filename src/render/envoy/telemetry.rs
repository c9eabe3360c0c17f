//! What Envoy sends to an OpenTelemetry collector: metrics, the access log and spans.
//!
//! Their names and attributes are those of OpenTelemetry's conventions for generative AI. What Envoy
//! formats is text: numbers are texts in spans and log records, and numbers in metrics and in the log on
//! standard output.
//!
//! Sources: <https://opentelemetry.io/docs/specs/semconv/gen-ai/>, read 2026-11-28;
//! <https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/extensions/stat_sinks/open_telemetry/v3/open_telemetry.proto>.

use serde_json::{Value, json};

use super::super::Source;
use super::cluster::server;
use super::{Machine, NAME, extension, module, seconds, typed};
use crate::contract::telemetry::{self as reported, METRICS, StateKey};
use crate::contract::{ADAPTED_HEADER, BACKEND_MEMBER, METADATA_NAMESPACE};
use crate::telemetry::{Collector, Protocol};

/// The collector, where Envoy is ours: one that belongs to a control plane reports to whom that says.
pub fn collector<'a>(source: &'a Source, machine: &Machine) -> Option<&'a Collector> {
    let collector = source.gateway().collector.as_ref();
    collector.filter(|_| machine.is_whole)
}

/// The cluster of the collector.
pub fn cluster(source: &Source, machine: &Machine) -> Option<Value> {
    let collector = collector(source, machine)?;
    let endpoint = &collector.endpoint;
    let (alpn, protocol) = match collector.protocol {
        Protocol::Grpc => ("h2", json!({"http2_protocol_options": {}})),
        Protocol::Http => ("http/1.1", json!({"http_protocol_options": {}})),
    };
    let tls = endpoint.is_tls.then_some((&collector.tls, alpn));
    let mut cluster = server(CLUSTER, &endpoint.address, tls, machine);
    let mut options = json!({"explicit_http_config": protocol});
    let headers: Vec<Value> = source
        .collector_headers()
        .map(|(name, value)| {
            json!({"append": {
                "header": {"key": name, "value": value},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }})
        })
        .collect();
    if let (Value::Object(options), false) = (&mut options, headers.is_empty()) {
        // On the cluster, where Envoy reads variables of its environment.
        let mutation = extension(
            "envoy.filters.http.header_mutation",
            "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
            json!({"mutations": {"request_mutations": headers}}),
        );
        options.insert(
            "http_filters".to_owned(),
            json!([mutation, module::codec()]),
        );
    }
    let options = typed(
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        options,
    );
    if let Value::Object(cluster) = &mut cluster {
        let options = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options,
        });
        cluster.insert("typed_extension_protocol_options".to_owned(), options);
    }
    Some(cluster)
}

/// The members of the bootstrap that send metrics: of all that Envoy has, those of the module.
pub fn metrics(collector: &Collector) -> Option<[(&'static str, Value); 2]> {
    let interval = collector.metrics?;
    let matches = |regex: String, action: Value| {
        json!({
            "predicate": {"single_predicate": {
                "input": extension(
                    "name",
                    "envoy.extensions.matching.common_inputs.stats.v3.StatFullNameMatchInput",
                    json!({}),
                ),
                "value_match": {"safe_regex": {"google_re2": {}, "regex": regex}},
            }},
            "on_match": {"action": action},
        })
    };
    let renamed = METRICS.iter().map(|metric| {
        let name = format!("{}{}", reported::METRIC_PREFIX, metric.name).replace('.', "\\.");
        let regex = format!(".*{name}(;.*)?");
        let action = extension(
            "rename",
            &format!("{SINK}.ConversionAction"),
            json!({"metric_name": metric.name}),
        );
        matches(regex, action)
    });
    let dropped = matches(
        ".*".to_owned(),
        extension("drop", &format!("{SINK}.DropAction"), json!({})),
    );
    let matchers: Vec<Value> = renamed.chain([dropped]).collect();
    let mut sink = json!({
        "emit_tags_as_attributes": true,
        "use_tag_extracted_name": true,
        "custom_metric_conversions": {"matcher_list": {"matchers": matchers}},
    });
    service(&mut sink, collector, "metrics");
    Some([
        ("stats_flush_interval", seconds(interval).into()),
        (
            "stats_sinks",
            json!([extension("envoy.stat_sinks.open_telemetry", SINK, sink)]),
        ),
    ])
}

/// The access log that goes to the collector.
pub fn access_log(collector: &Collector) -> Option<Value> {
    if !collector.logs {
        return None;
    }
    let text = |value: &str| json!({"string_value": value});
    let further = [
        ("http.request.method", "%REQ(:METHOD)%"),
        ("http.response.status_code", "%RESPONSE_CODE%"),
        ("client.address", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        ("llm_proxy.attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
        ("llm_proxy.duration_ms", "%DURATION%"),
        ("llm_proxy.details", "%RESPONSE_CODE_DETAILS%"),
        ("llm_proxy.flags", "%RESPONSE_FLAGS%"),
    ];
    let further = further.map(|(name, format)| (name, format.to_owned()));
    let values: Vec<Value> = attributes()
        .into_iter()
        .chain(further)
        .map(|(name, format)| json!({"key": name, "value": text(&format)}))
        .collect();
    let mut log = json!({
        "log_name": NAME,
        "disable_builtin_labels": true,
        "resource_attributes": {"values": [
            {"key": "service.name", "value": text(&collector.service_name)},
        ]},
        "body": text("%REQ(:METHOD)% %PATH(NQ:PATH)% %RESPONSE_CODE%"),
        "attributes": {"values": values},
    });
    service(&mut log, collector, "logs");
    Some(extension(
        "envoy.access_loggers.open_telemetry",
        "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
        log,
    ))
}

/// Spans: one for each request, and one for each attempt.
pub fn tracing(collector: &Collector) -> Option<Value> {
    if collector.traces == 0 {
        return None;
    }
    // The client's decision holds, where there is one.
    let sampler = sampler(
        "parent_based",
        "ParentBasedSamplerConfig",
        json!({"wrapped_sampler": sampler(
            "trace_id_ratio_based",
            "TraceIdRatioBasedSamplerConfig",
            json!({"sampling_percentage": {
                "numerator": collector.traces,
                "denominator": "MILLION",
            }}),
        )}),
    );
    let mut tracer = json!({"service_name": collector.service_name, "sampler": sampler});
    service(&mut tracer, collector, "traces");
    let tags: Vec<Value> = attributes()
        .into_iter()
        .map(|(name, format)| json!({"tag": name, "value": format}))
        .collect();
    let (operation, model) = (&reported::OPERATION, &reported::SENT_MODEL);
    Some(json!({
        "provider": extension("envoy.tracers.opentelemetry", "envoy.config.trace.v3.OpenTelemetryConfig", tracer),
        "operation": format!("{} {}", operation.as_text(), model.as_text()),
        "spawn_upstream_span": true,
        // Of the URL that was sent: its query may have a key.
        "max_path_tag_length": 1,
        "custom_tags": tags,
    }))
}

/// What stands in every span and every log record.
fn attributes() -> Vec<(&'static str, String)> {
    let host = |member| format!("%METADATA(UPSTREAM_HOST:{METADATA_NAMESPACE}:{member})%");
    let header = |name: &str| format!("%RESP({name})%");
    let state = |(name, key): (&'static str, StateKey)| (name, key.as_text());
    let mut attributes = vec![
        ("gen_ai.provider.name", host(reported::PROVIDER_MEMBER)),
        ("llm_proxy.backend", host(BACKEND_MEMBER)),
        ("llm_proxy.route", "%ROUTE_NAME%".to_owned()),
        ("url.path", "%PATH(NQ:PATH)%".to_owned()),
        ("llm_proxy.request_id", header(reported::REQUEST_ID_HEADER)),
        ("llm_proxy.adapted", header(ADAPTED_HEADER)),
    ];
    attributes.extend(STATES.map(state));
    attributes
}

fn sampler(name: &str, message: &str, config: Value) -> Value {
    extension(
        &format!("envoy.tracers.opentelemetry.samplers.{name}"),
        &format!("envoy.extensions.tracers.opentelemetry.samplers.v3.{message}"),
        config,
    )
}

/// Where a signal goes: `grpc_service`, or `http_service` with the path that OTLP gives it.
fn service(config: &mut Value, collector: &Collector, signal: &str) {
    let endpoint = &collector.endpoint;
    let (key, service) = match collector.protocol {
        Protocol::Grpc => (
            "grpc_service",
            json!({
                "envoy_grpc": {"cluster_name": CLUSTER, "authority": *endpoint.authority},
                "timeout": TIMEOUT,
            }),
        ),
        Protocol::Http => {
            let scheme = if endpoint.is_tls { "https" } else { "http" };
            let (authority, base) = (&endpoint.authority, &endpoint.base_path);
            let uri = format!("{scheme}://{authority}{base}/v1/{signal}");
            (
                "http_service",
                json!({"http_uri": {"uri": uri, "cluster": CLUSTER, "timeout": TIMEOUT}}),
            )
        }
    };
    if let Value::Object(config) = config {
        config.shift_insert(0, key.to_owned(), service);
    }
}

/// By the attribute the value in Envoy's filter state.
const STATES: [(&str, StateKey); 17] = [
    ("llm_proxy.cost_nano_usd", reported::COST_NANO_USD),
    ("gen_ai.operation.name", reported::OPERATION),
    ("gen_ai.request.model", reported::SENT_MODEL),
    ("gen_ai.response.model", reported::RESPONSE_MODEL),
    ("gen_ai.response.finish_reasons", reported::FINISH_REASON),
    ("gen_ai.usage.input_tokens", reported::INPUT_TOKENS),
    ("gen_ai.usage.output_tokens", reported::OUTPUT_TOKENS),
    (
        "gen_ai.usage.cache_read.input_tokens",
        reported::CACHED_TOKENS,
    ),
    (
        "gen_ai.usage.cache_creation.input_tokens",
        reported::CACHE_WRITTEN_TOKENS,
    ),
    (
        "gen_ai.usage.reasoning.output_tokens",
        reported::REASONING_TOKENS,
    ),
    ("error.type", reported::ERROR_CODE),
    ("llm_proxy.client_api", reported::CLIENT_API),
    ("llm_proxy.requested_model", reported::REQUEST_MODEL),
    ("llm_proxy.total_tokens", reported::TOTAL_TOKENS),
    ("llm_proxy.first_token_ms", reported::FIRST_TOKEN_MS),
    ("llm_proxy.failed_attempts", reported::FAILED_ATTEMPTS),
    (
        "llm_proxy.provider_request_id",
        reported::PROVIDER_REQUEST_ID,
    ),
];

const SINK: &str = "envoy.extensions.stat_sinks.open_telemetry.v3.SinkConfig";

/// The name of the cluster.
const CLUSTER: &str = "llm-proxy/otlp";

/// Of one export.
const TIMEOUT: &str = "5s";
