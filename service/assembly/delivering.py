"""Deliveries: the HTTP client, the lanes, and replays."""

import asyncio

from service.assembly.foundation import Foundation
from service.core.times import now_ms
from service.net.http1 import Client
from service.outlets.webhook import WebhookOutlet
from service.workers.attempts import Attempts, Retries
from service.workers.background import Background
from service.workers.delivery_limiter import DeliveryLimiter, places_for_deliveries
from service.workers.dispatch import Dispatcher
from service.workers.health import SubscriptionHealth
from service.workers.replay import Replayer

CONNECT_SECONDS = 10.0


class Delivering:
    def __init__(self, base: Foundation) -> None:
        settings, store = base.settings, base.store
        places = places_for_deliveries()
        background = Background()
        self.client = Client(
            private=settings.private_targets,
            connect_timeout=CONNECT_SECONDS,
            max_idle=places,
            resolver=base.lookups,
        )
        self.outlet = WebhookOutlet(
            self.client,
            source=settings.public_url,
            private=settings.private_targets,
            timeout=settings.delivery_timeout,
        )
        health = SubscriptionHealth(store.subscriptions, settings.disable_after, now_ms, background)
        retries = Retries(settings.retry_schedule, now_ms)
        self.attempts = Attempts(store.subscriptions, self.outlet, base.tokens, health, retries)
        self.dispatcher = Dispatcher(store, self.attempts, DeliveryLimiter(places), background, base.lease)
        self.replaying = Background()
        self.replayer = Replayer(store, self.dispatcher, base.lease, self.replaying)

    def start_replays(self) -> None:
        self._replays = asyncio.create_task(self.replayer.run(), name="replays")

    async def stop_replays(self) -> None:
        """At once, since a replay may wait for a slow receiver; it continues from its cursor at the next start."""
        self._replays.cancel()
        await self.replaying.stop(patience=0)

    async def stop(self, patience: float) -> None:
        """Running attempts get `patience` seconds to end."""
        await self.dispatcher.stop(patience)

    async def close(self) -> None:
        await self.client.aclose()
