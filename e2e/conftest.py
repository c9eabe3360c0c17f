"""Fixtures: the provider, the gateways, and what is shown of them when a test fails."""

import pathlib
import shutil

import pytest

from harness import artefacts, bootstrap, gateways
from harness.attack import hostile, stage  # noqa: F401
from harness.envoy import Envoy
from harness.mock import Mock
from harness.process import RUNNING

LOG_TAIL_LINES = 60


@pytest.fixture(scope="session")
def output(worker_id) -> pathlib.Path:
    """A directory for what this process writes; it stays until the next run."""
    output = artefacts.OUTPUT / worker_id
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    return output


@pytest.fixture(scope="session")
def provider(output):
    """The scripted provider. Tests take `mock`."""
    mock = Mock(output, wrong_names=["wrongname.example"])
    yield mock
    mock.stop()


@pytest.fixture
def mock(provider):
    """The scripted provider, as if nothing had happened before."""
    provider.reset(gateways.profiles())
    return provider


@pytest.fixture(scope="module")
def start(provider, output, request):
    """Starts gateways that run until the end of the module: `start(gateway, placement=…)`."""
    running = []

    def start(
        gateway,
        placement=bootstrap.UPSTREAM,
        version=artefacts.NEWEST_ENVOY,
        env=gateways.ENVIRONMENT,
        change=lambda bootstrap: None,
        name="gateway",
        options=(),
        workers=2,
    ) -> Envoy:
        module = request.module.__name__.removeprefix("test_")
        directory = output / module / f"{name}-{placement}-{version}-{len(running)}"
        made = bootstrap.make(placement, gateway, directory, env, options)
        change(made)
        envoy = Envoy(directory, made, version, env, workers)
        envoy.placement = placement
        running.append(envoy)
        return envoy

    yield start
    for envoy in running:
        envoy.process.stop()
    for envoy in running:
        envoy.assert_no_trouble()
        # Keys never appear in logs.
        for name, secret in gateways.SECRETS.items():
            assert secret not in envoy.log(), f"{name} stands in the log"


@pytest.fixture(scope="module", params=bootstrap.PLACEMENTS)
def gateway(start, provider, request) -> Envoy:
    """The gateway of `gateways.shared`, in each placement in turn."""
    return start(gateways.shared(provider), request.param)


@pytest.fixture(scope="module", params=bootstrap.HELD, ids=lambda it: "-".join(it))
def held(request) -> tuple[str, str]:
    """A placement in which headers wait for the body, and a version of Envoy: each pair in turn."""
    return request.param


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the end of each log to the report of a test that failed."""
    report = (yield).get_result()
    if not report.failed:
        return
    for process in RUNNING:
        if process.log.is_file():
            lines = process.log_text().splitlines()
            report.sections.append((str(process.log), "\n".join(lines[-LOG_TAIL_LINES:])))
