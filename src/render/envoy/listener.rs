//! The listener: what clients connect to.

use serde_json::{Value, json};

use super::super::Source;
use super::{
    CHOOSER, Machine, NAME, extension, health, module, route, socket_address, telemetry, typed,
};
use crate::contract::telemetry::{
    PROVIDER_MEMBER, REQUEST_ID_HEADER, SDK_REQUEST_ID_HEADERS, STATE_KEYS,
    usable_request_id_expression,
};
use crate::contract::{
    ADAPTED_HEADER, BACKEND_MEMBER, MESSAGES_FORMAT, MESSAGES_STATE, METADATA_NAMESPACE,
    UNKNOWN_ROUTE, error_type_expression, messages_error_type_expression,
    speaks_messages_expression,
};

/// The one listener.
pub fn listener(source: &Source, machine: &Machine) -> Value {
    json!({
        "name": NAME,
        "address": socket_address(&source.gateway().listen),
        "per_connection_buffer_limit_bytes": CONNECTION_BUFFER_BYTES,
        "filter_chains": [{"filters": [connection_manager(source, machine)]}],
    })
}

fn connection_manager(source: &Source, machine: &Machine) -> Value {
    let mut config = json!({
        "stat_prefix": NAME,
        "codec_type": "AUTO",
        // No client is internal, whatever its address: Envoy removes the x-envoy-* headers by which
        // an internal one would choose timeouts and retries. No list at all would mean the private
        // networks, so the list has one address that nobody has.
        "use_remote_address": true,
        "internal_address_config": {
            "cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}],
        },
        "skip_xff_append": true,
        // The id that the module and Envoy's own replies give the client: the client's own where it has one,
        // unchanged.
        "generate_request_id": true,
        "preserve_external_request_id": true,
        "request_id_extension": {"typed_config": typed(
            "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
            json!({"pack_trace_reason": false}),
        )},
        // Over TLS to a provider the scheme is https, also where the client came with http.
        "scheme_header_transformation": {"match_upstream": true},
        "server_header_transformation": "PASS_THROUGH",
        // `%2F`, as model names have it, stays as it is.
        "normalize_path": true,
        "merge_slashes": true,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "request_headers_timeout": "15s",
        // All of a request, its body included, has to be here by then: 32 MiB at 0.9 Mbit/s. One that
        // stops arriving would hold what has arrived.
        "request_timeout": "300s",
        // Silence, not length, ends a request. Routes have their own.
        "stream_idle_timeout": "600s",
        // A refused client that is still sending has this long to read the reply.
        "delayed_close_timeout": "5s",
        "common_http_protocol_options": {"idle_timeout": "3600s"},
        "access_log": access_logs(source, machine),
        "local_reply_config": local_replies(machine),
        "route_config": route::Table::new(source, machine).to_value(),
        "http_filters": filters(source, machine),
    });
    let collector = telemetry::collector(source, machine);
    let tracing = collector.and_then(telemetry::tracing);
    let is_traced = tracing.is_some();
    if let (Value::Object(config), Some(tracing)) = (&mut config, tracing) {
        config.insert("tracing".to_owned(), tracing);
    }
    let id = config.pointer_mut("/request_id_extension/typed_config");
    if let (Some(Value::Object(id)), true) = (id, is_traced) {
        // By ids Envoy would trace only requests whose id is a UUID: the tracer decides.
        let by_id = "use_request_id_for_trace_sampling".to_owned();
        id.insert(by_id, false.into());
    }
    extension(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        config,
    )
}

