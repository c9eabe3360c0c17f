"""A member that Envoy has ejected is passed over, where Envoy can: from 1.40 on."""

import time

import pytest

from harness import artefacts
from test_pools import BODY, CHAT, FULL, HOSTS, JSON, asked, backends, pool

# Envoy ejects after five failures in a row; the module itself asks who has failed three times last.
# So two pools share the five, and the others know of none.
WITNESSES = {"first": 3, "second": 2}
UNKNOWING = ("third", "fourth", "fifth")
FAILING = {"for": {"authority": HOSTS["openai"]}, "status": 503, "headers": [JSON], "body": FULL}


@pytest.fixture
def ejecting(start, provider, mock):
    """Starts a gateway as it is rendered for an Envoy, in which `openai` has just failed often."""

    def ejecting(version):
        mock.profile(HOSTS["azure"], like="api.openai.com", auth_header="api-key", auth_prefix="",
                     allow_headers=[], base="/openai/deployments/prod")
        listed = [it for it in backends(provider) if it["name"] in ("openai", "azure")]
        members = [{"name": "openai"}, {"name": "azure", "priority": 1}]
        listed += [pool(name, members) for name in (*WITNESSES, *UNKNOWING)]
        # Nothing but pools leads to the two: whom else a request could go to, Envoy has to ask.
        routes = [{"path": f"/{name}", "backend": name} for name in (*WITNESSES, *UNKNOWING)]
        gateway = {"backends": listed, "routes": routes}
        gateway = start(gateway, version=version, options=["--envoy-version", version])
        for name, failures in WITNESSES.items():
            for _ in range(failures):
                mock.reply(**FAILING)
                assert gateway.post(f"/{name}{CHAT}", BODY).status == 200
        assert asked(mock) == ["openai", "azure"] * sum(WITNESSES.values())
        mock.forget()
        return gateway

    return ejecting


def test_an_ejected_member_is_passed_over_within_the_attempt(ejecting, mock):
    gateway = ejecting(artefacts.NEWEST_ENVOY)
    # Envoy's workers hear of it a moment later.
    for name in UNKNOWING:
        mock.forget()
        reply = gateway.post(f"/{name}{CHAT}", BODY)
        assert reply.status == 200, reply.body
        if asked(mock) == ["azure"]:
            break
        time.sleep(0.2)
    assert asked(mock) == ["azure"]

    # And it comes back, without anybody seeing an error.
    end = time.monotonic() + artefacts.GUARD_SECONDS
    while "openai" not in asked(mock):
        assert time.monotonic() < end, "the member was never asked again"
        time.sleep(0.2)
        assert gateway.post(f"/{name}{CHAT}", BODY).status == 200


def test_an_older_envoy_asks_it_and_goes_on(ejecting, mock):
    gateway = ejecting(artefacts.OLDEST_ENVOY)
    mock.reply(**FAILING)
    reply = gateway.post(f"/{UNKNOWING[0]}{CHAT}", BODY)
    assert reply.status == 200, reply.body
    assert asked(mock) == ["openai", "azure"]
