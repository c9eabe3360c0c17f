"""Attacks, and the bystanders that no attack may harm.

A `Stage` is one Envoy with one worker: attackers and bystanders share its VM. `Stage.survives` runs an
attack several times. Meanwhile a bystander sends small requests one after the other, and two streams
of bystanders stay open, a relayed one and a translated one, which end after the attack. `survives`
asserts that

* every request of a bystander gets 200, and both streams arrive whole,
* no VM was reloaded, and Envoy is alive,
* the memory of the process does not grow from one round to the next.

A case is a function that attacks, and a call of `survives`. Most need no more than

    def test_it(stage, provider, mock, hostile):
        hostile.behave = lambda connection, head, body: connection.sendall(...)
        stage(attack.gateway(provider, hostile)).survives(lambda: ...)
"""

import contextlib
import json
import pathlib
import re
import socket
import threading
import time

import pytest

from . import artefacts, gateways
from .client import JSON, Exchange, request
from .envoy import Envoy
from .mock import Mock
from .process import until

CHAT = "/v1/chat/completions"
EVENTS = ("content-type", "text/event-stream")
ASK = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
MIB = 1 << 20
FURTHER_ROUNDS = 3
# By how much the memory of the process may differ between the last two rounds. A leak of what an
# attack sends is larger.
SLACK_BYTES = 24 * MIB
# The requests of a bystander wait behind the attacker's on the one worker: this is for a machine that
# is busy with much else.
BYSTANDER_SECONDS = artefacts.GUARD_SECONDS


def backends(mock: Mock, hostile: "Hostile | None" = None) -> list[dict]:
    """The bystanders' backends, and with `hostile` one attacker for each type that has a dialect."""
    listed = [
        backend("bystander", "openai-compatible", gateways.at(mock, "bystander", {})),
        backend("translated", "anthropic", gateways.at(mock, "translated", {})),
    ]
    if hostile is not None:
        kinds = {"openai-compatible": {}, "anthropic": {}, "google": {}}
        for kind, config in kinds.items():
            at = {"endpoint": f"http://hostile-{kind}.example", "address": hostile.address, **config}
            listed.append(backend(f"hostile-{kind}", kind, at))
    return listed


def backend(name: str, kind: str, config: dict) -> dict:
    return {"name": name, "type": kind, "config": {"apiKey": "${PLAIN_KEY}", **config}}


def gateway(mock: Mock, hostile: "Hostile | None" = None, more=(), **top) -> dict:
    """A configuration with the bystanders' backends, `more` of them, and other keys."""
    listed = [*backends(mock, hostile), *more]
    routes = [{"path": f"/{it['name']}", "backend": it["name"]} for it in listed]
    return {**top, "backends": listed, "routes": routes}


class Stage:
    """Envoy with one worker, and the provider of the bystanders."""

    def __init__(self, envoy: Envoy, mock: Mock):
        self.envoy = envoy
        self._mock = mock

    @property
    def port(self) -> int:
        return self.envoy.port

    def survives(self, attack, rounds: int = 3, slack_bytes: int = SLACK_BYTES):
        """Runs `attack` so many times; fails if a bystander, the VM or the process is affected.

        Envoy's allocator may keep a body's pages once: only what grows in each of three further rounds
        is a leak.
        """
        before = self.vms()
        sizes = []

        def flat() -> bool:
            return rounds == 1 or sizes[-1] - sizes[-2] <= slack_bytes

        with self._bystanders():
            while len(sizes) < rounds or (not flat() and len(sizes) < rounds + FURTHER_ROUNDS):
                attack()
                self._quiet()
                sizes.append(self.resident_bytes())
        assert self.envoy.process.ended() is None, "Envoy has ended"
        assert self.envoy.admin("/ready").strip() == "LIVE"
        after = self.vms()
        assert after == before, f"VMs before: {before}, after: {after}"
        self.envoy.assert_no_trouble()
        shown = [f"{size / MIB:.0f} MiB" for size in sizes]
        print(f"\nresident after each round: {', '.join(shown)}")
        assert flat(), f"it grows: {shown}"

    def vms(self) -> dict[str, int]:
        """Envoy's counters of VMs: how many were created, reloaded, and failed."""
        counted = {}
        for line in self.envoy.admin("/stats?filter=wasm").splitlines():
            name, _, value = line.partition(": ")
            if value.isdigit() and re.search(r"reload|created|active|fail", name):
                counted[name] = int(value)
        assert counted, "Envoy has no counters of VMs"
        return counted

    def resident_bytes(self) -> int:
        """The resident memory of the process."""
        return resident_bytes(self.envoy.process.pid)

    def _quiet(self):
        """Waits until only the requests of the bystanders are active."""

        def requests() -> bool:
            text = self.envoy.admin("/stats?filter=downstream_rq_active")
            active = [int(it.rsplit(": ", 1)[1]) for it in text.splitlines() if ".gateway." in it]
            # The two streams, and the request that a bystander has just sent.
            return sum(active) <= 3 if active else True

        until(requests)

    @contextlib.contextmanager
    def _bystanders(self):
        gate = "attack-is-over"
        relayed, translated = _openai_events(), _anthropic_events()
        self._mock.profile("translated.example", key="required", auth_header="x-api-key", auth_prefix="")
        for name, events in (("bystander", relayed), ("translated", translated)):
            chunks = [{"data": events[0]}, {"data": "".join(events[1:]), "wait_for": gate}]
            self._mock.reply(
                **{"for": {"authority": f"{name}.example"}}, headers=[EVENTS], chunks=chunks
            )
        with contextlib.ExitStack() as stack:
            streams = {}
            for name in ("bystander", "translated"):
                exchange = stack.enter_context(Exchange(self.port))
                _begin(exchange, f"/{name}{CHAT}", {**ASK, "stream": True})
                status, _ = exchange.begin()
                assert status == 200, exchange.rest()
                streams[name] = (exchange, exchange.until(b"\n\n"))
            requests = _Requests(self.port)
            try:
                yield
            finally:
                statuses = requests.stop()
                self._mock.open(gate)
            for name, (exchange, first) in streams.items():
                rest = first + exchange.rest()
                assert rest.count(b"data: [DONE]") == 1, f"{name}: {rest!r}"
                assert b"second" in rest, f"{name}: {rest!r}"
        others = [status for status in statuses if status != 200]
        assert statuses, "no bystander has sent anything"
        assert not others, f"{len(others)} of {len(statuses)} bystanders' requests: {others[:10]}"
        print(f"\n{len(statuses)} requests of bystanders")


