"""Stock Envoy with what the real control planes handed to it: see `harness/recording.py`."""

import pytest

from harness import artefacts
from harness.envoy import Envoy
from harness.recording import FORMS, Served
from harness.seen import SENT, assert_seen

KEYS = {
    "MISTRAL_API_KEY": "sk-mistral",
    "DEEPSEEK_API_KEY": "sk-deepseek",
    "ANTHROPIC_API_KEY": "sk-ant",
}
CHAT = {"messages": [{"role": "user", "content": "Hello"}]}

# Those of the examples; what else is recorded has tests of its own.
EXAMPLES = [it for it in FORMS if FORMS[it][0] in ("plain", "held")]


@pytest.fixture(scope="module", params=EXAMPLES, ids="-".join)
def recorded(request, provider, output):
    """The Envoy of a form, and the form. A recording of other manifests than are rendered fails here."""
    home, form = request.param
    directory = output / "recordings" / f"{home}-{form}"
    envoy = Envoy(directory, Served(home, form, directory, provider).bootstrap, env=KEYS)
    yield envoy, form
    envoy.stop()


def test_a_provider_sees_its_key_and_nothing_of_the_way(recorded, mock):
    envoy, form = recorded
    hosts = {"/mistral": "api.mistral.ai"}
    if form != "held":
        hosts["/deepseek/v1/chat/completions"] = "api.deepseek.com"
    for path, host in hosts.items():
        mock.forget()
        reply = envoy.post(path, CHAT, [*SENT, ("host", f"{host}:10000")])
        assert reply.status == 200, reply
        arrived = mock.only()
        assert (arrived.authority, arrived.path, arrived.sni) == (host, "/v1/chat/completions", host)
        assert_seen(arrived, ("authorization", f"Bearer sk-{host.split('.')[1]}"))


def test_held_headers_carry_a_translated_type(recorded, mock):
    envoy, form = recorded
    if form != "held":
        return
    mock.profile("api.anthropic.com", auth_header="x-api-key", auth_prefix="", key="required")
    reply = artefacts.ROOT / "tests/chat/plain/reply.anthropic.json"
    mock.reply(headers=[("content-type", "application/json")], body=reply.read_text())
    answer = envoy.post("/claude", CHAT, SENT)
    assert (answer.status, answer.json()["object"]) == (200, "chat.completion")
    arrived = mock.only()
    assert (arrived.authority, arrived.path) == ("api.anthropic.com", "/v1/messages")
    key, version = ("x-api-key", "sk-ant"), ("anthropic-version", "2023-06-01")
    assert_seen(arrived, key, version, without=("origin", "referer"))
