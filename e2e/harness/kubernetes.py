"""What Istio and Envoy Gateway make of manifests, as far as ours need it: Envoy's configuration.

Neither runs here. This is what their sources say that they hand to Envoy, for the resources that
`llm-proxy` renders and no others: whatever a manifest has beyond them is an error.

Sources, read 2026-11-21: istio/istio `pilot/pkg/model/extensions.go` (a WasmPlugin is an ECDS resource,
its configuration JSON in a StringValue), `pilot/pkg/networking/core/envoyfilter` (patches),
`pilot/pkg/networking/core/route/route.go`; envoyproxy/gateway `internal/xds/translator`.
"""

import json
import os
import pathlib
import re
import subprocess

import yaml

from . import artefacts
from .bootstrap import NETWORK, PROTOBUF, TLS

WASM = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"
MANAGER = "envoy.filters.network.http_connection_manager"
ROUTER = "envoy.filters.http.router"
IMAGE = "oci://registry.example.com/llm-proxy:0.1.0"
SHA256 = "0" * 64


def manifests(home: str, gateway: pathlib.Path | dict, directory: pathlib.Path, *options: str) -> list:
    """What `llm-proxy render HOME` says; no variable is needed for it."""
    directory.mkdir(parents=True, exist_ok=True)
    if isinstance(gateway, dict):
        file = directory / "gateway.yaml"
        file.write_text(yaml.safe_dump(gateway, sort_keys=False))
        gateway = file
    module = () if "--wasm" in options else ("--wasm", IMAGE, "--sha256", SHA256)
    arguments = [artefacts.command(), "render", home, gateway, *module, *options]
    done = subprocess.run(
        [str(it) for it in arguments], env={}, capture_output=True, text=True,
        timeout=artefacts.GUARD_SECONDS,
    )
    assert done.returncode == 0, f"exit code {done.returncode}:\n{done.stderr}"
    (directory / f"{home}.yaml").write_text(done.stdout)
    return list(yaml.safe_load_all(done.stdout))


