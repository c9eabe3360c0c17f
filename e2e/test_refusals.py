"""Refusals arrive: a client that sends a large body can read why it was refused.

`curl`, Node's `fetch` and httpx send a body without waiting for a reply. A connection that is closed
while they send looks like a network error to them.
"""

import json
import shutil
import subprocess

import httpx2
import pytest

from harness import artefacts, bootstrap, gateways

MIB = 1 << 20
NODE = """
const [url, size, length] = process.argv.slice(1);
const headers = {"content-type": "application/json"};
const body = Buffer.alloc(Number(size), "x");
const stream = () => new ReadableStream({start(it) { it.enqueue(body); it.close(); }});
const sent = length === "declared" ? {body} : {body: stream(), duplex: "half"};
const reply = await fetch(url, {method: "POST", headers, ...sent});
process.stdout.write(JSON.stringify([reply.status, await reply.text()]));
"""


@pytest.fixture(scope="module", params=bootstrap.PLACEMENTS)
def gateway(start, provider, request):
    return start(gateways.shared(provider), request.param)


def by_curl(url: str, size: int, length: str, directory) -> tuple[int, str]:
    body = directory / "body"
    body.write_bytes(b"x" * size)
    arguments = ["curl", "--silent", "--show-error", "--max-time", str(artefacts.GUARD_SECONDS)]
    arguments += ["--header", "content-type: application/json", "--header", "expect:"]
    if length == "chunked":
        arguments += ["--header", "transfer-encoding: chunked"]
    arguments += ["--write-out", "\n%{http_code}", "--data-binary", f"@{body}", url]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text, status = done.stdout.rsplit("\n", 1)
    return int(status), text


def by_node(url: str, size: int, length: str, directory) -> tuple[int, str]:
    arguments = [shutil.which("node"), "--input-type=module", "--eval", NODE, url, str(size), length]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=artefacts.GUARD_SECONDS)
    assert done.returncode == 0, done.stderr
    status, text = json.loads(done.stdout)
    return status, text


def by_httpx(url: str, size: int, length: str, directory) -> tuple[int, str]:
    def pieces():
        for _ in range(size // 65536):
            yield b"x" * 65536

    content = b"x" * size if length == "declared" else pieces()
    headers = {"content-type": "application/json"}
    reply = httpx2.post(url, content=content, headers=headers, timeout=artefacts.GUARD_SECONDS)
    return reply.status_code, reply.text


CLIENTS = {"curl": by_curl, "node": by_node, "httpx": by_httpx}


@pytest.mark.parametrize("length", ["declared", "chunked"])
@pytest.mark.parametrize("size", [MIB, 40 * MIB])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_refusal_arrives(gateway, mock, tmp_path, client, size, length):
    """The first byte is wrong, and what is larger than 32 MiB is too large."""
    status, text = CLIENTS[client](gateway.url("/forced/v1/chat/completions"), size, length, tmp_path)
    assert status in ((400,) if size == MIB else (400, 413)), text
    assert "error" in json.loads(text), text
