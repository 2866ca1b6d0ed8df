"""Case 10: callbacks and deliveries beside fifty copies of result files, and the memory of a large one."""

from collections.abc import Iterator

import orjson

from bench.calls import callback_body
from bench.cases.latency import Round, held, percentile
from bench.processes import WORLD_CPU, Child, python
from bench.report import ReportRow
from bench.run import BenchRun
from bench.world import BenchService, world

COPIES = 50
RATE = 200
SECONDS = 4.0
PATH = "/subscriber"
WAYS = ("callback to response", "callback to POST")
GOAL = "< 1.1"


def measure(run: BenchRun, case: int = 10) -> Iterator[ReportRow]:
    beside: list[Round] = []
    alone: list[Round] = []
    files = Child(python("bench.files"), WORLD_CPU, log=run.options.folder / "errors.log")
    try:
        port = int(files.line())
        results = f"file://{run.options.folder / 'results'}"
        for _ in range(run.options.rounds):
            with world(run) as one:
                alone.append(one_round(one, None))
            with world(run, RESULTS_URL=results) as one:
                beside.append(one_round(one, port))
                run.check(still_copying(one), "the copies were done before the measurement was")
    finally:
        files.stop()
    for way in WAYS:
        yield ReportRow(
            case,
            f"{way} at {RATE}/s beside {COPIES} copies: p50",
            "ms",
            [percentile(found.ways[way], 0.5) for found in beside],
            [percentile(found.ways[way], 0.5) for found in alone],
            "without copies",
            GOAL,
        )


def one_round(one: BenchService, port: int | None) -> Round:
    """`port` of the files that are copied meanwhile."""
    one.fill(int((SECONDS + 0.2) * RATE) + 1500)
    one.subscribe(PATH)
    if port is not None:
        # First, so that the files of all other tasks, which nobody serves, wait behind these.
        start_copies(one, port)
    one.callbacks(0.2, parallel=16)
    one.drained(PATH)
    return held(one, RATE, SECONDS, PATH)


def start_copies(one: BenchService, port: int) -> None:
    """Completes one of the prepared tasks with so many files."""
    path, secret, name = one.address(one.used)
    body = orjson.loads(callback_body("completed"))
    body["data"]["task_id"] = name
    urls = [f"http://127.0.0.1:{port}/{number}.png" for number in range(COPIES)]
    body["data"]["output"] = {"image_url": "", "image_urls": urls, "image_base64": ""}
    one.http.post(path, json=body, headers={"x-webhook-secret": secret}).raise_for_status()
    one.used += 1
    one.acknowledged += 1


def still_copying(one: BenchService) -> bool:
    [(stored, waiting)] = one.database.ask(
        "SELECT count(*) FILTER (WHERE status = 'stored'), count(*) FILTER (WHERE status = 'pending')"
        " FROM copies WHERE url NOT LIKE 'https:%'"
    )
    one.run.check(stored > 0, "nothing was copied during the measurement")
    return bool(waiting)
