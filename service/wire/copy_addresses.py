"""Public addresses of copies: signed, so that nobody can guess one, and valid as long as the copy is kept."""

import hashlib

from itsdangerous import BadSignature, Signer

PATH = "/results/"


class CopyAddresses:
    """The first of `keys` signs, all verify. The first is stored in the database and never rotated, because addresses
    are part of tasks and events, which outlive a SECRET_KEY."""

    def __init__(self, public_url: str, keys: tuple[str, ...]) -> None:
        self._public_url = public_url
        derived = [hashlib.sha256(b"copy-address:" + key.encode()).digest() for key in reversed(keys)]
        self._signer = Signer(derived, key_derivation="none", digest_method=hashlib.sha256)

    def of(self, task_id: str, position: int, name: str) -> str:
        """`name` is that of the copy in the storage; its last part is visible."""
        token = self._signer.sign(f"{task_id}.{position}").decode()
        return f"{self._public_url}{PATH}{token}/{name.rpartition('/')[2]}"

    def read(self, token: str) -> tuple[str, int] | None:
        """The task's id and the file's position; None when the token is forged."""
        try:
            task_id, position = self._signer.unsign(token).decode().split(".")
            return task_id, int(position)
        except (BadSignature, ValueError, UnicodeError):
            return None
