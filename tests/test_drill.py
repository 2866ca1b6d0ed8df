"""The kill drill: a few kills of the real thing, that no commit point is forgotten, and that the audit is strict."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from starlette.responses import Response

from service.__main__ import main
from service.core.points import Point
from service.store.sqlite.store import open_store
from service.tools.drill.audit import OrderRecord, audit_orders
from service.tools.drill.cluster import ClusterDrill
from service.tools.drill.command import DURABLE
from service.tools.drill.receiver import CountingReceiver
from service.tools.drill.run import MOMENTS, SETTINGS, Drill
from service.tools.drill.scenarios import SCENARIOS
from service.tools.drill.traffic import Order, Traffic
from service.tools.postgres import PostgresServer
from tests.conftest import Service, Subscriber, running
from tests.store.parts import a_task

FEW = [Point.ADD_TASK, Point.CLAIM_TASK, Point.SUBMIT_ANSWER, Point.CALLBACK, Point.RECOVER]


async def test_after_kills_at_the_main_commit_points_nothing_is_lost_and_nothing_paid_twice(tmp_path: Path) -> None:
    said: list[tuple[str, bool]] = []
    result = await Drill(tmp_path, FEW, 2, 7, lambda *one: said.append(one)).run()
    assert result.passed, result
    assert said[:10] == [(f"{moment}:{point}", True) for point in FEW for moment in MOMENTS]
    assert result.audit.accepted > result.kills
    assert result.audit.delivered == result.audit.events > 10


async def test_processes_on_postgresql_die_and_its_server_crashes_and_nothing_is_lost(tmp_path: Path) -> None:
    # One order of kills; `python -m service drill --engine postgres` tries others.
    server = PostgresServer(tmp_path / "postgres", DURABLE)
    server.create()
    server.start()
    said: list[str] = []
    try:
        drill = ClusterDrill(server, 3, 4, 1, lambda what, _: said.append(what))
        result = await drill.run(tmp_path)
    finally:
        server.stop()
    assert result.passed, result
    assert (result.kills, said.count("server")) == (4, 1)
    assert result.audit.accepted == 16


class InHand:
    """In the place of the service: the service of this test, which nobody kills."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def ask(self, method: str, path: str, **more: Any) -> Any:
        return await self.service.client.request(method, path, **more)


async def test_the_drills_scenarios_pass_every_commit_point(
    env: dict[str, str], sandbox: str, subscriber: Subscriber, tmp_path: Path
) -> None:
    store = await open_store(str(tmp_path / "test.db"))
    await store.tasks.add(a_task(), None)
    worker, _ = await store.workers.join(0, 1)
    await store.submits.claim(worker, "piapi", 1, 1)
    await store.close()
    left = {f"{moment}:{point}" for point in Point for moment in MOMENTS}
    done = asyncio.Event()

    def passed(point: str) -> None:
        left.discard(point)
        if not left:
            done.set()

    subscriber.answer = lambda request, body: Response(status_code=500 if "broken" in request.url.path else 204)
    settings = {"TASK_DEADLINE": "3", "RETRY_SCHEDULE": "0.05", "RESULTS_URL": f"file://{tmp_path / 'results'}"}
    settings["COPY_RETRY_SCHEDULE"] = "0.1,0.1"
    async with running(env | SETTINGS | settings, passed) as service:
        in_hand: Any = InHand(service)  # what traffic asks of a service
        traffic = Traffic(in_hand, sandbox, subscriber.url, random.Random(1))
        for name, wanted in (("other", {}), ("broken", {"metadata": {"for": "broken"}})):
            body = {"url": f"{subscriber.url}/{name}", "description": name, "filter": wanted}
            await service.client.post("/v1/subscriptions", json=body)
        acting = [asyncio.create_task(scenario.act(traffic)) for scenario in SCENARIOS.values()]
        try:
            async with asyncio.timeout(60):
                await done.wait()
        finally:
            assert not left
            for act in acting:
                act.cancel()
            await asyncio.gather(*acting, return_exceptions=True)
            await traffic.all_sent()


def test_every_commit_point_has_its_scenario() -> None:
    assert set(SCENARIOS) == set(Point)


def test_an_unknown_point_is_refused_with_the_list_of_those_that_are_known() -> None:
    response = CliRunner().invoke(main, ["drill", "--points", "lunch"])
    assert response.exit_code == 2
    assert "claim_task" in response.output


OPEN = {
    "id": "tsk_01a1fe2a984c00008ad0ab6107bfd559",
    "status": "submitted",
    "provider": "piapi",
    "provider_task_id": "p-1",
    "output": None,
    "error": None,
}
UNCONFIRMED = OPEN | {"status": "unconfirmed", "provider_task_id": None}


def records(**changes: Any) -> OrderRecord:
    """An order that went well: accepted, called, stored, told."""
    entry = {"status": "completed", "callbacks": [{"status": "completed", "code": 200}]}
    task = OPEN | {"status": "completed"}
    good: dict[str, Any] = {
        "order": Order(1, "plain", {"tsk_1"}),
        "task": task,
        "paid": [entry],
        "events": [{"id": "evt_1", "type": "task.completed"}],
        "stored": 0,
        "calls_stored": 1,
    }
    return OrderRecord(**good | changes)


def account_of(one: OrderRecord, *acknowledged: str) -> Any:
    subscriber = CountingReceiver(random.Random(1))
    subscriber.acknowledged.update(acknowledged)
    return audit_orders([one], subscriber, Path("nowhere"))


def test_a_good_order_makes_a_clean_audit() -> None:
    assert account_of(records(), "evt_1").clean


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": None}, "is not there"),
        ({"task": OPEN, "events": []}, "is submitted"),
        ({"task": UNCONFIRMED, "events": []}, "is unconfirmed"),
        ({"task": OPEN | {"status": "failed"}}, "acknowledged, but it is failed"),
        ({"calls_stored": 0}, "1 calls acknowledged, 0 stored"),
        ({"events": []}, "no event says so"),
        ({"order": Order(1, "plain", {"tsk_1", "tsk_2"})}, "2 tasks"),
    ],
)
def test_a_loss_is_named(changes: dict[str, Any], words: str) -> None:
    assert words in str(account_of(records(**changes), "evt_1").lost)


def test_an_unacknowledged_event_is_a_loss() -> None:
    assert "never reached" in str(account_of(records()).lost)


def test_two_accepted_submits_of_one_order_are_paid_twice() -> None:
    assert account_of(records(paid=records().paid * 2, calls_stored=2), "evt_1").paid_twice


def test_an_unconfirmed_order_unknown_to_the_provider_is_no_loss() -> None:
    audit = account_of(records(task=UNCONFIRMED, paid=[], events=[], calls_stored=0))
    assert audit.clean
    assert audit.unconfirmed_unpaid == 1
