//! What a provider answers by itself, one place per operation.
//!
//! Answers are the same whenever the request is the same: ids and times are constants. Text echoes
//! enough of the request to see what arrived.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::operation::Operation;

use crate::payload::{Form, Object, check_model};
use crate::profile::{self, Head, Profile, Refusal};
use crate::says::{Said, Says, Wanted};

/// A request that was not refused so far.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Who answers.
    pub profile: &'a Profile,
    /// The request's head.
    pub head: Head<'a>,
    /// The request's body, all of it.
    pub body: &'a [u8],
    /// What the tests want a model to say.
    pub says: &'a Says,
}

/// What is sent back.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `None` without a body.
    pub content_type: Option<&'static str>,
    /// What follows the headers.
    pub body: Body,
}

/// A body at once or piece by piece.
#[derive(Debug)]
pub enum Body {
    /// Server-sent events, each sent on its own.
    Events(Vec<Bytes>),
    /// Everything, with its length.
    Whole(Bytes),
}

impl Answer {
    /// A whole body of JSON.
    pub fn json(value: &Value) -> Self {
        Self::bytes("application/json", value.to_string())
    }

    fn bytes(content_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            content_type: Some(content_type),
            body: Body::Whole(bytes.into()),
        }
    }

    /// A stream of events.
    pub fn events(events: Vec<Bytes>) -> Self {
        Self {
            status: 200,
            content_type: Some("text/event-stream"),
            body: Body::Events(events),
        }
    }
}

/// Answers `call`.
///
/// # Errors
///
/// If the body is not what the operation asks for.
pub fn answer(
    operation: &Operation,
    call: Call<'_>,
    files: &Files,
    request_id: u64,
) -> Result<Answer, Refusal> {
    match operation {
        Operation::AudioSpeech => audio_speech(call),
        Operation::AudioTranscriptions | Operation::AudioTranslations => audio_text(call),
        Operation::ChatCompletions => chat_completions(call),
        Operation::Completions => completions(call),
        Operation::Embeddings => embeddings(call),
        Operation::File(id) if call.head.method == "DELETE" => files.delete(id),
        Operation::File(id) => files.describe(id),
        Operation::FileContent(id) => files.content(id),
        Operation::Files if call.head.method == "GET" => Ok(files.list()),
        Operation::Files => files.upload(call, request_id),
        Operation::ImagesEdits | Operation::ImagesVariations => images_from_form(operation, call),
        Operation::ImagesGenerations => images_generations(call),
        Operation::Model(id) => model(call, id),
        Operation::Models => Ok(models(call)),
        Operation::Moderations => moderations(call),
        Operation::Rerank => rerank(call),
        Operation::Response(id) if call.head.method == "DELETE" => Ok(Answer::json(
            &json!({"id": id, "object": "response.deleted", "deleted": true}),
        )),
        Operation::Response(id) => Ok(Answer::json(&json!({
            "id": id, "object": "response", "created_at": CREATED, "status": "completed",
            "output": [],
        }))),
        Operation::Responses => responses(call),
    }
}

// === chat completions ===

#[derive(Deserialize)]
struct Message<'a> {
    role: String,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ContentPart<'a> {
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

