"""Case 11: the service on PostgreSQL, with the server on the same machine and as durable as SQLite is in the others."""

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench import heaps
from bench.cases.effect import Effect, Subject, acknowledged, in_turn, latency, without
from bench.cases.history import KEEP_ALL
from bench.cases.latency import SHARES, WAYS, Round, held, percentile
from bench.checks import check_deliveries, check_events
from bench.databases import BenchPostgres
from bench.order import Result
from bench.report import ReportRow
from bench.run import BenchRun
from bench.world import BenchService, world
from service.core.lanes import GROUPS, group_of
from service.tools.postgres import PostgresServer

PARALLEL = 64
RATE = 200
PATH = "/subscriber"
TASKS_A_SECOND = 5000
GOALS = {"p50": "< 5", "p99": "< 20"}
# After the start, until what it does once is done.
SETTLE_SECONDS = 3.0
WINDOW_SECONDS = 10.0
# Two processes have shared the lanes well before, and a subscription is at either of them as likely.
SHARED_SECONDS, TRIES = 30.0, 64
# A task, its event and deliveries with all indexes, and the log of the server.
BYTES_A_TASK = 12_000


def measure(run: BenchRun, case: int = 11) -> Iterator[ReportRow]:
    # The log tells what was asked; only the database of the idle service says it.
    server = PostgresServer(run.options.folder / "postgres", settings=("log_line_prefix='%d '",))
    server.create()
    server.start()
    try:
        databases = BenchPostgres(server, "postgres")
        yield idle(run, case, databases.fresh("idle"))
        yield from door(run, case, databases)
        yield from delivery(run, case, databases)
        yield from beside_much(run, case, databases)
    finally:
        server.stop()


def idle(run: BenchRun, case: int, database: BenchPostgres) -> ReportRow:
    database.server.sql("ALTER DATABASE idle SET log_statement = 'all'")
    with world(run, database=database):
        time.sleep(SETTLE_SECONDS)
        before, since = statements(database), time.monotonic()
        time.sleep(WINDOW_SECONDS)
        rate = (statements(database) - before) / (time.monotonic() - since)
    return ReportRow(case, "queries of an idle service on PostgreSQL", "/s", [rate], goal="< 5")


def statements(database: BenchPostgres) -> int:
    """That this database has logged; a BEGIN and a COMMIT are two of them."""
    head = f"{database.name} LOG:"
    return sum(line.startswith(head) for line in database.server.log.read_text(errors="replace").splitlines())


def door(run: BenchRun, case: int, databases: BenchPostgres) -> Iterator[ReportRow]:
    """Case 1 on SQLite, on PostgreSQL, and on PostgreSQL with two processes, in turn."""
    found: dict[str, list[Result]] = {"sqlite": [], "one": [], "two": []}
    for _ in range(run.options.rounds):
        with ExitStack() as living:
            worlds = {
                "sqlite": living.enter_context(world(run)),
                "one": living.enter_context(
                    world(run, folder=run.options.folder / "one", database=databases.fresh("one"))
                ),
                "two": living.enter_context(
                    world(
                        run,
                        folder=run.options.folder / "two",
                        database=databases.fresh("two"),
                        pinned=False,
                        WEB_CONCURRENCY="2",
                    )
                ),
            }
            for one in worlds.values():
                one.fill(int((run.options.seconds + 0.3) * TASKS_A_SECOND))
                one.callbacks(0.3, parallel=16)
            for name, one in worlds.items():
                found[name].append(one.callbacks(run.options.seconds, parallel=PARALLEL))
                check_events(one)
    rates = {name: [result.rate for result in results] for name, results in found.items()}
    name = f"callbacks, {PARALLEL} in parallel, PostgreSQL"
    yield ReportRow(case, name, "/s", rates["one"], rates["sqlite"], "SQLite", ">= 0.6")
    yield ReportRow(case, f"{name}, two processes", "/s", rates["two"], rates["one"], "one process", ">= 1")
    for share, word in SHARES[:2]:
        figures = [[result.percentile(share) for result in found[which]] for which in ("one", "sqlite")]
        yield ReportRow(case, f"{name}: {word}", "ms", figures[0], figures[1], "SQLite")


