"""Pools over time: shares, the fastest, and members that die under load. The figures are printed."""

import collections
import http.client
import json
import signal
import threading
import time

import pytest

from harness import artefacts
from harness.process import Process, until
from test_pools import BODY, CHAT, JSON, pool, with_routes

FAST_MS = 20
SLOW_MS = 400
# As `pool/health.rs` has it.
PROBE_SECONDS = 5


def member(provider, name: str, **config) -> dict:
    config = {"endpoint": f"http://{name}.example", "model": "m", **config}
    if "address" not in config:
        config["address"] = provider.plain
    return {"name": name, "type": "openai-compatible", "config": config}


@pytest.fixture(scope="module", params=[artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY])
def gateway(start, provider, request):
    listed = [member(provider, name) for name in ("one", "two", "three")]
    listed.append(pool("shares", [{"name": "one", "weight": 70}, {"name": "two", "weight": 30}]))
    listed.append(pool("turns", ["one", "two", "three"], strategy="round-robin"))
    listed.append(pool("fastest", ["one", "two"], strategy="latency"))
    return start(with_routes(listed), version=request.param)


def names(mock) -> list[str]:
    return [it.authority.removesuffix(".example") for it in mock.requests()]


def post(connection, path: str) -> int:
    connection.request("POST", path, json.dumps(BODY), dict([JSON]))
    response = connection.getresponse()
    response.read()
    return response.status


def test_a_thousand_requests_are_split_by_weight(gateway, mock):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=artefacts.GUARD_SECONDS)
    for _ in range(1_000):
        assert post(connection, f"/shares{CHAT}") == 200
    counts = collections.Counter(names(mock))
    print(f"\n1,000 requests at 70/30 on one worker of Envoy: {dict(counts)}")
    assert counts == {"one": 700, "two": 300}


def test_turns_are_taken(gateway, mock):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=artefacts.GUARD_SECONDS)
    for _ in range(30):
        assert post(connection, f"/turns{CHAT}") == 200
    assert set(collections.Counter(names(mock)).values()) == {10}


def test_the_fastest_is_asked_and_who_becomes_slow_is_left(gateway, mock):
    """Stated in requests and in intervals between probes, whatever the machine."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=artefacts.GUARD_SECONDS)

    def answers(one_ms: int, two_ms: int):
        mock.reset([])
        for name, delay in (("one", one_ms), ("two", two_ms)):
            body = '{"choices":[]}'
            at = {"for": {"authority": f"{name}.example"}}
            mock.reply(**at, headers=[JSON], body=body, delay_ms=delay, times="always")

    def ask() -> str:
        assert post(connection, f"/fastest{CHAT}") == 200
        asked = names(mock)[-1]
        mock.forget()
        return asked

    def until_all_go_to(name: str, streak: int = 20) -> int:
        """How many requests went elsewhere until so many in a row, a probe aside, did not."""
        elsewhere = 0
        latest = collections.deque(maxlen=streak)
        while latest.count(name) < streak - 1:
            latest.append(ask())
            elsewhere += latest[-1] != name
        return elsewhere

    answers(FAST_MS, SLOW_MS // 2)
    until_all_go_to("one")
    answers(SLOW_MS, SLOW_MS // 4)
    moved = until_all_go_to("two")
    answers(FAST_MS, SLOW_MS // 4)
    began = time.monotonic()
    until_all_go_to("one")
    intervals = (time.monotonic() - began) / PROBE_SECONDS
    print(f"\nthe fastest became slow: {moved} requests went there until the traffic had moved")
    print(f"it recovered: the traffic was back after {intervals:.1f} intervals between probes")
    assert moved <= 4
    # On a slow machine the requests that show it take their time, too.
    assert intervals <= 6


@pytest.mark.parametrize("strategy", ["weighted", "latency"])
@pytest.mark.parametrize("version", [artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY])
def test_no_client_sees_that_a_member_dies_and_comes_back(start, provider, mock, output, version, strategy):
    """Three members; one is killed under load, and started again at the same address."""
    arguments = [artefacts.mock(), "--no-record"]
    log = output / "mortal.log"

    def begin(address: str) -> tuple[Process, str]:
        process = Process([*arguments, "--plain", address], log, read=True)
        return process, json.loads(process.stdout.readline())["plain"]

    mortal, address = begin("127.0.0.1:0")
    listed = [member(provider, name) for name in ("one", "two")]
    listed.append(member(provider, "mortal", address=address, timeout="2s"))
    listed.append(pool("all", ["mortal", "one", "two"], strategy=strategy))
    gateway = start(with_routes(listed), version=version, name=f"mortal-{strategy}")

    ends = threading.Event()
    statuses = collections.Counter()
    slowest = [0.0]

    def load():
        connection = http.client.HTTPConnection(
            "127.0.0.1", gateway.port, timeout=artefacts.GUARD_SECONDS
        )
        while not ends.is_set():
            began = time.monotonic()
            statuses[post(connection, f"/all{CHAT}")] += 1
            slowest[0] = max(slowest[0], time.monotonic() - began)

    def answered() -> int:
        return sum(statuses.values())

    def wait_for_more(count: int):
        target = answered() + count
        until(lambda: answered() >= target)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        wait_for_more(300)
        mortal.signal(signal.SIGKILL)
        mortal.wait()
        mortal.stop()
        wait_for_more(600)
        mortal, _ = begin(address)
        wait_for_more(600)
    finally:
        ends.set()
        for thread in threads:
            thread.join()
        mortal.stop()
    print(f"\n{version}, {strategy}: one of three killed and revived under load: {dict(statuses)}")
    print(f"the slowest request took {slowest[0] * 1000:.0f} ms")
    assert set(statuses) == {200}
