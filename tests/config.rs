//! Every configuration in `tests/config`: `x.yaml` has the errors of `x.err`, one per line, and
//! without an `x.err` it is valid, also to an editor that goes by the JSON Schema.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking"
)]
#![cfg(not(target_family = "wasm"))]

use std::fs;
use std::path::{Path, PathBuf};

use llm_proxy::config::keys::CONFIG_KEYS;
use llm_proxy::config::{Gateway, schema};
use llm_proxy::provider::ProviderType;
use serde_json::{Value, json};

fn environment(name: &str) -> Option<String> {
    let value = match name {
        "EMPTY" => "",
        "HOST" => "llm.example",
        "LLAMA_ENDPOINT_URL" => "https://llama.example/v1",
        name if name.starts_with("ABSENT_") => return None,
        _ => "value",
    };
    Some(value.to_owned())
}

fn configurations(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_error_is_told_at_once_with_its_key_path() {
    let mut wrong = Vec::new();
    for path in configurations("tests/config") {
        let text = fs::read_to_string(&path).unwrap();
        let found = match Gateway::parse(&text, &environment) {
            Ok(_) => String::new(),
            Err(errors) => format!("{errors}\n"),
        };
        let is_good = path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("good-");
        let expected_in = path.with_extension("err");
        if std::env::var_os("UPDATE").is_some() && !is_good {
            fs::write(&expected_in, &found).unwrap();
        }
        let expected = match is_good {
            true => String::new(),
            false => fs::read_to_string(&expected_in).unwrap_or_default(),
        };
        if found != expected || (!is_good && found.is_empty()) {
            wrong.push(format!("{}:\n{found}", path.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "refresh with `UPDATE=1 cargo test --test config`, and read the difference:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_plugin_reads_json_and_refuses_yaml_with_the_fix() {
    let good = configurations("tests/config")
        .into_iter()
        .filter(|path| !path.with_extension("err").exists());
    let mut number = 0;
    for path in good {
        let text = fs::read_to_string(&path).unwrap();
        let read = |bytes: &[u8]| Gateway::parse_plugin(bytes, &environment);
        let mut value: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        value.apply_merge().unwrap();
        let json = serde_json::to_string(&value).unwrap();
        let yaml = serde_yaml::to_string(&value).unwrap();
        let as_yaml = format!("{:?}", Gateway::parse(&text, &environment).unwrap());
        let as_json = format!("{:?}", read(json.as_bytes()).unwrap());
        assert_eq!(as_json, as_yaml, "{}", path.display());
        let error = read(yaml.as_bytes()).unwrap_err().to_string();
        assert!(
            error.starts_with("the plugin configuration is not JSON: "),
            "{error}"
        );
        assert!(
            error.contains("type.googleapis.com/google.protobuf.Struct"),
            "{error}"
        );
        number += 1;
    }
    assert!(number > 5);
    let error = Gateway::parse_plugin(b" ", &environment).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the plugin configuration is empty; ")
    );
    let error = Gateway::parse_plugin(b"{\"a\": 1,}", &environment).unwrap_err();
    assert_eq!(error.to_string(), "trailing comma at line 1 column 9");
}

#[test]
fn what_is_valid_is_valid_to_an_editor() {
    let schema: Value = serde_json::from_str(&schema::text()).unwrap();
    // Nobody writes a plugin configuration in an editor.
    let good = configurations("tests/config")
        .into_iter()
        .filter(|path| !path.with_extension("err").exists() && !path.ends_with("good-plugin.yaml"));
    let examples = configurations("envoy")
        .into_iter()
        .filter(|path| path.to_str().unwrap().ends_with(".gateway.yaml"));
    for path in good.chain(examples) {
        let text = fs::read_to_string(&path).unwrap();
        let mut value: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        value.apply_merge().unwrap();
        // A key with nothing behind it is as good as absent; an editor wants a value.
        let value = without_null(serde_json::to_value(value).unwrap());
        let errors = validate(&schema, &schema, &value, "");
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
}

#[test]
fn what_an_editor_can_see_is_wrong_to_it() {
    let schema: Value = serde_json::from_str(&schema::text()).unwrap();
    for name in ["backends-absent", "types", "unknown-keys", "wrong-types"] {
        let path = format!("{}/tests/config/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        let value: Value = serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let errors = validate(&schema, &schema, &value, "");
        assert!(!errors.is_empty(), "{name}");
    }
}

#[test]
fn a_key_of_another_type_is_wrong_to_an_editor_and_to_the_reader() {
    let schema: Value = serde_json::from_str(&schema::text()).unwrap();
    for key in CONFIG_KEYS {
        let sample = match key.name {
            "maxTokens" => json!(1),
            "messages" | "responses" => json!("native"),
            "betas" => json!(["x"]),
            "unsupported" => json!("adapt"),
            "webSearch" => json!("reject"),
            "path" => json!("/x"),
            "tokenEndpoint" => json!("https://x.example"),
            _ => json!("x"),
        };
        for provider in ProviderType::ALL {
            let mut config = json!({"endpoint": "https://a.example", key.name: sample});
            // One of them requires the other.
            for pair in ["projectId", "location"] {
                if provider == ProviderType::Google && key.name != pair {
                    config[pair] = json!("us-central1");
                }
            }
            let backend = json!({"name": "a", "type": provider.as_str(), "config": config});
            let value = json!({"backends": [backend]});
            let applies = key.types.contain(provider);
            let errors = validate(&schema, &schema, &value, "");
            assert_eq!(errors.is_empty(), applies, "{value}: {errors:?}");
            let errors = Gateway::parse(&value.to_string(), &environment).err();
            let errors = errors.map(|errors| errors.to_string()).unwrap_or_default();
            let message = format!(
                "{}: is not valid for type {:?}",
                key.name,
                provider.as_str()
            );
            assert_eq!(errors.contains(&message), !applies, "{value}: {errors}");
        }
    }
}

#[test]
fn the_committed_schema_is_fresh() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/envoy/gateway.schema.json");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, schema::text()).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == schema::text(),
        "{path} is stale: refresh it with `UPDATE=1 cargo test --test config`"
    );
}

/// As much of JSON Schema (draft 7) as our schema uses, and a panic on the rest.
fn validate(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let Value::Object(keywords) = schema else {
        return Vec::new();
    };
    let mut errors = Vec::new();
    let of_schema = |schema: &Value| validate(root, schema, value, at);
    for (keyword, operand) in keywords {
        match keyword.as_str() {
            "$ref" => {
                let pointer = operand.as_str().unwrap().trim_start_matches('#');
                errors.extend(of_schema(root.pointer(pointer).unwrap()));
            }
            "allOf" => errors.extend(operand.as_array().unwrap().iter().flat_map(of_schema)),
            "anyOf" => {
                let choices = operand.as_array().unwrap();
                if !choices.iter().any(|choice| of_schema(choice).is_empty()) {
                    errors.push(format!("{at}: none of {operand}"));
                }
            }
            "if" => {
                let branch = if of_schema(operand).is_empty() {
                    "then"
                } else {
                    "else"
                };
                errors.extend(keywords.get(branch).into_iter().flat_map(of_schema));
            }
            "dependencies" => {
                for (key, needed) in operand.as_object().unwrap() {
                    let needed = needed.as_array().unwrap().iter();
                    let absent = needed.filter(|it| value.get(it.as_str().unwrap()).is_none());
                    let absent: Vec<&Value> = absent.collect();
                    if value.get(key).is_some() && !absent.is_empty() {
                        errors.push(format!("{at}: {key} needs {absent:?}"));
                    }
                }
            }
            "type" => {
                let types: Vec<&str> = match operand {
                    Value::Array(types) => types.iter().map(|it| it.as_str().unwrap()).collect(),
                    name => vec![name.as_str().unwrap()],
                };
                if !types.contains(&type_of(value)) {
                    errors.push(format!("{at}: {} is not {types:?}", type_of(value)));
                }
            }
            "enum" if !operand.as_array().unwrap().contains(value) => {
                errors.push(format!("{at}: {value} is not one of {operand}"));
            }
            "required" if value.is_object() => {
                let absent = |key: &&Value| value.get(key.as_str().unwrap()).is_none();
                let absent = operand.as_array().unwrap().iter().filter(absent);
                errors.extend(absent.map(|key| format!("{at}: {key} is required")));
            }
            "properties" => {
                for (key, schema) in operand.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        errors.extend(validate(root, schema, value, &format!("{at}.{key}")));
                    }
                }
            }
            "additionalProperties" => {
                let known = keywords.get("properties");
                for (key, value) in value.as_object().into_iter().flatten() {
                    if known.is_some_and(|it| it.get(key).is_some()) {
                        continue;
                    }
                    match operand {
                        Value::Bool(false) => errors.push(format!("{at}: {key} is unknown")),
                        schema => {
                            errors.extend(validate(root, schema, value, &format!("{at}.{key}")));
                        }
                    }
                }
            }
            "items" => {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    errors.extend(validate(root, operand, value, &format!("{at}[{index}]")));
                }
            }
            "$id"
            | "$schema"
            | "default"
            | "definitions"
            | "description"
            | "else"
            | "enum"
            | "examples"
            | "format"
            | "maximum"
            | "minItems"
            | "minimum"
            | "pattern"
            | "patternErrorMessage"
            | "required"
            | "then"
            | "title" => {}
            unknown => panic!("the schema has {unknown:?}, which this test does not know"),
        }
    }
    errors
}

fn without_null(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().filter(|(_, it)| !it.is_null());
            members.map(|(key, it)| (key, without_null(it))).collect()
        }
        Value::Array(items) => items.into_iter().map(without_null).collect(),
        value => value,
    }
}

