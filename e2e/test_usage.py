"""What the gateway says of each request: tokens, models, times and ids, in metrics and in the access log."""

import json
import re
from collections import Counter

import pytest

from harness import artefacts, bootstrap
from harness.client import Exchange
from harness.gateways import SECRETS, at
from harness.process import until

EVENTS = ("content-type", "text/event-stream")
JSON = ("content-type", "application/json")
SECRET_WORDS = "the moon is made of cheese"
MESSAGES = [{"role": "user", "content": SECRET_WORDS}]
CHAT = {"model": "gpt-4o", "messages": MESSAGES}
USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
CLAUDE_USAGE = {"input_tokens": 5, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2, "output_tokens": 7}
GEMINI_USAGE = {
    "promptTokenCount": 11,
    "candidatesTokenCount": 4,
    "thoughtsTokenCount": 3,
    "cachedContentTokenCount": 4,
    "totalTokenCount": 18,
}


def completion(model="gpt-4o-2024", **members):
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "model": model, "choices": [choice], "usage": USAGE, **members}


def chunk(delta=None, finish_reason=None, **members):
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    return {"id": "c", "object": "chat.completion.chunk", "model": "gpt-4o-2024", "choices": choices, **members}


def events(*datas) -> list[str]:
    return [f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n" for data in datas]


STREAM = events(
    chunk({"role": "assistant", "content": ""}, usage=None),
    chunk({"content": 'Hi "usage":{"prompt_tokens":99}'}, usage=None),
    chunk({}, "stop", usage=None),
    chunk(usage=USAGE),
    "[DONE]",
)
MESSAGE = {
    "id": "m", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-x", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "Hi"}], "usage": CLAUDE_USAGE,
}
GENERATED = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": GEMINI_USAGE,
    "modelVersion": "gemini-2.5-flash-x",
}


@pytest.fixture(scope="module", params=[artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY])
def gateway(start, provider, request):
    def backend(name, type, host=None, **config):
        endpoint = f"https://{host or f'{name}.example'}"
        config = at(provider, name, {"apiKey": "${PLAIN_KEY}", "endpoint": endpoint, **config})
        return {"name": name, "type": type, "config": config}

    backends = [
        backend("oai", "openai", models=["*"]),
        backend("bad", "openai", models=["*"]),
        backend("claude", "anthropic", "api.anthropic.com"),
        backend("gemini", "google", "generativelanguage.googleapis.com"),
        backend("silent", "openai", usage="off", models=["*"]),
        {"name": "pool", "type": "pool", "backends": [{"name": "bad", "priority": 0}, {"name": "oai", "priority": 1}]},
    ]
    routes = [{"name": f"r-{it['name']}", "path": f"/{it['name']}", "backend": it["name"]} for it in backends]
    made = {"backends": backends, "routes": routes}
    return start(made, bootstrap.UPSTREAM, version=request.param, name="usage")


SERIES = re.compile(r"^(\w+)\{(.*)\} (\S+)$")


def metrics(gateway, name: str) -> Counter:
    """The values of a metric by its labels, without what Envoy adds of itself."""
    found = Counter()
    for line in gateway.admin("/stats/prometheus").splitlines():
        match = SERIES.match(line)
        if match and match[1] == name:
            labels = dict(re.findall(r'(\w+)="([^"]*)"', match[2]))
            key = {key: value for key, value in labels.items() if not key.endswith("cluster_name")}
            key.pop("llm_proxy_cluster", None)
            found[tuple(sorted(key.items()))] += float(match[3])
    return found


def total(found: Counter, **labels) -> float:
    wanted = {(name, value) for name, value in labels.items()}
    return sum(value for key, value in found.items() if wanted <= set(key))


def last_line(gateway, request_id: str) -> dict:
    def look():
        for line in gateway.log().splitlines():
            if line.startswith("{") and request_id in line:
                found = json.loads(line)
                if found.get("request_id") == request_id:
                    return found
        return None

    return gateway.process.until(look)


def reply_with(mock, body, **more):
    if isinstance(body, list):
        mock.reply(headers=[EVENTS], chunks=[{"data": part} for part in body], **more)
    else:
        mock.reply(headers=[JSON], body=json.dumps(body), **more)


