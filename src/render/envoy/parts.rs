//! The configuration in parts: what Envoy reads once, and what it reads again when a file is replaced.
//!
//! ```text
//! bootstrap ── listener ─┬─ ECDS: the plugin in the listener ─┐
//!     │                  └─ RDS: the routes                   ├─ one file each, replaced by rename
//!     └─ CDS: the clusters, each with its own plugin ─────────┘
//! ```
//!
//! Envoy takes each of these without closing a connection. An update of the listener itself would cut
//! the streams that run, so nothing that can change is left in it.
//!
//! Source: <https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/overview/xds_api>; tried on 1.37.0, too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::Source;
use super::{CHOOSER, Machine, NAME, Table, bootstrap, typed};

/// A configuration in parts. Its source has its plugins apart: [`Source::keep_plugins_apart`].
#[derive(Clone, Debug)]
pub struct Parts {
    /// What Envoy reads when it starts, and never again.
    pub bootstrap: Value,
    /// The clusters, by name.
    pub clusters: BTreeMap<String, Value>,
    /// The routes.
    pub table: Table,
    /// The plugin in the listener, or a filter that does nothing.
    pub chooser: Value,
}

/// One of the files that Envoy reads again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// The clusters.
    Clusters,
    /// The routes.
    Routes,
    /// The plugin in the listener.
    Chooser,
}

impl File {
    /// Where it is below the directory of all of them: each has its own, since Envoy reads a file again
    /// whenever any file is renamed into its directory.
    pub fn path(self, directory: &Path) -> PathBuf {
        let name = match self {
            Self::Clusters => "clusters",
            Self::Routes => "routes",
            Self::Chooser => "chooser",
        };
        directory.join(name).join("resources.json")
    }

    /// The prefix of its statistics.
    pub fn statistics(self) -> String {
        match self {
            Self::Clusters => "cluster_manager.cds".to_owned(),
            Self::Routes => format!("http.{NAME}.rds.{NAME}"),
            Self::Chooser => format!("extension_config_discovery.http_filter.{NAME}"),
        }
    }

    fn source(self, directory: &Path) -> Value {
        let path = self.path(directory);
        let watched = path.parent().unwrap_or(directory);
        json!({
            "resource_api_version": "V3",
            "path_config_source": {
                "path": path.display().to_string(),
                "watched_directory": {"path": watched.display().to_string()},
            },
        })
    }
}

impl Parts {
    /// The parts of a configuration whose files are in this directory.
    pub fn new(source: &Source, machine: &Machine, directory: &Path) -> Self {
        let mut bootstrap = bootstrap(source, machine);
        let clusters = bootstrap.pointer_mut("/static_resources/clusters");
        let clusters = clusters.map(Value::take).unwrap_or_default();
        let mut clusters: BTreeMap<String, Value> = match clusters {
            Value::Array(clusters) => clusters.into_iter().filter_map(named).collect(),
            _ => BTreeMap::new(),
        };
        let mut chooser = typed(
            "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
            json!({"mutations": {}}),
        );
        if let Some(Value::Object(manager)) = bootstrap.pointer_mut(CONNECTION_MANAGER) {
            manager.shift_remove("route_config");
            let routes = File::Routes.source(directory);
            let routes = json!({"route_config_name": NAME, "config_source": routes});
            manager.insert("rds".to_owned(), routes);
            if let Some(Value::Array(filters)) = manager.get_mut("http_filters") {
                let name = Value::from(format!("{NAME}.{CHOOSER}"));
                let is_chooser =
                    |it: &Value| it.pointer("/typed_config/config/name") == Some(&name);
                let mut place = filters.len().saturating_sub(1);
                if let Some(found) = filters.iter().position(is_chooser) {
                    place = found;
                    let mut filter = filters.remove(found);
                    if let Some(config) = filter.get_mut("typed_config") {
                        chooser = config.take();
                    }
                }
                let types: BTreeSet<&str> = BTreeSet::from([WASM, HEADER_MUTATION]);
                let filter = json!({"name": NAME, "config_discovery": {
                    "config_source": File::Chooser.source(directory),
                    "type_urls": types,
                }});
                filters.insert(place, filter);
            }
        }
        let mut named = BTreeSet::new();
        find_clusters(&bootstrap, &mut named);
        let fixed: Vec<Value> = named.iter().filter_map(|it| clusters.remove(it)).collect();
        if let Value::Object(bootstrap) = &mut bootstrap {
            if let Some(Value::Object(resources)) = bootstrap.get_mut("static_resources") {
                resources.insert("clusters".to_owned(), fixed.into());
            }
            let clusters = File::Clusters.source(directory);
            let resources = json!({"cds_config": clusters});
            bootstrap.insert("dynamic_resources".to_owned(), resources);
        }
        Self {
            bootstrap,
            clusters,
            table: Table::new(source, machine),
            chooser,
        }
    }
}

/// The file with clusters.
pub fn clusters<'a>(clusters: impl Iterator<Item = &'a Value>, version: u64) -> Value {
    let clusters = clusters.map(|it| typed("envoy.config.cluster.v3.Cluster", it.clone()));
    response(clusters.collect(), version)
}

