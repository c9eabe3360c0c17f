//! The module as a filter of Envoy.

use serde_json::{Value, json};

use super::super::Source;
use super::{Machine, NAME, extension, typed};

/// The module with a plugin configuration. `what` tells it from the others.
pub fn filter(source: &Source, machine: &Machine, what: &str, plugin: &Value) -> Value {
    // The same for all: plugins with one `vm_config` share one VM per worker, and what they know.
    let mut vm = json!({
        "vm_id": NAME,
        "runtime": "envoy.wasm.runtime.v8",
        "code": {"local": {"filename": machine.module}},
    });
    let names = source.variable_names();
    if let (Value::Object(vm), false) = (&mut vm, names.is_empty()) {
        let variables = json!({"host_env_keys": names});
        vm.insert("environment_variables".to_owned(), variables);
    }
    let mut plugin = plugin.clone();
    if let (Value::Object(plugin), true) = (&mut plugin, machine.is_whole) {
        // The access log has what the module knows.
        let place = plugin.keys().position(|key| key == "holdHeaders");
        let place = place.map_or(plugin.len(), |place| place + 1);
        plugin.shift_insert(place, "filterState".to_owned(), true.into());
    }
    // As text and not as a `Struct`, which would make every number of `defaults` a double. Over
    // several lines, so that a person can read it and a `diff` shows what has changed.
    let plugin = format!("{plugin:#}\n");
    let config = json!({"config": {
        "name": format!("{NAME}.{what}"),
        "vm_config": vm,
        "configuration": typed("google.protobuf.StringValue", json!({"value": plugin})),
        "failure_policy": "FAIL_RELOAD",
        "allow_on_headers_stop_iteration": true,
    }});
    extension(NAME, "envoy.extensions.filters.http.wasm.v3.Wasm", config)
}

/// What ends the filters of an attempt.
pub fn codec() -> Value {
    extension(
        "envoy.filters.http.upstream_codec",
        "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
        json!({}),
    )
}
