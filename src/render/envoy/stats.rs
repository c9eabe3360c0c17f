//! How Envoy reads the names of the module's metrics: labels out of names, and the bounds of histograms.
//!
//! Source: <https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/config/metrics/v3/stats.proto>.

use serde_json::{Value, json};

use crate::contract::telemetry::{CLUSTER_PREFIX_REGEX, METRICS, MetricKind, TAGS};

/// The member `stats_config` of the bootstrap configuration.
pub fn config() -> Value {
    let tags = TAGS
        .iter()
        .map(|tag| json!({"tag_name": tag.attribute, "regex": tag.regex()}));
    // Envoy 1.37 and 1.38 put the cluster before the name.
    let prefix = json!({"tag_name": "llm_proxy.cluster", "regex": CLUSTER_PREFIX_REGEX});
    let tags: Vec<Value> = [prefix].into_iter().chain(tags).collect();
    let buckets = METRICS.iter().filter_map(|metric| match metric.kind {
        MetricKind::Histogram(bounds) => {
            Some(json!({"match": {"contains": metric.name}, "buckets": bounds}))
        }
        MetricKind::Counter | MetricKind::Gauge => None,
    });
    let buckets: Vec<Value> = buckets.collect();
    json!({"stats_tags": tags, "histogram_bucket_settings": buckets})
}
