"""The n8n workflows: n8n itself is not here, but their own code and expressions run in Node against the service."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Service, Subscriber, txt2img
from .node import ROOT, environment, node

FOLDER = ROOT / "integrations" / "n8n"
# What n8n gives a Code node, as far as ours uses it.
CODE_NODE = """
const [code, headers, body, secret] = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
const $env = { CALLBRIDGE_SECRET: secret };
const $input = { first: () => ({ json: { headers } }) };
const context = { helpers: { getBinaryDataBuffer: async () => Buffer.from(body) } };
const AsyncFunction = (async () => {}).constructor;
new AsyncFunction('$input', '$env', 'require', code)
  .call(context, $input, $env, require)
  .then((items) => console.log(JSON.stringify(items)), (error) => { console.error(error.message); process.exit(1); });
"""


def workflow(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / name).read_text())
    return found


def parameters(flow: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in flow["nodes"] if item["name"] == name)["parameters"]
    return found


async def run(script: str, given: object) -> tuple[int, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        node(), "-e", script, env=environment(), stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    told = (await process.communicate(json.dumps(given).encode()))[0].decode()
    return process.returncode or 0, told


@pytest.mark.parametrize("file", sorted(path.name for path in FOLDER.glob("*.json")))
def test_every_wire_of_a_workflow_leads_to_one_of_its_nodes(file: str) -> None:
    flow = workflow(file)
    names = [item["name"] for item in flow["nodes"]]
    assert len(set(names)) == len(names)
    joined = {end["node"] for outputs in flow["connections"].values() for wire in outputs["main"] for end in wire}
    assert joined | set(flow["connections"]) <= set(names)
    assert flow["active"] is False


async def test_the_body_of_the_submit_node_gets_its_result_at_the_resume_address(
    service: Service, subscriber: Subscriber
) -> None:
    expression = parameters(workflow("run-and-wait.json"), "Submit")["jsonBody"].removeprefix("={{").removesuffix("}}")
    script = f"const $execution = {{ resumeUrl: {json.dumps(subscriber.url)} }}; console.log({expression});"
    code, body = await run(script, None)
    assert code == 0, body
    task = await service.submit(json.loads(body))
    await subscriber.count(1)
    event = subscriber.events[0]
    assert (event["type"], event["data"]["id"]) == ("task.completed", task["id"])
    assert event["data"]["output"]["url"]


@pytest.mark.parametrize(("change", "code"), [(b"", 0), (b" ", 1)])
async def test_the_signature_check_takes_our_deliveries_and_no_changed_one(
    service: Service, subscriber: Subscriber, change: bytes, code: int
) -> None:
    made = (await service.client.post("/v1/subscriptions", json={"url": subscriber.url})).json()
    await service.finished(txt2img())
    await subscriber.count(1)
    headers, body = subscriber.received[0]
    check = parameters(workflow("on-finished.json"), "Check the signature")["jsCode"]
    got, told = await run(CODE_NODE, [check, headers, (body + change).decode(), made["secret"]])
    assert got == code, told
    assert ("task.completed" if code == 0 else "The signature is wrong") in told


def test_the_folder_holds_what_the_recipe_names() -> None:
    recipe = Path(ROOT / "docs" / "n8n.md").read_text()
    for path in FOLDER.glob("*.json"):
        assert f"integrations/n8n/{path.name}" in recipe
