"""Which API call a path asks for, and that its method, query and body arrive."""

import json
import urllib.parse

import pytest

from harness.client import Exchange

MESSAGES = [{"role": "user", "content": "Hi"}]
EVERY_BYTE = bytes(range(256)) * 4
FORM_TYPE = ("content-type", 'multipart/form-data; boundary="x y"')


def form(*parts: tuple[str, bytes], boundary: bytes = b"x y") -> bytes:
    whole = b"".join(
        b"--%b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (boundary, head.encode(), body)
        for head, body in parts
    )
    return whole + b"--%b--\r\n" % boundary


JSON_CALLS = {
    "/chat/completions": {"model": "m", "messages": MESSAGES},
    "/completions": {"model": "m", "prompt": "x"},
    "/embeddings": {"model": "m", "input": ["x", "y"]},
    "/responses": {"model": "m", "input": "x"},
    "/moderations": {"model": "m", "input": "x"},
    "/images/generations": {"model": "m", "prompt": "x"},
    "/audio/speech": {"model": "m", "input": "x", "voice": "alloy"},
    "/rerank": {"model": "m", "query": "x", "documents": ["a", "b"]},
}


@pytest.mark.parametrize("prefix", ["/plain/v1", "/plain", "/v1"])
@pytest.mark.parametrize("suffix", JSON_CALLS)
def test_json_calls_arrive_below_the_providers_base(gateway, mock, prefix, suffix):
    reply = gateway.post(prefix + suffix, JSON_CALLS[suffix])
    assert reply.status == 200, reply.body
    arrived = mock.only()
    assert (arrived.method, arrived.path) == ("POST", "/v1" + suffix)
    assert arrived.json() == JSON_CALLS[suffix]


@pytest.mark.parametrize("path", ["/plain", "/plain/", "/plain/v1/chat/completions"])
def test_a_routes_path_alone_means_chat_completions(gateway, mock, path):
    reply = gateway.post(path, JSON_CALLS["/chat/completions"])
    assert reply.status == 200, reply.body
    assert mock.only().path == "/v1/chat/completions"


@pytest.mark.parametrize(
    "backend, authority, base",
    [
        ("cutback", "cutback.example", "/serving/v2"),
        ("deepbase", "deepbase.example", "/a/b/v3"),
        ("portbase", "portbase.example:8443", "/v1"),
        ("overplain", "overplain.example", "/v1"),
    ],
)
def test_an_endpoints_path_is_the_base_of_every_call(gateway, mock, backend, authority, base):
    for suffix in ("/chat/completions", "/embeddings"):
        mock.forget()
        reply = gateway.post(f"/{backend}/v1{suffix}", JSON_CALLS[suffix])
        assert reply.status == 200, reply.body
        arrived = mock.only()
        assert (arrived.authority, arrived.path) == (authority, base + suffix)
    assert gateway.get(f"/{backend}/v1/models").status == 200


def test_an_irregular_chat_path_is_used_for_chat_alone(gateway, mock):
    for path in ("/chatpath", "/chatpath/v1/chat/completions"):
        mock.forget()
        reply = gateway.post(path, JSON_CALLS["/chat/completions"])
        assert reply.status == 200, reply.body
        assert mock.only().path == "/api/paas/v4/chat?version=1"
    mock.forget()
    assert gateway.post("/chatpath/v1/embeddings", JSON_CALLS["/embeddings"]).status == 200
    assert mock.only().path == "/v1/embeddings"


def test_a_query_is_kept(gateway, mock):
    target = "/plain/v1/files?purpose=fine%2Dtune&limit=2&empty=&flag&purpose=b"
    assert gateway.get(target).status == 200
    assert mock.only().path == target.removeprefix("/plain")
    mock.forget()
    assert gateway.post("/plain?a=%2Fv1%2Fx/y", JSON_CALLS["/chat/completions"]).status == 200
    assert mock.only().path == "/v1/chat/completions?a=%2Fv1%2Fx/y"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/gpt-4o",
        "/v1/models/meta-llama%2FLlama-3.3",
        "/v1/models/meta-llama/Llama-3.3",
        "/v1/models/a.b_c~d:e@f",
    ],
)
def test_a_model_is_described(gateway, mock, path):
    assert gateway.get("/plain" + path).status == 200
    assert (mock.only().method, mock.only().path) == ("GET", path)


