"""instructor, in every mode that OpenAI's chat has."""

import instructor
import openai

import common
from common import ABOUT_CITY, IMAGE_URL, ABOUT_IMAGE, QUESTION, City, Target


def made(target: Target, mode: instructor.Mode, **more):
    client = openai.OpenAI(base_url=target.base_url, api_key=target.key)
    client = instructor.from_openai(client, mode=mode)
    messages = [{"role": "user", "content": ABOUT_CITY}]
    return common.plain(
        client.chat.completions.create(
            model=target.model, messages=messages, response_model=City, max_retries=1, **more
        )
    )


def plain(target: Target):
    client = instructor.from_openai(openai.OpenAI(base_url=target.base_url, api_key=target.key))
    messages = [{"role": "user", "content": QUESTION}]
    reply = client.chat.completions.create(
        model=target.model, messages=messages, response_model=None
    )
    return reply.choices[0].message.content


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
    client = instructor.from_openai(openai.OpenAI(base_url=target.base_url, api_key=target.key))
    messages = [{"role": "user", "content": [ABOUT_IMAGE, instructor.Image.from_base64(IMAGE_URL)]}]
    reply = client.chat.completions.create(
        model=target.model, messages=messages, response_model=None
    )
    return reply.choices[0].message.content
