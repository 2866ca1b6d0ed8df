"""Section 5 of the API, the streams: read by httpx-sse, which is not ours."""

import asyncio
import gc
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import orjson
import pytest
from httpx_sse import EventSource, ServerSentEvent, aconnect_sse

from service.core.event import Event
from service.flows import backlog
from service.flows.backlog import Listener
from service.flows.hub import Hub
from service.serving import slow_peers
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


# --- links in pages of another origin ---

PAGE_ORIGIN = {"Origin": "https://app.example"}


async def test_a_page_of_another_origin_may_read_the_stream_by_its_link_and_learns_its_end(service: Service) -> None:
    link = (await service.finished(TXT2IMG))["links"]["stream"]
    first = await service.anybody.get(link, headers=PAGE_ORIGIN)
    last = first.text.split("id: ")[-1].split("\n")[0]
    over = await service.anybody.get(link, headers=PAGE_ORIGIN | {"Last-Event-ID": last})
    assert (first.status_code, over.status_code) == (200, 204)
    assert first.headers["access-control-allow-origin"] == over.headers["access-control-allow-origin"] == "*"


async def test_a_resume_by_link_passes_the_preflight_of_a_browser(service: Service) -> None:
    task = await service.finished(TXT2IMG)
    asking = PAGE_ORIGIN | {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "cache-control,last-event-id",
    }
    answer = await service.anybody.options(task["links"]["stream"], headers=asking)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "*")
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert {"*", "cache-control", "last-event-id"} <= set(allowed)
    without_link = await service.anybody.options(task["links"]["events"], headers=asking)
    assert without_link.status_code == 401
    assert "access-control-allow-origin" not in without_link.headers


@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        (lambda link: link[:-4] + "AAAA", 401),
        (lambda link: link.replace("tsk_", "tsk_x"), 401),
        (lambda link: link + "&lastEventId=x", 422),
        (lambda link: link + "&color=red", 422),
    ],
    ids=["forged", "another task", "bad cursor", "unknown parameter"],
)
async def test_a_page_of_another_origin_can_read_why_its_link_is_refused(
    service: Service, spoil: Callable[[str], str], status: int
) -> None:
    task = await service.finished(TXT2IMG)
    answer = await service.anybody.get(spoil(task["links"]["stream"]), headers=PAGE_ORIGIN)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, "*")
    assert answer.json()["detail"]


async def test_nothing_but_links_is_open_to_pages_of_another_origin(service: Service) -> None:
    task = await service.finished(TXT2IMG)
    for path in (task["links"]["events"], task["links"]["self"], "/v1/events/latest"):
        answer = await service.client.get(path, headers=PAGE_ORIGIN)
        assert "access-control-allow-origin" not in answer.headers


# --- cursors ---


@pytest.mark.parametrize(
    ("query", "headers", "first"),
    [
        ("lastEventId=2", {}, 3),
        ("lastEventId=", {}, 1),
        ("lastEventId=2&after=1", {}, 3),
        ("lastEventId=2&after=1", {"Last-Event-ID": "3"}, 4),
        ("after=1", {}, 2),
    ],
)
async def test_the_header_wins_over_last_event_id_in_the_query_and_that_over_after(
    service: Service, query: str, headers: dict[str, str], first: int
) -> None:
    task = await service.finished(TXT2IMG)
    async with opened(service, f"{task['links']['events']}?{query}", **headers) as source:
        assert int((await take(source))[0].id) == first


async def test_a_cursor_that_was_never_given_out_is_409_for_a_list(service: Service) -> None:
    await service.finished(TXT2IMG)
    last = len(MOVES)
    assert (await service.client.get("/v1/events", params={"after": last})).json()["data"] == []
    answer = await service.client.get("/v1/events", params={"after": last + 1})
    assert (answer.status_code, answer.json()["code"]) == (409, "unknown_cursor")


async def test_a_stream_from_a_cursor_that_was_never_given_out_is_reset_and_goes_on_from_now(service: Service) -> None:
    await service.finished(TXT2IMG)
    async with opened(service, **{"Last-Event-ID": "900"}) as source:
        [reset] = await take(source, 1)
        assert (reset.event, orjson.loads(reset.data)["code"]) == ("reset", "unknown_cursor")
    # A browser resumes with the id of the last event it has seen.
    async with opened(service, **{"Last-Event-ID": reset.id}) as source:
        await service.submit(TXT2IMG)
        assert [event.event for event in await take(source, until="task.completed")] == MOVES


