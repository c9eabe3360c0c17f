"""OpenAI's Agents SDK, with its model of chat completions."""

import asyncio

from agents import Agent, OpenAIChatCompletionsModel, RunConfig, Runner, function_tool
from openai import AsyncOpenAI
from openai.types.responses import ResponseTextDeltaEvent

import common
from common import ABOUT_CITY, ABOUT_IMAGE, IMAGE_URL, QUESTION, City, Target

OFFLINE = RunConfig(tracing_disabled=True)


def agent(target: Target, **more) -> Agent:
    client = AsyncOpenAI(base_url=target.base_url, api_key=target.key)
    model = OpenAIChatCompletionsModel(model=target.model, openai_client=client)
    return Agent(name="guide", instructions="Be brief.", model=model, **more)


def run(made: Agent, asked):
    return Runner.run_sync(made, asked, run_config=OFFLINE).final_output


def plain(target: Target):
    return run(agent(target), QUESTION)


def stream(target: Target):
    async def inside():
        made = Runner.run_streamed(agent(target), QUESTION, run_config=OFFLINE)
        events = [it.data async for it in made.stream_events() if it.type == "raw_response_event"]
        return [it.delta for it in events if isinstance(it, ResponseTextDeltaEvent)]

    return asyncio.run(inside())


def with_tool(target: Target) -> Agent:
    @function_tool
    def temperature(city: str) -> str:
        """The temperature in a city."""
        return target.temperature(city)

    return agent(target, tools=[temperature])


def tools(target: Target):
    return target.answered(run(with_tool(target), QUESTION))


def tools_streamed(target: Target):
    async def inside():
        made = Runner.run_streamed(with_tool(target), QUESTION, run_config=OFFLINE)
        async for _ in made.stream_events():
            pass
        return made.final_output

    return target.answered(asyncio.run(inside()))


def structured(target: Target):
    return common.plain(run(agent(target, output_type=City), ABOUT_CITY))


def image(target: Target):
    parts = [
        {"type": "input_text", "text": ABOUT_IMAGE},
        {"type": "input_image", "image_url": IMAGE_URL, "detail": "auto"},
    ]
    return run(agent(target), [{"role": "user", "content": parts}])
