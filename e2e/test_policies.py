"""Other people's policies before the module: what a listener or a route demands is demanded of each request
that reaches a provider, whatever of ours a client sends.

Envoy has the configuration that each control plane makes of our manifests, or what is rendered for itself,
with one more filter: each of those that can refuse, in a listener of its own for each place that it can have.
"""

import pytest

from harness import artefacts, bootstrap
from harness.client import request
from harness.control_planes.policies import Authorizer
from harness.control_planes.processor import Processor
from harness.envoy import Envoy
from harness.guards import (
    CORS, GUARDS, LISTENER, MODES, ORIGIN, ROUTE, cluster, copied, cors_filter, cors_policy, filter_of,
    per_route,
)
from harness.recording import FORMS, Served, gateway_named

KEYS = {
    "MISTRAL_API_KEY": "sk-mistral",
    "DEEPSEEK_API_KEY": "sk-deepseek",
    "ANTHROPIC_API_KEY": "sk-ant",
}
# The form's guarded path, its routes, and hosts and names of what a client would rather have.
MISTRAL = "/mistral/v1/chat/completions"
PATHS = {"plain": MISTRAL, "held": MISTRAL, "by-model": "/v1/chat/completions"}
OTHERS = {"plain": ["deepseek"], "held": ["claude"], "by-model": ["rest", "reasons"]}
HOSTS = {"deepseek": "api.deepseek.com", "claude": "api.anthropic.com", "reasons": "api.deepseek.com"}
CHAT = {"model": "mistral-small-latest", "messages": [{"role": "user", "content": "Hello"}]}
HOMES = [it for it in FORMS if it[0] in ("istio", "envoy-gateway") and it[1] in PATHS]
HOMES += [("stock", form) for form in PATHS]
PLACES = [(mode, name) for mode in MODES for name in GUARDS]


@pytest.fixture(scope="module")
def services():
    """What external authorization and external processing ask."""
    running = {"authorizer": Authorizer(("127.0.0.1", 0)), "processor": Processor(("127.0.0.1", 0))}
    yield running
    for service in running.values():
        service.stop()


@pytest.fixture(scope="module")
def home(request, provider, output, services):
    """An Envoy with a listener for each guard in each place, and its form."""
    home, form = request.param
    directory = output / "policies" / f"{home}-{form}"
    if home == "stock":
        made = bootstrap.rendered(gateway_named(form).read_text(), directory, KEYS)
        made = bootstrap.redirected(made, provider)
    else:
        made = Served(home, form, directory, provider).bootstrap
    envoy = Envoy(directory, guarded(made, services), env=KEYS, workers=1)
    yield envoy, form
    envoy.stop()


def guarded(made: dict, services: dict) -> dict:
    """The same bootstrap with one listener for each guard and place, and one for CORS."""
    static = made["static_resources"]
    [gateway] = [it for it in static["listeners"] if any(is_guarded(holder) for holder in bootstrap.mappings(it))]
    static["listeners"] = [
        *(listener(gateway, f"{mode} {name}", filter_of(name, mode), per_route(name) if mode != LISTENER else {})
          for mode, name in PLACES),
        listener(gateway, CORS, cors_filter(), cors_policy()),
    ]
    for name, service in services.items():
        static["clusters"].append(cluster(name, service.address, http2=name == "processor"))
    return made


def listener(gateway: dict, name: str, first: dict, on_route: dict) -> dict:
    """A listener like the gateway's, with one more filter before its own, and `on_route` on the guarded route."""
    made = copied(gateway)
    made["name"] = name
    for holder in list(bootstrap.mappings(made)):
        if "http_filters" in holder and "route_config" in holder:
            holder["http_filters"].insert(0, first)
        if is_guarded(holder):
            holder.setdefault("typed_per_filter_config", {}).update(on_route)
    return made


def is_guarded(holder: dict) -> bool:
    """Whether it is the one of Envoy's routes that a client's path chooses, and nothing else."""
    if "match" in holder and ("-waiting" in str(holder.get("name")) or holder.get("name") == "rest"):
        return True
    match = holder.get("match", {}) if isinstance(holder.get("match"), dict) else {}
    patterns = [it for it in match.values() if isinstance(it, str)]
    patterns += [match["safe_regex"]["regex"]] if "safe_regex" in match else []
    return any(it == "/mistral" or it.startswith("/mistral(") for it in patterns)


def ask(home, place: str, headers=(), path=None, method="POST"):
    envoy, form = home
    body = CHAT if method == "POST" else None
    return request(envoy.ports[place], method, path or PATHS[form], body, list(headers))


