//! Google's errors.
//!
//! Source: <https://ai.google.dev/gemini-api/docs/troubleshooting> and
//! <https://cloud.google.com/apis/design/errors>, read 2026-11-21.

use std::borrow::Cow;

use crate::failure::{
    CONTEXT_OVERFLOW, Failure, MAX_MESSAGE_CHARS, is_context_overflow, plain_message,
    provider_message,
};
use crate::json::{self, Ignored, Items, Read, Reader, Text, Unread, object};

/// Google's error.
///
/// Shape: `{"error": {"code": 400, "message", "status": "INVALID_ARGUMENT", "details": [...]}}`, or
/// a list with one of these.
#[derive(Clone, Debug, Default)]
pub(super) struct GoogleError {
    /// The HTTP status.
    pub code: Option<u16>,
    pub message: String,
    /// A word of google.rpc.Code, or empty.
    pub status: String,
    /// `google.rpc.ErrorInfo.reason`, or empty.
    reason: String,
    /// `google.rpc.RetryInfo.retryDelay`. Unit: seconds, begun ones as whole.
    pub retry_after: Option<u64>,
}

impl GoogleError {
    /// Reads one; `None` where the text is none.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let reply: ErrorReply = match body.trim_ascii_start().starts_with(b"[") {
            true => {
                let items: Items<'_, OrElse<ErrorReply>> = json::read(body).ok()?;
                items.iter().next()?.0?
            }
            false => json::read(body).ok()?,
        };
        reply.error?.0
    }

    /// The status that the client sees, where `status` is what came with the reply.
    ///
    /// A wrong key is 400 at Google and 401 at OpenAI.
    pub(super) fn client_status(&self, status: u16) -> u16 {
        if status == 400 && matches!(self.reason.as_str(), "API_KEY_INVALID" | "API_KEY_EXPIRED") {
            return 401;
        }
        status
    }

    /// OpenAI's word for it, else Google's.
    pub(super) fn client_code(&self, status: u16) -> Option<Cow<'static, str>> {
        let code = match (status, self.status.as_str()) {
            (401, _) => "invalid_api_key",
            (404, _) => "model_not_found",
            (429, _) => "rate_limit_exceeded",
            _ if is_context_overflow(status, &self.message) => CONTEXT_OVERFLOW,
            (_, "") => return None,
            (_, status) => return Some(Cow::Owned(status.to_owned())),
        };
        Some(Cow::Borrowed(code))
    }

    /// What a person reads: never empty, and not too long.
    pub(super) fn client_message(&self, status: u16) -> String {
        provider_message(status, &self.message)
    }
}

object! {
    ErrorReply {
        error: OrElse<GoogleError> = b"error",
    }
}

impl<'a> Read<'a> for GoogleError {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        let word = |text: Option<Text<'_>>| {
            let text = text.unwrap_or_default().decode();
            text.chars().take(MAX_MESSAGE_CHARS).collect()
        };
        if reader.peek() == Some(b'"') {
            return Ok(Self {
                message: word(Some(reader.value()?)),
                ..Self::default()
            });
        }
        let it: Shape<'a> = reader.value()?;
        let details = || {
            it.details
                .iter()
                .flat_map(Items::iter)
                .filter_map(|it| it.0)
        };
        let reason = details().find_map(|detail| detail.reason?.0);
        let retry_after = details().find_map(|detail| seconds(&detail.retry_delay?.0?.decode()));
        let code = it.code.and_then(|code| u16::try_from(code).ok());
        Ok(Self {
            code: code.filter(|code| (400..600).contains(code)),
            message: word(it.message),
            status: word(it.status),
            reason: word(reason),
            retry_after,
        })
    }
}

object! {
    Shape<'a> {
        code: u64 = b"code",
        message: Text<'a> = b"message",
        status: Text<'a> = b"status",
        details: Items<'a, OrElse<Detail<'a>>> = b"details",
    }
}

object! {
    Detail<'a> {
        reason: OrElse<Text<'a>> = b"reason",
        retry_delay: OrElse<Text<'a>> = b"retryDelay",
    }
}

/// A value, or something else, which is then passed over.
#[derive(Clone, Debug)]
pub(super) struct OrElse<T>(pub(super) Option<T>);

impl<'a, T: Read<'a>> Read<'a> for OrElse<T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        let mut ahead = reader.clone();
        if let Ok(value) = ahead.value() {
            *reader = ahead;
            return Ok(Self(Some(value)));
        }
        reader.value::<Ignored>().map(|_| Self(None))
    }
}

