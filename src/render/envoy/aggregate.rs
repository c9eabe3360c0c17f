//! The clusters of a pool: one for each order of attempts.
//!
//! An aggregate cluster gives its children priorities, in their order. An attempt goes to the first
//! child that has a host; with [`retry_priority`] in the route's retry policy, a further one goes to
//! the first that has a host and was not tried. When all were tried, Envoy begins again. A child
//! whose name does not resolve has no host. TLS and the HTTP version are the child's; the filters are
//! the router's, unless [plugins are apart](Source::keep_plugins_apart) or a member takes a
//! [secret from a file](secrets): then these clusters have their own.
//!
//! The children have no outlier detection: Envoy would pass over an ejected member for as long as the
//! ejection lasts, whether it has recovered or not, and try another one twice instead. The module
//! knows which members fail, and selects the first member accordingly.
//!
//! Sources: <https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/upstream/aggregate_cluster>,
//! <https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/extensions/retry/priority/previous_priorities/v3/previous_priorities_config.proto>.

use serde_json::{Value, json};

use super::super::Source;
use super::{Machine, circuit_breakers, extension, module, secrets, typed};
use crate::pool::{Order, Pool};

/// The clusters.
pub fn clusters(source: &Source, pool: &Pool, machine: &Machine) -> Vec<Value> {
    // The same for all orders, so that they share what it takes in memory.
    let has_own = source.has_plugins_apart() || source.has_injected_members(pool);
    let options = has_own.then(|| {
        let what = format!("pool.{}", pool.name);
        let plugin = source.pool_plugin(pool);
        let module = module::filter(source, machine, &what, &plugin);
        let members = pool.members().iter().map(|it| &it.backend);
        let mut filters = secrets::filters(source, members, machine);
        filters.extend([module, module::codec()]);
        let options = json!({
            "explicit_http_config": {"http_protocol_options": {}},
            "http_filters": filters,
        });
        let name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        json!({name: typed(name, options)})
    });
    let clusters = pool.orders().iter().map(|order| {
        let mut cluster = cluster(pool, order);
        if let (Value::Object(cluster), Some(options)) = (&mut cluster, &options) {
            let name = "typed_extension_protocol_options".to_owned();
            cluster.insert(name, options.clone());
        }
        cluster
    });
    clusters.collect()
}

/// What makes an attempt go to the next child.
pub fn retry_priority() -> Value {
    extension(
        "envoy.retry_priorities.previous_priorities",
        "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
        json!({"update_frequency": 1}),
    )
}

fn cluster(pool: &Pool, order: &Order) -> Value {
    let members = order
        .round
        .iter()
        .filter_map(|place| pool.members().get(*place));
    let children: Vec<&str> = members.map(|member| member.backend.name.as_str()).collect();
    json!({
        "name": *order.cluster,
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": extension(
            "envoy.clusters.aggregate",
            "envoy.extensions.clusters.aggregate.v3.ClusterConfig",
            json!({"clusters": children}),
        ),
        // Attempts after the first are counted here, not at the children.
        "circuit_breakers": circuit_breakers(),
    })
}
