"""Vertex AI: access tokens that the gateway gets by itself, and models of two publishers.

The token endpoint verifies what the module has signed, RS256, and Vertex takes no token but those
that were given. Both live under their real host names and speak TLS.
"""

import json
import threading

import anthropic
import openai
import pytest
import yaml

from harness import accepted, artefacts, bootstrap, google
from harness.client import request
from harness.envoy import Envoy
from harness.process import until
from harness.shapes import assert_openai_error
from test_command import llm_proxy, running

SAY_IT = [{"role": "user", "content": "Say it"}]
GEMINI, CLAUDE = "gemini-2.5-flash", "claude-sonnet-4-5@20250929"
VERSIONS = (artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY)
HOST = "us-central1-aiplatform.googleapis.com"
MODELS = "/v1/projects/e2e-project/locations/us-central1/publishers"
TOKEN_HOST, METADATA_HOST = "oauth2.googleapis.com", "metadata.google.internal"
CHAT = "/v1/chat/completions"
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks it up",
        "parameters": {"type": "object", "properties": {"input": {"type": "string"}}},
    },
}

OURS = google.ServiceAccount("key-1")
NEXT = google.ServiceAccount("key-2")


def gateway(**config) -> dict:
    """A gateway whose only backend is Vertex AI."""
    place = {"projectId": "e2e-project", "location": "us-central1"}
    return {"backends": [{"name": "vertex", "type": "google", "config": {**place, **config}}]}


BY_KEY = gateway(serviceAccount="${SERVICE_ACCOUNT}", modelAliases={"claude": CLAUDE}, maxTokens=100)


@pytest.fixture
def vertex(mock):
    """The scripted Vertex AI, which as yet knows no account."""
    mock.forget_accounts()
    yield mock
    mock.forget_accounts()


@pytest.fixture
def start_at_google(start, provider):
    """Starts gateways all of whose servers are the scripted one, and looks for secrets afterwards."""
    started = []

    def start_at_google(gateway, env=None, version=artefacts.NEWEST_ENVOY, change=lambda it: None):
        env = {"SERVICE_ACCOUNT": OURS.json()} if env is None else env

        def redirect(made):
            made.update(bootstrap.redirected(made, provider))
            change(made)

        started.append(start(gateway, version=version, env=env, change=redirect, name="vertex"))
        return started[-1]

    yield start_at_google
    for envoy in started:
        assert_no_secret_is_seen(envoy)
        envoy.process.stop()


def assert_no_secret_is_seen(envoy: Envoy):
    seen = {"log": envoy.log()}
    for page in ("/config_dump?include_eds", "/clusters", "/stats", "/server_info", "/certs", "/listeners"):
        seen[page] = envoy.admin(page)
    secrets = [*OURS.secrets(), *NEXT.secrets(), "mock-token", "BEGIN PRIVATE", "assertion="]
    for page, text in seen.items():
        assert text or page == "log", page
        found = [secret for secret in secrets if secret in text]
        assert not found, f"{page}: {found}"


def ask(envoy: Envoy, model: str = GEMINI, **body):
    return envoy.post(CHAT, {"model": model, "messages": SAY_IT, **body})


def ask_until(envoy: Envoy, status: int):
    """The first reply with this status. Tokens need a moment."""

    def look():
        reply = ask(envoy)
        return reply if reply.status == status else None

    return until(look)


def asked(mock, host: str) -> list:
    """The requests that came to a host."""
    return [it for it in mock.requests() if it.authority == host]


def bearers(mock) -> list[str]:
    """The tokens that Vertex got, in order, each once."""
    found = [it.header("authorization") for it in asked(mock, HOST)]
    return list(dict.fromkeys(found))


def sdk(envoy: Envoy) -> openai.OpenAI:
    return openai.OpenAI(base_url=envoy.url("/v1"), api_key="sk-client", max_retries=0, timeout=60)


# === tokens ===


