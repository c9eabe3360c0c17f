//! One contract for every dialect, natively and as wasm; and goldens beside their inputs.
//!
//! Goldens are in `tests/chat/CASE`: `request.openai.json` becomes `request.DIALECT.json`,
//! `reply.DIALECT.json` becomes `reply.DIALECT.openai.json`, and `stream.DIALECT.sse` becomes
//! `stream.DIALECT.openai.sse`. `UPDATE=1 cargo test --test dialects` writes the outputs anew.
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
#[path = "support/random.rs"]
mod random;

use llm_proxy::api::openai::{self, ChunkWriter, OpenAi};
use llm_proxy::api::{ClientApi as _, Stamp};
use llm_proxy::chat::CallStyle;
use llm_proxy::provider::adapt::Policy;
use llm_proxy::provider::anthropic::Anthropic;
use llm_proxy::provider::dialect::{Dialect, Options};
use llm_proxy::provider::gemini::Gemini;
use llm_proxy::relay::Relay;
use serde_json::Value;

use self::random::Random;

const STAMP: Stamp = Stamp {
    created: 1_763_700_000,
    nonce: 0xabc,
    calls: CallStyle::All,
};

/// What the tests have of a reply that is larger than any of theirs.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// A stream through a dialect.
fn relay(dialect: &dyn Dialect, chunks: &[&[u8]], include_usage: bool) -> String {
    let writer = ChunkWriter::new("asked", STAMP, include_usage);
    let mut relay = Relay::new(
        dialect.stream(MAX_EVENT_BYTES),
        Box::new(writer),
        usize::MAX,
    );
    let mut out = Vec::new();
    for chunk in chunks {
        relay.push(chunk, &mut out);
    }
    relay.finish(&mut out);
    assert!(relay.is_finished());
    String::from_utf8(out).expect("text")
}

/// Whole, with CRLF, byte by byte, and split at every offset: always the same.
fn relay_in_all_ways(dialect: &dyn Dialect, stream: &str, include_usage: bool) -> String {
    let expected = relay(dialect, &[stream.as_bytes()], include_usage);
    for text in [stream.to_owned(), stream.replace('\n', "\r\n")] {
        let bytes = text.as_bytes();
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(relay(dialect, &single, include_usage), expected, "by bytes");
        for at in 0..=bytes.len() {
            let (a, b) = bytes.split_at(at);
            assert_eq!(relay(dialect, &[a, b], include_usage), expected, "at {at}");
        }
    }
    expected
}

/// The JSON of the data events, without `[DONE]`.
fn chunks(stream: &str) -> Vec<Value> {
    stream
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("data: "))
        .filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).expect(data))
        .collect()
}

/// What a client puts together from the chunks: a message as in a whole reply, and its end.
#[derive(Debug, Default, PartialEq)]
struct Assembled {
    content: String,
    reasoning: String,
    refusal: String,
    signature: String,
    /// Name and arguments.
    calls: Vec<(String, String)>,
    finish_reason: String,
}

fn assemble(stream: &str) -> Assembled {
    let mut all = Assembled::default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for chunk in chunks(stream) {
        for choice in chunk["choices"].as_array().expect("choices") {
            let delta = &choice["delta"];
            all.content += &text(&delta["content"]);
            all.reasoning += &text(&delta["reasoning_content"]);
            all.refusal += &text(&delta["refusal"]);
            all.signature += &text(&delta["reasoning_signature"]);
            for call in delta["tool_calls"].as_array().into_iter().flatten() {
                let index = usize::try_from(call["index"].as_u64().expect("index")).unwrap();
                let function = &call["function"];
                if let Some(name) = function["name"].as_str() {
                    assert_eq!(index, all.calls.len(), "calls are counted");
                    assert!(!text(&call["id"]).is_empty());
                    all.calls.push((name.to_owned(), String::new()));
                }
                all.calls[index].1 += &text(&function["arguments"]);
            }
            if let Some(reason) = choice["finish_reason"].as_str() {
                assert_eq!(all.finish_reason, "", "one finish_reason");
                all.finish_reason = reason.to_owned();
            }
        }
    }
    all
}

