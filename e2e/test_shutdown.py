"""The end of `llm-proxy run`: what SIGTERM and SIGINT leave time for, and what is cut."""

import contextlib
import http.client
import json
import pathlib
import signal
import socket
import subprocess

import pytest

from harness import artefacts
from harness.client import HOST, JSON, Exchange, request
from harness.process import until
from harness.running import SYSTEM, chat_backends, free_port, is_ready, running

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
STREAM = {**CHAT, "stream": True}
EVENTS = ("content-type", "text/event-stream")
DONE = "data: [DONE]\n\n"


@pytest.fixture(params=[artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY])
def envoy(request):
    return ["--envoy", artefacts.envoy(request.param)]


@contextlib.contextmanager
def stream(mock, port):
    """A stream that has begun, and ends when the gate `end` is opened."""
    chunks = [{"data": 'data: {"choices":[]}\n\n'}, {"data": DONE, "wait_for": "end"}]
    mock.reply(headers=[EVENTS], chunks=chunks)
    with Exchange(port) as exchange:
        body = json.dumps(STREAM).encode()
        length = ("content-length", str(len(body)))
        exchange.head("POST", "/v1/chat/completions", [HOST, JSON, length])
        exchange.send(body)
        assert exchange.begin()[0] == 200
        exchange.until(b"\n\n")
        yield exchange


def is_refused(port) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stream_ends_by_itself_while_nothing_new_comes_in(provider, mock, tmp_path, envoy, number):
    with running(provider, tmp_path, [*envoy, "--drain-delay", "2s"]) as (process, port, admin):
        with stream(mock, port) as exchange:
            process.signal(number)
            process.until(lambda: not is_ready(admin))
            # Until load balancers have noticed, requests are served, and take their connections along.
            with Exchange(port) as other:
                body = json.dumps(CHAT).encode()
                length = ("content-length", str(len(body)))
                other.head("POST", "/v1/chat/completions", [HOST, JSON, length])
                other.send(body)
                reply = other.reply()
            assert (reply.status, reply.header("connection")) == (200, "close"), reply.body
            process.until(lambda: is_refused(port))
            mock.open("end")
            assert exchange.rest() == DONE.encode()
        assert process.wait() == 0
        assert "are cut" not in process.log_text()


def test_a_stream_that_does_not_end_is_cut(provider, mock, tmp_path, envoy):
    with running(provider, tmp_path, [*envoy, "--drain", "1s"]) as (process, port, admin):
        with stream(mock, port) as exchange:
            process.signal(signal.SIGTERM)
            assert process.wait() == 0
            assert "1 requests still run after 1 s: they are cut" in process.log_text()
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                exchange.rest()
        mock.open("end")


def test_a_second_signal_ends_at_once(provider, mock, tmp_path, envoy):
    arguments = [*envoy, "--drain-delay", "60s", "--drain", "60s"]
    with running(provider, tmp_path, arguments) as (process, port, admin):
        with stream(mock, port):
            process.signal(signal.SIGTERM)
            process.until(lambda: "stopping" in process.log_text())
            process.signal(signal.SIGTERM)
            assert process.wait() == 0
        mock.open("end")


def test_a_port_that_is_served_already_is_refused(provider, mock, tmp_path):
    envoy = ["--envoy", artefacts.envoy()]
    with running(provider, tmp_path, envoy) as (_, port, _):
        second = tmp_path / "second.yaml"
        gateway = {"admin": f"127.0.0.1:{free_port()}", "backends": chat_backends(provider)}
        second.write_text(json.dumps(gateway))
        arguments = ["run", second, *envoy, "--wasm", artefacts.module(), "--listen", f"127.0.0.1:{port}"]
        done = subprocess.run(
            [artefacts.command(), *map(str, arguments)],
            env=SYSTEM,
            capture_output=True,
            text=True,
            timeout=artefacts.GUARD_SECONDS,
        )
        assert done.returncode == 69, done.stderr
        assert f"127.0.0.1:{port}: another process listens there" in done.stderr
        assert request(port, "POST", "/v1/chat/completions", CHAT).status == 200


def test_as_the_first_process_it_ends_by_signals_and_leaves_no_zombies(provider, tmp_path):
    """As in a container: without a handler the kernel drops the signals of such a process."""
    file = tmp_path / "gateway.yaml"
    gateway = {
        "listen": f"127.0.0.1:{free_port()}",
        "admin": f"127.0.0.1:{free_port()}",
        "backends": chat_backends(provider),
    }
    file.write_text(json.dumps(gateway))
    stand_in = tmp_path / "envoy"
    # It leaves an orphan behind, and ends by SIGTERM.
    stand_in.write_text(
        "#!/bin/sh\n(sleep 0.2 &)\nsleep 1\n"
        "echo zombies: $(grep -l '^State:.Z' /proc/[0-9]*/status 2> /dev/null | wc -l)\n"
        "exec sleep 60\n"
    )
    stand_in.chmod(0o755)
    namespace = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    command = [artefacts.command(), "run", file, "--envoy", stand_in, "--wasm", artefacts.module()]
    log = tmp_path / "run.log"
    with open(log, "wb") as output:
        child = subprocess.Popen([*namespace, *map(str, command)], stdout=output, stderr=output, env=SYSTEM)
    try:
        until(lambda: "zombies: " in log.read_text() or child.poll() is not None)
        assert "zombies: 0\n" in log.read_text(), log.read_text()
        children = pathlib.Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text()
        subprocess.run(["kill", "-TERM", children.split()[0]], check=True)
        # As a shell has it: SIGTERM is 15.
        assert child.wait(artefacts.GUARD_SECONDS) == 128 + 15
    finally:
        child.kill()
        child.wait()
