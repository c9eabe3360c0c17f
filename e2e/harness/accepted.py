"""What the providers' own packages make of a request: their types, which know every member.

Beyond the types, what the APIs refuse and no type can say: the order of roles, answers to calls.
"""

import functools

from google.genai import types as gemini_types
from pydantic import BaseModel, ConfigDict, TypeAdapter

from .mock import Arrived

# The API has these for the models that take them; the package lost them with version 1:
# <https://github.com/anthropics/anthropic-sdk-python/blob/main/MIGRATION.md>.
SAMPLING = ("temperature", "top_p")


def by_anthropic(arrived: Arrived) -> dict:
    """The body of `arrived`, which is a request of Anthropic's Messages."""
    assert arrived.header("anthropic-version") == "2023-06-01"
    return _messages(arrived, arrived.json())


def by_claude_on_vertex(arrived: Arrived) -> dict:
    """The body of `arrived`, which is the same on Vertex AI: the model stands in the path."""
    assert arrived.header("anthropic-version") is None
    assert int(arrived.header("content-length")) == len(arrived.body)
    assert arrived.header("transfer-encoding") is None
    sent = arrived.json()
    assert sent.pop("anthropic_version") == "vertex-2023-10-16"
    assert "model" not in sent
    _messages(arrived, {"model": "in-the-path", **sent})
    return sent


def _messages(arrived: Arrived, sent: dict) -> dict:
    assert arrived.header("content-type") == "application/json"
    typed = {name: value for name, value in sent.items() if name not in SAMPLING}
    # The type leaves out what it does not know, so whatever is gone was none of its members.
    assert _whole(_messages_type().validate_python(typed)) == typed
    assert all(0 <= sent[name] <= 1 for name in SAMPLING if name in sent), sent
    assert sent["max_tokens"] > 0
    _assert_in_turns([message["role"] for message in sent["messages"]], "assistant")
    unanswered = set()
    for message in sent["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        assert blocks, message
        assert all(block["text"].strip() for block in blocks if block["type"] == "text"), message
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        # They stand first, all of them, each once.
        assert all(block["type"] == "tool_result" for block in blocks[: len(results)]), message
        assert sorted(results) == sorted(unanswered), message
        unanswered = {block["id"] for block in blocks if block["type"] == "tool_use"}
    return sent


def by_gemini(arrived: Arrived) -> dict:
    """The body of `arrived`, which is a request of Gemini's generateContent."""
    assert arrived.header("content-type") == "application/json"
    sent = arrived.json()
    # Unknown members are errors here, also those of a schema.
    _GenerateContent.model_validate_json(arrived.body)
    _assert_in_turns([content["role"] for content in sent["contents"]], "model")
    unanswered = []
    for content in sent["contents"]:
        assert content["parts"], content
        answers = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
        assert [answer["name"] for answer in answers] == unanswered, content
        calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
        unanswered = [call["name"] for call in calls]
    return sent


def _assert_in_turns(roles: list[str], other: str):
    assert roles == [("user", other)[at % 2] for at in range(len(roles))], roles


def _whole(value):
    """`value` with what is validated only when it is read."""
    if isinstance(value, dict):
        return {name: _whole(member) for name, member in value.items()}
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        return value
    return [_whole(item) for item in value]


@functools.cache
def _messages_type() -> TypeAdapter:
    # Imported when wanted: it takes more than a second.
    from anthropic.types import MessageCreateParams

    return TypeAdapter(MessageCreateParams)


class _GenerateContent(BaseModel):
    """The members of a request, as <https://ai.google.dev/api/generate-content> names them."""

    model_config = ConfigDict(extra="forbid")

    contents: list[gemini_types.Content]
    systemInstruction: gemini_types.Content | None = None
    tools: list[gemini_types.Tool] | None = None
    toolConfig: gemini_types.ToolConfig | None = None
    safetySettings: list[gemini_types.SafetySetting] | None = None
    generationConfig: gemini_types.GenerationConfig | None = None
    cachedContent: str | None = None
