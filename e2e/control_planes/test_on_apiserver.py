"""The commands of `envoy/README.md`, word for word, against a real API server.

Nodes, controllers and control planes are not there: no pod starts. `helm`, `skopeo`, `make` and `curl`
do nothing, nor does `kubectl port-forward`.
"""

import os
import re
import stat
import subprocess

import pytest
import yaml

from harness import artefacts
from harness.control_planes.apiserver import ApiServer
from harness.control_planes.world import bring_loopback_up

TEXT = (artefacts.EXAMPLES / "README.md").read_text()
PARTS = "app.kubernetes.io/instance=llm-proxy"

STUBS = {
    "make": "exit 0",
    "skopeo": "exit 0",
    "curl": "exit 0",
    # What the chart makes that later commands need.
    "helm": "kubectl create namespace envoy-gateway-system",
    "kubectl": '[ "$1" = port-forward ] || exec {kubectl} "$@"',
}


@pytest.fixture(scope="module")
def directory():
    """Where the servers keep their files, in namespaces that have a loopback."""
    bring_loopback_up()
    return artefacts.OUTPUT / "control-planes"


@pytest.fixture(scope="module", params=["oldest", "newest"])
def server(directory, request):
    server = ApiServer(directory / f"apiserver-{request.param}", request.param)
    yield server
    server.stop()


@pytest.fixture
def shell(server, tmp_path):
    """Runs commands as a user would at the root of the repository."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name, script in STUBS.items():
        stub = binaries / name
        stub.write_text(f"#!/bin/sh\n{script.format(kubectl=artefacts.kubernetes('kubectl'))}\n")
        stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    (binaries / "llm-proxy").symlink_to(artefacts.command())
    path = f"{binaries}:{os.environ['PATH']}"

    def shell(commands: str) -> str:
        done = subprocess.run(
            ["sh", "-eu", "-c", commands], cwd=artefacts.ROOT, env={**server.environment(), "PATH": path},
            capture_output=True, text=True, timeout=artefacts.GUARD_SECONDS,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        return done.stdout

    return shell


def commands(chapter: str) -> str:
    """All shell commands of a chapter, after those of the introduction, which set `$WASM`."""
    introduction, *chapters = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    [text] = [it for it in chapters if it.splitlines()[0] == chapter]
    blocks = re.findall(r"^( *)```sh\n(.*?)^ *```$", introduction + text, re.MULTILINE | re.DOTALL)
    assert len(blocks) > 1
    lines = [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in blocks]
    # What a reader puts in its place.
    digest = "0" * 64
    return re.sub("DIGEST_OF_THE_(IMAGE|FILE)", digest, "".join(lines))


def parts(server, *kinds, namespace) -> set[str]:
    """The resources that carry our label."""
    found = server.kubectl("get", ",".join(kinds), "--namespace", namespace, "--selector", PARTS, "--output", "yaml")
    return {f"{it['kind']}/{it['metadata']['name']}" for it in yaml.safe_load(found)["items"]}


def test_the_commands_for_istio_are_accepted(server, shell):
    shell(commands("Istio"))
    found = parts(server, "wasmplugins", "virtualservices", "serviceentries", namespace="istio-ingress")
    assert "WasmPlugin/llm-proxy" in found and "VirtualService/llm-proxy" in found


def test_the_commands_for_envoy_gateway_are_accepted(server, shell):
    # The proxies' Service is Envoy Gateway's.
    server.kubectl("create", "namespace", "envoy-gateway-system")
    try:
        server.kubectl("create", "service", "clusterip", "envoy-llm", "--tcp=80", "--namespace", "envoy-gateway-system")
        label = "gateway.envoyproxy.io/owning-gateway-name=llm-proxy"
        server.kubectl("label", "service", "envoy-llm", "--namespace", "envoy-gateway-system", label)
        shell(commands("Envoy Gateway").replace("helm install", ": helm install"))
        found = parts(server, "httproutes", "envoyextensionpolicies", "gateways.gateway.networking.k8s.io", namespace="default")
        assert "EnvoyExtensionPolicy/llm-proxy" in found
        assert {it for it in found if it.startswith("HTTPRoute")}
    finally:
        server.kubectl("delete", "namespace", "envoy-gateway-system", "--wait=false")


# === Changes and removal ===

HOMES = {
    "Istio": ("istio-ingress", ("wasmplugins", "envoyfilters", "virtualservices", "serviceentries", "destinationrules")),
    "Envoy Gateway": (
        "default",
        ("envoyextensionpolicies", "envoypatchpolicies", "httproutes", "httproutefilters", "backends.gateway.envoyproxy.io",
         "backendtrafficpolicies"),
    ),
}


def removal(home: str) -> str:
    """The command of a home in the chapter."""
    text = TEXT.split("## Changes and removal")[1]
    return re.search(rf"^# {home}\n(.*?) -f -$", text, re.MULTILINE | re.DOTALL)[1] + " -f -\n"


@pytest.mark.parametrize("home", HOMES)
def test_what_a_later_rendering_no_longer_has_is_removed(server, shell, home, tmp_path):
    namespace, kinds = HOMES[home]
    if namespace != "default":
        server.kubectl("apply", "--filename", "-", text=yaml.safe_dump(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        ))

    def apply(*names, options="") -> set[str]:
        backends = [{"name": name, "type": name} for name in names]
        routes = [{"path": f"/{name}", "backend": name} for name in names]
        (tmp_path / "gateway.yaml").write_text(yaml.safe_dump({"backends": backends, "routes": routes}))
        command = removal(home).replace(' gateway.yaml ', f' {tmp_path / "gateway.yaml"} ')
        image = "oci://registry.example.com/llm-proxy:0.1.0"
        shell(f"WASM={image}\n" + command.replace('"$WASM"', f'"$WASM" {options}'))
        return parts(server, *kinds, namespace=namespace)

    if home == "Envoy Gateway":
        # What the test before has applied with `--server-side` is not pruned.
        server.kubectl("delete", "envoypatchpolicy", "llm-proxy", "--ignore-not-found")
    both = apply("mistral", "deepseek")
    assert [it for it in both if "deepseek" in it]
    one = apply("mistral")
    # No route of the backend is left, by which requests would reach its provider without the module.
    assert one < both and not [it for it in one if "deepseek" in it]

    module, held = {"Istio": ("WasmPlugin", "EnvoyFilter"), "Envoy Gateway": ("EnvoyExtensionPolicy", "EnvoyPatchPolicy")}[home]
    assert [it for it in one if it.startswith(module)] and not [it for it in one if it.startswith(held)]
    holds = apply("mistral", options="--hold --sha256 " + "0" * 64)
    assert [it for it in holds if it.startswith(held)]
    # In Istio the filter takes the plugin's place: with both the module would run twice.
    assert bool([it for it in holds if it.startswith(module)]) == (home == "Envoy Gateway")
    assert apply("mistral") == one
