"""`model`, `defaultModel`, `modelAliases`, `models`, `defaults`, `overrides`: what is spliced into a
body, and that every other byte stays."""

import json

import pytest

from harness.shapes import assert_openai_error

MESSAGES = b'"messages":[{"role":"user","content":"Hi"}]'


def sent_and_arrived(gateway, mock, backend, body, path="/v1/chat/completions", **how):
    reply = gateway.post(f"/{backend}{path}", body, **how)
    assert reply.status == 200, reply.body
    arrived = mock.only()
    lengths = arrived.all("content-length")
    assert lengths in ([], [str(len(arrived.body))])
    return arrived.body


def inserted(before: bytes, after: bytes) -> bytes:
    """What was put into `before`, in one place, to make it `after`."""
    head = next(
        (at for at, (a, b) in enumerate(zip(before, after)) if a != b), min(len(before), len(after))
    )
    tail = len(before) - head
    assert after[:head] == before[:head] and after.endswith(before[len(before) - tail :]), (
        f"not one insertion:\n{before!r}\n{after!r}"
    )
    return after[head : len(after) - tail]


UNCHANGED = {
    "whitespace": b' \r\n\t{ "model" :\t"m" ,\n\n%b } \n\n' % MESSAGES,
    "numbers": b'{"model":"m",%b,"seed":12345678901234567890123,"top_p":0.10,"n":1,'
    b'"temperature":1E+0,"max_tokens":9007199254740993,"presence_penalty":-0.0}' % MESSAGES,
    "order": b'{"zeta":1,"alpha":2,%b,"model":"m","beta":{"z":1,"a":2}}' % MESSAGES,
    "escapes": b'{"model":"\\u006d","messages":[{"role":"user","content":'
    b'"\\u00e9\\/\\ud83d\\ude00\\b\\f\\n\\r\\t\\"\\\\ \\u0000 \\ud83d"}]}',
    "unicode": '{"model":"m","messages":[{"role":"user","content":"é 漢字 👩‍👩‍👧 \u2028"}]}'.encode(),
    "escaped key": b'{"mod\\u0065l":"m",%b}' % MESSAGES,
    "duplicates of others": b'{"model":"m","user":"a","user":"b",%b}' % MESSAGES,
    "models elsewhere": b'{"model":"m","metadata":{"model":"x","model":"y"},'
    b'"messages":[{"role":"user","content":"\\"model\\":\\"z\\""}]}',
    "empty key": b'{"":1,"model":"m",%b}' % MESSAGES,
    "literals": b'{"a":null,"b":true,"c":false,"d":[],"e":{},"f":"","model":"m",%b}' % MESSAGES,
}


@pytest.mark.parametrize("case", UNCHANGED)
def test_a_body_without_anything_to_change_arrives_byte_for_byte(gateway, mock, case):
    body = UNCHANGED[case]
    mock.reply(body="{}", headers=[("content-type", "application/json")])
    assert sent_and_arrived(gateway, mock, "plain", body) == body


@pytest.mark.parametrize("case", UNCHANGED)
def test_a_forced_model_replaces_the_value_and_nothing_else(gateway, mock, case):
    body = UNCHANGED[case]
    mock.reply(body="{}", headers=[("content-type", "application/json")])
    value = b'"\\u006d"' if b'"\\u006d"' in body else b'"m"'
    assert body.count(value) == 1
    expected = body.replace(value, b'"grok-2-latest"')
    assert sent_and_arrived(gateway, mock, "forced", body) == expected


ABSENT = {
    "null": b'{"model": null ,%b}' % MESSAGES,
    "empty": b'{%b,"model":""}' % MESSAGES,
    "blank": b'{%b,"model": "  \\t "}' % MESSAGES,
    "escaped blank": b'{%b,"model":"\\u0020\\u00a0"}' % MESSAGES,
}


@pytest.mark.parametrize("backend, model", [("filled", "fill-model"), ("forced", "grok-2-latest")])
@pytest.mark.parametrize("case", ABSENT)
def test_a_model_that_says_nothing_is_filled_in_its_place(gateway, mock, case, backend, model):
    body = ABSENT[case]
    before, _, rest = body.partition(b'"model":')
    after = rest[len(rest) - 1 :] if before != b"{" else b' ,%b}' % MESSAGES
    arrived = sent_and_arrived(gateway, mock, backend, body)
    assert json.loads(arrived)["model"] == model
    assert arrived.startswith(before + b'"model":') and arrived.endswith(after)
    value = arrived[len(before) + len(b'"model":') : len(arrived) - len(after)]
    assert value.strip() == b'"%b"' % model.encode()


