"""`llm-proxy run` by the real func-e, which downloads Envoy from a mirror on the loopback."""

import functools
import hashlib
import http.server
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import tarfile
import threading

import pytest

from harness import artefacts
from harness.client import request
from harness.process import until
from test_command import CHAT, SYSTEM, llm_proxy, running

MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
ENVOY = artefacts.NEWEST_ENVOY
FUNC_E = artefacts.pinned("FUNC_E_VERSION")
RELEASES = "https://github.com/tetratelabs/func-e/releases/download"


@pytest.fixture(scope="module")
def func_e():
    if shutil.which("go") is None and os.environ.get("CI") != "true":
        pytest.skip("the real func-e is left out: there is no Go to build it")
    return artefacts.func_e()


class Mirror:
    """Serves func-e's list of versions, an archive of Envoy, and func-e's own release."""

    def __init__(self, directory: pathlib.Path, func_e: pathlib.Path):
        directory.mkdir()
        # Closed, it lets no download of Envoy go on.
        self.gate = threading.Event()
        self.gate.set()
        handler = functools.partial(_Handler, self, directory=directory)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        name = f"envoy-v{ENVOY}-linux-{MACHINE}"
        archive = directory / f"{name}.tar.gz"
        with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
            tar.add(artefacts.envoy(), f"{name}/bin/envoy")
        tarballs = {f"linux/{MACHINE}": f"{self.url}/{archive.name}"}
        (directory / "versions.json").write_text(json.dumps({
            "versions": {ENVOY: {"releaseDate": "2026-10-14", "tarballs": tarballs}},
            "sha256sums": {archive.name: _sha256(archive)},
        }))
        release = directory / f"v{FUNC_E}"
        release.mkdir()
        own = release / f"func-e_{FUNC_E}_linux_{MACHINE}.tar.gz"
        with tarfile.open(own, "w:gz", compresslevel=1) as tar:
            tar.add(func_e, "func-e")
        # As in func-e's releases: each with the directory in which it was built.
        sums = f"{'0' * 64}  dist/func-e_{FUNC_E}_linux_other.tar.gz\n{_sha256(own)}  dist/{own.name}\n"
        (release / f"func-e_{FUNC_E}_checksums.txt").write_text(sums)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, mirror, *arguments, directory):
        self._mirror = mirror
        super().__init__(*arguments, directory=directory)

    def do_GET(self):
        if "/envoy-" in self.path:
            self._mirror.gate.wait(artefacts.GUARD_SECONDS)
        super().do_GET()

    def log_message(self, *_):
        pass


def _sha256(file: pathlib.Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


@pytest.fixture(scope="module")
def mirror(func_e, tmp_path_factory):
    mirror = Mirror(tmp_path_factory.mktemp("mirror") / "www", func_e)
    yield mirror
    mirror.stop()


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory):
    """What func-e has downloaded, for all tests of this file in their order."""
    return tmp_path_factory.mktemp("func-e")


def environment(func_e, home: pathlib.Path, url: str) -> dict[str, str]:
    folders = {f"FUNC_E_{it}": str(home / it.lower()) for it in ("CONFIG_HOME", "DATA_HOME", "STATE_HOME", "RUNTIME_DIR")}
    return {"PATH": f"{func_e.parent}:/usr/bin:/bin", "ENVOY_VERSIONS_URL": f"{url}/versions.json", **folders}


def test_the_first_run_downloads_envoy_and_shows_it(provider, mock, func_e, mirror, downloaded, tmp_path):
    env = environment(func_e, downloaded, mirror.url)
    mirror.gate.clear()
    log = tmp_path / "run.log"

    def open_when_it_was_shown():
        until(lambda: log.exists() and "func-e is downloading Envoy" in log.read_text())
        mirror.gate.set()

    shown = threading.Thread(target=open_when_it_was_shown)
    shown.start()
    with running(provider, tmp_path, env=env) as (process, port, _):
        shown.join()
        assert request(port, "POST", "/v1/chat/completions", CHAT).status == 200
        process.signal(signal.SIGTERM)
        # Envoy's own exit code, and all of its access log.
        assert process.wait() == 0
        assert '"path":"/v1/chat/completions"' in process.log_text()
    for file in downloaded.rglob("*"):
        if file.is_file() and file.stat().st_size < 1 << 20:
            assert b"sk-in-the-file" not in file.read_bytes(), file
    assert not list(downloaded.rglob("envoy-runs/*")), "func-e has started nothing"


