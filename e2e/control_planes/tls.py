"""A gateway's HTTPS listener: its identity, and a client."""

import http.client
import json
import pathlib
import ssl

from harness import artefacts
from harness.client import Reply
from harness.control_planes.world import certificate

HOST = "gateway.test"


def identity(directory: pathlib.Path) -> dict[str, str]:
    """A key and its certificate for `HOST`, by the names that a Secret has for them."""
    _, file = certificate(directory, HOST)
    begin = "-----BEGIN CERTIFICATE-----"
    key, _, rest = file.read_text().partition(begin)
    return {"tls.key": key, "tls.crt": begin + rest}


def post_tls(port: int, target: str, body, headers=()) -> Reply:
    """A request by HTTPS; the server's certificate is not checked."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    fields = {"host": HOST, "content-type": "application/json", **dict(headers)}
    connection = Connection("127.0.0.1", port, context=context, timeout=artefacts.GUARD_SECONDS)
    connection.server_name = fields["host"].partition(":")[0]
    try:
        connection.request("POST", target, json.dumps(body), fields)
        reply = connection.getresponse()
        return Reply(reply.status, [(name.lower(), value) for name, value in reply.getheaders()], reply.read())
    finally:
        connection.close()


class Connection(http.client.HTTPSConnection):
    """To an address, with a server name of another host."""

    server_name = HOST

    def connect(self):
        http.client.HTTPConnection.connect(self)
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self.server_name)
