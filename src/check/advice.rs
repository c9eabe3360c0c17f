//! The fix beside what is wrong, where the whole text shows what was meant.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::config::{ConfigError, ConfigErrors, KeyPath, Position, Text, file};
use crate::import;

/// A text, and what was probably meant with it.
#[derive(Debug)]
pub struct Advice<'t> {
    text: &'t Text<'t>,
    /// `None`: the text is not one document.
    value: Option<Cow<'t, Value>>,
}

impl<'t> Advice<'t> {
    /// Looks at a text.
    pub fn of(text: &'t Text<'t>) -> Self {
        Self {
            text,
            value: text.value().ok(),
        }
    }

    /// The only thing to say, where the file is another gateway's.
    pub fn other_gateway(&self) -> Option<String> {
        let name = import::recognize(self.text)?;
        Some(format!(
            "this is a configuration of {name}; \"llm-proxy import FILE > gateway.yaml\" makes one \
             of ours from it"
        ))
    }

    /// What to report of these errors.
    pub fn choose<'e>(&self, errors: &'e ConfigErrors) -> Vec<&'e ConfigError> {
        let mut chosen: Vec<&ConfigError> = errors.iter().collect();
        // A key that is misspelt is not missing as well.
        let meant = |it: &ConfigError| {
            let message = unknown_key(&it.at, &it.message);
            meant(&message).map(|key| sibling(&it.at, key))
        };
        let unknown = errors.iter().filter(|it| is_unknown(it));
        let unknown = unknown.filter_map(meant).map(|it| it.to_string());
        let unknown: BTreeSet<String> = unknown.collect();
        chosen.retain(|it| !is_absent(it) || !unknown.contains(&it.at.to_string()));
        chosen
    }

    /// The message with its fix.
    pub fn message(&self, error: &ConfigError) -> String {
        let message = error.message.as_str();
        if is_unknown(error) {
            return unknown_key(&error.at, message);
        }
        if self.value.is_none() {
            return match self.syntax_fix(error.position) {
                Some(fix) => format!("{message}; {fix}"),
                None => message.to_owned(),
            };
        }
        if let Some(message) = self.type_fix(error) {
            return message;
        }
        match self.fix(error) {
            Some(fix) => {
                let message = message.strip_suffix("; quote it").unwrap_or(message);
                format!("{message}; {fix}")
            }
            None => message.to_owned(),
        }
    }

    fn fix(&self, error: &ConfigError) -> Option<String> {
        let (keys, key) = keys(&error.at);
        let value = self.get(&keys)?;
        let is = |expected: &str| error.message.starts_with(expected);
        match value {
            Value::Null if keys.is_empty() => {
                Some("begin with \"backends:\"; envoy/any.gateway.yaml has every key".to_owned())
            }
            Value::Number(port) if ADDRESSES.contains(&key.as_str()) => {
                Some(format!("write 127.0.0.1:{port}"))
            }
            Value::String(text) if ADDRESSES.contains(&key.as_str()) => {
                let port = text.strip_prefix("localhost:").or(text.strip_prefix(':'));
                port.map(|port| format!("write 127.0.0.1:{port}"))
            }
            Value::Number(number) if is("expected a list") => Some(format!("write [{number}]")),
            Value::String(method) if is_method(&keys) && is_plain(method) => {
                Some(format!("write {}", method.to_ascii_uppercase()))
            }
            Value::String(text) if is("expected a list") && is_plain(text) => {
                Some(format!("write [{text}]"))
            }
            Value::String(text) if key == "authHeader" && is_plain(text) => {
                Some(format!("write {{name: {text}}}"))
            }
            Value::Number(number) if is("expected a time") => Some(format!("write {number}s")),
            Value::String(text) if TIMES.contains(&key.as_str()) && is_number(text) => {
                Some(format!("it has no unit: write {text}s"))
            }
            Value::Object(_) if is("expected a list") && key == "backends" => {
                Some("write \"- name: NAME\" for each of them".to_owned())
            }
            Value::Object(_) if is("expected a list") => {
                Some("write \"- \" before each of its elements".to_owned())
            }
            Value::Array(_) if key == "backend" => {
                Some("for several, name a backend of type pool".to_owned())
            }
            _ => None,
        }
    }

    /// Another name for a type, which the likeness of letters does not show.
    fn type_fix(&self, error: &ConfigError) -> Option<String> {
        let (keys, key) = keys(&error.at);
        let text = self.get(&keys)?.as_str().filter(|_| key == "type")?;
        let lower = text.to_ascii_lowercase();
        let (_, meant) = TYPES.iter().find(|(other, _)| *other == lower)?;
        let (known, _) = error
            .message
            .split_once("; did you mean")
            .unwrap_or((&error.message, ""));
        Some(format!("{known}; did you mean {meant:?}?"))
    }

    /// What is probably wrong with a text that is no YAML.
    fn syntax_fix(&self, position: Option<Position>) -> Option<&'static str> {
        let line = position?.line;
        let lines: Vec<&str> = self.text.as_str().lines().collect();
        // The parser notices at the mark that it did not expect, often in the next line.
        let near = [line, line.saturating_sub(1), line + 1];
        let near = near
            .into_iter()
            .filter_map(|it| lines.get(it.checked_sub(1)?));
        for line in near {
            let is_unquoted = |at: usize| {
                let before = line.get(..at).unwrap_or_default();
                before.matches('"').count() % 2 == 0 && before.matches('\'').count() % 2 == 0
            };
            let in_braces = line.contains('{') || line.contains('[');
            if line.find("${").is_some_and(is_unquoted) && in_braces {
                return Some("quote variables within {…}: \"${NAME}\"");
            }
            if line.trim_start_matches(' ').starts_with('\t') {
                return Some("indent with spaces, not with tabs");
            }
        }
        None
    }

    fn get(&self, keys: &[String]) -> Option<&Value> {
        let mut value = self.value.as_deref()?;
        for key in keys {
            value = match value {
                Value::Array(items) => items.get(key.parse::<usize>().ok()?)?,
                value => value.get(key)?,
            };
        }
        Some(value)
    }
}

