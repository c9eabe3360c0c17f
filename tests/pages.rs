//! The generated tables of the pages in `docs/` are those of the code. `UPDATE=1 cargo test --test
//! pages` writes them.
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
use llm_proxy::firewall::names::{Applies, HEADERS, PARAMETERS, Reason};
use llm_proxy::operation::ModelMember;
use llm_proxy::operation::table::{Definition, ModelPlace};
use llm_proxy::provider::{Passage, ProviderType};

#[test]
fn the_pages_have_the_tables_of_the_code() {
    for (page, name, table) in [
        ("credentials", "headers", headers()),
        ("credentials", "parameters", parameters()),
        ("keys", "fields", fields()),
        ("operations", "operations", operations()),
        ("providers", "providers", providers()),
    ] {
        let path = format!("{}/docs/{page}.md", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(&path).unwrap();
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
        let (head, rest) = text.split_once(&begin).expect("the begin of the table");
        let (_, tail) = rest.split_once(&end).expect("the end of the table");
        let fresh = format!("{head}{begin}{table}{end}{tail}");
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &fresh).unwrap();
        }
        let now = fs::read_to_string(&path).unwrap();
        assert!(
            now == fresh,
            "{path} is stale; run: UPDATE=1 cargo test --test pages"
        );
    }
}

/// Why names do not pass, in the order of the page.
const REASONS: [(Reason, &str); 10] = [
    (Reason::Credential, "They carry a key, a token or a session"),
    (Reason::Account, "They name the account that pays"),
    (
        Reason::Client,
        "They describe the client, its network, or the signed-in user",
    ),
    (
        Reason::Trace,
        "They belong to a trace or to the logs of the client's side; `traceHeaders: true` lets them pass",
    ),
    (
        Reason::Steering,
        "They steer Envoy, the gateway or the server behind it: method, path, destination, form of the reply",
    ),
    (
        Reason::Model,
        "They name a model or a deployment; removed where the configuration restricts these",
    ),
    (
        Reason::Browser,
        "By these Anthropic recognizes a browser, which it refuses",
    ),
    (
        Reason::Address,
        "They have an address at the provider, perhaps with the key",
    ),
    (
        Reason::Origin,
        "A browser applies them to everything at the gateway's host",
    ),
    (
        Reason::Proxy,
        "A proxy in front of the gateway acts on them",
    ),
];

#[test]
fn the_page_has_a_table_for_every_reason() {
    let reasons = HEADERS.iter().map(|row| row.reason);
    for reason in reasons.chain(PARAMETERS.iter().map(|row| row.reason)) {
        assert!(REASONS.iter().any(|(it, _)| *it == reason), "{reason:?}");
    }
}

fn headers() -> String {
    let mut text = String::new();
    for (reason, why) in REASONS {
        let rows = HEADERS.iter().filter(|row| row.reason == reason);
        let rows: Vec<[String; 3]> = rows
            .map(|row| {
                let applies = match row.applies {
                    Applies::Both => "requests, replies",
                    Applies::Replies => "replies",
                    Applies::Requests => "requests",
                    Applies::TranslatedRequests => "translated requests",
                };
                [
                    format!("`{}`", row.pattern),
                    applies.to_owned(),
                    row.source.to_owned(),
                ]
            })
            .collect();
        section(&mut text, why, ["header", "removed from", "source"], &rows);
    }
    text
}

fn parameters() -> String {
    let mut text = String::new();
    for (reason, why) in REASONS {
        let rows = PARAMETERS.iter().filter(|row| row.reason == reason);
        let rows: Vec<[String; 3]> = rows
            .map(|row| {
                [
                    format!("`{}`", row.pattern),
                    "requests".to_owned(),
                    row.source.to_owned(),
                ]
            })
            .collect();
        section(
            &mut text,
            why,
            ["parameter", "removed from", "source"],
            &rows,
        );
    }
    text
}

/// One table, whose rows of one source stand together.
fn section(text: &mut String, why: &str, heads: [&str; 3], rows: &[[String; 3]]) {
    if rows.is_empty() {
        return;
    }
    let [name, applies, source] = heads;
    writeln!(
        text,
        "\n**{why}**\n\n| {name} | {applies} | {source} |\n| --- | --- | --- |"
    )
    .unwrap();
    let mut groups: Vec<([&str; 2], Vec<&str>)> = Vec::new();
    for [name, applies, source] in rows {
        let key = [applies.as_str(), source.as_str()];
        match groups.iter_mut().find(|(it, _)| *it == key) {
            Some((_, names)) => names.push(name),
            None => groups.push((key, vec![name])),
        }
    }
    for ([applies, source], names) in groups {
        let source = match source.starts_with("https://") {
            true => format!("<{source}>"),
            false => source.to_owned(),
        };
        writeln!(text, "| {} | {applies} | {source} |", names.join(", ")).unwrap();
    }
    text.push('\n');
}

fn operations() -> String {
    let mut text = "| operation | path | methods | model | without a model |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for definition in Definition::all() {
        let path = match definition.path {
            "" => "the base itself".to_owned(),
            path => format!("`{path}`"),
        };
        let methods = match definition.methods {
            [] => "-".to_owned(),
            methods => methods.join(", "),
        };
        let media: Vec<&str> = definition.media().iter().map(|it| it.as_str()).collect();
        let (model, absent) = match definition.model {
            ModelPlace::Body(_, member) => (
                format!("`model` in the body: {}", media.join(" or ")),
                match member {
                    ModelMember::Required => "`defaultModel`, else 400",
                    ModelMember::Optional => "`defaultModel`, else as sent",
                    ModelMember::Incidental => "as sent",
                },
            ),
            ModelPlace::Nowhere => ("none".to_owned(), "as sent"),
            ModelPlace::Path => ("in the path".to_owned(), "as sent"),
            ModelPlace::Unreadable => ("cannot be read".to_owned(), "as sent"),
        };
        writeln!(
            text,
            "| `{}` | {path} | {methods} | {model} | {absent} |",
            definition.name
        )
        .unwrap();
    }
    text
}

/// A table per mapping, as the JSON Schema describes it.
fn fields() -> String {
    let schema = schema::all_keys();
    let mut text = String::new();
    for (heading, pointer) in [
        ("The file", ""),
        ("`health`", "/definitions/Health"),
        ("`telemetry`", "/definitions/Telemetry"),
        ("`prices`, by model", "/definitions/Price"),
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

/// A passage as a configuration has it.
fn passage(passage: Passage) -> &'static str {
    match passage {
        Passage::Native => "native",
        Passage::Translate => "translate",
    }
}

/// The provider types and what they know by themselves.
fn providers() -> String {
    let mut text =
        "| type | default endpoint | base path | [`messages`](messages.md) | [`responses`](responses.md) \
         | models in a pool |\n\
         | --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for provider in ProviderType::ALL {
        let preset = provider.preset();
        let origin = preset
            .origin
            .map_or("none: `endpoint` is required".to_owned(), |origin| {
                format!("`{origin}`")
            });
        let base_path = match preset.base_path {
            "" => "by `apiVersion`".to_owned(),
            path => format!("`{path}`"),
        };
        let families: Vec<String> = provider
            .families()
            .iter()
            .map(|family| format!("`{family}`"))
            .collect();
        let families = match families.as_slice() {
            [] => "any".to_owned(),
            families => families.join(", "),
        };
        writeln!(
            text,
            "| `{}` | {origin} | {base_path} | {} | {} | {families} |",
            preset.name,
            passage(provider.further_apis().messages),
            passage(provider.further_apis().responses),
        )
        .unwrap();
    }
    text
}
