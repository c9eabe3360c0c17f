//! Requests and replies through an [`Exchange`], natively and as wasm, under every chunking.
//!
//! The host is played by [`Wire`]: it keeps what is held, applies the edits, and passes on the rest,
//! as Envoy does (see the comments there for what was seen).
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
#[path = "support/random.rs"]
mod random;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use llm_proxy::config::Gateway;
use llm_proxy::exchange::{BodyChange, Exchange, Next, Step};
use llm_proxy::headers::{HeaderEdit, Headers};
use llm_proxy::json;
use llm_proxy::pairs;
use llm_proxy::patience::Event;
use llm_proxy::refusal::LocalReply;
use serde_json::Value;
use serde_json::value::RawValue;

use self::header_map::Pairs;
use self::host::Host;
use self::random::Random;

/// One message on its way through the module.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wire {
    headers: Pairs,
    /// What has gone on.
    passed: Vec<u8>,
    /// What waits.
    held: Vec<u8>,
    /// The reply that ended it.
    reply: Option<LocalReply>,
    /// Whether headers had gone on before that.
    started: bool,
}

impl Wire {
    fn new(headers: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            headers: headers.iter().map(owned).collect(),
            ..Self::default()
        }
    }

    fn list(&self) -> Headers<'_> {
        header_map::list(&self.headers)
    }

    fn header(&self, name: &str) -> Option<&str> {
        header_map::header(&self.headers, name)
    }

    fn apply(&mut self, step: Step) {
        header_map::apply(&mut self.headers, step.headers);
        match step.body {
            BodyChange::Keep => {}
            BodyChange::Replace(bytes) => self.held = bytes,
            BodyChange::Splice { blanks, splices } => {
                json::overwrite(&mut self.held, &blanks);
                let mut out = Vec::new();
                json::apply(&self.held, 0, &splices, &mut out).unwrap();
                self.held = out;
            }
        }
        match step.next {
            Next::Hold => {}
            Next::Take => self.held.clear(),
            Next::Continue => {
                self.passed.append(&mut self.held);
                self.started = true;
            }
            Next::Reply(reply) => self.reply = Some(reply),
        }
    }

    /// The end of a reply that has trailers: one of ours takes its place where its body was held.
    fn apply_trailers(&mut self, step: Step) {
        let Next::Reply(reply) = &step.next else {
            return self.apply(step);
        };
        assert!(!self.started, "its headers have gone on");
        let status = (":status".to_owned(), reply.status.to_string());
        let length = ("content-length".to_owned(), reply.body.len().to_string());
        self.headers = [status, length]
            .into_iter()
            .chain(reply.headers.clone())
            .collect();
        self.passed = reply.body.clone().into_bytes();
        self.held.clear();
    }
}

/// Sends a request whose body arrives in `chunks`. The last call has no bytes, as Envoy's often has.
fn send(exchange: &mut Exchange, headers: &[(&str, &str)], host: &Host, chunks: &[&[u8]]) -> Wire {
    let mut wire = Wire::new(headers);
    let step = exchange.request_headers(&wire.list(), chunks.is_empty(), host);
    wire.apply(step);
    for (number, chunk) in chunks.iter().enumerate() {
        if wire.reply.is_some() {
            return wire;
        }
        wire.held.extend_from_slice(chunk);
        let ends = number + 1 == chunks.len();
        let at_hand = wire.held.clone();
        let step = exchange.request_body(at_hand.len(), ends, |from| &at_hand[from..], host);
        wire.apply(step);
    }
    wire
}

/// Passes on a reply whose body arrives in `chunks`.
fn receive(exchange: &mut Exchange, headers: &[(&str, &str)], chunks: &[&[u8]]) -> Wire {
    let mut wire = Wire::new(headers);
    let step = exchange.reply_headers(&wire.list(), chunks.is_empty(), &Host::default());
    wire.apply(step);
    for (number, chunk) in chunks.iter().enumerate() {
        if wire.reply.is_some() {
            return wire;
        }
        wire.held.extend_from_slice(chunk);
        let at_hand = wire.held.clone();
        let ends = number + 1 == chunks.len();
        let step = exchange.reply_body(at_hand.len(), ends, || at_hand);
        wire.apply(step);
    }
    wire
}

/// Every way to cut a body that is worth trying: whole, with an empty end, byte by byte, and in two
/// at every place.
fn chunkings(body: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut all = vec![vec![body], vec![body, b""], body.chunks(1).collect()];
    all.extend((1..body.len()).map(|at| vec![&body[..at], &body[at..]]));
    all
}

fn gateway(config: &str) -> Rc<Gateway> {
    let environment = |name: &str| (name == "KEY").then(|| "sk-ours".to_owned());
    Rc::new(Gateway::parse(config, &environment).unwrap_or_else(|errors| panic!("{errors}")))
}

/// A gateway with one `openai-compatible` backend, upstream, held.
fn held(config: &str) -> Rc<Gateway> {
    one_backend("placement: upstream\nholdHeaders: true", config)
}

fn one_backend(plugin: &str, config: &str) -> Rc<Gateway> {
    backend_of("openai-compatible", plugin, config)
}

fn backend_of(kind: &str, plugin: &str, config: &str) -> Rc<Gateway> {
    let endpoint = "endpoint: 'https://llm.example/base'";
    gateway(&format!(
        "{plugin}\nbackends:\n- name: b\n  type: {kind}\n  config: {{{endpoint}, {config}}}"
    ))
}

const CHAT: [(&str, &str); 5] = [
    (":method", "POST"),
    (":path", "/v1/chat/completions"),
    (":authority", "gateway.example"),
    (":scheme", "http"),
    ("content-type", "application/json"),
];

fn post(path: &str) -> Vec<(&str, &str)> {
    CHAT.iter()
        .map(|(k, v)| if *k == ":path" { (*k, path) } else { (*k, *v) })
        .collect()
}

fn error_type(reply: &LocalReply) -> String {
    error(reply)["type"].as_str().expect("a type").to_owned()
}

fn error(reply: &LocalReply) -> Value {
    let value: Value = serde_json::from_str(&reply.body).expect("the body of a reply is JSON");
    value["error"].clone()
}

/// Checks one body under every chunking, held and headers-first, with and without a length.
fn becomes(config: &str, path: &str, body: &str, expected: Result<&str, (u16, &str)>) {
    becomes_at("openai-compatible", config, path, body, expected);
}

/// The same for a type of provider.
fn becomes_at(
    kind: &str,
    config: &str,
    path: &str,
    body: &str,
    expected: Result<&str, (u16, &str)>,
) {
    for plugin in [
        "placement: upstream\nholdHeaders: true",
        "placement: upstream",
    ] {
        // With the usage of streams, spaces may stand before the last brace: see below.
        let gateway = backend_of(kind, plugin, &format!("usage: off, {config}"));
        for chunks in chunkings(body.as_bytes()) {
            for has_length in [true, false] {
                let length = body.len().to_string();
                let mut headers = post(path);
                if has_length {
                    headers.push(("content-length", &length));
                }
                let what = format!("{plugin} {config} {chunks:?} {has_length}");
                let mut exchange = Exchange::new(Rc::clone(&gateway));
                let wire = send(&mut exchange, &headers, &Host::default(), &chunks);
                match (expected, &wire.reply) {
                    (Ok(expected), None) => {
                        let passed = String::from_utf8(wire.passed.clone()).unwrap();
                        assert_eq!(passed, expected, "{what}");
                        let length = wire.header("content-length").map(str::to_owned);
                        let exact = Some(expected.len().to_string());
                        if gateway.plugin.hold_headers {
                            assert_eq!(length, exact, "{what}");
                        } else {
                            assert!(length.is_none() || length == exact, "{what}");
                        }
                    }
                    (Err((status, param)), Some(reply)) => {
                        assert_eq!(reply.status, status, "{what}");
                        let named = error(reply)["param"].as_str().unwrap_or("").to_owned();
                        assert_eq!(named, param, "{what}");
                    }
                    (_, reply) => panic!("{what}: {reply:?}"),
                }
            }
        }
    }
}

