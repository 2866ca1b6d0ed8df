"""Standard Webhooks signatures: https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md."""

import base64
import binascii
import hmac
import secrets
from binascii import b2a_base64
from collections.abc import Sequence

PREFIX = "whsec_"


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def secret_bytes(secret: str) -> bytes:
    """Raises ValueError unless it is `whsec_` and base64 of 24 to 64 bytes, as the specification requires."""
    if not secret.startswith(PREFIX):
        raise ValueError("must start with whsec_")
    try:
        raw = base64.b64decode(secret[len(PREFIX) :], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("must be whsec_ followed by base64") from None
    if not 24 <= len(raw) <= 64:
        raise ValueError("must contain 24 to 64 bytes")
    return raw


class Signer:
    """Signs for one subscriber; several secrets while they rotate, the newest first."""

    def __init__(self, secrets_: Sequence[str]) -> None:
        # Keyed once: a copy costs half of what setting up the key again does.
        self._keyed = [hmac.new(secret_bytes(secret), digestmod="sha256") for secret in secrets_]

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """The value of `webhook-signature`."""
        signed = f"{message_id}.{timestamp}.".encode() + body
        signatures = []
        for keyed in self._keyed:
            mac = keyed.copy()
            mac.update(signed)
            signatures.append(f"v1,{b2a_base64(mac.digest(), newline=False).decode()}")
        return " ".join(signatures)
