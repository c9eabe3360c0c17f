//! The `llm-proxy` command as a person or a script meets it: exit codes, messages, signals.
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
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A directory of a test's own, with what `llm-proxy` may find there.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("bin")).unwrap();
        fs::create_dir_all(path.join("tmp")).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        fs::write(self.0.join(name), text).unwrap();
        self
    }

    /// A program: a shell script.
    fn program(&self, name: &str, script: &str) -> &Self {
        self.write(name, &format!("#!/bin/sh\n{script}\n"));
        let path = self.0.join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// `llm-proxy` in this directory, with nothing else in its environment.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llm-proxy"));
        command
            .args(arguments)
            .current_dir(&self.0)
            .env_clear()
            .env("PATH", self.0.join("bin"))
            .env("TMPDIR", self.0.join("tmp"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Done {
        Done::from(self.command(arguments).output().unwrap())
    }

    fn temporary_files(&self) -> usize {
        fs::read_dir(self.0.join("tmp")).unwrap().count()
    }
}

#[derive(Debug)]
struct Done {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Done {
    /// Standard error without the lines of the file.
    fn messages(&self) -> String {
        let lines = self.stderr.lines().filter(|it| !it.starts_with("  "));
        lines.map(|it| format!("{it}\n")).collect()
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// `run` looks whether its providers answer, at this machine alone.
const GATEWAY: &str = "backends: [{name: a, type: xai, \
     config: {apiKey: literal-key, address: '127.0.0.1:9'}}]";

/// What a script needs that has nothing in its environment.
const UTILITIES: &str = "PATH=/usr/bin:/bin";

#[test]
fn check_counts_what_is_valid() {
    let home = Home::new("check-valid");
    home.write("gateway.yaml", GATEWAY);
    let done = home.run(&["check", "gateway.yaml"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(done.stdout, "gateway.yaml is valid: 1 backend, 1 route\n");
    assert_eq!(done.stderr, "");
}

#[test]
fn check_tells_every_error_in_a_line() {
    let home = Home::new("check-wrong");
    home.write(
        "gateway.yaml",
        "{backends: [{name: a, type: xai, config: {apiKey: $KEY, tmeout: 1s}}], \
         routes: [{path: v1, backend: b}]}",
    );
    let done = home.run(&["check", "gateway.yaml"]);
    assert_eq!(done.code, Some(64));
    assert_eq!(done.stdout, "");
    assert_eq!(
        done.messages(),
        "backends[0].config.tmeout (gateway.yaml:1:57): unknown key; did you mean \"timeout\"?\n\
         routes[0].backend (gateway.yaml:1:101): no backend is named \"b\"; there are a\n\
         routes[0].path (gateway.yaml:1:88): \"v1\" is not a path such as /v1: no query, no '*', no '..'\n\
         warning: backends[0].config.apiKey (gateway.yaml:1:51): environment variable KEY is not set\n"
    );
    let caret = "  1 | {backends: [{name: a, type: xai, config: {apiKey: $KEY, tmeout: 1s}}], routes: [{path: v1, backend:\n    \
        |                                                         ^^^^^^\n";
    assert!(done.stderr.contains(caret), "{}", done.stderr);
}

#[test]
fn check_names_the_file_where_the_whole_is_wrong() {
    let home = Home::new("check-syntax");
    home.write("gateway.yaml", "backends: [");
    let done = home.run(&["check", "gateway.yaml"]);
    assert_eq!(done.code, Some(64));
    assert!(done.stderr.starts_with("gateway.yaml:2:1: "), "{done:?}");
}

#[test]
fn check_warns_of_what_is_hardly_meant() {
    let home = Home::new("check-warnings");
    home.write(
        "gateway.yaml",
        "{backends: [{name: a, type: xai, config: {tls: {insecure: true}}}, \
         {name: b, type: groq}], routes: [{path: /v1, backend: a}, \
         {name: never, path: /v1/models, methods: [GET], backend: a}]}",
    );
    let done = home.run(&["check", "gateway.yaml"]);
    assert_eq!(done.code, Some(0));
    assert_eq!(done.stdout, "gateway.yaml is valid: 2 backends, 2 routes\n");
    assert_eq!(
        done.messages(),
        "warning: routes[1] (gateway.yaml:1:126): \"never\" never matches: \"route-1\" comes first and matches all of \
         it\n\
         warning: backends[0].config.tls.insecure (gateway.yaml:1:59): any server that answers gets the \
         key; for experiments only\n\
         warning: backends[1] (gateway.yaml:1:68): no route leads to \"b\"\n"
    );
}

#[test]
fn check_considers_the_models_of_routes_that_never_match() {
    let home = Home::new("check-models");
    home.write(
        "gateway.yaml",
        "{backends: [{name: a, type: xai}], routes: [\
         {name: some, path: /v1, models: ['grok-*'], backend: a}, \
         {name: other, path: /v1, models: ['gpt-*', 'grok-4'], backend: a}, \
         {name: within, path: /v1, models: ['grok-4*', grok-3], backend: a}, \
         {name: rest, path: /v1, backend: a}, \
         {name: late, path: /v1, models: [x], backend: a}]}",
    );
    let done = home.run(&["check", "gateway.yaml"]);
    assert_eq!(done.code, Some(0));
    assert_eq!(
        done.messages(),
        "warning: routes[2] (gateway.yaml:1:169): \"within\" never matches: \"some\" comes first and matches all of it\n\
         warning: routes[4] (gateway.yaml:1:274): \"late\" never matches: \"rest\" comes first and matches all of it\n"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_66() {
    let home = Home::new("unreadable");
    for arguments in [
        &["check", "no.yaml"][..],
        &["render", "envoy", "no.yaml"],
        &["run", "no.yaml"],
    ] {
        let done = home.run(arguments);
        assert_eq!(done.code, Some(66), "{arguments:?}");
        assert!(done.stderr.starts_with("no.yaml: "), "{done:?}");
    }
}

#[test]
fn wrong_arguments_are_64() {
    let home = Home::new("arguments");
    for arguments in [
        &[][..],
        &["check"],
        &["render", "nginx", "x"],
        &["run", "x", "--what"],
    ] {
        assert_eq!(home.run(arguments).code, Some(64), "{arguments:?}");
    }
}

#[test]
fn every_help_has_an_example() {
    let home = Home::new("help");
    for command in [
        &[][..],
        &["check"],
        &["import"],
        &["render"],
        &["render", "envoy"],
        &["run"],
        &["schema"],
    ] {
        let done = home.run(&[command, &["--help"]].concat());
        assert_eq!(done.code, Some(0), "{command:?}");
        assert!(
            done.stdout.contains("Example"),
            "{command:?}: {}",
            done.stdout
        );
    }
}

#[test]
fn schema_prints_the_committed_schema() {
    let done = Home::new("schema").run(&["schema"]);
    assert_eq!(done.code, Some(0));
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/envoy/gateway.schema.json");
    assert_eq!(done.stdout, fs::read_to_string(committed).unwrap());
}

#[test]
fn render_needs_no_keys_and_warns_of_literal_ones() {
    let home = Home::new("render");
    home.write(
        "gateway.yaml",
        "{backends: [{name: a, type: xai, config: {apiKey: $ABSENT}}, \
         {name: b, type: vllm, config: {endpoint: \"${URL}\", apiKey: sentinel}}], \
         routes: [{path: /a, backend: a}, {path: /b, backend: b}]}",
    );
    let done = home.run(&["render", "envoy", "gateway.yaml"]);
    assert_eq!(
        done.code,
        Some(64),
        "what is written into the file is needed"
    );
    assert_eq!(
        done.messages(),
        "backends[1].config.endpoint (gateway.yaml:1:103): environment variable URL is not set\n"
    );

    let arguments = [
        "render",
        "envoy",
        "gateway.yaml",
        "--wasm",
        "/m.wasm",
        "-o",
        "envoy.yaml",
    ];
    let output = home
        .command(&arguments)
        .env("URL", "http://h:1")
        .output()
        .unwrap();
    let done = Done::from(output);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(
        done.messages(),
        "warning: backends[1].config.apiKey: is literal; Envoy has to find it in the variable \
         LLM_PROXY_B_API_KEY, which \"llm-proxy run\" sets\n"
    );
    let rendered = fs::read_to_string(home.0.join("envoy.yaml")).unwrap();
    let head = format!(
        "# rendered by llm-proxy {} from gateway.yaml; do not edit\n\
         # read in Envoy's environment: ABSENT, LLM_PROXY_B_API_KEY\n",
        env!("CARGO_PKG_VERSION")
    );
    assert!(rendered.starts_with(&head), "{rendered}");
    assert!(rendered.contains("filename: /m.wasm"));
    assert!(!rendered.contains("sentinel"));

    let done = home.run(&["render", "envoy", "gateway.yaml", "-o", "no/envoy.yaml"]);
    assert_eq!(done.code, Some(64));
    let done = home
        .write("one.yaml", GATEWAY)
        .run(&["render", "envoy", "one.yaml", "-o", "no/e"]);
    assert_eq!(done.code, Some(73), "{done:?}");
}

#[test]
fn run_says_what_is_missing() {
    let home = Home::new("missing");
    home.write("gateway.yaml", GATEWAY);
    let done = home.run(&["run", "gateway.yaml"]);
    assert_eq!(done.code, Some(69));
    assert!(done.stderr.contains("no Envoy found"), "{done:?}");

    let done = home.run(&["run", "gateway.yaml", "--envoy", "bin/none"]);
    assert_eq!(done.code, Some(69));
    assert_eq!(done.stderr, "--envoy: bin/none is not there\n");

    home.program("bin/envoy", "exit 0");
    let done = home.run(&["run", "gateway.yaml", "--wasm", "none.wasm"]);
    assert_eq!(done.code, Some(69));
    assert_eq!(done.stderr, "--wasm: none.wasm is not there\n");
    let output = home
        .command(&["run", "gateway.yaml"])
        .env("LLM_PROXY_WASM", "x")
        .output();
    assert_eq!(
        Done::from(output.unwrap()).stderr,
        "$LLM_PROXY_WASM: x is not there\n"
    );

    home.write(
        "gateway.yaml",
        "backends: [{name: a, type: xai, config: {apiKey: $KEY}}]",
    );
    let done = home.run(&["run", "gateway.yaml"]);
    assert_eq!(done.code, Some(64), "run needs every key");
}

#[test]
fn run_starts_envoy_with_its_configuration_and_keys_and_gives_its_exit_code() {
    let home = Home::new("run");
    home.write("gateway.yaml", GATEWAY)
        .write("m.wasm", "")
        .program(
            "bin/envoy",
            &format!(
                "{UTILITIES}; echo \"$@\" > arguments; echo $LLM_PROXY_A_API_KEY > key; \
             cat \"${{2%/*}}/clusters/resources.json\" > clusters; echo out; echo err >&2; exit 7"
            ),
        );
    let done = home.run(&[
        "run",
        "gateway.yaml",
        "--wasm",
        "m.wasm",
        "--",
        "--concurrency",
        "1",
    ]);
    assert_eq!(done.code, Some(7), "{done:?}");
    assert_eq!(done.stdout, "out\n");
    assert!(
        done.stderr
            .contains("clients use http://127.0.0.1:10000/v1"),
        "{done:?}"
    );
    assert!(done.stderr.contains("\nerr\n"), "{done:?}");
    for line in [
        "llm-proxy: listens on http://127.0.0.1:10000, admin interface on http://127.0.0.1:9901\n",
        "llm-proxy: route default: / -> a\n",
        "llm-proxy: backend a: xai, https://api.x.ai/v1, model as requested\n",
    ] {
        assert!(done.stderr.contains(line), "{line}{}", done.stderr);
    }
    let read = |name: &str| fs::read_to_string(home.0.join(name)).unwrap();
    let arguments = read("arguments");
    assert!(arguments.starts_with("--config-path "), "{arguments}");
    assert!(
        arguments.ends_with(".json --log-level warning --disable-hot-restart --concurrency 1\n"),
        "{arguments}"
    );
    assert_eq!(read("key"), "literal-key\n");
    let module = home.0.join("m.wasm").canonicalize().unwrap();
    assert!(read("clusters").contains(module.to_str().unwrap()));
    assert_eq!(home.temporary_files(), 0, "the configuration is removed");
}

#[test]
fn run_finds_envoy_by_flag_then_variable_then_path_then_func_e() {
    let home = Home::new("finding");
    home.write("gateway.yaml", GATEWAY).write("m.wasm", "");
    home.program("of-func-e", "echo of func-e $1").program(
        "bin/func-e",
        "test \"$1\" = which || exit 9; echo \"$PWD/of-func-e\"",
    );
    let found = |flag: Option<&str>, variable: Option<&str>| {
        let mut arguments = vec!["run", "gateway.yaml", "--wasm", "m.wasm"];
        arguments.extend(flag.into_iter().flat_map(|flag| ["--envoy", flag]));
        let mut command = home.command(&arguments);
        if let Some(variable) = variable {
            command.env("ENVOY_BIN", variable);
        }
        Done::from(command.output().unwrap()).stdout
    };
    assert_eq!(found(None, None), "of func-e --config-path\n");
    home.program("bin/envoy", "echo envoy");
    home.program("by-variable", "echo by variable")
        .program("by-flag", "echo by flag");
    assert_eq!(found(None, None), "envoy\n");
    assert_eq!(found(None, Some("")), "envoy\n");
    assert_eq!(found(None, Some("./by-variable")), "by variable\n");
    assert_eq!(found(Some("./by-flag"), Some("./by-variable")), "by flag\n");
    assert_eq!(found(Some("func-e"), None), "of func-e --config-path\n");
    // func-e's own variable, with func-e or without it.
    for flag in [None, Some("func-e")] {
        let arguments = ["run", "gateway.yaml", "--wasm", "m.wasm"];
        let mut command = home.command(&arguments);
        command.args(flag.into_iter().flat_map(|flag| ["--envoy", flag]));
        command.env("ENVOY_PATH", "./by-variable");
        assert_eq!(
            Done::from(command.output().unwrap()).stdout,
            "by variable\n"
        );
    }
}

#[test]
fn run_starts_an_envoy_again_that_has_crashed() {
    let home = Home::new("crash-once");
    home.write("gateway.yaml", GATEWAY)
        .write("m.wasm", "")
        .program(
            "bin/envoy",
            &format!("{UTILITIES}; test -e crashed && exit 5; touch crashed; kill -SEGV $$"),
        );
    let done = home.run(&["run", "gateway.yaml", "--wasm", "m.wasm"]);
    assert_eq!(done.code, Some(5), "{done:?}");
    let message = "llm-proxy: Envoy was ended by signal 11; starting it again\n";
    assert_eq!(done.stderr.matches(message).count(), 1, "{done:?}");
    assert_eq!(home.temporary_files(), 0);
}

#[test]
fn run_gives_up_on_an_envoy_that_keeps_crashing() {
    let home = Home::new("crash-always");
    home.write("gateway.yaml", GATEWAY)
        .write("m.wasm", "")
        .program(
            "bin/envoy",
            &format!("{UTILITIES}; echo start; kill -ABRT $$"),
        );
    let done = home.run(&["run", "gateway.yaml", "--wasm", "m.wasm"]);
    assert_eq!(done.code, Some(134), "{done:?}");
    assert_eq!(done.stdout.matches("start\n").count(), 4, "{done:?}");
    assert!(
        done.stderr.ends_with(
            "llm-proxy: Envoy was ended by signal 6, more than 3 times within 60 s: giving up\n"
        ),
        "{done:?}"
    );
    assert_eq!(home.temporary_files(), 0);
}

#[test]
fn run_reports_a_func_e_that_has_no_envoy() {
    let home = Home::new("no-func-e");
    home.write("gateway.yaml", GATEWAY).write("m.wasm", "");
    for script in ["echo 'no network' >&2; exit 1", "echo /nowhere/envoy", ""] {
        home.program("bin/func-e", script);
        let done = home.run(&["run", "gateway.yaml", "--wasm", "m.wasm"]);
        assert_eq!(done.code, Some(69), "{done:?}");
        let message = "func-e which: it printed no path of an Envoy";
        assert!(done.stderr.contains(message), "{done:?}");
        assert_eq!(
            done.stderr.contains("no network"),
            script.contains("no network")
        );
    }
}

#[test]
fn run_says_what_an_envoy_lacks() {
    let home = Home::new("lacks");
    home.write("gateway.yaml", GATEWAY).write("m.wasm", "");
    for (says, expected) in [
        (
            "Failed to create Wasm VM using envoy.wasm.runtime.v8 runtime. Envoy was compiled \
             without support for it",
            "built without the V8 runtime",
        ),
        (
            "stats_sinks[0].typed_config: message envoy.extensions.stat_sinks.open_telemetry.v3.\
             SinkConfig, near 1:1: no such field: http_service",
            "set telemetry.protocol to grpc, or telemetry.metrics to false",
        ),
    ] {
        home.program("bin/envoy", &format!("echo '{says}' >&2; exit 1"));
        let done = home.run(&["run", "gateway.yaml", "--wasm", "m.wasm"]);
        assert_eq!(done.code, Some(69), "{done:?}");
        assert!(done.stderr.contains(expected), "{done:?}");
    }
}

#[test]
fn run_ends_by_signals_an_envoy_without_an_admin_interface() {
    let home = Home::new("signals");
    home.write("gateway.yaml", GATEWAY)
        .write("m.wasm", "")
        .program(
            "bin/envoy",
            &format!(
                "{UTILITIES}; trap 'exit 15' TERM; trap 'exit 2' INT; echo ready; \
             while :; do sleep 0.05; done"
            ),
        );
    for signal in [Signal::TERM, Signal::INT] {
        let mut command = home.command(&["run", "gateway.yaml", "--wasm", "m.wasm"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        send(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(15));
        assert_eq!(home.temporary_files(), 0, "the configuration is removed");
    }
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn manifests_are_rendered_or_refused_in_one_line_each() {
    let home = Home::new("manifests");
    home.write(
        "gateway.yaml",
        "{backends: [{name: a, type: mistral, config: {apiKey: $K}}]}",
    );
    home.write(
        "held.yaml",
        "{backends: [{name: a, type: anthropic, config: {apiKey: $K}}]}",
    );
    let image = "oci://registry.example.com/llm-proxy:0.1.0";
    for place in ["istio", "envoy-gateway"] {
        let done = home.run(&["render", place, "gateway.yaml", "--wasm", image]);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        assert!(done.stdout.contains("\nkind: "), "{}", done.stdout);
        assert_eq!(done.stderr, "");

        let done = home.run(&["render", place, "held.yaml", "--wasm", image]);
        assert_eq!((done.code, done.stdout.as_str()), (Some(64), ""));
        assert!(
            done.stderr.starts_with("backends[0].type (held.yaml:1:"),
            "{}",
            done.stderr
        );
        assert!(done.stderr.contains("--hold"), "{}", done.stderr);
        assert_eq!(done.messages().lines().count(), 1);

        let done = home.run(&["render", place, "gateway.yaml", "--wasm", "./a.wasm"]);
        assert_eq!(done.code, Some(64));
        assert!(done.stderr.starts_with("--wasm: "), "{}", done.stderr);
    }
    let done = home.run(&["render", "istio", "held.yaml", "--wasm", image, "--hold"]);
    assert_eq!(done.code, Some(64));
    assert!(done.stderr.contains("--sha256"), "{}", done.stderr);
}

#[test]
fn check_counts_pools_and_says_which_lead_nowhere() {
    let home = Home::new("check-pools");
    home.write(
        "gateway.yaml",
        "{backends: [{name: p, type: pool, backends: [{name: a}]}, \
         {name: q, type: pool, backends: [{name: b}]}, {name: a, type: ollama}, \
         {name: b, type: xai, config: {tls: {insecure: true}}}], routes: [{backend: p}]}",
    );
    let done = home.run(&["check", "gateway.yaml"]);
    assert_eq!(
        done.stdout,
        "gateway.yaml is valid: 2 backends, 2 pools, 1 route\n"
    );
    assert_eq!(
        done.messages(),
        "warning: backends[1] (gateway.yaml:1:59): no route leads to \"q\"\n\
         warning: backends[3] (gateway.yaml:1:130): no route leads to \"b\"\n\
         warning: backends[3].config.tls.insecure (gateway.yaml:1:176): any server that answers gets the \
         key; for experiments only\n"
    );
}
