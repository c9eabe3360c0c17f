"""A Kubernetes API server with etcd, and `kubectl` for it: no nodes, no controllers."""

import os
import pathlib
import shutil
import subprocess

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from .. import artefacts
from ..process import Process
from . import world

ETCD, PEERS, PORT = "http://127.0.0.1:23790", "http://127.0.0.1:23800", 16443
TOKEN = "token-of-the-tests"


class ApiServer:
    """Runs until `stop`, with the CustomResourceDefinitions of a release ("oldest", "newest")."""

    def __init__(self, directory: pathlib.Path, release: str):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        self.directory = directory
        self._processes: list[Process] = []
        self._start_etcd()
        self._start_server()
        kinds = artefacts.TARGET / "tools/crds" / release
        self.kubectl("apply", "--server-side", "--filename", kinds)
        self.kubectl("wait", "--for=condition=Established", "crd", "--all")

    def kubectl(self, *arguments, text: str | None = None) -> str:
        """What `kubectl` prints; it has to succeed."""
        command = [artefacts.kubernetes("kubectl"), *arguments]
        done = subprocess.run(
            [str(it) for it in command], input=text, env=self.environment(), capture_output=True, text=True,
            timeout=artefacts.GUARD_SECONDS,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def environment(self) -> dict[str, str]:
        home = {"HOME": str(self.directory), "KUBECONFIG": str(self.directory / "kubeconfig")}
        return {"PATH": os.environ["PATH"], **home}

    def stop(self):
        world.stop_all(self._processes)

    def _start_etcd(self):
        command = [
            shutil.which("etcd"), "--data-dir", self.directory / "etcd",
            "--listen-client-urls", ETCD, "--advertise-client-urls", ETCD,
            "--listen-peer-urls", PEERS, "--initial-advertise-peer-urls", PEERS,
            "--initial-cluster", f"default={PEERS}", "--unsafe-no-fsync", "--log-level", "warn",
        ]
        self._processes.append(Process(command, self.directory / "etcd.log"))

    def _start_server(self):
        key = rsa.generate_private_key(65537, 2048)
        pem = serialization.Encoding.PEM
        private, public = self.directory / "accounts.key", self.directory / "accounts.pub"
        private.write_bytes(key.private_bytes(
            pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        ))
        public.write_bytes(
            key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        tokens = self.directory / "tokens.csv"
        tokens.write_text(f'{TOKEN},admin,admin,"system:masters"\n')
        certificates = self.directory / "certificates"
        command = [
            artefacts.kubernetes("kube-apiserver"), "--etcd-servers", ETCD,
            "--bind-address", "127.0.0.1", "--secure-port", PORT, "--cert-dir", certificates,
            # Looked for by the default route otherwise, which a namespace without a network does not have.
            "--advertise-address", "192.0.2.1",
            "--service-cluster-ip-range", "10.0.0.0/24",
            "--service-account-issuer", "https://kubernetes.default.svc",
            "--service-account-key-file", public, "--service-account-signing-key-file", private,
            "--token-auth-file", tokens, "--authorization-mode", "AlwaysAllow",
            # Without a controller no account is ever made for a pod.
            "--disable-admission-plugins", "ServiceAccount", "--endpoint-reconciler-type", "none",
        ]
        server = Process(command, self.directory / "apiserver.log")
        self._processes.append(server)
        (self.directory / "kubeconfig").write_text(yaml.safe_dump({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {
                "server": f"https://127.0.0.1:{PORT}",
                "certificate-authority": str(certificates / "apiserver.crt"),
            }}],
            "users": [{"name": "test", "user": {"token": TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }))

        def ready():
            command = [artefacts.kubernetes("kubectl"), "get", "--raw", "/readyz"]
            done = subprocess.run(command, env=self.environment(), capture_output=True)
            return done.returncode == 0

        try:
            server.until(ready)
        except BaseException:
            self.stop()
            raise