fn filters(source: &Source, machine: &Machine) -> Vec<Value> {
    let mut filters: Vec<Value> = health::filter(&health::rendered(source, machine))
        .into_iter()
        .collect();
    if machine.is_whole {
        filters.push(client_noter());
    }
    if source.needs_chooser() {
        let plugin = source.choosing_plugin();
        filters.push(module::filter(source, machine, CHOOSER, &plugin));
    }
    let mut router = json!({"suppress_envoy_headers": true});
    let is_needed =
        source.pools().next().is_some() && !source.has_plugins_apart() || source.shares_plugin();
    if let (Value::Object(router), true) = (&mut router, is_needed) {
        // For clusters that have no filters of their own: those of the pools, or all.
        let module = module::filter(source, machine, "pools", &source.pools_plugin());
        let filters = json!([module, module::codec()]);
        router.insert("upstream_http_filters".to_owned(), filters);
    }
    filters.push(extension(
        "envoy.filters.http.router",
        "envoy.extensions.filters.http.router.v3.Router",
        router,
    ));
    filters
}

/// The access logs. Probes are in none of them.
fn access_logs(source: &Source, machine: &Machine) -> Vec<Value> {
    let collector = telemetry::collector(source, machine);
    let sent = collector.and_then(telemetry::access_log);
    let mut logs: Vec<Value> = [access_log()].into_iter().chain(sent).collect();
    if let Some(filter) = health::log_filter(&source.gateway().health) {
        for log in logs.iter_mut().filter_map(Value::as_object_mut) {
            log.shift_insert(1, "filter".to_owned(), filter.clone());
        }
    }
    logs
}

/// One line of JSON per request on standard output, without anything that authenticates: no
/// headers, and the path without its query.
fn access_log() -> Value {
    let mut log = extension(
        "envoy.access_loggers.stdout",
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        json!({"log_format": {"json_format": {
            "time": "%START_TIME%",
            "method": "%REQ(:METHOD)%",
            "path": "%PATH(NQ:PATH)%",
            "status": "%RESPONSE_CODE%",
            "details": "%RESPONSE_CODE_DETAILS%",
            "flags": "%RESPONSE_FLAGS%",
            "route": "%ROUTE_NAME%",
            // Of a pool the member that was asked last, and the cluster that tells the order.
            "backend": format!("%METADATA(UPSTREAM_HOST:{METADATA_NAMESPACE}:{BACKEND_MEMBER})%"),
            "provider": format!("%METADATA(UPSTREAM_HOST:{METADATA_NAMESPACE}:{PROVIDER_MEMBER})%"),
            "cluster": "%UPSTREAM_CLUSTER%",
            "upstream": "%UPSTREAM_HOST%",
            "upstream_failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
            // The parameters that were adapted for the backend.
            "adapted": format!("%RESP({ADAPTED_HEADER})%"),
            "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
            "first_byte_ms": "%RESPONSE_DURATION%",
            "duration_ms": "%DURATION%",
            "bytes_received": "%BYTES_RECEIVED%",
            "bytes_sent": "%BYTES_SENT%",
            "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
            "request_id": format!("%RESP({REQUEST_ID_HEADER})%"),
        }}}),
    );
    // What the module knows.
    if let Some(Value::Object(format)) = log.pointer_mut("/typed_config/log_format/json_format") {
        let keys = STATE_KEYS.iter();
        format.extend(keys.map(|key| (key.log_key.to_owned(), key.as_json().into())));
    }
    log
}

/// The filter that notes what a client has sent, before the module changes it.
fn client_noter() -> Value {
    extension(
        "envoy.filters.http.set_filter_state",
        "envoy.extensions.filters.http.set_filter_state.v3.Config",
        json!({"on_request_headers": [{
            "object_key": MESSAGES_STATE,
            "factory_key": "envoy.string",
            "format_string": {"text_format_source": {"inline_string": MESSAGES_FORMAT}},
        }]}),
    )
}

