"""Whose key goes where: the configuration's, the client's, and nobody else's."""

import concurrent.futures
import json
import urllib.parse

import pytest

from harness import bootstrap, gateways
from harness.gateways import ENVIRONMENT, SECRETS
from harness.shapes import assert_openai_error

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
PATH = "v1/chat/completions"

# DESIGN §4.2. `authorization` has its own tests: it is the place of the key.
NEVER = {
    "x-api-key": "client-secret",
    "api-key": "client-secret",
    "x-goog-api-key": "client-secret",
    "proxy-authorization": "Basic Y2xpZW50",
    "cookie": "session=client-secret",
    "openai-organization": "org-client",
    "openai-project": "proj-client",
    "x-amz-date": "20260101T000000Z",
    "x-amz-security-token": "client-secret",
    "x-envoy-max-retries": "3",
    "x-envoy-retry-on": "5xx",
    "x-envoy-original-path": "/elsewhere",
    "x-envoy-upstream-rq-timeout-ms": "60000",
    "x-envoy-upstream-rq-per-try-timeout-ms": "60000",
    "x-envoy-anything": "1",
    "x-forwarded-for": "203.0.113.9",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "internal.example",
    "x-forwarded-port": "443",
    "x-forwarded-client-cert": "Hash=00",
    "x-forwarded-anything": "1",
    "forwarded": "for=203.0.113.9",
    "x-real-ip": "203.0.113.9",
    "x-llm-proxy-anything": "1",
}


def post(gateway, backend, headers=(), target=PATH):
    reply = gateway.post(f"/{backend}/{target}", CHAT, headers)
    assert reply.status == 200, reply.body
    return reply


@pytest.mark.parametrize("name", NEVER)
def test_a_clients_header_that_may_not_leave_does_not(gateway, mock, name):
    post(gateway, "plain", [(name, NEVER[name])])
    arrived = mock.only()
    assert arrived.all(name) == []
    assert NEVER[name] not in dict(arrived.headers).values() or len(NEVER[name]) < 3


def test_all_of_them_at_once_do_not_either(gateway, mock):
    for method, target in (("POST", PATH), ("GET", "v1/models"), ("DELETE", "v1/files/f_1")):
        mock.forget()
        body = CHAT if method == "POST" else None
        headers = [(name.title(), value) for name, value in NEVER.items()]
        gateway.request(method, f"/plain/{target}", body, headers)
        [arrived] = mock.requests()
        assert not {name for name, _ in arrived.headers} & set(NEVER), arrived.headers
        assert arrived.authority == "plain.example"


@pytest.mark.parametrize("backend", ["plain", "forced", "headers", "members"])
def test_a_clients_authorization_never_arrives_where_a_key_is_configured(gateway, mock, backend):
    for headers in (
        [],
        [("authorization", "Bearer sk-client")],
        [("Authorization", "Basic Y2xpZW50OnNlY3JldA==")],
        [("authorization", "Bearer a"), ("authorization", "Bearer b")],
    ):
        mock.forget()
        post(gateway, backend, headers)
        assert mock.only().all("authorization") == [f"Bearer {ENVIRONMENT['PLAIN_KEY']}"]


def test_the_key_goes_with_every_operation(gateway, mock):
    for method, path in (("GET", "models"), ("GET", "files"), ("OPTIONS", "models")):
        mock.forget()
        gateway.request(method, f"/plain/v1/{path}", headers=[("authorization", "Bearer sk-client")])
        assert mock.requests()[0].all("authorization") == [f"Bearer {ENVIRONMENT['PLAIN_KEY']}"]


def test_another_header_can_carry_the_key(gateway, mock):
    post(gateway, "keyheader", [("authorization", "Bearer c"), ("api-key", "c")])
    arrived = mock.only()
    assert arrived.all("api-key") == [ENVIRONMENT["HEADER_KEY"]]
    assert arrived.all("authorization") == []


