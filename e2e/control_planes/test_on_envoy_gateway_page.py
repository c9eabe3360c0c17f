"""Every example of `docs/envoy-gateway.md`, as it stands there, by Envoy Gateway."""

import gzip

import pytest
import yaml

from harness.control_planes.policies import POLICIES, Authorizer, token
from harness.control_planes.processor import Processor
from harness.pages import examples
from harness.process import until
from harness.seen import SENT, assert_seen

from test_on_envoy_gateway import CHAT, PLAIN, start  # noqa: F401, a fixture
from test_on_envoy_gateway_policies import secret

EXAMPLES = examples("envoy-gateway.md")
MISTRAL, DEEPSEEK = "/mistral/v1/chat/completions", "/deepseek/v1/chat/completions"
SENT_ELSE = [it for it in SENT if it[0] not in ("authorization", "x-api-key")]
ORIGIN = "https://app.example.com"
# These need another Gateway: `test_on_envoy_gateway_listeners.py` has them.
ELSEWHERE = {"Redirects to https", "A Gateway that is there already", "A Gateway that is there already 2"}


@pytest.fixture(scope="module")
def started(start):  # noqa: F811
    services = [Authorizer(), Processor()]
    # From this version on a guard on the Gateway is merged with ours on the routes.
    running = start(PLAIN, "--envoy-gateway-version", "1.9", name="page")
    running.rendered = (running.directory / "ours.yaml").read_text()
    yield running
    for service in services:
        service.stop()


def apply(started, heading: str, probe, status: int):
    """Has an example in force, and none of those before."""
    started.apply(started.rendered)
    until(lambda: probe().status == 200)
    beside = [*EXAMPLES[heading], secret("clients", {"team": "team-key"})]
    started.apply(f"{started.rendered}---\n{yaml.safe_dump_all(beside)}")
    until(lambda: probe().status == status)
    assert started.conditions() == []


def assert_guarded(started, mock, heading: str, credential, status: int, paths, more=()):
    """Without the credential nothing arrives; with it the provider sees its key, and `more`."""
    apply(started, heading, lambda: started.post(paths[0], CHAT), status)
    for path in paths:
        mock.forget()
        reply = started.post(path, CHAT, SENT_ELSE)
        assert (reply.status, mock.none_came()) == (status, True), reply
        reply = started.post(path, CHAT, [*SENT_ELSE, *credential])
        assert reply.status == 200, reply
        name = path.split("/")[1]
        assert_seen(mock.only(), ("authorization", f"Bearer sk-{name}"), *more)


def test_every_example_has_a_test():
    tested = {
        "JWT at the door", "API keys of clients", "External authorization", "Limits per client", "CORS", "Guards",
        "Guards 2", "Compression",
    }
    assert set(EXAMPLES) == tested | ELSEWHERE


def test_tokens(started, mock):
    credential = [("authorization", f"Bearer {token()}")]
    more = [("x-user", "alice")]
    assert_guarded(started, mock, "JWT at the door", credential, 401, (MISTRAL, DEEPSEEK), more)


def test_a_header_of_the_authentication_stays_here_if_the_backend_says_so(started, mock):
    document = started.rendered.replace("defaultModel: mistral-small-latest", "removeHeaders: [x-user]", 1)
    assert document != started.rendered
    beside = yaml.safe_dump_all(EXAMPLES["JWT at the door"])
    started.apply(f"{document}---\n{beside}")
    credential = [("authorization", f"Bearer {token()}")]
    body = {**CHAT, "model": "m"}

    def names() -> set[str]:
        mock.forget()
        reply = started.post(MISTRAL, body, credential)
        return {name for name, _ in mock.only().headers} if reply.status == 200 else {"x-user"}

    until(lambda: "x-user" not in names())
    assert started.post(MISTRAL, body).status == 401


def test_keys_of_clients(started, mock):
    assert_guarded(started, mock, "API keys of clients", [("x-api-key", "team-key")], 401, [MISTRAL])
    assert started.post(DEEPSEEK, CHAT).status == 200


def test_external_authorization(started, mock):
    credential = [("x-token", "good")]
    assert_guarded(started, mock, "External authorization", credential, 403, (MISTRAL, DEEPSEEK), credential)


@pytest.mark.parametrize("heading", ["Guards", "Guards 2"])
def test_guards(started, mock, heading):
    credential = POLICIES["lua"].credential
    assert_guarded(started, mock, heading, credential, 403, (MISTRAL, DEEPSEEK), credential)


def test_limits_by_client(started, mock):
    team = ("authorization", "Bearer team-a")
    apply(started, "Limits per client", lambda: started.post(MISTRAL, CHAT, [team]), 429)
    mock.forget()
    for path in (MISTRAL, DEEPSEEK):
        # Another client has the same key at the provider, and no limit.
        for _ in range(4):
            assert started.post(path, CHAT, [("authorization", "Bearer team-b")]).status == 200
    assert len(mock.requests()) == 8
    mock.forget()
    assert (started.post(MISTRAL, CHAT, [team]).status, mock.none_came()) == (429, True)


def test_preflights(started, mock):
    asked = [("origin", ORIGIN), ("access-control-request-method", "POST")]

    def preflight():
        return started.request("OPTIONS", DEEPSEEK, asked)

    started.apply(f"{started.rendered}---\n{yaml.safe_dump_all(EXAMPLES['CORS'])}")
    until(lambda: preflight().header("access-control-allow-origin") == ORIGIN)
    assert started.conditions() == []
    mock.forget()
    reply = preflight()
    assert (reply.status, reply.header("access-control-allow-methods")) == (200, "POST")
    assert mock.none_came()
    reply = started.post(DEEPSEEK, CHAT, [("origin", ORIGIN)])
    assert (reply.status, reply.header("access-control-allow-origin")) == (200, ORIGIN)
    assert mock.only().all("authorization") == ["Bearer sk-deepseek"]


def test_compression(started, mock):
    accepted = [("accept-encoding", "gzip")]
    started.apply(f"{started.rendered}---\n{yaml.safe_dump_all(EXAMPLES['Compression'])}")

    def compressed():
        reply = started.post(MISTRAL, CHAT, accepted)
        return reply if reply.header("content-encoding") == "gzip" else None

    reply = until(compressed)
    assert started.conditions() == []
    assert b"chat.completion" in gzip.decompress(reply.body)
    assert b"chat.completion" in started.post(MISTRAL, CHAT).body
