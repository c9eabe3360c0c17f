//! The JSON Schema of a configuration, for editors. Native only.
//!
//! The types of [`mod@file`] give it; here is what their declarations cannot say.
//! The readers decide what is valid, not the schema.
//!
//! An editor should report a mistake once, and complete only what belongs. So what a key may be depends on
//! `type` by `if` and `then`: a pool and a provider are definitions of their own, and so is `config` for each
//! group of types that takes the same keys. Keys of the plugin configuration are left out: people do not
//! write them.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::build::METHODS;
use super::file;
use crate::provider::ProviderType;

/// The schema as text: JSON, with a line feed at its end.
pub fn text() -> String {
    // A schema is made of strings, numbers and mappings: there is nothing to fail on.
    let mut text = serde_json::to_string_pretty(&for_editors()).unwrap_or_default();
    text.push('\n');
    text
}

/// Every key with its description, those of the plugin configuration among them: for documentation.
pub fn all_keys() -> Value {
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

fn for_editors() -> Value {
    let mut schema = all_keys();
    remove_null(&mut schema);
    for pointer in ["/properties", "/definitions/Route/properties"] {
        if let Some(Value::Object(keys)) = schema.pointer_mut(pointer) {
            keys.retain(|_, key| !is_of_plugin(key));
        }
    }
    split_configs(&mut schema);
    split_backends(&mut schema);
    let id = concat!(
        "urn:llm-proxy:gateway.schema.json:",
        env!("CARGO_PKG_VERSION")
    );
    if let Value::Object(members) = schema {
        let first = [("$id".to_owned(), Value::from(id))];
        return first.into_iter().chain(members).collect();
    }
    schema
}

/// `null` is the same as an absent key to the readers; an editor need not suggest it.
fn remove_null(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|it| it != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    members.insert("type".to_owned(), only);
                }
            }
            for key in ["anyOf", "enum"] {
                if let Some(Value::Array(choices)) = members.get_mut(key) {
                    choices.retain(|it| !it.is_null() && *it != json!({"type": "null"}));
                }
            }
            if let Some(Value::Array(choices)) = members.get("anyOf")
                && let [Value::Object(only)] = choices.as_slice()
            {
                let only = only.clone();
                members.shift_remove("anyOf");
                members.extend(only);
            }
            if members.get("default") == Some(&Value::Null) {
                members.shift_remove("default");
            }
            members.values_mut().for_each(remove_null);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_null),
        _ => {}
    }
}

fn is_of_plugin(key: &Value) -> bool {
    let description = key.get("description").and_then(Value::as_str);
    description.is_some_and(|it| it.starts_with("Plugin configuration only"))
}

/// The keys of `config` that not every type has, by the name of the definition for those that do.
///
/// A test compares them with what the readers refuse.
pub const CONFIGS: [(&str, &[ProviderType], &[&str]); 5] = [
    (
        "OpenaiConfig",
        &[ProviderType::Openai],
        &["orgId", "projectId", "path"],
    ),
    (
        "AnthropicConfig",
        &[ProviderType::Anthropic],
        &["maxTokens", "unsupported", "webSearch"],
    ),
    (
        "AzureConfig",
        &[ProviderType::AzureOpenai],
        &["deploymentName", "apiVersion"],
    ),
    (
        "GoogleConfig",
        &[ProviderType::Google],
        &[
            "serviceAccount",
            "serviceAccountFile",
            "tokenEndpoint",
            "projectId",
            "location",
            "maxTokens",
            "unsupported",
            "webSearch",
        ],
    ),
    ("CompatibleConfig", &[], &["path"]),
];

/// The types of a definition in [`CONFIGS`]; those without any are all others.
fn types_of(listed: &[ProviderType]) -> Vec<&'static str> {
    let is_listed = |it: &ProviderType| CONFIGS.iter().any(|(_, types, _)| types.contains(it));
    let others = ProviderType::ALL.into_iter().filter(|it| !is_listed(it));
    match listed {
        [] => others.map(ProviderType::as_str).collect(),
        listed => listed.iter().map(|it| it.as_str()).collect(),
    }
}

/// Makes of `BackendConfig` a definition for each group of types.
fn split_configs(schema: &mut Value) {
    let Some(Value::Object(definitions)) = schema.pointer_mut("/definitions") else {
        return;
    };
    let Some(all) = definitions.shift_remove("BackendConfig") else {
        return;
    };
    for (name, _, own) in CONFIGS {
        let mut config = all.clone();
        let special = |key: &str| CONFIGS.iter().any(|(_, _, keys)| keys.contains(&key));
        if let Some(Value::Object(keys)) = config.pointer_mut("/properties") {
            keys.retain(|key, _| own.contains(&key.as_str()) || !special(key));
        }
        if let (Value::Object(members), "GoogleConfig") = (&mut config, name) {
            let both = json!({"projectId": ["location"], "location": ["projectId"]});
            members.insert("dependencies".to_owned(), both);
        }
        definitions.insert(name.to_owned(), config);
    }
}

