"""What `render` accepts, a cluster accepts: the checks of an API server, on everything rendered.

`e2e/tools/crdcheck` has the API server's own packages; the kinds are those of the oldest supported
versions and of the newest. A gateway that no cluster takes has to be refused by `render` itself.
"""

import os
import pathlib
import shutil
import subprocess

import pytest
import yaml

from harness import artefacts
from harness.pages import examples

IMAGE = "oci://registry.example.com/llm-proxy:0.1.0"
SHA256 = "0" * 64
KUBERNETES = artefacts.EXAMPLES / "kubernetes"
EXAMPLES = sorted(artefacts.EXAMPLES.glob("*.gateway.yaml")) + sorted(KUBERNETES.glob("*.gateway.yaml"))
RELEASES = ("oldest", "newest")

# Each form of the manifests. In a form that cannot do what an example needs, `render` refuses it.
FORMS = {
    "istio": ("istio", "--selector", "istio=llm-gateway"),
    "istio-hold": ("istio", "--hold", "--selector", "istio=llm-gateway"),
    "istio-gateway": ("istio", "--gateway", "istio-system/shared", "--selector", "a=b,c=d"),
    "istio-gateway-hold": ("istio", "--hold", "--gateway", "shared", "--namespace", "llm"),
    "istio-gateway-api": ("istio", "--gateway-api", "llm"),
    "istio-traffic-extension": ("istio", "--api", "traffic-extension"),
    "istio-sidecar": ("istio", "--sidecar", "10000", "--selector", "app=chat", "--namespace", "apps"),
    "envoy-gateway": ("envoy-gateway",),
    "envoy-gateway-hold": ("envoy-gateway", "--hold", "--class", "other", "--secret", "keys"),
    "envoy-gateway-shared": ("envoy-gateway", "--gateway", "shared", "--namespace", "llm"),
}

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
ONE = "backends: [{name: a, type: mistral, config: {apiKey: $A}}]"
NO_KEY = "backends: [{name: a, type: vllm, config: {endpoint: 'http://vllm.models.svc.cluster.local:8000'}}]"


def one(path="/v1", **config) -> str:
    """A gateway of one backend and one route."""
    backend = {"name": "a", "type": "vllm", "config": {"endpoint": "https://llm.example.com", **config}}
    return yaml.safe_dump({"backends": [backend], "routes": [{"path": path, "backend": "a"}]})


# Gateways whose values a stock Envoy may take and a cluster may not.
ODD = {
    **{
        f"path {path[:20]!r}": one(path)
        for path in (
            "/a b", "/ä", "/a//b", "/a%2fb", "/a%2Fb", "/a/./b", "/a/../b", "/a/", "/" + "x" * 1023,
            "/" + "x" * 1024, "/" + "x" * 5000, "/a~b", "/a;b=c", "/a@b:c", "/a%20b", "/a[b]", "/a'b",
            '/a"b', "/a\\b", "/a*", "/(a)", "/$a", "/a,b", "/a!b&c=d+e", "/%zz", "/a{b}", "/a|b", "/a^`b",
        )
    },
    **{
        f"endpoint {endpoint[:40]}": one(endpoint=endpoint)
        for endpoint in (
            "https://a_b.example.com", "https://llm.example.com.", "https://LLM.Example.com",
            "https://single", "https://10.0.0.1", "http://[2001:db8::1]:8000", "https://x.example:0",
            "https://-a.example.com", "https://a-.example.com", "https://" + "a" * 64 + ".example",
            "https://" + ".".join(["a" * 60] * 5), "https://1.2.3", "https://a..b", "http://0.0.0.0:8000",
            "https://xn--bcher-kva.example", "http://[::ffff:10.0.0.1]:8000", "https://256.1.1.1",
        )
    },
    **{
        f"address {address}": one(address=address)
        for address in ("a_b.example:443", "llm.example.:443", "llm.example:0", "10.0.0.1:1", "[2001:db8::1]:8443")
    },
    **{
        f"server name {name}": one(tls={"serverName": name})
        for name in ("*.example.com", "a_b.example", "a.example.", "10.0.0.1", "A.example", "2001:db8::1")
    },
    "256 variables": one(headers={f"x-{it}": f"${{V{it}}}" for it in range(256)}),
    "257 variables": one(headers={f"x-{it}": f"${{V{it}}}" for it in range(257)}),
    "long variable": one(headers={"x-a": "${" + "V" * 254 + "}"}),
    "longer variable": one(headers={"x-a": "${" + "V" * 300 + "}"}),
    "long timeout": one(timeout="1000000h"),
    "no time": one(timeout="1ms"),
    "odd time": one(timeout="1.0001s"),
    "many retries": one(maxRetries=2**32 - 1),
    "retries": one(maxRetries=2**31),
    "large": yaml.safe_dump({"maxRequestBytes": 2**62, **yaml.safe_load(ONE)}),
    "headers": one(headers={"x-a": "1", "x_b": "2", "x.c": "3"}),
    "many routes": yaml.safe_dump({
        **yaml.safe_load(NO_KEY), "routes": [{"path": f"/{it}", "backend": "a"} for it in range(63)],
    }),
    "many more routes": yaml.safe_dump({
        **yaml.safe_load(NO_KEY), "routes": [{"path": f"/{it}", "backend": "a"} for it in range(300)],
    }),
    "many backends": yaml.safe_dump({"backends": [
        {"name": f"b{it}", "type": "vllm", "config": {"endpoint": f"https://b{it}.example"}} for it in range(17)
    ], "routes": [{"path": f"/b{it}", "backend": f"b{it}"} for it in range(17)]}),
    "name": one().replace("name: a", "name: " + "a" * 64).replace("backend: a", "backend: " + "a" * 64),
    "ending name": one().replace("name: a", "name: a-._").replace("backend: a", "backend: a-._"),
}

