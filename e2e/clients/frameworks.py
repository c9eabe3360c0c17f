"""The frameworks: one list, and one way to run each of their scenarios.

A framework runs in a process of its own, since no environment can hold all of them. It reads lines
`{"scenario", "base_url", "key", "model"}` and writes lines `{"result"}` or `{"error"}`.
"""

import ast
import functools
import json
import pathlib
import re
import subprocess
from dataclasses import dataclass, field

import world

HERE = pathlib.Path(__file__).parent
SCENARIO = re.compile(r"(?:plain|stream|tools|structured|image)(?:_[a-z_]+)?")


@dataclass
class Framework:
    """What runs in `python/` or `node/`, and the package that it shows."""

    title: str
    # A module of `python/`, or a script of `node/`.
    file: str
    package: str
    # What has to be set beside the key and the model.
    needs: list[str]
    # Of Python: which of `requirements/`.
    environment: str = "main"
    arguments: list[str] = field(default_factory=list)
    _child: subprocess.Popen | None = None

    @property
    def name(self) -> str:
        return "_".join([pathlib.Path(self.file).stem, *self.arguments])

    @property
    def is_python(self) -> bool:
        return self.file.endswith(".py")

    @functools.cached_property
    def scenarios(self) -> list[str]:
        # By its text: what is not run needs not be imported.
        if self.is_python:
            tree = ast.parse((HERE / "python" / self.file).read_text())
            names = [it.name for it in tree.body if isinstance(it, ast.FunctionDef)]
        else:
            text = (HERE / "node" / self.file).read_text()
            names = re.findall(r"^  (?:async )?(\w+)(?:\(target\)|: structured)", text, re.MULTILINE)
        return [name for name in names if SCENARIO.fullmatch(name)]

    def script(self, scenario: str) -> list[dict]:
        """What the model says."""
        own = self._call(scenario=scenario, is_script=True) if self.is_python else None
        return own or world.script(scenario)

    def run(self, scenario: str, base_url: str, model: str):
        more = {} if self.is_python else {"image": world.IMAGE}
        return self._call(
            scenario=scenario, base_url=base_url, key="sk-client", model=model, **more
        )

    def stop(self):
        if self._child is not None:
            self._child.stdin.close()
            self._child.wait()
            self._child = None

    def _call(self, **asked):
        if self._child is None:
            self._child = subprocess.Popen(
                self._command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        self._child.stdin.write(json.dumps(asked) + "\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        assert line, f"{self.name} ended with {self._child.wait()}"
        said = json.loads(line)
        assert "error" not in said, said["error"]
        return said.get("result")

    def _command(self) -> list:
        if not self.is_python:
            return ["node", HERE / "node" / self.file, *self.arguments]
        python = HERE / ".venv" / self.environment / "bin/python"
        assert python.is_file(), f"{python} is missing; `make e2e-clients` makes it"
        return [python, HERE / "python/serve.py", pathlib.Path(self.file).stem]


ALL = [
    Framework("openai (Python)", "openai_python.py", "openai", ["`base_url`"]),
    Framework("openai (Node.js)", "openai_node.mjs", "openai", ["`baseURL`"]),
    Framework("LangChain", "langchain_chat.py", "langchain-openai", ["`base_url`"]),
    Framework("LangChain.js", "langchain_js.mjs", "@langchain/openai", ["`configuration.baseURL`"]),
    Framework(
        "LlamaIndex", "llama_index_llm.py", "llama-index-llms-openai-like",
        [
            "`OpenAILike` (`OpenAI` knows OpenAI's own models alone)", "`api_base`",
            "`is_chat_model=True`", "`is_function_calling_model=True`",
        ],
        environment="llama_index",
    ),
    Framework("pydantic-ai", "pydantic_ai_agent.py", "pydantic-ai-slim", ["`base_url`"]),
    Framework(
        "OpenAI Agents SDK", "openai_agents.py", "openai-agents",
        ["`OpenAIChatCompletionsModel`", "`base_url`"],
    ),
    Framework(
        "instructor", "instructor_modes.py", "instructor", ["`base_url`"], environment="instructor"
    ),
    Framework(
        "DSPy", "dspy_programs.py", "dspy", ["`api_base`", "the model's name with `openai/` before it"]
    ),
    Framework(
        "AutoGen", "autogen_agents.py", "autogen-ext",
        ["`base_url`", "`model_info`, for models that are not OpenAI's"],
    ),
    Framework("Haystack", "haystack_agent.py", "haystack-ai", ["`api_base_url`"]),
    Framework("smolagents", "smolagents_agents.py", "smolagents", ["`api_base`"]),
    Framework(
        "LiteLLM", "litellm_client.py", "litellm",
        ["`api_base`", "the model's name with `openai/` before it"],
    ),
    Framework(
        "AI SDK, `@ai-sdk/openai`", "ai_sdk.mjs", "@ai-sdk/openai",
        ["`baseURL`", "`.chat(…)`: without it, it is the Responses API"],
    ),
    Framework(
        "AI SDK, `@ai-sdk/openai-compatible`", "ai_sdk.mjs", "@ai-sdk/openai-compatible",
        ["`baseURL`", "`name`"], arguments=["compatible"],
    ),
]  # fmt: skip


@dataclass
class Program:
    """What `test_programs.py` runs."""

    title: str
    package: str
    needs: list[str]
    runs: str
    environment: str | None = None


PROGRAMS = [
    Program(
        "aider", "aider-chat", ["`--openai-api-base`", "the model's name with `openai/` before it"],
        "an edit of a file, an image", environment="aider",
    ),
    Program(
        "opencode", "opencode-linux-x64", ["a provider with `npm: @ai-sdk/openai-compatible` and `baseURL`"],
        "an answer with all its tools on offer, a tool loop, an image",
    ),
]  # fmt: skip
