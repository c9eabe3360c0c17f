"""How large a body may be, and what says so when it is larger."""

import base64
import hashlib
import json

import pytest

from harness import bootstrap, gateways
from harness.client import Exchange
from harness.shapes import assert_openai_error

MIB = 1 << 20


def with_image(size: int, model: str = "m") -> bytes:
    """A chat request with a data URI, `size` bytes long."""
    head = '{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,'
    tail = '"}}]}],"max_tokens":5,"model":"%s"}' % model
    return (head + image(size - len(head) - len(tail)) + tail).encode()


def image(length: int) -> str:
    block = base64.b64encode(hashlib.sha512(b"e2e").digest() * 3).decode()
    return (block * (length // len(block) + 1))[:length]


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.fixture(scope="module", params=bootstrap.PLACEMENTS)
def small(start, provider, request):
    """A gateway that takes a MiB and not a byte more."""
    gateway = gateways.shared(provider)
    return start({"maxRequestBytes": "1MiB", **gateway}, request.param, name="small")


@pytest.mark.parametrize("backend", ["plain", "forced", "aliased"])
def test_a_body_of_20_mib_arrives_whole(gateway, mock, backend):
    body = with_image(20 * MIB, "gpt-4o")
    reply = gateway.post(f"/{backend}/v1/chat/completions", body)
    assert reply.status == 200, reply.body[:300]
    model = {"plain": b"gpt-4o", "forced": b"grok-2-latest", "aliased": b"exact-model"}[backend]
    expected = body.replace(b'"gpt-4o"', b'"%b"' % model)
    arrived = mock.only()
    assert digest(arrived.body) == digest(expected)
    assert arrived.all("content-length") in ([], [str(len(expected))])


def test_a_body_of_20_mib_in_chunks_arrives_whole(gateway, mock):
    body = with_image(20 * MIB, "gpt-4o")
    chunks = [body[at : at + 100_003] for at in range(0, len(body), 100_003)]
    reply = gateway.post("/aliased/v1/chat/completions", chunks=chunks)
    assert reply.status == 200, reply.body[:300]
    assert digest(mock.only().body) == digest(body.replace(b'"gpt-4o"', b'"exact-model"'))


def test_a_form_of_20_mib_arrives_whole(gateway, mock):
    content = bytes(range(256)) * (20 * MIB // 256)
    body = b"".join(
        [
            b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n',
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n',
            content,
            b"\r\n--x--\r\n",
        ]
    )
    reply = gateway.post("/plain/v1/files", body, [("content-type", "multipart/form-data; boundary=x")])
    assert reply.status == 200, reply.body[:300]
    assert digest(mock.only().body) == digest(body)


def test_a_reply_of_20_mib_comes_back_whole(gateway, mock):
    text = json.dumps({"data": image(20 * MIB)})
    mock.reply(body=text, headers=[("content-type", "application/json")])
    reply = gateway.post("/plain/v1/embeddings", {"model": "m", "input": "x"})
    assert (reply.status, digest(reply.body)) == (200, digest(text.encode()))


def test_a_body_over_the_default_of_32_mib_is_a_413(gateway, mock):
    reply = gateway.post("/plain/v1/chat/completions", with_image(33 * MIB))
    assert_openai_error(reply, 413, "invalid_request_error", param=None)
    assert not any(request.body_complete for request in mock.requests())


@pytest.mark.parametrize("coding", ["content-length", "chunked"])
def test_a_body_over_the_limit_is_a_413_that_says_the_limit(small, mock, coding):
    body = with_image(MIB + 1)
    how = {"body": body} if coding == "content-length" else {"chunks": [body[:MIB], body[MIB:]]}
    reply = small.post("/plain/v1/chat/completions", **how)
    error = assert_openai_error(reply, 413, "invalid_request_error", param=None)
    assert "1048576" in error["message"] or "1 MiB" in error["message"] or "1MiB" in error["message"]
    assert not any(request.body_complete for request in mock.requests())
    assert small.post("/plain/v1/chat/completions", with_image(100)).status == 200


@pytest.mark.parametrize("coding", ["content-length", "chunked"])
def test_a_body_of_exactly_the_limit_passes(small, mock, coding):
    body = with_image(MIB)
    how = {"body": body} if coding == "content-length" else {"chunks": [body[:1000], body[1000:]]}
    reply = small.post("/plain/v1/chat/completions", **how)
    assert reply.status == 200, reply.body[:300]
    assert digest(mock.only().body) == digest(body)


def test_a_body_far_over_the_limit_is_a_413(small, mock):
    reply = small.post("/plain/v1/chat/completions", with_image(12 * MIB))
    assert_openai_error(reply, 413, "invalid_request_error")


def test_the_limit_is_that_of_forms_too(small, mock):
    body = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x" * MIB + b"\r\n--x--\r\n"
    headers = [("content-type", "multipart/form-data; boundary=x")]
    reply = small.post("/plain/v1/files", body, headers)
    assert_openai_error(reply, 413, "invalid_request_error")


def test_a_limit_is_said_before_the_body_is_sent(small, mock):
    """With a content-length, a client need not send what will not be read."""
    with Exchange(small.port) as exchange:
        headers = [("host", "g"), ("content-type", "application/json")]
        exchange.head(
            "POST", "/plain/v1/chat/completions", [*headers, ("content-length", str(2 * MIB))]
        )
        assert_openai_error(exchange.reply(), 413, "invalid_request_error")
    assert not any(request.body_complete for request in mock.requests())
