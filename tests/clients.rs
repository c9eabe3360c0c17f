//! One contract for every client API, on every dialect, natively and as wasm.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking"
)]

#[macro_use]
#[path = "support/both_ways.rs"]
mod both_ways;

use llm_proxy::api::messages::Messages;
use llm_proxy::api::openai::OpenAi as ChatCompletions;
use llm_proxy::api::responses::Responses;
use llm_proxy::api::{ClientApi, Stamp};
use llm_proxy::chat::CallStyle;
use llm_proxy::failure::Failure;
use llm_proxy::provider::anthropic::Anthropic;
use llm_proxy::provider::dialect::{Dialect, Options};
use llm_proxy::provider::gemini::Gemini;
use llm_proxy::provider::openai::OpenAi;
use llm_proxy::relay::Relay;
use serde_json::{Value, json};

const STAMP: Stamp = Stamp {
    created: 1_763_700_000,
    nonce: 0xabc,
    calls: CallStyle::All,
};

/// A client API: a request in its words, and how its replies are read.
struct Client {
    api: &'static dyn ClientApi,
    /// Every role, a call and its result with an image, a document, and the usual parameters.
    request: &'static str,
    /// What a client puts together from a whole reply.
    whole: fn(&Value) -> Answer,
    /// The same from the events of a stream.
    streamed: fn(&str) -> Answer,
    /// What the event says that ends a broken stream, of its JSON pointers.
    error_message: &'static str,
}

/// A provider: one reply in its words, whole and as a stream.
struct Provider {
    name: &'static str,
    dialect: &'static dyn Dialect,
    reply: &'static str,
    stream: &'static str,
    error: &'static str,
}

/// What an answer says, whatever the API.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    thinking: String,
    text: String,
    /// Name and arguments.
    calls: Vec<(String, Value)>,
    ends_with_call: bool,
    input_tokens: u64,
    cached_tokens: u64,
    output_tokens: u64,
}

const MESSAGES_REQUEST: &str = r#"{
    "max_tokens":100,"messages":[
      {"role":"user","content":[{"type":"text","text":"u1","cache_control":{"type":"ephemeral"}},
        {"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}},
        {"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0="}}]},
      {"role":"assistant","content":[{"type":"thinking","thinking":"t1","signature":"S"},
        {"type":"text","text":"a1"},
        {"type":"tool_use","id":"c1","name":"f","input":{"x":1}}]},
      {"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":[
          {"type":"text","text":"r1"}]},
        {"type":"text","text":"u2"}]}],
    "model":"m","system":[{"type":"text","text":"s1"},{"type":"text","text":"s2"}],
    "metadata":{"user_id":"Ann"},"temperature":0.5,"stop_sequences":["END"],"stream":true,
    "tools":[{"name":"f","description":"d1","input_schema":{"type":"object","properties":
      {"x":{"type":"integer"}}}}],
    "tool_choice":{"type":"auto","disable_parallel_tool_use":true}}"#;

const CHAT_REQUEST: &str = r#"{"model":"m","messages":[
      {"role":"system","content":"s1"},{"role":"developer","content":"s2"},
      {"role":"user","content":[{"type":"text","text":"u1"},
        {"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}},
        {"type":"file","file":{"filename":"d.pdf","file_data":"data:application/pdf;base64,JVBERi0="}}]},
      {"role":"assistant","content":"a1","tool_calls":[
        {"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},
      {"role":"tool","tool_call_id":"c1","content":"r1"},
      {"role":"user","content":"u2"}],
    "max_tokens":100,"temperature":0.5,"stop":["END"],"stream":true,"user":"Ann",
    "parallel_tool_calls":false,"tool_choice":"auto",
    "stream_options":{"include_usage":true},
    "tools":[{"type":"function","function":{"name":"f","description":"d1","parameters":
      {"type":"object","properties":{"x":{"type":"integer"}}}}}]}"#;

const RESPONSES_REQUEST: &str = r#"{"model":"m","instructions":"s1","input":[
      {"role":"developer","content":"s2"},
      {"role":"user","content":[{"type":"input_text","text":"u1"},
        {"type":"input_image","detail":"auto","image_url":"data:image/png;base64,iVBORw0KGgo="},
        {"type":"input_file","filename":"d.pdf","file_data":"data:application/pdf;base64,JVBERi0="}]},
      {"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"t1"}],
       "encrypted_content":null,"content":null},
      {"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[
        {"type":"output_text","text":"a1","annotations":[],"logprobs":[]}]},
      {"type":"function_call","id":"fc_1","call_id":"c1","name":"f","arguments":"{\"x\":1}",
       "status":"completed"},
      {"type":"function_call_output","call_id":"c1","output":"r1"},
      {"type":"message","role":"user","content":"u2"}],
    "max_output_tokens":100,"temperature":0.5,"stream":true,"user":"Ann","store":false,
    "include":["reasoning.encrypted_content"],"parallel_tool_calls":false,"tool_choice":"auto",
    "tools":[{"type":"function","name":"f","description":"d1","strict":false,"parameters":
      {"type":"object","properties":{"x":{"type":"integer"}}}},{"type":"web_search"}]}"#;