@pytest.mark.parametrize("backend, model", [("filled", "fill-model"), ("forced", "grok-2-latest")])
@pytest.mark.parametrize(
    "body",
    [
        b"{%b}" % MESSAGES,
        b' {\n  %b\n}\n' % MESSAGES,
        b'{%b,"metadata":{"model":"x"}}' % MESSAGES,
    ],
)
def test_an_absent_model_is_inserted_once(gateway, mock, body, backend, model):
    arrived = sent_and_arrived(gateway, mock, backend, body)
    added = inserted(body, arrived)
    assert json.loads(arrived) == {**json.loads(body), "model": model}
    assert sum(added.count(it) for it in (b'"model"', model.encode())) == 2


def test_a_model_is_inserted_into_an_empty_object(gateway, mock):
    mock.reply(body="{}", headers=[("content-type", "application/json")])
    assert json.loads(sent_and_arrived(gateway, mock, "filled", b"{ }")) == {"model": "fill-model"}


def test_a_default_does_not_replace_what_the_client_asked_for(gateway, mock):
    body = b'{"model":"the-clients-own",%b}' % MESSAGES
    assert sent_and_arrived(gateway, mock, "filled", body) == body


@pytest.mark.parametrize(
    "asked, model",
    [
        ('"gpt-4o"', "exact-model"),
        ('"gpt\\u002d4o"', "exact-model"),
        ('"gpt-4o-mini"', "longer-model"),
        ('"gpt-3.5-turbo"', "family-model"),
        ('"claude-3"', "any-model"),
        ('"GPT-4o"', "any-model"),
        ('"weird"', 'we"ird\\model/é'),
        ('""', "fill-model"),
        ("null", "fill-model"),
    ],
)
def test_aliases_go_from_exact_to_longest_prefix_to_any(gateway, mock, asked, model):
    body = b'{"model":%b,"x-unknown":1.50,%b}' % (asked.encode(), MESSAGES)
    arrived = sent_and_arrived(gateway, mock, "aliased", body)
    assert json.loads(arrived)["model"] == model
    before, after = b'{"model":', b',"x-unknown":1.50,%b}' % MESSAGES
    assert arrived.startswith(before) and arrived.endswith(after)


def test_a_model_that_the_backend_does_not_serve_is_refused(gateway, mock):
    reply = gateway.post("/serving/v1/chat/completions", {"model": "gpt-4o", "messages": []})
    error = assert_openai_error(
        reply, 404, "invalid_request_error", param="model", code="model_not_found", says="gpt-4o"
    )
    assert "llama" not in error["code"]


@pytest.mark.parametrize("asked, model", [("llama-3.3", None), ("mixtral-8x7b", None), ("small", "phi-3")])
def test_models_that_the_backend_serves_pass(gateway, mock, asked, model):
    body = b'{"model":"%b",%b}' % (asked.encode(), MESSAGES)
    arrived = sent_and_arrived(gateway, mock, "serving", body)
    assert json.loads(arrived)["model"] == (model or asked)


def test_a_route_can_force_a_model(gateway, mock):
    body = b'{"model":"m",%b}' % MESSAGES
    arrived = sent_and_arrived(gateway, mock, "with-model", body)
    assert arrived == body.replace(b'"m"', b'"route-model"')


@pytest.mark.parametrize(
    "path, body, is_filled",
    [
        ("/v1/completions", {"prompt": "x"}, True),
        ("/v1/embeddings", {"input": "x"}, True),
        ("/v1/rerank", {"query": "x", "documents": ["a"]}, True),
        ("/v1/audio/speech", {"input": "x", "voice": "alloy"}, True),
        ("/v1/responses", {"input": "x"}, True),
        ("/v1/moderations", {"input": "x"}, True),
        ("/v1/images/generations", {"prompt": "x"}, True),
        # A batch has no model of its own.
        ("/v1/batches", {"input_file_id": "f"}, False),
    ],
)
def test_every_operation_with_a_json_body_has_the_model_rules(gateway, mock, path, body, is_filled):
    mock.reply(body="{}", headers=[("content-type", "application/json")])
    arrived = json.loads(sent_and_arrived(gateway, mock, "filled", body, path))
    assert arrived == ({**body, "model": "fill-model"} if is_filled else body)


