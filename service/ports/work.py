"""Work in the store for several workers at once: leases, and claims.

A worker is one process of the service, with a number that is never given twice. Its lease is one row that it renews;
all of its claims depend on that row. `Task.worker` and `Delivery.worker` hold the claim, and a late write under a lost
claim changes nothing.
"""

from asyncio import Future
from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from service.core.delivery import Delivery
from service.core.task import Task


class Joined(NamedTuple):
    """`alone`: no other worker has a lease, so the service was not running."""

    worker: int
    alone: bool


class Renewed(NamedTuple):
    """`living`: workers with a lease, this one included; `now`: as WorkerStore.now; `free_groups`: lane groups without
    an owner."""

    living: int
    now: int
    free_groups: int


class WorkerStore(Protocol):
    async def now(self) -> int:
        """Milliseconds of the one clock that decides about leases, since the clocks of machines differ."""
        ...

    async def join(self, now: int, until: int) -> Joined:
        """A new worker, with a lease from `now` to `until`."""
        ...

    async def renew(self, worker: int, until: int) -> Renewed | None:
        """None when its lease was ended: join again."""
        ...

    async def end_expired(self, now: int) -> list[int]:
        """End every lease that expired. Where the store can tell that a process is gone, its lease ends too, at the
        second call a second later. Returns all ended workers that were not removed yet."""
        ...

    async def remove(self, worker: int) -> None:
        """Release the lanes and deliveries of an ended worker, and forget it. Deal with its tasks first, see
        SubmitStore.held_by."""
        ...


class LaneStore(Protocol):
    """Lanes are owned in groups (`core.lanes.group_of`), each by one worker at a time."""

    async def take(self, worker: int, most: int) -> frozenset[int]:
        """Take free groups until this worker owns `most`; returns all that it owns now."""
        ...

    async def release(self, worker: int, groups: Collection[int]) -> None: ...

    async def drain(self) -> None:
        """Returns when all deliveries that the taker has accepted so far were handed to it."""
        ...


class TaskTypes(NamedTuple):
    """Only these task types, or, if `excluded`, all but these."""

    names: frozenset[str]
    excluded: bool


EVERY_TYPE = TaskTypes(frozenset(), excluded=True)


class SubmitStore(Protocol):
    async def claim(
        self, worker: int, provider: str, capacity: int, now: int, *, limit: int = 1_000, types: TaskTypes = EVERY_TYPE
    ) -> list[Task]:
        """Mark queued tasks as being sent (`sent_at`, `attempts` + 1, `worker`), one of each owner in turn, at most
        `limit`, until `capacity` tasks are at the provider. Holds for several callers at once. With `types` restricted,
        only the first few thousand tasks of an owner are considered."""
        ...

    async def waiting(self, provider: str) -> bool:
        """Is anything queued and unclaimed?"""
        ...

    async def held_by(self, worker: int) -> list[Task]:
        """Tasks that the worker is sending or whose streams it holds."""
        ...


class CheckStore(Protocol):
    async def claim(self, provider: str, now: int, until: int, limit: int) -> list[Task]:
        """Tasks at the provider that are due for a check, oldest first; they are due again at `until`."""
        ...

    async def next_due(self, provider: str) -> int | None:
        """When the next check is due; None when no task is open there."""
        ...

    async def all_due(self, now: int) -> None:
        """Make every task at a provider due for a check: callbacks may have been lost while no worker ran."""
        ...

    async def overdue(self, now: int, limit: int) -> list[Task]:
        """Open tasks past their deadline, oldest first."""
        ...

    async def next_deadline(self) -> int | None:
        """The earliest deadline of all open tasks."""
        ...


class DeliveryQueue(Protocol):
    async def claim(self, worker: int, lane: str, now: int, limit: int) -> list[Delivery]:
        """Due deliveries of a lane, with their bodies, in the order in which they are due."""
        ...

    def record(self, delivery: Delivery) -> "Future[None]":
        """Store the outcome of an attempt and end the claim. The future may be shared: do not cancel it."""
        ...

    def give_back(self, deliveries: Sequence[Delivery]) -> "Future[None]":
        """End the claims on deliveries that were not attempted."""
        ...

    async def next_due(self, lane: str) -> int | None: ...

    async def lanes(self, after: str, limit: int) -> list[str]:
        """Lanes with something pending, by name, starting after `after`."""
        ...

    async def bury(self, lane: str, limit: int) -> int:
        """Make up to `limit` pending deliveries of a lane dead. Returns how many."""
        ...


class DeliveryTaker(Protocol):
    """What attempts deliveries in this process."""

    def accepts(self, lane: str) -> int:
        """The worker that takes a new delivery of this lane in memory; 0 to leave it in the store."""
        ...

    def on_delivery(self, delivery: Delivery) -> None:
        """A delivery that was accepted, after the commit, in order."""
        ...

    def on_waiting(self, lane: str) -> None:
        """Something may be due in the store for this lane."""
        ...
