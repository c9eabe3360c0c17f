"""Every error arrives as `{"error": {"message", "type", "param", "code"}}`: ours, Envoy's, a
provider's."""

import http.client
import json
import socket

import pytest

from harness import bootstrap, gateways
from harness.client import Exchange
from harness.shapes import assert_openai_error

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
PATH = "/plain/v1/chat/completions"
MESSAGES = b'"messages":[{"role":"user","content":"Hi"}]'


def assert_still_works(gateway, mock, backend="plain"):
    """The request after a bad one."""
    reply = gateway.post(f"/{backend}/v1/chat/completions", CHAT)
    assert reply.status == 200, reply.body


def assert_nothing_complete_arrived(mock):
    """Held headers: nothing is sent at all. Headers first: it is never finished."""
    for request in mock.requests():
        assert not request.body_complete, request


# === ours ===

NOT_JSON = {
    "empty": b"",
    "white space": b" \n ",
    "text": b"Hello",
    "cut in an object": b'{"model":"m",%b' % MESSAGES,
    "cut in a string": b'{"model":"m","messages":[{"role":"user","content":"H',
    "cut in a literal": b'{"model":"m","stream":tru',
    "trailing comma": b'{"model":"m",%b,}' % MESSAGES,
    "no comma": b'{"model":"m" %b}' % MESSAGES,
    "no colon": b'{"model" "m",%b}' % MESSAGES,
    "single quotes": b"{'model':'m'}",
    "bare key": b'{model:"m",%b}' % MESSAGES,
    "more behind it": b'{"model":"m",%b} x' % MESSAGES,
    "two objects": b'{"model":"m",%b}{"model":"n"}' % MESSAGES,
    "wrong bracket": b'{"model":"m","messages":[}',
    "NaN": b'{"model":"m","temperature":NaN,%b}' % MESSAGES,
    "leading zero": b'{"model":"m","n":01,%b}' % MESSAGES,
    "plus": b'{"model":"m","n":+1,%b}' % MESSAGES,
    "control character": b'{"model":"m","messages":[{"role":"user","content":"a\nb"}]}',
    "unknown escape": b'{"model":"m","messages":[{"role":"user","content":"\\x41"}]}',
    "short escape": b'{"model":"m","messages":[{"role":"user","content":"\\u12"}]}',
    "comment": b'{"model":"m",/* x */%b}' % MESSAGES,
}

NOT_AN_OBJECT = {
    "list": b'[{"model":"m"}]',
    "string": b'"model"',
    "number": b"42",
    "null": b"null",
    "true": b" true ",
    "long string": b'"' + b"x" * 10_000_000 + b'"',
}

NOT_UTF8 = {
    "stray byte": b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}',
    "cut character": b'{"model":"m","messages":[{"role":"user","content":"\xc3"}]}',
    "overlong": b'{"model":"m","messages":[{"role":"user","content":"\xc0\xaf"}]}',
    "surrogate": b'{"model":"m","messages":[{"role":"user","content":"\xed\xa0\x80"}]}',
    "in a key": b'{"model":"m","\xfe":1,%b}' % MESSAGES,
    "in the model": b'{"model":"\xff",%b}' % MESSAGES,
    "utf-16": '{"model":"m"}'.encode("utf-16"),
}

NO_MODEL = {
    "absent": b"{%b}" % MESSAGES,
    "null": b'{"model":null,%b}' % MESSAGES,
    "empty": b'{"model":"",%b}' % MESSAGES,
    "blank": b'{"model":" \\t",%b}' % MESSAGES,
    "empty object": b"{}",
    "elsewhere": b'{"metadata":{"model":"m"},%b}' % MESSAGES,
}

NOT_A_STRING = {
    "number": b'{"model":4,%b}' % MESSAGES,
    "list": b'{"model":["m"],%b}' % MESSAGES,
    "object": b'{"model":{"name":"m"},%b}' % MESSAGES,
    "true": b'{%b,"model":true}' % MESSAGES,
}

TWICE = {
    "same": b'{"model":"m","model":"m",%b}' % MESSAGES,
    "far apart": b'{"model":"m",%b,"model":"n"}' % MESSAGES,
    "escaped": b'{"model":"m","mod\\u0065l":"n",%b}' % MESSAGES,
    "escaped first": b'{"\\u006dodel":"m",%b,"model":"n"}' % MESSAGES,
    "null first": b'{"model":null,"model":"n",%b}' % MESSAGES,
}


