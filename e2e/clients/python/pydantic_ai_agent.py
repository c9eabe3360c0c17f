"""pydantic-ai, with its model of OpenAI's chat."""

import base64

from pydantic_ai import Agent, BinaryContent, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

import common
import world
from common import ABOUT_CITY, ABOUT_IMAGE, QUESTION, City, Target


def agent(target: Target, **more) -> Agent:
    provider = OpenAIProvider(base_url=target.base_url, api_key=target.key)
    return Agent(OpenAIChatModel(target.model, provider=provider), **more)


def plain(target: Target):
    return agent(target, instructions="Be brief.").run_sync(QUESTION).output


def stream(target: Target):
    import asyncio

    async def inside():
        async with agent(target).run_stream(QUESTION) as made:
            return [it async for it in made.stream_text(delta=True, debounce_by=None)]

    return asyncio.run(inside())


def tools(target: Target):
    made = agent(target, system_prompt="Be brief.")

    @made.tool_plain
    def temperature(city: str) -> str:
        """The temperature in a city."""
        return target.temperature(city)

    return target.answered(made.run_sync(QUESTION).output)


def structured(target: Target):
    return common.plain(agent(target, output_type=City).run_sync(ABOUT_CITY).output)


def structured_tool(target: Target):
    return common.plain(agent(target, output_type=ToolOutput(City)).run_sync(ABOUT_CITY).output)


def structured_native(target: Target):
    return common.plain(agent(target, output_type=NativeOutput(City)).run_sync(ABOUT_CITY).output)


def structured_prompted(target: Target):
    return common.plain(agent(target, output_type=PromptedOutput(City)).run_sync(ABOUT_CITY).output)


def image(target: Target):
    content = BinaryContent(base64.b64decode(world.IMAGE), media_type="image/png")
    return agent(target).run_sync([ABOUT_IMAGE, content]).output
