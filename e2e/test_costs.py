"""What the module costs, counted: how often a request crosses between Envoy and the module, and how large
the module is. No times.

Each crossing costs, and one more for each request shows in no other test. They are read from Envoy's own
trace of its Wasm VM. A figure that rises needs a reason in the change that raises it; one that falls is
written down here, so that it stays.
"""

import contextlib
import http.client
import json
import re
from collections import Counter

import pytest

from harness import artefacts, bootstrap
from harness.client import Exchange
from harness.gateways import at

# Of the module that is released, and of the one that is built faster. Unit: bytes; functions.
LARGEST = {"release": (1_990_000, 2_750), "quick": (4_000_000, 12_000)}

CROSSING = re.compile(r"\[(?:host->vm|vm->host)\] (?:env\.)?proxy_(\w+)\(")
ENDED = re.compile(r"\[host<-vm\] proxy_(\w+) return")
# A timer, which may go off at any time.
TICK = re.compile(r"\[host->vm\] proxy_on_tick.*?\[host<-vm\] proxy_on_tick return", re.DOTALL)

EVENTS = ("content-type", "text/event-stream")
PROSE = "Why is the sky blue, and why is it not so in the evening? " * 30
MODELS = {
    "kept": "gpt-4o-mini",
    "written": "gpt-4o-mini",
    "claude": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
    "pool": "gpt-4o-mini",
}

# A request and its reply whose bodies come in one part and an end, through one plugin.
KEPT = {
    "on_context_create": 1,
    "on_request_headers": 1,
    "get_header_map_pairs": 2,
    # Since there are several backends; and the name of the route, for the report.
    "get_property": 2,
    # What Envoy adds, `x-request-id` and `x-forwarded-proto` among it.
    "remove_header_map_value": 3,
    # Host, path, key, and the id of the request in the reply.
    "replace_header_map_value": 4,
    "on_request_body": 2,
    # The request, and the reply for its usage.
    "get_buffer_bytes": 2,
    "on_response_headers": 1,
    "on_response_body": 1,
    # The beginning and the end, for the duration.
    "get_current_time_nanoseconds": 2,
    # Tokens of two types, and the duration.
    "record_metric": 3,
    # Tokens of two types, and the attempt.
    "increment_metric": 3,
    # What the access log has.
    "set_property": 10,
    "on_done": 1,
    "on_delete": 1,
    # For each call that returns something.
    "on_memory_allocate": 6,
}
TRANSLATED = KEPT | {
    "remove_header_map_value": 4,
    # Path, host, key, the id, and the length of the request and of the reply.
    "replace_header_map_value": 6,
    "set_buffer_bytes": 2,
    # The reply says when it was made.
    "get_current_time_nanoseconds": 3,
}
REQUESTS = {
    "kept": KEPT,
    # And the new length.
    "written": KEPT | {"replace_header_map_value": 5, "set_buffer_bytes": 1},
    # And `anthropic-version`.
    "claude": TRANSLATED | {"replace_header_map_value": 7},
    "gemini": TRANSLATED,
    # The plugin that selects an order of members, and that of the attempt.
    "pool": {
        "on_context_create": 2,
        "on_request_headers": 2,
        "get_header_map_pairs": 4,
        "get_property": 4,
        "get_shared_data": 2,
        "get_current_time_nanoseconds": 7,
        "remove_header_map_value": 4,
        "replace_header_map_value": 7,
        "record_metric": 3,
        "increment_metric": 3,
        "set_property": 10,
        "on_request_body": 4,
        "get_buffer_bytes": 3,
        "set_buffer_bytes": 1,
        "on_response_headers": 2,
        "on_response_body": 2,
        "on_done": 2,
        "on_log": 1,
        "on_delete": 2,
        "on_memory_allocate": 11,
    },
}
# A part of a body that passes is only read; one that is held is taken out of Envoy's buffer, too.
READ = {"get_buffer_bytes": 1, "on_memory_allocate": 1}
REQUEST_PARTS = {
    "kept": {"on_request_body": 1, **READ},
    "claude": {"on_request_body": 1, **READ, "set_buffer_bytes": 1},
}
# An event of a stream that passes is read for its usage, and not written.
STREAM_EVENTS = {
    "kept": {"on_response_body": 1, **READ},
    "claude": {"on_response_body": 1, **READ, "set_buffer_bytes": 1},
}

# Where the backends are, that are not at a name of their own.
HOSTS = {"claude": "api.anthropic.com", "gemini": "generativelanguage.googleapis.com"}

EVENT = 'data: {"choices":[{"index":0,"delta":{"content":"word"}}]}\n\n'
CLAUDE_BEGINS = (
    'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant",'
    '"model":"claude-sonnet-4-5","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}}\n\n'
    'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    '"content_block":{"type":"text","text":""}}\n\n'
)
CLAUDE_EVENT = (
    'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    '"delta":{"type":"text_delta","text":"word"}}\n\n'
)


def chat(name: str, **members) -> bytes:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROSE}]
    return json.dumps({"messages": messages, "model": MODELS[name], **members}).encode()


