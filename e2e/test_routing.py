"""Which backend a request goes to when its model decides: `models`, `backendFromModel`, `modelAliases`."""

import json

import openai
import pytest

from harness import bootstrap, gateways
from harness.client import Exchange
from harness.shapes import assert_openai_error

MESSAGES = [{"role": "user", "content": "Hi"}]
FORM = ("content-type", "multipart/form-data; boundary=x")


def shared(mock, pool: bool) -> dict:
    key = {"apiKey": "${PLAIN_KEY}"}
    configs = {
        "big": {**key, "timeout": "2s"},
        "small": {**key, "defaultModel": "any", "modelAliases": {"mini": "llama-8b"}},
        "forced": {**key, "model": "grok-4", "maxRetries": 1, "timeout": "1s"},
    }
    backends = [
        {"name": name, "type": "openai-compatible", "config": gateways.at(mock, name, config)}
        for name, config in configs.items()
    ]
    routes = [
        {"name": "claude", "path": "/v1", "models": ["claude-*", "best"], "backend": "big",
         "modelAliases": {"best": "claude-opus"}},
        {"name": "mini", "path": "/v1", "models": ["mini"], "methods": ["POST"], "backend": "small"},
        {"name": "files", "path": "/v1/files", "backend": "small"},
        {"name": "named", "path": "/named", "backend": "small", "backendFromModel": True,
         "modelAliases": {"quick": "forced/whatever"}},
        {"name": "some", "path": "/rest", "models": ["x*"], "backend": "big"},
        {"name": "rest", "path": "/rest", "backend": "small", "modelAliases": {"old": "new"}},
        {"name": "soon", "path": "/soon", "models": ["x*"], "backend": "forced", "deadline": "2500ms"},
        {"name": "alone", "path": "/alone", "models": ["x*"], "backend": "big"},
        {"name": "soon-rest", "path": "/soon", "backend": "big"},
    ]
    if pool:
        members = [{"name": "big"}, {"name": "small"}]
        backends.append({"name": "both", "type": "pool", "strategy": "round-robin", "backends": members})
        routes.append({"name": "pooled", "path": "/pooled", "models": ["p-*"], "backend": "both"})
        routes.append({"name": "pooled-rest", "path": "/pooled", "backend": "forced"})
    return {"backends": backends, "routes": routes}


@pytest.fixture(scope="module")
def gateway(start, provider, held):
    placement, version = held
    envoy = start(shared(provider, placement == bootstrap.UPSTREAM), placement, version)
    envoy.placement = placement
    return envoy


def sent(mock):
    """The backend that was asked, and for which model."""
    arrived = mock.only()
    assert arrived.all("x-llm-proxy-route") == arrived.all("x-llm-proxy-cluster") == []
    assert arrived.path == "/v1/chat/completions"
    return arrived.authority.removesuffix(".example"), arrived.json()["model"]


ROWS = [
    ("/v1", "claude-4", ("big", "claude-4")),
    ("/v1", "best", ("big", "claude-opus")),
    ("/v1", "mini", ("small", "llama-8b")),
    ("/named", "big/gpt-4o", ("big", "gpt-4o")),
    ("/named", "small/mini", ("small", "llama-8b")),
    ("/named", "forced/x", ("forced", "grok-4")),
    ("/named", "quick", ("forced", "grok-4")),
    ("/named", "meta-llama/Llama-3", ("small", "meta-llama/Llama-3")),
    ("/named", "mini", ("small", "llama-8b")),
    ("/rest", "x1", ("big", "x1")),
    ("/rest", "y1", ("small", "y1")),
    ("/rest", "old", ("small", "new")),
    ("/soon", "x1", ("forced", "grok-4")),
    ("/soon", "y1", ("big", "y1")),
]


@pytest.mark.parametrize("path, model, expected", ROWS)
def test_the_model_decides(gateway, mock, path, model, expected):
    with openai.OpenAI(base_url=gateway.url(f"{path}/v1" if path != "/v1" else path), api_key="k", max_retries=0) as client:
        made = client.chat.completions.create(model=model, messages=MESSAGES)
    assert made.model == expected[1]
    assert sent(mock) == expected


def test_a_stream_is_routed_as_well(gateway, mock):
    with openai.OpenAI(base_url=gateway.url("/named/v1"), api_key="k", max_retries=0) as client:
        stream = client.chat.completions.create(model="big/m", messages=MESSAGES, stream=True)
        text = "".join(it.choices[0].delta.content or "" for it in stream if it.choices)
    assert "Hi" in text and sent(mock) == ("big", "m")


def test_the_model_may_stand_behind_a_long_prompt(gateway, mock):
    body = json.dumps({"messages": [{"role": "user", "content": "x" * 3_000_000}], "model": "mini"})
    reply = gateway.post("/v1/chat/completions", body)
    assert reply.status == 200, reply.body
    assert sent(mock) == ("small", "llama-8b")
    assert mock.only().body == body.replace('"mini"', '"llama-8b"').encode()


def test_a_body_goes_on_when_its_model_is_known(gateway, mock):
    """Its rest is sent only when the provider has its head."""
    start, end = b'{"model":"claude-4","messages":[{"role":"user","content":"Hi"}]', b"}"
    mock.reply(early=True, wait_for="head", body="{}")
    with Exchange(gateway.port) as exchange:
        headers = [("host", "g"), ("content-type", "application/json")]
        exchange.head("POST", "/v1/chat/completions", [*headers, ("content-length", str(len(start + end)))])
        exchange.send(start)
        assert mock.when(lambda it: it.authority == "big.example")
        exchange.send(end)
        mock.open("head")
        assert exchange.begin()[0] == 200


