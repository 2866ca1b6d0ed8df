"""Case 6: the effect on others of a million deliveries waiting for a hanging and an unreachable subscriber."""

from collections.abc import Iterator

from bench import heaps
from bench.cases.effect import Effect, Subject, compare, without
from bench.report import ReportRow
from bench.run import BenchRun
from bench.world import BenchService, world


def measure(run: BenchRun, case: int = 6) -> Iterator[ReportRow]:
    waiting = 100_000 if run.options.quick else 1_000_000
    file = heaps.backlog(run, waiting)
    empty, beside = Effect(), Effect()
    starts: list[float] = []
    for _ in range(run.options.rounds):
        with without(run, empty) as plain, world(run, copy_of=file) as one:
            one.patient = False
            starts.append(one.start_seconds)
            compare([plain, Subject(one, beside)])
            check(one, waiting)
    file.unlink()
    yield from beside.rows(case, f"beside {waiting:,} waiting for the dead", empty)
    yield ReportRow(case, f"start to ready with {waiting:,} waiting", "s", starts)


def check(one: BenchService, waiting: int) -> None:
    """None of them was dropped, and none went where nobody answers."""
    [(found,)] = one.database.ask(
        "SELECT count(*) FROM deliveries WHERE n <= ? AND status = 'pending'", one.deliveries_before
    )
    # Two events of the task from which the rows were made wait for each of the two as well.
    due = waiting + 4
    one.run.check(found == due, f"{due} deliveries waited for the dead and the hanging, {found} still do")
