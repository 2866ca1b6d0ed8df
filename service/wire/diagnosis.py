"""How `doctor` knows that the service at PUBLIC_URL is the one beside it: both know a secret of this database alone.

A twin with the same keys and another database knows another secret.
"""

import hashlib
import hmac
import secrets

PREFIX = "/doctor/"
LARGEST_BODY = 65_536


class Diagnosis:
    def __init__(self, secret: str) -> None:
        self._key = hashlib.sha256(b"callbridge doctor " + secret.encode()).digest()

    def token(self) -> str:
        """For one visit; it opens nothing but these checks."""
        nonce = secrets.token_hex(16)
        return f"{nonce}.{self._sign(nonce)}"

    def accepts(self, token: str) -> bool:
        nonce, _, signature = token.partition(".")
        return hmac.compare_digest(signature.encode(), self._sign(nonce).encode())

    def proof(self, token: str, body: bytes) -> str:
        """Only who knows the secret can say it, and only of the body that arrived."""
        return self._sign(f"{token} {hashlib.sha256(body).hexdigest()}")

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
