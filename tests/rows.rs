//! What providers refuse today, and what they are sent instead: one case a row of a request in and a
//! request out, with the parameters that are reported.
//!
//! `tests/rows/DIALECT.json` has them, `tests/rows/gateway.json` those where more than a dialect decides:
//! the names of members, the path, the models of an example. `UPDATE=1 cargo test --test rows` writes what
//! is sent anew.
#![cfg(not(target_family = "wasm"))]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking"
)]

#[path = "support/header_map.rs"]
mod header_map;
#[path = "support/host.rs"]
mod host;

use std::rc::Rc;

use llm_proxy::api::openai;
use llm_proxy::config::Gateway;
use llm_proxy::exchange::{BodyChange, Exchange, Next};
use llm_proxy::json as json_text;
use llm_proxy::provider::Dialects;
use llm_proxy::provider::dialect::Options;
use serde_json::{Value, json};

use self::header_map::Pairs;
use self::host::Host;

fn rows(name: &str, dialects: Dialects) {
    cases(name, |case| {
        let body = case["request"].to_string();
        let request = openai::read(body.as_bytes()).expect(&body);
        let options = Options {
            has_web_search: case["webSearch"] == true,
            ..Options::default()
        };
        let dialect = dialects.of(&request.model);
        let encoded = dialect.encode(&request, &options).expect(&body);
        case["adapted"] = json!(encoded.head.adapted);
        case["sent"] = serde_json::from_slice(&encoded.body).expect("JSON");
    });
}

/// Sends the request of a case through the gateway that it has, or that is an example.
fn send(case: &mut Value) {
    let file = match &case["example"] {
        Value::String(name) => {
            let path = format!("{}/envoy/{name}.gateway.yaml", env!("CARGO_MANIFEST_DIR"));
            std::fs::read_to_string(&path).expect(&path)
        }
        _ => format!("backends: {}", case["backends"]),
    };
    let file = format!("placement: upstream\nholdHeaders: true\n{file}");
    // A text that any key may be.
    let environment = |_: &str| Some("https://example.com".to_owned());
    let gateway = Gateway::parse(&file, &environment).unwrap_or_else(|errors| panic!("{errors}"));
    let host = Host::default();
    let text = |name: &str| case[name].as_str().map(str::to_owned);
    *host.backend.borrow_mut() = text("backend");
    *host.cluster.borrow_mut() = text("cluster");
    host.attempt.set(Some(1));
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let path = text("path").unwrap();
    let mut headers: Pairs = [
        (":method", "POST"),
        (":path", &path),
        (":authority", "gateway.example"),
        (":scheme", "http"),
        ("content-type", "application/json"),
    ]
    .map(pair)
    .into();
    let body = case["request"].to_string().into_bytes();
    let mut exchange = Exchange::new(Rc::new(gateway));
    let step = exchange.request_headers(&header_map::list(&headers), false, &host);
    header_map::apply(&mut headers, step.headers);
    let step = exchange.request_body(body.len(), true, |from| &body[from..], &host);
    header_map::apply(&mut headers, step.headers);
    if let Next::Reply(reply) = step.next {
        panic!("{}: {}", case["about"], reply.body);
    }
    let mut sent = body.clone();
    match step.body {
        BodyChange::Keep => {}
        BodyChange::Replace(bytes) => sent = bytes,
        BodyChange::Splice { blanks, splices } => {
            json_text::overwrite(&mut sent, &blanks);
            let mut out = Vec::new();
            json_text::apply(&sent, 0, &splices, &mut out).unwrap();
            sent = out;
        }
    }
    case["sentPath"] = header_map::header(&headers, ":path").into();
    case["sent"] = serde_json::from_slice(&sent).expect("JSON");
    let mut reply: Pairs = [(":status", "200")].map(pair).into();
    let step = exchange.reply_headers(&header_map::list(&reply), true, &host);
    header_map::apply(&mut reply, step.headers);
    case["adapted"] = header_map::header(&reply, "x-llm-proxy-adapted").into();
}

/// Fills in what is seen of each case, and compares it with what was recorded.
fn cases(name: &str, fill_in: impl Fn(&mut Value)) {
    let path = format!("{}/tests/rows/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect(&path);
    let mut seen: Vec<Value> = serde_json::from_str(&text).expect(&path);
    assert!(!seen.is_empty());
    seen.iter_mut().for_each(fill_in);
    let seen = serde_json::to_string_pretty(&seen).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, seen).expect("written");
    } else {
        assert!(
            seen == text,
            "{path} differs: UPDATE=1 cargo test --test rows writes it anew, and git diff shows how"
        );
    }
}

#[test]
fn anthropic_is_sent_what_it_takes() {
    rows("anthropic", Dialects::Anthropic);
}

#[test]
fn gemini_is_sent_what_it_takes() {
    rows("gemini", Dialects::Gemini);
}

#[test]
fn vertex_is_sent_what_it_takes() {
    rows("vertex", Dialects::Vertex);
}

#[test]
fn a_gateway_sends_what_its_providers_take() {
    cases("gateway", send);
}
