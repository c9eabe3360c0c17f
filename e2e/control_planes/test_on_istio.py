"""The manifests for Istio, by Istio: istiod serves them, pilot-agent fetches the module, Envoy answers."""


import hashlib

import pytest
import yaml

from harness import artefacts
from harness.control_planes import istio
from harness.control_planes.istio import Istio
from harness.control_planes.world import ARTIFACT, FILE, IMAGE, image_digest, render
from harness.envoy import Envoy
from harness.process import until
from harness.recording import Recording, gateway_of

import pools
from conftest import KEYS

KUBERNETES = artefacts.EXAMPLES / "kubernetes"
PLAIN = KUBERNETES / "plain.gateway.yaml"
HELD = KUBERNETES / "held.gateway.yaml"
SELECTOR = ("--selector", "istio=llm-gateway")
CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
# What a client sends, and what of it a provider sees: `docs/istio.md` has the table.
CLIENT = [
    ("accept", "application/json"),
    ("authorization", "Bearer client"),
    ("b3", f"{'a' * 16}-{'b' * 16}-1"),
    ("baggage", "user=alice"),
    ("cookie", "a=b"),
    ("forwarded", "for=1.2.3.4"),
    ("traceparent", f"00-{'a' * 32}-{'b' * 16}-01"),
    ("tracestate", "a=b"),
    ("user-agent", "test"),
    ("x-api-key", "client"),
    ("x-b3-traceid", "a" * 16),
    ("x-custom", "1"),
    ("x-envoy-max-retries", "9"),
    ("x-forwarded-for", "1.2.3.4"),
    ("x-forwarded-host", "a.example"),
    ("x-llm-proxy-backend", "deepseek"),
    ("x-request-id", "1"),
]
SEEN = ["accept", "authorization", "content-type", "user-agent", "x-custom"]
ANSWERED = (("/mistral", "api.mistral.ai"), ("/deepseek/v1/chat/completions", "api.deepseek.com"))
# Of HTTP/1.1, and how a body is delimited, which follows from whether headers wait for it.
FRAMING = ("content-length", "host", "transfer-encoding")


@pytest.fixture(scope="module")
def start(world):
    """Starts Istio with what is rendered; one at a time, since its ports are fixed."""
    running = []

    def start(
        gateway, *options, pod=None, surroundings=(), keys=KEYS, version=artefacts.NEWEST_ENVOY,
        change=lambda manifests: manifests, name=None, mesh=None,
    ) -> Istio:
        while running:
            running.pop().stop()
        name = name or "-".join([gateway.stem.partition(".")[0], *options]).replace("/", "-").replace("--", "")
        directory = world.directory / "istio" / name[:120]
        manifests = change(render("istio", gateway, directory, *options))
        pod = pod or istio.gateway_pod()
        running.append(Istio(directory, manifests, pod, keys, version, surroundings, mesh))
        return running[-1]

    yield start
    while running:
        running.pop().stop()


@pytest.fixture(scope="module")
def expected(world):
    """What reaches the providers from stock Envoy with what `render envoy` writes: headers by path."""
    directory = world.directory / "stock"
    text = render("envoy", PLAIN, directory, "--wasm", str(artefacts.module()))
    envoy = Envoy(directory, yaml.safe_load(text), env=KEYS)
    found = {}
    for path, _ in ANSWERED:
        world.mock.reset([])
        assert envoy.post(path, CHAT, CLIENT).status == 200
        found[path] = headers(world.mock.only())
        assert [name for name, _ in found[path]] == SEEN
    envoy.stop()
    return found


def headers(arrived) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in arrived.headers if name not in FRAMING)


def assert_answers(started: Istio, mock, expected, more=()):
    """Every path is answered by its provider, which sees exactly what it sees from stock Envoy."""
    for path, host in ANSWERED:
        mock.forget()
        reply = started.post(path, CHAT, [*CLIENT, *more])
        assert reply.status == 200, (reply, started.log()[-3000:])
        arrived = mock.only()
        assert (arrived.authority, arrived.path, arrived.sni) == (host, "/v1/chat/completions", host)
        assert headers(arrived) == expected[path]
    # Nothing was refused on the way, and no key stands in a log.
    log = started.log()
    assert not [it for it in log.splitlines() if "rejected" in it.lower()], log[-3000:]
    assert not [key for key in KEYS.values() if key in log]


def assert_valid(started: Istio):
    """Istio's own validation accepts each document, and warns only of an EnvoyFilter as such."""
    for document in yaml.safe_load_all((started.directory / "ours.yaml").read_text()):
        allowed, warning = started.validate(document)
        assert allowed, (document, warning)
        assert not warning or warning.startswith("EnvoyFilter exposes internal implementation"), warning


