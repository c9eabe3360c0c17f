"""Programs that write code, with their defaults: aider and opencode."""

import json
import os
import subprocess

import pytest

import frameworks
import world
from harness import artefacts

MODELS = pytest.mark.parametrize("is_alias", [False, True], ids=["own", "alias"])
EACH = pytest.mark.parametrize("to", world.PROVIDERS, ids=lambda it: it.name)


def run(arguments: list, directory, environment: dict) -> str:
    """What it prints. It has a home of its own."""
    plain = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    done = subprocess.run(
        list(map(str, arguments)), cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        env={**plain, "HOME": str(directory), **environment}, timeout=3 * artefacts.GUARD_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def assert_nothing_refused(mock):
    requests = mock.requests()
    assert requests
    for request in requests:
        assert request.refused is None, f"{request.refused}: {request.body.decode()}"


@MODELS
@EACH
def test_aider_edits_a_file(gateway, mock, tmp_path, to, is_alias):
    mock.says({"thinking": world.THOUGHT, "text": "hello.txt\n```\nnew\n```\n"})
    file = tmp_path / "hello.txt"
    file.write_text("old\n")
    model = world.ALIAS if is_alias else to.model
    run(
        [
            frameworks.HERE / ".venv/aider/bin/aider", "--model", f"openai/{model}",
            "--openai-api-base", gateway.url(to.base), "--openai-api-key", "sk-client",
            "--edit-format", "whole", "--yes-always", "--no-git", "--no-check-update", "--analytics-disable",
            "--no-show-release-notes", "--no-show-model-warnings", "--message", "Write new.", file,
        ],
        tmp_path,
        {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )  # fmt: skip
    assert_nothing_refused(mock)
    assert file.read_text() == "new\n" and mock.unsaid() == 0


@MODELS
@EACH
def test_aider_shows_an_image(gateway, mock, tmp_path, to, is_alias):
    mock.says({"text": world.ANSWER})
    picture = tmp_path / "dot.png"
    picture.write_bytes(world.png())
    name = f"openai/{world.ALIAS if is_alias else to.model}"
    # aider shows pictures only to models that it knows for that.
    known = {"supports_vision": True, "max_input_tokens": 100_000, "litellm_provider": "openai", "mode": "chat"}
    metadata = tmp_path / "models.json"
    metadata.write_text(json.dumps({name: known}))
    said = run(
        [
            frameworks.HERE / ".venv/aider/bin/aider", "--model", name, "--model-metadata-file", metadata,
            "--openai-api-base", gateway.url(to.base), "--openai-api-key", "sk-client",
            "--edit-format", "ask", "--yes-always", "--no-git", "--no-check-update", "--analytics-disable",
            "--no-show-release-notes", "--no-show-model-warnings", "--message", "What is this?", picture,
        ],
        tmp_path,
        {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )  # fmt: skip
    assert_nothing_refused(mock)
    assert world.ANSWER in said and mock.unsaid() == 0
    assert world.IMAGE.encode() in mock.requests()[-1].body


def opencode(gateway, directory, model: str, base: str, *arguments) -> str:
    """What `opencode run` prints. A title of its own spares it the request for one."""
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "gateway",
        "options": {"baseURL": gateway.url(base), "apiKey": "sk-client"},
        "models": {model: {"attachment": True, "modalities": {"input": ["text", "image"], "output": ["text"]}}},
    }
    configuration = {
        "provider": {"gateway": provider}, "model": f"gateway/{model}", "autoupdate": False, "share": "disabled",
    }  # fmt: skip
    environment = {
        "OPENCODE_CONFIG_CONTENT": json.dumps(configuration),
        "OPENCODE_DISABLE_MODELS_FETCH": "true",
        "OPENCODE_DISABLE_AUTOUPDATE": "true",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "true",
    }
    program = frameworks.HERE / "node/node_modules/opencode-linux-x64/bin/opencode"
    return run([program, "run", *arguments], directory, environment)


@MODELS
@EACH
def test_opencode_answers_with_all_its_tools(gateway, mock, tmp_path, to, is_alias):
    model = world.ALIAS if is_alias else to.model
    said = opencode(gateway, tmp_path, model, to.base, "Say hello.")
    assert_nothing_refused(mock)
    assert "You said" in said, said
    assert any(b'"tools"' in request.body for request in mock.requests())


@MODELS
@EACH
def test_opencode_writes_and_reads_a_file(gateway, mock, tmp_path, to, is_alias):
    file = tmp_path / "hello.txt"
    mock.says(
        # It offers `write` to some models only.
        world.call("bash", command="echo new > hello.txt", description="Write a file"),
        world.call("read", filePath=str(file)),
        {"text": world.ANSWER},
    )
    model = world.ALIAS if is_alias else to.model
    said = opencode(gateway, tmp_path, model, to.base, "--title", "t", "--auto", "Write new.")
    assert_nothing_refused(mock)
    assert world.ANSWER in said, said
    assert file.read_text() == "new\n" and mock.unsaid() == 0


@MODELS
@EACH
def test_opencode_shows_an_image(gateway, mock, tmp_path, to, is_alias):
    picture = tmp_path / "dot.png"
    picture.write_bytes(world.png())
    mock.says({"text": world.ANSWER})
    model = world.ALIAS if is_alias else to.model
    said = opencode(gateway, tmp_path, model, to.base, "--title", "t", "What is this?", "--file", picture)
    assert_nothing_refused(mock)
    assert world.ANSWER in said and mock.unsaid() == 0, said
    assert any(world.IMAGE.encode() in request.body for request in mock.requests())
