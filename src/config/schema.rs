//! The JSON Schema of a configuration, for editors. Native only.
//!
//! The types of [`mod@file`] give it; here is what their declarations cannot say.
//! The readers decide what is valid, not the schema.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::build::METHODS;
use super::file;
use crate::provider::ProviderType;

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
    schema
}

/// What is added, by the place in the schema.
fn additions() -> Vec<(&'static str, Value)> {
    let name = json!({"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"});
    vec![
        (
            "",
            json!({"title": concat!("gateway.yaml of llm-proxy ", env!("CARGO_PKG_VERSION"))}),
        ),
        ("/properties/listen", json!({"default": "127.0.0.1:10000"})),
        ("/properties/admin", json!({"default": "127.0.0.1:9901"})),
        ("/properties/maxRequestBytes", json!({"default": "32MiB"})),
        ("/properties/maxHeldBytes", json!({"default": "256MiB"})),
        ("/properties/backends", json!({"minItems": 1})),
        ("/properties/placement", json!({"default": "listener"})),
        ("/properties/holdHeaders", json!({"default": false})),
        ("/definitions/Backend", json!({"title": "Backend"})),
        (
            "/definitions/Backend",
            json!({"allOf": [needs_endpoint(), needs_members(), is_no_pool()]}),
        ),
        ("/definitions/Backend/properties/name", name.clone()),
        (
            "/definitions/Backend/properties/type",
            json!({"description": types()}),
        ),
        (
            "/definitions/Backend/properties/strategy",
            json!({"default": "weighted"}),
        ),
        (
            "/definitions/Backend/properties/fallback",
            json!({"default": true}),
        ),
        (
            "/definitions/Backend/properties/fallbackOn",
            json!({"default": [429, "5xx"]}),
        ),
        ("/definitions/Member", json!({"title": "Member of a pool"})),
        (
            "/definitions/Member/properties/weight",
            json!({"default": 1, "minimum": 1}),
        ),
        (
            "/definitions/Member/properties/priority",
            json!({"default": 0}),
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
            "/definitions/BackendConfig/properties/timeout",
            json!({"default": "600s"}),
        ),
        (
            "/definitions/BackendConfig/properties/firstByteTimeout",
            example("30s"),
        ),
        (
            "/definitions/BackendConfig/properties/maxRetries",
            json!({"default": 0}),
        ),
        ("/definitions/AuthHeader", json!({"title": "Key header"})),
        (
            "/definitions/AuthHeader/properties/name",
            example("api-key"),
        ),
        (
            "/definitions/AuthHeader/properties/prefix",
            json!({"default": ""}),
        ),
        ("/definitions/Auth", json!({"title": "Further credentials"})),
        ("/definitions/Tls", json!({"title": "TLS"})),
        (
            "/definitions/Tls/properties/insecure",
            json!({"default": false}),
        ),
        ("/definitions/Route", json!({"title": "Route"})),
        ("/definitions/Route/properties/name", name),
        (
            "/definitions/Route/properties/path",
            json!({"default": "/", "examples": ["/v1"]}),
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
        (
            "/definitions/Route/properties/backendFromModel",
            json!({"default": false}),
        ),
    ]
}

fn example(text: &str) -> Value {
    json!({"examples": [text]})
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
    let absent = json!({"enum": [null]});
    json!({
        "if": {"properties": {"type": {"enum": types}}},
        "then": {"properties": {
            "strategy": absent,
            "fallback": absent,
            "fallbackOn": absent,
            "maxRetries": absent,
            "timeout": absent,
            "firstByteTimeout": absent,
            "backends": absent,
        }},
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
