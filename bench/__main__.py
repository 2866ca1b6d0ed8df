"""`python -m bench`: measure the service on this machine, print a table, write bench/results."""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.cases import (
    backlog,
    copies,
    fanout,
    history,
    idle_streams,
    ingest,
    latency,
    memory,
    node_red,
    postgres,
    process,
    submit,
)
from bench.clock import machine_seconds
from bench.processes import ALL_CPUS, ROOT, raise_file_limit
from bench.report import ReportRow, cells, table, write
from bench.run import BenchRun, Options, the_run

RESULTS = ROOT / "bench" / "results"
CASES: dict[int, Callable[[BenchRun], Iterator[ReportRow]]] = {
    1: ingest.measure,
    2: latency.measure,
    3: fanout.measure,
    4: submit.measure,
    5: idle_streams.measure,
    6: backlog.measure,
    7: history.measure,
    8: process.measure,
    9: node_red.measure,
    10: copies.measure,
    11: postgres.measure,
    12: memory.measure,
}


def options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--cases", default=",".join(map(str, CASES)), help="for example 1,3")
    parser.add_argument("--quick", action="store_true", help="shorter and fewer rounds, less data")
    parser.add_argument("--seconds", type=float, help="of one measurement (2, with --quick 1)")
    parser.add_argument("--rounds", type=int, help="of each case (3, with --quick 2)")
    given = parser.parse_args()
    cases = tuple(int(part) for part in given.cases.split(","))
    if unknown := set(cases) - set(CASES):
        parser.error(f"there is no case {min(unknown)}")
    return Options(
        cases=cases,
        seconds=given.seconds or (1.0 if given.quick else 2.0),
        rounds=given.rounds or (2 if given.quick else 3),
        quick=given.quick,
        folder=RESULTS / "work",
    )


def disk(folder: Path) -> str:
    """How long a small write takes to reach the disk: the least that durability costs on this machine."""
    times = []
    with (folder / "probe").open("wb") as file:
        for _ in range(300):
            file.write(bytes(4096))
            file.flush()
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - started) * 1000)
    times.sort()
    return f"fdatasync of 4 KiB: p50 {times[150]:.2f} ms, p99 {times[297]:.2f} ms"


def others() -> str:
    """Numbers from a busy machine are low and scattered; the ratios are more reliable."""
    before, since = machine_seconds(), time.monotonic()
    time.sleep(1.0)
    busy = (machine_seconds() - before) / (time.monotonic() - since) / (os.cpu_count() or 1)
    return f"before the start the CPUs were {busy * 100:.0f} % busy with something else"


def main() -> int:
    chosen = options()
    notes = [
        f"{len(ALL_CPUS)} CPUs, Python {platform.python_version()}, files at most {raise_file_limit()};"
        f" {chosen.rounds} rounds of {chosen.seconds:g} s, in cases 6 and 7 of more and shorter ones; ratios are of the"
        " same moments"
    ]
    rows: list[ReportRow] = []
    with the_run(chosen) as run:
        if run.shim is None:
            run.notes.append("no C compiler: fsyncs are neither counted nor slowed down")
        run.notes += [*notes, disk(chosen.folder), others()]
        for case in chosen.cases:
            started = time.monotonic()
            for row in CASES[case](run):
                rows.append(row)
                print("  ".join(part for part in cells(row) if part), file=sys.stderr, flush=True)
            print(f"case {case}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    print("\n".join(["", table(rows), "", *run.notes]))
    write(rows, run.complaints, run.notes, RESULTS)
    if run.complaints:
        print("\nLOST OR WRONG:\n" + "\n".join(run.complaints))
        return 1
    print("Nothing acknowledged was lost, and every event was delivered exactly once.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
