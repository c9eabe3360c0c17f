//! Errors.
//!
//! Source: <https://platform.claude.com/docs/en/api/errors>, read 2026-11-21.

use serde::Serialize;
use serde_json::Value;

use crate::contract::messages_error_type;
use crate::failure::{CONTEXT_OVERFLOW, Failure};
use crate::json::{Event, Kind, Scanner, Watched};

/// Shape: `{"type": "error", "error": {"type", "message"}}`.
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    error: Object<'a>,
}

#[derive(Serialize)]
struct Object<'a> {
    r#type: &'static str,
    message: &'a str,
}

/// The JSON text of an error.
pub(super) fn to_json(failure: &Failure<'_>) -> String {
    let message = message(failure);
    let body = Body {
        r#type: "error",
        error: Object {
            r#type: messages_error_type(failure.status),
            message: &message,
        },
    };
    // Strings alone: serialisation has nothing to fail on.
    serde_json::to_string(&body).unwrap_or_default()
}

/// Clients look for these words to shorten the conversation.
fn message(failure: &Failure<'_>) -> String {
    let overflows = failure.code.as_deref() == Some(CONTEXT_OVERFLOW);
    match overflows && !failure.message.contains(PROMPT_TOO_LONG) {
        true => format!("{PROMPT_TOO_LONG}: {}", failure.message),
        false => failure.message.clone().into_owned(),
    }
}

const PROMPT_TOO_LONG: &str = "prompt is too long";

/// A provider's error in this shape; `None`: it has it.
pub(super) fn reshape(status: u16, body: &[u8]) -> Option<String> {
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    let is_own = parsed.is_some_and(|it| {
        let error = it.get("error");
        let has = |name| {
            error
                .and_then(|error| error.get(name))
                .is_some_and(Value::is_string)
        };
        it.get("type").is_some_and(|it| it == "error") && has("type") && has("message")
    });
    match is_own {
        true => None,
        false => Some(to_json(&Failure::of_body(status, body))),
    }
}

/// Whether a body that is too long to be read whole begins as an error does.
pub(super) fn is_beginning(beginning: &[u8]) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_shape_and_the_type_of_its_status() {
        for (status, kind) in [
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (404, "not_found_error"),
            (405, "invalid_request_error"),
            (413, "request_too_large"),
            (429, "rate_limit_error"),
            (500, "api_error"),
            (501, "not_supported"),
            (502, "api_error"),
            (503, "overloaded_error"),
            (504, "timeout_error"),
        ] {
            let expected =
                format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"m"}}}}"#);
            assert_eq!(to_json(&Failure::new(status, "m")), expected);
        }
    }

    #[test]
    fn an_error_of_the_api_passes_and_others_are_reshaped() {
        let own = r#"{"type":"error","error":{"type":"overloaded_error","message":"m"},"request_id":"r"}"#;
        assert_eq!(reshape(529, own.as_bytes()), None);
        for body in [
            "",
            "busy",
            r#"{"error":{"message":"m","type":"server_error","param":null,"code":null}}"#,
            r#"{"type":"error","error":"m"}"#,
        ] {
            let reshaped = reshape(500, body.as_bytes()).unwrap();
            assert!(
                reshaped.starts_with(r#"{"type":"error","error":{"type":"api_error","message":""#),
                "{reshaped}"
            );
        }
    }

    #[test]
    fn a_conversation_that_is_too_long_is_told_in_the_words_that_clients_know() {
        let failure = Failure::of_body(
            400,
            br#"{"error":{"message":"This model's maximum context length is 8192 tokens"}}"#,
        );
        assert!(to_json(&failure).contains(r#""message":"prompt is too long: This model"#));
    }
}
