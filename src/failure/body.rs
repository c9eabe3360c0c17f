//! What a provider's error says, whatever shape it has.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{CONTEXT_OVERFLOW, Failure, is_context_overflow, provider_message};

impl Failure<'static> {
    /// The failure that a provider's reply with this status describes: JSON of any shape, text, or a page
    /// for people.
    pub fn of_body(status: u16, body: &[u8]) -> Self {
        let about = |message: &str| Self::new(status, provider_message(status, message));
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Self::of_object(status, &members),
            Ok(Value::String(text)) => about(&text),
            // Google wraps its error in a list now and then.
            Ok(Value::Array(items)) => match items.as_slice() {
                [Value::Object(members)] => Self::of_object(status, members),
                _ => about(&message_of(&Value::Array(items)).unwrap_or_default()),
            },
            Ok(other) => about(&other.to_string()),
            Err(_) => about(&readable(&String::from_utf8_lossy(body))),
        }
    }

    /// The same of a JSON object.
    pub fn of_object(status: u16, members: &Map<String, Value>) -> Self {
        let source = match members.get("error") {
            Some(Value::Object(error)) => error,
            _ => members,
        };
        let text = |key: &str| source.get(key).and_then(scalar);
        let message = MESSAGE_KEYS
            .iter()
            .filter_map(|key| source.get(*key))
            .find_map(message_of)
            .unwrap_or_else(|| Value::Object(source.clone()).to_string());
        // `{"type": "error"}` says what the object is, not which error.
        let kind = text("type").filter(|it| it != "error");
        let code = match is_context_overflow(status, &message) {
            true => Some(Cow::Borrowed(CONTEXT_OVERFLOW)),
            false => text("code"),
        };
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Self::new(status, provider_message(status, &message))
            .with_kind(kind.map(owned))
            .with_param(text("param").map(owned))
            .with_code(code.map(owned))
    }
}

/// What a person would read in a value: a text, a list's texts, FastAPI's `{loc, msg}`.
fn message_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.trim().is_empty()),
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().filter_map(message_of).collect();
            Some(texts.join("; ")).filter(|text| !text.is_empty())
        }
        Value::Object(members) => {
            let message = MESSAGE_KEYS
                .iter()
                .filter_map(|key| members.get(*key))
                .find_map(message_of)?;
            let place: Option<Vec<Cow<'_, str>>> = members
                .get("loc")
                .and_then(Value::as_array)
                .map(|place| place.iter().filter_map(scalar).collect());
            Some(match place {
                Some(place) => format!("{}: {message}", place.join(".")),
                None => message,
            })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

/// Plain text as it is; of an HTML page its title.
fn readable(text: &str) -> String {
    let trimmed = text.trim();
    if !trimmed.starts_with('<') {
        return trimmed.to_owned();
    }
    let lower = trimmed.to_ascii_lowercase();
    let title = || {
        let start = lower.find("<title>")? + "<title>".len();
        let length = lower.get(start..)?.find("</title>")?;
        trimmed.get(start..start.checked_add(length)?)
    };
    title().unwrap_or_default().trim().to_owned()
}

const MESSAGE_KEYS: [&str; 8] = [
    "message",
    "error",
    "detail",
    "msg",
    "error_message",
    "error_description",
    "errors",
    "title",
];