async def test_the_stream_of_a_finished_task_from_an_unknown_cursor_is_reset_and_ends(
    service: Service,
) -> None:
    task = await service.finished(TXT2IMG)
    async with opened(service, task["links"]["events"], **{"Last-Event-ID": "900"}) as source:
        [reset] = await take(source, 1)
    again = await service.client.get(task["links"]["events"], headers={"Last-Event-ID": reset.id})
    assert (reset.event, again.status_code) == ("reset", 204)


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


async def test_an_idle_stream_gets_comments(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
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
    most = 0.0
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


async def test_a_stream_is_ended_politely_at_shutdown_and_goes_on_after_it(env: dict[str, str]) -> None:
    async with running(env) as service, opened(service) as source:
        await service.submit(txt2img("hold=gate"))
        ending = asyncio.create_task(service.server.shutdown())
        found = await take(source)  # no broken line: the chunked body has its end
        await ending
    async with running(env) as service, opened(service, **{"Last-Event-ID": found[-1].id}) as source:
        await service.submit(TXT2IMG)
        assert int((await take(source, 1))[0].id) == int(found[-1].id) + 1


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers that stop reading are disconnected soon."""
    monkeypatch.setattr(slow_peers, "TICK", 0.05)
    monkeypatch.setattr(slow_peers, "STUCK_SECONDS", 0.3)


@pytest.mark.usefixtures("impatient")
async def test_a_reader_that_does_not_read_is_disconnected_and_resumes(env: dict[str, str]) -> None:
    async with running(env) as service:
        with socket.socket() as slow:
            await open_slowly(service, slow)
            big = txt2img("delay=0", metadata={"pad": "x" * 900_000})
            tasks = [await service.finished(big) for _ in range(5)]
            await disconnected(service)
            slow.settimeout(PATIENCE)
            size = await asyncio.to_thread(_drain, slow)
        assert 0 < size < ENOUGH
        async with opened(service, "/v1/events?after=0") as source:
            assert len(await take(source, 4 * len(tasks))) == 20


@pytest.mark.usefixtures("impatient")
async def test_a_reader_that_stops_in_the_middle_of_a_replay_is_disconnected(env: dict[str, str]) -> None:
    async with running(env) as service:
        for _ in range(5):
            await service.finished(txt2img("delay=0", metadata={"pad": "x" * 900_000}))
        with socket.socket() as slow:
            await open_slowly(service, slow)
            await disconnected(service)


async def open_slowly(service: Service, slow: socket.socket) -> None:
    """A stream of everything, of which only the first bytes are read."""
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", urlsplit(service.url).port))
    slow.sendall(
        b"GET /v1/events?after=0 HTTP/1.1\r\nHost: x\r\nX-API-Key: alice-key\r\nAccept: text/event-stream\r\n\r\n"
    )
    assert (await asyncio.to_thread(slow.recv, 100)).startswith(b"HTTP/1.1 200")


async def disconnected(service: Service) -> None:
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


async def test_streams_may_not_be_transformed_on_their_way(service: Service) -> None:
    async with opened(service) as source:
        assert source.response.headers["cache-control"] == "no-store, no-transform"


# --- backlogs ---


def a_reader(hub: Hub) -> Listener:
    listener = Listener("alice", None, None, print, print)
    hub.add(listener)
    return listener


def an_event(seq: int, size: int) -> Event:
    return Event(seq, f"evt_{seq}", "task.queued", "alice", f"tsk_{seq}", 0, b"x" * size)


def test_a_reader_too_far_behind_is_lost_and_its_backlog_freed() -> None:
    hub = Hub()
    slow, quick = a_reader(hub), a_reader(hub)
    for seq in range(1, 20):
        hub.publish(an_event(seq, 500_000))
        quick.clear()
    assert (slow.lost, quick.lost) == (True, False)
    assert hub.backlogs.held == 0


def test_one_event_larger_than_the_bound_is_still_sent() -> None:
    hub = Hub()
    reader = a_reader(hub)
    hub.publish(an_event(1, backlog.MAX_BYTES + 1))
    assert [len(one.text) > backlog.MAX_BYTES for one in reader.next(1000)] == [True]


def test_of_all_readers_the_furthest_behind_is_lost_first() -> None:
    hub = Hub()
    slow: list[Listener] = []
    for n in range(12):
        slow.append(a_reader(hub))
        # Different frames for each: shared ones count once.
        for seq in range(6):
            hub.publish(an_event(n * 6 + seq, 500_000))
            for other in slow[:-1]:
                other.remove(1)
    innocent = a_reader(hub)
    hub.publish(an_event(100, 1000))
    assert not innocent.lost
    assert hub.backlogs.held <= backlog.MAX_ALL_BYTES


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
