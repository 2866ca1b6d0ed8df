"""GET /metrics, and /readyz by progress."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from starlette.responses import Response

from service.core.errors import Unavailable
from service.ops.metrics.tally import Tally
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.store import PostgresStore
from service.tools.harness.ports import free_port
from service.workers.watchdog import Watchdog
from tests.conftest import PATIENCE, TXT2IMG, Service, Subscriber, img2img, running, txt2img
from tests.servers import fresh_database

METRICS_PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
Labels = tuple[tuple[str, str], ...]


async def metrics(service: Service) -> dict[tuple[str, Labels], float]:
    """Every sample by its name and labels."""
    response = await service.admin.get("/metrics")
    assert response.status_code == 200
    families = text_string_to_metric_families(response.text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def sample(found: dict[tuple[str, Labels], float], name: str, **labels: str) -> float:
    return found[f"callbridge_{name}", tuple(sorted(labels.items()))]


async def until(service: Service, wanted: float, name: str, **labels: str) -> dict[tuple[str, Labels], float]:
    async with asyncio.timeout(PATIENCE):
        while sample(found := await metrics(service), name, **labels) != wanted:
            pass
    return found


async def test_only_admin_keys_read_metrics(service: Service) -> None:
    assert (await service.client.get("/metrics")).status_code == 404
    assert (await service.anybody.get("/metrics")).status_code == 401
    response = await service.admin.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    assert sample(await metrics(service), "build_info", version="0.1.0") == 1


async def test_tasks_callbacks_and_deliveries_are_counted(service: Service, subscriber: Subscriber) -> None:
    answers = iter((500, 204, 204))
    subscriber.answer = lambda request, body: Response(status_code=next(answers))
    await service.client.post("/v1/subscriptions", json={"url": subscriber.url})
    await service.finished(txt2img("callback=twice"))
    await service.finished(img2img("fail=broken"))
    held = await service.submit(txt2img("hold=gate"))
    await service.event(held["id"], "task.processing")
    await service.client.post("/webhooks/piapi/forged", json={})
    await service.client.post("/webhooks/nobody/forged", json={})
    found = await until(service, 2, "deliveries_total", result="delivered")
    assert sample(found, "deliveries_total", result="failed") == 1
    assert sample(found, "deliveries_total", result="dead") == 0
    assert sample(found, "deliveries_pending") == 0
    assert sample(found, "tasks_finished_total", provider="piapi", status="completed") == 1
    assert sample(found, "tasks_finished_total", provider="modelslab", status="failed") == 1
    assert sample(found, "tasks", provider="piapi", status="processing") == 1
    assert sample(found, "tasks", provider="piapi", status="queued") == 0
    assert sample(found, "task_seconds_count", provider="piapi") == 1
    assert sample(found, "callbacks_total", provider="piapi", result="bad_token") == 1
    assert sample(found, "callbacks_total", provider="unknown", result="unknown_provider") == 1
    assert sample(found, "callbacks_total", provider="piapi", result="repeated") >= 1
    assert sample(found, "delivery_lag_seconds_count") == 2
    asked = {"provider": "piapi", "operation": "submit", "outcome": "2xx"}
    assert sample(found, "provider_request_seconds_count", **asked) == 2
    assert sample(found, "commit_seconds_count") > 5
    listed = (await service.admin.get("/v1/callbacks?limit=200")).json()["data"]
    for result in {call["result"] for call in listed}:
        of_result = [value for (name, labels), value in found.items() if ("result", result) in labels]
        assert sum(of_result) == sum(call["result"] == result for call in listed)


async def test_open_streams_and_waiting_deliveries_are_measured(service: Service, subscriber: Subscriber) -> None:
    never = asyncio.Event()

    async def hang(request: Request, body: bytes) -> Response:
        await never.wait()
        return Response()

    subscriber.answer = hang
    await service.client.post("/v1/subscriptions", json={"url": subscriber.url})
    headers = {"Accept": "text/event-stream"}
    async with service.client.stream("GET", "/v1/events", headers=headers) as stream:
        pieces = stream.aiter_raw()
        await anext(pieces)
        await service.finished(TXT2IMG)
        await subscriber.count(1)
        found = await until(service, 1, "deliveries_pending")
        assert sample(found, "streams_open") == 1
        assert 0 <= sample(found, "delivery_oldest_due_seconds") < PATIENCE
        # A receiver that hangs is no trouble of the service.
        assert (await service.anybody.get("/readyz")).status_code == 200
    never.set()


async def test_the_table_in_the_docs_names_every_metric_and_its_labels(service: Service) -> None:
    await service.finished(txt2img())
    response = await service.admin.get("/metrics")
    told = {
        family.name: (family.type, {label for sample in family.samples for label in sample.labels} - {"le"})
        for family in text_string_to_metric_families(response.text)
    }
    rows = re.findall(r"(?m)^\| `(callbridge_\w+)` \| (\w+) \|(.*?)\|", METRICS_PAGE.read_text())
    assert {name: (kind, set(re.findall(r"\w+", labels))) for name, kind, labels in rows} == told


async def test_what_a_client_chose_is_no_label(service: Service) -> None:
    body = txt2img() | {"metadata": {"order": "chosen-by-a-client"}, "model": "chosen-by-a-client"}
    await service.finished(body)
    await service.client.post("/webhooks/chosen-by-a-client/x", json={})
    assert "chosen-by-a-client" not in (await service.admin.get("/metrics")).text


async def test_any_process_reports_the_counts_of_all(env: dict[str, str]) -> None:
    env |= {"DATABASE_URL": fresh_database()}
    async with running(env) as one, running(env | {"PORT": str(free_port())}) as other:
        for service in (one, other, other):
            await service.finished(txt2img())
        headers = {"Accept": "text/event-stream"}
        async with other.client.stream("GET", "/v1/events", headers=headers) as stream:
            pieces = stream.aiter_raw()
            await anext(pieces)
            for service in (one, other):
                found = await until(service, 3, "tasks_finished_total", provider="piapi", status="completed")
                await until(service, 1, "streams_open")
                assert sample(found, "task_seconds_count", provider="piapi") == 3
    # What ended processes counted stays.
    async with running(env | {"PORT": str(free_port())}) as third:
        await until(third, 3, "tasks_finished_total", provider="piapi", status="completed")


async def test_what_a_process_counted_under_a_lost_lease_is_not_counted_twice(env: dict[str, str]) -> None:
    env |= {"DATABASE_URL": fresh_database()}
    async with running(env) as one:
        await one.finished(txt2img())
        await rows_of_counts(one, 1)
        first = one.bridge.lease.worker
        await database_of(one).rows("UPDATE workers SET ended = true")
        await one.bridge.lease.beat()
        assert one.bridge.lease.worker != first
        await one.finished(txt2img())
        await until(one, 2, "tasks_finished_total", provider="piapi", status="completed")
        await rows_of_counts(one, 2)
    async with running(env | {"PORT": str(free_port())}) as other:
        await until(other, 2, "tasks_finished_total", provider="piapi", status="completed")


async def test_the_counts_of_ended_processes_are_kept_as_one(env: dict[str, str]) -> None:
    env |= {"DATABASE_URL": fresh_database()}
    for _ in range(3):
        async with running(env | {"PORT": str(free_port())}) as one:
            await one.finished(txt2img())
    async with running(env) as last:
        # Its own, and those of the others together.
        await rows_of_counts(last, 2)
        await until(last, 3, "tasks_finished_total", provider="piapi", status="completed")


async def rows_of_counts(service: Service, wanted: int) -> None:
    """Returns when so many rows are there."""
    async with asyncio.timeout(PATIENCE):
        while True:
            [[found]] = await database_of(service).rows("SELECT count(*) FROM worker_counts")
            if found == wanted:
                return
            await asyncio.sleep(0.02)


def database_of(service: Service) -> PostgresDatabase:
    assert isinstance(service.bridge.store, PostgresStore)
    return service.bridge.store.database


def test_the_counts_of_processes_add_up() -> None:
    one, other = Tally(), Tally()
    for tally, value in ((one, 0.5), (other, 1), (other, 3)):
        tally.count("made", "piapi")
        tally.observe("seconds", (1, 2), value, "piapi")
    one.add(other.encoded())
    assert one.counts["made"]["piapi",] == 3
    assert one.distributions["seconds"]["piapi",].counts == [2, 0, 1]
    assert one.distributions["seconds"]["piapi",].total == 4.5


# --- /readyz ---


def test_a_step_counts_as_stalled_from_its_first_failure_until_it_succeeds() -> None:
    now = 0.0
    watchdog = Watchdog(lambda: now)
    for moment in (10.0, 20.0):
        now = moment
        with pytest.raises(Unavailable), watchdog.step("claim"):
            raise Unavailable("not now")
    assert watchdog.stuck(9) == ["claim"]
    assert watchdog.stuck(10) == []
    with watchdog.step("claim"):
        pass
    assert watchdog.stuck(0) == []


async def detail(service: Service) -> dict[str, Any]:
    response = await service.anybody.get("/readyz")
    return {"status": response.status_code, "detail": response.json().get("detail", "")}


async def test_readyz_names_a_delivery_that_nobody_works_on(
    service: Service, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.ops.readiness.PATIENCE", 0.2)
    monkeypatch.setattr("service.ops.readiness.SHORTEST_REST", 0.05)
    monkeypatch.setattr(type(service.bridge.delivering.dispatcher), "on_waiting", lambda *_: None)
    monkeypatch.setattr(type(service.bridge.delivering.dispatcher), "accepts", lambda *_: 0)
    await service.client.post("/v1/subscriptions", json={"url": subscriber.url})
    await service.finished(TXT2IMG)
    async with asyncio.timeout(PATIENCE):
        while (await detail(service))["status"] == 200:
            pass
    assert "deliveries" in (await detail(service))["detail"]


async def test_readyz_names_claims_that_do_not_come_back(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.ops.readiness.PATIENCE", 0.2)
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(type(service.bridge.store.submits), "claim", lambda *_, **__: never)
    await service.submit(TXT2IMG)
    async with asyncio.timeout(PATIENCE):
        while (await detail(service))["status"] == 200:
            pass
    assert "submits to piapi" in (await detail(service))["detail"]
    never.cancel()
