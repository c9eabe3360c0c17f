//! The README's tables are what the code says.
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

use llm_proxy::chat::openai;
use llm_proxy::config::schema;
use llm_proxy::provider::ProviderType;
use llm_proxy::provider::anthropic::Anthropic;
use llm_proxy::provider::dialect::{Dialect, Encoded, Options, Unsupported};
use llm_proxy::provider::gemini::Gemini;
use serde_json::Value;

#[test]
fn the_readme_has_the_field_tables_of_the_schema() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = fs::read_to_string(path).unwrap();
    let mut fresh = readme.clone();
    let tables = [
        ("fields", fields()),
        ("providers", providers()),
        ("dialects", dialects()),
    ];
    for (name, text) in tables {
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

/// What each dialect makes of each parameter: a request with it, beside the same without.
fn dialects() -> String {
    let dialects: [(&str, &str, &dyn Dialect); 2] = [
        ("Anthropic", "claude-sonnet-4-5", &Anthropic::new()),
        ("Gemini", "gemini-2.5-flash", &Gemini),
    ];
    let mut text = "| parameter |".to_owned();
    for (name, model, _) in dialects {
        write!(text, " {name}, `{model}` |").unwrap();
    }
    text.push_str("\n| --- |");
    text.push_str(&" --- |".repeat(dialects.len()));
    text.push('\n');
    for (label, context, members) in PARAMETERS {
        write!(text, "| {label} |").unwrap();
        for (_, model, dialect) in dialects {
            write!(text, " {} |", outcome(dialect, model, context, members)).unwrap();
        }
        text.push('\n');
    }
    text.push_str("| embeddings | no: 404 |");
    assert!(Anthropic::new().embeddings().is_none() && Gemini.embeddings().is_some());
    text.push_str(" `embedContent`, `batchEmbedContents` |\n");
    for (label, member) in [
        ("`dimensions`", r#""dimensions":3"#),
        ("`encoding_format: base64`", r#""encoding_format":"base64""#),
        ("`input` as tokens", r#""input":[1,2]"#),
        ("`user`", r#""user":"u""#),
    ] {
        let embeddings = Gemini.embeddings().unwrap();
        let encode = |members: &str, options: &Options| {
            let body = format!(r#"{{"model":"m",{members}}}"#);
            embeddings
                .encode(body.as_bytes(), "m", options)
                .map(|it| it.request)
        };
        let input = r#""input":"a""#;
        let with = match member.contains("input") {
            true => member.to_owned(),
            false => format!("{input},{member}"),
        };
        let outcome = compared(
            &|options| encode(&with, options),
            &encode(input, &REJECT).unwrap(),
        );
        writeln!(text, "| embeddings: {label} | | {outcome} |").unwrap();
    }
    text
}

const REJECT: Options = Options {
    max_tokens: None,
    drops_unsupported: false,
};

const DROP: Options = Options {
    drops_unsupported: true,
    ..REJECT
};

fn outcome(dialect: &dyn Dialect, model: &str, context: &str, members: &str) -> String {
    let encode = |members: &[&str], options: &Options| {
        let mut all = vec![format!(r#""model":"{model}""#)];
        let said = r#""messages":[{"role":"user","content":"hi"}]"#;
        if !members.iter().any(|it| it.contains(r#""messages""#)) {
            all.push(said.to_owned());
        }
        all.extend(
            members
                .iter()
                .filter(|it| !it.is_empty())
                .map(|it| (*it).to_owned()),
        );
        let body = format!("{{{}}}", all.join(","));
        let request = openai::read(body.as_bytes()).expect(&body);
        dialect.encode(&request, options)
    };
    let Ok(without) = encode(&[context], &REJECT) else {
        return "**400**".to_owned();
    };
    // What is in question takes the place of its like.
    let name = |members: &str| members.split(':').next().map(str::to_owned);
    let context = match name(context) == name(members) {
        true => "",
        false => context,
    };
    compared(&|options| encode(&[context, members], options), &without)
}

/// What became of a parameter, where `without` is the same request without it.
fn compared(
    encode: &dyn Fn(&Options) -> Result<Encoded, Unsupported>,
    without: &Encoded,
) -> String {
    let with = match (encode(&REJECT), encode(&DROP)) {
        (Ok(with), _) => with,
        (Err(_), Ok(_)) => return "**400**".to_owned(),
        (Err(_), Err(_)) => return "**400 always**".to_owned(),
    };
    let mut places = Vec::new();
    if with.suffix != without.suffix {
        places.push(
            with.suffix
                .split_once(':')
                .map_or("", |(_, method)| method)
                .to_owned(),
        );
    }
    let value = |encoded: &Encoded| serde_json::from_slice::<Value>(&encoded.body).unwrap();
    differences("", &value(without), &value(&with), &mut places);
    places.dedup();
    match places.as_slice() {
        [] => "not needed".to_owned(),
        places => places
            .iter()
            .map(|it| format!("`{it}`"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// The places where the second value has what the first has not: the outermost of each.
fn differences(at: &str, without: &Value, with: &Value, places: &mut Vec<String>) {
    match (without, with) {
        _ if without == with => {}
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in new {
                let dot = if at.is_empty() { "" } else { "." };
                let at = format!("{at}{dot}{name}");
                match (old.get(name), value) {
                    (Some(old), new) => differences(&at, old, new, places),
                    // Which member of a container it is tells more.
                    (None, Value::Object(inner)) if CONTAINERS.contains(&name.as_str()) => {
                        for (name, value) in inner {
                            places.extend(named(&format!("{at}.{name}"), value));
                        }
                    }
                    (None, value) => places.extend(named(&at, value)),
                }
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for (index, value) in new.iter().enumerate() {
                let at = format!("{at}[]");
                match old.get(index) {
                    Some(old) => differences(&at, old, value, places),
                    None => match value {
                        Value::Object(members) => {
                            let at = |name: &str| format!("{at}.{name}");
                            let told = members.iter().filter(|(name, _)| *name != "role");
                            places.extend(told.flat_map(|(name, value)| named(&at(name), value)));
                        }
                        value => places.extend(named(&at, value)),
                    },
                }
            }
        }
        (_, value) => places.extend(named(at, value)),
    }
}

/// A place, with its value where that is a word or a number.
fn named(at: &str, value: &Value) -> Option<String> {
    match value {
        Value::String(word) if word.len() < 20 && at.ends_with("type") => {
            Some(format!("{at}: {word}"))
        }
        Value::Bool(_) => Some(format!("{at}: {value}")),
        _ => Some(at.to_owned()),
    }
}

const CONTAINERS: [&str; 6] = [
    "functionCallingConfig",
    "generationConfig",
    "output_config",
    "thinking",
    "thinkingConfig",
    "toolConfig",
];

/// Label, what else the request has, and the members in question.
const PARAMETERS: &[(&str, &str, &str)] = &[
    ("`frequency_penalty`", "", r#""frequency_penalty":0.5"#),
    ("`logit_bias`", "", r#""logit_bias":{"1":5}"#),
    ("`logprobs`", "", r#""logprobs":true"#),
    (
        "`max_completion_tokens`, `max_tokens`",
        "",
        r#""max_tokens":7"#,
    ),
    ("`metadata`", "", r#""metadata":{"a":"b"}"#),
    (
        "`modalities` but text alone",
        "",
        r#""modalities":["text","audio"]"#,
    ),
    ("`n` above 1", "", r#""n":2"#),
    (
        "`parallel_tool_calls: false`",
        TOOLS,
        r#""parallel_tool_calls":false"#,
    ),
    (
        "`prediction`",
        "",
        r#""prediction":{"type":"content","content":"a"}"#,
    ),
    ("`presence_penalty`", "", r#""presence_penalty":0.5"#),
    ("`prompt_cache_key`", "", r#""prompt_cache_key":"k""#),
    (
        "`reasoning_effort`",
        r#""max_tokens":8192"#,
        r#""reasoning_effort":"low""#,
    ),
    (
        "`response_format: json_object`",
        "",
        r#""response_format":{"type":"json_object"}"#,
    ),
    (
        "`response_format: json_schema`",
        "",
        r#""response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object","properties":{"a":{"type":"string"}}}}}"#,
    ),
    ("`safety_identifier`, `user`", "", r#""user":"u""#),
    ("`seed`", "", r#""seed":7"#),
    ("`service_tier: auto`", "", r#""service_tier":"auto""#),
    ("`service_tier: default`", "", r#""service_tier":"default""#),
    (
        "`service_tier: flex`, `priority`",
        "",
        r#""service_tier":"flex""#,
    ),
    ("`stop`", "", r#""stop":"END""#),
    ("`store: true`", "", r#""store":true"#),
    ("`stream`", "", r#""stream":true"#),
    (
        "`stream_options.include_usage`",
        r#""stream":true"#,
        r#""stream_options":{"include_usage":true}"#,
    ),
    ("`temperature` up to 1", "", r#""temperature":0.5"#),
    ("`temperature` above 1", "", r#""temperature":1.5"#),
    ("`tool_choice: auto`", TOOLS, r#""tool_choice":"auto""#),
    ("`tool_choice: none`", TOOLS, r#""tool_choice":"none""#),
    (
        "`tool_choice: required`",
        TOOLS,
        r#""tool_choice":"required""#,
    ),
    (
        "`tool_choice`, one function",
        TOOLS,
        r#""tool_choice":{"type":"function","function":{"name":"f"}}"#,
    ),
    ("`tools`", "", TOOLS),
    (
        "`tools[].function.strict`",
        TOOLS,
        r#""tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"type":"object","properties":{"a":{"type":"string"}}}}}]"#,
    ),
    ("`top_k` (not OpenAI's)", "", r#""top_k":7"#),
    (
        "`top_logprobs`",
        r#""logprobs":true"#,
        r#""top_logprobs":2"#,
    ),
    ("`top_p`", "", r#""top_p":0.5"#),
    ("`verbosity` but medium", "", r#""verbosity":"low""#),
    ("`web_search_options`", "", r#""web_search_options":{}"#),
    (
        "messages: `system`, `developer`",
        "",
        r#""messages":[{"role":"developer","content":"s"},{"role":"user","content":"hi"}]"#,
    ),
    (
        "messages: `name`",
        "",
        r#""messages":[{"role":"user","content":"hi","name":"ann"}]"#,
    ),
    (
        "parts: `image_url`, data",
        TEXT_PART,
        r#""messages":[{"role":"user","content":[{"type":"text","text":"hi"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]"#,
    ),
    (
        "parts: `image_url`, address",
        TEXT_PART,
        r#""messages":[{"role":"user","content":[{"type":"text","text":"hi"},{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}]"#,
    ),
    (
        "parts: `image_url.detail: low`",
        r#""messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]"#,
        r#""messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA","detail":"low"}}]}]"#,
    ),
    (
        "parts: `input_audio`",
        TEXT_PART,
        r#""messages":[{"role":"user","content":[{"type":"text","text":"hi"},{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}]}]"#,
    ),
    (
        "parts: `file`, PDF data",
        TEXT_PART,
        r#""messages":[{"role":"user","content":[{"type":"text","text":"hi"},{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVBERi0="}}]}]"#,
    ),
    (
        "parts: `file.file_id`",
        TEXT_PART,
        r#""messages":[{"role":"user","content":[{"type":"text","text":"hi"},{"type":"file","file":{"file_id":"file_1"}}]}]"#,
    ),
    (
        "parts: `cache_control` (not OpenAI's)",
        TEXT_PART,
        r#""messages":[{"role":"user","content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]}]"#,
    ),
    ("assistant: `tool_calls`, and `tool` results", "", CALLED),
    (
        "results with an image",
        CALLED,
        r#""messages":[{"role":"user","content":"hi"},
            {"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},
            {"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"r"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]"#,
    ),
    (
        "assistant: `refusal`",
        "",
        r#""messages":[{"role":"user","content":"hi"},{"role":"assistant","refusal":"no"}]"#,
    ),
    (
        "assistant: `audio`",
        ANSWERED,
        r#""messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"a","audio":{"id":"x"}}]"#,
    ),
];

const TOOLS: &str = r#""tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"string"}}}}}]"#;
const TEXT_PART: &str = r#""messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]"#;
const ANSWERED: &str =
    r#""messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"a"}]"#;
const CALLED: &str = r#""messages":[{"role":"user","content":"hi"},
    {"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},
    {"role":"tool","tool_call_id":"c","content":"r"}]"#;
