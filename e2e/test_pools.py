"""A pool: one request, several providers, each asked in its own words until one answers."""

from collections import Counter

import pytest

from harness import artefacts, gateways

BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
CHAT = "/v1/chat/completions"
FULL = '{"error":{"message":"busy","type":"t","param":null,"code":null}}'
JSON = ("content-type", "application/json")

# In the order in which the pools below have them.
BACKENDS = {
    "openai": ("openai", {"apiKey": "${OPENAI_KEY}", "defaultModel": "gpt-4o", "orgId": "${OPENAI_ORG}"}),
    "anthropic": ("anthropic", {"apiKey": "${ANTHROPIC_KEY}", "defaultModel": "claude-sonnet-4-5"}),
    "gemini": ("google", {"apiKey": "${GEMINI_KEY}", "defaultModel": "gemini-2.5-flash"}),
    "azure": (
        "azure-openai",
        {"apiKey": "${AZURE_KEY}", "deploymentName": "prod", "apiVersion": "2024-10-21"},
    ),
}
ENDPOINTS = {
    "openai": "https://api.openai.com",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
    "azure": "https://contoso.openai.azure.com",
}
HOSTS = {name: endpoint.removeprefix("https://") for name, endpoint in ENDPOINTS.items()}


def backends(provider, **more):
    """The four, with further keys for all."""
    return [
        {
            "name": name,
            "type": kind,
            "config": gateways.at(provider, name, {**config, "endpoint": ENDPOINTS[name], **more}),
        }
        for name, (kind, config) in BACKENDS.items()
    ]


def pool(name: str, members, **keys):
    """A pool and its route."""
    listed = [member if isinstance(member, dict) else {"name": member} for member in members]
    return {"name": name, "type": "pool", "backends": listed, **keys}


def with_routes(listed: list[dict]) -> dict:
    """A gateway whose pools and backends are each below a path of their name."""
    routes = [{"path": f"/{it['name']}", "backend": it["name"]} for it in listed]
    return {"backends": listed, "routes": routes}


@pytest.fixture(autouse=True)
def azure(mock):
    """Azure is as strict as OpenAI, elsewhere."""
    mock.profile(
        HOSTS["azure"], like="api.openai.com", auth_header="api-key", auth_prefix="", allow_headers=[],
        base="/openai/deployments/prod",
    )


@pytest.fixture(scope="module", params=[artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY])
def gateway(start, provider, request):
    listed = backends(provider, timeout="1s")
    names = list(BACKENDS)
    listed.append(pool("all", [{"name": name, "priority": number} for number, name in enumerate(names)]))
    listed.append(pool("shared", [{"name": "openai", "weight": 7}, {"name": "azure", "weight": 3}]))
    listed.append(pool("alone", ["openai", "azure"], fallback=False))
    return start(with_routes(listed), version=request.param)


def asked(mock) -> list[str]:
    """Which providers were asked, in order."""
    names = {host: name for name, host in HOSTS.items()}
    return [names[it.authority] for it in mock.requests()]


def test_the_first_member_answers(gateway, mock):
    assert gateway.post(f"/all{CHAT}", BODY).status == 200
    assert asked(mock) == ["openai"]


def test_a_weighted_pool_is_split_by_weight(gateway, mock):
    for _ in range(100):
        assert gateway.post(f"/shared{CHAT}", BODY).status == 200
    counts = Counter(asked(mock))
    print(f"100 requests at 70/30 over two workers: {dict(counts)}")
    assert 68 <= counts["openai"] <= 72