class _Requests:
    """Sends small requests, one after the other, until `stop`."""

    def __init__(self, port: int):
        self._port = port
        self._ends = threading.Event()
        self._statuses: list[int | str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            try:
                reply = request(self._port, "POST", f"/bystander{CHAT}", ASK)
                self._statuses.append(reply.status)
            except Exception as error:  # a failure of any kind is what the bystander gets
                self._statuses.append(repr(error))
            if self._ends.wait(0.02):
                return

    def stop(self) -> list[int | str]:
        self._ends.set()
        self._thread.join(BYSTANDER_SECONDS)
        assert not self._thread.is_alive(), "a bystander still waits"
        return self._statuses


class Hostile:
    """A provider whose replies are written by a function.

    `behave` gets the socket, the request's head, and its body (as long as its `content-length`). When
    it returns, the connection is closed.
    """

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self.behave = lambda connection, head, body: None
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket):
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            received = b""
            while b"\r\n\r\n" not in received:
                piece = connection.recv(1 << 16)
                if not piece:
                    return
                received += piece
            head, body = received.split(b"\r\n\r\n", 1)
            length = re.search(rb"(?i)content-length: (\d+)", head)
            missing = int(length[1]) - len(body) if length else 0
            pieces = [body]
            while missing > 0:
                piece = connection.recv(1 << 20)
                if not piece:
                    return
                missing -= len(piece)
                pieces.append(piece)
            self.behave(connection, head, b"".join(pieces))


def head(status: int | str = 200, content_type: str = "application/json", *more: str) -> bytes:
    """The head of a reply; the body ends with the connection, unless `more` has a length."""
    lines = [f"HTTP/1.1 {status} X", f"content-type: {content_type}", *more, "connection: close"]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def many(count: int, action) -> list:
    """The results of `action(number)` in so many threads at once; an exception is a result, too."""
    results: list = [None] * count

    def run(number: int):
        try:
            results[number] = action(number)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(it,), daemon=True) for it in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(artefacts.GUARD_SECONDS * 2)
        assert not thread.is_alive(), "an attacker still waits"
    return results


def resident_bytes(pid: int) -> int:
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) << 10


def _begin(exchange: Exchange, path: str, body: dict):
    data = json.dumps(body).encode()
    headers = [("host", "g"), JSON, ("content-length", str(len(data)))]
    exchange.head("POST", path, headers)
    exchange.send(data)


def _openai_events() -> list[str]:
    def event(text: str) -> str:
        return f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': text}}]})}\n\n"

    return [event("first"), event("second"), "data: [DONE]\n\n"]


def _anthropic_events() -> list[str]:
    recorded = (artefacts.ROOT / "tests/chat/plain/stream.anthropic.sse").read_text()
    events = [f"{event}\n\n" for event in recorded.strip().split("\n\n")]
    [first] = [at for at, event in enumerate(events) if "Hallo " in event]
    events = [event.replace("🦀", "second") for event in events]
    return ["".join(events[: first + 1]), *events[first + 1 :]]


@pytest.fixture(scope="session")
def hostile():
    """A provider for attacks."""
    provider = Hostile()
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def stage(start, provider):
    """Starts stages: `stage(gateway, placement=…)`."""

    def begin(gateway: dict, *args, **kwargs) -> Stage:
        return Stage(start(gateway, *args, workers=1, **kwargs), provider)

    return begin