class Istio:
    """The Envoy of a gateway's pod, and the extension configurations that the agent hands to it."""

    def __init__(self, documents: list, directory: pathlib.Path):
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        kinds = {}
        for document in documents:
            kinds.setdefault(document["kind"], []).append(document)
        [service] = kinds.pop("VirtualService")
        rules = {it["spec"]["host"]: it["spec"] for it in kinds.pop("DestinationRule", [])}
        entries = [it["spec"] for it in kinds.pop("ServiceEntry", [])]
        if service["spec"]["gateways"] == ["mesh"]:
            table = _sidecar_routes(service, entries)
        else:
            [gateway] = kinds.pop("Gateway")
            assert service["spec"]["gateways"] == [gateway["metadata"]["name"]]
            [server] = gateway["spec"]["servers"]
            assert service["spec"]["hosts"] == server["hosts"] == ["*"]
            table = _gateway_routes(service, server)
        self.bootstrap = {
            "node": {"id": "router~10.0.0.1~llm-gateway.istio-ingress", "cluster": "llm-gateway"},
            "static_resources": {
                "listeners": [_listener(table)],
                "clusters": [
                    _istio_cluster(entry, host, port, rules[host])
                    for entry in entries
                    for host in entry["hosts"]
                    for port in entry["ports"]
                ],
            }
        }
        headers = _proxy_headers()
        manager = _manager(self.bootstrap)
        manager["generate_request_id"] = not headers["requestId"]["disabled"]
        router = manager["http_filters"][-1]["typed_config"]
        router["suppress_envoy_headers"] = headers["envoyDebugHeaders"]["disabled"]
        for host in manager["route_config"]["virtual_hosts"]:
            host["include_request_attempt_count"] = not headers["attemptCount"]["disabled"]
        for plugin in kinds.pop("WasmPlugin", []):
            self._load(plugin)
        for patches in kinds.pop("EnvoyFilter", []):
            for patch in patches["spec"]["configPatches"]:
                self._apply(patch)
        assert not kinds, f"what are {list(kinds)}?"

    def update(self, plugin: dict):
        """Hands a WasmPlugin to the Envoy that runs, as a change of the resource does."""
        metadata = plugin["metadata"]
        name = f"{metadata['namespace']}.{metadata['name']}"
        self._write(name, _wasm_of(plugin, name))

    def _load(self, plugin: dict):
        spec = plugin["spec"]
        assert (spec["failStrategy"], spec["phase"]) == ("FAIL_CLOSE", "STATS")
        metadata = plugin["metadata"]
        name = f"{metadata['namespace']}.{metadata['name']}"
        self.update(plugin)
        filters = _manager(self.bootstrap)["http_filters"]
        filters.insert(len(filters) - 1, {"name": name, "config_discovery": _ads()})
        self._subscribe()

    def _write(self, name: str, config: dict):
        """One resource, as the agent has completed it."""
        config = json.loads(json.dumps(config))
        code = config["config"]["vm_config"]["code"]
        if "remote" in code:
            # The agent fetches the image, checks it, and names the file.
            assert code["remote"]["http_uri"]["uri"] == IMAGE
            assert code["remote"]["sha256"] == SHA256
            config["config"]["vm_config"]["code"] = {"local": {"filename": str(artefacts.module())}}
        resource = {
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": name,
            "typed_config": config,
        }
        file = self._directory / f"{name}.ecds.json"
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps({"resources": [resource]}, indent=1))
        # Envoy sees a file that was moved into its place.
        os.replace(draft, file)

    def _subscribe(self):
        """Whoever asks istiod for an extension configuration asks a file instead."""

        def visit(value):
            if isinstance(value, dict):
                discovery = value.get("config_discovery")
                if discovery and "ads" in discovery["config_source"]:
                    assert discovery["config_source"]["initial_fetch_timeout"] == "0s"
                    file = self._directory / f"{value['name']}.ecds.json"
                    source = {"path": str(file)}
                    discovery["config_source"] = {
                        "path_config_source": source,
                        "resource_api_version": "V3",
                        "initial_fetch_timeout": "0s",
                    }
                value = value.values()
            for inner in value if not isinstance(value, (str, int, float, bool, type(None))) else ():
                visit(inner)

        visit(self.bootstrap)

    def _apply(self, patch: dict):
        """One patch of an EnvoyFilter: the operations that we use, where we use them."""
        match, operation = patch["match"], patch["patch"]["operation"]
        value = json.loads(json.dumps(patch["patch"]["value"]))
        assert match["context"] == "GATEWAY"
        manager = _manager(self.bootstrap)
        table = manager["route_config"]
        [host] = table["virtual_hosts"]
        match (patch["applyTo"], operation):
            case ("EXTENSION_CONFIG", "ADD"):
                self._write(value["name"], value["typed_config"])
            case ("CLUSTER", "ADD"):
                clusters = self.bootstrap["static_resources"]["clusters"]
                assert value["name"] not in [it["name"] for it in clusters]
                clusters.append(value)
            case ("ROUTE_CONFIGURATION", "MERGE"):
                assert match == {"context": "GATEWAY"}
                _merge(table, value)
            case ("HTTP_ROUTE", "INSERT_BEFORE"):
                # By a Gateway only tables of HTTPS servers are found: their names have it.
                assert list(match["routeConfiguration"]) == ["vhost"]
                named = match["routeConfiguration"]["vhost"]["route"]["name"]
                _insert_before(host["routes"], named, value)
            case ("HTTP_FILTER", "INSERT_BEFORE"):
                _insert_before(manager["http_filters"], _sub_filter(match), value)
            case ("HTTP_FILTER", "MERGE"):
                [found] = [it for it in manager["http_filters"] if it["name"] == _sub_filter(match)]
                _merge(found, value)
            case ("NETWORK_FILTER", "MERGE"):
                assert match["listener"] == {"filterChain": {"filter": {"name": MANAGER}}}
                assert value.pop("name") == MANAGER
                _merge(manager, value.pop("typed_config"))
                assert not value
            case other:
                raise AssertionError(f"what is {other}?")
        self._subscribe()


def _proxy_headers() -> dict:
    """What the pods of the walk-through tell Istio about headers."""
    file = artefacts.EXAMPLES / "kubernetes/istio-pods.yaml"
    [pods] = [it for it in yaml.safe_load_all(file.read_text()) if it["kind"] == "Deployment"]
    annotations = pods["spec"]["template"]["metadata"]["annotations"]
    return yaml.safe_load(annotations["proxy.istio.io/config"])["proxyHeaders"]


