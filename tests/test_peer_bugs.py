"""The bug list of the nearest peer (Hookaido, changes 2.10 and 2.11): each has its test here, or is named where it is.

They do not apply to us:
  5  route and authentication read in two steps during a reload   settings are read once; nothing is reloaded
  8  a literal `env:NAME` taken as the password                   settings are the environment, there is no reference
 26  rate-limit buckets refilled by every reload                  nothing is reloaded
 27  a batch half applied and not repeatable                      there are no batches; a move is one transaction
 28  a read-only tool that migrates the database                  the tools around the service have tests of their own
 30  an image that breaks only at release                         nothing of the service; a matter of CI
"""

import asyncio
import hmac
import re
from pathlib import Path

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from service.core.caller import ApiKey
from service.core.delivery import KEPT_ATTEMPTS, Attempt
from service.core.errors import Unauthorized
from service.environment import SettingsError
from service.serving import protocol
from service.settings import load_settings
from service.web.auth import Keys
from tests.conftest import PATIENCE, Service, Subscriber, running, txt2img
from tests.store.parts import NOW, a_subscription, deliveries
from tests.test_store_trouble import no_room_for_files, read_only, until

HERE = Path(__file__).parent
ELSEWHERE = [
    (2, "test_doors", "a_stranger_cannot_fill_the_audit_log"),
    (3, "test_piapi", "an_empty_expected_secret_lets_nobody_pass"),
    (3, "test_stop", "off_loopback_a_secret_key_and_api_keys_are_required"),
    (4, "test_doors", "tokens_keys_and_secrets_are_in_no_log_line_and_no_answer"),
    (6, "test_http1", "the_address_that_was_judged_is_the_one_dialled"),
    (7, "test_http1", "one_private_address_refuses_the_target"),
    (9, "test_stop", "off_loopback_a_secret_key_and_api_keys_are_required"),
    (10, "test_doors", "a_new_first_secret_key_still_takes_the_calls_of_tasks_in_flight"),
    (13, "test_deliveries_api", "after_the_schedule_a_delivery_is_dead_and_a_retry_counts_afresh"),
    (14, "test_stream_api", "resuming_while_events_come_in_has_no_gap_and_no_repeat"),
    (18, "store/test_subscriptions", "an_empty_filter_wants_every_task_of_its_owner_and_no_others"),
    (19, "store/test_retention", "tidying_goes_in_steps"),
    (21, "test_deliveries_api", "retry_after_is_honoured_up_to_a_day"),
    (22, "test_subscriptions_api", "after_a_rotation_old_and_new_secret_both_sign"),
    (23, "test_http1", "a_huge_body_is_cut_and_the_connection_closed"),
    (23, "test_http1", "a_body_that_trickles_does_not_extend_the_time"),
]


@pytest.mark.parametrize(("number", "file", "name"), ELSEWHERE)
def test_the_bugs_that_are_tested_elsewhere_still_are(number: int, file: str, name: str) -> None:
    assert f"def test_{name}(" in (HERE / f"{file}.py").read_text(), f"bug {number} has lost its test"


def test_every_bug_of_the_list_is_in_this_file() -> None:
    text = Path(__file__).read_text()
    here = {int(n) for n in re.findall(r"def test_bug_(\d+)_", text)} | {number for number, _, _ in ELSEWHERE}
    apart = {int(n) for n in re.findall(r"^ +(\d+)  ", __doc__ or "", re.MULTILINE)}
    assert here | apart == set(range(1, 31))
    assert not here & apart


@pytest.mark.sqlite
async def test_bug_1_a_503_does_not_use_up_the_idempotency_key(service: Service) -> None:
    with read_only(service):
        refused = await service.client.post("/v1/tasks", json=txt2img(), headers={"Idempotency-Key": "k"})
        assert refused.status_code == 503
    again = await service.client.post("/v1/tasks", json=txt2img(), headers={"Idempotency-Key": "k"})
    assert again.status_code == 202
    assert "idempotent-replayed" not in again.headers


