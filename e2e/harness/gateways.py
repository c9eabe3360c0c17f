"""The gateway that most tests share: one backend for each way in which a request can change.

Every backend has the same name as its route's path: `/forced/v1/chat/completions` goes to `forced`.
"""

from .mock import Mock

# What the proxy's environment has. Nothing called KEY may be seen anywhere but at its provider.
ENVIRONMENT = {
    "PLAIN_KEY": "sk-plain-7f1c",
    "OPENAI_KEY": "sk-openai-93ab",
    "OPENAI_ORG": "org-e2e",
    "OPENAI_PROJECT": "proj_e2e",
    "HEADER_KEY": "header-key-55d0",
    "SECOND_KEY": "second-key-0b6e",
    "QUERY_KEY": "query key&c2=9",
    "ANTHROPIC_KEY": "sk-ant-e2e-41d8",
    "GEMINI_KEY": "AIza-e2e-7b20",
    "AZURE_KEY": "azure-e2e-c613",
    "EXTRA": "extra value",
    # Literals where a secret can stand: `llm-proxy run` sets them, `render` names them.
    "LLM_PROXY_HEADERS_HEADERS_X_FIXED": "fixed",
    "LLM_PROXY_HEADERS_AUTH_QUERY_API_VERSION": "2024-10-21",
}
SECRETS = {name: value for name, value in ENVIRONMENT.items() if name.endswith("_KEY")}


def shared(mock: Mock) -> dict:
    """The configuration, with every backend at `mock`."""
    backends = {
        # Nothing changes but host, path and key.
        "plain": {"apiKey": "${PLAIN_KEY}"},
        "forced": {"apiKey": "${PLAIN_KEY}", "model": "grok-2-latest"},
        "filled": {"apiKey": "${PLAIN_KEY}", "defaultModel": "fill-model"},
        "aliased": {
            "apiKey": "${PLAIN_KEY}",
            "defaultModel": "fill-model",
            "modelAliases": {
                "gpt-4o": "exact-model",
                "gpt-4o*": "longer-model",
                "gpt-*": "family-model",
                "weird": 'we"ird\\model/é',
                "*": "any-model",
            },
        },
        "serving": {
            "apiKey": "${PLAIN_KEY}",
            "models": ["llama-*", "mixtral-8x7b"],
            "modelAliases": {"small": "phi-3"},
        },
        "members": {
            "apiKey": "${PLAIN_KEY}",
            "defaults": {"temperature": 0.25, "stop": ["\n\n", "é"], "seed": 7},
            "overrides": {"store": False, "metadata": {"team": "e2e"}},
        },
        "headers": {
            "apiKey": "${PLAIN_KEY}",
            "headers": {"X-Extra": "${EXTRA}", "x-fixed": "fixed"},
            "auth": {
                "header": {"X-Second-Key": "${SECOND_KEY}"},
                "query": {"code": "${QUERY_KEY}", "api-version": "2024-10-21"},
            },
        },
        "keyheader": {
            "apiKey": "${HEADER_KEY}",
            "authHeader": {"name": "Api-Key"},
        },
        "keyprefix": {
            "apiKey": "${HEADER_KEY}",
            "authHeader": {"name": "Authorization", "prefix": "Api-Key "},
        },
        # The client's own credential.
        "nokey": {},
        "nokeyheader": {"authHeader": {"name": "X-Api-Key"}},
        # Credentials, but no apiKey: the client's does not go.
        "authonly": {"auth": {"header": {"X-Second-Key": "${SECOND_KEY}"}}},
        "chatpath": {"apiKey": "${PLAIN_KEY}", "path": "/api/paas/v4/chat?version=1"},
        "cutback": {
            "apiKey": "${PLAIN_KEY}",
            "endpoint": "https://cutback.example/serving/v2/chat/completions",
        },
        "deepbase": {"apiKey": "${PLAIN_KEY}", "endpoint": "https://deepbase.example/a/b/v3/"},
        "portbase": {"apiKey": "${PLAIN_KEY}", "endpoint": "https://portbase.example:8443"},
        "overplain": {"apiKey": "${PLAIN_KEY}", "endpoint": "http://overplain.example"},
    }
    listed = [
        # The mock provider speaks the Responses API.
        {"name": name, "type": "openai-compatible", "config": at(mock, name, {"responses": "native", **config})}
        for name, config in backends.items()
    ]
    openai = {
        "apiKey": "${OPENAI_KEY}",
        "orgId": "${OPENAI_ORG}",
        "projectId": "${OPENAI_PROJECT}",
        "endpoint": "https://api.openai.com",
    }
    listed.append({"name": "openai", "type": "openai", "config": at(mock, "openai", openai)})
    routes = [
        {"name": "only-post", "path": "/only-post", "methods": ["POST", "GET"], "backend": "plain"},
        {
            "name": "only-host",
            "path": "/by",
            "hosts": ["a.gateway.test", "*.b.gateway.test"],
            "backend": "filled",
        },
        {"name": "only-header", "path": "/by", "headers": {"x-team": "red"}, "backend": "forced"},
        {"name": "with-model", "path": "/with-model", "backend": "plain", "model": "route-model"},
    ]
    routes += [
        {"name": backend["name"], "path": f"/{backend['name']}", "backend": backend["name"]}
        for backend in listed
    ]
    # Where the SDK of an application points at when nobody thought of more.
    routes.append({"name": "v1", "path": "/v1", "backend": "plain"})
    return {"backends": listed, "routes": routes}


def at(mock: Mock, name: str, config: dict) -> dict:
    """`config` under a real host name, connected to `mock`."""
    config = {"endpoint": f"https://{name}.example", **config}
    if config["endpoint"].startswith("http:"):
        return {**config, "address": mock.plain}
    return {**config, "address": mock.tls, "tls": {"caFile": str(mock.ca)}}


def profiles() -> list[dict]:
    """What the provider must know so as to refuse what the real one would."""
    changes = {
        "headers": {"key": "required"},
        "keyheader": {"key": "required", "auth_header": "api-key", "auth_prefix": ""},
        "keyprefix": {"key": "required", "auth_prefix": "Api-Key "},
        "nokeyheader": {"auth_header": "x-api-key", "auth_prefix": ""},
        "authonly": {"key": "none"},
        "plain": {"key": "required", "tls_only": True},
        "chatpath": {"chat_path": "/api/paas/v4/chat?version=1"},
        "cutback": {"base": "/serving/v2"},
        "deepbase": {"base": "/a/b/v3"},
    }
    return [{"authority": f"{name}.example", **change} for name, change in changes.items()]
