"""Schemas by pydantic, and what Anthropic's package makes of schemas. Argument: `list` or `transform`."""

import json
import sys


def by_pydantic() -> dict:
    import mcp.types
    import pydantic

    found = {}
    for name, it in sorted(vars(mcp.types).items()):
        if isinstance(it, type) and issubclass(it, pydantic.BaseModel) and it is not pydantic.BaseModel:
            try:
                schema = it.model_json_schema()
            except pydantic.errors.PydanticInvalidForJsonSchema:
                continue
            if schema.get("properties"):
                found[f"pydantic.{name}"] = schema
    return found


def transformed() -> list:
    from anthropic import transform_schema

    return [transform_schema(schema) for schema in json.load(sys.stdin)]


json.dump(by_pydantic() if sys.argv[1] == "list" else transformed(), sys.stdout)
