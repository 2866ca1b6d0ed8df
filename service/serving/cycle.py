"""uvicorn's request and response, with what it lacks for callbacks and for HTTP/1.0."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from service.core.asgi import EMPTY_RESPONSE, IN_TWO_MESSAGES

EXTENSIONS: dict[str, dict[object, object]] = {EMPTY_RESPONSE: {}}


class Http11Cycle(RequestResponseCycle):
    """Takes EMPTY_RESPONSE: in two messages it would be one in twenty instructions of a callback."""

    async def send(self, message: Any) -> None:
        if message["type"] != EMPTY_RESPONSE:
            await super().send(message)
        elif self.keep_alive and not self.flow.write_paused and not self.disconnected:
            self.response_started = self.response_complete = True
            lines = [b"%b: %b\r\n" % header for header in self.default_headers]
            self.transport.write(STATUS_LINE[200] + b"".join(lines) + b"content-length: 0\r\n\r\n")
            self.message_event.set()
            self.on_response()
        else:
            for part in IN_TWO_MESSAGES:
                await super().send(part)


class Http10Cycle(RequestResponseCycle):
    """HTTP/1.0 has no chunks: a response without a length ends with the connection."""

    _until_close = False

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._until_close = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
            if self._until_close:
                self.chunked_encoding = False
        elif self._until_close:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)
