"""Other people's policies beside ours, by Istio: what a gateway demands is demanded of every request that
reaches a provider, and no other route of it gets a provider's key."""

import pytest
import yaml

from harness import artefacts
from harness.control_planes.policies import AUTHORIZER, ISSUER, POLICIES, Authorizer, jwks
from harness.control_planes.world import PROVIDERS

from test_on_istio import CHAT, SELECTOR, start  # noqa: F401, a fixture

PLAIN = artefacts.EXAMPLES / "kubernetes/plain.gateway.yaml"
PATHS = ("/mistral/v1/chat/completions", "/mistral/chat/completions", "/mistral", "/deepseek")
FORGED = [
    ("x-llm-proxy-backend", "deepseek"),
    ("x-llm-proxy-route", "deepseek"),
    ("x-envoy-decorator-operation", "deepseek"),
    ("x-envoy-original-path", "/deepseek"),
]
INTERNAL = ("/~istio-ingress.llm-proxy/deepseek", "/~istio-ingress.llm-proxy/deepseek/chat/completions")


def resource(kind: str, name: str, spec: dict, version: str) -> dict:
    metadata = {"name": name, "namespace": "istio-ingress"}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def of_gateway(spec: dict) -> dict:
    return {"selector": {"matchLabels": {"istio": "llm-gateway"}}, **spec}


SECURITY, NETWORKING = "security.istio.io/v1", "networking.istio.io/v1"


def filter_before(name: str, message: str, config: dict) -> dict:
    """An EnvoyFilter with a filter of Envoy's before all others."""
    manager = "envoy.filters.network.http_connection_manager"
    place = {"filterChain": {"filter": {"name": manager}}}
    typed = {"@type": f"type.googleapis.com/envoy.extensions.filters.http.{message}", **config}
    patch = {
        "applyTo": "HTTP_FILTER",
        "match": {"context": "GATEWAY", "listener": place},
        "patch": {
            "operation": "INSERT_FIRST",
            "value": {"name": f"envoy.filters.http.{name}", "typed_config": typed},
        },
    }
    spec = {"workloadSelector": {"labels": {"istio": "llm-gateway"}}, "configPatches": [patch]}
    return resource("EnvoyFilter", f"test-{name.replace('_', '-')}", spec, "networking.istio.io/v1alpha3")


def policies(name: str) -> list[dict]:
    """The resources of a policy on the gateway's pods."""
    if name == "jwt":
        rule = {"from": [{"source": {"requestPrincipals": ["*"]}}]}
        rules = {"jwtRules": [{"issuer": ISSUER, "jwks": jwks(), "forwardOriginalToken": True}]}
        return [
            resource("RequestAuthentication", "jwt", of_gateway(rules), SECURITY),
            resource("AuthorizationPolicy", "jwt", of_gateway({"action": "ALLOW", "rules": [rule]}), SECURITY),
        ]
    if name == "rbac":
        when = {"key": "request.headers[x-team]", "values": ["red"]}
        spec = of_gateway({"action": "ALLOW", "rules": [{"when": [when]}]})
        return [resource("AuthorizationPolicy", "team", spec, SECURITY)]
    if name == "ext-authz":
        host, port = AUTHORIZER
        service = {"uri": f"http://{host}:{port}", "cluster": "authorizer", "timeout": "5s"}
        allowed = {"patterns": [{"exact": "x-token"}]}
        config = {
            "transport_api_version": "V3",
            "http_service": {"server_uri": service},
            "allowed_headers": allowed,
        }
        socket = {"socket_address": {"address": host, "port_value": port}}
        endpoints = [{"lb_endpoints": [{"endpoint": {"address": socket}}]}]
        assignment = {"cluster_name": "authorizer", "endpoints": endpoints}
        cluster = {"name": "authorizer", "type": "STATIC", "load_assignment": assignment}
        made = filter_before("ext_authz", "ext_authz.v3.ExtAuthz", config)
        made["spec"]["configPatches"].append(
            {
                "applyTo": "CLUSTER",
                "match": {"context": "GATEWAY"},
                "patch": {"operation": "ADD", "value": cluster},
            }
        )
        return [made]
    code = """
    function envoy_on_request(handle)
      if handle:headers():get("x-guard") ~= "good" then
        handle:respond({[":status"] = "403"}, "guarded")
      end
    end
    """
    return [filter_before("lua", "lua.v3.Lua", {"default_source_code": {"inline_string": code}})]