@pytest.mark.parametrize("version", VERSIONS)
def test_a_service_account_buys_one_token_for_all_requests(vertex, start_at_google, version):
    vertex.accounts(OURS.account())
    envoy = start_at_google(BY_KEY, version=version)
    ask_until(envoy, 200)
    for model in (GEMINI, "claude") * 5:
        assert ask(envoy, model).status == 200
    [bought] = asked(vertex, TOKEN_HOST)
    assert bought.refused is None and bought.tls and bought.sni == TOKEN_HOST
    assert [name for name, _ in bought.headers if name.startswith("x-")] == []
    [bearer] = bearers(vertex)
    assert bearer.startswith("Bearer ya29.mock-token-key-1-")
    assert all(it.refused is None for it in vertex.requests())
    assert "got an access token" in envoy.log()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_metadata_server_gives_tokens(vertex, start_at_google, version):
    vertex.accounts({"email": "default"})
    envoy = start_at_google(gateway(), env={}, version=version)
    ask_until(envoy, 200)
    assert ask(envoy, CLAUDE).status == 200
    [asked_for] = asked(vertex, METADATA_HOST)
    assert asked_for.refused is None and asked_for.header("metadata-flavor") == "Google"
    assert bearers(vertex)[0].startswith("Bearer ya29.mock-token-machine-")


def test_an_access_token_is_sent_as_it_is(vertex, start_at_google):
    envoy = start_at_google(gateway(apiKey="${TOKEN}"), env={"TOKEN": "ya29.mine"})
    assert ask(envoy).status == 200
    assert bearers(vertex) == ["Bearer ya29.mine"]
    assert len(vertex.requests()) == 1


def test_a_token_is_renewed_under_load_and_nobody_notices(vertex, start_at_google):
    # A third of its life is left when it is time: long enough for a machine that has other things
    # to do.
    vertex.accounts(OURS.account(expires_in=12))
    envoy = start_at_google(BY_KEY)
    ask_until(envoy, 200)
    statuses, enough = [], threading.Event()

    def load():
        while not enough.wait(0.05):
            statuses.append(ask(envoy).status)

    workers = [threading.Thread(target=load) for _ in range(4)]
    for worker in workers:
        worker.start()
    try:
        until(lambda: len(bearers(vertex)) > 1)
    finally:
        enough.set()
        for worker in workers:
            worker.join()
    assert set(statuses) == {200} and len(statuses) > 20
    assert len(asked(vertex, TOKEN_HOST)) == len(bearers(vertex)) == 2


def test_requests_go_on_with_the_old_token_while_the_new_one_is_waited_for(vertex, start_at_google):
    def token(name, **how):
        body = json.dumps({"access_token": f"ya29.mock-token-{name}", "expires_in": 20})
        headers = [["content-type", "application/json"]]
        vertex.reply(**{"for": {"authority": METADATA_HOST}}, headers=headers, body=body, **how)

    token("old")
    token("new", wait_for="renewed")
    envoy = start_at_google(gateway(), env={})
    ask_until(envoy, 200)
    until(lambda: len(asked(vertex, METADATA_HOST)) == 2)
    for _ in range(20):
        assert ask(envoy).status == 200
    assert bearers(vertex) == ["Bearer ya29.mock-token-old"]
    vertex.open("renewed")

    def renewed():
        assert ask(envoy).status == 200
        return len(bearers(vertex)) == 2

    until(renewed)
    assert bearers(vertex)[1] == "Bearer ya29.mock-token-new"
    assert len(asked(vertex, METADATA_HOST)) == 2


@pytest.mark.parametrize("version", VERSIONS)
def test_without_a_token_it_is_a_503_that_says_why_until_the_endpoint_is_back(
    vertex, start_at_google, version
):
    vertex.accounts(OURS.account())
    vertex.reply(**{"for": {"authority": TOKEN_HOST}}, reset_before_headers=True)
    error = json.dumps({"error": "internal_failure", "error_description": "sorry"})
    headers = [["content-type", "application/json"]]
    vertex.reply(
        **{"for": {"authority": TOKEN_HOST}}, status=503, headers=headers, body=error, wait_for="asked"
    )
    envoy = start_at_google(BY_KEY, version=version)
    until(lambda: len(asked(vertex, TOKEN_HOST)) == 2)
    for reply in (ask(envoy), ask(envoy, "claude", stream=True)):
        says = f"no access token for this backend yet: {TOKEN_HOST} answered 503"
        assert_openai_error(reply, 503, "server_error", says=says)
        assert reply.json()["error"]["code"] == "credential_unavailable"
        assert reply.header("retry-after") == "1"
    assert asked(vertex, HOST) == []
    vertex.open("asked")
    until(lambda: "internal_failure: sorry" in envoy.log())
    ask_until(envoy, 200)
    # One worker asked, and not more often than it said.
    assert len(asked(vertex, TOKEN_HOST)) == 3


