"""Case 9: an alternative that a user might choose: a Node-RED flow of three nodes, which stores and signs nothing."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.calls import callbacks
from bench.cases.fanout import PARALLEL, TASKS_A_SECOND, FanoutFigures, flat_out
from bench.cases.latency import PATH, WAYS, held, percentile
from bench.checks import check_deliveries, check_events
from bench.order import LoadOrder, Result
from bench.processes import SERVICE_CPU, Child, free_port, load, send
from bench.report import ReportRow
from bench.run import BenchRun
from bench.world import world

VERSION = "4.1.x"
NODE_RED_PATH = "/node-red"
RATE = 200
START_SECONDS = 60.0
SETTINGS = """module.exports = {
  uiPort: %d, uiHost: "127.0.0.1", flowFile: "flows.json", httpAdminRoot: false,
  logging: { console: { level: "warn" } }, diagnostics: { enabled: false }, telemetry: { enabled: false },
}
"""


def measure(run: BenchRun, case: int = 9) -> Iterator[ReportRow]:
    program = installed(run)
    if program is None:
        return
    ours, its_rates, its_p99 = FanoutFigures(), list[float](), list[float]()
    our_held, its_held = list[float](), list[float]()
    for _ in range(run.options.rounds):
        with node_red(run, program) as port:
            found = flood(run, port)
            its_rates.append(found.rate)
            its_p99.append(found.percentile(0.99))
            its_held.append(order(run, port, rate=RATE).percentile(0.5))
        with world(run) as one:
            one.subscribe(PATH)
            one.fill(int((run.options.seconds + 0.2) * TASKS_A_SECOND + run.options.seconds * RATE))
            flat_out(one, [PATH], ours, run.options.seconds)
            our_held.append(percentile(held(one, RATE, run.options.seconds, PATH).ways[WAYS[1]], 0.5))
            check_events(one)
            check_deliveries(one, [PATH])
    name = f"{PARALLEL} in parallel"
    yield ReportRow(case, f"Node-RED, callbacks passed on, {name}", "/s", its_rates)
    yield ReportRow(
        case, f"ours, callbacks stored, signed and delivered, {name}", "/s", ours.deliveries, its_rates, "Node-RED"
    )
    yield ReportRow(case, f"Node-RED, response, {name}: p99", "ms", its_p99)
    yield ReportRow(case, f"ours, response, {name}: p99", "ms", ours.p99, its_p99, "Node-RED")
    yield ReportRow(case, f"Node-RED, callback to POST and response at {RATE}/s: p50", "ms", its_held)
    yield ReportRow(case, f"ours, callback to POST at {RATE}/s: p50", "ms", our_held, its_held, "Node-RED")


def installed(run: BenchRun) -> Path | None:
    """From npm, once: it stays beside the results. None where that is not possible."""
    folder = run.options.folder.parent / "node-red"
    program = folder / "node_modules" / "node-red" / "red.js"
    if program.exists():
        return program
    if not (shutil.which("npm") and shutil.which("node")):
        run.notes.append("case 9 is left out: there is no Node (node and npm) here")
        return None
    folder.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), f"node-red@{VERSION}"]
    with suppress(subprocess.TimeoutExpired):
        if subprocess.run(command, capture_output=True, timeout=300, check=False).returncode == 0:
            return program
    run.notes.append("case 9 is left out: npm could not install Node-RED")
    return None


@contextmanager
def node_red(run: BenchRun, program: Path) -> Iterator[int]:
    """Its port, once it forwards callbacks."""
    folder, port = run.options.folder / "node-red", free_port()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "settings.js").write_text(SETTINGS % port)
    (folder / "flows.json").write_text(json.dumps(flow(run.sink.url + NODE_RED_PATH)))
    command = ["node", str(program), "--userDir", str(folder), "--settings", str(folder / "settings.js")]
    child = Child(command, SERVICE_CPU, log=run.options.folder / "node-red.log")
    try:
        wait_until_it_answers(run, port)
        run.sink.forget()
        yield port
    finally:
        child.stop()


def flow(target: str) -> list[dict[str, object]]:
    return [
        {"id": "tab", "type": "tab", "label": "bench"},
        {"id": "in", "z": "tab", "type": "http in", "method": "post", "url": "/webhooks/*", "wires": [["clean"]]},
        # The headers of the call would go out with the request otherwise.
        {"id": "clean", "z": "tab", "type": "function", "func": "delete msg.headers; return msg;", "wires": [["post"]]},
        {
            "id": "post",
            "z": "tab",
            "type": "http request",
            "method": "POST",
            "ret": "txt",
            "url": target,
            "persist": True,
            "wires": [["out"]],
        },
        {"id": "out", "z": "tab", "type": "http response", "statusCode": "200", "wires": []},
    ]


def wait_until_it_answers(run: BenchRun, port: int) -> None:
    request = next(callbacks(run.prepared(1).file, 0, 1))[0]
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            send(port, request)
            return
        except (OSError, RuntimeError):
            if time.monotonic() > end:
                raise
        time.sleep(0.1)


def flood(run: BenchRun, port: int) -> Result:
    order(run, port, seconds=0.5, parallel=PARALLEL)
    run.sink.forget()
    found = order(run, port, parallel=PARALLEL)
    came = run.sink.book()[NODE_RED_PATH]["count"]
    run.check(came == found.answered, f"Node-RED answered {found.answered} callbacks and passed on {came}")
    return found


def order(run: BenchRun, port: int, *, seconds: float | None = None, parallel: int = 0, rate: float = 0.0) -> Result:
    file = run.prepared(int(run.options.seconds * TASKS_A_SECOND)).file
    return load(LoadOrder(port, seconds or run.options.seconds, "callbacks", parallel, rate, str(file)))
