"""Istio: its own control plane over an API in memory, its own agent, and the Envoy that it starts."""

import json
import os
import pathlib
import urllib.request

import yaml

from .. import artefacts
from ..client import Reply, request
from ..process import Process, until
from . import world

XDS, HTTP = "127.0.0.1:15010", "127.0.0.1:8080"
ADMIN_PORT, STATUS_PORT = 15000, 15020

# Without what only Istio's own build of Envoy has, and without what only a cluster has.
CONTROL_PLANE = {
    "POD_NAMESPACE": "istio-system",
    "POD_NAME": "istiod-0",
    "PILOT_CERT_PROVIDER": "none",
    "ENABLE_CA_SERVER": "false",
    "PILOT_ENABLE_METADATA_EXCHANGE": "false",
    "PILOT_ENABLE_ALPN_FILTER": "false",
    "PILOT_DISABLE_MX_ALPN": "true",
    "PILOT_ENABLE_GATEWAY_API_STATUS": "false",
    "PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER": "false",
    "PILOT_ENABLE_GATEWAY_API_GATEWAYCLASS_CONTROLLER": "false",
}

MESH = {
    "trustDomain": "cluster.local",
    "rootNamespace": "istio-system",
    "enablePrometheusMerge": False,
    "enableAutoMtls": False,
    "ingressControllerMode": "OFF",
    "defaultConfig": {"discoveryAddress": XDS, "controlPlaneAuthPolicy": "NONE"},
}


class Istio:
    """A control plane that holds `manifests`, the agent of one pod, and its Envoy.

    `pod` is the pod; its labels decide which resources concern it. What the pod of the walk-through
    sets by annotations comes from `envoy/kubernetes/istio-pods.yaml`. `mesh` is more of the mesh's
    configuration.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        manifests: str,
        pod: "Pod",
        keys: dict[str, str],
        version: str = artefacts.NEWEST_ENVOY,
        surroundings: list[dict] = (),
        mesh: dict | None = None,
    ):
        self.directory, self.pod, self.keys, self.version = directory, pod, keys, version
        self._mesh = {**MESH, **(mesh or {})}
        directory.mkdir(parents=True, exist_ok=True)
        self._surroundings = yaml.safe_dump_all([*surroundings, *pod.resources()])
        self._processes: list[Process] = []
        self.apply(manifests)
        try:
            self._start_agent()
        except BaseException:
            self.stop()
            raise

    def apply(self, manifests: str):
        """Makes these the cluster's manifests: the files are read at the start of istiod."""
        if self._processes:
            self._processes.pop(0).stop()
        mesh, around, ours = (self.directory / name for name in ("mesh.yaml", "around.yaml", "ours.yaml"))
        mesh.write_text(yaml.safe_dump(self._mesh))
        around.write_text(self._surroundings)
        ours.write_text(manifests)
        command = [
            artefacts.istio("istiod-offline"), "-meshConfig", mesh, "-grpcAddr", XDS, "-httpAddr", HTTP,
            "-crds", artefacts.istio("crds.yaml"), around, ours,
        ]
        self.istiod = Process(command, self.directory / "istiod.log", CONTROL_PLANE)
        self._processes.insert(0, self.istiod)
        self.istiod.until(lambda: "istiod-offline: ready" in self.istiod.log_text())
        self.istiod.until(lambda: fetch(f"http://{HTTP}/ready") is not None)

    def stop(self):
        world.stop_all(self._processes)

    def validate(self, document: dict) -> tuple[bool, str]:
        """What istiod's validation webhook says of a document: whether it is allowed, and a message."""
        group, _, version = document["apiVersion"].rpartition("/")
        review = {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "1",
                "kind": {"group": group, "version": version, "kind": document["kind"]},
                "resource": {
                    "group": group, "version": version, "resource": document["kind"].lower() + "s",
                },
                "namespace": document["metadata"]["namespace"],
                "name": document["metadata"]["name"],
                "operation": "CREATE",
                "userInfo": {"username": "test"},
                "object": document,
            },
        }
        headers = {"content-type": "application/json"}
        asked = urllib.request.Request(f"http://{HTTP}/validate", json.dumps(review).encode(), headers)
        with urllib.request.urlopen(asked, timeout=artefacts.GUARD_SECONDS) as reply:
            answer = json.load(reply)["response"]
        message = answer.get("status", {}).get("message", "")
        return answer["allowed"], " ".join([message, *answer.get("warnings", [])]).strip()

    def config_dump(self) -> list[dict]:
        return json.loads(fetch(f"http://127.0.0.1:{ADMIN_PORT}/config_dump?include_eds"))["configs"]

    def admin(self, target: str) -> str:
        return (fetch(f"http://127.0.0.1:{ADMIN_PORT}{target}") or b"").decode()

    def log(self) -> str:
        """What the agent and Envoy wrote."""
        return self.agent.log_text()

    def post(self, target: str, body=None, headers=(), port=None, **how) -> Reply:
        return request(port or self.pod.port, "POST", target, body, headers, **how)

    def _start_agent(self):
        # The agent's paths are relative to the root of its container.
        container = self.directory / "container"
        for place in ("etc/istio/proxy", "etc/istio/pod", "var/lib/istio/data", "var/lib/istio/envoy"):
            (container / place).mkdir(parents=True, exist_ok=True)
        bootstrap = container / "var/lib/istio/envoy/envoy_bootstrap_tmpl.json"
        bootstrap.write_bytes(artefacts.istio("bootstrap.json").read_bytes())
        # This one is absolute.
        pathlib.Path("/var/lib/istio/data").mkdir(parents=True, exist_ok=True)
        config = {
            "binaryPath": str(artefacts.envoy(self.version)),
            "configPath": "./etc/istio/proxy",
            "discoveryAddress": XDS,
            "controlPlaneAuthPolicy": "NONE",
            "proxyAdminPort": ADMIN_PORT,
            "statusPort": STATUS_PORT,
            "concurrency": 2,
            "terminationDrainDuration": "1s",
            **self.pod.proxy_config(),
        }
        environment = {
            "POD_NAME": self.pod.name,
            "POD_NAMESPACE": self.pod.namespace,
            "INSTANCE_IP": "127.0.0.1",
            "SERVICE_ACCOUNT": "default",
            "ISTIO_META_CLUSTER_ID": "Kubernetes",
            "ISTIO_METAJSON_LABELS": json.dumps(self.pod.labels),
            "ISTIO_META_WORKLOAD_NAME": self.pod.name,
            "ISTIO_META_NAMESPACE": self.pod.namespace,
            "ISTIO_META_INTERCEPTION_MODE": self.pod.interception,
            "ISTIO_META_UNPRIVILEGED_POD": "",
            "PILOT_CERT_PROVIDER": "none",
            "FILE_MOUNTED_CERTS": "true",
            "JWT_POLICY": "none",
            "ENVOY_STATUS_PORT": str(STATUS_PORT + 1),
            "ENVOY_PROMETHEUS_PORT": "15090",
            "GRPC_XDS_BOOTSTRAP": "",
            "PROXY_CONFIG": json.dumps(config),
            **self.keys,
        }
        command = [
            artefacts.istio("pilot-agent"), "proxy", self.pod.kind,
            "--domain", f"{self.pod.namespace}.svc.cluster.local",
            "--proxyLogLevel=warning,wasm:info", "--log_output_level=default:info,wasm:debug",
        ]
        command = ["env", "--chdir", container, *command]
        self.agent = Process(command, self.directory / "agent.log", environment)
        self._processes.append(self.agent)
        self.agent.until(lambda: self.admin("/ready").strip() == "LIVE")


