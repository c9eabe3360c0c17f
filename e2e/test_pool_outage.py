"""Pools after an outage, and with a member that does not answer."""

import collections
import concurrent.futures
import contextlib
import http.client
import json
import signal
import threading
import time

import pytest

from harness import artefacts
from harness.dns import Dns
from harness.process import Process, until
from test_pool_load import member, names, post
from test_pools import BODY, CHAT, pool, with_routes

VERSIONS = (artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY)
LONG = pytest.mark.long
# What a client does not wait for: it retries.
PAUSE_SECONDS = 0.2


class Mortal:
    """A provider that can be killed and started again at the same address."""

    def __init__(self, log):
        self._log = log
        self.address = "127.0.0.1:0"
        self.start()

    def start(self):
        arguments = [artefacts.mock(), "--no-record", "--plain", self.address]
        self._process = Process(arguments, self._log, read=True)
        self.address = json.loads(self._process.stdout.readline())["plain"]

    def kill(self):
        self._process.signal(signal.SIGKILL)
        self._process.wait()
        self._process.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stop()


@pytest.mark.parametrize(
    "seconds", [6, pytest.param(60, marks=LONG), pytest.param(300, marks=LONG)], ids=lambda it: f"{it}s"
)
def test_a_pool_is_back_with_the_first_request_after_a_member_is(start, provider, output, seconds):
    """All members are down for so long, and clients go on; then one of them accepts connections."""
    with contextlib.ExitStack() as open_until_then:
        mortals = [
            open_until_then.enter_context(Mortal(output / f"outage-{seconds}-{at}.log")) for at in range(3)
        ]
        listed = [member(provider, f"m{at}", address=it.address) for at, it in enumerate(mortals)]
        for strategy in ("weighted", "latency"):
            listed.append(pool(strategy, ["m0", "m1", "m2"], strategy=strategy))
        gateways = [start(with_routes(listed), version=version, name="outage") for version in VERSIONS]
        cases = [(gateway, strategy) for gateway in gateways for strategy in ("weighted", "latency")]

        def statuses() -> list[int]:
            return [gateway.post(f"/{strategy}{CHAT}", BODY).status for gateway, strategy in cases]

        for _ in range(6):
            assert statuses() == [200] * len(cases)
        for mortal in mortals:
            mortal.kill()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert statuses() == [503] * len(cases)
            time.sleep(PAUSE_SECONDS)
        # The last in its order for some, the first for others.
        mortals[2].start()
        began = time.monotonic()
        assert statuses() == [200] * len(cases)
        print(f"\nafter {seconds} s: all {len(cases)} pools were back in {time.monotonic() - began:.3f} s")
        # The others are probed at once, and take their share.
        mortals[0].start()
        mortals[1].start()
        for _ in range(12):
            assert statuses() == [200] * len(cases)


def test_a_name_that_resolves_late_or_no_more_does_no_harm(start, provider, mock):
    """An Envoy that starts without its network, a provider that moves, and one that disappears."""
    port = provider.plain.rsplit(":", 1)[1]
    with Dns({"leaving.test": "127.0.0.1"}) as dns:
        listed = [
            member(provider, name, endpoint=f"http://{name}.test:{port}", address=f"{name}.test:{port}")
            for name in ("late", "leaving")
        ]
        listed.append(pool("late-first", ["late", {"name": "leaving", "priority": 1}]))
        listed.append(pool("late-alone", ["late"]))
        gateways = [
            start(with_routes(listed), version=version, change=dns.use, name="names")
            for version in (*VERSIONS, artefacts.MIDDLE_ENVOY)
        ]
        for gateway in gateways:
            assert gateway.post(f"/late-alone{CHAT}", BODY).status == 503
            mock.forget()
            # More often than makes it rest.
            for _ in range(6):
                assert gateway.post(f"/late-first{CHAT}", BODY).status == 200
            assert {it.authority for it in mock.requests()} == {f"leaving.test:{port}"}
        dns.addresses["late.test"] = "127.0.0.1"
        began = time.monotonic()
        for gateway in gateways:
            until(lambda: gateway.post(f"/late-alone{CHAT}", BODY).status == 200)
        print(f"\na pool was back {time.monotonic() - began:.2f} s after its only name resolved")
        mock.forget()
        for gateway in gateways:
            # Its rest is over after 32 seconds at most.
            until(lambda: to_late(gateway, mock, port))
        # The addresses that it had stay in use.
        del dns.addresses["leaving.test"]
        time.sleep(2.5)
        for gateway in gateways:
            assert gateway.post(f"/leaving{CHAT}", BODY).status == 200


def to_late(gateway, mock, port: str) -> bool:
    mock.forget()
    assert gateway.post(f"/late-first{CHAT}", BODY).status == 200
    return mock.requests()[0].authority == f"late.test:{port}"


@pytest.mark.parametrize("version", VERSIONS)
def test_one_request_in_a_back_off_interval_waits_for_a_member_that_does_not_answer(
    start, provider, mock, version
):
    listed = [member(provider, name) for name in ("silent", "one", "two")]
    # The longest of the members' timeouts would be the pool's.
    listed.append(pool("all", ["silent", "one", "two"], timeout="1s"))
    gateway = start(with_routes(listed), version=version, name="silent")
    mock.reply(**{"for": {"authority": "silent.example"}}, hang_before_headers=True, times="always")
    while collections.Counter(names(mock))["silent"] < 3:
        assert gateway.post(f"/all{CHAT}", BODY).status == 200
    mock.forget()
    ends = threading.Event()

    def load() -> int:
        sent = 0
        connection = http.client.HTTPConnection(
            "127.0.0.1", gateway.port, timeout=artefacts.GUARD_SECONDS
        )
        while not ends.is_set():
            assert post(connection, f"/all{CHAT}") == 200
            sent += 1
        return sent

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        began = time.monotonic()
        loads = [threads.submit(load) for _ in range(4)]
        time.sleep(6)
        ends.set()
        sent = sum(it.result() for it in loads)
    seconds = time.monotonic() - began
    # A rest of 1 second, a probe, 2 seconds, a probe, 4 seconds, …: each probe takes a second, too.
    allowed, at = 0, 0.0
    while at <= seconds:
        at += 2**allowed
        allowed += 1
    probes = collections.Counter(names(mock))["silent"]
    print(f"\n{version}: {probes} of {sent} requests in {seconds:.1f} s waited for the silent member")
    assert 1 <= probes <= allowed
