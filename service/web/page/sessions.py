"""Sessions: a signed cookie that ends with its API key, and the sign-in link of a run without API_KEYS."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence

from itsdangerous import BadSignature, URLSafeTimedSerializer

from service.core.caller import ApiKey, Caller

SESSION_SECONDS = 7 * 24 * 3600
LINK_SECONDS = 10 * 60
LONGEST_KEY = 512


class Sessions:
    """Made from SECRET_KEY's list (the first signs, all verify) and the API keys."""

    def __init__(self, secret_keys: Sequence[str], api_keys: Sequence[ApiKey]) -> None:
        newest_last = list(reversed(secret_keys))
        self._links = _serializer(newest_last, "sign-in-link")
        self._used_links: set[str] = set()
        # The salt holds the key's digest, so that a session ends with its key and names no secret.
        self._keys = [
            (digest, Caller(item.name, item.admin), _serializer(newest_last, f"session:{digest.hex()}"))
            for item in api_keys
            for digest in [hashlib.sha256(item.key.encode()).digest()]
        ]

    def sign_in(self, key: str) -> str | None:
        """The cookie for this API key, None for a wrong one; all keys are compared, in constant time."""
        if len(key) > LONGEST_KEY:
            return None
        given = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        found = [signer for digest, _, signer in self._keys if hmac.compare_digest(digest, given)]
        return str(found[0].dumps(secrets.token_hex(8))) if found else None

    def caller(self, cookie: str | None) -> Caller | None:
        if not cookie or len(cookie) > LONGEST_KEY:
            return None
        for _, caller, signer in self._keys:
            try:
                signer.loads(cookie, max_age=SESSION_SECONDS)
            except (BadSignature, ValueError, UnicodeError):
                continue
            return caller
        return None

    def link_token(self) -> str:
        """Good for one sign-in as the first key, within ten minutes."""
        return str(self._links.dumps(secrets.token_hex(8)))

    def redeem(self, token: str) -> str | None:
        """The cookie, None when the link was used before, is too old or is forged."""
        try:
            name = str(self._links.loads(token, max_age=LINK_SECONDS))
        except (BadSignature, ValueError, UnicodeError):
            return None
        if name in self._used_links:
            return None
        self._used_links.add(name)
        return str(self._keys[0][2].dumps(secrets.token_hex(8)))


def _serializer(secret_keys: list[str], salt: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(secret_keys, salt=salt, signer_kwargs={"digest_method": hashlib.sha256})
