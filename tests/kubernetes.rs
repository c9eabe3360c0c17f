//! What gateways are rendered to for Istio and Envoy Gateway.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking"
)]
#![cfg(not(target_family = "wasm"))]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use llm_proxy::config::Gateway;
use llm_proxy::render::envoy_gateway::{self, Cluster};
use llm_proxy::render::istio::{self, Api, Mesh, Proxies};
use llm_proxy::render::kubernetes::Module;
use llm_proxy::render::{Source, kubernetes};
use serde_json::{Value, json};

const IMAGE: &str = "oci://registry.example.com/llm-proxy:0.1.0";
const SHA256: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn module() -> Module {
    Module::new(IMAGE, Some(SHA256)).unwrap()
}

fn selector() -> Vec<(String, String)> {
    vec![("istio".to_owned(), "llm-gateway".to_owned())]
}

/// As the walk-through has it.
fn mesh(holds: bool) -> Mesh {
    Mesh {
        name: "llm-proxy".to_owned(),
        module: module(),
        namespace: "istio-ingress".to_owned(),
        proxies: Proxies::Gateways {
            selector: selector(),
            gateway: None,
        },
        holds,
        api: Api::WasmPlugin,
        roots: "/etc/ssl/certs/ca-certificates.crt".to_owned(),
    }
}

fn cluster(holds: bool) -> Cluster {
    Cluster {
        name: "llm-proxy".to_owned(),
        module: module(),
        namespace: "default".to_owned(),
        gateway: envoy_gateway::Gateway::Own {
            class: "eg".to_owned(),
            secret: "llm-keys".to_owned(),
        },
        holds,
        roots: "/etc/ssl/certs/ca-certificates.crt".to_owned(),
        listeners: Vec::new(),
        merges_extensions: false,
    }
}

fn source(text: &str) -> Source {
    Source::parse_without_keys(text, &|_: &str| None).unwrap()
}

fn one(backend: &str) -> Source {
    source(&format!(
        "{{backends: [{backend}], routes: [{{path: /v1, backend: a}}]}}"
    ))
}

fn kind<'a>(resources: &'a [Value], kind: &str) -> &'a Value {
    let mut found = resources.iter().filter(|it| it["kind"] == kind);
    let first = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    first
}

fn kinds(resources: &[Value]) -> Vec<&str> {
    let kinds = resources.iter().map(|it| it["kind"].as_str().unwrap());
    kinds.collect()
}

#[test]
fn every_example_is_rendered_beside_it() {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/envoy/kubernetes"));
    for (name, holds) in [("plain", false), ("held", true)] {
        let file = format!("envoy/kubernetes/{name}.gateway.yaml");
        let text = fs::read_to_string(directory.join(format!("{name}.gateway.yaml"))).unwrap();
        let first = text.lines().next().unwrap();
        assert_eq!(
            first,
            "# yaml-language-server: $schema=../gateway.schema.json"
        );
        let source = source(&text);
        for (home, rendered) in [
            ("istio", istio::yaml(&source, &mesh(holds), &file)),
            (
                "envoy-gateway",
                envoy_gateway::yaml(&source, &cluster(holds), &file),
            ),
        ] {
            let rendered = rendered.unwrap();
            let beside = directory.join(format!("{name}.{home}.yaml"));
            if std::env::var_os("UPDATE").is_some() {
                fs::write(&beside, &rendered).unwrap();
            }
            assert!(
                fs::read_to_string(&beside).unwrap_or_default() == rendered,
                "{} is stale: refresh it with `UPDATE=1 cargo test --test kubernetes`",
                beside.display()
            );
        }
    }
}

#[test]
fn no_key_is_ever_rendered() {
    let text = r#"
        backends:
        - name: a
          type: openai
          config:
            apiKey: sentinel-1
            orgId: sentinel-2
            headers: {x-a: sentinel-3}
            auth: {query: {c: sentinel-4}}
        - {name: b, type: mistral, config: {apiKey: "x${B}", headers: {x-a: "Token ${T}"}}}
        routes: [{path: /a, backend: a}, {path: /b, backend: b}]
    "#;
    let source = Source::parse(text, &|name: &str| Some(format!("sentinel-{name}"))).unwrap();
    for holds in [false, true] {
        for rendered in [
            istio::yaml(&source, &mesh(holds), "gateway.yaml").unwrap(),
            envoy_gateway::yaml(&source, &cluster(holds), "gateway.yaml").unwrap(),
        ] {
            assert!(!rendered.contains("sentinel"), "{rendered}");
            for name in ["B", "LLM_PROXY_A_API_KEY", "LLM_PROXY_A_AUTH_QUERY_C"] {
                assert!(rendered.contains(name), "{name}");
            }
        }
    }
}

