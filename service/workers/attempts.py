"""One attempt at a delivery: where it goes, whether it is allowed, and what follows from the outcome."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from service.core.delivery import Delivery, after_attempt
from service.core.subscription import LANE_OF_URL
from service.ports.observers import AttemptObserver
from service.ports.outlets import Endpoint, Outcome, Outlet
from service.ports.store import SubscriptionStore
from service.wire.tokens import Tokens
from service.workers.health import SubscriptionHealth


@dataclass(frozen=True, slots=True)
class Retries:
    """Seconds to wait before each further attempt, and the clock in milliseconds."""

    schedule: tuple[float, ...]
    now: Callable[[], int]


class Attempts:
    def __init__(
        self,
        subscriptions: SubscriptionStore,
        outlet: Outlet,
        tokens: Tokens,
        health: SubscriptionHealth,
        retries: Retries,
    ) -> None:
        self.health = health
        self.observers: list[AttemptObserver] = []
        # Only for failed attempts.
        self.failure_observers: list[AttemptObserver] = []
        self._subscriptions = subscriptions
        self._outlet = outlet
        self._tokens = tokens
        self._retries = retries

    @property
    def now(self) -> Callable[[], int]:
        return self._retries.now

    def allowed(self, lane: str) -> bool:
        """False while the subscription is disabled, and after it was removed."""
        subscription = self._subscriptions.known(lane)
        return lane.startswith(LANE_OF_URL) if subscription is None else subscription.enabled

    def post(self, delivery: Delivery) -> Awaitable[Outcome] | None:
        """None when the subscription is gone. Uses its current address, secrets and headers."""
        if delivery.subscription_id is None:
            endpoint = Endpoint(delivery.url, self._tokens.owner_secrets(delivery.owner))
        else:
            subscription = self._subscriptions.known(delivery.subscription_id)
            if subscription is None:
                return None
            secrets = subscription.secrets(self._retries.now)
            endpoint = Endpoint(subscription.url, secrets, tuple(subscription.headers.items()))
        return self._outlet.post(delivery, endpoint)

    def after(self, delivery: Delivery, outcome: Outcome) -> Delivery:
        """The delivery with this attempt and the time of the next one."""
        if outcome.attempt.succeeded:
            return delivery.after(outcome.attempt, None)
        chance = random.random()  # noqa: S311 - spreads retries
        schedule, now = self._retries.schedule, self._retries.now()
        return after_attempt(delivery, outcome.attempt, outcome.retry_after, schedule, now, chance)

    def note(self, delivery: Delivery, outcome: Outcome) -> None:
        """Call it once the outcome is stored."""
        failed = not outcome.attempt.succeeded
        if delivery.subscription_id is not None:
            if failed:
                self.health.failed(delivery.subscription_id, outcome.attempt)
            else:
                self.health.succeeded(delivery.subscription_id)
        for observer in self.observers:
            observer.attempted(delivery, outcome)
        if failed:
            for observer in self.failure_observers:
                observer.attempted(delivery, outcome)