def test_what_is_not_known_passes_below_the_base(gateway, mock):
    for method, suffix in (
        ("GET", "/vector_stores"),
        ("DELETE", "/batches/b_1"),
        ("PUT", "/brand/new"),
        ("PATCH", "/threads/t_1"),
    ):
        mock.forget()
        mock.reply(status=202, body="fine", headers=[("content-type", "text/plain")])
        reply = gateway.request(method, "/plain/v1" + suffix)
        assert (reply.status, reply.body) == (202, b"fine")
        arrived = mock.only()
        assert (arrived.method, arrived.path) == (method, "/v1" + suffix)


def test_a_form_passes_untouched(gateway, mock):
    body = form(
        ('name="model"', b"whisper-1"),
        ('name="file"; filename="a.wav"', EVERY_BYTE + b'{"model":"x"}'),
        ('name="response_format"', b"text"),
    )
    for backend in ("plain", "filled", "members"):
        mock.forget()
        path = f"/{backend}/v1/audio/transcriptions"
        reply = gateway.post(path, body, [FORM_TYPE])
        assert reply.status == 200, reply.body
        assert reply.text.startswith("You recorded: 1037 bytes of a.wav")
        arrived = mock.only()
        assert arrived.path == "/v1/audio/transcriptions"
        assert arrived.body == body
        assert arrived.header("content-type") == FORM_TYPE[1]


def test_a_form_in_chunks_passes_untouched(gateway, mock):
    body = form(('name="purpose"', b"batch"), ('name="file"; filename="b.jsonl"', EVERY_BYTE))
    chunks = [body[at : at + 100] for at in range(0, len(body), 100)]
    reply = gateway.post("/plain/v1/files", headers=[FORM_TYPE], chunks=chunks, pause=0.001)
    assert reply.status == 200, reply.body
    assert mock.only().body == body


def test_a_file_is_uploaded_listed_read_and_deleted(gateway, mock):
    body = form(('name="purpose"', b"batch"), ('name="file"; filename="b.bin"', EVERY_BYTE))
    made = gateway.post("/plain/v1/files", body, [FORM_TYPE]).json()
    path = f"/plain/v1/files/{made['id']}"
    assert gateway.get("/plain/v1/files").json()["data"] == [made]
    assert gateway.get(path).json() == made
    read = gateway.get(path + "/content")
    assert read.body == EVERY_BYTE
    assert read.header("content-type") == "application/octet-stream"
    assert gateway.request("DELETE", path).json()["deleted"] is True
    assert gateway.get(path).status == 404


def test_speech_comes_back_byte_for_byte(gateway, mock):
    reply = gateway.post("/plain/v1/audio/speech", JSON_CALLS["/audio/speech"])
    assert reply.header("content-type") == "audio/mpeg"
    assert reply.body == b"ID3" + bytes(range(256)) * 16


def test_a_body_that_is_neither_json_nor_a_form_passes_untouched(gateway, mock):
    mock.reply(body="{}", headers=[("content-type", "application/json")])
    headers = [("content-type", "application/octet-stream")]
    assert gateway.post("/forced/v1/uploads/u_1/parts", EVERY_BYTE, headers).status == 200
    arrived = mock.only()
    assert arrived.body == EVERY_BYTE and arrived.path == "/v1/uploads/u_1/parts"


