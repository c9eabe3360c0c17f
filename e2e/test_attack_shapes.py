"""Attacks by the shape of a body: many small elements, and what grows in translation.

Each body is small against the limit of a request, and took many times its memory where its elements
became structs or trees. `tests/memory.rs` measures the shapes themselves; here each goes through
Envoy, beside the bystanders of `harness/attack.py`.
"""

import json

import pytest

from harness import artefacts, attack
from harness.attack import CHAT, MIB
from harness.client import request

MAX_MIB = 32
EMBEDDINGS = "/v1/embeddings"


def many(before: str, item: str, after: str, size: int) -> bytes:
    """`before`, so many of `item` that it is about `size` bytes, and `after`."""
    return f"{before}{','.join([item] * (size // (len(item) + 1)))}{after}".encode()


def chat(item: str, size: int, before='{"model":"m","messages":[', after="]}") -> bytes:
    return many(before, item, after, size)


def in_request(member: str) -> str:
    return '{"model":"m","messages":[{"role":"user","content":"a"}],' + member


CALLS = '{"model":"m","messages":[{"role":"assistant","tool_calls":['
SCHEMA = in_request('"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"anyOf":[')
# Each refers to a million schemas.
GROWING = '{"type":"object","properties":{"x":{"$ref":"#/p/0"}},"p":{%s"20":{"type":"string"}}}' % "".join(
    '"%d":{"properties":{"a":{"$ref":"#/p/%d"},"b":{"$ref":"#/p/%d"}}},' % (it, it + 1, it + 1) for it in range(20)
)
INPUTS = '{"model":"m","input":['

# The request, its backend, and the expected reply.
REFUSED = {
    "messages-without-a-role": ("anthropic", CHAT, chat("{}", 8 * MIB), 400),
    "messages-without-a-role-google": ("google", CHAT, chat("{}", 8 * MIB), 400),
    "tools-without-a-type": ("anthropic", CHAT, chat("{}", 20 * MIB, in_request('"tools":[')), 400),
    "calls-without-an-id": ("anthropic", CHAT, chat("{}", 20 * MIB, CALLS, "]}]}"), 400),
    "alternatives-of-a-schema": ("google", CHAT, chat("{}", 20 * MIB, SCHEMA, "]}}}}}]}"), 400),
    "schemas-that-grow": (
        "google",
        CHAT,
        chat('{"type":"function","function":{"name":"f","parameters":%s}}' % GROWING, 8 * MIB, in_request('"tools":[')),
        400,
    ),
    "members-that-are-not-known": ("anthropic", CHAT, chat('"a":1', 8 * MIB, in_request(""), "}"), 400),
    "token-ids": ("google", EMBEDDINGS, many(INPUTS, "1", "]}", 30 * MIB), 400),
    "one-letter-inputs": ("google", EMBEDDINGS, many(INPUTS, '"a"', "]}", 30 * MIB), 400),
}
# Valid ones: the provider gets them.
SENT = {
    "messages-of-one-letter": ("anthropic", CHAT, chat('{"role":"user","content":"a"}', 16 * MIB)),
    "turns-that-grow": (
        "anthropic",
        CHAT,
        chat('{"role":"user","content":"a"},{"role":"assistant","content":"a"}', 30 * MIB),
    ),
    "turns": ("google", CHAT, chat('{"role":"user","content":"a"},{"role":"assistant","content":"a"}', 16 * MIB)),
    "parts": (
        "anthropic",
        CHAT,
        chat('{"type":"text","text":"a"}', 16 * MIB, '{"model":"m","messages":[{"role":"user","content":[', "]}]}"),
    ),
    "tools": (
        "anthropic",
        CHAT,
        chat('{"type":"function","function":{"name":"f"}}', 16 * MIB, in_request('"tools":[')),
    ),
}


@pytest.fixture(scope="module")
def gateway(stage, provider, hostile):
    return stage(attack.gateway(provider, hostile, maxRequestBytes=f"{MAX_MIB}MiB"), version=artefacts.NEWEST_ENVOY)


@pytest.mark.parametrize("name", REFUSED)
def test_a_shape_that_is_refused_harms_no_other_request(gateway, name):
    kind, path, body, status = REFUSED[name]

    def send():
        reply = request(gateway.port, "POST", f"/hostile-{kind}{path}", body)
        assert reply.status == status, (reply.status, reply.body[:500])
        assert "message" in json.loads(reply.body)["error"]

    gateway.survives(send, rounds=2, slack_bytes=3 * attack.SLACK_BYTES)


@pytest.mark.parametrize("name", SENT)
def test_a_shape_that_is_valid_harms_no_other_request(gateway, hostile, name):
    kind, path, body = SENT[name]
    received = []

    def behave(connection, head, body):
        received.append(json.loads(body))
        connection.sendall(attack.head(429, "application/json", "content-length: 2") + b"{}")

    hostile.behave = behave

    def send():
        reply = request(gateway.port, "POST", f"/hostile-{kind}{path}", body)
        assert reply.status == 429, (reply.status, reply.body[:500])

    gateway.survives(send, rounds=2, slack_bytes=3 * attack.SLACK_BYTES)
    assert len(received) == 2


@pytest.mark.parametrize(
    ("kind", "item", "before", "after"),
    [
        ("anthropic", '{"type":"text","text":"a"}', '{"type":"message","stop_reason":"end_turn","content":[', "]}"),
        (
            "anthropic",
            '{"type":"tool_use","id":"","name":"f","input":{}}',
            '{"type":"message","stop_reason":"end_turn","content":[',
            "]}",
        ),
        ("google", '{"text":"a"}', '{"candidates":[{"finishReason":"STOP","content":{"parts":[', "]}}]}"),
        ("google", "{}", '{"candidates":[', "]}"),
    ],
)
def test_a_reply_of_small_elements_harms_no_other_request(gateway, hostile, kind, item, before, after):
    body = many(before, item, after, 16 * MIB)
    hostile.behave = lambda connection, head, _: connection.sendall(
        attack.head(200, "application/json", f"content-length: {len(body)}") + body
    )

    def send():
        reply = request(gateway.port, "POST", f"/hostile-{kind}{CHAT}", attack.ASK)
        assert reply.status in (200, 502), reply.status

    gateway.survives(send, rounds=2, slack_bytes=3 * attack.SLACK_BYTES)
