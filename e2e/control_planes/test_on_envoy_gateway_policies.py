"""Other people's policies beside ours, by Envoy Gateway: what a route or the Gateway demands is demanded of
every request that reaches a provider, whatever headers a client sends."""

import base64

import pytest
import yaml

from harness import artefacts
from harness.control_planes.policies import AUTHORIZER, ISSUER, POLICIES, Authorizer, htpasswd, jwks
from harness.control_planes.world import PROVIDERS
from harness.process import until

from test_on_envoy_gateway import start  # noqa: F401, a fixture

CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
ENVOY_GATEWAY = "gateway.envoyproxy.io/v1alpha1"
# One route for each policy, and one that has none.
NAMES = (*POLICIES, "open")
# What of ours a client could think of: names of routes and backends, then internal paths.
FORGED = [
    ("x-llm-proxy-backend", "open"),
    ("x-llm-proxy-route", "open"),
    ("x-llm-proxy-cluster", "httproute/default/llm-proxy-open/rule/0"),
    ("x-envoy-original-path", "/open/v1/chat/completions"),
    ("x-rewrite-url", "/open/v1/chat/completions"),
    (":path", "/~default.llm-proxy/open/chat/completions"),
    (":path", "/~default.llm-proxy/open"),
]


def gateway(tmp_path):
    """A gateway of routes `/jwt`, `/api-key`, … to backends of the same names."""
    config = {
        "backends": [
            {"name": name, "type": "mistral", "config": {"apiKey": "${MISTRAL_API_KEY}", "model": name}}
            for name in NAMES
        ],
        "routes": [{"name": name, "path": f"/{name}", "backend": name} for name in NAMES],
    }
    file = tmp_path / "policies.gateway.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    return file


def resource(kind: str, name: str, spec: dict, version=ENVOY_GATEWAY) -> dict:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def secret(name: str, data: dict) -> dict:
    metadata = {"name": name, "namespace": "default"}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}


def target(name: str | None) -> dict:
    """A policy's target: a route, or the Gateway."""
    kind = "HTTPRoute" if name else "Gateway"
    named = f"llm-proxy-{name}" if name else "llm-proxy"
    return {"group": "gateway.networking.k8s.io", "kind": kind, "name": named}


def policy(name: str, route: str | None) -> list[dict]:
    """A policy on a route, or on the Gateway, and what it refers to."""
    where = f"{name}-{'route' if route else 'gateway'}"
    if name == "lua":
        code = """
        function envoy_on_request(handle)
          if handle:headers():get("x-guard") ~= "good" then
            handle:respond({[":status"] = "403"}, "guarded")
          end
        end
        """
        spec = {"targetRefs": [target(route)], "lua": [{"type": "Inline", "inline": code}]}
        return [resource("EnvoyExtensionPolicy", where, spec)]
    header = {"name": "x-team", "values": ["red"]}
    rule = {"action": "Allow", "principal": {"headers": [header]}}
    backend = {"group": "gateway.envoyproxy.io", "kind": "Backend", "name": "authorizer"}
    service = {"backendRefs": [backend]}
    specs = {
        "jwt": {
            "jwt": {
                "providers": [
                    {"name": "issuer", "issuer": ISSUER, "localJWKS": {"type": "Inline", "inline": jwks()}}
                ]
            }
        },
        "api-key": {
            "apiKeyAuth": {
                "credentialRefs": [{"group": "", "kind": "Secret", "name": "clients"}],
                "extractFrom": [{"headers": ["x-api-key"]}],
            }
        },
        "basic": {"basicAuth": {"users": {"name": "users"}}},
        "ext-authz": {"extAuth": {"headersToExtAuth": ["x-token"], "http": service}},
        "rbac": {"authorization": {"defaultAction": "Deny", "rules": [rule]}},
    }
    spec = {"targetRefs": [target(route)], **specs[name]}
    return [resource("SecurityPolicy", where, spec)]


def surroundings() -> list[dict]:
    host, port = AUTHORIZER
    endpoint = {"ip": {"address": host, "port": port}}
    return [
        secret("clients", {"team": "team-key"}),
        secret("users", {".htpasswd": htpasswd("alice", "secret")}),
        resource("Backend", "authorizer", {"endpoints": [endpoint]}),
    ]


@pytest.fixture(scope="module")
def authorizer(world):
    running = Authorizer()
    yield running
    running.stop()


@pytest.fixture(scope="module", params=[(), ("--hold",)], ids=["plain", "held"])
def started(start, authorizer, tmp_path_factory, request):  # noqa: F811
    # From this version on a guard on the Gateway is merged with ours on the routes.
    file = gateway(tmp_path_factory.mktemp("policies"))
    running = start(file, "--envoy-gateway-version", "1.9", *request.param)
    file = running.directory.parent / "envoy-gateway.yaml"
    running.rendered = file.read_text()
    return running


def apply(started, policies: list[dict]):
    """Has these policies beside what is rendered."""
    beside = yaml.safe_dump_all([*surroundings(), *policies])
    started.apply(f"{started.rendered}---\n{beside}")