# === Each form answers ===


def test_the_gateway_of_the_walk_through_answers(start, mock, expected):
    started = start(PLAIN, *SELECTOR)
    assert_valid(started)
    assert_answers(started, mock, expected)
    Recording("istio", "plain").check(started, KEYS)


def test_a_traffic_extension_answers(start, mock, expected):
    started = start(PLAIN, *SELECTOR, "--api", "traffic-extension")
    assert_valid(started)
    assert_answers(started, mock, expected)


def test_a_gateway_that_is_there_already_answers(start, mock, expected):
    """Of several servers, one of which has another port."""
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    other = {"port": {"number": 8085, "name": "other", "protocol": "HTTP"}, "hosts": ["*"]}
    gateway = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "shared", "namespace": "istio-ingress"},
        "spec": {"selector": {"istio": "llm-gateway"}, "servers": [server, other]},
    }
    started = start(PLAIN, *SELECTOR, "--gateway", "shared", surroundings=[gateway])
    assert_valid(started)
    assert_answers(started, mock, expected)
    assert started.post("/mistral", CHAT, port=8085).status == 200


def test_a_gateway_of_the_kubernetes_api_answers(start, mock, expected, tmp_path):
    pod, surroundings = istio.gateway_api("llm", "istio-ingress")
    gateway = gateway_of("istio", "gateway-api", tmp_path)
    started = start(gateway, "--gateway-api", "llm", pod=pod, surroundings=surroundings)
    assert_valid(started)
    assert_answers(started, mock, expected)
    Recording("istio", "gateway-api").check(started, KEYS)


def test_a_sidecar_answers_for_every_host_at_its_port(start, mock, expected):
    options = ("--sidecar", "10000", "--selector", "app=chat", "--namespace", "apps")
    started = start(PLAIN, *options, pod=istio.sidecar_pod(10000))
    assert_valid(started)
    assert_answers(started, mock, expected, [("host", "api.mistral.ai:10000")])
    Recording("istio", "sidecar").check(started, KEYS)


@pytest.mark.parametrize("version", [artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY])
def test_held_headers_answer(start, mock, version):
    started = start(HELD, *SELECTOR, "--hold", version=version)
    assert_valid(started)
    assert_held(started, mock)
    if version == artefacts.NEWEST_ENVOY:
        Recording("istio", "held").check(started, KEYS)


def assert_held(started: Istio, mock):
    mock.profile("api.anthropic.com", auth_header="x-api-key", auth_prefix="", key="required")
    reply = artefacts.ROOT / "tests/chat/plain/reply.anthropic.json"
    mock.reply(headers=[("content-type", "application/json")], body=reply.read_text())
    answer = started.post("/claude", CHAT, CLIENT)
    assert (answer.status, answer.json()["object"]) == (200, "chat.completion")
    arrived = mock.only()
    assert (arrived.authority, arrived.path) == ("api.anthropic.com", "/v1/messages")
    # All of them, so that nothing that anybody adds goes unseen.
    assert sorted(name for name, _ in arrived.headers) == [
        "accept", "anthropic-version", "content-length", "content-type", "user-agent", "x-api-key", "x-custom",
    ]
    mock.forget()
    assert started.post("/mistral", CHAT, CLIENT).status == 200
    assert sorted(name for name, _ in mock.only().headers) == sorted([*SEEN, "content-length"])


@pytest.mark.parametrize("form", ["by-model", "pool"])
def test_what_else_is_recorded_is_served(start, mock, form, tmp_path):
    """The tests of `test_istio.py` run on it."""
    started = start(gateway_of("istio", form, tmp_path), *SELECTOR, "--hold", name=f"recorded-{form}")
    path = {"by-model": "/v1/chat/completions", "pool": "/both/v1/chat/completions"}[form]
    assert started.post(path, {**CHAT, "model": "mistral-small-latest"}).status == 200
    Recording("istio", form).check(started, KEYS)


@pytest.mark.parametrize("form", [(), ("--hold",)], ids=["plain", "hold"])
def test_a_second_attempt_shows_a_provider_nothing_more(start, mock, form):
    started = start(PLAIN, *SELECTOR, *form, name="-".join(["attempts", *form]))
    mock.reply(status=503, body="{}", times=1)
    assert started.post("/deepseek", CHAT, CLIENT).status == 200
    both = mock.requests()
    assert [[name for name, _ in headers(it)] for it in both] == [SEEN, SEEN]


