"""Envoy configuration for a gateway: rendered by `llm-proxy`, or with the module in the listener.

The second is what a mesh gives that knows nothing of `llm-proxy`: the module sits among the
listener's filters, says in `x-llm-proxy-backend` which backend it chose, and the routes match on that.
"""

import json
import pathlib
import subprocess
import urllib.parse

import yaml

from . import artefacts

# How the module can sit in Envoy.
UPSTREAM = "upstream"
LISTENER_HELD = "listener-held"
LISTENER_FIRST = "listener-first"
PLACEMENTS = (UPSTREAM, LISTENER_HELD, LISTENER_FIRST)
# Where headers wait for the body, in both Envoys.
HELD = tuple(
    (placement, version)
    for placement in (UPSTREAM, LISTENER_HELD)
    for version in (artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY)
)

# Where providers live that no test moves elsewhere.
OWN_ENDPOINTS = {
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com",
}


def make(
    placement: str, gateway: dict, directory: pathlib.Path, env: dict[str, str], options=()
) -> dict:
    """A bootstrap for `gateway`, which stands in `directory` afterwards.

    `options` are for `llm-proxy render envoy`.
    """
    if placement == UPSTREAM:
        return rendered(gateway, directory, env, options)
    return in_listener(gateway, env, holds=placement == LISTENER_HELD)


def rendered(
    gateway: dict | str, directory: pathlib.Path, env: dict[str, str], options=()
) -> dict:
    """What `llm-proxy render envoy` makes of `gateway`."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "gateway.yaml"
    file.write_text(gateway if isinstance(gateway, str) else yaml.safe_dump(gateway, sort_keys=False))
    text = render(file, env, options)
    (directory / "rendered.yaml").write_text(text)
    return yaml.safe_load(text)


def render(file: pathlib.Path, env: dict[str, str], options=()) -> str:
    arguments = [artefacts.command(), "render", "envoy", file, "--wasm", artefacts.module(), *options]
    done = subprocess.run(
        list(map(str, arguments)), env=env, capture_output=True, text=True,
        timeout=artefacts.GUARD_SECONDS,
    )
    assert done.returncode == 0, f"exit code {done.returncode}:\n{done.stderr}"
    return done.stdout


def in_listener(gateway: dict, env: dict[str, str], holds: bool) -> dict:
    """The module among the listener's filters, with or without held headers."""
    plugin = {**gateway, "placement": "listener", "holdHeaders": holds}
    backends = {it["name"]: _expanded(it, env) for it in gateway["backends"]}
    limit = 33 << 20 if holds else 1 << 20
    manager = {
        "@type": f"{NETWORK}.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "codec_type": "AUTO",
        "stream_idle_timeout": "0s",
        "request_timeout": "0s",
        "http_filters": [
            # The one way of handing over a configuration here, the other there.
            wasm_filter(plugin if holds else json.dumps(plugin), holds=holds),
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            },
        ],
        "route_config": {
            "name": "gateway",
            # Envoy needs `x-forwarded-proto` until it has routed, so the module leaves it there.
            "request_headers_to_remove": ["x-llm-proxy-backend", "x-forwarded-proto"],
            "virtual_hosts": [
                {
                    "name": "gateway",
                    "domains": ["*"],
                    "routes": [_route(name, config) for name, config in backends.items()],
                }
            ],
        },
    }
    listener = {
        "name": "gateway",
        "address": _address("127.0.0.1", 10000),
        "per_connection_buffer_limit_bytes": limit,
        "filter_chains": [
            {"filters": [{"name": "envoy.http_connection_manager", "typed_config": manager}]}
        ],
    }
    clusters = [_cluster(name, config, limit) for name, config in backends.items()]
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


def redirected(bootstrap: dict, mock) -> dict:
    """The same bootstrap, all its clusters at `mock`, and the module where it was built."""
    bootstrap = json.loads(json.dumps(bootstrap))
    for cluster in bootstrap["static_resources"]["clusters"]:
        host, port = (mock.tls if "transport_socket" in cluster else mock.plain).rsplit(":", 1)
        for group in cluster.get("load_assignment", {}).get("endpoints", []):
            for endpoint in group["lb_endpoints"]:
                endpoint["endpoint"]["address"] = _address(host, int(port))
    for holder in mappings(bootstrap):
        if "trusted_ca" in holder:
            holder["trusted_ca"] = {"filename": str(mock.ca)}
        if str(holder.get("filename", "")).endswith("llm_proxy.wasm"):
            holder["filename"] = str(artefacts.module())
    return bootstrap


