"""OpenAI's own Python SDK as the client of the Responses API, at providers that do not speak it.

What the providers reply is scripted in their own words; what they get must pass their profile in the
mock provider. Replies and events are validated with the SDK's types.
"""

import json

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from harness import artefacts, bootstrap
from harness.gateways import ENVIRONMENT
from test_messages import EVENTS, HOSTS, JSON, MODELS, PATHS, calls, completion, plain

CLIENT_KEY = "sk-client-31aa"
ASK = {"model": "m", "input": "Say it"}
TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city",
    "strict": False,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
COUNTING = {
    "anthropic": "/v1/messages/count_tokens",
    "google": "/v1beta/models/gemini-2.5-flash:countTokens",
}
EVENT = TypeAdapter(ResponseStreamEvent)


@pytest.fixture(scope="module", params=(bootstrap.UPSTREAM, bootstrap.LISTENER_HELD))
def gateway(start, provider, request):
    keys = {"anthropic": "ANTHROPIC_KEY", "google": "GEMINI_KEY", "openai": "OPENAI_KEY"}
    at = {"address": provider.tls, "tls": {"caFile": str(provider.ca)}}

    def backend(name: str, kind: str, **more) -> dict:
        config = {"endpoint": HOSTS[kind], "apiKey": f"${{{keys[kind]}}}", "model": MODELS[kind]}
        return {"name": name, "type": kind, "config": {**config, **at, **more}}

    backends = [
        backend("anthropic", "anthropic"),
        backend("google", "google"),
        backend("openai", "openai", responses="translate"),
        backend("native", "openai"),
    ]
    if request.param == bootstrap.UPSTREAM:
        members = [{"name": "anthropic"}, {"name": "google", "priority": 1}]
        backends.append({"name": "pool", "type": "pool", "fallbackOn": [429], "backends": members})
    routes = [{"name": it["name"], "path": f"/{it['name']}", "backend": it["name"]} for it in backends]
    return start({"backends": backends, "routes": routes}, request.param, env=ENVIRONMENT)


@pytest.fixture(params=MODELS)
def name(request) -> str:
    """The provider's type."""
    return request.param


@pytest.fixture
def sdk(gateway):
    def client(route: str) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=gateway.url(f"/{route}/v1"),
            api_key=CLIENT_KEY,
            max_retries=0,
            timeout=artefacts.GUARD_SECONDS,
        )

    return client


@pytest.fixture
def client(sdk, name):
    with sdk(name) as client:
        yield client


def arrived(mock, name: str, is_stream: bool) -> dict:
    """The body of the one request that came, where it belongs and with the gateway's key."""
    request = mock.only()
    assert (request.method, request.path) == ("POST", PATHS[name][is_stream])
    assert CLIENT_KEY not in str(request.headers)
    assert request.header("content-length") == str(len(request.body))
    return request.json()


def said(response: Response) -> list:
    """What a response says, without ids."""
    found = []
    for item in response.output:
        if item.type == "message":
            found += [("text", part.text) for part in item.content]
        elif item.type == "function_call":
            found.append((item.name, json.loads(item.arguments)))
        elif item.summary:
            found.append(("thought", item.summary[0].text))
    return found


def valid(response: Response) -> Response:
    """The same, checked with the types."""
    Response.model_validate(response.to_dict(mode="json", exclude_unset=True, warnings=False), strict=False)
    return response


def streamed(client, **ask) -> Response:
    """A stream through the SDK's helper, each event checked with its type."""
    numbers = []
    with client.responses.create(**ask, stream=True) as raw:
        events = list(raw)
    for event in events:
        EVENT.validate_python(event.to_dict(mode="json", exclude_unset=True, warnings=False))
        numbers.append(event.sequence_number)
    assert numbers == list(range(len(events)))
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    return events[-1].response


