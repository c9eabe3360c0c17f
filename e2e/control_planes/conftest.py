"""Fixtures of the tests that run real control planes."""

import pytest

from harness import artefacts
from harness.control_planes.world import World

KEYS = {
    "MISTRAL_API_KEY": "sk-mistral",
    "DEEPSEEK_API_KEY": "sk-deepseek",
    "ANTHROPIC_API_KEY": "sk-ant",
    "GROQ_API_KEY": "sk-groq",
}


@pytest.fixture(scope="session")
def world():
    """Names, trust, providers and registry. There is one of it: its ports are fixed."""
    world = World(artefacts.OUTPUT / "control-planes")
    yield world
    world.stop()


@pytest.fixture
def mock(world):
    """The scripted provider, as if nothing had happened before."""
    world.mock.reset([])
    return world.mock