CASES = {
    # path, request, reply of the provider, backend, provider, answered model, cached, reasoning
    "passed": ("/oai/v1/chat/completions", CHAT, completion(), "oai", "openai", "gpt-4o-2024", 3),
    "passed stream": ("/oai/v1/chat/completions", {**CHAT, "stream": True}, STREAM, "oai", "openai", "gpt-4o-2024", 3),
    "translated to Claude": ("/claude/v1/chat/completions", {**CHAT, "model": "claude-sonnet-4-5"}, MESSAGE, "claude", "anthropic", "claude-sonnet-4-5-x", 0),
    "native Messages": ("/claude/v1/messages", {**CHAT, "model": "claude-sonnet-4-5", "max_tokens": 9}, MESSAGE, "claude", "anthropic", "claude-sonnet-4-5-x", 0),
    "translated to Gemini": ("/gemini/v1/chat/completions", {**CHAT, "model": "gemini-2.5-flash"}, GENERATED, "gemini", "gcp.gemini", "gemini-2.5-flash-x", 3),
    "Messages to OpenAI": ("/oai/v1/messages", {**CHAT, "max_tokens": 9}, completion(), "oai", "openai", "gpt-4o-2024", 3),
}


@pytest.mark.parametrize("name", CASES)
def test_tokens_are_counted_exactly_and_logged_as_numbers(gateway, mock, name):
    path, request, body, backend, provider, answered, reasoning = CASES[name]
    labels = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": provider, "llm_proxy_backend": backend}
    labels |= {"gen_ai_response_model": answered, "llm_proxy_route": f"r-{backend}"}
    before = metrics(gateway, "llm_proxy_tokens")
    for _ in range(3):
        reply_with(mock, body)
        reply = gateway.post(path, request)
        assert reply.status == 200, reply.body
    expected = {"input": 11, "output": 7, "cached": 4, "reasoning": reasoning}

    def counted():
        change = metrics(gateway, "llm_proxy_tokens")
        change.subtract(before)
        found = {type: total(change, gen_ai_token_type=type, **labels) for type in expected}
        return found == {type: 3 * count for type, count in expected.items()} or None

    until(counted)
    line = last_line(gateway, reply.header("x-llm-proxy-request-id"))
    assert (line["input_tokens"], line["output_tokens"], line["total_tokens"]) == (11, 7, 18), line
    assert line["cached_tokens"] == 4 and line["response_model"] == answered
    assert line["request_model"] == line["sent_model"] == request["model"]
    assert (line["backend"], line["provider"], line["operation"]) == (backend, provider, "chat")
    assert line["finish_reason"] in ("stop", "end_turn")
    assert line["error_code"] is None and line["failed_attempts"] is None
    assert (line["first_token_ms"] is not None) == ("stream" in request)


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
@pytest.mark.parametrize("asks", [False, True])
def test_the_chunk_with_the_usage_is_seen_by_clients_that_request_it_alone(gateway, mock, size, asks):
    text = "".join(STREAM)
    reply_with(mock, [text[at : at + size] for at in range(0, len(text), size)])
    options = {"stream_options": {"include_usage": True}} if asks else {}
    reply = gateway.post("/oai/v1/chat/completions", {**CHAT, "stream": True, **options})
    assert mock.only().json()["stream_options"] == {"include_usage": True}
    expected = text if asks else text.replace(STREAM[3], "")
    assert reply.text == expected
    line = last_line(gateway, reply.header("x-llm-proxy-request-id"))
    assert line["input_tokens"] == 11


def test_a_client_that_leaves_is_counted_with_what_was_known(gateway, mock):
    before = metrics(gateway, "llm_proxy_tokens")
    first = events(chunk({"content": "Hi"}, usage={"prompt_tokens": 100, "completion_tokens": 1}))
    mock.reply(headers=[EVENTS], chunks=[{"data": first[0]}], end="hang")
    with Exchange(gateway.port) as exchange:
        body = json.dumps({**CHAT, "stream": True}).encode()
        headers = [("host", "g"), JSON, ("content-length", len(body))]
        exchange.head("POST", "/oai/v1/chat/completions", headers)
        exchange.send(body)
        exchange.begin()
        exchange.until(b"\n\n")

    def counted():
        change = metrics(gateway, "llm_proxy_tokens")
        change.subtract(before)
        return total(change, gen_ai_token_type="input", llm_proxy_backend="oai") == 100 or None

    until(counted)


