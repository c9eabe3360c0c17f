//! The JSON Schema of a configuration, for editors. Native only.
//!
//! The types of [`file`](super::file) give it; here is what their declarations cannot say.
//! The readers decide what is valid, not the schema.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

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
    schema
}

/// What is added, by the place in the schema.
fn additions() -> Vec<(&'static str, Value)> {
    let name = json!({"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"});
    let without_host: Vec<&str> = ProviderType::ALL
        .into_iter()
        .filter(|provider| !provider.has_own_host())
        .map(ProviderType::as_str)
        .collect();
    vec![
        ("", json!({"title": "llm-proxy gateway"})),
        ("/properties/listen", json!({"default": "127.0.0.1:10000"})),
        ("/properties/admin", json!({"default": "127.0.0.1:9901"})),
        ("/properties/maxRequestBytes", json!({"default": "32MiB"})),
        ("/properties/placement", json!({"default": "listener"})),
        ("/properties/holdHeaders", json!({"default": false})),
        ("/properties/backends", json!({"minItems": 1})),
        ("/definitions/Backend/properties/name", name.clone()),
        (
            "/definitions/Backend",
            json!({
                "if": {"properties": {"type": {"enum": without_host}}},
                "then": {"required": ["config"], "properties": {"config": {"required": ["endpoint"]}}},
            }),
        ),
        (
            "/definitions/BackendConfig/properties/apiKey",
            json!({"examples": ["${OPENAI_API_KEY}"]}),
        ),
        (
            "/definitions/BackendConfig/properties/endpoint",
            json!({"examples": ["https://llm.example.com/v1"]}),
        ),
        (
            "/definitions/BackendConfig/properties/address",
            json!({"examples": ["127.0.0.1:8443"]}),
        ),
        (
            "/definitions/BackendConfig/properties/timeout",
            json!({"default": "60s"}),
        ),
        (
            "/definitions/BackendConfig/properties/maxRetries",
            json!({"default": 0}),
        ),
        (
            "/definitions/AuthHeader/properties/prefix",
            json!({"default": ""}),
        ),
        (
            "/definitions/Tls/properties/insecure",
            json!({"default": false}),
        ),
        ("/definitions/Route/properties/name", name),
        (
            "/definitions/Route/properties/path",
            json!({"default": "/", "examples": ["/v1"]}),
        ),
        (
            "/definitions/Route/properties/methods/items",
            json!({
                "enum": ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"],
            }),
        ),
    ]
}
