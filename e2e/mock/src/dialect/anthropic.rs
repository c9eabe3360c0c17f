//! Anthropic's Messages.
//!
//! Source: <https://platform.claude.com/docs/en/api/messages>, read 2026-11-21, and the messages of
//! the API as users have reported them.

use serde_json::{Map, Value, json};

use super::claude::{self, Claude};
use super::{Checked, at as value_at, list, number, object, only, required, text, wrong};
use crate::answer::{self, Answer};
use crate::payload::check_model;
use crate::profile::Refusal;
use crate::says::{Said, Says, Wanted};

/// What the API has against a body.
///
/// # Errors
///
/// 400, or 404 for the model.
pub fn refuse(body: &Value) -> Checked {
    let members = object(body, "body")?;
    let model = required(members, "model", "body")?;
    let model = text(model, "model")?;
    check_model(model.to_owned())?;
    refuse_all_but_the_model(members, model, &[])
}

/// The same where the model stands in the path. `further`: members that Anthropic itself has not.
///
/// # Errors
///
/// 400.
pub fn refuse_all_but_the_model(
    members: &Map<String, Value>,
    model: &str,
    further: &[&str],
) -> Checked {
    let known: Vec<&str> = MEMBERS.iter().chain(further).copied().collect();
    only(members, &known, "body")?;
    let max_tokens = required(members, "max_tokens", "body")?.as_u64();
    let max_tokens = max_tokens.filter(|it| *it > 0);
    let max_tokens =
        max_tokens.ok_or_else(|| wrong("max_tokens", "Input should be a positive integer"))?;
    number(members, "temperature", (0.0, 1.0), "body")?;
    number(members, "top_p", (0.0, 1.0), "body")?;
    number(members, "top_k", (0.0, 1e9), "body")?;
    for (index, stop) in optional_list(members, "stop_sequences")?.iter().enumerate() {
        if text(stop, "stop_sequences")?.trim().is_empty() {
            let what = "each stop sequence must contain non-whitespace";
            return Err(wrong(&format!("stop_sequences.{index}"), what));
        }
    }
    if members.get("stream").is_some_and(|it| !it.is_boolean()) {
        return Err(wrong("stream", "Input should be a valid boolean"));
    }
    if let Some(metadata) = members.get("metadata") {
        only(object(metadata, "metadata")?, &["user_id"], "metadata")?;
    }
    match members.get("system") {
        None | Some(Value::String(_)) => {}
        Some(blocks) => {
            for (index, block) in list(blocks, "system")?.iter().enumerate() {
                refuse_block(block, &["text"], &format!("system.{index}"))?;
            }
        }
    }
    refuse_tools(members)?;
    refuse_thinking(members, max_tokens)?;
    refuse_output(members)?;
    if let Some(claude) = Claude::named(model) {
        claude.refuse(members)?;
    }
    let messages = list(required(members, "messages", "body")?, "messages")?;
    claude::refuse_prefill(messages)?;
    // Where instructions may stand in the list, the two sides still take turns around them.
    let is_turn = |it: &&Value| it.get("role").is_none_or(|role| role != "system");
    let turns: Vec<Value> = messages.iter().filter(is_turn).cloned().collect();
    match Claude::named(model).is_some() {
        true => refuse_messages(&turns),
        false => refuse_messages(messages),
    }
}

fn optional_list<'v>(members: &'v Map<String, Value>, name: &str) -> Result<&'v [Value], Refusal> {
    members.get(name).map_or(Ok(&[]), |value| list(value, name))
}

