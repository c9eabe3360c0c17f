"""LiteLLM as a client."""

import json

import litellm

import common
from common import ABOUT_CITY, IMAGE_MESSAGE, QUESTION, TEMPERATURE, City, Target


def complete(target: Target, messages, **more):
    return litellm.completion(
        model=f"openai/{target.model}", api_base=target.base_url, api_key=target.key,
        messages=messages, **more,
    )  # fmt: skip


def user(text: str) -> list:
    return [{"role": "user", "content": text}]


def plain(target: Target):
    return complete(target, user(QUESTION)).choices[0].message.content


def stream(target: Target):
    pieces = [it.choices[0].delta.content for it in complete(target, user(QUESTION), stream=True)]
    return [it for it in pieces if it]


def tools(target: Target):
    messages = user(QUESTION)
    while True:
        message = complete(target, messages, tools=[TEMPERATURE]).choices[0].message
        messages.append(message)
        if not message.tool_calls:
            return target.answered(message.content)
        for call in message.tool_calls:
            result = target.temperature(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


def structured(target: Target):
    made = complete(target, user(ABOUT_CITY), response_format=City)
    return common.plain(City.model_validate_json(made.choices[0].message.content))


def image(target: Target):
    return complete(target, [IMAGE_MESSAGE]).choices[0].message.content
