"""How many deliveries are open at once: in all, for each owner, and for each kind of receiver of an owner.

A group may hold as many places as are still free: one greedy owner gets half of all, two get a third each, and an
ordinary one always finds a free place. The same rule divides an owner's share among its receivers, so that those that
fail or hang leave room for those that respond.
"""

import resource
from collections.abc import Hashable
from enum import StrEnum
from itertools import islice
from weakref import WeakValueDictionary

from service.workers.waiting import WaitingLane

LEAST, MOST = 16, 512
# The share of open files for connections to receivers; as many again may be idle.
SHARE_OF_FILES = 8
# The share of places reserved for owners without any.
RESERVED = 8
# Bytes of open requests, which stay in memory if a receiver does not read. Small ones are not counted, since all
# places together hold no more than 16 MiB of them.
BYTES = 48 * 1024 * 1024
SMALL = 32 * 1024
# Groups considered when a place becomes free; the others follow with the next one.
LOOKED_AT = 8


class Standing(StrEnum):
    """The record of a receiver; receivers of one standing share a limit per owner."""

    HEALTHY = "healthy"
    NEW = "new"
    FAILING = "failing"
    CALLBACK = "callback"
    PING = "ping"


# Callback addresses are receivers of their own, with one limit for all on a host.
LIMITS = {Standing.CALLBACK: 64, Standing.PING: 8}


class Share:
    """The places of one owner for receivers of one standing."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        self.open = 0


class Owner:
    __slots__ = ("bytes", "open", "shares")

    def __init__(self) -> None:
        self.open = self.bytes = 0
        self.shares = {standing: Share() for standing in Standing}


class Group:
    """Receivers that share a limit: those of one standing, or the callback addresses on one host."""

    __slots__ = ("__weakref__", "limit", "open", "owner", "share", "standing", "waiting")

    def __init__(self, owner: Owner, standing: Standing) -> None:
        self.owner = owner
        self.standing = standing
        self.share = owner.shares[standing]
        self.limit = LIMITS.get(standing, MOST)
        self.open = 0
        # An ordered set, first come first served.
        self.waiting: dict[WaitingLane, None] = {}


class DeliveryLimiter:
    def __init__(self, places: int) -> None:
        self._free = places
        self._reserve = places // RESERVED
        self._free_bytes = BYTES
        self._owners: dict[str, Owner] = {}
        # Each as long as a lane or a place refers to it.
        self._groups: WeakValueDictionary[Hashable, Group] = WeakValueDictionary()
        # Groups in which a lane waits, as an ordered set.
        self._with_waiting: dict[Group, None] = {}

    def group(self, owner: str, standing: Standing, host: str | None = None) -> Group:
        key = (owner, standing, host)
        found = self._groups.get(key)
        if found is None:
            if owner not in self._owners:
                self._owners[owner] = Owner()
            found = self._groups[key] = Group(self._owners[owner], standing)
        return found

    def allows(self, group: Group, size: int = 0) -> bool:
        free, owner = self._free, group.owner
        return (
            group.share.open < free - owner.open
            and (free > self._reserve or not owner.open)
            and group.open < group.limit
            and (size <= SMALL or not owner.open or owner.bytes + size <= self._free_bytes - size)
        )

    def take(self, group: Group, size: int) -> None:
        """A place for a request of `size` bytes, after `allows`; give it back with `release`."""
        self._free -= 1
        group.open += 1
        group.share.open += 1
        group.owner.open += 1
        if size > SMALL:
            self._count_bytes(group.owner, size)

    def wait(self, lane: WaitingLane, group: Group) -> None:
        """`lane.pump` is called when there may be a place in its group."""
        group.waiting[lane] = None
        self._with_waiting[group] = None

    def release(self, group: Group, size: int) -> None:
        self._free += 1
        group.open -= 1
        group.share.open -= 1
        group.owner.open -= 1
        if size > SMALL:
            self._count_bytes(group.owner, -size)
        if self._with_waiting:
            self._hand_out(group)

    def _count_bytes(self, owner: Owner, size: int) -> None:
        owner.bytes += size
        self._free_bytes -= size

    def _hand_out(self, freed: Group) -> None:
        """To those whose turn it is; and to the group that gave the place back, whose own limit may have held it up."""
        for group in [*islice(self._with_waiting, LOOKED_AT), freed]:
            self._with_waiting.pop(group, None)
            while group.waiting and self.allows(group):
                # It may have nothing to send any more; then the next one gets the place.
                lane = next(iter(group.waiting))
                del group.waiting[lane]
                lane.pump()
                if lane in group.waiting:
                    break
            if group.waiting:
                self._with_waiting[group] = None


def places_for_deliveries() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else min(MOST, max(LEAST, soft // SHARE_OF_FILES))
