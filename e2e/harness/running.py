"""Gateways that `llm-proxy run` starts."""

import contextlib
import os
import pathlib
import socket
import subprocess

import yaml

from . import artefacts, gateways
from .client import request
from .process import Process

SYSTEM = {"PATH": os.environ["PATH"]}


def llm_proxy(*arguments, env=(), cwd=None):
    return subprocess.run(
        [artefacts.command(), *map(str, arguments)],
        env={**SYSTEM, **dict(env)},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=artefacts.GUARD_SECONDS,
    )


def free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def chat_backends(provider):
    """One backend, with a literal key."""
    config = {**gateways.at(provider, "run", {}), "apiKey": "sk-in-the-file"}
    return [{"name": "run", "type": "openai-compatible", "config": config}]


@contextlib.contextmanager
def running(provider, directory, arguments=(), env=(), backends=None, routes=None):
    """A gateway with these backends and routes, else with those of `chat_backends`."""
    port, admin = free_port(), free_port()
    file = directory / "gateway.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "listen": f"127.0.0.1:{port}",
                "admin": f"127.0.0.1:{admin}",
                "backends": backends or chat_backends(provider),
                **({"routes": routes} if routes else {}),
            }
        )
    )
    with started(file, directory, admin, arguments, env) as process:
        yield process, port, admin


@contextlib.contextmanager
def started(file: pathlib.Path, directory: pathlib.Path, admin: int, arguments=(), env=()):
    """`llm-proxy run` with a configuration, from when it is ready on."""
    env = {**SYSTEM, **dict(env), "TMPDIR": str(directory)}
    whole = [artefacts.command(), "run", file, "--wasm", artefacts.module()]
    if "--drain-delay" not in arguments:
        whole += ["--drain-delay", "0"]
    if "--drain" not in arguments:
        # A test that fails leaves streams behind: shorter than `stop` waits.
        whole += ["--drain", "10s"]
    process = Process([*whole, *arguments], directory / "run.log", env)
    try:
        process.until(lambda: is_ready(admin))
        yield process
    finally:
        process.stop()


def is_ready(admin: int) -> bool:
    with contextlib.suppress(OSError):
        return request(admin, "GET", "/ready").status == 200
    return False