#[test]
fn routes_set_the_key_and_the_headers_so_that_none_is_chosen_by_them() {
    let source = one("{name: a, type: xai, config: {apiKey: '${A}', \
         headers: {x-own: '100% ${B} %ENVIRONMENT(C)%', x-two: literal}}}");
    let expected = json!({
        "authorization": "Bearer %ENVIRONMENT(A)%",
        "x-own": "100%% %ENVIRONMENT(B)% %%ENVIRONMENT(C)%%",
        "x-two": "%ENVIRONMENT(LLM_PROXY_A_HEADERS_X_TWO)%",
    });
    let istio = istio::resources(&source, &mesh(false)).unwrap();
    let service = kind(&istio, "VirtualService");
    assert_eq!(
        service["spec"]["http"][0]["headers"]["request"]["set"],
        expected
    );
    for holds in [false, true] {
        let resources = envoy_gateway::resources(&source, &cluster(holds)).unwrap();
        let route = kind(&resources, "HTTPRoute").to_string();
        for (name, value) in expected.as_object().unwrap() {
            let set = json!({"name": name, "value": value}).to_string();
            assert!(route.contains(&set), "{set} in {route}");
        }
        let plugin = &kind(&resources, "EnvoyExtensionPolicy")["spec"]["wasm"][0]["config"];
        assert_eq!(plugin["routesSetHeaders"], true);
        assert!(route.contains("\"x-request-id\""));
    }
}

#[test]
fn what_a_home_cannot_do_is_refused_with_the_form_that_can() {
    let refused = |source: &Source, holds: bool| {
        let error = |result: Result<Vec<Value>, _>| match result {
            Ok(_) => String::new(),
            Err(errors) => llm_proxy::config::ConfigErrors::to_string(&errors),
        };
        (
            error(istio::resources(source, &mesh(holds))),
            error(envoy_gateway::resources(source, &cluster(holds))),
        )
    };
    for backend in [
        "{name: a, type: anthropic, config: {apiKey: $K}}",
        "{name: a, type: google, config: {apiKey: $K}}",
        "{name: a, type: azure-openai, config: {endpoint: https://a.example, apiVersion: 2024-10-21}}",
    ] {
        let source = one(backend);
        let (istio, envoy_gateway) = refused(&source, false);
        assert!(istio.contains("render istio --hold"), "{istio}");
        assert!(
            envoy_gateway.contains("render envoy-gateway --hold"),
            "{envoy_gateway}"
        );
        assert!(istio.starts_with("backends[0]."), "{istio}");
        assert_eq!(refused(&source, true), (String::new(), String::new()));
    }

    let pool = source(
        "{backends: [{name: unused, type: anthropic}, {name: b, type: mistral}, {name: c, type: groq}, \
          {name: a, type: pool, backends: [{name: b}, {name: c}]}], \
          routes: [{path: /v1, backend: a}]}",
    );
    let message = "backends[3].type: a pool needs the module on each cluster, where it sees every \
                   attempt; `render istio --hold`, `render envoy-gateway --hold` and `render envoy` put it \
                   there";
    let both = (message.to_owned(), message.to_owned());
    assert_eq!(refused(&pool, false), both);
    // Envoy cannot read an image by itself.
    let image = "--wasm: pools and access tokens need the module at an https:// address";
    let (istio, envoy_gateway) = refused(&pool, true);
    assert_eq!(istio, "");
    assert!(envoy_gateway.contains(image), "{envoy_gateway}");

    let vertex = "{name: a, type: google, config: {projectId: p, location: us-central1}}";
    let (istio, envoy_gateway) = refused(&one(vertex), true);
    assert_eq!(istio, "");
    assert!(envoy_gateway.contains(image), "{envoy_gateway}");

    let (istio, envoy_gateway) = refused(&one("{name: a, type: ollama}"), false);
    for error in [istio, envoy_gateway] {
        assert!(error.starts_with("backends[0].config.endpoint"), "{error}");
        assert!(error.contains("the proxy's own pod"), "{error}");
    }

    let seed = "{name: a, type: mistral, config: {overrides: {seed: 9007199254740993}}}";
    let (istio, envoy_gateway) = refused(&one(seed), false);
    assert!(
        istio.contains("overrides.seed: a WasmPlugin cannot carry"),
        "{istio}"
    );
    assert_eq!(envoy_gateway, "");

    let ca_file = "{name: a, type: mistral, config: {tls: {caFile: ca.pem}}}";
    let (istio, envoy_gateway) = refused(&one(ca_file), false);
    assert_eq!(istio, "");
    assert!(
        envoy_gateway.contains("from a ConfigMap"),
        "{envoy_gateway}"
    );

    let same = source(
        "{backends: [{name: a_b, type: mistral}, {name: a-b, type: groq}], \
          routes: [{path: /a, backend: a_b}, {path: /b, backend: a-b}]}",
    );
    let (istio, _) = refused(&same, false);
    assert!(istio.contains("backends[1].name: in Kubernetes"), "{istio}");

    let two_ways = source(
        "{backends: [{name: a, type: mistral}, {name: b, type: mistral, config: {tls: {insecure: true}}}], \
          routes: [{path: /a, backend: a}, {path: /b, backend: b}]}",
    );
    let (istio, _) = refused(&two_ways, false);
    assert!(istio.contains("one way to a host"), "{istio}");
}

