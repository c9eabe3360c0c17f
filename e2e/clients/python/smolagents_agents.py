"""smolagents, with `OpenAIModel`: agents that call tools, and agents that write code."""

import base64
import io
import json

import world
import common
from common import ABOUT_CITY, ABOUT_IMAGE, QUESTION, City, Target
from smolagents import CodeAgent, OpenAIModel, ToolCallingAgent, tool

FINAL = world.call("final_answer", answer=world.ANSWER)
LINES = [
    'print(temperature(city="Paris"))',
    'print(temperature(city="Rome"))',
    f'final_answer("{world.ANSWER}")',
]
CODE = [{"text": f"Thought: look.\n<code>\n{line}\n</code>"} for line in LINES]
# The same by JSON.
STEPS = [{"text": json.dumps({"thought": "Look.", "code": line})} for line in LINES]
SAYS = {
    "tools": [world.call("temperature", city=it) for it in ("Paris", "Rome")] + [FINAL],
    "tools_code": CODE,
    "tools_code_structured": STEPS,
}


def model(target: Target) -> OpenAIModel:
    return OpenAIModel(model_id=target.model, api_base=target.base_url, api_key=target.key)


def user(*parts) -> list:
    return [{"role": "user", "content": list(parts)}]


def plain(target: Target):
    return model(target).generate(user({"type": "text", "text": QUESTION})).content


def stream(target: Target):
    made = model(target).generate_stream(user({"type": "text", "text": QUESTION}))
    return [it.content for it in made if it.content]


def temperature_of(target: Target):
    @tool
    def temperature(city: str) -> str:
        """The temperature in a city.

        Args:
            city: Its name.
        """
        return target.temperature(city)

    return temperature


def tools(target: Target):
    agent = ToolCallingAgent(
        tools=[temperature_of(target)], model=model(target), verbosity_level=0
    )
    return target.answered(agent.run(QUESTION))


def tools_code(target: Target):
    agent = CodeAgent(tools=[temperature_of(target)], model=model(target), verbosity_level=0)
    return target.answered(agent.run(QUESTION))


def tools_code_structured(target: Target):
    agent = CodeAgent(
        tools=[temperature_of(target)], model=model(target), verbosity_level=0,
        use_structured_outputs_internally=True,
    )  # fmt: skip
    return target.answered(agent.run(QUESTION))


def structured(target: Target):
    wanted = {"name": "city", "schema": City.model_json_schema(), "strict": False}
    made = model(target).generate(
        user({"type": "text", "text": ABOUT_CITY}),
        response_format={"type": "json_schema", "json_schema": wanted},
    )
    return common.plain(City.model_validate_json(made.content))


def image(target: Target):
    import PIL.Image

    # smolagents writes the picture anew.
    picture = PIL.Image.open(io.BytesIO(base64.b64decode(world.IMAGE)))
    parts = {"type": "text", "text": ABOUT_IMAGE}, {"type": "image", "image": picture}
    return model(target).generate(user(*parts)).content