def test_another_prefix_can_stand_before_the_key(gateway, mock):
    post(gateway, "keyprefix", [("authorization", "Bearer c")])
    assert mock.only().all("authorization") == [f"Api-Key {ENVIRONMENT['HEADER_KEY']}"]


def test_extra_headers_are_sent_once_and_as_configured(gateway, mock):
    clients = [("x-extra", "c"), ("X-Fixed", "c"), ("x-second-key", "c"), ("x-other", "kept")]
    post(gateway, "headers", clients)
    arrived = mock.only()
    assert arrived.all("x-extra") == [ENVIRONMENT["EXTRA"]]
    assert arrived.all("x-fixed") == ["fixed"]
    assert arrived.all("x-second-key") == [ENVIRONMENT["SECOND_KEY"]]
    assert arrived.all("x-other") == ["kept"]


@pytest.mark.parametrize("query", ["", "?a=1&b=%20", "?code=clients&api-version=1999-01-01"])
def test_query_parameters_that_authenticate_are_added_and_not_the_clients(gateway, mock, query):
    post(gateway, "headers", target=PATH + query)
    path, _, arrived = mock.only().path.partition("?")
    assert path == "/v1/chat/completions"
    found = urllib.parse.parse_qs(arrived)
    assert found["code"] == [ENVIRONMENT["QUERY_KEY"]]
    assert found["api-version"] == ["2024-10-21"]
    if "b=" in query:
        assert (found["a"], found["b"]) == (["1"], [" "])


def test_organization_and_project_are_the_configurations(gateway, mock):
    post(gateway, "openai", [("openai-organization", "c"), ("openai-project", "c")])
    arrived = mock.only()
    assert arrived.all("openai-organization") == [ENVIRONMENT["OPENAI_ORG"]]
    assert arrived.all("openai-project") == [ENVIRONMENT["OPENAI_PROJECT"]]
    assert arrived.all("authorization") == [f"Bearer {ENVIRONMENT['OPENAI_KEY']}"]


def test_without_a_key_the_clients_own_goes(gateway, mock):
    post(gateway, "nokey", [("authorization", "Bearer sk-client")])
    assert mock.only().all("authorization") == ["Bearer sk-client"]


def test_without_a_key_and_without_a_clients_none_goes(gateway, mock):
    post(gateway, "nokey")
    arrived = mock.only()
    assert arrived.all("authorization") == []
    assert not any("sk-" in value for _, value in arrived.headers)


def test_the_clients_own_goes_where_the_provider_expects_it(gateway, mock):
    post(gateway, "nokeyheader", [("authorization", "Bearer sk-client")])
    arrived = mock.only()
    assert arrived.all("x-api-key") == ["sk-client"]
    assert arrived.all("authorization") == []


def test_credentials_that_are_no_api_key_keep_the_clients_out_too(gateway, mock):
    post(gateway, "authonly", [("authorization", "Bearer sk-client")])
    arrived = mock.only()
    assert arrived.all("authorization") == []
    assert arrived.all("x-second-key") == [ENVIRONMENT["SECOND_KEY"]]


def test_two_clients_at_once_never_see_each_others_key(gateway, mock):
    """The first waits at the provider while the second comes and goes."""
    mock.reply(body='{"who":"first"}', wait_for="first", headers=[("content-type", "application/json")])
    with concurrent.futures.ThreadPoolExecutor() as pool:
        first = pool.submit(post, gateway, "nokey", [("authorization", "Bearer sk-first")])
        mock.when(lambda request: request.body_complete)
        mock.reply(body='{"who":"second"}', headers=[("content-type", "application/json")])
        second = post(gateway, "nokey", [("authorization", "Bearer sk-second")])
        third = post(gateway, "nokey")
        mock.open("first")
        assert first.result().json() == {"who": "first"}
    assert second.json() == {"who": "second"}
    assert third.json()["object"] == "chat.completion"
    keys = [request.all("authorization") for request in mock.requests()]
    assert keys == [["Bearer sk-first"], ["Bearer sk-second"], []]


