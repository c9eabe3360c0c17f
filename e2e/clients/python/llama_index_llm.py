"""LlamaIndex, with `OpenAILike`: its class `OpenAI` knows OpenAI's own models alone."""

import asyncio

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike

import common
from common import ABOUT_CITY, ABOUT_IMAGE, IMAGE_URL, QUESTION, City, Target


def model(target: Target, **more) -> OpenAILike:
    return OpenAILike(
        model=target.model, api_base=target.base_url, api_key=target.key,
        is_chat_model=True, is_function_calling_model=True, **more,
    )  # fmt: skip


def user(*blocks) -> list[ChatMessage]:
    return [ChatMessage(role="user", blocks=list(blocks))]


def plain(target: Target):
    return model(target).chat(user(TextBlock(text=QUESTION))).message.content


def stream(target: Target):
    made = model(target).stream_chat(user(TextBlock(text=QUESTION)))
    return [it.delta for it in made if it.delta]


def tools(target: Target):
    def temperature(city: str) -> str:
        """The temperature in a city."""
        return target.temperature(city)

    async def inside():
        agent = FunctionAgent(
            tools=[FunctionTool.from_defaults(temperature)], llm=model(target),
            system_prompt="Be brief.",
        )  # fmt: skip
        return str(await agent.run(QUESTION))

    return target.answered(asyncio.run(inside()))


def structured(target: Target):
    made = model(target).as_structured_llm(City).chat(user(TextBlock(text=ABOUT_CITY)))
    return common.plain(made.raw)


def structured_native(target: Target):
    made = model(target, should_use_structured_outputs=True).as_structured_llm(City)
    return common.plain(made.chat(user(TextBlock(text=ABOUT_CITY))).raw)


def image(target: Target):
    blocks = TextBlock(text=ABOUT_IMAGE), ImageBlock(url=IMAGE_URL)
    return model(target).chat(user(*blocks)).message.content
