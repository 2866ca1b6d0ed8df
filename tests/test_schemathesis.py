"""The running service against its own description: no server error, and every answer as it is described."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service import __version__
from service.tools.harness.ports import free_port
from service.tools.harness.serving import serving
from service.tools.sandbox.app import create_sandbox
from service.web.openapi import openapi
from tests.conftest import TXT2IMG, environment, running

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service in a thread of its own: schemathesis calls it and waits."""
    started, stop = threading.Event(), asyncio.Event()
    found: list[Any] = []

    async def serve(folder: Path) -> None:
        async with serving(create_sandbox()) as sandbox:
            env = environment(sandbox, folder, free_port()) | {"RATE_LIMIT": "0"}
            async with running(env) as service:
                found.extend([service.url, asyncio.get_running_loop()])
                started.set()
                await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(tmp_path_factory.mktemp("service")),))
    thread.start()
    assert started.wait(20)
    yield found[0]
    found[1].call_soon_threadsafe(stop.set)
    thread.join(20)


@pytest.fixture(scope="module")
def ids(address: str) -> dict[str, str]:
    """One of each kind, so that not every generated address is a 404."""
    with httpx.Client(base_url=address, headers={"X-API-Key": "ops-key"}) as client:
        made = client.post("/v1/subscriptions", json={"url": f"{address}/nowhere"}).json()
        task = client.post("/v1/tasks", json=TXT2IMG, headers={"Prefer": "wait=15"}).json()
        [delivery] = client.get("/v1/deliveries").json()["data"]
    return {"tasks": task["id"], "subscriptions": made["id"], "deliveries": delivery["id"]}


schema = schemathesis.openapi.from_dict(openapi(__version__))


# A stream does not end; it has tests of its own. The warning is about schemathesis itself.
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
@schema.exclude(path="/v1/tasks/{id}/events").parametrize()
@seed(20260131)
@settings(
    max_examples=12, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
def test_every_operation_responds_as_described(case: Any, address: str, ids: dict[str, str]) -> None:
    (case.headers or {}).pop("Prefer", None)  # it would wait for what is asked
    call = {"base_url": address, "headers": {"X-API-Key": "ops-key"}, "checks": CHECKS, "timeout": 20}
    case.call_and_validate(**call)
    kind = case.operation.path.split("/")[2] if case.operation.path.startswith("/v1/") else ""
    if "{id}" in case.operation.path and case.method != "DELETE":
        case.path_parameters["id"] = ids[kind]
        case.call_and_validate(**call)