@pytest.mark.parametrize("backend", ["plain", "forced"])
@pytest.mark.parametrize("case", NOT_JSON)
def test_a_body_that_is_not_json_is_refused(gateway, mock, case, backend):
    reply = gateway.post(f"/{backend}/v1/chat/completions", NOT_JSON[case])
    error = assert_openai_error(reply, 400, "invalid_request_error", param=None)
    assert "json" in f"{error['message']} {error['code']}".lower()
    assert_nothing_complete_arrived(mock)
    assert_still_works(gateway, mock, backend)


@pytest.mark.parametrize("case", NOT_AN_OBJECT)
def test_a_body_that_is_not_an_object_is_refused(gateway, mock, case):
    reply = gateway.post(PATH, NOT_AN_OBJECT[case])
    assert_openai_error(reply, 400, "invalid_request_error", param=None, says="object")
    assert_nothing_complete_arrived(mock)
    assert_still_works(gateway, mock)


@pytest.mark.parametrize("case", NOT_UTF8)
def test_a_body_that_is_not_utf_8_is_refused(gateway, mock, case):
    reply = gateway.post(PATH, NOT_UTF8[case])
    assert_openai_error(reply, 400, "invalid_request_error")
    assert_nothing_complete_arrived(mock)
    assert_still_works(gateway, mock)


@pytest.mark.parametrize("case", NO_MODEL)
def test_a_body_without_a_model_is_refused_where_there_is_no_default(gateway, mock, case):
    reply = gateway.post(PATH, NO_MODEL[case])
    assert_openai_error(reply, 400, "invalid_request_error", param="model", says="model")
    assert_nothing_complete_arrived(mock)
    assert_still_works(gateway, mock)


@pytest.mark.parametrize("backend", ["plain", "filled", "aliased"])
@pytest.mark.parametrize("case", NOT_A_STRING)
def test_a_model_that_is_not_a_string_is_refused(gateway, mock, case, backend):
    reply = gateway.post(f"/{backend}/v1/chat/completions", NOT_A_STRING[case])
    assert_openai_error(reply, 400, "invalid_request_error", param="model", says="string")
    assert_nothing_complete_arrived(mock)
    assert_still_works(gateway, mock, backend)


@pytest.mark.parametrize("backend", ["plain", "forced", "aliased"])
@pytest.mark.parametrize("case", TWICE)
def test_two_models_are_refused(gateway, mock, case, backend):
    reply = gateway.post(f"/{backend}/v1/chat/completions", TWICE[case])
    assert_openai_error(reply, 400, "invalid_request_error", param="model", says="model")
    assert_nothing_complete_arrived(mock)
    assert_still_works(gateway, mock, backend)


def test_stream_twice_is_refused(gateway, mock):
    reply = gateway.post(PATH, b'{"model":"m","stream":false,"stre\\u0061m":true,%b}' % MESSAGES)
    assert_openai_error(reply, 400, "invalid_request_error", param="stream", says="stream")
    assert_nothing_complete_arrived(mock)


@pytest.mark.parametrize("case", ["empty", "cut in a string", "more behind it"])
def test_what_is_refused_whole_is_refused_in_chunks(gateway, mock, case):
    body = NOT_JSON[case]
    chunks = [body[at : at + 1] for at in range(len(body))]
    reply = gateway.post(PATH, chunks=chunks, pause=0.001)
    assert_openai_error(reply, 400, "invalid_request_error", param=None)
    assert_nothing_complete_arrived(mock)
    assert_still_works(gateway, mock)


def test_a_body_nested_100_000_deep_hurts_nobody(gateway, mock):
    depth = 100_000
    for deep in (
        b"[" * depth + b"]" * depth,
        b'{"a":' * depth + b"1" + b"}" * depth,
        b"[" * depth,
    ):
        reply = gateway.post(PATH, b'{"model":"m","messages":%b}' % deep)
        assert_openai_error(reply, 400)
        assert_still_works(gateway, mock)


def test_a_string_of_10_megabytes_passes(gateway, mock):
    message = {"role": "user", "content": "é" * 5_000_000}
    body = json.dumps({"model": "m", "messages": [message]}, ensure_ascii=False)
    reply = gateway.post("/forced/v1/chat/completions", body)
    assert reply.status == 200, reply.body
    assert mock.only().body == body.replace('"m"', '"grok-2-latest"', 1).encode()


def test_a_model_of_10_megabytes_hurts_nobody(gateway, mock):
    body = b'{"model":"%b",%b}' % (b"m" * 10_000_000, MESSAGES)
    for backend in ("plain", "serving"):
        reply = gateway.post(f"/{backend}/v1/chat/completions", body)
        assert reply.status < 500, reply.body[:200]
        if reply.status >= 400:
            assert_openai_error(reply, reply.status)
            assert len(reply.body) < 10_000
    mock.forget()
    # What replaces it does not depend on its length.
    assert gateway.post("/forced/v1/chat/completions", body).status == 200
    assert mock.only().json()["model"] == "grok-2-latest"


