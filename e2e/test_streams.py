"""Streams pass as they come. Gates at the provider prove it without measuring time: a piece is sent
only when the test opens its gate, and the test opens it only when it has read the one before."""

import base64
import json

import httpx2
import pytest

from harness.client import Exchange
from harness.process import until

CHAT = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
EVENTS = ("content-type", "text/event-stream; charset=utf-8")


def begin(gateway, backend="plain", body=CHAT):
    exchange = Exchange(gateway.port)
    data = json.dumps(body).encode()
    headers = [("host", "g"), ("content-type", "application/json")]
    exchange.head(
        "POST", f"/{backend}/v1/chat/completions", [*headers, ("content-length", str(len(data)))]
    )
    exchange.send(data)
    return exchange


def event(text: str) -> str:
    delta = {"choices": [{"index": 0, "delta": {"content": text}}]}
    return f"data: {json.dumps(delta, ensure_ascii=False)}\n\n"


@pytest.mark.parametrize("backend", ["plain", "forced", "members"])
def test_a_chunk_arrives_before_the_next_was_sent(gateway, mock, backend):
    texts = [event(f"word {number}") for number in range(8)] + ["data: [DONE]\n\n"]
    chunks = [{"data": text, "wait_for": f"g{at}"} for at, text in enumerate(texts)]
    mock.reply(headers=[EVENTS], chunks=chunks)
    with begin(gateway, backend) as exchange:
        # The head does not wait for the first event.
        assert exchange.begin()[0] == 200
        assert dict(exchange.headers)["content-type"] == EVENTS[1]
        for at, text in enumerate(texts):
            mock.open(f"g{at}")
            assert exchange.until(text.encode()) == text.encode()
        assert exchange.rest() == b""


def test_a_piece_of_an_event_does_not_wait_for_its_end(gateway, mock):
    """Inside a name, a character, a line end: whatever the provider sends is passed on."""
    pieces = ["da", "ta: {\"a\"", ":\"", "é".encode()[:1], "é".encode()[1:], "\"}\r", "\n", "\r\n", ": ping"]
    pieces = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
    chunks = [
        {"base64": base64.b64encode(piece).decode(), "wait_for": f"g{at}"}
        for at, piece in enumerate(pieces)
    ]
    mock.reply(headers=[EVENTS], chunks=chunks)
    with begin(gateway) as exchange:
        exchange.begin()
        for at, piece in enumerate(pieces):
            mock.open(f"g{at}")
            assert exchange.until(piece[-1:]) == piece
        assert exchange.rest() == b""


def test_the_bytes_of_a_stream_are_the_providers(gateway, mock):
    parts = [
        ": OPENROUTER PROCESSING\n\n",
        "\n",
        "event: message\nid: 7\nretry: 10\ndata:{\"no\":\"space\"}\n\n",
        "data: {\"two\":\ndata: \"lines\"}\n\n",
        event("Grüße 👋 \u2028"),
        "data: {\"n\":12345678901234567890,\"f\":1.0}\r\n\r\n",
        ": keep-alive\r\r",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"total_tokens\":9}}\n\n",
        "data: {\"error\":{\"message\":\"late\",\"code\":502}}\n\n",
        "data: " + "x" * 300_000 + "\n\n",
        "data: [DONE]\n\n",
    ]
    whole = "".join(parts).encode()
    mock.reply(headers=[EVENTS], chunks=[{"data": part} for part in parts])
    with begin(gateway, "forced") as exchange:
        assert exchange.reply().body == whole


@pytest.mark.parametrize("asked", [None, {"include_usage": True}, {"include_usage": False}])
def test_usage_comes_if_the_client_asked_for_it(gateway, mock, asked):
    body = CHAT if asked is None else {**CHAT, "stream_options": asked}
    with begin(gateway, "forced", body) as exchange:
        reply = exchange.reply()
    assert mock.only().json().get("stream_options") == asked
    events = [line[6:] for line in reply.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    usages = [json.loads(data).get("usage") for data in events[:-1]]
    assert any(usages) == bool(asked and asked["include_usage"])


def test_a_client_that_goes_away_ends_the_providers_work(gateway, mock):
    mock.reply(headers=[EVENTS], chunks=[{"data": event("one")}], end="hang")
    with begin(gateway) as exchange:
        exchange.begin()
        exchange.until(event("one").encode())
        assert not mock.only().ended
    gone = mock.when(lambda request: request.ended)
    assert gone.disconnected


def test_a_client_that_goes_away_before_the_reply_ends_the_providers_work(gateway, mock):
    mock.reply(hang_before_headers=True)
    with begin(gateway) as exchange:
        mock.when(lambda request: request.body_complete)
        assert exchange is not None
    assert mock.when(lambda request: request.ended).disconnected


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_stream_that_breaks_is_not_made_whole(gateway, mock, end):
    mock.reply(headers=[EVENTS], chunks=[{"data": event("one")}], end=end)
    received = b""
    with begin(gateway) as exchange:
        exchange.begin()
        with pytest.raises(Exception, match="IncompleteRead|reset|closed"):
            while piece := exchange.some():
                received += piece
            exchange.rest()
            raise ConnectionError("closed") if b"[DONE]" not in received else AssertionError
    assert received.startswith(event("one").encode()) or received == b""
    assert b"[DONE]" not in received


def test_streams_at_once_do_not_mix(gateway, mock):
    exchanges = []
    for number in range(6):
        chunks = [{"data": event(f"s{number} c{at}"), "wait_for": f"{number}.{at}"} for at in range(3)]
        mock.reply(headers=[EVENTS], chunks=chunks)
        exchange = begin(gateway, ("plain", "forced", "filled")[number % 3])
        until(lambda: [it.body_complete for it in mock.requests()] == [True] * (number + 1))
        exchanges.append(exchange)
    for exchange in exchanges:
        exchange.begin()
    for at in range(3):
        for number in reversed(range(6)):
            mock.open(f"{number}.{at}")
            text = event(f"s{number} c{at}").encode()
            assert exchanges[number].until(text) == text
    for exchange in exchanges:
        assert exchange.rest() == b""
        exchange.close()


def test_a_stream_over_http_2_to_the_client(gateway, mock):
    texts = [event(f"word {number}") for number in range(4)]
    chunks = [{"data": text, "wait_for": f"g{at}"} for at, text in enumerate(texts)]
    mock.reply(headers=[EVENTS], chunks=chunks)
    with httpx2.Client(http1=False, http2=True, timeout=120) as client:
        with client.stream("POST", gateway.url("/forced/v1/chat/completions"), json=CHAT) as reply:
            assert (reply.status_code, reply.http_version) == (200, "HTTP/2")
            received, bodies = b"", reply.iter_raw()
            for at, text in enumerate(texts):
                mock.open(f"g{at}")
                while not received.endswith(text.encode()):
                    received += next(bodies)
    assert mock.only().json()["model"] == "grok-2-latest"


def test_a_stream_of_responses_passes(gateway, mock):
    body = {"model": "m", "input": "Hi", "stream": True}
    reply = gateway.post("/plain/v1/responses", body)
    assert reply.text.startswith("event: response.created\ndata: {")
    assert "event: response.completed\n" in reply.text


def test_the_providers_comments_pass(gateway, mock):
    mock.profile("plain.example", like="openrouter.ai", base="/v1")
    reply = gateway.post("/plain/v1/chat/completions", CHAT)
    assert ": OPENROUTER PROCESSING" in reply.text
