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
use super::keys::{CONFIG_KEYS, POOL_KEYS, Types};
use super::read::FromValue;
use super::value::{Span, WebSearch};
use super::{defaults, file};
use crate::backend::UsageReport;
use crate::gateway::{Placement, Role};
use crate::pool::Strategy;
use crate::provider::ProviderType;
use crate::provider::adapt::Policy;

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

/// The groups of types that take the same keys in `config`, by the name of the definition for them; the
/// last is for all others.
const CONFIGS: [(&str, &[ProviderType]); 5] = [
    ("OpenaiConfig", &[ProviderType::Openai]),
    ("AnthropicConfig", &[ProviderType::Anthropic]),
    ("AzureConfig", &[ProviderType::AzureOpenai]),
    ("GoogleConfig", &[ProviderType::Google]),
    ("CompatibleConfig", &[]),
];

/// The types of a definition in [`CONFIGS`]; those without any are all others.
fn types_of(listed: &[ProviderType]) -> Vec<ProviderType> {
    let is_listed = |it: &ProviderType| CONFIGS.iter().any(|(_, types)| types.contains(it));
    let others = ProviderType::ALL.into_iter().filter(|it| !is_listed(it));
    match listed {
        [] => others.collect(),
        listed => listed.to_vec(),
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
    for (name, listed) in CONFIGS {
        let mut config = all.clone();
        let types = types_of(listed);
        let applies = |key: &str| {
            let key = CONFIG_KEYS.into_iter().find(|it| it.name == key);
            key.is_none_or(|key| types.iter().all(|it| key.types.contain(*it)))
        };
        if let Some(Value::Object(keys)) = config.pointer_mut("/properties") {
            keys.retain(|key, _| applies(key));
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
    let has_pool = |key: &str| is_common(key) || POOL_KEYS.contains(&key);
    let mut pool = only("Pool", &has_pool, json!(["backends"]));
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
    for (name, listed) in CONFIGS {
        let reference = format!("#/definitions/{name}");
        let types: Vec<&str> = types_of(listed).iter().map(|it| it.as_str()).collect();
        all.push(json!({
            "if": is_type(&types),
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

/// The defaults, by mapping and key.
fn defaults() -> Vec<(&'static str, &'static str, Value)> {
    const ROOT: &str = "";
    const HEALTH: &str = "/definitions/Health";
    const TELEMETRY: &str = "/definitions/Telemetry";
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
        (HEALTH, "live", json!(defaults::LIVE_PATH)),
        (HEALTH, "ready", json!(defaults::READY_PATH)),
        (TELEMETRY, "serviceName", json!(defaults::SERVICE_NAME)),
        (TELEMETRY, "metrics", json!(defaults::METRICS)),
        (TELEMETRY, "interval", written(Span(defaults::INTERVAL))),
        (TELEMETRY, "logs", json!(defaults::LOGS)),
        (TELEMETRY, "traces", written(defaults::TRACES)),
        (ROOT, "placement", written(Placement::default())),
        (ROOT, "holdHeaders", json!(defaults::HOLD_HEADERS)),
        (ROOT, "routeMetadata", json!(defaults::ROUTE_METADATA)),
        (
            ROOT,
            "routesSetHeaders",
            json!(defaults::ROUTES_SET_HEADERS),
        ),
        (ROOT, "filterState", json!(defaults::FILTER_STATE)),
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
        (CONFIG, "usage", written(UsageReport::default())),
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
            json!({"pattern": IP_AND_PORT,
                "patternErrorMessage": "an IP address and a port, such as 127.0.0.1:10000"}),
        ),
        (
            "/properties/admin",
            json!({"pattern": IP_AND_PORT,
                "patternErrorMessage": "an IP address and a port, such as 127.0.0.1:9901"}),
        ),
        ("/properties/backends", json!({"minItems": 1})),
        ("/definitions/Backend", json!({"title": "Backend"})),
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
            "/definitions/BackendConfig/properties/firstByteTimeout",
            example("30s"),
        ),
        ("/definitions/Telemetry", json!({"title": "Telemetry"})),
        (
            "/definitions/Telemetry/properties/otlp",
            json!({"examples": ["http://collector:4318"], "pattern": URL,
                "patternErrorMessage": "a URL, such as http://collector:4318"}),
        ),
        ("/definitions/Price", json!({"title": "Prices of a model"})),
        ("/definitions/Health", json!({"title": "Probes"})),
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
            json!({"examples": ["/v1"], "pattern": "^/[^?#*\\s]*$",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_that_depends_on_other_keys_is_described_as_it_is() {
        let described = all_keys();
        let limit = written(Span(defaults::FIRST_BYTE_TIMEOUT_OF_POOL));
        let text =
            described.pointer("/definitions/Backend/properties/firstByteTimeout/description");
        let text = text.and_then(Value::as_str).unwrap();
        assert!(text.contains(&as_written(&limit)), "{text}");
    }

    #[test]
    fn every_default_belongs_to_a_key() {
        let described = all_keys();
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