@pytest.mark.parametrize("path", ["/", "/nowhere", "/nowhere/v1/chat/completions", "/plain2/x"])
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_an_unknown_path_is_a_404(gateway, mock, method, path):
    reply = gateway.request(method, path, CHAT if method == "POST" else None)
    assert_openai_error(reply, 404, "invalid_request_error", param=None)
    assert mock.none_came()


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH"])
def test_a_wrong_method_is_a_405_that_says_the_right_ones(gateway, mock, method):
    reply = gateway.request(method, "/only-post/v1/chat/completions")
    assert_openai_error(reply, 405, "invalid_request_error", param=None)
    assert {name.strip() for name in reply.header("allow").split(",")} == {"GET", "POST"}
    assert mock.none_came()


def test_an_error_to_head_has_no_body(gateway, mock):
    reply = gateway.request("HEAD", "/nowhere/v1/models")
    assert (reply.status, reply.body) == (404, b"")


# === a provider's ===

RATE_LIMITS = [
    ("retry-after", "17"),
    ("retry-after-ms", "17000"),
    ("x-ratelimit-limit-requests", "60"),
    ("x-ratelimit-remaining-tokens", "0"),
    ("x-ratelimit-reset-tokens", "6m0s"),
    ("x-request-id", "req_abc"),
]

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    409: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    502: "server_error",
    503: "server_error",
    529: "server_error",
}

NOT_OPENAIS = {
    "plain text": (500, "text/plain", "upstream request timeout", "upstream request timeout"),
    "html": (
        502,
        "text/html",
        "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1>"
        "</center></body></html>",
        "502 Bad Gateway",
    ),
    "detail": (401, "application/json", '{"detail":"Unauthorized"}', "Unauthorized"),
    "details": (
        422,
        "application/json",
        '{"detail":[{"type":"missing","loc":["body","messages"],"msg":"Field required"}]}',
        "Field required",
    ),
    "message": (
        404,
        "application/json",
        '{"message":"no Route matched with those values","request_id":"1"}',
        "no Route matched with those values",
    ),
    "error text": (
        400,
        "application/json; charset=utf-8",
        '{"code":"invalid","error":"Incorrect API key provided"}',
        "Incorrect API key provided",
    ),
    "mistral": (
        422,
        "application/json",
        '{"object":"error","message":{"detail":[{"msg":"Extra inputs are not permitted",'
        '"loc":["body","seed"]}]},"type":"invalid_request_error","param":null,"code":null}',
        "Extra inputs are not permitted",
    ),
    "cohere": (429, "application/json", '{"id":"x","message":"trial key limit"}', "trial key limit"),
    "list": (503, "application/json", '[{"error":{"code":503,"message":"overloaded"}}]', "overloaded"),
    "json without a type": (500, "", '{"message":"untyped"}', "untyped"),
    "text that says json": (500, "application/json", "<<<not json", ""),
    "json text": (403, "application/json", '"forbidden here"', "forbidden here"),
    "other object": (409, "application/json", '{"status":"conflict","ok":false}', ""),
    "empty error": (529, "application/json", '{"error":{}}', ""),
    "null error": (500, "application/json", '{"error":null}', ""),
    "cut": (503, "application/json", '{"error":{"message":"half', ""),
    "quotes": (400, "text/plain", 'say "please" \\ and\tthen\nwait \x01 é', 'say "please" \\ and'),
}


@pytest.mark.parametrize("case", NOT_OPENAIS)
def test_an_error_of_another_shape_gets_openais(gateway, mock, case):
    status, media_type, body, says = NOT_OPENAIS[case]
    types = [("content-type", media_type)] if media_type else []
    mock.reply(status=status, headers=[*types, *RATE_LIMITS], body=body)
    reply = gateway.post(PATH, CHAT)
    assert_openai_error(reply, status, TYPES[status], says=says)
    for name, value in RATE_LIMITS:
        assert reply.all(name) == [value], name
    assert reply.all("content-length") in ([], [str(len(reply.body))])
    assert_still_works(gateway, mock)


@pytest.mark.parametrize("status", TYPES)
def test_an_empty_error_gets_a_body(gateway, mock, status):
    for headers in ([], [("content-type", "application/json")], [("content-type", "text/html")]):
        mock.reply(status=status, headers=[*headers, *RATE_LIMITS])
        reply = gateway.post(PATH, CHAT)
        assert_openai_error(reply, status, TYPES[status])
        for name, value in RATE_LIMITS:
            assert reply.all(name) == [value], name


