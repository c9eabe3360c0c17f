//! A provider's error reply as OpenAI would have written it.

use serde_json::{Map, Value};

use super::error::to_json;
use crate::contract::error_type;
use crate::failure::{CONTEXT_OVERFLOW, Failure, is_context_overflow};
use crate::json::{Event, Kind, Scanner, Watched};

/// The OpenAI-shaped body for a provider's error, or `None` where `body` already is one: then it
/// passes byte for byte.
pub fn reshape(status: u16, body: &[u8]) -> Option<String> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => reshape_object(status, members),
        // Google wraps its error in a list now and then.
        Ok(Value::Array(mut items)) if matches!(items.as_slice(), [Value::Object(_)]) => {
            let Some(Value::Object(members)) = items.pop() else {
                return None;
            };
            let unwrapped = Value::Object(members.clone()).to_string();
            Some(reshape_object(status, members).unwrap_or(unwrapped))
        }
        _ => Some(to_json(&Failure::of_body(status, body))),
    }
}

/// Whether a body that is too long to be read whole begins as an OpenAI-shaped error does.
pub fn begins_well(beginning: &[u8]) -> bool {
    let mut scanner = Scanner::new(Watched::new(["error"]));
    let mut rest = beginning;
    loop {
        match scanner.scan(&mut rest) {
            Ok(Event::ValueStart { kind, .. }) => return kind == Kind::Object,
            Ok(Event::ValueEnd { .. }) => {}
            Ok(Event::InputEmpty | Event::ObjectEnd { .. }) | Err(_) => return false,
        }
    }
}

fn reshape_object(status: u16, mut members: Map<String, Value>) -> Option<String> {
    if let Some(Value::Object(error)) = members.get_mut("error")
        && error.get("message").is_some_and(Value::is_string)
    {
        let message = error.get("message").and_then(Value::as_str);
        let overflows = message.is_some_and(|message| is_context_overflow(status, message));
        let is_named = error
            .get("code")
            .is_some_and(|code| code == CONTEXT_OVERFLOW);
        if MEMBERS.iter().all(|name| error.contains_key(*name)) && (is_named || !overflows) {
            return None;
        }
        if overflows {
            error.insert("code".to_owned(), CONTEXT_OVERFLOW.into());
        }
        // Only what is missing is added: the rest may tell more than OpenAI's shape has room for.
        for name in MEMBERS {
            error.entry(name).or_insert_with(|| match name {
                "type" => Value::from(error_type(status)),
                _ => Value::Null,
            });
        }
        return Some(Value::Object(members).to_string());
    }
    Some(to_json(&Failure::of_object(status, &members)))
}