fn chat_completions(call: Call<'_>) -> Result<Answer, Refusal> {
    let object = json_body(call)?;
    let model = object.model()?;
    call.profile.refuse_chat_member(object.names())?;
    refuse_old_limit(call, &object, &model)?;
    let stream = object.stream()?;
    let include_usage = include_usage(call, &object, stream)?;
    let messages: Vec<Message<'_>> = object
        .get("messages", "an array of objects")?
        .unwrap_or_default();
    let (Some(last), Some(raw)) = (messages.last(), object.raw("messages")) else {
        return Err(Refusal::member("messages", "'messages' must not be empty"));
    };
    for message in &messages {
        if !ROLES.contains(&message.role.as_str()) {
            let role = &message.role;
            return Err(Refusal::member(
                "messages",
                format!("unknown role '{role}'"),
            ));
        }
    }
    if call.profile.message_members.is_some() {
        let messages: Option<Vec<_>> = object.get("messages", "an array of objects")?;
        call.profile
            .refuse_message_members(&messages.unwrap_or_default())?;
    }
    let asked = messages
        .iter()
        .rfind(|message| message.role == "user")
        .unwrap_or(last);
    let text = match asked.content {
        Some(content) => text_of(content, "messages")?,
        None => String::new(),
    };
    let reply = chat_reply(call, &object, &model, &excerpt(&text))?;
    let choices = object
        .get::<u64>("n", "an integer")?
        .unwrap_or(1)
        .clamp(1, MAX_CHOICES);
    let usage = usage(raw.get().len(), length(&reply), choices);
    if stream {
        let usage = (include_usage || call.profile.usage_unasked).then_some(usage);
        return Ok(Answer::events(chat_events(
            call, &model, &reply, choices, usage,
        )));
    }
    let finish_reason = finish_reason(&reply);
    let mut message = json!({"role": "assistant", "content": reply.text});
    if let Some(members) = message.as_object_mut() {
        if let (Some(thinking), Some(name)) = (&reply.thinking, call.profile.thinking_member) {
            members.insert(name.to_owned(), json!(thinking));
        }
        match reply.calls.is_empty() {
            true => members.insert("refusal".to_owned(), Value::Null),
            false => {
                let calls = reply.calls.iter().map(|(id, name, arguments)| {
                    json!({
                        "id": id, "type": "function",
                        "function": {"name": name, "arguments": arguments.to_string()},
                    })
                });
                members.insert("tool_calls".to_owned(), calls.collect())
            }
        };
    }
    let choices: Vec<Value> = (0..choices)
        .map(|index| {
            json!({
                "index": index, "message": message, "logprobs": null,
                "finish_reason": finish_reason,
            })
        })
        .collect();
    Ok(Answer::json(&json!({
        "id": reply.id("chatcmpl-mock"),
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": choices,
        "usage": usage,
        "system_fingerprint": "fp_mock",
    })))
}

/// OpenAI's models that reason, and all since, know only the new name of the limit; and nobody says
/// both.
fn refuse_old_limit(call: Call<'_>, object: &Object<'_>, model: &str) -> Result<(), Refusal> {
    let says = |name| object.raw(name).is_some_and(|value| value.get() != "null");
    if !call.profile.insists_on_completion_tokens || !says("max_tokens") {
        return Ok(());
    }
    let insists = ["o1", "o3", "o4", "gpt-5"];
    if insists.iter().any(|family| model.starts_with(family)) {
        return Err(Refusal {
            kind: profile::Kind::UnsupportedMember,
            ..Refusal::member(
                "max_tokens",
                "Unsupported parameter: 'max_tokens' is not supported with this model. \
                 Use 'max_completion_tokens' instead.",
            )
        });
    }
    if says("max_completion_tokens") {
        return Err(Refusal::member(
            "max_tokens",
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
        ));
    }
    Ok(())
}

fn length(reply: &Said) -> usize {
    let text = reply.text.as_deref().map_or(0, str::len);
    let calls = reply
        .calls
        .iter()
        .map(|(.., arguments)| arguments.to_string().len());
    text + calls.sum::<usize>()
}

fn finish_reason(reply: &Said) -> &'static str {
    match reply.calls.is_empty() {
        true => "stop",
        false => "tool_calls",
    }
}

/// What the tests want; else a text, or a call of the tool that the request insists on.
fn chat_reply(
    call: Call<'_>,
    object: &Object<'_>,
    model: &str,
    asked: &str,
) -> Result<Said, Refusal> {
    let choice: Option<Value> = object.get("tool_choice", "a string or an object")?;
    let tools: Vec<Value> = object.get("tools", "an array")?.unwrap_or_default();
    let name_of = |tool: &Value| Some(tool.get("function")?.get("name")?.as_str()?.to_owned());
    let wanted = match &choice {
        Some(Value::String(word)) if matches!(word.as_str(), "any" | "required") => {
            tools.first().and_then(name_of)
        }
        Some(tool @ Value::Object(_)) => name_of(tool),
        _ => None,
    };
    let format: Option<Value> = object.get("response_format", "an object")?;
    let is_json = format
        .as_ref()
        .and_then(|format| format.get("type")?.as_str())
        .is_some_and(|kind| kind.starts_with("json"));
    let first = tools.first().and_then(name_of);
    let form = match wanted.as_ref().or(first.as_ref()) {
        Some(name) if !is_json => Wanted::Call(name),
        _ => Wanted::Json,
    };
    if let Some(said) = call.says.take(form) {
        return Ok(said);
    }
    if let Some(name) = wanted {
        return Ok(Said::call("call_mock", &name, json!({"input": asked})));
    }
    let text = sentence("You said", asked, model, call.head.authority);
    Ok(Said::text(if is_json {
        json!({"answer": text}).to_string()
    } else {
        text
    }))
}

