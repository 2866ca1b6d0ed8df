"""Peers that stop reading: what waits for them in memory is bounded in time and bytes."""

import asyncio
import time
from collections.abc import Collection
from typing import Protocol as Interface

TICK = 1.0
# A peer that takes nothing for so long is disconnected, whatever it asked for.
STUCK_SECONDS = 20.0
# The same, when files for new connections are short.
CROWDED_STUCK_SECONDS = 3.0
# Bytes that may wait in the write buffers of all connections; above it those stuck longest are disconnected.
MAX_UNSENT = 32 * 1024 * 1024


class Peer(Interface):
    transport: asyncio.Transport
    unsent: int
    stuck_since: float

    def on_tick(self) -> None: ...


async def watch(connections: Collection[Peer], many: int) -> None:
    """`many`: from so many connections on, less patience."""
    while True:
        await asyncio.sleep(TICK)
        patience = STUCK_SECONDS if len(connections) < many else CROWDED_STUCK_SECONDS
        disconnect_stuck(connections, time.monotonic(), patience)


def disconnect_stuck(connections: Collection[Peer], now: float, patience: float) -> None:
    """One clock for all connections: a timer for each would cost every request something."""
    stuck: list[Peer] = []
    for connection in list(connections):
        connection.on_tick()
        size = connection.transport.get_write_buffer_size()
        if size == 0 or size < connection.unsent or connection.unsent == 0:
            connection.stuck_since = now
        connection.unsent = size
        if size:
            stuck.append(connection)
    total = sum(connection.unsent for connection in stuck)
    for connection in sorted(stuck, key=lambda one: one.stuck_since):
        if now - connection.stuck_since < patience and total <= MAX_UNSENT:
            break
        connection.transport.abort()
        total -= connection.unsent