@pytest.fixture(scope="module")
def authorizer(world):
    running = Authorizer()
    yield running
    running.stop()


@pytest.mark.parametrize("form", [(), ("--hold",)], ids=["plain", "hold"])
@pytest.mark.parametrize("name", ["jwt", "rbac", "ext-authz", "lua"])
def test_a_policy_of_the_gateway_is_asked_for_every_request(start, authorizer, mock, name, form):  # noqa: F811
    guard = POLICIES[name]
    # Istio's own answer to a request without a token is that of its authorization.
    status = 403 if name == "jwt" else guard.status
    started = start(PLAIN, *SELECTOR, *form, surroundings=policies(name))
    for path in (*PATHS, *INTERNAL):
        for forged in [[], *([it] for it in FORGED)]:
            mock.forget()
            reply = started.post(path, CHAT, forged)
            assert reply.status == status, (path, forged, reply.body)
            assert mock.none_came()
    for path in PATHS:
        host = f"api.{'deepseek.com' if path == '/deepseek' else 'mistral.ai'}"
        for forged in [[], *([it] for it in FORGED)]:
            mock.forget()
            reply = started.post(path, CHAT, [*guard.credential, *forged])
            assert reply.status == 200, (path, forged, reply.body)
            arrived = mock.only()
            assert (arrived.authority, arrived.path) == (host, "/v1/chat/completions")
            assert arrived.all("authorization") == [f"Bearer sk-{host.split('.')[1]}"]
    for path in INTERNAL:
        mock.forget()
        assert started.post(path, CHAT, guard.credential).status == 404
        assert mock.none_came()


def other_route(path: str, name: str) -> list[dict]:
    """A route of somebody else's at the same gateway, to a plain server."""
    entry = {
        "hosts": ["other.example.com"],
        "ports": [{"number": 8000, "name": "http", "protocol": "HTTP"}],
        "resolution": "STATIC",
        "endpoints": [{"address": PROVIDERS}],
    }
    route = {
        "name": name,
        "match": [{"uri": {"prefix": path}}],
        "route": [{"destination": {"host": "other.example.com", "port": {"number": 8000}}}],
    }
    service = {"hosts": ["*"], "gateways": ["llm-proxy"], "http": [route]}
    return [
        resource("ServiceEntry", "other", entry, NETWORKING),
        resource("VirtualService", "a-other", service, NETWORKING),
    ]


def test_another_route_of_the_gateway_never_gets_a_providers_key(start, mock):  # noqa: F811
    started = start(PLAIN, *SELECTOR, surroundings=other_route("/v1", "mistral"))
    for path in ("/v1/chat/completions", "/v1"):
        mock.forget()
        started.post(path, CHAT, [("authorization", "Bearer client"), ("x-llm-proxy-backend", "mistral")])
        # It is left alone: neither our key nor any other change.
        [arrived] = mock.requests()
        assert (arrived.path, arrived.all("authorization")) == (path, ["Bearer client"])
        assert arrived.json() == CHAT
    for path in PATHS:
        mock.forget()
        assert started.post(path, CHAT).status == 200
        assert mock.only().path == "/v1/chat/completions"


def test_an_http_server_that_redirects_shows_the_clients_host_and_serves_nothing(start, mock):  # noqa: F811
    gateway = resource(
        "Gateway",
        "shared",
        {
            "selector": {"istio": "llm-gateway"},
            "servers": [
                {
                    "port": {"number": 80, "name": "http", "protocol": "HTTP"},
                    "hosts": ["llm.example.org"],
                    "tls": {"httpsRedirect": True},
                }
            ],
        },
        NETWORKING,
    )
    started = start(PLAIN, *SELECTOR, "--gateway", "shared", surroundings=[gateway])
    for path in PATHS:
        mock.forget()
        reply = started.post(path, CHAT, [("host", "llm.example.org"), ("authorization", "Bearer client")])
        assert reply.status == 301
        assert reply.header("location") == f"https://llm.example.org{path}"
        assert mock.none_came()
