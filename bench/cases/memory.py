"""Case 12: peak memory of a process under everything at once: callbacks, streams, deliveries, large pictures."""

import base64
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.calls import ID, callback_body, post
from bench.checks import check_deliveries, check_events
from bench.processes import send
from bench.report import ReportRow
from bench.run import BenchRun
from bench.world import BenchService, world

# Of single tasks; and a few that are told of every event, which may be disconnected when they fall behind.
STREAMS, ACCOUNT_STREAMS = 1000, 10
SUBSCRIBERS = 10
PARALLEL = 64
TASKS_A_SECOND = 6000
PICTURES = 100
# As base64 it fills a callback up to the 32 MiB that MAX_WEBHOOK_BYTES allows.
PICTURE_BYTES = 25_000_000
PNG = b"\x89PNG\r\n\x1a\n"


def measure(run: BenchRun, case: int = 12) -> Iterator[ReportRow]:
    most: list[float] = []
    pictures: list[float] = []
    for _ in range(run.options.rounds):
        with world(run) as one:
            pictures.append(one_round(one))
            most.append(one.child.memory_mb("VmHWM"))
    burden = f"{PARALLEL} callbacks in parallel, {STREAMS:,} streams, {SUBSCRIBERS} subscribers, pictures of 25 MB"
    yield ReportRow(case, f"peak memory under {burden}", "MB", most, goal="< 256")
    yield ReportRow(case, "  pictures stored meanwhile", "", pictures)


def one_round(one: BenchService) -> int:
    """How many pictures came meanwhile, one after the other."""
    paths = [f"/subscriber-{number}" for number in range(SUBSCRIBERS)]
    for path in paths:
        one.subscribe(path)
    seconds = 2 * one.run.options.seconds
    one.fill(int(seconds * TASKS_A_SECOND) + STREAMS + PICTURES)
    # From the other end than the callbacks.
    one.filled_end -= PICTURES
    own = range(one.filled_end, one.filled_end + PICTURES)
    single = [f"/v1/tasks/{one.task_id(number)}/events" for number in range(one.filled_end - STREAMS, one.filled_end)]
    readers = one.open_streams([*single, *["/v1/events"] * ACCOUNT_STREAMS])
    with pictures_one_by_one(one, own) as sent:
        one.callbacks(seconds, parallel=PARALLEL)
    one.acknowledged += len(sent)
    for path in paths:
        one.drained(path)
    readers.kill()
    check_events(one)
    check_deliveries(one, paths)
    return len(sent)


@contextmanager
def pictures_one_by_one(one: BenchService, tasks: Sequence[int]) -> Iterator[list[int]]:
    """The tasks that have ended with one, each sent after the answer to the one before."""
    sent: list[int] = []
    over = threading.Event()

    def run() -> None:
        for task in tasks:
            send(one.port, picture(one, task))
            sent.append(task)
            if over.is_set():
                return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield sent
    finally:
        over.set()
        thread.join()


def picture(one: BenchService, task: int) -> bytes:
    """The callback that completes the task, with a picture that no other has."""
    path, secret, name = one.address(task)
    encoded = base64.b64encode(PNG + os.urandom(16) + bytes(PICTURE_BYTES))
    body = callback_body("completed").replace(b'"image_base64":""', b'"image_base64":"' + encoded + b'"')
    return post(path, {"x-webhook-secret": secret}, body.replace(ID.encode(), name.encode(), 3))
