"""Schemas of the world go to Claude as Anthropic's own package would have made them."""

import json

import pytest

import corpus
import world

[ANTHROPIC] = [it for it in world.PROVIDERS if it.type == "anthropic"]


@pytest.fixture(scope="module")
def schemas() -> list[corpus.Schema]:
    return corpus.of_servers() + corpus.of_pydantic() + corpus.of_zod()


def test_there_are_hundreds_of_every_kind(schemas):
    kinds = {"pydantic": 0, "zod": 0, "tools": 0}
    for it in schemas:
        kind = it.name.split(".")[0]
        kinds[kind if kind in kinds else "tools"] += 1
    print(kinds)
    assert sum(kinds.values()) >= 300 and min(kinds.values()) >= 30, kinds


@pytest.mark.parametrize("place", ["answer", "tool"])
def test_anthropics_package_has_nothing_left_to_do(gateway, mock, schemas, place):
    sent = []
    for it in schemas:
        mock.forget()
        function = {"name": "f", "parameters": it.schema, "strict": True}
        format_ = {"name": "s", "schema": it.schema, "strict": False}
        body = {"model": ANTHROPIC.model, "messages": [{"role": "user", "content": "u"}]}
        if place == "tool":
            body["tools"] = [{"type": "function", "function": function}]
        else:
            body["response_format"] = {"type": "json_schema", "json_schema": format_}
        reply = gateway.post(f"{ANTHROPIC.base}/chat/completions", body)
        assert reply.status == 200, f"{it.name}: {reply.text}\n{json.dumps(it.schema)}"
        arrived = mock.only().json()
        if place == "tool":
            sent.append(arrived["tools"][0]["input_schema"])
        else:
            sent.append(arrived["output_config"]["format"]["schema"])
    for it, before, after in zip(schemas, sent, corpus.by_anthropics_sdk(sent), strict=True):
        assert before == after, f"{it.name}: {json.dumps(it.schema)}"


@pytest.mark.parametrize("model", ["gemini-3.8-flash", "gemini-2.5-flash"])
def test_gemini_takes_them_all(gateway, mock, schemas, model):
    for it in schemas:
        mock.forget()
        function = {"name": "f", "parameters": it.schema}
        body = {"model": model, "messages": [{"role": "user", "content": "u"}]}
        body["tools"] = [{"type": "function", "function": function}]
        reply = gateway.post("/gemini/v1/chat/completions", body)
        assert reply.status == 200, f"{it.name}: {reply.text}\n{json.dumps(it.schema)}"
        mock.only()