def test_a_key_that_is_not_the_accounts_is_told(vertex, start_at_google):
    vertex.accounts({**OURS.account(), "public_key": NEXT.account()["public_key"]})
    envoy = start_at_google(BY_KEY)
    why = f"{TOKEN_HOST} answered 400: invalid_grant: Invalid JWT Signature."
    until(lambda: why in envoy.log())
    assert_openai_error(ask(envoy), 503, "server_error", says=why)
    until(lambda: len(asked(vertex, TOKEN_HOST)) > 1)
    vertex.accounts(OURS.account())
    ask_until(envoy, 200)


def test_a_key_that_cannot_sign_is_told(vertex, start_at_google):
    pem = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
    envoy = start_at_google(BY_KEY, env={"SERVICE_ACCOUNT": OURS.json(private_key=pem)})
    why = "the service account's private key cannot sign"
    until(lambda: why in envoy.log())
    assert_openai_error(ask(envoy), 503, "server_error", says=why)
    assert "c2VjcmV0" not in envoy.log()
    assert vertex.none_came()


def test_another_key_takes_over_while_envoy_runs(vertex, start_at_google, output):
    """The plugin gets another configuration, by xDS, as `helm upgrade` or an operator would do it."""
    vertex.accounts(OURS.account())
    clusters = output / "vertex" / "clusters.yaml"

    def write(clusters_of: list):
        clusters.parent.mkdir(parents=True, exist_ok=True)
        kind = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
        typed = [{"@type": kind, **cluster} for cluster in clusters_of]
        staged = clusters.with_suffix(".new")
        staged.write_text(yaml.safe_dump({"resources": typed}))
        # Envoy sees a file that is moved, not one that is written.
        staged.rename(clusters)

    kept = []

    def by_file(made):
        kept.extend(made["static_resources"].pop("clusters"))
        write(kept)
        manager = made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
        manager["typed_config"]["route_config"]["validate_clusters"] = False
        made["dynamic_resources"] = {
            "cds_config": {"path_config_source": {"path": str(clusters)}}
        }

    env = {"KEY_1": OURS.json(), "KEY_2": NEXT.json()}
    envoy = start_at_google(gateway(serviceAccount="${KEY_1}"), env=env, change=by_file)
    ask_until(envoy, 200)
    assert bearers(vertex)[0].startswith("Bearer ya29.mock-token-key-1-")

    vertex.forget_accounts()
    vertex.accounts(NEXT.account())
    vertex.forget()
    write(json.loads(json.dumps(kept).replace("KEY_1", "KEY_2")))
    ask_until(envoy, 200)
    [bought] = asked(vertex, TOKEN_HOST)
    assert bought.refused is None
    assert bearers(vertex)[-1].startswith("Bearer ya29.mock-token-key-2-")
    for _ in range(5):
        assert ask(envoy).status == 200


def test_in_the_listener_it_takes_a_cluster_of_the_right_name(vertex, start, provider, output):
    vertex.accounts(OURS.account())
    env = {"SERVICE_ACCOUNT": OURS.json()}
    made = bootstrap.rendered(BY_KEY, output / "vertex" / "clusters-of", env)
    [token_cluster] = [
        it for it in made["static_resources"]["clusters"] if it["name"] == f"llm-token/{TOKEN_HOST}:443"
    ]

    def at_google(made):
        made["static_resources"]["clusters"].append(token_cluster)
        made.update(bootstrap.redirected(made, provider))

    by_hand = gateway(serviceAccount="${SERVICE_ACCOUNT}", endpoint=f"https://{HOST}")
    held = bootstrap.LISTENER_HELD
    envoy = start(by_hand, held, env=env, change=at_google, name="vertex")
    ask_until(envoy, 200)
    assert len(asked(vertex, TOKEN_HOST)) == 1
    assert_no_secret_is_seen(envoy)

    without = start(by_hand, held, env=env, name="vertex")
    why = f"{TOKEN_HOST} has no cluster in the proxy"
    until(lambda: why in without.log())
    assert_openai_error(ask(without), 503, "server_error", says=why)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_pool_asks_another_member_until_there_is_a_token(vertex, start_at_google, version):
    vertex.accounts({"email": "default"})
    pool = gateway(defaultModel=GEMINI)
    pool["backends"] += [
        {"name": "other", "type": "openai", "config": {"apiKey": "${OTHER}", "defaultModel": "gpt-4o"}},
        {
            "name": "both",
            "type": "pool",
            "backends": [{"name": "vertex", "priority": 0}, {"name": "other", "priority": 1}],
        },
    ]
    pool["routes"] = [{"backend": "both"}]
    headers = [["content-type", "application/json"]]
    vertex.reply(
        **{"for": {"authority": METADATA_HOST}}, status=500, headers=headers, body="{}", wait_for="down"
    )
    envoy = start_at_google(pool, env={"OTHER": "sk-other"}, version=version)
    until(lambda: asked(vertex, METADATA_HOST))
    for _ in range(5):
        assert ask(envoy, "any").status == 200
    assert len(asked(vertex, "api.openai.com")) == 5 and asked(vertex, HOST) == []
    vertex.open("down")

    def at_vertex():
        assert ask(envoy, "any").status == 200
        return asked(vertex, HOST)

    first = until(at_vertex)[0]
    assert first.header("authorization").startswith("Bearer ya29.mock-token-machine-")
    # It does not serve the model that was asked for.
    assert first.path == f"{MODELS}/google/models/{GEMINI}:generateContent"


