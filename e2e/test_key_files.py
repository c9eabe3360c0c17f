"""Keys from files: read by Envoy, taken by the module, changed while requests run."""

import contextlib
import json
import os
import threading
import time

import pytest
import yaml

from harness import artefacts, gateways
from harness.client import request
from harness.process import Process, until
from harness.running import SYSTEM, free_port, llm_proxy, running

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
# What a change needs at most from the file to the requests.
LIVE_SECONDS = 2


@pytest.fixture(params=[artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY])
def version(request):
    return request.param


@pytest.fixture
def mock(mock):
    """The provider, where one backend expects its key in another header."""
    mock.profile("b.example", auth_header="x-api-key", auth_prefix="")
    return mock


def put(path, text):
    """Replaces a file in one step."""
    next_file = path.with_name(path.name + ".next")
    next_file.write_text(text)
    os.replace(next_file, path)


def backends(provider, directory):
    def backend(name, type="openai-compatible", **config):
        config = {**gateways.at(provider, name, {}), **config}
        return {"name": name, "type": type, "config": config}

    def file(name):
        return {"file": str(directory / name)}

    return [
        backend("a", apiKey=file("a.key")),
        backend("b", apiKey=file("b.key"), authHeader={"name": "x-api-key"}),
        # Without a key of its own file in a pool with those that have one.
        backend("c", apiKey="${PLAIN_KEY}"),
        backend(
            "d",
            apiKey=file("a.key"),
            headers={"x-extra": file("extra.key")},
            auth={"header": {"x-second": file("second.key")}, "query": {"code": file("query.key")}},
        ),
        {
            "name": "p",
            "type": "pool",
            "strategy": "round-robin",
            "fallbackOn": ["5xx"],
            "backends": [{"name": "a"}, {"name": "b"}, {"name": "c"}],
        },
    ]


ROUTES = [{"path": f"/{name}", "backend": name} for name in ("a", "b", "c", "d", "p")]
KEYS = {
    "a.key": "sk-a-file-1",
    "b.key": "sk-b-file-1",
    "extra.key": "extra-file-1",
    "second.key": "second-file-1",
    "query.key": "query&file=1",
}
ENV = {"PLAIN_KEY": "sk-plain-7f1c"}


def write_keys(directory, end="\n"):
    for name, key in KEYS.items():
        put(directory / name, key + end)


@contextlib.contextmanager
def run(provider, directory, version, **more):
    arguments = ["--envoy", artefacts.envoy(version)]
    given = {"backends": backends(provider, directory), "routes": ROUTES, **more}
    with running(provider, directory, arguments, env=ENV, **given) as (process, port, admin):
        yield process, port, admin


@contextlib.contextmanager
def rendered(provider, directory, version):
    """What `render envoy` writes, in an Envoy that somebody else starts."""
    port, admin = free_port(), free_port()
    file = directory / "gateway.yaml"
    gateway = {
        "listen": f"127.0.0.1:{port}",
        "admin": f"127.0.0.1:{admin}",
        "backends": backends(provider, directory),
        "routes": ROUTES,
    }
    file.write_text(yaml.safe_dump(gateway))
    output, secrets = directory / "envoy.yaml", directory / "secrets"
    arguments = ["render", "envoy", file, "--wasm", artefacts.module(), "-o", output]
    refused = llm_proxy(*arguments)
    assert refused.returncode == 64 and "--secrets is required" in refused.stderr
    done = llm_proxy(*arguments, "--secrets", secrets)
    assert done.returncode == 0, done.stderr
    for written in [output, *secrets.iterdir()]:
        assert not any(key in written.read_text() for key in KEYS.values())
    command = [artefacts.envoy(version), "-c", output, "--disable-hot-restart", "-l", "warning"]
    process = Process([*command, "--concurrency", "2"], directory / "envoy.log", {**SYSTEM, **ENV})
    try:

        def ready():
            with contextlib.suppress(OSError):
                return request(admin, "GET", "/ready").status == 200

        process.until(ready)
        yield process, port, admin
    finally:
        process.stop()


def chat(port, name, headers=()):
    return request(port, "POST", f"/{name}/v1/chat/completions", CHAT, headers)


def keys_of(mock):
    """Of each request that came the backend's host, and everything in which a key can be."""
    found = []
    for it in mock.requests():
        names = ("authorization", "x-api-key", "x-second", "x-extra")
        values = {name: it.all(name) for name in names if it.all(name)}
        ours = [name for name, _ in it.headers if name.startswith("x-llm-proxy-secret")]
        assert not ours, it.headers
        found.append((it.authority, values, it.path))
    return found


@pytest.mark.parametrize("home", [run, rendered])
def test_every_attempt_has_the_key_of_its_backend_alone(provider, mock, tmp_path, version, home):
    # A line feed at the end of the file is not part of the key, in `run` and in `render envoy`.
    write_keys(tmp_path)
    with home(provider, tmp_path, version) as (process, port, admin):
        forged = [("x-llm-proxy-secret-a-apikey", "forged"), ("authorization", "Bearer of-client")]
        assert chat(port, "a", forged).status == 200
        assert chat(port, "b").status == 200
        assert chat(port, "d").status == 200
        a, b, d = keys_of(mock)
        assert a[:2] == ("a.example", {"authorization": ["Bearer sk-a-file-1"]})
        assert b[:2] == ("b.example", {"x-api-key": ["sk-b-file-1"]})
        assert d[:2] == (
            "d.example",
            {
                "authorization": ["Bearer sk-a-file-1"],
                "x-second": ["second-file-1"],
                "x-extra": ["extra-file-1"],
            },
        )
        assert d[2].endswith("?code=query%26file%3D1")
        # Every member fails once, and the next one gets the request without that one's key.
        expected = {
            "a.example": {"authorization": ["Bearer sk-a-file-1"]},
            "b.example": {"x-api-key": ["sk-b-file-1"]},
            "c.example": {"authorization": ["Bearer sk-plain-7f1c"]},
        }
        for _ in range(3):
            mock.forget()
            for _ in range(2):
                mock.reply(status=503, body="{}")
            assert chat(port, "p").status == 200
            attempts = keys_of(mock)
            assert len({host for host, _, _ in attempts}) == 3
            for host, values, _ in attempts:
                assert values == expected[host], attempts
        for page in ("/config_dump", "/stats", "/server_info", "/clusters"):
            body = request(admin, "GET", page).text
            assert not any(key in body for key in KEYS.values()), page
        assert not any(key in process.log_text() for key in KEYS.values())


