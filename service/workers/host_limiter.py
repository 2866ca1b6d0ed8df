"""Callback addresses of many tasks may be on one host: each has a lane of its own, the host has a limit over all."""

from collections import deque
from urllib.parse import urlsplit

from service.core.subscription import LANE_OF_URL
from service.workers.lane import Lane

PER_HOST = 64


class Places:
    """Attempts in hand for each host, and the lanes that wait for a place there, first come first served."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}
        self._waiting: dict[str, deque[Lane]] = {}

    def free_for(self, lane: Lane) -> bool:
        host = lane.host
        if host is None or self._taken.get(host, 0) < PER_HOST:
            return True
        waiting = self._waiting.setdefault(host, deque())
        if lane not in waiting:
            waiting.append(lane)
        return False

    def take(self, lane: Lane) -> None:
        host = lane.host
        if host is not None:
            self._taken[host] = self._taken.get(host, 0) + 1

    def leave(self, lane: Lane) -> None:
        host = lane.host
        if host is None:
            return
        self._taken[host] -= 1
        if not self._taken[host]:
            del self._taken[host]
        waiting = self._waiting.pop(host, None)
        while waiting and self._taken.get(host, 0) < PER_HOST:
            # It may have nothing to send any more; then the next one gets the place.
            waiting.popleft().pump()
        if waiting:
            waiting.extend(self._waiting.get(host, ()))
            self._waiting[host] = waiting


def host_of(lane: str) -> str | None:
    """None for the lane of a subscription, which has its own limit only."""
    if not lane.startswith(LANE_OF_URL):
        return None
    owner, _, url = lane.removeprefix(LANE_OF_URL).partition(":")
    return f"{owner} {urlsplit(url).netloc}"
