"""Which certificate authorities we trust."""

import ssl
from functools import cache

import certifi


@cache
def trusted() -> ssl.SSLContext:
    """The machine's authorities and certifi's, read once: each reading takes 20 ms and a megabyte."""
    context = ssl.create_default_context()
    # For a machine without its own list, such as a slim image.
    context.load_verify_locations(certifi.where())
    # The libraries that share the context would each set the same, at different times.
    context.set_alpn_protocols(["http/1.1"])
    return context
