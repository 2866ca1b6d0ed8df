"""The Zapier app, checked by Zapier's own tester and schema against a running service."""

import asyncio

from ..conftest import Service
from .node import ROOT, environment, node

APP = ROOT / "integrations" / "zapier"


async def test_the_zapier_app_works_against_the_service(service: Service) -> None:
    process = await asyncio.create_subprocess_exec(
        *(node(), "--test", "--test-reporter=spec", "test/"),
        cwd=APP,
        env=environment(CALLBRIDGE_URL=service.url, CALLBRIDGE_KEY="alice-key"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told = (await process.communicate())[0].decode()
    assert process.returncode == 0, told
    assert "the app passes the validation of Zapier" in told
