"""That nothing acknowledged was lost: counted in the database and in the book of the sink."""

import time
from collections.abc import Sequence

from bench.calls import EVENTS
from bench.world import BenchService

# Outcomes are written a moment after the answer of the subscriber.
PATIENCE = 15.0


def check_events(one: BenchService) -> None:
    """Every acknowledged callback moved its task, once."""
    [(stored, different)] = one.database.ask(
        "SELECT count(*), count(DISTINCT task_id || type) FROM events WHERE seq > ? AND type IN (?, ?)",
        one.seq_before,
        *EVENTS,
    )
    due = one.acknowledged
    one.run.check(stored == due, f"{due} callbacks were acknowledged, {stored} are stored")
    one.run.check(stored == different, f"{stored - different} events are stored twice")


def check_deliveries(one: BenchService, paths: Sequence[str]) -> None:
    """Every event came to every subscriber, once, and the store knows it."""
    book = one.run.sink.book()
    for path in paths:
        due = one.due(path)
        page = book.get(path, {"count": 0, "repeats": 0})
        one.run.check(page["count"] == due, f"{due} events were due at {path}, {page['count']} came")
        one.run.check(not page["repeats"], f"{page['repeats']} events came again to {path}")
    wanted = sum(map(one.due, paths))
    done = delivered(one, wanted)
    one.run.check(done == wanted, f"{wanted} deliveries were due, {done} are recorded as delivered")


def delivered(one: BenchService, wanted: int) -> int:
    end = time.monotonic() + PATIENCE
    while True:
        # Counted by number, which is in an index, and not by status.
        [(done,)] = one.database.ask(
            "SELECT count(CASE WHEN status = 'delivered' THEN 1 END) FROM deliveries WHERE n > ?", one.deliveries_before
        )
        if done >= wanted or time.monotonic() > end:
            return int(done)
        time.sleep(0.1)