def _sub_filter(match: dict) -> str:
    filter = match["listener"]["filterChain"]["filter"]
    assert filter["name"] == MANAGER
    return filter["subFilter"]["name"]


def _insert_before(named: list, name: str, value: dict):
    [place] = [at for at, it in enumerate(named) if it["name"] == name]
    named.insert(place, value)


def _merge(into: dict, value: dict):
    """As protobuf merges: messages member by member, lists one after the other."""
    for key, member in value.items():
        if isinstance(member, dict) and isinstance(into.get(key), dict):
            _merge(into[key], member)
        elif isinstance(member, list) and isinstance(into.get(key), list):
            into[key] += member
        else:
            into[key] = member


def _wasm_of(plugin: dict, name: str) -> dict:
    spec = plugin["spec"]
    assert all(it["valueFrom"] == "HOST" for it in spec["vmConfig"]["env"])
    remote = {"http_uri": {"uri": spec["url"], "timeout": "30s", "cluster": "_"}}
    return {
        "@type": WASM,
        "config": {
            "name": name,
            "vm_config": {
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"remote": {**remote, "sha256": spec["sha256"]}},
                "environment_variables": {"host_env_keys": [it["name"] for it in spec["vmConfig"]["env"]]},
            },
            "configuration": {
                "@type": f"{PROTOBUF}.StringValue",
                "value": json.dumps(spec["pluginConfig"], separators=(",", ":")),
            },
            "failure_policy": "FAIL_CLOSED",
        },
    }


def _ads() -> dict:
    source = {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}
    return {"config_source": source, "type_urls": [WASM]}


def _gateway_routes(service: dict, server: dict) -> dict:
    port = server["port"]["number"]
    return {
        "name": f"http.{port}",
        "virtual_hosts": [
            {
                "name": f"*:{port}",
                "domains": ["*"],
                "routes": _virtual_routes(service),
            }
        ],
    }


def _virtual_routes(service: dict) -> list:
    metadata = service["metadata"]
    owner = f"/namespaces/{metadata['namespace']}/virtual-service/{metadata['name']}"
    owner = f"/apis/networking.istio.io/v1{owner}"
    return [_virtual_route(it, owner) for it in service["spec"]["http"]]


def _sidecar_routes(service: dict, entries: list) -> dict:
    """Outbound routes of one port: a virtual host for each service that has it, and the rest."""
    [port] = {port["number"] for entry in entries for port in entry["ports"]}
    assert all(port["protocol"] == "HTTP" for entry in entries for port in entry["ports"])
    known = [host for entry in entries for host in entry["hosts"]]
    assert known == service["spec"]["hosts"]
    hosts = [
        {
            "name": f"{host}:{port}",
            "domains": [host, f"{host}:{port}"],
            "routes": _virtual_routes(service),
        }
        for host in known
    ]
    passed_on = {"match": {"prefix": "/"}, "direct_response": {"status": 418}}
    hosts.append({"name": "allow_any", "domains": ["*"], "routes": [passed_on]})
    return {"name": str(port), "virtual_hosts": hosts}


