"""What `make image` and `make dist` write: unpacked without the program that packed it."""

import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import tarfile
import tomllib

import pytest

from harness import artefacts

VERSION = tomllib.loads((artefacts.ROOT / "Cargo.toml").read_text())["package"]["version"]
REVISION = "0123456789abcdef0123456789abcdef01234567"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def pack(*arguments) -> str:
    command = [artefacts.pack(), *arguments]
    done = subprocess.run(
        list(map(str, command)), cwd=artefacts.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def everything(directory: pathlib.Path) -> dict[str, bytes]:
    """All files below `directory`, by their paths."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def module() -> bytes:
    return artefacts.module().read_bytes()


@pytest.fixture(scope="module")
def release(output) -> pathlib.Path:
    directory = output / "release"
    said = pack(
        "release",
        *("--module", artefacts.module(), "--revision", REVISION, "--output", directory),
    )
    assert said.splitlines()[-1] == str(directory / f"llm-proxy-{VERSION}")
    return directory / f"llm-proxy-{VERSION}"


class Image:
    """An image layout, of which everything that can be checked without its meaning is right."""

    def __init__(self, directory: pathlib.Path):
        self.files = everything(directory)
        assert json.loads(self.files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
        index = json.loads(self.files["index.json"])
        assert index["schemaVersion"] == 2
        assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
        [descriptor] = index["manifests"]
        assert descriptor["mediaType"] == MANIFEST
        assert descriptor["annotations"] == {"org.opencontainers.image.ref.name": VERSION}
        self.digest = descriptor["digest"]
        self.manifest = json.loads(self.blob(descriptor))
        assert self.manifest["schemaVersion"] == 2
        assert self.manifest["mediaType"] == MANIFEST
        self.config, self.layers = self.manifest["config"], self.manifest["layers"]
        used = {it["digest"] for it in [descriptor, self.config, *self.layers]}
        named = {f"blobs/{digest.replace(':', '/')}" for digest in used}
        assert set(self.files) == {"oci-layout", "index.json"} | named

    def blob(self, descriptor: dict) -> bytes:
        content = self.files[f"blobs/{descriptor['digest'].replace(':', '/')}"]
        assert (sha256(content), len(content)) == (descriptor["digest"], descriptor["size"])
        return content


@pytest.fixture(params=["image", "artifact"])
def name(request) -> str:
    return request.param


def test_the_module_has_the_version_of_the_crate(module):
    assert sections(module)["version"] == VERSION.encode()


def test_the_module_has_no_path_of_this_machine(module):
    for path in (artefacts.ROOT, pathlib.Path.home(), os.environ.get("CARGO_HOME", artefacts.ROOT)):
        assert f"{path}/".encode() not in module


def test_the_image_has_one_layer_with_the_module_at_its_root(release, module):
    """As both fetchers read it: the last layer, of this type, has a file `plugin.wasm`."""
    image = Image(release / "image")
    [layer] = image.layers
    assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
    assert image.config["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert image.manifest["annotations"]["module.wasm.image/variant"] == "compat"
    compressed = image.blob(layer)
    # RFC 1952: no flags, so no name; no time; the operating system is unknown.
    assert compressed[3:8] == bytes(5) and compressed[9] == 255
    tar = gzip.decompress(compressed)
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as archive:
        [entry] = archive.getmembers()
        assert (entry.name, entry.mode, entry.isreg()) == ("plugin.wasm", 0o644, True)
        assert (entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime) == (0, 0, "", "", 0)
        assert archive.extractfile(entry).read() == module
    config = json.loads(image.blob(image.config))
    assert config["rootfs"] == {"type": "layers", "diff_ids": [sha256(tar)]}
    assert config["config"]["Labels"].items() <= image.manifest["annotations"].items()
    assert "created" not in config


def test_the_artifact_has_the_module_as_a_layer(release, module):
    """As both fetchers read it: two layers, one of which is of the module's type."""
    image = Image(release / "artifact")
    runtime, content = image.layers
    assert content["mediaType"] == "application/vnd.module.wasm.content.layer.v1+wasm"
    assert image.blob(content) == module
    for descriptor in (image.config, runtime):
        assert descriptor["mediaType"] == "application/vnd.module.wasm.config.v1+json"
        config = json.loads(image.blob(descriptor))
        assert (config["type"], config["abiVersions"]) == ("envoy_proxy", ["v0.2.1"])


def test_an_image_says_what_it_is(release, name):
    annotations = Image(release / name).manifest["annotations"]
    prefix = "org.opencontainers.image"
    assert annotations[f"{prefix}.version"] == VERSION
    assert annotations[f"{prefix}.revision"] == REVISION
    assert annotations[f"{prefix}.licenses"] == "Apache-2.0"


def test_a_tarball_is_its_directory(release, name):
    with tarfile.open(release / f"{name}.tar", mode="r:") as archive:
        members = archive.getmembers()
        files = {it.name: archive.extractfile(it).read() for it in members if it.isreg()}
    assert files == everything(release / name)
    for it in members:
        assert (it.uid, it.gid, it.uname, it.gname, it.mtime) == (0, 0, "", "", 0)
    # Parents come before what is in them.
    assert [it.name for it in members if it.isdir()] == ["blobs", "blobs/sha256"]


def test_the_same_module_is_packed_to_the_same_bytes(release, name, tmp_path):
    """Also elsewhere, at another time, by somebody with other permissions."""
    copied = tmp_path / "module.wasm"
    copied.write_bytes(artefacts.module().read_bytes())
    os.utime(copied, (1, 1))
    umask = os.umask(0o077)
    try:
        arguments = ["--module", copied, "--revision", REVISION, "--output", tmp_path]
        said = pack("image", *arguments)
        assert pack("image", *arguments) == said
    finally:
        os.umask(umask)
    assert f"{name}: {Image(release / name).digest}\n" in said
    assert everything(tmp_path / name) == everything(release / name)
    assert (tmp_path / f"{name}.tar").read_bytes() == (release / f"{name}.tar").read_bytes()


def test_a_release_has_the_module_and_its_sum(release, module):
    assert (release / "llm_proxy.wasm").read_bytes() == module
    check = subprocess.run(["sha256sum", "--check", "llm_proxy.wasm.sha256"], cwd=release)
    assert check.returncode == 0


def test_everything_in_a_release_carries_its_version(release):
    """The images, too: see above."""
    schema = json.loads((release / "envoy/gateway.schema.json").read_text())
    assert schema["title"].endswith(f" {VERSION}")
    version = subprocess.run([artefacts.command(), "--version"], capture_output=True, text=True)
    assert version.stdout == f"llm-proxy {VERSION}\n"
    assert f"\n## {VERSION}" in (release / "CHANGELOG.md").read_text()
    heads = {path: text[:99].decode(errors="replace") for path, text in everything(release / "envoy").items()}
    rendered = {path for path, head in heads.items() if head.startswith("# rendered by ")}
    for path in rendered:
        assert heads[path].startswith(f"# rendered by llm-proxy {VERSION} from envoy/"), path
    for home in ("envoy", "istio", "envoy-gateway"):
        assert any(path.endswith(f".{home}.yaml") for path in rendered), home


def test_a_release_has_the_examples_and_what_they_need(release):
    """An example starts in the release's directory, and an editor finds the schema."""
    for path in ("envoy", "envoy/kubernetes"):
        texts = (it for it in (artefacts.ROOT / path).iterdir() if it.is_file())
        assert {it.name for it in texts} == {
            it.name for it in (release / path).iterdir() if it.is_file()
        }
    for file in release.glob("envoy/**/*.yaml"):
        text = file.read_text()
        schemas = re.findall(r"^# yaml-language-server: \$schema=(.*)$", text, re.MULTILINE)
        assert len(schemas) == (1 if file.name.endswith(".gateway.yaml") else 0), file
        assert all((file.parent / it).is_file() for it in schemas), file
        modules = re.findall(r"filename: (.*\.wasm)\b", text)
        assert bool(modules) == file.name.endswith(".envoy.yaml"), file
        assert all((release / it).is_file() for it in modules), file


def sections(module: bytes) -> dict[str, bytes]:
    """The custom sections of a module, by their names.

    Source: https://webassembly.github.io/spec/core/binary/modules.html#sections
    """
    assert module[:8] == b"\0asm\x01\0\0\0"
    stream, found = io.BytesIO(module[8:]), {}
    while kind := stream.read(1):
        content = io.BytesIO(stream.read(leb128(stream)))
        if kind == b"\0":
            name = content.read(leb128(content)).decode()
            found[name] = content.read()
    return found


def leb128(stream) -> int:
    value = shift = 0
    while True:
        [byte] = stream.read(1)
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value


def test_the_module_of_every_test_is_what_the_post_link_step_makes_of_cargos(module, output):
    profile = artefacts.module().parent.name
    built = artefacts.TARGET / "wasm32-wasip1" / profile / "llm_proxy.wasm"
    written = output / "llm_proxy.wasm"
    pack("deinline", "--module", built, "--output", written)
    assert written.read_bytes() == module