def test_bug_11_every_known_key_is_compared_whichever_was_right(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    keys = Keys(tuple(ApiKey(f"n{n}", f"key-{n}") for n in range(5)), 0)
    for key in ("key-0", "key-4"):
        keys.caller(Headers({"X-API-Key": key}))
    for key in ("nobody", "x" * 400):
        with pytest.raises(Unauthorized):
            keys.caller(Headers({"X-API-Key": key}))
    assert compared == [(32, 32)] * 20


async def test_bug_12_the_history_of_attempts_is_bounded(service: Service) -> None:
    _, [delivery] = await deliveries(service.bridge.store)
    for _ in range(100):
        delivery = delivery.after(Attempt(NOW, 500, None, 1), NOW)
    assert (len(delivery.attempts), delivery.tries) == (KEPT_ATTEMPTS, 100)


async def test_bug_15_a_reader_that_disconnects_from_a_busy_stream_is_released(service: Service) -> None:
    telling = asyncio.create_task(asyncio.wait_for(_tell_without_end(service), PATIENCE))
    async with service.client.stream("GET", "/v1/events", headers={"Accept": "text/event-stream"}) as response:
        await anext(aiter(response.aiter_lines()))
        assert service.bridge.hub.streams == 1
    await until(lambda: service.bridge.hub.streams == 0)
    assert not telling.done()
    telling.cancel()


async def _tell_without_end(service: Service) -> None:
    subscription = a_subscription()
    while True:
        await service.bridge.store.deliveries.ping(0, subscription, NOW)


async def test_bug_16_a_canceled_wait_takes_nothing_away(service: Service, sandbox: str) -> None:
    task = await service.submit(txt2img("hold=gate delay=0.01"))
    address = f"/v1/tasks/{task['id']}"
    gone = asyncio.create_task(service.client.get(address, headers={"Prefer": "wait=20"}))
    await until(lambda: service.bridge.hub._waiters)
    gone.cancel()
    stays = asyncio.create_task(service.client.get(address, headers={"Prefer": "wait=20"}))
    await service.anybody.post(f"{sandbox}/sandbox/release/gate")
    assert (await stays).json()["status"] == "completed"


async def test_bug_17_a_polite_stop_in_the_middle_of_deliveries_repeats_none(
    env: dict[str, str], subscriber: Subscriber
) -> None:
    async def slowly(request: Request, body: bytes) -> Response:
        await asyncio.sleep(0.2)
        return Response(status_code=204)

    subscriber.answer = lambda request, body: slowly(request, body)
    async with running(env) as service:
        await service.client.post("/v1/subscriptions", json={"url": subscriber.url})
        tasks = [await service.submit(txt2img("delay=0.01")) for _ in range(12)]
        await subscriber.count(3)
    async with running(env) as service:
        await subscriber.until(lambda: {event["data"]["id"] for event in subscriber.events} == {t["id"] for t in tasks})
    assert len(subscriber.received) == len(tasks)


async def test_bug_20_finished_tasks_are_no_backlog(env: dict[str, str]) -> None:
    async with running(env | {"PIAPI_MAX_INFLIGHT": "2"}) as service:
        done = await asyncio.gather(*(service.finished(txt2img("delay=0.01")) for _ in range(8)))
        assert {task["status"] for task in done} == {"completed"}
        assert not await service.bridge.store.submits.waiting("piapi")


async def test_bug_24_a_connection_that_sends_no_head_is_cut(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    port = int(service.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_bug_24_a_callback_whose_body_does_not_come_is_cut(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "BODY_SECONDS", 0.1)
    task = await service.submit(txt2img("delay=60"))
    stored = await service.bridge.store.tasks.get(task["id"])
    assert stored is not None
    callback = service.bridge.submitting.submitter.callbacks.of(stored)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(service.url.rpartition(":")[2]))
    path = callback.url.removeprefix(service.url)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Webhook-Secret: {callback.secret}\r\nContent-Length: 9\r\n\r\n"
    writer.write(head.encode() + b"{")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_bug_24_a_connection_that_is_in_use_is_not_cut(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time runs for each head and body alone, also for those that come in pieces."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.5)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(service.url.rpartition(":")[2]))
    ends = asyncio.get_running_loop().time() + 1.0
    while asyncio.get_running_loop().time() < ends:
        for piece in (b"GET /healthz HTT", b"P/1.1\r\nHost: x\r\n\r\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        await reader.readuntil(b"}")
    writer.close()


@pytest.mark.parametrize("size", ["4294968320", "99999999999999999999999", "1e9", "-1"])
def test_bug_25_a_size_beyond_its_range_is_refused_and_not_wrapped(size: str) -> None:
    with pytest.raises(SettingsError, match="MAX_BODY_BYTES"):
        load_settings({"MAX_BODY_BYTES": size})


@pytest.mark.sqlite
async def test_bug_29_what_the_store_did_not_remove_is_not_forgotten_in_memory(
    service: Service, subscriber: Subscriber
) -> None:
    made = (await service.client.post("/v1/subscriptions", json={"url": subscriber.url})).json()
    with no_room_for_files(service):
        assert (await service.client.delete(f"/v1/subscriptions/{made['id']}")).status_code == 503
    await service.submit(txt2img())
    await subscriber.count(1)