# === models ===


@pytest.fixture(scope="module", params=VERSIONS)
def models(start, provider, request) -> Envoy:
    """A gateway with an access token, in the newest and in the oldest Envoy."""
    config = gateway(
        apiKey="${TOKEN}",
        modelAliases={"claude": CLAUDE, "gemini": GEMINI, "embed": "text-embedding-005"},
        maxTokens=777,
    )
    env = {"TOKEN": "ya29.models"}

    def redirect(made):
        made.update(bootstrap.redirected(made, provider))

    return start(config, version=request.param, env=env, change=redirect, name="models")


ACCEPTED = {
    "gemini": (accepted.by_gemini, "google/models/gemini-2.5-flash:generateContent"),
    "claude": (accepted.by_claude_on_vertex, f"anthropic/models/{CLAUDE}:rawPredict"),
}


@pytest.mark.parametrize("model", ACCEPTED)
def test_a_chat(vertex, models, model):
    said = sdk(models).chat.completions.create(model=model, messages=SAY_IT, temperature=0.5)
    assert "Say it" in said.choices[0].message.content
    assert said.choices[0].finish_reason == "stop"
    assert said.usage.total_tokens == 18
    arrived = vertex.only()
    body, path = ACCEPTED[model]
    assert (arrived.authority, arrived.path) == (HOST, f"{MODELS}/{path}")
    assert "Say it" in json.dumps(body(arrived))
    assert arrived.header("authorization") == "Bearer ya29.models"
    if model == "claude":
        assert arrived.json()["max_tokens"] == 777


@pytest.mark.parametrize("model", ACCEPTED)
def test_a_stream(vertex, models, model):
    stream = sdk(models).chat.completions.create(
        model=model, messages=SAY_IT, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(choice.delta.content or "" for it in chunks for choice in it.choices)
    assert "Say it" in text
    assert chunks[-1].usage.total_tokens == 18
    arrived = vertex.only()
    body, path = ACCEPTED[model]
    body(arrived)
    streamed = {
        "generateContent": "streamGenerateContent?alt=sse",
        "rawPredict": "streamRawPredict",
    }
    path, method = path.split(":")
    assert arrived.path == f"{MODELS}/{path}:{streamed[method]}"


@pytest.mark.parametrize("model", ACCEPTED)
def test_tools(vertex, models, model):
    said = sdk(models).chat.completions.create(
        model=model, messages=SAY_IT, tools=[TOOL], tool_choice="required"
    )
    [call] = said.choices[0].message.tool_calls
    assert call.function.name == "look_up" and "input" in json.loads(call.function.arguments)
    assert said.choices[0].finish_reason == "tool_calls"
    answered = [
        *SAY_IT,
        said.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "found"},
    ]
    again = sdk(models).chat.completions.create(model=model, messages=answered, tools=[TOOL])
    assert again.choices[0].finish_reason == "stop"
    for arrived in vertex.requests():
        assert arrived.refused is None, arrived
        ACCEPTED[model][0](arrived)


