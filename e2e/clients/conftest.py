"""The gateway for the frameworks."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import world  # noqa: E402


@pytest.fixture(scope="session")
def gateway(provider, output):
    from harness import artefacts, bootstrap, gateways
    from harness.envoy import Envoy

    directory = output / "clients"
    made = bootstrap.make(
        bootstrap.UPSTREAM, world.gateway(provider), directory, gateways.ENVIRONMENT
    )
    envoy = Envoy(directory, made, artefacts.NEWEST_ENVOY, gateways.ENVIRONMENT)
    yield envoy
    envoy.stop()
