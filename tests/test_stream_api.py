"""Section 5 of the API, the streams: read by httpx-sse, which is not ours."""

import asyncio
import gc
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import orjson
import pytest
from httpx_sse import EventSource, ServerSentEvent, aconnect_sse

from service.flows.hub import Hub, Listener
from service.web.api import stream
from service.wire import tokens
from tests.conftest import PATIENCE, TXT2IMG, Service, running, txt2img

# More than the system buffers for a reader that does not read, less than all that is told in that test.
ENOUGH = 15_000_000
MOVES = ["task.queued", "task.submitted", "task.processing", "task.completed"]


@asynccontextmanager
async def opened(service: Service, path: str = "/v1/events", **headers: str) -> AsyncIterator[EventSource]:
    """The stream once its first bytes are there, so that nothing that happens now can be missed."""
    async with aconnect_sse(service.client, "GET", path, headers=headers) as source:
        assert source.response.status_code == 200
        yield source


async def take(source: EventSource, enough: int = 10**6, until: str = "") -> list[ServerSentEvent]:
    """Up to that many events, or up to the one of that type, or all until the stream ends."""
    found: list[ServerSentEvent] = []
    async with asyncio.timeout(PATIENCE):
        async for event in source.aiter_sse():
            found.append(event)
            if len(found) == enough or event.event == until:
                break
    return found


async def release(service: Service, sandbox: str) -> None:
    await service.anybody.post(f"{sandbox}/sandbox/release/gate")


async def test_id_is_the_seq_event_the_type_and_data_the_event(service: Service) -> None:
    async with opened(service) as source:
        await service.submit(TXT2IMG)
        found = await take(source, until="task.completed")
    assert source.response.headers["content-type"].startswith("text/event-stream")
    assert [event.event for event in found] == MOVES
    for event in found:
        sent = orjson.loads(event.data)
        assert (event.id, event.event) == (str(sent["seq"]), sent["type"])
    listed = (await service.client.get("/v1/events")).json()["data"]
    assert [orjson.loads(event.data) for event in found] == listed


async def test_without_a_last_event_id_a_stream_starts_from_now(service: Service) -> None:
    await service.finished(TXT2IMG)
    async with opened(service) as source:
        task = await service.submit(TXT2IMG)
        found = await take(source, 1)
    assert orjson.loads(found[0].data)["data"]["id"] == task["id"]


@pytest.mark.parametrize("way", ["header", "query"])
async def test_a_stream_resumes_without_gap_or_repeat(service: Service, way: str) -> None:
    async with opened(service) as source:
        await service.submit(TXT2IMG)
        first = await take(source, 2)
    await service.finished(TXT2IMG)
    last = first[-1].id
    path, headers = ("/v1/events", {"Last-Event-ID": last}) if way == "header" else (f"/v1/events?after={last}", {})
    async with opened(service, path, **headers) as source:
        rest = await take(source, 6)
    seqs = [int(event.id) for event in first + rest]
    assert seqs == list(range(seqs[0], seqs[0] + 8))


async def test_resuming_while_events_come_in_has_no_gap_and_no_repeat(service: Service) -> None:
    submits = [asyncio.create_task(service.finished(txt2img("delay=0"))) for _ in range(20)]
    seqs: list[int] = [0]
    while len(seqs) < 81:
        async with opened(service, **{"Last-Event-ID": str(seqs[-1])}) as source:
            seqs += [int(event.id) for event in await take(source, 7 if len(seqs) < 75 else 81 - len(seqs))]
    await asyncio.gather(*submits)
    assert seqs == list(range(81))


async def test_types_and_task_filter_a_stream(service: Service) -> None:
    task = await service.finished(TXT2IMG)
    await service.finished(TXT2IMG)
    path = f"/v1/events?after=0&types=task.queued,task.completed&task_id={task['id']}"
    async with opened(service, path, Accept="text/event-stream") as source:
        found = await take(source, 2)
    assert [event.event for event in found] == ["task.queued", "task.completed"]
    assert {orjson.loads(event.data)["data"]["id"] for event in found} == {task["id"]}