def test_messages_pass_to_claude_and_are_translated_for_gemini(vertex, models):
    options = {"model": CLAUDE, "max_tokens": 64, "messages": SAY_IT}
    count = {"messages": SAY_IT}
    with anthropic.Anthropic(base_url=models.url(""), api_key="sk-client", max_retries=0) as client:
        betas = ["context-1m-2025-08-07", "files-api-2025-04-14"]
        assert client.beta.messages.create(**options, betas=betas).content[0].text
        with client.messages.stream(**options) as events:
            assert events.get_final_message().content
        assert client.messages.count_tokens(**count, model=CLAUDE).input_tokens == 31
        assert client.messages.count_tokens(**count, model=GEMINI).input_tokens == 31
        assert client.messages.create(**{**options, "model": GEMINI}).content
    arrived = vertex.requests()
    assert [it.path.rpartition("/")[2] for it in arrived] == [
        f"{CLAUDE}:rawPredict",
        f"{CLAUDE}:streamRawPredict",
        "count-tokens:rawPredict",
        f"{GEMINI}:countTokens",
        f"{GEMINI}:generateContent",
    ]
    # Vertex does not take the other one.
    assert arrived[0].header("anthropic-beta") == "context-1m-2025-08-07"
    assert all(it.header("authorization") == "Bearer ya29.models" for it in arrived)


def test_embeddings(vertex, models):
    made = sdk(models).embeddings.create(model="embed", input=["a", "b"], dimensions=3)
    assert [it.embedding for it in made.data] == [[0.25, -0.5, 1.0]] * 2
    assert made.usage.prompt_tokens == 6
    arrived = vertex.only()
    assert arrived.path == f"{MODELS}/google/models/text-embedding-005:predict"
    parameters = {"outputDimensionality": 3, "autoTruncate": False}
    instances = [{"content": "a"}, {"content": "b"}]
    assert arrived.json() == {"instances": instances, "parameters": parameters}

    vertex.forget()
    made = sdk(models).embeddings.create(model="gemini-embedding-2", input=["a", "b"])
    assert len(made.data) == 2
    assert vertex.only().path.endswith(":batchEmbedContents")

    vertex.forget()
    made = sdk(models).embeddings.create(model="gemini-embedding-001", input=["a", "b"])
    assert len(made.data) == 2
    assert vertex.only().path.endswith("gemini-embedding-001:batchEmbedContents")

    vertex.forget()
    reply = models.post("/v1/embeddings", {"model": "claude", "input": "a"})
    assert_openai_error(reply, 400, "invalid_request_error", says="has no embeddings")
    assert vertex.none_came()


def test_what_vertex_refuses_arrives_as_openais_error(vertex, models):
    vertex.accounts(OURS.account())
    for model in ACCEPTED:
        reply = ask(models, model)
        assert_openai_error(reply, 401, "authentication_error", says="invalid authentication")
    vertex.forget_accounts()
    assert_openai_error(ask(models, "no-such-model"), 404, "invalid_request_error")


# === the command ===


def test_run_reads_the_key_from_its_file(vertex, tmp_path, provider):
    vertex.accounts(OURS.account())
    # No real name: `run` does not let the cluster of the token endpoint be moved.
    vertex.profile("127.0.0.1", like=TOKEN_HOST, tls_only=False)
    key = tmp_path / "key.json"
    key.write_text(OURS.json())
    made = gateway(
        serviceAccountFile=str(key),
        tokenEndpoint=f"http://{provider.plain}/token",
        address=provider.tls,
        tls={"caFile": str(provider.ca)},
    )
    arguments = ["--envoy", artefacts.envoy()]
    with running(provider, tmp_path, arguments, backends=made["backends"]) as (process, port, admin):
        chat = {"model": GEMINI, "messages": SAY_IT}
        until(lambda: request(port, "POST", CHAT, chat).status == 200)
        for page in ("/config_dump", "/stats", "/server_info"):
            text = request(admin, "GET", page).body.decode()
            assert not [secret for secret in [*OURS.secrets(), "mock-token"] if secret in text]
        assert not [secret for secret in [*OURS.secrets(), "mock-token"] if secret in process.log_text()]
    assert bearers(vertex)[0].startswith("Bearer ya29.mock-token-key-1-")


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(gateway(serviceAccountFile=str(tmp_path / "none.json"))))
    done = llm_proxy("check", file)
    assert done.returncode == 64
    assert "backends[0].config.serviceAccountFile (" in done.stderr and "none.json" in done.stderr
    done = llm_proxy("render", "envoy", file)
    assert done.returncode == 0
    assert "LLM_PROXY_VERTEX_SERVICE_ACCOUNT" in done.stderr
    assert "host_env_keys:\n" in done.stdout and "LLM_PROXY_VERTEX_SERVICE_ACCOUNT" in done.stdout
    assert "serviceAccountFile" not in done.stdout
