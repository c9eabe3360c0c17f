"""LangChain, with `ChatOpenAI`."""

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from typing_extensions import TypedDict

import common
from common import ABOUT_CITY, IMAGE_MESSAGE, QUESTION, City, Target


def model(target: Target, **more) -> ChatOpenAI:
    return ChatOpenAI(model=target.model, base_url=target.base_url, api_key=target.key, **more)


def plain(target: Target):
    return model(target).invoke(QUESTION).text


def stream(target: Target):
    return [it.text for it in model(target).stream(QUESTION) if it.text]


def stream_with_limits(target: Target):
    made = model(target, max_tokens=500, temperature=0.2, top_p=0.9, seed=7, stream_usage=True)
    return [it.text for it in made.stream(QUESTION) if it.text]


def tools(target: Target):
    from langchain.agents import create_agent

    @tool
    def temperature(city: str) -> str:
        """The temperature in a city."""
        return target.temperature(city)

    agent = create_agent(model(target), tools=[temperature], system_prompt="Be brief.")
    done = agent.invoke({"messages": [{"role": "user", "content": QUESTION}]})
    return target.answered(done["messages"][-1].text)


def structured(target: Target):
    return common.plain(model(target).with_structured_output(City).invoke(ABOUT_CITY))


def structured_function_calling(target: Target):
    made = model(target).with_structured_output(City, method="function_calling")
    return common.plain(made.invoke(ABOUT_CITY))


def structured_json_mode(target: Target):
    made = model(target).with_structured_output(City, method="json_mode")
    return common.plain(made.invoke(f"{ABOUT_CITY} Answer in JSON."))


def structured_typed_dict(target: Target):
    class Mayor(TypedDict):
        """Who governs."""

        name: str
        since: int

    class Town(TypedDict):
        """A city of the world."""

        name: str
        population: int
        kind: str
        tags: list[str]
        mayor: Mayor
        twin: Mayor | None

    return model(target).with_structured_output(Town).invoke(ABOUT_CITY)


def structured_dict(target: Target):
    made = model(target).with_structured_output(City.model_json_schema())
    return made.invoke(ABOUT_CITY)


def structured_agent(target: Target):
    from langchain.agents import create_agent

    agent = create_agent(model(target), tools=[], response_format=City)
    done = agent.invoke({"messages": [{"role": "user", "content": ABOUT_CITY}]})
    return common.plain(done["structured_response"])


def image(target: Target):
    return model(target).invoke([IMAGE_MESSAGE]).text