/// Makes of `Backend` a pool and a provider, between which `type` decides.
fn split_backends(schema: &mut Value) {
    let Some(Value::Object(definitions)) = schema.pointer_mut("/definitions") else {
        return;
    };
    let Some(backend) = definitions.get("Backend").cloned() else {
        return;
    };
    let only = |title: &str, keys: &dyn Fn(&str) -> bool, required: Value| {
        let properties = backend.pointer("/properties").and_then(Value::as_object);
        let properties: Map<String, Value> = properties
            .into_iter()
            .flatten()
            .filter(|(key, _)| keys(key))
            .map(|(key, value)| match key.as_str() {
                // What it may be is checked once, and its keys by the type.
                "name" | "type" => (key.clone(), json!({})),
                "config" => {
                    let description = value.get("description");
                    (
                        key.clone(),
                        json!({"description": description, "type": "object"}),
                    )
                }
                _ => (key.clone(), value.clone()),
            })
            .collect();
        json!({
            "title": title,
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    };
    let is_common = |key: &str| matches!(key, "name" | "type");
    let mut pool = only("Pool", &|key| key != "config", json!(["backends"]));
    if let Some(Value::Object(members)) = pool.pointer_mut("/properties/backends") {
        members.insert("minItems".to_owned(), json!(1));
    }
    let provider = only(
        "Provider",
        &|key| is_common(key) || key == "config",
        json!([]),
    );
    let properties = backend.pointer("/properties").and_then(Value::as_object);
    let common: Map<String, Value> = properties
        .into_iter()
        .flatten()
        .filter(|(key, _)| is_common(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let is_type =
        |types: &[&str]| json!({"required": ["type"], "properties": {"type": {"enum": types}}});
    let mut all = vec![json!({
        "if": is_type(&["pool"]),
        "then": {"$ref": "#/definitions/Pool"},
        "else": {"$ref": "#/definitions/Provider"},
    })];
    for (name, types, _) in CONFIGS {
        let reference = format!("#/definitions/{name}");
        all.push(json!({
            "if": is_type(&types_of(types)),
            "then": {"properties": {"config": {"$ref": reference}}},
        }));
    }
    all.push(needs_endpoint());
    let description = backend.get("description");
    let new = json!({
        "title": "Backend",
        "description": description,
        "type": "object",
        "properties": common,
        "required": ["name", "type"],
        "allOf": all,
    });
    definitions.insert("Backend".to_owned(), new);
    definitions.insert("Pool".to_owned(), pool);
    definitions.insert("Provider".to_owned(), provider);
}

/// What is added, by the place in the schema.
fn additions() -> Vec<(&'static str, Value)> {
    let name = json!({
        "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        "patternErrorMessage": "1 to 64 of a-z A-Z 0-9 . _ -",
    });
    vec![
        (
            "",
            json!({"title": concat!("gateway.yaml of llm-proxy ", env!("CARGO_PKG_VERSION"))}),
        ),
        (
            "/properties/listen",
            json!({"default": "127.0.0.1:10000", "pattern": IP_AND_PORT,
                "patternErrorMessage": "an IP address and a port, such as 127.0.0.1:10000"}),
        ),
        (
            "/properties/admin",
            json!({"default": "127.0.0.1:9901", "pattern": IP_AND_PORT,
                "patternErrorMessage": "an IP address and a port, such as 127.0.0.1:9901"}),
        ),
        ("/properties/maxRequestBytes", json!({"default": "32MiB"})),
        ("/properties/maxHeldBytes", json!({"default": "256MiB"})),
        ("/properties/backends", json!({"minItems": 1})),
        ("/properties/placement", json!({"default": "listener"})),
        ("/properties/holdHeaders", json!({"default": false})),
        ("/definitions/Backend", json!({"title": "Backend"})),
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
            json!({"examples": ["https://llm.example.com/v1"], "pattern": URL,
                "patternErrorMessage": "a URL, such as https://llm.example.com/v1"}),
        ),
        (
            "/definitions/BackendConfig/properties/tokenEndpoint",
            json!({"pattern": URL,
                "patternErrorMessage": "a URL, such as https://llm.example.com/v1"}),
        ),
        (
            "/definitions/BackendConfig/properties/address",
            json!({"examples": ["127.0.0.1:8443"], "pattern": HOST_AND_PORT,
                "patternErrorMessage": "a host and a port, such as 127.0.0.1:8443"}),
        ),
        (
            "/definitions/BackendConfig/properties/path",
            json!({"pattern": "^(/|\\$)", "patternErrorMessage": "a path, such as /v1/chat"}),
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
            json!({"default": "/", "examples": ["/v1"], "pattern": "^/[^?#*\\s]*$",
                "patternErrorMessage": "a path, such as /v1"}),
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

/// Text that begins with a scheme, or with a variable that may have one.
const URL: &str = "^(https?://|\\$)\\S*$";
const HOST_AND_PORT: &str = "(:[0-9]+|\\}|^\\$[A-Za-z0-9_]+)$";
const IP_AND_PORT: &str = "^([0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]+$";

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
        "if": {"required": ["type"], "properties": {"type": {"enum": types}}},
        "then": {"required": ["config"], "properties": {"config": {"required": ["endpoint"]}}},
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
