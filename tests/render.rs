//! What `envoy/*.gateway.yaml` are rendered to: fresh, and without a key in it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking"
)]
#![cfg(not(target_family = "wasm"))]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use llm_proxy::config::Gateway;
use llm_proxy::contract::telemetry::METRICS;
use llm_proxy::render::Source;
use llm_proxy::render::envoy::{DEFAULT_HEAP_LIMIT, Machine, bootstrap, yaml};
use serde_json::{Value, json};

/// As the worked examples are rendered: to be started in a clone, on Debian or alike.
fn machine() -> Machine {
    Machine {
        is_whole: true,
        module: "target/module/release/llm_proxy.wasm".to_owned(),
        roots: "/etc/ssl/certs/ca-certificates.crt".to_owned(),
        secrets: "/etc/llm-proxy/secrets".to_owned(),
        heap_limit: DEFAULT_HEAP_LIMIT,
        has_cgroup_limit: false,
    }
}

fn no_variables(_: &str) -> Option<String> {
    None
}

/// Where providers live whose examples do not say it.
fn endpoints(name: &str) -> Option<String> {
    let endpoint = match name {
        "AZURE_OPENAI_ENDPOINT" => "https://my-resource.openai.azure.com",
        "LLAMA_ENDPOINT_URL" => "http://localhost:8000",
        _ => return None,
    };
    Some(endpoint.to_owned())
}

fn examples() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/envoy"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(".gateway.yaml"))
        .collect();
    files.sort();
    files
}

fn rendered_beside(path: &Path) -> PathBuf {
    PathBuf::from(
        path.to_str()
            .unwrap()
            .replace(".gateway.yaml", ".envoy.yaml"),
    )
}

/// The bootstrap of a configuration whose variables are all absent, without what all have: probes.
fn rendered(text: &str) -> Value {
    let mut gateway: Value = serde_yaml::from_str(text).unwrap();
    let off = || json!({"live": "off", "ready": "off"});
    gateway
        .as_object_mut()
        .unwrap()
        .entry("health")
        .or_insert_with(off);
    rendered_whole(&gateway.to_string())
}

fn rendered_whole(text: &str) -> Value {
    bootstrap(
        &Source::parse_without_keys(text, &no_variables).unwrap(),
        &machine(),
    )
}

fn routes(bootstrap: &Value) -> &Vec<Value> {
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let routes = format!("{manager}/route_config/virtual_hosts/0/routes");
    bootstrap.pointer(&routes).unwrap().as_array().unwrap()
}

fn cluster<'a>(bootstrap: &'a Value, name: &str) -> &'a Value {
    let clusters = bootstrap["static_resources"]["clusters"]
        .as_array()
        .unwrap();
    clusters
        .iter()
        .find(|cluster| cluster["name"] == name)
        .unwrap()
}

fn wasm(cluster: &Value) -> &Value {
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    &cluster["typed_extension_protocol_options"][options]["http_filters"][0]["typed_config"]["config"]
}

fn plugin(cluster: &Value) -> &str {
    wasm(cluster)["configuration"]["value"].as_str().unwrap()
}

#[test]
fn every_example_is_rendered_beside_it() {
    assert!(examples().len() >= 9);
    for path in examples() {
        let text = fs::read_to_string(&path).unwrap();
        let source = Source::parse_without_keys(&text, &endpoints).unwrap();
        let name = format!("envoy/{}", path.file_name().unwrap().to_str().unwrap());
        let rendered = yaml(&source, &machine(), &name);
        let beside = rendered_beside(&path);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&beside, &rendered).unwrap();
        }
        assert!(
            fs::read_to_string(&beside).unwrap_or_default() == rendered,
            "{} is stale: refresh it with `UPDATE=1 cargo test --test render`",
            beside.display()
        );
    }
}

#[test]
fn every_example_names_the_schema_in_its_first_line() {
    for path in examples() {
        let text = fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap();
        assert_eq!(
            first,
            "# yaml-language-server: $schema=gateway.schema.json",
            "{}",
            path.display()
        );
    }
}

