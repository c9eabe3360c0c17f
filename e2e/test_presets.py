"""Each provider type: the exact authority, path, headers and body that arrive.

The providers have their real names; `address` leads them to the scripted provider, whose
certificate for that name Envoy checks.
"""

import dataclasses

import pytest

from harness import gateways

BODY = (
    b'{ "messages" : [{"role":"user","content":"Gr\\u00fc\xc3\x9fe \\/ \xf0\x9f\x91\x8b"}],'
    b'"max_tokens":16,  "temperature":0.70, "model":"MODEL" }\n'
)


@dataclasses.dataclass
class Preset:
    type: str
    # Where it lives by itself, or the endpoint that must be given.
    authority: str
    base: str
    endpoint: str | None = None
    has_key: bool = True
    # Of the models that its provider lists, the first.
    model: str = "mock-large"

    @property
    def tls(self) -> bool:
        return self.endpoint is None or self.endpoint.startswith("https:")


# Source: PROVIDERS, "Where each provider lives".
PRESETS = [
    Preset("openai", "api.openai.com", "/v1", model="gpt-4o"),
    Preset("xai", "api.x.ai", "/v1", model="grok-2-latest"),
    Preset("groq", "api.groq.com", "/openai/v1", model="llama-3.3-70b-versatile"),
    Preset(
        "together", "api.together.xyz", "/v1", model="meta-llama/Llama-3.3-70B-Instruct-Turbo"
    ),
    Preset("cohere", "api.cohere.ai", "/compatibility/v1", model="command-a-03-2025"),
    Preset("mistral", "api.mistral.ai", "/v1", model="mistral-large-latest"),
    Preset("deepseek", "api.deepseek.com", "/v1", model="deepseek-chat"),
    Preset("openrouter", "openrouter.ai", "/api/v1", model="openai/gpt-4o"),
    Preset(
        "fireworks",
        "api.fireworks.ai",
        "/inference/v1",
        model="accounts/fireworks/models/llama-v3p3-70b-instruct",
    ),
    Preset("ollama", "localhost:11434", "/v1", has_key=False),
    Preset("vllm", "vllm.internal:8000", "/v1", endpoint="http://vllm.internal:8000"),
    Preset("lmstudio", "studio.internal:1234", "/v1", endpoint="http://studio.internal:1234/v1"),
    Preset("meta", "llama.example.com", "/v1", endpoint="https://llama.example.com"),
    Preset(
        "openai-compatible",
        "llm.example.com",
        "/any/base",
        endpoint="https://llm.example.com/any/base/chat/completions",
    ),
]


@pytest.fixture(scope="module")
def gateway(start, provider):
    backends, env = [], {}
    for preset in PRESETS:
        variable = preset.type.upper().replace("-", "_") + "_KEY"
        config = {}
        if preset.has_key:
            env[variable] = f"sk-{preset.type}-1"
            config["apiKey"] = f"${{{variable}}}"
        if preset.endpoint:
            config["endpoint"] = preset.endpoint
        if preset.tls and preset.type != "ollama":
            config |= {"address": provider.tls, "tls": {"caFile": str(provider.ca)}}
        else:
            config["address"] = provider.plain
        backends.append({"name": preset.type, "type": preset.type, "config": config})
    routes = [{"path": f"/{preset.type}", "backend": preset.type} for preset in PRESETS]
    return start({"backends": backends, "routes": routes}, env={**gateways.ENVIRONMENT, **env})


@pytest.fixture(params=PRESETS, ids=lambda preset: preset.type)
def preset(request, mock):
    if request.param.type == "openai-compatible":
        mock.profile("llm.example.com", base="/any/base", key="required")
    return request.param


def test_a_chat_request_arrives_as_this_provider_wants_it(gateway, mock, preset):
    body = BODY.replace(b"MODEL", preset.model.encode())
    headers = [
        ("user-agent", "e2e/1"),
        ("accept", "application/json"),
        ("authorization", "Bearer the-applications-own"),
    ]
    reply = gateway.post(f"/{preset.type}/v1/chat/completions", body, headers)
    assert reply.status == 200, reply.body
    assert reply.json()["object"] == "chat.completion"
    assert reply.json()["model"] == preset.model

    arrived = mock.only()
    assert arrived.method == "POST"
    assert arrived.authority == preset.authority
    assert arrived.path == f"{preset.base}/chat/completions"
    assert arrived.body == body
    expected = {
        "user-agent": "e2e/1",
        "accept": "application/json",
        "content-type": "application/json",
        "content-length": str(len(body)),
    }
    if preset.has_key:
        expected["authorization"] = f"Bearer sk-{preset.type}-1"
    if arrived.version == "HTTP/1.1":
        expected["host"] = preset.authority
    assert sorted(arrived.headers) == sorted(expected.items())


def test_the_handshake_names_the_provider_and_offers_http_2(gateway, mock, preset):
    reply = gateway.get(f"/{preset.type}/v1/models")
    assert reply.status == 200, reply.body
    arrived = mock.only()
    if preset.tls and preset.type != "ollama":
        assert (arrived.tls, arrived.sni) == (True, preset.authority)
        assert (arrived.alpn, arrived.version) == ("h2", "HTTP/2.0")
    else:
        assert (arrived.tls, arrived.version) == (False, "HTTP/1.1")


def test_models_are_listed_with_a_get(gateway, mock, preset):
    reply = gateway.get(f"/{preset.type}/v1/models")
    assert reply.status == 200, reply.body
    assert preset.model in [model["id"] for model in reply.json()["data"]]
    arrived = mock.only()
    assert (arrived.method, arrived.path) == ("GET", f"{preset.base}/models")
    assert arrived.body == b""
    assert arrived.header("content-length") in (None, "0")


def test_a_stream_arrives_event_by_event(gateway, mock, preset):
    body = {
        "model": preset.model,
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
    }
    reply = gateway.post(f"/{preset.type}", body)
    assert reply.status == 200, reply.body
    assert reply.header("content-type").startswith("text/event-stream")
    assert reply.text.endswith("data: [DONE]\n\n")
    assert mock.only().path == f"{preset.base}/chat/completions"


def test_the_providers_own_refusal_of_a_model_has_openais_shape(gateway, mock, preset):
    body = {"model": "no-such-model", "messages": [{"role": "user", "content": "Hello"}]}
    reply = gateway.post(f"/{preset.type}/v1/chat/completions", body)
    assert reply.status == 404
    error = reply.json()["error"]
    assert "no-such-model" in error["message"]


def test_every_preset_of_the_documentation_is_here():
    named = {
        *("openai", "openai-compatible", "xai", "groq", "together", "cohere", "mistral"),
        *("deepseek", "ollama", "openrouter", "fireworks", "vllm", "lmstudio", "meta"),
    }
    assert {preset.type for preset in PRESETS} == named
