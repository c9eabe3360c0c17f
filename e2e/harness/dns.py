"""A DNS server for the names of a test, and where Envoy learns of it."""

import socket
import struct
import threading

A, AAAA = 1, 28
NO_ERROR, NO_SUCH_NAME = 0, 3


class Dns:
    """Answers with `addresses`, by name; a name that is not there does not exist."""

    def __init__(self, addresses: dict[str, str]):
        self.addresses = addresses
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def use(self, bootstrap: dict):
        """Makes this server the only resolver of an Envoy."""
        address = {"socket_address": {"address": "127.0.0.1", "port_value": self.port}}
        bootstrap["typed_dns_resolver_config"] = {
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3."
                "CaresDnsResolverConfig",
                "resolvers": [address],
                "dns_resolver_options": {"no_default_search_domain": True},
            },
        }

    def _serve(self):
        while True:
            try:
                query, client = self._socket.recvfrom(4096)
                self._socket.sendto(self._reply(query), client)
            except OSError:
                return

    def _reply(self, query: bytes) -> bytes:
        """Source: <https://www.rfc-editor.org/rfc/rfc1035#section-4>."""
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        question = query[12 : at + 5]
        (kind,) = struct.unpack("!H", query[at + 1 : at + 3])
        address = self.addresses.get(".".join(labels).lower())
        answers = b""
        if address is not None and kind == A:
            # The name is the question's; one second to live.
            answers = struct.pack("!HHHIH", 0xC00C, A, 1, 1, 4) + socket.inet_aton(address)
        code = NO_SUCH_NAME if address is None else NO_ERROR
        counts = struct.pack("!HHHH", 1, 1 if answers else 0, 0, 0)
        return query[:2] + struct.pack("!H", 0x8580 | code) + counts + question + answers
