"""What an OpenTelemetry collector gets: metrics, the access log and spans, in the official types.

The conversation of these tests falls back: the first member of a pool answers 503, the second one 200.
"""

import secrets

import pytest

from harness import artefacts, gateways
from harness.otlp import Collector
from harness.process import until

CHAT = "/v1/chat/completions"
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "the secret of the client"}]}
PARENT = "b7ad6b7169203331"
OTLP_TOKEN = "otlp-token-3b1f"

# What is known of the conversation: the mock counts 14 tokens of a reply, and 9 or more of a request.
DESCRIBED = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o",
    "gen_ai.response.finish_reasons": "stop",
    "llm_proxy.requested_model": "gpt-4o",
    "llm_proxy.route": "chat",
    "llm_proxy.backend": "second",
    "url.path": "/v1/chat/completions",
}

# Envoy before 1.38 sends metrics by gRPC alone.
FORMS = [
    (artefacts.NEWEST_ENVOY, "http"),
    (artefacts.NEWEST_ENVOY, "grpc"),
    (artefacts.OLDEST_ENVOY, "http"),
    (artefacts.OLDEST_ENVOY, "grpc"),
]


@pytest.fixture(scope="module")
def collector():
    collector = Collector()
    yield collector
    collector.stop()


def gateway(provider, collector, protocol, **telemetry) -> dict:
    path = "/base" if protocol == "http" else ""
    members = [
        {
            "name": name,
            "type": "openai",
            "config": gateways.at(
                provider,
                name,
                {
                    "apiKey": "${OPENAI_KEY}",
                    "endpoint": f"https://{name}.example",
                    "auth": {"query": {"code": "${QUERY_KEY}"}},
                },
            ),
        }
        for name in ("first", "second")
    ]
    members[1]["config"]["traceHeaders"] = True
    listed = [{"name": "first", "priority": 0}, {"name": "second", "priority": 1}]
    return {
        "telemetry": {
            "otlp": f"http://127.0.0.1:{collector.port}{path}",
            "protocol": protocol,
            "headers": {"authorization": "Bearer ${OTLP_TOKEN}"},
            "serviceName": "e2e",
            "traces": "100%",
            **telemetry,
        },
        "prices": {"gpt-4o*": {"input": 2.5, "output": 10}},
        "backends": [*members, {"name": "pool", "type": "pool", "backends": listed}],
        "routes": [{"name": "chat", "backend": "pool"}],
    }


@pytest.fixture(scope="module", params=FORMS, ids="-".join)
def envoy(start, provider, collector, request):
    version, protocol = request.param
    metrics = protocol == "grpc" or version == artefacts.NEWEST_ENVOY
    env = {**gateways.ENVIRONMENT, "OTLP_TOKEN": OTLP_TOKEN}
    made = gateway(provider, collector, protocol, **({"interval": "1s"} if metrics else {"metrics": False}))
    return start(made, version=version, env=env, name=f"telemetry-{protocol}")


def headers(trace: str, sampled: bool = True) -> list[tuple[str, str]]:
    """Those of a client that has a trace."""
    return [("traceparent", f"00-{trace}-{PARENT}-0{int(sampled)}"), ("tracestate", "a=b")]


@pytest.fixture
def trace() -> str:
    """A trace of its own: the gateways of other tests export when they like."""
    return secrets.token_hex(16)


@pytest.fixture
def conversation(envoy, mock, collector, trace):
    """The records of the log of a request that falls back, and its spans."""
    mock.reply(status=503, headers=[["content-type", "application/json"]], body="{}")
    reply = envoy.post(CHAT, BODY, headers(trace))
    assert reply.status == 200, reply.text

    def of_trace(found):
        return [it for it in found if it["trace"] == trace]

    logs = until(lambda: of_trace(collector.logs()))
    spans = until(lambda: len(spans := of_trace(collector.spans())) >= 3 and spans)
    return logs, spans


def test_a_request_is_a_span_and_each_attempt_one_below(conversation, mock):
    _, spans = conversation
    assert len(spans) == 3, spans
    (server,) = [it for it in spans if it["kind"] == "SPAN_KIND_SERVER"]
    attempts = [it for it in spans if it["kind"] == "SPAN_KIND_CLIENT"]
    # The client's trace goes on.
    assert server["parent"] == PARENT
    assert {it["parent"] for it in attempts} == {server["id"]}
    assert {it["resource"]["service.name"] for it in spans} == {"e2e"}
    codes = [it["attributes"]["http.status_code"] for it in attempts]
    assert sorted(codes) == ["200", "503"]
    assert server["name"] == "chat gpt-4o"
    expected = {**DESCRIBED, "llm_proxy.failed_attempts": "first:503"}
    assert {name: server["attributes"].get(name) for name in expected} == expected
    backends = {it["attributes"]["http.status_code"]: it["attributes"] for it in attempts}
    assert backends["503"]["llm_proxy.backend"] == "first"
    assert backends["200"]["llm_proxy.backend"] == "second"


