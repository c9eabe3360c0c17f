//! The JSON Schema of a configuration, for editors. Native only.
//!
//! The types of [`mod@file`] give it; here is what their declarations cannot say.
//! The readers decide what is valid, not the schema.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::build::METHODS;
use super::keys::{CONFIG_KEYS, POOL_KEYS, Types};
use super::read::FromValue;
use super::value::{Span, WebSearch};
use super::{defaults, file};
use crate::gateway::{Placement, Role};
use crate::pool::Strategy;
use crate::provider::ProviderType;
use crate::provider::adapt::Policy;

/// The schema as text: JSON, with a line feed at its end.
pub fn text() -> String {
    // A schema is made of strings, numbers and mappings: there is nothing to fail on.
    let mut text = serde_json::to_string_pretty(&schema()).unwrap_or_default();
    text.push('\n');
    text
}

fn schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<file::Gateway>().to_value();
    for (pointer, members) in additions() {
        if let (Some(Value::Object(target)), Value::Object(members)) =
            (schema.pointer_mut(pointer), members)
        {
            target.extend(members);
        }
    }
    unwrap_lines(&mut schema);
    describe_types(&mut schema);
    for (mapping, key, default) in defaults() {
        let pointer = format!("{mapping}/properties/{key}");
        if let Some(Value::Object(property)) = schema.pointer_mut(&pointer) {
            append(property, &format!("Default: {}.", as_written(&default)));
            property.insert("default".to_owned(), default);
        }
    }
    schema
}

/// The defaults, by mapping and key.
fn defaults() -> Vec<(&'static str, &'static str, Value)> {
    const ROOT: &str = "";
    const BACKEND: &str = "/definitions/Backend";
    const MEMBER: &str = "/definitions/Member";
    const CONFIG: &str = "/definitions/BackendConfig";
    const AUTH_HEADER: &str = "/definitions/AuthHeader";
    const TLS: &str = "/definitions/Tls";
    const ROUTE: &str = "/definitions/Route";
    let mebibytes = |bytes: u64| json!(format!("{}MiB", bytes >> 20));
    vec![
        (ROOT, "listen", json!(defaults::LISTEN)),
        (ROOT, "admin", json!(defaults::ADMIN)),
        (
            ROOT,
            "maxRequestBytes",
            mebibytes(defaults::MAX_REQUEST_BYTES),
        ),
        (ROOT, "maxHeldBytes", mebibytes(defaults::MAX_HELD_BYTES)),
        (ROOT, "placement", written(Placement::default())),
        (ROOT, "holdHeaders", json!(defaults::HOLD_HEADERS)),
        (ROOT, "routeMetadata", json!(defaults::ROUTE_METADATA)),
        (ROOT, "role", written(Role::default())),
        (BACKEND, "strategy", written(Strategy::default())),
        (BACKEND, "fallback", json!(defaults::FALLBACK)),
        (
            BACKEND,
            "fallbackOn",
            written(defaults::FALLBACK_ON.to_vec()),
        ),
        (MEMBER, "weight", json!(defaults::WEIGHT)),
        (MEMBER, "priority", json!(defaults::PRIORITY)),
        (CONFIG, "apiVersion", json!(defaults::API_VERSION)),
        (CONFIG, "unsupported", written(Policy::default())),
        (CONFIG, "webSearch", written(WebSearch::default())),
        (CONFIG, "traceHeaders", json!(defaults::TRACE_HEADERS)),
        (CONFIG, "timeout", written(Span(defaults::TIMEOUT))),
        (CONFIG, "maxRetries", json!(defaults::MAX_RETRIES)),
        (AUTH_HEADER, "prefix", json!(defaults::PREFIX)),
        (TLS, "insecure", json!(defaults::INSECURE)),
        (ROUTE, "path", json!(defaults::PATH)),
        (
            ROUTE,
            "backendFromModel",
            json!(defaults::BACKEND_FROM_MODEL),
        ),
    ]
}

fn written(value: impl FromValue) -> Value {
    value.to_value().unwrap_or_default()
}

