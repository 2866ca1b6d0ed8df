"""The least that storing a callback can cost: uvicorn, its SQL statements and a group commit, without any decision.

Case 1 reports this floor next to the service, so that a slow machine or disk is not blamed on the code.
Arguments: the path of a fresh database and how many tasks to put into it. Prints its port.
"""

import asyncio
import itertools
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvloop

from bench.processes import free_port
from service.server import create_server, tune_gc
from service.store.sqlite.batch import CALL, CHANGED, EVENT, MOVED
from service.store.sqlite.checkpoint import Checkpointer
from service.store.sqlite.store import SqliteStore, open_store

AT_ONCE = 64
# As long as those of the benchmark's callbacks.
FRESH, STATE, BODY = b"s" * 1050, b"s" * 1350, b"e" * 1500
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
END = {"type": "http.response.body", "body": b""}
ROWS_OF_A_CALL = 3


def task_id(n: int) -> str:
    return f"tsk_{n:032x}"


def fill(store: SqliteStore, count: int) -> None:
    columns = "id, owner, provider, model, status, state, created_at, deadline_at, sent_at"
    store.database.db.execute("BEGIN")
    store.database.db.executemany(
        f"INSERT INTO tasks ({columns}) VALUES (?, 'bench', 'piapi', 'model', 'submitted', ?, 1, 2, 3)",
        ((task_id(n), FRESH) for n in range(1, count + 1)),
    )
    store.database.db.execute("COMMIT")


class Floor:
    def __init__(self, store: SqliteStore, path: str) -> None:
        self.db = store.database.db
        self.checkpointer = Checkpointer(path)
        self.waiting: list[asyncio.Future[None]] = []
        self.wake = asyncio.Event()
        self.numbers = itertools.count(2)
        self.written = 0

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(stored)
        self.wake.set()
        await stored
        await send(START)
        await send(END)

    async def write(self) -> None:
        loop, thread = asyncio.get_running_loop(), ThreadPoolExecutor(1)
        while True:
            await self.wake.wait()
            batch, self.waiting = self.waiting[:AT_ONCE], self.waiting[AT_ONCE:]
            if not self.waiting:
                self.wake.clear()
            self.statements(len(batch))
            await loop.run_in_executor(thread, self.db.commit)
            self.written += ROWS_OF_A_CALL * len(batch)
            self.checkpointer.written(self.written)
            for stored in batch:
                stored.set_result(None)

    def statements(self, count: int) -> None:
        """Two calls for each task, as in case 1."""
        calls = [next(self.numbers) for _ in range(count)]
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany(MOVED, [("processing", STATE, call // 2) for call in calls if call % 2 == 0])
        self.db.executemany(CHANGED, [("completed", STATE, 5, 3, 4, 2, call // 2) for call in calls if call % 2])
        self.db.executemany(
            EVENT,
            [(call, f"evt_{call:032x}", "task.processing", "bench", task_id(call // 2), 1, BODY) for call in calls],
        )
        self.db.executemany(CALL, [(1, "piapi", task_id(call // 2), "accepted", 200, None, None) for call in calls])


async def main() -> None:
    path, count, port = sys.argv[1], int(sys.argv[2]), free_port()
    store = await open_store(path)
    fill(store, count)
    floor = Floor(store, path)
    writing = asyncio.create_task(floor.write())
    tune_gc()
    server = create_server(floor.app, "127.0.0.1", port, lambda: None)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print(port, flush=True)
    await serving
    writing.cancel()
    # Its threads would keep the process alive.
    await store.close()


if __name__ == "__main__":
    uvloop.run(main())
