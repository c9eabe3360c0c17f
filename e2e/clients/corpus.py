"""Schemas of the world: those of MCP servers' tools, and what pydantic and zod make of types.

They are made from pinned packages each time, and are not kept.
"""

import json
import pathlib
import subprocess
from dataclasses import dataclass

HERE = pathlib.Path(__file__).parent
PYTHON = HERE / ".venv/mcp/bin"
NODE = HERE / "node/node_modules"
NO_KEYS = {
    "GITHUB_PERSONAL_ACCESS_TOKEN": "none",
    "GITLAB_PERSONAL_ACCESS_TOKEN": "none",
    "GITLAB_API_URL": "http://127.0.0.1:9/api/v4",
    "USE_PIPELINE": "true",
    "USE_MILESTONE": "true",
    "USE_GITLAB_WIKI": "true",
    "NOTION_TOKEN": "none",
    "NO_COLOR": "1",
}
# Servers that list their tools without a network or an account.
SERVERS = {
    "git": [PYTHON / "mcp-server-git"],
    "time": [PYTHON / "mcp-server-time", "--local-timezone", "UTC"],
    "fetch": [PYTHON / "mcp-server-fetch"],
    "excel": [PYTHON / "excel-mcp-server", "stdio"],
    "word": [PYTHON / "word_mcp_server"],
    "filesystem": ["node", NODE / "@modelcontextprotocol/server-filesystem/dist/index.js", HERE],
    "memory": ["node", NODE / "@modelcontextprotocol/server-memory/dist/index.js"],
    "thinking": ["node", NODE / "@modelcontextprotocol/server-sequential-thinking/dist/index.js"],
    "everything": ["node", NODE / "@modelcontextprotocol/server-everything/dist/index.js"],
    "github": ["node", NODE / "@modelcontextprotocol/server-github/dist/index.js"],
    "notion": ["node", NODE / "@notionhq/notion-mcp-server/bin/cli.mjs"],
    "gitlab": ["node", NODE / "@zereight/mcp-gitlab/build/index.js"],
}


@dataclass
class Schema:
    name: str
    schema: dict


def of_servers() -> list[Schema]:
    found = []
    for server, command in SERVERS.items():
        found += [Schema(f"{server}.{it['name']}", it["inputSchema"]) for it in tools(command)]
    return found


def tools(command: list) -> list[dict]:
    """What an MCP server lists, by its standard input and output."""
    import os

    child = subprocess.Popen(
        [str(it) for it in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, env={**os.environ, **NO_KEYS},
    )  # fmt: skip
    found = []
    try:
        client = {"name": "corpus", "version": "1"}
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
        call(child, 1, "initialize", hello)
        send(child, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        cursor, number = None, 1
        while number == 1 or cursor:
            number += 1
            page = call(child, number, "tools/list", {"cursor": cursor} if cursor else {})
            found += page["tools"]
            cursor = page.get("nextCursor")
    finally:
        child.stdin.close()
        child.terminate()
        child.wait()
    assert found, command
    return found


def call(child, number: int, method: str, params: dict) -> dict:
    send(child, {"jsonrpc": "2.0", "id": number, "method": method, "params": params})
    for line in child.stdout:
        # Some servers greet on their output.
        if not line.startswith("{"):
            continue
        message = json.loads(line)
        if message.get("id") == number:
            assert "error" not in message, message
            return message["result"]
    raise AssertionError(f"{child.args} ended")


def send(child, message: dict):
    child.stdin.write(json.dumps(message) + "\n")
    child.stdin.flush()


def of_pydantic() -> list[Schema]:
    """Every model of the types of MCP that pydantic can describe."""
    return made([PYTHON / "python", HERE / "python/schemas.py", "list"])


def of_zod() -> list[Schema]:
    """The same types in zod."""
    return made(["node", HERE / "node/schemas.mjs"])


def made(command: list) -> list[Schema]:
    done = subprocess.run([str(it) for it in command], capture_output=True, text=True, check=True)
    return [Schema(name, schema) for name, schema in json.loads(done.stdout).items()]


def by_anthropics_sdk(schemas: list[dict]) -> list[dict]:
    """What `transform_schema` of Anthropic's own package makes of schemas."""
    done = subprocess.run(
        [str(PYTHON / "python"), str(HERE / "python/schemas.py"), "transform"],
        input=json.dumps(schemas), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)
