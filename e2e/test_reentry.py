"""Envoy ends a stream inside a host call, and calls the module again in there.

The product makes no such call where it can know it. A filter of our own does, built with the same
patched SDK: whatever it does to its own stream, its VM and the streams of others live on.
"""

import http.client
import time

import pytest

from harness import artefacts, attack
from harness.attack import CHAT

# By where the call is made: what is called, and whether Envoy lets the reply arrive.
CALLS = [
    "reply-in-request-headers", "reset-in-request-headers", "call-in-request-headers",
    "replace-in-request-body", "append-in-request-body", "prepend-in-request-body",
    "reply-in-request-body", "reset-in-request-body",
    "reply-in-response-headers", "reset-in-response-headers",
    "replace-in-response-body", "append-in-response-body", "prepend-in-response-body",
    "replace-in-started-response-body",
    "reply-in-response-body", "reply-in-started-response-body", "reset-in-response-body",
]
# The place of the filter: among the listener's filters, or the cluster's.
PLACES = ("listener", "upstream")


def with_reentry(place: str):
    """Puts the filter in front of ours, with a small buffer for bodies."""

    def filter() -> dict:
        code = {"local": {"filename": str(artefacts.reentry())}}
        return {
            "name": "reentry",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {
                    "name": "reentry",
                    "root_id": "reentry",
                    "failure_policy": "FAIL_RELOAD",
                    "allow_on_headers_stop_iteration": True,
                    "vm_config": {"vm_id": "reentry", "runtime": "envoy.wasm.runtime.v8", "code": code},
                },
            },
        }

    def change(bootstrap: dict):
        resources = bootstrap["static_resources"]
        [listener] = resources["listeners"]
        listener["per_connection_buffer_limit_bytes"] = 64 << 10
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        for host in manager["route_config"]["virtual_hosts"]:
            host["request_body_buffer_limit"] = 64 << 10
        if place == "listener":
            manager["http_filters"].insert(0, filter())
            return
        for cluster in resources["clusters"]:
            options = cluster["typed_extension_protocol_options"]
            [options] = options.values()
            options["http_filters"].insert(0, filter())

    return change


@pytest.fixture(scope="module", params=[artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY])
def version(request):
    return request.param


@pytest.fixture(scope="module", params=PLACES)
def gateway(stage, provider, hostile, version, request):
    configured = attack.gateway(provider, hostile)
    return stage(configured, version=version, change=with_reentry(request.param))


@pytest.mark.parametrize("call", CALLS)
def test_a_stream_that_ends_in_a_host_call_ends_alone(gateway, mock, hostile, call):
    def behave(connection, request, _):
        connection.sendall(attack.head() + b"{")
        # Likely in two parts: where Envoy reads them at once, nothing waits and nothing ends.
        time.sleep(0.1)
        connection.sendall(b'"a": "' + b"x" * 5000 + b'"}')

    hostile.behave = behave

    def asked():
        body = b'{"model":"m","messages":[]' + b" " * 5000 + b"}"
        try:
            reply = gateway.envoy.post(
                f"/hostile-openai-compatible{CHAT}",
                headers=[("x-call", call)], pieces=[body[:20], body[20:]], pause=0.05,
            )
            print(f"\n{call}: {reply.status}")
        except (OSError, http.client.HTTPException) as error:
            print(f"\n{call}: {error!r}")

    gateway.survives(asked, rounds=2)
