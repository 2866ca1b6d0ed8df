"""What a store refuses, in the same words on every engine."""

from service.core.errors import Conflict, IdempotencyMismatch


def key_reused() -> IdempotencyMismatch:
    return IdempotencyMismatch("This Idempotency-Key was already used with a different body; use a new key.")


def too_many_subscriptions(limit: int) -> Conflict:
    return Conflict(f"You have {limit} subscriptions, which is the limit: remove one first.")


def replay_is_running() -> Conflict:
    return Conflict("A replay of this subscription is still running: wait until it has ended.")
