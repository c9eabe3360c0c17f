//! Google's `generateContent` and its embeddings.
//!
//! Source: <https://ai.google.dev/api/generate-content>, <https://ai.google.dev/api/caching#Schema>
//! and <https://ai.google.dev/api/embeddings>, read 2026-11-21, and the messages of the API as users
//! have reported them.

use serde_json::{Map, Value, json};

use super::{Checked, at as value_at, list, number, object, only, required, text, wrong};
use crate::answer::{self, Answer};
use crate::payload::check_model;
use crate::says::{Said, Says, Wanted};

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Without `models/`.
    pub model: String,
    /// `generateContent`, `streamGenerateContent`, `embedContent` or `batchEmbedContents`.
    pub method: String,
}

impl Call {
    /// The call that `/models/MODEL:METHOD` asks for; `None`: there is no such path.
    pub fn of(path: &str, query: Option<&str>) -> Option<Self> {
        let (model, method) = path.strip_prefix("/models/")?.split_once(':')?;
        let is_right = match method {
            "streamGenerateContent" => query == Some("alt=sse"),
            "generateContent" | "countTokens" | "embedContent" | "batchEmbedContents" => {
                query.is_none()
            }
            _ => false,
        };
        (is_right && !model.is_empty() && !model.contains('/')).then(|| Self {
            model: model.to_owned(),
            method: method.to_owned(),
        })
    }
}

/// What the API has against a body.
///
/// # Errors
///
/// 400, or 404 for the model.
pub fn refuse(call: &Call, body: &Value, on_vertex: bool) -> Checked {
    check_model(call.model.clone())?;
    let members = object(body, "body")?;
    match call.method.as_str() {
        "embedContent" => refuse_embedding(members, &call.model),
        "batchEmbedContents" => {
            only(members, &["requests"], "body")?;
            let requests = list(required(members, "requests", "body")?, "requests")?;
            for request in requests {
                let request = object(request, "requests")?;
                required(request, "model", "requests")?;
                refuse_embedding(request, &call.model)?;
            }
            match requests.len() {
                1..=100 => Ok(()),
                _ => Err(wrong(
                    "requests",
                    "at most 100 requests can be in one batch",
                )),
            }
        }
        "countTokens" if on_vertex => {
            let known = ["contents", "systemInstruction", "tools", "generationConfig"];
            only(members, &known, "body")?;
            refuse_generation(members, &call.model, on_vertex)
        }
        "countTokens" => {
            only(members, &["generateContentRequest"], "body")?;
            let request = required(members, "generateContentRequest", "body")?;
            let mut request = object(request, "generateContentRequest")?.clone();
            if request.remove("model") != Some(json!(format!("models/{}", call.model))) {
                return Err(wrong(
                    "generateContentRequest.model",
                    "is not that of the path",
                ));
            }
            refuse_generation(&request, &call.model, on_vertex)
        }
        _ => refuse_generation(members, &call.model, on_vertex),
    }
}

fn refuse_embedding(members: &Map<String, Value>, model: &str) -> Checked {
    only(
        members,
        &[
            "model",
            "content",
            "taskType",
            "title",
            "outputDimensionality",
        ],
        "body",
    )?;
    if let Some(named) = members.get("model")
        && named != &format!("models/{model}")
    {
        return Err(wrong("model", "is not the model of the path"));
    }
    number(members, "outputDimensionality", (1.0, 1e6), "body")?;
    let content = object(required(members, "content", "body")?, "content")?;
    only(content, &["parts", "role"], "content")?;
    for part in list(required(content, "parts", "content")?, "parts")? {
        text(required(object(part, "parts")?, "text", "parts")?, "text")?;
    }
    Ok(())
}