fn refuse_tools(members: &Map<String, Value>) -> Checked {
    let tools = optional_list(members, "tools")?;
    for (index, tool) in tools.iter().enumerate() {
        let at = format!("tools.{index}");
        let tool = object(tool, &at)?;
        only(
            tool,
            &[
                "name",
                "description",
                "input_schema",
                "strict",
                "cache_control",
                // With `advanced-tool-use-2025-11-20`.
                "defer_loading",
                "type",
            ],
            &at,
        )?;
        let name = text(required(tool, "name", &at)?, &at)?;
        let plain = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
        if name.is_empty() || name.len() > 128 || !name.chars().all(plain) {
            let what = "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'";
            return Err(wrong(&format!("{at}.name"), what));
        }
        let schema = object(required(tool, "input_schema", &at)?, &at)?;
        if schema.get("type").and_then(Value::as_str) != Some("object") {
            return Err(wrong(
                &format!("{at}.input_schema.type"),
                "Input should be 'object'",
            ));
        }
        if ["anyOf", "oneOf", "allOf"]
            .iter()
            .any(|it| schema.contains_key(*it))
        {
            return Err(wrong(
                &format!("{at}.input_schema"),
                "input_schema does not support oneOf, allOf, or anyOf at the top level",
            ));
        }
        if tool.get("strict") == Some(&Value::Bool(true)) {
            claude::refuse_schema(&tool["input_schema"], &format!("{at}.input_schema"))?;
        }
    }
    let Some(choice) = members.get("tool_choice") else {
        return Ok(());
    };
    let choice = object(choice, "tool_choice")?;
    only(
        choice,
        &["type", "name", "disable_parallel_tool_use"],
        "tool_choice",
    )?;
    let kind = text(required(choice, "type", "tool_choice")?, "tool_choice.type")?;
    let named = choice.get("name").and_then(Value::as_str);
    let exists = |name: &str| tools.iter().any(|tool| value_at(tool, "/name") == name);
    match kind {
        _ if tools.is_empty() => Err(wrong("tool_choice", "may only be specified with tools")),
        "auto" | "any" if named.is_none() => Ok(()),
        "none" if choice.len() == 1 => Ok(()),
        "tool" if named.is_some_and(exists) => Ok(()),
        _ => Err(wrong(
            "tool_choice",
            "is none of the choices, or names no tool",
        )),
    }
}

fn refuse_thinking(members: &Map<String, Value>, max_tokens: u64) -> Checked {
    let Some(thinking) = members.get("thinking") else {
        return Ok(());
    };
    let thinking = object(thinking, "thinking")?;
    only(thinking, &["type", "budget_tokens", "display"], "thinking")?;
    let budget = thinking.get("budget_tokens").and_then(Value::as_u64);
    match (required(thinking, "type", "thinking")?.as_str(), budget) {
        (Some("adaptive" | "between_tools" | "disabled"), None) => Ok(()),
        (Some("enabled"), Some(budget)) => {
            if !(1024..max_tokens).contains(&budget) {
                let what = "must be at least 1024 and less than max_tokens";
                return Err(wrong("thinking.budget_tokens", what));
            }
            if members
                .get("temperature")
                .is_some_and(|it| it.as_f64() != Some(1.0))
            {
                let what = "may only be set to 1 when thinking is enabled";
                return Err(wrong("temperature", what));
            }
            let choice = members
                .get("tool_choice")
                .and_then(|it| it["type"].as_str());
            if matches!(choice, Some("any" | "tool")) {
                let what = "Thinking may not be enabled when tool_choice forces tool use";
                return Err(wrong("tool_choice", what));
            }
            Ok(())
        }
        _ => Err(wrong("thinking", "is none of the three kinds")),
    }
}

fn refuse_output(members: &Map<String, Value>) -> Checked {
    let Some(output) = members.get("output_config") else {
        return Ok(());
    };
    let output = object(output, "output_config")?;
    only(output, &["effort", "format"], "output_config")?;
    if let Some(effort) = output.get("effort")
        && !matches!(
            effort.as_str(),
            Some("low" | "medium" | "high" | "xhigh" | "max")
        )
    {
        return Err(wrong("output_config.effort", "is none of the efforts"));
    }
    if let Some(format) = output.get("format") {
        let at = "output_config.format";
        let format = object(format, at)?;
        only(format, &["type", "schema"], at)?;
        if required(format, "type", at)? != "json_schema" {
            return Err(wrong(at, "Input should be 'json_schema'"));
        }
        claude::refuse_schema(
            required(format, "schema", at)?,
            "output_config.format.schema",
        )?;
    }
    Ok(())
}