#[test]
fn no_key_is_ever_rendered() {
    let account = r#"{"client_email": "sentinel", "private_key": "-----BEGIN sentinel"}"#;
    let sentinel = |name: &str| match name {
        "GOOGLE_SERVICE_ACCOUNT" => Some(account.to_owned()),
        name => endpoints(name).or_else(|| Some(format!("sentinel-{name}"))),
    };
    let literal = r#"
        backends:
        - name: a
          type: openai
          config:
            apiKey: sentinel-1
            orgId: sentinel-2
            projectId: sentinel-3
            headers: {x-a: sentinel-4}
            auth: {header: {x-b: sentinel-5}, query: {c: sentinel-6}}
        - {name: b, type: openai, config: {apiKey: "x${B}", headers: {x-a: "Token ${T}"}}}
        - name: c
          type: google
          config:
            projectId: p
            location: eu
            serviceAccount: '{"client_email": "sentinel", "private_key": "-----BEGIN sentinel"}'
        routes: [{path: /a, backend: a}, {path: /b, backend: b}, {path: /c, backend: c}]
    "#;
    let mut texts: Vec<String> = examples()
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    texts.push(literal.to_owned());
    for text in texts {
        let source = Source::parse(&text, &sentinel).unwrap();
        let rendered = yaml(&source, &machine(), "gateway.yaml");
        assert!(!rendered.contains("sentinel"), "{rendered}");
    }
}

#[test]
fn what_is_rendered_means_the_same_to_the_module() {
    let text = r##"
        maxRequestBytes: 1MiB
        backends:
        - name: a
          type: openai
          config:
            apiKey: literal$$
            orgId: $ORG
            endpoint: https://${HOST}.example/v1/chat/completions
            path: /v1/$$chat
            defaultModel: "yes"
            modelAliases: {"1e3": "null", "*": "${MODEL}"}
            headers: {x-a: "a: b", x-b: "Token ${T}"}
            defaults: {seed: 9223372036854775807, temperature: 0.1, stop: ["\n", "#"]}
            timeout: 1500ms
        - {name: b, type: xai, config: {apiKey: $XAI}}
        routes: [{path: /a, backend: a}, {path: /b, backend: b}]
    "##;
    let at_home = |name: &str| match name {
        "HOST" => Some("llm".to_owned()),
        name => Some(format!("value of {name}")),
    };
    let source = Source::parse(text, &at_home).unwrap();
    let expected = Gateway::parse(text, &at_home).unwrap();
    let bootstrap = bootstrap(&source, &machine());
    let a = cluster(&bootstrap, "a");

    // Envoy's environment has what `host_env_keys` names, and what `run` adds.
    let keys = wasm(a)["vm_config"]["environment_variables"]["host_env_keys"].clone();
    assert_eq!(
        keys,
        json!([
            "LLM_PROXY_A_API_KEY",
            "LLM_PROXY_A_HEADERS_X_A",
            "ORG",
            "T",
            "XAI"
        ])
    );
    let generated: BTreeMap<String, String> = source
        .variables()
        .iter()
        .map(|variable| (variable.name.clone(), variable.value.expose().to_string()))
        .collect();
    let in_envoy = |name: &str| {
        let names = keys.as_array().unwrap();
        assert!(
            names.contains(&json!(name)),
            "{name} is not in host_env_keys"
        );
        generated.get(name).cloned().or_else(|| at_home(name))
    };
    let module = Gateway::parse(plugin(a), &in_envoy).unwrap();
    assert_eq!(
        format!("{:?}", module.backends[0]),
        format!("{:?}", expected.backends[0])
    );
    assert_eq!(module.backends[0].auth, expected.backends[0].auth);
    assert_eq!(module.backends[0].headers, expected.backends[0].headers);
    assert_eq!(module.max_request_bytes, 1 << 20);
    assert_eq!(module.plugin.backend.unwrap().name.as_str(), "a");
    assert!(module.plugin.hold_headers);
}

#[test]
fn only_what_authenticates_is_left_to_the_environment() {
    let text = r#"
        backends:
        - name: a
          type: azure-openai
          config:
            apiKey: ${SECRET_1}
            endpoint: https://${TEXT}.example
            address: "${TEXT}.example:8443"
            deploymentName: ${TEXT}
            apiVersion: ${VERSION}
            modelAliases: {a: "${TEXT}"}
            headers: {x-a: "${SECRET_2}"}
            auth: {header: {x-b: "${SECRET_3}"}, query: {c: "${SECRET_4}"}}
            tls: {caFile: "${TEXT}", serverName: "${TEXT}"}
        - name: b
          type: openai
          config:
            orgId: ${SECRET_5}
            projectId: ${SECRET_6}
            path: /${TEXT}
            model: ${TEXT}
            defaultModel: ${TEXT}
        health: {ready: off}
        routes: [{path: /a, backend: a}, {path: /b, backend: b}]
    "#;
    let texts = |name: &str| match name {
        "TEXT" => Some("text".to_owned()),
        "VERSION" => Some("2024-10-21".to_owned()),
        _ => None,
    };
    let source = Source::parse_without_keys(text, &texts).unwrap();
    let expected: Vec<String> = (1..=6).map(|number| format!("SECRET_{number}")).collect();
    assert_eq!(
        source.variable_names().iter().cloned().collect::<Vec<_>>(),
        expected
    );
    let rendered = yaml(&source, &machine(), "gateway.yaml");
    let variables = rendered.matches("${").count();
    assert_eq!(variables, expected.len(), "{rendered}");
}

