"""A Gateway that is there already, with several listeners; limits; switches that are off; by Envoy Gateway."""

import base64
import concurrent.futures

import pytest

from harness import artefacts
from harness.client import Reply
from harness.control_planes.envoy_gateway import EnvoyGateway
from harness.control_planes.world import render
from harness.pages import examples
from harness.seen import SENT, assert_seen

from conftest import KEYS
from test_on_envoy_gateway import CHAT, HELD, PAIRS, PLAIN, start  # noqa: F401, a fixture
from tls import identity, post_tls

# Name, protocol, port. Ports below 1024 are others in the proxy's pod.
LISTENERS = (("http", "HTTP", 80), ("more", "HTTP", 8085), ("secure", "HTTPS", 8443), ("private", "HTTP", 8090))
PAGE = "envoy-gateway.md"
PORTS = {name: port for name, _, port in LISTENERS}


@pytest.fixture(scope="module")
def surroundings(world):
    """A Gateway named `shared`, and the certificate of its HTTPS listener."""
    data = identity(world.directory)
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": "gateway", "namespace": "default"},
            "data": {name: base64.b64encode(text.encode()).decode() for name, text in data.items()},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "shared", "namespace": "default"},
            "spec": {"gatewayClassName": "eg", "listeners": [listener(*it) for it in LISTENERS]},
        },
    ]


def listener(name: str, protocol: str, port: int) -> dict:
    tls = {"tls": {"certificateRefs": [{"name": "gateway"}]}} if protocol == "HTTPS" else {}
    return {"name": name, "protocol": protocol, "port": port, **tls}


def post(started: EnvoyGateway, name: str, target: str) -> Reply:
    if name == "secure":
        return post_tls(PORTS[name], target, CHAT, SENT)
    return started.post(target, CHAT, SENT, port=PORTS[name])


def assert_answers(started: EnvoyGateway, mock, name: str):
    """The provider sees its key, and nothing of the way."""
    mock.forget()
    reply = post(started, name, "/mistral")
    assert reply.status == 200, (name, reply, started.log()[-3000:])
    arrived = mock.only()
    assert (arrived.authority, arrived.path) == ("api.mistral.ai", "/v1/chat/completions")
    assert_seen(arrived, ("authorization", "Bearer sk-mistral"))


def assert_translates(started: EnvoyGateway, mock, name: str):
    mock.profile("api.anthropic.com", auth_header="x-api-key", auth_prefix="", key="required")
    recorded = artefacts.ROOT / "tests/chat/plain/reply.anthropic.json"
    mock.forget()
    mock.reply(headers=[("content-type", "application/json")], body=recorded.read_text())
    reply = post(started, name, "/claude")
    assert (reply.status, reply.json()["object"]) == (200, "chat.completion"), name
    assert mock.only().all("x-api-key") == ["sk-ant"]


def run(start, surroundings, gateway, *options, pair=PAIRS[0], **more) -> EnvoyGateway:  # noqa: F811
    release, envoy = pair
    name = "listeners-" + "-".join([gateway.stem.partition(".")[0], *options[1:], release, envoy])
    started = start(
        gateway, "--gateway", "shared", *options, release=release, envoy=envoy, name=name.replace("--", ""),
        surroundings=surroundings, gateway_name="shared", **more,
    )
    for port in PORTS.values():
        if port != PORTS["secure"]:
            started.until_listening(port)
    return started


def test_routes_are_on_every_listener_of_a_gateway(start, surroundings, mock):  # noqa: F811
    started = run(start, surroundings, PLAIN)
    for name in PORTS:
        assert_answers(started, mock, name)
    assert started.conditions() == []


@pytest.mark.parametrize("pair", PAIRS)
def test_routes_are_on_the_listeners_that_are_named(start, surroundings, mock, pair):  # noqa: F811
    started = run(start, surroundings, PLAIN, "--listener", "more", "--listener", "secure", pair=pair)
    for name in ("more", "secure"):
        assert_answers(started, mock, name)
    mock.forget()
    for name in ("http", "private"):
        assert post(started, name, "/mistral").status == 404
    assert mock.none_came()
    assert started.conditions() == []


@pytest.mark.parametrize("pair", PAIRS)
def test_headers_are_held_on_the_listeners_that_are_named(start, surroundings, mock, pair):  # noqa: F811
    options = ("--hold", "--listener", "more", "--listener", "secure", "--listener", "http")
    started = run(start, surroundings, HELD, *options, pair=pair)
    for name in ("more", "secure", "http"):
        assert_translates(started, mock, name)
        assert_answers(started, mock, name)
    mock.forget()
    assert post(started, "private", "/claude").status == 404
    assert mock.none_came()
    assert started.conditions() == []


def test_a_listener_that_redirects_serves_nothing(start, surroundings, mock):  # noqa: F811
    """The redirect is the one of `docs/envoy-gateway.md`."""
    redirect = examples(PAGE)["Redirects to https"]
    started = run(start, [*surroundings, *redirect], PLAIN, "--listener", "secure")
    mock.forget()
    for target in ("/mistral/v1/chat/completions?a=b", "/~default.llm-proxy/mistral/chat/completions", "/other"):
        reply = started.post(target, CHAT, [*SENT, ("host", "gateway.test")], port=PORTS["http"])
        assert (reply.status, reply.header("location")) == (301, f"https://gateway.test{target}"), reply
        assert "mistral.ai" not in str(reply.headers)
    assert mock.none_came()
    assert_answers(started, mock, "secure")


