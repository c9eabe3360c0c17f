//! Errors.
//!
//! Source: <https://platform.openai.com/docs/guides/error-codes>, read 2026-11-21.

use serde::Serialize;

use crate::contract::error_type;
use crate::failure::Failure;

/// Shape: `{"error": {"message", "type", "param", "code"}}`; `param` and `code` may be `null`.
#[derive(Serialize)]
struct Body<'a> {
    error: Object<'a>,
}

#[derive(Serialize)]
struct Object<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: Option<&'a str>,
}

/// The JSON text of an error.
pub fn to_json(failure: &Failure<'_>) -> String {
    let error = Object {
        message: &failure.message,
        r#type: failure
            .kind
            .as_deref()
            .unwrap_or_else(|| error_type(failure.status)),
        param: failure.param.as_deref(),
        code: failure.code.as_deref(),
    };
    // Strings and nulls alone: serialisation has nothing to fail on.
    serde_json::to_string(&Body { error }).unwrap_or_default()
}