fn refuse_generation(members: &Map<String, Value>, model: &str, on_vertex: bool) -> Checked {
    only(
        members,
        &[
            "contents",
            "systemInstruction",
            "tools",
            "toolConfig",
            "safetySettings",
            "generationConfig",
            "cachedContent",
            "serviceTier",
        ],
        "body",
    )?;
    if let Some(instruction) = members.get("systemInstruction") {
        let at = "systemInstruction";
        let instruction = object(instruction, at)?;
        only(instruction, &["role", "parts"], at)?;
        for part in list(required(instruction, "parts", at)?, at)? {
            text(required(object(part, at)?, "text", at)?, at)?;
        }
    }
    refuse_contents(
        list(required(members, "contents", "body")?, "contents")?,
        model,
    )?;
    refuse_tools(members, on_vertex)?;
    members.get("generationConfig").map_or(Ok(()), |config| {
        refuse_config(object(config, "generationConfig")?, model)
    })
}

fn refuse_contents(contents: &[Value], model: &str) -> Checked {
    if contents.is_empty() {
        return Err(wrong("contents", "contents is not specified"));
    }
    // The functions that the turn before has called.
    let mut called: Vec<&str> = Vec::new();
    for (index, content) in contents.iter().enumerate() {
        let at = format!("contents[{index}]");
        let content = object(content, &at)?;
        only(content, &["role", "parts"], &at)?;
        let expected = ["user", "model"]
            .get(index % 2)
            .copied()
            .unwrap_or_default();
        if required(content, "role", &at)? != expected {
            return Err(wrong(
                &at,
                "roles must be user and model in turn, user first",
            ));
        }
        let parts = list(required(content, "parts", &at)?, &at)?;
        if parts.is_empty() {
            return Err(wrong(&at, "contents.parts must not be empty"));
        }
        let mut calls = Vec::new();
        let mut responses = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            let at = format!("{at}.parts[{number}]");
            refuse_part(part, expected, &at)?;
            let is_first = calls.is_empty();
            if let Some(call) = part.get("functionCall") {
                calls.extend(value_at(call, "/name").as_str());
                // https://ai.google.dev/gemini-api/docs/thought-signatures: the first call of each
                // step must have one.
                if is_first && has_signatures(model) && part.get("thoughtSignature").is_none() {
                    return Err(wrong(&at, "Function call is missing a thought_signature"));
                }
            }
            if let Some(response) = part.get("functionResponse") {
                responses.extend(value_at(response, "/name").as_str());
            }
        }
        if responses != called {
            let what = "the number of function response parts must equal the number of function \
                        call parts of the function call turn";
            return Err(wrong(&at, what));
        }
        called = calls;
    }
    Ok(())
}

/// From the third generation on.
fn has_signatures(model: &str) -> bool {
    !["gemini-1", "gemini-2"]
        .iter()
        .any(|it| model.starts_with(it))
}

fn refuse_part(part: &Value, role: &str, at: &str) -> Checked {
    let part = object(part, at)?;
    let datas = [
        "text",
        "inlineData",
        "fileData",
        "functionCall",
        "functionResponse",
    ];
    let mut known = vec!["thought", "thoughtSignature", "mediaResolution"];
    known.extend(datas);
    only(part, &known, at)?;
    let mut there = datas.iter().filter(|name| part.contains_key(**name));
    let (Some(kind), None) = (there.next(), there.next()) else {
        return Err(wrong(at, "must have one initialized field"));
    };
    let data = required(part, kind, at)?;
    match *kind {
        "text" => {
            let is_empty = text(data, at)?.is_empty();
            if is_empty && !part.contains_key("thoughtSignature") {
                return Err(wrong(
                    at,
                    "Unable to submit request because it has an empty text",
                ));
            }
        }
        "inlineData" => {
            let blob = object(data, at)?;
            only(blob, &["mimeType", "data"], at)?;
            text(required(blob, "mimeType", at)?, at)?;
            text(required(blob, "data", at)?, at)?;
        }
        "fileData" => {
            let file = object(data, at)?;
            only(file, &["mimeType", "fileUri"], at)?;
            text(required(file, "fileUri", at)?, at)?;
        }
        "functionCall" => {
            let call = object(data, at)?;
            only(call, &["id", "name", "args"], at)?;
            text(required(call, "name", at)?, at)?;
            if role != "model" {
                return Err(wrong(at, "a function is called by the model"));
            }
            if call.get("args").is_some_and(|args| !args.is_object()) {
                return Err(wrong(
                    &format!("{at}.function_call.args"),
                    "Struct expected",
                ));
            }
        }
        _ => {
            let response = object(data, at)?;
            only(response, &["id", "name", "response", "parts"], at)?;
            text(required(response, "name", at)?, at)?;
            if role != "user" {
                return Err(wrong(at, "a function's response is the user's"));
            }
            if !required(response, "response", at)?.is_object() {
                return Err(wrong(
                    &format!("{at}.function_response.response"),
                    "Struct expected",
                ));
            }
        }
    }
    Ok(())
}