def delivery(run: BenchRun, case: int, databases: BenchPostgres) -> Iterator[ReportRow]:
    """Case 2 on PostgreSQL."""
    seconds = max(2.0, run.options.seconds * 2)
    found: dict[str, list[Round]] = {"one process": [], "received at one process, sent by another": []}
    first, second = found
    for _ in range(run.options.rounds):
        with world(run, database=databases.fresh("one")) as one:
            one.subscribe(PATH)
            found[first].append(held_rate(one, seconds))
        with two_processes(run, databases.fresh("two")) as one:
            found[second].append(held_rate(one, seconds))
    for name, rounds in found.items():
        late = max(item.late_ms for item in rounds)
        note = f"the generator itself is up to {late:.1f} ms late (p99)" if late > 2 else ""
        for share, word in SHARES:
            figures = [percentile(item.ways[WAYS[1]], share) for item in rounds]
            yield ReportRow(
                case, f"{WAYS[1]} at {RATE}/s, {name}: {word}", "ms", figures, goal=GOALS.get(word, ""), note=note
            )


def held_rate(one: BenchService, seconds: float) -> Round:
    one.fill(int((seconds + 0.2) * RATE) + 1500)
    one.callbacks(0.2, parallel=16)
    one.drained(PATH)
    found = held(one, RATE, seconds, PATH)
    check_events(one)
    check_deliveries(one, [PATH])
    return found


@contextmanager
def two_processes(run: BenchRun, database: BenchPostgres) -> Iterator[BenchService]:
    """The one that is called; the other one sends what comes to PATH."""
    with world(run, database=database) as one, world(run, folder=run.options.folder / "second", database=database):
        end = time.monotonic() + SHARED_SECONDS
        while len(theirs := groups_of_the_second(database)) < GROUPS // 2 and time.monotonic() < end:
            time.sleep(0.1)
        for _ in range(TRIES):
            if group_of(one.subscribe(PATH)) in theirs:
                break
            one.unsubscribe(PATH)
        else:
            raise RuntimeError("no lane came to the second process")
        yield one


def groups_of_the_second(database: BenchPostgres) -> set[int]:
    rows = database.ask("SELECT id FROM lane_groups WHERE worker = (SELECT max(id) FROM workers)")
    return {group for (group,) in rows}


def beside_much(run: BenchRun, case: int, databases: BenchPostgres) -> Iterator[ReportRow]:
    """Cases 6 and 7 at once."""
    count = 100_000 if run.options.quick else 1_000_000
    if shutil.disk_usage(run.options.folder).free < count * BYTES_A_TASK:
        run.notes.append(f"part of case 11 is left out: it needs {count * BYTES_A_TASK >> 30} GiB of disk")
        return
    much = databases.fresh("much")
    fill_with_much(run, much, count)
    [(size,)] = much.ask("SELECT pg_database_size(current_database())")
    yield ReportRow(case, f"database of {count:,} finished tasks and as many pending deliveries", "MB", [size / 1e6])
    plain, beside = Effect(), Effect()
    starts: list[float] = []
    for _ in range(run.options.rounds):
        with (
            without(run, plain, database=databases.fresh("plain")) as empty,
            world(run, database=much, RETENTION_DAYS=KEEP_ALL) as one,
        ):
            one.patient = False
            starts.append(one.start_seconds)
            compare([empty, Subject(one, beside)])
    yield ReportRow(case, "  start to ready beside them", "s", starts, goal="< 1")
    yield from beside.rows(case, f"PostgreSQL, beside {count:,} finished and {count:,} for the dead", plain)


def fill_with_much(run: BenchRun, database: BenchPostgres, count: int) -> None:
    with world(run, database=database) as one:
        one.patient = False
        one.subscribe(PATH)
        dead = one.subscribe("/gone", heaps.nobody_there())
        heaps.one_task_finishes(one)
        for path in (PATH, "/gone"):
            one.hush(path)
        old = one.task_id(one.used)
    heaps.add_history(database, old, count)
    heaps.add_backlog(database, [dead], count, count + 2000)
    database.settle()


def compare(subjects: list[Subject]) -> None:
    """One round: the figures that have goals above."""
    for subject in subjects:
        subject.one.fill(int(3 * subject.seconds * TASKS_A_SECOND))
        subject.one.callbacks(0.3, parallel=16)
    for turn in range(2):
        pair = subjects if turn % 2 else subjects[::-1]
        for subject in in_turn(pair):
            acknowledged(subject, PARALLEL)
        paths = {id(subject): subject.subscribe(1)[0] for subject in subjects}
        for subject in in_turn(pair):
            latency(subject, RATE, paths[id(subject)])
        for subject in subjects:
            check_deliveries(subject.one, subject.paths)
            subject.one.unsubscribe(paths[id(subject)])
    for subject in subjects:
        check_events(subject.one)
        subject.one.discard_open()