def test_defaults_fill_in_and_overrides_force(gateway, mock):
    body = b'{"model":"m","temperature":1.00,"store":true,%b}' % MESSAGES
    arrived = sent_and_arrived(gateway, mock, "members", body)
    assert json.loads(arrived) == {
        "model": "m",
        "temperature": 1.0,
        "store": False,
        "messages": [{"role": "user", "content": "Hi"}],
        "stop": ["\n\n", "é"],
        "seed": 7,
        "metadata": {"team": "e2e"},
    }
    # What was not to be changed kept its bytes and its place.
    assert b'"model":"m","temperature":1.00,"store":false,%b' % MESSAGES in arrived


def test_a_default_replaces_null(gateway, mock):
    body = b'{"model":"m","temperature":null,%b}' % MESSAGES
    arrived = sent_and_arrived(gateway, mock, "members", body)
    assert json.loads(arrived)["temperature"] == 0.25


def test_members_of_the_same_name_elsewhere_are_not_touched(gateway, mock):
    body = b'{"model":"m","tools":[{"store":true,"temperature":null}],%b}' % MESSAGES
    arrived = sent_and_arrived(gateway, mock, "members", body)
    assert b'"tools":[{"store":true,"temperature":null}]' in arrived


@pytest.mark.parametrize("backend", ["plain", "forced", "filled", "aliased", "members"])
def test_a_body_sent_byte_by_byte_arrives_as_if_sent_at_once(gateway, mock, backend):
    body = '{ "messages":[{"role":"user","content":"é\\u00e9👋"}], "model" : "gpt-4o" }'.encode()
    whole = sent_and_arrived(gateway, mock, backend, body)
    pieces = [body[at : at + 1] for at in range(len(body))]
    for how in ({"pieces": pieces}, {"chunks": pieces}):
        mock.forget()
        reply = gateway.post(f"/{backend}/v1/chat/completions", pause=0.001, **how)
        assert reply.status == 200, reply.body
        assert mock.only().body == whole


@pytest.mark.parametrize("at", range(3, 24, 2))
def test_a_model_split_between_chunks_is_found(gateway, mock, at):
    body = b'{"model": "gpt-4o-mini",%b}' % MESSAGES
    reply = gateway.post("/aliased/v1/chat/completions", chunks=[body[:at], body[at:]], pause=0.05)
    assert reply.status == 200, reply.body
    assert mock.only().body == body.replace(b"gpt-4o-mini", b"longer-model")


def test_a_model_behind_a_long_conversation_is_found(gateway, mock):
    content = "A long conversation. " * 20_000
    body = json.dumps({"messages": [{"role": "user", "content": content}], "model": "gpt-4o"})
    arrived = sent_and_arrived(gateway, mock, "aliased", body)
    assert arrived == body.replace('"gpt-4o"', '"exact-model"').encode()


def test_a_media_type_is_no_way_around_the_rules(gateway, mock):
    body = b'{"model":"gpt-4o",%b}' % MESSAGES
    for media_type in ("text/plain", "application/x-www-form-urlencoded"):
        headers = [("content-type", media_type)]
        assert gateway.post("/forced/v1/chat/completions", body, headers).status == 200
    for arrived in mock.requests():
        assert arrived.json()["model"] == "grok-2-latest"
        assert arrived.all("content-type") == ["application/json"]


def test_max_tokens_goes_by_its_new_name_to_models_that_insist(gateway, mock):
    """The provider refuses it by the old one, and answers by itself."""
    for pieces in (1, 7):
        for limit in ("before", "after"):
            mock.forget()
            members = [b'"model": "o4-mini"', MESSAGES, b'"n":1']
            members.insert(0 if limit == "before" else 2, b'"max_tokens" : 50')
            body = b"{%b}" % b", ".join(members)
            chunks = [body[at : at + pieces * 13] for at in range(0, len(body), pieces * 13)]
            reply = gateway.post("/openai/v1/chat/completions", pieces=chunks, pause=0.002)
            assert reply.status == 200, reply.body
            # Spaces fill the room that `stream_options` would have taken in a stream's request.
            arrived = mock.only().body.rstrip(b"}").rstrip() + b"}"
            assert arrived == body.replace(b"max_tokens", b"max_completion_tokens")
    mock.forget()
    body = b'{"max_tokens":5,"model":"gpt-4o",%b}' % MESSAGES
    assert sent_and_arrived(gateway, mock, "openai", body) == body
    mock.forget()
    body = b'{"max_tokens":5,"max_completion_tokens":5,"model":"gpt-5",%b}' % MESSAGES
    reply = gateway.post("/openai/v1/chat/completions", body)
    assert_openai_error(reply, 400, kind="invalid_request_error", param="max_tokens")
