"""`python -m bench.instructions`: how many instructions a callback takes, on a busy machine as on an idle one.

Valgrind counts them; what the kernel does is not seen. Each figure is the difference of two runs that differ in nothing
but the number of callbacks, so that the start and the end of the process are not in it.
"""

import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.__main__ import RESULTS
from bench.order import LoadOrder
from bench.processes import SERVICE_CPU, Child, load, python
from bench.run import BenchRun, Options, the_run
from bench.world import world

# Tasks, each called about twice. Valgrind is some fifty times as slow.
FEW, MANY = 100, 400
SECONDS = 120.0
PARALLEL = 64


def main() -> int:
    if shutil.which("valgrind") is None:
        print("valgrind is needed (Debian: apt install valgrind).", file=sys.stderr)
        return 1
    options = Options(cases=(), seconds=SECONDS, rounds=1, quick=True, folder=RESULTS / "work")
    with the_run(options) as run:
        # Not counted: it compiles what was not compiled yet.
        service(run, 1, FEW, [])
        base = difference(partial(bare, run), options.folder)
        print(f"bare starlette:             {base / 1000:7,.0f} thousand instructions for one call")
        for told in (0, 1, 10):
            found = difference(partial(service, run, told), options.folder)
            print(f"callback, {told:2} subscribers:   {found / 1000:7,.0f} thousand, {found / base:.1f} times as many")
        for complaint in run.complaints:
            print(complaint)
        return 1 if run.complaints else 0


def difference(measure: Callable[[int, list[str]], None], folder: Path) -> float:
    counted = []
    for tasks in (FEW, MANY):
        file = folder / "cachegrind"
        measure(tasks, ["valgrind", "--quiet", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={file}"])
        # Its last line: "summary: 123".
        counted.append(int(file.read_text().rpartition("summary:")[2]))
    few, many = counted
    return (many - few) / (2 * (MANY - FEW))


def bare(run: BenchRun, tasks: int, count: list[str]) -> None:
    child = Child([*count, *python("bench.bare")], SERVICE_CPU, log=run.options.folder / "errors.log")
    order = LoadOrder(int(child.line()), SECONDS, parallel=PARALLEL, file=str(run.prepared(MANY).file), count=tasks)
    load(order)
    child.stop()


def service(run: BenchRun, subscribers: int, tasks: int, count: list[str]) -> None:
    paths = [f"/subscriber-{number}" for number in range(subscribers)]
    # With another seed other keys of dictionaries collide, which is worth 1 %.
    with world(run, command=[*count, *python("service")], PYTHONHASHSEED="0") as one:
        for path in paths:
            one.subscribe(path)
        one.fill(tasks)
        one.callbacks(SECONDS, parallel=PARALLEL)
        for path in paths:
            one.drained(path)


if __name__ == "__main__":
    sys.exit(main())