# Options with which no cluster takes what is rendered.
LONG = "a" * 254
ODD_OPTIONS = [
    *[
        (*form, f"{option}={value}")
        for form, options in (
            (("istio",), ("--namespace", "--gateway", "--gateway-api")),
            (("istio", "--hold"), ("--namespace", "--gateway")),
            (("envoy-gateway", "--hold"), ("--namespace", "--gateway", "--class", "--secret")),
        )
        for option in options
        for value in ("", "A", "a_b", "-a", "a-", "a b", "a.b", "a" * 64, LONG, "ä", "a/b", "a/b/c", "/a", "a/")
    ],
    *[
        ("istio", *hold, f"--selector={selector}")
        for hold in ((), ("--hold",))
        for selector in (
            "a=", "=a", "a b=c", "a=b c", "a=-b", "a=b-", "a/b=c", "A/b=c", "a/b/c=d", "/b=c", "a=" + "b" * 64,
            "a" * 64 + "=b", "a=ä", "a=b,a=c", "a.b/c=D_e.f", LONG + "/a=b",
        )
    ],
    *[
        (home, "--wasm", url, "--sha256", SHA256)
        for home in ("istio", "envoy-gateway")
        for url in (
            "oci://Registry.example.com/a:1", "oci://registry.example.com/A:1", "oci://registry.example.com/a b:1",
            "oci://registry.example.com/a:", "oci://registry.example.com/a:-1", "oci:///a:1",
            "oci://registry.example.com", "oci://registry.example.com/a@sha256:12", "https://", "https:///a",
            "https://files.example.com/a b", "https://files_example/a", "https://ä.example/a",
            f"oci://registry.example.com/a@sha256:{SHA256}", "oci://registry.example.com:5000/a/b:1",
            "oci://registry.example.com:x/a:1", "https://files.example.com", "http://files.example.com:0/a",
        )
    ],
]


