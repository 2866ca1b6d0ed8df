"""An extension of ASGI between the callback doors and our server: the commonest response in one message."""

from typing import Any

# A message of this type is a whole response, 200 without a body; a scope that lists it in its `extensions` takes it.
EMPTY_RESPONSE = "callbridge.empty_response"
# The same response in the messages of ASGI itself.
IN_TWO_MESSAGES: tuple[Any, Any] = (
    {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]},
    {"type": "http.response.body", "body": b""},
)
