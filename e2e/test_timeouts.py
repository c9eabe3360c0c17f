"""`streamIdleTimeout` and `deadline`: they end what has come to a halt, and nothing else.

Providers wait at gates that a test opens, or never. Where a test sleeps, a slow machine only makes
it surer of what it shows.
"""

import http.client
import json
import time

import openai
import pytest

from harness import artefacts, bootstrap, gateways
from harness.client import Exchange
from harness.shapes import assert_openai_error

EVENTS = ("content-type", "text/event-stream")
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
# What a test waits to be sure that a second has long passed for the module.
LONG = 3


def shared(mock) -> dict:
    key = {"apiKey": "${PLAIN_KEY}"}
    backends = {
        "plain": key,
        "second": {**key, "streamIdleTimeout": "1s"},
        "patient": {**key, "streamIdleTimeout": "6s"},
    }
    claude = {"apiKey": "${ANTHROPIC_KEY}", "streamIdleTimeout": "1s"}
    listed = [
        {"name": name, "type": "openai-compatible", "config": gateways.at(mock, name, config)}
        for name, config in backends.items()
    ]
    claude = gateways.at(mock, "claude", claude)
    listed.append({"name": "claude", "type": "anthropic", "config": claude})
    routes = [{"path": f"/{it['name']}", "backend": it["name"]} for it in listed]
    return {"backends": listed, "routes": routes}


@pytest.fixture(scope="module")
def gateway(start, provider, held):
    placement, version = held
    return start(shared(provider), placement, version)


@pytest.fixture
def claude(mock):
    """What `claude.example` is like, at a mock that takes it for one of OpenAI's kind."""
    mock.profile("claude.example", key="required", auth_header="x-api-key", auth_prefix="")
    return mock


def begin(gateway, path, **members) -> Exchange:
    exchange = Exchange(gateway.port)
    data = json.dumps({**CHAT, **members}).encode()
    headers = [("host", "g"), ("content-type", "application/json")]
    headers.append(("content-length", str(len(data))))
    exchange.head("POST", f"{path}/chat/completions", headers)
    exchange.send(data)
    return exchange


def event(text: str) -> str:
    delta = {"choices": [{"index": 0, "delta": {"content": text}}]}
    return f"data: {json.dumps(delta)}\n\n"


def test_a_stream_that_goes_silent_is_cut_off(gateway, mock):
    first = event("first")
    mock.reply(headers=[EVENTS], chunks=[{"data": first}, {"data": event("x"), "wait_for": "never"}])
    with begin(gateway, "/second/v1", stream=True) as exchange:
        assert exchange.begin()[0] == 200
        assert exchange.until(b"\n\n") == first.encode()
        # No end of the body: whoever reads it knows that something is missing.
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            exchange.rest()
    assert mock.when(lambda it: it.disconnected)
    # The worker goes on.
    assert gateway.post("/second/v1/chat/completions", CHAT).status == 200


def test_openais_sdk_raises_when_a_stream_is_cut_off(gateway, mock):
    mock.reply(headers=[EVENTS], chunks=[{"data": event("a")}, {"data": "", "wait_for": "never"}])
    with openai.OpenAI(base_url=gateway.url("/second/v1"), api_key="k", max_retries=0) as client:
        stream = client.chat.completions.create(**CHAT, stream=True)
        assert next(stream).choices[0].delta.content == "a"
        with pytest.raises(openai.APIConnectionError):
            list(stream)


def test_a_translated_stream_that_goes_silent_is_cut_off_too(gateway, claude):
    start = {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant",
             "content": [], "model": "c", "stop_reason": None, "usage": {"input_tokens": 1, "output_tokens": 1}}}
    text = f"event: message_start\ndata: {json.dumps(start)}\n\n"
    claude.reply(headers=[EVENTS], chunks=[{"data": text}, {"data": "x", "wait_for": "never"}])
    with begin(gateway, "/claude/v1", stream=True) as exchange:
        assert exchange.begin()[0] == 200, exchange.rest()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            exchange.rest()
    assert claude.when(lambda it: it.disconnected)


def test_a_whole_reply_that_goes_silent_is_cut_off_too(gateway, mock):
    chunks = [{"data": '{"a":'}, {"data": "1}", "wait_for": "never"}]
    mock.reply(headers=[("content-type", "application/json")], chunks=chunks)
    with begin(gateway, "/second/v1") as exchange:
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            exchange.begin()
            exchange.rest()


