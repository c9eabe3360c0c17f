"""Other people's policies, for tests: who may call, with what, and what a request without it gets."""

import base64
import dataclasses
import hashlib
import http.server
import json
import threading

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

# Where the service that authorizes requests listens.
AUTHORIZER = ("127.0.0.4", 9000)
ISSUER = "https://issuer.example"


@dataclasses.dataclass
class Policy:
    """One kind of filter that can refuse a request."""

    name: str
    # What a client sends to be let in.
    credential: list[tuple[str, str]]
    # The status without it.
    status: int


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwks() -> str:
    """The public key of the tokens' issuer."""
    numbers = _KEY.public_key().public_numbers()
    size = (numbers.n.bit_length() + 7) // 8
    key = {
        "kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1",
        "n": _encoded(numbers.n.to_bytes(size, "big")), "e": _encoded(b"\x01\x00\x01"),
    }
    return json.dumps({"keys": [key]})


def token(**claims) -> str:
    """A token of the issuer."""
    head = _encoded(json.dumps({"alg": "RS256", "typ": "JWT", "kid": "1"}).encode())
    body = {"iss": ISSUER, "sub": "alice", "exp": 4_102_444_800, **claims}
    signed = f"{head}.{_encoded(json.dumps(body).encode())}"
    signature = _KEY.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{_encoded(signature)}"


def htpasswd(name: str, password: str) -> str:
    """A line of a password file."""
    digest = base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()
    return f"{name}:{{SHA}}{digest}\n"


POLICIES = {
    it.name: it
    for it in (
        Policy("jwt", [("authorization", f"Bearer {token()}")], 401),
        Policy("api-key", [("x-api-key", "team-key")], 401),
        Policy(
            "basic", [("authorization", f"Basic {base64.b64encode(b'alice:secret').decode()}")], 401
        ),
        Policy("ext-authz", [("x-token", "good")], 403),
        Policy("rbac", [("x-team", "red")], 403),
        Policy("lua", [("x-guard", "good")], 403),
    )
}


class Authorizer:
    """Answers 200 to a request with `x-token: good`, else 403, and keeps what it was sent."""

    def __init__(self, address: tuple[str, int] = AUTHORIZER):
        seen = self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("content-length", 0))
                self.rfile.read(length)
                seen.append((self.path, dict(self.headers)))
                self.send_response(200 if self.headers.get("x-token") == "good" else 403)
                self.send_header("content-length", "0")
                self.end_headers()

            do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = answer

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(address, Handler)
        self.address = self._server.server_address
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
