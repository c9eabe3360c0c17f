"""Every rendered manifest is valid against the schema of its CRD: see `tests/crds/README.md`."""

import pathlib

import jsonschema
import pytest
import referencing
import referencing.jsonschema
import yaml

from harness import artefacts
from harness.kubernetes import manifests

SCHEMAS = artefacts.ROOT / "tests" / "crds"
KUBERNETES = artefacts.EXAMPLES / "kubernetes"
RENDERED = sorted(set(KUBERNETES.glob("*.istio.yaml")) | set(KUBERNETES.glob("*.envoy-gateway.yaml")))

# Whatever decides what is rendered, at least once.
MANY = """
maxRequestBytes: 1MiB
backends:
- {name: moved, type: mistral, config: {apiKey: $A, address: "10.0.0.1:8443", maxRetries: 3, timeout: 1500ms}}
- {name: Plain.Text_1, type: vllm, config: {endpoint: "http://10.0.0.1:8000", model: x}}
- {name: inside, type: vllm, config: {endpoint: "http://vllm.models.svc.cluster.local:8000", model: x}}
- {name: unchecked, type: groq, config: {apiKey: $B, timeout: 24h, tls: {insecure: true, serverName: b.example}}}
- {name: port, type: vllm, config: {endpoint: "https://llm.example.com:8443/v1", headers: {x-a: "${C}"}}}
routes:
- {path: /moved, backend: moved}
- {path: /plain, backend: Plain.Text_1, model: m}
- {path: /inside, methods: [POST], hosts: ["*.example.com"], backend: inside}
- {path: /port, headers: {x-team: red}, backend: port}
- {path: /, backend: unchecked}
"""
POOL = """
backends:
- {name: a, type: anthropic, config: {apiKey: $A}}
- {name: b, type: mistral, config: {apiKey: $B}}
- {name: pool, type: pool, backends: [{name: a}, {name: b}]}
routes: [{path: /v1, backend: pool}]
"""
ONE = "backends: [{name: a, type: mistral, config: {apiKey: $A}}]"
NO_KEY = "backends: [{name: a, type: vllm, config: {endpoint: 'http://vllm.models.svc.cluster.local:8000'}}]"
VARIANTS = [
    ("istio", MANY),
    ("istio", MANY, "--gateway", "istio-system/shared", "--selector", "a=b,c=d"),
    ("istio", ONE, "--gateway-api", "llm"),
    ("istio", ONE, "--sidecar", "10000", "--namespace", "apps"),
    ("istio", NO_KEY),
    ("istio", MANY, "--hold"),
    ("istio", POOL, "--hold"),
    ("istio", ONE, "--wasm", "file:///etc/llm-proxy/plugin.wasm", "--hold"),
    ("envoy-gateway", MANY),
    ("envoy-gateway", MANY, "--hold", "--class", "other", "--secret", "keys", "--namespace", "llm"),
    ("envoy-gateway", ONE, "--gateway", "shared"),
    ("envoy-gateway", NO_KEY),
]


@pytest.fixture(scope="module")
def validators():
    """A validator for each kind, by API version and kind."""
    registry = referencing.Registry()
    meta = yaml.safe_load((SCHEMAS / "ObjectMeta.yaml").read_text())
    registry = registry.with_resource("ObjectMeta.json", _resource(meta))
    found = {}
    for file in SCHEMAS.glob("*.*.*.yaml"):
        kind, _, rest = file.name.removesuffix(".yaml").partition(".")
        group, _, version = rest.rpartition(".")
        schema = yaml.safe_load(file.read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(schema, registry=registry)
        found[f"{group}/{version}", kind] = validator
    return found


def _resource(schema):
    return referencing.Resource.from_contents(
        schema, default_specification=referencing.jsonschema.DRAFT202012
    )


def assert_valid(validators, documents):
    assert documents
    names = [(it["kind"], it["metadata"]["name"]) for it in documents]
    assert len(names) == len(set(names)), "each is there once"
    for document in documents:
        validator = validators[document["apiVersion"], document["kind"]]
        errors = [f"{it.json_path}: {it.message}" for it in validator.iter_errors(document)]
        assert not errors, (document["kind"], errors)


@pytest.mark.parametrize("file", RENDERED, ids=lambda it: it.name)
def test_what_is_rendered_beside_the_examples_is_valid(validators, file):
    assert_valid(validators, list(yaml.safe_load_all(file.read_text())))


@pytest.mark.parametrize("home, gateway, options", [(it[0], it[1], it[2:]) for it in VARIANTS])
def test_what_is_rendered_is_valid(validators, output, home, gateway, options):
    directory: pathlib.Path = output / "manifests"
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "gateway.yaml"
    file.write_text(gateway)
    assert_valid(validators, manifests(home, file, directory, *options))


def test_every_example_is_there():
    assert {it.name for it in RENDERED} == {
        f"{name}.{home}.yaml" for name in ("plain", "held") for home in ("istio", "envoy-gateway")
    }


def test_what_is_not_in_a_schema_is_refused(validators):
    """The schemas are no sieve: a misspelt, misplaced or missing field does not pass."""
    for file in RENDERED:
        for document in list(yaml.safe_load_all(file.read_text())):
            validator = validators[document["apiVersion"], document["kind"]]
            wrong = yaml.safe_load(yaml.safe_dump(document))
            wrong["spec"]["misspelt"] = True
            assert not validator.is_valid(wrong)
            del wrong["spec"]
            assert not validator.is_valid(wrong)