#[test]
fn backends_at_one_host_share_its_service() {
    let source = source(
        "{backends: [{name: a, type: mistral}, {name: b, type: mistral, config: {model: m}}], \
          routes: [{path: /a, backend: a}, {path: /b, backend: b}]}",
    );
    let resources = istio::resources(&source, &mesh(false)).unwrap();
    assert_eq!(
        kind(&resources, "ServiceEntry")["spec"]["hosts"],
        json!(["api.mistral.ai"])
    );
    let routes = &kind(&resources, "VirtualService")["spec"]["http"];
    // The last one is for what none of them matches.
    assert_eq!(routes.as_array().unwrap().len(), 3);
}

#[test]
fn providers_are_found_where_they_are() {
    let entry = |backend: &str| {
        let resources = istio::resources(&one(backend), &mesh(false)).unwrap();
        let entry = resources.iter().find(|it| it["kind"] == "ServiceEntry");
        let rule = resources.iter().find(|it| it["kind"] == "DestinationRule");
        let route =
            &kind(&resources, "VirtualService")["spec"]["http"][0]["route"][0]["destination"];
        let spec = |it: Option<&Value>| it.map_or(Value::Null, |it| it["spec"].clone());
        (spec(entry), spec(rule), route.clone())
    };
    let (_, rule, _) = entry("{name: a, type: mistral}");
    assert_eq!(
        rule["trafficPolicy"]["portLevelSettings"][0]["tls"],
        json!({
            "mode": "SIMPLE",
            "sni": "api.mistral.ai",
            "subjectAltNames": ["api.mistral.ai"],
            "caCertificates": "/etc/ssl/certs/ca-certificates.crt",
        })
    );

    let moved = "{name: a, type: mistral, config: {address: \"10.0.0.1:8443\"}}";
    let (entry_, _, route) = entry(moved);
    assert_eq!(entry_["resolution"], "STATIC");
    assert_eq!(entry_["endpoints"], json!([{"address": "10.0.0.1"}]));
    assert_eq!(entry_["ports"][0]["number"], 443);
    assert_eq!(entry_["ports"][0]["targetPort"], 8443);
    assert_eq!(
        route,
        json!({"host": "api.mistral.ai", "port": {"number": 443}})
    );

    let (entry_, rule, route) =
        entry("{name: a, type: vllm, config: {endpoint: \"http://10.0.0.1:8000\"}}");
    assert_eq!(entry_["hosts"], json!(["llm-proxy-a.internal"]));
    assert_eq!(entry_["ports"][0]["protocol"], "HTTP");
    assert_eq!(
        rule["trafficPolicy"]["portLevelSettings"][0]["tls"],
        json!({"mode": "DISABLE"})
    );
    assert_eq!(route["host"], "llm-proxy-a.internal");

    // A service of the cluster is Istio's already.
    let inside =
        "{name: a, type: vllm, config: {endpoint: \"http://vllm.models.svc.cluster.local:8000\"}}";
    let (entry_, rule, route) = entry(inside);
    assert_eq!((entry_, rule), (Value::Null, Value::Null));
    assert_eq!(route["host"], "vllm.models.svc.cluster.local");

    let unchecked =
        "{name: a, type: mistral, config: {tls: {insecure: true, serverName: b.example}}}";
    let (_, rule, _) = entry(unchecked);
    assert_eq!(
        rule["trafficPolicy"]["portLevelSettings"][0]["tls"],
        json!({"mode": "SIMPLE", "sni": "b.example", "insecureSkipVerify": true})
    );
}

