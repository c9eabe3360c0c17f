"""The manifests for Istio, as Istio handed them to Envoy: see `harness/recording.py`."""

import json
import re
import threading

import pytest

from harness import artefacts
from harness.client import Exchange
from harness.envoy import Envoy
from harness.process import until
from harness.recording import Served
from harness.shapes import assert_openai_error

VERSIONS = (artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY)
KEYS = {
    "MISTRAL_API_KEY": "sk-mistral",
    "DEEPSEEK_API_KEY": "sk-deepseek",
    "ANTHROPIC_API_KEY": "sk-ant",
}
CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
MISTRAL = "/mistral/v1/chat/completions"
EVENTS = ("content-type", "text/event-stream")
# What tells a provider about us.
TELLING = ("x-llm-proxy", "x-envoy", "x-forwarded", "authorization", "cookie")


@pytest.fixture(scope="module")
def start(provider, output):
    """Starts the Envoy of a pod, with all providers at `mock`: `start(form)`."""
    running, healthy = [], []

    def start(form, version=artefacts.NEWEST_ENVOY, fails=False):
        directory = output / "istio" / f"{form}-{len(running)}-{version}"
        served = Served("istio", form, directory, provider)
        running.append(Envoy(directory, served.bootstrap, version, KEYS))
        if not fails:
            healthy.append(running[-1])
        return served, running[-1]

    yield start
    for envoy in running:
        envoy.process.stop()
    for envoy in healthy:
        envoy.assert_no_trouble()
    for envoy in running:
        for secret in KEYS.values():
            assert secret not in envoy.log()


@pytest.fixture(scope="module", params=VERSIONS)
def gateway(start, request):
    return start("plain", request.param)[1]


def walk_through(home: str):
    """The requests of a chapter of `envoy/README.md`: path and body."""
    text = (artefacts.EXAMPLES / "README.md").read_text()
    chapter = re.search(rf"^## {home}\n(.*?)^## ", text, re.M | re.S)[1].replace("\\\n", "")
    found = re.findall(r"curl http://127\.0\.0\.1:8080(\S+) .*?-d '(.*?)'", chapter)
    assert found
    return found


def test_the_requests_of_the_walk_through_are_answered(gateway, mock):
    asked = walk_through("Istio")
    assert len(asked) == 2
    for path, body in asked:
        mock.forget()
        name = path.split("/")[1]
        authority = {"mistral": "api.mistral.ai", "deepseek": "api.deepseek.com"}[name]
        model = {"mistral": "mistral-small-latest", "deepseek": "deepseek-v4-flash"}[name]
        reply = gateway.post(path, body, [("authorization", "Bearer client"), ("cookie", "a=b")])
        assert reply.status == 200, reply.body
        arrived = mock.only()
        assert (arrived.authority, arrived.path) == (authority, "/v1/chat/completions")
        assert (arrived.tls, arrived.sni) == (True, authority)
        assert arrived.all("authorization") == [f"Bearer sk-{name}"]
        added = {"temperature": 0.3} if name == "mistral" else {}
        streams = json.loads(body).get("stream", False)
        if streams:
            # The gateway requests the usage, and removes its chunk from the stream.
            added["stream_options"] = {"include_usage": True}
        assert arrived.json() == {**json.loads(body), "model": model, **added}
        told = [it for it, _ in arrived.headers if it.startswith(TELLING)]
        assert told == ["authorization"]
        assert (reply.header("content-type") or "").startswith(EVENTS[1]) == streams


def test_no_key_can_be_read_from_envoys_configuration(gateway, patched):
    for envoy in (gateway, patched):
        dump = envoy.admin("/config_dump")
        assert "MISTRAL_API_KEY" in dump
        assert not [secret for secret in KEYS.values() if secret in dump]


def test_a_client_does_not_choose_by_our_header(gateway, mock):
    headers = [("x-llm-proxy-backend", "deepseek")]
    assert gateway.post(MISTRAL, CHAT, headers).status == 200
    assert mock.only().authority == "api.mistral.ai"
    mock.forget()
    assert_openai_error(gateway.post("/other", CHAT, headers), 404, "invalid_request_error")
    assert mock.none_came()


