"""DSPy: its adapters write answers as marked text, and tools as text too, unless it is told otherwise."""

import asyncio
import json

import common
import dspy
import world
from common import ABOUT_CITY, IMAGE_URL, QUESTION, City, Target


def fields(**values) -> dict:
    """What a model says to the adapter for chats."""
    texts = [f"[[ ## {name} ## ]]\n{value}" for name, value in values.items()]
    return {"text": "\n\n".join([*texts, "[[ ## completed ## ]]"])}


def step(name: str, **arguments) -> dict:
    return fields(
        next_thought="Look.", next_tool_name=name, next_tool_args=json.dumps(arguments)
    )


SAYS = {
    "plain": [fields(answer=world.ANSWER)],
    "tools": [
        step("temperature", city="Paris"),
        step("temperature", city="Rome"),
        fields(reasoning="Look.", answer=world.ANSWER),
    ],
    "stream": [fields(answer=world.ANSWER)],
    "structured": [fields(city=json.dumps(world.CITY))],
    "structured_json": [{"text": json.dumps({"city": world.CITY})}],
    "image": [fields(answer=world.ANSWER)],
}


def context(target: Target, **more):
    model = dspy.LM(
        f"openai/{target.model}", api_base=target.base_url, api_key=target.key, cache=False
    )
    return dspy.context(lm=model, **more)


def plain(target: Target):
    with context(target):
        return dspy.Predict("question -> answer")(question=QUESTION).answer


def stream(target: Target):
    async def inside():
        listener = dspy.streaming.StreamListener(signature_field_name="answer")
        program = dspy.streamify(dspy.Predict("question -> answer"), stream_listeners=[listener])
        pieces = [it async for it in program(question=QUESTION)]
        return [it.chunk for it in pieces if isinstance(it, dspy.streaming.StreamResponse)]

    with context(target):
        return asyncio.run(inside())


def tools(target: Target):
    def temperature(city: str) -> str:
        """The temperature in a city."""
        return target.temperature(city)

    with context(target):
        # Two tool calls and their results.
        agent = dspy.ReAct("question -> answer", tools=[temperature], max_iters=2)
        return target.answered(agent(question=QUESTION).answer)


def structured(target: Target):
    class Describe(dspy.Signature):
        question: str = dspy.InputField()
        city: City = dspy.OutputField()

    with context(target):
        return common.plain(dspy.Predict(Describe)(question=ABOUT_CITY).city)


def structured_json(target: Target):
    class Describe(dspy.Signature):
        question: str = dspy.InputField()
        city: City = dspy.OutputField()

    with context(target, adapter=dspy.JSONAdapter()):
        return common.plain(dspy.Predict(Describe)(question=ABOUT_CITY).city)


def image(target: Target):
    class Look(dspy.Signature):
        picture: dspy.Image = dspy.InputField()
        answer: str = dspy.OutputField()

    with context(target):
        return dspy.Predict(Look)(picture=dspy.Image(IMAGE_URL)).answer
