"""What a service that has nothing to do asks of PostgreSQL."""

import asyncio
from pathlib import Path

import pytest

from service.tools.harness.ports import free_port
from tests.conftest import PATIENCE, environment, running
from tests.servers import fresh_database, postgres

# It is asked once a second, whatever else is asked.
POLL = "SELECT events, deliveries, signals FROM counters"
END_OF_START = "SET present = true"
FIRST, LAST = 2, 6
MOST_FOR_EACH_POLL = 5


@pytest.fixture
def logged() -> str:
    """The address of a database whose statements are in the server's log."""
    url = fresh_database()
    name = url.rpartition("/")[2]
    postgres().sql(f"ALTER DATABASE {name} SET log_statement = 'all'")
    return url


def statements(url: str) -> list[str]:
    head = url.rpartition("/")[2] + " LOG:"
    return [line for line in postgres().log.read_text(errors="replace").splitlines() if line.startswith(head)]


async def test_an_idle_service_asks_less_than_five_queries_a_second(logged: str, sandbox: str, tmp_path: Path) -> None:
    env = environment(sandbox, tmp_path, free_port()) | {
        "DATABASE_URL": logged,
        "RESULTS_URL": f"file://{tmp_path}/kept",
    }
    async with running(env), asyncio.timeout(PATIENCE):
        polls: list[int] = []
        while len(polls) <= LAST:
            await asyncio.sleep(0.1)
            found = statements(logged)
            started = [number for number, line in enumerate(found) if END_OF_START in line]
            polls = [number for number, line in enumerate(found) if started and number > started[0] and POLL in line]
    between = found[polls[FIRST] : polls[LAST]]
    assert len(between) < MOST_FOR_EACH_POLL * (LAST - FIRST), "\n".join(between)