def _virtual_route(http: dict, owner: str) -> dict:
    http = json.loads(json.dumps(http))
    route = {
        "name": http.pop("name"),
        "match": {"prefix": "/"},
        # Where it comes from, as Istio says it of each route.
        "metadata": {"filter_metadata": {"istio": {"config": owner}}},
        "decorator": {"operation": "llm-gateway:80/*"},
    }
    if "directResponse" in http:
        direct = http.pop("directResponse")
        headers = http.pop("headers", {"response": {"set": {}}})["response"]["set"]
        assert not http
        body = {"inline_string": direct["body"]["string"]} if "body" in direct else None
        response = {"status": direct["status"], **({"body": body} if body else {})}
        added = [_added(name, value) for name, value in headers.items()]
        return {**route, "direct_response": response, "response_headers_to_add": added}
    [match] = http.pop("match")
    [(how, path)] = match.pop("uri").items()
    headers = [{"name": name, "string_match": how} for name, how in match.pop("headers", {}).items()]
    for name in ("method", "authority"):
        if name in match:
            [(kind, text)] = match.pop(name).items()
            assert kind == "regex"
            headers.append({"name": f":{name}", "string_match": {"safe_regex": {"regex": text}}})
    route["match"] = {
        **({"safe_regex": {"regex": path}} if how == "regex" else {how: path}),
        **({"headers": headers} if headers else {}),
    }
    rewrite = http.pop("rewrite")
    [destination] = http.pop("route")
    destination = destination["destination"]
    retries = http.pop("retries")
    conditions = retries.pop("retryOn").split(",")
    codes = [int(it) for it in conditions if it.isdigit()]
    conditions = [it for it in conditions if not it.isdigit()]
    if codes:
        conditions.append("retriable-status-codes")
    route["request_headers_to_remove"] = http.pop("headers")["request"]["remove"]
    regex = rewrite.pop("uriRegexRewrite")
    route["route"] = {
        "cluster": f"outbound|{destination['port']['number']}||{destination['host']}",
        "timeout": "0s",
        "host_rewrite_literal": rewrite.pop("authority"),
        "regex_rewrite": {"pattern": {"regex": regex["match"]}, "substitution": regex["rewrite"]},
        "retry_policy": {
            "retry_on": ",".join(conditions),
            "retriable_status_codes": codes,
            "num_retries": retries.pop("attempts"),
            "per_try_timeout": retries.pop("perTryTimeout"),
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.retry.host"
                        ".previous_hosts.v3.PreviousHostsPredicate"
                    },
                }
            ],
            "host_selection_retry_max_attempts": "5",
        },
    }
    assert not match and not http and not retries and not rewrite
    return route


