"""The store as many workers see it: who works, and what each has claimed.

A worker is one process of the service, known by a number that is never given twice. Its lease is one row that it
renews; everything it claimed stands and falls with that row. `Task.worker` and `Delivery.worker` name the claim, and a
late write under a claim that is gone changes nothing.
"""

from asyncio import Future
from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from service.core.delivery import Delivery
from service.core.task import Task


class Joined(NamedTuple):
    """`alone`: no other worker has a lease, so the service was not running until now."""

    worker: int
    alone: bool


class Renewed(NamedTuple):
    """`living`: how many workers have a lease, this one included; `now`: as WorkerStore.now; `free_groups`: how many
    groups of lanes nobody owns."""

    living: int
    now: int
    free_groups: int


class WorkerStore(Protocol):
    async def now(self) -> int:
        """Milliseconds by the one clock that leases are judged by: machines need not agree on the time."""
        ...

    async def join(self, now: int, until: int) -> Joined:
        """A new worker, with a lease from `now` until then."""
        ...

    async def renew(self, worker: int, until: int) -> Renewed | None:
        """None when its lease was ended meanwhile: join again."""
        ...

    async def end_expired(self, now: int) -> list[int]:
        """End every lease that is over. Returns all whose claims are to be taken back, until each was removed."""
        ...

    async def remove(self, worker: int) -> None:
        """Free the lanes and deliveries of a worker whose lease has ended, and forget it. Its tasks come before:
        see SubmitStore.held_by."""
        ...


class LaneStore(Protocol):
    """Lanes are owned in groups (`core.lanes.group_of`), each by one worker at a time."""

    async def take(self, worker: int, most: int) -> frozenset[int]:
        """Take free groups until this worker has `most`; returns all that it has now."""
        ...

    async def release(self, worker: int, groups: Collection[int]) -> None: ...


class TaskTypes(NamedTuple):
    """Only these task types, or with `excluded` all but these."""

    names: frozenset[str]
    excluded: bool


EVERY_TYPE = TaskTypes(frozenset(), excluded=True)


class SubmitStore(Protocol):
    async def claim(
        self, worker: int, provider: str, capacity: int, now: int, *, limit: int = 1_000, types: TaskTypes = EVERY_TYPE
    ) -> list[Task]:
        """Mark waiting tasks as being sent (`sent_at`, `attempts` + 1, `worker`), one of each owner in turn, at most
        `limit`, until `capacity` tasks are at the provider. No two callers get the same, nor more than that together.
        With `types` restricted, only the first few thousand of an owner are looked at."""
        ...

    async def waiting(self, provider: str) -> bool:
        """Is anything queued that nobody sends?"""
        ...

    async def held_by(self, worker: int) -> list[Task]:
        """Tasks that it is sending, and streams that it holds."""
        ...


class CheckStore(Protocol):
    async def claim(self, provider: str, now: int, until: int, limit: int) -> list[Task]:
        """Tasks at the provider that are due for a check, oldest first; they are due again at `until`."""
        ...

    async def next_due(self, provider: str) -> int | None:
        """When the next one is due; None: nothing is open there."""
        ...

    async def all_due(self, now: int) -> None:
        """Every task at a provider is due for a check: callbacks may have been lost while no worker ran."""
        ...

    async def overdue(self, now: int, limit: int) -> list[Task]:
        """Open tasks beyond their deadline, oldest first."""
        ...

    async def next_deadline(self) -> int | None:
        """The earliest of all that is not finished."""
        ...


class DeliveryQueue(Protocol):
    async def claim(self, worker: int, lane: str, now: int, limit: int) -> list[Delivery]:
        """Due deliveries of a lane, with their bodies, in the order of their first attempts."""
        ...

    def record(self, delivery: Delivery) -> "Future[None]":
        """How an attempt went; ends the claim. The future may be shared by many: do not cancel it."""
        ...

    def give_back(self, deliveries: Sequence[Delivery]) -> "Future[None]":
        """End the claims of deliveries that were not attempted."""
        ...

    async def next_due(self, lane: str) -> int | None: ...

    async def lanes(self, after: str, limit: int) -> list[str]:
        """Lanes with something pending, in the order of their names, those after `after`."""
        ...

    async def bury(self, lane: str, limit: int) -> int:
        """Make pending deliveries of a lane dead, `limit` at a time; how many there were."""
        ...


class DeliveryTaker(Protocol):
    """Who attempts deliveries in this process."""

    def accepts(self, lane: str) -> int:
        """The number of the worker that takes a fresh delivery of this lane in memory; 0: leave it in the store."""
        ...

    def on_delivery(self, delivery: Delivery) -> None:
        """After the commit, in order."""
        ...

    def on_waiting(self, lane: str) -> None:
        """Something of this lane may be due in the store."""
        ...
