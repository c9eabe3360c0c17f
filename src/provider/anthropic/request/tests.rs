use serde_json::Value;

use super::*;
use crate::api::openai;
use crate::provider::adapt::Policy;
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
        unsupported: Policy::Drop,
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
        ("", "max_tokens", "32000"),
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
            r#"{"format":{"type":"json_schema","schema":{"$defs":{},"type":"object","properties":{},"additionalProperties":false}}}"#,
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
        (r#""logit_bias":{"1":1}"#, "logit_bias"),
        (r#""modalities":["text","audio"]"#, "modalities"),
        (r#""audio":{"voice":"x"}"#, "audio"),
        (r#""whatever":1"#, "whatever"),
        (
            r#""tools":[{"type":"file_search","vector_store_ids":["v"]}]"#,
            "tools[0] (file_search)",
        ),
        (
            r#""tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"web_search"}"#,
            "tool_choice",
        ),
    ] {
        let body = with(members);
        let refused = encode(&body).expect_err(members);
        assert_eq!(refused.param, param);
        let dropped = encode_with(&body, dropping()).expect(members);
        let top = param.split('.').next().unwrap();
        assert!(
            matches!(&dropped[top], Value::Null) || dropped[top]["type"] == "auto",
            "{dropped}"
        );
    }
}

/// What is sent, and the report.
fn adapted(body: &str) -> (Value, String) {
    let request = openai::read(body.as_bytes()).expect(body);
    let encoded = Anthropic::new().encode(&request, &Options::default());
    let encoded = encoded.expect(body);
    let sent = serde_json::from_slice(&encoded.body).expect("JSON");
    (sent, encoded.head.adapted.unwrap_or_default())
}

#[test]
fn hints_are_left_out_or_replaced() {
    let tools = r#""tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}]"#;
    let schema = r#""response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}}"#;
    let strict = r#""tools":[{"type":"function","function":{"name":"f","strict":true}}]"#;
    let g_alone =
        format!(r#"{tools},"tool_choice":{{"type":"function","function":{{"name":"g"}}}}"#);
    let any = format!(r#"{tools},"tool_choice":"required""#);
    for (model, members, report, pointer, expected) in [
        ("claude-opus-4-6", r#""seed":1"#, "seed", "/seed", "null"),
        (
            "claude-opus-4-6",
            r#""temperature":1.5"#,
            "temperature",
            "/temperature",
            "null",
        ),
        (
            "claude-opus-4-6",
            r#""temperature":-1"#,
            "temperature",
            "/temperature",
            "0.0",
        ),
        (
            "claude-opus-4-7",
            r#""temperature":0.2"#,
            "temperature",
            "/temperature",
            "null",
        ),
        ("claude-opus-5", r#""top_p":0.2"#, "top_p", "/top_p", "null"),
        ("claude-opus-5", r#""top_k":2"#, "top_k", "/top_k", "null"),
        (
            "claude-haiku-4-5",
            r#""temperature":0.2,"top_p":0.9"#,
            "top_p",
            "/top_p",
            "null",
        ),
        (
            "claude-3-5-sonnet",
            r#""temperature":0.2,"top_p":0.9"#,
            "",
            "/top_p",
            "0.9",
        ),
        (
            "claude-sonnet-4-6",
            r#""temperature":0.2,"reasoning_effort":"low""#,
            "temperature",
            "/temperature",
            "null",
        ),
        (
            "claude-sonnet-4-6",
            r#""temperature":0.2,"thinking":{"type":"adaptive"}"#,
            "temperature",
            "/temperature",
            "null",
        ),
        (
            "claude-sonnet-4-6",
            r#""top_p":0.2,"top_k":3,"reasoning_effort":"low""#,
            "top_p, top_k",
            "/top_p",
            "0.95",
        ),
        (
            "claude-opus-4-6",
            r#""stop":["\n"]"#,
            "stop",
            "/stop_sequences",
            "null",
        ),
        (
            "claude-opus-4-6",
            r#""stop":"""#,
            "",
            "/stop_sequences",
            "null",
        ),
        (
            "claude-opus-4-6",
            r#""service_tier":"flex""#,
            "service_tier",
            "/service_tier",
            "null",
        ),
        (
            "claude-opus-4-6",
            r#""stream_options":{"x":1}"#,
            "stream_options.x",
            "/x",
            "null",
        ),
        (
            "claude-3-5-sonnet",
            r#""reasoning_effort":"low""#,
            "reasoning_effort",
            "/thinking",
            "null",
        ),
        (
            "claude-sonnet-4-5",
            r#""reasoning_effort":"low","max_tokens":1024"#,
            "reasoning_effort",
            "/thinking",
            "null",
        ),
        (
            "claude-opus-5-5",
            r#""reasoning_effort":"none""#,
            "reasoning_effort",
            "/output_config/effort",
            r#""low""#,
        ),
        (
            "claude-sonnet-5-5",
            r#""reasoning_effort":"none""#,
            "reasoning_effort",
            "/thinking",
            r#"{"type":"between_tools"}"#,
        ),
        (
            "claude-haiku-5-5",
            r#""reasoning_effort":"none""#,
            "",
            "/thinking",
            r#"{"type":"disabled"}"#,
        ),
        (
            "claude-opus-5-5",
            r#""reasoning":{"effort":"high"}"#,
            "",
            "/output_config/effort",
            r#""high""#,
        ),
        (
            "claude-3-5-sonnet",
            strict,
            "tools[].function.strict",
            "/tools/0/strict",
            "null",
        ),
        (
            "claude-3-5-sonnet",
            schema,
            "response_format",
            "/output_config",
            "null",
        ),
        (
            "claude-opus-5-5",
            &g_alone,
            "tool_choice",
            "/tool_choice",
            r#"{"type":"auto"}"#,
        ),
        (
            "claude-opus-5-5",
            &g_alone,
            "tool_choice",
            "/tools/0/name",
            r#""g""#,
        ),
        (
            "claude-opus-5-5",
            &any,
            "tool_choice",
            "/tools/1/name",
            r#""g""#,
        ),
        (
            "claude-opus-5-5",
            &any,
            "tool_choice",
            "/system",
            r#""Your next answer must be a call of at least one of the tools, and no text.""#,
        ),
        (
            "claude-opus-5",
            &any,
            "",
            "/tool_choice",
            r#"{"type":"any"}"#,
        ),
        (
            "claude-haiku-5-5",
            &g_alone,
            "",
            "/tool_choice",
            r#"{"type":"tool","name":"g"}"#,
        ),
        (
            "claude-opus-5",
            r#""response_format":{"type":"json_object"}"#,
            "response_format",
            "/system",
            r#""Answer with one JSON object and nothing else: no text around it, no code fence.""#,
        ),
        (
            "claude-sonnet-4-5",
            r#""max_tokens":100000"#,
            "max_tokens",
            "/max_tokens",
            "64000",
        ),
        (
            "claude-opus-4-6",
            r#""max_tokens":100000"#,
            "",
            "/max_tokens",
            "100000",
        ),
        (
            "claude-sonnet-4-6",
            r#""max_tokens":200000"#,
            "max_tokens",
            "/max_tokens",
            "128000",
        ),
        ("claude-3-opus", "", "", "/max_tokens", "4096"),
        ("claude-opus-5-5", "", "", "/max_tokens", "32000"),
        (
            "claude-opus-5-5",
            "",
            "",
            "/thinking",
            r#"{"type":"adaptive","display":"summarized"}"#,
        ),
        ("claude-opus-5", "", "", "/thinking", "null"),
    ] {
        let (sent, seen) = adapted(&of(model, members));
        assert_eq!(seen, report, "{model} {members}");
        let value = sent.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(value.to_string(), expected, "{model} {members}: {sent}");
    }
}

#[test]
fn allowed_tools_are_the_only_ones() {
    let body = with(
        r#""tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}],
        "tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"g"}}]}}"#,
    );
    let body = encode(&body).unwrap();
    assert_eq!(body["tools"].as_array().map(Vec::len), Some(1));
    assert_eq!(body["tools"][0]["name"], "g");
    assert_eq!(body["tool_choice"]["type"], "any");
}

#[test]
fn a_search_of_the_providers_is_offered_where_the_backend_has_it() {
    let options = Options {
        has_web_search: true,
        ..Options::default()
    };
    for (model, members, expected) in [
        (
            "claude-opus-5",
            r#""web_search_options":{"user_location":{"type":"approximate","approximate":{"country":"DE","city":"Köln"}}}"#,
            r#"[{"type":"web_search_20260318","name":"web_search","user_location":{"type":"approximate","city":"Köln","country":"DE"}}]"#,
        ),
        (
            "claude-haiku-4-5",
            r#""tools":[{"type":"web_search_preview"}]"#,
            r#"[{"type":"web_search_20250305","name":"web_search"}]"#,
        ),
    ] {
        let sent = encode_with(&of(model, members), options).unwrap();
        assert_eq!(sent["tools"].to_string(), expected);
    }
}

#[test]
fn functions_are_tools() {
    let body = r#"{"model":"claude-opus-5","functions":[{"name":"f","parameters":{"type":"object"}}],
        "function_call":{"name":"f"},"messages":[{"role":"user","content":"u"},
        {"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},
        {"role":"function","name":"f","content":"r"}]}"#;
    let sent = encode(body).unwrap();
    assert_eq!(sent["tools"][0]["name"], "f");
    assert_eq!(sent["tool_choice"]["name"], "f");
    let id = &sent["messages"][1]["content"][0]["id"];
    assert_eq!(&sent["messages"][2]["content"][0]["tool_use_id"], id);
    assert!(openai::read(body.as_bytes()).unwrap().uses_functions);
}

#[test]
fn thinking_is_left_out_in_a_tool_loop_that_has_lost_it() {
    let body = |signature: &str| {
        format!(
            r#"{{"model":"claude-haiku-4-5","reasoning_effort":"high","messages":[
            {{"role":"user","content":"u"}},
            {{"role":"assistant","content":null,{signature}"tool_calls":[{{"id":"a","type":"function","function":{{"name":"f","arguments":"{{}}"}}}}]}},
            {{"role":"tool","tool_call_id":"a","content":"r"}}]}}"#
        )
    };
    let (sent, report) = adapted(&body(""));
    assert_eq!(
        (&sent["thinking"], report.as_str()),
        (&Value::Null, "reasoning_effort")
    );
    let kept = r#""reasoning_content":"h","reasoning_signature":"anthropic:S","#;
    let (sent, report) = adapted(&body(kept));
    assert_eq!(
        (&sent["thinking"]["type"], report.as_str()),
        (&"enabled".into(), "")
    );
}

#[test]
fn a_late_instruction_stays_in_its_place_where_the_model_takes_it() {
    let body = |model: &str| {
        format!(
            r#"{{"model":"{model}","messages":[{{"role":"system","content":"s1"}},
            {{"role":"user","content":"u1"}},{{"role":"assistant","content":"a1"}},
            {{"role":"developer","content":"s2"}},{{"role":"user","content":"u2"}}]}}"#
        )
    };
    let sent = encode(&body("claude-opus-5-5")).unwrap();
    assert_eq!(sent["system"], "s1");
    assert_eq!(
        sent["messages"].to_string(),
        concat!(
            r#"[{"role":"user","content":"u1"},"#,
            r#"{"role":"assistant","content":[{"type":"text","text":"a1"}]},"#,
            r#"{"role":"user","content":"u2"},{"role":"system","content":"s2"}]"#
        )
    );
    let sent = encode(&body("claude-opus-4-6")).unwrap();
    let system = r#"[{"type":"text","text":"s1"},{"type":"text","text":"s2"}]"#;
    assert_eq!(sent["system"].to_string(), system);
    assert_eq!(sent["messages"].as_array().map(Vec::len), Some(3));
}

#[test]
fn thinking_of_earlier_turns_stays_out_where_it_is_bound_to_its_prefix() {
    let thought = |name: &str| {
        format!(
            r#"{{"role":"assistant","content":"{name}","reasoning_content":"h","reasoning_signature":"anthropic:{name}","tool_calls":[{{"id":"{name}","type":"function","function":{{"name":"f","arguments":"{{}}"}}}}]}},
            {{"role":"tool","tool_call_id":"{name}","content":"r"}}"#
        )
    };
    for (model, expected) in [
        ("claude-opus-5-5", [false, true]),
        ("claude-opus-5", [true, true]),
    ] {
        let body = format!(
            r#"{{"model":"{model}","messages":[{{"role":"user","content":"u"}},{},{{"role":"user","content":"v"}},{}]}}"#,
            thought("S1"),
            thought("S2")
        );
        let sent = encode(&body).unwrap()["messages"].to_string();
        for (signature, is_sent) in ["S1", "S2"].into_iter().zip(expected) {
            let block = format!(r#""signature":"{signature}""#);
            assert_eq!(sent.contains(&block), is_sent, "{model} {sent}");
        }
    }
}

#[test]
fn ids_of_calls_are_unique_and_results_find_theirs() {
    let call = |id: &str| {
        format!(r#"{{"id":"{id}","type":"function","function":{{"name":"f","arguments":""}}}}"#)
    };
    let result = |id: &str, text: &str| {
        format!(r#"{{"role":"tool","tool_call_id":"{id}","content":"{text}"}}"#)
    };
    let turn = |calls: &[&str], results: &[String]| {
        let calls: Vec<_> = calls.iter().map(|id| call(id)).collect();
        format!(
            r#"{{"role":"assistant","content":null,"tool_calls":[{}]}},{}"#,
            calls.join(","),
            results.join(",")
        )
    };
    let messages = [
        turn(&["a.b", "a:b"], &[result("a:b", "2"), result("a.b", "1")]),
        turn(&["c", "c"], &[result("c", "3"), result("c", "4")]),
        turn(&["c"], &[result("c", "5")]),
    ];
    let body = saying(&format!(
        r#"{{"role":"user","content":"u"}},{}"#,
        messages.join(",")
    ));
    let sent = encode(&body).unwrap();
    let ids = |message: usize, member: &str| -> Vec<String> {
        let content = sent["messages"][message]["content"].as_array().unwrap();
        let ids = content.iter().map(|it| it[member].as_str().unwrap());
        ids.map(str::to_owned).collect()
    };
    assert_eq!(ids(1, "id"), ["a_b", "a_b_2"]);
    assert_eq!(ids(2, "tool_use_id"), ["a_b_2", "a_b"]);
    assert_eq!(ids(3, "id"), ["c", "c_2"]);
    assert_eq!(ids(4, "tool_use_id"), ["c", "c_2"]);
    assert_eq!(ids(5, "id"), ["c_3"]);
    assert_eq!(ids(6, "tool_use_id"), ["c_3"]);
}

#[test]
fn white_space_at_the_end_of_a_last_assistant_turn_is_cut() {
    let messages = r#"{"role":"user","content":"u"},{"role":"assistant","content":"a \n"},
        {"role":"user","content":"v"},{"role":"assistant","content":[{"type":"text","text":"b"},{"type":"text","text":"c \n"}]}"#;
    let sent = encode(&saying(messages)).unwrap();
    assert_eq!(
        sent["messages"][1]["content"][0]["text"],
        "a 
"
    );
    assert_eq!(sent["messages"][3]["content"][0]["text"], "b");
    assert_eq!(sent["messages"][3]["content"][1]["text"], "c");
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
            r#"{"type":"enabled","budget_tokens":6400}"#,
            "null",
        ),
        (
            "claude-sonnet-4-5",
            r#""reasoning_effort":"high","max_tokens":1000000"#,
            r#"{"type":"enabled","budget_tokens":32000}"#,
            "null",
        ),
        (
            "claude-haiku-4-5",
            r#""reasoning_effort":"xhigh""#,
            r#"{"type":"enabled","budget_tokens":27904}"#,
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
    let reply = openai::write_reply(&reply, "m", crate::api::Stamp::default());
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
    let (body, report) = adapted(&saying(&message.to_string()));
    assert_eq!(report, "messages[].reasoning_signature");
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
        let rejecting = Options {
            unsupported: Policy::Reject,
            ..Options::default()
        };
        let refused = encode_with(&body, rejecting).expect_err(part);
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
            r#"[{"name":"f","description":"d","input_schema":{"$defs":{"a":{"anyOf":[{"type":"string"},{"type":"number"},{"type":"boolean"},{"type":"null"}]}},"type":"object","properties":{},"additionalProperties":false},"#,
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
