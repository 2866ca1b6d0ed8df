"""Client generators take the description: what each makes type-checks, and runs a submit and a wait."""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import httpx
import pytest

from ..conftest import Service
from ..integrations.node import MODULES, node

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
COMPILER = {
    "compilerOptions": {
        "strict": True,
        "target": "es2022",
        "module": "esnext",
        "moduleResolution": "bundler",
        "skipLibCheck": True,
        "lib": ["es2022", "dom", "dom.iterable"],
        "types": ["node"],
        "noEmit": True,
    }
}


async def run(folder: Path, *command: str | Path, **env: str) -> str:
    """What it printed; fails with it unless it ends with 0."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=folder,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told = (await process.communicate())[0].decode()
    assert process.returncode == 0, told
    return told


@pytest.fixture
async def described(service: Service, tmp_path: Path) -> Path:
    """A folder with the description that the running service serves."""
    (tmp_path / "openapi.json").write_text((await service.anybody.get("/openapi.json")).text)
    return tmp_path


def told_where(service: Service) -> dict[str, str]:
    return {"CALLBRIDGE_URL": service.url, "CALLBRIDGE_KEY": "alice-key"}


async def test_openapi_python_client(service: Service, described: Path) -> None:
    config = described / "config.yml"
    config.write_text("package_name_override: callbridge_client\npost_hooks: []\n")
    await run(
        described,
        *(BIN / "openapi-python-client", "generate", "--path", "openapi.json", "--config", config),
        *("--meta", "none", "--output-path", "callbridge_client"),
    )
    shutil.copy(HERE / "story.py", described)
    await run(described, BIN / "mypy", "--strict", "--no-warn-redundant-casts", "story.py")
    assert (await run(described, sys.executable, "story.py", **told_where(service))).startswith("completed http")


async def test_datamodel_codegen(service: Service, described: Path) -> None:
    await run(
        described,
        *(BIN / "datamodel-codegen", "--input", "openapi.json", "--input-file-type", "openapi"),
        *("--output", "models.py", "--output-model-type", "pydantic_v2.BaseModel", "--formatters", "builtin"),
        *("--use-annotated", "--set-default-enum-member", "--target-python-version", "3.11"),
    )
    await run(described, BIN / "mypy", "--strict", "models.py")
    submit = (
        "import sys; from models import Task, TaskSubmit;"
        "task = TaskSubmit(provider='piapi', model='Qubico/flux1-schnell', task_type='txt2img',"
        " input={'prompt': 'a cat [sandbox: delay=0.05]'});"
        "print(task.model_dump_json(exclude_none=True))"
    )
    body = await run(described, sys.executable, "-c", submit)
    task = await service.finished(json.loads(body))
    read = "import sys; from models import Task; print(Task.model_validate_json(sys.argv[1]).output.url)"
    assert (await run(described, sys.executable, "-c", read, json.dumps(task))).startswith("http")


GENERATORS = {
    "fetch": ["openapi-typescript", "openapi.json", "-o", "schema.d.ts"],
    "hey": ["openapi-ts", "-i", "openapi.json", "-o", "hey", "-c", "@hey-api/client-fetch"],
    "orval": ["orval", "--config", "orval.config.cjs"],
}
ORVAL = """module.exports = { callbridge: { input: "openapi.json", output: {
  client: "fetch", target: "orval/callbridge.ts", baseUrl: "%s" } } };
"""


@pytest.mark.parametrize("name", GENERATORS)
async def test_typescript(name: str, service: Service, described: Path) -> None:
    program = node()
    (described / "node_modules").symlink_to(MODULES)
    (described / "package.json").write_text('{"type": "module"}')
    (described / "tsconfig.json").write_text(json.dumps(COMPILER | {"files": [f"{name}.ts"]}))
    (described / "orval.config.cjs").write_text(ORVAL % service.url)
    shutil.copy(HERE / f"{name}.ts", described)
    await run(described, MODULES / ".bin" / GENERATORS[name][0], *GENERATORS[name][1:])
    await run(described, program, MODULES / "typescript" / "bin" / "tsc", "-p", ".")
    bundle = ("--bundle", "--platform=node", "--format=esm", "--outfile=out.mjs")
    await run(described, MODULES / ".bin" / "esbuild", f"{name}.ts", *bundle, "--log-level=error")
    told = await run(described, program, "out.mjs", **told_where(service))
    assert told.startswith("completed http")


async def test_the_description_needs_no_key(service: Service) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{service.url}/openapi.json")).json()["info"]["license"]["identifier"] == "MIT"