fn refuse_messages(messages: &[Value]) -> Checked {
    // The calls of the turn before, which wait for their results.
    let mut waiting: Vec<&str> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    if messages.is_empty() {
        return Err(wrong("messages", "at least one message is required"));
    }
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages.{index}");
        let message = object(message, &at)?;
        only(message, &["role", "content"], &at)?;
        let role = text(required(message, "role", &at)?, &at)?;
        let expected = ["user", "assistant"]
            .get(index % 2)
            .copied()
            .unwrap_or_default();
        if role != expected {
            let what = "roles must be \"user\" and \"assistant\" in turn, \"user\" first";
            return Err(wrong(&at, what));
        }
        let content = required(message, "content", &at)?;
        let is_last = index + 1 == messages.len();
        if let Value::String(said) = content {
            if said.is_empty() && !(is_last && role == "assistant") {
                return Err(wrong(&at, "all messages must have non-empty content"));
            }
            refuse_missing_results(&waiting, &[], &at)?;
            waiting.clear();
            continue;
        }
        let blocks = list(content, &at)?;
        if blocks.is_empty() {
            return Err(wrong(&at, "all messages must have non-empty content"));
        }
        let mut results = Vec::new();
        let mut calls = Vec::new();
        for (number, block) in blocks.iter().enumerate() {
            let at = format!("{at}.content.{number}");
            let allowed = if role == "user" {
                USER_BLOCKS
            } else {
                ASSISTANT_BLOCKS
            };
            refuse_block(block, allowed, &at)?;
            match value_at(block, "/type").as_str() {
                Some("tool_result") => {
                    if results.len() < number {
                        return Err(wrong(&at, "tool_result blocks must come first"));
                    }
                    results.extend(value_at(block, "/tool_use_id").as_str());
                }
                Some("tool_use") => calls.extend(value_at(block, "/id").as_str()),
                _ => {}
            }
        }
        refuse_missing_results(&waiting, &results, &at)?;
        if calls.iter().any(|id| seen.contains(id)) {
            return Err(wrong(&at, "`tool_use` ids must be unique"));
        }
        seen.extend(&calls);
        waiting = calls;
    }
    Ok(())
}

fn refuse_missing_results(waiting: &[&str], results: &[&str], at: &str) -> Checked {
    if waiting.iter().any(|id| !results.contains(id)) {
        let what = "`tool_use` ids were found without `tool_result` blocks immediately after";
        return Err(wrong(at, what));
    }
    let is_single = |id| results.iter().filter(|it| *it == id).count() == 1;
    if results
        .iter()
        .any(|id| !waiting.contains(id) || !is_single(id))
    {
        let what = "unexpected `tool_use_id` found in `tool_result` blocks";
        return Err(wrong(at, what));
    }
    Ok(())
}

fn refuse_block(block: &Value, allowed: &[&str], at: &str) -> Checked {
    let block = object(block, at)?;
    let kind = text(required(block, "type", at)?, at)?;
    if !allowed.contains(&kind) {
        return Err(wrong(
            at,
            &format!("Input tag '{kind}' is not expected here"),
        ));
    }
    let members: &[&str] = match kind {
        "text" => &["type", "text", "cache_control", "citations"],
        "image" => &["type", "source", "cache_control"],
        "document" => &[
            "type",
            "source",
            "title",
            "context",
            "citations",
            "cache_control",
        ],
        "tool_use" => &["type", "id", "name", "input", "cache_control"],
        "tool_result" => &[
            "type",
            "tool_use_id",
            "content",
            "is_error",
            "cache_control",
        ],
        "thinking" => &["type", "thinking", "signature"],
        _ => &["type", "data"],
    };
    only(block, members, at)?;
    if let Some(cache) = block.get("cache_control") {
        let cache = object(cache, at)?;
        only(cache, &["type", "ttl"], at)?;
        if required(cache, "type", at)? != "ephemeral" {
            return Err(wrong(at, "cache_control.type should be 'ephemeral'"));
        }
    }
    match kind {
        "text" => {
            if text(required(block, "text", at)?, at)?.trim().is_empty() {
                return Err(wrong(
                    at,
                    "text content blocks must contain non-whitespace text",
                ));
            }
        }
        "image" | "document" => refuse_source(kind, required(block, "source", at)?, at)?,
        "tool_use" => {
            refuse_id(text(required(block, "id", at)?, at)?, at)?;
            text(required(block, "name", at)?, at)?;
            if !required(block, "input", at)?.is_object() {
                return Err(wrong(
                    &format!("{at}.input"),
                    "Input should be a valid dictionary",
                ));
            }
        }
        "tool_result" => {
            refuse_id(text(required(block, "tool_use_id", at)?, at)?, at)?;
            if let Some(Value::Array(parts)) = block.get("content") {
                for part in parts {
                    refuse_block(part, &["text", "image", "document"], at)?;
                }
            }
        }
        "thinking" => {
            text(required(block, "thinking", at)?, at)?;
            if text(required(block, "signature", at)?, at)?.is_empty() {
                return Err(wrong(at, "Invalid `signature` in `thinking` block"));
            }
        }
        _ => {
            text(required(block, "data", at)?, at)?;
        }
    }
    Ok(())
}