fn refuse_tools(members: &Map<String, Value>, on_vertex: bool) -> Checked {
    let tools = members
        .get("tools")
        .map_or(Ok(&[][..]), |it| list(it, "tools"))?;
    let mut names = Vec::new();
    let mut has_built_in = false;
    for tool in tools {
        let tool = object(tool, "tools")?;
        only(tool, &["functionDeclarations", "googleSearch"], "tools")?;
        has_built_in |= tool.contains_key("googleSearch");
        if !tool.contains_key("functionDeclarations") {
            continue;
        }
        let at = "tools[0].functionDeclarations";
        for declaration in list(required(tool, "functionDeclarations", at)?, at)? {
            let declaration = object(declaration, at)?;
            only(
                declaration,
                &["name", "description", "parameters", "parametersJsonSchema"],
                at,
            )?;
            let name = text(required(declaration, "name", at)?, at)?;
            let is_plain = |it: char| it.is_ascii_alphanumeric() || "_-.:".contains(it);
            if !name.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_')
                || !name.chars().all(is_plain)
                || name.len() > 128
            {
                return Err(wrong(at, &format!("Invalid function name {name:?}")));
            }
            names.push(name);
            refuse_schemas(declaration, "parameters", "parametersJsonSchema", at)?;
        }
    }
    let at = "toolConfig";
    let config = members.get(at).map(|it| object(it, at)).transpose()?;
    let flag = config.and_then(|it| it.get("includeServerSideToolInvocations"));
    let is_mixed = has_built_in && !names.is_empty();
    if is_mixed && !on_vertex && flag != Some(&Value::Bool(true)) {
        return Err(wrong(
            at,
            "Please enable tool_config.include_server_side_tool_invocations to use Built-in tools \
             with Function calling",
        ));
    }
    if on_vertex && flag.is_some() {
        return Err(wrong(
            at,
            "Unknown name \"includeServerSideToolInvocations\"",
        ));
    }
    let Some(config) = config else {
        return Ok(());
    };
    let known = ["functionCallingConfig", "includeServerSideToolInvocations"];
    only(config, &known, at)?;
    let Some(config) = config.get("functionCallingConfig") else {
        return Ok(());
    };
    let config = object(config, at)?;
    only(config, &["mode", "allowedFunctionNames"], at)?;
    let mode = required(config, "mode", at)?.as_str();
    let Some(allowed) = config.get("allowedFunctionNames") else {
        return match mode {
            Some("AUTO") if flag.is_some() => Err(wrong(at, "AUTO is not supported here")),
            Some("AUTO" | "ANY" | "NONE") => Ok(()),
            _ => Err(wrong(at, "is none of the modes")),
        };
    };
    let exists = |name: &Value| name.as_str().is_some_and(|name| names.contains(&name));
    match matches!(mode, Some("ANY" | "VALIDATED")) && list(allowed, at)?.iter().all(exists) {
        true => Ok(()),
        false => Err(wrong(
            at,
            "allowed_function_names must be set with mode ANY, to declared names",
        )),
    }
}

