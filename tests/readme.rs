//! The README's field tables are what the code says.
#![cfg(not(target_family = "wasm"))]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use std::{env, fs};

use llm_proxy::config::schema;
use llm_proxy::provider::ProviderType;
use serde_json::Value;

#[test]
fn the_readme_has_the_field_tables_of_the_schema() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = fs::read_to_string(path).unwrap();
    let mut fresh = readme.clone();
    for (name, text) in [("fields", fields()), ("providers", providers())] {
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
        let (head, rest) = fresh.split_once(&begin).expect("the begin of the part");
        let (_, tail) = rest.split_once(&end).expect("the end of the part");
        fresh = format!("{head}{begin}{text}{end}{tail}");
    }
    if env::var_os("UPDATE").is_some() {
        fs::write(path, &fresh).unwrap();
    }
    let now = fs::read_to_string(path).unwrap();
    assert!(
        now == fresh,
        "README.md is stale; run: UPDATE=1 cargo test --test readme"
    );
}

/// A table per mapping, as the JSON Schema describes it.
fn fields() -> String {
    let schema: Value = serde_json::from_str(&schema::text()).unwrap();
    let mut text = String::new();
    for (heading, pointer) in [
        ("The file", ""),
        ("`backends[]`", "/definitions/Backend"),
        ("`backends[].backends[]`, of a pool", "/definitions/Member"),
        ("`backends[].config`", "/definitions/BackendConfig"),
        ("`authHeader`", "/definitions/AuthHeader"),
        ("`auth`", "/definitions/Auth"),
        ("`tls`", "/definitions/Tls"),
        ("`routes[]`", "/definitions/Route"),
    ] {
        let mapping = schema.pointer(pointer).expect(pointer);
        writeln!(text, "\n**{heading}**\n\n| key | meaning |\n| --- | --- |").unwrap();
        let is_required = |key: &str| {
            let required = mapping["required"].as_array();
            required.is_some_and(|keys| keys.iter().any(|it| it == key))
        };
        for (key, field) in mapping["properties"].as_object().unwrap() {
            // The first paragraph: what follows is for editors.
            let meaning = field["description"].as_str().unwrap_or_default();
            let meaning = meaning
                .split("\n\n")
                .next()
                .unwrap_or_default()
                .replace('\n', " ");
            let required = if is_required(key) { " Required." } else { "" };
            writeln!(
                text,
                "| `{key}` | {}{required} |",
                meaning.replace('|', "\\|")
            )
            .unwrap();
        }
    }
    text.push('\n');
    text
}

/// The provider types and what they know by themselves.
fn providers() -> String {
    let mut text =
        "| type | endpoint, where it may be left out | base path |\n| --- | --- | --- |\n"
            .to_owned();
    for provider in ProviderType::ALL {
        let preset = provider.preset();
        let origin = preset
            .origin
            .map_or("(give one)".to_owned(), |origin| format!("`{origin}`"));
        let base_path = match preset.base_path {
            "" => "by `apiVersion`".to_owned(),
            path => format!("`{path}`"),
        };
        writeln!(text, "| `{}` | {origin} | {base_path} |", preset.name).unwrap();
    }
    text
}
