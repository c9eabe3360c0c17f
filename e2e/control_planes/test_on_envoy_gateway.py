"""The manifests for Envoy Gateway, by Envoy Gateway: it serves them and the module, Envoy answers."""

import hashlib
import http.client
import json
import re

import pytest
import yaml

from harness import artefacts
from harness.client import Exchange
from harness.control_planes.envoy_gateway import EnvoyGateway
from harness.control_planes.world import ARTIFACT, FILE, IMAGE, image_digest, render
from harness.process import until
from harness.recording import FORMS, Recording, gateway_of
from harness.seen import SENT, assert_seen

import pools
from conftest import KEYS

KUBERNETES = artefacts.EXAMPLES / "kubernetes"
PLAIN = KUBERNETES / "plain.gateway.yaml"
HELD = KUBERNETES / "held.gateway.yaml"
CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
ANSWERED = (("/mistral", "api.mistral.ai"), ("/deepseek/v1/chat/completions", "api.deepseek.com"))

NEWEST = artefacts.pinned("ENVOY_GATEWAY_VERSION")
OLDEST = artefacts.pinned("OLD_ENVOY_GATEWAY_VERSION")
# A release of Envoy Gateway, with a version of Envoy: its own, or the newest.
PAIRS = [(NEWEST, artefacts.NEWEST_ENVOY), (NEWEST, artefacts.MIDDLE_ENVOY), (OLDEST, artefacts.OLDEST_ENVOY)]


@pytest.fixture(scope="module")
def start(world):
    """Starts Envoy Gateway with what is rendered; one at a time, since its ports are fixed."""
    running = []

    def start(
        gateway, *options, keys=KEYS, release=NEWEST, envoy=artefacts.NEWEST_ENVOY, name=None,
        change=lambda manifests: manifests, gateway_name="llm-proxy", **around,
    ) -> EnvoyGateway:
        while running:
            running.pop().stop()
        name = name or "-".join([gateway.stem.partition(".")[0], *options]).replace("/", "-").replace("--", "")
        directory = world.directory / "envoy-gateway" / name[:100]
        manifests = change(render("envoy-gateway", gateway, directory, *options))
        running.append(EnvoyGateway(directory / "run", manifests, keys, release, envoy, gateway=gateway_name, **around))
        running[-1].until_listening()
        return running[-1]

    yield start
    while running:
        running.pop().stop()


def assert_answers(started: EnvoyGateway, mock):
    for path, host in ANSWERED:
        mock.forget()
        reply = started.post(path, CHAT, SENT)
        assert reply.status == 200, (reply, started.log()[-3000:])
        arrived = mock.only()
        assert (arrived.authority, arrived.path, arrived.sni) == (host, "/v1/chat/completions", host)
        assert_seen(arrived, ("authorization", f"Bearer sk-{host.split('.')[1]}"))
    assert_sound(started)


def assert_sound(started: EnvoyGateway):
    """Every condition is true, Envoy took everything, and no key stands in a log."""
    assert started.conditions() == []
    log = started.log()
    assert "rejected the last update" not in log
    assert not [key for key in KEYS.values() if key in log]


@pytest.mark.parametrize("release, envoy", PAIRS)
def test_plain_answers(start, mock, release, envoy):
    started = start(PLAIN, release=release, envoy=envoy, name=f"plain-{release}-{envoy}")
    assert_answers(started, mock)
    if (release, envoy) == PAIRS[0]:
        Recording("envoy-gateway", "plain").check(started, KEYS)


@pytest.mark.parametrize("release, envoy", PAIRS)
def test_held_headers_answer(start, mock, release, envoy):
    started = start(HELD, "--hold", release=release, envoy=envoy, name=f"held-{release}-{envoy}")
    mock.profile("api.anthropic.com", auth_header="x-api-key", auth_prefix="", key="required")
    recorded = artefacts.ROOT / "tests/chat/plain/reply.anthropic.json"
    # Also what is larger than Envoy Gateway's own limit of 32 KiB.
    for text in ("Hello", "x" * 3_000_000):
        mock.forget()
        mock.reply(headers=[("content-type", "application/json")], body=recorded.read_text())
        reply = started.post("/claude", {"messages": [{"role": "user", "content": text}]}, SENT)
        assert (reply.status, reply.json()["object"]) == (200, "chat.completion")
        arrived = mock.only()
        assert (arrived.authority, arrived.path) == ("api.anthropic.com", "/v1/messages")
        key, version = ("x-api-key", "sk-ant"), ("anthropic-version", "2023-06-01")
        assert_seen(arrived, key, version, without=("origin", "referer"))
    assert_sound(started)
    if (release, envoy) == PAIRS[0]:
        Recording("envoy-gateway", "held").check(started, KEYS)


@pytest.mark.parametrize("form", ["by-model", "overlap"])
def test_what_else_is_recorded_is_served(start, mock, form, tmp_path):
    """The tests of `test_envoy_gateway.py` run on it."""
    started = start(
        gateway_of("envoy-gateway", form, tmp_path), *FORMS["envoy-gateway", form][1:], name=f"recorded-{form}"
    )
    assert started.post("/v1/chat/completions", {**CHAT, "model": "mistral-small-latest"}).status == 200
    Recording("envoy-gateway", form).check(started, KEYS)


def test_an_artifact_is_fetched_as_an_image_is(start, mock):
    started = start(PLAIN, "--wasm", ARTIFACT, "--sha256", image_digest("artifact"), name="artifact")
    assert started.post("/mistral", CHAT).status == 200
    assert mock.only().authority == "api.mistral.ai"


