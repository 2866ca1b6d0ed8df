"""The moves of a task, whatever comes in whatever order: one finish, one event per move, never backwards."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core.checks import rescheduled
from service.core.errors import Conflict
from service.core.result import Failure, File, Output
from service.core.task import FINISHED, RANK, Task
from service.core.task import Status as S
from service.core.transitions import (
    NOTHING,
    Decide,
    Decision,
    Timing,
    given_back,
    missed_deadline,
    rejected,
    unconfirmed,
)
from service.core.update import Update, apply
from service.flows.cancel import canceled
from tests.conftest import Service, img2img
from tests.samples import TASK_ID, make_task, provider
from tests.samples import modelslab as modelslab_room

PROVIDER_ID = "p-1"
URL = "https://x.example/a.png"
RESULT = Output((File(URL, "image", "image_url"),))
# Each state in the spellings that the providers use.
SPELLINGS = {
    "open": ("pending", "Pending", "staged", ""),
    "processing": ("processing", "Processing", "processing\t", "running"),
    "completed": ("completed", "Completed", "success", "ready"),
    "failed": ("failed", "Failed", "error"),
}


@dataclass
class TaskMoves:
    """A task as the store would hold it, and what was told about it."""

    task: Task
    now: int = 1_770_000_000_000
    told: list[tuple[str, Task]] = field(default_factory=list)
    finishes: list[Task] = field(default_factory=list)

    @property
    def timing(self) -> Timing:
        return Timing(120.0, 3600.0, lambda: self.now)

    def do(self, decide: Decide) -> bool:
        """Apply a decision as the store does; true when it changed something."""
        self.now += 1000
        steps: Decision = decide(self.task)
        for after, event in steps:
            self._check(self.task, after, event)
            self.task = after
        return bool(steps)

    def _check(self, before: Task, after: Task, event: str | None) -> None:
        # A failure of ours that the provider then reports too is the same move: told once.
        moved = after.status is not before.status
        progressed = after.status is S.PROCESSING and after.progress != before.progress
        assert (event is not None) == (moved or progressed)
        assert event in (None, f"task.{after.status}")
        if before.finished:
            assert before.finished_by_us, "a finish that the provider reported is final"
            assert after.status in (S.COMPLETED, S.FAILED) or (after.status, event) == (before.status, None)
        else:
            assert RANK[after.status] >= RANK[before.status], "never backwards"
        assert before.provider_task_id in (None, after.provider_task_id)
        assert (after.output is not None) == (after.status is S.COMPLETED)
        assert (after.error is not None) == (after.status in (S.FAILED, S.CANCELED))
        assert (after.finished_at is not None) == (after.status in FINISHED)
        assert not (after.finished and after.check_at is not None)
        if event is not None:
            self.told.append((event, after))
        if after.finished and not (before.status is after.status is S.CANCELED):
            self.finishes.append(after)


def body_of(provider_name: str, state: str, spelling: int) -> bytes:
    words = SPELLINGS[state]
    word = words[spelling % len(words)]
    if provider_name == "piapi":
        data: dict[str, Any] = {"task_id": PROVIDER_ID, "status": word}
        if state == "completed":
            data["output"] = {"image_url": URL}
        if state == "failed":
            data["error"] = {"code": 10000, "message": "no"}
        return orjson.dumps(data if spelling % 2 else {"timestamp": 1, "data": data})
    output = [URL] if state == "completed" else ""
    return orjson.dumps({"status": word, "id": PROVIDER_ID, "track_id": TASK_ID, "output": output, "message": "no"})


Act = Callable[[TaskMoves], Decide]


def callback(state: str, spelling: int) -> Act:
    def act(world: TaskMoves) -> Decide:
        update = provider(world.task.provider).read_callback(TASK_ID, body_of(world.task.provider, state, spelling))
        return apply(update, world.timing, attempt=max(1, world.task.attempts))

    return act


def sweep(state: str) -> Act:
    def act(world: TaskMoves) -> Decide:
        room = provider(world.task.provider)
        update = room.read_callback(TASK_ID, body_of(world.task.provider, state, 0))
        return apply(update, world.timing, attempt=world.task.attempts)

    return act


def asked_in_vain(world: TaskMoves) -> Decide:
    if world.task.status is S.QUEUED:
        return lambda _: NOTHING
    return rescheduled(None, world.now, world.timing)


def too_late(world: TaskMoves) -> Decide:
    world.now = max(world.now, world.task.deadline_at)
    return missed_deadline(world.timing)


def answered(state: str) -> Act:
    return lambda world: apply(modelslab_room().read_callback(TASK_ID, body_of("modelslab", state, 0)), world.timing)


def refused(world: TaskMoves) -> Decide:
    return rejected(Failure("provider_rejected", "no"), world.timing)


def give_back(world: TaskMoves) -> Decide:
    return given_back(world.task)


def unclear(world: TaskMoves) -> Decide:
    return unconfirmed("no response in time", world.timing)


def cancel(world: TaskMoves) -> Decide:
    return canceled("it may be charged", world.timing)


CALLBACKS = [callback(state, spelling) for state, words in SPELLINGS.items() for spelling in range(len(words))]
SUBMITS = [answered("open"), answered("processing"), answered("completed"), refused, unclear, give_back]
REST = [*(sweep(state) for state in SPELLINGS), asked_in_vain, too_late, cancel]


def sent_task(provider_name: str) -> TaskMoves:
    now = 1_770_000_000_000
    return TaskMoves(make_task(provider_name, created_at=now, sent_at=now, attempts=1, deadline_at=now + 10**7))


def play(world: TaskMoves, acts: list[Act]) -> None:
    for act in acts:
        try:
            world.do(act(world))
        except Conflict:
            assert world.task.finished


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(["piapi", "modelslab"]), st.lists(st.sampled_from(CALLBACKS + SUBMITS + REST), max_size=14))
def test_in_any_order_of_updates_a_task_finishes_once_with_one_event_per_move(
    provider_name: str, acts: list[Act]
) -> None:
    world = sent_task(provider_name)
    play(world, acts)
    by_the_provider = [task for task in world.finishes if not task.finished_by_us]
    assert len(by_the_provider) <= 1
    # We may give up, and later read a result out of a word that nobody documented.
    by_us = [task.status for task in world.finishes if task.finished_by_us]
    assert len(by_us) == len(set(by_us)) <= 2
    told = [task.status for _, task in world.told if task.finished]
    assert len(told) == len(set(told)), "no finish is told twice"
    assert (world.task.status is told[-1]) if told else not world.task.finished


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["piapi", "modelslab"]),
    st.lists(st.sampled_from(CALLBACKS + SUBMITS + REST), max_size=8),
    st.sampled_from(CALLBACKS),
)
def test_a_repeated_callback_changes_nothing_and_makes_no_event(
    provider_name: str, acts: list[Act], repeated: Act
) -> None:
    world = sent_task(provider_name)
    play(world, [*acts, repeated])
    told, task = list(world.told), world.task
    assert not world.do(repeated(world))
    assert (world.told, world.task) == (told, task)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(["piapi", "modelslab"]))
def test_a_result_is_kept_whatever_we_or_the_order_of_things_did_before(
    data: st.DataObject, provider_name: str
) -> None:
    """No order of open states, lost answers, refusals, deadlines and cancels can throw away what was paid for."""
    unfinished = [
        act for state in ("open", "processing") for act in (callback(state, 0), callback(state, 1), sweep(state))
    ]
    ours = [answered("open"), refused, unclear, asked_in_vain, too_late, cancel]
    acts = data.draw(st.permutations([*unfinished, *ours, callback("completed", 1)]))
    world = sent_task(provider_name)
    play(world, acts)
    assert world.task.status is S.COMPLETED
    assert world.task.output is not None
    assert world.task.output.url == URL


def test_updates_about_an_earlier_attempt_do_not_affect_a_requeued_task() -> None:
    world = sent_task("piapi")
    earlier = world.task.attempts
    play(world, [refused])
    world.task = world.task.resubmitted(world.now, world.now + 1)
    for status in (S.PROCESSING, S.FAILED):
        assert not world.do(apply(Update(status, error=Failure("x", "x")), world.timing, attempt=earlier))
    assert world.do(apply(Update(S.COMPLETED, output=RESULT), world.timing, attempt=earlier))


async def test_a_result_after_a_refused_submit_still_counts(service: Service) -> None:
    task = await service.submit(img2img("submit=accepted_500 delay=0.05"))
    event = await service.event(task["id"], "task.completed")
    assert event["data"]["output"]["url"]
    types = [one["type"] for one in (await service.client.get("/v1/events")).json()["data"]]
    assert types == ["task.queued", "task.failed", "task.completed"]