async def test_a_stream_tells_nothing_of_other_owners(service: Service) -> None:
    async with aconnect_sse(service.bob, "GET", "/v1/events") as source:
        await service.finished(TXT2IMG)
        await service.bob.post("/v1/tasks", json=TXT2IMG)
        found = await take(source, 1)
    listed = (await service.bob.get("/v1/events")).json()["data"]
    assert orjson.loads(found[0].data) == listed[0]


@pytest.mark.parametrize("bad", ["x", "-1", "9" * 30, "0" * 6000, "1 2"])
async def test_a_last_event_id_that_is_none_is_422(service: Service, bad: str) -> None:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": bad}
    answer = await service.client.get("/v1/events", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


# --- the stream of one task ---


async def test_the_stream_of_a_task_starts_with_its_first_event_and_ends_after_the_finishing_one(
    service: Service, sandbox: str
) -> None:
    task = await service.submit(txt2img("hold=gate"))
    await service.event(task["id"], "task.processing")
    async with opened(service, task["links"]["events"]) as source:
        await release(service, sandbox)
        found = await take(source)
    assert [event.event for event in found] == MOVES


async def test_the_stream_of_a_finished_task_tells_it_all_and_ends(service: Service) -> None:
    task = await service.finished(TXT2IMG)
    async with opened(service, task["links"]["events"]) as source:
        assert [event.event for event in await take(source)] == MOVES


async def test_a_resume_after_the_end_is_answered_204(service: Service) -> None:
    task = await service.finished(TXT2IMG)
    async with opened(service, task["links"]["events"]) as source:
        found = await take(source)
    middle, end = ({"Last-Event-ID": event.id} for event in found[-2:])
    assert (await service.client.get(task["links"]["events"], headers=end)).status_code == 204
    async with opened(service, task["links"]["events"], **middle) as source:
        assert [event.event for event in await take(source)] == ["task.completed"]


async def test_a_page_of_another_origin_may_read_the_stream_by_its_link_and_hears_its_end(service: Service) -> None:
    task = await service.finished(TXT2IMG)
    first = await service.anybody.get(task["links"]["stream"])
    last = first.text.split("id: ")[-1].split("\n")[0]
    over = await service.anybody.get(task["links"]["stream"], headers={"Last-Event-ID": last})
    assert (first.status_code, over.status_code) == (200, 204)
    assert first.headers["access-control-allow-origin"] == over.headers["access-control-allow-origin"] == "*"


async def test_a_stream_link_needs_no_key_and_opens_this_task_only(service: Service) -> None:
    task, other = await service.finished(TXT2IMG), await service.finished(TXT2IMG)
    assert (await service.anybody.get(task["links"]["stream"])).status_code == 200
    stolen = task["links"]["stream"].replace(task["id"], other["id"])
    assert (await service.anybody.get(stolen)).status_code == 401
    assert (await service.anybody.get(task["links"]["events"])).status_code == 401
    assert (await service.anybody.get(task["links"]["stream"] + "x")).status_code == 401
    token = task["links"]["stream"].split("token=")[1]
    assert (await service.anybody.get(f"/v1/tasks/{task['id']}?token={token}")).status_code == 401


async def test_a_stream_link_ends_after_its_time_and_the_task_shows_a_fresh_one(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await service.finished(TXT2IMG)
    monkeypatch.setattr(tokens, "STREAM_LINK_SECONDS", -1)
    assert (await service.anybody.get(task["links"]["stream"])).status_code == 401
    monkeypatch.undo()
    fresh = (await service.client.get(task["links"]["self"])).json()["links"]["stream"]
    assert (await service.anybody.get(fresh)).status_code == 200


async def test_two_readers_of_one_task_hear_the_same(service: Service, sandbox: str) -> None:
    task = await service.submit(txt2img("hold=gate"))
    async with opened(service, task["links"]["events"]) as one, opened(service, task["links"]["events"]) as other:
        await release(service, sandbox)
        heard = [[event.id for event in await take(source)] for source in (one, other)]
    assert heard[0] == heard[1]
    assert len(heard[0]) == len(MOVES)


# --- heartbeats, the end, slow readers ---


async def test_an_idle_stream_gets_comments(env: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stream.HEARTBEAT_SECONDS == 15
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.05)
    async with running(env) as service, opened(service) as source, asyncio.timeout(PATIENCE):
        comments = 0
        async for line in source.response.aiter_lines():
            assert line == "" or line.startswith(":")
            comments += line.startswith(":")
            if comments == 4:
                break


def test_heartbeats_take_turns_and_nobody_is_silent_for_long_whoever_comes_and_goes() -> None:
    chance, now = random.Random(5), 0.0
    hub = Hub(clock=lambda: now)
    beaten: dict[Listener, float] = {}
    most = 0
    for tick in range(400):
        now = tick * stream.TICK * stream.HEARTBEAT_SECONDS
        if tick % 40 == 0:  # many at once, and most of those before leave
            for listener in chance.sample(sorted(beaten, key=beaten.__getitem__), len(beaten) * 9 // 10):
                hub.drop(listener)
                del beaten[listener]
            for _ in range(chance.choice((10, 1000))):
                listener = Listener(None, None, None, print, print)
                hub.add(listener)
                beaten[listener] = now
        taken = stream.next_beats(hub)
        assert all(now - beaten[listener] < stream.HEARTBEAT_SECONDS for listener in taken)
        beaten.update(dict.fromkeys(taken, now))
        assert all(now - since < stream.HEARTBEAT_SECONDS for since in beaten.values())
        most = max(most, len(taken) / max(len(beaten), 100))
    assert most < 1 / 6


async def test_a_stream_is_ended_politely_at_shutdown_and_goes_on_after_it(env: dict) -> None:
    async with running(env) as service, opened(service) as source:
        await service.submit(txt2img("hold=gate"))
        ending = asyncio.create_task(service.server.shutdown())
        found = await take(source)  # no broken line: the chunked body has its end
        await ending
    async with running(env) as service, opened(service, **{"Last-Event-ID": found[-1].id}) as source:
        await service.submit(TXT2IMG)
        assert int((await take(source, 1))[0].id) == int(found[-1].id) + 1


async def test_a_reader_that_does_not_read_is_let_go_and_resumes(env: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.2)
    async with running(env) as service:
        with socket.socket() as slow:
            await open_slowly(service, slow)
            big = txt2img("delay=0", metadata={"pad": "x" * 900_000})
            tasks = [await service.finished(big) for _ in range(5)]
            await let_go(service)
            slow.settimeout(PATIENCE)
            size = await asyncio.to_thread(_drain, slow)
        assert 0 < size < ENOUGH
        async with opened(service, "/v1/events?after=0") as source:
            assert len(await take(source, 4 * len(tasks))) == 20


async def test_a_reader_that_stops_in_the_middle_of_a_replay_is_let_go(
    env: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(stream, "PAGE", 2)
    async with running(env) as service:
        for _ in range(5):
            await service.finished(txt2img("delay=0", metadata={"pad": "x" * 900_000}))
        with socket.socket() as slow:
            await open_slowly(service, slow)
            await let_go(service)


async def open_slowly(service: Service, slow: socket.socket) -> None:
    """A stream of everything, of which only the first bytes are read."""
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", urlsplit(service.url).port))
    slow.sendall(
        b"GET /v1/events?after=0 HTTP/1.1\r\nHost: x\r\nX-API-Key: alice-key\r\nAccept: text/event-stream\r\n\r\n"
    )
    assert (await asyncio.to_thread(slow.recv, 100)).startswith(b"HTTP/1.1 200")


async def let_go(service: Service) -> None:
    """Nobody is told when a reader is let go."""
    async with asyncio.timeout(PATIENCE):
        while service.bridge.hub.streams:
            await asyncio.sleep(0.02)


def _drain(slow: socket.socket) -> int:
    """Reads what is left until the other side ends the line, or it is too much; returns how much that was."""
    size = 0
    try:
        while size < ENOUGH and (piece := slow.recv(65536)):
            size += len(piece)
    except ConnectionResetError:
        pass
    return size


async def test_a_stream_that_ended_is_freed_without_the_collector(service: Service) -> None:
    """The collector seldom runs here: streams that come and go must not wait for it with all their memory."""
    gc.collect()
    gc.disable()
    try:
        async with opened(service):
            assert readers() == 1
        async with asyncio.timeout(PATIENCE):
            while readers():
                await asyncio.sleep(0)
    finally:
        gc.enable()


def readers() -> int:
    return sum(type(one) is stream._Reader for one in gc.get_objects())
