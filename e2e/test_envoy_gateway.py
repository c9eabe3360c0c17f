"""The manifests for Envoy Gateway, as Envoy Gateway handed them to Envoy: see `harness/recording.py`."""

import json

import pytest

from harness.bootstrap import mappings
from harness.envoy import Envoy
from harness.recording import Served
from harness.shapes import assert_openai_error
from test_istio import CHAT, KEYS, MISTRAL, TELLING, VERSIONS
from test_istio import ask_claude, assert_routed_by_model, walk_through


@pytest.fixture(scope="module")
def start(provider, output):
    """Starts the Envoy of a Gateway, with all providers at `mock`: `start(form, version)`."""
    running = []

    def start(form, version, change=lambda bootstrap: None):
        directory = output / "envoy-gateway" / f"{form}-{len(running)}-{version}"
        served = Served("envoy-gateway", form, directory, provider)
        change(served.bootstrap)
        running.append(Envoy(directory, served.bootstrap, version, KEYS))
        return running[-1]

    yield start
    for envoy in running:
        envoy.process.stop()
    for envoy in running:
        envoy.assert_no_trouble()
        for secret in KEYS.values():
            assert secret not in envoy.log()


@pytest.fixture(scope="module", params=VERSIONS)
def gateway(start, request):
    return start("plain", request.param)


@pytest.fixture(scope="module", params=VERSIONS)
def held(start, request):
    return start("held", request.param)


def test_the_requests_of_the_walk_through_are_answered(gateway, mock):
    asked = walk_through("Envoy Gateway")
    for path, body in [*asked, ("/deepseek/v1/chat/completions", json.dumps(CHAT))]:
        mock.forget()
        name = path.split("/")[1]
        authority = {"mistral": "api.mistral.ai", "deepseek": "api.deepseek.com"}[name]
        reply = gateway.post(path, body, [("authorization", "Bearer client"), ("cookie", "a=b")])
        assert reply.status == 200, reply.body
        arrived = mock.only()
        assert (arrived.authority, arrived.path) == (authority, "/v1/chat/completions")
        assert (arrived.tls, arrived.sni) == (True, authority)
        assert arrived.all("authorization") == [f"Bearer sk-{name}"]
        told = [it for it, _ in arrived.headers if it.startswith(TELLING)]
        assert told == ["authorization"]


def test_a_client_does_not_choose_by_our_header(gateway, mock):
    headers = [("x-llm-proxy-backend", "deepseek")]
    assert gateway.post(MISTRAL, CHAT, headers).status == 200
    assert mock.only().authority == "api.mistral.ai"
    mock.forget()
    # The header leads nowhere: not even as far as the module.
    for sent in (headers, []):
        assert gateway.post("/other", CHAT, sent).status == 404
    assert mock.none_came()


def test_attempts_are_what_max_retries_says(gateway, mock):
    mock.reply(status=429, body="{}", times=2)
    assert gateway.post("/deepseek", CHAT).status == 200
    assert len(mock.requests()) == 3
    mock.reply(reset_before_headers=True, times=4)
    assert_openai_error(gateway.post(MISTRAL, CHAT), 503, "server_error")


def test_a_large_body_passes_as_it_comes(gateway, mock):
    body = {"model": "m", "messages": [{"role": "user", "content": "x" * 3_000_000}]}
    assert gateway.post(MISTRAL, body).status == 200
    assert mock.only().json() == {**body, "temperature": 0.3}


def test_a_patch_lets_headers_wait_for_the_body(held, mock):
    ask_claude(held, mock, {"messages": [{"role": "user", "content": "x" * 2_000_000}]})
    mock.forget()
    assert held.post(MISTRAL, CHAT).status == 200
    arrived = mock.only()
    assert arrived.header("content-length") == str(len(arrived.body))


@pytest.mark.parametrize("form, limit", [("plain", None), ("plain", 32 << 10), ("held", 32 << 10)])
def test_without_our_client_policy_large_bodies_pass_and_are_not_retried(start, mock, form, limit):
    """Envoy Gateway's own limit of 32 KiB bounds what Envoy keeps for another attempt, and nothing else."""

    def change(bootstrap):
        for holder in mappings(bootstrap["static_resources"]["listeners"]):
            if limit and "per_connection_buffer_limit_bytes" in holder:
                holder["per_connection_buffer_limit_bytes"] = limit

    gateway = start(form, VERSIONS[0], change)
    body = {"messages": [{"role": "user", "content": "x" * 500_000}]}
    if form == "held":
        ask_claude(gateway, mock, body)
        return
    assert gateway.post(MISTRAL, body).status == 200
    for sent, attempts in ((CHAT, 2), (body, 1 if limit else 2)):
        mock.forget()
        mock.reply(status=429, body="{}")
        assert gateway.post("/deepseek", sent).status == (200 if attempts == 2 else 429)
        assert len(mock.requests()) == attempts


@pytest.mark.parametrize("version", VERSIONS)
def test_held_headers_route_by_model(start, mock, version):
    assert_routed_by_model(start("by-model", version), mock)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_providers_path_that_begins_as_a_clients_does_not_mislead(start, mock, version):
    """Envoy matches again on the provider's path, /v1/…, which here is a route of another backend."""
    gateway = start("overlap", version)
    for path, authority in (
        ("/deepseek/v1/chat/completions", "api.deepseek.com"),
        ("/v1/chat/completions", "api.mistral.ai"),
    ):
        mock.forget()
        assert gateway.post(path, {**CHAT, "model": "m"}).status == 200
        arrived = mock.only()
        assert (arrived.authority, arrived.sni) == (authority, authority)
