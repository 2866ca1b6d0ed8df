"""Ports for servers that are told theirs before they listen."""

import os
import socket
from itertools import count

# Below those that the system gives to outgoing connections and to whoever asks for port 0: nobody gets one in between.
LOWEST, HIGHEST = 10_000, 30_000
# Each process begins elsewhere.
_numbers = count(os.getpid() * 4001)


def free_port() -> int:
    """One at 127.0.0.1 where nobody listens, another one at each call."""
    for number in _numbers:
        port = LOWEST + number % (HIGHEST - LOWEST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError
