//! What providers refuse today, and what they are sent instead: one case a row of a request in and a
//! request out, with the parameters that are reported.
//!
//! `tests/rows/DIALECT.json` has them. `UPDATE=1 cargo test --test rows` writes what is sent anew.
#![cfg(not(target_family = "wasm"))]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking"
)]

use llm_proxy::api::openai;
use llm_proxy::provider::Dialects;
use llm_proxy::provider::dialect::Options;
use serde_json::{Value, json};

fn rows(name: &str, dialects: Dialects) {
    let path = format!("{}/tests/rows/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect(&path);
    let cases: Vec<Value> = serde_json::from_str(&text).expect(&path);
    assert!(!cases.is_empty());
    let mut seen = Vec::new();
    for mut case in cases {
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
        seen.push(case);
    }
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
