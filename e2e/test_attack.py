"""Attacks by sizes and speeds: no request and no reply harms another one.

`harness/attack.py` documents what is checked after each attack. Cases that take longer than some
seconds have the mark `long`: `make attack` runs them, `make test` does not.
"""

import json

import pytest

from harness import artefacts, attack
from harness.attack import CHAT, MIB, head


@pytest.fixture(scope="module", params=[artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY])
def gateway(stage, provider, hostile, request):
    return stage(attack.gateway(provider, hostile), version=request.param)


def test_bystanders_pass_when_nothing_happens(gateway, mock):
    gateway.survives(lambda: None, rounds=1)


def test_a_provider_that_closes_at_once_harms_no_other_request(gateway, mock, hostile):
    hostile.behave = lambda connection, request, body: None
    gateway.survives(lambda: gateway.envoy.post(f"/hostile-anthropic{CHAT}", {**attack.ASK, "model": "claude-x"}))


def claude(**members) -> dict:
    return {**attack.ASK, "model": "claude-x", "max_tokens": 5, **members}


def anthropic_reply(length: int) -> bytes:
    """A message whose text is so long. Unit: bytes."""
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
        "content": [{"type": "text", "text": "x" * length}],
        "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    return json.dumps(message).encode()


@pytest.fixture(scope="module", params=[artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY])
def small(stage, provider, hostile, request):
    """A gateway that takes requests of a MiB."""
    return stage(attack.gateway(provider, hostile, maxRequestBytes="1MiB"), version=request.param)


@pytest.mark.parametrize("length", [int(2.2 * MIB), 35 * MIB, 70 * MIB])
def test_a_large_translated_reply_arrives_or_is_a_502(small, mock, hostile, length):
    body = anthropic_reply(length)
    hostile.behave = lambda connection, request, _: connection.sendall(head() + body)

    def answered():
        reply = small.envoy.post(f"/hostile-anthropic{CHAT}", claude())
        assert reply.status in (200, 502), reply.body[:300]
        if reply.status == 200:
            assert reply.json()["choices"][0]["message"]["content"] == "x" * length

    small.survives(answered)