@pytest.mark.parametrize("backend", ["plain", "forced"])
def test_options_and_head_pass(gateway, mock, backend):
    headers = [("allow", "POST"), ("access-control-allow-origin", "*")]
    mock.reply(status=204, headers=headers)
    preflight = [("origin", "https://app.test"), ("access-control-request-method", "POST")]
    reply = gateway.request("OPTIONS", f"/{backend}/v1/chat/completions", headers=preflight)
    assert (reply.status, reply.header("access-control-allow-origin")) == (204, "*")
    assert (mock.only().method, mock.only().path) == ("OPTIONS", "/v1/chat/completions")
    assert not mock.only().all("authorization")
    mock.forget()
    mock.reply(headers=[("content-type", "application/json"), ("x-mark", "1")])
    reply = gateway.request("HEAD", f"/{backend}/v1/models")
    assert (reply.status, reply.header("x-mark"), reply.body) == (200, "1", b"")
    assert (mock.only().method, mock.only().path) == ("HEAD", "/v1/models")


def test_a_route_matches_whole_segments(gateway, mock):
    assert gateway.post("/plainer/v1/chat/completions", JSON_CALLS["/chat/completions"]).status == 404
    assert gateway.post("/plai", JSON_CALLS["/chat/completions"]).status == 404
    assert mock.none_came()


def test_hosts_and_headers_choose_a_route(gateway, mock):
    def model_for(headers):
        mock.forget()
        reply = gateway.post("/by/v1/chat/completions", {"messages": MESSAGES}, headers)
        return reply.json()["model"] if reply.status == 200 else reply.status

    assert model_for([("host", "a.gateway.test")]) == "fill-model"
    assert model_for([("host", "x.b.gateway.test:8080")]) == "fill-model"
    assert model_for([("host", "other.test"), ("x-team", "red")]) == "grok-2-latest"
    # The first route that matches wins, in the order of the file.
    assert model_for([("host", "a.gateway.test"), ("x-team", "red")]) == "fill-model"
    assert model_for([("host", "other.test"), ("x-team", "blue")]) == 404
    assert model_for([("host", "b.gateway.test")]) == 404


@pytest.mark.parametrize(
    "path", ["/plain/v1/../../forced", "/plain/v1/%2e%2e/%2E%2e/x", "/plain/v1/models/..%2f..", "//"]
)
def test_no_path_climbs_out_of_the_providers_base(gateway, mock, path):
    reply = gateway.get(path)
    for arrived in mock.requests():
        # A provider may well unescape before it looks at the segments.
        segments = urllib.parse.unquote(arrived.path).split("/")
        assert segments[1] == "v1" and not {".", ".."} & set(segments), arrived.path
    assert reply.status < 500


def test_a_request_without_a_body_keeps_having_none(gateway, mock):
    """A body from nowhere, or `content-length: 0`, on a GET makes some providers answer 400."""
    for method, suffix in (("GET", "/models"), ("DELETE", "/files/f_1")):
        mock.forget()
        gateway.request(method, "/members/v1" + suffix)
        [arrived] = mock.requests()
        assert arrived.body == b""
        assert arrived.header("transfer-encoding") is None


def test_a_client_that_waits_for_100_continue_gets_it(gateway, mock):
    body = json.dumps(JSON_CALLS["/chat/completions"]).encode()
    with Exchange(gateway.port) as exchange:
        headers = [("host", "g"), ("content-type", "application/json"), ("expect", "100-continue")]
        exchange.head(
            "POST", "/plain/v1/chat/completions", [*headers, ("content-length", str(len(body)))]
        )
        assert exchange.raw_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        exchange.send(body)
        assert exchange.reply().status == 200
    assert mock.only().body == body


def test_many_requests_on_one_connection_each_get_their_own_reply(gateway, mock):
    with Exchange(gateway.port) as exchange:
        for number in range(10):
            backend = ("forced", "filled", "aliased")[number % 3]
            body = json.dumps({"messages": [{"role": "user", "content": f"n{number}"}]}).encode()
            if backend == "aliased":
                body = body.replace(b"{", b'{"model":"gpt-4o",', 1)
            headers = [("host", "g"), ("content-type", "application/json")]
            exchange.head(
                "POST", f"/{backend}/v1/chat/completions", [*headers, ("content-length", str(len(body)))]
            )
            exchange.send(body)
            reply = exchange.reply()
            expected = {"forced": "grok-2-latest", "filled": "fill-model", "aliased": "exact-model"}
            assert reply.json()["model"] == expected[backend]
            assert f"n{number}" in reply.text
