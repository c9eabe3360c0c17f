"""Providers with a dialect of their own, asked with OpenAI's SDK: Anthropic, Gemini and Azure.

They live under their real host names and speak TLS. What they answer is recorded in `tests/chat`;
what they are asked must pass their own packages' types.
"""

import base64
import contextlib
import functools
import json
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Literal

import h2.connection
import h2.events
import openai
import pydantic
import pytest

from harness import accepted, artefacts, bootstrap
from harness.gateways import ENVIRONMENT
from harness.shapes import assert_openai_error

SAY_IT = [{"role": "user", "content": "Say it"}]
JSON = ("content-type", "application/json")
EVENTS = ("content-type", "text/event-stream; charset=utf-8")
CLIENT_KEY = "sk-client-0e77"


@dataclass(frozen=True)
class Dialect:
    """A provider that has a dialect of its own."""

    name: str
    host: str
    key_header: str
    key: str
    model: str
    # Paths: of a reply at once, of a stream.
    unary: str
    streamed: str
    # The body of a request that the provider's types have nothing against.
    body: Callable
    overloaded: tuple
    refused_key: str
    limited: str
    error_event: str
    # What an answer depends on and it cannot express.
    unsupported: tuple
    # What is adapted, and how the report names it.
    hints: dict
    report: str

    def recorded(self, name: str) -> str:
        """Of `tests/chat`: `plain/reply`, `plain/stream`."""
        kind = "json" if name.endswith("/reply") else "sse"
        return (artefacts.ROOT / f"tests/chat/{name}.{self.name}.{kind}").read_text()

    def with_text(self, text: str) -> str:
        """The recorded plain reply, saying `text`."""
        whole = self.recorded("plain/reply")
        first, second = (json.dumps(it, ensure_ascii=False) for it in ("Hallo ", "🦀"))
        assert whole.count(first) == whole.count(second) == 1
        return whole.replace(second, '""').replace(first, json.dumps(text, ensure_ascii=False))

    def pieces(self) -> list[str]:
        """The recorded plain stream: up to the first text, up to the second, the rest."""
        events = [f"{event}\n\n" for event in self.recorded("plain/stream").strip().split("\n\n")]
        [first] = [at for at, event in enumerate(events) if "Hallo " in event]
        [second] = [at for at, event in enumerate(events) if "🦀" in event]
        cuts = (0, first + 1, second + 1, len(events))
        return ["".join(events[begin:end]) for begin, end in zip(cuts, cuts[1:])]


def anthropic_error(kind: str, message: str) -> str:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}})


def gemini_error(code: int, status: str, message: str) -> str:
    return json.dumps({"error": {"code": code, "message": message, "status": status}})


ANTHROPIC = Dialect(
    name="anthropic",
    host="api.anthropic.com",
    key_header="x-api-key",
    key=ENVIRONMENT["ANTHROPIC_KEY"],
    model="claude-sonnet-4-5",
    unary="/v1/messages",
    streamed="/v1/messages",
    body=accepted.by_anthropic,
    overloaded=(529, anthropic_error("overloaded_error", "As it said")),
    refused_key=anthropic_error("authentication_error", "As it said"),
    limited=anthropic_error("rate_limit_error", "As it said"),
    error_event=f"event: error\ndata: {anthropic_error('overloaded_error', 'As it said')}\n\n",
    unsupported=(("n", 2), ("logit_bias", {"1": 5}), ("logprobs", True)),
    hints={"seed": 7, "temperature": 1.5, "presence_penalty": 0.5, "store": True, "min_p": 0.1},
    report="seed, presence_penalty, store, min_p, temperature",
)
GEMINI = Dialect(
    name="gemini",
    host="generativelanguage.googleapis.com",
    key_header="x-goog-api-key",
    key=ENVIRONMENT["GEMINI_KEY"],
    model="gemini-2.5-flash",
    unary="/v1beta/models/gemini-2.5-flash:generateContent",
    streamed="/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
    body=accepted.by_gemini,
    overloaded=(503, gemini_error(503, "UNAVAILABLE", "As it said")),
    refused_key=gemini_error(401, "UNAUTHENTICATED", "As it said"),
    limited=f"[{gemini_error(429, 'RESOURCE_EXHAUSTED', 'As it said')}]",
    error_event=f"data: {gemini_error(503, 'UNAVAILABLE', 'As it said')}\n\n",
    unsupported=(("logit_bias", {"1": 5}), ("modalities", ["audio"])),
    hints={"user": "u", "presence_penalty": 0.5, "reasoning_effort": "xhigh", "prompt_cache_key": "k"},
    report="user, safety_identifier, prompt_cache_key, presence_penalty, reasoning_effort",
)
AZURE_HOST = "contoso.openai.azure.com"
BETA = "files-api-2025-04-14"
# `llm-proxy run` sets the last, as it does for every literal where a secret can stand.
HERE = {
    **ENVIRONMENT,
    "ANTHROPIC_TOKEN": "sk-ant-oat01-e2e-92aa",
    "LLM_PROXY_LIMITED_ANTHROPIC_HEADERS_ANTHROPIC_BETA": BETA,
}


def configuration(provider) -> dict:
    """A backend for each dialect, at `provider`, under the hosts that it has in the world."""
    dated = {"endpoint": f"https://{AZURE_HOST}", "apiVersion": "2024-10-21"}
    named = {"modelAliases": {"gpt-4o": "chat-prod"}}
    backends = {
        "anthropic": ("anthropic", {
            "apiKey": "${ANTHROPIC_KEY}",
            "modelAliases": {"gpt-4o": ANTHROPIC.model},
            "defaultModel": "claude-haiku-4-5",
        }),
        "gemini": ("google", {
            "apiKey": "${GEMINI_KEY}",
            "modelAliases": {"gpt-4o": GEMINI.model},
            "defaultModel": "gemini-2.5-pro",
        }),
        "keyless-anthropic": ("anthropic", {"model": ANTHROPIC.model}),
        "keyless-gemini": ("google", {"model": GEMINI.model}),
        "keyless-azure": ("azure-openai", {**dated, "deploymentName": "chat-prod"}),
        "dropping-anthropic": ("anthropic", {
            "apiKey": "${ANTHROPIC_KEY}", "model": ANTHROPIC.model, "unsupported": "drop",
        }),
        "dropping-gemini": ("google", {
            "apiKey": "${GEMINI_KEY}", "model": GEMINI.model, "unsupported": "drop",
        }),
        "retrying-anthropic": ("anthropic", {
            "apiKey": "${ANTHROPIC_KEY}", "model": ANTHROPIC.model, "maxRetries": 1,
        }),
        "retrying-gemini": ("google", {
            "apiKey": "${GEMINI_KEY}", "model": GEMINI.model, "maxRetries": 1,
        }),
        "limited-anthropic": ("anthropic", {
            "apiKey": "${ANTHROPIC_KEY}",
            "model": ANTHROPIC.model,
            "maxTokens": 777,
            "headers": {"anthropic-beta": BETA},
        }),
        "token-anthropic": ("anthropic", {"apiKey": "${ANTHROPIC_TOKEN}", "model": ANTHROPIC.model}),
        "azure-deployment": ("azure-openai", {
            **dated, "apiKey": "${AZURE_KEY}", "deploymentName": "chat-prod",
        }),
        "azure-model": ("azure-openai", {**dated, **named, "apiKey": "${AZURE_KEY}"}),
        "azure-v1": ("azure-openai", {
            **named, "endpoint": f"https://{AZURE_HOST}", "apiKey": "${AZURE_KEY}", "apiVersion": "v1",
        }),
        "azure-none": ("azure-openai", {
            **named, "endpoint": f"https://{AZURE_HOST}", "apiKey": "${AZURE_KEY}",
        }),
        "azure-preview": ("azure-openai", {
            **named,
            "endpoint": f"https://{AZURE_HOST}",
            "apiKey": "${AZURE_KEY}",
            "apiVersion": "preview",
        }),
    }
    at = {"address": provider.tls, "tls": {"caFile": str(provider.ca)}}
    return {
        "backends": [
            {"name": name, "type": kind, "config": {**config, **at}}
            for name, (kind, config) in backends.items()
        ],
        "routes": [{"name": name, "path": f"/{name}", "backend": name} for name in backends],
    }


