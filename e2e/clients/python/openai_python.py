"""OpenAI's own package."""

import json

import openai
from pydantic import BaseModel

from common import ABOUT_CITY, IMAGE_MESSAGE, QUESTION, TEMPERATURE, City, Target, plain as dumped


def client(target: Target) -> openai.OpenAI:
    return openai.OpenAI(base_url=target.base_url, api_key=target.key)


def user(text: str) -> list:
    return [{"role": "user", "content": text}]


def plain(target: Target):
    made = client(target).chat.completions.create(model=target.model, messages=user(QUESTION))
    return made.choices[0].message.content


def stream(target: Target):
    with client(target).chat.completions.stream(model=target.model, messages=user(QUESTION)) as it:
        pieces = [event.delta for event in it if event.type == "content.delta"]
        assert it.get_final_completion().choices[0].message.content == "".join(pieces)
    return pieces


def tools(target: Target):
    messages = user(QUESTION)
    while True:
        made = client(target).chat.completions.create(
            model=target.model, messages=messages, tools=[TEMPERATURE]
        )
        message = made.choices[0].message
        # As the documentation does: the message goes back as it came.
        messages.append(message)
        if not message.tool_calls:
            return target.answered(message.content)
        for call in message.tool_calls:
            result = target.temperature(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


def tools_streamed(target: Target):
    """The same, with streams, whose final message goes back."""
    messages = user(QUESTION)
    while True:
        with client(target).chat.completions.stream(
            model=target.model, messages=messages, tools=[TEMPERATURE]
        ) as it:
            message = it.get_final_completion().choices[0].message
        messages.append(message)
        if not message.tool_calls:
            return target.answered(message.content)
        for call in message.tool_calls:
            result = target.temperature(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


def tools_parsed(target: Target):
    """The same, with messages in which the package has read the arguments."""

    class temperature(BaseModel):
        """The temperature in a city."""

        city: str

    messages = user(QUESTION)
    while True:
        made = client(target).chat.completions.parse(
            model=target.model, messages=messages, tools=[openai.pydantic_function_tool(temperature)]
        )
        message = made.choices[0].message
        messages.append(message)
        if not message.tool_calls:
            return target.answered(message.content)
        for call in message.tool_calls:
            result = target.temperature(call.function.parsed_arguments.city)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


def structured(target: Target):
    made = client(target).chat.completions.parse(
        model=target.model, messages=user(ABOUT_CITY), response_format=City
    )
    return dumped(made.choices[0].message.parsed)


def structured_tool(target: Target):
    made = client(target).chat.completions.parse(
        model=target.model, messages=user(ABOUT_CITY), tools=[openai.pydantic_function_tool(City)]
    )
    return dumped(made.choices[0].message.tool_calls[0].function.parsed_arguments)


def image(target: Target):
    made = client(target).chat.completions.create(model=target.model, messages=[IMAGE_MESSAGE])
    return made.choices[0].message.content
