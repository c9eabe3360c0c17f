"""Attacks by sizes and speeds: no request and no reply harms another one.

`harness/attack.py` documents what is checked after each attack. Cases that take longer than some
seconds have the mark `long`: `make attack` runs them, `make test` does not.
"""

import pytest

from harness import artefacts, attack
from harness.attack import CHAT


@pytest.fixture(scope="module", params=[artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY])
def gateway(stage, provider, hostile, request):
    return stage(attack.gateway(provider, hostile), version=request.param)


def test_bystanders_pass_when_nothing_happens(gateway, mock):
    gateway.survives(lambda: None, rounds=1)


def test_a_provider_that_closes_at_once_harms_no_other_request(gateway, mock, hostile):
    hostile.behave = lambda connection, request, body: None
    gateway.survives(lambda: gateway.envoy.post(f"/hostile-anthropic{CHAT}", {**attack.ASK, "model": "claude-x"}))