@pytest.fixture(scope="module", params=(bootstrap.UPSTREAM, bootstrap.LISTENER_HELD))
def gateway(start, provider, request):
    envoy = start(configuration(provider), request.param, env=HERE)
    envoy.placement = request.param
    return envoy


@pytest.fixture
def mock(mock):
    """The provider. It refuses what Anthropic and Google refuse, scripted or not."""
    azure(mock, base="/openai/deployments/chat-prod")
    return mock


def azure(mock, **where):
    """Azure is as strict as OpenAI, elsewhere."""
    mock.profile(
        AZURE_HOST, like="api.openai.com", auth_header="api-key", auth_prefix="", allow_headers=[],
        **where,
    )


@pytest.fixture(params=(ANTHROPIC, GEMINI), ids=lambda it: it.name)
def dialect(request) -> Dialect:
    return request.param


@pytest.fixture(scope="module")
def sdk(gateway):
    """`sdk(backend)` is OpenAI's client of that backend."""

    with contextlib.ExitStack() as open_until_then:

        @functools.cache
        def client(backend: str, key: str = CLIENT_KEY) -> openai.OpenAI:
            made = openai.OpenAI(
                base_url=gateway.url(f"/{backend}/v1"),
                api_key=key,
                max_retries=0,
                timeout=artefacts.GUARD_SECONDS,
            )
            return open_until_then.enter_context(made)

        yield client


@pytest.fixture
def chat(sdk, dialect):
    return sdk(dialect.name).chat.completions


def answers(mock, body: str, status: int = 200, headers=(), **how):
    mock.reply(status=status, headers=[JSON, *headers], body=body, **how)


def streams(mock, *pieces: str, gates=False, **how):
    chunks = [{"data": piece} for piece in pieces]
    for at, chunk in enumerate(chunks):
        if gates:
            chunk["wait_for"] = f"g{at}"
    mock.reply(headers=[EVENTS], chunks=chunks, **how)


def arrived_at(dialect: Dialect, mock, path: str):
    """The one request that came, as this provider would accept it; and its body."""
    arrived = mock.only()
    assert (arrived.method, arrived.path) == ("POST", path)
    assert arrived.authority == arrived.sni == dialect.host and arrived.tls
    assert arrived.all(dialect.key_header) == [dialect.key]
    assert arrived.all("authorization") == []
    assert CLIENT_KEY not in str(arrived.headers)
    # The reply is read on its way back.
    assert arrived.header("accept-encoding") in (None, "identity")
    assert arrived.header("content-length") == str(len(arrived.body))
    return arrived, dialect.body(arrived)


def raw(gateway, backend: str, **members):
    body = {"model": "gpt-4o", "messages": SAY_IT, **members}
    return gateway.post(f"/{backend}/v1/chat/completions", body)


def test_a_chat(chat, mock, dialect):
    answers(mock, dialect.recorded("plain/reply"), headers=[("x-request-id", "req_1")])
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "user", "content": [{"type": "text", "text": "there"}]},
        {"role": "assistant", "content": "Yes?"},
        {"role": "developer", "content": "In German."},
        {"role": "user", "content": "Grüße 👋"},
    ]
    made = chat.create(
        model="gpt-4o", messages=messages, max_completion_tokens=99, top_p=0.5, stop=["END"], n=1
    )
    assert made.object == "chat.completion" and made.id and made.created > 0
    [choice] = made.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "Hallo 🦀")
    assert choice.finish_reason == "stop" and not choice.message.tool_calls
    usage = made.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (43, 9, 52)
    assert usage.prompt_tokens_details.cached_tokens == 12
    assert made._request_id == "req_1"
    _, sent = arrived_at(dialect, mock, dialect.unary)
    if dialect is ANTHROPIC:
        assert (sent["model"], sent["max_tokens"]) == (dialect.model, 99)
        assert (sent["top_p"], sent["stop_sequences"]) == (0.5, ["END"])
        instructions, turns = sent["system"], sent["messages"]
    else:
        config = sent["generationConfig"]
        assert (config["maxOutputTokens"], config["topP"], config["stopSequences"]) == (99, 0.5, ["END"])
        instructions, turns = sent["systemInstruction"], sent["contents"]
    told = json.dumps(instructions, ensure_ascii=False)
    assert told.index("Be brief.") < told.index("In German.")
    assert len(turns) == 3 and "Grüße 👋" in json.dumps(turns[-1], ensure_ascii=False)


def test_the_provider_answers_by_itself(chat, mock, dialect):
    """And has nothing against what it is asked: text, a stream, a call, JSON."""
    asked = {"model": "gpt-4o", "messages": SAY_IT}
    made = chat.create(**asked)
    assert "You said: Say it" in made.choices[0].message.content and made.usage.total_tokens == 18
    with chat.stream(**asked) as stream:
        streamed = stream.get_final_completion()
    assert streamed.choices[0].message.content == made.choices[0].message.content
    choice = {"type": "function", "function": {"name": "now"}}
    for call in (chat.create, chat.stream):
        made = call(**asked, tools=TOOLS, tool_choice=choice)
        if call == chat.stream:
            with made as stream:
                made = stream.get_final_completion()
        [used] = made.choices[0].message.tool_calls
        assert (used.function.name, json.loads(used.function.arguments)) == ("now", {"input": "Say it"})
    schema = {"name": "s", "schema": {"type": "object", "properties": {"answer": {"type": "string"}}}}
    made = chat.create(**asked, response_format={"type": "json_schema", "json_schema": schema})
    assert "Say it" in json.loads(made.choices[0].message.content)["answer"]
    assert [arrived.refused for arrived in mock.requests()] == [None] * 5


