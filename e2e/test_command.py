"""The command with a real Envoy: `check`, `render`, `run`, `schema`."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

import pytest
import yaml

from harness import artefacts, gateways
from harness.client import request
from harness.process import Process
from harness.running import SYSTEM, free_port, llm_proxy, running
from harness.shapes import assert_openai_error

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def write(tmp_path):
    def write(gateway) -> pathlib.Path:
        file = tmp_path / "gateway.yaml"
        file.write_text(gateway if isinstance(gateway, str) else yaml.safe_dump(gateway))
        return file

    return write


# === check ===


def test_check_says_everything_that_is_wrong_at_once(write):
    file = write(
        """
        listen: nowhere
        backends:
        - {name: a, type: openai, config: {apiKey: "${NOT_SET}", defaultModle: gpt-4o}}
        - {name: a, type: opnai}
        - {name: b, type: openai-compatible, config: {endpoint: "ftp://x", timeout: 30}}
        - {name: c, type: vllm}
        routes:
        - {path: /v1, backend: nobody}
        - {path: v1, backend: b, methods: [FETCH]}
        """
    )
    done = llm_proxy("check", "--env", file)
    assert (done.returncode, done.stdout) == (64, "")
    # Below each message stands the line of the file.
    lines = [line for line in done.stderr.splitlines() if not line.startswith("  ")]
    # Each line has its key, and where in the file that stands.
    assert all(re.match(rf"\S+ \({re.escape(str(file))}:\d+:\d+\): ", line) for line in lines), lines
    assert f"routes[1].path ({file}:10:18): " in done.stderr
    at = [line.split(" ")[0] for line in lines]
    assert sorted(at) == sorted(
        [
            "listen",
            "backends[0].config.defaultModle",
            "backends[0].config.apiKey",
            "backends[1].name",
            "backends[1].type",
            "backends[2].config.endpoint",
            "backends[2].config.timeout",
            "backends[3].config.endpoint",
            "routes[0].backend",
            "routes[1].path",
            "routes[1].methods[0]",
        ]
    ), done.stderr
    assert 'did you mean "defaultModel"' in done.stderr
    assert "NOT_SET is not set" in done.stderr


def test_check_of_a_good_one_ends_with_0(write):
    file = write({"backends": [{"name": "a", "type": "openai", "config": {"apiKey": "${KEY}"}}]})
    done = llm_proxy("check", file, env={"KEY": "sk-1"})
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "sk-1" not in done.stdout


def test_a_broken_file_is_64_and_an_absent_one_another_code(write):
    done = llm_proxy("check", write("backends: [\n"))
    assert done.returncode == 64 and "gateway.yaml:2:1: " in done.stderr.splitlines()[0]
    done = llm_proxy("check", "/no/such/gateway.yaml")
    assert done.returncode not in (0, 64) and "/no/such/gateway.yaml" in done.stderr


def test_wrong_arguments_are_64():
    for arguments in (["chek"], ["check"], ["render"], ["run", "--no-such-flag", "x"]):
        assert llm_proxy(*arguments).returncode == 64, arguments


@pytest.mark.parametrize("command", [[], ["check"], ["import"], ["render", "envoy"], ["run"], ["schema"]])
def test_help_has_an_example(command):
    done = llm_proxy(*command, "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout and "llm-proxy " in done.stdout.split("Example")[1]


# === schema ===


def test_the_schema_is_the_one_that_is_committed():
    done = llm_proxy("schema")
    assert done.returncode == 0
    assert done.stdout == (artefacts.EXAMPLES / "gateway.schema.json").read_text()
    assert "backends" in json.loads(done.stdout)["properties"]


# === render ===


def test_no_key_is_rendered_however_it_is_written(write, tmp_path):
    config = {
        "apiKey": "sk-literal-1",
        "orgId": "org-literal-2",
        "headers": {"x-token": "literal-3"},
        "auth": {"header": {"x-key": "literal-4"}, "query": {"code": "literal-5"}},
    }
    other = {"apiKey": "$FROM_ENV", "headers": {"x-token": "a ${FROM_ENV} b"}}
    file = write(
        {
            "backends": [
                {"name": "a", "type": "openai", "config": config},
                {"name": "b", "type": "openai", "config": other},
            ],
            "routes": [{"path": "/a", "backend": "a"}, {"path": "/b", "backend": "b"}],
        }
    )
    output = tmp_path / "envoy.yaml"
    done = llm_proxy("render", "envoy", file, "-o", output, env={"FROM_ENV": "sk-from-env"})
    assert (done.returncode, done.stdout) == (0, "")
    text = output.read_text()
    for secret in ("literal-1", "literal-2", "literal-3", "literal-4", "literal-5", "sk-from-env"):
        assert secret not in text and secret not in done.stderr


def test_rendering_needs_no_keys_and_writes_the_same_each_time(write):
    file = write({"backends": [{"name": "a", "type": "xai", "config": {"apiKey": "${ABSENT}"}}]})
    first, second = llm_proxy("render", "envoy", file), llm_proxy("render", "envoy", file)
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout and "${ABSENT}" in first.stdout


def test_a_bad_configuration_is_not_rendered(write):
    done = llm_proxy("render", "envoy", write("backends: []"))
    assert (done.returncode, done.stdout) == (64, "")
    assert re.match(r"backends \(\S+:1:11\): ", done.stderr), done.stderr


# === run ===


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_serves_until_it_is_told_to_stop(provider, mock, tmp_path, number):
    envoy = ["--envoy", artefacts.envoy()]
    with running(provider, tmp_path, envoy) as (process, port, admin):
        reply = request(port, "POST", "/v1/chat/completions", CHAT)
        assert reply.status == 200, reply.body
        assert mock.only().all("authorization") == ["Bearer sk-in-the-file"]
        for page in ("/config_dump", "/stats", "/server_info"):
            assert b"sk-in-the-file" not in request(admin, "GET", page).body
        process.signal(number)
        assert process.wait() == 0
        assert "sk-in-the-file" not in process.log_text()
    # Neither the configuration that was rendered nor Envoy stays behind.
    assert [file.name for file in tmp_path.glob("llm-proxy-*")] == []
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port)).close()


def test_run_starts_an_envoy_again_that_has_crashed(provider, mock, tmp_path):
    with running(provider, tmp_path, ["--envoy", artefacts.envoy()]) as (process, port, admin):
        server = json.loads(request(admin, "GET", "/server_info").body)
        assert server["command_line_options"]["config_path"].startswith(str(tmp_path))
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        (envoy,) = map(int, children.split())
        os.kill(envoy, signal.SIGSEGV)
        process.until(lambda: "ended by signal 11; starting it again" in process.log_text())

        def serves():
            with contextlib.suppress(OSError):
                return request(port, "POST", "/v1/chat/completions", CHAT).status == 200

        process.until(serves)
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


def test_each_of_many_backends_gets_its_own_host_and_key(provider, mock, tmp_path):
    def backend(number):
        config = {**gateways.at(provider, f"b{number}", {}), "apiKey": f"key-{number}"}
        return {"name": f"b{number}", "type": "openai-compatible", "config": config}

    backends = [backend(number) for number in range(40)]
    routes = [{"path": f"/r{number}", "backend": f"b{number}"} for number in range(40)]
    envoy = ["--envoy", artefacts.envoy()]
    with running(provider, tmp_path, envoy, backends=backends, routes=routes) as (_, port, admin):
        for number in (0, 17, 39):
            mock.forget()
            assert request(port, "POST", f"/r{number}/v1/chat/completions", CHAT).status == 200
            assert mock.only().all("authorization") == [f"Bearer key-{number}"]
        # A change of one backend leaves the plugins of the others alone.
        dump = request(admin, "GET", "/config_dump").body
        assert b'"llm-proxy.pools"' not in dump and b'"llm-proxy.b0"' in dump


def test_run_finds_envoy_by_variable_and_on_the_path(provider, mock, tmp_path):
    on_path = tmp_path / "bin"
    on_path.mkdir()
    (on_path / "envoy").symlink_to(artefacts.envoy())
    for env in ({"ENVOY_BIN": str(artefacts.envoy())}, {"PATH": f"{on_path}:{SYSTEM['PATH']}"}):
        mock.forget()
        with running(provider, tmp_path, env=env) as (_, port, _):
            assert request(port, "POST", "/v1/chat/completions", CHAT).status == 200


def test_run_finds_func_e_on_the_path(provider, mock, tmp_path):
    """`func-e which` names the Envoy, which is started as any other."""
    on_path = tmp_path / "bin"
    on_path.mkdir()
    script = f'#!/bin/sh\ntest "$1" = which || exit 9\necho {artefacts.envoy()}\n'
    (on_path / "func-e").write_text(script)
    (on_path / "func-e").chmod(0o755)
    env = {"PATH": f"{on_path}:/usr/bin:/bin"}
    with running(provider, tmp_path, env=env) as (_, port, _):
        assert request(port, "POST", "/v1/chat/completions", CHAT).status == 200


def test_run_hands_arguments_and_the_exit_code_on(write, tmp_path):
    file = write({"backends": [{"name": "a", "type": "openai", "config": {"apiKey": "k"}}]})
    stand_in = tmp_path / "envoy"
    stand_in.write_text('#!/bin/sh\necho "$@"\nexit 37\n')
    stand_in.chmod(0o755)
    arguments = ["run", file, "--envoy", stand_in, "--wasm", artefacts.module()]
    done = llm_proxy(*arguments, "--", "--log-level", "debug", "--concurrency", "7")
    assert done.returncode == 37
    assert "--log-level debug --concurrency 7" in done.stdout and "--config-path" in done.stdout


def test_run_forwards_the_exit_code_of_an_envoy_that_cannot_start(provider, write, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        file = write(
            {
                "listen": f"127.0.0.1:{free_port()}",
                "admin": f"127.0.0.1:{port}",
                "backends": [{"name": "a", "type": "openai", "config": {"apiKey": "k"}}],
            }
        )
        arguments = ["run", file, "--envoy", artefacts.envoy(), "--wasm", artefacts.module()]
        done = llm_proxy(*arguments)
    assert done.returncode == 1
    assert "Address already in use" in done.stderr or "cannot bind" in done.stderr, done.stderr


def test_run_says_what_is_missing(write, tmp_path):
    file = write({"backends": [{"name": "a", "type": "openai", "config": {"apiKey": "k"}}]})
    module = ["--wasm", artefacts.module()]
    for arguments, env, says in (
        (module, {"PATH": str(tmp_path)}, "envoy"),
        ([*module, "--envoy", "/no/such/envoy"], {}, "/no/such/envoy"),
        (module, {"ENVOY_BIN": "/no/such/envoy"}, "/no/such/envoy"),
        (["--envoy", artefacts.envoy(), "--wasm", "/no/such.wasm"], {}, "/no/such.wasm"),
    ):
        done = llm_proxy("run", file, *arguments, env=env, cwd=tmp_path)
        assert done.returncode not in (0, 64)
        assert says in done.stderr.lower() and len(done.stderr.splitlines()) == 1, done.stderr


def test_run_refuses_what_check_refuses(write):
    done = llm_proxy("run", write("backends: []"))
    assert done.returncode == 64 and re.match(r"backends \(\S+:1:11\): ", done.stderr)
    file = write({"backends": [{"name": "a", "type": "openai", "config": {"apiKey": "${ABSENT}"}}]})
    done = llm_proxy("run", file, "--envoy", artefacts.envoy(), "--wasm", artefacts.module())
    assert done.returncode == 64 and "ABSENT is not set" in done.stderr


# === make run ===


def test_make_run_shows_an_answer_and_ends_with_ctrl_c(tmp_path):
    script = artefacts.ROOT / "e2e/run.py"
    done = subprocess.run(
        [sys.executable, script, "--once"],
        env=SYSTEM,
        capture_output=True,
        text=True,
        timeout=artefacts.GUARD_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "You said: Say hello in five words." in done.stdout
    assert "model gpt-4o-mini, host api.openai.com" in done.stdout
    process = Process([sys.executable, "-u", script], tmp_path / "run.log", SYSTEM)
    try:
        process.until(lambda: "Ctrl-C ends it." in process.log_text())
        process.signal(signal.SIGINT)
        assert process.wait() == 0
    finally:
        process.stop()


# === a plugin configuration that cannot work ===


@pytest.mark.parametrize(
    "plugin, at",
    [
        ({"backends": []}, "backends"),
        ({"backends": [{"name": "a", "type": "nonsense"}]}, "backends[0].type"),
        (
            json.dumps({"backends": [{"name": "a", "type": "openai", "config": {"apiKee": "x"}}]}),
            "backends[0].config.apiKee",
        ),
        ("backends:\n- {name: a, type: openai}\n", "the plugin configuration is not JSON: "),
        ("", "the plugin configuration is empty; "),
        ("{", ""),
        (
            {"backends": [{"name": "a", "type": "openai", "config": {"endpoint": "https://bücher.example"}}]},
            "backends[0].config.endpoint: ",
        ),
        (
            {"backends": [{"name": "a", "type": "openai", "config": {"apiKey": "${NOT_THERE}"}}]},
            "backends[0].config.apiKey",
        ),
    ],
)
def test_envoy_does_not_start_with_it_and_says_why(output, plugin, at, request):
    from harness import bootstrap
    from harness.envoy import on_any_port

    made = bootstrap.in_listener({"backends": []}, {}, holds=False)
    manager = made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    filters = manager["typed_config"]["http_filters"]
    filters[0] = bootstrap.wasm_filter(plugin, holds=False)
    directory = output / "command" / request.node.callspec.id.replace("/", "_")[:40]
    directory.mkdir(parents=True)
    (directory / "envoy.json").write_text(json.dumps(on_any_port(made)))
    arguments = [artefacts.envoy(), "--config-path", directory / "envoy.json"]
    process = Process([*arguments, "--disable-hot-restart"], directory / "envoy.log")
    try:
        assert process.wait() != 0
    finally:
        process.stop()
    assert f"configuration: {at}" in process.log_text()