def test_a_response_whole_and_streamed(client, mock, name):
    whole, stream = plain(name)
    mock.reply(headers=[JSON], body=whole)
    made = valid(client.responses.create(**ASK, instructions="Be brief.", metadata={"a": "b"}))
    assert (made.object, made.status, made.output_text) == ("response", "completed", "Hallo 🦀")
    assert made.metadata == {"a": "b"}
    usage = made.usage
    assert (usage.input_tokens, usage.input_tokens_details.cached_tokens, usage.output_tokens) == (43, 12, 9)
    sent = json.dumps(arrived(mock, name, False), ensure_ascii=False)
    assert "Be brief." in sent and "Say it" in sent

    mock.forget()
    mock.reply(headers=[EVENTS], body=stream)
    last = valid(streamed(client, **ASK))
    assert (said(last), last.status) == (said(made), "completed")
    assert last.usage.total_tokens == 52
    arrived(mock, name, True)

    mock.forget()
    mock.reply(headers=[EVENTS], body=stream)
    with client.responses.stream(**ASK) as events:
        texts = [event.delta for event in events if event.type == "response.output_text.delta"]
        final = events.get_final_response()
    assert ("".join(texts), final.output_text) == ("Hallo 🦀", "Hallo 🦀")
    assert final.output == last.output or said(final) == said(last)


def test_tools_there_and_back(client, mock, name):
    whole, stream = calls(name)
    mock.reply(headers=[JSON], body=whole)
    made = valid(client.responses.create(**ASK, tools=[TOOL], tool_choice="required"))
    called = [item for item in made.output if item.type == "function_call"]
    call = called[0]
    assert (call.name, json.loads(call.arguments)["city"]) == ("get_weather", "Zürich") and call.call_id
    assert "get_weather" in json.dumps(arrived(mock, name, False))

    mock.forget()
    mock.reply(headers=[EVENTS], body=stream)
    last = valid(streamed(client, **ASK, tools=[TOOL]))
    weather = [[it for it in said(response) if it[0] == "get_weather"] for response in (made, last)]
    assert weather[0] == weather[1]

    # The client sends the turn back: as items, or as references to them.
    whole_items = [item.to_dict() for item in made.output]
    references = [{"type": "item_reference", "id": item.id} for item in made.output]
    for earlier in (whole_items, references):
        mock.forget()
        mock.reply(headers=[JSON], body=plain(name)[0])
        turns = [
            {"role": "user", "content": "Say it"},
            *earlier,
            *({"type": "function_call_output", "call_id": it.call_id, "output": "sunny"} for it in called),
            {"role": "user", "content": [{"type": "input_text", "text": "And now?"}]},
        ]
        made_next = client.responses.create(model="m", input=turns, tools=[TOOL])
        assert made_next.output_text == "Hallo 🦀"
        sent = json.dumps(arrived(mock, name, False), ensure_ascii=False)
        assert all(it in sent for it in ("Zürich", "sunny", "And now?"))


def test_custom_tools_and_namespaces(sdk, mock):
    client, name = sdk("openai"), "openai"
    custom = {"type": "custom", "name": "patch", "description": "d"}
    space = {"type": "namespace", "name": "mcp__sky__", "description": "d", "tools": [TOOL]}
    functions = [
        {"name": "mcp__sky__get_weather", "arguments": '{"city":"Bern"}'},
        {"name": "patch", "arguments": '{"input":"*** Begin\\n"}'},
    ]
    tool_calls = [{"id": f"call_{n}", "type": "function", "function": it} for n, it in enumerate(functions)]
    whole, stream = completion({"content": None, "tool_calls": tool_calls}, "tool_calls")
    tools = [custom, space, {"type": "web_search"}, {"type": "local_shell"}, {"type": "tool_search"}]
    for is_stream in (False, True):
        mock.forget()
        mock.reply(headers=[EVENTS if is_stream else JSON], body=stream if is_stream else whole)
        if is_stream:
            made = streamed(client, **ASK, tools=tools, store=False)
        else:
            raw = client.responses.with_raw_response.create(**ASK, tools=tools, store=False)
            assert "tools" in raw.headers["x-llm-proxy-adapted"]
            made = raw.parse()
        call, patch = made.output
        assert (call.type, call.name, call.namespace) == ("function_call", "get_weather", "mcp__sky__")
        assert (patch.type, patch.name, patch.input) == ("custom_tool_call", "patch", "*** Begin\n")
        sent = arrived(mock, name, is_stream)
        assert [it["function"]["name"] for it in sent["tools"]] == ["patch", "mcp__sky__get_weather"]


