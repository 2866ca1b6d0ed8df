"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

from service.core.event import Event

HEARTBEAT = b": still here\n\n"
FAREWELL = b"retry: 2000\n: the service restarts, come back\n\n"


def frame(event: Event) -> bytes:
    """One event. Its JSON has no line breaks, so one data line holds it."""
    return b"".join((b"id: %d\nevent: %s\ndata: " % (event.seq, event.type.encode()), event.body, b"\n\n"))
