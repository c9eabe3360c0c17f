"""A real Prometheus scrapes the gateway, loads the rules, and answers every query of the dashboard.

`make e2e-observability` runs this: `prometheus` and `promtool` come with Debian's package `prometheus`.
"""

import http.client
import json
import pathlib
import socket
import subprocess
import urllib.parse

import pytest
import yaml

from harness import artefacts, gateways
from harness.process import Process, until

DIRECTORY = pathlib.Path(__file__).resolve().parents[2] / "envoy/observability"
DASHBOARD = json.loads((DIRECTORY / "dashboard.json").read_text())
CHAT = "/v1/chat/completions"
JSON = ["content-type", "application/json"]
# A reply whose input was read from a cache in part: by the prices below 40 + 6 + 20 millionths of a USD.
CACHED = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5-2025-08-07",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    ],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 5,
        "total_tokens": 105,
        "prompt_tokens_details": {"cached_tokens": 60},
    },
}
# Nothing of these happens in the traffic below: no backend has an access token.
EMPTY = {"Requests for access tokens"}


def promtool(*arguments) -> str:
    done = subprocess.run(
        ["promtool", *map(str, arguments)], cwd=DIRECTORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_the_configuration_and_the_rules():
    promtool("check", "config", "prometheus.yaml")
    promtool("check", "rules", "rules.yaml", "alerts.yaml")


def test_the_rules_and_alerts_are_what_their_tests_say():
    promtool("test", "rules", "rules.test.yaml")


class Prometheus:
    """Prometheus with the files of `envoy/observability`, faster, and at this gateway."""

    def __init__(self, directory: pathlib.Path, target: str):
        directory.mkdir(parents=True, exist_ok=True)
        configuration = yaml.safe_load((DIRECTORY / "prometheus.yaml").read_text())
        configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        configuration["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
        for name in configuration["rule_files"]:
            rules = yaml.safe_load((DIRECTORY / name).read_text())
            for group in rules["groups"]:
                group["interval"] = "1s"
            (directory / name).write_text(yaml.safe_dump(rules))
        file = directory / "prometheus.yaml"
        file.write_text(yaml.safe_dump(configuration))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        arguments = ["prometheus", "--config.file", file, "--storage.tsdb.path", directory / "data"]
        arguments += ["--web.listen-address", f"127.0.0.1:{self.port}"]
        self.process = Process(arguments, directory / "prometheus.log")
        self.process.until(self._is_ready)

    def _is_ready(self) -> bool:
        try:
            return self._get("/-/ready")[0] == 200
        except OSError:
            return False

    def query(self, expression: str) -> list[dict]:
        """The samples of an instant query."""
        status, body = self._get(f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        answer = json.loads(body)
        assert status == 200 and answer["status"] == "success", (expression, answer)
        return answer["data"]["result"]

    def rules(self) -> list[dict]:
        groups = json.loads(self._get("/api/v1/rules")[1])["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def _get(self, target: str):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", target)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def gateway(provider) -> dict:
    def backend(name, kind, **config):
        host = {"anthropic": "api.anthropic.com"}.get(kind, f"{name}.example")
        config = gateways.at(provider, name, {**config, "endpoint": f"https://{host}"})
        return {"name": name, "type": kind, "config": config}

    first = backend("first", "openai", apiKey="${OPENAI_KEY}")
    second = backend("second", "openai", apiKey="${OPENAI_KEY}")
    claude = backend("claude", "anthropic", apiKey="${ANTHROPIC_KEY}")
    members = [{"name": "first", "priority": 0}, {"name": "second", "priority": 1}]
    return {
        "prices": {"gpt-*": {"input": 1, "cachedInput": 0.1, "output": 4}},
        "backends": [first, second, claude, {"name": "pool", "type": "pool", "backends": members}],
        "routes": [
            {"name": "claude", "path": "/claude", "backend": "claude"},
            {"name": "chat", "backend": "pool"},
        ],
    }


def chat(model="gpt-5", **members) -> dict:
    return {"model": model, "messages": [{"role": "user", "content": "Hi"}], **members}


@pytest.fixture(
    scope="module", params=[artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY], ids=lambda it: it
)
def scraped(start, provider, output, request):
    envoy = start(gateway(provider), version=request.param)
    directory = output / "prometheus" / request.param
    prometheus = Prometheus(directory, envoy._admin)
    yield envoy, prometheus
    prometheus.process.stop()


def traffic(envoy, mock):
    """Some of everything that the dashboard shows."""
    mock.reply(status=503, headers=[JSON], body="{}")
    assert envoy.post(CHAT, chat()).status == 200
    mock.reply(status=200, headers=[JSON], body=json.dumps(CACHED))
    assert envoy.post(CHAT, chat()).status == 200
    streamed = envoy.post(CHAT, chat(stream=True, stream_options={"include_usage": True}))
    assert streamed.status == 200
    assert envoy.post("/claude/v1/chat/completions", chat("claude-sonnet-4-5", seed=1)).status == 200
    assert envoy.post("/claude/v1/chat/completions", chat("claude-sonnet-4-5", n=2)).status == 400


def queries() -> list[tuple[str, str]]:
    """Of each panel the title and a query, with Grafana's variables filled in."""
    filled = {"$__rate_interval": "1m", "$__range": "5m", "$backend": ".*"}
    found = []
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in filled.items():
                expression = expression.replace(name, value)
            found.append((panel["title"], expression))
    return found


def test_every_query_of_the_dashboard_is_answered(scraped, mock):
    envoy, prometheus = scraped

    def answered():
        # Rates need more than one scrape.
        traffic(envoy, mock)
        missing = [
            (title, expression)
            for title, expression in queries()
            if title not in EMPTY and not prometheus.query(expression)
        ]
        answered.missing = missing
        return not missing

    try:
        until(answered)
    except AssertionError:
        raise AssertionError(f"no data: {answered.missing}") from None
    for _, expression in queries():
        prometheus.query(expression)
    values = prometheus.query("llm_proxy:failed_attempts:ratio5m")
    assert {it["metric"]["llm_proxy_backend"] for it in values} >= {"first"}
    assert all(0 < float(it["value"][1]) < 1 for it in values)
    for rule in prometheus.rules():
        assert rule["health"] == "ok", rule
    assert prometheus.query("up")[0]["value"][1] == "1"


def test_labels_are_whole_and_bounded(scraped, mock):
    envoy, prometheus = scraped
    traffic(envoy, mock)
    until(lambda: prometheus.query("llm_proxy_tokens"))
    (sample, *_) = prometheus.query('llm_proxy_tokens{llm_proxy_backend="first",gen_ai_token_type="input"}')
    labels = sample["metric"]
    expected = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "openai",
        "gen_ai_request_model": "gpt-5",
        "llm_proxy_route": "chat",
    }
    assert {name: labels[name] for name in expected} == expected
    # No name of a series has a label in it.
    names = prometheus.query('count by (__name__) ({job="llm-proxy"})')
    names = [it["metric"]["__name__"] for it in names]
    assert not [it for it in names if ";" in it or "_op_" in it or "claude" in it], names


def test_the_cost_is_exact(scraped, mock):
    envoy, prometheus = scraped
    series = 'llm_proxy_cost_nano_usd{gen_ai_response_model="gpt-5-2025-08-07"}'
    mock.reply(status=200, headers=[JSON], body=json.dumps(CACHED))
    assert envoy.post(CHAT, chat()).status == 200
    (sample,) = until(lambda: prometheus.query(series))
    (tokens,) = prometheus.query(
        'llm_proxy_tokens{gen_ai_response_model="gpt-5-2025-08-07",gen_ai_token_type="output"}'
    )
    requests = int(tokens["value"][1]) // 5
    assert int(sample["value"][1]) % 66_000 == 0
    assert int(sample["value"][1]) >= requests * 66_000
