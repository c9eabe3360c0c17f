"""A pool: one request, several providers, each asked in its own words until one answers."""

import itertools
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


def test_each_member_is_asked_in_its_own_words_until_one_answers(gateway, mock):
    for failures in range(4):
        mock.forget()
        if failures:
            mock.reply(status=503, headers=[JSON], body=FULL, times=failures)
        reply = gateway.post(f"/all{CHAT}", BODY)
        assert reply.status == 200, reply.body
        assert reply.json()["choices"][0]["message"]["content"]
        assert asked(mock) == list(BACKENDS)[: failures + 1]
        assert all(it.refused is None for it in mock.requests())


def test_a_weighted_pool_is_split_by_weight(gateway, mock):
    for _ in range(100):
        assert gateway.post(f"/shared{CHAT}", BODY).status == 200
    counts = Counter(asked(mock))
    print(f"100 requests at 70/30 over two workers: {dict(counts)}")
    assert 68 <= counts["openai"] <= 72


# Each as it is known to its provider: path, key and further headers differ.
TYPES = {
    **{name: kind for name, kind in BACKENDS.items()},
    "compatible": (
        "openai-compatible",
        {
            "apiKey": "${PLAIN_KEY}",
            "model": "own-model",
            "headers": {"X-Extra": "${EXTRA}", "user-agent": "${EXTRA}"},
            "auth": {"header": {"X-Second-Key": "${SECOND_KEY}"}, "query": {"code": "${QUERY_KEY}"}},
            "overrides": {"store": False},
        },
    ),
    # The client's own key, in the place where each expects it.
    "clients": ("openai-compatible", {"defaultModel": "d", "headers": {"accept": "${EXTRA}"}}),
    "clients-anthropic": ("anthropic", {"defaultModel": "claude-sonnet-4-5"}),
    "mistral": ("mistral", {"apiKey": "${PLAIN_KEY}", "defaultModel": "mistral-small"}),
}
FROM_A_CLIENT = [
    ("authorization", "Bearer sk-client"),
    ("x-api-key", "x-client"),
    ("cookie", "a=b"),
    ("openai-organization", "org-client"),
    ("origin", "https://app.example"),
    ("user-agent", "an app"),
    ("accept", "application/json"),
    ("accept", "*/*"),
    ("x-llm-proxy-cluster", "pairs/anthropic"),
    ("x-envoy-max-retries", "9"),
    ("x-of-the-client", "1"),
]


@pytest.fixture(scope="module")
def pairs(start, provider):
    """A pool for each pair of providers, and each provider by itself."""
    listed = [
        {
            "name": name,
            "type": kind,
            "config": gateways.at(
                provider, name, {"endpoint": ENDPOINTS.get(name, f"https://{name}.example"), **config}
            ),
        }
        for name, (kind, config) in TYPES.items()
    ]
    pools = [
        pool(f"{first}.{second}", [first, {"name": second, "priority": 1}])
        for first, second in itertools.permutations(TYPES, 2)
    ]
    pools += [pool(f"only.{name}", [name]) for name in TYPES]
    return start(with_routes(listed + pools))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("second", TYPES)
def test_an_attempt_has_nothing_of_the_one_before(pairs, mock, second, stream):
    """What the second provider receives is what it receives when nobody was asked before."""
    mock.profile("clients-anthropic.example", like="api.anthropic.com")
    body = {**BODY, "stream": stream, "max_tokens": 5}
    target = CHAT
    alone = pairs.post(f"/only.{second}{target}", body, FROM_A_CLIENT)
    assert alone.status == 200, alone.body
    [expected] = mock.requests()
    assert expected.refused is None
    for first in TYPES:
        if first == second:
            continue
        mock.forget()
        mock.reply(status=503, headers=[JSON], body=FULL)
        reply = pairs.post(f"/{first}.{second}{target}", body, FROM_A_CLIENT)
        assert reply.status == 200, (first, reply.body)
        assert reply.text.endswith("data: [DONE]\n\n") == stream
        one, two = mock.requests()
        assert one.authority != two.authority and two.refused is None
        for member in ("method", "authority", "sni", "path", "body"):
            assert getattr(two, member) == getattr(expected, member), (first, member)
        assert sorted(two.headers) == sorted(expected.headers), first
