"""A soak: tasks at a steady rate while callbacks get lost, receivers hang and streams are not read."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from service.tools.drill.siege.target import SiegeTarget, started
from service.tools.drill.soak.receivers import Receivers, open_unread_streams

SETTINGS = {
    "ALLOW_PRIVATE_TARGETS": "true",
    "DELIVERY_TIMEOUT": "5",
    "PIAPI_MAX_INFLIGHT": "500",
    "RATE_LIMIT": "0",
    # A callback that is lost is noticed after these seconds.
    "SWEEP_AFTER": "2",
}
# Of every hundred tasks: some never get a callback, some get it twice, some fail.
BEHAVIOUR = {7: "callback=none", 23: "callback=none", 41: "callback=twice", 59: 'fail="no luck"', 83: "callback=none"}
MAX_MB = 256
# Growth from the first half to the second that is no leak: the factor, and the slack in MB and in files.
GROWTH, SLACK_MB, SLACK_FILES = 1.2, 10, 50
MAX_WAL_MB = 64
AT_END_SECONDS = 120.0
# Submits that wait for a response at once.
PARALLEL = 50


@dataclass(frozen=True, slots=True)
class Sample:
    second: float
    memory_mb: float
    files: int
    wal_mb: float
    accepted: int
    open_tasks: int


@dataclass(slots=True)
class SoakResult:
    samples: list[Sample] = field(default_factory=list)
    accepted: set[str] = field(default_factory=set)
    refused: int = 0
    unfinished: set[str] = field(default_factory=set)

    def complaints(self) -> list[str]:
        """What was not right, in words; empty: everything was."""
        found = []
        if self.refused:
            found.append(f"{self.refused} submits were refused")
        if self.unfinished:
            found.append(f"{len(self.unfinished)} of {len(self.accepted)} tasks never finished")
        half = len(self.samples) // 2
        early, late = self.samples[:half], self.samples[half:]
        if early:
            if max(one.memory_mb for one in late) > GROWTH * max(one.memory_mb for one in early) + SLACK_MB:
                found.append("the memory grew")
            if max(one.files for one in late) > GROWTH * max(one.files for one in early) + SLACK_FILES:
                found.append("the open files grew")
        if any(one.memory_mb > MAX_MB for one in self.samples):
            found.append(f"the memory was over {MAX_MB} MB")
        if any(one.wal_mb > MAX_WAL_MB for one in self.samples):
            found.append(f"the write-ahead log was over {MAX_WAL_MB} MB")
        return found


class Soak:
    """`on_sample` is called with each sample as it is taken."""

    def __init__(self, seconds: float, rate: float, on_sample: Callable[[Sample], None]) -> None:
        self.seconds = seconds
        self.rate = rate
        self.on_sample = on_sample
        self.result = SoakResult()
        self.receivers = Receivers()
        self._began = time.monotonic()

    async def run(self, folder: Path) -> SoakResult:
        async with self.receivers.serving() as address, started(folder, SETTINGS) as target:
            for path in ("finished", "slow", "hang"):
                body = {"url": f"{address}/{path}"}
                response = await target.client.post("/v1/subscriptions", json=body, headers=target.key("careless"))
                assert response.status_code == 201, response.text
            self._began = time.monotonic()
            others = asyncio.create_task(open_unread_streams(target))
            watching = asyncio.create_task(self._watch(target))
            await self._submit(target)
            await self._finish(target)
            for task in (others, watching):
                task.cancel()
        return self.result

    async def _submit(self, target: SiegeTarget) -> None:
        gate = asyncio.Semaphore(PARALLEL)

        async def one(n: int) -> None:
            try:
                how = BEHAVIOUR.get(n % 100, "callback=early")
                response = await target.submit(how=f"delay=0.1 {how}")
                self.result.accepted.add(response.json()["id"])
            except (httpx.TransportError, KeyError):
                self.result.refused += 1
            finally:
                gate.release()

        async with asyncio.TaskGroup() as group:
            n = 0
            while (now := time.monotonic() - self._began) < self.seconds:
                # What the machine does not manage is not made up for later.
                await asyncio.sleep(max(0.0, n / self.rate - now))
                await gate.acquire()
                group.create_task(one(n))
                n += 1

    async def _finish(self, target: SiegeTarget) -> None:
        """Wait until everything is finished and was delivered."""
        end = time.monotonic() + AT_END_SECONDS
        while self._open() and time.monotonic() < end:
            await asyncio.sleep(0.1)
        self.result.unfinished = self.result.accepted - self.receivers.finished
        self._sample(target)

    async def _watch(self, target: SiegeTarget) -> None:
        while True:
            await asyncio.sleep(min(60.0, self.seconds / 6))
            self._sample(target)

    def _open(self) -> int:
        return len(self.result.accepted - self.receivers.finished)

    def _sample(self, target: SiegeTarget) -> None:
        process = Path(f"/proc/{target.pid}")
        memory = int((process / "status").read_text().partition("VmRSS:")[2].split()[0]) / 1024
        wal = next(target.folder.glob("*.db-wal"), None)
        sample = Sample(
            time.monotonic() - self._began,
            memory,
            len(list((process / "fd").iterdir())),
            wal.stat().st_size / 1e6 if wal is not None else 0.0,
            len(self.result.accepted),
            self._open(),
        )
        self.result.samples.append(sample)
        self.on_sample(sample)
