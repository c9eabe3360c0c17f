"""The manifests for Istio, by Istio: istiod serves them, pilot-agent fetches the module, Envoy answers."""

import pytest
import yaml

from conftest import KEYS
from harness import artefacts
from harness.control_planes import istio
from harness.control_planes.istio import Istio
from harness.control_planes.world import render

KUBERNETES = artefacts.EXAMPLES / "kubernetes"
CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
SELECTOR = ("--selector", "istio=llm-gateway")


@pytest.fixture(scope="module")
def start(world):
    """Starts Istio with what is rendered; one at a time, since its ports are fixed."""
    running = []

    def start(gateway, *options, pod=None, surroundings=(), keys=KEYS, version=artefacts.NEWEST_ENVOY) -> Istio:
        while running:
            running.pop().stop()
        name = "-".join([gateway.stem.partition(".")[0], *options]).replace("/", "-").replace("--", "")
        directory = world.directory / "istio" / name
        manifests = render("istio", gateway, directory, *options)
        running.append(Istio(directory, manifests, pod or istio.gateway_pod(), keys, version, surroundings))
        return running[-1]

    yield start
    while running:
        running.pop().stop()


PLAIN = ("/mistral", "api.mistral.ai"), ("/deepseek/v1/chat/completions", "api.deepseek.com")
CLIENT = [("authorization", "Bearer client"), ("cookie", "a=b"), ("x-forwarded-for", "1.2.3.4")]


def assert_plain_answers(started, mock, headers=()):
    for path, host in PLAIN:
        mock.forget()
        reply = started.post(path, CHAT, [*CLIENT, *headers])
        assert reply.status == 200, (reply.body, started.log()[-3000:])
        arrived = mock.only()
        print(arrived)
        assert (arrived.authority, arrived.path, arrived.sni) == (host, "/v1/chat/completions", host)
        assert arrived.all("authorization") == [f"Bearer sk-{host.split('.')[1]}"]


def test_a_gateways_pod_answers(start, mock):
    started = start(KUBERNETES / "plain.gateway.yaml", *SELECTOR)
    for document in yaml.safe_load_all((started.directory / "ours.yaml").read_text()):
        assert not document or started.validate(document) == (True, "")
    assert_plain_answers(started, mock)