/// Envoy's reader takes an unquoted `on` for true, and then refuses the whole configuration.
#[test]
fn text_that_older_readers_take_for_something_else_is_quoted() {
    let text = "{backends: [{name: a, type: xai}], routes: [{name: \"yes\", path: /a, \
                headers: {x-beta: \"on\"}, model: \"no\", backend: a}]}";
    let source = Source::parse_without_keys(text, &no_variables).unwrap();
    let rendered = yaml(&source, &machine(), "gateway.yaml");
    for line in ["name: 'yes'\n", "exact: 'on'\n", "model: 'no'\n"] {
        assert!(rendered.contains(line), "{line}");
    }
}

#[test]
fn plugins_share_one_vm() {
    let bootstrap = rendered(
        "{backends: [{name: a, type: xai, config: {apiKey: $A}}, \
          {name: b, type: groq, config: {apiKey: $B}}], \
          routes: [{path: /a, backend: a}, {path: /b, backend: b}]}",
    );
    let [a, b] = ["a", "b"].map(|name| wasm(cluster(&bootstrap, name)).clone());
    assert_eq!(a["vm_config"], b["vm_config"]);
    assert_ne!(a["configuration"], b["configuration"]);
    assert!(
        !plugin(cluster(&bootstrap, "a")).contains("$B"),
        "a plugin knows one backend"
    );
}

