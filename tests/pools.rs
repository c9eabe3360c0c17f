//! Requests to pools through an [`Exchange`], natively and as wasm: who is asked, and what each
//! attempt makes of the request.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking"
)]

#[macro_use]
#[path = "support/both_ways.rs"]
mod both_ways;
#[path = "support/header_map.rs"]
mod header_map;
#[path = "support/host.rs"]
mod host;

use std::rc::Rc;
use std::time::Duration;

use llm_proxy::config::Gateway;
use llm_proxy::exchange::{BodyChange, Exchange, Next, Step};
use llm_proxy::headers::{HeaderEdit, Headers};
use llm_proxy::json;
use llm_proxy::refusal::LocalReply;
use llm_proxy::shared::Shared;
use serde_json::Value;

use self::header_map::Pairs;
use self::host::Host;

const SECOND: Duration = Duration::from_secs(1);

/// A request whose headers are one map for all attempts, as in Envoy.
struct Request {
    headers: Pairs,
    body: &'static str,
}

impl Request {
    fn new(path: &str, body: &'static str) -> Self {
        let headers = [
            (":method", "POST"),
            (":path", path),
            (":authority", "gateway.example"),
            (":scheme", "http"),
            ("authorization", "Bearer sk-client"),
            ("origin", "https://app.example"),
            ("x-custom", "1"),
            ("content-type", "application/json"),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let mut headers: Vec<_> = headers.into_iter().map(owned).collect();
        headers.push(("content-length".to_owned(), body.len().to_string()));
        Self { headers, body }
    }

    fn list(&self) -> Headers<'_> {
        header_map::list(&self.headers)
    }

    fn header(&self, name: &str) -> Option<&str> {
        header_map::header(&self.headers, name)
    }

    fn apply(&mut self, edits: Vec<HeaderEdit>) {
        header_map::apply(&mut self.headers, edits);
    }

    /// Sends it through the module. Gives the body that goes on, or the reply.
    fn pass(&mut self, exchange: &mut Exchange, host: &Host) -> Result<String, LocalReply> {
        let Step { headers, next, .. } = exchange.request_headers(&self.list(), false, host);
        self.apply(headers);
        if let Next::Reply(reply) = next {
            return Err(reply);
        }
        let bytes = self.body.as_bytes();
        let read = |from: usize| &bytes[from..];
        let step = exchange.request_body(bytes.len(), true, read, host);
        self.apply(step.headers);
        let body = match step.body {
            BodyChange::Keep => bytes.to_vec(),
            BodyChange::Replace(bytes) => bytes,
            BodyChange::Splice { blanks, splices } => {
                let mut bytes = bytes.to_vec();
                json::overwrite(&mut bytes, &blanks);
                let mut changed = Vec::new();
                json::apply(&bytes, 0, &splices, &mut changed).unwrap();
                changed
            }
        };
        match step.next {
            Next::Reply(reply) => Err(reply),
            _ => Ok(String::from_utf8(body).unwrap()),
        }
    }
}

