"""A Gateway of Istio's that is there already, with several servers, http and https, by Istio."""

import pytest

from harness.control_planes.istio import Istio

from test_on_istio import CHAT, CLIENT, FRAMING, HELD, PLAIN, SEEN, SELECTOR, assert_held, assert_valid, start  # noqa: F401, a fixture
from tls import HOST, identity, post_tls

HTTP, OTHER, HTTPS = 80, 8085, 8443


@pytest.fixture(scope="module")
def surroundings(world):
    """The Gateway `shared`. Its certificate is a file, since there is no Secret without a cluster."""
    files = {name: world.directory / name for name in ("tls.key", "tls.crt")}
    for name, text in identity(world.directory).items():
        files[name].write_text(text)
    tls = {"mode": "SIMPLE", "serverCertificate": str(files["tls.crt"]), "privateKey": str(files["tls.key"])}
    servers = [
        {"port": {"number": HTTP, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]},
        {"port": {"number": OTHER, "name": "other", "protocol": "HTTP"}, "hosts": ["*"]},
        {"port": {"number": HTTPS, "name": "https", "protocol": "HTTPS"}, "hosts": [HOST], "tls": tls},
    ]
    return [
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "shared", "namespace": "istio-ingress"},
            "spec": {"selector": {"istio": "llm-gateway"}, "servers": servers},
        }
    ]


def post(started: Istio, port: int, target: str, headers=CLIENT):
    if port == HTTPS:
        return post_tls(port, target, CHAT, headers)
    return started.post(target, CHAT, headers, port=port)


class At:
    """A gateway whose requests go to one of its ports."""

    def __init__(self, started: Istio, port: int):
        self._started, self._port = started, port

    def post(self, target, body, headers=()):
        assert body == CHAT
        return post(self._started, self._port, target, headers)


def test_every_server_of_a_gateway_answers(start, surroundings, mock):  # noqa: F811
    started = start(PLAIN, *SELECTOR, "--gateway", "shared", surroundings=surroundings, name="servers")
    assert_valid(started)
    for port in (HTTP, OTHER, HTTPS):
        mock.forget()
        started.agent.until(lambda: post(started, port, "/mistral").status == 200)
        arrived = mock.requests()[-1]
        assert (arrived.authority, arrived.path) == ("api.mistral.ai", "/v1/chat/completions")
        names = sorted(name for name, _ in arrived.headers if name not in FRAMING)
        assert names == SEEN


def test_held_headers_answer_at_every_server_of_a_gateway(start, surroundings, mock):  # noqa: F811
    started = start(
        HELD, *SELECTOR, "--hold", "--gateway", "shared", surroundings=surroundings, name="servers-held"
    )
    assert_valid(started)
    for port in (HTTP, OTHER, HTTPS):
        mock.reset([])
        assert_held(At(started, port), mock)