def test_a_reply_that_is_held_becomes_an_error(gateway, claude):
    """It is going to be translated whole, so nothing of it has gone out yet."""
    chunks = [{"data": "{"}, {"data": "}", "wait_for": "never"}]
    claude.reply(headers=[("content-type", "application/json")], chunks=chunks)
    reply = gateway.post("/claude/v1/chat/completions", {**CHAT, "max_tokens": 5})
    assert_openai_error(reply, 504, "server_error", code="stream_idle_timeout", says="silent")


def test_the_wait_for_the_first_byte_is_no_silence(gateway, mock):
    mock.reply(headers=[EVENTS], chunks=[{"data": event("late")}], wait_for="head")
    with begin(gateway, "/second/v1", stream=True) as exchange:
        time.sleep(LONG)
        mock.open("head")
        assert exchange.begin()[0] == 200
        assert exchange.rest() == event("late").encode()


def test_a_slow_stream_is_not_cut_off(gateway, mock):
    texts = [event(str(number)) for number in range(9)]
    chunks = [{"data": text, "delay_ms": 1000} for text in texts]
    mock.reply(headers=[EVENTS], chunks=chunks)
    with begin(gateway, "/patient/v1", stream=True) as exchange:
        assert exchange.begin()[0] == 200
        assert exchange.rest() == "".join(texts).encode()


def test_without_the_key_silence_is_waited_for(gateway, mock):
    chunks = [{"data": event("a")}, {"data": event("b"), "wait_for": "second"}]
    mock.reply(headers=[EVENTS], chunks=chunks)
    with begin(gateway, "/plain/v1", stream=True) as exchange:
        assert exchange.begin()[0] == 200
        exchange.until(b"\n\n")
        time.sleep(LONG)
        mock.open("second")
        assert exchange.rest() == event("b").encode()


@pytest.fixture(
    scope="module",
    params=[
        (bootstrap.UPSTREAM, artefacts.NEWEST_ENVOY),
        (bootstrap.UPSTREAM, artefacts.OLDEST_ENVOY),
        (bootstrap.LISTENER_HELD, artefacts.NEWEST_ENVOY),
        (bootstrap.LISTENER_FIRST, artefacts.OLDEST_ENVOY),
    ],
    ids=lambda it: "-".join(it),
)
def hurried(start, provider, request):
    """The same with a deadline on every route."""
    placement, version = request.param
    gateway = shared(provider)
    retried = {"apiKey": "${PLAIN_KEY}", "timeout": "1s", "maxRetries": 9}
    gateway["backends"] = [it for it in gateway["backends"] if it["type"] != "anthropic"]
    gateway["backends"].append(
        {"name": "retried", "type": "openai-compatible", "config": gateways.at(provider, "retried", retried)}
    )
    gateway["routes"] = [
        {"path": f"/{it['name']}", "backend": it["name"], "deadline": "2500ms"}
        for it in gateway["backends"]
    ]
    envoy = start(gateway, placement, version)
    envoy.placement = placement
    return envoy


def test_nobody_answers_before_the_deadline(hurried, mock):
    mock.reply(wait_for="never")
    reply = hurried.post("/plain/v1/chat/completions", CHAT)
    assert_openai_error(reply, 504, "server_error", code="deadline_exceeded", says="deadline")
    assert mock.when(lambda it: it.disconnected)
    assert hurried.post("/plain/v1/chat/completions", CHAT).status == 200


def test_openais_sdk_raises_its_class_for_the_deadline(hurried, mock):
    mock.reply(wait_for="never")
    with openai.OpenAI(base_url=hurried.url("/plain/v1"), api_key="k", max_retries=0) as client:
        with pytest.raises(openai.InternalServerError) as raised:
            client.chat.completions.create(**CHAT, stream=True)
    assert raised.value.code == "deadline_exceeded"


def test_a_stream_that_started_in_time_is_not_cut_off(hurried, mock):
    chunks = [{"data": event("a")}, {"data": event("b"), "wait_for": "second"}]
    mock.reply(headers=[EVENTS], chunks=chunks)
    with begin(hurried, "/plain/v1", stream=True) as exchange:
        assert exchange.begin()[0] == 200
        exchange.until(b"\n\n")
        time.sleep(LONG + 1)
        mock.open("second")
        assert exchange.rest() == event("b").encode()


def test_the_deadline_is_over_all_attempts(hurried, mock):
    """Ten of a second each would be possible."""
    if hurried.placement != bootstrap.UPSTREAM:
        return
    mock.reply(wait_for="never", times=10)
    reply = hurried.post("/retried/v1/chat/completions", CHAT)
    assert_openai_error(reply, 504, "server_error", code="deadline_exceeded")
    assert 2 <= len(mock.requests()) < 10