const CLIENTS: [Client; 3] = [
    Client {
        api: &Messages,
        request: MESSAGES_REQUEST,
        whole: message,
        streamed: message_of_events,
        error_message: "/error/message",
    },
    Client {
        api: &ChatCompletions,
        request: CHAT_REQUEST,
        whole: completion,
        streamed: completion_of_chunks,
        error_message: "/error/message",
    },
    Client {
        api: &Responses,
        request: RESPONSES_REQUEST,
        whole: response,
        streamed: response_of_events,
        error_message: "/response/error/message",
    },
];

const PROVIDERS: [Provider; 3] = [
    Provider {
        name: "openai",
        dialect: &OpenAi,
        reply: r#"{"id":"i","object":"chat.completion","model":"m","choices":[{"index":0,"message":{
            "role":"assistant","content":"Hallo 🦀","refusal":null,"reasoning_content":"Let me see.",
            "tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\": 1}"}},
              {"id":"c2","type":"function","function":{"name":"g","arguments":""}}]},
            "finish_reason":"tool_calls"}],"usage":{"prompt_tokens":43,"completion_tokens":9,
            "total_tokens":52,"prompt_tokens_details":{"cached_tokens":12}}}"#,
        stream: r#"data: {"id":"i","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}

data: {"id":"i","model":"m","choices":[{"index":0,"delta":{"reasoning_content":"Let me "}}]}

: OPENROUTER PROCESSING

data: {"id":"i","model":"m","choices":[{"index":0,"delta":{"reasoning":"see."}}]}

data: {"id":"i","model":"m","choices":[{"index":0,"delta":{"content":"Hallo "}}]}

data: {"id":"i","model":"m","choices":[{"index":0,"delta":{"content":"🦀","tool_calls":null}}]}

data: {"id":"i","model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f","arguments":""}}]}}]}

data: {"id":"i","model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":"}}]}}]}

data: {"id":"i","model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":" 1}"}}]}}]}

data: {"id":"i","model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"c2","function":{"name":"g","arguments":""}}]}}]}

data: {"id":"i","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}

data: {"id":"i","model":"m","choices":[],"usage":{"prompt_tokens":43,"completion_tokens":9,"total_tokens":52,"prompt_tokens_details":{"cached_tokens":12}}}

data: [DONE]

"#,
        error: r#"{"error":{"message":"Slow down.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
    },
    Provider {
        name: "anthropic",
        dialect: &const { Anthropic::new() },
        reply: r#"{"type":"message","id":"i","model":"m","role":"assistant","content":[
            {"type":"thinking","thinking":"Let me see.","signature":"S"},
            {"type":"text","text":"Hallo 🦀"},
            {"type":"tool_use","id":"c1","name":"f","input":{"x":1}},
            {"type":"tool_use","id":"c2","name":"g","input":{}}],"stop_reason":"tool_use",
            "usage":{"input_tokens":31,"cache_read_input_tokens":12,"output_tokens":9}}"#,
        stream: r#"event: message_start
data: {"type":"message_start","message":{"id":"i","model":"m","usage":{"input_tokens":31,"cache_read_input_tokens":12,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Let me see."}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hallo 🦀"}}

event: ping
data: {"type":"ping"}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"c1","name":"f","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"x\":1}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: content_block_start
data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"c2","name":"g","input":{}}}