# === Where the module comes from ===


@pytest.mark.parametrize("wasm", [ARTIFACT, FILE, IMAGE.rpartition(":")[0] + "@sha256:{digest}"])
def test_the_module_is_fetched_from_each_origin(start, mock, wasm):
    digest = image_digest("artifact" if wasm == ARTIFACT else "image")
    if wasm == FILE:
        digest = hashlib.sha256(artefacts.module().read_bytes()).hexdigest()
    name = "origin-" + wasm.partition(":")[0] + str(len(wasm))
    started = start(PLAIN, *SELECTOR, "--wasm", wasm.format(digest=digest), "--sha256", digest, name=name)
    assert started.post("/mistral", CHAT).status == 200
    assert mock.only().authority == "api.mistral.ai"


# === What a client sees when something is wrong, and where to look; `envoy/README.md` has it ===


@pytest.mark.parametrize(
    "options",
    [("--wasm", IMAGE, "--sha256", "0" * 64), ("--wasm", IMAGE.replace("0.1.0", "none"))],
    ids=["digest", "tag"],
)
def test_a_module_that_cannot_be_fetched_denies_every_request(start, mock, options):
    started = start(PLAIN, *SELECTOR, *options, name="unfetched-" + options[1][-4:] + str(len(options)))
    for path in ("/mistral", "/other"):
        reply = started.post(path, CHAT)
        assert (reply.status, reply.text) == (403, "RBAC: access denied")
    assert mock.none_came()
    assert "failed to fetch Wasm plugin" in started.log() or "wasm" in started.log().lower()


@pytest.mark.parametrize("keys", [{}, {"MISTRAL_API_KEY": "sk-mistral"}], ids=["none", "one"])
def test_a_variable_that_is_missing_answers_500(start, mock, keys):
    started = start(PLAIN, *SELECTOR, keys=keys, name=f"keys-{len(keys)}")
    reply = started.post("/mistral", CHAT)
    assert (reply.status, reply.body) == (500, b"")
    assert mock.none_came()
    assert "DEEPSEEK_API_KEY" in started.log()


def changed(manifests: str, change) -> str:
    documents = [it for it in yaml.safe_load_all(manifests) if it]
    [plugin] = [it for it in documents if it["kind"] == "WasmPlugin"]
    change(plugin["spec"]["pluginConfig"])
    return yaml.safe_dump_all(documents, sort_keys=False)


def nobody(config):
    config["routes"][0]["backend"] = "nobody"


def test_a_change_is_taken_and_a_bad_one_leaves_the_last_in_force(start, mock):
    started = start(PLAIN, *SELECTOR, name="changes")
    manifests = (started.directory / "ours.yaml").read_text()

    def model() -> str:
        mock.forget()
        assert started.post("/mistral", CHAT).status == 200
        return mock.only().json()["model"]

    def renamed(name):
        return lambda config: config["backends"][0]["config"].update(defaultModel=name)

    assert model() == "mistral-small-latest"
    started.apply(changed(manifests, renamed("second")))
    until(lambda: model() == "second")
    started.apply(changed(manifests, nobody))
    until(lambda: 'no backend is named "nobody"' in started.log())
    assert [model() for _ in range(5)] == ["second"] * 5
    started.apply(changed(manifests, renamed("third")))
    until(lambda: model() == "third")
    # A module that cannot be fetched is no such change: the agent denies every request.
    started.apply(manifests.replace(IMAGE, IMAGE.replace("0.1.0", "none")).replace(image_digest(), "a" * 64))
    until(lambda: started.post("/mistral", CHAT).status == 403)


def test_a_configuration_that_is_refused_at_the_start_answers_500(start, mock):
    started = start(PLAIN, *SELECTOR, change=lambda it: changed(it, nobody), name="refused")
    assert (started.post("/mistral", CHAT).status, mock.none_came()) == (500, True)
    assert 'no backend is named "nobody"' in started.log()


@pytest.mark.parametrize("version", [artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY])
def test_a_pool_answers(start, mock, version):
    started = start(
        pools.GATEWAY, *SELECTOR, "--hold", keys=pools.KEYS, version=version, name=f"pool-{version}"
    )
    pools.assert_pool_answers(started, mock)


def test_vertex_ai_answers_with_a_token(start, mock):
    mock.accounts(pools.ACCOUNT.account())
    started = start(pools.VERTEX, *SELECTOR, "--hold", keys=pools.VERTEX_KEYS, name="vertex")
    pools.assert_vertex_answers(started, mock)
