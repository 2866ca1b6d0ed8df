"""Signed tokens and derived secrets. Each purpose has its own salt, so no token passes for another."""

import base64
import hashlib
import hmac
from collections import OrderedDict

from itsdangerous import BadSignature, Signer, TimestampSigner, URLSafeTimedSerializer
from msgspec import Struct

from service.core.times import now_ms

REMEMBERED = 10_000
STREAM_LINK_SECONDS = 24 * 3600


class BadToken(Exception):
    """Forged, expired or for another purpose: always the same error."""


class _Signer(TimestampSigner):
    def get_timestamp(self) -> int:
        return now_ms() // 1000


class TimedTokens:
    """Tokens that expire. One from the future is accepted: a clock was set back, or another machine's is ahead."""

    def __init__(self, secret_keys: tuple[str, ...], salt: str) -> None:
        self._serializer = URLSafeTimedSerializer(
            list(reversed(secret_keys)), salt=salt, signer=_Signer, signer_kwargs={"digest_method": hashlib.sha256}
        )

    def make(self, value: object) -> str:
        return str(self._serializer.dumps(value))

    def read(self, text: str, seconds: float) -> object:
        """Raises BadToken."""
        try:
            value, made_at = self._serializer.loads(text, return_timestamp=True)
        except (BadSignature, ValueError, TypeError, UnicodeError, RecursionError):
            raise BadToken from None
        if now_ms() / 1000 - made_at.timestamp() > seconds:
            raise BadToken
        return value


class CallbackToken(Struct, frozen=True):
    provider: str
    task_id: str
    attempt: int


class Tokens:
    """The first of the secret keys signs, all verify."""

    def __init__(self, secret_keys: tuple[str, ...]) -> None:
        # Keyed once: copying is half the cost of setting up the key.
        self._keyed = [hmac.new(key.encode(), digestmod="sha256") for key in secret_keys]
        newest_last = list(reversed(secret_keys))
        # A bare signer over plain text, with its key derived once, because every callback waits for it.
        derived = [hmac.digest(key.encode(), b"callback-token", "sha256") for key in newest_last]
        self._callback = Signer(derived, key_derivation="none", digest_method=hashlib.sha256)
        self._callback_by_key = [
            Signer(key, key_derivation="none", digest_method=hashlib.sha256) for key in reversed(derived)
        ]
        self._stream = TimedTokens(secret_keys, "stream")
        # Verifying a signature is the most expensive step of a callback, and most tasks get several callbacks.
        self._known: OrderedDict[str, CallbackToken] = OrderedDict()
        self._secrets: OrderedDict[CallbackToken, list[str]] = OrderedDict()

    def callback(self, token: CallbackToken) -> str:
        text = self._callback.sign(f"{token.provider}.{token.task_id}.{token.attempt}").decode()
        self._remember(text, token)
        return text

    def every_callback(self, token: CallbackToken) -> list[str]:
        """As signed by each secret key, the current one first: a provider may have one from before a rotation."""
        text = f"{token.provider}.{token.task_id}.{token.attempt}"
        return [signer.sign(text).decode() for signer in self._callback_by_key]

    def read_callback(self, text: str) -> CallbackToken:
        known = self._known.get(text)
        if known is not None:
            return known
        try:
            provider, task_id, attempt = self._callback.unsign(text).decode().split(".")
            token = CallbackToken(provider, task_id, int(attempt))
        except (BadSignature, ValueError, UnicodeError):
            raise BadToken from None
        self._remember(text, token)
        return token

    def _remember(self, text: str, token: CallbackToken) -> None:
        self._known[text] = token
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def stream(self, task_id: str) -> str:
        return self._stream.make(task_id)

    def read_stream(self, text: str) -> str:
        """The task's id. Raises BadToken, also after 24 h."""
        return str(self._stream.read(text, STREAM_LINK_SECONDS))

    def callback_secret(self, token: CallbackToken) -> str:
        """What PiAPI must return in `x-webhook-secret`, for this attempt at this task only."""
        return self.callback_secrets(token)[0]

    def callback_secrets(self, token: CallbackToken) -> list[str]:
        found = self._secrets.get(token)
        if found is None:
            found = self._secrets[token] = self._derive_secrets(token)
            if len(self._secrets) > REMEMBERED:
                self._secrets.popitem(last=False)
        return found

    def _derive_secrets(self, token: CallbackToken) -> list[str]:
        purpose = f"callback-secret:{token.provider}:{token.task_id}:{token.attempt}".encode()
        return [mac.hex() for mac in self._macs(purpose)]

    def owner_secrets(self, owner: str) -> tuple[str, ...]:
        """Webhook secrets (`whsec_…`) that sign deliveries to the callback_url of this owner's tasks."""
        purpose = f"webhook-secret:{owner}".encode()
        return tuple(["whsec_" + base64.b64encode(mac).decode() for mac in self._macs(purpose)])

    def _macs(self, text: bytes) -> list[bytes]:
        """With each secret key, the signing one first."""
        found = []
        for keyed in self._keyed:
            mac = keyed.copy()
            mac.update(text)
            found.append(mac.digest())
        return found