/// A default as a person writes it, for a description.
fn as_written(default: &Value) -> String {
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match default {
        Value::String(text) if text.is_empty() => "nothing".to_owned(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("`[{}]`", items.join(", "))
        }
        other => format!("`{}`", plain(other)),
    }
}

/// Adds a sentence to the first paragraph of a property's description.
fn append(property: &mut Map<String, Value>, sentence: &str) {
    if let Some(Value::String(text)) = property.get_mut("description") {
        text.push(' ');
        text.push_str(sentence);
    }
}

/// Says first in the description of a key to which types it applies.
fn describe_types(schema: &mut Value) {
    let mut prepend = |mapping: &str, key: &str, types: &str| {
        let pointer = format!("/definitions/{mapping}/properties/{key}/description");
        if let Some(Value::String(text)) = schema.pointer_mut(&pointer) {
            *text = format!("{types} {text}");
        }
    };
    for key in POOL_KEYS {
        prepend("Backend", key, "Only for `pool`.");
    }
    prepend("Backend", "config", "Not for `pool`.");
    for key in CONFIG_KEYS {
        let name = |provider: &ProviderType| match (provider, key.needs_location) {
            (ProviderType::Google, true) => "`google` with `location`".to_owned(),
            _ => format!("`{}`", provider.as_str()),
        };
        let names = |providers: &[ProviderType]| {
            let names: Vec<String> = providers.iter().map(name).collect();
            names.join(", ")
        };
        let types = match key.types {
            Types::Only(these) => format!("Only for {}.", names(these)),
            Types::Except(others) => format!("Not for {}.", names(others)),
        };
        prepend("BackendConfig", key.name, &types);
    }
}

/// What a key does not apply to.
fn keys_of_other_types() -> Vec<Value> {
    let mut groups: Vec<(Types, Map<String, Value>)> = Vec::new();
    for key in CONFIG_KEYS {
        let absent = json!({"enum": [null]});
        match groups.iter_mut().find(|(types, _)| *types == key.types) {
            Some((_, keys)) => _ = keys.insert(key.name.to_owned(), absent),
            None => groups.push((key.types, Map::from_iter([(key.name.to_owned(), absent)]))),
        }
    }
    let rule = |(types, keys): (Types, Map<String, Value>)| {
        let others = ProviderType::ALL.into_iter();
        let others = others.filter(|provider| !types.contain(*provider));
        let others: Vec<&str> = others.map(ProviderType::as_str).collect();
        json!({
            "if": {"properties": {"type": {"enum": others}}},
            "then": {"properties": {"config": {"properties": keys}}},
        })
    };
    groups.into_iter().map(rule).collect()
}

/// What is added, by the place in the schema.
fn additions() -> Vec<(&'static str, Value)> {
    let name = json!({"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"});
    vec![
        (
            "",
            json!({"title": concat!("gateway.yaml of llm-proxy ", env!("CARGO_PKG_VERSION"))}),
        ),
        ("/properties/backends", json!({"minItems": 1})),
        ("/definitions/Backend", json!({"title": "Backend"})),
        (
            "/definitions/Backend",
            json!({"allOf": rules_of_backends()}),
        ),
        ("/definitions/Backend/properties/name", name.clone()),
        (
            "/definitions/Backend/properties/type",
            json!({"description": types()}),
        ),
        ("/definitions/Member", json!({"title": "Member of a pool"})),
        (
            "/definitions/Member/properties/weight",
            json!({"minimum": 1}),
        ),
        (
            "/definitions/BackendConfig",
            json!({"title": "Backend configuration"}),
        ),
        (
            "/definitions/BackendConfig/properties/apiKey",
            example("${OPENAI_API_KEY}"),
        ),
        (
            "/definitions/BackendConfig/properties/endpoint",
            example("https://llm.example.com/v1"),
        ),
        (
            "/definitions/BackendConfig/properties/address",
            example("127.0.0.1:8443"),
        ),
        (
            "/definitions/BackendConfig/properties/firstByteTimeout",
            example("30s"),
        ),
        ("/definitions/AuthHeader", json!({"title": "Key header"})),
        (
            "/definitions/AuthHeader/properties/name",
            example("api-key"),
        ),
        ("/definitions/Auth", json!({"title": "Further credentials"})),
        ("/definitions/Tls", json!({"title": "TLS"})),
        ("/definitions/Route", json!({"title": "Route"})),
        ("/definitions/Route/properties/name", name),
        (
            "/definitions/Route/properties/path",
            json!({"examples": ["/v1"]}),
        ),
        (
            "/definitions/Route/properties/methods/items",
            json!({"enum": METHODS}),
        ),
        (
            "/definitions/Route/properties/hosts/items",
            example("*.example.com"),
        ),
        (
            "/definitions/Route/properties/models",
            json!({"minItems": 1, "examples": [["claude-*"]]}),
        ),
    ]
}