@pytest.mark.parametrize("home", [run, rendered])
def test_a_new_key_is_used_within_two_seconds_and_the_old_one_no_more(
    provider, mock, tmp_path, version, home
):
    write_keys(tmp_path, "" if home is rendered else "\n")
    with home(provider, tmp_path, version) as (process, port, admin):
        failures, sent = [], []
        stop = threading.Event()

        def load():
            while not stop.is_set():
                begun = time.monotonic()
                reply = chat(port, "a")
                sent.append(begun)
                if reply.status != 200:
                    failures.append(reply.body)
                time.sleep(0.02)

        thread = threading.Thread(target=load)
        thread.start()
        try:
            until(lambda: len(sent) > 10)
            for number in (2, 3):
                put(tmp_path / "a.key", f"sk-a-file-{number}\n")
                changed = time.monotonic()
                time.sleep(LIVE_SECONDS)
                mock.forget()
                until(lambda: len([it for it in sent if it > changed + LIVE_SECONDS]) > 10)
                seen = {it.header("authorization") for it in mock.requests()}
                assert seen == {f"Bearer sk-a-file-{number}"}
        finally:
            stop.set()
            thread.join()
        assert failures == []
        print(f"{len(sent)} requests, 0 failed")
        # One that is removed, or emptied: the last one stays.
        (tmp_path / "a.key").unlink()
        time.sleep(LIVE_SECONDS / 2)
        mock.forget()
        assert chat(port, "a").status == 200
        assert mock.only().header("authorization") == "Bearer sk-a-file-3"
        if home is run:
            process.until(lambda: "backend a keeps the key that was read last" in process.log_text())
        assert "sk-a-file" not in process.log_text()


@pytest.mark.parametrize("home", [run, rendered])
def test_a_key_that_is_missing_is_named_and_taken_when_it_is_there(
    provider, mock, tmp_path, version, home
):
    write_keys(tmp_path)
    (tmp_path / "b.key").unlink()
    put(tmp_path / "second.key", "\n")
    with home(provider, tmp_path, version) as (process, port, admin):
        reply = chat(port, "b", [("x-llm-proxy-secret-b-apikey", "of-client")])
        assert reply.status == 503, reply.body
        assert 'the backend "b" has no apiKey' in reply.json()["error"]["message"]
        assert "auth.header.x-second" in chat(port, "d").json()["error"]["message"]
        assert mock.none_came()
        assert request(port, "GET", "/ready").status == 503
        assert chat(port, "a").status == 200
        if home is run:
            log = process.log_text()
            assert "b.key: No such file" in log and "requests to backend b get 503" in log
        put(tmp_path / "b.key", "sk-b-late")
        put(tmp_path / "second.key", "late")
        until(lambda: chat(port, "b").status == 200)
        until(lambda: request(port, "GET", "/ready").status == 200)
        assert "Bearer" not in json.dumps(mock.requests()[-1].all("x-api-key"))


def test_variables_and_literals_that_are_new_work_without_a_restart(provider, mock, tmp_path, version):
    """Envoy's environment is that of its start: what is new since then goes another way."""
    file = tmp_path / "gateway.yaml"
    with running(provider, tmp_path, ["--envoy", artefacts.envoy(version)], env={"LATER": "sk-later"}) as (
        process,
        port,
        admin,
    ):
        gateway = yaml.safe_load(file.read_text())
        literal = gateway["backends"][0]
        literal["config"]["apiKey"] = "sk-another-literal"
        later = {**gateways.at(provider, "later", {}), "apiKey": "${LATER}"}
        gateway["backends"].append({"name": "later", "type": "openai-compatible", "config": later})
        gateway["routes"] = [
            {"path": "/later", "backend": "later"},
            {"path": "/v1", "backend": "run"},
        ]
        put(file, yaml.safe_dump(gateway))
        process.until(lambda: "llm-proxy: reloaded: " in process.log_text())
        assert request(port, "POST", "/v1/chat/completions", CHAT).status == 200
        assert chat(port, "later").status == 200
        keys = [it.header("authorization") for it in mock.requests()]
        assert keys == ["Bearer sk-another-literal", "Bearer sk-later"]
        dump = request(admin, "GET", "/config_dump").text
        for key in ("sk-another-literal", "sk-later", "sk-in-the-file"):
            assert key not in dump and key not in process.log_text()


def test_kubernetes_manifests_refuse_files(tmp_path):
    file = tmp_path / "gateway.yaml"
    config = {"apiKey": {"file": "/run/secrets/key"}}
    file.write_text(yaml.safe_dump({"backends": [{"name": "a", "type": "mistral", "config": config}]}))
    for home in ("istio", "envoy-gateway"):
        done = llm_proxy("render", home, file, "--wasm", "oci://registry.example.com/llm-proxy:0.1.0")
        assert done.returncode == 64, done.stderr
        assert done.stderr.startswith("backends[0].config.apiKey (") and "from a Secret" in done.stderr