def test_usage_can_be_switched_off(gateway, mock):
    reply_with(mock, completion())
    reply = gateway.post("/silent/v1/chat/completions", CHAT)
    assert reply.json()["usage"] == USAGE
    line = last_line(gateway, reply.header("x-llm-proxy-request-id"))
    assert line["input_tokens"] is None and line["sent_model"] == "gpt-4o"
    reply_with(mock, STREAM)
    gateway.post("/silent/v1/chat/completions", {**CHAT, "stream": True})
    assert "stream_options" not in mock.requests()[-1].json()


def test_attempts_and_fallbacks_are_counted_with_their_reasons(gateway, mock):
    before = {name: metrics(gateway, name) for name in ("llm_proxy_attempts", "llm_proxy_fallbacks")}
    mock.reply(status=429, headers=[JSON], body='{"error":{"message":"slow down"}}')
    reply_with(mock, completion())
    reply = gateway.post("/pool/v1/chat/completions", CHAT)
    assert reply.status == 200, reply.body
    line = last_line(gateway, reply.header("x-llm-proxy-request-id"))
    assert line["failed_attempts"] == "bad:429" and line["backend"] == "oai" and line["input_tokens"] == 11

    def counted():
        change = {name: metrics(gateway, name) for name in before}
        for name, found in change.items():
            found.subtract(before[name])
        failed = {"llm_proxy_backend": "bad", "llm_proxy_pool": "pool", "llm_proxy_reason": "429"}
        answered = {"llm_proxy_backend": "oai", "llm_proxy_pool": "pool", "llm_proxy_reason": "ok"}
        found = [total(change["llm_proxy_attempts"], **it) for it in (failed, answered)]
        return [*found, total(change["llm_proxy_fallbacks"], **failed)] == [1, 1, 1] or None

    until(counted)


def test_refusals_and_errors_have_their_codes(gateway, mock):
    before = metrics(gateway, "llm_proxy_refusals")
    reply = gateway.post("/oai/v1/chat/completions", b"{")
    line = last_line(gateway, reply.header("x-llm-proxy-request-id"))
    assert line["error_code"] == "invalid_json"

    def counted():
        change = metrics(gateway, "llm_proxy_refusals")
        change.subtract(before)
        return total(change, llm_proxy_code="invalid_json") == 1 or None

    until(counted)


def test_made_up_models_are_no_labels(gateway, mock):
    reply_with(mock, completion("real"))
    with Exchange(gateway.port) as exchange:
        for number in range(300):
            body = json.dumps({**CHAT, "model": f"made-up-{number}"}).encode()
            headers = [("host", "g"), JSON, ("content-length", len(body))]
            exchange.head("POST", "/silent/v1/chat/completions", headers)
            exchange.send(body)
            assert exchange.reply().status == 200

    def bounded():
        models = {dict(key).get("gen_ai_request_model") for key in metrics(gateway, "gen_ai_client_operation_duration_count")}
        made_up = [it for it in models if it and it.startswith("made-up-")]
        return ("other" in models and len(made_up) <= 100) or None

    until(bounded)


def test_nothing_of_the_content_and_no_key_is_reported(gateway, mock):
    mock.reply(headers=[JSON], body=json.dumps(completion()))
    gateway.post("/oai/v1/chat/completions", {**CHAT, "model": 'a"b\n' + "é" * 300})
    text = gateway.log() + gateway.admin("/stats/prometheus") + gateway.admin("/stats")
    for word in [SECRET_WORDS, *SECRETS.values()]:
        assert word not in text
    assert "é" * 130 not in text


def test_histograms_have_the_same_names_labels_and_bounds(gateway, mock):
    reply_with(mock, completion())
    gateway.post("/oai/v1/chat/completions", CHAT)

    def bounds():
        text = gateway.admin("/stats/prometheus")
        found = re.findall(r'^gen_ai_client_token_usage_bucket\{.*gen_ai_token_type="input".*le="(\d+)"\}', text, re.M)
        return found[:14] if len(found) >= 14 else None

    assert until(bounds)[:4] == ["1", "4", "16", "64"]
    kinds = dict(re.findall(r"^# TYPE (gen_ai_\w+|llm_proxy_\w+) (\w+)$", gateway.admin("/stats/prometheus"), re.M))
    assert kinds["gen_ai_client_operation_duration"] == "histogram" and kinds["llm_proxy_tokens"] == "counter"
