"""What a real control plane hands to Envoy, recorded: the tests of `make e2e` run stock Envoy on it.

`make e2e-istio` and `make e2e-envoy-gateway` compare what they see with the recordings in
`e2e/recordings`, and renew them with RECORD=1.
"""

import json
import os
import pathlib
import re
import subprocess

import yaml

from . import artefacts
from .bootstrap import mappings, redirected
from .control_planes.world import IMAGE

DIRECTORY = artefacts.ROOT / "e2e/recordings"

# The forms that are recorded: the gateway, of `envoy/kubernetes` or beside the recordings, and the options.
FORMS = {
    ("istio", "plain"): ("plain", "--selector", "istio=llm-gateway"),
    ("istio", "held"): ("held", "--selector", "istio=llm-gateway", "--hold"),
    ("istio", "by-model"): ("by-model", "--selector", "istio=llm-gateway", "--hold"),
    ("istio", "pool"): ("pool", "--selector", "istio=llm-gateway", "--hold"),
    ("istio", "gateway-api"): ("plain", "--gateway-api", "llm"),
    ("istio", "sidecar"): (
        "plain", "--sidecar", "10000", "--selector", "app=chat", "--namespace", "apps",
    ),
    ("envoy-gateway", "plain"): ("plain",),
    ("envoy-gateway", "held"): ("held", "--hold"),
    ("envoy-gateway", "by-model"): ("by-model", "--hold"),
    ("envoy-gateway", "overlap"): ("overlap",),
}


def gateway_named(name: str) -> pathlib.Path:
    """One of the examples for Kubernetes, or of those beside the recordings."""
    file = DIRECTORY / f"{name}.gateway.yaml"
    return file if file.exists() else artefacts.EXAMPLES / f"kubernetes/{name}.gateway.yaml"


def gateway_of(home: str, form: str, directory: pathlib.Path) -> pathlib.Path:
    """The gateway of a form; an HTTPRoute of Istio has no retries, which one of its backends has."""
    file = gateway_named(FORMS[home, form][0])
    if (home, form) != ("istio", "gateway-api"):
        return file
    directory.mkdir(parents=True, exist_ok=True)
    without = directory / file.name
    without.write_text("".join(it for it in file.read_text().splitlines(True) if "maxRetries" not in it))
    return without