def _added(name: str, value: str) -> dict:
    return {
        "header": {"key": name, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def _istio_cluster(entry: dict, host: str, port: dict, rule: dict) -> dict:
    number = port["number"]
    [settings] = [it for it in rule["trafficPolicy"]["portLevelSettings"] if it["port"]["number"] == number]
    addresses = [it["address"] for it in entry.get("endpoints", [{"address": host}])]
    kind = {"DNS_ROUND_ROBIN": "LOGICAL_DNS", "STATIC": "STATIC"}[entry["resolution"]]
    cluster = _cluster(
        f"outbound|{number}||{host}", kind, addresses, port.get("targetPort", number)
    )
    cluster["connect_timeout"] = settings["connectionPool"]["tcp"]["connectTimeout"]
    tls = settings["tls"]
    if tls["mode"] == "SIMPLE":
        cluster["transport_socket"] = _tls(tls["sni"], tls["subjectAltNames"], tls["caCertificates"])
    return cluster


class EnvoyGateway:
    """The Envoy that Envoy Gateway starts for a Gateway."""

    def __init__(self, documents: list):
        kinds = {}
        for document in documents:
            by_name = kinds.setdefault(document["kind"], {})
            by_name[document["metadata"]["name"]] = document["spec"]
        names = {document["metadata"]["namespace"] for document in documents}
        [self._namespace] = names
        [(self._gateway, gateway)] = kinds.pop("Gateway").items()
        [proxy] = kinds.pop("EnvoyProxy").values()
        order = [(it["name"].rsplit(".", 1)[1], it["after"].rsplit(".", 1)[1]) for it in proxy["filterOrder"]]
        assert order == [("wasm", "rbac"), ("wasm", "local_ratelimit"), ("wasm", "ratelimit")]
        container = proxy["provider"]["kubernetes"]["envoyDeployment"]["container"]
        self.environment = [it["name"] for it in container["env"]]
        [client] = kinds.pop("ClientTrafficPolicy").values()
        [(policy, extension)] = kinds.pop("EnvoyExtensionPolicy").items()
        [wasm] = extension["wasm"]
        name = f"envoyextensionpolicy/{self._namespace}/{policy}/wasm/0"
        enabled = {it["name"] for it in extension["targetRefs"]}

        traffic = {}
        for it in kinds.pop("BackendTrafficPolicy").values():
            assert it["mergeType"] == "StrategicMerge"
            traffic.update({target["name"]: it for target in it["targetRefs"]})
        backends = kinds.pop("Backend")
        rewrites = kinds.pop("HTTPRouteFilter", {})
        routes, clusters = [], []
        for route, spec in kinds.pop("HTTPRoute").items():
            assert [it["name"] for it in spec["parentRefs"]] == [self._gateway]
            for number, rule in enumerate(spec["rules"]):
                name_of_rule = f"httproute/{self._namespace}/{route}/rule/{number}"
                [reference] = rule["backendRefs"]
                policy = traffic[route]
                cluster = f"{name_of_rule}/backend/0"
                clusters.append(_backend_cluster(cluster, backends[reference["name"]], policy))
                for at, match in enumerate(rule["matches"]):
                    routes.append(_rule_route(match, rule, cluster, policy, rewrites))
                    routes[-1]["name"] = f"{name_of_rule}/match/{at}/*"
                    if route in enabled:
                        routes[-1]["typed_per_filter_config"] = {
                            f"envoy.filters.http.wasm/{name}": {
                                "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
                                "config": {},
                            }
                        }
        # The longest path first, then the most headers.
        routes.sort(key=_precedence, reverse=True)
        table = {
            "name": f"{self._namespace}/{self._gateway}/http",
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
        }
        listener = _listener(table)
        [port] = gateway["listeners"]
        listener["name"] = f"{self._namespace}/{self._gateway}/{port['name']}"
        assert client["headers"] == {"withUnderscoresAction": "Allow"}
        size = re.fullmatch(r"([0-9]+)Ki", client["connection"]["bufferLimit"])
        listener["per_connection_buffer_limit_bytes"] = int(size[1]) << 10
        self.bootstrap = {"static_resources": {"listeners": [listener], "clusters": clusters}}
        manager = _manager(self.bootstrap)
        manager["stream_idle_timeout"] = client["timeout"]["http"]["streamIdleTimeout"]
        manager["http_filters"][-1]["typed_config"]["suppress_envoy_headers"] = True
        manager["http_filters"].insert(
            0,
            {
                "name": f"envoy.filters.http.wasm/{name}",
                "disabled": True,
                "typed_config": _gateway_wasm(wasm, name),
            },
        )
        for patches in kinds.pop("EnvoyPatchPolicy", {}).values():
            for patch in patches["jsonPatches"]:
                self._apply(patch)
        assert not kinds, f"what are {list(kinds)}?"

    def _apply(self, patch: dict):
        """`add`, at the one place that a JSONPath of the form that we use names."""
        assert patch["type"] == "type.googleapis.com/envoy.config.listener.v3.Listener"
        [listener] = self.bootstrap["static_resources"]["listeners"]
        assert patch["name"] == listener["name"]
        operation = patch["operation"]
        path = r"\.\.http_filters\[\?\(@\.typed_config\.config\.name=='(.+)'\)\]"
        name = re.fullmatch(path, operation["jsonPath"])[1]
        filters = _manager(self.bootstrap)["http_filters"]
        [found] = [it for it in filters if it["typed_config"].get("config", {}).get("name") == name]
        *keys, last = operation["path"].removeprefix("/").split("/")
        assert operation["op"] == "add"
        for key in keys:
            found = found[key]
        found[last] = operation["value"]


def _gateway_wasm(wasm: dict, name: str) -> dict:
    source = wasm["code"][wasm["code"]["type"].lower()]
    assert (source["url"], source["sha256"]) == (IMAGE.removeprefix("oci://"), SHA256)
    return {
        "@type": WASM,
        "config": {
            "name": wasm["name"],
            "vm_config": {
                "vm_id": name,
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": str(artefacts.module())}},
                "environment_variables": {"host_env_keys": wasm["env"]["hostKeys"]},
            },
            "configuration": {
                "@type": f"{PROTOBUF}.StringValue",
                "value": json.dumps(wasm["config"], separators=(",", ":")),
            },
            "fail_open": wasm["failOpen"],
        },
    }


def _rule_route(match: dict, rule: dict, cluster: str, traffic: dict, rewrites: dict) -> dict:
    path = match["path"]
    assert path["type"] == "PathPrefix"
    matched = {"prefix": "/"} if path["value"] == "/" else {"path_separated_prefix": path["value"]}
    headers = []
    for it in match.get("headers", []):
        how = {"Exact": "exact", "RegularExpression": "safe_regex"}[it.get("type", "Exact")]
        value = it["value"] if how == "exact" else {"regex": it["value"]}
        headers.append({"name": it["name"], "string_match": {how: value}})
    if "method" in match:
        headers.append({"name": ":method", "string_match": {"exact": match["method"]}})
    retry = traffic["retry"]
    # One destination with filters of its own is a list of one.
    weighted = {"name": cluster, "weight": 1}
    for it in rule["backendRefs"][0].get("filters", []):
        assert it["type"] == "URLRewrite"
        weighted["host_rewrite_literal"] = it["urlRewrite"]["hostname"]
    route = {
        "match": {**matched, **({"headers": headers} if headers else {})},
        "route": {
            "weighted_clusters": {"clusters": [weighted]},
            "timeout": traffic["timeout"]["http"]["requestTimeout"],
            "retry_policy": {
                "retry_on": ",".join(retry["retryOn"]["triggers"]),
                "retriable_status_codes": retry["retryOn"].get("httpStatusCodes", []),
                "num_retries": retry["numRetries"],
                "per_try_timeout": _seconds(retry["perRetry"]["timeout"]),
            },
        },
    }
    for it in rule.get("filters", []):
        if it["type"] == "RequestHeaderModifier":
            route["request_headers_to_remove"] = it["requestHeaderModifier"]["remove"]
            continue
        if it["type"] == "URLRewrite":
            assert it["urlRewrite"]["path"] == {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
            assert len(rule["matches"]) == 1
            pattern, substitution = f"^{re.escape(path['value'])}/*", "/"
        else:
            found = rewrites[it["extensionRef"]["name"]]["urlRewrite"]["path"]["replaceRegexMatch"]
            pattern, substitution = found["pattern"], found["substitution"]
        rewritten = {"pattern": {"regex": pattern}, "substitution": substitution}
        route["route"]["regex_rewrite"] = rewritten
    return route


def _precedence(route: dict):
    match = route["match"]
    return len(match.get("path_separated_prefix", "/")), len(match.get("headers", []))


def _seconds(duration: str) -> str:
    units = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}
    parts = re.findall(r"([0-9]{1,5})(h|ms|m|s)", duration)
    assert "".join(number + unit for number, unit in parts) == duration
    return f"{sum(int(number) * units[unit] for number, unit in parts):g}s"


def _backend_cluster(name: str, backend: dict, traffic: dict) -> dict:
    [endpoint] = backend["endpoints"]
    if "fqdn" in endpoint:
        where, kind, address = endpoint["fqdn"], "STRICT_DNS", endpoint["fqdn"]["hostname"]
    else:
        where, kind, address = endpoint["ip"], "STATIC", endpoint["ip"]["address"]
    cluster = _cluster(name, kind, [address], where["port"])
    limits = traffic["circuitBreaker"]
    cluster["circuit_breakers"] = {
        "thresholds": [
            {
                "max_connections": limits["maxConnections"],
                "max_pending_requests": limits["maxPendingRequests"],
                "max_requests": limits["maxParallelRequests"],
                "max_retries": limits["maxParallelRetries"],
            }
        ]
    }
    if "tls" in backend:
        assert backend["tls"]["wellKnownCACertificates"] == "System"
        host = backend["tls"]["sni"]
        cluster["transport_socket"] = _tls(host, [host], "/etc/ssl/certs/ca-certificates.crt")
    return cluster


def _listener(table: dict) -> dict:
    """A listener as both make it: nothing of ours in it."""
    router = {
        "name": ROUTER,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
        },
    }
    manager = {
        "@type": f"{NETWORK}.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "use_remote_address": True,
        "normalize_path": True,
        "stream_idle_timeout": "0s",
        "route_config": table,
        "http_filters": [router],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 80}}
    filters = [{"name": MANAGER, "typed_config": manager}]
    return {"name": "0.0.0.0_80", "address": address, "filter_chains": [{"filters": filters}]}


def _manager(bootstrap: dict) -> dict:
    [listener] = bootstrap["static_resources"]["listeners"]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


def _cluster(name: str, kind: str, addresses: list[str], port: int) -> dict:
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": it, "port_value": port}}}}
        for it in addresses
    ]
    return {
        "name": name,
        "type": kind,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def _tls(sni: str, names: list[str], roots: str) -> dict:
    trusted = {
        "trusted_ca": {"filename": roots},
        "match_typed_subject_alt_names": [
            {"san_type": "DNS", "matcher": {"exact": name}} for name in names
        ],
    }
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{TLS}.UpstreamTlsContext",
            "sni": sni,
            "common_tls_context": {"validation_context": trusted},
        },
    }