#[test]
fn the_schema_has_for_each_type_the_keys_that_the_readers_take() {
    let keys = [
        "orgId",
        "projectId",
        "path",
        "maxTokens",
        "messages",
        "responses",
        "unsupported",
        "webSearch",
        "deploymentName",
        "apiVersion",
        "serviceAccount",
        "tokenEndpoint",
        "location",
    ];
    let schema: Value = serde_json::from_str(&schema::text()).unwrap();
    for provider in llm_proxy::provider::ProviderType::ALL {
        let provider = provider.as_str();
        for key in keys {
            let value = match key {
                "maxTokens" => "1",
                "messages" | "responses" => "native",
                "unsupported" => "drop",
                "webSearch" => "reject",
                "path" => "/x",
                "tokenEndpoint" => "https://x.example",
                _ => "x",
            };
            let text = format!(
                "{{backends: [{{name: a, type: {provider}, config: \
                 {{endpoint: \"https://a.example\", {key}: {value}}}}}]}}"
            );
            let errors = Gateway::parse(&text, &environment).err();
            let refused = errors.is_some_and(|it| it.to_string().contains("is not valid for type"));
            let value: Value = serde_yaml::from_str(&text).unwrap();
            let errors = validate(&schema, &schema, &value, "").join("\n");
            let unknown = errors.contains(&format!("{key} is unknown"));
            // Vertex AI alone takes it, which the location decides.
            if (provider, key) == ("google", "maxTokens") {
                continue;
            }
            assert_eq!(unknown, refused, "{provider} {key}: {errors}");
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