fn chat_events(
    call: Call<'_>,
    model: &str,
    reply: &Said,
    choices: u64,
    usage: Option<Value>,
) -> Vec<Bytes> {
    let chunk = |choices: Value| {
        json!({
            "id": reply.id("chatcmpl-mock"), "object": "chat.completion.chunk", "created": CREATED,
            "model": model, "system_fingerprint": "fp_mock", "choices": choices,
        })
    };
    let mut events = Vec::new();
    if let Some(comment) = call.profile.stream_comment {
        events.push(Bytes::from(format!(": {comment}\n\n")));
    }
    for index in 0..choices {
        let mut push = |delta: Value, finish_reason: Value| {
            let choice = json!({
                "index": index, "delta": delta, "logprobs": null, "finish_reason": finish_reason,
            });
            events.push(event(None, &chunk(json!([choice]))));
        };
        push(
            json!({"role": "assistant", "content": if reply.text.is_some() { json!("") } else { Value::Null }}),
            Value::Null,
        );
        if let (Some(thinking), Some(name)) = (&reply.thinking, call.profile.thinking_member) {
            push(json!({name: thinking}), Value::Null);
        }
        for piece in reply.text.iter().flat_map(|it| it.split_inclusive(' ')) {
            push(json!({"content": piece}), Value::Null);
        }
        for (number, (id, name, arguments)) in reply.calls.iter().enumerate() {
            let first = json!({"tool_calls": [{
                "index": number, "id": id, "type": "function",
                "function": {"name": name, "arguments": ""},
            }]});
            push(first, Value::Null);
            for piece in arguments.to_string().split_inclusive([' ', ':']) {
                let call = json!({"index": number, "function": {"arguments": piece}});
                push(json!({"tool_calls": [call]}), Value::Null);
            }
        }
        push(json!({}), finish_reason(reply).into());
    }
    if let Some(usage) = usage {
        let mut last = chunk(json!([]));
        if let Some(members) = last.as_object_mut() {
            members.insert("usage".to_owned(), usage);
        }
        events.push(event(None, &last));
    }
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    events
}

/// Whether the usage is to follow the stream.
fn include_usage(call: Call<'_>, object: &Object<'_>, stream: bool) -> Result<bool, Refusal> {
    let options: Option<StreamOptions> = object.get("stream_options", "an object")?;
    let Some(options) = options else {
        return Ok(false);
    };
    if call.profile.shape == profile::Shape::OpenAi && !stream {
        return Err(Refusal::member(
            "stream_options",
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        ));
    }
    if options.include_usage.is_some() && call.profile.usage_unasked {
        return Err(Refusal {
            status: 422,
            kind: profile::Kind::UnknownMember,
            ..Refusal::member(
                "stream_options.include_usage",
                "Extra inputs are not permitted",
            )
        });
    }
    Ok(options.include_usage.unwrap_or(false))
}

// === completions ===

