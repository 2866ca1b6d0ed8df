"""What became of a callback, as the audit log, the metrics and `GET /v1/callbacks` name it."""

from typing import Literal, get_args

CallbackResult = Literal[
    "accepted",
    "repeated",
    "unknown_provider",
    "bad_token",
    "wrong_provider",
    "bad_secret",
    "bad_track_id",
    "malformed",
    "payload_too_large",
    "unknown_task",
    "wrong_task",
]
CALLBACK_RESULTS: tuple[str, ...] = get_args(CallbackResult)