def test_a_later_run_downloads_nothing(provider, mock, func_e, mirror, downloaded, tmp_path):
    # Nothing listens there.
    env = environment(func_e, downloaded, "http://127.0.0.1:1")
    with running(provider, tmp_path, env=env) as (_, port, _):
        assert request(port, "POST", "/v1/chat/completions", CHAT).status == 200


def test_the_variable_of_func_e_names_another_envoy(provider, mock, func_e, tmp_path):
    env = environment(func_e, tmp_path / "func-e", "http://127.0.0.1:1")
    env["ENVOY_PATH"] = str(artefacts.envoy(artefacts.OLDEST_ENVOY))
    with running(provider, tmp_path, env=env) as (_, port, admin):
        assert request(port, "POST", "/v1/chat/completions", CHAT).status == 200
        assert f"/{artefacts.OLDEST_ENVOY}/" in request(admin, "GET", "/server_info").text


def test_a_failed_download_is_reported_with_func_es_own_message(func_e, tmp_path):
    file = tmp_path / "gateway.yaml"
    file.write_text("backends: [{name: a, type: openai, config: {apiKey: k}}]")
    env = {**SYSTEM, **environment(func_e, tmp_path / "func-e", "http://127.0.0.1:1")}
    done = llm_proxy("run", file, "--wasm", artefacts.module(), env=env)
    assert done.returncode == 69
    assert "connection refused" in done.stderr and "func-e which: it printed no path" in done.stderr


def test_the_commands_of_the_image_install_func_e_and_envoy(func_e, mirror, tmp_path):
    """The `RUN` lines of `e2e/Dockerfile`, with other places to load from and to install to."""
    text = (artefacts.ROOT / "e2e/Dockerfile").read_text()
    stage = re.search(r"^FROM base AS envoy\n(.*?)^(?:FROM|\Z)", text, re.MULTILINE | re.DOTALL)[1]
    commands = [
        it.replace("\\\n", " ") for it in re.findall(r"^RUN ((?:.*\\\n)*.*)$", stage, re.MULTILINE)
    ]
    installs = [it for it in commands if "func-e" in it]
    assert len(installs) == 2
    binaries, scratch = tmp_path / "bin", tmp_path / "scratch"
    binaries.mkdir()
    scratch.mkdir()
    # Only Debian has it.
    dpkg = binaries / "dpkg"
    dpkg.write_text(f"#!/bin/sh\necho {MACHINE}\n")
    dpkg.chmod(0o755)
    env = {
        **environment(binaries / "func-e", tmp_path / "home", mirror.url),
        "ENVOY_FROM": "func-e",
        "ENVOY_VERSION": ENVOY,
        "FUNC_E_VERSION": FUNC_E,
    }
    for command in installs:
        for place, ours in ((RELEASES, mirror.url), ("/usr/local/bin", str(binaries)), ("cd /tmp", f"cd {scratch}")):
            command = command.replace(place, ours)
        done = subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert not list(scratch.iterdir()), "the archive is removed"
    which = subprocess.run([binaries / "func-e", "which"], env=env, capture_output=True, text=True)
    assert pathlib.Path(which.stdout.strip()).is_file(), which.stderr


def test_an_archive_that_was_changed_is_not_installed(func_e, mirror, tmp_path):
    """The checksum is found, and compared: `sha256sum` reads a line, and it is of this archive."""
    text = (artefacts.ROOT / "e2e/Dockerfile").read_text()
    check = re.search(r'\| (sed --quiet "s#.*?" ?)\\\n\s*\| (sha256sum --check)', text)
    assert check, "the Dockerfile takes the line of its archive and checks it"
    archive = f"func-e_{FUNC_E}_linux_{MACHINE}.tar.gz"
    (tmp_path / archive).write_bytes(b"changed")
    line = f"{'0' * 64}  dist/{archive}\n"
    done = subprocess.run(
        ["sh", "-c", f"{check[1]} | {check[2]}"],
        input=line, env={**SYSTEM, "archive": archive}, cwd=tmp_path, capture_output=True, text=True,
    )
    assert done.returncode == 1 and "FAILED" in done.stdout, done.stdout + done.stderr
