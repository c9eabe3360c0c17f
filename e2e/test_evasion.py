"""Requests that try to get past the rules, and replies that try to reach past the gateway."""

import gzip
import itertools
import json
import re
import socket
import urllib.parse

import h2.connection
import h2.events
import pytest

from harness import artefacts, bootstrap, gateways
from harness.gateways import ENVIRONMENT

CHAT = {"model": "expensive", "messages": [{"role": "user", "content": "Hi"}]}
BODY = json.dumps(CHAT).encode()
PATH = "v1/chat/completions"
JSON = ("content-type", "application/json")
PAGE = (artefacts.ROOT / "docs" / "credentials.md").read_text()
RESTRICTED = ("forced", "serving", "aliased")


def names(heading: str, where: str) -> list[str]:
    """The names of the tables below a heading of the page that are removed from `where`."""
    part = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*`) \| (.*?) \|", part, re.M)
    found = [name for row, applies in rows if where in applies.split(", ") for name in re.findall("`(.*?)`", row)]
    return [name.replace("*", "anything") for name in found]


def refused(reply, status: int, code: str):
    error = reply.json()["error"]
    assert (reply.status, error["code"]) == (status, code), reply.body
    assert set(error) == {"message", "type", "param", "code"}


# === What may not reach a provider ===


def test_no_header_of_the_table_reaches_a_provider(gateway, mock):
    withheld = names("Headers", "requests")
    assert len(withheld) > 80
    # Envoy itself acts on these, or writes them.
    spoken = [name for name in withheld if not name.startswith("x-envoy")]
    # Envoy takes at most 100 headers in a request.
    halves = (spoken[::2], spoken[1::2])
    underscored = lambda name: name.replace("-", "_")
    for half, spelling in itertools.product(halves, (str, underscored)):
        mock.forget()
        headers = [(spelling(name), f"secret-{number}") for number, name in enumerate(half)]
        reply = gateway.post(f"/plain/{PATH}", CHAT, [*headers, ("x-other", "kept")])
        assert reply.status == 200, reply.body
        arrived = mock.only()
        assert arrived.header("x-other") == "kept"
        assert [value for _, value in arrived.headers if value.startswith("secret-")] == []


def test_no_parameter_of_the_table_reaches_a_provider(gateway, mock):
    withheld = names("Query parameters", "requests")
    assert len(withheld) > 30
    free = {"model", "engine", "deployment", "deployment-id", "deployment-name"}
    for backend, kept in (("plain", free), ("forced", set())):
        for spelling in (str, str.upper, lambda name: "".join(f"%{ord(c):02x}" for c in name)):
            mock.forget()
            query = "&".join(f"{spelling(name)}=v{number}" for number, name in enumerate(withheld))
            reply = gateway.post(f"/{backend}/{PATH}?{query}&kept=1", CHAT)
            assert reply.status == 200, reply.body
            found = urllib.parse.parse_qsl(mock.only().path.partition("?")[2])
            assert {name.lower() for name, _ in found} == kept | {"kept"}


def test_a_configured_parameter_is_not_repeated(gateway, mock):
    query = "code=c&CODE=c&c%6fde=c&x=1;code=c&api_version=1&API-Version=1&y=2"
    assert gateway.post(f"/headers/{PATH}?{query}", CHAT).status == 200
    arrived = urllib.parse.parse_qsl(mock.only().path.partition("?")[2])
    assert sorted(arrived) == sorted(
        [("y", "2"), ("code", ENVIRONMENT["QUERY_KEY"]), ("api-version", "2024-10-21")]
    )


def test_a_configured_header_has_no_second_spelling(gateway, mock):
    assert gateway.post(f"/headers/{PATH}", CHAT, [("x_fixed", "c"), ("x_second_key", "c")]).status == 200
    arrived = mock.only()
    assert "c" not in [value for _, value in arrived.headers]
    assert arrived.all("x-fixed") == ["fixed"]


def test_trailers_are_filtered_like_headers(gateway, mock):
    trailers = [
        ("authorization", "Bearer client"), ("cookie", "a=b"), ("x-api-key", "client"),
        ("x-fixed", "client"), ("content-type", "text/plain"), ("x-checksum", "kept"),
    ]
    mock.reply(body="{}", headers=[JSON])
    status = over_http2(gateway.port, "/headers/v1/files", b"{}", trailers)
    assert status == 200
    arrived = mock.when(lambda request: request.body_complete)
    # HTTP/1.1 has none, unless it is configured.
    assert arrived.trailers in ([("x-checksum", "kept")], [])
    assert arrived.version != "HTTP/2.0" or arrived.trailers


def over_http2(port: int, path: str, body: bytes, trailers) -> int:
    """The status of the reply to a POST that ends with trailers."""
    client = h2.connection.H2Connection()
    client.initiate_connection()
    head = [(":method", "POST"), (":scheme", "http"), (":authority", "gateway"), (":path", path)]
    client.send_headers(1, [*head, ("content-type", "application/octet-stream")])
    client.send_data(1, body)
    client.send_headers(1, trailers, end_stream=True)
    with socket.create_connection(("127.0.0.1", port), artefacts.GUARD_SECONDS) as connection:
        while True:
            connection.sendall(client.data_to_send())
            for event in client.receive_data(connection.recv(65_536)):
                if isinstance(event, h2.events.ResponseReceived):
                    return int(dict(event.headers)[b":status"])


# === What may not reach a client ===


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_a_502(gateway, mock, status):
    for backend, method, target in (
        ("headers", "POST", PATH), ("plain", "GET", "v1/files"), ("plain", "HEAD", "v1/models"),
        ("forced", "POST", PATH), ("plain", "DELETE", "v1/files/f"),
    ):
        for body in ("", "<html>moved</html>"):
            address = "https://elsewhere.test/?code=sk-in-the-address"
            mock.reply(status=status, headers=[("location", address), ("refresh", f"0; url={address}")], body=body)
            sent = CHAT if method == "POST" else None
            reply = gateway.request(method, f"/{backend}/{target}", sent)
            assert reply.status == 502
            assert not {"location", "refresh"} & {name for name, _ in reply.headers}
            assert b"elsewhere" not in reply.body
            if method != "HEAD":
                assert reply.json()["error"]["code"] == "provider_redirect"


def test_no_header_of_the_table_reaches_a_client(gateway, mock):
    withheld = names("Headers", "replies")
    assert len(withheld) > 50
    for status, body in ((200, "{}"), (201, ""), (404, ""), (500, '{"detail":"x"}')):
        headers = [(name, f"secret-{number}") for number, name in enumerate(withheld)]
        mock.reply(status=status, headers=[*headers, JSON, ("x-other", "kept")], body=body)
        reply = gateway.get("/plain/v1/files")
        assert (reply.status, reply.header("x-other")) == (status, "kept")
        assert [value for _, value in reply.headers if value.startswith("secret-")] == []


# === Rules about models ===

UNREADABLE = [
    ("POST", PATH, ("content-type", "multipart/mixed; boundary=x"), 415, "unsupported_media_type"),
    ("POST", PATH, ("content-type", "multipart/form-data; boundary=x"), 415, "unsupported_media_type"),
    ("POST", "v1/images/generations", ("content-type", "text/plain"), 415, "unsupported_media_type"),
    ("POST", "v1/images/edits", ("content-type", "text/plain"), 415, "unsupported_media_type"),
    ("POST", "v1/audio/transcriptions", ("content-type", "application/octet-stream"), 415, "unsupported_media_type"),
    ("GET", PATH, JSON, 405, "method_not_allowed"),
    ("DELETE", PATH, JSON, 405, "method_not_allowed"),
    ("PUT", PATH, JSON, 405, "method_not_allowed"),
    ("QUERY", PATH, JSON, 405, "method_not_allowed"),
    ("POST", "v1/models/x:generateContent", JSON, 405, "method_not_allowed"),
    ("POST", "v1/batches", JSON, 403, "operation_not_allowed"),
    ("POST", "v1/batches", ("content-type", "text/plain"), 403, "operation_not_allowed"),
    ("POST", "v1/threads/t/runs", JSON, 403, "operation_not_allowed"),
    ("POST", "v1/brand/new", ("content-type", "text/plain"), 403, "operation_not_allowed"),
    ("POST", "v1/deployments/expensive/chat/completions", JSON, 403, "model_not_allowed"),
    ("POST", "v1/%64eployments/expensive/chat/completions", JSON, 400, "invalid_url"),
    ("POST", "v1/Chat/Completions", JSON, 400, "invalid_url"),
    ("POST", "v1/%62atches", JSON, 400, "invalid_url"),
]


@pytest.mark.parametrize("backend", RESTRICTED)
def test_no_other_member_chooses_a_model(gateway, mock, backend):
    allowed = {"model": "llama-3", "messages": CHAT["messages"]}
    # Go's parser takes names in any case.
    for name in ("Model", "MODEL", "mod\\u0045l"):
        body = json.dumps(allowed)[:-1] + f',"{name}":"expensive"}}'
        refused(gateway.post(f"/{backend}/{PATH}", body.encode()), 400, "duplicate_parameter")
    # OpenRouter's, and LiteLLM's.
    for name in ("models", "route", "preset", "fallbacks"):
        refused(gateway.post(f"/{backend}/{PATH}", {**allowed, name: ["expensive"]}), 400, "model_not_allowed")
    # Hosted tools and plugins that run models of their own; and names that only begin like them.
    hosted = {"model": "llama-3", "input": "x", "tools": [{"type": "image_generation", "model": "expensive"}]}
    refused(gateway.post(f"/{backend}/v1/responses", hosted), 400, "model_not_allowed")
    for member in ({"plugins": [{"id": "fusion", "analysis_models": ["expensive"]}]}, {"draft_model": "expensive"}):
        refused(gateway.post(f"/{backend}/{PATH}", {**allowed, **member}), 400, "model_not_allowed")
    # Where headers do not wait, a request has begun, and is never finished.
    assert not any(it.body_complete for it in mock.requests())
    mock.forget()
    # Another encoding would hide another model.
    utf7 = ("content-type", "application/json; charset=utf-7")
    assert gateway.request("POST", f"/{backend}/{PATH}", json.dumps(allowed).encode(), [utf7]).status == 200
    assert mock.only().header("content-type") == "application/json"
    mock.forget()
    # Where nothing is restricted, they pass.
    assert gateway.post(f"/plain/{PATH}", {**allowed, "models": ["expensive"]}).status == 200
    assert json.loads(mock.only().body)["models"] == ["expensive"]


@pytest.mark.parametrize("backend", RESTRICTED)
def test_a_request_that_a_rule_cannot_check_is_refused(gateway, mock, backend):
    for method, target, media_type, status, code in UNREADABLE:
        if method == "QUERY":
            # Envoy's own parser may refuse it before.
            assert gateway.request(method, f"/{backend}/{target}", BODY, [media_type]).status in (400, 405)
            continue
        reply = gateway.request(method, f"/{backend}/{target}", BODY, [media_type])
        if code == "invalid_url":
            # A rendered Envoy resolves what is escaped without need, before the module sees it.
            assert reply.status in (400, 403), (target, reply.body)
            continue
        refused(reply, status, code)
        if status == 415:
            assert "application/json" in reply.header("accept")
    assert [arrived for arrived in mock.requests() if arrived.body_complete and arrived.body] == []


def test_without_a_rule_all_of_them_pass(gateway, mock):
    for method, target, media_type, _, _ in UNREADABLE:
        if method in ("QUERY",):
            continue
        mock.forget()
        mock.reply(body="{}", headers=[JSON])
        reply = gateway.request(method, f"/plain/{target}", BODY, [media_type])
        assert reply.status == 200, (method, target, reply.body)
        assert mock.requests()[0].body == BODY


def form(*parts: tuple[str, bytes]) -> bytes:
    head = b"--%b\r\nContent-Disposition: form-data; name=\"%b\"\r\n\r\n%b\r\n"
    whole = b"".join(head % (b"bound", name.encode(), content) for name, content in parts)
    return whole + b"--bound--\r\n"


FORM = ("content-type", "multipart/form-data; boundary=bound")
FILE = ('file"; filename="a.wav', bytes(range(256)) * 2_000)


@pytest.mark.parametrize("target", ["v1/audio/transcriptions", "v1/images/edits"])
def test_the_model_of_a_form_is_read_before_anything_is_sent(gateway, mock, target):
    for parts in ([("model", b"expensive"), FILE], [FILE, ("model", b"expensive")], [FILE]):
        expected = [(name, b"grok-2-latest" if name == "model" else content) for name, content in parts]
        if len(parts) == 1:
            expected.append(("model", b"grok-2-latest"))
        body = form(*parts)
        for sent in ({"body": body}, {"chunks": [body[at : at + 9_000] for at in range(0, len(body), 9_000)]}):
            mock.forget()
            mock.reply(body="{}", headers=[JSON])
            reply = gateway.request("POST", f"/forced/{target}", headers=[FORM], **sent)
            assert reply.status == 200, reply.body
            assert mock.requests()[0].body == form(*expected)
    for parts, status in (
        ([FILE, ("model", b"expensive")], 404),
        ([FILE], 400),
        ([("model", b"llama-3"), FILE, ("model", b"expensive")], 400),
        ([FILE, ("model[]", b"expensive")], 400),
    ):
        mock.forget()
        reply = gateway.request("POST", f"/serving/{target}", form(*parts), [FORM])
        assert reply.status == status, reply.body
        assert not any(arrived.body_complete for arrived in mock.requests())


def test_a_body_that_is_encoded_is_named_with_the_remedy(gateway, mock):
    for backend, coding in (("plain", "gzip"), ("forced", "zstd"), ("serving", "br")):
        headers = [JSON, ("content-encoding", coding)]
        reply = gateway.post(f"/{backend}/{PATH}", gzip.compress(BODY), headers)
        refused(reply, 415, "unsupported_content_encoding")
        assert coding in reply.text and "uncompressed" in reply.text
    assert not any(arrived.body_complete for arrived in mock.requests())


# === Azure and pools ===


@pytest.fixture(scope="module", params=bootstrap.PLACEMENTS)
def azure(start, provider, request):
    config = {"apiKey": "${AZURE_KEY}", "apiVersion": "2024-10-21", "deploymentName": "cheap"}
    backend = {"name": "azure", "type": "azure-openai", "config": gateways.at(provider, "azure", config)}
    routes = [{"path": "/azure", "backend": "azure"}]
    return start({"backends": [backend], "routes": routes}, request.param, name="azure")


def test_a_pinned_deployment_cannot_be_chosen(azure, mock):
    for target in (
        "v1/deployments/expensive/chat/completions", "openai/deployments/expensive/images/other",
        "v1/openai/deployments/expensive/x", "v1/%64eployments/expensive/chat/completions",
        "v1/..%2fdeployments/expensive/chat/completions", "Deployments/expensive/x",
    ):
        reply = azure.post(f"/azure/{target}", CHAT)
        assert reply.status in (400, 403), (target, reply.body)
    assert mock.none_came()
    mock.profile("azure.example", key="required", auth_header="api-key", auth_prefix="")
    for query in ("?api-version=2020-01-01", "?API%2dVersion=1&deployment=expensive&model=expensive"):
        mock.forget()
        mock.reply(body="{}", headers=[JSON])
        assert azure.post(f"/azure/{PATH}{query}", CHAT).status == 200
        assert mock.requests()[0].path == "/openai/deployments/cheap/chat/completions?api-version=2024-10-21"


@pytest.fixture(scope="module")
def pool(start, provider):
    config = {"apiKey": "${PLAIN_KEY}"}
    members = [
        {"name": name, "type": "openai-compatible", "config": gateways.at(provider, name, config)}
        for name in ("one", "two")
    ]
    both = {"name": "both", "type": "pool", "backends": [{"name": "one"}, {"name": "two"}]}
    return start({"backends": [*members, both], "routes": [{"path": "/", "backend": "both"}]}, name="pool")


def test_an_ambiguous_path_to_a_pool_is_a_400(pool, mock):
    for path in ("/v1/..%2fx", "/v1/%2e%2e%2fx", "/v1/chat%2Fcompletions", "/v1/models/..%2fx", "/v1/%252e%252e/x"):
        for method, body in (("GET", None), ("POST", CHAT)):
            refused(pool.request(method, path, body), 400, "invalid_url")
    assert mock.none_came()


def test_an_ambiguous_path_is_a_400_everywhere(gateway, mock):
    for path in ("/plain/v1/..%2fx", "/forced/v1/%2e%2e%2fx", "/plain/v1/chat%2Fcompletions"):
        refused(gateway.get(path), 400, "invalid_url")
    assert mock.none_came()