def test_what_tells_of_a_browser_does_not_go_on(gateway, mock, dialect):
    """Anthropic refuses it, whoever sent it."""
    told = [("origin", "https://app.example"), ("sec-fetch-mode", "cors"), ("sec-fetch-site", "cross-site")]
    body = {"model": "gpt-4o", "messages": SAY_IT}
    reply = gateway.post(f"/{dialect.name}/v1/chat/completions", body, told)
    assert reply.status == 200, reply.body
    arrived = mock.only()
    assert [name for name, _ in told if arrived.all(name)] == []


def test_max_tokens_and_headers_of_the_configuration(sdk, mock):
    for backend, expected in (("anthropic", 32000), ("limited-anthropic", 777)):
        mock.forget()
        answers(mock, ANTHROPIC.recorded("plain/reply"))
        sdk(backend).chat.completions.create(model="gpt-4o", messages=SAY_IT)
        arrived, sent = arrived_at(ANTHROPIC, mock, ANTHROPIC.unary)
        assert sent["max_tokens"] == expected
    assert arrived.header("anthropic-beta") == BETA


def test_without_a_model_the_configured_one_is_asked(gateway, mock, dialect):
    answers(mock, dialect.recorded("plain/reply"))
    reply = gateway.post(f"/{dialect.name}/v1/chat/completions", {"messages": SAY_IT})
    assert reply.status == 200
    assert reply.header("content-length") == str(len(reply.body))
    arrived = mock.only()
    default = {"anthropic": "claude-haiku-4-5", "gemini": "gemini-2.5-pro"}[dialect.name]
    assert default in (arrived.json().get("model"), arrived.path.split("/")[-1].split(":")[0])


@pytest.mark.parametrize("asked", [True, False], ids=["usage", "no-usage"])
def test_a_chunk_arrives_before_the_next_was_sent(chat, mock, dialect, asked):
    streams(mock, *dialect.pieces(), gates=True)
    options = {"stream_options": {"include_usage": True}} if asked else {}
    mock.open("g0")
    with chat.create(model="gpt-4o", messages=SAY_IT, stream=True, **options) as stream:
        chunks = []
        for at, expected in enumerate(("Hallo ", "🦀")):
            for chunk in stream:
                chunks.append(chunk)
                if chunk.choices[0].delta.content:
                    break
            assert chunk.choices[0].delta.content == expected
            mock.open(f"g{at + 1}")
        chunks += stream
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert [it.delta.role for it in choices if it.delta.role] == ["assistant"]
    assert choices[0].delta.role == "assistant"
    assert [it.finish_reason for it in choices if it.finish_reason] == ["stop"]
    assert "".join(it.delta.content or "" for it in choices) == "Hallo 🦀"
    if asked:
        usage = chunks[-1].usage
        assert chunks[-1].choices == []
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (43, 9, 52)
        assert usage.prompt_tokens_details.cached_tokens == 12
    assert [chunk.usage for chunk in chunks[:-1] if chunk.usage] == []
    assert asked or (chunks[-1].usage is None and chunks[-1].choices)
    _, sent = arrived_at(dialect, mock, dialect.streamed)
    assert sent.get("stream") is (True if dialect is ANTHROPIC else None)


def test_a_stream_ends_with_one_done(gateway, mock, dialect):
    streams(mock, dialect.recorded("plain/stream"))
    reply = raw(gateway, dialect.name, stream=True)
    assert reply.header("content-type").startswith("text/event-stream")
    assert reply.text.count("[DONE]") == 1 and reply.text.endswith("data: [DONE]\n\n")


WEATHER = {
    "type": "object",
    "properties": {
        "city": {"$ref": "#/$defs/city"},
        "unit": {"type": ["string", "null"], "enum": ["C", "F", None]},
        "days": {"type": "array", "items": {"type": "integer", "exclusiveMinimum": 0}, "uniqueItems": True},
        "source": {"const": "radar"},
        "more": {"type": "object", "propertyNames": {"pattern": "^x"}, "additionalProperties": True},
        "step": {"type": "number", "multipleOf": 0.5, "default": 1},
    },
    "required": ["city", "unit", "days", "source", "more", "step"],
    "additionalProperties": False,
    "$defs": {"city": {"type": "string", "minLength": 1}},
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://schemas.example/weather",
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather", "description": "Tells it", "strict": True, "parameters": WEATHER,
        },
    },
    {
        "type": "function",
        "function": {
            "name": "now", "strict": True, "parameters": {"type": "object", "properties": {}},
        },
    },
]


@pytest.mark.parametrize("streamed", [False, True], ids=["unary", "streamed"])
def test_tools_there_and_back(chat, mock, dialect, streamed):
    messages = [{"role": "user", "content": "The weather in Zürich, and the time?"}]
    asked = {"model": "gpt-4o", "tools": TOOLS, "tool_choice": "required"}
    if streamed:
        streams(mock, dialect.recorded("tools/stream"))
        with chat.stream(messages=messages, **asked) as stream:
            made = stream.get_final_completion()
    else:
        answers(mock, dialect.recorded("tools/reply"))
        made = chat.create(messages=messages, **asked)
    [choice] = made.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me look."
    weather, now = choice.message.tool_calls
    assert (weather.function.name, now.function.name) == ("get_weather", "now")
    assert json.loads(weather.function.arguments) == {"city": "Zürich", "days": [1, 2]}
    assert now.function.arguments == "{}"
    assert weather.id and now.id and weather.id != now.id
    _, sent = arrived_at(dialect, mock, dialect.streamed if streamed else dialect.unary)
    if dialect is ANTHROPIC:
        assert sent["tool_choice"] == {"type": "any"}
        assert [tool["name"] for tool in sent["tools"]] == ["get_weather", "now"]
        assert "$defs" in sent["tools"][0]["input_schema"]
    else:
        assert sent["toolConfig"]["functionCallingConfig"]["mode"] == "ANY"
        [tool] = sent["tools"]
        assert [it["name"] for it in tool["functionDeclarations"]] == ["get_weather", "now"]

    mock.forget()
    answers(mock, dialect.recorded("plain/reply"))
    messages += [
        choice.message,
        # One is no object.
        {"role": "tool", "tool_call_id": weather.id, "content": '{"celsius": 19}'},
        {"role": "tool", "tool_call_id": now.id, "content": "noon"},
        {"role": "user", "content": "And?"},
    ]
    asked["tool_choice"] = {"type": "function", "function": {"name": "now"}}
    made = chat.create(messages=messages, **asked)
    assert made.choices[0].message.content == "Hallo 🦀"
    _, sent = arrived_at(dialect, mock, dialect.unary)
    if dialect is ANTHROPIC:
        assert sent["tool_choice"] == {"type": "tool", "name": "now"}
        _, said, results = sent["messages"]
        assert [block["type"] for block in said["content"]] == ["text", "tool_use", "tool_use"]
        assert [block["input"] for block in said["content"][1:]] == [{"city": "Zürich", "days": [1, 2]}, {}]
        kinds = [block["type"] for block in results["content"]]
        assert kinds == ["tool_result", "tool_result", "text"]
        assert "noon" in json.dumps(results["content"][1]["content"])
    else:
        calling = sent["toolConfig"]["functionCallingConfig"]
        assert (calling["mode"], calling["allowedFunctionNames"]) == ("ANY", ["now"])
        _, said, results = sent["contents"]
        calls = [part for part in said["parts"] if "functionCall" in part]
        assert [part["functionCall"].get("args", {}) for part in calls] == [
            {"city": "Zürich", "days": [1, 2]}, {},
        ]
        # The signature goes back with its call.
        assert [part.get("thoughtSignature") for part in calls] == ["CiQB", None]
        first, second = [part["functionResponse"] for part in results["parts"][:2]]
        assert (first["name"], first["response"]) == ("get_weather", {"celsius": 19})
        assert second["name"] == "now" and "noon" in second["response"].values()


