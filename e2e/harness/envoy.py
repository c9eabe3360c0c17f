"""A running Envoy."""

import http.client
import json
import pathlib
import re

from . import artefacts
from .client import Reply, request
from .process import Process

# None of these may ever stand in a log: the module must not fail, whatever it is sent.
TROUBLE = re.compile(
    r"panicked|wasm.*crash|Function.*failed|proxy_on_\w+.*(error|failed)|unreachable executed"
    r"|Wasm VM failed|\[critical\]",
    re.IGNORECASE,
)


class Envoy:
    """Envoy with a bootstrap, on ports of its own choice."""

    def __init__(
        self,
        directory: pathlib.Path,
        bootstrap: dict,
        version: str = artefacts.NEWEST_ENVOY,
        env: dict[str, str] | None = None,
        workers: int = 2,
    ):
        directory.mkdir(parents=True, exist_ok=True)
        self.bootstrap = on_any_port(bootstrap)
        file = directory / "envoy.json"
        file.write_text(json.dumps(self.bootstrap, indent=1))
        admin = directory / "admin-address"
        admin.unlink(missing_ok=True)
        arguments = [artefacts.envoy(version), "--config-path", file]
        arguments += ["--concurrency", workers, "--disable-hot-restart"]
        # At level info Envoy begins with the list of all its extensions.
        arguments += ["--log-level", "warning", "--component-log-level", "wasm:info"]
        arguments += ["--admin-address-path", admin]
        self.process = Process(arguments, directory / "envoy.log", env)
        self._admin = "127.0.0.1:0"
        try:
            self._admin = self.process.until(lambda: admin.is_file() and admin.read_text())
            self.process.until(lambda: self.admin("/ready").strip() == "LIVE")
            self.ports = self.process.until(self._ports)
        except BaseException as error:
            error.add_note(f"/ready: {self.admin('/ready')!r}\n/init_dump: {self.admin('/init_dump')}")
            self.process.stop()
            raise
        self.port = next(iter(self.ports.values()))

    def stop(self):
        """Ends it, and fails if its log says that something was wrong."""
        self.process.stop()
        self.assert_no_trouble()

    def assert_no_trouble(self):
        lines = [line for line in self.log().splitlines() if TROUBLE.search(line)]
        assert not lines, "\n".join(lines[:20])

    def log(self) -> str:
        return self.process.log_text()

    def request(self, method: str, target: str, body=None, headers=(), **how) -> Reply:
        return request(self.port, method, target, body, headers, **how)

    def post(self, target: str, body=None, headers=(), **how) -> Reply:
        return request(self.port, "POST", target, body, headers, **how)

    def get(self, target: str, headers=()) -> Reply:
        return request(self.port, "GET", target, None, headers)

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def admin(self, target: str, method: str = "GET") -> str:
        try:
            # Whoever needs an answer asks again.
            connection = http.client.HTTPConnection(self._admin, timeout=10)
            connection.request(method, target)
            return connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            return ""
        finally:
            connection.close()

    def _ports(self) -> dict[str, int] | None:
        listeners = json.loads(self.admin("/listeners?format=json") or "{}")
        return {
            listener["name"]: listener["local_address"]["socket_address"]["port_value"]
            for listener in listeners.get("listener_statuses", [])
        } or None


def on_any_port(bootstrap: dict) -> dict:
    """The same bootstrap, its listeners and its admin interface on ports that the system picks."""
    bootstrap = json.loads(json.dumps(bootstrap))
    addresses = [listener["address"] for listener in bootstrap["static_resources"]["listeners"]]
    bootstrap.setdefault(
        "admin", {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}
    )
    for address in [*addresses, bootstrap["admin"]["address"]]:
        address["socket_address"]["port_value"] = 0
    return bootstrap