fn example(text: &str) -> Value {
    json!({"examples": [text]})
}

fn rules_of_backends() -> Vec<Value> {
    let rules = [needs_endpoint(), needs_members(), is_no_pool()];
    rules.into_iter().chain(keys_of_other_types()).collect()
}

/// A type without a host of its own requires an endpoint.
fn needs_endpoint() -> Value {
    let types: Vec<&str> = ProviderType::ALL
        .into_iter()
        .filter(|provider| !provider.has_own_host())
        .map(ProviderType::as_str)
        .collect();
    json!({
        "if": {"properties": {"type": {"enum": types}}},
        "then": {"required": ["config"], "properties": {"config": {"required": ["endpoint"]}}},
    })
}

/// A pool requires members and has no configuration.
fn needs_members() -> Value {
    json!({
        "if": {"properties": {"type": {"enum": ["pool"]}}},
        "then": {
            "required": ["backends"],
            "properties": {"backends": {"minItems": 1}, "config": {"enum": [null]}},
        },
    })
}

/// What only a pool has.
fn is_no_pool() -> Value {
    let types: Vec<&str> = ProviderType::ALL.map(ProviderType::as_str).into();
    let absent = |key: &str| (key.to_owned(), json!({"enum": [null]}));
    let keys: Map<String, Value> = POOL_KEYS.into_iter().map(absent).collect();
    json!({
        "if": {"properties": {"type": {"enum": types}}},
        "then": {"properties": keys},
    })
}

/// Every type and where it lives.
fn types() -> String {
    let described = |provider: ProviderType| {
        let preset = provider.preset();
        match preset.origin {
            Some(origin) => format!("- `{}`: {origin}{}", preset.name, preset.base_path),
            None => format!("- `{}`: where `config.endpoint` says", preset.name),
        }
    };
    let types: Vec<String> = ProviderType::ALL.into_iter().map(described).collect();
    format!("The kind of provider.\n\n{}", types.join("\n"))
}

/// Doc comments are wrapped where the line of source ends; an editor wraps where its window does.
fn unwrap_lines(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(text) if key == "description" && !text.contains("\n\n") => {
                        *text = text.replace('\n', " ");
                    }
                    value => unwrap_lines(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(unwrap_lines),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_that_depends_on_other_keys_is_described_as_it_is() {
        let described = schema();
        let limit = written(Span(defaults::FIRST_BYTE_TIMEOUT_OF_POOL));
        let text =
            described.pointer("/definitions/Backend/properties/firstByteTimeout/description");
        let text = text.and_then(Value::as_str).unwrap();
        assert!(text.contains(&as_written(&limit)), "{text}");
    }

    #[test]
    fn every_default_belongs_to_a_key() {
        let described = schema();
        for (mapping, key, default) in defaults() {
            let property = described.pointer(&format!("{mapping}/properties/{key}"));
            let property = property.unwrap_or_else(|| panic!("{mapping} {key}"));
            assert_eq!(property["default"], default);
            let text = property["description"].as_str().unwrap();
            assert!(
                text.ends_with(&format!("Default: {}.", as_written(&default))),
                "{text}"
            );
        }
    }
}
