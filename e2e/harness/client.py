"""HTTP/1.1 down to the byte, for what an SDK would hide."""

import http.client
import json
import socket
import time
from dataclasses import dataclass

from .artefacts import GUARD_SECONDS

JSON = ("content-type", "application/json")
HOST = ("host", "gateway.test")


@dataclass
class Reply:
    """A whole reply. Header names are in lower case, in the order received."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value for found, value in self.headers if found == name]

    def json(self):
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Exchange:
    """One request on its own connection, sent as told, and its reply, read as it comes."""

    def __init__(self, port: int):
        self._socket = socket.create_connection(("127.0.0.1", port), GUARD_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._response = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self._response is not None:
            self._response.close()
        self._socket.close()

    def send(self, data: bytes):
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            # The reply came before the body was wanted; it is read like any other.
            pass

    def head(self, method, target, headers):
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        self.send("".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1"))

    def chunk(self, data: bytes):
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def last_chunk(self):
        self.send(b"0\r\n\r\n")

    def raw_until(self, end: bytes) -> bytes:
        """What comes up to and with `end`, before any reply is read."""
        received = b""
        while not received.endswith(end):
            byte = self._socket.recv(1)
            assert byte, f"closed after {received!r}"
            received += byte
        return received

    def begin(self, method: str = "POST") -> tuple[int, list[tuple[str, str]]]:
        """Waits for the reply's head."""
        self._response = http.client.HTTPResponse(self._socket, method=method)
        self._response.begin()
        self.status = self._response.status
        self.headers = [(name.lower(), value) for name, value in self._response.getheaders()]
        return self.status, self.headers

    def some(self) -> bytes:
        """What has come of the body since, at least a byte; empty at its end."""
        return self._response.read1(1 << 16)

    def until(self, end: bytes) -> bytes:
        """The body up to and with `end`: read until it is there, and nothing beyond."""
        received = b""
        while not received.endswith(end):
            piece = self.some()
            assert piece, f"the body ended; got {received!r}"
            received += piece
        return received

    def rest(self) -> bytes:
        return self._response.read()

    def reply(self, method: str = "POST") -> Reply:
        self.begin(method)
        return Reply(self.status, self.headers, self.rest())


def request(
    port: int,
    method: str,
    target: str,
    body: bytes | str | dict | list | None = None,
    headers=(),
    pieces: list[bytes] | None = None,
    chunks: list[bytes] | None = None,
    pause: float = 0,
) -> Reply:
    """Sends one request and reads its reply.

    `body` goes at once, `pieces` in as many writes with a content-length, `chunks` in as many
    writes in chunked coding. `pause` seconds lie between them: that does not make Envoy see them one
    by one, it makes it likely.
    """
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode()
    given = list(headers)
    names = {name.lower() for name, _ in given}
    has_body = any(it is not None for it in (body, pieces, chunks))
    if "host" not in names:
        given.insert(0, HOST)
    if has_body and "content-type" not in names:
        given.append(JSON)
    if chunks is not None:
        given.append(("transfer-encoding", "chunked"))
    elif has_body and "content-length" not in names:
        length = len(body) if pieces is None else sum(map(len, pieces))
        given.append(("content-length", str(length)))
    given.append(("connection", "close"))
    with Exchange(port) as exchange:
        exchange.head(method, target, given)
        if chunks is not None:
            for piece in chunks:
                exchange.chunk(piece)
                time.sleep(pause)
            exchange.last_chunk()
        elif pieces is not None:
            for piece in pieces:
                exchange.send(piece)
                time.sleep(pause)
        elif body is not None:
            exchange.send(body)
        return exchange.reply(method)