def test_an_error_before_the_deadline_is_the_providers(hurried, mock):
    mock.reply(status=429, headers=[("content-type", "text/plain")], body="busy")
    reply = hurried.post("/plain/v1/chat/completions", CHAT)
    assert_openai_error(reply, 429, "rate_limit_error", says="busy")


@pytest.fixture(scope="module")
def awaited(start, provider, held):
    """A backend and pools that limit the wait for a stream, and those that have the default."""
    placement, version = held
    key = {"apiKey": "${PLAIN_KEY}"}
    listed = [
        {"name": "first", "type": "openai-compatible", "config": {**key, "firstByteTimeout": "1s"}},
        {"name": "second", "type": "openai-compatible", "config": key},
        {"name": "claude", "type": "anthropic", "config": {"apiKey": "${ANTHROPIC_KEY}", "firstByteTimeout": "1s"}},
    ]
    for backend in listed:
        backend["config"] = gateways.at(provider, backend["name"], backend["config"])
    if placement == bootstrap.UPSTREAM:
        members = [{"name": "first", "priority": 0}, {"name": "second", "priority": 1}]
        listed.append({"name": "pool", "type": "pool", "backends": members})
        listed.append({"name": "alone", "type": "pool", "backends": members, "maxRetries": 0})
    routes = [{"path": f"/{it['name']}", "backend": it["name"]} for it in listed]
    envoy = start({"backends": listed, "routes": routes}, placement, version)
    envoy.placement = placement
    return envoy


@pytest.mark.parametrize("stream", ['"stream": true, "messages"', '"messages"'], ids=["first", "last"])
def test_a_stream_that_does_not_begin_is_ended(awaited, mock, stream):
    """`stream` stands before the messages, and behind them."""
    members = {"stream": True} if stream == '"messages"' else {}
    mock.reply(wait_for="never")
    body = json.dumps({**CHAT, **members}).replace('"messages"', stream, 1)
    reply = awaited.post("/first/v1/chat/completions", body)
    assert_openai_error(reply, 504, "server_error", code="first_byte_timeout", says="stream")
    assert mock.when(lambda it: it.disconnected)
    assert len(mock.requests()) == 1
    assert awaited.post("/first/v1/chat/completions", CHAT).status == 200


def test_a_translated_stream_that_does_not_begin_is_ended(awaited, claude):
    claude.reply(wait_for="never")
    reply = awaited.post("/claude/v1/chat/completions", {**CHAT, "max_tokens": 5, "stream": True})
    assert_openai_error(reply, 504, "server_error", code="first_byte_timeout", says="stream")


@pytest.mark.parametrize("path", ["first", "pool"])
def test_what_is_no_stream_is_waited_for(awaited, mock, path):
    if path == "pool" and awaited.placement != bootstrap.UPSTREAM:
        return
    for gate, members in (("one", {}), ("two", {"stream": False})):
        mock.reply(wait_for=gate, body="{}", headers=[("content-type", "application/json")])
        with begin(awaited, f"/{path}/v1", **members) as exchange:
            time.sleep(LONG)
            mock.open(gate)
            assert exchange.begin()[0] == 200
            exchange.rest()
    assert len(mock.requests()) == 2


def test_a_stream_that_began_in_time_goes_on(awaited, mock):
    chunks = [{"data": event("a")}, {"data": event("b"), "wait_for": "second"}]
    mock.reply(headers=[EVENTS], chunks=chunks)
    with begin(awaited, "/first/v1", stream=True) as exchange:
        assert exchange.begin()[0] == 200
        exchange.until(b"\n\n")
        time.sleep(LONG)
        mock.open("second")
        assert exchange.rest() == event("b").encode()


def test_the_next_member_of_a_pool_gets_a_stream_that_does_not_begin(awaited, mock):
    if awaited.placement != bootstrap.UPSTREAM:
        return
    mock.reply(wait_for="never")
    mock.reply(headers=[EVENTS], chunks=[{"data": event("b")}])
    reply = awaited.post("/pool/v1/chat/completions", {**CHAT, "stream": True})
    assert (reply.status, reply.body) == (200, event("b").encode()), reply.body
    assert len({it.authority for it in mock.requests()}) == 2


def test_the_last_member_of_a_pool_ends_in_an_error(awaited, mock):
    if awaited.placement != bootstrap.UPSTREAM:
        return
    mock.reply(wait_for="never")
    reply = awaited.post("/alone/v1/chat/completions", {**CHAT, "stream": True})
    assert reply.status == 504, reply.body
    assert len(mock.requests()) == 1
