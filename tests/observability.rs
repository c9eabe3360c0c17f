//! `envoy/observability`: rules, alerts and the dashboard have the metrics and labels of the module.
//! `make e2e-observability` runs them in Prometheus.
#![cfg(not(target_family = "wasm"))]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fs;

use llm_proxy::contract::telemetry::{METRICS, Metric, MetricKind, TAGS};
use serde_json::Value;

fn file(name: &str) -> String {
    let path = format!("{}/envoy/observability/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).unwrap()
}

/// The rules of a file: the name of what is recorded, if anything, and the expression.
fn rules(name: &str) -> Vec<(Option<String>, String)> {
    let rules: Value = serde_yaml::from_str(&file(name)).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|it| it["rules"].as_array().unwrap());
    let text = |value: &Value| value.as_str().map(str::to_owned);
    rules
        .map(|it| (text(&it["record"]), text(&it["expr"]).unwrap()))
        .collect()
}

/// Every expression of the dashboard.
fn panels() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&file("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|it| it["targets"].as_array().unwrap());
    let mut found: Vec<String> = targets
        .map(|it| it["expr"].as_str().unwrap().to_owned())
        .collect();
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let queries = variables.filter_map(|it| it["query"]["query"].as_str());
    found.extend(queries.map(str::to_owned));
    found
}

/// A name as Prometheus has it.
fn prometheus(name: &str) -> String {
    name.replace('.', "_")
}

fn series(metric: &Metric) -> Vec<String> {
    let name = prometheus(metric.name);
    match metric.kind {
        MetricKind::Counter | MetricKind::Gauge => vec![name],
        MetricKind::Histogram(_) => ["bucket", "count", "sum"]
            .map(|it| format!("{name}_{it}"))
            .to_vec(),
    }
}

/// The names in an expression: whatever is neither a text, a variable of Grafana's nor a number.
fn names(expression: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut is_text = false;
    let mut name = String::new();
    for c in expression.chars().chain([' ']) {
        if c == '"' {
            is_text = !is_text;
        }
        if !is_text && (c.is_ascii_alphanumeric() || "_:$".contains(c)) {
            name.push(c);
            continue;
        }
        let begins_well = |c: char| c.is_ascii_alphabetic() || c == '_';
        if name.chars().next().is_some_and(begins_well) {
            names.insert(name.clone());
        }
        name.clear();
    }
    names
}

/// What PromQL has by itself, and what Prometheus adds.
const KNOWN: [&str; 17] = [
    "by",
    "histogram_quantile",
    "increase",
    "instance",
    "job",
    "label_values",
    "le",
    "or",
    "rate",
    "sum",
    "unless",
    "up",
    "and",
    "on",
    "max",
    "e9",
    "ignoring",
];

#[test]
fn every_name_is_one_of_the_module() {
    let mut known: BTreeSet<String> = KNOWN.map(str::to_owned).into();
    known.extend(METRICS.iter().flat_map(series));
    known.extend(TAGS.iter().map(|it| prometheus(it.attribute)));
    let recorded = rules("rules.yaml");
    known.extend(recorded.iter().filter_map(|(name, _)| name.clone()));
    let expressions = recorded.into_iter().chain(rules("alerts.yaml"));
    let expressions = expressions.map(|(_, expression)| expression);
    for expression in expressions.chain(panels()) {
        let unknown: Vec<String> = names(&expression).difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{unknown:?} in {expression}");
    }
}

#[test]
fn the_dashboard_has_every_metric_or_a_rule_that_has() {
    let panels = panels();
    let shown: BTreeSet<String> = panels.iter().flat_map(|it| names(it)).collect();
    let mut reached = shown.clone();
    for (name, expression) in rules("rules.yaml") {
        let name = name.expect("a rule records");
        if shown.contains(&name) {
            reached.extend(names(&expression));
        }
    }
    // What a histogram beside the exact counter of tokens is for.
    let is_left_out = |metric: &&Metric| metric.name == "gen_ai.client.token.usage";
    for metric in METRICS.iter().filter(|it| !is_left_out(it)) {
        let any = series(metric).iter().any(|it| reached.contains(it));
        assert!(any, "{} is on no panel", metric.name);
    }
}

#[test]
fn each_rule_has_a_test() {
    let tests = file("rules.test.yaml");
    for (name, _) in rules("rules.yaml") {
        let name = name.unwrap();
        // Those that are as simple as a rate need none.
        let is_simple = ["llm_proxy:attempts:rate5m", "llm_proxy:duration_ms:p95_5m"];
        assert!(
            is_simple.contains(&&*name) || tests.contains(&name),
            "{name}"
        );
    }
    let alerts = file("alerts.yaml");
    let names = alerts
        .lines()
        .filter_map(|it| it.trim().strip_prefix("- alert: "));
    for name in names {
        assert!(tests.contains(&format!("alertname: {name}")), "{name}");
    }
}