class Home(pydantic.BaseModel):
    street: str
    number: int | None


class Person(pydantic.BaseModel):
    name: str
    kind: Literal["person"]
    rank: Literal["low", "high"]
    homes: list[Home]
    work: Home


PERSON = Person(name="Ann", kind="person", rank="low", homes=[], work=Home(street="é", number=None))


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_structured_output(chat, mock, dialect):
    answers(mock, dialect.with_text(PERSON.model_dump_json()))
    made = chat.parse(model="gpt-4o", messages=SAY_IT, response_format=Person)
    said = made.choices[0].message
    assert said.parsed == PERSON
    _, sent = arrived_at(dialect, mock, dialect.unary)
    if dialect is ANTHROPIC:
        assert sent["output_config"]["format"]["type"] == "json_schema"
        schema = sent["output_config"]["format"]["schema"]
    else:
        config = sent["generationConfig"]
        assert config["responseMimeType"] == "application/json"
        [schema] = [config[name] for name in ("responseSchema", "responseJsonSchema") if name in config]
    assert sorted(schema["properties"]) == ["homes", "kind", "name", "rank", "work"]
    assert sorted(schema["required"]) == ["homes", "kind", "name", "rank", "work"]
    if dialect is GEMINI and "responseSchema" in sent["generationConfig"]:
        text = json.dumps(schema)
        assert not re.search(r'"(\$\w+|additionalProperties|const|strict)"', text), text
        assert schema["properties"]["kind"]["enum"] == ["person"]
        assert schema["properties"]["work"]["properties"]["number"]["nullable"] is True
    # What the SDK has read goes back with the message.
    for back in (said, said.to_dict(), said.model_dump()):
        mock.forget()
        answers(mock, dialect.recorded("plain/reply"))
        chat.create(model="gpt-4o", messages=[*SAY_IT, back, *SAY_IT])
        _, sent = arrived_at(dialect, mock, dialect.unary)
        assert "Ann" in json.dumps(sent["messages" if dialect is ANTHROPIC else "contents"][1])


def test_vision(chat, mock, dialect):
    answers(mock, dialect.recorded("plain/reply"))
    pixels = base64.b64encode(bytes(range(256))).decode()
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{pixels}"}},
    ]
    chat.create(model="gpt-4o", messages=[{"role": "user", "content": content}])
    _, sent = arrived_at(dialect, mock, dialect.unary)
    if dialect is ANTHROPIC:
        [text, image] = sent["messages"][0]["content"]
        assert image["source"] == {"type": "base64", "media_type": "image/png", "data": pixels}
    else:
        [text, image] = sent["contents"][0]["parts"]
        assert image["inlineData"] == {"mimeType": "image/png", "data": pixels}
    assert text["text"] == "What is this?"


def test_structured_output_as_it_streams(chat, mock, dialect):
    text = PERSON.model_dump_json()
    escaped = json.dumps(text)[1:-1]
    # The recorded stream, saying something else.
    pieces = [piece.replace("Hallo ", escaped).replace("🦀", "") for piece in dialect.pieces()]
    streams(mock, *pieces)
    with chat.stream(model="gpt-4o", messages=SAY_IT, response_format=Person) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        made = stream.get_final_completion()
    assert "".join(deltas) == text and made.choices[0].message.parsed == PERSON
    arrived_at(dialect, mock, dialect.streamed)


def test_pictures_and_documents(chat, mock, dialect):
    web = "https://example.com/a.png"
    content = [
        {"type": "text", "text": "Read these"},
        {"type": "image_url", "image_url": {"url": web, "detail": "high"}},
        {"type": "image_url", "image_url": {"url": PIXEL}},
        {"type": "file", "file": PDF},
    ]
    made = chat.create(model="gpt-4o", messages=[{"role": "user", "content": content}])
    assert "Read these" in made.choices[0].message.content
    _, sent = arrived_at(dialect, mock, dialect.unary)
    if dialect is ANTHROPIC:
        _, far, near, document = sent["messages"][0]["content"]
        assert far["source"] == {"type": "url", "url": web}
        assert (document["type"], document["title"]) == ("document", "a.pdf")
        source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
        assert document["source"] == source
    else:
        _, far, near, document = sent["contents"][0]["parts"]
        assert far["fileData"] == {"mimeType": "image/png", "fileUri": web}
        assert document["inlineData"] == {"mimeType": "application/pdf", "data": "JVBERi0="}
    assert "iVBORw0KGgo=" in json.dumps(near)


