"""How the provider is reached and how clients come: DNS, TLS, HTTP versions."""

import json

import httpx2
import pytest

from harness import gateways
from harness.shapes import assert_openai_error

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(scope="module")
def gateway(start, provider):
    port = {name: getattr(provider, name).rsplit(":", 1)[1] for name in ("plain", "tls")}
    trusted = {"tls": {"caFile": str(provider.ca)}}
    backends = {
        # Where the endpoint says, without `address`.
        "dns": {"endpoint": f"http://localhost:{port['plain']}"},
        "dnstls": {"endpoint": f"https://localhost:{port['tls']}", **trusted},
        "ip": {"endpoint": f"http://127.0.0.1:{port['plain']}"},
        "iptls": {"endpoint": f"https://127.0.0.1:{port['tls']}", **trusted},
        "variable": {"endpoint": "${PROVIDER_URL}", "defaultModel": "$SOME_MODEL"},
        # The names of TLS.
        "servername": {
            "endpoint": "https://servername.example",
            "address": provider.tls,
            "tls": {"caFile": str(provider.ca), "serverName": "inside.example"},
        },
        "otherservername": {
            "endpoint": "https://otherservername.example",
            "address": provider.tls,
            "tls": {"caFile": str(provider.ca), "serverName": "wrongname.example"},
        },
        "insecure": {
            "endpoint": "https://wrongname.example",
            "address": provider.tls,
            "tls": {"insecure": True},
        },
        "forced": gateways.at(provider, "forced", {"model": "grok-2-latest"}),
        "overplain": {"endpoint": "http://overplain.example", "address": provider.plain},
    }
    listed = [
        {
            "name": name,
            "type": "openai-compatible",
            "config": {"apiKey": "$PLAIN_KEY", **config},
        }
        for name, config in backends.items()
    ]
    env = {
        **gateways.ENVIRONMENT,
        "PROVIDER_URL": f"http://localhost:{port['plain']}/v1",
        "SOME_MODEL": "model-of-a-variable",
    }
    routes = [{"path": f"/{name}", "backend": name} for name in backends]
    return start({"backends": listed, "routes": routes}, env=env)


@pytest.mark.parametrize("backend", ["dns", "ip", "dnstls", "iptls"])
def test_an_endpoint_is_found_by_its_own_name(gateway, mock, backend):
    reply = gateway.post(f"/{backend}/v1/chat/completions", CHAT)
    assert reply.status == 200, reply.body
    arrived = mock.only()
    tls = backend.endswith("tls")
    port = (mock.tls if tls else mock.plain).rsplit(":", 1)[1]
    host = "localhost" if backend.startswith("dns") else "127.0.0.1"
    assert arrived.authority == f"{host}:{port}"
    assert arrived.tls == tls
    # An address is no name to ask for: RFC 6066, section 3.
    assert arrived.sni == ("localhost" if backend == "dnstls" else None)


def test_variables_are_expanded_wherever_text_stands(gateway, mock):
    reply = gateway.post("/variable/v1/chat/completions", {"messages": CHAT["messages"]})
    assert reply.status == 200, reply.body
    arrived = mock.only()
    assert arrived.json()["model"] == "model-of-a-variable"
    assert arrived.all("authorization") == [f"Bearer {gateways.ENVIRONMENT['PLAIN_KEY']}"]


def test_another_server_name_is_asked_for_and_checked(gateway, mock):
    mock.profile("servername.example", sni=["inside.example"])
    reply = gateway.post("/servername/v1/chat/completions", CHAT)
    assert reply.status == 200, reply.body
    arrived = mock.only()
    assert (arrived.sni, arrived.authority) == ("inside.example", "servername.example")
    # Its certificate is for another name.
    reply = gateway.post("/otherservername/v1/chat/completions", CHAT)
    assert_openai_error(reply, reply.status, "server_error")
    assert reply.status in (502, 503)


def test_insecure_takes_any_certificate(gateway, mock):
    reply = gateway.post("/insecure/v1/chat/completions", CHAT)
    assert reply.status == 200, reply.body
    assert mock.only().tls


def test_http_2_is_spoken_where_the_handshake_allows_it(gateway, mock):
    for backend, version in (("forced", "HTTP/2.0"), ("overplain", "HTTP/1.1")):
        mock.forget()
        assert gateway.post(f"/{backend}/v1/chat/completions", CHAT).status == 200
        assert mock.only().version == version


def test_clients_may_come_with_http_2(gateway, mock):
    with httpx2.Client(http1=False, http2=True, timeout=120) as client:
        reply = client.post(gateway.url("/forced/v1/chat/completions"), json=CHAT)
        assert (reply.status_code, reply.http_version) == (200, "HTTP/2")
        assert reply.json()["model"] == "grok-2-latest"
        arrived = mock.only()
        assert arrived.authority == "forced.example"
        assert arrived.all("authorization") == [f"Bearer {gateways.ENVIRONMENT['PLAIN_KEY']}"]
        for path, content, status in (
            ("/forced/v1/chat/completions", b"{", 400),
            ("/nowhere", b"{}", 404),
        ):
            headers = {"content-type": "application/json"}
            reply = client.post(gateway.url(path), content=content, headers=headers)
            assert reply.status_code == status and reply.json()["error"]["message"]
        listing = client.get(gateway.url("/forced/v1/models"))
        assert (listing.status_code, listing.http_version) == (200, "HTTP/2")


def test_a_body_of_many_http_2_frames_is_spliced(gateway, mock):
    body = json.dumps({"messages": [{"role": "user", "content": "x" * 600_000}], "model": "m"}).encode()

    def frames():
        for at in range(0, len(body), 7_001):
            yield body[at : at + 7_001]

    with httpx2.Client(http1=False, http2=True, timeout=120) as client:
        headers = {"content-type": "application/json"}
        url = gateway.url("/forced/v1/chat/completions")
        assert client.post(url, content=frames(), headers=headers).status_code == 200
    assert mock.only().body == body[:-4] + b'"grok-2-latest"}'


def test_providers_are_asked_for_uncompressed_replies(gateway, mock):
    """An error that nobody can read cannot be given OpenAI's shape."""
    headers = [("accept-encoding", "gzip, br, zstd")]
    assert gateway.post("/forced/v1/chat/completions", CHAT, headers).status == 200
    assert mock.only().all("accept-encoding") in ([], ["identity"])