fn assemble_reply(reply: &Value) -> Assembled {
    let choice = &reply["choices"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let message = &choice["message"];
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    Assembled {
        content: text(&message["content"]),
        reasoning: text(&message["reasoning_content"]),
        refusal: text(&message["refusal"]),
        signature: text(&message["reasoning_signature"]),
        calls: calls
            .map(|call| {
                assert!(!text(&call["id"]).is_empty());
                let function = &call["function"];
                (text(&function["name"]), text(&function["arguments"]))
            })
            .collect(),
        finish_reason: text(&choice["finish_reason"]),
    }
}

fn decode(dialect: &dyn Dialect, body: &[u8]) -> Value {
    let reply = dialect.decode(body).expect("a reply");
    serde_json::from_slice(&openai::write_reply(&reply, "asked", STAMP)).expect("JSON")
}

/// Arguments as the value they mean: pieces are spaced as the provider likes.
fn parsed(mut assembled: Assembled) -> Assembled {
    for (_, arguments) in &mut assembled.calls {
        let value: Value = serde_json::from_str(arguments).expect(arguments);
        assert!(value.is_object());
        *arguments = value.to_string();
    }
    assembled
}

/// A reply in a provider's words, whole and as a stream.
struct Told {
    reply: &'static str,
    stream: &'static str,
}

/// What the contract needs to know of a provider.
struct Words {
    dialect: fn() -> Box<dyn Dialect>,
    /// A model that takes every parameter of [`REQUEST`].
    model: &'static str,
    /// Says `Hallo 🦀`; 43 tokens of prompt, 12 of them cached, and 9 of answer.
    plain: Told,
    /// Calls `get_weather` with `{"city":"Zürich","days":[1,2]}`, then `now` without arguments.
    tools: Told,
    /// Thinks `Let me see. Then.` and says `12231`.
    thinking: Told,
    /// What must come back to the provider with the two replies before.
    kept: &'static [&'static str],
    /// Ends at the token limit.
    length: Told,
    /// Was withheld.
    filtered: Told,
    /// A stream that ends with an error, and the status of that.
    failing: (&'static str, &'static str),
    /// Bodies of errors: status, body, then the client's status and code.
    errors: &'static [(u16, &'static str, u16, &'static str)],
    /// Members on which an answer depends and that cannot be expressed, and their names.
    unsupported: &'static [(&'static str, &'static str)],
    /// Members that are adapted, and their names in the report.
    adapted: &'static [(&'static str, &'static str)],
}

