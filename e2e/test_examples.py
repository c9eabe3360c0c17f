"""What stands in `envoy/`: Envoy takes it as it is, and it does what its comments say."""

import json
import os
import re
import subprocess

import pytest
import yaml

from harness import artefacts, bootstrap, google
from harness.envoy import Envoy
from harness.shapes import assert_openai_error

CONFIGURATIONS = sorted(artefacts.EXAMPLES.glob("*.envoy.yaml"))
GATEWAYS = sorted(artefacts.EXAMPLES.glob("*.gateway.yaml"))
VERSIONS = (artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY)
MESSAGES = [{"role": "user", "content": "Hello"}]

# Each example: the authority, base path and key that its first request arrives with, and the members
# of the body that the client did not send.
PROVIDERS = {
    "any": ("llm.example.com", "/v1", "ANY_API_KEY", {"model": "small-model"}),
    "cohere": (
        "api.cohere.ai",
        "/compatibility/v1",
        "CO_API_KEY",
        {"model": "command-a-03-2025"},
    ),
    "deepseek": ("api.deepseek.com", "/v1", "DEEPSEEK_API_KEY", {"model": "deepseek-v4-flash"}),
    "groq": ("api.groq.com", "/openai/v1", "GROQ_API_KEY", {"model": "llama-3.3-70b-versatile"}),
    "mistral": (
        "api.mistral.ai",
        "/v1",
        "MISTRAL_API_KEY",
        {"model": "mistral-small-latest", "temperature": 0.3},
    ),
    "ollama": ("localhost:11434", "/v1", None, {"model": "llama3.2"}),
    "together": (
        "api.together.xyz",
        "/v1",
        "TOGETHER_API_KEY",
        {"model": "meta-llama/Llama-3.3-70B-Instruct-Turbo"},
    ),
    "vllm": ("localhost:8000", "/v1", "VLLM_API_KEY", {"model": "Qwen/Qwen2.5-7B-Instruct"}),
    "xai": ("api.x.ai", "/v1", "XAI_API_KEY", {"model": "grok-4.6"}),
}

# The same for providers with a dialect, or paths, of their own: authority, path, the header that
# has the key, its variable, and a recorded reply.
DIALECTS = {
    "anthropic": (
        "api.anthropic.com",
        "/v1/messages",
        "x-api-key",
        "ANTHROPIC_API_KEY",
        "reply.anthropic.json",
    ),
    "azure": (
        "my-resource.openai.azure.com",
        "/openai/deployments/gpt-4o-prod/chat/completions?api-version=2024-10-21",
        "api-key",
        "AZURE_OPENAI_API_KEY",
        "reply.anthropic.openai.json",
    ),
    "google": (
        "generativelanguage.googleapis.com",
        "/v1beta/models/gemini-3.8-flash:generateContent",
        "x-goog-api-key",
        "GOOGLE_AI_API_KEY",
        "reply.gemini.json",
    ),
}
RECORDED = artefacts.ROOT / "tests" / "chat" / "plain"


def variables(file) -> dict[str, str]:
    """A value for every environment variable that a configuration reads."""
    names = set(re.findall(r"\$\{([A-Z0-9_]+)\}", file.read_text()))
    listed = re.search(r"^# read in Envoy's environment: (.*)$", file.read_text(), re.MULTILINE)
    names |= set(listed[1].split(", ")) if listed else set()
    values = {name: f"sk-{name.lower()}" for name in names}
    if "GOOGLE_SERVICE_ACCOUNT" in values:
        values["GOOGLE_SERVICE_ACCOUNT"] = google.ServiceAccount("example").json()
    return values


@pytest.fixture(scope="module")
def run_example(provider, output):
    """Starts an example as it stands, but that its providers are the scripted one."""
    running = []

    def run_example(file, version=artefacts.NEWEST_ENVOY) -> Envoy:
        made = bootstrap.redirected(yaml.safe_load(file.read_text()), provider)
        directory = output / "examples" / f"{file.stem}-{version}"
        running.append(Envoy(directory, made, version, variables(file)))
        return running[-1]

    yield run_example
    for envoy in running:
        envoy.process.stop()
    for envoy in running:
        envoy.assert_no_trouble()