@pytest.fixture(scope="module")
def crdcheck():
    """Checks files by the kinds of a release: the faults, by file."""
    if shutil.which("go") is None and os.environ.get("CI") != "true":
        pytest.skip("manifests are not checked by the API server's packages: there is no Go to build them")
    program = artefacts.crdcheck()

    def crdcheck(release: str, files: list[pathlib.Path]) -> dict[str, list[str]]:
        kinds = artefacts.TARGET / "tools/crds" / release
        done = subprocess.run([program, kinds, *files], capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stderr
        faults = {}
        for line in done.stdout.splitlines():
            file, _, fault = line.partition(": ")
            faults.setdefault(pathlib.Path(file).name, []).append(fault)
        assert (done.returncode == 0) == (not faults), done.stdout + done.stderr
        return faults

    return crdcheck


def rendered(gateway: pathlib.Path, to: pathlib.Path, home: str, *options: str) -> str | None:
    """Renders `gateway`; why it was refused, if it was."""
    module = () if "--wasm" in options else ("--wasm", IMAGE, "--sha256", SHA256)
    command = [artefacts.command(), "render", home, gateway, *module, *options, "--output", to]
    # The examples name endpoints by these; nothing else is needed to render.
    env = {
        "AZURE_OPENAI_ENDPOINT": "https://me.openai.azure.com",
        "LLAMA_ENDPOINT_URL": "http://vllm.models.svc.cluster.local:8000",
    }
    done = subprocess.run([str(it) for it in command], env=env, capture_output=True, text=True)
    assert done.returncode in (0, 2, 64, 65, 78), (done.returncode, done.stderr)
    return done.stderr if done.returncode else None


@pytest.fixture
def directory(output, request):
    directory = output / "manifests" / request.node.name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def assert_accepted(crdcheck, files):
    assert files
    faults = {release: crdcheck(release, known(release, files)) for release in RELEASES}
    assert not any(faults.values()), "\n".join(
        f"{release}: {file}: {it}" for release, found in faults.items() for file in found for it in found[file]
    )


def known(release, files):
    """Those whose kinds and fields the release has."""
    newer = ("traffic-extension", "istio.md Tracing")
    return [it for it in files if release == "newest" or not any(name in it.name for name in newer)]


def test_every_form_of_every_example_is_accepted(crdcheck, directory):
    files = []
    gateways = {it.name.removesuffix(".gateway.yaml"): it for it in EXAMPLES}
    for name, text in (("many", MANY), ("one", ONE), ("no-key", NO_KEY)):
        gateways[name] = directory / f"{name}.gateway.yaml"
        gateways[name].write_text(text)
    for name, gateway in gateways.items():
        for form, (home, *options) in FORMS.items():
            file = directory / f"{name}.{form}.yaml"
            if rendered(gateway, file, home, *options) is None:
                files.append(file)
    forms = {it.name.split(".")[1] for it in files}
    assert forms == set(FORMS), "each form renders something"
    # These have backends on the machine itself, which a pod does not reach.
    assert {it.name.split(".")[0] for it in files} == {*gateways} - {"claude-code", "ollama", "vllm"}
    for file in files:
        names = [(it["kind"], it["metadata"]["name"]) for it in yaml.safe_load_all(file.read_text()) if it]
        assert len(names) == len(set(names)), "each is there once"
    assert_accepted(crdcheck, files)


def test_every_example_of_the_pages_is_accepted(crdcheck, directory):
    files = []
    for page in ("envoy-gateway.md", "istio.md"):
        for name, documents in examples(page).items():
            files.append(directory / f"{page} {name.replace('/', ' ')}.yaml")
            # Not what is the mesh's own configuration.
            kinds = [it for it in documents if "kind" in it]
            files[-1].write_text(yaml.safe_dump_all(kinds))
    assert_accepted(crdcheck, files)


def test_an_odd_gateway_is_refused_or_accepted_by_both(crdcheck, directory):
    files, refused = [], set()
    for at, (name, text) in enumerate(ODD.items()):
        gateway = directory / f"{at}.gateway.yaml"
        gateway.write_text(text)
        for form in ("istio", "istio-hold", "istio-gateway-api", "envoy-gateway"):
            home, *options = FORMS[form]
            file = directory / f"{at}.{form}.yaml"
            if (reason := rendered(gateway, file, home, *options)) is None:
                files.append(file)
            else:
                refused.add(name)
                assert reason.startswith(("backends", "routes", "pools", "--")) or ": " in reason, reason
    assert refused and len(files) > len(ODD)
    assert_accepted(crdcheck, files)


def test_an_odd_option_is_refused_or_accepted_by_both(crdcheck, directory):
    gateway = directory / "gateway.yaml"
    gateway.write_text(ONE)
    files = []
    for at, (home, *options) in enumerate(ODD_OPTIONS):
        file = directory / f"{at}.{home}.yaml"
        if (reason := rendered(gateway, file, home, *options)) is None:
            files.append(file)
            with file.open("a") as text:
                text.write("# " + " ".join(options))
        else:
            assert any(it.partition("=")[0] in reason for it in options), (options, reason)
    assert_accepted(crdcheck, files)


def test_what_is_not_in_a_kind_is_refused(crdcheck, directory):
    """The check is no sieve: a misspelt or missing field does not pass, nor does a broken rule."""
    good = list(yaml.safe_load_all((KUBERNETES / "plain.envoy-gateway.yaml").read_text()))
    [gateway] = [it for it in good if it and it["kind"] == "Gateway"]

    def without(member):
        return {**gateway, "spec": {key: it for key, it in gateway["spec"].items() if key != member}}

    bad = {
        "misspelt": {**gateway, "spec": {**gateway["spec"], "misspelt": True}},
        "missing": without("gatewayClassName"),
        "rule": {**gateway, "spec": {**gateway["spec"], "listeners": gateway["spec"]["listeners"] * 2}},
        "name": {**gateway, "metadata": {**gateway["metadata"], "name": "A"}},
        "label": {**gateway, "metadata": {**gateway["metadata"], "labels": {"a": "b c"}}},
        "kind": {**gateway, "kind": "Gatewa"},
    }
    files = []
    for name, document in bad.items():
        files.append(directory / f"{name}.yaml")
        files[-1].write_text(yaml.safe_dump(document))
    for release in RELEASES:
        assert set(crdcheck(release, files)) == {it.name for it in files}
