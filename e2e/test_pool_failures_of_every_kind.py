"""Each kind of failure at each place of a pool. The table in `docs/pools.md` is made of the results.

A pool has three members by priority. `K` fails in the way of its kind, `H` answers, `B` is busy (503):

    HKK KHK KKH    one healthy member
    KBB BKB BBK    the kind at each place, among members that fail otherwise
    KKK            no healthy member
"""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import socket
import struct
import threading
from dataclasses import dataclass

import pytest

from harness import artefacts, gateways
from harness.dns import Dns
from harness.process import until
from harness.shapes import assert_openai_error
from test_pools import BODY, CHAT, JSON, pool

POOLS = ("HKK", "KHK", "KKH", "KBB", "BKB", "BBK", "KKK")
# No reply of the provider takes so long, and no failure but silence does.
TIMEOUT_SECONDS = 2
TABLE = artefacts.ROOT / "docs/pools.md"


@dataclass(frozen=True)
class Kind:
    """A way to fail."""

    name: str
    says: str
    # What the provider is told to answer; absent: it is not reached.
    reply: dict | None = None
    # Whether Envoy makes an attempt at such a member.
    attempted: bool = True


def error(status: int) -> dict:
    body = {"error": {"message": f"own words of {status}", "type": "t", "param": None, "code": "c"}}
    return {"status": status, "headers": [JSON], "body": json.dumps(body)}


KINDS = [
    Kind("no-name", "its name does not exist", attempted=False),
    Kind("refused", "the connection is refused"),
    Kind("dropped", "no answer to the connection (packets are dropped)"),
    Kind("wrong-name", "TLS: the certificate has another name"),
    Kind("wrong-ca", "TLS: the certificate is of an unknown authority"),
    Kind("closed", "the connection is reset before the request is sent"),
    Kind("reset", "the connection is reset after the request was sent", {"reset_before_headers": True}),
    Kind("silent", "no byte of a reply within `timeout`", {"hang_before_headers": True}),
    Kind("status-500", "status 500", error(500)),
    Kind("status-503", "status 503", error(503)),
    Kind("status-529", "status 529", error(529)),
    Kind("status-429", "status 429", error(429)),
]
# Those that differ most, for the versions of Envoy on which not all are tried.
FEW = {"no-name", "refused", "closed", "silent", "status-503"}


@contextlib.contextmanager
def resetting():
    """The address of a server that resets each connection at once."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    # https://man7.org/linux/man-pages/man7/socket.7.html, SO_LINGER
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield "127.0.0.1:%d" % server.getsockname()[1]


@contextlib.contextmanager
def dropping():
    """The address of a server that has no room for a connection: the kernel drops what comes."""
    with contextlib.ExitStack() as open_until_then:
        server = open_until_then.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):
            waiting = open_until_then.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield "127.0.0.1:%d" % server.getsockname()[1]


@contextlib.contextmanager
def refusing():
    """An address without a listener, which stays reserved."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield "127.0.0.1:%d" % bound.getsockname()[1]


def backend(name: str, config: dict) -> dict:
    config = {"model": "m", "timeout": f"{TIMEOUT_SECONDS}s", **config}
    return {"name": name, "type": "openai-compatible", "config": config}


def failing(kind: Kind, name: str, provider, addresses: dict[str, str]) -> dict:
    """A backend that fails in one way, or is going to."""
    plain = {"endpoint": f"http://{name}.example"}
    match kind.name:
        case "no-name":
            return backend(name, {"endpoint": f"http://{name}.nowhere.example"})
        case "refused" | "dropped" | "closed":
            return backend(name, {**plain, "address": addresses[kind.name]})
        case "wrong-name":
            config = gateways.at(provider, "wrongname", {})
            # The authority must be another one for each.
            return backend(name, config)
        case "wrong-ca":
            config = gateways.at(provider, name, {})
            del config["tls"]
            return backend(name, config)
    return backend(name, {**plain, "address": provider.plain})


@dataclass
class Outcome:
    """What became of one request."""

    reply: object
    # Members by place that the provider has seen, in order.
    seen: list[str]
    attempts: int


def outcomes(start, provider, version: str, kinds: list[Kind]) -> dict[tuple[str, str], Outcome]:
    """One request to each pool of each kind, all at once: most of the time is spent waiting."""
    with contextlib.ExitStack() as open_until_then:
        enter = open_until_then.enter_context
        addresses = {"refused": enter(refusing()), "dropped": enter(dropping()), "closed": enter(resetting())}
        dns = enter(Dns({}))
        listed, routes = [], []
        for place in range(3):
            for letter in "HB":
                name = f"{letter}{place}"
                config = {"endpoint": f"http://{name}.example", "address": provider.plain}
                listed.append(backend(name, config))
        for kind in kinds:
            listed += [failing(kind, f"K{place}-{kind.name}", provider, addresses) for place in range(3)]
            for letters in POOLS:
                suffix = {"H": "", "B": "", "K": f"-{kind.name}"}
                members = [
                    {"name": f"{letter}{place}{suffix[letter]}", "priority": place}
                    for place, letter in enumerate(letters)
                ]
                name = f"{letters}-{kind.name}"
                listed.append(pool(name, members))
                routes.append({"path": f"/{name}", "backend": name})
        gateway = start(
            {"backends": listed, "routes": routes}, version=version, change=dns.use, name="kinds"
        )
        provider.reset(gateways.profiles())
        for place in range(3):
            answer = {"status": 503, "headers": [JSON], "body": f'{{"error":{{"message":"busy {place}"}}}}'}
            provider.reply(**{"for": {"authority": f"b{place}.example"}}, **answer, times="always")
            for kind in kinds:
                authority = {"for": {"authority": f"k{place}-{kind.name}.example"}}
                if kind.reply:
                    provider.reply(**authority, **kind.reply, times="always")

        def send(kind: Kind, letters: str):
            return gateway.post(f"/{letters}-{kind.name}{CHAT}", BODY, [("x-pool", letters + kind.name)])

        cases = [(kind, letters) for kind in kinds for letters in POOLS]
        with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool_of_threads:
            replies = list(pool_of_threads.map(lambda case: send(*case), cases))
        lines = until(lambda: access_log(gateway, len(cases)))
        # The path is the last attempt's.
        attempts = {line["cluster"].split("/")[0]: line["attempts"] for line in lines}
        seen = {}
        for it in provider.requests():
            seen.setdefault(it.header("x-pool"), []).append(it.authority.split(".")[0])
        return {
            (kind.name, letters): Outcome(
                reply, seen.get(letters + kind.name, []), attempts[f"{letters}-{kind.name}"]
            )
            for (kind, letters), reply in zip(cases, replies)
        }


