"""Is work getting done? Sockets and loops may be alive while a lock somewhere blocks every claim."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watchdog:
    """Since when each kind of step has been tried without success. A step that nothing tries is not stuck."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step that must succeed soon; one that raises has only been tried."""
        self._since.setdefault(name, self._clock())
        yield
        self._since.pop(name, None)

    def stuck(self, patience: float) -> list[str]:
        """The steps that have not succeeded for so many seconds."""
        now = self._clock()
        return sorted(name for name, since in self._since.items() if now - since > patience)