fn completions(call: Call<'_>) -> Result<Answer, Refusal> {
    let object = json_body(call)?;
    let model = object.model()?;
    let stream = object.stream()?;
    let include_usage = include_usage(call, &object, stream)?;
    let prompt = object
        .raw("prompt")
        .map_or(Ok(String::new()), |raw| text_of(raw, "prompt"))?;
    let text = sentence("You said", &excerpt(&prompt), &model, call.head.authority);
    let usage = usage(prompt.len(), text.len(), 1);
    let completion = |choices: Value| {
        json!({
            "id": "cmpl-mock", "object": "text_completion", "created": CREATED, "model": model,
            "choices": choices,
        })
    };
    let choice = |text: &str, finish_reason: Value| json!([{"text": text, "index": 0, "logprobs": null, "finish_reason": finish_reason}]);
    if !stream {
        let mut whole = completion(choice(&text, "stop".into()));
        if let Some(members) = whole.as_object_mut() {
            members.insert("usage".to_owned(), usage);
        }
        return Ok(Answer::json(&whole));
    }
    let mut events: Vec<Bytes> = text
        .split_inclusive(' ')
        .map(|piece| event(None, &completion(choice(piece, Value::Null))))
        .collect();
    events.push(event(None, &completion(choice("", "stop".into()))));
    if include_usage {
        let mut last = completion(json!([]));
        if let Some(members) = last.as_object_mut() {
            members.insert("usage".to_owned(), usage);
        }
        events.push(event(None, &last));
    }
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    Ok(Answer::events(events))
}

// === embeddings ===