def access_log(gateway, count: int) -> list[dict] | None:
    lines = [json.loads(line) for line in gateway.log().splitlines() if line.startswith('{"')]
    return lines if len(lines) >= count else None


def check(kind: Kind, found: dict[tuple[str, str], Outcome]):
    """What must hold for each kind."""

    def seen(letters: str) -> list[str]:
        return found[kind.name, letters].seen

    reached = kind.reply is not None
    for place, letters in enumerate(("HKK", "KHK", "KKH")):
        outcome = found[kind.name, letters]
        assert outcome.reply.status == 200, (letters, outcome.reply.body)
        assert outcome.reply.json()["choices"][0]["message"]["content"]
        before = [f"k{it}-{kind.name}" for it in range(place)] if reached else []
        assert seen(letters) == [*before, f"h{place}"], letters
        assert outcome.attempts == (place + 1 if kind.attempted else 1), letters
    for place, letters in enumerate(("KBB", "BKB", "BBK")):
        # Whatever fails, each of the others is tried, once unless an attempt is left over.
        tried = [it for it in seen(letters) if it.startswith("b")]
        others = [f"b{it}" for it in range(3) if it != place]
        assert tried[:2] == others, letters
        assert found[kind.name, letters].attempts == 3, letters
        assert len(tried) == (2 if kind.attempted else 3), letters
    for letters in ("KBB", "BKB"):
        assert_openai_error(found[kind.name, letters].reply, 503, "server_error", says="busy")
    all_fail = found[kind.name, "KKK"]
    # The one that finds no host counts.
    assert all_fail.attempts == (3 if kind.attempted else 1)
    status = all_fail.reply.status
    assert status in (429, 500, 503, 504, 529), all_fail.reply.body
    if kind.reply and "status" in kind.reply:
        assert_openai_error(all_fail.reply, kind.reply["status"], says=f"own words of {status}")
        assert_openai_error(found[kind.name, "BBK"].reply, kind.reply["status"], says="own words of")
    else:
        assert_openai_error(all_fail.reply, status, "server_error")
        # Of the last one that has replied: Envoy passes over a member without a host, and begins again.
        last = 1 if kind.attempted else 0
        assert_openai_error(found[kind.name, "BBK"].reply, 503, "server_error", says=f"busy {last}")


@pytest.fixture(scope="module")
def newest(start, provider):
    return outcomes(start, provider, artefacts.NEWEST_ENVOY, KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda it: it.name)
def test_a_failure_leads_to_the_next_member(newest, kind):
    check(kind, newest)


@pytest.mark.parametrize("version", [artefacts.MIDDLE_ENVOY, artefacts.OLDEST_ENVOY])
def test_it_does_so_in_other_envoys(start, provider, version):
    kinds = [kind for kind in KINDS if kind.name in FEW]
    found = outcomes(start, provider, version, kinds)
    for kind in kinds:
        check(kind, found)


@pytest.mark.long
@pytest.mark.parametrize("version", [artefacts.MIDDLE_ENVOY, artefacts.OLDEST_ENVOY])
def test_every_failure_does_so_in_other_envoys(start, provider, newest, version):
    found = outcomes(start, provider, version, KINDS)
    for kind in KINDS:
        check(kind, found)
    assert table(found) == table(newest)


def test_the_documentation_has_the_table_of_failures(newest):
    begin, end = "<!-- failures -->\n", "<!-- /failures -->"
    text = TABLE.read_text()
    head, rest = text.split(begin)
    _, tail = rest.split(end)
    fresh = f"{head}{begin}{table(newest)}{end}{tail}"
    if os.environ.get("UPDATE"):
        pathlib.Path(TABLE).write_text(fresh)
    assert TABLE.read_text() == fresh, "stale; run: make e2e ARGS='-k failures_of_every_kind' UPDATE=1"


def table(found: dict[tuple[str, str], Outcome]) -> str:
    """The results, for readers."""
    lines = [
        "",
        "| the member | attempts at it | first, middle or last, with one healthy member | all members so | "
        "last behind two members with status 503 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for kind in KINDS:
        if (kind.name, "KKK") not in found:
            continue
        healthy = {found[kind.name, letters].reply.status for letters in ("HKK", "KHK", "KKH")}
        attempts = "1" if kind.attempted else "none: it is passed over"
        cells = [kind.says, attempts, "/".join(map(str, sorted(healthy)))]
        for letters in ("KKK", "BBK"):
            cells.append(shown(found[kind.name, letters].reply))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", ""])


def shown(reply) -> str:
    error = reply.json()["error"]
    if error["message"].startswith("own words"):
        return f"{reply.status}, the member's own error"
    if error["message"].startswith("busy"):
        return f"{reply.status}, the error of the last member that replied"
    return f"{reply.status}, `{error['code']}`"