def test_an_error_comes_in_pieces(gateway, mock):
    chunks = [{"data": '{"detail":"a len'}, {"data": "gthy explanation"}, {"data": ' é"}'}]
    mock.reply(status=500, headers=[("content-type", "application/json")], chunks=chunks)
    reply = gateway.post(PATH, CHAT)
    assert_openai_error(reply, 500, "server_error", says="a lengthy explanation é")


def test_an_error_with_trailers_has_openais_shape(gateway, mock):
    for body, says in (('{"detail":"As it said"}', "As it said"), ("", "")):
        headers = [("content-type", "application/json"), ("retry-after", "7")]
        mock.reply(status=429, headers=headers, body=body, trailers=[("x-checksum", "abc")])
        reply = gateway.post(PATH, CHAT)
        assert_openai_error(reply, 429, "rate_limit_error", says=says)
        assert reply.header("retry-after") == "7"


@pytest.mark.parametrize("size", [70_000, 3_000_000])
@pytest.mark.parametrize("media_type", ["text/html", "application/json"])
def test_a_huge_error_gets_openais_shape_and_a_bearable_size(gateway, mock, size, media_type):
    text = "<p>" + "x" * size if media_type == "text/html" else json.dumps({"detail": "y" * size})
    mock.reply(status=500, headers=[("content-type", media_type), ("retry-after", "3")], body=text)
    reply = gateway.post(PATH, CHAT)
    assert_openai_error(reply, 500, "server_error")
    assert reply.header("retry-after") == "3"
    assert len(reply.body) < 64_000


OPENAIS = [
    b'{"error":{"message":"no","type":"t","param":null,"code":null}}',
    b' {\n "error" : { "code" : "rate_limit_exceeded" , "message" : "caf\\u00e9 \xc3\xa9 \\/",\n'
    b'  "type":"requests", "param":null, "extra": [1.0, 12345678901234567890] } }\n',
    b'{"error":{"message":"numeric code","type":"Bad","param":null,"code":400},"request_id":"r"}',
]


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
@pytest.mark.parametrize("number", range(len(OPENAIS)))
def test_an_error_of_openais_shape_passes_byte_for_byte(gateway, mock, number, status):
    body = OPENAIS[number]
    headers = [("content-type", "application/json; charset=utf-8"), *RATE_LIMITS]
    mock.reply(status=status, headers=headers, body=body.decode())
    reply = gateway.post(PATH, CHAT)
    assert (reply.status, reply.body) == (status, body)
    for name, value in headers:
        assert reply.all(name) == [value], name


def test_an_error_to_a_stream_is_json(gateway, mock):
    mock.reply(status=429, headers=[("content-type", "text/plain"), *RATE_LIMITS], body="slow down")
    reply = gateway.post(PATH, {**CHAT, "stream": True})
    assert_openai_error(reply, 429, "rate_limit_error", says="slow down")


def test_errors_of_calls_without_a_body_get_the_shape_too(gateway, mock):
    for method in ("GET", "DELETE"):
        mock.reply(status=403, headers=[("content-type", "text/plain")], body="not yours")
        reply = gateway.request(method, "/plain/v1/files/f_1")
        assert_openai_error(reply, 403, "permission_error", says="not yours")


def test_a_providers_cookie_does_not_reach_the_client(gateway, mock):
    for status in (200, 500):
        headers = [("content-type", "application/json"), ("set-cookie", "__cf_bm=1; path=/")]
        mock.reply(status=status, headers=headers, body='{"error":{"message":"m"}}')
        assert gateway.post(PATH, CHAT).all("set-cookie") == []


def test_what_is_no_error_is_left_alone(gateway, mock):
    for status, body in ((200, '{"detail":"fine"}'), (201, "text"), (202, ""), (304, "")):
        mock.reply(status=status, headers=[("content-type", "text/plain")], body=body)
        reply = gateway.get("/plain/v1/files")
        assert (reply.status, reply.text) == (status, body)


# === Envoy's ===


