"""Ports for servers that are told theirs before they listen."""

import fcntl
import os
import socket
import tempfile
from functools import cache
from itertools import count
from pathlib import Path

# Below those that the system gives to outgoing connections and to whoever asks for port 0: nobody gets one in between.
LOWEST, HIGHEST = 10_000, 32_000
# Each process begins elsewhere.
_numbers = count(os.getpid() * 4001)


def free_port() -> int:
    """One at 127.0.0.1 where nobody listens. No process that asks here gets it as long as this one lives."""
    for tried, number in enumerate(_numbers):
        port = LOWEST + number % (HIGHEST - LOWEST)
        # After a whole turn all are taken: one that is free at the moment has to do.
        if (_reserve(port) or tried > HIGHEST - LOWEST) and _is_free(port):
            return port
    raise AssertionError


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _reserve(port: int) -> bool:
    """Lock the byte of this number in a file that all processes of this user share, until this one ends."""
    try:
        fcntl.lockf(_shared_file(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


@cache
def _shared_file() -> int:
    """Its descriptor, which stays open until this process ends."""
    path = Path(tempfile.gettempdir()) / f"callbridge-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
