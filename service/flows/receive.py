"""Receive a callback: authenticate it, apply it to its task, and return once the change is on disk."""

import asyncio
from collections.abc import Mapping

from service.core.points import Point
from service.core.task import Task
from service.core.transitions import Decision, Timing
from service.core.update import apply
from service.flows.inline import InlineKeeper
from service.ports.callbacks import ReceivedCallback
from service.ports.providers import READ_IN_THREAD, CallbackRefused, Provider
from service.ports.store import Store
from service.wire.tokens import BadToken, CallbackToken, Tokens


class CallbackHandler:
    def __init__(
        self, store: Store, providers: Mapping[str, Provider], tokens: Tokens, timing: Timing, keeper: InlineKeeper
    ) -> None:
        self.store = store
        self.providers = providers
        self.tokens = tokens
        self.timing = timing
        self.keeper = keeper

    def open(self, provider_name: str, text: str, headers: Mapping[bytes, bytes]) -> tuple[Provider, CallbackToken]:
        """The checks that need no body. Raises CallbackRefused."""
        provider = self.providers.get(provider_name)
        if provider is None:
            raise CallbackRefused(404, "unknown_provider", "There is no such callback address.")
        try:
            token = self.tokens.read_callback(text)
        except BadToken:
            raise CallbackRefused(404, "bad_token", "There is no such callback address.") from None
        if token.provider != provider.name:
            raise CallbackRefused(404, "wrong_provider", "There is no such callback address.")
        try:
            provider.authenticate(headers, self.tokens.callback_secrets(token))
        except CallbackRefused as refused:
            refused.task_id = token.task_id
            raise
        return provider, token

    async def receive(self, provider: Provider, token: CallbackToken, body: bytes) -> str:
        """Returns the result for the audit log. Raises CallbackRefused, Unavailable."""
        if len(body) > READ_IN_THREAD:
            update = await asyncio.to_thread(provider.read_callback, token.task_id, body)
        else:
            update = provider.read_callback(token.task_id, body)
        if update.files:
            update = await self.keeper.keep(update)
        move = apply(update, self.timing, attempt=token.attempt)

        result = "accepted"

        def decide(task: Task) -> Decision:
            nonlocal result
            reported = update.provider_task_id
            known = task.provider_task_id
            # The address of an earlier attempt comes with the id of that attempt.
            is_current = token.attempt == task.attempts
            if is_current and reported is not None and known is not None and reported != known:
                raise CallbackRefused(409, "wrong_task", "The address belongs to another task of the provider.")
            steps = move(task)
            result = "accepted" if steps else "repeated"
            return steps

        callback = ReceivedCallback(provider.name, token.task_id, "accepted", 200)
        task = await self.store.tasks.change(Point.CALLBACK, token.task_id, decide, callback)
        if task is None:
            raise CallbackRefused(404, "unknown_task", "There is no such callback address.")
        return result
