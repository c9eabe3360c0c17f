"""Every reply names its request: the provider's, the gateway's and Envoy's own."""

import re

import pytest

from harness import artefacts, bootstrap
from harness.gateways import at

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
OURS = "x-llm-proxy-request-id"
MADE = re.compile(r"[0-9a-f-]{32,36}")


@pytest.fixture(scope="module", params=[artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY])
def gateway(start, provider, request):
    def backend(name, type, **config):
        config = at(provider, name, {"apiKey": "${PLAIN_KEY}", **config})
        return {"name": name, "type": type, "config": config}

    down = backend("down", "openai-compatible")
    down["config"]["address"] = "127.0.0.1:1"
    backends = [
        backend("plain", "openai-compatible"),
        backend("claude", "anthropic", endpoint="https://api.anthropic.com"),
        down,
        {"name": "pool", "type": "pool", "backends": [{"name": "plain"}, {"name": "claude"}]},
    ]
    routes = [{"path": f"/{it['name']}", "backend": it["name"]} for it in backends]
    made = {"backends": backends, "routes": routes}
    return start(made, bootstrap.UPSTREAM, version=request.param, name="ids")


REPLIES = {
    "a provider's": ("POST", "/plain/v1/chat/completions", CHAT, 200),
    "a translated one": ("POST", "/claude/v1/chat/completions", CHAT, 200),
    "a pool's": ("POST", "/pool/v1/chat/completions", CHAT, 200),
    "a refusal": ("POST", "/plain/v1/chat/completions", b"{", 400),
    "a refusal of a translation": ("POST", "/claude/v1/chat/completions", b"{", 400),
    "Envoy's, without a provider": ("POST", "/down/v1/chat/completions", CHAT, 503),
    "Envoy's, without a route": ("POST", "/nowhere", CHAT, 404),
    "the list of models": ("GET", "/pool/v1/models", None, 200),
}


@pytest.mark.parametrize("name", REPLIES)
def test_every_reply_has_the_id_of_its_request(gateway, mock, name):
    method, path, body, status = REPLIES[name]
    count = 0
    for given, kept in [("client-id.1", True), ("a b", False), ("x" * 129, False), (None, False)]:
        headers = [("x-request-id", given)] if given else []
        reply = gateway.request(method, path, body, headers=headers)
        assert reply.status == status, reply.body
        ours = reply.header(OURS)
        # The module has taken the client's id off the request that Envoy then cannot send.
        kept = kept and name != "Envoy's, without a provider"
        assert ours == given if kept else MADE.fullmatch(ours)
        # A provider's own id passes; without a provider the client's library finds its own again. One that
        # Envoy makes stands in one header only: it makes another each time.
        (arrived,) = mock.requests()[count:] or (None,)
        count += arrived is not None
        if arrived:
            assert reply.header("x-request-id") == str(arrived.id)
        elif kept:
            assert reply.header("x-request-id") == given
        else:
            assert reply.header("x-request-id") in (None, ours)
    assert not any(name in (OURS, "x-request-id") for it in mock.requests() for name, _ in it.headers)


def test_the_providers_id_passes(gateway, mock):
    mock.reply(headers=[("content-type", "application/json"), ("x-request-id", "req_1")], body="{}")
    reply = gateway.post("/plain/v1/chat/completions", CHAT)
    assert reply.header("x-request-id") == "req_1"
    assert MADE.fullmatch(reply.header(OURS))


def test_clients_of_messages_have_it_where_their_sdk_looks(gateway, mock):
    message = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
    reply = gateway.post("/plain/v1/messages", message)
    assert reply.status == 200, reply.body
    assert reply.header("request-id") == reply.header(OURS)