def test_a_provider_gets_the_trace_only_where_it_is_configured(conversation, mock, trace):
    _, spans = conversation
    first, second = mock.requests()
    assert (first.authority, second.authority) == ("first.example", "second.example")
    for name in ("traceparent", "tracestate", "x-request-id", "b3"):
        assert first.header(name) is None, name
    sent = second.header("traceparent").split("-")
    attempts = [it for it in spans if it["kind"] == "SPAN_KIND_CLIENT"]
    (attempt,) = [it for it in attempts if it["attributes"]["http.status_code"] == "200"]
    assert sent[1:3] == [trace, attempt["id"]]
    assert second.header("tracestate") == "a=b"


def test_a_request_is_a_record(conversation):
    logs, _ = conversation
    assert len(logs) == 1, logs
    (record,) = logs
    assert record["resource"]["service.name"] == "e2e"
    attributes = record["attributes"]
    expected = {
        "http.request.method": "POST",
        "http.response.status_code": "200",
        "llm_proxy.attempts": "2",
        "llm_proxy.failed_attempts": "first:503",
        **DESCRIBED,
    }
    assert {name: attributes[name] for name in expected} == expected


def test_metrics_have_the_names_and_attributes_of_the_conventions(conversation, envoy, collector):
    if "stats_sinks" not in envoy.bootstrap:
        return
    (server,) = [it for it in conversation[1] if it["kind"] == "SPAN_KIND_SERVER"]
    spent = server["attributes"]

    def counted():
        points = collector.metrics().get("llm_proxy.tokens", [])
        return [it for it in points if it[0]["llm_proxy.backend"] == "second"]

    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o",
        "llm_proxy.backend": "second",
        "llm_proxy.route": "chat",
    }
    points = until(counted)
    assert {it[0]["gen_ai.token.type"] for it in points} >= {"input", "output"}
    for attributes, point in points:
        assert {name: attributes.get(name) for name in expected} == expected
        assert point.as_int > 0
    metrics = collector.metrics()
    # None of Envoy's own.
    assert all(name.startswith(("gen_ai.", "llm_proxy.")) for name in metrics), sorted(metrics)
    assert {
        "gen_ai.client.token.usage",
        "gen_ai.client.operation.duration",
        "llm_proxy.attempts",
        "llm_proxy.fallbacks",
        "llm_proxy.cost_nano_usd",
    } <= set(metrics)
    for name in ("gen_ai.client.token.usage", "gen_ai.client.operation.duration"):
        (_, point), *_ = metrics[name]
        assert point.count and len(point.bucket_counts) == len(point.explicit_bounds) + 1
    tokens = int(spent["gen_ai.usage.input_tokens"]), int(spent["gen_ai.usage.output_tokens"])
    # 2.5 and 10 USD per million.
    assert int(spent["llm_proxy.cost_nano_usd"]) == tokens[0] * 2_500 + tokens[1] * 10_000


def test_neither_content_nor_keys_are_in_what_is_sent(conversation, mock, collector):
    # The provider has got both, in the query and in a header.
    assert "code=" in mock.requests()[-1].path
    keys = [*gateways.SECRETS.values(), "query%20key", "query+key", OTLP_TOKEN]
    for text in [*keys, "the secret of the client", "You said"]:
        assert text.encode() not in collector.raw, text


def test_the_collector_gets_its_headers_and_nothing_gets_their_secret(conversation, envoy, collector):
    assert {it["authorization"] for it in collector.headers} == {f"Bearer {OTLP_TOKEN}"}
    assert OTLP_TOKEN not in envoy.admin("/config_dump") + envoy.log()


def test_neither_a_client_that_does_not_want_to_be_traced_nor_a_probe_is(
    envoy, mock, collector, trace
):
    names = {(it["trace"], it["name"]) for it in collector.spans()}
    assert envoy.get("/ready").status == 200
    assert envoy.post(CHAT, BODY, headers(trace, sampled=False)).status == 200
    # One that wants to be, after these: its spans come last.
    last = secrets.token_hex(16)
    assert envoy.post(CHAT, BODY, headers(last)).status == 200
    until(lambda: [it for it in collector.spans() if it["trace"] == last])
    until(lambda: [it for it in collector.logs() if it["trace"] == trace])
    spans = [it for it in collector.spans() if (it["trace"], it["name"]) not in names]
    assert not [it for it in spans if it["trace"] == trace]
    assert not [it for it in spans if it["attributes"].get("llm_proxy.route") == "health/ready"]
    routes = {it["attributes"]["llm_proxy.route"] for it in collector.logs()}
    assert routes == {"chat"}, "a probe is no record"