fn embeddings(call: Call<'_>) -> Result<Answer, Refusal> {
    let object = json_body(call)?;
    let model = object.model()?;
    let inputs = match object.require::<Value>("input", "a string or an array")? {
        Value::Array(list) if list.is_empty() => {
            return Err(Refusal::member("input", "'input' must not be empty"));
        }
        // A list of numbers is one text, in tokens.
        Value::Array(list) if !list.iter().all(Value::is_number) => list,
        one => vec![one],
    };
    let dimensions = object
        .get::<usize>("dimensions", "an integer")?
        .unwrap_or(8);
    let dimensions = dimensions.clamp(1, MAX_DIMENSIONS);
    let format: Option<String> = object.get("encoding_format", "a string")?;
    let in_base64 = match format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => {
            return Err(Refusal::member(
                "encoding_format",
                "must be 'float' or 'base64'",
            ));
        }
    };
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let vector = vector(&input.to_string(), dimensions);
            let embedding = if in_base64 {
                let bytes: Vec<u8> = vector
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect();
                json!(STANDARD.encode(bytes))
            } else {
                json!(vector)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let tokens = tokens(call.body.len());
    Ok(Answer::json(&json!({
        "object": "list", "data": data, "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    })))
}

/// Numbers that depend on the text and that both encodings show exactly.
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    // FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>.
    let mut hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    std::iter::repeat_with(|| {
        hash = hash.wrapping_mul(0x0100_0193) ^ 0x5f;
        let [_, _, _, high] = hash.to_le_bytes();
        (f32::from(high) - 128.0) / 128.0
    })
    .take(dimensions)
    .collect()
}

// === models ===

fn models(call: Call<'_>) -> Answer {
    let data: Vec<Value> = call
        .profile
        .models
        .iter()
        .map(|id| model_object(call, id))
        .collect();
    Answer::json(&json!({"object": "list", "data": data}))
}

fn model(call: Call<'_>, id: &str) -> Result<Answer, Refusal> {
    let id = check_model(id.to_owned())?;
    Ok(Answer::json(&model_object(call, &id)))
}

fn model_object(call: Call<'_>, id: &str) -> Value {
    let owner = profile::host(call.head.authority);
    json!({"id": id, "object": "model", "created": CREATED, "owned_by": owner})
}

// === responses ===

fn responses(call: Call<'_>) -> Result<Answer, Refusal> {
    let object = json_body(call)?;
    let model = object.model()?;
    let stream = object.stream()?;
    let asked = match object.require::<Value>("input", "a string or an array")? {
        Value::String(text) => text,
        Value::Array(items) if !items.is_empty() => items
            .iter()
            .rev()
            .find_map(|item| item.get("content"))
            .map(plain_text)
            .unwrap_or_default(),
        _ => return Err(Refusal::member("input", "'input' must not be empty")),
    };
    let text = sentence("You said", &excerpt(&asked), &model, call.head.authority);
    let input_tokens = tokens(call.body.len());
    let output_tokens = tokens(text.len());
    let content = json!({"type": "output_text", "text": text, "annotations": []});
    let item = |status: &str, content: Value| {
        json!({
            "id": "msg_mock", "type": "message", "status": status, "role": "assistant",
            "content": content,
        })
    };
    let response = |status: &str, output: Value, usage: Value| {
        json!({
            "id": "resp_mock", "object": "response", "created_at": CREATED, "status": status,
            "model": model, "output": output, "error": null, "incomplete_details": null,
            "instructions": null, "metadata": {}, "parallel_tool_calls": true,
            "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0, "usage": usage,
        })
    };
    let whole = response(
        "completed",
        json!([item("completed", json!([content]))]),
        json!({
            "input_tokens": input_tokens, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": output_tokens, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input_tokens + output_tokens,
        }),
    );
    if !stream {
        return Ok(Answer::json(&whole));
    }
    let started = response("in_progress", json!([]), Value::Null);
    let empty = json!({"type": "output_text", "text": "", "annotations": []});
    let mut steps = vec![
        ("response.created", json!({"response": started})),
        ("response.in_progress", json!({"response": started})),
        (
            "response.output_item.added",
            json!({"output_index": 0, "item": item("in_progress", json!([]))}),
        ),
        (
            "response.content_part.added",
            json!({"item_id": "msg_mock", "output_index": 0, "content_index": 0, "part": empty}),
        ),
    ];
    steps.extend(text.split_inclusive(' ').map(|piece| {
        let delta = json!({
            "item_id": "msg_mock", "output_index": 0, "content_index": 0, "delta": piece,
            "logprobs": [],
        });
        ("response.output_text.delta", delta)
    }));
    steps.extend([
        (
            "response.output_text.done",
            json!({
                "item_id": "msg_mock", "output_index": 0, "content_index": 0, "text": text,
                "logprobs": [],
            }),
        ),
        (
            "response.content_part.done",
            json!({"item_id": "msg_mock", "output_index": 0, "content_index": 0, "part": content}),
        ),
        (
            "response.output_item.done",
            json!({"output_index": 0, "item": item("completed", json!([content]))}),
        ),
        ("response.completed", json!({"response": whole})),
    ]);
    let events = steps
        .into_iter()
        .enumerate()
        .map(|(number, (name, mut data))| {
            if let Some(members) = data.as_object_mut() {
                members.insert("type".to_owned(), name.into());
                members.insert("sequence_number".to_owned(), number.into());
            }
            event(Some(name), &data)
        })
        .collect();
    Ok(Answer::events(events))
}

// === moderations ===

fn moderations(call: Call<'_>) -> Result<Answer, Refusal> {
    let object = json_body(call)?;
    let model = match object.get::<String>("model", "a string")? {
        Some(model) => check_model(model)?,
        None => "omni-moderation-latest".to_owned(),
    };
    let results = match object.require::<Value>("input", "a string or an array")? {
        Value::Array(inputs) => inputs.len(),
        _ => 1,
    };
    let result = json!({
        "flagged": false,
        "categories": {"harassment": false, "hate": false, "violence": false},
        "category_scores": {"harassment": 0.0, "hate": 0.0, "violence": 0.0},
    });
    let results = vec![result; results];
    Ok(Answer::json(
        &json!({"id": "modr-mock", "model": model, "results": results}),
    ))
}

// === images ===

fn images_generations(call: Call<'_>) -> Result<Answer, Refusal> {
    let object = json_body(call)?;
    let model = object.model()?;
    let prompt: String = object.require("prompt", "a string")?;
    let count = object
        .get::<usize>("n", "an integer")?
        .unwrap_or(1)
        .clamp(1, MAX_IMAGES);
    Ok(images(
        &sentence(
            "A picture of",
            &excerpt(&prompt),
            &model,
            call.head.authority,
        ),
        count,
    ))
}

fn images_from_form(operation: &Operation, call: Call<'_>) -> Result<Answer, Refusal> {
    let form = form_body(call)?;
    // OpenAI's SDK calls the field `image[]` when there are several.
    form.require("image")
        .or_else(|refusal| form.require("image[]").map_err(|_also| refusal))?;
    if *operation == Operation::ImagesEdits {
        form.require("prompt")?;
    }
    let model = form
        .text("model")
        .map_or(Ok("dall-e-2".to_owned()), |m| check_model(m.into()))?;
    let prompt = form.text("prompt").unwrap_or_default();
    Ok(images(
        &sentence(
            "A picture of",
            &excerpt(&prompt),
            &model,
            call.head.authority,
        ),
        1,
    ))
}

fn images(prompt: &str, count: usize) -> Answer {
    let image = json!({"b64_json": ONE_PIXEL_PNG, "revised_prompt": prompt});
    Answer::json(&json!({"created": CREATED, "data": vec![image; count]}))
}

// === audio ===

fn audio_speech(call: Call<'_>) -> Result<Answer, Refusal> {
    let object = json_body(call)?;
    object.model()?;
    object.require::<String>("input", "a string")?;
    object.require::<Value>("voice", "a string")?;
    // Every byte value, so that anything that treats it as text breaks it.
    let mut bytes = b"ID3".to_vec();
    bytes.extend((0..16).flat_map(|_| 0..=u8::MAX));
    Ok(Answer::bytes("audio/mpeg", bytes))
}

fn audio_text(call: Call<'_>) -> Result<Answer, Refusal> {
    let form = form_body(call)?;
    let model = form.model()?;
    let file = form.require("file")?;
    let name = file
        .filename
        .as_deref()
        .ok_or_else(|| Refusal::member("file", "'file' must be a file"))?;
    let said = format!("{} bytes of {name}", file.content.len());
    let text = sentence("You recorded", &said, &model, call.head.authority);
    match form.text("response_format").as_deref() {
        Some("text") => Ok(Answer::bytes(
            "text/plain; charset=utf-8",
            format!("{text}\n"),
        )),
        _ => Ok(Answer::json(&json!({"text": text}))),
    }
}

// === rerank ===

fn rerank(call: Call<'_>) -> Result<Answer, Refusal> {
    let object = json_body(call)?;
    let model = object.model()?;
    object.require::<String>("query", "a string")?;
    let documents: Vec<Value> = object.require("documents", "an array")?;
    let top = object
        .get::<usize>("top_n", "an integer")?
        .unwrap_or(documents.len());
    let results: Vec<Value> = (0_u32..)
        .zip(&documents)
        .take(top)
        .map(|(index, document)| {
            let score = 1.0 / (f64::from(index) + 1.0);
            json!({"index": index, "relevance_score": score, "document": document})
        })
        .collect();
    Ok(Answer::json(&json!({
        "id": "rerank-mock", "object": "rerank", "model": model, "results": results,
        "usage": {"prompt_tokens": tokens(call.body.len()), "total_tokens": tokens(call.body.len())},
    })))
}

// === files ===

/// The files that were uploaded, of all providers together.
#[derive(Debug, Default)]
pub struct Files(Mutex<BTreeMap<String, File>>);

#[derive(Debug)]
struct File {
    filename: String,
    purpose: String,
    content: Bytes,
}

impl Files {
    /// Forgets all files.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn upload(&self, call: Call<'_>, request_id: u64) -> Result<Answer, Refusal> {
        let form = form_body(call)?;
        let part = form.require("file")?;
        let file = File {
            filename: part.filename.clone().unwrap_or_else(|| "upload".to_owned()),
            purpose: form
                .text("purpose")
                .ok_or_else(|| Refusal::member("purpose", "you must provide a purpose"))?
                .into_owned(),
            content: Bytes::copy_from_slice(part.content),
        };
        let id = format!("file-mock-{request_id}");
        let answer = Answer::json(&file.to_json(&id));
        let mut files = self.lock();
        if files.len() >= MAX_FILES {
            files.pop_first();
        }
        files.insert(id, file);
        Ok(answer)
    }

    fn list(&self) -> Answer {
        let files = self.lock();
        let data: Vec<Value> = files.iter().map(|(id, file)| file.to_json(id)).collect();
        Answer::json(&json!({"object": "list", "data": data, "has_more": false}))
    }

    fn describe(&self, id: &str) -> Result<Answer, Refusal> {
        self.lock()
            .get(id)
            .map(|file| Answer::json(&file.to_json(id)))
            .ok_or_else(|| no_file(id))
    }

    fn content(&self, id: &str) -> Result<Answer, Refusal> {
        self.lock()
            .get(id)
            .map(|file| Answer::bytes("application/octet-stream", file.content.clone()))
            .ok_or_else(|| no_file(id))
    }

    fn delete(&self, id: &str) -> Result<Answer, Refusal> {
        self.lock().remove(id).ok_or_else(|| no_file(id))?;
        Ok(Answer::json(
            &json!({"id": id, "object": "file", "deleted": true}),
        ))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, File>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File {
    fn to_json(&self, id: &str) -> Value {
        json!({
            "id": id, "object": "file", "bytes": self.content.len(), "created_at": CREATED,
            "filename": self.filename, "purpose": self.purpose, "status": "processed",
        })
    }
}

fn no_file(id: &str) -> Refusal {
    Refusal {
        param: Some("id".to_owned()),
        ..Refusal::not_found(format!("No such File: {id}"))
    }
}

// === what they share ===

fn json_body<'a>(call: Call<'a>) -> Result<Object<'a>, Refusal> {
    let content_type = call.head.values("content-type").next().unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::request(format!(
            "Unsupported content type: '{content_type}'"
        )));
    }
    Object::parse(call.body)
}

