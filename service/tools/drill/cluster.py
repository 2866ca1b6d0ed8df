"""The drill on PostgreSQL: processes at one port die at random, and once the database server crashes."""

import asyncio
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

from service.tools.drill.audit import audit_orders, read_records
from service.tools.drill.killable_service import PATIENCE, KillableService
from service.tools.drill.receiver import CountingReceiver
from service.tools.drill.run import CALLBACK_RETRY, SETTINGS, DrillResult, settle, subscribe
from service.tools.drill.traffic import Traffic
from service.tools.harness import processes
from service.tools.harness.processes import NeverStarted
from service.tools.harness.serving import serving
from service.tools.postgres import PostgresServer
from service.tools.sandbox.app import create_sandbox

# A kill comes this long after the one before, at most.
LONGEST_LIFE = 1.5
TASKS_A_KILL = 4


class Cluster(KillableService):
    """One service of `count` processes, which its supervisor replaces when they die."""

    def __init__(self, folder: Path, provider_url: str, database: str, count: int) -> None:
        super().__init__(folder, provider_url, SETTINGS | {"DATABASE_URL": database, "WEB_CONCURRENCY": str(count)})

    async def start(self, point: str = "", **settings: str) -> bool:
        self._process = await processes.start(["-m", "service"], self._settings | settings, self.log)
        if not await processes.answers(self._process, f"{self.url}/healthz", PATIENCE):
            raise NeverStarted(processes.end_of(self.log))
        return True

    def workers(self) -> list[int]:
        """Those that live: a killed one stays a child until the supervisor has seen it."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if _state(child) != "Z"]


def _state(pid: str) -> str:
    """R, S, Z, … as in proc(5); Z for one that is gone altogether."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return "Z"


class ClusterDrill:
    """`say` gets what was killed. Provider and receiver survive every kill and count correctly."""

    def __init__(
        self, server: PostgresServer, processes: int, kills: int, seed: int, say: Callable[[str, bool], None]
    ) -> None:
        self.server = server
        self.processes = processes
        self.kills = kills
        self.chance = random.Random(seed)  # noqa: S311 - a drill, not a secret
        self.say = say
        self.result = DrillResult()

    async def run(self, folder: Path) -> DrillResult:
        subscriber = CountingReceiver(self.chance)
        self.server.sql("CREATE DATABASE drill")
        async with (
            serving(create_sandbox(callback_retry=CALLBACK_RETRY)) as provider_url,
            serving(subscriber.app()) as subscriber_url,
            Cluster(folder, provider_url, self.server.url("drill"), self.processes) as cluster,
        ):
            traffic = Traffic(cluster, provider_url, subscriber_url, self.chance)
            await cluster.start()
            await subscribe(cluster, subscriber_url)
            for number in range(self.kills):
                traffic.mix(TASKS_A_KILL)
                await asyncio.sleep(self.chance.uniform(0, LONGEST_LIFE))
                if number == self.kills // 2:
                    await self._crash_the_server()
                await self._kill_one(cluster)
            self.result.settled = await settle(cluster, traffic)
            self.result.audit = audit_orders(await read_records(traffic), subscriber, cluster.results)
        return self.result

    async def _kill_one(self, cluster: Cluster) -> None:
        """Only a kill of a living process counts; the supervisor may still be replacing the last one."""
        async with asyncio.timeout(PATIENCE):
            while not (workers := cluster.workers()):
                await asyncio.sleep(0.05)
        os.kill(self.chance.choice(workers), signal.SIGKILL)
        self.result.kills += 1
        self.say("process", True)

    async def _crash_the_server(self) -> None:
        """All of its processes die at once; everything committed must survive."""
        await asyncio.to_thread(self.server.restart, signal.SIGQUIT)
        self.say("server", True)