def test_many_clients_at_once_each_come_with_their_own_key(gateway, mock):
    def one(number):
        body = {"model": "m", "messages": [{"role": "user", "content": f"client-{number}."}]}
        headers = [("authorization", f"Bearer sk-{number}")] if number % 3 else []
        backend = ("nokey", "forced")[number % 2]
        return gateway.post(f"/{backend}/{PATH}", body, headers)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(one, range(200)))
    for number, reply in enumerate(replies):
        assert reply.status == 200 and f"client-{number}." in reply.text
    for request in mock.requests():
        number = int(json.loads(request.body)["messages"][0]["content"][7:-1])
        if number % 2:
            assert request.all("authorization") == [f"Bearer {ENVIRONMENT['PLAIN_KEY']}"]
        else:
            assert request.all("authorization") == ([f"Bearer sk-{number}"] if number % 3 else [])


def test_a_client_cannot_choose_a_backend(gateway, mock):
    for name in ("x-llm-proxy-backend", "X-LLM-Proxy-Backend", "x-llm-proxy-model"):
        mock.forget()
        reply = gateway.post(f"/plain/{PATH}", CHAT, [(name, "forced")])
        if name.endswith("model") or gateway.placement == bootstrap.UPSTREAM:
            assert reply.status == 200
            arrived = mock.only()
            assert arrived.authority == "plain.example"
            assert arrived.json()["model"] == "m"
            assert not arrived.all(name.lower())
        else:
            # By this one Envoy has chosen a route before, and filters before the module worked by it.
            assert_openai_error(reply, 400, code="reserved_header")
            assert mock.none_came()
    reply = gateway.post(f"/nowhere/{PATH}", CHAT, [("x-llm-proxy-backend", "plain")])
    assert reply.status == (404 if gateway.placement == bootstrap.UPSTREAM else 400)


def test_a_client_cannot_choose_a_retry_policy(gateway, mock):
    for _ in range(2):
        mock.reply(status=503, body='{"error":{"message":"m","type":"t","param":null,"code":null}}')
    headers = [
        ("x-envoy-retry-on", "5xx,retriable-status-codes"),
        ("x-envoy-retriable-status-codes", "503"),
        ("x-envoy-max-retries", "5"),
    ]
    assert gateway.post(f"/plain/{PATH}", CHAT, headers).status == 503
    assert len(mock.requests()) == 1


def test_a_client_cannot_choose_a_timeout(gateway, mock):
    mock.reply(delay_ms=300, body="{}", headers=[("content-type", "application/json")])
    headers = [
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-upstream-rq-per-try-timeout-ms", "1"),
    ]
    assert gateway.post(f"/plain/{PATH}", CHAT, headers).status == 200


def test_no_key_can_be_read_from_envoys_admin_interface(gateway, mock):
    post(gateway, "headers")
    for page in ("/config_dump?include_eds", "/stats?format=json", "/clusters", "/server_info"):
        text = gateway.admin(page)
        assert text, page
        for name, secret in SECRETS.items():
            assert secret not in text, f"{name} stands in {page}"
            assert urllib.parse.quote_plus(secret) not in text, f"{name} stands in {page}"


def test_no_key_comes_back_in_an_error(gateway, mock):
    for reply in (
        gateway.post("/plain/v1/chat/completions", b"{"),
        gateway.post("/headers/v1/nothing-of-that-name", {}),
        gateway.post("/nowhere", CHAT),
    ):
        assert reply.status >= 400
        for secret in SECRETS.values():
            assert secret not in reply.text
            assert not any(secret in value for _, value in reply.headers)


def test_a_wrong_key_is_the_providers_401(start, provider, mock):
    gateway = start(
        gateways.shared(provider), env={**ENVIRONMENT, "PLAIN_KEY": "sk-bad-key"}, name="wrong-key"
    )
    reply = gateway.post(f"/plain/{PATH}", CHAT)
    assert reply.status == 401
    assert reply.json()["error"]["message"]