fn form_body<'a>(call: Call<'a>) -> Result<Form<'a>, Refusal> {
    Form::parse(
        call.head.values("content-type").next().unwrap_or_default(),
        call.body,
    )
}

/// One event of a stream.
pub fn event(name: Option<&str>, data: &Value) -> Bytes {
    Bytes::from(match name {
        Some(name) => format!("event: {name}\ndata: {data}\n\n"),
        None => format!("data: {data}\n\n"),
    })
}

/// What is said of what was asked.
pub fn sentence(verb: &str, what: &str, model: &str, authority: &str) -> String {
    let host = profile::host(authority);
    format!("{verb}: {what} (mock provider, model {model}, host {host})")
}

/// The text of a string, of a list of content parts, or of a list of strings.
fn text_of(raw: &RawValue, name: &str) -> Result<String, Refusal> {
    let wrong = |_wrong| Refusal::member(name, format!("'{name}' holds what is not text"));
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'n') => String::new(),
        Some(b'[') if call_for_parts(text) => {
            let parts: Vec<ContentPart<'_>> = serde_json::from_str(text).map_err(wrong)?;
            let texts: Vec<Cow<'_, str>> = parts.into_iter().filter_map(|part| part.text).collect();
            texts.join(" ")
        }
        Some(b'[') => plain_text(&serde_json::from_str(text).map_err(wrong)?),
        _ => serde_json::from_str(text).map_err(wrong)?,
    })
}