def test_a_tool_may_answer_with_a_picture(sdk, mock, dialect):
    """And a call that another provider made has no signature, on which this generation insists."""
    model = {"anthropic": ANTHROPIC.model, "gemini": "gemini-3-pro-preview"}[dialect.name]
    seen = [TEXT, {"type": "image_url", "image_url": {"url": PIXEL}}]
    messages = [user("a"), CALLS, result("c1", seen), result("c2", "b"), user("c")]
    chat = sdk(dialect.name).chat.completions
    chat.create(model=model, messages=messages, tools=[LOOK_UP])
    sent = dialect.body(mock.only())
    if dialect is ANTHROPIC:
        first, second, _ = sent["messages"][2]["content"]
        assert [block["type"] for block in first["content"]] == ["text", "image"]
        assert second["content"] == "b"
    else:
        calls = sent["contents"][1]["parts"]
        assert [part.get("thoughtSignature") for part in calls] == ["skip_thought_signature_validator", None]
        first = sent["contents"][2]["parts"][0]["functionResponse"]
        assert first["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]
        assert first["response"] == {"output": "a"}


def test_embeddings(sdk, gateway, mock):
    """Also as base64, which the SDK asks for by itself."""
    embeddings = sdk("gemini").embeddings
    for asked in ({}, {"encoding_format": "float"}):
        mock.forget()
        made = embeddings.create(model="gemini-embedding-001", input=["a", "b"], dimensions=3, **asked)
        assert [one.embedding for one in made.data] == [[0.25, -0.5, 1.0]] * 2
        assert [one.index for one in made.data] == [0, 1]
        arrived = mock.only()
        assert arrived.path == "/v1beta/models/gemini-embedding-001:batchEmbedContents"
        first, _ = arrived.json()["requests"]
        assert first["outputDimensionality"] == 3
        assert first["content"]["parts"] == [{"text": "a"}]
    mock.forget()
    assert len(embeddings.create(model="gemini-embedding-001", input="a").data) == 1
    assert mock.only().path.endswith(":embedContent")
    reply = gateway.post("/anthropic/v1/embeddings", {"model": "gpt-4o", "input": "a"})
    assert_openai_error(reply, 404, kind="invalid_request_error")


@pytest.mark.parametrize("streamed", [False, True], ids=["unary", "streamed"])
def test_reasoning_comes_and_its_signature_goes_back(chat, mock, dialect, streamed):
    asked = {"model": "gpt-4o", "reasoning_effort": "low", "max_completion_tokens": 8192}
    messages = [{"role": "user", "content": "27 * 453?"}]
    if streamed:
        streams(mock, dialect.recorded("thinking/stream"))
        with chat.stream(messages=messages, **asked) as stream:
            made = stream.get_final_completion()
    else:
        answers(mock, dialect.recorded("thinking/reply"))
        made = chat.create(messages=messages, **asked)
    message = made.choices[0].message
    assert (message.content, message.reasoning_content) == ("12231", "Let me see. Then.")
    _, sent = arrived_at(dialect, mock, dialect.streamed if streamed else dialect.unary)
    if dialect is ANTHROPIC:
        assert 1024 <= sent["thinking"]["budget_tokens"] < sent["max_tokens"]
    else:
        assert sent["generationConfig"]["thinkingConfig"]
    mock.forget()
    answers(mock, dialect.recorded("plain/reply"))
    chat.create(messages=[*messages, message, {"role": "user", "content": "And?"}], **asked)
    arrived, sent = arrived_at(dialect, mock, dialect.unary)
    if dialect is ANTHROPIC:
        _, said, _ = sent["messages"]
        assert said["content"] == [
            {"type": "thinking", "thinking": "Let me see.", "signature": "EqQB"},
            {"type": "redacted_thinking", "data": "EmwK"},
            {"type": "thinking", "thinking": " Then.", "signature": "EqQC"},
            {"type": "text", "text": "12231"},
        ]
    else:
        assert b"EqQB" in arrived.body


PIXEL = "data:image/png;base64,iVBORw0KGgo="
TEXT = {"type": "text", "text": "a"}
LOOK_UP = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {"type": "object", "properties": {"a": {"type": "string"}}},
    },
}
PDF = {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}
CALLS = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": id, "type": "function", "function": {"name": "look_up", "arguments": arguments}}
        for id, arguments in (("c1", ""), ("c2", '{"a": "b"}'))
    ],
}


def user(content) -> dict:
    return {"role": "user", "content": content}


def result(id: str, content) -> dict:
    return {"role": "tool", "tool_call_id": id, "content": content}


def calling(parameters: dict) -> dict:
    return {"tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}]}


# Everything here both can express.
ASKED = [
    {"response_format": {"type": "text"}},
    {"stop": "END"},
    {"temperature": 0},
    {"store": False, "service_tier": "auto", "modalities": ["text"], "logprobs": False, "n": 1},
    {"presence_penalty": 0, "frequency_penalty": 0, "logit_bias": {}},
    *({"reasoning_effort": effort} for effort in ("none", "minimal", "low", "medium", "high")),
    {"messages": [user([TEXT, {"type": "image_url", "image_url": {"url": PIXEL}}])]},
    {"messages": [user([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}])]},
    {"messages": [user([{"type": "file", "file": PDF}])]},
    {"messages": [user("a"), {"role": "assistant", "content": ""}, user("b")]},
    {"messages": [user("a"), {"role": "assistant", "refusal": "No."}, user("b")]},
    {"messages": [user("a"), {"role": "assistant", "content": "He"}]},
    {"messages": [user([{**TEXT, "cache_control": {"type": "ephemeral"}}])]},
    # Results without text, in another order, before and after what is said.
    {"tools": [LOOK_UP], "messages": [user("a"), CALLS, result("c1", ""), result("c2", "b"), user("c")]},
    {"tools": [LOOK_UP], "messages": [user("a"), CALLS, result("c2", "b"), result("c1", "[1]")]},
    {"tools": []},
    {"tools": [{"type": "function", "function": {"name": "f"}}]},
    *({"tools": [LOOK_UP], "tool_choice": choice} for choice in ("none", "auto", "required")),
    {"tools": [LOOK_UP], "parallel_tool_calls": True},
    # A schema that contains itself, unions, names that are keywords elsewhere, what is no object.
    calling({
        "type": "object",
        "properties": {"tree": {"$ref": "#/$defs/node"}},
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"of": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
            },
        },
    }),
    calling({
        "type": "object",
        "properties": {
            "a": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
            "b": {"allOf": [{"type": "object", "properties": {"x": {"type": "string"}}}]},
            "c": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "d": {"type": ["string", "integer"]},
            "e": {"enum": [1, 2]},
            "f": {"not": {"type": "string"}},
            "g": {"type": "array", "prefixItems": [{"type": "string"}]},
            "h": True,
            "i": {"const": None},
        },
    }),
    calling({
        "type": "object",
        "properties": {
            "const": {"type": "string"},
            "$ref": {"type": "string"},
            "additionalProperties": {"type": "object", "patternProperties": {"^x": {}}, "minProperties": 1},
            "text": {"type": "string", "format": "email", "examples": ["a"], "readOnly": True},
        },
    }),
]


def test_whatever_can_be_asked_passes_the_providers_types(gateway, mock, dialect):
    for asked in ASKED:
        mock.forget()
        answers(mock, dialect.recorded("plain/reply"))
        reply = raw(gateway, dialect.name, **asked)
        assert reply.status == 200, (asked, reply.body)
        arrived_at(dialect, mock, dialect.unary)


SAID = {"role": "user", "content": "a"}
ASKS = {"model": "m", "max_tokens": 9, "messages": [SAID]}
USED = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
PARTS = {"role": "user", "parts": [{"text": "a"}]}


def declaring(schema: dict) -> dict:
    return {
        "contents": [PARTS],
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}],
    }


