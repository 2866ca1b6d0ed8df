"""What the tests of the pages share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from tests.conftest import CERTIFICATES, PATIENCE, Service


@asynccontextmanager
async def signed_in(service: Service, key: str = "alice-key") -> AsyncIterator[httpx.AsyncClient]:
    """A client with the session's cookie, as a browser without scripts."""
    async with httpx.AsyncClient(base_url=service.url, timeout=PATIENCE, verify=CERTIFICATES) as client:
        response = await client.post("/login", data={"key": key})
        assert response.status_code == 303, response.text
        yield client