/// The file with routes.
pub fn routes(table: &Table, version: u64) -> Value {
    let routes = typed("envoy.config.route.v3.RouteConfiguration", table.to_value());
    response(vec![routes], version)
}

/// The file with the plugin in the listener.
pub fn chooser(filter: &Value, version: u64) -> Value {
    let config = json!({"name": NAME, "typed_config": filter});
    let config = typed("envoy.config.core.v3.TypedExtensionConfig", config);
    response(vec![config], version)
}

fn response(resources: Vec<Value>, version: u64) -> Value {
    json!({"version_info": version.to_string(), "resources": resources})
}

/// The names of the clusters to which a configuration refers: Envoy needs these when it starts.
fn find_clusters(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|it| find_clusters(it, found)),
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(name) if matches!(key.as_str(), "cluster" | "cluster_name") => {
                        found.insert(name.clone());
                    }
                    // Of which cluster Envoy itself is.
                    _ if key == "node" => {}
                    value => find_clusters(value, found),
                }
            }
        }
        _ => {}
    }
}

fn named(cluster: Value) -> Option<(String, Value)> {
    let name = cluster.get("name")?.as_str()?.to_owned();
    Some((name, cluster))
}

const CONNECTION_MANAGER: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const HEADER_MUTATION: &str =
    "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::envoy::DEFAULT_HEAP_LIMIT;

    fn parts(backends: &str, routes: &str) -> Parts {
        let text = format!("{{listen: '127.0.0.1:1', backends: [{backends}], routes: [{routes}]}}");
        let mut source = Source::parse_without_keys(&text, &|_: &str| None).unwrap();
        source.keep_plugins_apart(&BTreeSet::from(["K".to_owned()]));
        let machine = Machine {
            module: "module.wasm".to_owned(),
            roots: "roots.pem".to_owned(),
            is_whole: true,
            secrets: "secrets".to_owned(),
            heap_limit: DEFAULT_HEAP_LIMIT,
            has_cgroup_limit: false,
        };
        Parts::new(&source, &machine, Path::new("files"))
    }

    const B: &str = "{name: b, type: xai, config: {apiKey: $K}}";
    const POOL: &str = "{name: p, type: pool, backends: [{name: a}, {name: b}]}";

    #[test]
    fn a_change_of_a_backend_leaves_the_listener_and_the_other_backends_as_they_are() {
        let a =
            |model: &str| format!("{{name: a, type: xai, config: {{apiKey: $K, model: {model}}}}}");
        let routes = "{path: /p, backend: p}, {path: /b, backend: b}";
        let before = parts(&[&a("x"), B, POOL].join(","), routes);
        let after = parts(&[&a("y"), B, POOL].join(","), routes);
        assert_eq!(before.bootstrap, after.bootstrap);
        assert_eq!(before.clusters["b"], after.clusters["b"]);
        assert_ne!(before.clusters["a"], after.clusters["a"]);
        assert_ne!(before.clusters["p/b"], after.clusters["p/b"]);
    }

    #[test]
    fn a_first_pool_and_a_route_by_model_leave_the_listener_as_it_is() {
        let a = "{name: a, type: xai, config: {apiKey: $K}}";
        let plain = parts(
            &[a, B].join(","),
            "{path: /p, backend: a}, {path: /b, backend: b}",
        );
        // A model of the route is in its metadata, of which the plugins that were there are to know.
        let routes = "{path: /p, backend: p}, {path: /b, models: [x], model: y, backend: b}";
        let chosen = parts(&[a, B, POOL].join(","), routes);
        assert_eq!(plain.bootstrap, chosen.bootstrap);
        assert_eq!(plain.clusters["b"], chosen.clusters["b"]);
        assert_ne!(plain.chooser, chosen.chooser);
    }

    #[test]
    fn routes_of_two_configurations_serve_the_plugins_of_both() {
        let a = "{name: a, type: xai, config: {apiKey: $K}}";
        let old = parts(&[a, B].join(","), "{name: old, path: /p, backend: a}");
        let new = parts(&[a, B, POOL].join(","), "{name: new, path: /p, backend: p}");
        let both = Table::both(&new.table, &old.table).to_value();
        let routes = both
            .pointer("/virtual_hosts/0/routes")
            .and_then(Value::as_array)
            .unwrap();
        let names = ["new", "old"];
        let ours: Vec<&Value> = routes
            .iter()
            .filter(|it| names.contains(&it["name"].as_str().unwrap()))
            .collect();
        assert_eq!(ours.len(), 2, "{both:#}");
        // Only what the new plugin has seen has the header that names a cluster of the pool.
        assert_eq!(ours[0]["name"], "new");
        let headers = ours[0]["match"]["headers"].as_array().unwrap();
        assert!(
            headers.iter().any(|it| it["present_match"] == true),
            "{headers:?}"
        );
        assert_eq!(ours[1]["name"], "old");
        assert_eq!(ours[1]["match"], json!({"path_separated_prefix": "/p"}));
    }
}
