"""AutoGen: one agent with a tool, and two that talk."""

import asyncio
import base64

import common
import world
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import MultiModalMessage
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import Image
from autogen_core.models import ModelFamily, ModelInfo, UserMessage
from autogen_ext.models.openai import OpenAIChatCompletionClient
from common import ABOUT_CITY, ABOUT_IMAGE, QUESTION, City, Target

SAYS = {"plain_two_agents": [{"text": "Paris is warm."}, {"text": world.ANSWER}]}


def client(target: Target) -> OpenAIChatCompletionClient:
    info = ModelInfo(
        vision=True, function_calling=True, json_output=True, structured_output=True,
        family=ModelFamily.UNKNOWN,
    )  # fmt: skip
    return OpenAIChatCompletionClient(
        model=target.model, base_url=target.base_url, api_key=target.key, model_info=info
    )


def plain(target: Target):
    messages = [UserMessage(content=QUESTION, source="user")]
    return asyncio.run(client(target).create(messages)).content


def plain_two_agents(target: Target):
    async def inside():
        agents = [AssistantAgent(name, client(target)) for name in ("first", "second")]
        team = RoundRobinGroupChat(agents, termination_condition=MaxMessageTermination(3))
        return (await team.run(task=QUESTION)).messages[-1].content

    return asyncio.run(inside())


def stream(target: Target):
    async def inside():
        made = client(target).create_stream([UserMessage(content=QUESTION, source="user")])
        pieces = [it async for it in made if isinstance(it, str)]
        # AutoGen shows thinking as text.
        end = max((at for at, it in enumerate(pieces) if "</think>" in it), default=-1)
        return pieces[end + 1 :]

    return asyncio.run(inside())


def tools(target: Target):
    async def temperature(city: str) -> str:
        """The temperature in a city."""
        return target.temperature(city)

    async def inside():
        agent = AssistantAgent("guide", client(target), tools=[temperature], max_tool_iterations=5)
        return (await agent.run(task=QUESTION)).messages[-1].content

    return target.answered(asyncio.run(inside()))


def structured(target: Target):
    async def inside():
        agent = AssistantAgent("guide", client(target), output_content_type=City)
        return (await agent.run(task=ABOUT_CITY)).messages[-1].content

    return common.plain(asyncio.run(inside()))


def image(target: Target):
    async def inside():
        picture = Image.from_base64(world.IMAGE)
        message = MultiModalMessage(content=[ABOUT_IMAGE, picture], source="user")
        return (await AssistantAgent("guide", client(target)).run(task=message)).messages[-1].content

    assert base64.b64decode(world.IMAGE)
    return asyncio.run(inside())