class Pod:
    """A pod that has a proxy. `port` is where requests reach it."""

    def __init__(self, name, namespace, labels, kind="router", port=80, interception="", proxy_config=None):
        self.name, self.namespace, self.labels, self.kind = name, namespace, labels, kind
        self.port, self.interception = port, interception
        self._proxy_config = proxy_config or {}

    def proxy_config(self) -> dict:
        return self._proxy_config

    def resources(self) -> list[dict]:
        """The pod as the cluster has it, and its node."""
        metadata = {"name": self.name, "namespace": self.namespace, "labels": self.labels}
        spec = {
            "serviceAccountName": "default",
            "nodeName": "node",
            "containers": [{"name": "istio-proxy", "image": "auto"}],
        }
        status = {
            "phase": "Running",
            "podIP": "127.0.0.1",
            "podIPs": [{"ip": "127.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}
        return [pod, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}}]


def gateway_pod() -> Pod:
    """The pod of `envoy/kubernetes/istio-pods.yaml`, with what its annotations say about headers."""
    file = artefacts.EXAMPLES / "kubernetes/istio-pods.yaml"
    [pods] = [it for it in yaml.safe_load_all(file.read_text()) if it["kind"] == "Deployment"]
    metadata = pods["spec"]["template"]["metadata"]
    config = yaml.safe_load(metadata["annotations"]["proxy.istio.io/config"])
    return Pod("llm-gateway-0", "istio-ingress", metadata["labels"], proxy_config=config)


def sidecar_pod(port: int) -> Pod:
    """The pod of an application, which calls any host at `port` through its sidecar."""
    # There is no iptables here; requests go to the port's listener itself. The annotations are those
    # of the gateway's pod.
    config = gateway_pod().proxy_config()
    return Pod("chat-0", "apps", {"app": "chat"}, "sidecar", port, "NONE", config)


def gateway_api(name: str, namespace: str, port: int = 80) -> tuple[Pod, list[dict]]:
    """The pod of a Kubernetes Gateway, and what a cluster with that Gateway has besides."""
    label = {"gateway.networking.k8s.io/gateway-name": name}
    service = f"{name}-istio"
    pod = Pod(f"{service}-0", namespace, label, port=port, proxy_config=gateway_pod().proxy_config())

    def resource(version, kind, name, **rest):
        return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, **rest}

    listener = {"name": "http", "port": port, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "Same"}}}
    ports = [{"name": "http", "port": port, "protocol": "TCP"}]
    gateway_class = resource(
        "gateway.networking.k8s.io/v1", "GatewayClass", "istio",
        spec={"controllerName": "istio.io/gateway-controller"},
    )
    del gateway_class["metadata"]["namespace"]
    found = [
        gateway_class,
        resource(
            "gateway.networking.k8s.io/v1", "Gateway", name,
            spec={"gatewayClassName": "istio", "listeners": [listener]},
        ),
        resource(
            "v1", "Service", service,
            spec={
                "type": "ClusterIP", "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"],
                "selector": label, "ports": [{**ports[0], "targetPort": port}],
            },
        ),
        resource(
            "discovery.k8s.io/v1", "EndpointSlice", f"{service}-1",
            addressType="IPv4",
            ports=ports,
            endpoints=[{
                "addresses": ["127.0.0.1"],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": pod.name, "namespace": namespace},
            }],
        ),
    ]
    found[2]["metadata"]["labels"] = label
    found[3]["metadata"]["labels"] = {"kubernetes.io/service-name": service}
    return pod, found


def fetch(url: str) -> bytes | None:
    # Never by a proxy that the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as reply:
            return reply.read()
    except (OSError, ValueError):
        return None