def forged(form: str) -> tuple[list[tuple[str, str]], list[str]]:
    """What of ours a client could send to get to another route: headers, then paths."""
    headers = []
    for name in OTHERS[form]:
        headers += [
            ("x-llm-proxy-backend", name),
            ("x-llm-proxy-route", name),
            ("x-llm-proxy-cluster", name),
            ("x-envoy-original-path", f"/{name}"),
            ("x-envoy-decorator-operation", name),
            ("x-rewrite-url", f"/{name}/v1/chat/completions"),
            ("host", HOSTS.get(name, "api.mistral.ai")),
        ]
    roots = ("/~default.llm-proxy", "/~istio-ingress.llm-proxy")
    paths = [f"{root}/{it}" for root in roots for name in OTHERS[form] for it in (f"{name}/chat/completions", name)]
    return headers, paths


@pytest.mark.parametrize("home", [it for it in HOMES if it[1] == "plain"], ids="-".join, indirect=True)
@pytest.mark.parametrize("mode, name", PLACES)
def test_a_guard_is_asked_whatever_a_client_sends(home, mock, mode, name):
    assert_asked(home, mock, mode, name)


@pytest.mark.parametrize("home", [it for it in HOMES if it[1] != "plain"], ids="-".join, indirect=True)
@pytest.mark.parametrize("name", GUARDS)
def test_a_guard_of_a_route_is_asked_where_the_body_decides(home, mock, name):
    assert_asked(home, mock, ROUTE, name)


def assert_asked(home, mock, mode, name):
    guard, place = GUARDS[name], f"{mode} {name}"
    headers, paths = forged(home[1])
    # A limit lets one request pass.
    if name == "rate-limit":
        ask(home, place)
        mock.forget()
    for header in [None, *headers]:
        reply = ask(home, place, [header] if header else [])
        assert reply.status == guard.status, (header, reply)
        shown = str(reply.headers) + reply.text
        provider = [] if header and header[0] == "host" else ["api.mistral.ai"]
        assert not [it for it in (*KEYS.values(), *provider) if it in shown], (header, reply)
    for path in paths:
        # A path of ours leads nowhere, guarded or not.
        assert ask(home, place, path=path).status in (guard.status, 404), path
    assert mock.none_came()
    for sent in ([], [it for it in headers if it[0] != "host"]):
        mock.forget()
        reply = ask(home, place, [*guard.credential, *sent])
        assert reply.status == 200, (sent, reply)
        arrived = mock.only()
        assert (arrived.authority, arrived.path) == ("api.mistral.ai", "/v1/chat/completions")
        assert arrived.all("authorization") == ["Bearer sk-mistral"]
        kept = {it for it, _ in guard.credential} & {"x-token", "x-team", "x-guard"}
        assert {it for it, _ in arrived.headers if it in ("x-api-key", *kept)} == kept


@pytest.mark.parametrize("home", [it for it in HOMES if it[1] != "by-model"], ids="-".join, indirect=True)
def test_a_guard_of_one_route_leaves_the_other_alone(home, mock):
    [other] = OTHERS[home[1]]
    host = HOSTS[other]
    mock.profile("api.anthropic.com", auth_header="x-api-key", auth_prefix="", key="required")
    recorded = artefacts.ROOT / "tests/chat/plain/reply.anthropic.json"
    for name in GUARDS:
        mock.forget()
        if other == "claude":
            mock.reply(headers=[("content-type", "application/json")], body=recorded.read_text())
        reply = ask(home, f"{ROUTE} {name}", path=f"/{other}/v1/chat/completions")
        assert reply.status == 200, (name, reply)
        assert mock.only().authority == host


@pytest.mark.parametrize("home", HOMES, ids="-".join, indirect=True)
def test_a_preflight_is_answered_before_any_provider(home, mock):
    asked = [("access-control-request-method", "POST"), ("access-control-request-headers", "authorization")]
    for header in [None, *forged(home[1])[0]]:
        sent = [("origin", ORIGIN), *asked, *([header] if header else [])]
        reply = ask(home, CORS, sent, method="OPTIONS")
        assert reply.status == 200, reply
        assert reply.header("access-control-allow-origin") == ORIGIN
        assert reply.header("access-control-allow-methods") == "POST"
        assert not reply.body and "sk-" not in str(reply.headers)
    # One from elsewhere is not answered with leave, and goes no further either.
    reply = ask(home, CORS, [("origin", "https://evil.example"), *asked], method="OPTIONS")
    assert reply.header("access-control-allow-origin") is None
    assert mock.none_came()
    # The request itself is answered as always, with leave for the page to read it.
    reply = ask(home, CORS, [("origin", ORIGIN)])
    assert (reply.status, reply.header("access-control-allow-origin")) == (200, ORIGIN)
    assert mock.only().all("authorization") == ["Bearer sk-mistral"]