/// Is the first element of this list an object?
fn call_for_parts(list: &str) -> bool {
    list.trim_start_matches(['[', ' ', '\t', '\r', '\n'])
        .starts_with('{')
}

fn plain_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain_text).collect::<Vec<_>>().join(" "),
        Value::Object(members) => members.get("text").map(plain_text).unwrap_or_default(),
        other => other.to_string(),
    }
}

/// The beginning of a text, on one line.
pub fn excerpt(text: &str) -> String {
    let mut excerpt: String = text.chars().take(MAX_EXCERPT_CHARS).collect();
    if excerpt.len() < text.len() {
        excerpt.push('…');
    }
    excerpt.replace(['\n', '\r'], " ")
}

/// About four bytes make a token. What counts is that the same request gives the same figure.
fn tokens(bytes: usize) -> usize {
    bytes.div_ceil(4)
}

fn usage(prompt_bytes: usize, completion_bytes: usize, choices: u64) -> Value {
    let prompt = tokens(prompt_bytes);
    let completion = tokens(completion_bytes) * usize::try_from(choices).unwrap_or(1);
    json!({
        "prompt_tokens": prompt, "completion_tokens": completion,
        "total_tokens": prompt + completion,
    })
}

/// 2023-11-14T22:13:20Z, when everything here was created.
const CREATED: u64 = 1_700_000_000;

const ROLES: [&str; 6] = [
    "assistant",
    "developer",
    "function",
    "system",
    "tool",
    "user",
];

const MAX_CHOICES: u64 = 128;
const MAX_DIMENSIONS: usize = 4096;
const MAX_EXCERPT_CHARS: usize = 200;
const MAX_FILES: usize = 64;
const MAX_IMAGES: usize = 10;

const ONE_PIXEL_PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
