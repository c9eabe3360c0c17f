//! `llm-proxy import`: every file of `tests/import` beside its `x.gateway.yaml` and `x.notes`.
//! `UPDATE=1 cargo test --test import` writes them.
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
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/import");

struct Done {
    code: i32,
    stdout: String,
    stderr: String,
}

fn run(arguments: &[&str], input: &str) -> Done {
    let mut child = Command::new(env!("CARGO_BIN_EXE_llm-proxy"))
        .args(arguments)
        .current_dir(DIRECTORY)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its standard input may have ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn cases() -> Vec<String> {
    let files = fs::read_dir(DIRECTORY).unwrap();
    let names = files.map(|it| it.unwrap().file_name().into_string().unwrap());
    let is_input = |it: &String| {
        (it.ends_with(".yaml") || it.ends_with(".json")) && !it.ends_with(".gateway.yaml")
    };
    let mut names: Vec<String> = names.filter(is_input).collect();
    names.sort();
    names
}

/// Compares a file beside a case with what was found, or writes it.
fn compare(case: &str, extension: &str, found: &str, wrong: &mut Vec<String>) {
    let path: PathBuf = Path::new(DIRECTORY).join(case).with_extension(extension);
    if std::env::var_os("UPDATE").is_some() {
        match found {
            "" => drop(fs::remove_file(&path)),
            found => fs::write(&path, found).unwrap(),
        }
    }
    if fs::read_to_string(&path).unwrap_or_default() != found {
        wrong.push(format!("{}:\n{found}", path.display()));
    }
}

#[test]
fn every_format_is_imported_as_recorded() {
    let mut wrong = Vec::new();
    for case in cases() {
        let done = run(&["import", &case], "");
        let is_refused = case.contains("unsupported");
        assert_eq!(
            done.code,
            if is_refused { 64 } else { 0 },
            "{case}: {}",
            done.stderr
        );
        assert_eq!(done.stdout.is_empty(), is_refused, "{case}");
        for text in [&done.stdout, &done.stderr] {
            assert!(!text.contains("in-the-clear"), "{case}: {text}");
        }
        compare(&case, "gateway.yaml", &done.stdout, &mut wrong);
        compare(&case, "notes", &done.stderr, &mut wrong);
    }
    assert!(
        wrong.is_empty(),
        "refresh with `UPDATE=1 cargo test --test import`, and read the difference:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn check_accepts_whatever_import_writes() {
    for case in cases() {
        let done = run(&["import", "--partial", &case], "");
        let checked = run(&["check", "-"], &done.stdout);
        // Of some, nothing is left that could be imported.
        let expected = if done.stdout.is_empty() { 64 } else { 0 };
        assert_eq!(
            checked.code, expected,
            "{case}: {}\n{}",
            checked.stderr, done.stdout
        );
    }
}

#[test]
fn check_names_the_gateway_whose_file_this_is() {
    for (case, name) in [
        ("agentgateway-binds.yaml", "agentgateway"),
        ("agentgateway-models.yaml", "agentgateway"),
        ("apisix-multi.json", "APISIX or API7 Gateway"),
        ("envoy-ai-gateway.yaml", "Envoy AI Gateway"),
        ("kgateway.yaml", "kgateway or agentgateway on Kubernetes"),
        ("litellm.yaml", "LiteLLM"),
    ] {
        let done = run(&["check", case], "");
        assert_eq!(done.code, 64, "{case}");
        let expected = format!("{case}: this is a configuration of {name}; \"llm-proxy import");
        assert!(done.stderr.starts_with(&expected), "{}", done.stderr);
    }
}

#[test]
fn what_decides_about_priorities_is_the_flag() {
    let smaller = run(&["import", "apisix-multi.json"], "");
    let larger = run(
        &[
            "import",
            "--apisix-priority",
            "larger-first",
            "apisix-multi.json",
        ],
        "",
    );
    let order = |text: &str| {
        let of = |name: &str| text.find(&format!("- name: {name}\n    priority: 1"));
        (of("self-hosted").is_some(), of("cloud").is_some())
    };
    assert_eq!(order(&smaller.stdout), (false, true));
    assert_eq!(order(&larger.stdout), (true, false));
    for (done, other) in [(&smaller, "larger-first"), (&larger, "smaller-first")] {
        let warning = format!("import with --apisix-priority {other}");
        assert!(done.stderr.contains(&warning), "{}", done.stderr);
    }
    // Nothing differs without them.
    let text = fs::read_to_string(Path::new(DIRECTORY).join("apisix-multi.json")).unwrap();
    let done = run(
        &["import", "-"],
        &text.replace("\"priority\": 2", "\"priority\": 1"),
    );
    assert!(
        !done.stderr.contains("--apisix-priority"),
        "{}",
        done.stderr
    );
}

#[test]
fn several_files_are_one_configuration() {
    let text = fs::read_to_string(Path::new(DIRECTORY).join("kgateway.yaml")).unwrap();
    let whole = run(&["import", "-"], &text).stdout;
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("import-parts");
    fs::create_dir_all(&directory).unwrap();
    let mut arguments = vec!["import".to_owned()];
    for (number, part) in text.split("---\n").enumerate() {
        let path = directory.join(format!("{number}.yaml"));
        fs::write(&path, part).unwrap();
        arguments.push(path.display().to_string());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let parts = run(&arguments, "").stdout;
    let body = |text: &str| text.split_once("backends:").unwrap().1.to_owned();
    assert_eq!(body(&parts), body(&whole));
}

#[test]
fn lists_and_answers_of_an_api_are_read_like_files() {
    let text = fs::read_to_string(Path::new(DIRECTORY).join("apisix-single.json")).unwrap();
    let expected = run(&["import", "-"], &text).stdout;
    for wrapped in [
        format!("{{\"total\": 1, \"list\": [{{\"key\": \"/routes/1\", \"value\": {text}}}]}}"),
        format!("{{\"key\": \"/routes/1\", \"value\": {text}}}"),
        format!("{{\"routes\": [{text}]}}"),
        format!("{{\"services\": [{{\"name\": \"s\", \"routes\": [{text}]}}]}}"),
    ] {
        let done = run(&["import", "-"], &wrapped);
        assert_eq!(done.stdout, expected, "{}", done.stderr);
    }
}

#[test]
fn what_is_no_gateway_is_refused() {
    for text in [
        "",
        "a: 1",
        "[]",
        "kind: Pod\nmetadata: {name: x}",
        "routes: [{uri: /}]",
    ] {
        let done = run(&["import", "-"], text);
        assert_eq!((done.code, done.stdout.as_str()), (64, ""), "{text}");
        assert!(
            done.stderr.contains("not the configuration of a gateway"),
            "{}",
            done.stderr
        );
    }
    let done = run(&["import", "-"], "binds: [");
    assert_eq!(done.code, 64);
    assert!(
        done.stderr.starts_with("standard input:2:1: "),
        "{}",
        done.stderr
    );
}
