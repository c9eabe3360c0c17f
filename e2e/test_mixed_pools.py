"""Pools of two different providers: a conversation goes on at whichever of them answers.

Each turn has tools and thinking, and the client sends the messages of replies back as they came. The
provider refuses what the real one refuses.
"""

import itertools
import json

import pytest

from harness import gateways

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look",
            "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
        },
    }
]
# Of each provider: its type, endpoint, key and model.
MEMBERS = {
    "claude": ("anthropic", "https://api.anthropic.com", "${ANTHROPIC_KEY}", "claude-opus-5-5"),
    "gemini": (
        "google", "https://generativelanguage.googleapis.com/v1beta", "${GEMINI_KEY}",
        "gemini-3.8-flash",
    ),
    "groq": ("groq", "https://api.groq.com", "${PLAIN_KEY}", "openai/gpt-oss-120b"),
    "mistral": ("mistral", "https://api.mistral.ai", "${PLAIN_KEY}", "mistral-large-latest"),
    "openai": ("openai", "https://api.openai.com", "${OPENAI_KEY}", "gpt-5.2"),
}  # fmt: skip
PAIRS = list(itertools.permutations(MEMBERS, 2))


def configuration(provider) -> dict:
    backends = []
    for name, (kind, endpoint, key, model) in MEMBERS.items():
        config = {"apiKey": key, "endpoint": endpoint, "model": model}
        config = gateways.at(provider, name, config)
        backends.append({"name": name, "type": kind, "config": config})
    for first, second in PAIRS:
        members = [{"name": first, "priority": 0}, {"name": second, "priority": 1}]
        pool = {"fallback": True, "fallbackOn": ["5xx"], "backends": members}
        backends.append({"name": f"{first}-{second}", "type": "pool", **pool})
    routes = [
        {"name": f"{a}-{b}", "path": f"/{a}-{b}", "backend": f"{a}-{b}"} for a, b in PAIRS
    ]
    return {"backends": backends, "routes": routes}


@pytest.fixture(scope="module")
def pools(start, provider):
    return start(configuration(provider))


def assembled(stream: str) -> dict:
    """The message of a stream, as clients put it together: with every member that came."""
    message = {"role": "assistant", "content": ""}
    for event in stream.split("\n\n"):
        if not event.startswith("data: {"):
            continue
        for choice in json.loads(event.removeprefix("data: "))["choices"]:
            for name, value in choice["delta"].items():
                if name == "tool_calls":
                    calls = message.setdefault("tool_calls", [])
                    for piece in value:
                        if piece["index"] == len(calls):
                            calls.append({**piece, "function": {"name": "", "arguments": ""}})
                        for part in ("name", "arguments"):
                            calls[piece["index"]]["function"][part] += piece["function"].get(part) or ""
                elif isinstance(value, str) and name != "role":
                    message[name] = (message.get(name) or "") + value
    for call in message.get("tool_calls", []):
        del call["index"]
    return message


# Every other pair streams; the other way round it does not.
@pytest.mark.parametrize(
    "first, second, streams",
    [pytest.param(*pair, pair > pair[::-1], id="-".join(pair)) for pair in PAIRS],
)
def test_a_conversation_goes_on_at_either_member(pools, mock, first, second, streams):
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Look.", "name": "Ann"},
    ]
    hosts = {name: member[1].split("/")[2] for name, member in MEMBERS.items()}
    answers = [first, second, first, second]
    for number, answering in enumerate(answers):
        mock.forget()
        if answering == second:
            unavailable = {"status": 503, "headers": [("content-type", "application/json")]}
            mock.reply(**unavailable, body="{}", **{"for": {"authority": hosts[first]}})
        is_last = number == len(answers) - 1
        call = {"name": "look", "arguments": {"at": str(number)}}
        mock.says({"thinking": "Hm.", "text": "So."} if is_last else {"thinking": "Hm.", "calls": [call]})
        body = {"model": "any", "messages": messages, "tools": TOOLS, "reasoning_effort": "low"}
        if streams:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        reply = pools.post(f"/{first}-{second}/v1/chat/completions", body)
        arrived = mock.requests()
        assert [it.refused for it in arrived] == [None] * len(arrived), arrived
        assert reply.status == 200, reply.body
        assert arrived[-1].authority.split(":")[0] == hosts[answering]
        message = assembled(reply.text) if streams else reply.json()["choices"][0]["message"]
        messages.append(message)
        if is_last:
            assert message["content"] == "So."
            return
        [made] = message["tool_calls"]
        assert json.loads(made["function"]["arguments"]) == {"at": str(number)}
        messages.append({"role": "tool", "tool_call_id": made["id"], "content": "r"})
        messages.append({"role": "user", "content": "And now?"})
