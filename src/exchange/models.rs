//! The models of a backend, told from its configuration.
//!
//! Source: <https://platform.openai.com/docs/api-reference/models>, read 2026-11-21.

use std::collections::BTreeSet;

use crate::config::Backend;
use crate::json;
use crate::refusal::{LocalReply, Refusal};

/// The reply to `GET /models`, or to `GET /models/{model}`: `suffix` is the path from `/models` on.
pub fn reply(backend: &Backend, suffix: &str) -> LocalReply {
    let owner = backend.provider.as_str();
    let asked = suffix.strip_prefix("/models/").unwrap_or_default();
    let asked = asked.trim_end_matches('/');
    if asked.is_empty() {
        let models: Vec<String> = backend
            .model
            .names()
            .map(|name| model(name, owner))
            .collect();
        let list = format!(r#"{{"object":"list","data":[{}]}}"#, models.join(","));
        return LocalReply::json(200, list);
    }
    let asked = decoded(asked);
    let names: BTreeSet<&str> = backend.model.names().collect();
    match names.get(&*asked) {
        Some(name) => LocalReply::json(200, model(name, owner)),
        None => LocalReply::from(&Refusal::UnknownModel(asked)),
    }
}

/// OpenAI's model object. When a model was made nobody here knows.
fn model(name: &str, owner: &str) -> String {
    format!(
        r#"{{"id":{},"object":"model","created":0,"owned_by":{}}}"#,
        json::encode_string(name),
        json::encode_string(owner),
    )
}

/// A path segment without its escapes.
fn decoded(segment: &str) -> String {
    let literal = segment.replace('+', "%2B");
    let mut pairs = url::form_urlencoded::parse(literal.as_bytes());
    pairs
        .next()
        .map(|(name, _)| name.into_owned())
        .unwrap_or_default()
}