#[test]
fn sidecars_have_a_port_of_their_own() {
    let mesh = Mesh {
        namespace: "apps".to_owned(),
        proxies: Proxies::Sidecars {
            selector: vec![("app".to_owned(), "chat".to_owned())],
            port: 10_000,
        },
        ..mesh(false)
    };
    let resources = istio::resources(&one("{name: a, type: mistral}"), &mesh).unwrap();
    assert_eq!(
        kinds(&resources),
        [
            "WasmPlugin",
            "ServiceEntry",
            "DestinationRule",
            "VirtualService"
        ]
    );
    let plugin = &kind(&resources, "WasmPlugin")["spec"];
    assert_eq!(
        plugin["match"],
        json!([{"mode": "CLIENT", "ports": [{"number": 10_000}]}])
    );
    let port =
        json!({"number": 10_000, "name": "http-10000", "protocol": "HTTP", "targetPort": 443});
    assert_eq!(
        kind(&resources, "ServiceEntry")["spec"]["ports"],
        json!([port])
    );
    let service = &kind(&resources, "VirtualService")["spec"];
    assert_eq!(service["hosts"], json!(["api.mistral.ai"]));
    assert_eq!(service["gateways"], json!(["mesh"]));
    let destination = &service["http"][0]["route"][0]["destination"];
    assert_eq!(destination["port"]["number"], 10_000);

    for endpoint in [
        "http://10.0.0.1:8000",
        "http://vllm.models.svc.cluster.local:8000",
    ] {
        let backend = format!("{{name: a, type: vllm, config: {{endpoint: \"{endpoint}\"}}}}");
        let errors = istio::resources(&one(&backend), &mesh)
            .unwrap_err()
            .to_string();
        assert!(errors.contains("without --sidecar"), "{errors}");
    }
}

#[test]
fn a_gateway_of_the_gateway_api_has_http_routes() {
    let mesh = Mesh {
        proxies: Proxies::GatewayApi("llm".to_owned()),
        ..mesh(false)
    };
    let resources = istio::resources(&one("{name: a, type: mistral}"), &mesh).unwrap();
    assert_eq!(
        kinds(&resources),
        ["WasmPlugin", "ServiceEntry", "DestinationRule", "HTTPRoute"]
    );
    assert_eq!(
        kind(&resources, "WasmPlugin")["spec"]["targetRefs"],
        json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "llm"}])
    );
    let rule = &kind(&resources, "HTTPRoute")["spec"]["rules"][0];
    assert_eq!(
        rule["backendRefs"],
        json!([{"group": "networking.istio.io", "kind": "Hostname", "name": "api.mistral.ai", "port": 443}])
    );
    let retried = one("{name: a, type: mistral, config: {maxRetries: 1}}");
    let errors = istio::resources(&retried, &mesh).unwrap_err().to_string();
    assert!(errors.contains("an HTTPRoute has no retries"), "{errors}");
}

#[test]
fn what_envoy_reports_is_left_to_the_control_plane() {
    let rest = "backends: [{name: a, type: anthropic, config: {apiKey: $K}}], \
                routes: [{path: /v1, backend: a}]";
    let telemetry = "telemetry: {otlp: 'http://c:4318', traces: 10%, headers: {a: b}}, \
                     health: {live: /live}";
    let plain = source(&format!("{{{rest}}}"));
    let reporting = source(&format!("{{{telemetry}, {rest}}}"));
    let istio = |source| istio::resources(source, &mesh(true)).unwrap();
    let envoy_gateway = |source| envoy_gateway::resources(source, &cluster(true)).unwrap();
    assert_eq!(istio(&plain), istio(&reporting));
    assert_eq!(envoy_gateway(&plain), envoy_gateway(&reporting));
}

