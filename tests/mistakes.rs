//! Mistakes that people make, each with everything that `llm-proxy check` reports, as text and as JSON:
//! `tests/mistakes/x.yaml` beside `x.expected`. `UPDATE=1 cargo test --test mistakes` writes them.
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
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mistakes");

/// The exit code, standard output and standard error.
fn check(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_llm-proxy"))
        .arg("check")
        .args(arguments)
        .current_dir(DIRECTORY)
        .env_clear()
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}

fn names() -> Vec<String> {
    let files = fs::read_dir(DIRECTORY).unwrap();
    let names = files.map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|it| it.ends_with(".yaml")).collect();
    names.sort();
    names
}

#[test]
fn every_mistake_is_reported_with_its_place_and_its_fix() {
    let names = names();
    assert!(names.len() >= 40, "{}", names.len());
    let mut wrong = Vec::new();
    for name in &names {
        let (code, _, text) = check(&[name]);
        let (json_code, json, rest) = check(&["--format", "json", name]);
        assert_eq!((json_code, rest.as_str()), (code, ""), "{name}");
        let list: Vec<Value> = serde_json::from_str(&json).unwrap();
        assert!(!list.is_empty(), "{name}: nothing is reported");
        // The same, in both forms, and every error has a place unless the whole file is meant.
        for item in &list {
            let message = item["message"].as_str().unwrap();
            assert!(text.contains(message), "{name}: {message}");
            let has_place = item["line"].is_u64() && item["column"].is_u64();
            assert!(has_place || item["key"] == "", "{name}: {item}");
        }
        let is_error = list.iter().any(|it| it["severity"] == "error");
        assert_eq!(code, if is_error { 64 } else { 0 }, "{name}");
        assert!(!text.contains("in-the-clear"), "{name}: {text}");
        let lines: Vec<String> = list.iter().map(Value::to_string).collect();
        let found = format!("{text}\n{}\n", lines.join("\n"));
        let path = Path::new(DIRECTORY).join(name).with_extension("expected");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &found).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != found {
            wrong.push(format!("{name}:\n{found}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "refresh with `UPDATE=1 cargo test --test mistakes`, and read the difference:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn several_files_are_one_report() {
    let files = [
        "type-of-grok.yaml",
        "variable-unset.yaml",
        "no-such-file.yaml",
    ];
    let (code, json, errors) = check(&[&["--format", "json"][..], &files].concat());
    assert_eq!(code, 66);
    assert!(errors.starts_with("no-such-file.yaml: "), "{errors}");
    let list: Vec<Value> = serde_json::from_str(&json).unwrap();
    let files: Vec<&Value> = list.iter().map(|it| &it["file"]).collect();
    let expected = [
        "type-of-grok.yaml",
        "variable-unset.yaml",
        "variable-unset.yaml",
    ];
    assert_eq!(files, expected);
}

#[test]
fn with_env_a_variable_that_is_not_set_is_an_error() {
    let (code, _, errors) = check(&["--env", "variable-unset.yaml"]);
    assert_eq!(code, 64);
    assert!(errors.starts_with("backends[0].config.endpoint (variable-unset.yaml:5:15): "));
}

#[test]
fn a_key_is_in_no_report() {
    let key = "sk-never-shown";
    for line in [
        format!("apiKey: {key}\n    tmeout: 1s"),
        format!("apiKy: {key}"),
        format!("authorization: \"Bearer {key}\""),
        format!("headers: {{x-key: {key}, x-key: b}}"),
        format!("auth: {{header: {{x-key: {key}}}, query: [{key}]}}"),
        format!("serviceAccount: |\n      {key}\n     {key}"),
        format!("apiKey: {key}: {{"),
        format!("apiKey: [{key}"),
        format!("apiKey: \"{key}"),
        format!("{{apiKey: {key}, models: [}}"),
        // A carriage return alone ends a line, too.
        format!("timeout: 1\r    apiKey: {key}\r    tmeout: 1"),
    ] {
        let text = format!("backends:\n- name: a\n  type: xai\n  config:\n    {line}\n");
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("with-a-key.yaml");
        fs::write(&file, &text).unwrap();
        for format in ["text", "json"] {
            let file = file.to_str().unwrap();
            let (code, output, errors) = check(&["--format", format, file]);
            assert_eq!(code, 64, "{text}");
            assert!(
                !output.contains(key) && !errors.contains(key),
                "{output}{errors}"
            );
        }
    }
}