/// Envoy's own errors, in the shape of the Messages API for its clients, in OpenAI's for all others.
///
/// What the module answers has no response code details, and what a route answers directly has
/// `direct_response`: both are OpenAI-shaped already.
fn local_replies(machine: &Machine) -> Value {
    let is_error = json!({"status_code_filter": {"comparison": {
        "op": "GE",
        "value": {"default_value": 400, "runtime_key": "llm_proxy.unused"},
    }}});
    let is_envoys = cel_filter("!(response.code_details in ['', 'direct_response'])");
    let message = format!("%CEL({})%%LOCAL_REPLY_BODY%", message_without_body(machine));
    let mut errors = json!({
        "filter": {"and_filter": {"filters": [&is_error, &is_envoys]}},
        "body_format_override": {"json_format": {"error": {
            "message": &message,
            "type": format!("%CEL({})%", error_type_expression()),
            "param": null,
            "code": CODE,
        }}},
    });
    if !machine.is_whole {
        return json!({"mappers": [errors]});
    }
    let speaks_messages = cel_filter(&speaks_messages_expression());
    let mut of_messages = json!({
        "filter": {"and_filter": {"filters": [is_error, is_envoys, speaks_messages]}},
        "body_format_override": {"json_format": {"type": "error", "error": {
            "type": format!("%CEL({})%", messages_error_type_expression()),
            "message": message,
        }}},
    });
    for errors in [&mut of_messages, &mut errors] {
        if let Value::Object(errors) = errors {
            errors.insert("headers_to_add".to_owned(), request_ids());
        }
    }
    let is_direct = cel_filter("response.code_details == 'direct_response'");
    let direct = json!({"filter": is_direct, "headers_to_add": request_ids()});
    json!({"mappers": [of_messages, errors, direct]})
}

/// A filter for replies of which this expression holds.
fn cel_filter(expression: &str) -> Value {
    json!({"extension_filter": extension(
        "envoy.access_loggers.extension_filters.cel",
        "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        json!({"expression": expression}),
    )})
}

/// The id of the request, as the module adds it to all other replies. Where the client's own is not usable,
/// and where its request could not be read, it is one that Envoy makes for the reply.
fn request_ids() -> Value {
    let given = format!("%CEL({})%", usable_request_id_expression());
    let made = (REQUEST_ID_HEADER, "%UNIQUE_ID%");
    let names = [REQUEST_ID_HEADER]
        .into_iter()
        .chain(SDK_REQUEST_ID_HEADERS);
    let given = names.map(|name| (name, given.as_str()));
    // What is empty is not added, and of two values the last stays.
    let added = [made].into_iter().chain(given).map(|(name, value)| {
        json!({
            "header": {"key": name, "value": value},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        })
    });
    added.collect()
}

/// Some of Envoy's replies have no body: these say what happened. That no host can be asked is said before
/// Envoy's own words, which do not tell what that means.
fn message_without_body(machine: &Machine) -> String {
    let without_host = without_host(machine);
    format!(
        "response.code_details == 'route_not_found' ? '{UNKNOWN_ROUTE}' \
         : response.code_details in \
         ['absolute_path_rejected', 'cluster_not_found', 'missing_host_header', \
         'path_normalization_failed', 'upgrade_failed', 'wasm_fail_stream'] \
         ? response.code_details \
         : response.code_details == 'no_healthy_upstream' ? {without_host} : ''"
    )
}

/// The expression for what stands before "no healthy upstream": by the cluster, whose name has a slash if
/// it is a pool's. It is the same for every configuration, since the listener cannot change.
///
/// The clusters of a control plane have names of its own.
fn without_host(machine: &Machine) -> String {
    match machine.is_whole {
        true => {
            format!("(xds.cluster_name.contains('/') ? '{NO_MEMBER}' : '{NO_HOST_OF_BACKEND}')")
        }
        false => format!("'{NO_HOST}'"),
    }
}

const NO_HOST: &str =
    "the host of the backend does not resolve, or no member of the pool resolves or is healthy: ";
const NO_HOST_OF_BACKEND: &str = "the host of the backend does not resolve: ";
const NO_MEMBER: &str = "no member of the pool resolves or is healthy: ";

const CODE: &str = "%CEL(response.code_details.startsWith('upstream_reset') \
     ? 'upstream_unavailable' : response.code_details)%";

/// How much of a slow client's reply waits in Envoy, per connection. What a request may hold is
/// `request_body_buffer_limit`.
const CONNECTION_BUFFER_BYTES: u64 = 1 << 20;
