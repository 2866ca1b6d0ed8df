"""Several processes that serve one port: start them, restart those that die, and stop them all."""

import ctypes
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

log = logging.getLogger("callbridge")

# Seconds. Heroku kills after 30; each process stops by itself within 24.
STOP_SECONDS = 24.5
# Wait before replacing a process that died at once.
SHORT_LIFE, PAUSE = 2.0, 1.0
PR_SET_PDEATHSIG = 1
POLL = 0.1


class Supervisor:
    """`work` serves on the sockets until it is signalled, and returns an exit code. Its second
    argument says whether it is the first process."""

    def __init__(
        self, count: int, sockets: list[socket.socket], work: Callable[[list[socket.socket], bool], int]
    ) -> None:
        self._count = count
        self._sockets = sockets
        self._work = work
        self._started: dict[int, float] = {}
        self._first = True
        self._stopping = False

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        while not self._stopping:
            while len(self._started) < self._count and not self._stopping:
                self._start()
            self._reap()
            time.sleep(POLL)
        return self._stop()

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        self._stopping = True

    def _start(self) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._serve(parent)
        self._first = False
        self._started[pid] = time.monotonic()

    def _serve(self, parent: int) -> NoReturn:
        """In the new process."""
        code = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            die_with(parent)
            code = self._work(self._sockets, self._first)
        except BaseException:
            log.exception("a serving process failed")
        finally:
            logging.shutdown()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        for pid in list(self._started):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            lived = time.monotonic() - self._started.pop(pid)
            if self._stopping:
                continue
            code = os.waitstatus_to_exitcode(status)
            log.error("process %d exited with code %d; starting another", pid, code)
            if lived < SHORT_LIFE:
                time.sleep(PAUSE)

    def _stop(self) -> int:
        for pid in self._started:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self._started and time.monotonic() < deadline:
            self._reap()
            time.sleep(POLL)
        for pid in self._started:
            os.kill(pid, signal.SIGKILL)
        return 0


def die_with(parent: int) -> None:
    """Kill this process when its parent is gone, however that ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent was gone before the call
            os._exit(1)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