@pytest.mark.parametrize(
    "accept, right, wrong",
    [
        (accepted.by_anthropic, ASKS, {"model": "m", "messages": [SAID]}),
        (accepted.by_anthropic, ASKS, {**ASKS, "n": 1}),
        (accepted.by_anthropic, ASKS, {**ASKS, "messages": [{**SAID, "name": "ann"}]}),
        (accepted.by_anthropic, ASKS, {**ASKS, "messages": [{**SAID, "role": "system"}]}),
        (accepted.by_anthropic, ASKS, {**ASKS, "messages": [SAID, SAID]}),
        (accepted.by_anthropic, ASKS, {**ASKS, "messages": [{**SAID, "content": ""}]}),
        (
            accepted.by_anthropic,
            {**ASKS, "messages": [SAID, {"role": "assistant", "content": [USED]}]},
            {**ASKS, "messages": [SAID, {"role": "assistant", "content": [{**USED, "input": "{}"}]}]},
        ),
        (accepted.by_gemini, {"contents": [PARTS]}, {"contents": [PARTS], "model": "m"}),
        (accepted.by_gemini, {"contents": [PARTS]}, {"contents": [{**PARTS, "role": "model"}]}),
        (accepted.by_gemini, {"contents": [PARTS]}, {"contents": [PARTS, PARTS]}),
        *(
            (accepted.by_gemini, declaring({"type": "object"}), declaring({"type": "object", **keyword}))
            for keyword in ({"$schema": "x"}, {"const": 1}, {"uniqueItems": True}, {"strict": True})
        ),
    ],
)
def test_the_types_refuse_what_the_providers_do(accept, right, wrong):
    def arrived(body: dict):
        headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
        text = json.dumps(body).encode()
        return SimpleNamespace(header=headers.get, json=lambda: body, body=text)

    assert accept(arrived(right)) == right
    with pytest.raises((AssertionError, KeyError, pydantic.ValidationError)):
        accept(arrived(wrong))


def test_errors_raise_the_class_of_their_status(chat, mock, dialect):
    status, body = dialect.overloaded
    retry = [("retry-after", "7"), ("anthropic-ratelimit-requests-remaining", "0")]
    for status, body, exception, seen, kind in (
        (401, dialect.refused_key, openai.AuthenticationError, 401, "authentication_error"),
        (429, dialect.limited, openai.RateLimitError, 429, "rate_limit_error"),
        (status, body, openai.InternalServerError, 503, "server_error"),
    ):
        for streamed in (False, True):
            answers(mock, body, status=status, headers=retry)
            with pytest.raises(exception) as raised:
                chat.create(model="gpt-4o", messages=SAY_IT, stream=streamed)
            error = raised.value
            assert (error.status_code, error.type) == (seen, kind)
            codes = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
            assert error.code == codes.get(seen, error.code)
            assert "As it said" in error.message
            headers = error.response.headers
            assert headers["retry-after"] == "7"
            assert headers["anthropic-ratelimit-requests-remaining"] == "0"
            assert set(error.body) == {"message", "type", "param", "code"}


def test_an_error_inside_a_stream_ends_it(chat, gateway, mock, dialect):
    before = dialect.pieces()[0]
    streams(mock, before, dialect.error_event)
    with pytest.raises(openai.APIError, match="As it said") as raised:
        texts = []
        for chunk in chat.create(model="gpt-4o", messages=SAY_IT, stream=True):
            texts.append(chunk.choices[0].delta.content)
    assert "".join(filter(None, texts)) == "Hallo "
    assert raised.value.type == "server_error"
    # What follows an error is not passed on.
    streams(mock, before, dialect.error_event, dialect.pieces()[1], dialect.pieces()[2])
    reply = raw(gateway, dialect.name, stream=True)
    assert reply.text.count('"error"') == 1 and "[DONE]" not in reply.text
    assert "🦀" not in reply.text and "finish_reason\":\"" not in reply.text


@pytest.mark.parametrize("broken", ["", "{}", "not JSON", "[1]", "<html>", "cut"])
def test_a_broken_success_is_a_502(gateway, mock, dialect, broken):
    answers(mock, dialect.recorded("plain/reply")[:-20] if broken == "cut" else broken)
    assert_openai_error(raw(gateway, dialect.name), 502, kind="server_error")


def test_a_compressed_reply_is_refused_clearly(gateway, mock, dialect):
    for streamed, media_type in ((False, JSON), (True, EVENTS)):
        mock.reply(headers=[media_type, ("content-encoding", "gzip")], body="\x1f\x08")
        reply = raw(gateway, dialect.name, stream=streamed)
        assert_openai_error(reply, 502, kind="server_error", says="compressed")
    answers(mock, "\x1f\x08", status=429, headers=[("content-encoding", "br"), ("retry-after", "7")])
    reply = raw(gateway, dialect.name)
    assert_openai_error(reply, 429, kind="rate_limit_error")
    assert (reply.header("retry-after"), reply.header("content-encoding")) == ("7", None)


def test_a_stream_that_nobody_asked_for_is_a_502(gateway, mock, dialect):
    streams(mock, dialect.recorded("plain/stream"))
    assert_openai_error(raw(gateway, dialect.name), 502, kind="server_error")


def test_an_answer_in_one_piece_to_who_wants_a_stream_is_a_502(gateway, mock, dialect):
    answers(mock, dialect.recorded("plain/reply"))
    assert_openai_error(raw(gateway, dialect.name, stream=True), 502, kind="server_error")


def test_a_page_of_an_edge_is_an_error_of_ours(gateway, mock, dialect):
    for streamed in (False, True):
        mock.reply(status=502, headers=[("content-type", "text/html")], body="<html>Bad</html>")
        reply = raw(gateway, dialect.name, stream=streamed)
        assert_openai_error(reply, 502, kind="server_error")


TRAILERS = [("x-checksum", "abc")]


def test_a_reply_that_ends_with_trailers_is_none_the_less_whole(sdk, chat, gateway, mock, dialect):
    answers(mock, dialect.recorded("plain/reply"), trailers=TRAILERS)
    assert chat.create(model="gpt-4o", messages=SAY_IT).choices[0].message.content == "Hallo 🦀"
    for name in ("plain/stream", "tools/stream"):
        events = dialect.recorded(name).strip().split("\n\n")
        streams(mock, *(f"{event}\n\n" for event in events), trailers=TRAILERS)
        reply = raw(gateway, dialect.name, stream=True)
        assert reply.text.endswith("data: [DONE]\n\n") and reply.text.count('finish_reason":"') == 1
    # Cut, and with trailers: there is no place for an error.
    streams(mock, *dialect.pieces()[:2], trailers=TRAILERS)
    reply = raw(gateway, dialect.name, stream=True)
    assert "Hallo " in reply.text and "[DONE]" not in reply.text and 'finish_reason":"' not in reply.text
    status, body = dialect.overloaded
    answers(mock, body, status=status, trailers=TRAILERS)
    assert_openai_error(raw(gateway, dialect.name), 503, kind="server_error", says="As it said")
    answers(mock, "", trailers=TRAILERS)
    assert_openai_error(raw(gateway, dialect.name), 502, kind="server_error")
    answers(mock, '{"detail": "As it said"}', status=429, headers=[("retry-after", "7")], trailers=TRAILERS)
    with pytest.raises(openai.RateLimitError, match="As it said") as raised:
        sdk("azure-v1").chat.completions.create(model="gpt-4o", messages=SAY_IT)
    assert raised.value.response.headers["retry-after"] == "7"


