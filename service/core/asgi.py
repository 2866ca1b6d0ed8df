"""What our server offers the callback endpoints in the `extensions` of an ASGI scope."""

# `["send"](scope)` sends 200 without a body in one piece; False: nothing was sent, so use messages.
EMPTY_RESPONSE = "callbridge.empty_response"
