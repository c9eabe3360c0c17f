"""The provider: what it shall answer, what it received. `e2e/mock` is the program."""

import base64
import http.client
import json
import pathlib
from dataclasses import dataclass

from . import artefacts
from .process import Process, until


@dataclass
class Arrived:
    """A request as it came to the provider. Header names are in lower case."""

    id: int
    tls: bool
    sni: str | None
    alpn: str | None
    version: str
    method: str
    authority: str
    path: str
    headers: list[tuple[str, str]]
    trailers: list[tuple[str, str]]
    body: bytes
    body_complete: bool
    refused: str | None
    chunks_sent: int
    disconnected: bool
    ended: bool

    @classmethod
    def from_json(cls, record: dict) -> "Arrived":
        members = {name: record[name] for name in cls.__dataclass_fields__ if name in record}
        for name in ("headers", "trailers"):
            members[name] = [tuple(field) for field in record[name]]
        members["body"] = base64.b64decode(record["body_base64"])
        return cls(**members)

    def header(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value for found, value in self.headers if found == name]

    def json(self):
        return json.loads(self.body)


class Mock:
    """A running provider."""

    def __init__(self, directory: pathlib.Path, wrong_names=(), addresses=()):
        self.ca = directory / "ca.pem"
        arguments = [artefacts.mock(), "--ca-out", self.ca, *addresses]
        for name in wrong_names:
            arguments += ["--wrong-name", name]
        self.process = Process(arguments, directory / "mock.log", read=True)
        line = self.process.stdout.readline()
        assert line, f"the mock provider did not start: {self.process.log_text()}"
        addresses = json.loads(line)
        self.plain: str = addresses["plain"]
        self.tls: str = addresses["tls"]
        self._control: str = addresses["control"]

    def stop(self):
        self.process.stop()

    def reset(self, profiles: list[dict]):
        """Forgets requests, replies and gates, and has these profiles besides its own."""
        self._call("POST", "/reset")
        self._call("POST", "/profiles", profiles)

    def forget(self):
        """Forgets the requests that came, and nothing else."""
        self._call("DELETE", "/requests")

    def reply(self, **reply):
        """Prescribes the reply to one request more."""
        self._call("POST", "/replies", [reply])

    def open(self, gate: str):
        """Lets through who waits at a gate."""
        self._call("POST", f"/gates/{gate}")

    def profile(self, authority: str, **change):
        """Makes a provider differ from what it is like."""
        self._call("POST", "/profiles", [{"authority": authority, **change}])

    def accounts(self, *accounts: dict):
        """Makes service accounts known that can buy access tokens. From then on no other is taken."""
        self._call("POST", "/accounts", list(accounts))

    def forget_accounts(self):
        """Forgets them, and all access tokens."""
        self._call("DELETE", "/accounts")

    def requests(self) -> list[Arrived]:
        return [Arrived.from_json(record) for record in self._call("GET", "/requests")]

    def only(self) -> Arrived:
        """The one request that came, which the provider had nothing against."""
        requests = self.requests()
        assert len(requests) == 1, f"{len(requests)} requests came: {requests}"
        assert requests[0].refused is None, requests[0]
        return requests[0]

    def says(self, *sayings: dict):
        """What the model says to the next requests, in whatever dialect and form they are."""
        self._call("POST", "/says", list(sayings))

    def unsaid(self) -> int:
        """How much of that has not been used."""
        return self._call("GET", "/says")["remaining"]

    def none_came(self) -> bool:
        return self._call("GET", "/requests?bodies=false") == []

    def when(self, holds) -> Arrived:
        """The last request, as soon as it came and `holds` of it."""

        def look():
            requests = self.requests()
            return requests[-1] if requests and holds(requests[-1]) else None

        return until(look)

    def _call(self, method: str, path: str, body=None):
        connection = http.client.HTTPConnection(self._control, timeout=artefacts.GUARD_SECONDS)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            answer = json.loads(response.read())
            assert response.status == 200, f"{method} {path}: {answer}"
            return answer
        finally:
            connection.close()
