"""Every example of `docs/istio.md`, as it stands there, beside the gateway of the walk-through, by Istio."""

import gzip
import json
import re

import pytest
import yaml

from harness import artefacts
from harness.client import request
from harness.control_planes.policies import AUTHORIZER, Authorizer, token
from harness.control_planes.collector import COLLECTOR, Collector
from harness.control_planes.limiter import LIMITER, Limiter
from harness.control_planes.world import PROVIDERS
from harness.process import until

from test_on_istio import CHAT, PLAIN, SEEN, SELECTOR, start  # noqa: F401, a fixture
from tls import identity, post_tls

PAGE = artefacts.ROOT / "docs/istio.md"
PREFLIGHT = [("origin", "https://app.example.com"), ("access-control-request-method", "POST")]


def examples() -> dict[str, list[str]]:
    """The blocks of YAML of each chapter."""
    _, *chapters = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    found = {it.splitlines()[0]: re.findall(r"^```yaml\n(.*?)^```$", it, re.M | re.S) for it in chapters}
    return {heading: blocks for heading, blocks in found.items() if blocks}


def resources(heading: str) -> list[dict]:
    documents = [it for block in examples()[heading] for it in yaml.safe_load_all(block)]
    return [it for it in documents if "apiVersion" in it]


def mesh(heading: str) -> dict:
    """What an example has for the mesh's configuration."""
    documents = [it for block in examples()[heading] for it in yaml.safe_load_all(block)]
    return {key: value for it in documents if "apiVersion" not in it for key, value in it.items()}