fn refuse_config(config: &Map<String, Value>, model: &str) -> Checked {
    let at = "generationConfig";
    only(
        config,
        &[
            "candidateCount",
            "frequencyPenalty",
            "logprobs",
            "maxOutputTokens",
            "mediaResolution",
            "presencePenalty",
            "responseJsonSchema",
            "responseLogprobs",
            "responseMimeType",
            "responseSchema",
            "seed",
            "stopSequences",
            "temperature",
            "thinkingConfig",
            "topK",
            "topP",
        ],
        at,
    )?;
    for (name, range) in [
        ("candidateCount", (1.0, 8.0)),
        ("frequencyPenalty", (-2.0, 2.0)),
        ("logprobs", (0.0, 20.0)),
        ("maxOutputTokens", (1.0, 2e9)),
        ("presencePenalty", (-2.0, 2.0)),
        ("seed", (-2_147_483_648.0, 2_147_483_647.0)),
        ("temperature", (0.0, 2.0)),
        ("topP", (0.0, 1.0)),
    ] {
        number(config, name, range, at)?;
    }
    // > Penalty is not enabled for this model
    let is_old = ["gemini-1", "gemini-2.0"]
        .iter()
        .any(|it| model.starts_with(it));
    let is_before_3 = is_old || model.starts_with("gemini-2");
    if !is_old
        && (config.contains_key("presencePenalty") || config.contains_key("frequencyPenalty"))
    {
        return Err(wrong(at, "Penalty is not enabled for this model"));
    }
    if !is_before_3 && config.get("candidateCount").is_some_and(|it| it != 1) {
        return Err(wrong(
            at,
            "Multiple candidates is not enabled for this model",
        ));
    }
    if config.contains_key("logprobs") && config.get("responseLogprobs") != Some(&Value::Bool(true))
    {
        return Err(wrong(at, "logprobs is only valid with responseLogprobs"));
    }
    if let Some(stops) = config.get("stopSequences") {
        let stops = list(stops, at)?;
        if stops.len() > 5 || stops.iter().any(|it| it.as_str().is_none_or(str::is_empty)) {
            return Err(wrong(at, "stopSequences: at most 5, none of them empty"));
        }
    }
    refuse_schemas(config, "responseSchema", "responseJsonSchema", at)?;
    let has_schema =
        config.contains_key("responseSchema") || config.contains_key("responseJsonSchema");
    if has_schema && config.get("responseMimeType") != Some(&json!("application/json")) {
        return Err(wrong(
            at,
            "response_schema is only supported with application/json",
        ));
    }
    let Some(thinking) = config.get("thinkingConfig") else {
        return Ok(());
    };
    let at = "generationConfig.thinkingConfig";
    let thinking = object(thinking, at)?;
    only(
        thinking,
        &["includeThoughts", "thinkingBudget", "thinkingLevel"],
        at,
    )?;
    let (budget, level) = (
        thinking.get("thinkingBudget"),
        thinking.get("thinkingLevel"),
    );
    let asks =
        budget.is_some_and(|it| it != 0) || thinking.get("includeThoughts") == Some(&json!(true));
    if budget.is_some() && level.is_some() {
        return Err(wrong(at, "only one of budget and level can be set"));
    }
    if level.is_some() && model.starts_with("gemini-2") {
        return Err(wrong(at, "Thinking level is not supported for this model"));
    }
    if asks && (model.starts_with("gemini-1") || model.starts_with("gemini-2.0")) {
        return Err(wrong(
            at,
            "Unable to submit request because thinking is not supported",
        ));
    }
    if budget == Some(&json!(0)) && model.starts_with("gemini-2.5-pro") {
        return Err(wrong(
            at,
            "Budget 0 is invalid. This model only works in thinking mode",
        ));
    }
    match level.map(|it| it.as_str().unwrap_or_default()) {
        None | Some("MINIMAL" | "LOW" | "MEDIUM" | "HIGH") => Ok(()),
        Some("XHIGH") if model.contains("neon") || model.contains("hydrogen") => Ok(()),
        Some(_) => Err(wrong(at, "is none of the levels")),
    }
}

/// One schema in one of two vocabularies.
fn refuse_schemas(
    members: &Map<String, Value>,
    open_api: &str,
    json_schema: &str,
    at: &str,
) -> Checked {
    match (members.get(open_api), members.get(json_schema)) {
        (Some(_), Some(_)) => Err(wrong(at, "only one of the two schemas can be set")),
        (Some(schema), None) => refuse_open_api(schema, &format!("{at}.{open_api}")),
        (None, Some(schema)) => refuse_json_schema(schema, &format!("{at}.{json_schema}")),
        (None, None) => Ok(()),
    }
}

