//! The clusters of a pool: one for each order in which its members may be asked.
//!
//! The N-th attempt of a request goes to the N-th child. TLS and the HTTP version are the child's;
//! the filters are the router's, since these clusters have none of their own.
//!
//! Source: <https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/extensions/clusters/composite/v3/cluster.proto>,
//! from Envoy 1.37 on.

use serde_json::{Value, json};

use super::{circuit_breakers, extension};
use crate::pool::{Order, Pool};

/// The clusters.
pub fn clusters(pool: &Pool) -> Vec<Value> {
    pool.orders()
        .iter()
        .map(|order| cluster(pool, order))
        .collect()
}

fn cluster(pool: &Pool, order: &Order) -> Value {
    let member = |place: &usize| pool.members().get(*place);
    let children: Vec<Value> = order
        .attempts
        .iter()
        .filter_map(member)
        .map(|member| json!({"name": member.backend.name.as_str()}))
        .collect();
    json!({
        "name": *order.cluster,
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": extension(
            "envoy.clusters.composite",
            "envoy.extensions.clusters.composite.v3.ClusterConfig",
            json!({"clusters": children}),
        ),
        // Attempts after the first are counted here, not at the children.
        "circuit_breakers": circuit_breakers(),
    })
}