def test_no_model_goes_where_no_model_is_asked_for(gateway, mock):
    assert gateway.post("/rest/v1/chat/completions", {"messages": MESSAGES}).status == 200
    assert sent(mock) == ("small", "any")
    mock.forget()
    assert gateway.post("/named/v1/chat/completions", {"messages": MESSAGES}).status == 200
    assert sent(mock) == ("small", "any")


def test_an_unknown_model_is_a_404(gateway, mock):
    with openai.OpenAI(base_url=gateway.url("/v1"), api_key="k", max_retries=0) as client:
        with pytest.raises(openai.NotFoundError) as raised:
            client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert raised.value.code == "model_not_found" and raised.value.param == "model"
    assert "gpt-4o" in str(raised.value)
    assert mock.none_came()


def test_no_model_is_a_400_where_every_route_is_for_some(gateway, mock):
    reply = gateway.post("/v1/chat/completions", {"messages": MESSAGES})
    assert_openai_error(reply, 400, "invalid_request_error", param="model")
    reply = gateway.post("/v1/audio/transcriptions", b"--x--\r\n", [FORM])
    assert_openai_error(reply, 400, "invalid_request_error", "model", "missing_required_parameter", "model parameter")
    assert_openai_error(gateway.get("/alone/v1/batches"), 404, code="unknown_url")
    assert mock.none_came()


@pytest.mark.parametrize("body", ['{"model": 5}', '{"model":"mini","model":"mini"}', '{"model":"mini"', "[]"])
def test_what_is_no_request_is_a_400(gateway, mock, body):
    assert_openai_error(gateway.post("/v1/chat/completions", body), 400, "invalid_request_error")
    assert not [it for it in mock.requests() if it.body_complete]


def test_other_requests_pass_by_routes_with_models(gateway, mock):
    assert gateway.get("/v1/files").status == 200
    assert gateway.get("/rest/v1/files").status == 200
    part = b'--x\r\nContent-Disposition: form-data; name='
    form = part + b'"model"\r\n\r\nx1\r\n' + part + b'"purpose"\r\n\r\nbatch\r\n'
    form += part + b'"file"; filename="f"\r\n\r\n{}\r\n--x--\r\n'
    assert gateway.post("/rest/v1/files", form, [FORM]).status == 200
    assert [it.authority for it in mock.requests()] == ["small.example"] * 3
    assert mock.requests()[2].body == form


def test_a_client_cannot_say_where_it_goes(gateway, mock):
    for headers in (
        [("x-llm-proxy-route", "claude")],
        [("x-llm-proxy-route", "named/forced")],
        [("x-llm-proxy-backend", "forced")],
        [("x-llm-proxy-cluster", "forced"), ("x-llm-proxy-route", "some")],
    ):
        mock.forget()
        reply = gateway.post("/rest/v1/chat/completions", {"model": "y", "messages": MESSAGES}, headers)
        if headers[0][0] == "x-llm-proxy-backend" and gateway.placement != bootstrap.UPSTREAM:
            assert_openai_error(reply, 400, code="reserved_header")
            continue
        assert reply.status == 200
        assert sent(mock) == ("small", "y"), headers
    reply = gateway.post("/v1/chat/completions", {"model": "gpt", "messages": MESSAGES}, [("x-llm-proxy-route", "mini")])
    assert_openai_error(reply, 404, code="model_not_found")


def test_models_are_listed_as_they_can_be_asked_for(gateway, mock):
    def listed(path):
        return [model["id"] for model in gateway.get(f"{path}/models").json()["data"]]

    assert listed("/v1") == ["best", "mini"]
    named = ["quick", "any", "mini", "small/any", "small/mini", "forced/grok-4"]
    if gateway.placement == bootstrap.UPSTREAM:
        named += ["both/any", "both/mini"]
    assert listed("/named/v1") == named
    assert mock.none_came()


def test_a_deadline_holds_over_all_attempts(gateway, mock):
    mock.reply(wait_for="never", times=3)
    reply = gateway.post("/soon/v1/chat/completions", {"model": "x1", "messages": MESSAGES})
    if gateway.placement == bootstrap.UPSTREAM:
        # Two attempts of a second each come first: the time of both is not up before that.
        assert reply.status == 504, reply.body
        assert len(mock.requests()) == 2
    else:
        assert_openai_error(reply, 504, "server_error")


def test_a_pool_is_chosen_by_the_model_too(gateway, mock):
    if gateway.placement != bootstrap.UPSTREAM:
        return
    for _ in range(4):
        body = {"model": "p-1", "messages": MESSAGES}
        assert gateway.post("/pooled/v1/chat/completions", body).status == 200
    assert gateway.post("/named/v1/chat/completions", {"model": "both/mini", "messages": MESSAGES}).status == 200
    assert gateway.post("/pooled/v1/chat/completions", {"model": "q", "messages": MESSAGES}).status == 200
    asked = [(it.authority.removesuffix(".example"), it.json()["model"]) for it in mock.requests()]
    assert set(asked[:4]) <= {("big", "p-1"), ("small", "p-1")}
    assert asked[4] in (("big", "mini"), ("small", "llama-8b"))
    assert asked[5] == ("forced", "grok-4")