fn refuse_open_api(schema: &Value, at: &str) -> Checked {
    let schema = object(schema, at)?;
    if let Some(name) = schema
        .keys()
        .find(|name| !OPEN_API.contains(&name.as_str()))
    {
        let what = format!("Unknown name \"{name}\": Cannot find field.");
        return Err(wrong(
            "Invalid JSON payload received",
            &format!("{what} at '{at}'"),
        ));
    }
    let kind = match schema.get("type") {
        None => None,
        Some(kind) => Some(text(kind, at)?.to_ascii_lowercase()),
    };
    let kind = kind.as_deref();
    let is_known =
        |kind: &str| ["string", "number", "integer", "boolean", "array", "object"].contains(&kind);
    if !kind.is_some_and(is_known) && !schema.contains_key("anyOf") {
        return Err(wrong(at, "schema didn't specify the schema type field"));
    }
    if let Some(values) = schema.get("enum") {
        let values = list(values, at)?;
        if kind != Some("string")
            || values
                .iter()
                .any(|it| it.as_str().is_none_or(str::is_empty))
        {
            return Err(wrong(
                at,
                "enum: only allowed for STRING type, and not empty",
            ));
        }
    }
    let properties = schema
        .get("properties")
        .map(|it| object(it, at))
        .transpose()?;
    if kind == Some("object") && properties.is_none_or(Map::is_empty) {
        return Err(wrong(at, "properties: should be non-empty for OBJECT type"));
    }
    for name in ["required", "propertyOrdering"] {
        let names = schema.get(name).map_or(Ok(&[][..]), |it| list(it, at))?;
        let is_defined = |it: &Value| {
            it.as_str()
                .is_some_and(|it| properties.is_some_and(|all| all.contains_key(it)))
        };
        if !names.iter().all(is_defined) {
            return Err(wrong(at, &format!("{name}[0]: property is not defined")));
        }
    }
    if kind == Some("array") && !schema.contains_key("items") {
        return Err(wrong(at, "items: missing field"));
    }
    children(
        schema,
        &["items"],
        &["anyOf"],
        &["properties"],
        at,
        refuse_open_api,
    )
}

fn refuse_json_schema(schema: &Value, at: &str) -> Checked {
    if schema.is_boolean() {
        return Ok(());
    }
    let schema = object(schema, at)?;
    if let Some(name) = schema
        .keys()
        .find(|name| !JSON_SCHEMA.contains(&name.as_str()))
    {
        return Err(wrong(at, &format!("keyword \"{name}\" is not supported")));
    }
    let single = ["items", "additionalProperties"];
    let lists = ["anyOf", "oneOf", "prefixItems"];
    children(
        schema,
        &single,
        &lists,
        &["properties", "$defs"],
        at,
        refuse_json_schema,
    )
}

fn children(
    schema: &Map<String, Value>,
    single: &[&str],
    lists: &[&str],
    maps: &[&str],
    at: &str,
    refuse: fn(&Value, &str) -> Checked,
) -> Checked {
    for name in single {
        if let Some(child) = schema.get(*name) {
            refuse(child, &format!("{at}.{name}"))?;
        }
    }
    for name in lists {
        for child in schema.get(*name).map_or(Ok(&[][..]), |it| list(it, at))? {
            refuse(child, &format!("{at}.{name}"))?;
        }
    }
    for name in maps {
        if let Some(map) = schema.get(*name) {
            for (key, child) in object(map, at)? {
                refuse(child, &format!("{at}.{name}.{key}"))?;
            }
        }
    }
    Ok(())
}

