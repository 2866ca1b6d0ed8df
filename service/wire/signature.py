"""Standard Webhooks signatures: https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md."""

import base64
import binascii
import hmac
import secrets
from binascii import b2a_base64

PREFIX = "whsec_"


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def secret_bytes(secret: str) -> bytes:
    """Raises ValueError unless it is `whsec_` and the base64 of 24 to 64 bytes, as the specification asks."""
    if not secret.startswith(PREFIX):
        raise ValueError("must start with whsec_")
    try:
        raw = base64.b64decode(secret[len(PREFIX) :], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("must be whsec_ and base64") from None
    if not 24 <= len(raw) <= 64:
        raise ValueError("must hold 24 to 64 bytes")
    return raw


class Signer:
    """Signs for one subscriber; several secrets while they rotate, the newest first."""

    def __init__(self, secrets_: list[str]) -> None:
        self._keys = [secret_bytes(secret) for secret in secrets_]

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """The value of `webhook-signature`."""
        text = b"".join((f"{message_id}.{timestamp}.".encode(), body))
        return " ".join(
            [f"v1,{b2a_base64(hmac.digest(key, text, 'sha256'), newline=False).decode()}" for key in self._keys]
        )