class Recording:
    """One form of one home: the manifests that were given, and the configuration that came of them."""

    def __init__(self, home: str, form: str):
        self.home, self.file = home, DIRECTORY / f"{home}.{form}.json"

    def check(self, started, keys: dict[str, str]):
        """Compares with what a control plane serves now, or records it."""
        manifests = (started.directory / "ours.yaml").read_text()
        made = {"manifests": comparable(manifests), "config": configuration(started.config_dump())}
        text = json.dumps(made, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        text = _stable(text, started.directory)
        assert not [key for key in keys.values() if key in text]
        if os.environ.get("RECORD"):
            DIRECTORY.mkdir(exist_ok=True)
            self.file.write_text(text)
        recorded = self.file.read_text() if self.file.exists() else ""
        assert text == recorded, f"{self.file.name} is stale; {self._renewed_by()} renews it"

    def config(self, manifests: str) -> dict:
        """What was recorded, if it was recorded for these manifests."""
        assert self.file.exists(), f"{self.file} is missing; {self._renewed_by()} makes it"
        recorded = json.loads(self.file.read_text())
        assert comparable(manifests) == recorded["manifests"], (
            f"{self.file.name} is older than what is rendered; {self._renewed_by()} renews it"
        )
        return recorded["config"]

    def _renewed_by(self) -> str:
        return f"`RECORD=1 make e2e-{self.home}`"


class Served:
    """What was recorded for a form, for stock Envoy: its bootstrap, all providers at `mock`."""

    def __init__(self, home: str, form: str, directory: pathlib.Path, mock):
        directory.mkdir(parents=True, exist_ok=True)
        command = [artefacts.command(), "render", home, gateway_of(home, form, directory), *FORMS[home, form][1:]]
        command += ["--wasm", IMAGE, "--sha256", "0" * 64]
        done = subprocess.run(
            [str(it) for it in command], env={}, capture_output=True, text=True,
            timeout=artefacts.GUARD_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        self._config = Recording(home, form).config(done.stdout)
        self._directory = directory
        self.bootstrap = bootstrap(self._config, mock, directory)

    def update(self, change):
        """Hands the plugin's configuration, changed, to the Envoy that runs, as an agent does."""
        [extension] = json.loads(json.dumps(self._config["extensions"]))
        configuration = extension["typed_config"]["config"]["configuration"]
        plugin = json.loads(configuration["value"])
        change(plugin)
        configuration["value"] = json.dumps(plugin)
        _hand_over(extension, self._directory)


def bootstrap(config: dict, mock, directory: pathlib.Path) -> dict:
    """The recorded configuration as one that stock Envoy starts with, all providers at `mock`.

    What comes by xDS there stands in its place here, extension configurations in files of `directory`;
    nothing else is changed.
    """
    config = json.loads(json.dumps(config))
    for resources in config.values():
        for resource in resources:
            resource.pop("@type", None)
    routes = {it["name"]: it for it in config["routes"]}
    extensions = {it["name"]: _hand_over(it, directory) for it in config["extensions"]}
    for holder in mappings(config["listeners"]):
        if "rds" in holder:
            holder["route_config"] = routes[holder.pop("rds")["route_config_name"]]
    for holder in [*mappings(config["listeners"]), *mappings(config["clusters"])]:
        if "config_discovery" in holder:
            holder["config_discovery"]["config_source"] = {
                "path_config_source": {"path": str(extensions[holder["name"]])},
                "resource_api_version": "V3",
                "initial_fetch_timeout": "0s",
            }
        # A certificate authority by SDS; `redirected` makes it that of `mock`.
        for name in ("validation_context_sds_secret_config", "combined_validation_context"):
            if name in holder:
                old = holder.pop(name)
                context = old.get("default_validation_context", {})
                holder["validation_context"] = {**context, "trusted_ca": {"filename": "redirected"}}
        _take_the_module_from_here(holder)
    assignments = {it["cluster_name"]: it for it in config["endpoints"]}
    for cluster in config["clusters"]:
        if cluster.get("type") == "EDS":
            name = cluster.pop("eds_cluster_config").get("service_name", cluster["name"])
            cluster["type"] = "STATIC"
            cluster["load_assignment"] = {**assignments[name], "cluster_name": cluster["name"]}
        if cluster.get("type") in ("LOGICAL_DNS", "STRICT_DNS"):
            cluster["type"] = "STATIC"
        # No connection is diverted here, so none has another destination: this one has no endpoint.
        if cluster.get("type") == "ORIGINAL_DST":
            cluster["type"] = "STATIC"
            cluster.pop("lb_policy", None)
    # What asks the control plane for more is its own: where the module is fetched, whether it is ready.
    clusters = [it for it in config["clusters"] if '"ads"' not in json.dumps(it)]
    listeners = [it for it in config["listeners"] if any("route_config" in holder for holder in mappings(it))]
    made = {
        "node": {"id": "router~127.0.0.1~pod.namespace~namespace.svc", "cluster": "recorded"},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }
    return redirected(made, mock)


def _take_the_module_from_here(holder: dict):
    """The agent, or Envoy itself, fetched it there."""
    code = holder.get("vm_config", {}).get("code")
    if code:
        code.clear()
        code["local"] = {"filename": str(artefacts.module())}


def _hand_over(extension: dict, directory: pathlib.Path) -> pathlib.Path:
    """A file with an extension configuration; Envoy sees one that was moved into its place."""
    extension = json.loads(json.dumps(extension))
    for holder in mappings(extension):
        _take_the_module_from_here(holder)
    extension["@type"] = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
    file = directory / (re.sub(r"[^\w.-]", "-", extension["name"]) + ".ecds.json")
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps({"resources": [extension]}, indent=1))
    os.replace(draft, file)
    return file


def comparable(manifests: str) -> list:
    """Manifests without what each build of the module changes: the digest of its image."""
    # Read first: a digest of digits alone, in place of one that needs no quotes, would be a number.
    read = json.dumps([it for it in yaml.safe_load_all(manifests) if it])
    return json.loads(re.sub(r"\b[0-9a-f]{64}\b", "0" * 64, read))


def configuration(dump: list[dict]) -> dict:
    """Clusters, listeners, routes, endpoints and extension configurations of `/config_dump`."""
    found = {"clusters": [], "listeners": [], "routes": [], "endpoints": [], "extensions": []}
    members = {
        "ClustersConfigDump": ("clusters", "dynamic_active_clusters", lambda it: it["cluster"]),
        "ListenersConfigDump": (
            "listeners", "dynamic_listeners", lambda it: it["active_state"]["listener"],
        ),
        "RoutesConfigDump": ("routes", "dynamic_route_configs", lambda it: it["route_config"]),
        "EndpointsConfigDump": (
            "endpoints", "dynamic_endpoint_configs", lambda it: it["endpoint_config"],
        ),
        "EcdsConfigDump": ("extensions", "ecds_filters", lambda it: it["ecds_filter"]),
    }
    for section in dump:
        kind = section["@type"].rpartition(".")[2]
        if kind in members:
            to, member, take = members[kind]
            # Filters of listeners and of clusters are two sections of one kind.
            found[to] += (take(it) for it in section.get(member, []))
    for resources in found.values():
        resources.sort(key=lambda it: it.get("name") or it.get("cluster_name") or "")
    return found


def _stable(text: str, directory: pathlib.Path) -> str:
    text = text.replace(str(directory), "DIRECTORY")
    text = re.sub(r"\b[0-9a-f]{64}\b", "0" * 64, text)
    # Where each fetched it to, by the digest or by the time.
    text = re.sub(r":18002/[\w=-]+\.wasm", ":18002/llm_proxy.wasm", text)
    text = re.sub(r"/var/lib/istio/data/[^\"\\]*\.wasm", "/var/lib/istio/data/llm_proxy.wasm", text)
    return text
