"""How providers and browsers reach one task: its callback address and secret, and its links."""

from service.core.task import Task
from service.ports.providers import CallbackAddress
from service.wire.tokens import CallbackToken, Tokens


class Callbacks:
    """How a provider reaches us about one attempt at one task."""

    def __init__(self, public_url: str, tokens: Tokens) -> None:
        self._public_url = public_url
        self._tokens = tokens

    def of(self, task: Task) -> CallbackAddress:
        token = CallbackToken(task.provider, task.id, task.attempts)
        url = f"{self._public_url}/webhooks/{task.provider}/{self._tokens.callback(token)}"
        return CallbackAddress(url, self._tokens.callback_secret(token))

    def all_of(self, task: Task) -> list[CallbackAddress]:
        """The current one, then those signed with secret keys from before a rotation."""
        token = CallbackToken(task.provider, task.id, task.attempts)
        address = f"{self._public_url}/webhooks/{task.provider}/"
        secrets = self._tokens.callback_secrets(token)
        return [
            CallbackAddress(address + text, secret)
            for text, secret in zip(self._tokens.every_callback(token), secrets, strict=True)
        ]

    def links(self, task_id: str) -> dict[str, str]:
        path = f"/v1/tasks/{task_id}"
        stream = f"{self._public_url}{path}/events?token={self._tokens.stream(task_id)}"
        return {"self": path, "events": f"{path}/events", "stream": stream}