@pytest.mark.parametrize(
    "version, file",
    [(artefacts.NEWEST_ENVOY, file) for file in CONFIGURATIONS]
    # What is rendered differs in names and addresses: one stands for all.
    + [(artefacts.OLDEST_ENVOY, artefacts.EXAMPLES / f"{name}.envoy.yaml") for name in ("any", "pool")],
    ids=lambda it: getattr(it, "name", it),
)
def test_envoy_takes_it(file, version):
    done = subprocess.run(
        [artefacts.envoy(version), "--mode", "validate", "--config-path", file],
        # As its comment says: from the top of the tree.
        cwd=artefacts.ROOT,
        env={"PATH": os.environ["PATH"], **variables(file)},
        capture_output=True,
        text=True,
        timeout=artefacts.GUARD_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_every_gateway_has_its_envoy_and_the_table_above_is_whole():
    others = {"claude-code", "codex", "pool", "vertex"}
    assert {file.name.split(".")[0] for file in GATEWAYS} == {*PROVIDERS, *DIALECTS, *others}
    for file in GATEWAYS:
        assert file.with_name(file.name.replace(".gateway.", ".envoy.")).is_file()
        first = file.read_text().splitlines()[0]
        assert first == "# yaml-language-server: $schema=gateway.schema.json"
    assert (artefacts.EXAMPLES / "gateway.schema.json").is_file()


@pytest.mark.parametrize("name", PROVIDERS)
def test_it_asks_its_provider(run_example, mock, name):
    authority, base, key, added = PROVIDERS[name]
    gateway = run_example(artefacts.EXAMPLES / f"{name}.envoy.yaml")

    # The request of the file's own comment.
    text = comment(artefacts.EXAMPLES / f"{name}.gateway.yaml")
    [(target, body)] = re.findall(r"curl http://127\.0\.0\.1:10000(\S+) .*?-d '(.*?)'", text, re.S)
    headers = [("authorization", "Bearer sk-client")]
    reply = gateway.post(target, body, headers)
    assert reply.status == 200, reply.body
    arrived = mock.only()
    assert (arrived.authority, arrived.path) == (authority, f"{base}/chat/completions")
    assert arrived.all("authorization") == ([f"Bearer sk-{key.lower()}"] if key else [])
    assert arrived.json() == {**json.loads(body), **added}

    path = target.removesuffix("/chat/completions")
    listing = gateway.get(f"{path}/models")
    assert listing.status == 200, listing.body
    assert_openai_error(gateway.post(target, b"{"), 400, "invalid_request_error")
    if name != "ollama":
        # It has no routes: everything is for the one backend.
        assert_openai_error(gateway.get("/nowhere"), 404, "invalid_request_error")


@pytest.mark.parametrize("name", DIALECTS)
def test_it_asks_its_provider_in_its_words(run_example, mock, name):
    authority, path, header, key, recorded = DIALECTS[name]
    mock.profile(authority, auth_header=header, auth_prefix="", key="required")
    body = (RECORDED / recorded).read_text()
    mock.reply(status=200, headers=[["content-type", "application/json"]], body=body)
    gateway = run_example(artefacts.EXAMPLES / f"{name}.envoy.yaml")

    text = comment(artefacts.EXAMPLES / f"{name}.gateway.yaml")
    [(target, body)] = re.findall(r"curl http://127\.0\.0\.1:10000(\S+) .*?-d '(.*?)'", text, re.S)
    reply = gateway.post(target, body, [("authorization", "Bearer sk-client")])
    assert reply.status == 200, reply.body
    assert json.loads(reply.body)["object"] == "chat.completion"
    arrived = mock.only()
    assert (arrived.authority, arrived.path) == (authority, path)
    assert arrived.all(header) == [f"sk-{key.lower()}"]
    assert arrived.all("authorization") == []
    assert "Hello" in arrived.body.decode()


@pytest.mark.parametrize(
    ("name", "model", "authority", "path"),
    [
        ("claude-code", "claude-sonnet-5-5", "api.anthropic.com", "/v1/messages"),
        ("claude-code", "gpt-5.2", "api.openai.com", "/v1/chat/completions"),
        ("claude-code", "any", "localhost:8000", "/v1/chat/completions"),
        ("codex", "gpt-5.2", "api.openai.com", "/v1/responses"),
        ("codex", "claude-sonnet-5-5", "api.anthropic.com", "/v1/messages"),
        (
            "codex", "gemini-3.8-flash", "generativelanguage.googleapis.com",
            "/v1beta/models/gemini-3.8-flash:generateContent",
        ),
    ],
)  # fmt: skip
def test_an_agent_can_use_any_model(run_example, mock, name, model, authority, path):
    for at, header in (("api.anthropic.com", "x-api-key"), ("generativelanguage.googleapis.com", "x-goog-api-key")):
        mock.profile(at, auth_header=header, auth_prefix="", key="required")
    gateway = run_example(artefacts.EXAMPLES / f"{name}.envoy.yaml")
    calls = {
        "claude-code": ("/v1/messages", {"max_tokens": 64, "messages": MESSAGES}, "message"),
        "codex": ("/v1/responses", {"input": "Hello"}, "response"),
    }
    target, body, kind = calls[name]
    reply = gateway.post(target, {"model": model, **body}, [("authorization", "Bearer sk-client")])
    assert reply.status == 200, reply.body
    made = json.loads(reply.body)
    assert kind in (made.get("type"), made.get("object"))
    arrived = mock.only()
    assert (arrived.authority, arrived.path) == (authority, path)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_one_by_hand_has_per_route_configuration(run_example, mock, version):
    gateway = run_example(artefacts.EXAMPLES / "hand-written.envoy.yaml", version)
    body = {"messages": MESSAGES, "model": "o3-mini"}
    for path, model, asked in (
        ("/fast", "gpt-4o-mini", {"messages": MESSAGES}),
        ("/fast/v1/chat/completions", "gpt-4o-mini", body),
        ("/best/chat/completions", "gpt-4o", body),
        ("/v1/chat/completions", "o3-mini", body),
        ("/v1/chat/completions", "gpt-4o-mini", {"messages": MESSAGES}),
    ):
        mock.forget()
        headers = [("authorization", "Bearer c"), ("x-forwarded-for", "1.2.3.4"), ("cookie", "a=b")]
        reply = gateway.post(path, asked, headers)
        assert reply.status == 200, reply.body
        arrived = mock.only()
        assert (arrived.authority, arrived.path) == ("api.openai.com", "/v1/chat/completions")
        assert arrived.json() == {**asked, "model": model}
        assert arrived.all("authorization") == ["Bearer sk-openai_api_key"]
    assert "gpt-4o" in [it["id"] for it in gateway.get("/fast/v1/models").json()["data"]]
    assert_openai_error(gateway.post("/nowhere", body), 404, "invalid_request_error")
    assert_openai_error(gateway.post("/v1/chat/completions", b"[]"), 400)
    mock.reply(status=500, body="text", headers=[("content-type", "text/plain")])
    assert_openai_error(gateway.post("/best", body), 500, "server_error", says="text")
    mock.reply(reset_before_headers=True, times=3)
    reply = gateway.post("/best", body)
    assert_openai_error(reply, reply.status, "server_error")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_one_for_the_listener_follows_envoys_routes(run_example, mock, version):
    gateway = run_example(artefacts.EXAMPLES / "listener.envoy.yaml", version)
    body = {"messages": MESSAGES, "model": "o3-mini"}
    for path, authority, model, asked in (
        ("/local", "localhost:11434", "llama3.2", {"messages": MESSAGES}),
        ("/local/v1/chat/completions", "localhost:11434", "o3-mini", body),
        ("/best", "api.openai.com", "gpt-4o", body),
        ("/v1/chat/completions", "api.openai.com", "o3-mini", body),
        ("/v1/chat/completions", "api.openai.com", "gpt-4o-mini", {"messages": MESSAGES}),
    ):
        mock.forget()
        headers = [("authorization", "Bearer c"), ("x-llm-proxy-backend", "ollama"), ("cookie", "a=b")]
        reply = gateway.post(path, asked, headers)
        assert reply.status == 200, reply.body
        arrived = mock.only()
        assert (arrived.authority, arrived.path) == (authority, "/v1/chat/completions")
        assert arrived.json() == {**asked, "model": model}
        key = ["Bearer sk-openai_api_key"] if arrived.tls else []
        assert arrived.all("authorization") == key
    assert_openai_error(gateway.post("/nowhere", body), 404, "invalid_request_error")
    refused = gateway.request("DELETE", "/best/v1/files/f")
    assert_openai_error(refused, 405, "invalid_request_error")
    assert refused.header("allow") == "POST"
    assert_openai_error(gateway.post("/v1/chat/completions", b"[]"), 400)
    mock.reply(status=500, body="text", headers=[("content-type", "text/plain")])
    assert_openai_error(gateway.post("/best", body), 500, "server_error", says="text")


def comment(file) -> str:
    """The comment at the head of a file, without its marks and line continuations."""
    lines = []
    for line in file.read_text().splitlines()[1:]:
        if line and not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return "\n".join(lines).replace("\\\n", "")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_pool_answers_as_long_as_one_of_its_members_does(run_example, mock, version):
    gateway = run_example(artefacts.EXAMPLES / "pool.envoy.yaml", version)
    text = comment(artefacts.EXAMPLES / "pool.gateway.yaml")
    [(target, body)] = re.findall(r"curl http://127\.0\.0\.1:10000(\S+) .*?-d '(.*?)'", text, re.S)
    keys = {
        "api.openai.com": ("authorization", "Bearer sk-openai_api_key", "gpt-6-sol"),
        "api.anthropic.com": ("x-api-key", "sk-anthropic_api_key", "claude-sonnet-5-5"),
        "api.x.ai": ("authorization", "Bearer sk-xai_api_key", "grok-4.6"),
    }
    well = list(keys)
    while well:
        mock.forget()
        reply = gateway.post(target, body, [("authorization", "Bearer sk-client")])
        assert reply.status == 200, reply.body
        assert reply.json()["choices"][0]["message"]["content"]
        arrived = mock.requests()
        assert arrived[-1].authority in well
        for it in arrived:
            header, key, model = keys[it.authority]
            assert it.all(header) == [key] and it.json()["model"] == model
            assert "sk-client" not in str(it.headers)
        # 0 is asked before 1.
        assert arrived[0].authority != "api.x.ai" or well == ["api.x.ai"]
        down = {"for": {"authority": arrived[-1].authority}}
        mock.reply(**down, status=503, times="always")
        well.remove(arrived[-1].authority)
    reply = gateway.post(target, body)
    assert_openai_error(reply, 503, "server_error")
    mock.reset([])
    reply = gateway.post("/mistral/v1/chat/completions", body)
    assert reply.status == 200 and mock.only().authority == "api.x.ai"
    refused = gateway.get("/v1/chat/completions")
    assert_openai_error(refused, 405, "invalid_request_error")