fn is_unknown(error: &ConfigError) -> bool {
    error.message.starts_with("unknown key;")
}

fn is_absent(error: &ConfigError) -> bool {
    error.message.starts_with("required")
}

/// What a message about an unknown key takes it for.
fn meant(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("did you mean \"")?;
    Some(rest.split_once('"')?.0)
}

/// The key beside this one.
fn sibling(at: &KeyPath, key: &str) -> KeyPath {
    at.parent().unwrap_or_default().key(key)
}

/// A key that is unknown where it stands: where it belongs, or what others call so.
fn unknown_key(at: &KeyPath, message: &str) -> String {
    let (keys, key) = keys(at);
    let parents: Vec<&str> = keys.iter().map(String::as_str).collect();
    let has = |known: &[&str]| known.contains(&key.as_str());
    let table: &[(&str, &str)] = match parents.as_slice() {
        ["backends", _, _] if has(file::BackendConfig::KEYS) => {
            return format!("unknown key here; write it under config: config.{key}");
        }
        ["backends", _, "config", _] if has(file::Backend::KEYS) => {
            return "unknown key here; write it beside config, not under it".to_owned();
        }
        ["backends", _, _] => BACKEND_WORDS,
        ["backends", _, "config", _] => CONFIG_WORDS,
        ["routes", _, _] => ROUTE_WORDS,
        ["backends", _, "backends", _, _] => MEMBER_WORDS,
        _ => &[],
    };
    let folded = key.to_ascii_lowercase().replace(['-', '_'], "");
    match table.iter().find(|(other, _)| *other == folded) {
        Some((_, meant)) => format!("unknown key; did you mean {meant:?}?"),
        None => message.to_owned(),
    }
}

/// The keys of a path, and the last of them.
fn keys(at: &KeyPath) -> (Vec<String>, String) {
    let key = |step: &str| {
        let inner = step.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let quoted = inner.and_then(|it| it.strip_prefix('"')?.strip_suffix('"'));
        quoted.or(inner).unwrap_or(step).to_owned()
    };
    let keys: Vec<String> = at.steps().map(key).collect();
    let last = keys.last().cloned().unwrap_or_default();
    (keys, last)
}

/// Whether this is one of a route's methods.
fn is_method(keys: &[String]) -> bool {
    keys.len() == 4 && keys.get(2).is_some_and(|it| it == "methods")
}

fn is_plain(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_./:*".contains(c);
    !text.is_empty() && text.len() <= 40 && text.chars().all(is_word)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

const ADDRESSES: [&str; 2] = ["admin", "listen"];
const TIMES: [&str; 4] = [
    "timeout",
    "firstByteTimeout",
    "streamIdleTimeout",
    "deadline",
];

/// What other gateways and people call a type.
const TYPES: [(&str, &str); 16] = [
    ("azure", "azure-openai"),
    ("azureopenai", "azure-openai"),
    ("chatgpt", "openai"),
    ("claude", "anthropic"),
    ("custom", "openai-compatible"),
    ("gemini", "google"),
    ("google-ai", "google"),
    ("gpt", "openai"),
    ("grok", "xai"),
    ("llama", "meta"),
    ("llamacpp", "openai-compatible"),
    ("togetherai", "together"),
    ("vertex", "google"),
    ("vertex-ai", "google"),
    ("vertexai", "google"),
    ("x.ai", "xai"),
];

/// What other gateways call the keys, in lower case without `-` and `_`.
const BACKEND_WORDS: &[(&str, &str)] = &[
    ("id", "name"),
    ("kind", "type"),
    ("members", "backends"),
    ("options", "config"),
    ("provider", "type"),
    ("settings", "config"),
    ("targets", "backends"),
];
const CONFIG_WORDS: &[(&str, &str)] = &[
    ("apibase", "endpoint"),
    ("apitoken", "apiKey"),
    ("baseurl", "endpoint"),
    ("deployment", "deploymentName"),
    ("host", "endpoint"),
    ("hostoverride", "endpoint"),
    ("key", "apiKey"),
    ("organization", "orgId"),
    ("region", "location"),
    ("retries", "maxRetries"),
    ("token", "apiKey"),
    ("url", "endpoint"),
];
const ROUTE_WORDS: &[(&str, &str)] = &[
    ("backends", "backend"),
    ("host", "hosts"),
    ("hostname", "hosts"),
    ("model_name", "models"),
    ("pathprefix", "path"),
    ("pool", "backend"),
    ("prefix", "path"),
    ("target", "backend"),
    ("timeout", "deadline"),
    ("to", "backend"),
    ("upstream", "backend"),
    ("uri", "path"),
    ("url", "path"),
];
const MEMBER_WORDS: &[(&str, &str)] = &[("backend", "name"), ("order", "priority")];
