"""Haystack, with `OpenAIChatGenerator`."""

import common
from common import ABOUT_CITY, ABOUT_IMAGE, QUESTION, City, Target
from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage, ImageContent
from haystack.tools import tool
from haystack.utils import Secret

import world


def generator(target: Target, **more) -> OpenAIChatGenerator:
    return OpenAIChatGenerator(
        api_key=Secret.from_token(target.key), model=target.model, api_base_url=target.base_url,
        **more,
    )  # fmt: skip


def plain(target: Target):
    return generator(target).run([ChatMessage.from_user(QUESTION)])["replies"][0].text


def stream(target: Target):
    pieces = []
    made = generator(target, streaming_callback=lambda it: pieces.append(it.content))
    made.run([ChatMessage.from_user(QUESTION)])
    return [it for it in pieces if it]


def tools(target: Target):
    @tool
    def temperature(city: str) -> str:
        """The temperature in a city."""
        return target.temperature(city)

    agent = Agent(chat_generator=generator(target), tools=[temperature], system_prompt="Be brief.")
    agent.warm_up()
    done = agent.run(messages=[ChatMessage.from_user(QUESTION)])
    return target.answered(done["messages"][-1].text)


def structured(target: Target):
    made = generator(target, generation_kwargs={"response_format": City})
    reply = made.run([ChatMessage.from_user(ABOUT_CITY)])["replies"][0]
    return common.plain(City.model_validate_json(reply.text))


def image(target: Target):
    content = ImageContent(base64_image=world.IMAGE, mime_type="image/png")
    message = ChatMessage.from_user(content_parts=[ABOUT_IMAGE, content])
    return generator(target).run([message])["replies"][0].text
