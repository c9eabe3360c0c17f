"""Service accounts of Google Cloud, whose keys are made here."""

import base64
import functools
import json

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

EMAIL = "gateway@e2e-project.iam.gserviceaccount.com"
TOKEN_URI = "https://oauth2.googleapis.com/token"


class ServiceAccount:
    """One key of a service account."""

    def __init__(self, key_id: str, email: str = EMAIL):
        self.key_id = key_id
        self.email = email
        self._key = _key(key_id)

    def json(self, **changes) -> str:
        """What Google Cloud gives when the key is made."""
        encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        pem = self._key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
        members = {
            "type": "service_account",
            "project_id": "e2e-project",
            "private_key_id": self.key_id,
            "private_key": pem.decode(),
            "client_email": self.email,
            "client_id": "1",
            "token_uri": TOKEN_URI,
            "universe_domain": "googleapis.com",
        }
        return json.dumps({**members, **changes})

    def secrets(self) -> list[str]:
        """Lines of the key, none of which may be seen anywhere."""
        return json.loads(self.json())["private_key"].splitlines()[1:-1]

    def account(self, **changes) -> dict:
        """The account as the token endpoint knows it."""
        der = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.PKCS1
        )
        public = base64.b64encode(der).decode()
        return {"email": self.email, "key_id": self.key_id, "public_key": public, **changes}


@functools.cache
def _key(_name: str):
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
