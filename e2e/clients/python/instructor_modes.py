"""instructor, in every mode that OpenAI's chat has."""

import json

import instructor
import openai

import common
from common import ABOUT_CITY, IMAGE_URL, ABOUT_IMAGE, QUESTION, TEMPERATURE, City, Target


def made(target: Target, mode: instructor.Mode, **more):
    client = openai.OpenAI(base_url=target.base_url, api_key=target.key)
    client = instructor.from_openai(client, mode=mode)
    messages = [{"role": "user", "content": ABOUT_CITY}]
    return common.plain(
        client.chat.completions.create(
            model=target.model, messages=messages, response_model=City, max_retries=1, **more
        )
    )


def client_of(target: Target):
    return instructor.from_openai(openai.OpenAI(base_url=target.base_url, api_key=target.key))


def asked(target: Target, messages: list, **more):
    """Without a type of the answer."""
    create = client_of(target).chat.completions.create
    return create(model=target.model, messages=messages, response_model=None, **more)


def plain(target: Target):
    messages = [{"role": "user", "content": QUESTION}]
    return asked(target, messages).choices[0].message.content


def stream(target: Target):
    made = asked(target, [{"role": "user", "content": QUESTION}], stream=True)
    pieces = [it.choices[0].delta.content for it in made if it.choices]
    return [it for it in pieces if it]


def tools(target: Target):
    messages = [{"role": "user", "content": QUESTION}]
    while True:
        message = asked(target, messages, tools=[TEMPERATURE]).choices[0].message
        messages.append(message.model_dump())
        if not message.tool_calls:
            return target.answered(message.content)
        for call in message.tool_calls:
            result = target.temperature(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


def structured_tools(target: Target):
    return made(target, instructor.Mode.TOOLS)


def structured_json(target: Target):
    return made(target, instructor.Mode.JSON)


def structured_md_json(target: Target):
    return made(target, instructor.Mode.MD_JSON)


def structured_json_schema(target: Target):
    return made(target, instructor.Mode.JSON_SCHEMA)


def structured_tools_strict(target: Target):
    return made(target, instructor.Mode.TOOLS_STRICT)


def image(target: Target):
    picture = instructor.Image.from_base64(IMAGE_URL)
    messages = [{"role": "user", "content": [ABOUT_IMAGE, picture]}]
    return asked(target, messages).choices[0].message.content
