"""Each of Envoy's filters that can refuse a request, as other people have it before the module.

A guard stands in a listener for all routes (`LISTENER`), or is switched on for one of them (`ROUTE`), or
both (`BOTH`).
"""

import json

from .control_planes.policies import ISSUER, POLICIES, Policy, htpasswd, jwks

LISTENER, ROUTE, BOTH = "listener", "route", "both"
MODES = (LISTENER, ROUTE, BOTH)
ORIGIN = "https://app.example.com"
# A limit refuses from the second request on, unless a client of its own limit sends it.
LIMIT = Policy("rate-limit", [("authorization", "Bearer team")], 429)
PROCESSOR = Policy("ext-proc", [("x-guard", "good")], 403)
GUARDS = {**POLICIES, **{it.name: it for it in (LIMIT, PROCESSOR)}}

FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
# The filters' names within a chain of ours.
GUARD, CORS = "guard", "cors"
_LUA = """
function envoy_on_request(handle)
  if handle:headers():get("x-guard") ~= "good" then
    handle:respond({[":status"] = "403"}, "guarded")
  end
end
"""


def _always(percent=100) -> dict:
    return {"default_value": {"numerator": percent, "denominator": "HUNDRED"}}


def _configs(name: str) -> tuple[str, dict, str, dict]:
    """The message and the members of a filter that guards all routes, then of what guards one."""
    hour = "3600s"
    many = {"max_tokens": 100_000, "tokens_per_fill": 100_000, "fill_interval": hour}
    one = {"max_tokens": 1, "tokens_per_fill": 1, "fill_interval": hour}
    key = {"descriptor_key": "client", "header_name": "authorization"}
    keys = {"credentials": [{"key": "team-key", "client": "team"}], "key_sources": [{"header": "x-api-key"}]}
    users = {"users": {"inline_string": htpasswd("alice", "secret")}}
    red = {"header": {"name": "x-team", "string_match": {"exact": "red"}}}
    rules = {"action": "ALLOW", "policies": {"team": {"permissions": [{"any": True}], "principals": [red]}}}
    limit = {
        "stat_prefix": "guard",
        "token_bucket": one,
        "filter_enabled": _always(),
        "filter_enforced": _always(),
        "always_consume_default_token_bucket": False,
        "rate_limits": [{"actions": [{"request_headers": key}]}],
        "descriptors": [{"entries": [{"key": "client", "value": "Bearer team"}], "token_bucket": many}],
    }
    provider = {"issuer": ISSUER, "local_jwks": {"inline_string": jwks()}}
    tokens = {"providers": {"issuer": provider}, "requirement_map": {"issuer": {"provider_name": "issuer"}}}
    required = {"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}
    server = {"uri": "http://authorizer", "cluster": "authorizer", "timeout": "60s"}
    service = {
        "transport_api_version": "V3",
        "http_service": {"server_uri": server},
        "allowed_headers": {"patterns": [{"exact": "x-token"}]},
    }
    headers = {"request_header_mode": "SEND", "response_header_mode": "SKIP"}
    process = {
        "grpc_service": {"envoy_grpc": {"cluster_name": "processor"}, "timeout": "60s"},
        "message_timeout": "60s",
        "processing_mode": headers,
    }
    return {
        "ext-proc": ("ext_proc.v3.ExternalProcessor", process,
                     "ext_proc.v3.ExtProcPerRoute", {"overrides": {"processing_mode": headers}}),
        "jwt": ("jwt_authn.v3.JwtAuthentication", {**tokens, "rules": [required]},
                "jwt_authn.v3.PerRouteConfig", {"requirement_name": "issuer"}),
        "api-key": ("api_key_auth.v3.ApiKeyAuth", keys, "api_key_auth.v3.ApiKeyAuthPerRoute", keys),
        "basic": ("basic_auth.v3.BasicAuth", users, "basic_auth.v3.BasicAuthPerRoute", users),
        "ext-authz": ("ext_authz.v3.ExtAuthz", service,
                      "ext_authz.v3.ExtAuthzPerRoute", {"check_settings": {}}),
        "rbac": ("rbac.v3.RBAC", {"rules": rules}, "rbac.v3.RBACPerRoute", {"rbac": {"rules": rules}}),
        "lua": ("lua.v3.Lua", {"default_source_code": {"inline_string": _LUA}},
                "lua.v3.LuaPerRoute", {"source_code": {"inline_string": _LUA}}),
        "rate-limit": ("local_ratelimit.v3.LocalRateLimit", limit,
                       "local_ratelimit.v3.LocalRateLimit", limit),
    }[name]


def filter_of(name: str, mode: str) -> dict:
    """The filter of a guard, for a listener."""
    message, members, _, _ = _configs(name)
    return {
        "name": GUARD,
        "typed_config": {"@type": f"{FILTERS}.{message}", **members},
        "disabled": mode == ROUTE,
    }


def per_route(name: str) -> dict:
    """What switches a guard on for a route, by the filter's name."""
    _, _, message, members = _configs(name)
    return {GUARD: {"@type": f"{FILTERS}.{message}", **members}}


def cors_filter() -> dict:
    return {"name": CORS, "typed_config": {"@type": f"{FILTERS}.cors.v3.Cors"}}


def cors_policy() -> dict:
    """What lets pages of `ORIGIN` call a route."""
    policy = {
        "allow_origin_string_match": [{"exact": ORIGIN}],
        "allow_methods": "POST",
        "allow_headers": "content-type, authorization",
        "forward_not_matching_preflights": False,
    }
    return {CORS: {"@type": f"{FILTERS}.cors.v3.CorsPolicy", **policy}}


def cluster(name: str, address: tuple[str, int], http2=False) -> dict:
    """Where a guard's service is: `authorizer`, or `processor`."""
    socket = {"socket_address": {"address": address[0], "port_value": address[1]}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": socket}}]}]
    made = {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }
    if http2:
        options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        protocol = {"@type": f"type.googleapis.com/{options}", "explicit_http_config": {"http2_protocol_options": {}}}
        made["typed_extension_protocol_options"] = {options: protocol}
    return made


def copied(value):
    return json.loads(json.dumps(value))
