"""The manifests for Envoy Gateway, by Envoy Gateway: it serves them and the module, Envoy answers."""

import pytest

from harness import artefacts
from harness.control_planes.envoy_gateway import EnvoyGateway
from harness.control_planes.world import render

from conftest import KEYS

KUBERNETES = artefacts.EXAMPLES / "kubernetes"
CHAT = {"messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def start(world):
    """Starts Envoy Gateway with what is rendered; one at a time, since its ports are fixed."""
    running = []

    def start(gateway, *options, keys=KEYS, release=None, envoy=artefacts.NEWEST_ENVOY) -> EnvoyGateway:
        while running:
            running.pop().stop()
        release = release or artefacts.pinned("ENVOY_GATEWAY_VERSION")
        name = "-".join([gateway.stem.partition(".")[0], *options]).replace("/", "-").replace("--", "")
        directory = world.directory / "envoy-gateway" / name
        manifests = render("envoy-gateway", gateway, directory, *options)
        running.append(EnvoyGateway(directory / "run", manifests, keys, release, envoy))
        running[-1].until_listening()
        return running[-1]

    yield start
    while running:
        running.pop().stop()


PLAIN = ("/mistral", "api.mistral.ai"), ("/deepseek/v1/chat/completions", "api.deepseek.com")
CLIENT = [("authorization", "Bearer client"), ("cookie", "a=b"), ("x-forwarded-for", "1.2.3.4")]


def test_plain(start, mock):
    started = start(KUBERNETES / "plain.gateway.yaml")
    for path, host in PLAIN:
        mock.forget()
        reply = started.post(path, CHAT, CLIENT)
        assert reply.status == 200, (reply.body, started.log()[-3000:])
        arrived = mock.only()
        print(arrived)
        assert (arrived.authority, arrived.path, arrived.sni) == (host, "/v1/chat/completions", host)
        assert arrived.all("authorization") == [f"Bearer sk-{host.split('.')[1]}"]
    assert started.conditions() == []