@pytest.fixture(scope="module")
def gateways(start, provider):
    """One with backends alone, and one with a pool of two of them: by which names."""

    def backend(name, type, **config):
        endpoint = f"https://{HOSTS.get(name, f'{name}.example')}"
        config = at(provider, name, {"apiKey": "${PLAIN_KEY}", "endpoint": endpoint, **config})
        return {"name": name, "type": type, "config": config}

    backends = [
        backend("kept", "openai"),
        backend("written", "openai", model="gpt-4o"),
        backend("claude", "anthropic"),
        backend("gemini", "google"),
    ]
    pool = {"name": "pool", "type": "pool", "backends": [{"name": "kept"}, {"name": "written"}]}

    def gateway(*backends, name):
        routes = [{"path": f"/{it['name']}", "backend": it["name"]} for it in backends]
        made = {"backends": [*backends], "routes": routes}
        return start(made, bootstrap.UPSTREAM, workers=1, name=name)

    alone = gateway(*backends, name="alone")
    return {
        **{it["name"]: alone for it in backends},
        "pool": gateway(*backends[:2], pool, name="pool"),
    }


@contextlib.contextmanager
def crossings(gateway, *, last: str):
    """Counts what crosses meanwhile, until as many callbacks `last` have ended as have begun contexts, or
    one at least."""
    level(gateway, "trace")
    start = len(gateway.log())
    counted = Counter()
    yield counted

    def ended():
        log = gateway.log()[start:]
        contexts = log.count("[host->vm] proxy_on_context_create")
        return Counter(ENDED.findall(log))[last] >= max(1, contexts) and log

    log = gateway.process.until(ended)
    level(gateway, "info")
    counted.update(CROSSING.findall(TICK.sub("", log)))
    # Of each metric once.
    counted.pop("define_metric", None)


def level(gateway, level: str):
    connection = http.client.HTTPConnection(gateway._admin, timeout=artefacts.GUARD_SECONDS)
    with contextlib.closing(connection):
        connection.request("POST", f"/logging?wasm={level}")
        assert connection.getresponse().status == 200


def begin(gateway, name: str, body: bytes, first: int) -> Exchange:
    """A request of which only so many bytes of the body are sent."""
    exchange = Exchange(gateway.port)
    headers = [("host", "g"), ("content-type", "application/json"), ("content-length", len(body))]
    exchange.head("POST", f"/{name}/v1/chat/completions", headers)
    exchange.send(body[:first])
    return exchange


@pytest.mark.parametrize("name", MODELS)
def test_a_request_and_its_reply(gateways, mock, name):
    gateway, body = gateways[name], chat(name)
    # What is done once for a worker is not counted.
    with begin(gateway, name, body, len(body)) as exchange:
        assert exchange.reply().status == 200
    with crossings(gateway, last="on_delete") as counted:
        with begin(gateway, name, body, len(body)) as exchange:
            assert exchange.reply().status == 200
    assert counted == REQUESTS[name]


@pytest.mark.parametrize("name", REQUEST_PARTS)
def test_a_part_of_a_request(gateways, mock, name):
    gateway, body = gateways[name], chat(name)
    # `model` stands first, so that only what has to be held is.
    body = b'{"model":' + json.dumps(MODELS[name]).encode() + b"," + body[1:].replace(b'"model"', b'"user"')
    with crossings(gateway, last="on_request_body"):
        exchange = begin(gateway, name, body, 1000)
    with exchange:
        with crossings(gateway, last="on_request_body") as counted:
            exchange.send(body[1000:1500])
    assert counted == REQUEST_PARTS[name]


@pytest.mark.parametrize("name", STREAM_EVENTS)
def test_an_event_of_a_stream(gateways, mock, name):
    gateway, body = gateways[name], chat(name, stream=True)
    events = [EVENT, EVENT] if name == "kept" else [CLAUDE_BEGINS + CLAUDE_EVENT, CLAUDE_EVENT]
    chunks = [{"data": event, "wait_for": f"g{at}"} for at, event in enumerate(events)]
    mock.reply(headers=[EVENTS], chunks=chunks, end="hang")
    with begin(gateway, name, body, len(body)) as exchange:
        mock.open("g0")
        exchange.begin()
        word = b"word"
        while word not in exchange.some():
            pass
        with crossings(gateway, last="on_response_body") as counted:
            mock.open("g1")
            assert word in exchange.some()
    assert counted == STREAM_EVENTS[name]


def test_the_module_is_not_larger():
    path = artefacts.module()
    most_bytes, most_functions = LARGEST[path.parent.name]
    module = path.read_bytes()
    assert len(module) <= most_bytes
    assert number_of_functions(module) <= most_functions


def number_of_functions(module: bytes) -> int:
    """Those with code. Source: <https://webassembly.github.io/spec/core/binary/modules.html#function-section>"""
    place = 8
    while place < len(module):
        section = module[place]
        size, place = number(module, place + 1)
        if section == 3:
            return number(module, place)[0]
        place += size
    raise AssertionError("no functions")


def number(module: bytes, place: int) -> tuple[int, int]:
    """An unsigned LEB128 number, and the place behind it."""
    value = shift = 0
    while True:
        byte = module[place]
        value, shift, place = value | (byte & 0x7F) << shift, shift + 7, place + 1
        if byte < 0x80:
            return value, place