def test_a_request_with_trailers_is_refused(gateway, mock, dialect):
    """They hide the end of the body, by which it is changed."""
    body = json.dumps({"model": "gpt-4o", "messages": SAY_IT}).encode()
    for backend in (dialect.name, "azure-v1"):
        status, answer = with_trailers(gateway.port, f"/{backend}/v1/chat/completions", body)
        error = json.loads(answer)["error"]
        assert (status, error["type"]) == ("400", "invalid_request_error")
        assert error["code"] == "unsupported_trailers"
    assert [arrived for arrived in mock.requests() if arrived.body_complete] == []


def with_trailers(port: int, path: str, body: bytes) -> tuple[str, bytes]:
    """Status and body of the reply to a request over HTTP/2 that ends with trailers."""
    client = h2.connection.H2Connection()
    client.initiate_connection()
    head = [(":method", "POST"), (":scheme", "http"), (":authority", "gateway"), (":path", path), JSON]
    client.send_headers(1, head)
    client.send_data(1, body)
    client.send_headers(1, [("x-checksum", "abc")], end_stream=True)
    status, answer = "", b""
    with socket.create_connection(("127.0.0.1", port), artefacts.GUARD_SECONDS) as connection:
        while True:
            connection.sendall(client.data_to_send())
            for event in client.receive_data(connection.recv(65_536)):
                if isinstance(event, h2.events.ResponseReceived):
                    status = {bytes(name): value for name, value in event.headers}[b":status"].decode()
                if isinstance(event, h2.events.DataReceived):
                    answer += event.data
                if isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    return status, answer


def test_a_retry_sends_the_same_to_the_same(gateway, mock, dialect):
    answers(mock, dialect.overloaded[1], status=dialect.overloaded[0])
    answers(mock, dialect.recorded("plain/reply"))
    reply = raw(gateway, f"retrying-{dialect.name}")
    if gateway.placement != bootstrap.UPSTREAM:
        # There retries are the mesh's, and this one has none.
        assert_openai_error(reply, 503, kind="server_error")
        assert dialect.body(mock.only())
        return
    assert reply.json()["choices"][0]["message"]["content"] == "Hallo 🦀"
    first, second = mock.requests()
    assert first.body == second.body and dialect.body(second)
    assert first.path == second.path == dialect.unary
    assert first.all(dialect.key_header) == second.all(dialect.key_header) == [dialect.key]


def test_an_operation_that_the_dialect_has_not_is_refused(gateway, mock, dialect):
    for operation in ("completions", "images/generations", "moderations"):
        reply = gateway.post(f"/{dialect.name}/v1/{operation}", {"model": "gpt-4o", "input": "x"})
        assert_openai_error(reply, 404, kind="invalid_request_error")
    assert mock.none_came()


@pytest.mark.parametrize("end", ["complete", "close"])
def test_a_cut_stream_is_an_error(sdk, gateway, mock, dialect, end):
    """Whether the provider just stopped or the connection broke."""
    cuts = ([], dialect.pieces()[:1], dialect.pieces()[:2])
    # Envoy takes a second until it closes a connection whose reply it cannot end.
    for pieces in cuts if end == "complete" else cuts[1:2]:
        streams(mock, *pieces, end=end)
        texts = []
        with pytest.raises(Exception) as raised:
            stream = sdk(dialect.name).chat.completions.create(
                model="gpt-4o", messages=SAY_IT, stream=True
            )
            for chunk in stream:
                texts.append(chunk.choices[0].delta.content)
                assert not chunk.choices[0].finish_reason
        assert not isinstance(raised.value, AssertionError)
        if end == "complete":
            assert isinstance(raised.value, openai.APIError)
            assert "".join(filter(None, texts)) == "Hallo 🦀"[: [0, 6, 7][len(pieces)]]
            streams(mock, *pieces)
            reply = raw(gateway, dialect.name, stream=True)
            assert reply.text.count('"error"') == 1 and "[DONE]" not in reply.text


def test_what_cannot_be_expressed_is_refused_by_name_or_dropped(sdk, gateway, mock, dialect):
    for name, value in dialect.unsupported:
        error = raw(gateway, dialect.name, **{name: value, "tools": TOOLS})
        assert_openai_error(error, 400, kind="invalid_request_error", param=name)
    error = raw(gateway, dialect.name, **dict(dialect.unsupported))
    message = error.json()["error"]["message"]
    assert all(json.dumps(name) in message for name, _ in dialect.unsupported)
    assert mock.none_came()
    with pytest.raises(openai.BadRequestError) as raised:
        sdk(dialect.name).chat.completions.create(
            model="gpt-4o", messages=SAY_IT, logit_bias={"1": 5}, stream=True
        )
    assert raised.value.param == "logit_bias"
    answers(mock, dialect.recorded("plain/reply"))
    reply = raw(gateway, f"dropping-{dialect.name}", **dict(dialect.unsupported), tools=TOOLS)
    assert reply.status == 200
    arrived_at(dialect, mock, dialect.unary)


@pytest.mark.parametrize("stream", [False, True])
def test_hints_are_adapted_and_named_in_a_header(gateway, mock, dialect, stream):
    kind = "plain/stream" if stream else "plain/reply"
    (streams if stream else answers)(mock, dialect.recorded(kind))
    reply = raw(gateway, dialect.name, stream=stream, **dialect.hints)
    assert reply.status == 200
    assert reply.header("x-llm-proxy-adapted") == dialect.report


def test_what_is_no_chat_is_refused(gateway, mock, dialect):
    path = f"/{dialect.name}/v1/chat/completions"
    for body in (b"{", b"[]", b'{"messages":7}', b'{"model":"a","model":"b"}', b"\xff", b"[" * 100_000):
        assert_openai_error(gateway.post(path, body), 400, kind="invalid_request_error")
    for name in ("../x", "a/../../b", "a?b", "a#b", "a%2fb"):
        if dialect is GEMINI:
            answers(mock, dialect.recorded("plain/reply"))
            reply = gateway.post(path, {"model": name, "messages": SAY_IT})
            assert reply.status == 400 or name not in mock.only().path, name
            mock.forget()
            mock.reset([])


def test_models_are_those_of_the_configuration(sdk, mock, dialect):
    client = sdk(dialect.name)
    ids = {model.id: model.owned_by for model in client.models.list()}
    assert "gpt-4o" in ids and all(ids.values())
    assert {"claude-haiku-4-5", "gemini-2.5-pro"} & set(ids)
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"
    with pytest.raises(openai.NotFoundError) as raised:
        client.models.retrieve("other")
    assert raised.value.code == "model_not_found"
    assert mock.none_came()


@pytest.mark.parametrize(
    "backend, header, key, sent",
    [
        ("anthropic", "x-api-key", "sk-ant-api03-c", "sk-ant-api03-c"),
        ("gemini", "x-goog-api-key", "AIza-c", "AIza-c"),
        ("azure", "api-key", "azure-c", "azure-c"),
    ],
)
def test_the_clients_key_goes_where_the_provider_expects_it(sdk, mock, backend, header, key, sent):
    if backend != "azure":
        dialect = ANTHROPIC if backend == "anthropic" else GEMINI
        answers(mock, dialect.recorded("plain/reply"))
    sdk(f"keyless-{backend}", key).chat.completions.create(model="gpt-4o", messages=SAY_IT)
    arrived = mock.only()
    assert arrived.all(header) == [sent]
    assert str(arrived.headers).count(key) == 1 and key not in arrived.path
    assert key.encode() not in arrived.body


