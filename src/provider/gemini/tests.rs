//! Tables. Goldens and the contract of all dialects are in `tests/dialects.rs`.

use serde_json::{Value, json};

use super::Gemini;
use crate::api::openai;
use crate::chat::{CallStyle, Delta, StopReason};
use crate::provider::adapt::Policy;
use crate::provider::dialect::{Dialect, Encoded, Options, Unsupported};
use crate::sse;

fn encode(body: &str, options: Options) -> Result<Encoded, Unsupported> {
    Gemini.encode(&openai::read(body.as_bytes()).expect(body), &options)
}

/// What Google gets for a request; in strict mode.
fn sent(body: &str) -> Value {
    let encoded = encode(body, Options::default()).expect(body);
    serde_json::from_slice(&encoded.body).unwrap()
}

/// What Google gets for a request with one user message and these members.
fn sent_with(members: &str) -> Value {
    sent(&request(members))
}

fn request(members: &str) -> String {
    format!(
        r#"{{"model":"gemini-2.5-flash","messages":[{{"role":"user","content":"hi"}}],{members}}}"#
    )
}

/// `member => path in generationConfig or the body, value`
#[test]
fn members_have_their_place() {
    for (member, pointer, expected) in [
        (
            r#""max_tokens":5"#,
            "/generationConfig/maxOutputTokens",
            json!(5),
        ),
        (
            r#""max_completion_tokens":6"#,
            "/generationConfig/maxOutputTokens",
            json!(6),
        ),
        (
            r#""temperature":1.5"#,
            "/generationConfig/temperature",
            json!(1.5),
        ),
        (r#""top_p":0.5"#, "/generationConfig/topP", json!(0.5)),
        (r#""top_k":3"#, "/generationConfig/topK", json!(3)),
        (
            r#""stop":"x""#,
            "/generationConfig/stopSequences",
            json!(["x"]),
        ),
        (r#""n":3"#, "/generationConfig/candidateCount", json!(3)),
        (
            r#""logprobs":true,"top_logprobs":2"#,
            "/generationConfig",
            json!({"responseLogprobs": true, "logprobs": 2}),
        ),
        (r#""n":1"#, "/generationConfig", Value::Null),
        (r#""seed":-5"#, "/generationConfig/seed", json!(-5)),
        (
            r#""presence_penalty":1"#,
            "/generationConfig/presencePenalty",
            Value::Null,
        ),
        (
            r#""frequency_penalty":-1"#,
            "/generationConfig/frequencyPenalty",
            Value::Null,
        ),
        (r#""presence_penalty":0"#, "/generationConfig", Value::Null),
        (
            r#""response_format":{"type":"text"}"#,
            "/generationConfig",
            Value::Null,
        ),
        (
            r#""response_format":{"type":"json_object"}"#,
            "/generationConfig",
            json!({"responseMimeType": "application/json"}),
        ),
        (
            r#""reasoning_effort":"none""#,
            "/generationConfig/thinkingConfig",
            json!({"thinkingBudget": 0}),
        ),
        (
            r#""reasoning_effort":"low""#,
            "/generationConfig/thinkingConfig",
            json!({"includeThoughts": true, "thinkingBudget": 1024}),
        ),
        (
            r#""reasoning_effort":"high""#,
            "/generationConfig/thinkingConfig/thinkingBudget",
            json!(24576),
        ),
        (
            r#""reasoning_effort":"high","model":"gemini-3.1-pro-preview""#,
            "/generationConfig/thinkingConfig",
            json!({"includeThoughts": true, "thinkingLevel": "HIGH"}),
        ),
        (
            r#""reasoning_effort":"minimal","model":"gemini-3.1-pro-preview""#,
            "/generationConfig/thinkingConfig/thinkingLevel",
            json!("LOW"),
        ),
        (
            r#""reasoning_effort":"none","model":"gemini-2.0-flash""#,
            "/generationConfig",
            Value::Null,
        ),
        (r#""tool_choice":"none""#, "/toolConfig", Value::Null),
        (
            r#""tool_choice":"none","tools":[{"type":"function","function":{"name":"f"}}]"#,
            "/toolConfig/functionCallingConfig",
            json!({"mode": "NONE"}),
        ),
        (
            r#""tool_choice":"auto","tools":[{"type":"function","function":{"name":"f"}}]"#,
            "/toolConfig/functionCallingConfig",
            json!({"mode": "AUTO"}),
        ),
        (
            r#""tool_choice":"required","tools":[{"type":"function","function":{"name":"f"}}]"#,
            "/toolConfig/functionCallingConfig",
            json!({"mode": "ANY"}),
        ),
        (
            r#""service_tier":"auto","store":false"#,
            "/generationConfig",
            Value::Null,
        ),
    ] {
        // A member in `member` comes first and wins where `request` would repeat it.
        let body = match member.contains("\"model\"") {
            true => format!(r#"{{"messages":[{{"role":"user","content":"hi"}}],{member}}}"#),
            false => request(member),
        };
        let found = sent(&body).pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(found, expected, "{member}");
    }
    assert_eq!(
        sent_with(r#""stream":false"#),
        json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]})
    );
}

#[test]
fn what_cannot_be_expressed_is_named_or_left_out() {
    for (member, param) in [
        (r#""logit_bias":{"1":2}"#, "logit_bias"),
        (r#""modalities":["audio"]"#, "modalities"),
        (r#""unheard_of":1"#, "unheard_of"),
        (
            r#""tools":[{"type":"file_search","vector_store_ids":["v"]}]"#,
            "tools[0] (file_search)",
        ),
        (
            r#""tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"file_search"}"#,
            "tool_choice",
        ),
    ] {
        let body = request(member);
        let refused = encode(&body, Options::default()).expect_err(member);
        assert_eq!(refused.param, param, "{member}: {}", refused.message);
        let drops = Options {
            unsupported: Policy::Drop,
            ..Options::default()
        };
        assert!(encode(&body, drops).is_ok(), "{member}");
    }
}

#[test]
fn what_a_generation_takes_is_sent_to_it() {
    let tool = r#""tools":[{"type":"function","function":{"name":"f"}}]"#;
    for (model, members, pointer, expected, report) in [
        (
            "gemini-2.0-flash",
            r#""presence_penalty":1"#,
            "/generationConfig/presencePenalty",
            json!(1.0),
            None,
        ),
        (
            "gemini-4-neon",
            r#""presence_penalty":1"#,
            "/generationConfig",
            Value::Null,
            Some("presence_penalty"),
        ),
        (
            "gemini-2.5-pro",
            r#""n":2"#,
            "/generationConfig/candidateCount",
            json!(2),
            None,
        ),
        (
            "gemini-4-neon",
            r#""reasoning_effort":"xhigh""#,
            "/generationConfig/thinkingConfig/thinkingLevel",
            json!("XHIGH"),
            None,
        ),
        (
            "gemini-4-hydrogen",
            r#""reasoning_effort":"max""#,
            "/generationConfig/thinkingConfig/thinkingLevel",
            json!("XHIGH"),
            Some("reasoning_effort"),
        ),
        (
            "gemini-4-carbon",
            r#""reasoning_effort":"xhigh""#,
            "/generationConfig/thinkingConfig/thinkingLevel",
            json!("HIGH"),
            Some("reasoning_effort"),
        ),
        (
            "gemini-3.8-flash",
            r#""reasoning_effort":"none""#,
            "/generationConfig/thinkingConfig/thinkingLevel",
            json!("LOW"),
            Some("reasoning_effort"),
        ),
        (
            "gemini-2.5-pro",
            r#""reasoning_effort":"none""#,
            "/generationConfig/thinkingConfig/thinkingBudget",
            json!(128),
            Some("reasoning_effort"),
        ),
        (
            "gemini-2.0-flash",
            r#""reasoning_effort":"low""#,
            "/generationConfig",
            Value::Null,
            Some("reasoning_effort"),
        ),
        (
            "gemini-3.8-flash",
            r#""service_tier":"flex""#,
            "/serviceTier",
            json!("flex"),
            None,
        ),
        (
            "gemini-3.8-flash",
            r#""safety_settings":[{"category":"c"}]"#,
            "/safetySettings/0/category",
            json!("c"),
            None,
        ),
        (
            "gemini-3.8-flash",
            r#""cached_content":"cachedContents/a""#,
            "/cachedContent",
            json!("cachedContents/a"),
            None,
        ),
        (
            "gemini-3.8-flash",
            r#""seed":4294967297"#,
            "/generationConfig/seed",
            json!(1),
            Some("seed"),
        ),
        (
            "gemini-3.8-flash",
            r#""response_format":{"type":"json_schema","json_schema":{"name":"n","description":"d","schema":{"type":"object","properties":{"a":{"type":"string"}}}}}"#,
            "/generationConfig/responseSchema/description",
            json!("d"),
            None,
        ),
    ] {
        let body = format!(
            r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}],{members}}}"#
        );
        let encoded = encode(&body, Options::default()).expect(members);
        let sent: Value = serde_json::from_slice(&encoded.body).unwrap();
        let seen = sent.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(*seen, expected, "{model} {members}: {sent}");
        assert_eq!(encoded.head.adapted.as_deref(), report, "{model} {members}");
    }
    for (mode, expected) in [("auto", "VALIDATED"), ("required", "ANY")] {
        let choice = format!(
            r#"{tool},"tool_choice":{{"type":"allowed_tools","allowed_tools":{{"mode":"{mode}","tools":[{{"type":"function","function":{{"name":"f"}}}}]}}}}"#
        );
        let config = &sent_with(&choice)["toolConfig"]["functionCallingConfig"];
        assert_eq!(config["mode"], expected);
        assert_eq!(config["allowedFunctionNames"], json!(["f"]));
    }
    let body = request(r#""n":2"#).replace("2.5-flash", "3.8-flash");
    assert_eq!(encode(&body, Options::default()).unwrap_err().param, "n");
    let first = encode(
        &request(r#""parallel_tool_calls":false"#),
        Options::default(),
    );
    assert_eq!(first.unwrap().head.calls, CallStyle::First);
}

#[test]
fn a_search_of_the_providers_is_offered_where_the_backend_has_it() {
    let options = Options {
        has_web_search: true,
        ..Options::default()
    };
    let encoded = encode(&request(r#""web_search_options":{}"#), options).unwrap();
    let sent: Value = serde_json::from_slice(&encoded.body).unwrap();
    assert_eq!(sent["tools"], json!([{"googleSearch": {}}]));
    let both = r#""web_search_options":{},"tools":[{"type":"function","function":{"name":"f"}}]"#;
    assert!(encode(&request(both), options).is_err());
    let newer = request(both).replace("2.5-flash", "3.8-flash");
    assert!(encode(&newer, options).is_ok());
}

#[test]
fn files_are_named_by_what_google_knows() {
    let part = |file: &str| {
        format!(
            r#"{{"model":"gemini-3.8-flash","messages":[{{"role":"user","content":[{{"type":"file","file":{file}}}]}}]}}"#
        )
    };
    for (file, expected) in [
        (
            r#"{"file_id":"files/abc"}"#,
            json!({"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}}),
        ),
        (
            r#"{"filename":"a.docx","file_data":"AAAA"}"#,
            json!({"inlineData": {"mimeType": "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "data": "AAAA"}}),
        ),
        (
            r#"{"file_data":"JVBERi0="}"#,
            json!({"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}}),
        ),
    ] {
        assert_eq!(sent(&part(file))["contents"][0]["parts"][0], expected);
    }
    let unknown = encode(
        &part(r#"{"filename":"a.xyz","file_data":"AAAA"}"#),
        Options::default(),
    );
    assert_eq!(
        unknown.unwrap_err().param,
        "messages[0].content[0].file.file_data"
    );
}

#[test]
fn images_may_differ_in_detail_from_gemini_3_on() {
    let body = r#"{"model":"gemini-3.8-flash","messages":[{"role":"user","content":[
        {"type":"image_url","image_url":{"url":"https://a/b.png","detail":"low"}},
        {"type":"image_url","image_url":{"url":"https://a/c.png"}}]}]}"#;
    let parts = &sent(body)["contents"][0]["parts"];
    assert_eq!(parts[0]["mediaResolution"]["level"], "MEDIA_RESOLUTION_LOW");
    assert_eq!(parts[1]["mediaResolution"], Value::Null);
}

#[test]
fn a_schema_that_is_too_deep_is_named() {
    let schema = r#"{"type":"array","items":"#.repeat(101) + "{}" + &"}".repeat(101);
    let tools = format!(
        r#""tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]"#
    );
    let refused = encode(&request(&tools), Options::default()).unwrap_err();
    assert_eq!(refused.param, "tools[0].function.parameters");
}

#[test]
fn messages_that_cannot_be_expressed_are_named() {
    for (messages, param) in [
        (
            r#"[{"role":"tool","tool_call_id":"x","content":"r"}]"#,
            "messages[0].tool_call_id",
        ),
        (r#"[{"role":"user","content":""}]"#, "messages"),
        (
            r#"[{"role":"user","content":"a","name":"Ann"}]"#,
            "messages[0].name",
        ),
        (
            r#"[{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"[]"}}]}]"#,
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            r#"[{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{"}}]}]"#,
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"file","file":{"file_id":"f-1"}}]}]"#,
            "messages[0].content[1].file.file_id",
        ),
        (
            r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png,x"}}]}]"#,
            "messages[0].content[0].image_url.url",
        ),
        (
            r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}]}]"#,
            "messages[0].content[0].image_url.url",
        ),
        (
            r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://a/b","detail":"low"}},{"type":"image_url","image_url":{"url":"https://a/c"}}]}]"#,
            "messages[0].content[0].image_url.detail",
        ),
        (
            r#"[{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}]}]"#,
            "messages[1].content[0]",
        ),
    ] {
        let body = format!(r#"{{"model":"gemini-2.5-flash","messages":{messages}}}"#);
        let rejecting = Options {
            unsupported: Policy::Reject,
            ..Options::default()
        };
        let refused = encode(&body, rejecting).expect_err(messages);
        assert_eq!(refused.param, param, "{messages}: {}", refused.message);
    }
    for model in ["..", "a/b", "a?b", "a:b"] {
        let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"a"}}]}}"#);
        assert_eq!(
            encode(&body, Options::default()).unwrap_err().param,
            "model"
        );
    }
}

#[test]
fn what_is_no_reply_is_an_error() {
    for body in [
        "",
        "null",
        "[]",
        "{}",
        "17",
        "\"text\"",
        "<html>",
        "{",
        r#"{"candidates":[]}"#,
        r#"{"candidates":7}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{}}]}}]}"#,
        r#"{"promptFeedback":{}}"#,
        r#"{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}"#,
        r#"{"error":{"code":500,"message":"m"}}"#,
        r#"[{"error":{"code":500,"message":"m"}}]"#,
    ] {
        assert!(Gemini.decode(body.as_bytes()).is_err(), "{body}");
        let mut event = Vec::new();
        sse::write_data(body, &mut event);
        let mut stream = Gemini.stream(1 << 20);
        let (mut has_failed, mut has_ended) = (false, false);
        let mut say = |delta: Delta<'_>| {
            has_failed = matches!(delta, Delta::Error { .. });
            has_ended |= delta == Delta::End;
        };
        let outcome = stream
            .push(&event, &mut say)
            .and_then(|()| stream.finish(&mut say));
        assert!(
            (has_failed || outcome.is_err()) && !has_ended,
            "{body}: {outcome:?}"
        );
    }
    assert!(Gemini.decode(b"\xff").is_err());
    let deep = format!(r#"{{"error":{}}}"#, "[".repeat(100_000));
    assert!(Gemini.decode(deep.as_bytes()).is_err());
}

#[test]
fn every_finish_reason_has_a_meaning() {
    let stop = |reason: &str, parts: &str| {
        let body = format!(
            r#"{{"candidates":[{{"content":{{"parts":[{parts}]}},"finishReason":"{reason}"}}]}}"#
        );
        Gemini.decode(body.as_bytes()).map(|reply| {
            match reply.choices.iter().next().unwrap().stop {
                StopReason::Other(word) => format!("Other({})", word.decode()),
                stop => format!("{stop:?}"),
            }
        })
    };
    let call = r#"{"functionCall":{"name":"f"}}"#;
    for (reason, parts, expected) in [
        ("STOP", "", StopReason::Stop),
        ("STOP", call, StopReason::ToolCalls),
        (
            "STOP",
            r#"{"functionCall":{"name":"f"}},{"text":"x"}"#,
            StopReason::ToolCalls,
        ),
        ("MAX_TOKENS", call, StopReason::Length),
        ("SAFETY", "", StopReason::ContentFilter),
        ("RECITATION", "", StopReason::ContentFilter),
        ("PROHIBITED_CONTENT", "", StopReason::ContentFilter),
        ("SPII", "", StopReason::ContentFilter),
    ] {
        let expected = format!("{expected:?}");
        assert_eq!(stop(reason, parts), Ok(expected), "{reason} {parts}");
    }
    for reason in ["OTHER", "NEW_ONE"] {
        assert_eq!(stop(reason, ""), Ok(format!("Other({reason})")));
    }
}

#[test]
fn a_stream_is_asked_for_in_the_path() {
    for (member, suffix) in [
        (
            r#""stream":false"#,
            "/models/gemini-2.5-flash:generateContent",
        ),
        (
            r#""stream":true"#,
            "/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        ),
    ] {
        let encoded = encode(&request(member), Options::default()).unwrap();
        assert_eq!(encoded.head.suffix, suffix);
        assert!(encoded.head.headers.is_empty());
    }
}

#[test]
fn thinking_goes_back_only_with_googles_signature() {
    for (signature, parts) in [
        (
            "gemini:AA",
            json!([{"text": "t", "thought": true}, {"text": "a", "thoughtSignature": "AA"}]),
        ),
        ("anthropic:AA", json!([{"text": "a"}])),
    ] {
        let body = format!(
            r#"{{"model":"gemini-2.5-flash","messages":[{{"role":"assistant","content":"a",
                "reasoning_content":"t","reasoning_signature":"{signature}"}}]}}"#
        );
        assert_eq!(sent(&body)["contents"][0]["parts"], parts);
    }
}
