"""Every example of `docs/envoy-gateway.md`, as it stands there, by Envoy Gateway."""

import gzip
import json

import pytest
import yaml

from harness.control_planes.collector import Collector
from harness.control_planes.envoy_gateway import LIMITER_PORT
from harness.control_planes.limiter import LIMITER, Limiter
from harness.control_planes.policies import POLICIES, Authorizer, token
from harness.control_planes.processor import Processor
from harness.control_planes.world import PROVIDERS
from harness.pages import examples
from harness.process import until
from harness.seen import SENT, assert_seen

from test_on_envoy_gateway import CHAT, PLAIN, start  # noqa: F401, a fixture
from test_on_envoy_gateway_policies import resource, secret

EXAMPLES = examples("envoy-gateway.md")
MISTRAL, DEEPSEEK = "/mistral/v1/chat/completions", "/deepseek/v1/chat/completions"
SENT_ELSE = [it for it in SENT if it[0] not in ("authorization", "x-api-key")]
ORIGIN = "https://app.example.com"
# These need another Gateway: `test_on_envoy_gateway_listeners.py` has them.
ELSEWHERE = {"Redirects to https", "A Gateway that is there already", "A Gateway that is there already 2"}


@pytest.fixture(scope="module")
def started(start):  # noqa: F811
    services = [Authorizer(), Processor()]
    limits = {"backend": {"type": "Redis", "redis": {"url": "redis.default.svc.cluster.local:6379"}}, "timeout": "5s"}
    # From this version on a guard on the Gateway is merged with ours on the routes.
    running = start(PLAIN, "--envoy-gateway-version", "1.9", name="page", settings={"rateLimit": limits})
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
        "JWT at the door", "API keys of clients", "External authorization", "Limits per client",
        "Limits per token count", "CORS", "Guards", "Guards 2", "Compression", "Tracing", "Tracing 2",
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


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_limits_by_tokens(started, mock, stream):
    usage = {"prompt_tokens": 60_000, "completion_tokens": 1, "total_tokens": 60_001}
    limiter = Limiter(100_000, (LIMITER[0], LIMITER_PORT))
    try:
        apply(started, "Limits per token count", lambda: started.post(MISTRAL, CHAT), 200)
        # The limit is in force once a request has been counted.
        until(lambda: [started.post(DEEPSEEK, CHAT, [("x-client-id", "probe")]), limiter.counts][1])
        mock.reset([])
        if stream:
            chunks = [{"data": 'data: {"choices":[]}\n\n'}]
            chunks += [{"data": it} for it in split(f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n")]
            mock.reply(headers=[("content-type", "text/event-stream")], chunks=chunks, times=4)
        else:
            body = json.dumps({"object": "chat.completion", "choices": [], "usage": usage})
            mock.reply(headers=[("content-type", "application/json")], body=body, times=4)
        client = f"key-{stream}"

        def count():
            return sum(it for values, it in limiter.counts.items() if client in values)

        # One of each request, and its tokens.
        for expected in (60_002, 120_004):
            assert started.post(MISTRAL, {**CHAT, "stream": stream}, [("x-client-id", client)]).status == 200
            until(lambda: count() == expected)
        # Beyond the limit; another client is not, although the provider sees the same key.
        mock.forget()
        assert started.post(MISTRAL, CHAT, [("x-client-id", client)]).status == 429
        assert mock.none_came()
        assert started.post(MISTRAL, CHAT, [("x-client-id", f"other-{stream}")]).status == 200
    finally:
        limiter.stop()


def split(text: str) -> list[str]:
    """Pieces that cut the count in two."""
    at = text.index("60001") + 2
    return [text[:at], text[at:]]


def merged(ours, more):
    if isinstance(ours, dict) and isinstance(more, dict):
        return {**ours, **{key: merged(ours.get(key), value) for key, value in more.items()}}
    return more


def test_a_mirror_gets_the_key(started, mock):
    """So the page says that there should be none."""
    other = {"group": "gateway.envoyproxy.io", "kind": "Backend", "name": "other"}
    documents = [it for it in yaml.safe_load_all(started.rendered) if it]
    for document in documents:
        if document["kind"] == "HTTPRoute" and document["metadata"]["name"] == "llm-proxy-mistral":
            mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": other}}
            document["spec"]["rules"][0]["filters"].append(mirror)
    backend = resource("Backend", "other", {"endpoints": [{"ip": {"address": PROVIDERS, "port": 8000}}]})
    started.apply(yaml.safe_dump_all([*documents, backend]))

    def copies():
        mock.forget()
        assert started.post(MISTRAL, CHAT).status == 200
        return [it for it in mock.requests() if not it.tls]

    [copy, *_] = until(copies)
    assert copy.all("authorization") == ["Bearer sk-mistral"]


def test_a_guard_in_wasm_stands_in_our_policy(started, mock):
    """On the Gateway it has no effect, and no condition says so."""
    documents = [it for it in yaml.safe_load_all(started.rendered) if it]
    [policy] = [it for it in documents if it["kind"] == "EnvoyExtensionPolicy"]
    # Another configuration of the module stands for a guard: it knows no path but one, and answers 404.
    [ours] = policy["spec"]["wasm"]
    backends = [{"name": "none", "type": "mistral", "config": {"apiKey": "none"}}]
    config = {"placement": "listener", "backends": backends, "routes": [{"path": "/none", "backend": "none"}]}
    guard = {**ours, "name": "guard", "config": config}
    target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "llm-proxy"}
    # Beside a guard in Lua, by which one sees that the policy is in force.
    [with_lua] = EXAMPLES["Guards"]
    on_gateway = {**with_lua, "spec": {**with_lua["spec"], "targetRefs": [target], "wasm": [guard]}}
    started.apply(started.rendered)
    until(lambda: started.post(MISTRAL, CHAT).status == 200)
    started.apply(yaml.safe_dump_all([*documents, on_gateway]))
    until(lambda: started.post(MISTRAL, CHAT).status == 403)
    until(lambda: started.post(MISTRAL, CHAT, POLICIES["lua"].credential).status == 200)
    assert started.conditions() == []
    policy["spec"]["wasm"].insert(0, guard)
    started.apply(yaml.safe_dump_all(documents))
    until(lambda: started.post(MISTRAL, CHAT).status == 404)
    mock.forget()
    assert started.post(MISTRAL, CHAT, POLICIES["lua"].credential).status == 404
    assert mock.none_came()


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


def test_tracing(start, mock):  # noqa: F811
    """With an Envoy Gateway of its own: the kind that is changed here is that of all proxies."""
    collector = Collector()
    [proxy, backend], patch = EXAMPLES["Tracing"], EXAMPLES["Tracing 2"]

    def traced(manifests):
        documents = [it for it in yaml.safe_load_all(manifests) if it]
        documents = [merged(it, proxy) if it["kind"] == "EnvoyProxy" else it for it in documents]
        return yaml.safe_dump_all([*documents, backend])

    def headers(sent=()) -> list[str]:
        mock.forget()
        assert started.post(MISTRAL, CHAT, sent).status == 200
        return [name for name, _ in mock.only().headers if name.startswith("x-b3-")]

    try:
        started = start(PLAIN, name="traced", change=traced)
        manifests = (started.directory / "ours.yaml").read_text()
        # What the page says of it: without the patch, Envoy adds the headers of the trace.
        until(headers)
        started.apply(f"{manifests}---\n{yaml.safe_dump_all(patch)}")
        until(lambda: not headers())
        assert not headers(SENT)
        assert_seen(mock.only(), ("authorization", "Bearer sk-mistral"))
        assert started.conditions() == []
        until(lambda: collector.spans)
    finally:
        collector.stop()