const BACKENDS: &str = "
backends:
- {name: openai, type: openai, config: {apiKey: $KEY, orgId: org, defaultModel: gpt-4o}}
- {name: anthropic, type: anthropic, config: {apiKey: $KEY, defaultModel: claude-d}}
- {name: clients, type: mistral, config: {model: own, headers: {x-custom: ours}}}
- {name: grok, type: xai}
- {name: p, type: pool, backends: [{name: openai}, {name: anthropic}, {name: clients}]}
- {name: some, type: pool, backends: [{name: grok}, {name: anthropic, priority: 1}]}
- {name: choosy, type: pool, backends: [{name: grok}]}
- {name: pinned, type: vllm, config: {endpoint: http://p, model: m}}
- {name: lists, type: vllm, config: {endpoint: http://l, model: m, operations: [batches]}}
- {name: free, type: vllm, config: {endpoint: http://f}}
- {name: whisper, type: vllm, config: {endpoint: http://w, models: [whisper-*]}}
- {name: mixed, type: pool, backends: [{name: pinned}, {name: lists}, {name: free}]}
- {name: strict, type: pool, backends: [{name: pinned}, {name: lists}]}
- {name: audio, type: pool, backends: [{name: whisper}, {name: free}]}
";

fn gateway(plugin: &str) -> Rc<Gateway> {
    let text = format!(
        "{plugin}\nholdHeaders: true{BACKENDS}routes:\n- {{path: /p, backend: p}}\n- {{path: /some, \
         backend: some}}\n- {{path: /choosy, backend: choosy}}\n- {{path: /one, backend: grok}}\n\
         - {{path: /mixed, backend: mixed}}\n- {{path: /strict, backend: strict}}\n\
         - {{path: /fixed, backend: mixed, model: x}}\n- {{path: /audio, backend: audio}}\n"
    );
    let gateway = Gateway::parse(&text, &|_: &str| Some("sk-ours".to_owned()));
    Rc::new(gateway.unwrap_or_else(|errors| panic!("{errors}")))
}

fn chooser() -> Rc<Gateway> {
    gateway("placement: listener\nrole: choose")
}

/// What the module in the listener says about a request.
fn choose(host: &Host, request: &mut Request) -> Result<Option<String>, (u16, Value)> {
    let mut exchange = Exchange::new(chooser());
    let before = request.headers.clone();
    match request.pass(&mut exchange, host) {
        Err(reply) => {
            let body: Value = serde_json::from_str(&reply.body).unwrap();
            Err((reply.status, body["error"]["code"].clone()))
        }
        Ok(body) => {
            assert_eq!(body, request.body);
            for (name, value) in before.iter().filter(|(name, _)| !name.starts_with("x-llm")) {
                assert_eq!(request.header(name), Some(value.as_str()), "{name}");
            }
            Ok(request.header("x-llm-proxy-cluster").map(str::to_owned))
        }
    }
}

/// One attempt that gets an error. `is_cut`: the connection breaks before the error's end.
fn attempt_with_error(
    host: &Host,
    name: &str,
    number: u64,
    status: &str,
    body: &str,
    is_cut: bool,
) {
    *host.cluster.borrow_mut() = Some("p/openai".to_owned());
    *host.backend.borrow_mut() = Some(name.to_owned());
    host.attempt.set(Some(number));
    let mut exchange = Exchange::new(gateway("placement: upstream"));
    let mut request = Request::new("/p/v1/chat/completions", CHAT);
    request.pass(&mut exchange, host).unwrap();
    let head = [
        (":status", status),
        ("content-type", "application/json"),
        ("retry-after", "7"),
        ("set-cookie", "sk-theirs"),
    ];
    let head = head.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    exchange.reply_headers(&Headers::new(head.to_vec()), body.is_empty(), host);
    if !body.is_empty() {
        exchange.reply_body(body.len(), !is_cut, || body.as_bytes().to_vec());
    }
    exchange.ended(host);
}

/// What the module in the listener makes of Envoy's own reply after an attempt without one.
fn envoys_reply(listener: &mut Exchange, host: &Host, status: &str) -> (Pairs, String) {
    host.is_without_reply.set(true);
    reply_to(listener, host, status)
}

fn reply_to(listener: &mut Exchange, host: &Host, status: &str) -> (Pairs, String) {
    let mut head: Pairs = vec![(":status".to_owned(), status.to_owned())];
    let step = listener.reply_headers(&header_map::list(&head), false, host);
    header_map::apply(&mut head, step.headers);
    let step = listener.reply_body(7, true, || b"Envoy's".to_vec());
    let body = match step.body {
        BodyChange::Replace(body) => body,
        _ => b"Envoy's".to_vec(),
    };
    (head, String::from_utf8(body).unwrap())
}

const CHAT: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}"#;
const GROK: &str = r#"{"messages":[],"model":"grok-4"}"#;
const OTHER: &str = r#"{"messages":[],"model":"nobodys"}"#;
const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx\r\n\
                    --b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b--\r\n";
const OTHER_FORM: &str =
    "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nother\r\n--b--\r\n";
const NONE: &str = r#"{"messages":[]}"#;

tests! {
    fn the_listener_names_a_cluster_and_leaves_the_rest() {
        let host = Host::default();
        let mut clusters = Vec::new();
        for _ in 0..4 {
            let mut request = Request::new("/p/v1/chat/completions", CHAT);
            clusters.push(choose(&host, &mut request).unwrap().unwrap());
            assert_eq!(request.header("x-envoy-max-retries"), Some("2"));
        }
        let expected = ["p/openai", "p/anthropic", "p/clients", "p/openai"];
        assert_eq!(clusters, expected);
    }

    fn a_stream_has_a_limit_to_its_first_byte_wherever_the_body_requests_it() {
        let limit = "x-envoy-upstream-rq-per-try-timeout-ms";
        for (path, body, expected) in [
            ("/p/v1/chat/completions", r#"{"stream":true,"model":"gpt-4o","messages":[]}"#, true),
            ("/p/v1/chat/completions", r#"{"model":"gpt-4o","messages":[],"stream":true}"#, true),
            ("/p/v1/responses", r#"{"model":"gpt-4o","input":"Hi","stream": true}"#, true),
            // A pool whose members serve certain models only.
            ("/some/v1/chat/completions", r#"{"model":"grok-4","messages":[],"stream":true}"#, true),
            ("/some/v1/chat/completions", r#"{"stream":true,"messages":[],"model":"grok-4"}"#, true),
            ("/some/v1/chat/completions", GROK, false),
            ("/p/v1/chat/completions", CHAT, false),
            ("/p/v1/chat/completions", r#"{"model":"gpt-4o","messages":[],"stream":false}"#, false),
            ("/p/v1/chat/completions", r#"{"model":"gpt-4o","x":{"stream":true}}"#, false),
            ("/p/v1/embeddings", r#"{"model":"gpt-4o","input":"","stream":true}"#, false),
            // The members refuse it, and each in its own words.
            ("/p/v1/chat/completions", r#"{"model":"gpt-4o","#, false),
            ("/p/v1/chat/completions", r#"{"stream":true,"stream":true}"#, true),
            // There is no other member to wait for.
            ("/choosy/v1/chat/completions", r#"{"model":"grok-4","stream":true}"#, false),
        ] {
            let mut request = Request::new(path, body);
            assert!(choose(&Host::default(), &mut request).unwrap().is_some(), "{path} {body}");
            let expected = expected.then_some("60000");
            assert_eq!(request.header(limit), expected, "{path} {body}");
        }
    }

    fn a_body_that_cannot_be_searched_for_stream_is_not_held() {
        let body = r#"{"stream":true,"model":"gpt-4o","messages":[]}"#;
        for (name, value) in [("content-encoding", "zstd"), ("content-length", "1048577")] {
            let host = Host::default();
            let mut request = Request::new("/p/v1/chat/completions", body);
            request.headers.retain(|(it, _)| it != name);
            request.headers.push((name.to_owned(), value.to_owned()));
            let mut exchange = Exchange::new(chooser());
            let step = exchange.request_headers(&request.list(), false, &host);
            assert_eq!(step.next, Next::Continue, "{name}");
            request.apply(step.headers);
            assert!(request.header("x-llm-proxy-cluster").is_some(), "{name}");
        }
    }

    fn a_limit_to_the_first_byte_follows_from_what_is_written() {
        let of = |first: &str, second: &str, pool: &str| {
            let text = format!(
                "backends:\n- {{name: a, type: xai, config: {{apiKey: k{first}}}}}\n\
                 - {{name: b, type: xai, config: {{apiKey: k{second}}}}}\n\
                 - {{name: p, type: pool{pool}, backends: [{{name: a}}, {{name: b}}]}}\n\
                 routes: [{{path: /, backend: p}}]\n"
            );
            let gateway = Gateway::parse(&text, &|_: &str| Some("k".to_owned()));
            let gateway = gateway.unwrap_or_else(|errors| panic!("{errors}"));
            gateway.pools[0].first_byte_timeout.map(|it| it.as_secs())
        };
        for (first, second, pool, expected) in [
            ("", "", "", Some(60)),
            ("", "", ", fallback: false", None),
            ("", ", timeout: 30s", "", None),
            ("", "", ", timeout: 90s", None),
            (", firstByteTimeout: 5s", ", firstByteTimeout: 7s", "", Some(7)),
            (", firstByteTimeout: 5s, timeout: 8s", ", timeout: 9s", "", Some(5)),
            (", firstByteTimeout: 5s", "", ", firstByteTimeout: 20s", Some(20)),
            ("", "", ", firstByteTimeout: 20s, timeout: 90s", Some(20)),
            ("", "", ", firstByteTimeout: 20s, timeout: 10s", None),
        ] {
            assert_eq!(of(first, second, pool), expected, "{first} {second} {pool}");
        }
    }

    fn a_client_cannot_name_a_cluster() {
        let host = Host::default();
        for path in ["/one/v1/chat/completions", "/nowhere", "/p/../one", "/p/v1/chat/completions"] {
            let mut request = Request::new(path, CHAT);
            request.headers.push(("x-llm-proxy-cluster".to_owned(), "evil".to_owned()));
            request.headers.push(("x-llm-proxy-attempts".to_owned(), "evil".to_owned()));
            request.headers.push(("x-llm-proxy-route".to_owned(), "evil".to_owned()));
            let chosen = choose(&host, &mut request);
            assert_ne!(chosen, Ok(Some("evil".to_owned())), "{path}");
            let is_refused = chosen.is_err();
            assert_eq!(is_refused, path.contains(".."), "{path}: {chosen:?}");
            for name in ["x-llm-proxy-route", "x-llm-proxy-attempts"] {
                assert!(is_refused || request.header(name) != Some("evil"), "{path} {name}");
            }
        }
    }

    fn who_does_not_serve_the_model_is_left_out() {
        for (path, body, expected) in [
            ("/some/v1/chat/completions", GROK, Ok(Some("some/grok"))),
            ("/some/v1/chat/completions", OTHER, Ok(Some("some/anthropic/2"))),
            ("/some/v1/chat/completions", NONE, Ok(Some("some/anthropic/2"))),
            ("/choosy/v1/chat/completions", GROK, Ok(Some("choosy/grok"))),
            ("/choosy/v1/chat/completions", OTHER, Err((404, "model_not_found"))),
            ("/choosy/v1/chat/completions", NONE, Err((400, "missing_required_parameter"))),
            // A call that Anthropic does not have.
            ("/some/v1/completions", GROK, Ok(Some("some/grok/1"))),
            ("/p/v1/embeddings", CHAT, Ok(Some("p/openai/2"))),
            // Envoy's routes know by themselves.
            ("/one/v1/chat/completions", GROK, Ok(None)),
        ] {
            let chosen = choose(&Host::default(), &mut Request::new(path, body));
            let expected = expected
                .map(|cluster| cluster.map(str::to_owned))
                .map_err(|(status, code)| (status, Value::from(code)));
            assert_eq!(chosen, expected, "{path} {body}");
        }
    }

    fn a_member_whose_rules_cannot_check_a_request_is_left_out() {
        let json = "application/json";
        let form = "multipart/form-data; boundary=b";
        let order = |path: &str, content_type: &str, body: &'static str| {
            let mut request = Request::new(path, body);
            for (name, value) in &mut request.headers {
                if name == "content-type" {
                    content_type.clone_into(value);
                }
            }
            let cluster = choose(&Host::default(), &mut request)?.unwrap();
            let gateway = chooser();
            let order = gateway.pools.iter().find_map(|pool| Some((pool, pool.order_of(&cluster)?)));
            let (pool, order) = order.unwrap();
            let name = |place: &usize| pool.members()[*place].backend.name.to_string();
            Ok(order.round.iter().map(name).collect::<Vec<_>>().join(" "))
        };
        for (path, content_type, body, expected) in [
            ("/mixed/v1/chat/completions", json, CHAT, Ok("pinned lists free")),
            ("/mixed/v1/chat/completions", form, FORM, Ok("free")),
            ("/mixed/v1/batches", json, "{}", Ok("lists free")),
            ("/mixed/v1/fine_tuning/jobs", json, "{}", Ok("free")),
            ("/mixed/v1/deployments/d/x", json, "{}", Ok("free")),
            ("/strict/v1/batches", json, "{}", Ok("lists")),
            ("/strict/v1/fine_tuning/jobs", json, "{}", Err((403, "operation_not_allowed"))),
            ("/strict/v1/chat/completions", form, FORM, Err((415, "unsupported_media_type"))),
            // The route restricts the model, whichever member it is.
            ("/fixed/v1/batches", json, "{}", Ok("lists")),
            ("/fixed/v1/chat/completions", form, FORM, Err((415, "unsupported_media_type"))),
            ("/fixed/v1/chat/completions", json, CHAT, Ok("pinned lists free")),
            // A form has a model, too.
            ("/audio/v1/audio/transcriptions", form, FORM, Ok("whisper free")),
            ("/audio/v1/audio/transcriptions", form, OTHER_FORM, Ok("free")),
        ] {
            let expected = expected.map(str::to_owned);
            let expected = expected.map_err(|(status, code)| (status, Value::from(code)));
            assert_eq!(order(path, content_type, body), expected, "{path} {content_type} {body}");
        }
    }

    fn an_attempt_is_the_same_whoever_was_asked_before() {
        let upstream = gateway("placement: upstream");
        let names = ["openai", "anthropic", "clients"];
        let attempt = |host: &Host, request: &mut Request, name: &str, number: u64| {
            *host.cluster.borrow_mut() = Some("p/openai".to_owned());
            *host.backend.borrow_mut() = Some(name.to_owned());
            host.attempt.set(Some(number));
            let mut exchange = Exchange::new(Rc::clone(&upstream));
            let body = request.pass(&mut exchange, host).unwrap();
            let failed = [(":status", "503"), ("content-length", "0")];
            let failed = failed.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let step = exchange.reply_headers(&Headers::new(failed.to_vec()), true, host);
            // The last one's error is ours to tell; the others are in nobody's way.
            assert_eq!(matches!(step.next, Next::Reply(_)), number == 3, "{name} {number}");
            let mut headers = request.headers.clone();
            headers.sort();
            (headers, body)
        };
        for first in names {
            for second in names.iter().filter(|it| **it != first) {
                let host = Host::default();
                let alone = &mut Request::new("/p/v1/chat/completions?a=1", CHAT);
                let expected = attempt(&host, alone, second, 1);
                let host = Host::default();
                let request = &mut Request::new("/p/v1/chat/completions?a=1", CHAT);
                attempt(&host, request, first, 1);
                assert_eq!(attempt(&host, request, second, 2), expected, "{first} {second}");
                assert_eq!(attempt(&host, request, second, 3), expected, "{first} {second}");
            }
        }
    }

    fn a_pause_is_heard_of_upstream_and_kept_to_in_the_listener() {
        let host = Host::default();
        let upstream = gateway("placement: upstream");
        for (name, status, pause) in [
            ("openai", "429", "9"),
            ("anthropic", "429", "5"),
            // With the client's own key: that is between the two of them.
            ("clients", "429", "7"),
            ("clients", "503", "7"),
        ] {
            *host.cluster.borrow_mut() = Some(format!("p/{name}"));
            *host.backend.borrow_mut() = Some(name.to_owned());
            host.kept.borrow_mut().take();
            host.attempt.set(Some(1));
            let mut exchange = Exchange::new(Rc::clone(&upstream));
            let mut request = Request::new("/p/v1/chat/completions", CHAT);
            request.pass(&mut exchange, &host).unwrap();
            let limited = [(":status", status), ("retry-after", pause)];
            let limited = limited.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            exchange.reply_headers(&Headers::new(limited.to_vec()), true, &host);
            let mut request = Request::new("/p/v1/chat/completions", CHAT);
            let chosen = choose(&host, &mut request);
            match (name, status) {
                ("clients", "429") => {
                    assert_eq!(chosen, Ok(Some("p/clients".to_owned())));
                    // Nothing is sent to the members behind it, since they pause.
                    assert_eq!(request.header("x-envoy-max-retries"), Some("0"));
                    assert_eq!(request.header("x-llm-proxy-attempts"), Some("1"));
                }
                ("clients", _) => {
                    assert_eq!(chosen, Err((429, Value::from("rate_limit_exceeded"))));
                }
                _ => assert!(!chosen.unwrap().unwrap().contains("openai")),
            }
        }
        host.now.set(5 * SECOND);
        let chosen = choose(&host, &mut Request::new("/p/v1/chat/completions", CHAT));
        assert_eq!(chosen, Ok(Some("p/anthropic".to_owned())));
    }

    fn what_a_provider_refuses_a_clients_own_key_is_no_failure_of_the_member() {
        let gateway = Gateway::parse(
            "
placement: upstream
holdHeaders: true
backends:
- {name: ours, type: openai, config: {apiKey: k}}
- {name: clients, type: openai, config: {}}
- {name: q, type: pool, fallbackOn: [401, 402, 403, 404, 429], backends: [{name: ours}, {name: clients}]}
",
            &|_: &str| None,
        );
        let gateway = Rc::new(gateway.unwrap_or_else(|errors| panic!("{errors}")));
        for (name, statuses, is_noted) in [
            ("ours", &["401", "402", "403", "404", "429"][..], true),
            ("clients", &["401", "402", "403", "429"][..], false),
            ("clients", &["404"][..], true),
        ] {
            for status in statuses {
                let host = Host::default();
                *host.cluster.borrow_mut() = Some(format!("q/{name}"));
                *host.backend.borrow_mut() = Some(name.to_owned());
                host.attempt.set(Some(1));
                let mut exchange = Exchange::new(Rc::clone(&gateway));
                let mut request = Request::new("/q/v1/chat/completions", CHAT);
                request.pass(&mut exchange, &host).unwrap();
                let head = [(&b":status"[..], status.as_bytes())];
                exchange.reply_headers(&Headers::new(head.to_vec()), true, &host);
                assert_eq!(host.shared.get("health/q").is_some(), is_noted, "{name} {status}");
            }
        }
    }

    fn a_list_of_models_is_left_to_envoys_routes() {
        for (method, path, expected) in [
            ("GET", "/p/v1/models", None),
            ("HEAD", "/p/v1/models/m", None),
            ("GET", "/p/v1/files", Some("p/openai")),
            ("DELETE", "/p/v1/models/m", Some("p/openai")),
        ] {
            let mut request = Request::new(path, "");
            for (name, value) in &mut request.headers {
                if name == ":method" {
                    method.clone_into(value);
                }
            }
            let mut exchange = Exchange::new(chooser());
            let step = exchange.request_headers(&request.list(), true, &Host::default());
            request.apply(step.headers);
            let cluster = request.header("x-llm-proxy-cluster");
            let begins = |prefix: &&str| cluster.is_some_and(|it| it.starts_with(*prefix));
            assert!(expected.as_ref().map_or(cluster.is_none(), begins), "{method} {path} {cluster:?}");
        }
    }

    fn in_a_second_round_nobody_is_asked_who_wants_a_pause() {
        let upstream = "placement: upstream\nholdHeaders: true\nbackends:
- {name: a, type: openai, config: {apiKey: $KEY, maxRetries: 1}}
- {name: b, type: vllm, config: {endpoint: http://b.example, apiKey: $KEY, maxRetries: 1}}
- {name: p, type: pool, backends: [{name: a}, {name: b}]}";
        let upstream = Gateway::parse(upstream, &|_: &str| Some("sk-ours".to_owned())).unwrap();
        let upstream = Rc::new(upstream);
        let host = Host::default();
        let mut request = Request::new("/v1/chat/completions", CHAT);
        let mut attempt = |name: &str, number: u64, status: &'static str, pause: &'static str| {
            *host.cluster.borrow_mut() = Some("p/a".to_owned());
            *host.backend.borrow_mut() = Some(name.to_owned());
            host.attempt.set(Some(number));
            let mut exchange = Exchange::new(Rc::clone(&upstream));
            request.pass(&mut exchange, &host)?;
            let failed = [(":status", status), ("retry-after", pause)];
            let failed = failed.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            exchange.reply_headers(&Headers::new(failed.to_vec()), false, &host);
            Ok::<(), LocalReply>(())
        };
        attempt("a", 1, "429", "9").unwrap();
        attempt("b", 2, "503", "0").unwrap();
        let refused = attempt("a", 3, "200", "0").unwrap_err();
        assert_eq!(refused.status, 429);
        assert!(refused.headers.contains(&("retry-after".to_owned(), "9".to_owned())));
    }

    fn an_attempt_without_a_reply_is_a_failure_and_three_of_them_are_enough() {
        let host = Host::default();
        let upstream = gateway("placement: upstream");
        for _ in 0..3 {
            *host.cluster.borrow_mut() = Some("p/openai".to_owned());
            *host.backend.borrow_mut() = Some("openai".to_owned());
            host.kept.borrow_mut().take();
            let mut exchange = Exchange::new(Rc::clone(&upstream));
            let mut request = Request::new("/p/v1/chat/completions", CHAT);
            request.pass(&mut exchange, &host).unwrap();
            exchange.ended(&host);
        }
        for _ in 0..6 {
            let mut request = Request::new("/p/v1/chat/completions", CHAT);
            let cluster = choose(&host, &mut request).unwrap().unwrap();
            assert_ne!(cluster, "p/openai");
            // It failed fast, so it is worth another attempt behind the others.
            assert_eq!(request.header("x-envoy-max-retries"), Some("2"));
        }
    }

    fn a_member_that_takes_long_to_fail_gets_no_further_attempt() {
        let host = Host::default();
        let upstream = gateway("placement: upstream");
        for _ in 0..3 {
            *host.cluster.borrow_mut() = Some("p/openai".to_owned());
            *host.backend.borrow_mut() = Some("openai".to_owned());
            host.kept.borrow_mut().take();
            let mut exchange = Exchange::new(Rc::clone(&upstream));
            let mut request = Request::new("/p/v1/chat/completions", CHAT);
            request.pass(&mut exchange, &host).unwrap();
            host.now.set(host.now.get() + 10 * SECOND);
            exchange.ended(&host);
        }
        let attempts: Vec<_> = (0..2)
            .map(|_| {
                let mut request = Request::new("/p/v1/chat/completions", CHAT);
                let cluster = choose(&host, &mut request).unwrap().unwrap();
                (cluster, request.header("x-envoy-max-retries").map(str::to_owned))
            })
            .collect();
        // Between two others it cannot be left out.
        let retries = |cluster: &str, retries: &str| (cluster.to_owned(), Some(retries.to_owned()));
        assert_eq!(attempts, [retries("p/anthropic", "1"), retries("p/clients", "2")]);
    }

    fn the_last_error_is_translated_where_the_attempts_end_early() {
        let upstream = gateway("placement: upstream");
        for (attempts, is_last) in [(None, false), (Some("1"), true)] {
            let host = Host::default();
            *host.cluster.borrow_mut() = Some("p/anthropic".to_owned());
            *host.backend.borrow_mut() = Some("anthropic".to_owned());
            host.attempt.set(Some(1));
            let mut exchange = Exchange::new(Rc::clone(&upstream));
            let mut request = Request::new("/p/v1/chat/completions", CHAT);
            let attempts = attempts.map(|it| ("x-llm-proxy-attempts".to_owned(), it.to_owned()));
            request.headers.extend(attempts);
            request.pass(&mut exchange, &host).unwrap();
            assert_eq!(request.header("x-llm-proxy-attempts"), None);
            let failed = [(":status", "503"), ("content-length", "0")];
            let failed = failed.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let step = exchange.reply_headers(&Headers::new(failed.to_vec()), true, &host);
            assert_eq!(matches!(step.next, Next::Reply(_)), is_last);
        }
    }

    fn the_last_error_of_a_provider_replaces_envoys_own() {
        let long = format!(r#"{{"error":{{"message":"{}","type":"t"}}}}"#, "ü".repeat(9_000));
        let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
        for (name, error, body, status, message) in [
            ("openai", "429", r#"{"error":{"message":"slow down"}}"#, "429", "slow down"),
            ("openai", "500", "", "500", "the provider answered with status 500 and no message"),
            ("openai", "502", long.as_str(), "502", "üüü"),
            // In the words of OpenAI's API, with its status.
            ("anthropic", "529", overloaded, "503", "busy"),
            // What passes as it is, without being read.
            ("anthropic", "503", "", "503", "the provider answered with status 503 and no message"),
        ] {
            for is_cut in [false, true] {
                let host = Host::default();
                let mut listener = Exchange::new(chooser());
                let mut request = Request::new("/p/v1/chat/completions", CHAT);
                request.pass(&mut listener, &host).unwrap();
                attempt_with_error(&host, "clients", 1, "500", "an earlier one", false);
                attempt_with_error(&host, name, 2, error, body, is_cut);
                let kept = host.kept_error.borrow().clone().unwrap();
                assert!(kept.len() < 8 << 10, "{}", kept.len());
                assert!(!String::from_utf8_lossy(&kept).contains("sk-"));
                let (head, reply) = envoys_reply(&mut listener, &host, "504");
                assert_eq!(header_map::header(&head, ":status"), Some(status));
                assert_eq!(header_map::header(&head, "retry-after"), Some("7"));
                assert_eq!(header_map::header(&head, "set-cookie"), None);
                let length = reply.len().to_string();
                assert_eq!(header_map::header(&head, "content-length"), Some(length.as_str()));
                let reply: Value = serde_json::from_str(&reply).unwrap();
                let told = reply["error"]["message"].as_str().unwrap();
                assert!(is_cut || told.starts_with(message), "{told}");
                assert!(reply["error"]["type"].is_string());
            }
        }
    }

    fn what_is_no_failure_of_an_attempt_stays() {
        for (status, is_without_reply) in [("503", false), ("504", false), ("500", true), ("200", true)] {
            let host = Host::default();
            let mut listener = Exchange::new(chooser());
            let mut request = Request::new("/p/v1/chat/completions", CHAT);
            request.pass(&mut listener, &host).unwrap();
            attempt_with_error(&host, "openai", 1, "429", "", false);
            host.is_without_reply.set(is_without_reply);
            assert_eq!(reply_to(&mut listener, &host, status).1, "Envoy's", "{status}");
        }
    }

    fn a_first_member_that_envoy_passes_over_has_failed() {
        let host = Host::default();
        let upstream = gateway("placement: upstream");
        for _ in 0..3 {
            *host.cluster.borrow_mut() = Some("p/openai".to_owned());
            *host.backend.borrow_mut() = Some("anthropic".to_owned());
            host.kept.borrow_mut().take();
            let mut exchange = Exchange::new(Rc::clone(&upstream));
            let mut request = Request::new("/p/v1/chat/completions", CHAT);
            request.pass(&mut exchange, &host).unwrap();
        }
        let clusters: Vec<String> = (0..4)
            .map(|_| {
                let mut request = Request::new("/p/v1/chat/completions", CHAT);
                choose(&host, &mut request).unwrap().unwrap()
            })
            .collect();
        // Its share goes to all others, not to the next one alone.
        assert_eq!(clusters, ["p/anthropic", "p/clients", "p/anthropic", "p/clients"]);
    }
}
