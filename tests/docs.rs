//! The pages in `docs/providers` are what the tables in the code say. `UPDATE=1 cargo test --test
//! docs` writes them anew.
#![cfg(not(target_family = "wasm"))]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use std::path::Path;

use llm_proxy::api::responses;
use llm_proxy::provider::adapt::{Outcome, Rule};
use llm_proxy::provider::{LimitName, ProviderType, anthropic, gemini, openai};

/// A page about one dialect.
fn page(title: &str, introduction: &str, rules: &[&Rule]) -> String {
    let head = format!(
        "# {title}\n\n<!-- Generated from the tables in src/provider; UPDATE=1 cargo test --test docs \
         -->\n\n{introduction}\n"
    );
    head + &tables(rules)
}

/// What becomes of the parameters, a table for each outcome.
fn tables(rules: &[&Rule]) -> String {
    let mut page = String::new();
    for (heading, text, outcome) in [
        (
            "400",
            "A correct answer depends on these, and the API cannot express them. One 400 names all \
             that a request has. `unsupported: drop` leaves them out instead.",
            Outcome::Rejected,
        ),
        (
            "Left out",
            "Hints. They are named in the reply's header `x-llm-proxy-adapted`. `unsupported: reject` \
             answers 400 instead.",
            Outcome::Omitted,
        ),
        (
            "Nearest value",
            "Hints that the provider takes in another form or range. They are named in the same \
             header.",
            Outcome::Nearest,
        ),
        (
            "Translated",
            "These mean the same under another name.",
            Outcome::Mapped,
        ),
    ] {
        let _ = writeln!(page, "\n## {heading}\n\n{text}\n");
        let _ = writeln!(
            page,
            "| parameter | models | what happens |\n| --- | --- | --- |"
        );
        for rule in rules.iter().filter(|rule| rule.outcome == outcome) {
            let models = match rule.models {
                "" => "all",
                models => models,
            };
            let what = match rule.outcome {
                Outcome::Mapped => format!("becomes {}", rule.reason),
                _ => rule.reason.to_owned(),
            };
            let param = match rule.param {
                "*" => "any other",
                param => param,
            };
            let _ = writeln!(page, "| `{param}` | {models} | {what} |");
        }
    }
    page
}

fn is_fresh(name: &str, seen: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs/providers")
        .join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, seen).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == seen,
        "{} is stale; run UPDATE=1 cargo test --test docs",
        path.display()
    );
}

#[test]
fn the_page_about_anthropic_is_fresh() {
    let introduction = "What becomes of the parameters of a chat completion when a backend of `type: \
        anthropic`, or Claude on Vertex AI, gets it. Structured output and strict tools get the schema \
        that Anthropic's own SDK would send.";
    is_fresh(
        "anthropic.md",
        &page("Anthropic", introduction, anthropic::RULES),
    );
}

#[test]
fn the_page_about_gemini_is_fresh() {
    let introduction = "What becomes of the parameters of a chat completion when a backend of `type: \
        google` gets it: Gemini on AI Studio and on Vertex AI. Claude on Vertex AI follows \
        [anthropic.md](anthropic.md).";
    is_fresh("gemini.md", &page("Gemini", introduction, gemini::RULES));
}

