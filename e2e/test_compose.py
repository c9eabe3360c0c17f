"""`docker-compose.yaml` fits the rest of the repository. `make e2e-compose` runs it."""

import re
import subprocess
import tomllib

import yaml

from harness import artefacts

E2E = artefacts.ROOT / "e2e"
DOCKERFILE = (E2E / "Dockerfile").read_text()
SERVICES = yaml.safe_load((E2E / "docker-compose.yaml").read_text())["services"]


def default(argument: str) -> str:
    """What an argument of the images is unless somebody says otherwise, everywhere the same."""
    in_dockerfile = re.findall(rf"^ARG {argument}=(\S+)$", DOCKERFILE, re.MULTILINE)
    found = {*in_dockerfile}
    for service in SERVICES.values():
        written = service["build"]["args"].get(argument)
        if written is not None:
            found.add(re.fullmatch(rf"\$\{{{argument}:-(\S+)\}}", written)[1])
    assert len(found) == 1, (argument, found)
    return found.pop()


def test_images_and_programs_are_pinned():
    toolchain = tomllib.loads((artefacts.ROOT / "rust-toolchain.toml").read_text())
    rust = toolchain["toolchain"]["channel"]
    assert default("RUST_IMAGE") == f"rust:{rust}-slim-bookworm"
    # Of the same Debian: what is built in one runs in the other.
    assert re.fullmatch(r"debian:12\.\d+-slim", default("DEBIAN_IMAGE"))
    assert default("ENVOY_VERSION") == artefacts.NEWEST_ENVOY
    # The one that `test_func_e.py` runs.
    assert default("FUNC_E_VERSION") == artefacts.pinned("FUNC_E_VERSION")
    images = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    stages = re.findall(r" AS (\S+)$", DOCKERFILE, re.MULTILINE)
    assert set(images) - set(stages) == {"${RUST_IMAGE}", "${DEBIAN_IMAGE}"}


def test_envoy_comes_by_func_e_unless_asked_otherwise():
    assert default("ENVOY_FROM") == "func-e"
    assert default("PROFILE") == "release"


def test_nothing_runs_as_root():
    user = {}
    for stage in re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]:
        base, name = re.match(r"(\S+) AS (\S+)\n", stage).groups()
        users = re.findall(r"^USER (\S+)$", stage, re.MULTILINE)
        user[name] = users[-1] if users else user[base]
    for name, service in SERVICES.items():
        assert user[service["build"]["target"]] == "llm-proxy", name
        assert "user" not in service and "privileged" not in service
        assert service["cap_drop"] == ["ALL"]


def test_who_needs_another_waits_until_it_is_healthy():
    needs = {"mock": set(), "envoy": {"mock"}, "tests": {"mock", "envoy"}}
    assert set(SERVICES) == set(needs)
    for name, service in SERVICES.items():
        needed = service.get("depends_on", {})
        assert set(needed) == needs[name]
        for other, how in needed.items():
            assert how == {"condition": "service_healthy"}
            assert SERVICES[other]["healthcheck"]["test"]


def test_the_tests_are_those_of_make_e2e_and_need_no_key():
    assert SERVICES["tests"]["command"][-1].endswith(" && exec make e2e")
    environment = SERVICES["envoy"]["environment"]
    assert environment and all(key.startswith("sk-mock-") for key in environment.values())
    gateway = E2E / "compose/gateway.yaml"
    command = [artefacts.command(), "check", gateway]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