def test_what_needs_a_server_is_refused_with_its_remedy(client, mock, name):
    for more, remedy in (
        ({"previous_response_id": "resp_1"}, "earlier items"),
        ({"conversation": "conv_1"}, "earlier items"),
        ({"background": True}, "leave it out"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, '"store": false'),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]}, "stores"),
        ({"tool_choice": {"type": "web_search_preview"}, "tools": [{"type": "web_search_preview"}]}, "forces"),
    ):
        with pytest.raises(openai.BadRequestError) as raised:
            client.responses.create(**{**ASK, **more})
        assert remedy in raised.value.body["message"], raised.value.body
    with pytest.raises(openai.BadRequestError):
        client.responses.retrieve("resp_1")
    assert mock.none_came()


def test_tokens_are_counted_where_the_provider_can(client, mock, name):
    if name == "openai":
        with pytest.raises(openai.APIStatusError) as raised:
            client.responses.input_tokens.count(**ASK)
        assert raised.value.status_code == 501
        return
    counted = client.responses.input_tokens.count(**ASK, instructions="Be brief.")
    assert counted.object == "response.input_tokens" and counted.input_tokens > 0
    [request] = mock.requests()
    assert request.path == COUNTING[name] and "Be brief." in request.body.decode()


def test_errors_have_the_exceptions_of_the_sdk(client, mock, name):
    bodies = {
        "anthropic": {"type": "error", "error": {"type": "rate_limit_error", "message": "As it said"}},
        "google": {"error": {"code": 429, "message": "As it said", "status": "RESOURCE_EXHAUSTED"}},
        "openai": {"error": {"message": "As it said", "type": "tokens", "code": "rate_limit_exceeded"}},
    }
    mock.reply(status=429, headers=[JSON, ("retry-after", "7")], body=json.dumps(bodies[name]))
    with pytest.raises(openai.RateLimitError) as raised:
        client.responses.create(**ASK)
    assert raised.value.body["message"] == "As it said"
    assert raised.value.response.headers["retry-after"] == "7"

    # A stream that breaks off.
    mock.reply(headers=[EVENTS], body=plain(name)[1][:-200])
    with client.responses.create(**ASK, stream=True) as raw:
        events = list(raw)
    assert [event.type for event in events[-2:]] == ["error", "response.failed"]
    assert events[-1].response.error.code == "server_error"


@pytest.mark.parametrize("gateway", [bootstrap.UPSTREAM], indirect=True)
def test_a_pool_goes_on_to_a_member_of_another_dialect(sdk, mock):
    mock.reply(status=429, headers=[JSON], body='{"type":"error","error":{"type":"rate_limit_error","message":"m"}}')
    mock.reply(headers=[JSON], body=plain("google")[0])
    with sdk("pool") as client:
        made = valid(client.responses.create(**ASK))
    assert made.output_text == "Hallo 🦀"
    assert [request.path for request in mock.requests()] == [PATHS["anthropic"][0], PATHS["google"][0]]


def test_bytes_pass_to_a_provider_that_speaks_responses(gateway, mock):
    body = '{ "input" : [{"type":"x-new"}],"model":"m" ,"previous_response_id":"resp_1", "temperature":1.0}'
    reply = '{ "object":"response" , "id":"resp_2"}'
    mock.reply(headers=[JSON], body=reply)
    made = gateway.request("POST", "/native/v1/responses", headers=[JSON], body=body.encode())
    assert (made.status, made.body) == (200, reply.encode())
    [request] = mock.requests()
    assert (request.path, request.body.decode()) == ("/v1/responses", body.replace('"m"', '"gpt-4o"'))
