//! The tables of `docs/operations.md` and `docs/credentials.md` are what the code says.
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

use llm_proxy::firewall::names::{Applies, HEADERS, PARAMETERS, Reason};
use llm_proxy::operation::ModelMember;
use llm_proxy::operation::table::{Definition, ModelPlace};

#[test]
fn the_pages_have_the_tables_of_the_code() {
    for (page, name, table) in [
        ("credentials", "headers", headers()),
        ("credentials", "parameters", parameters()),
        ("operations", "operations", operations()),
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
            "{path} is stale; run: UPDATE=1 cargo test --test rules_pages"
        );
    }
}

/// Why names do not pass, in the order of the page.
const REASONS: [(Reason, &str); 9] = [
    (Reason::Credential, "They carry a key, a token or a session"),
    (Reason::Account, "They name the account that pays"),
    (
        Reason::Client,
        "They tell about the client, its network, or who is signed in",
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
