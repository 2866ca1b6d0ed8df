"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

import orjson

from service.core.event import Event

HEARTBEAT = b": still here\n\n"
FAREWELL = b"retry: 2000\n: the service is restarting, reconnect\n\n"


def frame(event: Event) -> bytes:
    """One event. Its JSON has no line breaks, so it fits one data line."""
    return b"".join((b"id: %d\nevent: %s\ndata: " % (event.seq, event.type.encode()), event.body, b"\n\n"))


def reset_frame(unknown: int, seq: int) -> bytes:
    """Tells a reader that its cursor is unknown. The id makes it resume from `seq`."""
    data = {
        "code": "unknown_cursor",
        "detail": f"The seq {unknown} was never given out by this database; the stream goes on from {seq}.",
        "after": seq,
    }
    return b"id: %d\nevent: reset\ndata: %b\n\n" % (seq, orjson.dumps(data))
