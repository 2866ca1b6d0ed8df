"""The numbers behind the charts, by owner, and no further than their bounds."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.responses import Response

from service.core.times import now_ms
from service.ports.insight import HourCount, ModelTime
from service.store.sqlite.insight import HOUR, SqliteInsight
from service.store.sqlite.store import SqliteStore, open_store
from service.web.page import charts
from tests.conftest import PATIENCE, Service, Subscriber, img2img, txt2img

browsing = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    one = await open_store(str(tmp_path / "insight.db"))
    yield one
    await one.close()


@browsing
async def test_tasks_are_counted_by_owner_hour_and_status(service: Service) -> None:
    insight = service.bridge.store.insight
    await service.finished(txt2img())
    await service.finished(txt2img('fail="no"'))
    day = now_ms() - 24 * HOUR
    for owner, expected in (
        ("alice", {"completed": 1, "failed": 1}),
        ("bob", {}),
        (None, {"completed": 1, "failed": 1}),
    ):
        found = await insight.tasks_by_hour(owner, day)
        assert {status: count for _, status, count in found} == expected
    assert await insight.tasks_by_hour("alice", now_ms() + HOUR) == []
    assert [model for model, _ in await insight.times_to_result("alice", day)] == ["Qubico/flux1-schnell"]
    assert len(await insight.times_of_model("alice", "Qubico/flux1-schnell")) == 1
    assert await insight.times_of_model("bob", "Qubico/flux1-schnell") == []


@browsing
async def test_deliveries_are_counted_by_subscription_and_the_dead_found(
    service: Service, subscriber: Subscriber
) -> None:
    insight = service.bridge.store.insight
    subscriber.answer = lambda request, body: Response(status_code=500)
    made = (await service.client.post("/v1/subscriptions", json={"url": subscriber.url})).json()
    await service.finished(img2img())
    await service.finished(img2img())
    await subscriber.count(6)
    async with asyncio.timeout(PATIENCE):
        while len(await insight.dead_deliveries(None, 10)) < 2:
            await asyncio.sleep(0.02)
    dead = await insight.dead_deliveries("alice", 1)
    older = await insight.dead_deliveries("alice", 10, dead[0].n)
    assert [item.n < dead[0].n for item in older] == [True]
    assert await insight.dead_deliveries("bob", 10) == []
    assert [item.n for item in await insight.dead_with_a_receiver("alice", 1)] == [dead[0].n]
    assert len(await insight.dead_with_a_receiver(None, 10)) == 2
    assert await insight.dead_with_a_receiver("bob", 10) == []
    assert await insight.deliveries_by_status([made["id"]], now_ms() - HOUR) == {made["id"]: {"dead": 2}}
    await service.client.delete(f"/v1/subscriptions/{made['id']}")
    assert await insight.dead_with_a_receiver("alice", 10) == []
    assert len(await insight.dead_deliveries("alice", 10)) == 2


async def test_every_question_goes_down_an_index(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the history holds: no statement scans a table."""
    asked: list[tuple[str, object]] = []
    insight = SqliteInsight(store.database)
    rows = store.database.rows

    async def noted(sql: str, values: object = ()) -> list[tuple[object, ...]]:
        asked.append((sql, values))
        return await rows(sql, values)  # type: ignore[arg-type]

    monkeypatch.setattr(store.database, "rows", noted)
    for owner in (None, "alice"):
        await insight.tasks_by_hour(owner, 0)
        await insight.times_to_result(owner, 0)
        await insight.dead_deliveries(owner, 5)
        await insight.dead_with_a_receiver(owner, 5)
    await insight.times_of_model("alice", "x")
    await insight.deliveries_by_status(["sub_1"], 0)
    for sql, values in asked:
        plan = [row[3] for row in await rows(f"EXPLAIN QUERY PLAN {sql}", values)]  # type: ignore[arg-type]
        assert not any(step.startswith(("SCAN tasks", "SCAN d")) for step in plan if "INDEX" not in step), sql
        assert "LIMIT" in sql


def test_a_chart_adds_up() -> None:
    now = 100 * HOUR + 5
    counts = [HourCount(100 * HOUR, "completed", 3), HourCount(99 * HOUR, "queued", 1)]
    chart = charts.tasks_chart(counts, now)
    assert (len(chart.bars), chart.total, chart.highest) == (24, 4, 3)
    last = chart.bars[-1]
    assert {part.name: part.count for part in last.parts} == {"completed": 3, "failed": 0, "canceled": 0, "open": 0}
    assert last.parts[0].height == charts.HEIGHT
    assert chart.bars[-2].parts[3].count == 1
    rows = charts.times_chart([ModelTime("a", ms) for ms in range(100, 0, -1)])
    assert (rows[0].median, rows[0].p90, rows[0].p90_at) == (51, 91, 100.0)
