"""How `doctor` recognises that PUBLIC_URL leads to the service of this database: both know its secret.

A twin with the same keys but another database has another secret.
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
        """For one run; it gives access to nothing but these checks."""
        nonce = secrets.token_hex(16)
        return f"{nonce}.{self._sign(nonce)}"

    def accepts(self, token: str) -> bool:
        nonce, _, signature = token.partition(".")
        return hmac.compare_digest(signature.encode(), self._sign(nonce).encode())

    def proof(self, token: str, body: bytes) -> str:
        """Proves knowledge of the secret, and that this body arrived."""
        return self._sign(f"{token} {hashlib.sha256(body).hexdigest()}")

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