# === What a client sees when something is wrong, and where to look; `envoy/README.md` has it ===


@pytest.mark.parametrize(
    "options", [("--wasm", IMAGE, "--sha256", "0" * 64), ("--wasm", IMAGE.replace("0.1.0", "none"))],
    ids=["digest", "tag"],
)
def test_a_module_that_cannot_be_fetched_answers_500(start, mock, options):
    started = start(PLAIN, *options, name=f"unfetched-{len(options)}")
    reply = started.post("/mistral", CHAT)
    assert (reply.status, reply.body, mock.none_came()) == (500, b"", True)
    [condition] = started.conditions()
    assert condition.startswith("EnvoyExtensionPolicy default/llm-proxy Accepted=False")


def test_a_variable_that_is_missing_answers_503(start, mock):
    started = start(PLAIN, keys={}, name="no-keys")
    assert (started.post("/mistral", CHAT).status, mock.none_came()) == (503, True)
    # Envoy Gateway does not know of it: only the proxy's log names the variable.
    assert started.conditions() == []
    assert "DEEPSEEK_API_KEY" in started.log()


def changed(manifests: str, change) -> str:
    documents = [it for it in yaml.safe_load_all(manifests) if it]
    [policy] = [it for it in documents if it["kind"] == "EnvoyExtensionPolicy"]
    change(policy["spec"]["wasm"][0]["config"])
    return yaml.safe_dump_all(documents, sort_keys=False)


def test_a_change_is_taken_while_it_runs(start, mock):
    started = start(PLAIN, name="changes")
    manifests = (started.directory / "ours.yaml").read_text()

    def model() -> str:
        mock.forget()
        assert started.post("/mistral", CHAT).status == 200
        return mock.only().json()["model"]

    assert model() == "mistral-small-latest"
    started.apply(changed(manifests, lambda it: it["backends"][0]["config"].update(defaultModel="second")))
    until(lambda: model() == "second")


@pytest.mark.parametrize("drain, cut", [("2s", True), (None, False)])
def test_a_stream_outlives_a_change_for_as_long_as_connections_drain(start, mock, drain, cut):
    """What is rendered lets them drain for 30 minutes; with 2 seconds the same stream ends."""
    change = (lambda text: text.replace("drainTimeout: 30m", f"drainTimeout: {drain}")) if drain else (lambda it: it)
    started = start(PLAIN, name=f"stream-{drain}", change=change)
    manifests = (started.directory / "ours.yaml").read_text()
    options = json.loads(started.admin("/server_info"))["command_line_options"]
    assert options["drain_time"] == (drain or "1800s")
    words = [f'data: {{"a":{number}}}\n\n' for number in range(2)]
    chunks = [{"data": words[0]}, {"data": words[1], "wait_for": "changed"}]
    mock.reply(headers=[("content-type", "text/event-stream")], chunks=chunks)
    data = json.dumps({**CHAT, "stream": True}).encode()
    with Exchange(80) as stream:
        length = ("content-length", str(len(data)))
        stream.head("POST", "/mistral", [("host", "g"), ("content-type", "application/json"), length])
        stream.send(data)
        assert stream.begin()[0] == 200
        assert stream.until(b"\n\n") == words[0].encode()
        started.apply(changed(manifests, lambda it: it["backends"][0]["config"].update(model="second")))

        def model():
            assert started.post("/mistral", CHAT).status == 200
            return mock.requests()[-1].json()["model"]

        # The change is in force: the listener that the stream came by is another one now.
        until(lambda: model() == "second")
        # As long as it takes Envoy to drop the old one, where connections drain for 2 s.
        until(lambda: (draining(started) == 0) == cut)
        mock.open("changed")
        if cut:
            with pytest.raises((AssertionError, OSError, http.client.HTTPException)):
                stream.until(b"\n\n")
        else:
            assert stream.until(b"\n\n") == words[1].encode()


def draining(started: EnvoyGateway) -> int:
    """How many listeners, or parts of one, are left of configurations before the last."""
    pattern = r"^listener_manager\.total_(?:listeners|filter_chains)_draining: (\d+)$"
    return sum(int(it) for it in re.findall(pattern, started.admin("/stats"), re.MULTILINE))


@pytest.mark.parametrize("origin", ["https", "file"])
@pytest.mark.parametrize("release, envoy", PAIRS)
def test_a_pool_answers(start, mock, release, envoy, origin):
    module = artefacts.module()
    options = ["--wasm", f"file://{module}"]
    if origin == "https":
        options = ["--wasm", FILE, "--sha256", hashlib.sha256(module.read_bytes()).hexdigest()]
    name = f"pool-{release}-{envoy}-{origin}"
    started = start(
        pools.GATEWAY, "--hold", *options, keys=pools.KEYS, release=release, envoy=envoy, name=name
    )
    pools.assert_pool_answers(started, mock)
    assert started.conditions() == []


@pytest.mark.parametrize("release, envoy", PAIRS)
def test_vertex_ai_answers_with_a_token(start, mock, release, envoy):
    mock.accounts(pools.ACCOUNT.account())
    options = ["--wasm", f"file://{artefacts.module()}"]
    name = f"vertex-{release}-{envoy}"
    keys = pools.VERTEX_KEYS
    started = start(pools.VERTEX, "--hold", *options, keys=keys, release=release, envoy=envoy, name=name)
    pools.assert_vertex_answers(started, mock)
    assert started.conditions() == []
