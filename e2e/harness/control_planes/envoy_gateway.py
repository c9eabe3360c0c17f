"""Envoy Gateway over files instead of an API server, and the Envoy that it starts."""

import base64
import json
import os
import pathlib
import re
import shutil
import subprocess

import yaml

from .. import artefacts
from ..client import Reply, request
from ..process import Process
from . import world
from .istio import fetch

CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"
# The Envoy that a release names by itself, whatever $ENVOY_VERSION is.
OWN_ENVOYS = {"1.7.2": "1.37.2"}
READY = "http://127.0.0.1:8081/readyz"
# Where a test's service for rate limits listens.
LIMITER_PORT = 8082


class EnvoyGateway:
    """A control plane that holds `manifests`, and its Envoy; `keys` are in their environment."""

    def __init__(
        self,
        directory: pathlib.Path,
        manifests: str,
        keys: dict[str, str],
        release: str,
        envoy: str,
        surroundings: list[dict] = (),
        gateway: str = "llm-proxy",
        switches: dict[str, bool] | None = None,
        settings: dict | None = None,
    ):
        self.directory, self.release = directory, release
        # What the walk-through switches on, and what a test has otherwise. From 1.9 on Lua is off; an
        # older one does not know the key.
        lua = {} if release.startswith("1.7.") else {"enableLua": True}
        walk_through = {"enableBackend": True, "enableEnvoyPatchPolicy": True}
        self._switches = {**walk_through, **lua, **(switches or {})}
        # More of its configuration.
        self._settings = settings or {}
        shutil.rmtree(directory, ignore_errors=True)
        for name in ("config", "data", "state", "run", "home", "resources"):
            (directory / name).mkdir(parents=True)
        # func-e, by which Envoy Gateway starts Envoy, takes what stands here and downloads nothing.
        for version in {envoy, OWN_ENVOYS.get(release, envoy)}:
            program = directory / f"data/envoy-versions/{version}/bin/envoy"
            program.parent.mkdir(parents=True)
            program.symlink_to(artefacts.envoy(envoy))
        binary = artefacts.envoy_gateway(release)
        subprocess.run(
            [binary, "certgen", "--local", "--config-home", directory / "config"],
            check=True, capture_output=True,
        )
        own = [*self._surroundings(gateway), *surroundings]
        self._around = yaml.safe_dump_all(own)
        config = directory / "envoy-gateway.yaml"
        config.write_text(yaml.safe_dump(self._config()))
        self.apply(manifests)
        environment = {
            "HOME": str(directory / "home"),
            # An image that is pinned by its digest names no version, and func-e would download the newest.
            "ENVOY_VERSION": envoy,
            **keys,
        }
        command = [binary, "server", "--config-path", config]
        self.process = Process(command, directory / "envoy-gateway.log", environment)
        try:
            self.process.until(lambda: fetch(READY) is not None)
        except BaseException:
            self.process.stop()
            raise

    def apply(self, manifests: str):
        """Makes these the cluster's manifests; Envoy Gateway sees a file that was moved into its place."""
        (self.directory / "ours.yaml").write_text(manifests)
        draft = self.directory / "draft.yaml"
        draft.write_text(self._around + "---\n" + manifests)
        os.replace(draft, self.directory / "resources/all.yaml")

    def stop(self):
        self.process.stop()

    def log(self) -> str:
        """What the control plane and Envoy wrote."""
        return self.process.log_text()

    def post(self, target: str, body=None, headers=(), port=80, **how) -> Reply:
        return request(port, "POST", target, body, headers, **how)

    def request(self, method: str, target: str, headers=(), port=80) -> Reply:
        return request(port, method, target, None, headers)

    def until_listening(self, port: int = 80):
        def look():
            try:
                return request(port, "GET", "/no-such-path")
            except OSError:
                return None

        self.process.until(look)

    def admin(self, target: str) -> str:
        def address():
            found = sorted(self.directory.rglob("admin-address.txt"), key=lambda it: it.stat().st_mtime)
            return found and found[-1].read_text().strip()

        return (fetch(f"http://{self.process.until(address)}{target}") or b"").decode()

    def config_dump(self) -> list[dict]:
        return json.loads(self.admin("/config_dump?include_eds"))["configs"]

    def conditions(self) -> list[str]:
        """The last conditions of each resource that are not true, as the log has them.

        Statuses go nowhere else: there is no API server.
        """
        statuses = {}
        # The last line may be half written, and Envoy's own may be within each other.
        for line in self.log().split("\n")[:-1]:
            if not line.startswith("{") or "Got new status for" not in line:
                continue
            record = json.loads(line)
            message = record.get("M") or record.get("msg") or ""
            found = re.match(r"Got new status for (\w+)\n(.*)", message, re.DOTALL)
            if found:
                statuses[found[1], record["key"]] = yaml.safe_load(found[2])
        return [
            f"{kind} {key} {it['type']}={it['status']} {it['reason']}: {it['message']}"
            for (kind, key), status in statuses.items()
            for holder in (
                status, *status.get("ancestors", []), *status.get("parents", []), *status.get("listeners", [])
            )
            for it in holder.get("conditions", [])
            # No address is assigned outside of a cluster, and one patch of our own is not always used.
            if it["status"] != "True" and it["reason"] != "AddressNotAssigned"
            if "trust-in-the-control-plane" not in key
        ]

    def _surroundings(self, gateway: str) -> list[dict]:
        """What a cluster has besides: the class, and what a proxy's pod would have at /certs."""
        certificates = self.directory / "config/certs/envoy"
        data = {
            name: base64.b64encode((certificates / name).read_bytes()).decode()
            for name in ("ca.crt", "tls.crt", "tls.key")
        }
        trusted = "/transport_socket/typed_config/common_tls_context/validation_context/trusted_ca/filename"
        cluster = {"type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "wasm_cluster"}
        operation = {"op": "replace", "path": trusted, "value": str(certificates / "ca.crt")}
        # The service for rate limits of a test has no TLS, and its port is Envoy Gateway's own here.
        port = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/port_value"
        limiter = [
            {**cluster, "name": "ratelimit_cluster", "operation": operation}
            for operation in (
                {"op": "remove", "path": "/transport_socket"}, {"op": "replace", "path": port, "value": LIMITER_PORT},
            )
        ]
        target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway}
        return [
            {
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "GatewayClass",
                "metadata": {"name": "eg"},
                "spec": {"controllerName": CONTROLLER},
            },
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/tls",
                "metadata": {"name": "envoy", "namespace": "envoy-gateway-system"},
                "data": data,
            },
            {
                "apiVersion": "gateway.envoyproxy.io/v1alpha1",
                "kind": "EnvoyPatchPolicy",
                "metadata": {"name": "trust-in-the-control-plane", "namespace": "default"},
                "spec": {
                    "targetRef": target,
                    "type": "JSONPatch",
                    "jsonPatches": [{**cluster, "operation": operation}, *limiter],
                },
            },
        ]

    def _config(self) -> dict:
        place = {
            "configHome": "config", "dataHome": "data", "stateHome": "state", "runtimeDir": "run",
        }
        return {
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "EnvoyGateway",
            "gateway": {"controllerName": CONTROLLER},
            "provider": {
                "type": "Custom",
                "custom": {
                    "resource": {
                        "type": "File", "file": {"paths": [str(self.directory / "resources")]},
                    },
                    "infrastructure": {
                        "type": "Host",
                        "host": {key: str(self.directory / it) for key, it in place.items()},
                    },
                },
            },
            # In lines of JSON, of which `conditions` reads the statuses.
            "logging": {"level": {"default": "info"}, "encoder": "JSON"},
            "extensionApis": self._switches,
            **self._settings,
        }
