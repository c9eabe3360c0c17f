"""A pool whose providers fail in every way."""

import contextlib
import itertools
import socket
import threading
import time

import openai
import pytest

from harness import artefacts, gateways
from harness.client import Exchange
from harness.mock import Mock  # noqa: F401
from harness.shapes import assert_openai_error
from test_pools import (  # noqa: F401
    BACKENDS,
    BODY,
    CHAT,
    FULL,
    HOSTS,
    JSON,
    asked,
    azure,
    backends,
    pool,
    with_routes,
)

EVENTS = ("content-type", "text/event-stream")
PLAIN = ("content-type", "text/plain")


@contextlib.contextmanager
def answering(data: bytes | None):
    """The address of a server that answers whatever comes with these bytes, or refuses."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "127.0.0.1:%d" % server.getsockname()[1]
        if data is None:
            server.close()
            yield address
            return

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(1 << 16)
                        connection.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        yield address
        server.close()


def compatible(name: str, config: dict) -> dict:
    return {"name": name, "type": "openai-compatible", "config": config}


@pytest.fixture(scope="module", params=[artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY])
def gateway(start, provider, request):
    """Every pool has a state of its own, so every test has a pool of its own."""
    listed = backends(provider, timeout="1s", maxRetries=0)
    in_order = [{"name": name, "priority": number} for number, name in enumerate(BACKENDS)]
    two = in_order[:2]
    with contextlib.ExitStack() as open_until_then:
        refused = open_until_then.enter_context(answering(None))
        garbage = open_until_then.enter_context(answering(b"\x00\x01 garbage\r\n\r\n"))
        half = b"HTTP/1.1 200 OK\r\ncontent-le"
        truncated = open_until_then.enter_context(answering(half))
        here = {"endpoint": "http://plain.example", "model": "m", "timeout": "1s"}
        listed += [
            compatible("refused", {**here, "address": refused}),
            compatible("garbage", {**here, "address": garbage}),
            compatible("truncated", {**here, "address": truncated}),
            compatible("wrongname", gateways.at(provider, "wrongname", {"model": "m"})),
        ]
        broken = [it["name"] for it in listed[len(BACKENDS) :]]
        strict = compatible("strict", gateways.at(provider, "strict", {"models": ["strict-*"]}))
        also = compatible("also", gateways.at(provider, "also", {"models": ["strict-1", "also"]}))
        listed += [strict, also]
        listed += [pool(f"{name}-first", [name, {"name": "openai", "priority": 1}]) for name in broken]
        for name in ("ways", "stream", "last", "sdk", "middle", "fall", "headers"):
            listed.append(pool(name, in_order))
        for name in ("paused", "left"):
            listed.append(pool(name, two))
        last = [{"name": name, "priority": at} for at, name in enumerate(["openai", "anthropic", "refused"])]
        for name in ("limited", "long", "bare"):
            listed.append(pool(f"{name}-then-refused", last))
        silent = [*last[:2], {"name": "azure", "priority": 2}]
        for name in ("silent", "deadline"):
            listed.append(pool(f"{name}-last", silent))
        again = [{"name": "openai"}, {"name": "azure"}]
        listed.append(pool("codes", two, fallbackOn=[401, 402, "http_404", 529]))
        listed.append(pool("alone", again, fallback=False))
        listed.append(pool("models", ["strict", "also"]))
        listed.append(pool("some", [{"name": "strict"}, {"name": "openai", "priority": 1}]))
        config = with_routes(listed)
        config["routes"].insert(0, {"path": "/hurry", "backend": "deadline-last", "deadline": "600ms"})
        yield start(config, version=request.param)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "how",
    [
        {"status": 429, "headers": [JSON], "body": FULL},
        {"status": 429, "headers": [JSON, ("retry-after", "0")], "body": FULL},
        {"status": 500, "headers": [PLAIN], "body": "oh"},
        {"status": 502},
        {"status": 503, "headers": [JSON], "body": FULL},
        {"status": 529, "headers": [JSON], "body": "{"},
        {"status": 599, "headers": [JSON], "body": FULL},
        {"reset_before_headers": True},
        {"hang_before_headers": True},
    ],
    ids=lambda it: str(it.get("status", next(iter(it)))),
)
def test_a_failure_is_followed_by_the_next_member(gateway, mock, how, stream):
    """Whoever fails rests now and then, so the first who is asked may be any."""
    mock.reply(**how)
    reply = gateway.post(f"/ways{CHAT}", {**BODY, "stream": stream})
    assert reply.status == 200, reply.body
    assert reply.text.endswith("data: [DONE]\n\n") == stream
    came = [it for it in mock.requests() if it.body_complete]
    assert len({it.authority for it in came}) == 2, [it.authority for it in came]


@pytest.mark.parametrize("name", ["refused", "garbage", "truncated", "wrongname"])
def test_a_provider_that_cannot_be_talked_to_is_passed_over(gateway, mock, name):
    for stream in (False, True):
        reply = gateway.post(f"/{name}-first{CHAT}", {**BODY, "stream": stream})
        assert reply.status == 200, reply.body
    assert set(asked(mock)) == {"openai"}


@pytest.mark.parametrize("failures", range(4))
def test_openais_sdk_sees_an_answer_whoever_gives_it(gateway, mock, failures):
    with openai.OpenAI(base_url=gateway.url("/sdk/v1"), api_key="sk-client", max_retries=0) as sdk:
        for name in list(BACKENDS)[:failures]:
            at = {"for": {"authority": HOSTS[name]}}
            mock.reply(**at, status=429, headers=[JSON], body=FULL, times="always")
        made = sdk.chat.completions.create(model="gpt-4o", messages=BODY["messages"])
        assert made.choices[0].message.content
        with sdk.chat.completions.create(
            model="gpt-4o", messages=BODY["messages"], stream=True
        ) as stream:
            text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        assert text == made.choices[0].message.content or text
    assert asked(mock)[-1] == list(BACKENDS)[failures]


def test_the_last_error_is_the_clients_in_openais_shape(gateway, mock):
    mock.reply(status=500, headers=[PLAIN], body="first", times=3)
    mock.reply(status=503, headers=[PLAIN, ("x-of-the-last", "1")], body="the last one")
    reply = gateway.post(f"/last{CHAT}", BODY)
    assert_openai_error(reply, 503, "server_error", says="the last one")
    assert reply.header("x-of-the-last") == "1"
    assert asked(mock) == list(BACKENDS)


OVERLOADED = '{"type":"error","error":{"type":"overloaded_error","message":"no room here"}}'


@pytest.mark.parametrize("stream", [False, True])
def test_the_last_providers_error_is_the_clients_if_the_last_attempt_gets_no_reply(gateway, mock, stream):
    mock.reply(**at("openai"), status=500, headers=[PLAIN], body="first")
    # Two seconds: the pool does not send the next one there.
    limit = [JSON, ("retry-after", "2"), ("x-of-the-last", "1"), ("openai-organization", "hidden")]
    mock.reply(**at("anthropic"), status=529, headers=limit, body=OVERLOADED)
    path = "limited-then-refused" if not stream else "silent-last"
    if stream:
        mock.reply(**at("azure"), hang_before_headers=True)
    reply = gateway.post(f"/{path}{CHAT}", {**BODY, "stream": stream})
    # With the status that an overloaded Anthropic has in OpenAI's API.
    assert_openai_error(reply, 503, "server_error", says="no room here")
    assert reply.header("retry-after") == "2"
    assert reply.header("x-of-the-last") == "1"
    assert reply.header("openai-organization") is None
    assert reply.header("content-type") == "application/json"
    assert int(reply.header("content-length")) == len(reply.body)
    assert asked(mock)[:2] == ["openai", "anthropic"]


def test_a_long_error_is_shortened_if_the_last_attempt_gets_no_reply(gateway, mock):
    body = '{"error":{"message":"%s","type":"t","param":null,"code":"c"}}' % ("too long " * 5_000)
    mock.reply(**at("openai"), status=500, headers=[PLAIN], body="first")
    mock.reply(**at("anthropic"), status=500, headers=[JSON], body=body)
    reply = gateway.post(f"/long-then-refused{CHAT}", BODY)
    assert_openai_error(reply, 500, says="too long too long")
    assert len(reply.body) < 4 << 10


def test_an_error_without_a_body_is_the_clients_if_the_last_attempt_gets_no_reply(gateway, mock):
    mock.reply(status=500, times=2)
    reply = gateway.post(f"/bare-then-refused{CHAT}", BODY)
    assert_openai_error(reply, 500, "server_error", says="status 500 and no message")


def test_a_deadline_is_a_504_whatever_the_providers_have_sent(gateway, mock):
    mock.reply(**at("openai"), status=500, headers=[PLAIN], body="first")
    mock.reply(**at("anthropic"), status=500, headers=[JSON], body=OVERLOADED)
    mock.reply(**at("azure"), hang_before_headers=True)
    reply = gateway.post(f"/hurry{CHAT}", BODY)
    assert_openai_error(reply, 504, "server_error", says="deadline")


def at(name: str) -> dict:
    return {"for": {"authority": HOSTS[name]}}


def test_what_the_client_did_wrong_is_not_tried_elsewhere(gateway, mock):
    mock.reply(status=400, headers=[JSON], body=FULL)
    assert gateway.post(f"/fall{CHAT}", BODY).status == 400
    assert asked(mock) == ["openai"]


@pytest.mark.parametrize("status", [401, 402, 404, 529])
def test_further_codes_can_be_named(gateway, mock, status):
    mock.reply(status=status, headers=[JSON], body=FULL)
    assert gateway.post(f"/codes{CHAT}", BODY).status == 200
    assert len(mock.requests()) == 2


def test_codes_that_are_not_named_are_final(gateway, mock):
    mock.reply(status=503, headers=[JSON], body=FULL)
    assert gateway.post(f"/codes{CHAT}", BODY).status == 503
    assert len(mock.requests()) == 1


def test_a_pause_is_kept_to_and_all_pauses_are_told(gateway, mock):
    mock.reply(status=429, headers=[JSON, ("retry-after", "50")], body=FULL)
    assert gateway.post(f"/paused{CHAT}", BODY).status == 200
    assert asked(mock) == ["openai", "anthropic"]
    mock.forget()
    for _ in range(6):
        assert gateway.post(f"/paused{CHAT}", BODY).status == 200
    assert asked(mock) == ["anthropic"] * 6
    mock.reply(status=429, headers=[JSON, ("retry-after", "40")], body=FULL)
    assert gateway.post(f"/paused{CHAT}", BODY).status == 429
    mock.forget()
    reply = gateway.post(f"/paused{CHAT}", BODY)
    error = assert_openai_error(reply, 429, "rate_limit_error", says="asks for a pause")
    assert 1 <= int(reply.header("retry-after")) <= 40, error
    assert mock.none_came()


def test_a_stream_that_has_begun_is_not_begun_again(gateway, mock):
    """It ends without `[DONE]`: nobody could take it for whole."""
    first = 'data: {"id":"c","object":"chat.completion.chunk","choices":[]}\n\n'
    chunks = [{"data": first}, {"data": "data: {", "wait_for": "more"}]
    mock.reply(headers=[EVENTS], chunks=chunks, end="reset")
    body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}],"stream":true}'
    with Exchange(gateway.port) as exchange:
        length = ("content-length", str(len(body)))
        exchange.head("POST", f"/middle{CHAT}", [("host", "gateway.test"), JSON, length])
        exchange.send(body)
        assert exchange.begin()[0] == 200
        exchange.until(first.encode())
        # Longer than the time for the first byte.
        time.sleep(1.5)
        mock.open("more")
        with contextlib.suppress(OSError, Exception):
            assert b"[DONE]" not in exchange.rest()
    assert asked(mock) == ["openai"]


def test_a_client_that_goes_away_says_nothing_about_the_provider(gateway, mock):
    """Who fails three times in a row rests; here nobody has failed."""
    body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}'
    for _ in range(4):
        mock.forget()
        mock.reply(hang_before_headers=True)
        with Exchange(gateway.port) as exchange:
            length = ("content-length", str(len(body)))
            exchange.head("POST", f"/left{CHAT}", [("host", "gateway.test"), JSON, length])
            exchange.send(body)
            mock.when(lambda it: it.body_complete)
        mock.when(lambda it: it.disconnected)
    mock.forget()
    assert gateway.post(f"/left{CHAT}", BODY).status == 200
    assert asked(mock) == ["openai"]


def test_without_fallback_the_first_error_is_the_clients(gateway, mock):
    mock.reply(status=503, headers=[JSON], body=FULL, times="always")
    for _ in range(4):
        mock.forget()
        assert gateway.post(f"/alone{CHAT}", BODY).status == 503
        assert len(mock.requests()) == 1


def test_who_does_not_serve_the_model_is_left_out(gateway, mock):
    for _ in range(4):
        assert gateway.post(f"/models{CHAT}", {**BODY, "model": "strict-2"}).status == 200
    assert {it.authority for it in mock.requests()} == {"strict.example"}
    mock.forget()
    for _ in range(4):
        assert gateway.post(f"/models{CHAT}", {**BODY, "model": "strict-1"}).status == 200
    assert {it.authority for it in mock.requests()} == {"strict.example", "also.example"}
    mock.forget()
    reply = gateway.post(f"/models{CHAT}", {**BODY, "model": "nobodys"})
    assert_openai_error(reply, 404, "invalid_request_error", param="model", code="model_not_found")
    reply = gateway.post(f"/models{CHAT}", {"messages": BODY["messages"]})
    assert_openai_error(reply, 400, "invalid_request_error", param="model")
    assert mock.none_came()


def test_a_member_with_a_default_model_takes_what_others_do_not(gateway, mock):
    assert gateway.post(f"/some{CHAT}", {**BODY, "model": "unknown"}).status == 200
    assert asked(mock) == ["openai"]
    assert mock.only().json()["model"] == "gpt-4o"
    mock.forget()
    large = {**BODY, "messages": [{"role": "user", "content": "x" * 300_000}], "model": "strict-7"}
    large.pop("model")
    large["model"] = "strict-7"
    assert gateway.post(f"/some{CHAT}", large).status == 200
    assert mock.only().authority == "strict.example"
    assert mock.only().json() == large


def test_embeddings_go_to_those_who_have_them(gateway, mock):
    at = {"for": {"authority": HOSTS["openai"]}}
    mock.reply(**at, status=503, headers=[JSON], body=FULL)
    body = {"model": "text-embedding-3-small", "input": ["a"]}
    reply = gateway.post("/fall/v1/embeddings", body)
    assert reply.status == 200, reply.body
    assert asked(mock) == ["openai", "gemini"]


def test_a_client_cannot_choose_a_cluster_or_a_number_of_attempts(gateway, mock):
    mock.reply(status=503, headers=[JSON], body=FULL, times="always")
    headers = [
        ("x-llm-proxy-cluster", "azure"),
        ("x-llm-proxy-route", "azure"),
        ("x-envoy-max-retries", "0"),
        ("x-envoy-retry-on", "5xx"),
        ("x-envoy-upstream-rq-per-try-timeout-ms", "1"),
    ]
    assert gateway.post(f"/headers{CHAT}", BODY, headers).status == 503
    assert asked(mock) == list(BACKENDS)
    for arrived, name in itertools.product(mock.requests(), dict(headers)):
        assert arrived.all(name) == []