#[test]
fn held_headers_are_an_envoy_filter() {
    let source = one("{name: a, type: anthropic, config: {apiKey: $K}}");
    let resources = istio::resources(&source, &mesh(true)).unwrap();
    assert_eq!(
        kinds(&resources),
        ["Gateway", "VirtualService", "EnvoyFilter"]
    );
    let filter = kind(&resources, "EnvoyFilter");
    let patches = filter["spec"]["configPatches"].as_array().unwrap();
    let plugin = patches
        .iter()
        .find(|it| it["applyTo"] == "EXTENSION_CONFIG")
        .unwrap();
    let config = &plugin["patch"]["value"]["typed_config"]["config"];
    assert_eq!(config["allow_on_headers_stop_iteration"], true);
    assert_eq!(
        config["vm_config"]["code"]["remote"]["http_uri"]["uri"],
        IMAGE
    );
    assert_eq!(
        config["vm_config"]["environment_variables"]["host_env_keys"],
        json!(["K"])
    );
    assert!(!filter.to_string().contains("\"local\""), "no file");

    // What is in the pod already needs no agent.
    let in_pod = Mesh {
        module: kubernetes::Module::new("file:///etc/llm-proxy/plugin.wasm", None).unwrap(),
        ..mesh(true)
    };
    let resources = istio::resources(&source, &in_pod).unwrap();
    let filter = kind(&resources, "EnvoyFilter").to_string();
    assert!(
        filter.contains(r#""local":{"filename":"/etc/llm-proxy/plugin.wasm"}"#),
        "{filter}"
    );
    assert!(!filter.contains("config_discovery"));
}

/// The names of all extensions within a value: what has a `typed_config` beside its name.
fn extensions(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|it| extensions(it, found)),
        Value::Object(members) => {
            if members.contains_key("typed_config") {
                found.extend(
                    members
                        .get("name")
                        .and_then(Value::as_str)
                        .map(str::to_owned),
                );
            }
            members.values().for_each(|it| extensions(it, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn istios_own_proxy_has_every_extension_of_a_pool() {
    let text = "{backends: [{name: b, type: mistral}, \
                {name: c, type: google, config: {projectId: p, location: global}}, \
                {name: a, type: pool, backends: [{name: b}, {name: c}]}], \
                routes: [{path: /v1, backend: a}]}";
    let mut found = BTreeSet::new();
    let resources = istio::resources(&source(text), &mesh(true)).unwrap();
    extensions(kind(&resources, "EnvoyFilter"), &mut found);
    // Source: <https://github.com/istio/proxy/blob/master/extensions_build_config.bzl>, read
    // 2026-11-27: it has no `envoy.clusters.composite`. The plugins are the module's, by name.
    let built = [
        "envoy.access_loggers.extension_filters.cel",
        "envoy.cluster.dns",
        "envoy.clusters.aggregate",
        "envoy.filters.http.header_mutation",
        "envoy.filters.http.router",
        "envoy.filters.http.upstream_codec",
        "envoy.filters.network.http_connection_manager",
        "envoy.retry_priorities.previous_priorities",
        "envoy.transport_sockets.tls",
    ];
    let is_other =
        |name: &&String| !built.contains(&name.as_str()) && !name.starts_with("llm-proxy.");
    let others: Vec<&String> = found.iter().filter(is_other).collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(found.contains("envoy.clusters.aggregate"), "{found:?}");
}

#[test]
fn envoy_gateway_gets_pools_and_tokens_by_patches() {
    let pool = "{backends: [{name: b, type: mistral}, {name: c, type: anthropic, \
                config: {apiKey: $KEY, defaultModel: m}}, \
                {name: a, type: pool, backends: [{name: b}, {name: c}]}], \
                routes: [{path: /v1, backend: a}]}";
    let vertex = "{backends: [{name: a, type: google, config: {projectId: p, location: global}}], \
                  routes: [{path: /v1, backend: a}]}";
    let https = ("https://modules.example/llm_proxy.wasm", Some(SHA256));
    for (text, clusters, (url, sha256)) in [
        (
            pool,
            vec!["b", "c", "a/b", "a/c", "a/b/1", "a/c/2", "llm-proxy-module"],
            https,
        ),
        (
            pool,
            vec!["b", "c", "a/b", "a/c", "a/b/1", "a/c/2"],
            ("file:///llm_proxy.wasm", None),
        ),
        (
            vertex,
            vec![
                "a",
                "llm-token/metadata.google.internal:80",
                "llm-proxy-module",
            ],
            https,
        ),
    ] {
        let cluster = Cluster {
            module: Module::new(url, sha256).unwrap(),
            ..cluster(true)
        };
        let resources = envoy_gateway::resources(&source(text), &cluster).unwrap();
        let kinds: Vec<&str> = kinds(&resources);
        let kinds: Vec<&str> = kinds.into_iter().filter(|it| *it != "EnvoyProxy").collect();
        let expected = [
            "Gateway",
            "ClientTrafficPolicy",
            "HTTPRouteFilter",
            "HTTPRoute",
            "EnvoyPatchPolicy",
        ];
        assert_eq!(kinds, expected, "{text}");
        let patches = &kind(&resources, "EnvoyPatchPolicy")["spec"]["jsonPatches"];
        let patches = patches.as_array().unwrap();
        let added: Vec<&str> = patches
            .iter()
            .filter(|it| it["type"] == "type.googleapis.com/envoy.config.cluster.v3.Cluster")
            .map(|it| {
                assert_eq!(it["name"], it["operation"]["value"]["name"]);
                it["name"].as_str().unwrap()
            })
            .collect();
        assert_eq!(added, clusters);
        let paths: Vec<&str> = patches
            .iter()
            .filter_map(|it| it["operation"]["path"].as_str())
            .collect();
        for path in [
            "/virtual_hosts/0/routes",
            "/typed_config/suppress_envoy_headers",
        ] {
            assert!(paths.contains(&path), "{path}: {paths:?}");
        }
        // No plugin reads a file that is not there.
        let text = serde_json::to_string(&patches).unwrap();
        assert_eq!(
            text.contains("\"filename\":\"/llm_proxy.wasm\""),
            sha256.is_none()
        );
        assert_eq!(text.contains("\"remote\""), sha256.is_some());
    }
    let cluster = Cluster {
        module: Module::new(https.0, https.1).unwrap(),
        gateway: envoy_gateway::Gateway::Existing("shared".to_owned()),
        ..cluster(true)
    };
    let errors = envoy_gateway::resources(&source(pool), &cluster).unwrap_err();
    assert!(errors.to_string().contains("--gateway"), "{errors}");
}

#[test]
fn every_resource_carries_its_gateways_name_so_that_it_can_be_pruned() {
    let source = one("{name: a, type: mistral, config: {apiKey: $K}}");
    for holds in [false, true] {
        let mesh = Mesh {
            name: "team-a".to_owned(),
            ..mesh(holds)
        };
        let cluster = Cluster {
            name: "team-a".to_owned(),
            ..cluster(holds)
        };
        let resources = [
            istio::resources(&source, &mesh).unwrap(),
            envoy_gateway::resources(&source, &cluster).unwrap(),
        ];
        for resource in resources.iter().flatten() {
            let metadata = &resource["metadata"];
            let name = metadata["name"].as_str().unwrap();
            let names = ["team-a", "team-a-a", "team-a-route-1", "team-a-v1"];
            assert!(names.contains(&name), "{name}");
            assert_eq!(
                metadata["labels"],
                json!({
                    "app.kubernetes.io/instance": "team-a",
                    "app.kubernetes.io/managed-by": "llm-proxy",
                    "app.kubernetes.io/part-of": "llm-proxy",
                })
            );
        }
    }
}

#[test]
fn a_traffic_extension_has_all_that_a_wasm_plugin_has() {
    let source = one("{name: a, type: mistral, config: {apiKey: $K}}");
    for proxies in [
        mesh(false).proxies,
        Proxies::GatewayApi("llm".to_owned()),
        Proxies::Sidecars {
            selector: selector(),
            port: 10_000,
        },
    ] {
        let of = |api: Api| {
            let mesh = Mesh {
                api,
                proxies: proxies.clone(),
                ..mesh(false)
            };
            istio::resources(&source, &mesh).unwrap()
        };
        let (plugins, extensions) = (of(Api::WasmPlugin), of(Api::TrafficExtension));
        let mut plugin = kind(&plugins, "WasmPlugin")["spec"].clone();
        let mut extension = kind(&extensions, "TrafficExtension")["spec"].clone();
        // What concerns the module stands in a member of its own there.
        let module = extension.as_object_mut().unwrap().remove("wasm").unwrap();
        let plugin = plugin.as_object_mut().unwrap();
        for (key, value) in module.as_object().unwrap() {
            assert_eq!(plugin.remove(key).as_ref(), Some(value), "{key}");
        }
        assert_eq!(&Value::Object(plugin.clone()), &extension);
        assert_eq!(plugins[1..], extensions[1..], "the rest is the same");
    }
}

/// Istio's own proxy is built with fewer extensions than stock Envoy.
#[test]
fn istio_builds_its_proxy_with_every_extension_that_we_render() {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/envoy"));
    let known: Vec<&str> = include_str!("istio/extensions.txt")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    let mut used = std::collections::BTreeSet::new();
    for file in fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        if !path.to_string_lossy().ends_with(".gateway.yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let source = Source::parse_without_keys(&text, &|_: &str| None);
        // Those at the machine itself cannot be rendered for a pod.
        if let Ok(resources) = source.and_then(|source| istio::resources(&source, &mesh(true))) {
            for resource in &resources {
                types_and_names(resource, &mut used);
            }
        }
    }
    assert!(used.len() > 5, "{used:?}");
    let unknown: Vec<&String> = used
        .iter()
        .filter(|it| !known.contains(&it.as_str()))
        .collect();
    assert!(
        unknown.is_empty(),
        "not in istio/proxy's build: {unknown:?}"
    );
}

/// What names an extension of Envoy: the type of a configuration, or a name that Envoy defines.
fn types_and_names(value: &Value, found: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match (key.as_str(), value) {
                    ("@type", Value::String(url)) => {
                        found.insert(url.trim_start_matches("type.googleapis.com/").to_owned());
                    }
                    ("name" | "runtime", Value::String(name)) if name.starts_with("envoy.") => {
                        found.insert(name.clone());
                    }
                    _ => types_and_names(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|it| types_and_names(it, found)),
        _ => {}
    }
}

#[test]
fn listeners_of_a_gateway_that_is_there_are_named_in_routes_and_patches() {
    let source = one("{name: a, type: anthropic, config: {apiKey: $K}}");
    let cluster = Cluster {
        gateway: envoy_gateway::Gateway::Existing("shared".to_owned()),
        listeners: vec!["http".to_owned(), "https".to_owned()],
        merges_extensions: true,
        ..cluster(true)
    };
    let resources = envoy_gateway::resources(&source, &cluster).unwrap();
    assert_eq!(
        kind(&resources, "HTTPRoute")["spec"]["parentRefs"],
        json!([
            {"name": "shared", "sectionName": "http"},
            {"name": "shared", "sectionName": "https"},
        ])
    );
    let patches = &kind(&resources, "EnvoyPatchPolicy")["spec"]["jsonPatches"];
    let names: Vec<&Value> = patches
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(
        names,
        [
            "default/shared/http",
            "default/shared/http",
            "default/shared/https",
            "default/shared/https"
        ]
    );
    assert_eq!(
        kind(&resources, "EnvoyExtensionPolicy")["spec"]["mergeType"],
        "StrategicMerge"
    );
}

#[test]
fn a_gateway_that_is_there_keeps_its_policies_and_is_told_what_they_need() {
    let source = one("{name: a, type: anthropic, config: {apiKey: $A}}");
    let own = cluster(true);
    let shared = Cluster {
        gateway: envoy_gateway::Gateway::Existing("shared".to_owned()),
        ..own.clone()
    };
    let resources = envoy_gateway::resources(&source, &shared).unwrap();
    for not_ours in ["ClientTrafficPolicy", "EnvoyProxy", "Gateway"] {
        assert!(!kinds(&resources).contains(&not_ours), "{not_ours}");
    }
    // The comments are what the resources of a Gateway of our own have.
    let text = envoy_gateway::yaml(&source, &shared, "gateway.yaml").unwrap();
    let resources = envoy_gateway::resources(&source, &own).unwrap();
    for name in ["EnvoyProxy", "ClientTrafficPolicy"] {
        let head = format!("# the {name} of the Gateway shared needs:\n");
        let (_, rest) = text.split_once(&head).unwrap();
        let lines = rest.lines().map_while(|line| line.strip_prefix("#   "));
        let needed: Value = serde_yaml::from_str(&lines.collect::<Vec<_>>().join("\n")).unwrap();
        let mut spec = kind(&resources, name)["spec"].clone();
        for key in ["targetRefs", "provider"] {
            spec.as_object_mut().unwrap().shift_remove(key);
        }
        assert_eq!(needed, json!({"spec": spec}), "{name}");
    }
    assert!(text.starts_with("# rendered by llm-proxy"), "{text}");
}

#[test]
fn headers_are_held_by_the_patch_alone_and_on_the_listeners_that_it_names() {
    let source = one("{name: a, type: anthropic, config: {apiKey: $K}}");
    let cluster = Cluster {
        gateway: envoy_gateway::Gateway::Existing("shared".to_owned()),
        ..cluster(true)
    };
    let resources = envoy_gateway::resources(&source, &cluster).unwrap();
    // Without the patch the module refuses this configuration, instead of waiting forever.
    let unpatched = &kind(&resources, "EnvoyExtensionPolicy")["spec"]["wasm"][0]["config"];
    assert_eq!(unpatched.get("holdHeaders"), None);
    let refused = Gateway::parse(&unpatched.to_string(), &|_: &str| Some("k".to_owned()));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("needs holdHeaders: true"), "{refused}");

    let patches = &kind(&resources, "EnvoyPatchPolicy")["spec"]["jsonPatches"];
    let value = &patches[1]["operation"]["value"]["value"];
    let patched: Value = serde_json::from_str(value.as_str().unwrap()).unwrap();
    let mut expected = unpatched.clone();
    expected["holdHeaders"] = true.into();
    assert_eq!(patched, expected);

    // Routes are on no listener that is not patched.
    assert_eq!(patches[0]["name"], "default/shared/http");
    assert_eq!(
        kind(&resources, "HTTPRoute")["spec"]["parentRefs"],
        json!([{"name": "shared", "sectionName": "http"}])
    );
}

#[test]
fn routes_that_the_module_would_change_or_a_gateway_would_order_are_refused() {
    let refused = |routes: &str| {
        let source = source(&format!(
            "{{backends: [{{name: a, type: mistral}}, {{name: b, type: groq}}], routes: [{routes}]}}"
        ));
        let errors = |result: Result<Vec<Value>, llm_proxy::config::ConfigErrors>| {
            result
                .err()
                .map(|errors| errors.to_string())
                .unwrap_or_default()
        };
        (
            errors(istio::resources(&source, &mesh(false))),
            errors(envoy_gateway::resources(&source, &cluster(false))),
        )
    };
    let by_key = "{path: /a, headers: {x-api-key: k}, backend: a}, {path: /a, backend: b}";
    let (istio, envoy_gateway) = refused(by_key);
    for error in [istio, envoy_gateway] {
        assert!(
            error.starts_with("routes[0].headers.x-api-key: the module changes"),
            "{error}"
        );
    }
    let shorter_first = "{path: /v1, methods: [POST], backend: a}, {path: /v1/files, backend: b}";
    let (istio, envoy_gateway) = refused(shorter_first);
    assert_eq!(istio, "", "a VirtualService keeps the order");
    assert!(
        envoy_gateway.starts_with("routes[1]: a Gateway takes the longer path"),
        "{envoy_gateway}"
    );
    assert_eq!(
        refused("{path: /v1/files, backend: b}, {path: /v1, backend: a}"),
        (String::new(), String::new())
    );
}

#[test]
fn where_the_body_decides_requests_wait_on_a_route_of_their_own() {
    let source = source(
        "{backends: [{name: a, type: mistral}, {name: b, type: anthropic}], routes: [\
          {name: by-model, path: /v1, models: ['claude-*'], backend: b}, \
          {name: rest, path: /v1, backend: a}, {name: own, path: /own, backend: b}]}",
    );
    let resources = envoy_gateway::resources(&source, &cluster(true)).unwrap();
    let paths = |name: &str| {
        let route = resources.iter().find(|it| {
            it["kind"] == "HTTPRoute" && it["metadata"]["name"] == format!("llm-proxy-{name}")
        });
        let rules = route.unwrap()["spec"]["rules"].as_array().unwrap();
        let matches = rules
            .iter()
            .flat_map(|it| it["matches"].as_array().unwrap());
        matches
            .map(|it| it["path"]["value"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(paths("by-model-waiting"), ["/v1"]);
    assert_eq!(paths("by-model"), ["/~default.llm-proxy/by-model"]);
    assert_eq!(paths("rest"), ["/~default.llm-proxy/rest"]);
    assert_eq!(paths("own"), ["/own", "/~default.llm-proxy/own"]);
    let config = &kind(&resources, "EnvoyExtensionPolicy")["spec"]["wasm"][0]["config"];
    let followed: Vec<&Value> = config["routes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["envoyRoute"])
        .collect();
    assert_eq!(
        followed,
        [
            &json!("httproute/default/llm-proxy-by-model-waiting/*"),
            &Value::Null,
            &json!("httproute/default/llm-proxy-own/*"),
        ]
    );
}
