"""`maxRetries`: further attempts on the same backend, each as if it were the first."""

import json

import pytest

from harness import gateways
from harness.shapes import assert_openai_error

BODY = b'{"messages":[{"role":"user","content":"Hi"}], "model": "gpt-4o", "seed":12345678901234567890}'
PATH = "/retried/v1/chat/completions?a=1"
FULL = '{"error":{"message":"busy","type":"t","param":null,"code":null}}'
JSON = ("content-type", "application/json")


@pytest.fixture(scope="module")
def gateway(start, provider):
    config = {
        "apiKey": "${PLAIN_KEY}",
        "modelAliases": {"gpt-4o": "exact-model"},
        "auth": {"query": {"code": "${QUERY_KEY}"}},
        "timeout": "1s",
    }
    backends = [
        {"name": name, "type": "openai-compatible", "config": gateways.at(provider, name, it)}
        for name, it in {
            "retried": {**config, "maxRetries": 1},
            "often": {**config, "maxRetries": 3},
            "never": config,
            "clients": {"maxRetries": 1},
        }.items()
    ]
    routes = [{"path": f"/{backend['name']}", "backend": backend["name"]} for backend in backends]
    return start({"backends": backends, "routes": routes})


def assert_same(attempts, number: int):
    """So many attempts came, and nothing that the provider sees tells them apart."""
    assert len(attempts) == number, [(it.id, it.refused) for it in attempts]
    first = attempts[0]
    for other in attempts[1:]:
        assert (other.method, other.authority, other.path) == (first.method, first.authority, first.path)
        assert sorted(headers(other)) == sorted(headers(first))
        assert other.body == first.body


def headers(attempt) -> list[tuple[str, str]]:
    """Its headers; a long body may go out before its length is known, or not."""
    assert attempt.all("content-length") in ([], [str(len(attempt.body))])
    return [header for header in attempt.headers if header[0] != "content-length"]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 529])
def test_a_second_attempt_is_the_first_again(gateway, mock, status):
    mock.reply(status=status, body=FULL, headers=[JSON])
    reply = gateway.post(PATH, BODY)
    assert reply.status == 200, reply.body
    attempts = mock.requests()
    assert_same(attempts, 2)
    assert attempts[1].path == "/v1/chat/completions?a=1&code=query+key%26c2%3D9"
    assert attempts[1].body == BODY.replace(b'"gpt-4o"', b'"exact-model"')
    assert attempts[1].all("authorization") == [f"Bearer {gateways.ENVIRONMENT['PLAIN_KEY']}"]


def test_a_429_with_retry_after_is_tried_again_too(gateway, mock):
    mock.reply(status=429, headers=[JSON, ("retry-after", "0")], body=FULL)
    assert gateway.post(PATH, BODY).status == 200
    assert len(mock.requests()) == 2


@pytest.mark.parametrize("how", [{"reset_before_headers": True}, {"hang_before_headers": True}])
def test_an_attempt_without_an_answer_is_made_again(gateway, mock, how):
    mock.reply(**how)
    reply = gateway.post(PATH, BODY)
    assert reply.status == 200, reply.body
    attempts = [it for it in mock.requests() if it.body_complete]
    assert_same(attempts, 2)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_is_the_clients_fault_is_not_tried_again(gateway, mock, status):
    mock.reply(status=status, body=FULL, headers=[JSON])
    assert gateway.post(PATH, BODY).status == status
    assert len(mock.requests()) == 1


def test_the_last_attempts_error_is_the_clients(gateway, mock):
    mock.reply(status=503, headers=[("content-type", "text/plain")], body="first")
    mock.reply(status=429, headers=[("content-type", "text/plain"), ("retry-after", "9")], body="second")
    reply = gateway.post(PATH, BODY)
    assert_openai_error(reply, 429, "rate_limit_error", says="second")
    assert reply.header("retry-after") == "9"
    assert len(mock.requests()) == 2


def test_an_empty_error_is_tried_again_and_shaped_in_the_end(gateway, mock):
    mock.reply(status=503)
    assert gateway.post(PATH, BODY).status == 200
    mock.reply(status=503, times=2)
    assert_openai_error(gateway.post(PATH, BODY), 503, "server_error")


def test_there_are_as_many_attempts_as_configured(gateway, mock):
    mock.reply(status=503, body=FULL, headers=[JSON], times=3)
    assert gateway.post("/often/v1/chat/completions", BODY).status == 200
    assert_same(mock.requests(), 4)


def test_without_max_retries_there_is_one_attempt(gateway, mock):
    for status in (429, 503):
        mock.forget()
        mock.reply(status=status, body=FULL, headers=[JSON])
        assert gateway.post("/never/v1/chat/completions", BODY).status == status
        assert len(mock.requests()) == 1


def test_every_attempt_carries_the_clients_key_where_none_is_configured(gateway, mock):
    mock.reply(status=503, body=FULL, headers=[JSON])
    headers = [("authorization", "Bearer sk-client"), ("x-api-key", "c"), ("cookie", "c=1")]
    assert gateway.post("/clients/v1/chat/completions", BODY, headers).status == 200
    attempts = mock.requests()
    assert [it.all("authorization") for it in attempts] == [["Bearer sk-client"]] * 2
    assert_same(attempts, 2)


def test_a_stream_is_tried_again_before_it_starts(gateway, mock):
    mock.reply(status=503, body=FULL, headers=[JSON])
    body = json.dumps({**json.loads(BODY), "stream": True})
    reply = gateway.post(PATH, body)
    assert reply.text.endswith("data: [DONE]\n\n")
    assert len(mock.requests()) == 2


def test_a_body_of_5_mb_can_be_sent_again(gateway, mock):
    body = BODY.replace(b'"Hi"', b'"' + b"x" * 5_000_000 + b'"')
    mock.reply(status=503, body=FULL, headers=[JSON])
    reply = gateway.post(PATH, body)
    assert reply.status == 200, reply.body
    attempts = mock.requests()
    assert_same(attempts, 2)
    assert attempts[1].body == body.replace(b'"gpt-4o"', b'"exact-model"')


def test_a_refusal_of_ours_is_final(gateway, mock):
    reply = gateway.post(PATH, b"{}")
    assert_openai_error(reply, 400, "invalid_request_error", param="model")
    assert mock.none_came()


def test_a_form_is_sent_again(gateway, mock):
    body = b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nb\r\n' + (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n\x00\xff\r\n--x--\r\n'
    )
    mock.reply(status=503, body=FULL, headers=[JSON])
    reply = gateway.post("/retried/v1/files", body, [("content-type", "multipart/form-data; boundary=x")])
    assert reply.status == 200, reply.body
    assert [it.body for it in mock.requests()] == [body, body]