event: content_block_stop
data: {"type":"content_block_stop","index":3}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}

event: message_stop
data: {"type":"message_stop"}

"#,
        error: r#"{"type":"error","error":{"type":"rate_limit_error","message":"Slow down."}}"#,
    },
    Provider {
        name: "gemini",
        dialect: &Gemini,
        reply: r#"{"responseId":"i","modelVersion":"m","candidates":[{"content":{"parts":[
            {"text":"Let me see.","thought":true},{"text":"Hallo 🦀"},
            {"functionCall":{"name":"f","args":{"x":1}},"thoughtSignature":"G"},
            {"functionCall":{"name":"g"}}]},"finishReason":"STOP"}],"usageMetadata":{
            "promptTokenCount":43,"cachedContentTokenCount":12,"candidatesTokenCount":9,
            "totalTokenCount":52}}"#,
        stream: r#"data: {"responseId":"i","modelVersion":"m","candidates":[{"content":{"parts":[{"text":"Let me see.","thought":true}]}}]}

data: {"candidates":[{"content":{"parts":[{"text":"Hallo 🦀"}]}}]}

data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"x":1}},"thoughtSignature":"G"},{"functionCall":{"name":"g"}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":43,"cachedContentTokenCount":12,"candidatesTokenCount":9,"totalTokenCount":52}}

"#,
        error: r#"{"error":{"code":429,"message":"Slow down.","status":"RESOURCE_EXHAUSTED"}}"#,
    },
];