def switch(started, name: str, routes: tuple[str, ...], policies: list[dict]):
    """Has these policies, and none of those before, in force on each of the routes.

    A policy that needs a filter of its own is in force only with the listener, and its configuration of
    a route with the routes: one of both may come first.
    """
    apply(started, [])
    for route in routes:
        until(lambda: ask(started, route).status == 200)
    apply(started, policies)
    for route in routes:
        guard = POLICIES[name]
        until(lambda: ask(started, route).status == guard.status)
        until(lambda: ask(started, route, guard.credential).status == 200)


def ask(started, name: str, headers=(), path=None):
    return started.post(path or f"/{name}/v1/chat/completions", CHAT, list(headers))


def assert_guarded(started, mock, name: str, guard):
    """Without the credential nothing arrives, whatever else a client sends; with it the request does."""
    for forged in [None, *FORGED]:
        mock.forget()
        if forged and forged[0] == ":path":
            reply = ask(started, name, path=forged[1])
            assert reply.status in (guard.status, 404), (name, forged, reply.body)
        else:
            reply = ask(started, name, [forged] if forged else [])
            assert reply.status == guard.status, (name, forged, reply.body)
        assert mock.none_came(), (name, forged)
        assert "mistral" not in str(reply.headers) + reply.body.decode()
    for path in (f"/{name}/v1/chat/completions", f"/{name}/chat/completions", f"/{name}"):
        for forged in [None, *(it for it in FORGED if it[0] != ":path")]:
            mock.forget()
            headers = [*guard.credential, *([forged] if forged else [])]
            reply = ask(started, name, headers, path)
            assert reply.status == 200, (name, path, forged, reply.body)
            arrived = mock.only()
            assert (arrived.authority, arrived.path) == ("api.mistral.ai", "/v1/chat/completions")
            # The backend of this route, with its own key, and nothing of the client's.
            assert arrived.json()["model"] == name
            assert arrived.all("authorization") == ["Bearer sk-mistral"]
            kept = [it for it in guard.credential if it[0] in ("x-token", "x-team", "x-guard")]
            sent = {name for name, _ in arrived.headers} - {"content-length", "host", "transfer-encoding"}
            assert sent == {"authorization", "content-type", *(name for name, _ in kept)}


def test_a_policy_of_a_route_is_asked_for_every_request_of_it(started, mock):
    # A second EnvoyExtensionPolicy of a route would be in conflict with ours.
    guards = {name: guard for name, guard in POLICIES.items() if name != "lua"}
    apply(started, [it for name in guards for it in policy(name, name)])
    for name, guard in guards.items():
        until(lambda: ask(started, name).status == guard.status)
        until(lambda: ask(started, name, guard.credential).status == 200)
        assert_guarded(started, mock, name, guard)
    assert ask(started, "open").status == 200


@pytest.mark.parametrize("name", [name for name in POLICIES])
def test_a_policy_of_the_gateway_is_asked_for_every_route(started, mock, name):
    guard = POLICIES[name]
    routes = ("open", "jwt")
    switch(started, name, routes, policy(name, None))
    for route in routes:
        assert_guarded(started, mock, route, guard)


@pytest.mark.parametrize("name", ["jwt", "ext-authz"])
def test_a_policy_of_both_is_asked_for_every_route(started, mock, name):
    guard = POLICIES[name]
    routes = ("open", "basic")
    switch(started, name, routes, [*policy(name, None), *policy(name, "open")])
    for route in routes:
        assert_guarded(started, mock, route, guard)


def neighbour(matches: dict) -> list[dict]:
    """Another team's route on the same Gateway, to a plain server."""
    endpoint = {"ip": {"address": PROVIDERS, "port": 8000}}
    reference = {"group": "gateway.envoyproxy.io", "kind": "Backend", "name": "other"}
    spec = {"parentRefs": [{"name": "llm-proxy"}], "rules": [{"matches": [matches], "backendRefs": [reference]}]}
    return [
        resource("Backend", "other", {"endpoints": [endpoint]}),
        resource("HTTPRoute", "a-other", spec, "gateway.networking.k8s.io/v1"),
    ]


@pytest.mark.parametrize("written", ["key", "internal-path"])
def test_a_route_by_what_a_provider_gets_gets_no_key(started, mock, written):
    """Envoy Gateway prefers a path, or a header, by regular expression to ours."""
    path = {"type": "PathPrefix", "value": "/"}
    key = {"type": "RegularExpression", "name": "authorization", "value": "Bearer sk-.*"}
    internal = {"type": "RegularExpression", "value": ".*default.llm-proxy/.*/chat/completions"}
    matches = {"key": {"path": path, "headers": [key]}, "internal-path": {"path": internal}}
    apply(started, neighbour(matches[written]))
    sent = [("authorization", "Bearer sk-client")] if written == "key" else []
    elsewhere = "/elsewhere" if written == "key" else "/~default.llm-proxy/x/chat/completions"

    def is_in_force():
        mock.forget()
        ask(started, "", sent, elsewhere)
        return [it for it in mock.requests() if not it.tls]

    until(is_in_force)
    mock.forget()
    # A client's path, and one that the module replaces by an internal one.
    for target in ("/open/v1/chat/completions", "/open"):
        ask(started, "open", path=target)
    assert len(mock.requests()) == 2
    for arrived in mock.requests():
        assert arrived.tls == ("sk-mistral" in str(arrived.headers)), arrived
        if not arrived.tls:
            # `docs/envoy-gateway.md` has it.
            assert written == "internal-path"
    assert [it for it in mock.requests() if it.tls]
