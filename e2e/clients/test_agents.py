"""Agents that edit files and run commands, with their defaults: Claude Code and Codex.

The model is scripted: the agent writes a file, edits it and runs a command, each by a call of a tool.
"""

import pytest

import frameworks
import world
from test_programs import assert_nothing_refused, run

VLLM = world.Provider("vllm", "vllm", "https://vllm.example", "${PLAIN_KEY}", "qwen3-coder", "qwen3-coder")
PROVIDERS = [it for it in world.PROVIDERS if it.name != "mistral"] + [VLLM]
EACH = pytest.mark.parametrize("to", PROVIDERS, ids=lambda it: it.name)
CLAUDE = frameworks.HERE / "node/node_modules/@anthropic-ai/claude-code-linux-x64/claude"
CODEX = (
    frameworks.HERE
    / "node/node_modules/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex"
)


@pytest.fixture(scope="module")
def agents(provider, output):
    """The gateway of the agents."""
    from harness import artefacts, bootstrap, gateways
    from harness.envoy import Envoy

    directory = output / "agents"
    configuration = world.gateway(provider, PROVIDERS)
    for backend in configuration["backends"]:
        # The scripted provider writes what the model says as chat completions.
        if backend["type"] in ("openai", "vllm"):
            backend["config"]["responses"] = "translate"
    made = bootstrap.make(bootstrap.UPSTREAM, configuration, directory, gateways.ENVIRONMENT)
    envoy = Envoy(directory, made, artefacts.NEWEST_ENVOY, gateways.ENVIRONMENT)
    yield envoy
    envoy.stop()


def claude(agents, to, directory, *arguments) -> str:
    """What Claude Code prints."""
    environment = {
        "ANTHROPIC_BASE_URL": agents.url(f"/{to.name}"),
        "ANTHROPIC_AUTH_TOKEN": "sk-client",
        "ANTHROPIC_MODEL": to.model,
        # A small model of its own would be one that the provider does not have.
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": to.model,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    return run([CLAUDE, "-p", *arguments], directory, environment)


@EACH
def test_claude_code_edits_a_file_and_runs_a_command(agents, mock, tmp_path, to):
    file, copy = tmp_path / "hello.txt", tmp_path / "copy.txt"
    for says in (
        world.call("Write", file_path=str(file), content="old\n"),
        world.call("Edit", file_path=str(file), old_string="old", new_string="new"),
        world.call("Bash", command=f"cp {file} {copy}", description="Copy the file"),
        {"text": "All done."},
    ):
        mock.says(says)
    said = claude(
        agents, to, tmp_path, "Write new into hello.txt and copy it.", "--allowedTools", "Write,Edit,Bash",
    )  # fmt: skip
    assert_nothing_refused(mock)
    assert file.read_text() == "new\n" and copy.read_text() == "new\n"
    assert "All done." in said and mock.unsaid() == 0


def codex(agents, to, directory, task) -> str:
    """What Codex prints. Its sandbox needs namespaces, which a container may not have."""
    provider = f'name="gateway",base_url="{agents.url(to.base)}",env_key="GATEWAY_KEY",wire_api="responses"'
    arguments = [
        "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "-m", to.model,
        "-c", "model_provider=gateway", "-c", f"model_providers.gateway={{{provider}}}",
    ]  # fmt: skip
    return run([CODEX, *arguments, task], directory, {"GATEWAY_KEY": "sk-client"})


@EACH
def test_codex_edits_a_file_and_runs_a_command(agents, mock, tmp_path, to):
    file, copy = tmp_path / "hello.txt", tmp_path / "copy.txt"
    for says in (
        world.call("exec_command", cmd=f"echo old > {file}"),
        world.call("exec_command", cmd=f"sed -i s/old/new/ {file}"),
        world.call("exec_command", cmd=f"cp {file} {copy}"),
        {"text": "All done."},
    ):
        mock.says(says)
    said = codex(agents, to, tmp_path, "Write new into hello.txt and copy it.")
    assert_nothing_refused(mock)
    assert file.read_text() == "new\n" and copy.read_text() == "new\n"
    assert "All done." in said and mock.unsaid() == 0