def test_a_token_is_no_key(sdk, mock):
    """Anthropic's OAuth tokens stay where tokens are expected."""
    mock.profile(ANTHROPIC.host, auth_header="authorization", auth_prefix="Bearer ")
    answers(mock, ANTHROPIC.recorded("plain/reply"))
    answers(mock, ANTHROPIC.recorded("plain/reply"))
    sdk("token-anthropic").chat.completions.create(model="gpt-4o", messages=SAY_IT)
    # The client's own, where none is configured.
    sdk("keyless-anthropic", "sk-ant-oat01-c").chat.completions.create(
        model="gpt-4o", messages=SAY_IT
    )
    configured, clients = mock.requests()
    assert configured.all("authorization") == [f"Bearer {HERE['ANTHROPIC_TOKEN']}"]
    assert clients.all("authorization") == ["Bearer sk-ant-oat01-c"]
    assert configured.all("x-api-key") == clients.all("x-api-key") == []


def test_a_large_request(chat, mock, dialect):
    """20 MiB."""
    answers(mock, dialect.recorded("plain/reply"))
    text = "0123456789abcde\n" * (20 << 16)
    made = chat.create(model="gpt-4o", messages=[{"role": "user", "content": text}])
    assert made.choices[0].message.content == "Hallo 🦀"
    arrived = mock.only()
    assert arrived.header("content-length") == str(len(arrived.body))
    sent = arrived.json()
    if dialect is ANTHROPIC:
        content = sent["messages"][0]["content"]
        assert (content if isinstance(content, str) else content[0]["text"]) == text
    else:
        assert sent["contents"] == [{"role": "user", "parts": [{"text": text}]}]


def test_a_large_reply(chat, mock, dialect):
    """3 MB, with what must be escaped."""
    text = 'é"\n\\ 👋 word ' * 200_000
    answers(mock, dialect.with_text(text))
    made = chat.create(model="gpt-4o", messages=SAY_IT)
    assert made.choices[0].message.content == text
    assert made.usage.total_tokens == 52


AZURE_PATHS = {
    "azure-deployment": "/openai/deployments/chat-prod/chat/completions?api-version=2024-10-21",
    "azure-model": "/openai/deployments/chat-prod/chat/completions?api-version=2024-10-21",
    "azure-v1": "/openai/v1/chat/completions",
    "azure-none": "/openai/v1/chat/completions",
    "azure-preview": "/openai/v1/chat/completions?api-version=preview",
}


@pytest.mark.parametrize("backend", AZURE_PATHS)
def test_azures_paths(sdk, mock, backend):
    azure(mock, base="/elsewhere", chat_path=AZURE_PATHS[backend])
    chat = sdk(backend).chat.completions
    made = chat.create(model="gpt-4o", messages=SAY_IT, temperature=0.5, tools=TOOLS)
    assert "Say it" in made.choices[0].message.content or made.choices[0].message.tool_calls
    arrived = mock.only()
    assert (arrived.authority, arrived.sni) == (AZURE_HOST, AZURE_HOST)
    assert arrived.path == AZURE_PATHS[backend]
    assert arrived.all("api-key") == [ENVIRONMENT["AZURE_KEY"]]
    assert arrived.all("authorization") == [] and CLIENT_KEY not in str(arrived.headers)
    sent = arrived.json()
    # Where the path names no deployment, the model does.
    assert "/deployments/" in arrived.path or sent["model"] == "chat-prod"
    assert {**sent, "model": "gpt-4o"} == {
        "model": "gpt-4o", "messages": SAY_IT, "temperature": 0.5, "tools": TOOLS,
    }

    mock.forget()
    options = {"include_usage": True}
    chunks = list(chat.create(model="gpt-4o", messages=SAY_IT, stream=True, stream_options=options))
    text = "".join(it.choices[0].delta.content or "" for it in chunks if it.choices)
    assert "Say it" in text and chunks[-1].usage.total_tokens > 0
    assert mock.only().path == AZURE_PATHS[backend]


def test_azures_deployments_for_models_that_insist_get_the_new_name_of_the_limit(sdk, mock):
    azure(mock, base="/openai/deployments/team-o4-mini")
    sdk("azure-model").chat.completions.create(model="team-o4-mini", messages=SAY_IT, max_tokens=50)
    arrived = mock.only()
    assert arrived.path.startswith("/openai/deployments/team-o4-mini/")
    assert arrived.header("content-length") == str(len(arrived.body))
    sent = arrived.json()
    assert (sent["max_completion_tokens"], "max_tokens" in sent) == (50, False)


def test_an_azure_stream_comes_as_it_is_sent(sdk, mock):
    texts = [json.dumps({"choices": [{"index": 0, "delta": {"content": word}}]}) for word in "abc"]
    streams(mock, *(f"data: {text}\n\n" for text in texts), "data: [DONE]\n\n", gates=True)
    mock.open("g0")
    chat = sdk("azure-deployment").chat.completions
    with chat.create(model="gpt-4o", messages=SAY_IT, stream=True) as stream:
        for at, chunk in enumerate(stream):
            assert chunk.choices[0].delta.content == "abc"[at]
            mock.open(f"g{at + 1}")
    assert at == 2


def test_azures_errors(sdk, mock):
    chat = sdk("azure-deployment").chat.completions
    body = json.dumps({"error": {"code": "429", "message": "As it said"}})
    answers(mock, body, status=429, headers=[("retry-after", "7")])
    with pytest.raises(openai.RateLimitError, match="As it said") as raised:
        chat.create(model="gpt-4o", messages=SAY_IT)
    assert raised.value.response.headers["retry-after"] == "7"
    assert set(raised.value.body) == {"message", "type", "param", "code"}
    # The gateways in front of Azure's models have another shape.
    answers(mock, '{"statusCode": 401, "message": "As it said"}', status=401)
    with pytest.raises(openai.AuthenticationError, match="As it said") as raised:
        chat.create(model="gpt-4o", messages=SAY_IT)
    assert raised.value.type == "authentication_error"


def test_azures_other_operations(sdk, mock):
    made = sdk("azure-deployment").embeddings.create(model="gpt-4o", input=["a", "b"])
    assert len(made.data) == 2
    path = "/openai/deployments/chat-prod/embeddings?api-version=2024-10-21"
    assert mock.only().path == path
    mock.forget()
    # Responses belong to the resource.
    azure(mock, base="/openai")
    made = sdk("azure-model").responses.create(model="gpt-4o", input="Say it")
    assert "Say it" in made.output_text
    arrived = mock.only()
    assert arrived.path == "/openai/responses?api-version=2024-10-21"
    assert arrived.json()["model"] == "chat-prod"