/// A reply with a status of 400 or more.
pub(super) fn failure(status: u16, body: &[u8]) -> Failure<'static> {
    let Some(error) = GoogleError::read(body) else {
        // A page for people, of a proxy on the way.
        let text = match body.trim_ascii_start().starts_with(b"<") {
            true => b"",
            false => body,
        };
        return Failure::new(status, plain_message(status, text));
    };
    let status = error.client_status(status);
    Failure::new(status, error.client_message(status))
        .with_param((status == 404).then_some(Cow::Borrowed("model")))
        .with_code(error.client_code(status))
}

/// A `google.protobuf.Duration` as JSON has it: `34s`, `34.074824224s`.
fn seconds(text: &str) -> Option<u64> {
    let number = text.strip_suffix('s')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let begun = fraction.bytes().any(|digit| digit != b'0');
    whole.parse::<u64>().ok()?.checked_add(u64::from(begun))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_delay_is_told_in_whole_seconds() {
        for (delay, expected) in [
            (r#""34.074824224s""#, Some(35)),
            (r#""34s""#, Some(34)),
            (r#""34.000s""#, Some(34)),
            (r#""0.5s""#, Some(1)),
            (r#""-1s""#, None),
            (r#""34""#, None),
            ("34", None),
        ] {
            let body = format!(
                r#"[{{"error":{{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[
                    {{"@type":"type.googleapis.com/google.rpc.Help"}},
                    {{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":{delay}}}]}}}}]"#
            );
            let error = GoogleError::read(body.as_bytes()).unwrap();
            assert_eq!(error.retry_after, expected, "{delay}");
        }
    }

    #[test]
    fn an_error_keeps_its_message_and_gets_openai_words() {
        let google = |code: u16, status: &str| {
            format!(r#"{{"error":{{"code":{code},"message":"m","status":"{status}"}}}}"#)
        };
        for (status, body, expected) in [
            (400, google(400, "INVALID_ARGUMENT"), (400, "m", "invalid_request_error", Some("INVALID_ARGUMENT"))),
            (400, google(400, "FAILED_PRECONDITION"), (400, "m", "invalid_request_error", Some("FAILED_PRECONDITION"))),
            (401, google(401, "UNAUTHENTICATED"), (401, "m", "authentication_error", Some("invalid_api_key"))),
            (403, google(403, "PERMISSION_DENIED"), (403, "m", "permission_error", Some("PERMISSION_DENIED"))),
            (404, google(404, "NOT_FOUND"), (404, "m", "invalid_request_error", Some("model_not_found"))),
            (429, google(429, "RESOURCE_EXHAUSTED"), (429, "m", "rate_limit_error", Some("rate_limit_exceeded"))),
            (500, google(500, "INTERNAL"), (500, "m", "server_error", Some("INTERNAL"))),
            (503, google(503, "UNAVAILABLE"), (503, "m", "server_error", Some("UNAVAILABLE"))),
            (504, google(504, "DEADLINE_EXCEEDED"), (504, "m", "server_error", Some("DEADLINE_EXCEEDED"))),
            (429, format!("[{}]", google(429, "RESOURCE_EXHAUSTED")), (429, "m", "rate_limit_error", Some("rate_limit_exceeded"))),
            (400, r#"{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}"#.to_owned(),
             (401, "API key not valid.", "authentication_error", Some("invalid_api_key"))),
            (500, r#"{"error":"text"}"#.to_owned(), (500, "text", "server_error", None)),
            (502, "upstream gone".to_owned(), (502, "upstream gone", "server_error", None)),
            (502, "<html>busy</html>".to_owned(), (502, "the provider answered with status 502 and no message", "server_error", None)),
            (400, "[]".to_owned(), (400, "[]", "invalid_request_error", None)),
            (400, String::new(), (400, "the provider answered with status 400 and no message", "invalid_request_error", None)),
        ] {
            let error = failure(status, body.as_bytes());
            let got = error.status;
            let error: Value = serde_json::from_str(&crate::api::openai::error(&error)).unwrap();
            let error = &error["error"];
            let seen = (got, error["message"].as_str().unwrap(), error["type"].as_str().unwrap(), error["code"].as_str());
            assert_eq!(seen, expected, "{body}");
        }
    }
}