def service(host: str, address: tuple[str, int], protocol="HTTP") -> dict:
    """A service of the cluster, at `address`."""
    port = {"number": address[1], "name": protocol.lower(), "protocol": protocol}
    spec = {"hosts": [host], "ports": [port], "resolution": "STATIC", "endpoints": [{"address": address[0]}]}
    metadata = {"name": host.partition(".")[0], "namespace": host.split(".")[1]}
    return {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": metadata, "spec": spec}


@pytest.fixture
def run(start):  # noqa: F811
    """Starts the gateway with the examples of a chapter."""

    def run(heading, *options, surroundings=(), change=lambda example: None):
        name = "page-" + re.sub(r"\W+", "-", heading.lower())
        own = resources(heading)
        for example in own:
            change(example)
        around = [*own, *surroundings]
        started = start(PLAIN, *SELECTOR, *options, surroundings=around, mesh=mesh(heading), name=name)
        for example in own:
            allowed, message = started.validate(example)
            assert allowed, message
        return started

    return run


def ask(started, headers=(), path="/mistral", body=CHAT):
    return started.post(path, body, list(headers))


def assert_guarded(started, mock, credential, status: int, path="/mistral", wrong=()):
    """Without the credential nothing reaches a provider; with it, it gets what it always gets."""
    for headers in [[], *([it] for it in wrong)]:
        assert ask(started, headers, path).status == status, headers
        assert mock.none_came()
    assert ask(started, [credential], path).status == 200
    names = sorted(name for name, _ in mock.only().headers)
    assert set(names) <= {*SEEN, "host", "content-length", "transfer-encoding", "x-token", "x-team"}
    assert mock.only().all("authorization")[0].startswith("Bearer sk-")


def jwt_at_the_door(run, mock):
    started = run("JWT at the door")
    good, bad = f"Bearer {token()}", f"Bearer {token()[:-8]}AAAAAAAA"
    until(lambda: ask(started, [("authorization", good)]).status == 200)
    mock.forget()
    assert ask(started).status == 403
    assert ask(started, [("authorization", bad)]).status == 401
    assert mock.none_came()
    assert ask(started, [("authorization", good)]).status == 200
    arrived = mock.only()
    assert (arrived.all("authorization"), arrived.all("x-user")) == (["Bearer sk-mistral"], ["alice"])


def api_keys_of_clients(run, mock):
    started = run("API keys of clients")
    assert_guarded(started, mock, ("x-api-key", "key-of-team-b"), 403, wrong=[("x-api-key", "key-of-team-c")])
    assert not mock.only().all("x-api-key")


def a_policy_for_one_route(run, mock):
    started = run("A policy for one route")
    assert_guarded(started, mock, ("x-team", "red"), 403, "/deepseek", wrong=[("x-team", "blue")])
    assert ask(started).status == 200


def external_authorization(run, mock):
    authorizer = Authorizer()
    try:
        around = [service("authorizer.auth.svc.cluster.local", AUTHORIZER)]
        started = run("External authorization", surroundings=around)
        assert_guarded(started, mock, ("x-token", "good"), 403, wrong=[("x-token", "bad")])
        path, headers = authorizer.seen[-1]
        assert path == "/mistral" and "sk-mistral" not in str(headers)
    finally:
        authorizer.stop()


def limits_per_client(run, mock):
    started = run("Limits per client")

    def statuses(client, count):
        return [ask(started, [("x-api-key", client)]).status for _ in range(count)]

    assert statuses("a", 21) == [200] * 20 + [429]
    # The limit counts one client, whatever other headers it sends; another client has its own limit.
    for forged in (("x-llm-proxy-backend", "deepseek"), ("authorization", "Bearer b")):
        assert ask(started, [("x-api-key", "a"), forged], "/deepseek").status == 429
    assert statuses("b", 21) == [200] * 20 + [429]
    assert len(mock.requests()) == 40


def limits_per_token_count(run, mock):
    usage = {"prompt_tokens": 60_000, "completion_tokens": 1, "total_tokens": 60_001}
    limiter = Limiter(100_000)
    try:
        around = [service("ratelimit.limits.svc.cluster.local", LIMITER, "GRPC")]
        started = run("Limits per token count", surroundings=around)
        for stream in (False, True):
            mock.reset([])
            text = json.dumps({"object": "chat.completion", "choices": [], "usage": usage})
            if stream:
                cut = text.index("60001") + 2
                chunks = [{"data": it} for it in (f"data: {text[:cut]}", f"{text[cut:]}\n\n")]
                mock.reply(headers=[("content-type", "text/event-stream")], chunks=chunks, times=4)
            else:
                mock.reply(headers=[("content-type", "application/json")], body=text, times=4)
            client = ("x-api-key", f"key-{stream}")
            # One of each request, and its tokens.
            for expected in (60_002, 120_004):
                assert ask(started, [client], body={**CHAT, "stream": stream}).status == 200
                until(lambda: limiter.counts.get((client[1],)) == expected)
            # Beyond the limit; another client is not, although the provider sees the same key.
            mock.forget()
            assert ask(started, [client]).status == 429
            assert mock.none_came()
            assert ask(started, [("x-api-key", f"other-{stream}")]).status == 200
    finally:
        limiter.stop()


def cors(run, mock):
    started = run("CORS")

    def preflight(headers):
        return request(started.pod.port, "OPTIONS", "/mistral/v1/chat/completions", headers=headers)

    reply = preflight(PREFLIGHT)
    assert (reply.status, reply.header("access-control-allow-origin")) == (200, "https://app.example.com")
    assert reply.header("access-control-allow-methods") == "POST"
    assert mock.none_came()
    reply = ask(started, PREFLIGHT[:1])
    assert (reply.status, reply.header("access-control-allow-origin")) == (200, "https://app.example.com")
    mock.forget()
    # Of another origin: the module refuses it.
    assert preflight([("origin", "https://other.example.com"), PREFLIGHT[1]]).status == 405
    assert mock.none_came()


def guards(run, mock):
    started = run("Guards")
    message = {"role": "user", "content": "this is a secret"}
    reply = ask(started, body={"messages": [message]})
    assert (reply.status, reply.text, mock.none_came()) == (403, "guarded", True)
    assert ask(started).status == 200
    assert mock.only().json()["model"] == "mistral-small-latest"


def compression(run, mock):
    started = run("Compression")
    mock.reply(headers=[("content-type", "application/json")], body='{"a": "%s"}' % ("b" * 4000))
    reply = ask(started, [("accept-encoding", "gzip")])
    assert (reply.status, reply.header("content-encoding")) == (200, "gzip")
    assert gzip.decompress(reply.body) == b'{"a": "%s"}' % (b"b" * 4000)
    assert not mock.only().all("accept-encoding")


def tracing(run, mock):
    collector = Collector()
    try:
        started = run("Tracing", surroundings=[service("zipkin.tracing.svc.cluster.local", COLLECTOR)])
        assert ask(started, [("traceparent", f"00-{'a' * 32}-{'b' * 16}-01")]).status == 200
        names = {name for name, _ in mock.only().headers}
        assert names <= {*SEEN, "host", "content-length", "transfer-encoding"}
        # It was traced nevertheless.
        until(lambda: collector.spans)
    finally:
        collector.stop()


def redirects(run, mock):
    directory = artefacts.OUTPUT / "control-planes"
    files = {name: directory / name for name in ("tls.key", "tls.crt")}
    for name, text in identity(directory).items():
        files[name].write_text(text)

    def with_files(gateway):
        """There is no Secret without a cluster; nothing else of the example is changed."""
        [tls] = [it["tls"] for it in gateway["spec"]["servers"] if it["port"]["protocol"] == "HTTPS"]
        del tls["credentialName"]
        tls.update(serverCertificate=str(files["tls.crt"]), privateKey=str(files["tls.key"]))

    started = run("Redirects", "--gateway", "shared", change=with_files)
    host = ("host", "llm.example.org")
    for path in ("/mistral", "/mistral/v1/chat/completions", "/deepseek"):
        reply = ask(started, [host, ("authorization", "Bearer client")], path)
        assert (reply.status, reply.header("location")) == (301, f"https://llm.example.org{path}")
    assert ask(started, [("host", "other.example.org")]).status == 404
    assert mock.none_came()
    reply = post_tls(8443, "/mistral", CHAT, [host])
    assert (reply.status, mock.only().authority) == (200, "api.mistral.ai")


CHECKS = {
    "JWT at the door": jwt_at_the_door,
    "API keys of clients": api_keys_of_clients,
    "A policy for one route": a_policy_for_one_route,
    "External authorization": external_authorization,
    "Limits per client": limits_per_client,
    "Limits per token count": limits_per_token_count,
    "CORS": cors,
    "Guards": guards,
    "Compression": compression,
    "Tracing": tracing,
    "Redirects": redirects,
}


def test_every_example_of_the_page_is_run():
    assert set(examples()) == set(CHECKS)


def test_a_mirror_gets_the_key(start, mock):  # noqa: F811
    """So the page says that there should be none."""

    def mirrored(manifests):
        documents = [it for it in yaml.safe_load_all(manifests) if it]
        for document in documents:
            if document["kind"] == "VirtualService":
                destination = {"host": "other.example.com", "port": {"number": 8000}}
                document["spec"]["http"][0]["mirrors"] = [{"destination": destination}]
        return yaml.safe_dump_all(documents)

    around = [service("other.example.com", (PROVIDERS, 8000))]
    around[0]["metadata"]["namespace"] = "istio-ingress"
    started = start(PLAIN, *SELECTOR, surroundings=around, change=mirrored, name="mirror")
    assert ask(started).status == 200
    [copy] = until(lambda: [it for it in mock.requests() if not it.tls])
    assert copy.all("authorization") == ["Bearer sk-mistral"]


@pytest.mark.parametrize("heading", CHECKS)
def test_an_example_does_what_the_page_says(run, mock, heading):
    CHECKS[heading](run, mock)
