"""Where the built things are."""

import os
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
EXAMPLES = ROOT / "envoy"
# What each test run wrote: configurations and logs.
OUTPUT = TARGET / "e2e"

NEWEST_ENVOY = "1.40.0"
OLDEST_ENVOY = "1.37.0"
# What comes with Envoy Gateway 1.9.
MIDDLE_ENVOY = "1.39.3"

# Nothing takes so long. Only what hangs comes here.
GUARD_SECONDS = 120


def module() -> pathlib.Path:
    path = os.environ.get("LLM_PROXY_WASM", TARGET / "module/release/llm_proxy.wasm")
    return _existing((ROOT / path).resolve(), "make wasm")


def reentry() -> pathlib.Path:
    return _existing(TARGET / "wasm32-wasip1/quick/reentry_filter.wasm", "make reentry")


def command() -> pathlib.Path:
    return _existing(TARGET / "debug/llm-proxy", "make build")


def mock() -> pathlib.Path:
    return _existing(TARGET / "debug/mock-provider", "make mock")


def pack() -> pathlib.Path:
    return _existing(TARGET / "debug/pack", "make pack")


def images() -> pathlib.Path:
    """The directory of the images' OCI layouts."""
    return _existing(TARGET / "image/image/index.json", "make image").parents[1]


def pinned(name: str) -> str:
    """A version that `e2e/tools` pins."""
    text = (ROOT / "e2e/tools/tools.mk").read_text()
    return re.search(rf"^{name} := (\S+)$", text, re.MULTILINE)[1]


def func_e() -> pathlib.Path:
    return _existing(TARGET / f"tools/func-e-{pinned('FUNC_E_VERSION')}/func-e", "make e2e-func-e")


def crdcheck() -> pathlib.Path:
    return _existing(TARGET / "tools/crdcheck/crdcheck", "make e2e")


def envoy_gateway(version: str) -> pathlib.Path:
    return _existing(TARGET / f"tools/envoy-gateway-{version}/envoy-gateway", "make e2e-envoy-gateway")


def kubernetes(program: str) -> pathlib.Path:
    version = pinned("KUBERNETES_VERSION")
    return _existing(TARGET / f"tools/kubernetes-{version}/{program}", "make e2e-apiserver")


def istio(file: str) -> pathlib.Path:
    """A program of Istio, or a file that they need."""
    modules = (ROOT / "e2e/tools/istio/go.mod").read_text()
    commit = re.search(r"istio\.io/istio v\S+-([0-9a-f]+)$", modules, re.MULTILINE)[1]
    return _existing(TARGET / f"tools/istio-{commit}/{file}", "make e2e-istio")


def envoy(version: str = NEWEST_ENVOY) -> pathlib.Path:
    venv = ROOT / "e2e/.venv"
    if version == NEWEST_ENVOY:
        found = sorted(venv.glob("lib/python*/site-packages/envoy/_bin/envoy"))
        path = found[0] if found else venv / "bin/envoy"
    else:
        path = venv / f"envoy-{version}/envoy/_bin/envoy"
    return _existing(path, "make e2e")


def _existing(path: pathlib.Path, made_by: str) -> pathlib.Path:
    assert path.is_file(), f"{path} is missing; `{made_by}` makes it"
    return path
