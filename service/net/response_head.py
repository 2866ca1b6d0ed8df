"""Reads the status line and wanted headers of a response that the parser rejected, if they are readable."""

import re

# Only the three digits matter, whatever the line ending or the version looks like.
STATUS_LINE = re.compile(rb"HTTP/[0-9](?:\.[0-9])?[ \t]+([1-9][0-9]{2})(?![0-9])", re.IGNORECASE)


def read_head(data: bytes, wanted: frozenset[bytes]) -> tuple[int, dict[bytes, bytes]] | None:
    """Status and `wanted` headers (lower case) of the first final (not 1xx) response; None without one.

    `data` may end anywhere. The time is linear in its length.
    """
    status = 0
    headers: dict[bytes, bytes] = {}
    for line in data.split(b"\n"):
        line = line.rstrip(b"\r")
        if not status:
            found = STATUS_LINE.match(line)
            if found is not None:
                status = int(found[1])
            elif line:
                return None
        elif line:
            name, _, value = line.partition(b":")
            if (name := name.strip().lower()) in wanted:
                headers[name] = value.strip()
        elif status >= 200:
            break
        else:
            status = 0
            headers.clear()
    return (status, headers) if status >= 200 else None
