"""`GET /v1/models`: what can be asked for below a base URL, from whoever knows it."""

import openai
import pytest

from harness import gateways
from harness.client import request
from harness.shapes import assert_openai_error


def shared(mock) -> dict:
    key = {"apiKey": "${PLAIN_KEY}"}
    long = {f"alias-{number:03}-of-the-small-model": "small" for number in range(120)}
    backends = [
        {"name": "plain", "type": "openai-compatible", "config": key},
        {
            "name": "hub",
            "type": "openrouter",
            "config": {**key, "endpoint": "https://hub.example", "defaultModel": "meta-llama/Llama 3:free"},
        },
        {
            "name": "claude",
            "type": "anthropic",
            "config": {"apiKey": "${ANTHROPIC_KEY}", "models": ["claude-*", "claude-opus-4-5"],
                       "modelAliases": {"gpt-4o": "claude-sonnet-4-5"}},
        },
        {"name": "long", "type": "openai-compatible", "config": {**key, "modelAliases": long}},
    ]
    for backend in backends:
        backend["config"] = gateways.at(mock, backend["name"], backend["config"])
    routes = [
        {"path": "/plain", "backend": "plain"},
        {"path": "/several/v1/chat/completions", "methods": ["POST"], "backend": "hub"},
        {"path": "/several/v1/embeddings", "methods": ["POST"], "backend": "claude"},
        {"path": "/translated", "backend": "claude"},
        # One host's clients have one provider, the others two.
        {"path": "/hosted", "hosts": ["one.test"], "backend": "plain"},
        {"path": "/hosted/v1/embeddings", "backend": "hub"},
        {"path": "/hosted", "backend": "long"},
    ]
    return {"backends": backends, "routes": routes}


@pytest.fixture(scope="module")
def gateway(start, provider, held):
    placement, version = held
    return start(shared(provider), placement, version)


def listed(gateway, path, **how):
    with openai.OpenAI(base_url=gateway.url(path), api_key="k", max_retries=0, **how) as client:
        return {model.id: model.owned_by for model in client.models.list()}


def test_one_provider_lists_its_models_itself(gateway, mock):
    assert list(listed(gateway, "/plain/v1")) == ["mock-large", "mock-small"]
    assert mock.only().path == "/v1/models"
    assert list(listed(gateway, "/plain")) == ["mock-large", "mock-small"]


def test_several_backends_are_listed_without_asking_them(gateway, mock):
    expected = {
        "meta-llama/Llama 3:free": "openrouter",
        "claude-opus-4-5": "anthropic",
        "gpt-4o": "anthropic",
    }
    assert listed(gateway, "/several/v1") == expected
    assert mock.none_came()


@pytest.mark.parametrize("base", ["/translated", "/translated/v1"])
def test_a_translated_backend_is_listed_without_asking_it(gateway, mock, base):
    assert listed(gateway, base) == {"claude-opus-4-5": "anthropic", "gpt-4o": "anthropic"}
    assert mock.none_came()


def test_a_model_is_found_by_its_name(gateway, mock):
    with openai.OpenAI(base_url=gateway.url("/several/v1"), api_key="k", max_retries=0) as client:
        for name in ("gpt-4o", "meta-llama/Llama 3:free"):
            assert client.models.retrieve(name).id == name
        with pytest.raises(openai.NotFoundError) as raised:
            client.models.retrieve("gpt-4")
        assert raised.value.code == "model_not_found" and raised.value.param == "model"
    for path in ("meta-llama/Llama%203:free", "meta-llama%2fLlama%203%3Afree", "meta-llama%2FLlama%203:free"):
        assert gateway.get(f"/several/v1/models/{path}").json()["id"] == "meta-llama/Llama 3:free", path
    assert mock.none_came()


def test_queries_slashes_and_head_do_not_matter(gateway, mock):
    whole = gateway.get("/several/v1/models").body
    assert gateway.get("/several/v1/models?limit=5").body == whole
    assert gateway.get("/several/v1/models/").body == whole
    head = request(gateway.port, "HEAD", "/several/v1/models")
    assert (head.status, head.body) == (200, b"")
    assert head.header("content-type") == "application/json"
    assert mock.none_came()


def test_what_is_no_list_is_routed_as_ever(gateway, mock):
    reply = gateway.post("/several/v1/models", {})
    assert_openai_error(reply, 404, code="unknown_url")
    assert_openai_error(gateway.get("/several/v1/modelsx"), 404, code="unknown_url")
    assert mock.none_came()


def test_clients_are_told_what_they_can_ask_for(gateway, mock):
    """More than 4 KiB of it, and another list for another host."""
    told = gateway.get("/hosted/v1/models").json()["data"]
    assert len(told) == 121 and told[0]["owned_by"] == "openrouter", told[:3]
    assert mock.none_came()
    one = gateway.get("/hosted/v1/models", [("host", "one.test")]).json()["data"]
    assert [model["id"] for model in one] == ["mock-large", "mock-small"]