fn refuse_id(id: &str, at: &str) -> Checked {
    let plain = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
    match !id.is_empty() && id.chars().all(plain) {
        true => Ok(()),
        false => Err(wrong(at, "String should match pattern '^[a-zA-Z0-9_-]+$'")),
    }
}

fn refuse_source(kind: &str, source: &Value, at: &str) -> Checked {
    let source = object(source, at)?;
    let members: &[&str] = match required(source, "type", at)?.as_str() {
        Some("base64" | "text") => &["type", "media_type", "data"],
        Some("url") => &["type", "url"],
        Some("file") => &["type", "file_id"],
        _ => return Err(wrong(at, "is none of the kinds of sources")),
    };
    only(source, members, at)?;
    for name in members {
        text(required(source, name, at)?, at)?;
    }
    let media_type = source.get("media_type").and_then(Value::as_str);
    let is_right = match (kind, source.get("type").and_then(Value::as_str), media_type) {
        (_, _, None) => true,
        ("image", Some("base64"), Some(it)) => {
            matches!(it, "image/gif" | "image/jpeg" | "image/png" | "image/webp")
        }
        ("document", Some("base64"), Some(it)) => it == "application/pdf",
        ("document", Some("text"), Some(it)) => it == "text/plain",
        _ => false,
    };
    match is_right {
        true => Ok(()),
        false => Err(wrong(
            &format!("{at}.source.media_type"),
            "Input is none of the media types",
        )),
    }
}

/// What the API has against a request to count tokens: the members that are about the answer.
///
/// # Errors
///
/// 400, or 404 for the model.
pub fn refuse_count(body: &Value, more: &[&str]) -> Checked {
    let mut members = object(body, "body")?.clone();
    for name in [
        "max_tokens",
        "stream",
        "temperature",
        "stop_sequences",
        "metadata",
    ] {
        if members.contains_key(name) {
            return Err(wrong(name, "Extra inputs are not permitted"));
        }
    }
    for name in more {
        members.remove(*name);
    }
    members.insert("max_tokens".to_owned(), json!(64_000));
    refuse(&Value::Object(members))
}

/// How many tokens it counts.
pub fn count() -> Answer {
    Answer::json(&json!({"input_tokens": 31}))
}

/// What it answers: as the tests want it; else it repeats what was said last, or calls what it must.
pub fn answer(body: &Value, authority: &str, says: &Says) -> Answer {
    let model = value_at(body, "/model").as_str().unwrap_or_default();
    answer_of(body, model, authority, says)
}