def test_a_provider_that_is_not_there_is_an_error_in_openais_shape(gateway, mock):
    mock.reply(reset_before_headers=True, times=4)
    assert_openai_error(gateway.post(MISTRAL, CHAT), 503, "server_error")


def test_attempts_are_what_max_retries_says(gateway, mock):
    mock.reply(status=429, body="{}", times=2)
    assert gateway.post("/deepseek", CHAT).status == 200
    assert len(mock.requests()) == 3
    mock.forget()
    mock.reply(status=429, body="{}")
    assert_openai_error(gateway.post("/mistral", CHAT), 429)
    assert len(mock.requests()) == 1


def test_a_large_body_passes_as_it_comes(gateway, mock):
    """Nothing is held, so nothing counts against the listener's buffer limit."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x" * 3_000_000}]}
    assert gateway.post(MISTRAL, body).status == 200
    assert mock.only().json() == {**body, "temperature": 0.3}


def test_an_update_while_requests_run_loses_none(start, mock):
    istio, gateway = start("plain")
    models = [f"model-{number}" for number in range(4)]

    def of(model):
        return lambda config: config["backends"][0]["config"].update(model=model)

    # One that began before any update, and ends after all of them.
    words = ["data: {\"a\":1}\n\n", "data: {\"b\":2}\n\n", "data: [DONE]\n\n"]
    chunks = [{"data": word, "wait_for": f"g{at}"} for at, word in enumerate(words)]
    mock.reply(headers=[EVENTS], chunks=chunks)
    data = json.dumps({**CHAT, "stream": True}).encode()
    statuses = []
    with Exchange(gateway.port) as stream:
        length = ("content-length", str(len(data)))
        stream.head("POST", MISTRAL, [("host", "g"), ("content-type", "application/json"), length])
        stream.send(data)
        assert stream.begin()[0] == 200
        mock.open("g0")
        assert stream.until(b"\n\n") == words[0].encode()

        def ask(times):
            statuses.extend(gateway.post(MISTRAL, CHAT).status for _ in range(times))

        for model in models:
            threads = [threading.Thread(target=ask, args=(15,)) for _ in range(2)]
            for thread in threads:
                thread.start()
            istio.update(of(model))
            for thread in threads:
                thread.join()
            until(lambda: _model(gateway, mock) == model)
        mock.open("g1")
        mock.open("g2")
        assert stream.until(b"[DONE]\n\n").decode() == words[1] + words[2]
    assert statuses == [200] * 2 * 15 * len(models)
    # Nothing in between: each request is of one configuration as a whole.
    asked = [it.json()["model"] for it in mock.requests()]
    assert set(asked) == {"mistral-small-latest", *models}


def _model(gateway, mock):
    assert gateway.post(MISTRAL, CHAT).status == 200
    return mock.requests()[-1].json()["model"]


def test_a_configuration_that_is_wrong_is_not_taken(start, mock):
    istio, gateway = start("plain", fails=True)
    istio.update(lambda config: config.update(backend="nobody"))
    until(lambda: "config update rejected" in gateway.log())
    assert 'no backend is named "nobody"' in gateway.log()
    assert [gateway.post(MISTRAL, CHAT).status for _ in range(10)] == [200] * 10

    def right(config):
        config["backends"][0]["config"]["model"] = "right-again"

    istio.update(right)
    until(lambda: _model(gateway, mock) == "right-again")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_sidecar_routes_by_path_what_calls_a_providers_host(start, mock, version):
    _, sidecar = start("sidecar", version)
    for host in ("api.mistral.ai:10000", "api.deepseek.com:10000", "api.deepseek.com"):
        for name, authority in (("mistral", "api.mistral.ai"), ("deepseek", "api.deepseek.com")):
            mock.forget()
            assert sidecar.post(f"/{name}", CHAT, [("host", host)]).status == 200
            arrived = mock.only()
            assert (arrived.authority, arrived.sni) == (authority, authority)
            assert arrived.all("authorization") == [f"Bearer sk-{name}"]
    # Another host is another service's: the module leaves it alone.
    mock.forget()
    reply = sidecar.post("/mistral", CHAT, [("host", "llm.apps.svc.cluster.local")])
    # The cluster of what passes through has no destination here.
    assert (reply.status, reply.text) == (503, "no healthy upstream")
    assert mock.none_came()


@pytest.fixture(scope="module", params=VERSIONS)
def patched(start, request):
    return start("held", request.param)[1]


def test_an_envoy_filter_puts_the_module_on_the_clusters(patched, mock):
    """Headers wait for the body: its length is exact, and a dialect can be translated."""
    headers = [("authorization", "Bearer client"), ("x-forwarded-for", "1.2.3.4")]
    assert patched.post(MISTRAL, CHAT, headers).status == 200
    arrived = mock.only()
    assert (arrived.authority, arrived.sni) == ("api.mistral.ai", "api.mistral.ai")
    assert arrived.json() == {**CHAT, "model": "mistral-small-latest"}
    assert arrived.header("content-length") == str(len(arrived.body))
    told = [it for it, _ in arrived.headers if it.startswith(TELLING)]
    assert told == ["authorization"]


def ask_claude(gateway, mock, body):
    """A request that is translated, with its reply; what came to the provider."""
    mock.profile("api.anthropic.com", auth_header="x-api-key", auth_prefix="", key="required")
    recorded = artefacts.ROOT / "tests" / "chat" / "plain" / "reply.anthropic.json"
    mock.reply(headers=[("content-type", "application/json")], body=recorded.read_text())
    reply = gateway.post("/claude", body, [("authorization", "Bearer client")])
    assert reply.status == 200, reply.body
    assert reply.json()["object"] == "chat.completion"
    arrived = mock.only()
    assert (arrived.authority, arrived.path) == ("api.anthropic.com", "/v1/messages")
    assert arrived.all("x-api-key") == ["sk-ant"]
    assert arrived.all("authorization") == []
    assert arrived.header("content-length") == str(len(arrived.body))
    return arrived


def test_an_envoy_filter_carries_a_translated_type(patched, mock):
    assert ask_claude(patched, mock, CHAT).json()["max_tokens"] == 8192


def test_an_envoy_filter_brings_the_errors_along(patched, mock):
    assert_openai_error(patched.post("/nowhere", CHAT), 404, "invalid_request_error")
    assert_openai_error(patched.post(MISTRAL, b"["), 400, "invalid_request_error")
    mock.reply(reset_before_headers=True, times=4)
    assert_openai_error(patched.post(MISTRAL, CHAT), 503, "server_error")


def assert_routed_by_model(gateway, mock):
    for model, authority in (
        ("deepseek-v4-flash", "api.deepseek.com"),
        ("mistral-small-latest", "api.mistral.ai"),
    ):
        mock.forget()
        asked = {**CHAT, "model": model}
        headers = [("x-llm-proxy-route", "rest"), ("x-llm-proxy-backend", "mistral")]
        reply = gateway.post("/v1/chat/completions", asked, headers)
        assert reply.status == 200, reply.body
        arrived = mock.only()
        assert (arrived.authority, arrived.sni) == (authority, authority)
        assert arrived.json() == asked
        assert [it for it, _ in arrived.headers if it.startswith(TELLING)] == ["authorization"]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_envoy_filter_routes_by_model(start, mock, version):
    assert_routed_by_model(start("by-model", version)[1], mock)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_envoy_filter_carries_a_pool(start, mock, version):
    names = {"mistral": "api.mistral.ai", "deepseek": "api.deepseek.com"}
    _, envoy = start("pool", version)
    mock.reply(status=503, body="{}", times=1)
    reply = envoy.post("/both/v1/chat/completions", CHAT, [("x-llm-proxy-cluster", "mistral")])
    assert reply.status == 200, reply.body
    first, second = mock.requests()
    assert {first.authority, second.authority} == set(names.values())
    for arrived in (first, second):
        [name] = [name for name, host in names.items() if host == arrived.authority]
        assert arrived.sni == arrived.authority
        assert arrived.all("authorization") == [f"Bearer sk-{name}"]
        assert arrived.json() == {**CHAT, "model": f"{name}-model"}
        assert [it for it, _ in arrived.headers if it.startswith(TELLING)] == ["authorization"]
    mock.forget()
    for _ in range(4):
        assert envoy.post("/both/v1/chat/completions", CHAT).status == 200
    assert {it.authority for it in mock.requests()} == set(names.values())
