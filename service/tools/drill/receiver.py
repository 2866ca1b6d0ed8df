"""The webhook receiver: counts what it acknowledged by webhook-id, and is sometimes slow or broken."""

import asyncio
import random
from collections import Counter

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

# Refuses an event at most this often, so that the retries of the drill's schedule are enough.
MOST_REFUSALS = 2
REFUSED, SLOW = 0.15, 0.1


class CountingReceiver:
    """`/main` is what the audit uses; `/other` takes everything, `/broken` nothing."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.acknowledged: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/main", self._take, methods=["POST"]),
                Route("/other", self._nod, methods=["POST"]),
                Route("/broken", self._fail, methods=["POST"]),
            ]
        )

    async def _take(self, request: Request) -> Response:
        await request.body()
        event = request.headers["webhook-id"]
        roll = self._chance.random()
        if roll < REFUSED and self.refused[event] < MOST_REFUSALS:
            self.refused[event] += 1
            return Response(status_code=500)
        if roll > 1 - SLOW:
            await asyncio.sleep(0.3)
        self.acknowledged[event] += 1
        return Response(status_code=204)

    async def _nod(self, request: Request) -> Response:
        return Response(status_code=204)

    async def _fail(self, request: Request) -> Response:
        return Response(status_code=500)
