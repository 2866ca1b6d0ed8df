"""Whom we trust as a TLS server."""

import ssl
from functools import cache

import certifi


@cache
def trusted() -> ssl.SSLContext:
    """The machine's authorities and the published list, read once: 20 ms and a megabyte each time otherwise."""
    context = ssl.create_default_context()
    # A machine without a list of its own, such as a slim image, has this one.
    context.load_verify_locations(certifi.where())
    # The libraries that share it would set the same, each at its own time.
    context.set_alpn_protocols(["http/1.1"])
    return context