@pytest.fixture(scope="module", params=bootstrap.PLACEMENTS)
def broken(start, provider, request):
    """A gateway whose providers fail, each in its way."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = unused.getsockname()
        backends = {
            "closed": {"address": f"127.0.0.1:{closed[1]}"},
            "slow": {"timeout": "500ms"},
            "resets": {},
            "wrongname": {},
            "untrusted": {"tls": {}},
            "nottls": {"address": provider.plain},
            "unresolved": {"address": "no-such-host.invalid:443"},
        }
        listed = []
        for name, config in backends.items():
            config = {**gateways.at(provider, name, {"apiKey": "${PLAIN_KEY}"}), **config}
            config = {key: value for key, value in config.items() if value != {}}
            listed.append({"name": name, "type": "openai-compatible", "config": config})
        routes = [{"path": f"/{name}", "backend": name} for name in backends]
        # The port stays taken, and nobody listens.
        yield start({"backends": listed, "routes": routes}, request.param, name="broken")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("backend", ["closed", "wrongname", "untrusted", "nottls", "unresolved"])
def test_a_provider_that_cannot_be_reached_is_a_503(broken, mock, backend, stream):
    reply = broken.post(f"/{backend}/v1/chat/completions", {**CHAT, "stream": stream})
    assert reply.status in (502, 503)
    assert_openai_error(reply, reply.status, "server_error", param=None)
    # A TLS greeting on a plain port is no request, but the provider notes it; by chance it may have
    # what looks like headers.
    assert not any(request.method == "POST" for request in mock.requests())


@pytest.fixture(scope="module")
def nameless(start):
    """A gateway whose backends have names that do not resolve: one by itself, and a pool of two."""
    names = ("one", "other")
    listed = [
        {"name": it, "type": "openai-compatible", "config": {"apiKey": "${PLAIN_KEY}", "endpoint": f"https://{it}.invalid"}}
        for it in names
    ]  # fmt: skip
    listed.append({"name": "pool", "type": "pool", "backends": [{"name": it} for it in names]})
    routes = [{"path": f"/{name}", "backend": name} for name in ("one", "pool")]
    yield start({"backends": listed, "routes": routes}, bootstrap.UPSTREAM, name="nameless")


@pytest.mark.parametrize(
    "backend, says",
    [
        ("one", "the host of the backend does not resolve: no healthy upstream"),
        ("pool", "no member of the pool resolves or is healthy: no healthy upstream"),
    ],
)
def test_a_name_that_does_not_resolve_is_said_to_the_client_and_in_the_log(nameless, backend, says):
    reply = nameless.post(f"/{backend}/v1/chat/completions", CHAT)
    assert_openai_error(reply, 503, "server_error", param=None, code="no_healthy_upstream", says=says)
    line = nameless.process.until(lambda: logged(nameless, f"/{backend}/v1/chat/completions"))
    assert (line["details"], line["flags"]) == ("no_healthy_upstream", "UH")


def logged(gateway, path: str) -> dict | None:
    """The first line of the access log about this path."""
    lines = [json.loads(line) for line in gateway.log().splitlines() if line.startswith('{"')]
    return next((it for it in lines if it["path"] == path), None)


def test_a_provider_that_does_not_answer_in_time_is_a_504(broken, mock):
    mock.reply(hang_before_headers=True)
    reply = broken.post("/slow/v1/chat/completions", CHAT)
    assert_openai_error(reply, 504, "server_error", param=None)
    assert mock.when(lambda request: request.ended).disconnected


def test_the_timeout_does_not_cut_a_stream_that_has_started(broken, mock):
    """The provider pauses for three times the timeout: it is the time to the first byte."""
    events = ("content-type", "text/event-stream")
    chunks = [{"data": "data: 1\n\n"}, {"data": "data: 2\n\n", "delay_ms": 1500}]
    mock.reply(headers=[events], chunks=chunks)
    reply = broken.post("/slow/v1/chat/completions", {**CHAT, "stream": True})
    assert (reply.status, reply.body) == (200, b"data: 1\n\ndata: 2\n\n")


def test_a_provider_that_resets_is_a_503(broken, mock):
    mock.reply(reset_before_headers=True, times=2)
    reply = broken.post("/resets/v1/chat/completions", CHAT)
    assert reply.status in (502, 503)
    assert_openai_error(reply, reply.status, "server_error", param=None)


def test_envoys_own_errors_name_no_address(broken, mock):
    for backend in ("closed", "wrongname"):
        text = broken.post(f"/{backend}/v1/chat/completions", CHAT).text
        assert "127.0.0.1" not in text and mock.tls not in text


def test_a_request_that_is_no_http_is_a_400(broken, mock):
    with Exchange(broken.port) as exchange:
        exchange.send(b"NONSENSE\r\n\r\n")
        try:
            assert exchange.reply().status == 400
        except http.client.BadStatusLine:
            pass
    assert_still_works_after(broken, mock)


def assert_still_works_after(broken, mock):
    assert broken.post("/resets/v1/chat/completions", CHAT).status == 200
