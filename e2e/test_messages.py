"""Anthropic's own Python SDK as the client of providers that speak Messages, and of those that do not.

What the providers reply is scripted in their own words; what they get must pass their profile in the
mock provider.
"""

import json

import anthropic
import pytest

from harness import artefacts, bootstrap
from harness.gateways import ENVIRONMENT

CLIENT_KEY = "sk-client-31aa"
SAY_IT = [{"role": "user", "content": "Say it"}]
ASK = {"model": "m", "max_tokens": 64, "messages": SAY_IT}
TOOL = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
JSON = ("content-type", "application/json")
EVENTS = ("content-type", "text/event-stream")

MODELS = {"anthropic": "claude-sonnet-4-5", "google": "gemini-2.5-flash", "openai": "gpt-4o"}
HOSTS = {
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com",
    "openai": "https://api.openai.com",
}
PATHS = {
    "anthropic": ("/v1/messages",) * 2,
    "google": (
        "/v1beta/models/gemini-2.5-flash:generateContent",
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
    ),
    "openai": ("/v1/chat/completions",) * 2,
}


def recorded(case: str, dialect: str) -> tuple[str, str]:
    """A reply of `tests/chat`, whole and as a stream."""
    at = artefacts.ROOT / "tests/chat" / case
    return (at / f"reply.{dialect}.json").read_text(), (at / f"stream.{dialect}.sse").read_text()