#[test]
fn the_page_about_openais_dialect_is_fresh() {
    let mut page = "# Providers that speak OpenAI's dialect\n\n<!-- Generated from the tables in \
        src/provider/members.rs; UPDATE=1 cargo test --test docs -->\n\nA chat completion passes as the client \
        sent it, but for these members. They are overwritten with spaces, or renamed, while the body \
        passes.\n\n| type | limit of the answer | role `developer` | left out of messages | hints that \
        are left out of the request | left out where it is `null` | renamed |\n\
        | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    let list = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    for provider in ProviderType::ALL {
        if provider.dialects().is_some() {
            continue;
        }
        let rules = provider.member_rules();
        let limit = match provider.limit_name() {
            LimitName::ByModel => "`max_completion_tokens` for models that reason",
            LimitName::Either => "as sent",
            LimitName::Old => "`max_tokens`",
        };
        let mut members = rules.of_messages.to_vec();
        members.push("tool_calls[].extra_content");
        members.push("tool_calls[].function.parsed_arguments");
        let nulls = rules.nulls.iter().chain(rules.nulls_of_messages);
        let mut nulls: Vec<_> = nulls.copied().collect();
        nulls.sort_unstable();
        nulls.dedup();
        let renamed = rules.renamed.iter();
        let renamed: Vec<_> = renamed
            .map(|[name, new]| format!("`{name}` to `{new}`"))
            .collect();
        let role = match rules.lacks_developer {
            true => "`system`",
            false => "as sent",
        };
        let _ = writeln!(
            page,
            "| `{}` | {limit} | {role} | {} | {} | {} | {} |",
            provider.as_str(),
            list(&members),
            list(rules.hints),
            list(&nulls),
            renamed.join(", "),
        );
    }
    page.push_str(
        "\nA backend whose host ends in `.googleapis.com` gets the messages as they are: Google's own \
         API in OpenAI's dialect reads the signatures that it has sent. A rule for `messages` in \
         `overrides` or `defaults` turns this off, too. A hint that `overrides` or `defaults` write stays. \
         Hints that are left out are named in `x-llm-proxy-adapted`.\n",
    );
    page.push_str(
        "\n# Requests in another API\n\nWhat becomes of the parameters of a request that is translated into a \
         chat completion, such as one of [the Messages API](../messages.md).\n",
    );
    page.push_str(&tables(openai::RULES));
    is_fresh("openai.md", &page);
}

#[test]
fn the_lists_in_the_page_about_responses_are_fresh() {
    let code = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    let mut hints = responses::HINTS.to_vec();
    hints.extend([
        "include (but for logprobs and reasoning)",
        "truncation (auto)",
    ]);
    hints.extend(llm_proxy::provider::adapt::HINTS);
    let adapted = format!(
        "- members of the request: {}\n- items about what OpenAI's own tools have done: {}\n- tools that only \
         OpenAI runs, where they are only offered: `web_search` without `webSearch: provider`, `tool_search`, \
         `local_shell`, `mcp`, `image_generation` …\n- `encrypted_content` of OpenAI's own, all parts of a \
         `summary` but the first, the `format` of a custom tool, and unknown members of items, parts and \
         tools\n",
        code(&hints),
        code(&responses::DROPPED),
    );
    let mut refused = String::new();
    for (name, remedy) in responses::STORED {
        let _ = writeln!(refused, "- `{name}`: {remedy}");
    }
    refused.push_str(
        "- `background: true`\n- items of any other type, such as `compaction` and `computer_call`; a reference \
         to an item that is not in the conversation\n- tools that only OpenAI runs, where `tool_choice` forces \
         them, and those with files or containers that it stores (`file_search`, `code_interpreter`)\n- every \
         other unknown parameter\n",
    );
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/responses.md");
    let text = std::fs::read_to_string(page).unwrap();
    let mut fresh = text.clone();
    for (name, list) in [("adapted", adapted), ("refused", refused)] {
        let begin = format!("<!-- {name} -->\n");
        let (before, rest) = fresh.split_once(&begin).unwrap();
        let (_, after) = rest.split_once("<!-- end of the list -->").unwrap();
        fresh = format!("{before}{begin}{list}<!-- end of the list -->{after}");
    }
    is_fresh("../responses.md", &fresh);
}

#[test]
fn every_rule_is_readable() {
    for rule in anthropic::RULES
        .iter()
        .chain(gemini::RULES)
        .chain(openai::RULES)
    {
        let first = rule.reason.chars().next().unwrap();
        assert!(!rule.reason.ends_with('.') && !rule.param.is_empty());
        assert!(
            !first.is_uppercase() || rule.reason.starts_with("Google"),
            "{}",
            rule.reason
        );
        assert!(!rule.reason.contains('|') && !rule.param.contains('|'));
    }
}

