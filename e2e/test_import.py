"""What `llm-proxy import` writes, behind Envoy: requests arrive as the other gateway would send them."""

import json
import subprocess

import pytest
import yaml

from harness import artefacts, bootstrap
from harness.envoy import Envoy

CASES = artefacts.ROOT / "tests" / "import"
HI = {"messages": [{"role": "user", "content": "Hi"}]}
KEY = ("authorization", "Bearer sk-client")


@pytest.fixture(scope="module")
def imported(provider, output):
    """Starts a gateway from a file of another one: `imported(case)`. Its providers are the scripted one.

    Every variable has the value `sk-NAME`, the name in lower case."""
    running = {}

    def imported(case: str) -> Envoy:
        if case not in running:
            running[case] = start(case)
        return running[case]

    def start(case: str) -> Envoy:
        directory = output / "import" / case
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / "gateway.yaml"
        file.write_text(command("import", CASES / case))
        rendered = yaml.safe_load(command("render", "envoy", file))
        text = file.read_text()
        names = {name.split("}")[0] for name in text.split("${")[1:]}
        env = {name: f"sk-{name.lower()}" for name in names}
        return Envoy(directory, bootstrap.redirected(rendered, provider), env=env)

    yield imported
    for envoy in running.values():
        envoy.process.stop()
    for envoy in running.values():
        envoy.assert_no_trouble()


