//! How Envoy protects itself when memory runs short.
//!
//! The heap monitor sees what Envoy itself holds: requests that wait for another attempt, replies that
//! slow clients have not read. The memory of the VMs is not in it; `maxHeldBytes` bounds that.
//! `docs/memory.md` has the sum.
//!
//! Source: <https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/operations/overload_manager/overload_manager>,
//! read 2026-11-28; of `reduce_timeouts` and `disable_http_keepalive` from memory, and tried. Accepted by 1.37.0, too.

use serde_json::{Value, json};

use super::{Machine, extension};

/// The overload manager.
pub fn manager(machine: &Machine) -> Value {
    let mut monitors = vec![
        extension(
            "envoy.resource_monitors.global_downstream_max_connections",
            "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
            json!({"max_active_downstream_connections": MAX_CONNECTIONS}),
        ),
        extension(
            HEAP,
            "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
            json!({"max_heap_size_bytes": machine.heap_limit}),
        ),
    ];
    let mut pressures = vec![HEAP];
    if machine.has_cgroup_limit {
        // Its limit is the cgroup's own.
        monitors.push(extension(
            CGROUP,
            "envoy.extensions.resource_monitors.cgroup_memory.v3.CgroupMemoryConfig",
            json!({}),
        ));
        pressures.push(CGROUP);
    }
    let action = |name: &str, trigger: Value| {
        let triggers = pressures.iter().map(|pressure| {
            let mut triggers = json!({"name": pressure});
            if let (Value::Object(triggers), Value::Object(trigger)) = (&mut triggers, &trigger) {
                triggers.extend(trigger.clone());
            }
            triggers
        });
        let triggers: Vec<Value> = triggers.collect();
        json!({"name": format!("envoy.overload_actions.{name}"), "triggers": triggers})
    };
    let mut reduce_timeouts = action(
        "reduce_timeouts",
        json!({"scaled": {"scaling_threshold": 0.60, "saturation_threshold": 0.80}}),
    );
    if let Value::Object(action) = &mut reduce_timeouts {
        let factors = json!([
            {"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": MIN_IDLE_TIMEOUT},
        ]);
        let scale = json!({
            "@type": "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
            "timer_scale_factors": factors,
        });
        action.insert("typed_config".to_owned(), scale);
    }
    json!({
        "refresh_interval": "0.250s",
        // Streams that hold 1 MiB or more are told apart: the largest are reset first.
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": 20},
        "resource_monitors": monitors,
        "actions": [
            // A client of HTTP/1.1 that does not read its reply holds it after the request has ended:
            // its connection is idle then, and is cut when it takes nothing more.
            reduce_timeouts,
            action("disable_http_keepalive", json!({"threshold": {"value": 0.80}})),
            action("shrink_heap", json!({"threshold": {"value": 0.85}})),
            // HTTP/2 only: Envoy keeps no account of a stream of HTTP/1.1.
            action(
                "reset_high_memory_stream",
                json!({"scaled": {"scaling_threshold": 0.90, "saturation_threshold": 0.98}}),
            ),
            // New requests get 503 until memory is free again; those that run go on.
            action("stop_accepting_requests", json!({"threshold": {"value": 0.95}})),
        ],
    })
}

/// Of a rendered configuration whose machine is not known. Unit: bytes.
pub const DEFAULT_HEAP_LIMIT: u64 = 2 << 30;

/// Unit: clients' connections. Beyond it new ones are closed, so that those which are there work.
const MAX_CONNECTIONS: u32 = 50_000;

/// How long a connection may be idle where memory is nearly used up.
const MIN_IDLE_TIMEOUT: &str = "2s";

const HEAP: &str = "envoy.resource_monitors.fixed_heap";
const CGROUP: &str = "envoy.resource_monitors.cgroup_memory";
