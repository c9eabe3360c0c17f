"""A request to use the connection for WebSocket: the handshake is the provider's, with its own key."""

import socket
import threading

import pytest

from harness import bootstrap
from harness.client import Exchange
from harness.envoy import Envoy
from harness.recording import FORMS, Served, gateway_named
from test_recordings import KEYS

PLAIN_AND_HELD = [it for it in FORMS if FORMS[it][0] in ("plain", "held")]
UPGRADE = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "a"), ("sec-websocket-version", "13")]


class Echo:
    """Switches protocols, then sends back what comes; keeps each request's head."""

    def __init__(self):
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = self._server.getsockname()
        self.heads: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self._server.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket):
        head = b""
        with connection:
            while b"\r\n\r\n" not in head:
                head += connection.recv(1 << 16)
            self.heads.append(head.decode().lower())
            connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
                b"sec-websocket-accept: b\r\n\r\n"
            )
            while data := connection.recv(1 << 16):
                connection.sendall(data)


@pytest.fixture
def echo():
    echo = Echo()
    yield echo
    echo.stop()


def at(made: dict, echo: Echo) -> dict:
    """The same bootstrap, all its providers at `echo`, in plain text."""
    for cluster in made["static_resources"]["clusters"]:
        for key in ("transport_socket", "transport_socket_matches"):
            cluster.pop(key, None)
        # Without TLS no version of HTTP is negotiated. The module may be among the other options.
        for options in cluster.get("typed_extension_protocol_options", {}).values():
            if "auto_config" in options:
                del options["auto_config"]
                options["explicit_http_config"] = {"http_protocol_options": {}}
        for holder in bootstrap.mappings(cluster.get("load_assignment", {})):
            if "socket_address" in holder:
                holder["socket_address"] = {"address": echo.address[0], "port_value": echo.address[1]}
    return made


def ask(exchange: Exchange) -> bytes:
    """The first line of the reply to a handshake."""
    client = [("host", "api.mistral.ai:10000"), *UPGRADE, ("authorization", "Bearer client"), ("cookie", "a=b")]
    exchange.head("GET", "/mistral/v1/realtime", client)
    return exchange.raw_until(b"\r\n\r\n").partition(b"\r\n")[0]


@pytest.mark.parametrize("home, form", PLAIN_AND_HELD)
def test_a_handshake_passes_with_the_providers_key_and_what_follows_as_it_is(provider, output, echo, home, form):
    directory = output / "websocket" / f"{home}-{form}"
    made = Served(home, form, directory, provider).bootstrap
    envoy = Envoy(directory, at(made, echo), env=KEYS, workers=1)
    with Exchange(envoy.port) as exchange:
        assert ask(exchange) == b"HTTP/1.1 101 Switching Protocols"
        for word in (b"hello", b"\x00\xff"):
            exchange.send(word)
            assert exchange.raw_until(word) == word
    [head] = echo.heads
    assert head.startswith("get /v1/realtime http/1.1\r\n")
    assert "host: api.mistral.ai\r\n" in head and "authorization: bearer sk-mistral\r\n" in head
    assert "bearer client" not in head and "cookie" not in head
    envoy.stop()


def test_what_is_rendered_for_stock_envoy_takes_no_handshake(provider, output, echo):
    directory = output / "websocket/stock"
    made = bootstrap.rendered(gateway_named("plain").read_text(), directory, KEYS)
    made = bootstrap.redirected(made, provider)
    envoy = Envoy(directory, at(made, echo), env=KEYS, workers=1)
    with Exchange(envoy.port) as exchange:
        assert ask(exchange) == b"HTTP/1.1 403 Forbidden"
    assert echo.heads == []
    envoy.stop()