#[test]
fn routes_keep_the_order_of_the_file() {
    let bootstrap = rendered(
        r#"
        backends: [{name: a, type: xai}]
        routes:
        - {name: host, hosts: [a.example, "*.b.example"], backend: a}
        - {name: long, path: /v1/chat, methods: [POST], backend: a}
        - {name: short, path: /v1, methods: [GET, POST], headers: {X-Team: a}, backend: a}
        - {name: alone, path: /mistral, backend: a, model: m}
        "#,
    );
    let names: Vec<&str> = routes(&bootstrap)
        .iter()
        .map(|route| route["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "host",
            "long",
            "short",
            "alone",
            "long-wrong-method",
            "short-wrong-method",
            "probe",
            "unknown-messages",
            "unknown"
        ]
    );
    let matches: Vec<&Value> = routes(&bootstrap)
        .iter()
        .map(|route| &route["match"])
        .collect();
    assert_eq!(
        *matches[0],
        json!({"prefix": "/", "headers": [{"name": ":authority", "string_match": {
            "safe_regex": {"regex": r"(?i)(a\.example|.*\.b\.example)(:[0-9]+)?"}}}]})
    );
    assert_eq!(
        *matches[1],
        json!({"path_separated_prefix": "/v1/chat", "headers": [
            {"name": ":method", "string_match": {"exact": "POST"}}]})
    );
    assert_eq!(
        *matches[2],
        json!({"path_separated_prefix": "/v1", "headers": [
            {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|POST"}}},
            {"name": "x-team", "string_match": {"exact": "a"}}]})
    );
    // The module is told what it cannot see.
    let metadata = |route: usize| &routes(&bootstrap)[route]["metadata"]["filter_metadata"];
    assert_eq!(*metadata(2), Value::Null);
    assert_eq!(
        *metadata(3),
        json!({"llm-proxy": {"path": "/mistral", "model": "m"}})
    );
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let bootstrap = rendered(
        r#"
        backends: [{name: a, type: xai}]
        routes:
        - {name: r1, path: /v1, methods: [POST], backend: a}
        - {name: r2, path: /v1/models, methods: [GET, HEAD], backend: a}
        - {name: r3, path: /v1/models, methods: [DELETE], backend: a}
        - {name: r4, path: /free, backend: a}
        - {name: r5, path: /v1, hosts: [x.example], methods: [PUT], backend: a}
        "#,
    );
    let refusals: Vec<(&str, u64, &str)> = routes(&bootstrap)
        .iter()
        .filter(|route| route.get("direct_response").is_some())
        .map(|route| {
            let allow = route["response_headers_to_add"].as_array().unwrap().iter();
            let mut allow = allow.filter(|it| it["header"]["key"] == "allow");
            (
                route["name"].as_str().unwrap(),
                route["direct_response"]["status"].as_u64().unwrap(),
                allow
                    .next()
                    .map_or("", |it| it["header"]["value"].as_str().unwrap()),
            )
        })
        .collect();
    assert_eq!(
        refusals,
        [
            ("r2-wrong-method", 405, "DELETE, GET, HEAD, POST"),
            ("r5-wrong-method", 405, "POST, PUT"),
            ("r1-wrong-method", 405, "POST"),
            ("probe", 200, ""),
            ("unknown-messages", 404, ""),
            ("unknown", 404, ""),
        ]
    );
}

#[test]
fn tls_is_what_the_endpoint_says() {
    let bootstrap = rendered(
        r#"
        backends:
        - {name: plain, type: ollama}
        - {name: tls, type: xai, config: {address: "127.0.0.1:8443"}}
        - {name: own, type: xai, config: {tls: {caFile: ca.pem, serverName: other.example}}}
        - {name: unchecked, type: xai, config: {tls: {insecure: true}}}
        - {name: ip, type: vllm, config: {endpoint: "https://[::1]:8443"}}
        routes:
        - {path: /1, backend: plain}
        - {path: /2, backend: tls}
        - {path: /3, backend: own}
        - {path: /4, backend: unchecked}
        - {path: /5, backend: ip}
        "#,
    );
    let tls = |name: &str| &cluster(&bootstrap, name)["transport_socket"]["typed_config"];
    let trusted = |name: &str| &tls(name)["common_tls_context"]["validation_context"];
    assert!(
        cluster(&bootstrap, "plain")
            .get("transport_socket")
            .is_none()
    );
    assert_eq!(tls("tls")["sni"], "api.x.ai");
    assert_eq!(
        *trusted("tls"),
        json!({
            "trusted_ca": {"filename": "/etc/ssl/certs/ca-certificates.crt"},
            "match_typed_subject_alt_names": [
                {"san_type": "DNS", "matcher": {"exact": "api.x.ai"}}],
        })
    );
    assert_eq!(tls("own")["sni"], "other.example");
    assert_eq!(
        *trusted("own"),
        json!({
            "trusted_ca": {"filename": "ca.pem"},
            "match_typed_subject_alt_names": [
                {"san_type": "DNS", "matcher": {"exact": "other.example"}}],
        })
    );
    assert_eq!(
        *trusted("unchecked"),
        json!({"trust_chain_verification": "ACCEPT_UNTRUSTED"})
    );
    assert_eq!(tls("ip")["sni"], Value::Null);
    assert_eq!(
        trusted("ip")["match_typed_subject_alt_names"],
        json!([{"san_type": "IP_ADDRESS", "matcher": {"exact": "::1"}}])
    );
}

#[test]
fn retries_are_what_max_retries_says() {
    let bootstrap = rendered(
        r#"
        backends:
        - {name: none, type: xai, config: {timeout: 5m}}
        - {name: two, type: xai, config: {timeout: 500ms, maxRetries: 2}}
        - {name: long, type: xai, config: {timeout: 24h, maxRetries: 100}}
        routes:
        - {path: /1, backend: none}
        - {path: /2, backend: two}
        - {path: /3, backend: long}
        "#,
    );
    let action = |route: usize| &routes(&bootstrap)[route]["route"];
    let none = &action(0)["retry_policy"];
    assert_eq!(
        none["retry_on"],
        "connect-failure,refused-stream,reset-before-request"
    );
    assert_eq!(none["num_retries"], 1);
    assert_eq!(none["per_try_timeout"], "300s");
    // Two attempts of five minutes and a pause fit into the silence that is allowed.
    assert_eq!(action(0)["idle_timeout"], "660s");
    let two = &action(1)["retry_policy"];
    assert_eq!(two["retry_on"], "5xx,retriable-status-codes");
    assert_eq!(two["retriable_status_codes"], json!([429]));
    assert_eq!(two["num_retries"], 2);
    assert_eq!(two["per_try_timeout"], "0.500s");
    assert_eq!(action(1)["idle_timeout"], "600s");
    assert_eq!(cluster(&bootstrap, "two")["connect_timeout"], "0.500s");
    assert_eq!(action(2)["idle_timeout"], "604800s");
}

#[test]
fn a_backend_without_a_route_is_left_out() {
    let text = "{backends: [{name: a, type: xai}, {name: b, type: xai, config: {apiKey: $B}}], \
                 routes: [{backend: a}]}";
    let bootstrap = rendered(text);
    assert_eq!(
        bootstrap["static_resources"]["clusters"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let vm = &wasm(cluster(&bootstrap, "a"))["vm_config"];
    assert!(vm.get("environment_variables").is_none());
}

#[test]
fn host_names_are_rendered_as_punycode_wherever_they_stand() {
    let text = rendered(
        "backends:
- name: a
  type: openai-compatible
  config:
    endpoint: https://bücher.example/v1
    address: döner.example:8443
    tls: {serverName: tür.example}
routes: [{backend: a, hosts: ['*.äpfel.example', gateway.example]}]
",
    )
    .to_string();
    // In a regular expression '-' and '.' are escaped.
    let text = text.replace('\\', "");
    assert!(text.is_ascii(), "{text}");
    for host in [
        "xn--bcher-kva",
        "xn--dner-5qa",
        "xn--tr-xka",
        "xn--pfel-koa",
    ] {
        assert!(
            text.contains(&format!("{host}.example")),
            "{host} in {text}"
        );
    }
}

/// A gateway with this many backends and routes, and the work of rendering it: the bytes that it
/// allocates would need a counting allocator, so the time, of which only ratios are compared.
fn work(number: usize) -> f64 {
    let mut text = "backends:\n".to_owned();
    for n in 0..number {
        text.push_str(&format!(
            "- {{name: b{n}, type: openai-compatible, config: {{endpoint: 'https://h{n}.example/v1', \
             apiKey: '${{KEY_{n}}}', defaultModel: m{n}}}}}\n"
        ));
    }
    text.push_str("routes:\n");
    for n in 0..number {
        text.push_str(&format!(
            "- {{path: /r{n}, methods: [POST], headers: {{x-tenant: t{n}}}, backend: b{n}}}\n"
        ));
    }
    let start = std::time::Instant::now();
    let source = Source::parse_without_keys(&text, &no_variables).unwrap();
    let rendered = yaml(&source, &machine(), "gateway.yaml");
    // Size grows as the number does, too.
    assert!(
        (number * 1_000..number * 6_000).contains(&rendered.len()),
        "{}",
        rendered.len()
    );
    start.elapsed().as_secs_f64()
}

#[test]
fn rendering_takes_time_that_grows_with_the_number_of_backends_and_routes() {
    // Ten times as much takes about ten times as long; the square would be a hundred times. The best
    // of three, since other tests run beside this one.
    let best = |number| (0..3).map(|_| work(number)).fold(f64::INFINITY, f64::min);
    let (few, many) = (best(50), best(500));
    assert!(many < few * 40.0, "{few} s for 50, {many} s for 500");
}

#[test]
fn a_cgroups_limit_is_watched_where_there_is_one() {
    let source = Source::parse_without_keys("backends: [{name: a, type: xai}]", &no_variables);
    let source = source.unwrap();
    let with = Machine {
        has_cgroup_limit: true,
        heap_limit: 1 << 30,
        ..machine()
    };
    for (machine, expected) in [
        (machine(), &["fixed_heap"][..]),
        (with, &["fixed_heap", "cgroup_memory"]),
    ] {
        let manager = &bootstrap(&source, &machine)["overload_manager"];
        let limit = &manager["resource_monitors"][1]["typed_config"]["max_heap_size_bytes"];
        assert_eq!(*limit, machine.heap_limit);
        let actions = manager["actions"].as_array().unwrap();
        assert_eq!(actions.len(), 5);
        for action in actions {
            let triggers = action["triggers"].as_array().unwrap().iter();
            let triggers: Vec<&str> = triggers.filter_map(|it| it["name"].as_str()).collect();
            let expected = expected
                .iter()
                .map(|it| format!("envoy.resource_monitors.{it}"));
            assert_eq!(triggers, expected.collect::<Vec<_>>());
        }
    }
}

const POOL: &str = "backends:
- {name: a, type: xai, config: {maxRetries: 1, timeout: 10s}}
- {name: b, type: anthropic, config: {defaultModel: d, timeout: 20s}}
- {name: c, type: xai}
- {name: p, type: pool, fallbackOn: [429, 401, 5xx], backends: [{name: a}, {name: b}]}
routes: [{path: /p, backend: p}, {path: /b, backend: b}]
";

#[test]
fn a_pool_is_a_cluster_for_each_member_and_a_plugin_that_selects() {
    let rendered = rendered(POOL);
    let clusters = rendered["static_resources"]["clusters"].as_array().unwrap();
    let names: Vec<&str> = clusters
        .iter()
        .filter_map(|it| it["name"].as_str())
        .collect();
    // The member `a` serves the models of its type only.
    assert_eq!(names, ["a", "b", "p/a", "p/b", "p/a/1", "p/b/2"]);
    let aggregate = cluster(&rendered, "p/a");
    assert_eq!(
        aggregate["cluster_type"]["name"],
        "envoy.clusters.aggregate"
    );
    let children = &aggregate["cluster_type"]["typed_config"]["clusters"];
    assert_eq!(*children, json!(["a", "b"]));
    assert_eq!(
        aggregate["circuit_breakers"]["thresholds"][0]["max_retries"],
        16_384
    );

    // What lists the models comes first.
    let routes = routes(&rendered).iter();
    let routes: Vec<&Value> = routes.filter(|it| it["name"] != "models").collect();
    let route = &routes[0]["route"];
    assert_eq!(route["cluster_header"], "x-llm-proxy-cluster");
    let policy = &route["retry_policy"];
    assert_eq!(policy["num_retries"], 0);
    assert_eq!(
        policy["retry_priority"]["typed_config"]["update_frequency"],
        1
    );
    assert_eq!(policy["per_try_timeout"], "20s");
    assert_eq!(policy["retriable_status_codes"], json!([401, 429]));
    assert_eq!(
        policy["retry_on"],
        "reset,connect-failure,refused-stream,5xx,retriable-status-codes"
    );
    assert_eq!(routes[1]["route"]["cluster"], "b");

    // A member of pools alone has no plugin of its own: the router has one for all.
    assert!(wasm(cluster(&rendered, "a")).is_null());
    assert!(plugin(cluster(&rendered, "b")).contains("\"placement\": \"upstream\""));
    let manager = &rendered["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
    let filters = &manager["typed_config"]["http_filters"];
    let text = |filter: &Value| {
        let configuration = &filter["typed_config"]["config"]["configuration"]["value"];
        configuration.as_str().unwrap().to_owned()
    };
    let choosing =
        "{\n  \"placement\": \"listener\",\n  \"role\": \"choose\",\n  \"holdHeaders\": true,\n";
    assert!(text(&filters[1]).starts_with(choosing));
    let upstream = text(&filters[2]["typed_config"]["upstream_http_filters"][0]);
    assert!(upstream.starts_with("{\n  \"placement\": \"upstream\",\n  \"holdHeaders\": true,\n"));
    let module = Gateway::parse(&upstream, &|_: &str| Some("key".to_owned())).unwrap();
    assert_eq!(module.pools.len(), 1);
    assert_eq!(module.backends.len(), 2);
}

#[test]
fn a_pool_has_as_many_clusters_as_members() {
    for count in [1, 4, 16, 64] {
        let backends: String = (0..count)
            .map(|at| {
                format!("- {{name: m{at}, type: vllm, config: {{endpoint: \"http://h{at}\"}}}}\n")
            })
            .collect();
        let members: Vec<String> = (0..count).map(|at| format!("{{name: m{at}}}")).collect();
        let rendered = rendered(&format!(
            "backends:\n{backends}- {{name: p, type: pool, backends: [{}]}}\nroutes: [{{backend: p}}]",
            members.join(", "),
        ));
        let clusters = rendered["static_resources"]["clusters"].as_array().unwrap();
        assert_eq!(clusters.len(), 2 * count, "{count}");
        // Nothing is waited for between different members.
        let routes = routes(&rendered).iter();
        let pauses = routes.filter_map(|it| it["route"].get("retry_policy"));
        for policy in pauses {
            assert_eq!(policy["retry_back_off"]["max_interval"], "0.025s");
        }
        for cluster in clusters {
            // An ejected member would not be tried, and another one twice.
            assert!(cluster.get("outlier_detection").is_none(), "{cluster}");
            assert!(cluster.get("common_lb_config").is_none(), "{cluster}");
        }
    }
}

#[test]
fn a_route_that_goes_by_the_model_matches_what_only_the_module_says() {
    let rendered = rendered(
        "
backends:
- {name: a, type: openai}
- {name: b, type: xai, config: {model: m}}
routes:
- {name: some, path: /v1, methods: [POST, GET], models: ['x*'], backend: a, modelAliases: {x1: y}}
- {name: named, path: /v1, backend: b, backendFromModel: true}
",
    );
    let said = |route: &Value| {
        let headers = route["match"]["headers"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let ours = headers
            .into_iter()
            .find(|it| it["name"] == "x-llm-proxy-route");
        ours.map(|it| it["string_match"]["exact"].as_str().unwrap().to_owned())
    };
    let metadata = "/metadata/filter_metadata/llm-proxy";
    let told: Vec<(Value, Option<String>, Value, Option<Value>)> = routes(&rendered)
        .iter()
        .filter(|it| it["name"] != "models" && it.get("route").is_some())
        .map(|it| {
            let cluster = it["route"]["cluster"].clone();
            (
                it["name"].clone(),
                said(it),
                cluster,
                it.pointer(metadata).cloned(),
            )
        })
        .collect();
    let aliases = json!({"aliases": r#"{"x1":"y"}"#});
    let row = |name: &str, said: Option<&str>, cluster: Value, metadata: Option<Value>| {
        (json!(name), said.map(str::to_owned), cluster, metadata)
    };
    assert_eq!(
        told,
        [
            row("some", Some("some"), json!("a"), Some(aliases)),
            row(
                "named",
                Some("named/b"),
                json!("b"),
                Some(json!({"prefix": "b/"}))
            ),
            row(
                "named",
                Some("named/a"),
                json!("a"),
                Some(json!({"prefix": "a/"}))
            ),
            // Where it waits for its body.
            row("some-waiting", None, Value::Null, None),
            row("named-waiting", None, Value::Null, None),
        ]
    );
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let manager = rendered.pointer(manager).unwrap();
    let filters = manager["http_filters"].as_array().unwrap();
    assert_eq!(
        filters.len(),
        3,
        "the module chooses, in front of the router"
    );
    let ours = &manager["route_config"]["internal_only_headers"];
    assert_eq!(
        *ours,
        json!([
            "x-llm-proxy-cluster",
            "x-llm-proxy-route",
            "x-llm-proxy-attempts"
        ])
    );
}

#[test]
fn probes_are_answered_before_any_route_and_are_in_no_log() {
    let text = "
        backends:
        - {name: v, type: google, config: {projectId: p, location: eu}}
        - {name: w, type: google, config: {projectId: q, location: eu}}
        - {name: k, type: openai, config: {apiKey: k}}
        - {name: p, type: pool, backends: [{name: v}, {name: k}]}
        - {name: q, type: pool, backends: [{name: v}, {name: w}]}
        routes:
        - {path: /p, backend: p}
        - {path: /q, backend: q}
        - {backend: k}
    ";
    let rendered = rendered_whole(text);
    let probes: Vec<(&str, &str)> = routes(&rendered)[..2]
        .iter()
        .map(|it| {
            let disabled = it.pointer("/typed_per_filter_config/llm-proxy/disabled");
            assert_eq!(disabled, Some(&json!(true)));
            let path = it["match"]["path"].as_str().unwrap();
            (it["name"].as_str().unwrap(), path)
        })
        .collect();
    assert_eq!(
        probes,
        [("health/live", "/healthz"), ("health/ready", "/ready")]
    );
    let ready: Value = serde_json::from_str(plugin(cluster(&rendered, "llm-proxy/ready"))).unwrap();
    assert_eq!(ready["role"], "ready");
    let names = ready["backends"].as_array().unwrap().iter();
    let names: Vec<&str> = names.map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["v", "w", "q"],
        "the pool that may be without any token"
    );
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let manager = rendered.pointer(manager).unwrap();
    for log in manager["access_log"].as_array().unwrap() {
        let expression = log.pointer("/filter/extension_filter/typed_config/expression");
        let expected = json!("!(xds.route_name in ['health/live', 'health/ready'])");
        assert_eq!(expression, Some(&expected));
    }
}

#[test]
fn probes_that_are_off_leave_nothing_behind() {
    let text = "
        health: {live: off, ready: off}
        backends: [{name: a, type: openai, config: {apiKey: k}}]
    ";
    let rendered = rendered(text).to_string();
    for part in [
        "health/",
        "llm-proxy/ready",
        "health_check",
        "xds.route_name",
    ] {
        assert!(!rendered.contains(part), "{part}");
    }
}

#[test]
fn telemetry_goes_to_the_collector_without_any_secret_in_it() {
    let gateway = |otlp: &str| {
        format!(
            "
            telemetry:
              otlp: {otlp}
              headers: {{authorization: 'Bearer 100% ${{OTLP_TOKEN}}', x-key: literal-secret}}
              serviceName: g
              traces: 2.5%
            backends: [{{name: a, type: openai, config: {{apiKey: k}}}}]
            "
        )
    };
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    for (otlp, service, logs) in [
        (
            "https://c.example/base",
            "http_service",
            Some("https://c.example/base/v1/logs"),
        ),
        (
            "http://c.example:4318",
            "http_service",
            Some("http://c.example:4318/v1/logs"),
        ),
        ("http://c.example:4317", "grpc_service", None),
    ] {
        let rendered = rendered_whole(&gateway(otlp));
        let text = rendered.to_string();
        assert!(!text.contains("literal-secret"), "{text}");
        let manager = rendered.pointer(manager).unwrap();
        let tracing = &manager["tracing"];
        let tracer = &tracing["provider"]["typed_config"];
        let sink = &rendered["stats_sinks"][0]["typed_config"];
        let log = &manager["access_log"][1]["typed_config"];
        for signal in [tracer, sink, log] {
            assert!(signal[service].is_object(), "{signal}");
        }
        let uri = log
            .pointer("/http_service/http_uri/uri")
            .and_then(Value::as_str);
        assert_eq!(uri, logs);
        assert_eq!(tracer["service_name"], "g");
        let share = tracer.pointer(
            "/sampler/typed_config/wrapped_sampler/typed_config/sampling_percentage/numerator",
        );
        assert_eq!(share, Some(&json!(25_000)));
        assert!(manager["access_log"][1]["filter"].is_object());
        let collector = cluster(&rendered, "llm-proxy/otlp");
        assert_eq!(
            collector.get("transport_socket").is_some(),
            otlp.starts_with("https")
        );
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        let headers = &collector["typed_extension_protocol_options"][options]["http_filters"][0]["typed_config"]
            ["mutations"]["request_mutations"];
        let headers = headers.as_array().unwrap().iter();
        let headers: Vec<&str> = headers
            .map(|it| it["append"]["header"]["value"].as_str().unwrap())
            .collect();
        let expected = [
            "Bearer 100%% %ENVIRONMENT(OTLP_TOKEN)%",
            "%ENVIRONMENT(LLM_PROXY_TELEMETRY_HEADERS_X_KEY)%",
        ];
        assert_eq!(headers, expected);
    }
    let source = Source::parse_without_keys(&gateway("http://c"), &no_variables).unwrap();
    let variables: Vec<&str> = source
        .variables()
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert!(
        variables.contains(&"LLM_PROXY_TELEMETRY_HEADERS_X_KEY"),
        "{variables:?}"
    );
    let text = yaml(&source, &machine(), "g.yaml");
    let named = text.lines().nth(1).unwrap();
    assert!(named.contains("OTLP_TOKEN"), "{named}");
}

#[test]
fn metrics_are_renamed_for_the_collector_and_all_others_dropped() {
    let rendered = rendered(
        "
        telemetry: {otlp: 'http://c:4317', logs: false, interval: 3s}
        backends: [{name: a, type: openai, config: {apiKey: k}}]
        ",
    );
    assert_eq!(rendered["stats_flush_interval"], "3s");
    let conversions = "/stats_sinks/0/typed_config/custom_metric_conversions/matcher_list/matchers";
    let matchers = rendered
        .pointer(conversions)
        .and_then(Value::as_array)
        .unwrap();
    assert_eq!(matchers.len(), METRICS.len() + 1);
    let regex = |it: &Value| {
        let regex = it.pointer("/predicate/single_predicate/value_match/safe_regex/regex");
        regex.and_then(Value::as_str).unwrap().to_owned()
    };
    let name = |it: &Value| {
        it.pointer("/on_match/action/typed_config/metric_name")
            .cloned()
    };
    for (matcher, metric) in matchers.iter().zip(METRICS) {
        assert_eq!(name(matcher), Some(json!(metric.name)));
        let expected = format!(r".*wasmcustom\.{}(;.*)?", metric.name.replace('.', r"\."));
        assert_eq!(regex(matcher), expected);
    }
    let last = matchers.last().unwrap();
    assert_eq!((regex(last), name(last)), (".*".to_owned(), None));
    let text = rendered.to_string();
    assert!(!text.contains("tracing") && !text.contains("access_loggers.open_telemetry"));
}
