"""The audit of the provider doors."""

from service.ports.callbacks import ReceivedCallback
from service.ports.store import Store


async def test_calls_are_found_by_result_and_task_newest_first_in_pages(store: Store) -> None:
    for n, result in enumerate(["accepted", "bad_token", "accepted"]):
        await store.callbacks.add(ReceivedCallback("piapi", f"tsk_{n}", result, 200, "why", "{}"))
    rows = await store.callbacks.find(None, None, None, 2)
    assert [row["task_id"] for row in rows] == ["tsk_2", "tsk_1"]
    older = await store.callbacks.find(None, None, rows[-1]["id"], 2)
    assert [row["task_id"] for row in older] == ["tsk_0"]
    assert len(await store.callbacks.find("accepted", None, None, 9)) == 2
    assert len(await store.callbacks.find("accepted", "tsk_0", None, 9)) == 1
