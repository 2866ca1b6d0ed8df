"""The Node-RED flow, imported into a real Node-RED: it subscribes, submits, and takes the result."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from service.tools.harness.ports import free_port

from ..conftest import PATIENCE, Service
from .node import MODULES, ROOT, environment, node

FLOW = ROOT / "integrations" / "node-red" / "flow.json"
TOKEN = "a-token-of-this-test"
SETTINGS = """module.exports = {
  uiPort: %d, uiHost: "127.0.0.1", flowFile: "flows.json", credentialSecret: false,
  logging: { console: { level: "warn" } }, diagnostics: { enabled: false }, telemetry: { enabled: false },
}
"""
# Beside the flow under test: hands what its debug nodes would show to the test.
PROBE: list[dict[str, Any]] = [
    {"id": "probe", "type": "tab", "label": "probe"},
    {"id": "probe-in", "z": "probe", "type": "http in", "method": "get", "url": "/results", "wires": [["probe-read"]]},
    {
        "id": "probe-read",
        "z": "probe",
        "type": "function",
        "func": 'msg.payload = global.get("seen") || []; return msg;',
        "wires": [["probe-out"]],
    },
    {"id": "probe-out", "z": "probe", "type": "http response", "statusCode": "200", "wires": []},
    {
        "id": "probe-keep",
        "z": "probe",
        "type": "function",
        "func": 'global.set("seen", [...(global.get("seen") || []), msg.payload]);',
        "wires": [],
    },
]


def named(flow: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(item for item in flow if item.get("name") == name)


def with_probe() -> list[dict[str, Any]]:
    """The flow as it is imported, and each event that passed its token check also goes to the probe."""
    flow: list[dict[str, Any]] = json.loads(FLOW.read_text())
    named(flow, "check the token")["wires"][0].append("probe-keep")
    return [*flow, *PROBE]


@asynccontextmanager
async def node_red(folder: Path, service: Service) -> AsyncIterator[httpx.AsyncClient]:
    port = free_port()
    (folder / "settings.js").write_text(SETTINGS % port)
    (folder / "flows.json").write_text(json.dumps(with_probe()))
    process = await asyncio.create_subprocess_exec(
        *(node(), str(MODULES / "node-red" / "red.js"), "--userDir", str(folder)),
        *("--settings", str(folder / "settings.js")),
        env=environment(CALLBRIDGE_URL=service.url, CALLBRIDGE_KEY="alice-key", CALLBRIDGE_TOKEN=TOKEN),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            await until_it_answers(client)
            yield client
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def until_it_answers(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while True:
            with suppress(httpx.TransportError):
                if (await client.get("/results")).status_code == 200:
                    return
            await asyncio.sleep(0.1)


async def press(client: httpx.AsyncClient, name: str, payload: str) -> None:
    """Press the button of an inject node, with this payload typed in."""
    inject = named(json.loads(FLOW.read_text()), name)["id"]
    typed = {"__user_inject_props__": [{"p": "payload", "v": payload, "vt": "str"}]}
    response = await client.post(f"/inject/{inject}", json=typed)
    assert response.status_code == 200


async def test_the_flow_subscribes_submits_and_takes_the_result(service: Service, tmp_path: Path) -> None:
    async with node_red(tmp_path, service) as client:
        await press(client, "Subscribe", str(client.base_url.join("/callbridge")))
        async with asyncio.timeout(PATIENCE):
            while not (await service.client.get("/v1/subscriptions")).json()["data"]:
                await asyncio.sleep(0.05)
        await press(client, "Submit", "a cat [sandbox: delay=0.05]")
        async with asyncio.timeout(PATIENCE):
            while not (seen := (await client.get("/results")).json()):
                await asyncio.sleep(0.05)
        stranger = await client.post("/callbridge", json={"type": "task.completed"})
    assert seen[0]["type"] == "task.completed"
    assert seen[0]["data"]["output"]["url"].startswith("http")
    assert stranger.status_code == 401
