"""What surrounds a control plane: names, trust, the providers, a registry.

Only inside of `e2e/control_planes/inside.sh`: mounts and ports are those of its namespaces.
"""

import datetime
import fcntl
import json
import os
import pathlib
import socket
import struct
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .. import artefacts
from ..mock import Mock
from ..process import Process
from .collector import COLLECTOR
from .limiter import LIMITER
from .policies import AUTHORIZER, jwks
from .processor import PROCESSOR
from .registry import Registry

# The providers' addresses: nothing of a gateway listens there.
PROVIDERS = "127.0.0.2"
REGISTRY = ("127.0.0.1", 5000)
FILES = ("127.0.0.3", 443)
FILES_HOST = "files.example.com"
# Where the keys of clients' tokens are published.
ISSUER_HOST = "issuer.example"

# An address of the loopback, which the control planes take for a registry without TLS.
IMAGE = "oci://127.0.0.1:5000/llm-proxy:0.1.0"
ARTIFACT = "oci://127.0.0.1:5000/llm-proxy-artifact:0.1.0"
FILE = f"https://{FILES_HOST}/llm_proxy.wasm"

# From where Envoy Gateway's proxies fetch the module.
CONTROL_PLANE = "envoy-gateway.envoy-gateway-system.svc.cluster.local"

# Every host that an example or a test calls.
HOSTS = (
    "api.anthropic.com", "api.cohere.ai", "api.cohere.com", "api.deepseek.com", "api.groq.com",
    "api.mistral.ai", "api.openai.com", "api.together.xyz", "api.x.ai", "fast.example.com",
    "generativelanguage.googleapis.com", "llm.example.com", "me.openai.azure.com",
    "my-resource.openai.azure.com", "oauth2.googleapis.com", "us-central1-aiplatform.googleapis.com",
    "vllm.models.svc.cluster.local", "wrongname.example",
)

ROOTS = "/etc/ssl/certs/ca-certificates.crt"


class World:
    """The surroundings of all control planes of a test run."""

    def __init__(self, directory: pathlib.Path):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        bring_loopback_up()
        # Shared memory and what istio-agent stores: of this run only.
        for place in ("/dev/shm", "/var/lib"):
            _mount("-t", "tmpfs", "tmpfs", place)
        hosts = {"localhost": "127.0.0.1", CONTROL_PLANE: "127.0.0.1", FILES_HOST: FILES[0], ISSUER_HOST: FILES[0]}
        hosts.update((it, PROVIDERS) for it in HOSTS)
        # As the examples of the pages name them.
        hosts["authorizer.default.svc.cluster.local"] = AUTHORIZER[0]
        hosts["processor.default.svc.cluster.local"] = PROCESSOR[0]
        hosts["zipkin.default.svc.cluster.local"] = COLLECTOR[0]
        # As Envoy Gateway names it.
        hosts["envoy-ratelimit.envoy-gateway-system.svc.cluster.local"] = LIMITER[0]
        lines = "".join(f"{address} {name}\n" for name, address in hosts.items())
        _bind(directory / "hosts", lines.encode(), "/etc/hosts")
        # Nothing listens there, so that a query for an IPv6 address ends at once.
        servers = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
        _bind(directory / "resolv.conf", servers.encode(), "/etc/resolv.conf")
        addresses = ("--tls", f"{PROVIDERS}:443", "--plain", f"{PROVIDERS}:8000")
        self.mock = Mock(directory, ["wrongname.example"], addresses)
        authority, identity = certificate(directory, FILES_HOST, ISSUER_HOST)
        _bind(directory / "trust.pem", self.mock.ca.read_bytes() + authority, ROOTS)
        images = artefacts.images()
        layouts = {"llm-proxy": images / "image", "llm-proxy-artifact": images / "artifact"}
        keys = directory / "jwks.json"
        keys.write_text(jwks())
        files = {"/llm_proxy.wasm": artefacts.module(), "/.well-known/jwks.json": keys}
        self.registry = Registry(REGISTRY, layouts, files)
        self._files = Registry(FILES, layouts, files, identity)

    def stop(self):
        self._files.stop()
        self.registry.stop()
        self.mock.stop()


def image_digest(layout: str = "image") -> str:
    """The digest of an image's manifest, without its algorithm."""
    index = json.loads((artefacts.images() / layout / "index.json").read_text())
    return index["manifests"][0]["digest"].removeprefix("sha256:")


def render(
    home: str, gateway: pathlib.Path | str, directory: pathlib.Path, *options, env=None
) -> str:
    """What `llm-proxy render HOME` prints, with the image of this checkout unless `options` have one."""
    directory.mkdir(parents=True, exist_ok=True)
    if isinstance(gateway, str):
        file = directory / "gateway.yaml"
        file.write_text(gateway)
        gateway = file
    module = () if "--wasm" in options else ("--wasm", IMAGE, "--sha256", image_digest())
    command = [artefacts.command(), "render", home, gateway, *module, *options]
    done = subprocess.run([str(it) for it in command], env=env or {}, capture_output=True, text=True)
    assert done.returncode == 0, f"exit code {done.returncode}:\n{done.stderr}"
    (directory / f"{home}.yaml").write_text(done.stdout)
    return done.stdout


def stop_all(processes: list[Process]):
    for process in reversed(processes):
        process.stop()
    processes.clear()


def bring_loopback_up():
    """Gives a new network namespace its loopback."""
    assert os.environ.get("IN_NAMESPACES"), "run it by the make target: `make e2e-istio` or another"
    # SIOCSIFFLAGS with IFF_UP; see netdevice(7).
    with socket.socket() as some:
        fcntl.ioctl(some, 0x8914, struct.pack("16sh", b"lo", 1))


def _mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)


def _bind(file: pathlib.Path, text: bytes, place: str):
    file.write_bytes(text)
    _mount("--bind", file, place)


def certificate(directory: pathlib.Path, host: str, *others: str) -> tuple[bytes, pathlib.Path]:
    """A certificate authority (PEM), and a file with a key and a certificate of it for the hosts."""
    # Clocks differ, and a namespace has the machine's.
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    end = begin + datetime.timedelta(days=365)

    def signed(name, key, issuer, issuer_key, extension):
        subject, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, it)]) for it in (name, issuer))
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(by)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(begin).not_valid_after(end)
        made = builder.add_extension(extension, critical=True).sign(issuer_key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM)

    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    name = "control planes' tests"
    authority = signed(name, authority_key, name, authority_key, x509.BasicConstraints(True, None))
    names = x509.SubjectAlternativeName([x509.DNSName(it) for it in (host, *others)])
    certificate = signed(host, key, name, authority_key, names)
    file = directory / f"{host}.pem"
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(key.private_bytes(*pem) + certificate)
    return authority, file