/// Models whose end is announced, with `*` for any text behind, and the last day. Sources, by provider:
///
/// * Anthropic: `_data/deprecated_models.py` of its Python package 2.14.0; for the older ones, its release
///   notes as others report them (Opus and Sonnet 4: 2026-06-15, Opus 4.1: 2026-08-05, Haiku 3:
///   2026-04-20, the last of 3.x).
/// * OpenAI: the docstring of `ChatModel` in its Python package 3.57.0.
/// * Google: the deprecations page as quoted on 2026-11-10 by
///   <https://dev.to/aideprecations/what-to-do-before-gemini-25-pro-and-25-flash-are-retired-on-december-1-2026-5gg9>,
///   which excepts gemini-2.5-flash-lite; a stored copy of
///   <https://ai.google.dev/gemini-api/docs/deprecations> for 3.1; Gemini 1 ended in 2025.
/// * xAI: <https://docs.x.ai/developers/migration/may-15-retirement>, stored copy of 2026; Grok 2 had ended
///   by then.
/// * DeepSeek: reports of users since that day.
const ENDS: &[(&str, &str)] = &[
    ("claude-2*", "2025-07-21"),
    ("claude-3*", "2026-04-20"),
    ("claude-mythos-preview", "2026-06-30"),
    ("claude-opus-4-0*", "2026-06-15"),
    ("claude-opus-4-2*", "2026-06-15"),
    ("claude-opus-4-1*", "2026-08-05"),
    ("claude-opus-4-5*", "2027-01-22"),
    ("claude-sonnet-4-0*", "2026-06-15"),
    ("claude-sonnet-4-2*", "2026-06-15"),
    ("claude-sonnet-4-5*", "2026-11-30"),
    ("deepseek-chat", "2026-07-24"),
    ("deepseek-reasoner", "2026-07-24"),
    ("gemini-1*", "2025-12-31"),
    ("gemini-2.0*", "2026-06-01"),
    ("gemini-2.5-flash", "2026-12-01"),
    ("gemini-2.5-pro", "2026-12-01"),
    ("gemini-3.1-flash-lite", "2027-05-07"),
    ("gpt-3.5*", "2026-10-23"),
    ("gpt-4", "2026-10-23"),
    ("gpt-4-*", "2026-10-23"),
    ("gpt-4.1*", "2027-01-14"),
    ("gpt-4o*", "2027-01-14"),
    ("gpt-5", "2026-12-11"),
    ("gpt-5-*", "2026-12-11"),
    ("gpt-5.1*", "2027-04-01"),
    ("gpt-5.4-nano*", "2027-04-01"),
    ("grok-2*", "2026-05-15"),
    ("grok-3*", "2026-05-15"),
    ("grok-4", "2026-05-15"),
    ("grok-4-*", "2026-05-15"),
    ("o1*", "2026-10-23"),
    ("o3*", "2026-12-11"),
    ("o4-mini*", "2026-10-23"),
];

/// A year from the day on which [`ENDS`] was last compared with its sources.
const EXAMPLES_WORK_UNTIL: &str = "2027-11-28";

#[test]
fn no_example_names_a_model_whose_end_is_announced() {
    let envoy = Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy");
    let files = [envoy.clone(), envoy.join("kubernetes")]
        .into_iter()
        .flat_map(|directory| std::fs::read_dir(directory).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".gateway.yaml"));
    let mut seen = 0;
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines() {
            // A deployment has a name of its own.
            let Some((_, models)) = line.split_once("odel: ") else {
                continue;
            };
            seen += 1;
            let model = models.split([',', '}', ' ']).next().unwrap();
            for (name, end) in ENDS {
                let is_named = match name.strip_suffix('*') {
                    Some(beginning) => model.starts_with(beginning),
                    None => model == *name,
                };
                assert!(
                    !is_named || *end >= EXAMPLES_WORK_UNTIL,
                    "{}: {model} ends on {end}; name another model",
                    path.display()
                );
            }
        }
    }
    assert!(seen > 10, "{seen}");
}