/// The members of OpenAI's error object, besides `message`.
const MEMBERS: [&str; 3] = ["type", "param", "code"];

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, body: &str) -> Value {
        let reshaped = reshape(status, body.as_bytes()).expect(body);
        serde_json::from_str::<Value>(&reshaped).unwrap()["error"].clone()
    }

    #[test]
    fn an_openai_error_passes_untouched() {
        for body in [
            r#"{"error":{"message":"m","type":"t","param":null,"code":"c"}}"#,
            r#"{ "error" : {"message":"","param":"n", "code":17,"type":null,"more":1} }"#,
        ] {
            assert_eq!(reshape(400, body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn every_other_error_keeps_its_message() {
        for (body, message) in [
            ("upstream is gone", "upstream is gone"),
            (
                " \n",
                "the provider answered with status 503 and no message",
            ),
            ("", "the provider answered with status 503 and no message"),
            (
                "<html><head><TITLE> 503 Busy </TITLE></head></html>",
                "503 Busy",
            ),
            (
                "<p>x</p>",
                "the provider answered with status 503 and no message",
            ),
            (r#"{"detail":"Not here"}"#, "Not here"),
            (
                r#"{"detail":[{"loc":["body","model"],"msg":"field required"},{"loc":["body",0],"msg":"x"}]}"#,
                "body.model: field required; body.0: x",
            ),
            (r#"{"message":"slow down"}"#, "slow down"),
            (
                r#"{"message":{"detail":[{"loc":["a"],"msg":"b"}]}}"#,
                "a: b",
            ),
            (r#"{"error":"text"}"#, "text"),
            (r#"{"error":{"status":"X"}}"#, r#"{"status":"X"}"#),
            (r#"{"error":null,"message":"m"}"#, "m"),
            (r#"{"errors":["a","b"]}"#, "a; b"),
            (r#""text""#, "text"),
            ("17", "17"),
            ("{}", "{}"),
            (r#"{"error":{"message":5}}"#, r#"{"message":5}"#),
        ] {
            let error = error(503, body);
            assert_eq!(error["message"], message, "{body}");
            assert_eq!(error["type"], "server_error", "{body}");
        }
    }

    #[test]
    fn what_the_provider_says_of_type_and_code_is_kept() {
        let error = error(
            422,
            r#"{"object":"error","message":"bad","type":"BadRequestError","param":"n","code":42}"#,
        );
        assert_eq!(
            error,
            serde_json::json!(
                {"message": "bad", "type": "BadRequestError", "param": "n", "code": "42"}
            )
        );
    }

    #[test]
    fn what_is_missing_is_added_and_the_rest_stays() {
        let body = br#"{"error":{"message":"m","code":502,"metadata":{"raw":"r"}},"user_id":"u"}"#;
        let expected = concat!(
            r#"{"error":{"message":"m","code":502,"metadata":{"raw":"r"},"#,
            r#""type":"server_error","param":null},"user_id":"u"}"#
        );
        assert_eq!(reshape(502, body).as_deref(), Some(expected));
    }

    #[test]
    fn the_beginning_of_a_long_error_tells_its_shape() {
        for (beginning, expected) in [
            (r#"{"error": {"message":"x"#, true),
            (r#"{"id":1,"error":{"#, true),
            (r#"{"error":"x"#, false),
            (r#"{"detail":[{"error":{"#, false),
            ("[", false),
            ("<html>", false),
        ] {
            assert_eq!(begins_well(beginning.as_bytes()), expected, "{beginning}");
        }
    }

    #[test]
    fn a_conversation_that_is_too_long_has_openais_code() {
        for body in [
            r#"{"error":{"message":"This model's maximum context length is 8192 tokens","type":"x","param":null,"code":null}}"#,
            r#"{"object":"error","message":"Prompt contains 70000 tokens, too large for model with 32768 maximum context length","type":"invalid_request_error","code":"3051"}"#,
            r#"{"message":"too many tokens: size limit exceeded"}"#,
            r#"{"error":{"message":"Please reduce the length of the messages or completion.","type":"invalid_request_error"}}"#,
        ] {
            assert_eq!(
                error(400, body)["code"],
                "context_length_exceeded",
                "{body}"
            );
        }
        let body = r#"{"error":{"message":"maximum context length","type":"x","param":null,"code":"context_length_exceeded"}}"#;
        assert_eq!(reshape(400, body.as_bytes()), None);
        let other = r#"{"error":{"message":"bad","type":"x","param":null,"code":"y"}}"#;
        assert_eq!(reshape(400, other.as_bytes()), None);
    }

    #[test]
    fn a_wrapped_error_is_unwrapped() {
        let body = br#"[{"error":{"code":400,"message":"m","status":"INVALID"}}]"#;
        let expected = concat!(
            r#"{"error":{"code":400,"message":"m","status":"INVALID","#,
            r#""type":"invalid_request_error","param":null}}"#
        );
        assert_eq!(reshape(400, body).as_deref(), Some(expected));
    }

    #[test]
    fn broken_and_huge_bodies_still_give_an_error() {
        assert_eq!(
            error(500, &"x".repeat(10_000))["message"]
                .as_str()
                .map(str::len),
            Some(4_000)
        );
        let reshaped = reshape(500, b"\xff\xfe").unwrap();
        assert!(serde_json::from_str::<Value>(&reshaped).is_ok());
        let deep = "[".repeat(100_000);
        assert!(error(500, &deep)["message"].is_string());
    }
}
