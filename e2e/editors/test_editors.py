"""What editors and CI say of mistakes by the JSON Schema: the YAML language server, and check-jsonschema.

`make e2e-editors` installs both and runs this.
"""

import json
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = pathlib.Path(os.environ["EDITOR_TOOLS"]).resolve()
SCHEMA = ROOT / "envoy/gateway.schema.json"
MISTAKES = ROOT / "tests/mistakes"

# Of each mistake: the line at which the editor marks it, and what its message has; then what that of
# check-jsonschema has. Each tool has one message.
ONE = {
    "api-key-empty": (5, 'Expected "string"', "apiKey None is not of type 'string'"),
    "api-key-number": (4, 'Expected "string"', "apiKey .* is not of type 'string'"),
    "api-key-of-litellm": (4, r"variables are written \$\{NAME\}", "apiKey .* does not match"),
    "api-key-snake-case": (4, "api_key is not allowed", "'api_key' was unexpected"),
    "auth-header-text": (6, "Incorrect type", "authHeader 'api-key' is not of type 'object'"),
    "backend-list": (6, 'Expected "string"', "backend .* is not of type 'string'"),
    "backends-mapping": (2, 'Expected "array"', "backends .* is not of type 'array'"),
    "endpoint-missing": (2, 'Missing property "config"', "'config' is a required property"),
    "endpoint-no-scheme": (5, "a URL, such as https://", "endpoint .* does not match"),
    "fallback-text": (5, 'Expected "array"', "fallbackOn 429 is not of type 'array'"),
    "fallback-unknown": (5, "a status from 400 to 599", r"fallbackOn\[1\] '6xx' does not match"),
    "header-number": (5, 'Expected "string"', "x-team.* 42 is not of type 'string'"),
    "listen-name": (1, "an IP address and a port", "listen .* does not match"),
    "listen-port": (1, 'Expected "string"', "listen 10000 is not of type 'string'"),
    "location-missing": (5, "location required by property projectId", "'location' is a dependency"),
    "method-text": (5, 'Expected "array"', "methods 'POST' is not of type 'array'"),
    "method-unknown": (5, 'Valid values: "DELETE"', r"methods\[0\] 'post' is not one of"),
    "model-beside-config": (4, "model is not allowed", "'model' was unexpected"),
    "org-id-of-xai": (4, "orgId is not allowed", "config .*'orgId' was unexpected"),
    "path-no-slash": (4, "a path, such as /v1", "path 'v1' does not match"),
    "pool-config": (5, "config is not allowed", "'config' was unexpected"),
    "pool-empty": (3, 'Missing property "backends"', "'backends' is a required property"),
    "strategy-in-config": (5, "strategy is not allowed", "'strategy' was unexpected"),
    "timeout-no-unit": (5, 'Expected "string"', "timeout 30 is not of type 'string'"),
    "timeout-text-no-unit": (5, "a time such as 500ms", "timeout '30' does not match"),
    "type-missing": (2, 'Missing property "type"', "'type' is a required property"),
    "type-misspelt": (3, '"anthropic"', "type 'antropic' is not one of"),
    "type-of-grok": (3, '"xai"', "type 'grok' is not one of"),
    "variable-default": (4, r"variables are written \$\{NAME\}", "apiKey .* does not match"),
    "variable-unclosed": (5, r"variables are written \$\{NAME\}", "apiKey .* does not match"),
    "weight-zero": (6, "below the minimum of 1", "weight 0 is less than the minimum of 1"),
}


def run(*command) -> subprocess.CompletedProcess:
    return subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        env={**os.environ, "EDITOR_TOOLS": str(TOOLS)},
    )


def node(*arguments):
    done = run("node", ROOT / "e2e/editors/diagnose.cjs", SCHEMA, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def files() -> list[pathlib.Path]:
    return [MISTAKES / f"{name}.yaml" for name in ONE]


@pytest.fixture(scope="module")
def editor() -> dict[str, list]:
    found = {name: [] for name in ONE}
    for item in node(*files()):
        found[item["file"].removesuffix(".yaml")].append(item)
    return found


@pytest.fixture(scope="module")
def ci() -> dict[str, list]:
    command = TOOLS / "venv/bin/check-jsonschema"
    done = run(command, "--schemafile", SCHEMA, "--output-format", "json", *files())
    report = json.loads(done.stdout)
    assert report["parse_errors"] == []
    found = {name: [] for name in ONE}
    for error in report["errors"]:
        name = pathlib.Path(error["filename"]).stem
        found[name].append(f"{error['path']} {error['message']}")
    return found


def test_there_are_thirty():
    assert len(ONE) >= 30


@pytest.mark.parametrize("name", ONE)
def test_an_editor_says_it_once(editor, name):
    line, says, _ = ONE[name]
    [item] = editor[name]
    assert item["line"] == line and re.search(says, item["message"]), item


@pytest.mark.parametrize("name", ONE)
def test_ci_says_it_once(ci, name):
    [message] = ci[name]
    assert re.search(ONE[name][2], message), message


def test_what_is_valid_is_valid_to_both():
    good = sorted((ROOT / "envoy").glob("*.gateway.yaml"))
    assert node(*good) == []
    done = run(TOOLS / "venv/bin/check-jsonschema", "--schemafile", SCHEMA, *good)
    assert done.returncode == 0, done.stdout


def test_completion_has_only_what_belongs(tmp_path):
    def offered(kind: str, before: str, line: str) -> list[str]:
        """What is offered at the end of a line, before which this stands in the backend."""
        text = f"backends:\n- name: a\n{before}{line}\n"
        text += f"  type: {kind}\n" if f"type: {kind}" not in before else ""
        file = tmp_path / "gateway.yaml"
        file.write_text(text)
        return node("--complete", file, 2 + before.count("\n"), len(line))

    def of_config(kind: str) -> list[str]:
        return offered(kind, f"  type: {kind}\n  config:\n", "    ")

    xai = of_config("xai")
    assert {"apiKey", "model", "path"} <= set(xai)
    assert not {"orgId", "location", "deploymentName", "maxTokens"} & set(xai)
    assert {"orgId", "projectId"} <= set(of_config("openai"))
    assert {"location", "serviceAccount"} <= set(of_config("google"))
    pool = offered("pool", "  type: pool\n", "  s")
    assert {"strategy", "fallbackOn", "backends"} <= set(pool) and "config" not in pool
    provider = offered("xai", "  type: xai\n", "  c")
    assert "config" in provider and "strategy" not in provider