def command(*arguments) -> str:
    done = subprocess.run(
        [artefacts.command(), *map(str, arguments)],
        env={},
        capture_output=True,
        text=True,
        timeout=artefacts.GUARD_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def requests(mock) -> list:
    """Those that came, but for access tokens, which backends on Vertex AI get beside them."""
    return [it for it in mock.requests() if it.authority != "metadata.google.internal"]


# Each: the file, what the client sends (path, further headers, members of the body beside `HI`), and
# how it arrives: authority, path, header and value of the key, members of the body beside `HI`.
ARRIVALS = [
    (
        "agentgateway-binds.yaml",
        ("/groq/v1/chat/completions", [], {"model": "whatever"}),
        ("api.groq.com", "/openai/v1/chat/completions", "authorization", "Bearer sk-groq_api_key"),
        {"model": "llama-3.3-70b-versatile"},
    ),
    (
        "agentgateway-binds.yaml",
        ("/irregular", [("x-team", "red")], {"model": "m"}),
        ("llm.example.com", "/api/paas/v4/chat", "authorization", "Bearer sk-irregular_api_key"),
        {"model": "m"},
    ),
    (
        "agentgateway-models.yaml",
        ("/v1/chat/completions", [], {"model": "gpt-5"}),
        ("api.openai.com", "/v1/chat/completions", "authorization", "Bearer sk-openai_api_key"),
        {"model": "gpt-5"},
    ),
    (
        "agentgateway-models.yaml",
        ("/v1/chat/completions", [], {"model": "sonar-pro"}),
        ("api.perplexity.ai", "/chat/completions", "authorization", "Bearer sk-perplexity_api_key"),
        {"model": "sonar-pro"},
    ),
    (
        "agentgateway-models.yaml",
        ("/v1/chat/completions", [], {"model": "deployed"}),
        (
            "acme.openai.azure.com",
            "/openai/deployments/gpt-4o-prod/chat/completions?api-version=2024-10-21",
            "api-key",
            "sk-azure_key",
        ),
        None,
    ),
    (
        "kgateway.yaml",
        # As the documentation sends it: no suffix, and an empty model.
        ("/mistral", [], {"model": ""}),
        ("api.mistral.ai", "/v1/chat/completions", "authorization", "Bearer sk-mistral_api_key"),
        {"model": "mistral-medium-2505"},
    ),
    (
        "apisix-single.json",
        ("/together", [], {}),
        ("api.together.xyz", "/v1/chat/completions", "authorization", "Bearer sk-together_api_key"),
        {"model": "meta-llama/Llama-3.3-70B-Instruct-Turbo", "temperature": 0.3},
    ),
    (
        "litellm.yaml",
        ("/v1/chat/completions", [], {"model": "xai/grok-4.6"}),
        ("api.x.ai", "/v1/chat/completions", "authorization", "Bearer sk-xai_api_key"),
        {"model": "grok-4.6"},
    ),
    (
        "litellm.yaml",
        # By `model_group_alias`: one of a group, and one of a model that a pattern has.
        ("/v1/chat/completions", [], {"model": "old-claude"}),
        ("api.anthropic.com", "/v1/messages", "x-api-key", "sk-claude_api_key"),
        None,
    ),
    (
        "litellm.yaml",
        ("/v1/chat/completions", [], {"model": "fast"}),
        ("api.x.ai", "/v1/chat/completions", "authorization", "Bearer sk-xai_api_key"),
        {"model": "grok-4.6"},
    ),
    (
        "own-policies.yaml",
        ("/v1/chat/completions", [("x-beta-user", "true")], {}),
        ("api.openai.com", "/v1/chat/completions", "authorization", "Bearer sk-openai_api_key"),
        {"model": "gpt-5"},
    ),
    (
        "litellm.yaml",
        ("/chat/completions", [], {"model": "bare"}),
        ("bare.example.com", "/chat/completions", "authorization", "Bearer sk-bare_key"),
        {"model": "bare"},
    ),
]


@pytest.mark.parametrize("case, sent, expected, body", ARRIVALS, ids=lambda it: str(it)[:40])
def test_a_request_arrives_as_the_other_gateway_sends_it(imported, mock, case, sent, expected, body):
    path, headers, members = sent
    authority, arrived_path, header, key = expected
    # The provider knows neither the paths that only these tests have, nor where Azure has its key.
    prefix = "Bearer " if header == "authorization" else ""
    mock.profile(authority, chat_path=arrived_path, key="required", auth_header=header, auth_prefix=prefix)
    reply = imported(case).post(path, {**HI, **members}, [KEY, *headers])
    assert reply.status == 200, reply.body
    [arrived] = requests(mock)
    assert (arrived.authority, arrived.path) == (authority, arrived_path)
    assert arrived.all(header) == [key]
    assert "sk-client" not in str(arrived.headers)
    assert body is None or arrived.json() == {**HI, **body}


@pytest.mark.parametrize(
    "case, path, model, first, second",
    [
        ("agentgateway-binds.yaml", "/pool", "gpt-5", "api.openai.com", None),
        ("apisix-multi.json", "/hybrid", None, "vllm-server:8000", "api.openai.com"),
        ("litellm.yaml", "/v1/chat/completions", "gpt-4o", None, "api.anthropic.com"),
        ("envoy-ai-gateway.yaml", "/v1/chat/completions", "chat", "api.openai.com", "api.anthropic.com"),
    ],
)
def test_a_failure_leads_to_the_next(imported, mock, case, path, model, first, second):
    """429 and 5xx of every provider that comes first lead to the one that comes second."""
    gateway = imported(case)
    body = {**HI, **({"model": model} if model else {})}
    firsts = [first] if first else ["api.openai.com", "acme.openai.azure.com"]
    for status in (429, 503):
        azure = {"authority": "acme.openai.azure.com", "auth_header": "api-key", "auth_prefix": ""}
        mock.reset([azure])
        for authority in firsts:
            mock.reply(**{"for": {"authority": authority}}, status=status, times="always")
        reply = gateway.post(path, body, [KEY])
        authorities = [it.authority for it in requests(mock)]
        assert set(authorities[:-1]) <= set(firsts) and authorities[0] in firsts, authorities
        if second:
            assert reply.status == 200, reply.body
            assert authorities[-1] == second
        else:
            assert authorities[-1] == "generativelanguage.googleapis.com"
        assert "sk-client" not in json.dumps([it.headers for it in requests(mock)])


def test_retries_are_as_many_as_written(imported, mock):
    gateway = imported("kgateway.yaml")
    mock.reply(**{"for": {"authority": "api.mistral.ai"}}, status=503, times="always")
    assert gateway.post("/mistral", {**HI, "model": ""}, [KEY]).status == 503
    # `attempts: 1` beside the first.
    assert len(requests(mock)) == 2