/// What every provider above says.
fn expected() -> Answer {
    Answer {
        thinking: "Let me see.".to_owned(),
        text: "Hallo 🦀".to_owned(),
        calls: vec![
            ("f".to_owned(), json!({"x": 1})),
            ("g".to_owned(), json!({})),
        ],
        ends_with_call: true,
        input_tokens: 31,
        cached_tokens: 12,
        output_tokens: 9,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn message(message: &Value) -> Answer {
    assert_eq!(message["type"], "message");
    let mut answer = Answer::default();
    let mut ids = Vec::new();
    for block in message["content"].as_array().unwrap() {
        match block["type"].as_str().unwrap() {
            "text" => answer.text += &text(&block["text"]),
            "thinking" => {
                assert!(block["signature"].is_string());
                answer.thinking += &text(&block["thinking"]);
            }
            "redacted_thinking" => assert!(!text(&block["data"]).is_empty()),
            "tool_use" => {
                ids.push(text(&block["id"]));
                let call = (text(&block["name"]), block["input"].clone());
                answer.calls.push(call);
            }
            other => panic!("{other}"),
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert!(ids.len() == count && ids.iter().all(|id| !id.is_empty()));
    answer.ends_with_call = message["stop_reason"] == "tool_use";
    let usage = &message["usage"];
    answer.input_tokens = usage["input_tokens"].as_u64().unwrap();
    answer.cached_tokens = usage["cache_read_input_tokens"].as_u64().unwrap();
    answer.output_tokens = usage["output_tokens"].as_u64().unwrap();
    answer
}

/// Puts a message together as the official SDK does.
fn message_of_events(stream: &str) -> Answer {
    let mut whole = Value::Null;
    let mut inputs: Vec<String> = Vec::new();
    let mut is_over = false;
    for event in stream.split("\n\n").filter(|it| it.starts_with("event: ")) {
        let (name, data) = event.split_once("\ndata: ").expect(event);
        let data: Value = serde_json::from_str(data).expect(data);
        assert_eq!(&name[7..], data["type"], "{event}");
        assert!(!is_over, "{event} after the end");
        let index = data["index"]
            .as_u64()
            .map(|it| usize::try_from(it).unwrap());
        match &name[7..] {
            "message_start" => whole = data["message"].clone(),
            "content_block_start" => {
                let blocks = whole["content"].as_array_mut().unwrap();
                assert_eq!(index, Some(blocks.len()));
                blocks.push(data["content_block"].clone());
                inputs.push(String::new());
            }
            "content_block_delta" => {
                let index = index.unwrap();
                let delta = &data["delta"];
                let (member, more) = match delta["type"].as_str().unwrap() {
                    "text_delta" => ("text", &delta["text"]),
                    "thinking_delta" => ("thinking", &delta["thinking"]),
                    "signature_delta" => ("signature", &delta["signature"]),
                    "input_json_delta" => {
                        inputs[index] += delta["partial_json"].as_str().unwrap();
                        continue;
                    }
                    other => panic!("{other}"),
                };
                let block = &mut whole["content"][index][member];
                *block = Value::from(text(block) + more.as_str().unwrap());
            }
            "content_block_stop" => {
                let index = index.unwrap();
                if whole["content"][index]["type"] == "tool_use" {
                    let input: Value = serde_json::from_str(&inputs[index]).expect("an input");
                    whole["content"][index]["input"] = input;
                }
            }
            "message_delta" => {
                whole["stop_reason"] = data["delta"]["stop_reason"].clone();
                whole["usage"] = data["usage"].clone();
            }
            "message_stop" => is_over = true,
            "ping" => {}
            other => panic!("{other}"),
        }
    }
    assert!(is_over, "{stream}");
    message(&whole)
}

fn completion(reply: &Value) -> Answer {
    assert_eq!(reply["object"], "chat.completion");
    let choice = &reply["choices"][0];
    let message = &choice["message"];
    let usage = &reply["usage"];
    let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64();
    let cached = cached.unwrap_or_default();
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    Answer {
        thinking: text(&message["reasoning_content"]),
        text: text(&message["content"]),
        calls: calls
            .map(|call| {
                let function = &call["function"];
                let arguments = function["arguments"].as_str().unwrap();
                let arguments = serde_json::from_str(arguments).expect(arguments);
                (text(&function["name"]), arguments)
            })
            .collect(),
        ends_with_call: choice["finish_reason"] == "tool_calls",
        input_tokens: usage["prompt_tokens"].as_u64().unwrap() - cached,
        cached_tokens: cached,
        output_tokens: usage["completion_tokens"].as_u64().unwrap(),
    }
}

fn completion_of_chunks(stream: &str) -> Answer {
    let mut whole =
        json!({"object": "chat.completion", "choices": [{"message": {"tool_calls": []}}]});
    let data = stream
        .split("\n\n")
        .filter_map(|it| it.strip_prefix("data: "));
    for chunk in data.filter(|it| *it != "[DONE]") {
        let chunk: Value = serde_json::from_str(chunk).expect(chunk);
        if chunk["usage"].is_object() {
            whole["usage"] = chunk["usage"].clone();
        }
        let choice = &chunk["choices"][0];
        if !choice["finish_reason"].is_null() {
            whole["choices"][0]["finish_reason"] = choice["finish_reason"].clone();
        }
        let message = &mut whole["choices"][0]["message"];
        for member in ["content", "reasoning_content"] {
            let more = text(&message[member]) + &text(&choice["delta"][member]);
            message[member] = Value::from(more);
        }
        for call in choice["delta"]["tool_calls"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            let calls = message["tool_calls"].as_array_mut().unwrap();
            if index == calls.len() {
                calls.push(call.clone());
                continue;
            }
            let arguments = &mut calls[index]["function"]["arguments"];
            let more = text(&call["function"]["arguments"]);
            *arguments = Value::from(text(arguments) + &more);
        }
    }
    assert!(stream.ends_with("data: [DONE]\n\n"));
    completion(&whole)
}

fn response(response: &Value) -> Answer {
    assert_eq!(response["object"], "response");
    let mut answer = Answer::default();
    let mut ids = Vec::new();
    for item in response["output"].as_array().unwrap() {
        ids.push(text(&item["id"]));
        match item["type"].as_str().unwrap() {
            "reasoning" => {
                for part in item["summary"].as_array().unwrap() {
                    assert_eq!(part["type"], "summary_text");
                    answer.thinking += &text(&part["text"]);
                }
            }
            "message" => {
                assert_eq!(
                    (&item["role"], &item["status"]),
                    (&json!("assistant"), &json!("completed"))
                );
                for part in item["content"].as_array().unwrap() {
                    assert_eq!(part["type"], "output_text");
                    assert!(part["annotations"].is_array() && part["logprobs"].is_array());
                    answer.text += &text(&part["text"]);
                }
            }
            "function_call" => {
                assert!(!text(&item["call_id"]).is_empty());
                let arguments = item["arguments"].as_str().unwrap();
                let arguments = serde_json::from_str(arguments).expect(arguments);
                answer.calls.push((text(&item["name"]), arguments));
            }
            other => panic!("{other}"),
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert!(ids.len() == count && ids.iter().all(|id| !id.is_empty()));
    assert_eq!(response["status"], "completed");
    answer.ends_with_call = !answer.calls.is_empty();
    let usage = &response["usage"];
    answer.cached_tokens = usage["input_tokens_details"]["cached_tokens"]
        .as_u64()
        .unwrap();
    answer.input_tokens = usage["input_tokens"].as_u64().unwrap() - answer.cached_tokens;
    answer.output_tokens = usage["output_tokens"].as_u64().unwrap();
    answer
}

/// Puts a response together from its deltas, and compares each part with what says that it is done.
fn response_of_events(stream: &str) -> Answer {
    let mut output: Vec<Value> = Vec::new();
    let mut completed = Value::Null;
    let events = stream.split("\n\n").filter(|it| it.starts_with("event: "));
    for (number, event) in events.enumerate() {
        let (name, data) = event.split_once("\ndata: ").expect(event);
        let data: Value = serde_json::from_str(data).expect(data);
        assert_eq!(&name[7..], data["type"], "{event}");
        assert_eq!(data["sequence_number"], number, "{event}");
        assert!(completed.is_null(), "{event} after the end");
        let index = data["output_index"].as_u64();
        let index = index.map_or(0, |it| usize::try_from(it).unwrap());
        if let Some(id) = data.get("item_id") {
            assert_eq!(*id, output[index]["id"]);
        }
        let more = data["delta"].as_str().unwrap_or_default();
        let add = |value: &mut Value| *value = Value::from(text(value) + more);
        match &name[7..] {
            "response.created" | "response.in_progress" => {
                assert_eq!(data["response"]["status"], "in_progress");
            }
            "response.output_item.added" => {
                assert_eq!(index, output.len());
                output.push(data["item"].clone());
            }
            "response.content_part.added" => {
                let parts = output[index]["content"].as_array_mut().unwrap();
                assert_eq!(data["content_index"], parts.len());
                parts.push(data["part"].clone());
            }
            "response.reasoning_summary_part.added" => {
                let parts = output[index]["summary"].as_array_mut().unwrap();
                assert_eq!(data["summary_index"], parts.len());
                parts.push(data["part"].clone());
            }
            "response.output_text.delta" => add(&mut output[index]["content"][0]["text"]),
            "response.reasoning_summary_text.delta" => {
                add(&mut output[index]["summary"][0]["text"]);
            }
            "response.function_call_arguments.delta" => add(&mut output[index]["arguments"]),
            "response.output_text.done" => {
                assert_eq!(data["text"], output[index]["content"][0]["text"]);
            }
            "response.content_part.done" => {
                assert_eq!(data["part"], output[index]["content"][0]);
            }
            "response.reasoning_summary_text.done" => {
                assert_eq!(data["text"], output[index]["summary"][0]["text"]);
            }
            "response.reasoning_summary_part.done" => {
                assert_eq!(data["part"], output[index]["summary"][0]);
            }
            "response.function_call_arguments.done" => {
                output[index]["arguments"] = data["arguments"].clone();
            }
            "response.output_item.done" => {
                for member in ["status", "encrypted_content"] {
                    if let Some(value) = data["item"].get(member) {
                        output[index][member] = value.clone();
                    }
                }
                assert_eq!(data["item"], output[index]);
            }
            "response.completed" => completed = data["response"].clone(),
            other => panic!("{other}"),
        }
    }
    assert_eq!(completed["output"], Value::from(output), "{stream}");
    response(&completed)
}

fn relayed(client: &Client, provider: &Provider, chunks: &[&[u8]]) -> String {
    let request = client
        .api
        .read(client.request.as_bytes())
        .expect("a request");
    let writer = client.api.reply_writer(&request, client.request.as_bytes());
    let stream = provider.dialect.stream(1 << 20);
    let mut relay = Relay::new(stream, writer.stream(STAMP), usize::MAX);
    let mut out = Vec::new();
    for chunk in chunks {
        relay.push(chunk, &mut out);
    }
    relay.finish(&mut out);
    assert!(relay.is_finished());
    String::from_utf8(out).expect("text")
}

fn each_pair(check: impl Fn(&Client, &Provider)) {
    for client in &CLIENTS {
        for provider in &PROVIDERS {
            check(client, provider);
        }
    }
}

tests! {
    fn every_role_turn_and_part_reaches_every_provider() {
        each_pair(|client, provider| {
            let request = client.api.read(client.request.as_bytes()).expect("a request");
            let options = Options::default();
            let encoded = provider.dialect.encode(&request, &options).expect(provider.name);
            let body = String::from_utf8(encoded.body).unwrap();
            for said in [
                "s1", "s2", "u1", "iVBORw0KGgo=", "JVBERi0=", "a1", "\"f\"", "d1", "integer", "r1",
                "u2", "END", "0.5", "100",
            ] {
                // Not every API has it.
                if !client.request.contains(said) {
                    continue;
                }
                assert!(body.contains(said), "{}: {said} is lost: {body}", provider.name);
            }
            let places = ["u1", "a1", "r1", "u2"].map(|said| body.find(said).unwrap());
            assert!(places.is_sorted(), "{body}");
            let sent: Value = serde_json::from_str(&body).expect(&body);
            assert!(sent.is_object());
        });
    }

    fn every_reply_says_the_same_in_every_api() {
        each_pair(|client, provider| {
            let request = client.api.read(client.request.as_bytes()).expect("a request");
            let writer = client.api.reply_writer(&request, client.request.as_bytes());
            let body = provider.reply.as_bytes();
            let reply = provider.dialect.decode(body).expect(provider.name);
            let written = writer.write(&reply, STAMP, body.len(), usize::MAX).unwrap();
            for limit in [written.len() - 1, 10] {
                assert!(writer.write(&reply, STAMP, 0, limit).is_err());
            }
            let written: Value = serde_json::from_slice(&written).expect("JSON");
            assert_eq!((client.whole)(&written), expected(), "{}", provider.name);
        });
    }

    fn every_stream_says_the_same_however_it_is_cut() {
        each_pair(|client, provider| {
            let bytes = provider.stream.as_bytes();
            let whole = relayed(client, provider, &[bytes]);
            assert_eq!((client.streamed)(&whole), expected(), "{}", provider.name);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(relayed(client, provider, &single), whole, "by bytes");
            for at in (0..=bytes.len()).step_by(7) {
                let (a, b) = bytes.split_at(at);
                assert_eq!(relayed(client, provider, &[a, b]), whole, "at {at}");
            }
        });
    }

    fn a_stream_that_is_cut_ends_with_an_error_of_the_api() {
        each_pair(|client, provider| {
            let bytes = provider.stream.as_bytes();
            let cut = relayed(client, provider, &[&bytes[..bytes.len() / 2]]);
            let last = cut.trim_end().rsplit("data: ").next().unwrap();
            let error: Value = serde_json::from_str(last).expect(last);
            let message = error.pointer(client.error_message);
            assert!(message.is_some_and(Value::is_string), "{cut}");
            for end in ["[DONE]", "message_stop", "response.completed"] {
                assert!(!cut.contains(end), "{cut}");
            }
        });
    }

    fn errors_have_the_shape_of_the_api() {
        each_pair(|client, provider| {
            let failure = provider.dialect.error(429, provider.error.as_bytes());
            let error: Value = serde_json::from_str(&client.api.error(&failure)).unwrap();
            assert_eq!(error["error"]["message"], "Slow down.", "{}", provider.name);
        });
        for client in &CLIENTS {
            let own = client.api.error(&Failure::new(429, "Slow down."));
            assert_eq!(client.api.reshape_error(429, own.as_bytes()), None);
            assert!(client.api.is_error_beginning(own.as_bytes()));
            let reshaped = client.api.reshape_error(429, b"Slow down.").unwrap();
            assert_eq!(reshaped, own);
        }
    }
}
