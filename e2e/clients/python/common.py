"""What the Python frameworks share: where to call, the answer's type, and the tool."""

from dataclasses import dataclass, field
from enum import Enum

from pydantic import BaseModel, Field

import world

QUESTION = "Which city is warmer, Paris or Rome?"
ABOUT_CITY = "Describe Paris."
ABOUT_IMAGE = "What is this?"
IMAGE_URL = f"data:image/png;base64,{world.IMAGE}"


@dataclass
class Target:
    base_url: str
    key: str
    model: str
    # The cities that the tool was called with.
    cities: list[str] = field(default_factory=list)

    def temperature(self, city: str) -> str:
        self.cities.append(city)
        return f"{20 + len(self.cities)} degrees"

    def answered(self, text: str) -> list:
        """What the scenario `tools` returns."""
        return [text, self.cities]


class Kind(str, Enum):
    capital = "capital"
    town = "town"


class Mayor(BaseModel):
    """Who governs."""

    name: str
    since: int = Field(ge=1800)


class City(BaseModel):
    """A city of the world."""

    name: str = Field(description="As its people call it", min_length=1)
    population: int = Field(ge=0)
    kind: Kind
    tags: list[str] = Field(max_length=5)
    mayor: Mayor
    twin: Mayor | None


def plain(city: City) -> dict:
    return city.model_dump(mode="json")


TEMPERATURE = {
    "type": "function",
    "function": {
        "name": "temperature",
        "description": "The temperature in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
IMAGE_MESSAGE = {
    "role": "user",
    "content": [
        {"type": "text", "text": ABOUT_IMAGE},
        {"type": "image_url", "image_url": {"url": IMAGE_URL}},
    ],
}