/// Every role, several turns, tools, an image, and the usual parameters.
const REQUEST: &str = r#"
    "messages":[
      {"role":"system","content":"s1"},{"role":"user","content":"u1"},
      {"role":"assistant","content":"a1","tool_calls":[
        {"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},
        {"id":"c2","type":"function","function":{"name":"g","arguments":""}}]},
      {"role":"tool","tool_call_id":"c1","content":"r1"},
      {"role":"tool","tool_call_id":"c2","content":"{\"r\":2}"},
      {"role":"developer","content":"s2"},
      {"role":"user","content":[{"type":"text","text":"u2"},
        {"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]}],
    "tools":[{"type":"function","function":{"name":"f","description":"d","parameters":
        {"type":"object","properties":{"x":{"type":"integer"}}}}},
        {"type":"function","function":{"name":"g"}}],
    "tool_choice":"auto","max_tokens":100,"temperature":0.5,"stop":"END","n":1,"stream":true,
    "stream_options":{"include_usage":true},"logprobs":false,"presence_penalty":0,"store":false"#;

fn request(words: &Words, members: &str) -> String {
    format!(r#"{{"model":"{}",{REQUEST}{members}}}"#, words.model)
}

fn every_role_turn_and_part_is_sent(words: &Words) {
    let body = request(words, "");
    let request = openai::read(body.as_bytes()).expect("a request");
    let encoded = (words.dialect)()
        .encode(&request, &Options::default())
        .expect("it can be expressed");
    let sent: Value = serde_json::from_slice(&encoded.body).expect("JSON");
    assert!(sent.is_object());
    let text = sent.to_string();
    for said in [
        "s1",
        "s2",
        "u1",
        "u2",
        "a1",
        "r1",
        "iVBORw0KGgo=",
        "END",
        "\"f\"",
        "\"g\"",
    ] {
        assert!(text.contains(said), "{said} is lost: {text}");
    }
    for foreign in [
        "stream_options",
        "\"developer\"",
        "image_url",
        "tool_calls",
        "logprobs",
    ] {
        assert!(!text.contains(foreign), "{foreign} is sent: {text}");
    }
    assert!(encoded.head.suffix.starts_with('/'));
}

fn of_one_message(words: &Words, member: &str) -> String {
    let messages = r#"[{"role":"user","content":"hi"}]"#;
    format!(
        r#"{{"model":"{}","messages":{messages},{member}}}"#,
        words.model
    )
}

fn what_cannot_be_expressed_is_refused_by_name_or_dropped(words: &Words) {
    let dialect = (words.dialect)();
    let under = |unsupported| Options {
        unsupported,
        ..Options::default()
    };
    for (member, param) in words.unsupported {
        let body = of_one_message(words, member);
        let request = openai::read(body.as_bytes()).expect(member);
        for policy in [Policy::Adapt, Policy::Reject] {
            let refused = dialect.encode(&request, &under(policy));
            assert_eq!(refused.expect_err(member).param, *param);
        }
        let dropped = dialect.encode(&request, &under(Policy::Drop));
        let adapted = dropped.expect(member).head.adapted.expect(member);
        assert!(adapted.contains(param), "{adapted}");
    }
    let all: Vec<_> = words
        .unsupported
        .iter()
        .map(|(member, _)| *member)
        .collect();
    let body = of_one_message(words, &all.join(","));
    let request = openai::read(body.as_bytes()).expect("a request");
    let refused = dialect.encode(&request, &Options::default()).unwrap_err();
    for (_, param) in words.unsupported {
        let named = format!("{param:?}");
        assert!(refused.message.contains(&named), "{}", refused.message);
    }
}

fn hints_are_adapted_and_reported(words: &Words) {
    let dialect = (words.dialect)();
    for (member, param) in words.adapted {
        let body = of_one_message(words, member);
        let request = openai::read(body.as_bytes()).expect(member);
        let encoded = dialect.encode(&request, &Options::default());
        let encoded = encoded.expect(member);
        assert_eq!(encoded.head.adapted.as_deref(), Some(*param), "{member}");
        let refused = dialect.encode(
            &request,
            &Options {
                unsupported: Policy::Reject,
                ..Options::default()
            },
        );
        assert!(refused.expect_err(member).message.contains("adapt"));
    }
}

fn replies_and_streams_say_the_same(words: &Words) {
    let call = |name: &str, arguments: &str| (name.to_owned(), arguments.to_owned());
    let dialect = (words.dialect)();
    for (told, content, reasoning, calls, finish_reason) in [
        (&words.plain, Some("Hallo 🦀"), "", vec![], "stop"),
        (
            &words.tools,
            None,
            "",
            vec![
                call("get_weather", r#"{"city":"Zürich","days":[1,2]}"#),
                call("now", "{}"),
            ],
            "tool_calls",
        ),
        (
            &words.thinking,
            Some("12231"),
            "Let me see. Then.",
            vec![],
            "stop",
        ),
        (&words.length, None, "", vec![], "length"),
        (&words.filtered, None, "", vec![], "content_filter"),
    ] {
        let reply = parsed(assemble_reply(&decode(&*dialect, told.reply.as_bytes())));
        let stream = relay_in_all_ways(&*dialect, told.stream, false);
        let streamed = parsed(assemble(&stream));
        assert_eq!(reply, streamed);
        if let Some(content) = content {
            assert_eq!(reply.content, content);
        }
        assert_eq!(reply.reasoning, reasoning);
        assert_eq!(reply.calls, calls);
        assert_eq!(reply.finish_reason, finish_reason);
    }
}

/// A client sends the messages of replies back as they came, with results.
fn what_a_client_sends_back_is_kept(words: &Words) {
    let dialect = (words.dialect)();
    let mut messages = vec![serde_json::json!({"role": "user", "content": "u"})];
    for told in [&words.thinking, &words.tools] {
        let mut reply = decode(&*dialect, told.reply.as_bytes());
        let message = reply["choices"][0]["message"].take();
        let calls = message["tool_calls"].clone();
        messages.push(message);
        for call in calls.as_array().into_iter().flatten() {
            messages.push(serde_json::json!(
                {"role": "tool", "tool_call_id": call["id"], "content": "{\"ok\":true}"}
            ));
        }
        messages.push(serde_json::json!({"role": "user", "content": "go on"}));
    }
    let body = serde_json::json!({"model": words.model, "messages": messages}).to_string();
    let request = openai::read(body.as_bytes()).expect("a request");
    let encoded = dialect
        .encode(&request, &Options::default())
        .expect("it can be expressed");
    let sent = String::from_utf8(encoded.body).expect("text");
    for kept in words.kept {
        assert!(sent.contains(kept), "{kept} is lost: {sent}");
    }
}

fn a_stream_has_openais_form(words: &Words) {
    for told in [&words.plain, &words.tools, &words.thinking] {
        let stream = relay((words.dialect)().as_ref(), &[told.stream.as_bytes()], true);
        assert!(stream.ends_with("data: [DONE]\n\n"));
        assert_eq!(stream.matches("[DONE]").count(), 1);
        assert_eq!(stream.matches(r#""role":"assistant""#).count(), 1);
        let chunks = chunks(&stream);
        for member in ["id", "created", "model", "object"] {
            assert!(
                chunks.iter().all(|it| it[member] == chunks[0][member]),
                "{member}"
            );
        }
        let last = chunks.last().unwrap();
        assert_eq!(last["choices"], serde_json::json!([]));
        assert!(last["usage"]["total_tokens"].is_u64());
        assert!(
            chunks[..chunks.len() - 1]
                .iter()
                .all(|it| it["usage"].is_null())
        );
    }
}

fn usage_is_as_billed(words: &Words) {
    let dialect = (words.dialect)();
    let reply = decode(&*dialect, words.plain.reply.as_bytes());
    let stream = relay(&*dialect, &[words.plain.stream.as_bytes()], true);
    let streamed = chunks(&stream).pop().unwrap();
    for usage in [&reply["usage"], &streamed["usage"]] {
        assert_eq!(usage["prompt_tokens"], 43);
        assert_eq!(usage["completion_tokens"], 9);
        assert_eq!(usage["total_tokens"], 52);
        assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 12);
    }
    let unasked = relay(&*dialect, &[words.plain.stream.as_bytes()], false);
    assert!(!unasked.contains("usage"));
}

fn a_cut_stream_is_an_error(words: &Words) {
    let dialect = (words.dialect)();
    for told in [&words.plain, &words.tools] {
        let stream = told.stream;
        let whole = relay(&*dialect, &[stream.as_bytes()], false);
        for at in (0..stream.len()).filter(|&at| stream.is_char_boundary(at)) {
            let cut = relay(&*dialect, &[&stream.as_bytes()[..at]], false);
            if cut.contains("[DONE]") {
                // Nothing but the end of the last event is missing.
                assert_eq!(cut, whole);
                continue;
            }
            let error = chunks(&cut).pop().expect("an error");
            assert_eq!(error["error"]["type"], "server_error", "at {at}: {cut}");
        }
    }
}

fn errors_have_openais_form(words: &Words) {
    let dialect = (words.dialect)();
    for (status, body, expected_status, code) in words.errors {
        let failure = dialect.error(*status, body.as_bytes());
        let (seen, error) = (failure.status, openai::error(&failure));
        let error: Value = serde_json::from_str(&error).unwrap();
        assert_eq!(seen, *expected_status, "{body}");
        assert_eq!(error["error"]["code"], *code, "{body}");
        assert!(!error["error"]["message"].as_str().unwrap().is_empty());
    }
    for body in ["", "null", "[]", "{}", "<html>", "\u{0}", "{\"error\":7}"] {
        let failure = dialect.error(500, body.as_bytes());
        let (status, error) = (failure.status, openai::error(&failure));
        let error: Value = serde_json::from_str(&error).unwrap();
        assert_eq!(
            (status, &error["error"]["type"]),
            (500, &"server_error".into())
        );
        assert!(!error["error"]["message"].as_str().unwrap().is_empty());
    }
    let (stream, code) = words.failing;
    let failed = relay_in_all_ways(&*dialect, stream, true);
    assert!(!failed.contains("[DONE]"));
    let last = chunks(&failed).pop().expect("an error");
    assert_eq!(last["error"]["code"], code, "{failed}");
}

fn a_broken_success_is_broken(words: &Words) {
    let dialect = (words.dialect)();
    for body in [
        "",
        "null",
        "[]",
        "7",
        "\"a\"",
        "<html>",
        "{\"a\":1}",
        "{\"choices\":[]}",
    ] {
        assert!(dialect.decode(body.as_bytes()).is_err(), "{body}");
    }
    let reply = words.plain.reply.trim_end();
    for at in (0..reply.len()).filter(|&at| reply.is_char_boundary(at)) {
        assert!(
            dialect.decode(&reply.as_bytes()[..at]).is_err(),
            "cut at {at}"
        );
    }
    for deep in ["[", "{\"a\":", "{\"content\":[", "{\"candidates\":["] {
        assert!(dialect.decode(deep.repeat(100_000).as_bytes()).is_err());
    }
    for stream in [
        "data: x\n\n",
        "data: {\n\n",
        "data:\n\n",
        "<html>",
        "data: 7\n\n",
    ] {
        let out = relay(&*dialect, &[stream.as_bytes()], false);
        assert!(
            out.contains("\"error\"") && !out.contains("[DONE]"),
            "{stream:?}: {out}"
        );
    }
}

impl Random {
    /// One to four changes.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        const TOKENS: [&[u8]; 10] = [
            b"null",
            b"{}",
            b"[]",
            b"\"",
            b"-1",
            b"1e999",
            b"\n\n",
            b"\\ud800",
            b"\xff",
            b"\"type\"",
        ];
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(4) {
                0 => bytes[at] = u8::try_from(self.below(256)).unwrap(),
                1 => bytes.truncate(at.max(1)),
                2 => {
                    let token = TOKENS[self.below(TOKENS.len())];
                    bytes.splice(at..at, token.iter().copied());
                }
                _ => {
                    let end = (at + self.below(40)).min(bytes.len());
                    let piece: Vec<u8> = bytes[at..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
        }
    }
}

fn mutated_bytes_do_no_harm(words: &Words) {
    let dialect = (words.dialect)();
    let seed = 0x5eed_0003;
    let mut random = Random::new(seed);
    let body = request(
        words,
        r#","response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}}"#,
    );
    for round in 0..1500 {
        let context = format!("seed {seed:#x}, round {round}");
        let mut bytes = body.clone().into_bytes();
        random.mutate(&mut bytes);
        if let Ok(request) = openai::read(&bytes)
            && let Ok(encoded) = dialect.encode(&request, &Options::default())
        {
            let sent: Result<Value, _> = serde_json::from_slice(&encoded.body);
            assert!(sent.is_ok(), "{context}");
        }
        for told in [&words.plain, &words.tools, &words.thinking] {
            let mut bytes = told.reply.as_bytes().to_vec();
            random.mutate(&mut bytes);
            if let Ok(reply) = dialect.decode(&bytes) {
                let out = openai::write_reply(&reply, "asked", STAMP);
                assert!(serde_json::from_slice::<Value>(&out).is_ok(), "{context}");
            }
            let _ = dialect.error(400, &bytes);
            let mut bytes = told.stream.as_bytes().to_vec();
            random.mutate(&mut bytes);
            let out = relay(&*dialect, &[&bytes], true);
            // Bounded: what comes out is in proportion to what went in.
            assert!(out.len() < 1000 + bytes.len() * 4, "{context}");
            let is_done = out.ends_with("data: [DONE]\n\n");
            let is_error = chunks(&out).pop().is_some_and(|it| it["error"].is_object());
            assert!(is_done != is_error, "{context}");
        }
    }
}

/// Hundreds of kilobytes in one event, with what must be escaped, in pieces of any size.
fn an_event_may_be_large(words: &Words) {
    let text = "0123456789\\n\\u00e9🦀".repeat(20_000);
    let stream = words.plain.stream.replacen("Hallo ", &text, 1);
    assert!(stream.len() > 300_000);
    let expected = "0123456789\né🦀".repeat(20_000) + "🦀";
    for size in [1_000, 4_093, 65_536, stream.len()] {
        let pieces: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
        let out = relay((words.dialect)().as_ref(), &pieces, false);
        assert!(assemble(&out).content == expected, "in pieces of {size}");
    }
}

/// The contract, for one provider.
macro_rules! dialect_contract {
    ($name:ident, $words:expr) => {
        mod $name {
            use super::*;

            dialect_contract!(@each $words;
                every_role_turn_and_part_is_sent
                what_cannot_be_expressed_is_refused_by_name_or_dropped
                hints_are_adapted_and_reported
                replies_and_streams_say_the_same
                what_a_client_sends_back_is_kept
                a_stream_has_openais_form
                an_event_may_be_large
                usage_is_as_billed
                a_cut_stream_is_an_error
                errors_have_openais_form
                a_broken_success_is_broken
                mutated_bytes_do_no_harm
            );
        }
    };
    (@each $words:expr; $($rule:ident)*) => {
        tests! { $(fn $rule() { super::$rule(&$words); })* }
    };
}

dialect_contract!(anthropic, ANTHROPIC);
dialect_contract!(gemini, GEMINI);
dialect_contract!(
    anthropic_on_vertex,
    Words {
        dialect: || Box::new(Anthropic::on_vertex()),
        ..ANTHROPIC
    }
);

const ANTHROPIC: Words = Words {
    dialect: || Box::new(Anthropic::new()),
    model: "claude-sonnet-4-5",
    plain: Told {
        reply: include_str!("chat/plain/reply.anthropic.json"),
        stream: include_str!("chat/plain/stream.anthropic.sse"),
    },
    tools: Told {
        reply: include_str!("chat/tools/reply.anthropic.json"),
        stream: include_str!("chat/tools/stream.anthropic.sse"),
    },
    thinking: Told {
        reply: include_str!("chat/thinking/reply.anthropic.json"),
        stream: include_str!("chat/thinking/stream.anthropic.sse"),
    },
    kept: &[
        r#"{"type":"thinking","thinking":"Let me see.","signature":"EqQB"}"#,
        r#"{"type":"redacted_thinking","data":"EmwK"}"#,
        r#"{"type":"thinking","thinking":" Then.","signature":"EqQC"}"#,
        r#"{"type":"tool_use","id":"toolu_4","name":"get_weather","input":{"city":"Zürich","days":[1,2]}}"#,
        r#"{"type":"tool_use","id":"toolu_5","name":"now","input":{}}"#,
        r#"{"type":"tool_result","tool_use_id":"toolu_5","content":"{\"ok\":true}"}"#,
    ],
    length: Told {
        reply: r#"{"id":"m","type":"message","content":[{"type":"text","text":"a"}],"stop_reason":"max_tokens"}"#,
        stream: concat!(
            "data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}\n\n",
            "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"a\"}}\n\n",
            "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\"}}\n\n",
            "data: {\"type\":\"message_stop\"}\n\n",
        ),
    },
    filtered: Told {
        reply: r#"{"id":"m","type":"message","content":[],"stop_reason":"refusal"}"#,
        stream: concat!(
            "data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}\n\n",
            "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\"}}\n\n",
            "data: {\"type\":\"message_stop\"}\n\n",
        ),
    },
    failing: (
        concat!(
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}\n\n",
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ),
        "overloaded_error",
    ),
    errors: &[
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"m"}}"#,
            400,
            "invalid_request_error",
        ),
        (
            401,
            r#"{"type":"error","error":{"type":"authentication_error","message":"m"}}"#,
            401,
            "invalid_api_key",
        ),
        (
            413,
            r#"{"type":"error","error":{"type":"request_too_large","message":"m"}}"#,
            413,
            "request_too_large",
        ),
        (
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"m"}}"#,
            429,
            "rate_limit_exceeded",
        ),
        (
            529,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
            503,
            "overloaded_error",
        ),
    ],
    unsupported: &[
        (r#""n":2"#, "n"),
        (r#""logprobs":true"#, "logprobs"),
        (r#""top_logprobs":1"#, "top_logprobs"),
        (r#""logit_bias":{"1":2}"#, "logit_bias"),
        (r#""modalities":["text","audio"]"#, "modalities"),
        (r#""web_search_options":{}"#, "web_search_options"),
        (r#""unheard_of":1"#, "unheard_of"),
    ],
    adapted: &[
        (r#""seed":1"#, "seed"),
        (r#""presence_penalty":1"#, "presence_penalty"),
        (r#""frequency_penalty":1"#, "frequency_penalty"),
        (r#""temperature":1.2"#, "temperature"),
        (r#""temperature":0.2,"top_p":0.5"#, "top_p"),
        (
            r#""response_format":{"type":"json_object"}"#,
            "response_format",
        ),
        (r#""prediction":{}"#, "prediction"),
        (
            r#""prompt_cache_key":"k","min_p":0.1"#,
            "prompt_cache_key, min_p",
        ),
        (r#""reasoning_effort":"ultra""#, "reasoning_effort"),
        (r#""service_tier":"flex""#, "service_tier"),
        (r#""max_tokens":1000000"#, "max_tokens"),
        (
            r#""tools":[{"type":"code_interpreter","container":{"type":"auto"}}]"#,
            "tools[]",
        ),
    ],
};

const GEMINI: Words = Words {
    dialect: || Box::new(Gemini),
    model: "gemini-2.5-flash",
    plain: Told {
        reply: include_str!("chat/plain/reply.gemini.json"),
        stream: include_str!("chat/plain/stream.gemini.sse"),
    },
    tools: Told {
        reply: include_str!("chat/tools/reply.gemini.json"),
        stream: include_str!("chat/tools/stream.gemini.sse"),
    },
    thinking: Told {
        reply: include_str!("chat/thinking/reply.gemini.json"),
        stream: include_str!("chat/thinking/stream.gemini.sse"),
    },
    kept: &[
        r#"{"text":"Let me see. Then.","thought":true},{"text":"12231","thoughtSignature":"EqQB"}"#,
        r#""name":"get_weather","args":{"city":"Zürich","days":[1,2]}},"thoughtSignature":"CiQB"}"#,
        r#"{"functionCall":{"id":"fc-9","name":"now","args":{}}}"#,
        r#"{"functionResponse":{"id":"fc-9","name":"now","response":{"ok":true}}}"#,
    ],
    length: Told {
        reply: r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"MAX_TOKENS"}]}"#,
        stream: "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"finishReason\":\"MAX_TOKENS\"}]}\n\n",
    },
    filtered: Told {
        reply: r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#,
        stream: "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n",
    },
    failing: (
        concat!(
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n\n",
            "data: {\"error\":{\"code\":503,\"message\":\"overloaded\",\"status\":\"UNAVAILABLE\"}}\n\n",
            "data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n",
        ),
        "UNAVAILABLE",
    ),
    errors: &[
        (
            400,
            r#"{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}"#,
            400,
            "INVALID_ARGUMENT",
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#,
            401,
            "invalid_api_key",
        ),
        (
            404,
            r#"{"error":{"code":404,"message":"m","status":"NOT_FOUND"}}"#,
            404,
            "model_not_found",
        ),
        (
            429,
            r#"[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}]"#,
            429,
            "rate_limit_exceeded",
        ),
        (
            503,
            r#"{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}"#,
            503,
            "UNAVAILABLE",
        ),
    ],
    unsupported: &[
        (r#""logit_bias":{"1":2}"#, "logit_bias"),
        (r#""modalities":["text","audio"]"#, "modalities"),
        (r#""web_search_options":{}"#, "web_search_options"),
        (r#""unheard_of":1"#, "unheard_of"),
    ],
    adapted: &[
        (r#""user":"u""#, "user, safety_identifier"),
        (r#""seed":9007199254740991"#, "seed"),
        (r#""presence_penalty":1"#, "presence_penalty"),
        (r#""frequency_penalty":1"#, "frequency_penalty"),
        (r#""reasoning_effort":"xhigh""#, "reasoning_effort"),
        (r#""top_logprobs":1"#, "top_logprobs"),
        (r#""prediction":{}"#, "prediction"),
        (r#""store":true,"keep_alive":"5m""#, "store, keep_alive"),
        (r#""service_tier":"scale""#, "service_tier"),
    ],
};

tests! {
    fn calls_of_custom_tools_are_given_back_as_such() {
        let body = r#"{"model":"c","messages":[{"role":"user","content":"u"},
            {"role":"assistant","tool_calls":[{"id":"t0","type":"custom","custom":{"name":"patch","input":"a\n\"b\""}}]},
            {"role":"tool","tool_call_id":"t0","content":"r"}],
            "tools":[{"type":"custom","custom":{"name":"patch","description":"d","format":{"type":"grammar"}}},
                {"type":"function","function":{"name":"other"}}],
            "tool_choice":{"type":"custom","custom":{"name":"patch"}}}"#;
        let request = openai::read(body.as_bytes()).unwrap();
        let dialect = Anthropic::new();
        let encoded = dialect.encode(&request, &Options::default()).unwrap();
        assert_eq!(encoded.head.adapted.as_deref(), Some("tools[].custom.format"));
        let sent: Value = serde_json::from_slice(&encoded.body).unwrap();
        let input = serde_json::json!({"input": "a\n\"b\""});
        assert_eq!(sent["messages"][1]["content"][0]["input"], input);
        assert_eq!(sent["tools"][0]["input_schema"]["required"], serde_json::json!(["input"]));
        assert_eq!(sent["tool_choice"]["name"], "patch");

        let writer = OpenAi.reply_writer(&request, body.as_bytes());
        let reply = r#"{"id":"m","type":"message","model":"c","content":[
            {"type":"tool_use","id":"t1","name":"patch","input":{"input":"a\n\"b\""}},
            {"type":"tool_use","id":"t2","name":"other","input":{}}],
            "stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":1}}"#;
        let decoded = dialect.decode(reply.as_bytes()).unwrap();
        let written = writer.write(&decoded, STAMP, reply.len(), usize::MAX).unwrap();
        let written: Value = serde_json::from_slice(&written).unwrap();
        let calls = &written["choices"][0]["message"]["tool_calls"];
        let custom = serde_json::json!({"name": "patch", "input": "a\n\"b\""});
        assert_eq!((&calls[0]["type"], &calls[0]["custom"]), (&"custom".into(), &custom));
        assert_eq!(calls[1]["function"]["name"], "other");

        let event = |data: &str| format!("data: {data}\n\n");
        let delta = |text: &str| {
            let delta = serde_json::json!({"type": "input_json_delta", "partial_json": text});
            let data = serde_json::json!({"type": "content_block_delta", "index": 0, "delta": delta});
            event(&data.to_string())
        };
        let stream = [
            event(r#"{"type":"message_start","message":{"id":"m","model":"c"}}"#),
            event(r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t1","name":"patch","input":{}}}"#),
            delta("{\"inp"),
            delta("ut\": \"a\\"),
            delta("n\\\"b\\\"\"}"),
            event(r#"{"type":"content_block_stop","index":0}"#),
            event(r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"}}"#),
            event(r#"{"type":"message_stop"}"#),
        ];
        let mut relay = Relay::new(dialect.stream(MAX_EVENT_BYTES), writer.stream(STAMP), usize::MAX);
        let mut out = Vec::new();
        relay.push(stream.concat().as_bytes(), &mut out);
        relay.finish(&mut out);
        let mut text = String::new();
        for chunk in chunks(&String::from_utf8(out).unwrap()) {
            let call = &chunk["choices"][0]["delta"]["tool_calls"][0];
            assert!(call["function"].is_null());
            text += call["custom"]["input"].as_str().unwrap_or_default();
        }
        assert_eq!(text, "a\n\"b\"");
    }
}

/// Compares with the file; with `UPDATE=1` writes it.
fn golden(path: &str, expected: &str, seen: &str) {
    #[cfg(not(target_family = "wasm"))]
    if std::env::var_os("UPDATE").is_some() {
        let path = format!("{}/tests/chat/{path}", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, seen).expect("written");
        return;
    }
    assert_eq!(
        seen, expected,
        "{path}: UPDATE=1 cargo test --test dialects writes it anew"
    );
}

fn golden_request(dialect: &dyn Dialect, body: &str, path: &str, expected: &str) {
    let request = openai::read(body.as_bytes()).expect(path);
    let encoded = dialect.encode(&request, &Options::default()).expect(path);
    let sent: Value = serde_json::from_slice(&encoded.body).expect("JSON");
    let seen = serde_json::to_string_pretty(&sent).unwrap() + "\n";
    golden(path, expected, &seen);
}

fn golden_reply(dialect: &dyn Dialect, body: &str, path: &str, expected: &str) {
    let seen = serde_json::to_string_pretty(&decode(dialect, body.as_bytes())).unwrap() + "\n";
    golden(path, expected, &seen);
}

fn golden_stream(dialect: &dyn Dialect, stream: &str, path: &str, expected: &str) {
    golden(path, expected, &relay_in_all_ways(dialect, stream, true));
}

/// One line a file that is made.
macro_rules! goldens {
    ($dialect:expr; $($check:ident($name:ident): $input:literal => $output:literal,)*) => {
        tests! {
            $(
                fn $name() {
                    $check(
                        $dialect,
                        include_str!(concat!("chat/", $input)),
                        $output,
                        include_str!(concat!("chat/", $output)),
                    );
                }
            )*
        }
    };
}

// `vision` and `structured` have no replies: those are plain text.
goldens! { &Anthropic::new();
    golden_request(plain_request): "plain/request.openai.json" => "plain/request.anthropic.json",
    golden_request(tools_request): "tools/request.openai.json" => "tools/request.anthropic.json",
    golden_request(vision_request): "vision/request.openai.json" => "vision/request.anthropic.json",
    golden_request(thinking_request): "thinking/request.openai.json" => "thinking/request.anthropic.json",
    golden_request(structured_request): "structured/request.openai.json" => "structured/request.anthropic.json",
    golden_reply(plain_reply): "plain/reply.anthropic.json" => "plain/reply.anthropic.openai.json",
    golden_reply(tools_reply): "tools/reply.anthropic.json" => "tools/reply.anthropic.openai.json",
    golden_reply(thinking_reply): "thinking/reply.anthropic.json" => "thinking/reply.anthropic.openai.json",
    golden_reply(citations_reply): "citations/reply.anthropic.json" => "citations/reply.anthropic.openai.json",
    golden_stream(citations_stream): "citations/stream.anthropic.sse" => "citations/stream.anthropic.openai.sse",
    golden_stream(plain_stream): "plain/stream.anthropic.sse" => "plain/stream.anthropic.openai.sse",
    golden_stream(tools_stream): "tools/stream.anthropic.sse" => "tools/stream.anthropic.openai.sse",
    golden_stream(thinking_stream): "thinking/stream.anthropic.sse" => "thinking/stream.anthropic.openai.sse",
}

/// A module: the names are the cases', as with the other dialect.
mod gemini_goldens {
    use super::*;

    // A case that only Gemini has is named for it; one without a stream has nothing new in it, one
    // without a reply is about streams. The requests of the common cases name other models.
    goldens! { &Gemini;
        golden_request(parameters_request): "gemini-parameters/request.openai.json" => "gemini-parameters/request.gemini.json",
        golden_request(tools_request): "gemini-tools/request.openai.json" => "gemini-tools/request.gemini.json",
        golden_request(media_request): "gemini-media/request.openai.json" => "gemini-media/request.gemini.json",
        golden_request(structured_request): "gemini-structured/request.openai.json" => "gemini-structured/request.gemini.json",
        golden_request(signatures_request): "gemini-signatures/request.openai.json" => "gemini-signatures/request.gemini.json",
        golden_reply(plain_reply): "plain/reply.gemini.json" => "plain/reply.gemini.openai.json",
        golden_reply(tools_reply): "tools/reply.gemini.json" => "tools/reply.gemini.openai.json",
        golden_reply(thinking_reply): "thinking/reply.gemini.json" => "thinking/reply.gemini.openai.json",
        golden_reply(own_signatures_reply): "gemini-signatures/reply.gemini.json" => "gemini-signatures/reply.gemini.openai.json",
        golden_reply(own_tools_reply): "gemini-tools/reply.gemini.json" => "gemini-tools/reply.gemini.openai.json",
        golden_reply(own_blocked_reply): "gemini-blocked/reply.gemini.json" => "gemini-blocked/reply.gemini.openai.json",
        golden_reply(own_candidates_reply): "gemini-candidates/reply.gemini.json" => "gemini-candidates/reply.gemini.openai.json",
        golden_reply(own_logprobs_reply): "gemini-logprobs/reply.gemini.json" => "gemini-logprobs/reply.gemini.openai.json",
        golden_reply(citations_reply): "citations/reply.gemini.json" => "citations/reply.gemini.openai.json",
        golden_stream(citations_stream): "citations/stream.gemini.sse" => "citations/stream.gemini.openai.sse",
        golden_stream(plain_stream): "plain/stream.gemini.sse" => "plain/stream.gemini.openai.sse",
        golden_stream(tools_stream): "tools/stream.gemini.sse" => "tools/stream.gemini.openai.sse",
        golden_stream(thinking_stream): "thinking/stream.gemini.sse" => "thinking/stream.gemini.openai.sse",
        golden_stream(own_signatures_stream): "gemini-signatures/stream.gemini.sse" => "gemini-signatures/stream.gemini.openai.sse",
        golden_stream(own_tools_stream): "gemini-tools/stream.gemini.sse" => "gemini-tools/stream.gemini.openai.sse",
        golden_stream(own_blocked_stream): "gemini-blocked/stream.gemini.sse" => "gemini-blocked/stream.gemini.openai.sse",
        golden_stream(own_logprobs_stream): "gemini-logprobs/stream.gemini.sse" => "gemini-logprobs/stream.gemini.openai.sse",
        golden_stream(own_cut_stream): "gemini-cut/stream.gemini.sse" => "gemini-cut/stream.gemini.openai.sse",
        golden_stream(own_overloaded_stream): "gemini-overloaded/stream.gemini.sse" => "gemini-overloaded/stream.gemini.openai.sse",
        golden_stream(own_malformed_stream): "gemini-malformed/stream.gemini.sse" => "gemini-malformed/stream.gemini.openai.sse",
    }
}
