"""The Range header (RFC 9110, section 14) for one range of bytes."""

import re

_ONE_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", re.IGNORECASE | re.ASCII)


class Unsatisfiable(Exception):
    """The range lies outside of the file."""


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last. None: the whole file, which is also the response to what is not understood
    and to several ranges at once. Raises Unsatisfiable."""
    match = _ONE_RANGE.fullmatch(header or "")
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(size, int(match[2] or size) + 1)
        if match[2] and int(match[2]) < start:
            return None
    if start >= min(size, end):
        raise Unsatisfiable
    return start, end
