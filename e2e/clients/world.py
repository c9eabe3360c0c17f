"""The gateway that the frameworks call, what they are asked to do, and what the models answer.

Each framework does the same things with its defaults, in front of a provider that refuses what the
real one refuses. `base_url`, a key and a model are all that it is told, unless its `NEEDS` say more.
"""

import base64
import struct
import zlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Provider:
    """A backend, and the two models that a client names: the provider's own, and an alias."""

    name: str
    type: str
    endpoint: str
    key: str
    model: str
    aliased: str

    @property
    def base(self) -> str:
        return f"/{self.name}/v1"


PROVIDERS = [
    # The own model is the one that refuses most; the other has budgets for its thinking.
    Provider(
        "anthropic", "anthropic", "https://api.anthropic.com", "${ANTHROPIC_KEY}",
        "claude-opus-5-5", "claude-sonnet-4-5",
    ),
    Provider(
        "gemini", "google", "https://generativelanguage.googleapis.com/v1beta", "${GEMINI_KEY}",
        "gemini-3.8-flash", "gemini-2.5-flash",
    ),
    Provider(
        "mistral", "mistral", "https://api.mistral.ai", "${PLAIN_KEY}",
        "mistral-large-latest", "mistral-small-latest",
    ),
    Provider(
        "openai", "openai", "https://api.openai.com", "${OPENAI_KEY}", "gpt-5.2", "gpt-4o",
    ),
]  # fmt: skip
# What an application has written into it that was made for OpenAI.
ALIAS = "gpt-4o"


def gateway(mock, providers=PROVIDERS) -> dict:
    """The configuration, with every backend at the scripted provider."""
    from harness import gateways

    backends = []
    for it in providers:
        config = {"apiKey": it.key, "endpoint": it.endpoint}
        if it.aliased != ALIAS:
            config["modelAliases"] = {ALIAS: it.aliased}
        config = gateways.at(mock, it.name, config)
        backends.append({"name": it.name, "type": it.type, "config": config})
    routes = [{"name": it.name, "path": f"/{it.name}", "backend": it.name} for it in providers]
    return {"backends": backends, "routes": routes}


def png() -> bytes:
    """A white dot."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0\xff\xff\xff")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


IMAGE = base64.b64encode(png()).decode()
CITY = {
    "name": "Paris",
    "population": 2_100_000,
    "kind": "capital",
    "tags": ["river"],
    "mayor": {"name": "Anne", "since": 2014},
    "twin": None,
}
ANSWER = "Rome is warmer."
THOUGHT = "Both have to be looked up."


def call(name: str, **arguments) -> dict:
    return {"thinking": THOUGHT, "calls": [{"name": name, "arguments": arguments}]}


# The replies of the mock model to each kind of request, by the prefix of the scenario's name.
SAYS = {
    "plain": [{"text": ANSWER}],
    "stream": [{"thinking": THOUGHT, "text": ANSWER}],
    "tools": [call("temperature", city="Paris"), call("temperature", city="Rome"), {"text": ANSWER}],
    "structured": [{"value": CITY}],
    "image": [{"text": ANSWER}],
}


def script(scenario: str) -> list[dict]:
    return SAYS[scenario.split("_")[0]]


def assert_done(scenario: str, result, mock):
    """The framework has what the model said, and the provider had nothing against a request."""
    requests = mock.requests()
    for request in requests:
        assert request.refused is None, f"{request.refused}: {request.body.decode()}"
    kind = scenario.split("_")[0]
    if kind == "structured":
        assert result == CITY, result
    elif kind == "tools":
        assert result == [ANSWER, ["Paris", "Rome"]], result
        assert len(requests) == 3, requests
    elif kind == "stream":
        assert "".join(result) == ANSWER and len(result) > 1, result
    else:
        assert result == ANSWER, result
    if kind == "image":
        assert IMAGE.encode() in requests[-1].body
    assert mock.unsaid() == 0