def test_two_gateways_share_a_gateway(start, surroundings, mock, tmp_path):  # noqa: F811
    """Each has its own names, so neither replaces the other, and answers with its own keys."""
    blue = tmp_path / "blue.gateway.yaml"
    blue.write_text(PLAIN.read_text().replace("path: /mistral", "path: /blue").replace("path: /deepseek", "path: /sea"))
    other = render("envoy-gateway", blue, tmp_path, "--gateway", "shared", "--name", "blue")
    started = run(
        start, surroundings, PLAIN, "--name", "red", change=lambda manifests: f"{manifests}---\n{other}"
    )
    for path, host in (
        ("/mistral", "api.mistral.ai"), ("/blue", "api.mistral.ai"),
        ("/deepseek", "api.deepseek.com"), ("/sea", "api.deepseek.com"),
    ):
        mock.forget()
        assert started.post(path, CHAT, SENT).status == 200, started.log()[-3000:]
        arrived = mock.only()
        assert arrived.authority == host
        assert_seen(arrived, ("authorization", f"Bearer sk-{host.split('.')[1]}"))
    assert started.conditions() == []


def test_a_gateway_keeps_its_own_client_policy(start, surroundings, mock):  # noqa: F811
    """Ours would be a second one. What the page has for it, with the `EnvoyProxy`, is all that is needed."""
    page = examples(PAGE)
    beside = [*page["A Gateway that is there already"], *page["A Gateway that is there already 2"]]
    shared = [it for it in surroundings if it["kind"] != "Gateway"]
    [gateway] = [it for it in surroundings if it["kind"] == "Gateway"]
    parameters = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "shared"}
    spec = {**gateway["spec"], "infrastructure": {"parametersRef": parameters}}
    started = run(start, [*shared, {**gateway, "spec": spec}, *beside], HELD, "--hold")
    assert_translates(started, mock, "http")
    mock.forget()
    assert started.post("/mistral", {"messages": [{"role": "user", "content": "x" * 3_000_000}]}).status == 200
    mock.forget()
    assert started.post("/mistral", CHAT, [("x_team", "red")]).status == 200
    assert mock.only().all("x_team") == ["red"]
    assert started.conditions() == []


def test_held_headers_are_on_no_listener_without_a_patch(start, surroundings, mock):  # noqa: F811
    """Without `--listener` that is the one named `http`: on others no request would be answered."""
    started = run(start, surroundings, HELD, "--hold")
    assert_translates(started, mock, "http")
    mock.forget()
    for name in ("more", "secure", "private"):
        assert post(started, name, "/claude").status == 404
    assert mock.none_came()


def test_a_listener_that_is_not_there_gets_404_and_a_condition(start, surroundings, mock):  # noqa: F811
    started = run(start, surroundings, PLAIN, "--listener", "none")
    assert post(started, "http", "/mistral").status == 404
    assert mock.none_came()
    assert [it for it in started.conditions() if it.startswith("HTTPRoute") and "Accepted=False" in it]


def test_more_requests_at_once_than_envoy_gateway_allows_by_itself_are_answered(start, mock):  # noqa: F811
    """Envoy Gateway's own limit is 1,024."""
    started = start(PLAIN, name="limits")
    count = 1100
    chunks = [{"data": '{"object": "chat.completion"}', "wait_for": "all"}]
    mock.reply(headers=[("content-type", "application/json")], chunks=chunks)
    with concurrent.futures.ThreadPoolExecutor(count) as threads:
        replies = [threads.submit(started.post, "/mistral", CHAT) for _ in range(count)]
        # Every one of them is at the provider before the first is answered.
        started.process.until(lambda: len(mock.requests()) == count or any(it.done() for it in replies))
        mock.open("all")
        assert {it.result().status for it in replies} == {200}
    assert len(mock.requests()) == count


def test_a_header_whose_name_has_an_underscore_passes(start, mock):  # noqa: F811
    started = start(PLAIN, name="underscores")
    assert started.post("/mistral", CHAT, [("x_team", "red")]).status == 200
    assert mock.only().all("x_team") == ["red"]


# === What a client sees when something is off; `envoy/README.md` has it ===


def test_backends_that_are_not_enabled_answer_500(start, mock):  # noqa: F811
    started = start(PLAIN, name="no-backends", switches={"enableBackend": False})
    assert (started.post("/mistral", CHAT).status, mock.none_came()) == (500, True)
    assert [it for it in started.conditions() if it.startswith("HTTPRoute")]


def test_held_headers_without_the_patch_answer_503(start, mock):  # noqa: F811
    """The module refuses the configuration that is left: no request waits for a body that does not come."""
    elsewhere = ("default/llm-proxy/http", "default/llm-proxy/none")
    started = start(HELD, "--hold", name="no-patch", change=lambda manifests: manifests.replace(*elsewhere))
    for path in ("/claude", "/mistral"):
        assert (started.post(path, CHAT).status, mock.none_came()) == (503, True)
    assert "needs holdHeaders: true" in started.log()
    [condition] = started.conditions()
    assert condition.startswith("EnvoyPatchPolicy default/llm-proxy Programmed=False")