/// The same where the model stands in the path.
pub fn answer_of(body: &Value, model: &str, authority: &str, says: &Says) -> Answer {
    let said = value_at(body, "/messages")
        .as_array()
        .and_then(|it| it.last());
    let asked = answer::excerpt(&texts_of(said.map(|it| &it["content"])));
    let usage = json!({"input_tokens": 11, "output_tokens": 7});
    let first = value_at(body, "/tools/0/name").as_str();
    let forced = match value_at(body, "/tool_choice/type").as_str() {
        Some("any") => first,
        Some("tool") => value_at(body, "/tool_choice/name").as_str(),
        _ => None,
    };
    let is_json = value_at(body, "/output_config/format").is_object();
    let wanted = match forced.or(first) {
        Some(name) if !is_json => Wanted::Call(name),
        _ => Wanted::Json,
    };
    let said = says.take(wanted).unwrap_or_else(|| match forced {
        Some(name) => Said::call("toolu_mock", name, json!({"input": asked})),
        None => {
            let text = answer::sentence("You said", &asked, model, authority);
            Said::text(match is_json {
                true => json!({"answer": text}).to_string(),
                false => text,
            })
        }
    });
    let stop = match said.calls.is_empty() {
        true => "end_turn",
        false => "tool_use",
    };
    let id = said.id("msg_mock");
    let blocks = blocks(said);
    let message = |content: Value, stop: Value| {
        json!({
            "id": id, "type": "message", "role": "assistant", "model": model,
            "content": content, "stop_reason": stop, "stop_sequence": null, "usage": usage,
        })
    };
    if value_at(body, "/stream") != true {
        return Answer::json(&message(json!(blocks), stop.into()));
    }
    let mut events =
        vec![json!({"type": "message_start", "message": message(json!([]), Value::Null)})];
    for (index, block) in blocks.iter().enumerate() {
        let (start, deltas) = pieces(block);
        events.push(json!({"type": "content_block_start", "index": index, "content_block": start}));
        events.extend(
            deltas.into_iter().map(
                |delta| json!({"type": "content_block_delta", "index": index, "delta": delta}),
            ),
        );
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    let end = json!({"stop_reason": stop, "stop_sequence": null});
    events.push(json!({"type": "message_delta", "delta": end, "usage": {"output_tokens": 7}}));
    events.push(json!({"type": "message_stop"}));
    let named = |it: &Value| answer::event(it["type"].as_str(), it);
    Answer::events(events.iter().map(named).collect())
}

/// The prescribed reply as content blocks.
fn blocks(said: Said) -> Vec<Value> {
    let thinking = said
        .thinking
        .map(|it| json!({"type": "thinking", "thinking": it, "signature": "c2lnbmVk"}));
    let text = said.text.map(|it| json!({"type": "text", "text": it}));
    let calls = said.calls.into_iter().map(
        |(id, name, input)| json!({"type": "tool_use", "id": id, "name": name, "input": input}),
    );
    thinking.into_iter().chain(text).chain(calls).collect()
}

/// How a block begins in a stream, and its deltas.
fn pieces(block: &Value) -> (Value, Vec<Value>) {
    let of = |name: &str| {
        value_at(block, name)
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let words = |kind: &str, name: &str, text: &str| -> Vec<Value> {
        let words = text.split_inclusive(' ');
        words.map(|it| json!({"type": kind, name: it})).collect()
    };
    match value_at(block, "/type").as_str() {
        Some("thinking") => {
            let mut deltas = words("thinking_delta", "thinking", &of("/thinking"));
            deltas.push(json!({"type": "signature_delta", "signature": of("/signature")}));
            (
                json!({"type": "thinking", "thinking": "", "signature": ""}),
                deltas,
            )
        }
        Some("tool_use") => {
            let start =
                json!({"type": "tool_use", "id": of("/id"), "name": of("/name"), "input": {}});
            let input = value_at(block, "/input").to_string();
            let input = input.split_inclusive(':');
            let deltas = input.map(|it| json!({"type": "input_json_delta", "partial_json": it}));
            (start, deltas.collect())
        }
        _ => (
            json!({"type": "text", "text": ""}),
            words("text_delta", "text", &of("/text")),
        ),
    }
}

fn texts_of(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(blocks)) => {
            let texts = blocks
                .iter()
                .filter_map(|it| it["text"].as_str().or(it["content"].as_str()));
            texts.collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

const USER_BLOCKS: &[&str] = &["text", "image", "document", "tool_result"];
const ASSISTANT_BLOCKS: &[&str] = &["text", "tool_use", "thinking", "redacted_thinking"];

const MEMBERS: &[&str] = &[
    "cache_control",
    "container",
    // With `context-management-2025-06-27`.
    "context_management",
    "inference_geo",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "output_config",
    "service_tier",
    "speed",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];
