use serde_json::Value;

use super::*;
use crate::chat::openai;
use crate::provider::anthropic::Anthropic;
use crate::provider::dialect::Dialect;

fn encode_with(body: &str, options: Options) -> Result<Value, Unsupported> {
    let request = openai::read(body.as_bytes()).expect(body);
    let encoded = Anthropic::new().encode(&request, &options)?;
    Ok(serde_json::from_slice(&encoded.body).expect("JSON"))
}

fn encode(body: &str) -> Result<Value, Unsupported> {
    encode_with(body, Options::default())
}

fn dropping() -> Options {
    Options {
        drops_unsupported: true,
        ..Options::default()
    }
}

/// A request of one user message with more members, for this model.
fn of(model: &str, members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(
        r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]{comma}{members}}}"#
    )
}

fn with(members: &str) -> String {
    of("claude-opus-4-6", members)
}

/// A request with these messages.
fn saying(messages: &str) -> String {
    format!(r#"{{"model":"claude-opus-4-6","messages":[{messages}]}}"#)
}

/// What becomes of `messages`.
fn turns(messages: &str) -> String {
    encode(&saying(messages)).unwrap()["messages"].to_string()
}

/// What becomes of the content of one user message.
fn content(parts: &str) -> String {
    let body = saying(&format!(r#"{{"role":"user","content":[{parts}]}}"#));
    encode(&body).unwrap()["messages"][0]["content"].to_string()
}

#[test]
fn members_are_mapped() {
    for (members, name, expected) in [
        ("", "max_tokens", "4096"),
        (r#""max_tokens":7"#, "max_tokens", "7"),
        (
            r#""max_tokens":7,"max_completion_tokens":8"#,
            "max_tokens",
            "8",
        ),
        (r#""temperature":0.5"#, "temperature", "0.5"),
        (r#""temperature":1"#, "temperature", "null"),
        (r#""top_p":0.5"#, "top_p", "0.5"),
        (r#""top_k":5"#, "top_k", "5"),
        (r#""stop":"a""#, "stop_sequences", r#"["a"]"#),
        (r#""stop":["a","b"]"#, "stop_sequences", r#"["a","b"]"#),
        (r#""stream":true"#, "stream", "true"),
        (r#""stream":false"#, "stream", "null"),
        (r#""user":"u""#, "metadata", r#"{"user_id":"u"}"#),
        (
            r#""user":"u","safety_identifier":"s""#,
            "metadata",
            r#"{"user_id":"s"}"#,
        ),
        (r#""service_tier":"auto""#, "service_tier", "null"),
        (
            r#""service_tier":"default""#,
            "service_tier",
            r#""standard_only""#,
        ),
        (
            r#""cache_control":{"type":"ephemeral"}"#,
            "cache_control",
            r#"{"type":"ephemeral"}"#,
        ),
        (
            r#""thinking":{"type":"disabled"}"#,
            "thinking",
            r#"{"type":"disabled"}"#,
        ),
        (r#""parallel_tool_calls":false"#, "tool_choice", "null"),
        (r#""tool_choice":"none""#, "tool_choice", "null"),
        (
            r#""response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"object","$defs":{}}}}"#,
            "output_config",
            r#"{"format":{"type":"json_schema","schema":{"type":"object","$defs":{}}}}"#,
        ),
        (
            r#""response_format":{"type":"text"}"#,
            "output_config",
            "null",
        ),
    ] {
        let body = encode(&with(members)).expect(members);
        assert_eq!(body[name].to_string(), expected, "{members}");
    }
    let options = Options {
        max_tokens: Some(9),
        ..Options::default()
    };
    assert_eq!(encode_with(&with(""), options).unwrap()["max_tokens"], 9);
}

#[test]
fn what_cannot_be_expressed_is_refused_or_dropped() {
    for (members, param) in [
        (r#""n":2"#, "n"),
        (r#""logprobs":true"#, "logprobs"),
        (r#""top_logprobs":2"#, "top_logprobs"),
        (r#""seed":1"#, "seed"),
        (r#""presence_penalty":0.5"#, "presence_penalty"),
        (r#""frequency_penalty":-1"#, "frequency_penalty"),
        (r#""logit_bias":{"1":1}"#, "logit_bias"),
        (r#""temperature":1.5"#, "temperature"),
        (r#""stop":["\n"]"#, "stop"),
        (r#""store":true"#, "store"),
        (r#""modalities":["text","audio"]"#, "modalities"),
        (r#""service_tier":"flex""#, "service_tier"),
        (r#""whatever":1"#, "whatever"),
        (
            r#""response_format":{"type":"json_object"}"#,
            "response_format",
        ),
        (r#""reasoning_effort":"maximal""#, "reasoning_effort"),
        (r#""stream_options":{"x":1}"#, "stream_options.x"),
    ] {
        let body = with(members);
        let refused = encode(&body).expect_err(members);
        assert_eq!(refused.param, param);
        let dropped = encode_with(&body, dropping()).expect(members);
        let top = param.split('.').next().unwrap();
        assert!(matches!(&dropped[top], Value::Null), "{dropped}");
        assert!(
            dropped["stop_sequences"]
                .as_array()
                .is_none_or(Vec::is_empty)
        );
    }
}

#[test]
fn defaults_are_no_loss() {
    let members = r#""n":1,"logprobs":false,"top_logprobs":0,"presence_penalty":0,
        "frequency_penalty":0.0,"logit_bias":{},"seed":null,"store":false,
        "modalities":["text"],"stream_options":{"include_usage":true}"#;
    encode(&with(members)).unwrap();
}

#[test]
fn effort_becomes_what_the_model_knows() {
    let adaptive = r#"{"type":"adaptive","display":"summarized"}"#;
    for (model, members, thinking, effort) in [
        (
            "claude-opus-4-6",
            r#""reasoning_effort":"minimal""#,
            adaptive,
            "\"low\"",
        ),
        (
            "claude-opus-4-6",
            r#""reasoning_effort":"xhigh""#,
            adaptive,
            "\"max\"",
        ),
        (
            "claude-opus-4-7",
            r#""reasoning_effort":"xhigh""#,
            adaptive,
            "\"xhigh\"",
        ),
        (
            "claude-opus-5",
            r#""reasoning_effort":"high""#,
            adaptive,
            "\"high\"",
        ),
        (
            "claude-latest",
            r#""reasoning_effort":"medium""#,
            adaptive,
            "\"medium\"",
        ),
        (
            "claude-opus-5",
            r#""reasoning_effort":"none""#,
            r#"{"type":"disabled"}"#,
            "null",
        ),
        (
            "claude-3-7-sonnet",
            r#""reasoning_effort":"none""#,
            "null",
            "null",
        ),
        (
            "claude-3-5-sonnet",
            r#""reasoning_effort":"none""#,
            "null",
            "null",
        ),
        (
            "claude-sonnet-4-5",
            r#""reasoning_effort":"medium","max_tokens":10000"#,
            r#"{"type":"enabled","budget_tokens":5000}"#,
            "null",
        ),
        (
            "claude-sonnet-4-5",
            r#""reasoning_effort":"low""#,
            r#"{"type":"enabled","budget_tokens":1024}"#,
            "null",
        ),
        (
            "claude-sonnet-4-5",
            r#""reasoning_effort":"high","max_tokens":1000000"#,
            r#"{"type":"enabled","budget_tokens":32000}"#,
            "null",
        ),
        (
            "claude-opus-4-6",
            r#""reasoning_effort":"high","thinking":{"type":"disabled"}"#,
            r#"{"type":"disabled"}"#,
            "\"high\"",
        ),
    ] {
        let body = encode(&of(model, members)).expect(members);
        let seen = (
            body["thinking"].to_string(),
            body["output_config"]["effort"].to_string(),
        );
        assert_eq!(
            (seen.0.as_str(), seen.1.as_str()),
            (thinking, effort),
            "{model} {members}"
        );
    }
}

#[test]
fn what_a_model_lacks_is_refused() {
    let tool = r#""tools":[{"type":"function","function":{"name":"f","strict":true}}]"#;
    let schema =
        r#""response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{}}}"#;
    let forced = format!(r#"{tool},"tool_choice":"required","reasoning_effort":"low""#);
    for (model, members, param) in [
        (
            "claude-3-5-sonnet",
            r#""reasoning_effort":"low""#,
            "reasoning_effort",
        ),
        (
            "claude-sonnet-4-5",
            r#""reasoning_effort":"low","max_tokens":1024"#,
            "reasoning_effort",
        ),
        (
            "claude-sonnet-4-5",
            r#""reasoning_effort":"low","temperature":0.2"#,
            "temperature",
        ),
        ("claude-sonnet-4-5", &forced, "reasoning_effort"),
        ("claude-opus-4-7", r#""temperature":0.2"#, "temperature"),
        ("claude-opus-5", r#""top_p":0.2"#, "top_p"),
        ("claude-opus-5", r#""top_k":2"#, "top_k"),
        ("claude-3-5-sonnet", schema, "response_format"),
        ("claude-3-5-sonnet", tool, "tools[0].function.strict"),
    ] {
        let body = of(model, members);
        assert_eq!(encode(&body).expect_err(members).param, param, "{model}");
        encode_with(&body, dropping()).expect(members);
    }
}

#[test]
fn system_and_developer_messages_leave_the_list() {
    for (messages, system) in [
        (r#"{"role":"system","content":"a"}"#, r#""a""#),
        (r#"{"role":"system","content":" "}"#, "null"),
        (
            r#"{"role":"system","content":"a"},{"role":"developer","content":[{"type":"text","text":"b"}]}"#,
            r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#,
        ),
        (
            r#"{"role":"system","content":[{"type":"text","text":"a"},{"type":"text","text":"b","cache_control":{"type":"ephemeral"}}]}"#,
            r#"[{"type":"text","text":"a"},{"type":"text","text":"b","cache_control":{"type":"ephemeral"}}]"#,
        ),
        (
            r#"{"role":"system","content":"a","cache_control":{"type":"ephemeral"}}"#,
            r#"[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]"#,
        ),
    ] {
        let body = saying(&format!(r#"{{"role":"user","content":"x"}},{messages}"#));
        let body = encode(&body).unwrap();
        assert_eq!(body["system"].to_string(), system, "{messages}");
        assert_eq!(body["messages"].as_array().map(Vec::len), Some(1));
    }
    let alone = saying(r#"{"role":"system","content":"a"},{"role":"user","content":""}"#);
    assert_eq!(encode(&alone).unwrap_err().param, "messages");
}

#[test]
fn turns_are_merged() {
    assert_eq!(
        turns(
            r#"{"role":"user","content":"a"},{"role":"system","content":"s"},
               {"role":"user","content":"b"},{"role":"assistant","content":"c"},
               {"role":"user","content":""},{"role":"assistant","content":"d"}"#
        ),
        concat!(
            r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},"#,
            r#"{"role":"assistant","content":[{"type":"text","text":"c"},{"type":"text","text":"d"}]}]"#
        )
    );
}

#[test]
fn results_come_before_text() {
    assert_eq!(
        turns(
            r#"{"role":"assistant","content":"","tool_calls":[
                 {"id":"a.1","type":"function","function":{"name":"f","arguments":"{ \"x\" : 1 }"}},
                 {"id":"b","type":"function","function":{"name":"g","arguments":""}}]},
               {"role":"user","content":"wait"},
               {"role":"tool","tool_call_id":"a.1","content":"1"},
               {"role":"tool","tool_call_id":"b","content":[
                 {"type":"text","text":"see"},
                 {"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]},
               {"role":"tool","tool_call_id":"c","content":""}"#
        ),
        concat!(
            r#"[{"role":"assistant","content":["#,
            r#"{"type":"tool_use","id":"a_1","name":"f","input":{"x":1}},"#,
            r#"{"type":"tool_use","id":"b","name":"g","input":{}}]},"#,
            r#"{"role":"user","content":["#,
            r#"{"type":"tool_result","tool_use_id":"a_1","content":"1"},"#,
            r#"{"type":"tool_result","tool_use_id":"b","content":[{"type":"text","text":"see"},"#,
            r#"{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA=="}}]},"#,
            r#"{"type":"tool_result","tool_use_id":"c"},"#,
            r#"{"type":"text","text":"wait"}]}]"#
        )
    );
}

#[test]
fn arguments_that_are_no_object_are_refused() {
    for arguments in ["[]", "1", "{", "{}x", "null", "\\\"a\\\""] {
        let body = saying(&format!(
            r#"{{"role":"assistant","tool_calls":[{{"id":"a","function":{{"name":"f","arguments":"{arguments}"}}}}]}}"#
        ));
        let refused = encode(&body).expect_err(arguments);
        assert_eq!(
            refused.param,
            "messages[0].tool_calls[0].function.arguments"
        );
    }
}

#[test]
fn thinking_goes_back_first() {
    assert_eq!(
        turns(
            r#"{"role":"assistant","content":"a","reasoning_content":"hm",
                "reasoning_signature":"anthropic:S","tool_calls":[
                {"id":"c","function":{"name":"f","arguments":"{}"}}]},
               {"role":"tool","tool_call_id":"c","content":"r"},
               {"role":"assistant","content":"b","reasoning_content":"another's"}"#
        ),
        concat!(
            r#"[{"role":"assistant","content":["#,
            r#"{"type":"thinking","thinking":"hm","signature":"S"},{"type":"text","text":"a"},"#,
            r#"{"type":"tool_use","id":"c","name":"f","input":{}}]},"#,
            r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":"r"}]},"#,
            r#"{"role":"assistant","content":[{"type":"text","text":"b"}]}]"#
        )
    );
}

#[test]
fn interleaved_thinking_goes_back_in_its_place() {
    let reply = r#"{"type":"message","stop_reason":"tool_use","content":[
        {"type":"thinking","thinking":"hé","signature":"A"},{"type":"text","text":"x\u00e9"},
        {"type":"tool_use","id":"c","name":"f","input":{}},
        {"type":"thinking","thinking":"","signature":"B"},{"type":"text","text":"y"},
        {"type":"tool_use","id":"d","name":"f","input":{}}]}"#;
    let reply = Anthropic::new().decode(reply.as_bytes()).unwrap();
    let reply = openai::write_reply(&reply, "m", openai::Stamp::default());
    let reply: Value = serde_json::from_slice(&reply).unwrap();
    let mut message = reply["choices"][0]["message"].clone();
    assert_eq!(message["content"], "xéy");
    assert_eq!(
        turns(&message.to_string()),
        concat!(
            r#"[{"role":"assistant","content":["#,
            r#"{"type":"thinking","thinking":"hé","signature":"A"},{"type":"text","text":"xé"},"#,
            r#"{"type":"tool_use","id":"c","name":"f","input":{}},"#,
            r#"{"type":"thinking","thinking":"","signature":"B"},{"type":"text","text":"y"},"#,
            r#"{"type":"tool_use","id":"d","name":"f","input":{}}]}]"#
        )
    );
    message["content"] = "x".into();
    let refused = encode(&saying(&message.to_string())).unwrap_err();
    assert_eq!(refused.param, "messages[0].reasoning_signature");
    let body = encode_with(&saying(&message.to_string()), dropping()).unwrap();
    assert_eq!(
        body["messages"][0]["content"].as_array().map(Vec::len),
        Some(3)
    );
}

#[test]
fn parts_are_mapped() {
    for (part, expected) in [
        (r#"{"type":"text","text":"a"}"#, r#""a""#),
        (
            r#"{"type":"text","text":"a","cache_control":{"type":"ephemeral","ttl":"1h"}}"#,
            r#"[{"type":"text","text":"a","cache_control":{"type":"ephemeral","ttl":"1h"}}]"#,
        ),
        (
            r#"{"type":"text","text":" "},{"type":"text","text":"a"}"#,
            r#"[{"type":"text","text":"a"}]"#,
        ),
        (
            r#"{"type":"image_url","image_url":{"url":"https://a/b.png","detail":"high"}}"#,
            r#"[{"type":"image","source":{"type":"url","url":"https://a/b.png"}}]"#,
        ),
        (
            r#"{"type":"image_url","image_url":{"url":"data:image/jpg;base64,AA"}}"#,
            r#"[{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"AA"}}]"#,
        ),
        (
            r#"{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVBERi0"}}"#,
            r#"[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0"},"title":"a.pdf"}]"#,
        ),
        (
            r#"{"type":"file","file":{"file_data":"JVBERi0xLjQ"}}"#,
            r#"[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0xLjQ"}}]"#,
        ),
        (
            r#"{"type":"file","file":{"file_data":"data:text/csv;charset=utf-8;base64,YSxiCsOpLDE="}}"#,
            r#"[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"a,b\né,1"}}]"#,
        ),
        (
            r#"{"type":"file","file":{"file_data":"data:image/webp;base64,AA"}}"#,
            r#"[{"type":"image","source":{"type":"base64","media_type":"image/webp","data":"AA"}}]"#,
        ),
        (
            r#"{"type":"file","file":{"file_data":"https://a/b.pdf"}}"#,
            r#"[{"type":"document","source":{"type":"url","url":"https://a/b.pdf"}}]"#,
        ),
        (
            r#"{"type":"file","file":{"file_id":"file_1"}}"#,
            r#"[{"type":"document","source":{"type":"file","file_id":"file_1"}}]"#,
        ),
    ] {
        assert_eq!(content(part), expected, "{part}");
    }
}

#[test]
fn parts_that_cannot_be_expressed_are_named() {
    for (part, member) in [
        (
            r#"{"type":"input_audio","input_audio":{"data":"","format":"wav"}}"#,
            ".type",
        ),
        (
            r#"{"type":"image_url","image_url":{"url":"file:///a"}}"#,
            ".image_url.url",
        ),
        (
            r#"{"type":"image_url","image_url":{"url":"data:image/tiff;base64,A"}}"#,
            ".image_url.url",
        ),
        (
            r#"{"type":"image_url","image_url":{"url":"data:image/png,A"}}"#,
            ".image_url.url",
        ),
        (
            r#"{"type":"image_url","image_url":{"url":"https://a","detail":"low"}}"#,
            ".image_url.detail",
        ),
        (
            r#"{"type":"file","file":{"file_data":"AAAA"}}"#,
            ".file.file_data",
        ),
        (
            r#"{"type":"file","file":{"file_data":"data:text/plain;base64,/w"}}"#,
            ".file.file_data",
        ),
        (
            r#"{"type":"file","file":{"file_data":"data:video/mp4;base64,AA"}}"#,
            ".file.file_data",
        ),
    ] {
        let body = saying(&format!(
            r#"{{"role":"user","content":[{{"type":"text","text":"a"}},{part}]}}"#
        ));
        let refused = encode(&body).expect_err(part);
        assert_eq!(refused.param, format!("messages[0].content[1]{member}"));
        encode_with(&body, dropping()).expect(part);
    }
}

#[test]
fn cache_control_of_a_message_goes_to_its_last_block() {
    let cache = r#""cache_control":{"type":"ephemeral"}"#;
    assert_eq!(
        turns(&format!(
            r#"{{"role":"user","content":"a",{cache}}},
               {{"role":"assistant","content":"b",{cache},"tool_calls":[
                 {{"id":"c","function":{{"name":"f","arguments":"{{}}"}}}}]}},
               {{"role":"tool","tool_call_id":"c","content":"r",{cache}}}"#
        )),
        format!(
            r#"[{{"role":"user","content":[{{"type":"text","text":"a",{cache}}}]}},{{"role":"assistant","content":[{{"type":"text","text":"b"}},{{"type":"tool_use","id":"c","name":"f","input":{{}},{cache}}}]}},{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"c","content":"r",{cache}}}]}}]"#
        )
    );
}

#[test]
fn tools_are_mapped() {
    let tools = r#""tools":[
        {"type":"function","function":{"name":"f","description":"d","strict":true,
         "parameters":{"type":"object","$defs":{"a":{}}}},"cache_control":{"type":"ephemeral"}},
        {"type":"function","function":{"name":"g","parameters":{ },"strict":false}},
        {"type":"function","function":{"name":"h"}},
        {"type":"function","function":{"name":"i","parameters":{ "properties":{"type":{}}}}},
        {"type":"function","function":{"name":"j","parameters":{"$defs":{},"type":"object"}}}]"#;
    let body = encode(&with(tools)).unwrap();
    assert_eq!(
        body["tools"].to_string(),
        concat!(
            r#"[{"name":"f","description":"d","input_schema":{"type":"object","$defs":{"a":{}}},"#,
            r#""strict":true,"cache_control":{"type":"ephemeral"}},"#,
            r#"{"name":"g","input_schema":{"type":"object","properties":{}}},"#,
            r#"{"name":"h","input_schema":{"type":"object","properties":{}}},"#,
            r#"{"name":"i","input_schema":{"type":"object","properties":{"type":{}}}},"#,
            r#"{"name":"j","input_schema":{"$defs":{},"type":"object"}}]"#
        )
    );
    for (members, expected) in [
        ("", "null"),
        (r#","tool_choice":"auto""#, r#"{"type":"auto"}"#),
        (r#","tool_choice":"none""#, r#"{"type":"none"}"#),
        (
            r#","tool_choice":"none","parallel_tool_calls":false"#,
            r#"{"type":"none"}"#,
        ),
        (r#","tool_choice":"required""#, r#"{"type":"any"}"#),
        (
            r#","tool_choice":{"type":"function","function":{"name":"g"}}"#,
            r#"{"type":"tool","name":"g"}"#,
        ),
        (r#","parallel_tool_calls":true"#, "null"),
        (
            r#","parallel_tool_calls":false"#,
            r#"{"type":"auto","disable_parallel_tool_use":true}"#,
        ),
        (
            r#","parallel_tool_calls":false,"tool_choice":"required""#,
            r#"{"type":"any","disable_parallel_tool_use":true}"#,
        ),
    ] {
        let body = encode(&with(&format!("{tools}{members}"))).unwrap();
        assert_eq!(body["tool_choice"].to_string(), expected, "{members}");
    }
    let forced = encode(&with(r#""tool_choice":"required""#));
    assert_eq!(forced.unwrap_err().param, "tool_choice");
}

#[test]
fn vertex_has_the_model_in_the_path() {
    let encode = |body: &str| {
        let request = openai::read(body.as_bytes()).unwrap();
        Anthropic::on_vertex().encode(&request, &Options::default())
    };
    let encoded = encode(&of("claude-sonnet-4-5@20250929", r#""stream":true"#)).unwrap();
    let suffix = "/publishers/anthropic/models/claude-sonnet-4-5@20250929:streamRawPredict";
    assert_eq!(encoded.head.suffix, suffix);
    assert!(encoded.head.headers.is_empty());
    let body: Value = serde_json::from_slice(&encoded.body).unwrap();
    assert_eq!(body["anthropic_version"], "vertex-2023-10-16");
    assert_eq!(body.get("model"), None);
    for model in ["", "../x", "a/b", "a:b", "a?b", "a%2f"] {
        assert_eq!(
            encode(&of(model, "")).unwrap_err().param,
            "model",
            "{model}"
        );
    }
}
