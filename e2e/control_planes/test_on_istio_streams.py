"""What lasts longer than a request, by Istio: a stream while the configuration changes, a WebSocket."""

import http.client
import json
import socket
import threading

import pytest
import yaml

from harness.client import Exchange
from harness.control_planes import istio
from harness.control_planes.world import PROVIDERS, render
from harness.process import until

from test_on_istio import CHAT, PLAIN, SELECTOR, changed, start  # noqa: F401, a fixture
from test_on_istio_policies import policies

EVENTS = [("content-type", "text/event-stream")]
WORDS = ['data: {"a":1}\n\n', 'data: {"b":2}\n\n', "data: [DONE]\n\n"]


def begin(started, mock) -> Exchange:
    """A stream that has begun, and goes on when the gates `g1` and `g2` are opened."""
    mock.reply(headers=EVENTS, chunks=[{"data": it, "wait_for": f"g{at}"} for at, it in enumerate(WORDS)])
    data = json.dumps({**CHAT, "stream": True}).encode()
    stream = Exchange(started.pod.port)
    length = ("content-length", str(len(data)))
    stream.head("POST", "/mistral", [("host", "g"), ("content-type", "application/json"), length])
    stream.send(data)
    assert stream.begin()[0] == 200
    mock.open("g0")
    assert stream.until(b"\n\n") == WORDS[0].encode()
    return stream


def draining(started) -> int:
    """How many old listeners, and old chains of filters of a listener that stays, wait for what runs on them."""
    text = started.admin("/stats?filter=^listener_manager.total_(listeners|filter_chains)_draining$")
    return sum(int(line.partition(":")[2]) for line in text.splitlines())


def change_the_filters(started, manifests: str):
    """A policy that is new replaces the listener."""
    started.apply(f"{manifests}---\n{yaml.safe_dump_all(policies('rbac'))}")
    started.agent.until(lambda: started.post("/mistral", CHAT).status == 403)


def test_a_stream_outlives_changes(start, mock):  # noqa: F811
    started = start(PLAIN, *SELECTOR, name="stream")
    manifests = (started.directory / "ours.yaml").read_text()
    with begin(started, mock) as stream:
        # Of the module, of the route, of the connections to the provider.
        change = manifests.replace("5s", "4s").replace("600s", "500s")
        assert change != manifests
        started.apply(changed(change, lambda it: it["backends"][0]["config"].update(defaultModel="second")))

        def model():
            assert started.post("/mistral", CHAT).status == 200
            return mock.requests()[-1].json()["model"]

        until(lambda: model() == "second")
        mock.open("g1")
        assert stream.until(b"\n\n") == WORDS[1].encode()
        change_the_filters(started, manifests)
        # The old listener waits for what runs on it.
        assert draining(started) == 1
        mock.open("g2")
        assert stream.until(b"[DONE]\n\n") == WORDS[2].encode()
    drain = json.loads(started.admin("/server_info"))["command_line_options"]["drain_time"]
    assert drain == "1800s"


def test_without_a_drain_time_a_change_of_the_filters_cuts_a_stream(start, mock):  # noqa: F811
    """What `drainDuration` of `istio-pods.yaml` is for."""
    pod = istio.gateway_pod()
    pod.proxy_config()["drainDuration"] = "1s"
    started = start(PLAIN, *SELECTOR, pod=pod, name="stream-cut")
    with begin(started, mock) as stream:
        change_the_filters(started, (started.directory / "ours.yaml").read_text())
        until(lambda: draining(started) == 0)
        with pytest.raises((AssertionError, OSError, http.client.HTTPException)):
            stream.until(b"[DONE]\n\n")
    mock.open("g1")
    mock.open("g2")


UPGRADE = [
    ("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13"),
    ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
]


class Echo:
    """A provider that takes one WebSocket and sends back what comes."""

    def __init__(self, port: int):
        self._server = socket.create_server((PROVIDERS, port))
        self.head = b""
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        connection, _ = self._server.accept()
        with connection:
            while not self.head.endswith(b"\r\n\r\n"):
                self.head += connection.recv(1)
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
            while data := connection.recv(100):
                connection.sendall(data)

    def stop(self):
        self._server.close()


def test_a_websocket_passes_with_the_providers_key(start):  # noqa: F811
    provider = Echo(9100)
    gateway = """
    backends:
    - {name: local, type: openai-compatible, config: {endpoint: "http://llm.example.com:9100/v1", apiKey: "${MISTRAL_API_KEY}"}}
    routes: [{name: local, path: /local, backend: local}]
    """
    started = start(gateway, *SELECTOR, name="websocket")
    try:
        with Exchange(started.pod.port) as client:
            headers = [("host", "gateway.test"), ("authorization", "Bearer client"), *UPGRADE]
            client.head("GET", "/local/v1/realtime?model=m", headers)
            head = client.raw_until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101"), head
            client.send(b"\x81\x05hello")
            assert client.raw_until(b"hello") == b"\x81\x05hello"
        assert provider.head.startswith(b"GET /v1/realtime?model=m ")
        assert b"authorization: bearer sk-mistral\r\n" in provider.head.lower()
        assert b"client" not in provider.head
    finally:
        provider.stop()


def test_two_gateways_in_one_namespace_leave_each_other_alone(start, mock, world):  # noqa: F811
    second = """
    backends: [{name: mistral, type: groq, config: {apiKey: "${GROQ_API_KEY}", defaultModel: m}}]
    routes: [{name: mistral, path: /search, backend: mistral}]
    """
    more = render("istio", second, world.directory / "istio/second", *SELECTOR, "--name", "search")
    started = start(PLAIN, *SELECTOR, change=lambda ours: f"{ours}---\n{more}", name="two")
    for path, host, key in (
        ("/mistral", "api.mistral.ai", "sk-mistral"), ("/search", "api.groq.com", "sk-groq"),
        ("/search/v1/chat/completions", "api.groq.com", "sk-groq"),
    ):
        mock.forget()
        assert started.post(path, CHAT).status == 200
        arrived = mock.only()
        assert (arrived.authority, arrived.all("authorization")) == (host, [f"Bearer {key}"])
    mock.forget()
    for path in ("/other", "/~istio-ingress.llm-proxy/mistral/chat", "/~istio-ingress.search/mistral/chat"):
        assert started.post(path, CHAT).status == 404
    assert mock.none_came()
