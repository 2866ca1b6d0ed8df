"""PiAPI: the unified task API. Its LLM routes, which have no callback, are in `piapi_llm`."""

import hmac
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from msgspec.structs import replace

from service.core.errors import ValidationFailed
from service.core.task import Status, Task, Update
from service.ports import (
    Accepted,
    Answer,
    Callback,
    CallbackRefused,
    ProviderReply,
    ProviderRequest,
    Rejected,
    StreamReader,
    Unclear,
)
from service.providers import known, replies
from service.providers.piapi import check as piapi_check
from service.providers.piapi import llm as piapi_llm
from service.providers.piapi import tasks as piapi_tasks
from service.providers.redact import Cleaner

PROOF_HEADER = b"x-webhook-secret"
# The history is asked for a window around the moment the request left.
HISTORY_BEFORE_S, HISTORY_AFTER_S, HISTORY_PAGE = 60, 900, 100


class PiAPI:
    name = "piapi"

    def __init__(self, api_key: str, base_url: str, llm_base_url: str, max_inflight: int) -> None:
        self.max_inflight = max_inflight
        self._key = api_key
        self._base = base_url.rstrip("/")
        self._llm_base = llm_base_url.rstrip("/")
        self._cleaner = Cleaner(api_key)

    def check(self, task_type: str, model: str, input: dict[str, Any], config: dict[str, Any]) -> list[str]:
        faults, warnings = piapi_check.check(task_type, model, input, config)
        if faults:
            raise ValidationFailed("The task does not follow the rules of PiAPI; see `errors`", faults=tuple(faults))
        return warnings

    def without_ours(self, input: dict[str, Any], config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Input and config as they may be stored and shown: what is ours to fill, and replaced anyway, is emptied."""
        if config.get("webhook_config"):
            config = {**config, "webhook_config": {"endpoint": "", "secret": ""}}
        return input, config

    def streams(self, task: Task) -> bool:
        return task.task_type in piapi_llm.PATHS

    def submit_request(self, task: Task, callback: Callback) -> ProviderRequest:
        if self.streams(task):
            return piapi_llm.request(task, self._key, self._base, self._llm_base)
        webhook = {"endpoint": callback.url, "secret": callback.secret}
        body = {
            "model": task.model,
            "task_type": task.task_type,
            "input": task.input,
            "config": {**task.config, "webhook_config": webhook},
        }
        return self._request("POST", "/api/v1/task", orjson.dumps(body))

    def read_answer(self, task: Task, callback: Callback, reply: ProviderReply) -> Answer:
        cleaner = Cleaner(self._key, callback.secret)
        if self.streams(task):
            return piapi_llm.read_answer(reply, cleaner, self.stream_reader(task))
        document = replies.json_object(reply.body)
        if reply.status == 429 or (document is not None and document.get("code") == 429):
            return replies.busy(reply, document)
        data = piapi_tasks.task_of(document)
        if data is None:
            return self._refused(reply, document, cleaner)
        update = piapi_tasks.read(data, cleaner, task.model)
        if reply.status >= 300 and update.error is not None:
            return Rejected(update.error)
        dropped = piapi_tasks.callback_dropped(data, callback.url)
        return Accepted(replace(update, status=update.status or Status.SUBMITTED, callback_dropped=dropped))

    def authenticate(self, headers: Mapping[bytes, bytes], secrets: Sequence[str]) -> None:
        given = headers.get(PROOF_HEADER, b"")
        for secret in secrets:
            if given and hmac.compare_digest(given, secret.encode()):
                return
        raise CallbackRefused(401, "bad_secret", f"{PROOF_HEADER.decode()} is missing or wrong")

    def read_callback(self, task_id: str, body: bytes) -> Update:
        data = piapi_tasks.task_of(replies.json_object(body))
        if data is None:
            raise CallbackRefused(400, "malformed", "The body is no JSON object with a task in it")
        return piapi_tasks.read(data, self._cleaner)

    def fetch_request(self, task: Task) -> ProviderRequest | None:
        return self._about("GET", task)

    def read_fetch(self, task: Task, reply: ProviderReply) -> Update | None:
        data = piapi_tasks.task_of(replies.json_object(reply.body)) if reply.status == 200 else None
        if data is None or replies.provider_id(data.get("task_id")) != task.provider_task_id:
            return None
        return piapi_tasks.read(data, self._cleaner, task.model)

    def cancel_request(self, task: Task) -> ProviderRequest | None:
        return self._about("DELETE", task)

    def read_cancel(self, task: Task, reply: ProviderReply) -> str | None:
        document = replies.json_object(reply.body) or {}
        if 200 <= reply.status < 300 and document.get("code", 200) == 200:
            return None
        reason = replies.message_of(reply, self._cleaner) or f"status {reply.status}"
        return f"PiAPI did not cancel the task ({reason}); it cancels only tasks that are still pending there"

    def history_request(self, task: Task, page: int) -> ProviderRequest | None:
        if self.streams(task):
            return None
        sent = (task.sent_at or task.created_at) // 1000
        query: dict[str, str | int] = {"page": page, "page_size": HISTORY_PAGE}
        if family := known.models(self.name).get(task.model, {}).get("history"):
            query["model"] = family
        query |= {"start_time": sent - HISTORY_BEFORE_S, "end_time": sent + HISTORY_AFTER_S}
        return self._request("GET", f"/api/open/tasks/histories?{urlencode(query)}")

    def find_in_history(self, task: Task, callback: Callback, reply: ProviderReply) -> Update | None:
        """The one entry whose config echoes our callback address: nothing else proves that it is this task."""
        document = replies.json_object(reply.body) if reply.status == 200 else None
        for data in piapi_tasks.tasks_in(document):
            config = data.get("config")
            if isinstance(config, dict) and not piapi_tasks.callback_dropped(data, callback.url):
                return piapi_tasks.read(data, self._cleaner, task.model)
        return None

    def stream_reader(self, task: Task) -> StreamReader:
        return piapi_llm.reader(task, self._cleaner)

    def _about(self, method: str, task: Task) -> ProviderRequest | None:
        if self.streams(task) or not task.provider_task_id:
            return None
        return self._request(method, f"/api/v1/task/{quote(task.provider_task_id, safe='')}")

    def _request(self, method: str, path: str, body: bytes | None = None) -> ProviderRequest:
        headers = {"X-API-Key": self._key}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return ProviderRequest(method, self._base + path, headers, body)

    def _refused(self, reply: ProviderReply, document: dict[str, Any] | None, cleaner: Cleaner) -> Answer:
        """An answer without a task in it; some errors come with status 200 and a `code` in the body."""
        status = reply.status
        if 200 <= status < 300:
            code = document.get("code") if document else None
            if not isinstance(code, int) or not 400 <= code < 500:
                return Unclear(f"PiAPI answered {status} without a task in it")
            status = code
        if not 400 <= status < 500:
            return replies.unclear("PiAPI", status)
        return replies.rejected("PiAPI", "PIAPI_API_KEY", status, replies.message_of(reply, cleaner), status)