tests! {
    fn the_model_rules_splice_and_keep_every_other_byte() {
        const PATH: &str = "/v1/chat/completions";
        /// Configuration, body, and what becomes of it: a body, or a status and a parameter.
        type Row = (&'static str, &'static str, Result<&'static str, (u16, &'static str)>);
        let rows: &[Row] = &[
            // Nothing to do: numbers, order, escapes and space stay.
            ("", r#" {"model":"a\u0062","n":12345678901234567890,"x":1.0e+05 , "y":"\/é😀"} "#,
             Ok(r#" {"model":"a\u0062","n":12345678901234567890,"x":1.0e+05 , "y":"\/é😀"} "#)),
            // Override.
            ("model: m", r#"{"model":"a","x":1}"#, Ok(r#"{"model":"m","x":1}"#)),
            ("model: m", r#"{"x":1, "model" : "a" }"#, Ok(r#"{"x":1, "model" : "m" }"#)),
            ("model: m", r#"{"model":7}"#, Ok(r#"{"model":"m"}"#)),
            ("model: m", r#"{"x":[{"model":"inner"}]}"#, Ok(r#"{"x":[{"model":"inner"}],"model":"m"}"#)),
            ("model: m", "{ }", Ok(r#"{ "model":"m"}"#)),
            ("model: m", r#"{"mod\u0065l":"é"}"#, Ok(r#"{"mod\u0065l":"m"}"#)),
            ("model: m", r#"{"model":"m"}"#, Ok(r#"{"model":"m"}"#)),
            (r#"model: 'q"\'"#, r#"{"model":"a"}"#, Ok(r#"{"model":"q\"\\"}"#)),
            // Fill.
            ("defaultModel: d", r#"{"x":1}"#, Ok(r#"{"x":1,"model":"d"}"#)),
            ("defaultModel: d", r#"{"model":null}"#, Ok(r#"{"model":"d"}"#)),
            ("defaultModel: d", r#"{"model":""}"#, Ok(r#"{"model":"d"}"#)),
            ("defaultModel: d", r#"{"model":" \t\u0020"}"#, Ok(r#"{"model":"d"}"#)),
            ("defaultModel: d", r#"{"model":"a"}"#, Ok(r#"{"model":"a"}"#)),
            // Aliases.
            ("modelAliases: {a: b, 'g*': h}", r#"{"model":"a"}"#, Ok(r#"{"model":"b"}"#)),
            ("modelAliases: {a: b, 'g*': h}", r#"{"model":"gpt"}"#, Ok(r#"{"model":"h"}"#)),
            ("modelAliases: {a: b, 'g*': h}", r#"{"model":"c"}"#, Ok(r#"{"model":"c"}"#)),
            ("models: ['a*'], modelAliases: {x: y}", r#"{"model":"x"}"#, Ok(r#"{"model":"y"}"#)),
            ("models: ['a*']", r#"{"model":"b"}"#, Err((404, "model"))),
            // No model.
            ("", r#"{"x":1}"#, Err((400, "model"))),
            ("", r#"{"model":null}"#, Err((400, "model"))),
            ("", r#"{"model":" "}"#, Err((400, "model"))),
            ("defaultModel: d", r#"{"model":{}}"#, Err((400, "model"))),
            ("", r#"{"model":["a"]}"#, Err((400, "model"))),
            // Duplicates.
            ("model: m", r#"{"model":"a","model":"b"}"#, Err((400, "model"))),
            ("model: m", r#"{"model":"a","m\u006fdel":"b"}"#, Err((400, "model"))),
            ("", r#"{"model":"a","stream":true,"stream":false}"#, Err((400, "stream"))),
            ("defaults: {n: 1}", r#"{"model":"a","n":1,"n":2}"#, Err((400, "n"))),
            // Other members.
            ("defaults: {t: 0.5}", r#"{"model":"a"}"#, Ok(r#"{"model":"a","t":0.5}"#)),
            ("defaults: {t: 0.5}", r#"{"t":null,"model":"a"}"#, Ok(r#"{"t":0.5,"model":"a"}"#)),
            ("defaults: {t: 0.5}", r#"{"t":0,"model":"a"}"#, Ok(r#"{"t":0,"model":"a"}"#)),
            ("overrides: {t: {b: [1], a: null}}", r#"{"t":[9,[8]],"model":"a"}"#,
             Ok(r#"{"t":{"b":[1],"a":null},"model":"a"}"#)),
            ("overrides: {t: 1}, defaults: {t: 2, u: 3}, model: m", "{}",
             Ok(r#"{"model":"m","t":1,"u":3}"#)),
            // No JSON object.
            ("model: m", r#"{"model":"a""#, Err((400, ""))),
            ("model: m", r#"{"model":"a"}x"#, Err((400, ""))),
            ("model: m", "[]", Err((400, ""))),
            ("model: m", r#""text""#, Err((400, ""))),
            ("model: m", "nul", Err((400, ""))),
            ("model: m", " ", Err((400, ""))),
            ("model: m", "{\"model\":\"a\",\"x\":\"\t\"}", Err((400, ""))),
        ];
        for (config, body, expected) in rows {
            becomes(config, PATH, body, *expected);
        }
    }

    fn what_an_operation_takes_decides_about_an_absent_model() {
        for (path, config, body, expected) in [
            ("/v1/embeddings", "", r#"{"input":"x"}"#, Err((400, "model"))),
            ("/v1/embeddings", "defaultModel: d", r#"{"input":"x"}"#, Ok(r#"{"input":"x","model":"d"}"#)),
            ("/v1/completions", "model: m", r#"{}"#, Ok(r#"{"model":"m"}"#)),
            ("/v1/audio/speech", "", r#"{}"#, Err((400, "model"))),
            ("/v1/rerank", "", r#"{}"#, Err((400, "model"))),
            ("/v1/responses", "responses: native", r#"{"input":"x"}"#, Ok(r#"{"input":"x"}"#)),
            ("/v1/responses", "responses: native, defaultModel: d", r#"{}"#, Ok(r#"{"model":"d"}"#)),
            ("/v1/moderations", "", r#"{"input":"x"}"#, Ok(r#"{"input":"x"}"#)),
            ("/v1/images/generations", "model: m", r#"{"model":"a"}"#, Ok(r#"{"model":"m"}"#)),
            ("/v1/batches", "model: m, operations: [batches]", r#"{"x":1}"#, Ok(r#"{"x":1}"#)),
            ("/v1/fine_tuning/jobs", "modelAliases: {a: b}, operations: [fine-tuning]",
             r#"{"model":"a"}"#, Ok(r#"{"model":"b"}"#)),
            ("/v1/responses", "responses: native, models: [m]", "{}", Err((400, "model"))),
            ("/v1/responses", "responses: native, models: [m], defaultModel: m", "{}", Ok(r#"{"model":"m"}"#)),
        ] {
            becomes(config, path, body, expected);
        }
    }

    fn the_usage_of_a_stream_is_requested_with_an_exact_length_at_every_chunking() {
        let plugin = "placement: upstream\nholdHeaders: true";
        let own = r#"{"include_usage":true}"#;
        for (body, options) in [
            (r#"{"model":"m","stream":true}"#, own),
            (r#"{"stream":true,"model":"m"}"#, own),
            (r#"{"model":"m","stream":true,"stream_options":{}}"#, own),
            (r#"{"stream_options":null,"model":"m","stream":true}"#, own),
            (
                r#"{"model":"m","stream_options":{"include_obfuscation":false},"stream":true}"#,
                r#"{"include_usage":true,"include_obfuscation":false}"#,
            ),
            (r#"{"model":"m","stream":true,"stream_options":{"include_usage":false}}"#, own),
            (r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#, own),
            (r#"{"model":"m","stream":false}"#, "null"),
            (r#"{"model":"m"}"#, "null"),
            (r#"{"model":"m","x":[1]}"#, "null"),
            (r#"{"model":"m","stream_options":{}}"#, "{}"),
        ] {
            let gateway = backend_of("groq", plugin, "apiKey: k");
            let options: Value = serde_json::from_str(options).unwrap();
            for chunks in chunkings(body.as_bytes()) {
                let length = body.len().to_string();
                let mut headers = post("/v1/chat/completions");
                headers.push(("content-length", &length));
                let mut exchange = Exchange::new(Rc::clone(&gateway));
                let wire = send(&mut exchange, &headers, &Host::default(), &chunks);
                assert!(wire.reply.is_none(), "{body} {chunks:?}");
                let length = wire.passed.len().to_string();
                assert_eq!(wire.header("content-length"), Some(&*length), "{body} {chunks:?}");
                let sent: Value = serde_json::from_slice(&wire.passed).unwrap();
                // What has gone on before its end has come stays as it is.
                let is_gone = body.contains("stream_options") && chunks.len() > 1;
                if !is_gone || sent["stream"] != true {
                    assert_eq!(sent["stream_options"], options, "{body} {chunks:?}");
                }
            }
        }
    }

    fn max_tokens_goes_by_its_new_name_to_models_that_insist() {
        const CHAT: &str = "/v1/chat/completions";
        const TWO: Result<&str, (u16, &str)> = Err((400, "max_tokens"));
        for (config, body, expected) in [
            // Before and after the model, however it is written.
            ("", r#"{"model":"o3-mini","max_tokens": 5}"#, Ok(r#"{"model":"o3-mini","max_completion_tokens": 5}"#)),
            ("", r#"{"max_tokens" : 5,"model":"gpt-5"}"#, Ok(r#"{"max_completion_tokens" : 5,"model":"gpt-5"}"#)),
            ("", r#"{"max\u005ftokens":5,"model":"o1"}"#, Ok(r#"{"max_completion_tokens":5,"model":"o1"}"#)),
            ("", r#"{"x":{"max_tokens":1},"model":"o1"}"#, Ok(r#"{"x":{"max_tokens":1},"model":"o1"}"#)),
            ("", r#"{"model":"o1","max_completion_tokens":5}"#, Ok(r#"{"model":"o1","max_completion_tokens":5}"#)),
            // Others take it, or nothing is said.
            ("", r#"{"max_tokens":5,"model":"gpt-4o"}"#, Ok(r#"{"max_tokens":5,"model":"gpt-4o"}"#)),
            ("", r#"{"model":"gpt-4o","max_tokens":5,"max_completion_tokens":6}"#,
             Ok(r#"{"model":"gpt-4o","max_tokens":5,"max_completion_tokens":6}"#)),
            ("", r#"{"max_tokens":null,"model":"o1","max_completion_tokens":6}"#,
             Ok(r#"{"max_tokens":null,"model":"o1","max_completion_tokens":6}"#)),
            // The model that goes upstream decides.
            ("model: o1", r#"{"model":"gpt-4o","max_tokens":5}"#, Ok(r#"{"model":"o1","max_completion_tokens":5}"#)),
            ("model: gpt-4o", r#"{"max_tokens":5,"model":"o1"}"#, Ok(r#"{"max_tokens":5,"model":"gpt-4o"}"#)),
            ("defaultModel: o1", r#"{"max_tokens":5}"#, Ok(r#"{"max_completion_tokens":5,"model":"o1"}"#)),
            ("modelAliases: {smart: gpt-5.1}", r#"{"max_tokens":5,"model":"smart"}"#,
             Ok(r#"{"max_completion_tokens":5,"model":"gpt-5.1"}"#)),
            // Both.
            ("", r#"{"model":"o1","max_tokens":5,"max_completion_tokens":6}"#, TWO),
            ("", r#"{"max_completion_tokens":6,"max_tokens":5,"model":"o1"}"#, TWO),
            ("model: o1", r#"{"max_completion_tokens":6,"max_tokens":5}"#, TWO),
            // With rules for either.
            ("defaults: {max_tokens: 9}", r#"{"model":"o1"}"#, Ok(r#"{"model":"o1","max_completion_tokens":9}"#)),
            ("defaults: {max_tokens: 9}", r#"{"model":"gpt-4"}"#, Ok(r#"{"model":"gpt-4","max_tokens":9}"#)),
            ("defaults: {max_tokens: 9}", r#"{"model":"o1","max_tokens":5}"#,
             Ok(r#"{"model":"o1","max_completion_tokens":5}"#)),
            ("defaults: {max_tokens: 9}", r#"{"max_tokens":null,"model":"o1"}"#,
             Ok(r#"{"max_completion_tokens":9,"model":"o1"}"#)),
            ("defaults: {max_tokens: 9}", r#"{"max_completion_tokens":5,"model":"o1"}"#,
             Ok(r#"{"max_completion_tokens":5,"model":"o1"}"#)),
            ("defaults: {max_completion_tokens: 9}", r#"{"max_tokens":5,"model":"o1"}"#,
             Ok(r#"{"max_completion_tokens":5,"model":"o1"}"#)),
            ("defaults: {max_completion_tokens: 9, max_tokens: 8}", r#"{"model":"o1"}"#,
             Ok(r#"{"model":"o1","max_completion_tokens":9}"#)),
            ("overrides: {max_tokens: 9}", r#"{"max_tokens":50,"model":"o1"}"#,
             Ok(r#"{"max_completion_tokens":9,"model":"o1"}"#)),
            ("overrides: {max_tokens: 9}", r#"{"max_completion_tokens":50,"model":"o1"}"#,
             Ok(r#"{"max_completion_tokens":9,"model":"o1"}"#)),
            ("overrides: {max_tokens: 9}, model: o1", r#"{"max_completion_tokens":50}"#,
             Ok(r#"{"max_completion_tokens":9,"model":"o1"}"#)),
            ("overrides: {max_completion_tokens: 9}", r#"{"max_tokens":50,"model":"o1"}"#,
             Ok(r#"{"max_completion_tokens":9,"model":"o1"}"#)),
            ("overrides: {max_completion_tokens: 9}", r#"{"model":"o1","max_tokens":50}"#,
             Ok(r#"{"model":"o1","max_completion_tokens":9}"#)),
            ("overrides: {max_tokens: 9}", r#"{"model":"o1"}"#, Ok(r#"{"model":"o1","max_completion_tokens":9}"#)),
        ] {
            becomes_at("openai", config, CHAT, body, expected);
            becomes_at("azure-openai", &format!("apiVersion: v1, {config}"), CHAT, body, expected);
        }
        for (config, body, expected) in [
            ("", r#"{"seed": 5,"model":"m"}"#, Ok(r#"{"random_seed": 5,"model":"m"}"#)),
            ("", r#"{"model":"m","max_completion_tokens":9,"seed":5}"#,
             Ok(r#"{"model":"m","max_tokens":9,"random_seed":5}"#)),
            ("", r#"{"random_seed":5,"model":"m"}"#, Ok(r#"{"random_seed":5,"model":"m"}"#)),
            ("", r#"{"seed":4,"model":"m","random_seed":5}"#, Err((400, "seed"))),
            ("defaults: {seed: 9}", r#"{"model":"m"}"#, Ok(r#"{"model":"m","random_seed":9}"#)),
            ("defaults: {random_seed: 9}", r#"{"model":"m","seed":5}"#, Ok(r#"{"model":"m","random_seed":5}"#)),
            ("overrides: {seed: 9}", r#"{"random_seed":5,"model":"m"}"#, Ok(r#"{"random_seed":9,"model":"m"}"#)),
            ("overrides: {random_seed: 9}", r#"{"seed":5,"model":"m"}"#, Ok(r#"{"random_seed":9,"model":"m"}"#)),
        ] {
            becomes_at("mistral", config, CHAT, body, expected);
        }
        // The route's model goes before all.
        let body = r#"{"max_tokens":5,"model":"gpt-4o"}"#;
        let host = Host {
            route: Some(pairs::encode(&[("model", "o1")])),
            ..Host::default()
        };
        for chunks in chunkings(body.as_bytes()) {
            let gateway = backend_of("openai", "placement: upstream\nholdHeaders: true", "model: gpt-4");
            let wire = send(&mut Exchange::new(gateway), &post(CHAT), &host, &chunks);
            assert_eq!(wire.passed, br#"{"max_completion_tokens":5,"model":"o1"}"#);
        }
        // Only there, and only in chat completions.
        let body = r#"{"max_tokens":5,"model":"o1"}"#;
        becomes("", CHAT, body, Ok(body));
        becomes_at("openai", "", "/v1/completions", body, Ok(body));
    }

    fn max_completion_tokens_goes_by_its_old_name_where_no_other_is_taken() {
        const CHAT: &str = "/v1/chat/completions";
        for provider in ["mistral", "deepseek", "ollama"] {
            for (config, body, expected) in [
                ("", r#"{"model":"m","max_completion_tokens": 5}"#, Ok(r#"{"model":"m","max_tokens": 5}"#)),
                ("", r#"{"max_completion_tokens":5,"model":"m"}"#, Ok(r#"{"max_tokens":5,"model":"m"}"#)),
                ("", r#"{"model":"m","max_tokens":5}"#, Ok(r#"{"model":"m","max_tokens":5}"#)),
                ("defaults: {max_completion_tokens: 9}", r#"{"model":"m"}"#, Ok(r#"{"model":"m","max_tokens":9}"#)),
            ] {
                becomes_at(provider, &format!("models: ['*'], {config}"), CHAT, body, expected);
            }
        }
        let body = r#"{"model":"m","max_completion_tokens":5}"#;
        becomes_at("groq", "", CHAT, body, Ok(body));
    }

    fn members_that_only_another_provider_brings_are_overwritten() {
        const CHAT: &str = "/v1/chat/completions";
        let body = r#"{"model":"m","messages":[{"role":"assistant","reasoning_content":"r","reasoning_signature":"anthropic:S","content":null,"tool_calls":[{"id":"c","extra_content":{"google":{"thought_signature":"T"}},"type":"function"}]}],"max_completion_tokens":5}"#;
        let member = |text: &str| " ".repeat(text.len());
        let without = |body: &str, texts: &[&str]| {
            texts.iter().fold(body.to_owned(), |body, text| body.replacen(text, &member(text), 1))
        };
        let signature = r#","reasoning_signature":"anthropic:S""#;
        let extra = r#","extra_content":{"google":{"thought_signature":"T"}}"#;
        let reasoning = r#","reasoning_content":"r""#;
        let all = without(body, &[signature, extra, reasoning]);
        for provider in ["openai", "groq"] {
            becomes_at(provider, "models: ['*']", CHAT, body, Ok(&all));
        }
        let renamed = all.replace("max_completion_tokens", "max_tokens");
        becomes_at("mistral", "models: ['*']", CHAT, body, Ok(&renamed));
        let some = without(body, &[signature, extra]);
        becomes_at("openrouter", "", CHAT, body, Ok(&some));
        becomes_at("openrouter", "", "/v1/completions", body, Ok(body));
    }

    fn a_member_that_the_provider_refuses_is_taken_out_unless_the_configuration_writes_it() {
        const CHAT: &str = "/v1/chat/completions";
        let body = r#"{"model":"m","stream_options":{"include_usage":true},"messages":[]}"#;
        let member = r#","stream_options":{"include_usage":true}"#;
        let without = body.replace(member, &" ".repeat(member.len()));
        becomes_at("cohere", "models: ['*']", CHAT, body, Ok(&without));
        let written = body.replace("true", "false");
        let config = "models: ['*'], overrides: {stream_options: {include_usage: false}}";
        becomes_at("cohere", config, CHAT, body, Ok(&written));
    }

    fn hints_that_a_provider_refuses_are_left_out_and_named() {
        const PATH: &str = "/v1/chat/completions";
        let body = r#"{"model":"m","seed":7,"user":"u","logit_bias":null,"n":1,"messages":[{"role":"developer","content":"s"},{"role":"user","name":"Ann","content":"u"}]}"#;
        let system = body.replace("\"developer\"", "\"system\"   ");
        becomes_at("deepseek", "models: ['*']", PATH, body, Ok(&system));
        let without = |members: &[&str]| {
            let spaces = |body: String, it: &&str| body.replacen(*it, &" ".repeat(it.len()), 1);
            members.iter().fold(system.clone(), spaces)
        };
        let user = r#","user":"u""#;
        let (bias, name) = (r#","logit_bias":null"#, r#","name":"Ann""#);
        let renamed = |body: String| body.replace("\"seed\"", "\"random_seed\"");
        let expected = renamed(without(&[user, bias, name]));
        becomes_at("mistral", "models: ['*']", PATH, body, Ok(&expected));
        // A hint that the configuration writes stays, the others do not.
        let config = "models: ['*'], overrides: {user: w}";
        let written = renamed(without(&[bias, name])).replace(user, r#","user":"w""#);
        becomes_at("mistral", config, PATH, body, Ok(&written));
        let gateway = backend_of("mistral", "placement: upstream\nholdHeaders: true", "models: ['*']");
        let mut exchange = Exchange::new(gateway);
        send(&mut exchange, &CHAT, &Host::default(), &[body.as_bytes()]);
        let reply = Wire::new(&[(":status", "200"), ("content-type", "application/json")]);
        let step = exchange.reply_headers(&reply.list(), false, &Host::default());
        let expected = HeaderEdit::set("x-llm-proxy-adapted", "user");
        assert!(step.headers.contains(&expected), "{:?}", step.headers);
    }

    fn max_tokens_waits_for_the_model_but_not_for_ever() {
        for plugin in ["placement: upstream\nholdHeaders: true", "placement: upstream"] {
            let gateway = backend_of("openai", plugin, "");
            for (text, expected) in [(200 << 10, "max_completion_tokens"), (300 << 10, "max_tokens")] {
                let body = format!(
                    r#"{{"max_tokens":5,"messages":"{}","model":"o1"}}"#, "x".repeat(text)
                );
                let chunks: Vec<&[u8]> = body.as_bytes().chunks(16 << 10).collect();
                let mut exchange = Exchange::new(Rc::clone(&gateway));
                let wire = send(&mut exchange, &CHAT, &Host::default(), &chunks);
                let sent = String::from_utf8(wire.passed).unwrap();
                assert_eq!(sent, body.replace("max_tokens", expected), "{plugin} {text}");
            }
        }
    }

    fn a_model_name_of_five_thousand_bytes_is_refused_and_a_long_prompt_is_not() {
        let long = "x".repeat(5_000);
        let gateway = held("defaultModel: d");
        let body = format!(r#"{{"model":"{long}"}}"#);
        let mut exchange = Exchange::new(Rc::clone(&gateway));
        let wire = send(&mut exchange, &CHAT, &Host::default(), &[body.as_bytes()]);
        assert_eq!(wire.reply.map(|it| it.status), Some(400));
        let body = format!(r#"{{"prompt":"{long}","model":"a"}}"#);
        let mut exchange = Exchange::new(gateway);
        let wire = send(&mut exchange, &CHAT, &Host::default(), &[body.as_bytes()]);
        assert_eq!(String::from_utf8(wire.passed).unwrap(), body);
    }

    fn headers_wait_for_the_length_but_not_for_the_whole_body() {
        let gateway = held("model: grok");
        let text = "x".repeat(1 << 20);
        let first = format!(r#"{{"model":"a","messages":"{text}"}}"#);
        let length = first.len().to_string();
        let mut headers = CHAT.to_vec();
        headers.push(("content-length", &length));
        let mut exchange = Exchange::new(Rc::clone(&gateway));
        let wire = send(&mut exchange, &headers, &Host::default(), &[&first.as_bytes()[..100]]);
        // The body is not whole, so the last chunk is an error; but the first went on before it.
        assert!(wire.reply.is_some());

        let mut exchange = Exchange::new(Rc::clone(&gateway));
        let mut wire = Wire::new(&headers);
        let step = exchange.request_headers(&wire.list(), false, &Host::default());
        assert_eq!(step.next, Next::Hold);
        wire.apply(step);
        wire.held.extend_from_slice(&first.as_bytes()[..100]);
        let step = exchange.request_body(100, false, |_| &first.as_bytes()[..100], &Host::default());
        wire.apply(step);
        assert_eq!(wire.held.len(), 0, "the first piece has gone on");
        assert_eq!(wire.header("content-length"), Some(&*(first.len() + 3).to_string()));

        let last = format!(r#"{{"messages":"{text}","model":"a"}}"#);
        let chunks: Vec<&[u8]> = last.as_bytes().chunks(64 << 10).collect();
        let mut exchange = Exchange::new(gateway);
        let mut most = 0;
        let mut wire = Wire::new(&headers);
        let step = exchange.request_headers(&wire.list(), false, &Host::default());
        wire.apply(step);
        for (number, chunk) in chunks.iter().enumerate() {
            wire.held.extend_from_slice(chunk);
            let ends = number + 1 == chunks.len();
            let at_hand = wire.held.clone();
            let step = exchange.request_body(at_hand.len(), ends, |from| &at_hand[from..], &Host::default());
            wire.apply(step);
            most = most.max(wire.held.len());
        }
        assert!(most <= 320 << 10, "{most} bytes were held");
        assert_eq!(wire.header("content-length"), None);
        assert_eq!(wire.passed, last.replace(r#""a""#, r#""grok""#).into_bytes());
    }

    fn a_body_over_the_limit_is_413_whether_or_not_it_says_so() {
        let plugin = "placement: upstream\nholdHeaders: true\nmaxRequestBytes: 20";
        let gateway = one_backend(plugin, "model: m");
        let body = br#"{"model":"a","x":"0123456789"}"#;
        let mut headers = CHAT.to_vec();
        headers.push(("content-length", "30"));
        for headers in [&headers[..], &CHAT[..]] {
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            let wire = send(&mut exchange, headers, &Host::default(), &[&body[..15], &body[15..]]);
            let reply = wire.reply.expect("refused");
            assert_eq!(reply.status, 413);
            assert!(error(&reply)["message"].as_str().unwrap().contains("20 bytes"));
        }
        // Also where the body is not looked at.
        let upload = [(":method", "POST"), (":path", "/v1/files"), ("content-type", "multipart/form-data")];
        let mut exchange = Exchange::new(gateway);
        let wire = send(&mut exchange, &upload, &Host::default(), &[body]);
        assert_eq!(wire.reply.map(|reply| reply.status), Some(413));
    }

    fn bodies_that_are_not_json_pass_untouched() {
        let gateway = held("model: m");
        for (gateway, method, path, media_type) in [
            (&held("defaultModel: m"), "POST", "/v1/audio/transcriptions", "multipart/form-data; boundary=x"),
            (&held("defaultModel: m"), "POST", "/v1/audio/transcriptions", "application/octet-stream"),
            (&held("defaultModel: m"), "DELETE", "/v1/audio/transcriptions", "application/json"),
            (&gateway, "POST", "/v1/files", "multipart/form-data; boundary=x"),
            (&gateway, "PUT", "/v1/uploads/u/parts", "application/octet-stream"),
        ] {
            let headers = [
                (":method", method),
                (":path", path),
                ("content-type", media_type),
                ("content-length", "11"),
            ];
            let mut exchange = Exchange::new(Rc::clone(gateway));
            let wire = send(&mut exchange, &headers, &Host::default(), &[b"\xff\x00--x", b"{oh}"]);
            assert_eq!(wire.reply, None);
            assert_eq!(wire.passed, b"\xff\x00--x{oh}");
            assert_eq!(wire.header("content-length"), Some("11"));
        }
        // No rule asks about this one: it passes unread.
        let mut exchange = Exchange::new(held(""));
        let wire = send(&mut exchange, &post("/v1/batches"), &Host::default(), &[b"not", b" JSON"]);
        assert_eq!((wire.reply, &wire.passed[..]), (None, &b"not JSON"[..]));
        for method in ["GET", "DELETE", "OPTIONS", "HEAD"] {
            let headers = [(":method", method), (":path", "/v1/models")];
            let wire = send(&mut Exchange::new(Rc::clone(&gateway)), &headers, &Host::default(), &[]);
            assert_eq!((wire.reply.as_ref(), wire.started), (None, true), "{method}");
        }
    }

    fn trailers_are_no_way_around_the_rules() {
        let body: &[u8] = br#"{"model":"a"}"#;
        let status = |gateway: &Rc<Gateway>, path: &str, chunk: &[u8]| {
            let mut exchange = Exchange::new(Rc::clone(gateway));
            let mut wire = Wire::new(&post(path));
            let step = exchange.request_headers(&wire.list(), false, &Host::default());
            wire.apply(step);
            wire.held.extend_from_slice(chunk);
            let step = exchange.request_body(chunk.len(), false, |from| &chunk[from..], &Host::default());
            wire.apply(step);
            let step = exchange.request_trailers();
            wire.apply(step);
            wire.reply.map(|reply| reply.status)
        };
        let held = held("model: m");
        let passing = one_backend("placement: upstream", "model: m");
        let anthropic =
            gateway("holdHeaders: true\nbackends: [{name: b, type: anthropic, config: {model: m}}]");
        let chat = "/v1/chat/completions";
        assert_eq!(status(&held, chat, body), Some(400));
        assert_eq!(status(&anthropic, chat, body), Some(400));
        assert_eq!(status(&passing, chat, &body[..5]), Some(400));
        // Here every rule has been applied by then, or there is none.
        assert_eq!(status(&passing, chat, body), None);
        assert_eq!(status(&one_backend("placement: upstream", ""), "/v1/batches", b"x"), None);
    }

    fn a_media_type_is_no_way_around_the_rules() {
        let gateway = held("model: m, models: [a]");
        let body: &[u8] = br#"{"model":"a"}"#;
        let media_types = ["text/plain", "application/x-www-form-urlencoded", "", "text/json; x=y"];
        for media_type in media_types {
            let mut headers = post("/v1/chat/completions");
            headers.retain(|(name, _)| *name != "content-type");
            headers.push(("content-type", media_type));
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            let wire = send(&mut exchange, &headers, &Host::default(), &[body]);
            assert_eq!(wire.passed, br#"{"model":"m"}"#, "{media_type}");
            assert_eq!(wire.header("content-type"), Some("application/json"), "{media_type}");
        }
    }

    fn a_request_that_a_rule_cannot_check_is_refused() {
        const JSON_BODY: &str = r#"{"model":"expensive"}"#;
        let rules = [
            "model: m", "models: [m]", "modelAliases: {a: m}", "model: m, defaultModel: d",
        ];
        /// Method, path, media type, body; status and code.
        type Row = (&'static str, &'static str, Option<&'static str>, &'static str, u16, &'static str);
        let rows: &[Row] = &[
            // Media types.
            ("POST", "/v1/chat/completions", Some("multipart/mixed"), JSON_BODY, 415, "unsupported_media_type"),
            ("POST", "/v1/chat/completions", Some("multipart/form-data; boundary=x"), JSON_BODY, 415, "unsupported_media_type"),
            ("POST", "/v1/embeddings", Some("Multipart/Related; boundary=x"), JSON_BODY, 415, "unsupported_media_type"),
            ("POST", "/v1/responses/compact", Some("text/plain"), JSON_BODY, 415, "unsupported_media_type"),
            ("POST", "/v1/images/generations", Some("text/plain"), JSON_BODY, 415, "unsupported_media_type"),
            ("POST", "/v1/images/edits", Some("application/x-www-form-urlencoded"), JSON_BODY, 415, "unsupported_media_type"),
            ("POST", "/v1/images/edits", Some("multipart/mixed; boundary=x"), JSON_BODY, 415, "unsupported_media_type"),
            ("POST", "/v1/images/edits", Some("multipart/form-data"), JSON_BODY, 415, "unsupported_media_type"),
            ("POST", "/v1/audio/transcriptions", Some("multipart/form-data; boundary=x; boundary=y"), "", 415, "unsupported_media_type"),
            ("POST", "/v1/audio/transcriptions", Some("application/octet-stream"), JSON_BODY, 415, "unsupported_media_type"),
            ("POST", "/v1/chat/completions/x", Some("text/plain"), JSON_BODY, 415, "unsupported_media_type"),
            ("POST", "/v1/ocr", Some("text/plain"), JSON_BODY, 415, "unsupported_media_type"),
            ("POST", "/v1/videos", Some(""), JSON_BODY, 415, "unsupported_media_type"),
            // Methods.
            ("GET", "/v1/chat/completions", Some("application/json"), JSON_BODY, 405, "method_not_allowed"),
            ("DELETE", "/v1/chat/completions", Some("application/json"), JSON_BODY, 405, "method_not_allowed"),
            ("OPTIONS", "/v1/completions", None, JSON_BODY, 405, "method_not_allowed"),
            ("HEAD", "/v1/files", None, JSON_BODY, 405, "method_not_allowed"),
            ("PUT", "/v1/chat/completions", Some("application/json"), JSON_BODY, 405, "method_not_allowed"),
            ("PATCH", "/v1/responses", Some("application/json"), JSON_BODY, 405, "method_not_allowed"),
            ("post", "/v1/chat/completions", Some("application/json"), JSON_BODY, 405, "method_not_allowed"),
            ("QUERY", "/v1/chat/completions", Some("application/json"), JSON_BODY, 405, "method_not_allowed"),
            ("PROPFIND", "/v1/files", None, "", 405, "method_not_allowed"),
            ("POST", "/v1/models/m:generateContent", Some("application/json"), JSON_BODY, 405, "method_not_allowed"),
            // Calls whose model cannot be read.
            ("POST", "/v1/batches", Some("application/json"), JSON_BODY, 403, "operation_not_allowed"),
            ("POST", "/v1/batches/", Some("text/plain"), JSON_BODY, 403, "operation_not_allowed"),
            ("GET", "/v1/realtime?model=expensive", None, "", 403, "operation_not_allowed"),
            ("POST", "/v1/threads/t/runs", Some("application/json"), JSON_BODY, 403, "operation_not_allowed"),
            ("POST", "/v1/fine_tuning/jobs", Some("application/json"), JSON_BODY, 403, "operation_not_allowed"),
            ("POST", "/v1/brand/new", Some("application/json"), JSON_BODY, 403, "operation_not_allowed"),
            ("GET", "/v1/x/v1/chat/completions", None, "", 403, "operation_not_allowed"),
            ("POST", "/v1", Some("application/json"), JSON_BODY, 403, "operation_not_allowed"),
            ("POST", "/v1/deployments/expensive/chat/completions", Some("application/json"), JSON_BODY, 403, "model_not_allowed"),
            ("POST", "/v1/engines/expensive/completions", Some("application/json"), JSON_BODY, 403, "model_not_allowed"),
            ("POST", "/v1/openai/deployments/expensive/x", Some("application/json"), JSON_BODY, 403, "model_not_allowed"),
            // Paths that are another call to some server.
            ("POST", "/v1/Chat/Completions", Some("application/json"), JSON_BODY, 400, "invalid_url"),
            ("POST", "/v1/chat//completions", Some("application/json"), JSON_BODY, 400, "invalid_url"),
            ("POST", "/v1/%64eployments/expensive/chat/completions", Some("application/json"), JSON_BODY, 400, "invalid_url"),
            ("POST", "/v1//deployments/expensive/chat/completions", Some("application/json"), JSON_BODY, 400, "invalid_url"),
            // No body, and so no model.
            ("POST", "/v1/responses", Some("application/json"), "", 400, "invalid_json"),
            ("POST", "/v1/audio/transcriptions", None, "", 400, "invalid_json"),
        ];
        for plugin in ["placement: upstream\nholdHeaders: true", "placement: upstream", "holdHeaders: true", ""] {
            for rule in rules {
                let gateway = one_backend(plugin, &format!("{rule}, responses: native"));
                for &(method, path, media_type, body, status, code) in rows {
                    let length = body.len().to_string();
                    let mut headers = vec![(":method", method), (":path", path), (":authority", "g")];
                    headers.extend(media_type.map(|it| ("content-type", it)));
                    if !body.is_empty() {
                        headers.push(("content-length", &length));
                    }
                    let chunks: &[&[u8]] = if body.is_empty() && media_type.is_none_or(|it| !it.contains("form")) {
                        &[]
                    } else {
                        &[body.as_bytes()]
                    };
                    let what = format!("{plugin} {rule} {method} {path} {media_type:?}");
                    let wire = send(&mut Exchange::new(Rc::clone(&gateway)), &headers, &Host::default(), chunks);
                    let reply = wire.reply.expect(&what);
                    assert_eq!((reply.status, error(&reply)["code"].as_str()), (status, Some(code)), "{what}");
                    assert!(wire.passed.is_empty(), "{what}");
                    let accepted = reply.headers.iter().find(|(name, _)| name == "accept");
                    assert_eq!(accepted.is_some(), status == 415, "{what}");
                }
            }
        }
        // Without a rule all of them pass, but for a call that is never sent without its model.
        let free = held("responses: native");
        for &(method, path, media_type, body, _, _) in rows {
            let mut headers = vec![(":method", method), (":path", path), (":authority", "g")];
            headers.extend(media_type.map(|it| ("content-type", it)));
            let chunks: &[&[u8]] = if body.is_empty() { &[] } else { &[body.as_bytes()] };
            let wire = send(&mut Exchange::new(Rc::clone(&free)), &headers, &Host::default(), chunks);
            assert_eq!(wire.reply, None, "{method} {path} {media_type:?}");
            assert_eq!(wire.passed, body.as_bytes(), "{method} {path} {media_type:?}");
        }
    }

    fn a_call_that_is_listed_passes_although_its_model_cannot_be_read() {
        let listed = "operations: [batches, realtime, other]";
        for rule in ["model: m", "models: [m]", "modelAliases: {a: m}"] {
            let gateway = held(&format!("{rule}, {listed}"));
            for (method, path, body) in [
                ("POST", "/v1/batches", r#"{"input_file_id":"f"}"#),
                ("GET", "/v1/realtime?model=x", ""),
                ("POST", "/v1/brand/new", "{}"),
            ] {
                let headers = [(":method", method), (":path", path), ("content-type", "application/json")];
                let chunks: &[&[u8]] = if body.is_empty() { &[] } else { &[body.as_bytes()] };
                let wire = send(&mut Exchange::new(Rc::clone(&gateway)), &headers, &Host::default(), chunks);
                assert_eq!((wire.reply.as_ref(), wire.passed.as_slice()), (None, body.as_bytes()), "{rule} {path}");
                assert_eq!(wire.header(":path"), Some(path.replace("/v1", "/base").as_str()), "{rule} {path}");
            }
            // What is listed opens no other call.
            for (path, status) in [
                ("/v1/threads", 403), ("/v1/deployments/x/chat/completions", 403), ("/v1/Deployments/x/y", 400),
                ("/v1/Chat/completions", 400), ("/v1/%62atches", 400),
            ] {
                let wire = send(&mut Exchange::new(Rc::clone(&gateway)), &post(path), &Host::default(), &[b"{}"]);
                assert_eq!(wire.reply.map(|it| it.status), Some(status), "{rule} {path}");
            }
        }
    }

    fn a_restricted_route_is_checked_like_a_restricted_backend() {
        for route in ["model: m", "modelAliases: {a: m}"] {
            let gateway = gateway(&format!(
                "holdHeaders: true\nbackends: [{{name: b, type: xai, config: {{}}}}]\n\
                 routes: [{{path: /v1, backend: b, {route}}}]"
            ));
            for (path, media_type, status) in [
                ("/v1/batches", "application/json", 403),
                ("/v1/chat/completions", "multipart/mixed", 415),
                ("/v1/files", "text/plain", 0),
            ] {
                let headers = [(":method", "POST"), (":path", path), ("content-type", media_type)];
                let wire = send(&mut Exchange::new(Rc::clone(&gateway)), &headers, &Host::default(), &[b"{}"]);
                assert_eq!(wire.reply.map_or(0, |it| it.status), status, "{route} {path}");
            }
        }
    }

    fn a_body_that_nobody_declared_does_not_pass_where_none_may_be() {
        for (plugin, is_held) in [("placement: upstream\nholdHeaders: true", true), ("placement: upstream", false)] {
            let gateway = one_backend(plugin, "model: m");
            let headers = [(":method", "GET"), (":path", "/v1/chat/completions"), (":authority", "g")];
            let wire = send(&mut Exchange::new(Rc::clone(&gateway)), &headers, &Host::default(), &[b"", b"{}"]);
            assert_eq!(wire.reply.map(|it| it.status), Some(405));
            assert!(wire.passed.is_empty());
            assert_eq!(wire.started, !is_held);
            // Over HTTP/2 the end may come by itself.
            let wire = send(&mut Exchange::new(gateway), &headers, &Host::default(), &[b"", b""]);
            assert_eq!((wire.reply, wire.started), (None, true));
        }
    }

    fn the_model_rules_hold_for_forms() {
        let form = |parts: &[(&str, &str)]| {
            let part = |(name, content): &(&str, &str)| {
                format!("--x y\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
            };
            format!("{}--x y--\r\n", parts.iter().map(part).collect::<String>())
        };
        let file = ("file\"; filename=\"a.wav", "RIFF\r\n--x\r\n{\"model\":\"no\"}--");
        let (first, last) = ([("model", "a"), file], [file, ("model", "a")]);
        type Row<'a> = (&'a str, String, Result<String, (u16, &'a str)>);
        let rows: Vec<Row<'_>> = vec![
            ("model: other", form(&first), Ok(form(&[("model", "other"), file]))),
            ("model: other", form(&last), Ok(form(&[file, ("model", "other")]))),
            ("model: a", form(&last), Ok(form(&last))),
            ("model: other", form(&[file]), Ok(form(&[file, ("model", "other")]))),
            ("model: other", form(&[file, ("model", " ")]), Ok(form(&[file, ("model", "other")]))),
            ("model: other", form(&[]), Ok(form(&[("model", "other")]))),
            ("modelAliases: {a: b}", form(&first), Ok(form(&[("model", "b"), file]))),
            ("modelAliases: {x: b}", form(&first), Ok(form(&first))),
            ("models: [a]", form(&last), Ok(form(&last))),
            ("models: [b]", form(&last), Err((404, "model_not_found"))),
            ("models: [b]", form(&[file]), Err((400, "missing_required_parameter"))),
            ("models: [b], defaultModel: b", form(&[file]), Ok(form(&[file, ("model", "b")]))),
            ("model: m", form(&[("model", "a"), file, ("model", "b")]), Err((400, "duplicate_parameter"))),
            ("model: m", form(&[("model[]", "a"), file]), Err((400, "invalid_form"))),
            ("model: m", form(&[("Model", "a"), file]), Err((400, "invalid_form"))),
            ("model: m", form(&[("model ", "a"), file]), Err((400, "invalid_form"))),
            ("model: m", form(&[("%6dodel", "a"), file]), Err((400, "invalid_form"))),
            ("model: m", form(&[("model\"; filename=\"a", "a"), file]), Err((400, "invalid_form"))),
            ("model: m", form(&[("x\"; name*=\"UTF-8''model", "a"), file]), Err((400, "invalid_form"))),
            ("model: m", form(&[("x\"; name*0=\"mo\"; name*1=\"del", "a"), file]), Err((400, "invalid_form"))),
            ("model: m", form(&[("x\"; NAME=\"model", "a"), file]), Err((400, "invalid_form"))),
            ("model: m", form(&[("fallbacks", "a"), file]), Err((400, "model_not_allowed"))),
            ("model: m", form(&[file, ("Models[0]", "a")]), Err((400, "model_not_allowed"))),
            ("models: [a]", form(&[("model", "a"), ("preset", "a")]), Err((400, "model_not_allowed"))),
            ("model: a", form(&[("model", "a"), ("models_of_x", "a")]), Ok(form(&[("model", "a"), ("models_of_x", "a")]))),
            ("model: m", form(&last).replace("--x y--", ""), Err((400, "invalid_form"))),
            ("model: m", r#"{"model":"a"}"#.to_owned(), Err((400, "invalid_form"))),
        ];
        for plugin in ["placement: upstream\nholdHeaders: true", "placement: upstream"] {
            for (config, body, expected) in &rows {
                let gateway = one_backend(plugin, config);
                for chunks in chunkings(body.as_bytes()) {
                    let length = body.len().to_string();
                    let mut headers = post("/v1/audio/transcriptions");
                    headers.retain(|(name, _)| *name != "content-type");
                    headers.push(("content-type", "multipart/form-data; boundary=\"x y\""));
                    headers.push(("content-length", &length));
                    let wire = send(&mut Exchange::new(Rc::clone(&gateway)), &headers, &Host::default(), &chunks);
                    let what = format!("{plugin} {config} {chunks:?}");
                    match expected {
                        Ok(expected) => {
                            assert_eq!(wire.reply, None, "{what}");
                            assert_eq!(&String::from_utf8(wire.passed.clone()).unwrap(), expected, "{what}");
                            let exact = expected.len().to_string();
                            let length = wire.header("content-length");
                            assert_eq!(length, gateway.plugin.hold_headers.then_some(&*exact), "{what}");
                            let media_type = wire.header("content-type");
                            assert_eq!(media_type, Some("multipart/form-data; boundary=\"x y\""), "{what}");
                        }
                        Err((status, code)) => {
                            let reply = wire.reply.as_ref().unwrap_or_else(|| panic!("{what}"));
                            assert_eq!((reply.status, error(reply)["code"].as_str()), (*status, Some(*code)), "{what}");
                            assert!(wire.passed.len() < body.len(), "{what}");
                            let may_have_started = !gateway.plugin.hold_headers || *code == "duplicate_parameter"
                                || *code == "model_not_allowed"
                                || *code == "invalid_form";
                            assert!(may_have_started || !wire.started, "{what}");
                        }
                    }
                }
            }
        }
    }

    fn nothing_else_in_a_body_chooses_a_model() {
        let (refused, passes) = (Err((400, "model_not_allowed")), Ok(()));
        /// Path, a member beside `model`, and the reply.
        type Row = (&'static str, &'static str, Result<(), (u16, &'static str)>);
        let rows: [Row; 33] = [
            // Hosted tools and plugins that run models.
            ("/v1/responses", r#""tools":[{"type":"image_generation","model":"x"}]"#, refused),
            ("/v1/responses", r#""tools":[{"type":"a"},{"type":"image_generation","mod\u0065l":"x"}]"#, refused),
            ("/v1/responses", r#""tools":[{"type":"image_generation","Model":"x"}]"#, refused),
            ("/v1/responses", r#""tools":[{"parameters":{"analysis_models":["x"]},"type":"openrouter:fusion"}]"#, refused),
            ("/v1/messages", r#""tools":[{"type":"advisor_20260301","name":"advisor","model":"x"}]"#, refused),
            ("/v1/chat/completions", r#""plugins":[{"id":"auto-router","allowed_models":["x"]}]"#, refused),
            ("/v1/chat/completions", r#""plugins":[{"id":"a","config":{"b":{"model":"x"}}}]"#, refused),
            ("/v1/chat/completions", r#""data_sources":[{"parameters":{"embedding_dependency":{"deployment_name":"x"}}}]"#, refused),
            // Members beside it.
            ("/v1/chat/completions", r#""draft_model":"x""#, refused),
            ("/v1/chat/completions", r#""fallback_models":["x"]"#, refused),
            ("/v1/chat/completions", r#""compound_custom":{"models":{"answering_model":"x"}}"#, refused),
            ("/v1/chat/completions", r#""agent_id":"x""#, refused),
            ("/v1/conversations", r#""agent_id":"x""#, refused),
            ("/v1/completions", r#""lora_path":"x""#, refused),
            ("/v1/messages", r#""fallbacks":["x"]"#, refused),
            ("/v1/images/edits", r#""models":["x"]"#, refused),
            ("/v1/chat/completions", r#""model\u017f":["x"]"#, Err((400, "duplicate_parameter"))),
            ("/v1/chat/completions", r#""MODEL":"x""#, Err((400, "duplicate_parameter"))),
            ("/v1/chat/completions", r#""mod\u0065l":"x""#, Err((400, "duplicate_parameter"))),
            ("/v1/chat/completions", "\"a\":1}\u{feff}{\"b\":2", Err((400, "invalid_json"))),
            ("/v1/chat/completions", r#""a":1}{"model":"x""#, Err((400, "invalid_json"))),
            ("/v1/chat/completions", "\"a\":'model'", Err((400, "invalid_json"))),
            ("/v1/chat/completions", "\"a\":1,/**/\"b\":1", Err((400, "invalid_json"))),
            ("/v1/chat/completions", "\"a\":1,", Err((400, "invalid_json"))),
            // What has such names and chooses nothing.
            ("/v1/chat/completions", r#""tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"model":{"type":"string"}}}}}]"#, passes),
            ("/v1/responses", r#""tools":[{"type":"function","name":"f","parameters":{"type":"object","properties":{"model":{},"a_model":{}}}}]"#, passes),
            ("/v1/messages", r#""tools":[{"name":"f","input_schema":{"type":"object","properties":{"models":{}},"required":["models"]}}]"#, passes),
            ("/v1/messages", r#""tools":[{"name":"f","input_schema":{},"input_examples":[{"model":"x"}]}]"#, passes),
            ("/v1/chat/completions", r#""metadata":{"model":"x"},"messages":[{"role":"user","content":"{\"model\":1}"}]"#, passes),
            ("/v1/chat/completions", r#""provider":{"order":["a"]},"transforms":["middle-out"]"#, passes),
            ("/v1/chat/completions", r#""tools":"model","plugins":{}"#, passes),
            ("/v1/conversations", r#""items":[]"#, passes),
            ("/v1/responses", r#""prompt":{"id":"p","variables":{"model":"x"}}"#, passes),
        ];
        for rule in ["model: m", "models: [m]", "modelAliases: {m: m}"] {
            for plugin in ["placement: upstream\nholdHeaders: true", "placement: upstream"] {
                let gateway = one_backend(plugin, rule);
                let held = "placement: upstream\nholdHeaders: true";
                for (path, member, expected) in rows {
                    let is_messages = path == "/v1/messages";
                    // What is native there.
                    let gateway = match path {
                        "/v1/messages" => backend_of("anthropic", held, rule),
                        "/v1/responses" | "/v1/conversations" => backend_of("openai", plugin, rule),
                        _ => Rc::clone(&gateway),
                    };
                    let body = format!(r#"{{"model":"m",{member}}}"#);
                    for chunks in [vec![body.as_bytes()], body.as_bytes().chunks(1).collect()] {
                        let what = format!("{rule} {plugin} {path} {body} {}", chunks.len());
                        let wire = send(&mut Exchange::new(Rc::clone(&gateway)), &post(path), &Host::default(), &chunks);
                        let found = match &wire.reply {
                            None => Ok(()),
                            Some(reply) => Err((reply.status, error(reply)["code"].as_str().unwrap_or_default().to_owned())),
                        };
                        // Errors of the Messages API have no code.
                        let code = |code: &str| if is_messages { String::new() } else { code.to_owned() };
                        let expected = expected.map_err(|(status, it)| (status, code(it)));
                        assert_eq!(found, expected, "{what}");
                        // A body that is refused never arrives whole.
                        assert!(found.is_ok() || wire.passed.len() < body.len(), "{what}");
                    }
                }
                // A server that reads another encoding would find another model.
                for (sent, passed) in [
                    ("application/json; charset=utf-7", "application/json"),
                    ("application/json;charset=UTF-16", "application/json"),
                    ("application/json; charset=utf-8; charset=utf-7", "application/json"),
                    ("application/json; charset=UTF-8", "application/json; charset=UTF-8"),
                    ("application/vnd.x+json", "application/vnd.x+json"),
                ] {
                    let mut headers = post("/v1/chat/completions");
                    headers.retain(|(name, _)| *name != "content-type");
                    headers.push(("content-type", sent));
                    let wire = send(&mut Exchange::new(Rc::clone(&gateway)), &headers, &Host::default(), &[br#"{"model":"m"}"#]);
                    assert_eq!((wire.reply.as_ref(), wire.header("content-type")), (None, Some(passed)), "{sent}");
                }
            }
        }
        // Where nothing is restricted, or the configuration itself says so, all of it passes.
        for config in ["", "model: m, overrides: {draft_model: y, models: [z]}"] {
            let gateway = one_backend("placement: upstream\nholdHeaders: true", config);
            let body: &[u8] = br#"{"model":"m","draft_model":"x"}"#;
            let wire = send(&mut Exchange::new(Rc::clone(&gateway)), &CHAT, &Host::default(), &[body]);
            assert_eq!(wire.reply, None, "{config}");
        }
    }

    fn a_compressed_body_passes_only_where_it_is_not_read() {
        let form = "multipart/form-data; boundary=x";
        for (config, path, media_type, is_read) in [
            ("", "/v1/chat/completions", "application/json", true),
            ("model: m, responses: native", "/v1/responses", "application/json", true),
            ("model: m", "/v1/audio/transcriptions", form, true),
            ("model: m", "/v1/files", form, false),
            ("", "/v1/audio/transcriptions", form, false),
            ("", "/v1/batches", "application/json", false),
        ] {
            for coding in ["gzip", "zstd", "GZIP", "identity, br", "identity", ""] {
                let mut headers = post(path);
                headers.retain(|(name, _)| *name != "content-type");
                headers.extend([("content-type", media_type), ("content-encoding", coding)]);
                let body: &[u8] = match media_type == form {
                    true => b"--x\r\nContent-Disposition: form-data; name=model\r\n\r\nd\r\n--x--",
                    false => br#"{"model":"d"}"#,
                };
                let mut exchange = Exchange::new(held(config));
                let wire = send(&mut exchange, &headers, &Host::default(), &[body]);
                let is_encoded = !matches!(coding, "identity" | "");
                let what = format!("{config} {path} {coding}");
                assert_eq!(wire.reply.is_some(), is_read && is_encoded, "{what}");
                let Some(reply) = wire.reply else { continue };
                assert_eq!(reply.status, 415, "{what}");
                assert_eq!(error(&reply)["code"], "unsupported_content_encoding");
                let message = error(&reply)["message"].as_str().unwrap().to_owned();
                assert!(message.contains(coding) && message.contains("uncompressed"), "{message}");
            }
        }
        for plugin in [
            "backends: [{name: b, type: anthropic, config: {}}]",
            "backends: [{name: b, type: xai}]\nroutes: [{models: [a], backend: b}]",
            "backends: [{name: b, type: xai}]\nroutes: [{models: [a], backend: b}]\nrole: choose",
        ] {
            let mut headers = CHAT.to_vec();
            headers.push(("content-encoding", "zstd"));
            let gateway = gateway(&format!("holdHeaders: true\n{plugin}"));
            let wire = send(&mut Exchange::new(gateway), &headers, &Host::default(), &[b"\x28"]);
            assert_eq!(wire.reply.map(|it| it.status), Some(415), "{plugin}");
        }
    }

    fn a_path_that_servers_read_in_different_ways_is_a_400_in_every_placement() {
        let backends = "backends: [{name: b, type: xai}, {name: c, type: xai}, \
                        {name: p, type: pool, backends: [{name: b}, {name: c}]}]";
        for plugin in [
            "holdHeaders: true\nrole: choose\nroutes: [{path: /v1, backend: p}]",
            "placement: upstream\nholdHeaders: true",
            "holdHeaders: true\nroutes: [{path: /v1, backend: b}]",
            "routes: [{path: /elsewhere, backend: b}]",
        ] {
            let backends = match plugin.contains("choose") {
                true => backends,
                false => "backends: [{name: b, type: xai}]",
            };
            let gateway = gateway(&format!("{plugin}\n{backends}"));
            for path in ["/v1/..%2fx", "/v1/../x", "/v1/%2e%2e/x", "/v1/chat%2Fcompletions", "/v1/%252e%252e/x", "/v1/models/..%2fx"] {
                for method in ["GET", "POST"] {
                    let headers = [(":method", method), (":path", path), (":authority", "g")];
                    let chunks: &[&[u8]] = if method == "POST" { &[b"{}"] } else { &[] };
                    let wire = send(&mut Exchange::new(Rc::clone(&gateway)), &headers, &Host::default(), chunks);
                    let reply = wire.reply.unwrap_or_else(|| panic!("{plugin} {path}"));
                    assert_eq!((reply.status, &error(&reply)["code"]), (400, &"invalid_url".into()), "{plugin} {path}");
                }
            }
        }
    }

    fn a_clients_query_cannot_repeat_or_override_what_the_gateway_writes() {
        let path_of = |kind: &str, config: &str, path: &str| {
            let gateway = backend_of(kind, "placement: upstream\nholdHeaders: true", config);
            let wire = send(&mut Exchange::new(gateway), &post(path), &Host::default(), &[br#"{"model":"m"}"#]);
            assert_eq!(wire.reply, None, "{kind} {config} {path}");
            wire.header(":path").unwrap().to_owned()
        };
        let chat = "/v1/chat/completions";
        for (kind, config, query, expected) in [
            ("azure-openai", "apiVersion: 2024-10-21, deploymentName: p",
             "?api-version=2020-01-01&API-Version=1&api%2dversion=2&api_version=3&x=1",
             "/base/openai/deployments/p/chat/completions?api-version=2024-10-21&x=1"),
            ("azure-openai", "apiVersion: 2024-10-21", "?api-version=1&x=1",
             "/base/openai/deployments/m/chat/completions?api-version=2024-10-21&x=1"),
            ("azure-openai", "deploymentName: p", "?api-version=preview&x=1", "/base/openai/v1/chat/completions?x=1"),
            ("openai-compatible", "path: '/p?version=1'", "?Version=2&x=1&ver%73ion=3", "/p?version=1&x=1"),
            ("openai-compatible", "auth: {query: {Code: k}}", "?code=a&c%6fde=b&CODE=c&x=1;code=d&y=2",
             "/base/chat/completions?y=2&Code=k"),
            ("openai-compatible", "", "?model=a&x=1&key=K&access_token=T", "/base/chat/completions?model=a&x=1"),
            ("openai-compatible", "model: m", "?model=a&Deployment=b&x=1", "/base/chat/completions?x=1"),
        ] {
            assert_eq!(path_of(kind, config, &[chat, query].concat()), expected, "{kind} {config}");
        }
    }

    fn host_path_and_query_are_the_providers() {
        let path = |config: &str, asked: &str| {
            let headers = [(":method", "GET"), (":path", asked), (":authority", "gateway.example")];
            let mut exchange = Exchange::new(held(config));
            let wire = send(&mut exchange, &headers, &Host::default(), &[]);
            assert_eq!(wire.header(":authority"), Some("llm.example"));
            wire.header(":path").unwrap().to_owned()
        };
        for (config, asked, expected) in [
            ("", "/v1/models", "/base/models"),
            ("", "/v1/models/a%2Fb?x=1", "/base/models/a%2Fb?x=1"),
            ("", "/x/v1/files?", "/base/files"),
            ("path: /odd/chat?v=2", "/v1/chat/completions", "/odd/chat?v=2"),
            ("path: /odd/chat?v=2", "/v1/chat/completions?a=b", "/odd/chat?v=2&a=b"),
            ("path: /odd/chat?v=2", "/v1/models", "/base/models"),
            ("auth: {query: {key: '$KEY', 'a b': c&d}}", "/v1/models?x=1&key=theirs&%6bey=t&a+b&y",
             "/base/models?x=1&y&a+b=c%26d&key=sk-ours"),
        ] {
            assert_eq!(path(config, asked), expected, "{config} {asked}");
        }
        let climbing = [(":method", "GET"), (":path", "/v1/../admin")];
        let wire = send(&mut Exchange::new(held("")), &climbing, &Host::default(), &[]);
        assert_eq!(wire.reply.map(|reply| reply.status), Some(400));
    }

    fn a_preflight_goes_without_any_credential() {
        let config = "apiKey: $KEY, auth: {header: {X-Token: '${KEY}'}, query: {key: '$KEY'}}";
        let sent = |method, requested: &[(&'static str, &'static str)]| {
            let mut headers = vec![(":method", method), (":path", "/v1/chat/completions")];
            headers.extend([("origin", "https://a.example"), ("authorization", "Bearer sk-client")]);
            headers.extend(requested);
            let wire = send(&mut Exchange::new(held(config)), &headers, &Host::default(), &[]);
            assert_eq!(wire.header("origin"), Some("https://a.example"));
            format!("{:?}", wire.headers)
        };
        let requested = [("access-control-request-method", "POST")];
        let preflight = sent("OPTIONS", &requested);
        assert!(!preflight.contains("sk-") && preflight.contains("POST"), "{preflight}");
        assert!(preflight.contains("/base/chat/completions"), "{preflight}");
        // By one of the two alone it is none.
        assert!(sent("OPTIONS", &[]).contains("sk-ours"));
        assert!(sent("DELETE", &requested).contains("sk-ours"));
    }

    fn the_key_is_ours_or_the_clients_and_never_both() {
        let client = [
            (":method", "GET"),
            (":path", "/v1/models"),
            ("authorization", "Bearer sk-client"),
            ("x-api-key", "sk-client"),
            ("api-key", "sk-client"),
            ("cookie", "sk-client"),
            ("openai-organization", "sk-client"),
            ("x-amz-security-token", "sk-client"),
            ("x-envoy-retry-on", "5xx"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("forwarded", "for=10.0.0.1"),
            ("x-llm-proxy-backend", "other"),
            ("accept-encoding", "gzip"),
            ("openai-beta", "kept"),
        ];
        let sent = |config: &str| {
            let mut exchange = Exchange::new(held(config));
            send(&mut exchange, &client, &Host::default(), &[]).headers
        };
        let plain = |more: &[(&str, &str)]| {
            let fixed = [(":method", "GET"), (":path", "/base/models")];
            let all = fixed.iter().chain(more).chain(&[("openai-beta", "kept"), (":authority", "llm.example")]);
            let mut all: Pairs = all.map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            all.sort();
            all
        };
        for (config, expected) in [
            ("", plain(&[("authorization", "Bearer sk-client")])),
            ("apiKey: $KEY", plain(&[("authorization", "Bearer sk-ours")])),
            ("apiKey: '${KEY}', authHeader: {name: Api-Key}", plain(&[("api-key", "sk-ours")])),
            ("authHeader: {name: x-api-key, prefix: 'K '}", plain(&[("x-api-key", "K sk-client")])),
            ("auth: {header: {X-Token: 't $$ ${KEY}'}}", plain(&[("x-token", "t $ sk-ours")])),
            ("headers: {Cookie: a=b}", plain(&[("cookie", "a=b"), ("authorization", "Bearer sk-client")])),
            ("headers: {authorization: Basic x}", plain(&[("authorization", "Basic x")])),
        ] {
            let mut sent = sent(config);
            sent.sort();
            assert_eq!(sent, expected, "{config}");
        }
    }

    fn a_named_provider_knows_its_place() {
        for (backend, authority, path, organization) in [
            ("{name: b, type: openai, config: {orgId: o, projectId: p}}", "api.openai.com", "/v1/models", Some("o")),
            ("{name: b, type: groq}", "api.groq.com", "/openai/v1/models", None),
            ("{name: b, type: cohere}", "api.cohere.ai", "/compatibility/v1/models", None),
            ("{name: b, type: ollama}", "localhost:11434", "/v1/models", None),
        ] {
            let gateway = gateway(&format!("placement: upstream\nbackends: [{backend}]"));
            let headers =
                [(":method", "GET"), (":path", "/v1/models"), ("authorization", "Bearer sk-client")];
            let wire = send(&mut Exchange::new(gateway), &headers, &Host::default(), &[]);
            assert_eq!(wire.header(":authority"), Some(authority));
            assert_eq!(wire.header(":path"), Some(path));
            assert_eq!(wire.header("openai-organization"), organization);
            let passes_key = !backend.contains("ollama");
            assert_eq!(wire.header("authorization").is_some(), passes_key, "{backend}");
        }
    }

    fn azure_has_the_model_in_its_path() {
        let ask = |config: &str, path: &str, body: &str| {
            let gateway = gateway(&format!(
                "placement: upstream
holdHeaders: true
backends:
- name: b
  type: azure-openai
  config: {{endpoint: 'https://r.openai.azure.com/openai/v1/', apiKey: $KEY, {config}}}"
            ));
            let mut answers = chunkings(body.as_bytes()).into_iter().map(|chunks| {
                let wire = send(
                    &mut Exchange::new(Rc::clone(&gateway)),
                    &post(path),
                    &Host::default(),
                    &chunks,
                );
                match wire.reply {
                    Some(reply) => Err(reply.status),
                    None => {
                        assert_eq!(wire.header(":authority"), Some("r.openai.azure.com"));
                        assert_eq!(wire.header("api-key"), Some("sk-ours"));
                        assert_eq!(wire.header("authorization"), None);
                        let body = String::from_utf8(wire.passed.clone()).unwrap();
                        Ok((wire.header(":path").unwrap().to_owned(), body))
                    }
                }
            });
            let first = answers.next().unwrap();
            assert!(answers.all(|it| it == first));
            first
        };
        let dated = "apiVersion: 2024-10-21";
        for (config, path, body, sent_path, sent_body) in [
            (dated, "/v1/chat/completions", r#"{"x":1,"model":"d-1"}"#,
             "/openai/deployments/d-1/chat/completions?api-version=2024-10-21", r#"{"x":1,"model":"d-1"}"#),
            ("apiVersion: 2024-10-21, modelAliases: {gpt-4o: prod}", "/v1/embeddings?x=1", r#"{"model":"gpt-4o"}"#,
             "/openai/deployments/prod/embeddings?api-version=2024-10-21&x=1", r#"{"model":"prod"}"#),
            ("apiVersion: 2024-10-21, defaultModel: d", "/v1/chat/completions", "{}",
             "/openai/deployments/d/chat/completions?api-version=2024-10-21", r#"{"model":"d"}"#),
            ("apiVersion: 2024-10-21, deploymentName: p", "/v1/chat/completions", r#"{"model":"a"}"#,
             "/openai/deployments/p/chat/completions?api-version=2024-10-21", r#"{"model":"p"}"#),
            (dated, "/v1/responses", r#"{"model":"d"}"#,
             "/openai/responses?api-version=2024-10-21", r#"{"model":"d"}"#),
            ("apiVersion: preview", "/v1/responses", r#"{"model":"d"}"#,
             "/openai/v1/responses?api-version=preview", r#"{"model":"d"}"#),
            ("deploymentName: p", "/v1/chat/completions", r#"{"model":"a"}"#,
             "/openai/v1/chat/completions", r#"{"model":"p"}"#),
            // Images keep the name of the model, or have none: Azure refuses a deployment's there.
            ("apiVersion: 2024-10-21, deploymentName: p", "/v1/images/generations", r#"{"model":"gpt-image-1"}"#,
             "/openai/deployments/p/images/generations?api-version=2024-10-21", r#"{"model":"gpt-image-1"}"#),
            ("apiVersion: 2024-10-21, deploymentName: p", "/v1/images/generations", r#"{"prompt":"x"}"#,
             "/openai/deployments/p/images/generations?api-version=2024-10-21", r#"{"prompt":"x"}"#),
            ("deploymentName: p", "/v1/images/generations", r#"{"model":"gpt-image-1"}"#,
             "/openai/v1/images/generations", r#"{"model":"p"}"#),
        ] {
            let expected = Ok((sent_path.to_owned(), sent_body.to_owned()));
            assert_eq!(ask(config, path, body), expected, "{config} {path}");
        }
        for body in [r#"{"model":"../x"}"#, r#"{"model":"a/b"}"#, r#"{"model":"a%2fb"}"#, "{}"] {
            assert_eq!(ask(dated, "/v1/chat/completions", body), Err(400), "{body}");
        }
        // A form names the deployment as JSON does.
        let upload = [
            (":method", "POST"),
            (":path", "/v1/audio/transcriptions"),
            ("content-type", "multipart/form-data; boundary=x"),
        ];
        let form: &[u8] = b"--x\r\nContent-Disposition: form-data; name=model\r\n\r\nd\r\n--x--";
        for (config, body, expected) in [
            (dated, &b"--x--"[..], None),
            (dated, form, Some("/openai/deployments/d/audio/transcriptions?api-version=2024-10-21")),
            ("apiVersion: 2024-10-21, deploymentName: p", &b"--x--"[..],
             Some("/openai/deployments/p/audio/transcriptions?api-version=2024-10-21")),
            ("apiVersion: 2024-10-21, deploymentName: p", form,
             Some("/openai/deployments/p/audio/transcriptions?api-version=2024-10-21")),
        ] {
            let gateway = gateway(&format!(
                "placement: upstream\nholdHeaders: true\nbackends: [{{name: b, type: azure-openai, \
                 config: {{endpoint: 'https://r.example', {config}}}}}]"
            ));
            let wire = send(&mut Exchange::new(gateway), &upload, &Host::default(), &[body]);
            assert_eq!(wire.reply.map(|it| it.status), expected.is_none().then_some(400));
            let path = wire.headers.iter().find(|(name, _)| name == ":path");
            assert_eq!(expected, expected.and(path.map(|(_, path)| path.as_str())));
        }
        let edits = [(":method", "POST"), (":path", "/v1/images/edits"), upload[2]];
        let gateway = gateway(
            "placement: upstream\nholdHeaders: true\nbackends: [{name: b, type: azure-openai, \
             config: {endpoint: 'https://r.example', apiVersion: 2024-10-21, deploymentName: p}}]",
        );
        for body in [form, b"--x--"] {
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            let wire = send(&mut exchange, &edits, &Host::default(), &[body]);
            let expected = Some("/openai/deployments/p/images/edits?api-version=2024-10-21");
            assert_eq!((wire.header(":path"), &*wire.passed), (expected, body));
        }
    }

    fn the_second_attempt_starts_from_what_the_client_sent() {
        for (config, path, fails_with_a_reply) in [
            ("apiKey: $KEY, model: longer-than-before, auth: {query: {code: $KEY}}", "/v1/chat/completions?a=1", true),
            ("authHeader: {name: x-api-key, prefix: 'K '}, model: m", "/team/v1/chat/completions", false),
            ("path: /odd/chat?v=2, model: longer-than-before", "/v1/chat/completions", true),
            ("path: /odd/chat, headers: {x-forwarded-proto: https}", "/v1/chat/completions", false),
            ("model: longer-than-before", "/v1/embeddings", false),
        ] {
            let gateway = held(config);
            let body = format!(r#"{{"model":"a","input":"{}"}}"#, "x".repeat(300));
            let length = body.len().to_string();
            let mut headers = post(path);
            headers.extend([("content-length", &*length), ("authorization", "Bearer sk-client")]);
            let host = Host::default();
            let chunks: Vec<&[u8]> = body.as_bytes().chunks(100).collect();
            headers.push(("x-forwarded-proto", "http"));
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            let first = send(&mut exchange, &headers, &host, &chunks);
            assert_eq!(first.reply, None, "{config}");
            // Only a failure is followed by another attempt.
            assert_eq!(*host.kept.borrow(), None, "{config}");
            if fails_with_a_reply {
                exchange.reply_headers(&Wire::new(&[(":status", "503")]).list(), false, &host);
                assert!(host.kept.borrow().is_some(), "{config}");
            }
            exchange.ended(&host);
            let length = first.passed.len().to_string();
            assert_eq!(first.header("content-length"), Some(&*length));
            // Envoy has one header map for all attempts, and the client's body for each.
            let changed: Vec<(&str, &str)> =
                first.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let second = send(&mut Exchange::new(gateway), &changed, &host, &chunks);
            let sorted = |wire: &Wire| {
                let mut headers = wire.headers.clone();
                headers.sort();
                headers
            };
            assert_eq!(sorted(&second), sorted(&first), "{config}");
            assert_eq!(second.passed, first.passed, "{config}");
        }
    }

    fn a_path_that_stays_is_not_written_unless_another_attempt_has_changed_it() {
        let same = gateway("placement: upstream\nbackends: [{name: b, type: groq, config: {endpoint: 'https://b/v1'}}]");
        let odd = held("path: /odd/chat");
        let body: &[u8] = br#"{"model":"a"}"#;
        let mut headers = CHAT.to_vec();
        headers.push(("x-forwarded-proto", "http"));
        let step = Exchange::new(Rc::clone(&same)).request_headers(
            &Wire::new(&headers).list(),
            false,
            &Host::default(),
        );
        let is_path = |edit: &HeaderEdit| matches!(edit, HeaderEdit::Set(name, _) if name.as_str() == ":path");
        assert!(!step.headers.iter().any(is_path));

        let host = Host::default();
        let mut exchange = Exchange::new(odd);
        let first = send(&mut exchange, &headers, &host, &[body]);
        assert_eq!(first.header(":path"), Some("/odd/chat"));
        exchange.ended(&host);
        let changed: Vec<(&str, &str)> =
            first.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let second = send(&mut Exchange::new(same), &changed, &host, &[body]);
        assert_eq!(second.header(":path"), Some("/v1/chat/completions"));
    }

    fn nothing_is_kept_of_a_request_that_is_answered() {
        let gateway = held("model: m");
        for ends_with_trailers in [false, true] {
            let host = Host::default();
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            send(&mut exchange, &CHAT, &host, &[br#"{"model":"a"}"#]);
            exchange.reply_headers(&Wire::new(&[(":status", "200")]).list(), false, &host);
            exchange.reply_body(2, !ends_with_trailers, || b"{}".to_vec());
            if ends_with_trailers {
                exchange.reply_trailers(Vec::new, Vec::new);
            }
            exchange.ended(&host);
            assert_eq!(*host.kept.borrow(), None);
        }
    }

    fn a_dialect_of_its_own_is_spoken_there_and_back() {
        let gateway = gateway(
            "placement: upstream
holdHeaders: true
backends:
- name: b
  type: anthropic
  config: {apiKey: $KEY, defaultModel: claude-x, maxTokens: 77, auth: {query: {beta: 'true'}}}",
        );
        let request = r#"{"messages":[{"role":"user","content":"hi"}],"stream":true}"#;
        let stream = concat!(
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",",
            "\"model\":\"claude-x\",\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n",
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,",
            "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,",
            "\"delta\":{\"type\":\"text_delta\",\"text\":\"H\u{e9}\"}}\n\n",
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
            "event: message_delta\ndata: {\"type\":\"message_delta\",",
            "\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        );
        let mut headers = post("/v1/chat/completions");
        headers.extend([("authorization", "Bearer sk-client"), ("origin", "https://a.example")]);
        for chunks in chunkings(request.as_bytes()) {
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            let wire = send(&mut exchange, &headers, &Host::default(), &chunks);
            assert_eq!(wire.reply, None);
            assert_eq!(wire.header(":path"), Some("/v1/messages?beta=true"));
            assert_eq!(wire.header("x-api-key"), Some("sk-ours"));
            assert_eq!(wire.header("anthropic-version"), Some("2023-06-01"));
            assert_eq!((wire.header("authorization"), wire.header("origin")), (None, None));
            assert_eq!(wire.header("content-length"), Some(&*wire.passed.len().to_string()));
            let sent: Value = serde_json::from_slice(&wire.passed).unwrap();
            assert_eq!(
                sent,
                serde_json::json!({"model": "claude-x", "max_tokens": 77, "stream": true,
                    "messages": [{"role": "user", "content": "hi"}]})
            );
        }
        let mut texts = std::collections::BTreeSet::new();
        for chunks in chunkings(stream.as_bytes()) {
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            send(&mut exchange, &headers, &Host::default(), &[request.as_bytes()]);
            let fixed = [(":status", "200"), ("content-type", "text/event-stream")];
            let wire = receive(&mut exchange, &fixed, &chunks);
            texts.insert(String::from_utf8(wire.passed).unwrap());
        }
        assert_eq!(texts.len(), 1, "the chunking makes no difference");
        let text = texts.pop_first().unwrap();
        assert!(text.contains(r#""content":"Hé""#) && text.ends_with("data: [DONE]\n\n"), "{text}");

        let unary = br#"{"messages":[{"role":"user","content":"hi"}]}"#;
        let reply = |status: &str, more: &[(&str, &str)], chunks: &[&[u8]]| {
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            send(&mut exchange, &headers, &Host::default(), &[unary]);
            let mut list = vec![(":status", status), ("content-type", "application/json")];
            list.extend(more);
            receive(&mut exchange, &list, chunks)
        };
        let message = br#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-x",
            "content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","stop_sequence":null,
            "usage":{"input_tokens":3,"output_tokens":2}}"#;
        for chunks in chunkings(message).into_iter().take(40) {
            let wire = reply("200", &[], &chunks);
            let body: Value = serde_json::from_slice(&wire.passed).unwrap();
            assert_eq!(body["object"], "chat.completion");
            assert_eq!(body["choices"][0]["message"]["content"], "Hi");
            assert_eq!(body["created"], 1_700_000_000);
            assert_eq!(wire.header("content-length"), Some(&*wire.passed.len().to_string()));
        }
        let overloaded = br#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
        let wire = reply("529", &[("retry-after", "3")], &[overloaded]);
        assert_eq!((wire.header(":status"), wire.header("retry-after")), (Some("503"), Some("3")));
        let told: Value = serde_json::from_slice(&wire.passed).unwrap();
        assert_eq!(told["error"]["message"], "busy");
        assert_eq!(told["error"]["type"], "server_error");
        for broken in [&b"not JSON"[..], b"{}", b""] {
            let wire = reply("200", &[], &[broken]);
            assert_eq!(wire.header(":status"), Some("502"), "{broken:?}");
            assert!(wire.passed.starts_with(b"{\"error\":"));
        }
        let mut exchange = Exchange::new(Rc::clone(&gateway));
        send(&mut exchange, &headers, &Host::default(), &[request.as_bytes()]);
        let json = [(":status", "200"), ("content-type", "application/json")];
        let wire = receive(&mut exchange, &json, &[message]);
        assert_eq!(wire.reply.map(|it| it.status), Some(502), "a stream was asked for");
        let wire = reply("200", &[("content-encoding", "gzip")], &[b"\x1f\x8b"]);
        assert_eq!(wire.reply.map(|it| it.status), Some(502));
        let wire = reply("503", &[], &[]);
        assert_eq!(wire.reply.map(|it| it.status), Some(503));

        let refused = |body: &str| {
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            let wire = send(&mut exchange, &headers, &Host::default(), &[body.as_bytes()]);
            let reply = wire.reply.expect("a refusal");
            (reply.status, error(&reply)["param"].as_str().unwrap_or("").to_owned())
        };
        assert_eq!(refused(r#"{"messages":[{"role":"user","content":"x"}],"n":2}"#), (400, "n".into()));
        assert_eq!(refused(r#"{"messages":7}"#), (400, "messages".into()));
        assert_eq!(refused(r#"{"model":"a","model":"b"}"#), (400, "model".into()));
        assert_eq!(refused("{"), (400, String::new()));

        let get = |method: &str, path: &str| {
            let headers = [(":method", method), (":path", path)];
            let wire = send(&mut Exchange::new(Rc::clone(&gateway)), &headers, &Host::default(), &[]);
            let reply = wire.reply.expect("an answer of ours");
            (reply.status, serde_json::from_str::<Value>(&reply.body).unwrap())
        };
        let (status, list) = get("GET", "/v1/models");
        assert_eq!((status, &list["data"][0]["id"]), (200, &Value::from("claude-x")));
        assert_eq!(get("GET", "/v1/models/claude-x").0, 200);
        assert_eq!(get("GET", "/v1/models/other").0, 404);
        assert_eq!(get("GET", "/v1/files").0, 404);
    }

    fn an_error_that_says_when_to_try_again_says_it_in_a_header() {
        let gateway = gateway(
            "placement: upstream\nholdHeaders: true\nbackends:\n\
             - {name: b, type: google, config: {apiKey: k, model: gemini-2.5-flash}}",
        );
        let error = br#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[
            {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"20.4s"}]}}"#;
        for (header, expected) in [(None, "21"), (Some("3"), "3")] {
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            let body = br#"{"messages":[{"role":"user","content":"x"}]}"#;
            send(&mut exchange, &CHAT, &Host::default(), &[body]);
            let mut headers = vec![(":status", "429"), ("content-type", "application/json")];
            headers.extend(header.map(|value| ("retry-after", value)));
            let wire = receive(&mut exchange, &headers, &[error]);
            assert_eq!(wire.header("retry-after"), Some(expected));
        }
    }

    fn a_reply_that_ends_with_trailers_is_none_the_less_whole() {
        let of = |kind: &str| {
            gateway(&format!(
                "placement: upstream\nholdHeaders: true\nbackends:\n\
                 - {{name: b, type: {kind}, config: {{endpoint: 'https://b', apiKey: k, model: m}}}}"
            ))
        };
        // Status, media type, body, and what the client's begins and ends with.
        for (kind, status, media_type, body, begin, end) in [
            ("openai", "400", "application/json", r#"{"detail":"x"}"#, r#"{"error":{"message":"x""#, "}}"),
            ("anthropic", "529", "application/json",
             r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#, r#"{"error":{"message":"m""#, "}}"),
            ("google", "200", "application/json",
             r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}"#, r#"{"id":"#, "}"),
            ("google", "200", "text/event-stream",
             "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n\n\
              data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n", "data: ", "data: [DONE]\n\n"),
        ] {
            for chunks in chunkings(body.as_bytes()).into_iter().take(60) {
                let mut exchange = Exchange::new(of(kind));
                let stream = media_type == "text/event-stream";
                let asked = format!(r#"{{"messages":[{{"role":"user","content":"x"}}],"stream":{stream}}}"#);
                send(&mut exchange, &CHAT, &Host::default(), &[asked.as_bytes()]);
                let mut wire = Wire::new(&[(":status", status), ("content-type", media_type)]);
                let step = exchange.reply_headers(&wire.list(), false, &Host::default());
                wire.apply(step);
                let mut waits = false;
                for chunk in chunks {
                    wire.held.extend_from_slice(chunk);
                    let at_hand = wire.held.clone();
                    let step = exchange.reply_body(at_hand.len(), false, || at_hand);
                    waits = matches!(step.next, Next::Hold | Next::Take);
                    wire.apply(step);
                }
                // Envoy adds nothing to a body of which nothing waits.
                assert!(waits, "{kind} {status}");
                let at_hand = wire.held.clone();
                let list = wire.list().to_list();
                let step = exchange.reply_trailers(|| list, || at_hand);
                wire.apply_trailers(step);
                let told = String::from_utf8(wire.passed).unwrap();
                assert!(told.starts_with(begin) && told.ends_with(end), "{kind} {told}");
            }
        }
    }

    fn a_translated_reply_ends_where_its_length_says_so() {
        let gateway = gateway(
            "placement: upstream\nholdHeaders: true\nbackends:\n\
             - {name: b, type: anthropic, config: {apiKey: k, model: m}}",
        );
        let message = r#"{"type":"message","role":"assistant","model":"m","stop_reason":"end_turn",
            "content":[{"type":"text","text":"Hi"}],"usage":{"input_tokens":3,"output_tokens":2}}"#;
        let busy = r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
        let junk = format!("{message}, and more");
        let (whole, more) = (message.len(), junk.len());
        // The body, the length that it is said to have, after how many bytes it is told, if not at
        // its end, and as what.
        for (status, body, length, told_at, told_status, told) in [
            ("200", message, None, None, "200", r#""content":"Hi""#),
            ("200", message, Some(whole), Some(whole), "200", r#""content":"Hi""#),
            ("529", busy, Some(busy.len()), Some(busy.len()), "503", r#""message":"busy""#),
            // The body is longer than that, or ends before.
            ("200", &junk, Some(whole), Some(whole), "200", r#""content":"Hi""#),
            ("200", &junk, Some(more), Some(more), "502", "broken_reply"),
            ("200", message, Some(more), None, "200", r#""content":"Hi""#),
            ("200", message, Some(5), Some(5), "502", "broken_reply"),
            ("200", message, Some(0), Some(1), "502", "broken_reply"),
            ("529", busy, Some(more), None, "503", r#""message":"busy""#),
        ] {
            for chunks in chunkings(body.as_bytes()) {
                for has_trailers in [false, true] {
                    let what = format!("{status} {length:?} {chunks:?} {has_trailers}");
                    let mut exchange = Exchange::new(Rc::clone(&gateway));
                    let asked: &[u8] = br#"{"messages":[{"role":"user","content":"x"}]}"#;
                    send(&mut exchange, &CHAT, &Host::default(), &[asked]);
                    let mut wire = Wire::new(&[(":status", status), ("content-type", "application/json")]);
                    if let Some(length) = length {
                        wire.headers.push(("content-length".to_owned(), length.to_string()));
                    }
                    let step = exchange.reply_headers(&wire.list(), false, &Host::default());
                    wire.apply(step);
                    let mut arrived = 0;
                    for chunk in &chunks {
                        let before = arrived;
                        arrived += chunk.len();
                        wire.held.extend_from_slice(chunk);
                        let at_hand = wire.held.clone();
                        let step = exchange.reply_body(at_hand.len(), false, || at_hand);
                        let is_told = told_at.is_some_and(|at| arrived >= at);
                        assert_eq!(step.next == Next::Take, !is_told, "{what}");
                        if chunk.is_empty() || told_at.is_some_and(|at| before >= at) {
                            assert!(step.headers.is_empty(), "{what}");
                        }
                        wire.apply(step);
                        assert!(wire.held.is_empty(), "{what}: Envoy's buffer stays empty");
                    }
                    let list = wire.list().to_list();
                    let step = match has_trailers {
                        true => exchange.reply_trailers(|| list, Vec::new),
                        false => exchange.reply_body(0, true, Vec::new),
                    };
                    assert_eq!(step == Step::default(), told_at.is_some(), "{what}");
                    match has_trailers {
                        true => wire.apply_trailers(step),
                        false => wire.apply(step),
                    }
                    let text = String::from_utf8(wire.passed.clone()).unwrap();
                    assert!(text.contains(told), "{what}: {text}");
                    assert_eq!(wire.header(":status"), Some(told_status), "{what}");
                    assert_eq!(wire.header("content-length"), Some(&*text.len().to_string()), "{what}");
                }
            }
        }
    }

    fn embeddings_are_translated_where_the_dialect_has_them() {
        let config = |provider: &str| {
            gateway(&format!(
                "holdHeaders: true\nbackends: [{{name: b, type: {provider}, config: \
                 {{apiKey: $KEY, modelAliases: {{e: embed-1}}}}}}]"
            ))
        };
        let body: &[u8] = br#"{"model":"e","input":["a","b"]}"#;
        let mut exchange = Exchange::new(config("google"));
        let wire = send(&mut exchange, &post("/v1/embeddings"), &Host::default(), &[body]);
        assert_eq!(wire.header(":path"), Some("/v1beta/models/embed-1:batchEmbedContents"));
        let head = [(":status", "200"), ("content-type", "application/json")];
        let reply: &[u8] = br#"{"embeddings":[{"values":[0.5,1]},{"values":[2,3]}]}"#;
        let wire = receive(&mut exchange, &head, &[reply]);
        let list: Value = serde_json::from_slice(&wire.passed).unwrap();
        assert_eq!(list["object"], "list");
        assert_eq!(list["data"][1]["index"], 1);
        assert_eq!(list["data"][0]["embedding"][0], 0.5);

        let mut exchange = Exchange::new(config("google"));
        let tokens: &[u8] = br#"{"model":"e","input":[1,2]}"#;
        let wire = send(&mut exchange, &post("/v1/embeddings"), &Host::default(), &[tokens]);
        assert_eq!(error(&wire.reply.unwrap())["param"], "input");
        let mut exchange = Exchange::new(config("anthropic"));
        let wire = send(&mut exchange, &post("/v1/embeddings"), &Host::default(), &[body]);
        assert_eq!(wire.reply.unwrap().status, 404);
    }

    fn messages_pass_byte_for_byte_to_a_provider_that_speaks_them() {
        let gateway = gateway("holdHeaders: true\nbackends: [{name: b, type: anthropic, config: \
            {apiKey: $KEY, modelAliases: {opus: claude-opus-5}}}]");
        let body: &[u8] = br#"{ "messages" : [{"role":"user","content":[{"type":"x-new"}]}],
            "model":"opus", "max_tokens": 1 }"#;
        let expected = String::from_utf8(body.to_vec()).unwrap().replace("\"opus\"", "\"claude-opus-5\"");
        let path = "/v1/messages?beta=true";
        let beta = ("anthropic-beta", "context-1m");
        for (version, sent) in [(None, "2023-06-01"), (Some("2024-01-01"), "2024-01-01")] {
            for chunks in chunkings(body) {
                let mut headers = post(path);
                headers.push(beta);
                headers.extend(version.map(|version| ("anthropic-version", version)));
                let mut exchange = Exchange::new(Rc::clone(&gateway));
                let wire = send(&mut exchange, &headers, &Host::default(), &chunks);
                assert_eq!(String::from_utf8(wire.passed.clone()).unwrap(), expected);
                assert_eq!(wire.header(":path"), Some(path));
                assert_eq!(wire.header("anthropic-version"), Some(sent));
                assert_eq!(wire.header("anthropic-beta"), Some("context-1m"));
                assert!(wire.header("x-api-key").is_some());
                let head = [(":status", "200"), ("content-type", "application/json")];
                let reply: &[u8] = br#"{"type":"message", "new":1}"#;
                assert_eq!(receive(&mut exchange, &head, &[reply]).passed, reply);
            }
        }
        let counted = br#"{"model":"opus","messages":[]}"#;
        let path = "/v1/messages/count_tokens";
        let mut exchange = Exchange::new(Rc::clone(&gateway));
        let wire = send(&mut exchange, &post(path), &Host::default(), &[counted]);
        assert_eq!(wire.header(":path"), Some(path));
    }

    fn messages_pass_to_other_providers_that_speak_them() {
        let body: &[u8] = br#"{"model":"m","messages":[{"role":"user","content":[{"type":"x-new"}]}]}"#;
        for (backend, base) in [
            ("type: openrouter, config: {apiKey: $KEY}", "/api/v1"),
            ("type: vllm, config: {endpoint: 'http://v', apiKey: $KEY, messages: native}", "/v1"),
            ("type: openai-compatible, config: {endpoint: 'http://v/x', apiKey: $KEY, messages: native}", "/x"),
        ] {
            let gateway = gateway(&format!("holdHeaders: true\nbackends: [{{name: b, {backend}}}]"));
            for call in ["/messages?beta=true", "/messages/count_tokens"] {
                let mut exchange = Exchange::new(Rc::clone(&gateway));
                let asked = ["/v1", call].concat();
                let wire = send(&mut exchange, &post(&asked), &Host::default(), &[body]);
                assert_eq!(wire.passed, body);
                assert_eq!(wire.header(":path"), Some(&*[base, call].concat()));
                assert_eq!(wire.header("anthropic-version"), Some("2023-06-01"));
                assert_eq!(wire.header("authorization"), Some("Bearer sk-ours"));
                let head = [(":status", "404"), ("content-type", "application/json")];
                let told: &[u8] = br#"{"error":{"message":"no such path"}}"#;
                let error: Value = serde_json::from_slice(&receive(&mut exchange, &head, &[told]).passed).unwrap();
                assert_eq!(error["error"]["type"], "not_found_error");
            }
        }
    }

    fn what_cannot_be_translated_follows_the_policy_of_the_backend() {
        let body: &[u8] = br#"{"model":"m","max_tokens":1,"top_k":3,"mcp_servers":[],
            "messages":[{"role":"user","content":"hi"}]}"#;
        for (policy, status, adapted) in [
            ("adapt", Some(400), None),
            ("reject", Some(400), None),
            ("drop", None, Some("top_k, mcp_servers")),
        ] {
            let gateway = gateway(&format!("holdHeaders: true\nbackends: [{{name: b, type: openai, config: \
                {{apiKey: $KEY, unsupported: {policy}}}}}]"));
            let mut exchange = Exchange::new(gateway);
            let wire = send(&mut exchange, &post("/v1/messages"), &Host::default(), &[body]);
            assert_eq!(wire.reply.as_ref().map(|it| it.status), status, "{policy}");
            if let Some(reply) = wire.reply {
                let has_hint = reply.body.contains("top_k");
                assert_eq!(has_hint, policy == "reject", "{}", reply.body);
                assert!(reply.body.contains("mcp_servers"), "{}", reply.body);
                continue;
            }
            let head = [(":status", "200"), ("content-type", "application/json")];
            let told: &[u8] = br#"{"model":"m","choices":[{"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}]}"#;
            let wire = receive(&mut exchange, &head, &[told]);
            assert_eq!(wire.header("x-llm-proxy-adapted"), adapted);
        }
    }

    fn messages_are_translated_for_every_other_provider() {
        let body: &[u8] = br#"{"model":"m","max_tokens":9,"stream":true,
            "messages":[{"role":"user","content":"hi"}]}"#;
        for (backend, path, said) in [
            ("type: openai, config: {apiKey: $KEY}", "/v1/chat/completions", "\"stream_options\""),
            ("type: cohere, config: {apiKey: $KEY}", "/compatibility/v1/chat/completions", "\"role\":\"user\""),
            ("type: google, config: {apiKey: $KEY}", "/v1beta/models/m:streamGenerateContent?alt=sse", "\"parts\""),
            (
                "type: azure-openai, config: {apiKey: $KEY, endpoint: 'https://a.example', apiVersion: 2024-10-21}",
                "/openai/deployments/m/chat/completions?api-version=2024-10-21",
                "\"stream\":true",
            ),
        ] {
            let gateway = gateway(&format!("holdHeaders: true\nbackends: [{{name: b, {backend}}}]"));
            let mut headers = post("/v1/messages?beta=true");
            headers.extend([("anthropic-version", "2023-06-01"), ("anthropic-beta", "x")]);
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            let wire = send(&mut exchange, &headers, &Host::default(), &[body]);
            assert_eq!(wire.reply, None, "{backend}");
            assert_eq!(wire.header(":path"), Some(path));
            assert_eq!(wire.header("content-length"), Some(&*wire.passed.len().to_string()));
            for name in ["anthropic-version", "anthropic-beta"] {
                assert_eq!(wire.header(name), None, "{backend}");
            }
            let sent = String::from_utf8(wire.passed.clone()).unwrap();
            assert!(sent.contains(said), "{sent}");
            let head = [(":status", "429"), ("content-type", "application/json")];
            let told: &[u8] = br#"{"error":{"message":"slow down","code":429}}"#;
            let wire = receive(&mut exchange, &head, &[told]);
            let error: Value = serde_json::from_slice(&wire.passed).unwrap();
            let expected = serde_json::json!(
                {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}
            );
            assert_eq!(error, expected, "{backend}");

            if backend.contains("google") {
                continue;
            }
            let path = "/v1/messages/count_tokens";
            let mut exchange = Exchange::new(gateway);
            let reply = send(&mut exchange, &post(path), &Host::default(), &[body]).reply.unwrap();
            assert_eq!((reply.status, error_type(&reply)), (501, "not_supported".to_owned()));
        }
    }

    fn responses_pass_byte_for_byte_to_a_provider_that_speaks_them() {
        let body: &[u8] = br#"{ "input" : [{"type":"x-new"}], "previous_response_id": "resp_1",
            "model":"m" }"#;
        for backend in [
            "type: openai, config: {apiKey: $KEY}",
            "type: openai-compatible, config: {endpoint: 'http://v', apiKey: $KEY, responses: native}",
        ] {
            let gateway = gateway(&format!("holdHeaders: true\nbackends: [{{name: b, {backend}}}]"));
            for path in ["/v1/responses", "/v1/responses/compact", "/v1/responses/input_tokens"] {
                let mut exchange = Exchange::new(Rc::clone(&gateway));
                let wire = send(&mut exchange, &post(path), &Host::default(), &[body]);
                assert_eq!((wire.header(":path"), &*wire.passed), (Some(path), body));
            }
        }
    }

    fn responses_are_translated_for_every_other_provider() {
        let body: &[u8] = br#"{"model":"m","stream":true,"input":[{"role":"user","content":"hi"}],
            "tools":[{"type":"web_search"},{"type":"namespace","name":"n","description":"d","tools":[
              {"type":"function","name":"f"}]}]}"#;
        for (backend, path, said) in [
            ("type: cohere, config: {apiKey: $KEY}", "/compatibility/v1/chat/completions", "\"role\":\"user\""),
            ("type: openai, config: {apiKey: $KEY, responses: translate}", "/v1/chat/completions", "n__f"),
            ("type: anthropic, config: {apiKey: $KEY}", "/v1/messages", "\"max_tokens\""),
            ("type: google, config: {apiKey: $KEY}", "/v1beta/models/m:streamGenerateContent?alt=sse", "\"parts\""),
            (
                "type: azure-openai, config: {apiKey: $KEY, endpoint: 'https://a.example', \
                 apiVersion: 2024-10-21, responses: translate}",
                "/openai/deployments/m/chat/completions?api-version=2024-10-21",
                "\"stream\":true",
            ),
        ] {
            let gateway = gateway(&format!("holdHeaders: true\nbackends: [{{name: b, {backend}}}]"));
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            let wire = send(&mut exchange, &post("/v1/responses"), &Host::default(), &[body]);
            assert_eq!(wire.reply, None, "{backend}");
            assert_eq!(wire.header(":path"), Some(path));
            let sent = String::from_utf8(wire.passed.clone()).unwrap();
            assert!(sent.contains(said), "{sent}");
            let head = [(":status", "429"), ("content-type", "application/json")];
            let told: &[u8] = br#"{"error":{"message":"slow down","code":429}}"#;
            let wire = receive(&mut exchange, &head, &[told]);
            let told: Value = serde_json::from_slice(&wire.passed).unwrap();
            assert_eq!(told["error"]["message"], "slow down", "{backend}");
            for (method, path, status) in [
                ("POST", "/v1/responses/input_tokens", 501),
                ("POST", "/v1/responses/compact", 400),
                ("GET", "/v1/responses/resp_1", 400),
            ] {
                let counts = backend.contains("anthropic") || backend.contains("google");
                if counts && status == 501 {
                    continue;
                }
                let mut headers = post(path);
                headers.retain(|(name, _)| *name != ":method");
                headers.push((":method", method));
                let mut exchange = Exchange::new(Rc::clone(&gateway));
                let reply = send(&mut exchange, &headers, &Host::default(), &[body]).reply.unwrap();
                assert_eq!(reply.status, status, "{backend} {path}: {}", reply.body);
                assert_eq!(error(&reply)["code"], "not_supported");
            }
        }
    }

    fn what_is_adapted_of_a_response_is_named() {
        let gateway = gateway("holdHeaders: true\nbackends: [{name: b, type: anthropic, config: {apiKey: $KEY}}]");
        let body: &[u8] = br#"{"model":"claude-sonnet-5-5","store":true,"input":"hi",
            "client_metadata":{"a":"b"},"tools":[{"type":"web_search"},{"type":"tool_search"}]}"#;
        let mut exchange = Exchange::new(Rc::clone(&gateway));
        let wire = send(&mut exchange, &post("/v1/responses"), &Host::default(), &[body]);
        assert_eq!(wire.reply, None);
        let head = [(":status", "200"), ("content-type", "application/json")];
        let told: &[u8] = br#"{"type":"message","id":"i","model":"m","role":"assistant","content":[
            {"type":"text","text":"a"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;
        let wire = receive(&mut exchange, &head, &[told]);
        let adapted = wire.header("x-llm-proxy-adapted").unwrap();
        for name in ["store", "client_metadata", "tools[]"] {
            assert!(adapted.contains(name), "{adapted}");
        }
        let response: Value = serde_json::from_slice(&wire.passed).unwrap();
        assert_eq!(response["status"], "completed");
        // The next turn refers to the items instead of sending them.
        let id = |index: usize| response["output"][index]["id"].as_str().unwrap();
        let next = format!(
            r#"{{"model":"claude-sonnet-5-5","input":[{{"role":"user","content":"hi"}},
                {{"type":"item_reference","id":"{}"}},{{"type":"item_reference","id":"{}"}},
                {{"role":"user","content":"and?"}}]}}"#,
            id(0),
            id(1),
        );
        let mut exchange = Exchange::new(Rc::clone(&gateway));
        let wire = send(&mut exchange, &post("/v1/responses"), &Host::default(), &[next.as_bytes()]);
        assert_eq!(wire.reply, None);
        let sent: Value = serde_json::from_slice(&wire.passed).unwrap();
        assert_eq!(sent["messages"][1]["content"][0]["text"], "a", "{sent}");
        let foreign: &[u8] = br#"{"model":"m","input":[{"type":"item_reference","id":"msg_0"}]}"#;
        let mut exchange = Exchange::new(gateway);
        let reply = send(&mut exchange, &post("/v1/responses"), &Host::default(), &[foreign]).reply.unwrap();
        assert_eq!((reply.status, &error(&reply)["param"]), (400, &Value::from("input[0].id")));
        assert!(reply.body.contains(r#"\"store\": false"#), "{}", reply.body);
    }

    fn tokens_of_a_response_are_counted_where_the_provider_can() {
        let body: &[u8] = br#"{"model":"m","instructions":"s","input":"hi"}"#;
        for (kind, path, told) in [
            ("anthropic", "/v1/messages/count_tokens", r#"{"input_tokens":7}"#),
            ("google", "/v1beta/models/m:countTokens", r#"{"totalTokens":7}"#),
        ] {
            let gateway = gateway(&format!("holdHeaders: true\nbackends: [{{name: b, type: {kind}, config: {{apiKey: $KEY}}}}]"));
            let mut exchange = Exchange::new(gateway);
            let wire = send(&mut exchange, &post("/v1/responses/input_tokens"), &Host::default(), &[body]);
            assert_eq!((&wire.reply, wire.header(":path")), (&None, Some(path)));
            let head = [(":status", "200"), ("content-type", "application/json")];
            let wire = receive(&mut exchange, &head, &[told.as_bytes()]);
            let counted: Value = serde_json::from_slice(&wire.passed).unwrap();
            assert_eq!(counted, serde_json::json!({"object": "response.input_tokens", "input_tokens": 7}));
        }
    }

    fn messages_pass_to_claude_on_vertex() {
        let gateway = gateway("holdHeaders: true\nbackends: [{name: b, type: google, config: \
            {projectId: p-1, location: us-central1, apiKey: $KEY, modelAliases: {opus: claude-opus-5}}}]");
        let base = "/v1/projects/p-1/locations/us-central1/publishers/anthropic/models/";
        let body = |stream: &str| {
            format!(r#"{{ "messages" : [{{"role":"user","content":[{{"type":"x-new"}}]}}], "model": "opus", "n":1{stream}}}"#)
        };
        let plain = r#"{ "messages" : [{"role":"user","content":[{"type":"x-new"}]}], "anthropic_version":"vertex-2023-10-16", "n":1}"#;
        for (stream, method) in [("", "rawPredict"), (r#","stream":true"#, "streamRawPredict")] {
            for chunks in chunkings(body(stream).as_bytes()) {
                let mut headers = post("/v1/messages?beta=true");
                headers.extend([
                    ("anthropic-version", "2023-06-01"),
                    ("anthropic-beta", "claude-code-20250219, context-1m-2025-08-07"),
                    ("anthropic-beta", "context-management-2025-06-27"),
                ]);
                let mut exchange = Exchange::new(Rc::clone(&gateway));
                let wire = send(&mut exchange, &headers, &Host::default(), &chunks);
                assert_eq!(wire.header(":path"), Some(&*format!("{base}claude-opus-5:{method}")));
                let sent = String::from_utf8(wire.passed.clone()).unwrap();
                assert_eq!(sent, [plain.strip_suffix('}').unwrap(), stream, "}"].concat());
                assert_eq!(wire.header("content-length"), Some(&*sent.len().to_string()));
                assert_eq!(wire.header("anthropic-version"), None);
                let betas = "context-1m-2025-08-07,context-management-2025-06-27";
                assert_eq!(wire.header("anthropic-beta"), Some(betas));
                assert_eq!(wire.header("authorization"), Some("Bearer sk-ours"));
                let head = [(":status", "200"), ("content-type", "application/json")];
                let reply: &[u8] = br#"{"type":"message", "new":1}"#;
                assert_eq!(receive(&mut exchange, &head, &[reply]).passed, reply);
            }
        }
        let mut exchange = Exchange::new(Rc::clone(&gateway));
        let counted: &[u8] = br#"{"model":"opus","messages":[]}"#;
        let path = "/v1/messages/count_tokens?beta=true";
        let wire = send(&mut exchange, &post(path), &Host::default(), &[counted]);
        assert_eq!(wire.header(":path"), Some(&*format!("{base}count-tokens:rawPredict")));
        let sent = String::from_utf8(wire.passed.clone()).unwrap();
        assert_eq!(sent, r#"{"anthropic_version":"vertex-2023-10-16","model":"claude-opus-5","messages":[]}"#);
        let head = [(":status", "429"), ("content-type", "application/json")];
        let told: &[u8] = br#"[{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED"}}]"#;
        let error: Value = serde_json::from_slice(&receive(&mut exchange, &head, &[told]).passed).unwrap();
        assert_eq!(error["error"]["type"], "rate_limit_error");
    }

    fn tokens_are_counted_where_the_provider_can() {
        let body: &[u8] = br#"{"model":"gemini-3-pro","system":"s","messages":[{"role":"user","content":"hi"}],
            "tools":[{"name":"f","input_schema":{"type":"object"}}]}"#;
        let vertex = "projectId: p-1, location: global, ";
        for (at, path, is_wrapped) in [
            ("", "/v1beta/models/gemini-3-pro:countTokens", true),
            (vertex, "/v1/projects/p-1/locations/global/publishers/google/models/gemini-3-pro:countTokens", false),
        ] {
            let gateway = gateway(&format!(
                "holdHeaders: true\nbackends: [{{name: b, type: google, config: {{{at}apiKey: $KEY}}}}]"
            ));
            let mut exchange = Exchange::new(gateway);
            let wire = send(&mut exchange, &post("/v1/messages/count_tokens"), &Host::default(), &[body]);
            assert_eq!(wire.header(":path"), Some(path));
            let sent: Value = serde_json::from_slice(&wire.passed).unwrap();
            let request = match is_wrapped {
                true => {
                    assert_eq!(sent["generateContentRequest"]["model"], "models/gemini-3-pro");
                    &sent["generateContentRequest"]
                }
                false => &sent,
            };
            assert_eq!(request["contents"][0]["parts"][0]["text"], "hi");
            assert_eq!(request["systemInstruction"]["parts"][0]["text"], "s");
            assert_eq!(request["tools"][0]["functionDeclarations"][0]["name"], "f");
            assert_eq!(request.get("generationConfig"), None);
            let head = [(":status", "200"), ("content-type", "application/json")];
            let told: &[u8] = br#"{"totalTokens": 31, "promptTokensDetails": []}"#;
            assert_eq!(receive(&mut exchange, &head, &[told]).passed, br#"{"input_tokens":31}"#);
        }
    }

    fn betas_pass_by_the_list_of_the_backend() {
        let sent = ["a-1, b-2", "a-3"];
        for (config, passing) in [
            ("", Some("a-1, b-2")),
            ("betas: ['a-*'], ", Some("a-1,a-3")),
            ("betas: [], ", None),
            ("headers: {anthropic-beta: mine}, betas: [], ", Some("mine")),
        ] {
            let gateway = gateway(&format!(
                "holdHeaders: true\nbackends: [{{name: b, type: anthropic, config: {{{config}apiKey: $KEY}}}}]"
            ));
            let mut headers = post("/v1/messages");
            headers.extend(sent.map(|value| ("anthropic-beta", value)));
            let mut exchange = Exchange::new(gateway);
            let body: &[u8] = br#"{"model":"m"}"#;
            let wire = send(&mut exchange, &headers, &Host::default(), &[body]);
            assert_eq!(wire.header("anthropic-beta"), passing, "{config}");
        }
    }

    fn a_call_that_a_backend_does_not_serve_says_what_it_serves() {
        for (backend, path, version, served) in [
            ("anthropic", "/v1/embeddings", None,
             "it serves chat-completions, responses, responses-input-tokens, models, messages, messages-count-tokens"),
            ("google", "/v1/images/generations", None,
             "it serves chat-completions, embeddings, responses, responses-input-tokens, models, messages, messages-count-tokens"),
            ("google", "/v1/messages/batches", Some("2023-06-01"), "message-batches"),
        ] {
            let gateway = gateway(&format!(
                "holdHeaders: true\nbackends: [{{name: b, type: {backend}, config: {{apiKey: $KEY}}}}]"
            ));
            let mut headers = post(path);
            headers.extend(version.map(|version| ("anthropic-version", version)));
            let mut exchange = Exchange::new(gateway);
            let body: &[u8] = br#"{"model":"m"}"#;
            let reply = send(&mut exchange, &headers, &Host::default(), &[body]).reply.unwrap();
            assert_eq!(reply.status, 404);
            assert!(reply.body.contains(served), "{}", reply.body);
            assert_eq!(reply.body.starts_with(r#"{"type":"error""#), version.is_some());
        }
    }

    fn errors_and_lists_are_in_the_api_of_the_request() {
        let gateway = gateway("holdHeaders: true\nplacement: listener\nbackends: [{name: b, type: anthropic, config: \
            {apiKey: $KEY, defaultModel: claude-5}}]\nroutes: [{path: /v1, backend: b}]");
        let answer = |headers: &[(&str, &str)], body: &[u8]| {
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            send(&mut exchange, headers, &Host::default(), &[body]).reply.unwrap()
        };
        let reply = answer(&post("/v1/messages"), b"{");
        assert_eq!((reply.status, error_type(&reply)), (400, "invalid_request_error".to_owned()));
        assert!(reply.body.starts_with(r#"{"type":"error""#));
        let reply = answer(&post("/elsewhere/v1/messages"), b"{}");
        assert_eq!((reply.status, error_type(&reply)), (404, "not_found_error".to_owned()));

        let get = |path, version: Option<(&'static str, &'static str)>| {
            let mut headers = vec![(":method", "GET"), (":path", path), (":authority", "a")];
            headers.extend(version);
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            let mut wire = Wire::new(&headers);
            let step = exchange.request_headers(&wire.list(), true, &Host::default());
            wire.apply(step);
            let reply = wire.reply.unwrap();
            (reply.status, serde_json::from_str::<Value>(&reply.body).unwrap())
        };
        let (status, list) = get("/v1/models", Some(("anthropic-version", "2023-06-01")));
        assert_eq!((status, &list["data"][0]["type"]), (200, &"model".into()));
        assert_eq!((&list["first_id"], &list["has_more"]), (&"claude-5".into(), &false.into()));
        let (_, list) = get("/v1/models", None);
        assert_eq!((&list["object"], &list["data"][0]["object"]), (&"list".into(), &"model".into()));

        let probe = [(":method", "HEAD"), (":path", "/"), (":authority", "a")];
        let mut exchange = Exchange::new(Rc::clone(&gateway));
        let mut wire = Wire::new(&probe);
        let step = exchange.request_headers(&wire.list(), true, &Host::default());
        wire.apply(step);
        assert_eq!(wire.reply.unwrap().status, 200);
    }

    fn vertex_asks_each_model_in_the_dialect_of_its_publisher() {
        let gateway = gateway("holdHeaders: true\nbackends: [{name: b, type: google, config: \
            {projectId: p-1, location: us-central1, apiKey: $KEY, modelAliases: {c: claude-x@1, g: gemini-3-pro}}}]");
        let base = "/v1/projects/p-1/locations/us-central1/publishers";
        let chat = |model: &str, rest: &str| {
            format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"x"}}]{rest}}}"#)
        };
        let claude: &[u8] = br#"{"type":"message","role":"assistant","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2}}"#;
        let gemini: &[u8] = br#"{"candidates":[{"content":{"role":"model","parts":[{"text":"hi"}]},"finishReason":"STOP"}]}"#;
        for (body, path, reply) in [
            (chat("c", ""), "anthropic/models/claude-x@1:rawPredict", Some(claude)),
            (chat("c", r#","stream":true"#), "anthropic/models/claude-x@1:streamRawPredict", None),
            (chat("g", ""), "google/models/gemini-3-pro:generateContent", Some(gemini)),
            (chat("g", r#","stream":true"#), "google/models/gemini-3-pro:streamGenerateContent?alt=sse", None),
        ] {
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            let wire = send(&mut exchange, &post("/v1/chat/completions"), &Host::default(), &[body.as_bytes()]);
            assert_eq!(wire.header(":path"), Some(&*format!("{base}/{path}")));
            assert_eq!(wire.header(":authority"), Some("us-central1-aiplatform.googleapis.com"));
            assert_eq!(wire.header("authorization"), Some("Bearer sk-ours"));
            assert_eq!(wire.header("x-goog-api-key"), None);
            assert_eq!(wire.header("anthropic-version"), None);
            let length = wire.passed.len().to_string();
            assert_eq!(wire.header("content-length"), Some(&*length));
            let sent: Value = serde_json::from_slice(&wire.passed).unwrap();
            assert!(sent.get("model").is_none());
            let version = path.starts_with("anthropic").then_some("vertex-2023-10-16");
            assert_eq!(sent.get("anthropic_version").and_then(Value::as_str), version);
            let Some(reply) = reply else { continue };
            let head = [(":status", "200"), ("content-type", "application/json")];
            let wire = receive(&mut exchange, &head, &[reply]);
            let reply: Value = serde_json::from_slice(&wire.passed).unwrap();
            assert_eq!(reply["choices"][0]["message"]["content"], "hi");
        }
        let embeddings = |model: &str| {
            let body = format!(r#"{{"model":"{model}","input":["a","b"]}}"#);
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            send(&mut exchange, &post("/v1/embeddings"), &Host::default(), &[body.as_bytes()])
        };
        let path = format!("{base}/google/models/text-embedding-005:predict");
        assert_eq!(embeddings("text-embedding-005").header(":path"), Some(&*path));
        let path = format!("{base}/google/models/gemini-embedding-001:batchEmbedContents");
        assert_eq!(embeddings("gemini-embedding-001").header(":path"), Some(&*path));
        let reply = embeddings("c").reply.unwrap();
        assert_eq!((reply.status, &error(&reply)["param"]), (400, &"model".into()));
    }

    fn a_clients_own_token_stays_a_bearers() {
        let gateway = gateway("placement: upstream\nholdHeaders: true\nbackends: [{name: b, type: anthropic}]");
        for (key, name, value) in [
            ("sk-ant-api-1", "x-api-key", "sk-ant-api-1"),
            ("sk-ant-oat01-1", "authorization", "Bearer sk-ant-oat01-1"),
        ] {
            let bearer = format!("Bearer {key}");
            let mut headers = post("/v1/chat/completions");
            headers.push(("authorization", &bearer));
            let host = Host::default();
            let body: &[u8] = br#"{"model":"c","messages":[{"role":"user","content":"x"}]}"#;
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            let first = send(&mut exchange, &headers, &host, &[body]);
            let changed: Vec<(&str, &str)> =
                first.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let second = send(&mut Exchange::new(Rc::clone(&gateway)), &changed, &host, &[body]);
            for wire in [&first, &second] {
                assert_eq!(wire.header(name), Some(value));
                let keys = wire.headers.iter().filter(|(_, value)| value.contains(key));
                assert_eq!(keys.count(), 1);
            }
        }
    }

    fn the_model_stands_in_geminis_path() {
        let gateway = gateway(
            "holdHeaders: true
backends: [{name: b, type: google, config: {apiKey: $KEY, modelAliases: {g: gemini-x}}}]",
        );
        let ask = |body: &str| {
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            let headers = post("/v1/chat/completions");
            send(&mut exchange, &headers, &Host::default(), &[body.as_bytes()])
        };
        let wire = ask(r#"{"model":"g","messages":[{"role":"user","content":"x"}]}"#);
        assert_eq!(wire.header(":path"), Some("/v1beta/models/gemini-x:generateContent"));
        assert_eq!(wire.header("x-goog-api-key"), Some("sk-ours"));
        let wire = ask(r#"{"model":"g","stream":true,"messages":[{"role":"user","content":"x"}]}"#);
        let path = "/v1beta/models/gemini-x:streamGenerateContent?alt=sse";
        assert_eq!(wire.header(":path"), Some(path));
        let wire = ask(r#"{"model":"../x","messages":[{"role":"user","content":"x"}]}"#);
        assert_eq!(error(&wire.reply.unwrap())["param"], "model");
    }

    fn the_body_decides_among_routes_with_models() {
        let gateway = gateway(
            "holdHeaders: true
backends:
- {name: claude, type: openrouter, config: {usage: off, apiKey: a}}
- {name: small, type: groq, config: {usage: off, apiKey: b, modelAliases: {mini: llama-8b}, defaultModel: any}}
- {name: forced, type: xai, config: {usage: off, apiKey: c, model: grok-4}}
routes:
- {path: /v1, models: ['claude-*', best], backend: claude, modelAliases: {best: claude-opus, 'claude-3*': claude-x}}
- {path: /v1, models: [mini, 'grok*'], methods: [POST], backend: small}
- {path: /named, backend: small, backendFromModel: true, modelAliases: {quick: small/mini}}
- {path: /rest, models: ['x*'], backend: claude}
- {path: /rest, backend: small}",
        );
        /// Path, body, and where it goes as what; or a status and a code.
        type Row = (&'static str, &'static str, Result<(&'static str, &'static str), (u16, &'static str)>);
        let rows: &[Row] = &[
            // The first route that the model fits, whatever stands before it.
            ("/v1", r#"{"model":"claude-4","x":1}"#, Ok(("claude", r#"{"model":"claude-4","x":1}"#))),
            ("/v1", r#"{"x":{"model":"mini"}, "model": "claude-4"}"#,
             Ok(("claude", r#"{"x":{"model":"mini"}, "model": "claude-4"}"#))),
            // Its aliases, then the backend's.
            ("/v1", r#"{"model":"best"}"#, Ok(("claude", r#"{"model":"claude-opus"}"#))),
            ("/v1", r#"{"model":"claude-3-5"}"#, Ok(("claude", r#"{"model":"claude-x"}"#))),
            ("/v1", r#"{"model":"mini"}"#, Ok(("small", r#"{"model":"llama-8b"}"#))),
            ("/v1", r#"{"model":"grok-1"}"#, Ok(("small", r#"{"model":"grok-1"}"#))),
            ("/v1", r#"{"model":"gpt-4o"}"#, Err((404, "model_not_found"))),
            ("/v1", r#"{"x":1}"#, Err((400, "missing_required_parameter"))),
            ("/v1", r#"{"model":null}"#, Err((400, "missing_required_parameter"))),
            ("/v1", r#"{"model":5}"#, Err((400, "invalid_type"))),
            ("/v1", r#"{"model":"mini","model":"mini"}"#, Err((400, "duplicate_parameter"))),
            // Some servers take these for the model, or for others to fall back to.
            ("/v1", r#"{"model":"mini","Model":"x"}"#, Err((400, "duplicate_parameter"))),
            ("/v1", r#"{"model":"mini","models":["x"]}"#, Err((400, "model_not_allowed"))),
            ("/v1", r#"{"model":"mini","fallbacks":["x"]}"#, Err((400, "model_not_allowed"))),
            ("/v1", r#"{"model":"mini","models":null}"#, Ok(("small", r#"{"model":"llama-8b","models":null}"#))),
            ("/v1", r#"{"model""#, Err((400, "invalid_json"))),
            // By the backend's name, which does not go upstream.
            ("/named", r#"{"model":"claude/claude-4"}"#, Ok(("claude", r#"{"model":"claude-4"}"#))),
            ("/named", r#"{"model":"small/mini"}"#, Ok(("small", r#"{"model":"llama-8b"}"#))),
            ("/named", r#"{"model":"quick"}"#, Ok(("small", r#"{"model":"llama-8b"}"#))),
            ("/named", r#"{"model":"forced/x"}"#, Ok(("forced", r#"{"model":"grok-4"}"#))),
            ("/named", r#"{"model":"meta-llama/Llama-3"}"#,
             Ok(("small", r#"{"model":"meta-llama/Llama-3"}"#))),
            ("/named", r#"{"x":1}"#, Ok(("small", r#"{"x":1,"model":"any"}"#))),
            // What no route is for goes on to the one that is for all.
            ("/rest", r#"{"model":"x1"}"#, Ok(("claude", r#"{"model":"x1"}"#))),
            ("/rest", r#"{"model":"y1"}"#, Ok(("small", r#"{"model":"y1"}"#))),
            ("/rest", r#"{}"#, Ok(("small", r#"{"model":"any"}"#))),
        ];
        for (path, body, expected) in rows {
            let path = format!("{path}/chat/completions");
            for chunks in chunkings(body.as_bytes()) {
                let what = format!("{path} {chunks:?}");
                let length = body.len().to_string();
                let mut headers = post(&path);
                headers.push(("content-length", &length));
                let mut exchange = Exchange::new(Rc::clone(&gateway));
                let wire = send(&mut exchange, &headers, &Host::default(), &chunks);
                match (expected, &wire.reply) {
                    (Ok((backend, sent)), None) => {
                        assert_eq!(wire.header("x-llm-proxy-backend"), Some(*backend), "{what}");
                        assert_eq!(String::from_utf8(wire.passed.clone()).unwrap(), *sent, "{what}");
                        let length = sent.len().to_string();
                        assert_eq!(wire.header("content-length"), Some(&*length), "{what}");
                        assert!(wire.header(":path").unwrap().ends_with("/v1/chat/completions"));
                    }
                    (Err((status, code)), Some(reply)) => {
                        assert_eq!((reply.status, &error(reply)["code"]), (*status, &(*code).into()), "{what}");
                    }
                    (_, reply) => panic!("{what}: {reply:?}"),
                }
            }
        }
        // Without a body, or with one that cannot tell, there is no model.
        let ask = |headers: &[(&str, &str)], chunks: &[&[u8]]| {
            send(&mut Exchange::new(Rc::clone(&gateway)), headers, &Host::default(), chunks)
        };
        let form = |path: &'static str| [
            (":method", "POST"), (":path", path), (":authority", "g"),
            ("content-type", "multipart/form-data; boundary=x"),
        ];
        let get = |path: &'static str| [(":method", "GET"), (":path", path), (":authority", "g")];
        let reply = ask(&get("/v1/files"), &[]).reply.unwrap();
        assert_eq!((reply.status, &error(&reply)["code"]), (404, &"unknown_url".into()));
        let reply = ask(&form("/v1/audio/transcriptions"), &[b"--x--"]).reply.unwrap();
        assert_eq!((reply.status, &error(&reply)["param"]), (400, &"model".into()));
        assert_eq!(ask(&get("/rest/files"), &[]).header("x-llm-proxy-backend"), Some("small"));
        let wire = ask(&form("/rest/files"), &[b"--x--"]);
        assert_eq!(wire.header("x-llm-proxy-backend"), Some("small"));
        assert_eq!(wire.passed, b"--x--");
    }

    fn a_routes_metadata_renames_before_the_backends_rules() {
        let pairs = [("aliases", r#"{"best":"b/gpt","gpt*":"other"}"#), ("prefix", "b/")];
        let host = Host { route: Some(pairs::encode(&pairs)), ..Host::default() };
        let gateway = held("apiKey: $KEY, modelAliases: {gpt: gpt-4o}");
        for (asked, sent) in [("best", "gpt-4o"), ("gpt-x", "other"), ("b/gpt", "gpt-4o"), ("c/d", "c/d")] {
            let body = format!(r#"{{"model":"{asked}"}}"#);
            let wire = send(&mut Exchange::new(Rc::clone(&gateway)), &CHAT, &host, &[body.as_bytes()]);
            assert_eq!(wire.reply, None);
            let expected = format!(r#"{{"model":"{sent}"}}"#);
            assert_eq!(String::from_utf8(wire.passed).unwrap(), expected, "{asked}");
        }
    }

    fn in_the_listener_the_first_matching_route_decides() {
        let gateway = gateway(
            "holdHeaders: true
backends:
- {name: a, type: xai, config: {apiKey: a, model: ma}}
- {name: b, type: groq, config: {apiKey: b, model: mb}}
routes:
- {path: /v1/chat/completions, methods: [POST], backend: a}
- {path: /v1, hosts: ['*.b.example'], backend: b}
- {path: /mistral, methods: [POST, PUT], backend: b, model: special}
- {path: /only, headers: {x-team: one}, backend: a}
- {path: /only, methods: [GET], backend: b}",
        );
        let ask = |method: &str, path: &str, authority: &str, team: &str| {
            let headers = [
                (":method", method),
                (":path", path),
                (":authority", authority),
                ("x-team", team),
                ("x-forwarded-proto", "http"),
            ];
            let chunks: &[&[u8]] = if method == "POST" { &[br#"{"model":"x"}"#] } else { &[] };
            send(&mut Exchange::new(Rc::clone(&gateway)), &headers, &Host::default(), chunks)
        };
        for (method, path, authority, team, backend, sent_path, body) in [
            ("POST", "/v1/chat/completions", "g", "", "a", "/v1/chat/completions", r#"{"model":"ma"}"#),
            ("GET", "/v1/files", "x.b.example:8443", "", "b", "/openai/v1/files", ""),
            ("POST", "/mistral", "g", "", "b", "/openai/v1/chat/completions", r#"{"model":"special"}"#),
            ("POST", "/mistral?q", "g", "", "b", "/openai/v1/chat/completions?q", r#"{"model":"special"}"#),
            ("POST", "/mistral/v1/embeddings", "g", "", "b", "/openai/v1/embeddings", r#"{"model":"special"}"#),
            ("PUT", "/mistral/ocr", "g", "", "b", "/openai/v1/ocr", ""),
            ("DELETE", "/only/files/1", "g", "one", "a", "/v1/files/1", ""),
            ("GET", "/only/files/1", "g", "two", "b", "/openai/v1/files/1", ""),
        ] {
            let wire = ask(method, path, authority, team);
            assert_eq!(wire.reply, None, "{method} {path}");
            assert_eq!(wire.header("x-llm-proxy-backend"), Some(backend), "{method} {path}");
            assert_eq!(wire.header(":path"), Some(sent_path), "{method} {path}");
            assert_eq!(wire.header("x-forwarded-proto"), Some("http"));
            assert_eq!(String::from_utf8(wire.passed).unwrap(), body, "{method} {path}");
        }
        // Two backends answer below /v1 there: nobody is asked for their models.
        let reply = ask("GET", "/v1/models?x", "x.b.example", "").reply.unwrap();
        assert_eq!(reply.status, 200);
        let told: Value = serde_json::from_str(&reply.body).unwrap();
        let told = told["data"].as_array().unwrap().iter();
        let told: Vec<&str> = told.map(|it| it["id"].as_str().unwrap()).collect();
        assert_eq!(told, ["ma", "mb"]);
        for (method, path, status, allow) in [
            ("GET", "/v1/chat/completions", 405, Some("POST")),
            ("GET", "/mistral", 405, Some("POST, PUT")),
            ("GET", "/mistralx", 404, None),
            ("GET", "/", 404, None),
        ] {
            let reply = ask(method, path, "g", "").reply.expect("refused");
            assert_eq!(reply.status, status, "{method} {path}");
            let found = reply.headers.iter().find(|(name, _)| name == "allow");
            assert_eq!(found.map(|(_, value)| value.as_str()), allow, "{method} {path}");
        }
        // By a client's own Envoy has chosen a route before the module does.
        for backend in ["a", "b", "other", ""] {
            let headers = [(":method", "GET"), (":path", "/only/files/1"), ("x-llm-proxy-backend", backend)];
            let wire = send(&mut Exchange::new(Rc::clone(&gateway)), &headers, &Host::default(), &[]);
            let reply = wire.reply.expect("refused");
            assert_eq!((reply.status, &error(&reply)["code"]), (400, &"reserved_header".into()));
        }
    }

    fn the_module_follows_the_route_that_envoy_has_chosen() {
        let gateway = gateway(
            "holdHeaders: true
internalPath: /~ns.gw
backends:
- {name: a, type: xai, config: {apiKey: a, model: ma}}
- {name: b, type: google, config: {apiKey: b}}
routes:
- {name: a, path: /a, methods: [POST], backend: a, envoyRoute: 'httproute/ns/gw-a/*'}
- {name: b, path: /b, backend: b, envoyRoute: 'httproute/ns/gw-b/*'}
- {name: by-model, path: /v1, models: ['gem*'], backend: b, envoyRoute: waiting}
- {name: rest, path: /v1, backend: a}",
        );
        let body: &[u8] = br#"{"model":"gem","messages":[{"role":"user","content":"x"}]}"#;
        let other: &[u8] = br#"{"model":"x"}"#;
        let ask = |envoy_route: Option<&'static str>, path: &'static str, body| {
            let host = Host { envoy_route, ..Host::default() };
            let mut headers = post(path);
            headers.extend([("x-forwarded-proto", "https"), ("authorization", "Bearer client")]);
            send(&mut Exchange::new(Rc::clone(&gateway)), &headers, &host, &[body])
        };
        let (a, b) = (Some("httproute/ns/gw-a/rule/0/match/0/*"), Some("httproute/ns/gw-b/rule/1/match/0/*"));
        let waiting = Some("waiting");
        for (envoy_route, path, body, sent, key) in [
            // Nothing but the path decides: it stays.
            (a, "/a/v1/chat/completions?q=1", other, "/a/v1/chat/completions?q=1", Some("Bearer a")),
            (a, "/a/v1/files", other, "/a/v1/files", Some("Bearer a")),
            (a, "/a", other, "/~ns.gw/a/chat/completions", Some("Bearer a")),
            (b, "/b/v1/chat/completions", body, "/~ns.gw/b/v1beta/models/gem:generateContent", None),
            (waiting, "/v1/chat/completions", body, "/~ns.gw/by-model/v1beta/models/gem:generateContent", None),
            (waiting, "/v1/chat/completions", other, "/~ns.gw/rest/chat/completions", Some("Bearer a")),
        ] {
            let wire = ask(envoy_route, path, body);
            assert_eq!(wire.reply, None, "{path}");
            assert_eq!(wire.header(":path"), Some(sent), "{path}");
            assert_eq!(wire.header("authorization"), key, "{path}");
            assert_eq!(wire.header(":authority"), Some("gateway.example"), "{path}");
            assert_eq!(wire.header("x-forwarded-proto"), Some("https"));
            assert!(wire.headers.iter().all(|(name, _)| !name.starts_with("x-llm-proxy")));
        }
        // A route of somebody else's: nothing is read, changed or answered.
        for path in ["/a/v1/chat/completions", "/b", "/~ns.gw2/a/x"] {
            let wire = ask(Some("httproute/other/gw-a/rule/0"), path, other);
            assert_eq!((wire.reply.is_none(), &*wire.passed), (true, other));
            assert_eq!(wire.header(":path"), Some(path));
            assert_eq!(wire.header("authorization"), Some("Bearer client"));
        }
        for (envoy_route, path, status) in [
            // No route, one that a client's internal path has chosen, and a path that is not the route's.
            (None, "/a/v1/chat/completions", 404),
            (Some("httproute/ns/gw-rest/rule/0/match/0/*"), "/~ns.gw/rest/x", 404),
            (a, "/~ns.gw/a/chat/completions", 404),
            (a, "/~ns.gw/a?x", 404),
            (a, "/b", 404),
        ] {
            let reply = ask(envoy_route, path, other).reply.expect("refused");
            assert_eq!(reply.status, status, "{path}");
        }
        let host = Host { envoy_route: a, ..Host::default() };
        let headers = [(":method", "GET"), (":path", "/a/v1/files"), (":authority", "g")];
        let wire = send(&mut Exchange::new(Rc::clone(&gateway)), &headers, &host, &[]);
        assert_eq!(wire.reply.map(|reply| reply.status), Some(405));
    }

    fn in_istio_a_route_is_ours_by_its_virtual_service() {
        let gateway = gateway(
            "internalPath: /~ns.gw
virtualService: ns/gw
backends: [{name: a, type: xai, config: {apiKey: a, model: ma}}]
routes: [{path: /a, backend: a}]",
        );
        let ask = |name: &'static str, origin: Option<&'static str>| {
            let host = Host { envoy_route: Some(name), origin, ..Host::default() };
            let headers = [(":method", "GET"), (":path", "/a/v1/files"), (":authority", "g")];
            let wire = send(&mut Exchange::new(Rc::clone(&gateway)), &headers, &host, &[]);
            wire.header("authorization").map(str::to_owned)
        };
        let ours = Some("/apis/networking.istio.io/v1/namespaces/ns/virtual-service/gw");
        assert_eq!(ask("route-1", ours).as_deref(), Some("Bearer a"));
        for (name, origin) in [
            ("route-1", Some("/apis/networking.istio.io/v1/namespaces/other/virtual-service/gw")),
            ("route-1", Some("/apis/networking.istio.io/v1/namespaces/ns/virtual-service/gw2")),
            ("route-1", None),
            ("route-2", ours),
            ("", ours),
        ] {
            assert_eq!(ask(name, origin), None, "{name} {origin:?}");
        }
    }

    fn where_routes_set_headers_the_module_only_removes_those_of_clients() {
        let gateway = gateway(
            "internalPath: /~ns.gw
routesSetHeaders: true
backends:
- name: a
  type: xai
  config: {apiKey: a, model: ma, headers: {x-own: '1'}, authHeader: {name: x-key, prefix: ''}}
routes:
- {path: /a, backend: a, envoyRoute: a}",
        );
        let host = Host { envoy_route: Some("a"), ..Host::default() };
        let mut headers = post("/a/v1/chat/completions");
        headers.extend([("authorization", "Bearer client"), ("x-own", "client"), ("cookie", "a=b")]);
        headers.push(("x-request-id", "1"));
        let wire = send(&mut Exchange::new(gateway), &headers, &host, &[br#"{"model":"m"}"#]);
        assert_eq!(wire.reply, None);
        for name in ["authorization", "cookie", "x-key"] {
            assert_eq!(wire.header(name), None, "{name}");
        }
        // The route overwrites the one, and removes the other.
        assert_eq!(wire.header("x-own"), Some("client"));
        assert_eq!(wire.header("x-request-id"), Some("1"));
    }

    fn where_routes_set_headers_no_preflight_gets_to_a_provider() {
        let gateway = gateway(
            "internalPath: /~ns.gw
routesSetHeaders: true
backends: [{name: a, type: xai, config: {apiKey: a}}]
routes: [{path: /a, backend: a, envoyRoute: a}]",
        );
        let host = Host { envoy_route: Some("a"), ..Host::default() };
        let headers = [
            (":method", "OPTIONS"), (":path", "/a/v1/chat/completions"), (":authority", "g"),
            ("origin", "https://app.example"), ("access-control-request-method", "POST"),
        ];
        let wire = send(&mut Exchange::new(gateway), &headers, &host, &[]);
        assert_eq!(wire.reply.map(|reply| reply.status), Some(405));
    }

    fn upstream_the_metadata_decides() {
        let gateway = gateway(
            "placement: upstream
holdHeaders: true
backend: a
backends:
- {name: a, type: xai, config: {apiKey: a}}
- {name: b, type: groq, config: {apiKey: b}}",
        );
        let ask = |route: &[(&str, &str)], backend: Option<&'static str>| {
            let route = (!route.is_empty()).then(|| pairs::encode(route));
            let backend = RefCell::new(backend.map(str::to_owned));
            let host = Host { route, backend, ..Host::default() };
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            let wire = send(&mut exchange, &post("/team/x"), &host, &[br#"{"model":"c"}"#]);
            match wire.reply {
                Some(reply) => Err(reply.status),
                None => Ok((
                    wire.header(":authority").unwrap().to_owned(),
                    wire.header(":path").unwrap().to_owned(),
                    String::from_utf8(wire.passed).unwrap(),
                )),
            }
        };
        let to = |host: &str, path: &str, body: &str| {
            Ok((host.to_owned(), path.to_owned(), body.to_owned()))
        };
        let unchanged = r#"{"model":"c"}"#;
        assert_eq!(ask(&[], None), to("api.x.ai", "/v1/team/x", unchanged));
        assert_eq!(ask(&[], Some("b")), to("api.groq.com", "/openai/v1/team/x", unchanged));
        assert_eq!(
            ask(&[("backend", "a"), ("model", "m"), ("path", "/team/x")], Some("b")),
            to("api.x.ai", "/v1/chat/completions", r#"{"model":"m"}"#)
        );
        assert_eq!(ask(&[("backend", "zzz")], None), Err(500));
        assert_eq!(ask(&[], Some("zzz")), Err(500));
    }

    fn metadata_that_is_not_there_is_not_asked_for() {
        for (written, host) in [("true", "api.groq.com"), ("false", "api.x.ai")] {
            let gateway = gateway(&format!(
                "placement: upstream
holdHeaders: true
routeMetadata: {written}
backend: a
backends:
- {{name: a, type: xai, config: {{apiKey: a}}}}
- {{name: b, type: groq, config: {{apiKey: b}}}}"
            ));
            let route = Some(pairs::encode(&[("backend", "b")]));
            let surroundings = Host { route, ..Host::default() };
            let mut exchange = Exchange::new(gateway);
            let body = br#"{"model":"c"}"#;
            let wire = send(&mut exchange, &post("/v1/chat/completions"), &surroundings, &[body]);
            assert_eq!(wire.header(":authority"), Some(host));
        }
    }

    fn a_reply_without_error_is_never_read_where_no_usage_is_reported() {
        let mut exchange = Exchange::new(held("usage: off, model: m"));
        send(&mut exchange, &CHAT, &Host::default(), &[br#"{"model":"a"}"#]);
        let mut wire = Wire::new(&[
            (":status", "200"),
            ("content-type", "text/event-stream"),
            ("set-cookie", "session=1"),
            ("alt-svc", "h3=\":443\""),
            ("x-ratelimit-remaining-requests", "9"),
        ]);
        let step = exchange.reply_headers(&wire.list(), false, &Host::default());
        wire.apply(step);
        assert_eq!(
            wire.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            [
                ":status",
                "content-type",
                "x-ratelimit-remaining-requests",
                "x-request-id",
                "x-llm-proxy-request-id"
            ]
        );
        let step = exchange.reply_body(5, false, || panic!("it was read"));
        assert_eq!(step, Step::default());
    }

    fn an_error_is_openai_shaped_whatever_the_provider_sent() {
        let reply = |status: &str, media_type: &str, chunks: &[&[u8]]| {
            let mut exchange = Exchange::new(held("model: m"));
            send(&mut exchange, &CHAT, &Host::default(), &[br#"{"model":"a"}"#]);
            let length = chunks.iter().map(|it| it.len()).sum::<usize>().to_string();
            let mut wire = Wire::new(&[
                (":status", status),
                ("content-type", media_type),
                ("content-length", &length),
                ("retry-after", "7"),
            ]);
            let step = exchange.reply_headers(&wire.list(), chunks.is_empty(), &Host::default());
            wire.apply(step);
            for (number, chunk) in chunks.iter().enumerate() {
                wire.held.extend_from_slice(chunk);
                let held = wire.held.clone();
                let ends = number + 1 == chunks.len();
                let step = exchange.reply_body(held.len(), ends, || held);
                wire.apply(step);
            }
            wire
        };
        let body = br#"{"detail":"no such thing"}"#;
        for chunks in chunkings(body) {
            let wire = reply("404", "application/json; charset=utf-8", &chunks);
            let error: Value = serde_json::from_slice(&wire.passed).unwrap();
            assert_eq!(error["error"]["message"], "no such thing");
            assert_eq!(error["error"]["type"], "invalid_request_error");
            assert_eq!(wire.header("content-length"), Some(&*wire.passed.len().to_string()));
            assert_eq!(wire.header("retry-after"), Some("7"));
        }
        let ours = br#"{"error": {"message":"m", "code":1e3,"type":null,"param":"x" }}"#;
        let wire = reply("429", "application/json", &[ours]);
        assert_eq!(wire.passed, ours);
        let wire = reply("500", "text/html", &[b"<html>", b"<title>Oh</title>"]);
        assert_eq!(wire.header("content-type"), Some("application/json"));
        assert!(String::from_utf8(wire.passed).unwrap().contains(r#""message":"Oh""#));

        // No body at all: a reply of ours, with what the provider said in its headers.
        let wire = reply("503", "text/plain", &[]);
        let told = wire.reply.expect("a reply of ours");
        assert_eq!(told.status, 503);
        assert!(told.headers.contains(&("retry-after".to_owned(), "7".to_owned())));
        assert_eq!(error(&told)["type"], "server_error");

        // Too long to be held: text is cut, JSON passes.
        let long = vec![b'x'; 70_000];
        let wire = reply("500", "text/plain", &[&long, &long, b"end"]);
        assert!(wire.passed.len() < 5_000 && wire.passed.ends_with(b"}"));
        let mut json = br#"{"error":{"message":""#.to_vec();
        json.extend_from_slice(&long);
        let wire = reply("500", "application/json", &[&json, b"\"}}"]);
        assert_eq!(wire.passed.len(), json.len() + 3);
        let mut json = br#"{"detail":""#.to_vec();
        json.extend_from_slice(&long);
        let wire = reply("500", "application/json", &[&json, b"\"}"]);
        assert!(wire.passed.starts_with(br#"{"error":{"message":"{\"detail"#));

        // What is compressed cannot be read.
        let mut exchange = Exchange::new(held("model: m"));
        send(&mut exchange, &CHAT, &Host::default(), &[br#"{"model":"a"}"#]);
        let wire = Wire::new(&[(":status", "500"), ("content-encoding", "gzip"), ("x-request-id", "a")]);
        let step = exchange.reply_headers(&wire.list(), false, &Host::default());
        let id = HeaderEdit::set("x-llm-proxy-request-id", format!("{:032x}", 0xabcd));
        let expected = Step { headers: vec![id], ..Step::default() };
        assert_eq!(step, expected);
    }

    fn a_redirect_is_a_502_and_its_address_never_passes() {
        let types = [
            ("openai-compatible", "/v1/chat/completions"),
            ("openai-compatible", "/v1/files"),
            ("anthropic", "/v1/chat/completions"),
            ("google", "/v1/chat/completions"),
            ("azure-openai", "/v1/chat/completions"),
        ];
        for (kind, path) in types {
            for method in ["POST", "GET", "HEAD"] {
                if method != "POST" && matches!(kind, "anthropic" | "google") {
                    continue;
                }
                for status in ["300", "301", "302", "303", "304", "307", "308", "399"] {
                    if status == "304" && !matches!(kind, "anthropic" | "google") {
                        // An answer to a condition that the client has sent.
                        continue;
                    }
                    for body in [&[][..], &[&b"<html>moved</html>"[..]]] {
                        let gateway = backend_of(kind, "placement: upstream\nholdHeaders: true", "defaultModel: m");
                        let mut exchange = Exchange::new(gateway);
                        let mut request = post(path);
                        request[0].1 = method;
                        let chunks: &[&[u8]] = &[br#"{"messages":[{"role":"user","content":"x"}]}"#];
                        let chunks = if method == "POST" { chunks } else { &[] };
                        let sent = send(&mut exchange, &request, &Host::default(), chunks);
                        assert_eq!(sent.reply, None, "{kind} {method}");
                        let headers = [(":status", status), ("location", "https://x.test/?key=sk"), ("x-other", "1")];
                        let wire = receive(&mut exchange, &headers, body);
                        let what = format!("{kind} {method} {path} {status} {body:?}");
                        let reply = wire.reply.expect(&what);
                        assert_eq!(reply.status, 502, "{what}");
                        assert_eq!(error(&reply)["code"], "provider_redirect", "{what}");
                        assert!(!format!("{reply:?}").contains("x.test"), "{what}");
                        assert!(wire.passed.is_empty(), "{what}");
                    }
                }
            }
        }
        // Where Envoy tries again, it sees a failure, and nothing of the address.
        let gateway = held("model: m, maxRetries: 2");
        let mut exchange = Exchange::new(gateway);
        let host = Host { attempt: Cell::new(Some(1)), ..Host::default() };
        send(&mut exchange, &CHAT, &host, &[br#"{"model":"a"}"#]);
        let headers = [(":status", "302"), ("location", "https://x.test"), ("content-length", "3")];
        let mut wire = Wire::new(&headers);
        let step = exchange.reply_headers(&wire.list(), false, &host);
        wire.apply(step);
        assert_eq!((wire.header(":status"), wire.header("location")), (Some("502"), None));
        wire.held.extend_from_slice(b"see");
        let step = exchange.reply_body(3, true, || b"see".to_vec());
        wire.apply(step);
        assert!(String::from_utf8(wire.passed).unwrap().contains("provider_redirect"));
    }

    fn trailers_are_filtered_like_headers() {
        let names = ["authorization", "cookie", "x_team", "x-team", "content-type", "x-api-key", "x-ok"];
        let pairs: Vec<(&str, &str)> = names.iter().map(|name| (*name, "client")).collect();
        for config in ["apiKey: k, headers: {x-team: a}", "headers: {x-team: a}"] {
            let mut exchange = Exchange::new(held(config));
            send(&mut exchange, &CHAT, &Host::default(), &[br#"{"model":"a"}"#]);
            let mut trailers = Wire::new(&pairs);
            let edits = exchange.request_trailer_edits(&trailers.list());
            header_map::apply(&mut trailers.headers, edits);
            assert_eq!(trailers.headers, [("x-ok".to_owned(), "client".to_owned())], "{config}");
        }
        let names = ["set-cookie", "location", "openai-organization", "x-envoy-overloaded", "x-llm-proxy-backend", "x-ok"];
        let pairs: Vec<(&str, &str)> = names.iter().map(|name| (*name, "provider")).collect();
        let mut trailers = Wire::new(&pairs);
        let exchange = Exchange::new(held("model: m"));
        let edits = exchange.reply_trailer_edits(&trailers.list());
        header_map::apply(&mut trailers.headers, edits);
        assert_eq!(trailers.headers, [("x-ok".to_owned(), "provider".to_owned())]);
    }

    fn a_reply_has_nothing_that_is_not_for_clients() {
        let withheld = [
            "openai-organization", "openai-project", "anthropic-organization-id", "x-envoy-upstream-service-time",
            "x-llm-proxy-backend", "clear-site-data", "set-cookie", "location", "refresh", "alt-svc",
        ];
        let passing = ["content-type", "openai-processing-ms", "x-request-id", "retry-after", "x-ratelimit-limit-tokens"];
        let names = [&withheld[..], &passing[..]].concat();
        for (status, body) in [("200", &[&b"{}"[..]][..]), ("200", &[]), ("404", &[])] {
            let mut exchange = Exchange::new(held("model: m"));
            send(&mut exchange, &CHAT, &Host::default(), &[br#"{"model":"a"}"#]);
            let mut headers = vec![(":status", status)];
            headers.extend(names.iter().map(|name| (*name, "x")));
            let wire = receive(&mut exchange, &headers, body);
            let arrived: Vec<&str> = match &wire.reply {
                Some(reply) => reply.headers.iter().map(|(name, _)| name.as_str()).collect(),
                None => wire.headers.iter().map(|(name, _)| name.as_str()).collect(),
            };
            for name in &withheld {
                assert!(!arrived.contains(name), "{name} {arrived:?}");
            }
            for name in &passing {
                assert!(arrived.contains(name), "{name} {arrived:?}");
            }
        }
    }

    fn a_status_that_is_none_of_a_reply_is_a_502() {
        for kind in ["openai", "anthropic"] {
            for (status, is_upgrade, passes) in [
                ("0", false, false), ("99", false, false), ("101", false, false), ("101", true, true),
                ("199", false, false), ("200", false, true), ("599", false, true), ("600", false, false),
                ("999", false, false), ("x", false, false),
            ] {
                let gateway = backend_of(kind, "placement: upstream\nholdHeaders: true", "model: m");
                let mut exchange = Exchange::new(gateway);
                let asked: &[u8] = br#"{"messages":[{"role":"user","content":"x"}]}"#;
                let host = Host::default();
                let mut headers = CHAT.to_vec();
                headers.extend(is_upgrade.then_some(("upgrade", "websocket")));
                send(&mut exchange, &headers, &host, &[asked]);
                let wire = Wire::new(&[(":status", status), ("content-type", "application/json")]);
                let step = exchange.reply_headers(&wire.list(), false, &host);
                match step.next {
                    Next::Reply(reply) => {
                        assert_eq!((passes, reply.status), (false, 502), "{kind} {status}");
                        assert_eq!(error(&reply)["code"], "broken_reply");
                    }
                    _ => assert!(passes, "{kind} {status}"),
                }
                // What a broken provider sends afterwards changes nothing.
                if !passes {
                    let wire = Wire::new(&[(":status", "200"), ("content-type", "application/json")]);
                    let step = exchange.reply_headers(&wire.list(), false, &host);
                    assert_eq!(step, Step::default());
                }
            }
        }
    }

    fn a_refusal_leaves_after_the_body_where_headers_are_held() {
        let limit = "maxRequestBytes: 1000";
        let plugin = format!("placement: listener\nholdHeaders: true\n{limit}");
        let early = backend_of("anthropic", &plugin, "");
        let body = format!(r#"{{"n":7,"pad":"{}"}}"#, "x".repeat(900));
        let length = body.len().to_string();
        let mut declared = post("/unknown/v1/files");
        declared.push(("content-length", &length));
        for headers in [declared, post("/unknown/v1/files")] {
            let mut exchange = Exchange::new(Rc::clone(&early));
            let mut wire = Wire::new(&headers);
            let step = exchange.request_headers(&wire.list(), false, &Host::default());
            assert_eq!(step.next, Next::Take);
            wire.apply(step);
            for (number, chunk) in body.as_bytes().chunks(100).enumerate() {
                assert_eq!(wire.reply, None, "{number}");
                let ends = (number + 1) * 100 >= body.len();
                let step = exchange.request_body(chunk.len(), ends, |_| panic!("read"), &Host::default());
                wire.apply(step);
                assert!(exchange.waits_for().is_some() != ends, "a body that stops arriving ends");
            }
            assert_eq!(wire.reply.expect("refused").status, 404);
        }
        // Up to the size that is allowed, and no byte more.
        let mut exchange = Exchange::new(Rc::clone(&early));
        let wire = Wire::new(&post("/unknown/v1/files"));
        exchange.request_headers(&wire.list(), false, &Host::default());
        let mut next = Next::Take;
        for number in 1..=10 {
            next = exchange.request_body(100, false, |_| panic!("read"), &Host::default()).next;
            assert_eq!(next, Next::Take, "{number}");
        }
        if let Next::Reply(reply) = exchange.request_body(1, false, |_| panic!("read"), &Host::default()).next {
            assert_eq!(reply.status, 404);
            next = Next::Continue;
        }
        assert_eq!(next, Next::Continue);
        // Where nothing is held, at once.
        let plugin = format!("placement: listener\n{limit}");
        let mut exchange = Exchange::new(backend_of("openai", &plugin, "models: [a]"));
        let wire = send(&mut exchange, &CHAT, &Host::default(), &[br#"{"model":"b","#, b"}"]);
        assert_eq!(wire.reply.map(|it| it.status), Some(404));
    }

    fn a_body_that_passes_may_be_larger_than_one_that_is_held() {
        let plugin = "placement: upstream\nholdHeaders: true\nmaxRequestBytes: 1GiB";
        let length = 65 << 20;
        for (kind, path, status) in [("anthropic", CHAT[1].1, Some(413)), ("openai", "/v1/files", None)] {
            let mut exchange = Exchange::new(backend_of(kind, plugin, "model: m"));
            let mut headers = post(path);
            headers[4] = ("content-type", if kind == "openai" { "multipart/form-data; boundary=x" } else { "application/json" });
            let wire = Wire::new(&headers);
            exchange.request_headers(&wire.list(), false, &Host::default());
            let step = exchange.request_body(length, false, |_| panic!("read"), &Host::default());
            let replied = match step.next {
                Next::Reply(reply) => Some(reply.status),
                _ => None,
            };
            assert_eq!(replied, status, "{kind}");
        }
    }

    fn replies_and_events_share_one_budget() {
        let host = Host::default();
        let of = |kind: &str, stream: bool| {
            let gateway = gateway(&format!(
                "placement: upstream\nholdHeaders: true\nmaxHeldBytes: 3000\nbackends:\n\
                 - {{name: b, type: {kind}, config: {{apiKey: k, model: m}}}}"
            ));
            let mut exchange = Exchange::new(gateway);
            let asked = format!(r#"{{"messages":[{{"role":"user","content":"x"}}],"stream":{stream}}}"#);
            send(&mut exchange, &CHAT, &host, &[asked.as_bytes()]);
            let media_type = if stream { "text/event-stream" } else { "application/json" };
            let wire = Wire::new(&[(":status", "200"), ("content-type", media_type)]);
            exchange.reply_headers(&wire.list(), false, &host);
            exchange
        };
        let piece = |begin: &str| [begin.as_bytes(), &[b'x'; 1000]].concat();
        for kind in ["anthropic", "google"] {
            let mut first = of(kind, false);
            let mut second = of(kind, false);
            let mut third = of(kind, true);
            for exchange in [&mut first, &mut second] {
                let step = exchange.reply_body(1001, false, || piece("{"));
                assert_eq!(step.next, Next::Take);
            }
            assert!(host.budget.taken() >= 2002);
            // The rest of the budget is too small for an event of this size: its stream ends as OpenAI's
            // streams end with an error, and goes on with nothing.
            let step = third.reply_body(1006, false, || piece("data: "));
            let BodyChange::Replace(told) = step.body else { panic!("{:?}", step.body) };
            let told = String::from_utf8(told).unwrap();
            assert!(told.contains("\"error\"") && told.contains("no memory left"), "{told}");
            assert!(!told.contains("[DONE]"), "{told}");
            assert_eq!(step.next, Next::Continue);
            // And so it is for a reply: 503, and the client knows when to come again.
            let Next::Reply(reply) = second.reply_body(2000, false, || piece("").repeat(2)).next else {
                panic!("a reply of ours");
            };
            assert_eq!(reply.status, 503);
            assert!(reply.headers.contains(&("retry-after".to_owned(), "1".to_owned())));
            drop((second, third));
            // What is running goes on.
            assert_eq!(first.reply_body(500, false, || vec![b'x'; 500]).next, Next::Take);
            drop(first);
            assert_eq!(host.budget.taken(), 0);
        }
    }

    fn an_empty_error_waits_for_envoys_retries() {
        let reply = |attempt, status| {
            let mut exchange = Exchange::new(held("model: m, maxRetries: 2"));
            send(&mut exchange, &CHAT, &Host::default(), &[br#"{"model":"a"}"#]);
            let wire = Wire::new(&[(":status", status)]);
            let host = Host { attempt: Cell::new(attempt), ..Host::default() };
            matches!(exchange.reply_headers(&wire.list(), true, &host).next, Next::Reply(_))
        };
        assert!(!reply(Some(1), "503"));
        assert!(!reply(Some(2), "503"));
        assert!(reply(Some(3), "503"));
        assert!(!reply(Some(1), "429"));
        assert!(reply(Some(3), "429"));
        assert!(reply(Some(1), "400"));
        assert!(reply(None, "503"));
    }

    fn a_body_that_comes_before_its_headers_is_refused() {
        for config in ["model: m", ""] {
            let mut exchange = Exchange::new(held(config));
            let step = exchange.request_body(2, true, |_| b"{}", &Host::default());
            let Next::Reply(reply) = step.next else { panic!("{step:?}") };
            assert_eq!(reply.status, 500);
            assert_eq!(error(&reply)["code"], "gateway_error");
            let mut exchange = Exchange::new(one_backend("placement: upstream", config));
            let Next::Reply(reply) = exchange.request_trailers().next else { panic!("it goes on") };
            assert_eq!(reply.status, 500);
        }
    }

    fn only_a_reply_with_a_body_has_an_idle_timer() {
        for kind in ["openai-compatible", "anthropic"] {
            for ends in [false, true] {
                let plugin = "placement: upstream\nholdHeaders: true";
                let gateway = backend_of(kind, plugin, "model: m, streamIdleTimeout: 7s");
                let mut exchange = Exchange::new(gateway);
                let body: &[u8] = br#"{"model":"a","messages":[{"role":"user","content":"x"}]}"#;
                send(&mut exchange, &CHAT, &Host::default(), &[body]);
                let wire = Wire::new(&[(":status", "200"), ("content-type", "application/json")]);
                exchange.reply_headers(&wire.list(), ends, &Host::default());
                let expected = (!ends).then_some((Event::NextByte, Duration::from_secs(7)));
                assert_eq!(exchange.waits_for(), expected, "{kind} {ends}");
            }
        }
    }

    /// Random bodies, cut at random: refused exactly when serde_json refuses them, and changed in
    /// nothing but the model.
    fn mutated_bodies_are_spliced_or_refused() {
        let seeds = [
            r#"{"model":"gpt-4o","messages":[{"role":"user","content":"h\u00e9 \"q\" 😀"}],"n":1.5e3}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"stream":true,"model" : "a"}"#,
            r#"{"a":{"model":[{}]},"model":null,"b":-0.0}"#,
        ];
        let tokens = ["e999", "\\ud800", "\\u006d", "\"model\":", "\"MODEL\":1,", "\"mod\\u0065l\":", "\u{feff}", "[", "{}"];
        let gateway = held("model: replaced");
        // FUZZ_SEEDS=2000 does more of it.
        let count = std::env::var("FUZZ_SEEDS").map_or(8, |it| it.parse().expect("FUZZ_SEEDS"));
        let rounds = (0..count).flat_map(|seed| (0..500).map(move |round| (seed, round)));
        let mut random = Random::numbered(0);
        for (seed, round) in rounds {
            if round == 0 {
                random = Random::numbered(seed);
            }
            let mut body = seeds[random.below(seeds.len())].as_bytes().to_vec();
            for _ in 0..random.below(4) {
                if body.is_empty() {
                    break;
                }
                let at = random.below(body.len());
                match random.below(5) {
                    0 => body[at] = b"\"\\{}[],:0e-. \x01\xffa"[random.below(16)],
                    1 => drop(body.remove(at)),
                    2 => body.insert(at, b"\"\\{}[],:1e-. "[random.below(13)]),
                    3 => body.truncate(at + 1),
                    _ => drop(body.splice(at..at, tokens[random.below(tokens.len())].bytes())),
                }
            }
            if body.is_empty() {
                continue;
            }
            let what = format!("seed {seed}, round {round}: {}", String::from_utf8_lossy(&body));
            let mut chunks: Vec<&[u8]> = Vec::new();
            let mut rest = &body[..];
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(1 + random.below(rest.len().min(9)));
                chunks.push(chunk);
                rest = after;
            }
            let send = |chunks: &[&[u8]]| {
                send(&mut Exchange::new(Rc::clone(&gateway)), &CHAT, &Host::default(), chunks)
            };
            let (whole, pieces) = (send(&[&body]), send(&chunks));
            assert_eq!(whole.reply, pieces.reply, "{what}");
            // A number beyond any range and half a surrogate pair are JSON, and no `Value`.
            let is_json = serde_json::from_slice::<&RawValue>(&body).is_ok();
            let parsed = serde_json::from_slice::<Value>(&body);
            match &whole.reply {
                None => {
                    assert_eq!(whole.passed, pieces.passed, "{what}");
                    assert!(is_json && serde_json::from_slice::<&RawValue>(&whole.passed).is_ok(), "{what}");
                    if let Ok(mut expected) = parsed {
                        expected["model"] = "replaced".into();
                        let passed: Value = serde_json::from_slice(&whole.passed).unwrap();
                        assert_eq!(passed, expected, "{what}");
                    }
                }
                Some(reply) => {
                    assert_eq!(reply.status, 400, "{what}");
                    let duplicate = error(reply)["code"] == "duplicate_parameter";
                    let is_object = body.trim_ascii_start().starts_with(b"{");
                    assert!(duplicate || !(is_json && is_object), "{what}");
                }
            }
        }
    }
}
