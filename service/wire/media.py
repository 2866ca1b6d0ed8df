"""Public addresses of files that came inline: signed, so that nobody can guess one."""

import hashlib

from itsdangerous import BadSignature, URLSafeSerializer

from service.core.content import MEDIA_TYPES, UNKNOWN


def content_type_of(name: str) -> str:
    """Of a file that came inline, by the extension of its name."""
    return MEDIA_TYPES.get(name.rpartition(".")[2], UNKNOWN)


class MediaAddresses:
    """The first of `keys` signs, all verify. The first is stored in the database and never rotated, because addresses
    are part of events, which are replayed long after a SECRET_KEY was replaced."""

    def __init__(self, public_url: str, keys: tuple[str, ...]) -> None:
        self._public_url = public_url
        self._signer = URLSafeSerializer(
            list(reversed(keys)), salt="media", signer_kwargs={"digest_method": hashlib.sha256}
        )

    def of(self, name: str) -> str:
        return f"{self._public_url}/media/{self._signer.dumps(name)}"

    def name_of(self, token: str) -> str | None:
        """None when the token is forged."""
        try:
            return str(self._signer.loads(token))
        except (BadSignature, ValueError, TypeError, UnicodeError, RecursionError):
            return None
