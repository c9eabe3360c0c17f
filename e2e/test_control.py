"""The harness itself: what a plain Envoy, without the module, does to the same requests.

Each of these says that a test elsewhere would notice. Without them a provider that accepts anything
would make every test pass.
"""

import pytest

from harness import bootstrap, gateways
from harness.envoy import Envoy

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def plain(output, provider):
    """Envoy as a reverse proxy for one provider, without the module."""
    backend = {
        "name": "plain",
        "type": "openai-compatible",
        "config": gateways.at(provider, "plain", {"apiKey": "${PLAIN_KEY}"}),
    }
    made = bootstrap.in_listener({"backends": [backend]}, {}, holds=False)
    [listener] = made["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager["http_filters"] = manager["http_filters"][1:]
    [route] = manager["route_config"]["virtual_hosts"][0]["routes"]
    del route["match"]["headers"]
    del manager["route_config"]["request_headers_to_remove"]
    envoy = Envoy(output / "control", made)
    yield envoy
    envoy.stop()


def test_the_provider_refuses_another_host_than_that_of_the_handshake(plain, mock):
    reply = plain.post("/v1/chat/completions", CHAT)
    assert reply.status == 421
    [arrived] = mock.requests()
    assert arrived.sni == "plain.example" and arrived.authority == "gateway.test"


def test_the_provider_refuses_a_missing_key(plain, mock):
    reply = plain.post("/v1/chat/completions", CHAT, [("host", "plain.example")])
    # Envoy's own x-forwarded-proto is among what must not arrive.
    assert reply.status == 400 and b"x-forwarded-proto" in reply.body


def test_the_provider_refuses_what_an_application_sends_beside_its_request(plain, mock):
    for name in ("x-forwarded-for", "cookie", "x-api-key", "x-llm-proxy-backend", "x-amz-date"):
        headers = [("host", "plain.example"), (name, "1")]
        reply = plain.post("/v1/chat/completions", CHAT, headers)
        assert reply.status == 400, name


def test_the_provider_answers_what_it_would_answer(plain, mock):
    mock.profile("plain.example", allow_headers=["x-forwarded-proto"], key="required")
    headers = [("host", "plain.example"), ("authorization", "Bearer k")]
    reply = plain.post("/v1/chat/completions", CHAT, headers)
    assert reply.status == 200, reply.body
    arrived = mock.only()
    assert (arrived.path, arrived.version, arrived.alpn) == (
        "/v1/chat/completions",
        "HTTP/2.0",
        "h2",
    )
    assert arrived.json() == CHAT