def completion(message: dict, stop: str) -> tuple[str, str]:
    """OpenAI's reply, whole and as a stream."""
    usage = {
        "prompt_tokens": 43,
        "completion_tokens": 9,
        "total_tokens": 52,
        "prompt_tokens_details": {"cached_tokens": 12},
    }
    head = {"id": "chatcmpl-1", "created": 1, "model": "gpt-4o-2024-08-06"}
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": stop}
    whole = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
    deltas = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in (message.get("content") or "").partition(" ") if piece]
    for index, call in enumerate(message.get("tool_calls", [])):
        function = call["function"]
        begin = {**call, "index": index, "function": {**function, "arguments": ""}}
        deltas.append({"tool_calls": [begin]})
        for piece in (function["arguments"][:3], function["arguments"][3:]):
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    chunks = [
        {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    end = [{"index": 0, "delta": {}, "finish_reason": stop}]
    chunks.append({**head, "object": "chat.completion.chunk", "choices": end})
    chunks.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    return json.dumps(whole), events + "data: [DONE]\n\n"


def plain(provider: str) -> tuple[str, str]:
    """Says `Hallo 🦀`."""
    if provider == "openai":
        return completion({"content": "Hallo 🦀"}, "stop")
    return recorded("plain", "gemini" if provider == "google" else provider)


def calls(provider: str) -> tuple[str, str]:
    """Calls `get_weather` with a city."""
    if provider == "openai":
        function = {"name": "get_weather", "arguments": '{"city":"Zürich","days":[1,2]}'}
        call = {"id": "call_1", "type": "function", "function": function}
        return completion({"content": None, "tool_calls": [call]}, "tool_calls")
    if provider == "anthropic":
        # The recorded one also has a tool that ran at the provider.
        call = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Zürich", "days": [1, 2]}}
        message = json.loads(recorded("plain", provider)[0])
        message.update(content=[call], stop_reason="tool_use")
        return json.dumps(message), recorded("tools", provider)[1]
    return recorded("tools", "gemini")


@pytest.fixture(scope="module", params=(bootstrap.UPSTREAM, bootstrap.LISTENER_HELD))
def gateway(start, provider, request):
    keys = {"anthropic": "ANTHROPIC_KEY", "google": "GEMINI_KEY", "openai": "OPENAI_KEY"}
    at = {"address": provider.tls, "tls": {"caFile": str(provider.ca)}}
    backends = [
        {
            "name": name,
            "type": name,
            "config": {
                "endpoint": HOSTS[name],
                "apiKey": f"${{{keys[name]}}}",
                "model": MODELS[name],
                **at,
            },
        }
        for name in MODELS
    ]
    routes = [{"name": name, "path": f"/{name}", "backend": name} for name in MODELS]
    configuration = {"backends": backends, "routes": routes}
    return start(configuration, request.param, env=ENVIRONMENT)


@pytest.fixture(params=MODELS)
def name(request) -> str:
    """The provider's type."""
    return request.param


@pytest.fixture
def client(gateway, name):
    options = {"api_key": CLIENT_KEY, "max_retries": 0, "timeout": artefacts.GUARD_SECONDS}
    with anthropic.Anthropic(base_url=gateway.url(f"/{name}"), **options) as client:
        yield client


def said(message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def arrived(mock, name: str, is_stream: bool) -> dict:
    """The body of the one request that came, where it belongs and with the gateway's key."""
    request = mock.only()
    assert (request.method, request.path) == ("POST", PATHS[name][is_stream])
    assert CLIENT_KEY not in str(request.headers)
    assert (request.header("anthropic-version") is not None) == (name == "anthropic")
    assert request.header("content-length") == str(len(request.body))
    return request.json()


def test_a_message_whole_and_streamed(client, mock, name):
    whole, stream = plain(name)
    mock.reply(headers=[JSON], body=whole)
    made = client.messages.create(**ASK, system="Be brief.", stop_sequences=["END"])
    assert made.type == "message" and made.role == "assistant" and made.id
    assert said(made) == "Hallo 🦀"
    assert made.stop_reason == "end_turn"
    usage = made.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (31, 12, 9)
    sent = json.dumps(arrived(mock, name, False), ensure_ascii=False)
    assert "Be brief." in sent and "Say it" in sent and "END" in sent

    mock.forget()
    mock.reply(headers=[EVENTS], body=stream)
    with client.messages.stream(**ASK) as events:
        assert "".join(events.text_stream) == "Hallo 🦀"
        streamed = events.get_final_message()
    assert (said(streamed), streamed.stop_reason) == ("Hallo 🦀", "end_turn")
    assert (streamed.usage.input_tokens, streamed.usage.output_tokens) == (31, 9)
    arrived(mock, name, True)


def test_tools_there_and_back(client, mock, name):
    whole, stream = calls(name)
    mock.reply(headers=[JSON], body=whole)
    made = client.messages.create(**ASK, tools=[TOOL], tool_choice={"type": "any"})
    assert made.stop_reason == "tool_use"
    call = next(block for block in made.content if block.type == "tool_use")
    assert (call.name, call.input["city"]) == ("get_weather", "Zürich") and call.id
    assert "get_weather" in json.dumps(arrived(mock, name, False))

    mock.forget()
    mock.reply(headers=[EVENTS], body=stream)
    with client.messages.stream(**ASK, tools=[TOOL]) as events:
        streamed = events.get_final_message()
    used = next(block for block in streamed.content if block.type == "tool_use")
    assert (used.name, used.input) == (call.name, call.input)
    assert streamed.stop_reason == "tool_use"

    # The client sends the turn back as it came, with the result.
    mock.forget()
    mock.reply(headers=[JSON], body=plain(name)[0])
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
    }
    results = [
        {
            "type": "tool_result",
            "tool_use_id": block.id,
            # Gemini takes none here before its third generation.
            "content": [{"type": "text", "text": "sunny"}, *([] if name == "google" else [image])],
        }
        for block in made.content
        if block.type == "tool_use"
    ]
    turns = [
        *SAY_IT,
        {"role": "assistant", "content": made.content},
        {"role": "user", "content": [*results, {"type": "text", "text": "And now?"}]},
    ]
    made = client.messages.create(model="m", max_tokens=64, messages=turns, tools=[TOOL])
    assert said(made) == "Hallo 🦀"
    sent = json.dumps(arrived(mock, name, False), ensure_ascii=False)
    assert all(it in sent for it in ("Zürich", "sunny", "And now?"))
    assert name == "google" or image["source"]["data"] in sent


def test_errors_have_the_exceptions_of_the_sdk(client, mock, name):
    bodies = {
        "anthropic": {"type": "error", "error": {"type": "rate_limit_error", "message": "As it said"}},
        "google": {"error": {"code": 429, "message": "As it said", "status": "RESOURCE_EXHAUSTED"}},
        "openai": {"error": {"message": "As it said", "type": "tokens", "code": "rate_limit_exceeded"}},
    }
    mock.reply(status=429, headers=[JSON, ("retry-after", "7")], body=json.dumps(bodies[name]))
    with pytest.raises(anthropic.RateLimitError) as raised:
        client.messages.create(**ASK)
    expected = {"type": "error", "error": {"type": "rate_limit_error", "message": "As it said"}}
    assert raised.value.body == expected
    assert raised.value.response.headers["retry-after"] == "7"

    # A stream that breaks off.
    mock.reply(headers=[EVENTS], body=plain(name)[1][:-200])
    with pytest.raises(Exception) as raised, client.messages.stream(**ASK) as events:
        events.get_final_message()
        raise AssertionError("the message is not whole")
    assert name == "anthropic" or isinstance(raised.value, anthropic.APIStatusError)

    with pytest.raises(anthropic.BadRequestError) as raised:
        client.post("/v1/messages", body={"model": "m", "messages": 7}, cast_to=object)
    assert name == "anthropic" or raised.value.body["error"]["type"] == "invalid_request_error"


def test_tokens_are_counted_where_the_provider_can(client, mock, name):
    ask = {"model": "m", "messages": SAY_IT, "system": "s", "tools": [TOOL]}
    if name != "openai":
        assert client.messages.count_tokens(**ask).input_tokens == 31
        request = mock.only()
        assert request.path == {
            "anthropic": "/v1/messages/count_tokens",
            "google": "/v1beta/models/gemini-2.5-flash:countTokens",
        }[name]
        assert request.refused is None
        return
    with pytest.raises(anthropic.APIStatusError) as raised:
        client.messages.count_tokens(**ask)
    assert raised.value.status_code == 501
    assert raised.value.body["error"]["type"] == "not_supported"
    assert mock.none_came()


def test_bytes_pass_to_a_provider_that_speaks_messages(gateway, mock):
    body = '{ "max_tokens" : 9,"model":"m" ,"messages":[{"role":"user","content":"é"}], "temperature":1.0}'
    reply = '{ "type":"message" , "id":"msg_1"}'
    mock.reply(headers=[JSON, ("anthropic-ratelimit-requests-limit", "5")], body=reply)
    headers = [JSON, ("anthropic-version", "2023-06-01"), ("anthropic-beta", "context-1m-2025-08-07")]
    made = gateway.request(
        "POST", "/anthropic/v1/messages?beta=true", headers=headers, body=body.encode()
    )
    assert (made.status, made.body) == (200, reply.encode())
    assert made.header("anthropic-ratelimit-requests-limit") == "5"
    [request] = mock.requests()
    assert request.path == "/v1/messages?beta=true"
    assert request.body.decode() == body.replace('"m"', '"claude-sonnet-4-5"')
    assert request.header("anthropic-beta") == "context-1m-2025-08-07"
    assert request.all("x-api-key") == [ENVIRONMENT["ANTHROPIC_KEY"]]


@pytest.fixture(scope="module")
def unreachable(start, provider):
    """A gateway whose backends cannot be reached."""
    backends = [
        {
            "name": name,
            "type": name,
            "config": {"endpoint": HOSTS[name], "apiKey": "${OPENAI_KEY}", "model": MODELS[name], "address": "127.0.0.1:9"},
        }
        for name in MODELS
    ]
    routes = [{"name": name, "path": f"/{name}", "backend": name} for name in MODELS]
    return start({"backends": backends, "routes": routes}, bootstrap.UPSTREAM, env=ENVIRONMENT)


@pytest.mark.parametrize("version", ["2023-06-01", None])
def test_errors_of_envoy_have_the_shape_of_the_api_that_the_client_speaks(unreachable, name, version):
    body = json.dumps(ASK)
    headers = [JSON, *([("anthropic-version", version)] if version else [])]
    reply = unreachable.request("POST", f"/{name}/v1/messages?beta=true", headers=headers, body=body)
    assert (reply.status, reply.json()["type"]) == (503, "error"), reply.body
    assert reply.json()["error"]["type"] == "overloaded_error"
    assert "connect" in reply.json()["error"]["message"]
    # Its path upstream may be that of the Messages API.
    reply = unreachable.request("POST", f"/{name}/v1/chat/completions", headers=[JSON], body=body)
    assert reply.status == 503 and reply.json()["error"]["code"] == "upstream_unavailable", reply.body


def test_a_probe_of_the_base_url_is_answered(gateway):
    assert gateway.request("HEAD", "/").status == 200


def test_an_operation_that_a_backend_does_not_serve_names_those_that_it_does(client, name):
    if name == "openai":
        return
    with pytest.raises(anthropic.NotFoundError, match="it serves chat-completions"):
        client.messages.batches.create(requests=[])


@pytest.fixture(scope="module")
def pool(start, provider):
    """Members of every dialect, in the order of the list."""
    keys = {"anthropic": "ANTHROPIC_KEY", "google": "GEMINI_KEY", "openai": "OPENAI_KEY"}
    at = {"address": provider.tls, "tls": {"caFile": str(provider.ca)}}
    backends = [
        {
            "name": name,
            "type": name,
            "config": {"endpoint": HOSTS[name], "apiKey": f"${{{keys[name]}}}", "defaultModel": MODELS[name], **at},
        }
        for name in MODELS
    ]
    members = [{"name": name, "priority": place} for place, name in enumerate(("openai", "google", "anthropic"))]
    backends.append({"name": "all", "type": "pool", "backends": members})
    routes = [{"name": "all", "path": "/v1", "backend": "all"}]
    return start({"backends": backends, "routes": routes}, bootstrap.UPSTREAM, env=ENVIRONMENT)


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_each_attempt_of_a_pool_has_its_members_words(pool, mock, is_stream):
    busy = {"status": 503, "headers": [JSON], "body": '{"error":{"message":"busy"}}'}
    mock.reply(**busy)
    mock.reply(**busy)
    whole, stream = plain("anthropic")
    mock.reply(headers=[EVENTS if is_stream else JSON], body=stream if is_stream else whole)
    with anthropic.Anthropic(base_url=pool.url(""), api_key=CLIENT_KEY, max_retries=0) as client:
        if is_stream:
            with client.messages.stream(**ASK) as events:
                message = events.get_final_message()
        else:
            message = client.messages.create(**ASK)
    assert said(message) == "Hallo 🦀"
    paths = [request.path for request in mock.requests()]
    assert paths == [PATHS[name][is_stream] for name in ("openai", "google", "anthropic")]
    last = mock.requests()[-1].json()
    assert last == {**ASK, "model": MODELS["anthropic"], **({"stream": True} if is_stream else {})}