/// What it answers: as the tests want it; else it repeats what was said last, or calls what it must.
pub fn answer(call: &Call, body: &Value, authority: &str, says: &Says) -> Answer {
    let values = || json!({"values": [0.25, -0.5, 1.0]});
    match call.method.as_str() {
        "countTokens" => return Answer::json(&json!({"totalTokens": 31})),
        "embedContent" => return Answer::json(&json!({"embedding": values()})),
        "batchEmbedContents" => {
            let count = value_at(body, "/requests").as_array().map_or(0, Vec::len);
            let all: Vec<Value> = (0..count).map(|_| values()).collect();
            return Answer::json(&json!({"embeddings": all}));
        }
        _ => {}
    }
    let said = value_at(body, "/contents")
        .as_array()
        .and_then(|it| it.last());
    let said = said.and_then(|it| it["parts"].as_array());
    let texts: Vec<&str> = said
        .into_iter()
        .flatten()
        .filter_map(|it| it["text"].as_str())
        .collect();
    let asked = answer::excerpt(&texts.join(" "));
    let calling = value_at(body, "/toolConfig/functionCallingConfig");
    let first = value_at(body, "/tools/0/functionDeclarations/0/name").as_str();
    let allowed = value_at(calling, "/allowedFunctionNames/0").as_str();
    let forced = (value_at(calling, "/mode") == "ANY")
        .then(|| allowed.or(first))
        .flatten();
    let is_json = value_at(body, "/generationConfig/responseMimeType") == "application/json";
    let wanted = match forced.or(first) {
        Some(name) if !is_json => Wanted::Call(name),
        _ => Wanted::Json,
    };
    let said = says.take(wanted).unwrap_or_else(|| match forced {
        Some(name) => Said::call("", name, json!({"input": asked})),
        None => {
            let text = answer::sentence("You said", &asked, &call.model, authority);
            Said::text(match is_json {
                true => json!({"answer": text}).to_string(),
                false => text,
            })
        }
    });
    let id = said.id("mock");
    let parts = parts(said, is_json, has_signatures(&call.model));
    let response = |parts: Vec<Value>, is_last: bool| {
        let mut candidate = json!({"content": {"role": "model", "parts": parts}, "index": 0});
        if is_last && let Some(members) = candidate.as_object_mut() {
            members.insert("finishReason".to_owned(), json!("STOP"));
        }
        json!({
            "candidates": [candidate],
            "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18},
            "modelVersion": call.model, "responseId": id,
        })
    };
    if call.method == "generateContent" {
        return Answer::json(&response(parts, true));
    }
    let count = parts.len();
    let event = |(index, part)| answer::event(None, &response(vec![part], index + 1 == count));
    Answer::events(parts.into_iter().enumerate().map(event).collect())
}

/// The prescribed reply as content parts. JSON is one part.
fn parts(said: Said, is_json: bool, is_signed: bool) -> Vec<Value> {
    let thinking = said.thinking.map(|it| json!({"text": it, "thought": true}));
    let mut parts: Vec<Value> = thinking.into_iter().collect();
    match said.text {
        Some(text) if is_json => parts.push(json!({"text": text})),
        text => parts.extend(
            text.iter()
                .flat_map(|it| it.split_inclusive(' '))
                .map(|piece| json!({"text": piece})),
        ),
    }
    let before = parts.len();
    parts.extend(
        said.calls
            .into_iter()
            .map(|(id, name, arguments)| match id.is_empty() {
                true => json!({"functionCall": {"name": name, "args": arguments}}),
                false => json!({"functionCall": {"id": id, "name": name, "args": arguments}}),
            }),
    );
    // The first call of a step is signed.
    if let Some(first) = parts.get_mut(before).and_then(Value::as_object_mut)
        && is_signed
    {
        first.insert("thoughtSignature".to_owned(), json!("c2lnbmVk"));
    }
    parts
}

const OPEN_API: &[&str] = &[
    "anyOf",
    "default",
    "description",
    "enum",
    "example",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "nullable",
    "pattern",
    "properties",
    "propertyOrdering",
    "required",
    "title",
    "type",
];

const JSON_SCHEMA: &[&str] = &[
    "$anchor",
    "$defs",
    "$id",
    "$ref",
    "additionalProperties",
    "anyOf",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maximum",
    "minItems",
    "minimum",
    "oneOf",
    "prefixItems",
    "properties",
    "propertyOrdering",
    "required",
    "title",
    "type",
];
