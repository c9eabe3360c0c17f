"""Probes: `/healthz` says that Envoy is up, `/ready` that the module has what it needs."""

import json

import pytest

from harness import artefacts, bootstrap, google
from harness.process import until
from test_vertex import BY_KEY, OURS

VERSIONS = (artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY)
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def statuses(envoy, *targets) -> list[int]:
    return [envoy.get(target).status for target in targets]


@pytest.mark.parametrize("version", VERSIONS)
def test_probes_reach_no_provider_and_are_not_logged(start, provider, mock, version):
    backend = {"endpoint": f"http://{mock.plain}", "apiKey": "${PLAIN_KEY}"}
    members = [{"name": name, "type": "openai-compatible", "config": backend} for name in "ab"]
    pool = {"name": "pool", "type": "pool", "backends": [{"name": "a"}, {"name": "b"}]}
    # With a plugin in the listener, which probes pass by.
    envoy = start({"backends": [*members, pool], "routes": [{"backend": "pool"}]}, version=version)
    # More than once: each worker has a module of its own.
    for _ in range(30):
        live, ready = envoy.get("/healthz"), envoy.get("/ready?verbose")
        assert (live.status, live.json()) == (200, {"status": "live"})
        assert (ready.status, ready.json()) == (200, {"status": "ready"})
    assert envoy.request("HEAD", "/ready").status == 200
    assert not mock.requests()
    # What is no probe goes the way of all requests, and is logged.
    envoy.post("/ready", CHAT)
    envoy.post("/v1/chat/completions", CHAT)
    until(lambda: envoy.log().count('"path":"/v1/chat/completions"') == 2)
    logged = [json.loads(line) for line in envoy.log().splitlines() if line.startswith("{")]
    assert [line["method"] for line in logged] == ["POST", "POST"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_gateway_that_drains_is_not_ready_but_alive(start, provider, version):
    backend = {"endpoint": f"http://{provider.plain}", "apiKey": "${PLAIN_KEY}"}
    gateway = {"backends": [{"name": "a", "type": "openai-compatible", "config": backend}]}
    envoy = start(gateway, version=version)
    assert statuses(envoy, "/healthz", "/ready") == [200, 200]
    envoy.admin("/healthcheck/fail", "POST")
    until(lambda: statuses(envoy, "/ready") == [503])
    assert statuses(envoy, "/healthz", "/ready?a=b") == [200, 503]
    assert envoy.post("/v1/chat/completions", CHAT).status == 200, "requests are served still"
    envoy.admin("/healthcheck/ok", "POST")
    until(lambda: statuses(envoy, "/ready") == [200])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_gateway_is_ready_when_it_has_its_access_tokens(start, provider, mock, version):
    mock.forget_accounts()

    def redirect(made):
        made.update(bootstrap.redirected(made, provider))

    env = {"SERVICE_ACCOUNT": OURS.json()}
    envoy = start(BY_KEY, version=version, env=env, change=redirect)
    assert statuses(envoy, "/healthz", "/ready") == [200, 503]
    assert envoy.get("/ready").json()["status"] == "not ready"
    mock.accounts(OURS.account())
    until(lambda: statuses(envoy, "/ready") == [200])
    mock.forget_accounts()