def mappings(value):
    """Every mapping inside `value`."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from mappings(inner)


def wasm_filter(plugin: dict | str, holds: bool) -> dict:
    """The module as an HTTP filter. A text is handed over as such, a mapping as a Struct."""
    if isinstance(plugin, str):
        configuration = {"@type": f"{PROTOBUF}.StringValue", "value": plugin}
    else:
        configuration = {"@type": f"{PROTOBUF}.Struct", "value": plugin}
    return {
        "name": "llm-proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "llm-proxy",
                "root_id": "llm-proxy",
                "failure_policy": "FAIL_RELOAD",
                "allow_on_headers_stop_iteration": holds,
                "vm_config": {
                    "vm_id": "llm-proxy",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": str(artefacts.module())}},
                    "environment_variables": {"host_env_keys": _variables(plugin)},
                },
                "configuration": configuration,
            },
        },
    }


def _variables(plugin) -> list[str]:
    text = plugin if isinstance(plugin, str) else json.dumps(plugin)
    names = {part.split("}")[0] for part in text.split("${")[1:]}
    return sorted(names)


def _expanded(backend: dict, env: dict[str, str]) -> dict:
    """Where a backend lives, without variables."""

    def expand(value):
        for name, found in env.items():
            value = value.replace(f"${{{name}}}", found)
        return value

    config = backend.get("config", {})
    own = {"endpoint": OWN_ENDPOINTS[backend["type"]]} if backend["type"] in OWN_ENDPOINTS else {}
    config = {**own, **config, "tls": {**config.get("tls", {})}}
    for holder, key in ((config, "endpoint"), (config, "address"), (config["tls"], "caFile")):
        if key in holder:
            holder[key] = expand(holder[key])
    return config


def _route(name: str, config: dict) -> dict:
    exact = {"name": "x-llm-proxy-backend", "string_match": {"exact": name}}
    action = {"cluster": name, "timeout": "0s"}
    action["retry_policy"] = {"num_retries": 0, "per_try_timeout": config.get("timeout", "60s")}
    if action["retry_policy"]["per_try_timeout"].endswith("ms"):
        milliseconds = int(action["retry_policy"]["per_try_timeout"][:-2])
        action["retry_policy"]["per_try_timeout"] = f"{milliseconds / 1000}s"
    return {"match": {"prefix": "/", "headers": [exact]}, "route": action}


def _cluster(name: str, config: dict, limit: int) -> dict:
    endpoint = urllib.parse.urlsplit(config["endpoint"])
    tls = endpoint.scheme == "https"
    default = f"{endpoint.hostname}:{endpoint.port or (443 if tls else 80)}"
    host, port = config.get("address", default).rsplit(":", 1)
    cluster = {
        "name": name,
        "type": "STATIC" if host[0].isdigit() else "STRICT_DNS",
        "per_connection_buffer_limit_bytes": limit,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": _address(host, int(port))}}]}
            ],
        },
    }
    if not tls:
        return cluster
    trusted = config["tls"].get("caFile", "/etc/ssl/certs/ca-certificates.crt")
    cluster["transport_socket"] = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{TLS}.UpstreamTlsContext",
            "sni": endpoint.hostname,
            "common_tls_context": {
                "validation_context": {
                    "trusted_ca": {"filename": trusted},
                    "match_typed_subject_alt_names": [
                        {"san_type": "DNS", "matcher": {"exact": endpoint.hostname}}
                    ],
                }
            },
        },
    }
    cluster["typed_extension_protocol_options"] = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "auto_config": {},
        }
    }
    return cluster


def _address(host: str, port: int) -> dict:
    return {"socket_address": {"address": host, "port_value": port}}


PROTOBUF = "type.googleapis.com/google.protobuf"
NETWORK = "type.googleapis.com/envoy.extensions.filters.network"
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
