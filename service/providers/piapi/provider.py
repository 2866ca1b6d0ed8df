"""PiAPI: the unified task API. Its LLM routes, which have no callback, are in `llm`."""

import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from msgspec.structs import replace

from service.core.task import Status, Task
from service.core.update import Update
from service.ports.providers import (
    Accepted,
    CallbackAddress,
    CallbackRefused,
    Exchange,
    Prepared,
    ProviderRequest,
    ProviderResponse,
    Rejected,
    StreamReader,
    SubmitOutcome,
)
from service.providers import documents, known, responses
from service.providers.documents import Document
from service.providers.piapi import check as piapi_check
from service.providers.piapi import llm as piapi_llm
from service.providers.piapi import tasks as piapi_tasks
from service.providers.redact import Cleaner
from service.providers.responses import ProviderAccount

ACCOUNT = ProviderAccount("PiAPI", "PIAPI_API_KEY", "PIAPI_BASE_URL")
PROOF_HEADER = b"x-webhook-secret"
# The history is asked for a window around the moment the request left.
HISTORY_BEFORE_S, HISTORY_AFTER_S, HISTORY_PAGE = 60, 900, 100


class PiAPI:
    name = "piapi"

    def __init__(self, api_key: str, base_url: str, llm_base_url: str, max_inflight: int) -> None:
        self.max_inflight = max_inflight
        self.routes: Mapping[str, frozenset[str]] = {"llm": frozenset(piapi_llm.PATHS)}
        self._key = api_key
        self._base = base_url.rstrip("/")
        self._llm_base = llm_base_url.rstrip("/")
        self._cleaner = Cleaner(api_key)

    def prepare(self, task_type: str, model: str, input: dict[str, Any], config: dict[str, Any]) -> Prepared:
        return piapi_check.prepare(task_type, model, input, config)

    def submit(self, task: Task, callback: CallbackAddress) -> Exchange[SubmitOutcome]:
        cleaner = Cleaner(self._key, callback.secret)
        if piapi_llm.is_llm(task):
            request = piapi_llm.request(task, self._key, self._base, self._llm_base)
            reader = piapi_llm.reader(task, cleaner)
            return Exchange("submit", request, lambda response: piapi_llm.read_submit(response, cleaner, reader))
        webhook = {"endpoint": callback.url, "secret": callback.secret}
        body = {
            "model": task.model,
            "task_type": task.task_type,
            "input": task.input,
            "config": {**task.config, "webhook_config": webhook},
        }
        request = self._request("POST", "/api/v1/task", orjson.dumps(body))
        return Exchange("submit", request, lambda response: _read_submit(task, callback.url, response, cleaner))

    def stream_reader(self, task: Task) -> StreamReader | None:
        return piapi_llm.reader(task, self._cleaner) if piapi_llm.is_llm(task) else None

    def authenticate(self, headers: Mapping[bytes, bytes], secrets: Sequence[str]) -> None:
        given = headers.get(PROOF_HEADER, b"")
        for secret in secrets:
            if given and hmac.compare_digest(given, secret.encode()):
                return
        raise CallbackRefused(401, "bad_secret", f"{PROOF_HEADER.decode()} is missing or wrong")

    def read_callback(self, task_id: str, body: bytes) -> Update:
        document = documents.read(body)
        data = piapi_tasks.task_of(document and document.value)
        if document is None or data is None:
            raise CallbackRefused(400, "malformed", "The body is not a JSON object with a task in it")
        return piapi_tasks.read(data, self._cleaner, repairs=_warnings(document, self._cleaner))

    def fetch(self, task: Task) -> Exchange[Update | None] | None:
        request = self._about("GET", task)
        return (
            None if request is None else Exchange("fetch", request, lambda response: self._read_fetch(task, response))
        )

    def cancel(self, task: Task) -> Exchange[str | None] | None:
        request = self._about("DELETE", task)
        return None if request is None else Exchange("cancel", request, self._read_cancel)

    def search(self, task: Task, is_ours: Callable[[str], bool], page: int) -> Exchange[Update | None] | None:
        if piapi_llm.is_llm(task):
            return None
        sent = (task.sent_at or task.created_at) // 1000
        family = known.models(self.name).get(task.model, {}).get("history")
        request = self._history(sent, sent, page, {"model": family} if family else {})
        return Exchange("history", request, lambda response: self._find(task, is_ours, response))

    def list_tasks(self, since: int, until: int, page: int) -> Exchange[list[Update]] | None:
        return Exchange("history", self._history(since // 1000, until // 1000, page, {}), self._read_list)

    def _history(self, since: int, until: int, page: int, more: dict[str, str]) -> ProviderRequest:
        window = {"start_time": since - HISTORY_BEFORE_S, "end_time": until + HISTORY_AFTER_S}
        query = {"page": page, "page_size": HISTORY_PAGE, **more, **window}
        return self._request("GET", f"/api/open/tasks/histories?{urlencode(query)}")

    def _read_list(self, response: ProviderResponse) -> list[Update]:
        """Lists may lack fields: a finish counts only with its result or its reason."""
        document = documents.read(response.body) if response.status == 200 else None
        every = [piapi_tasks.read(data, self._cleaner) for data in piapi_tasks.tasks_in(document and document.value)]
        return [update for update in every if update.status is not None and not update.doubtful and _has_cause(update)]

    def _read_fetch(self, task: Task, response: ProviderResponse) -> Update | None:
        document = documents.read(response.body) if response.status == 200 else None
        data = piapi_tasks.task_of(document and document.value)
        if document is None or data is None:
            return None
        update = piapi_tasks.read(data, self._cleaner, task.model, _warnings(document, self._cleaner))
        return update if update.provider_task_id == task.provider_task_id else None

    def _read_cancel(self, response: ProviderResponse) -> str | None:
        document = documents.read(response.body)
        if 200 <= response.status < 300 and (document is None or document.value.get("code", 200) in (0, 200)):
            return None
        reason = responses.message_of(response, self._cleaner) or f"status {response.status}"
        return f"PiAPI did not cancel the task ({reason}); it cancels only tasks that are still pending there"

    def _find(self, task: Task, is_ours: Callable[[str], bool], response: ProviderResponse) -> Update | None:
        """The one entry whose config echoes the task's callback address: nothing else proves that it is this task."""
        document = documents.read(response.body) if response.status == 200 else None
        for data in piapi_tasks.tasks_in(document and document.value):
            if (address := piapi_tasks.callback_of(data)) and is_ours(address):
                return piapi_tasks.read(data, self._cleaner, task.model)
        return None

    def _about(self, method: str, task: Task) -> ProviderRequest | None:
        if piapi_llm.is_llm(task) or not task.provider_task_id:
            return None
        return self._request(method, f"/api/v1/task/{quote(task.provider_task_id, safe='')}")

    def _request(self, method: str, path: str, body: bytes | None = None) -> ProviderRequest:
        headers = {"X-API-Key": self._key}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return ProviderRequest(method, self._base + path, headers, body)


def _read_submit(task: Task, address: str, response: ProviderResponse, cleaner: Cleaner) -> SubmitOutcome:
    document = documents.read(response.body)
    data = piapi_tasks.task_of(document and document.value)
    if document is None or data is None or response.status == 429:
        return _refused(response, document, cleaner)
    update = piapi_tasks.read(data, cleaner, task.model, _warnings(document, cleaner))
    if response.status >= 300 and update.error is not None:
        return Rejected(update.error)
    dropped = piapi_tasks.callback_dropped(data, address)
    return Accepted(replace(update, status=update.status or Status.SUBMITTED, callback_dropped=dropped))


def _has_cause(update: Update) -> bool:
    return update.error is None or update.error.provider_message is not None


def _warnings(document: Document, cleaner: Cleaner) -> tuple[str, ...]:
    if not document.repairs:
        return ()
    return tuple(cleaner.text(text) for text in document.warnings)


def _refused(response: ProviderResponse, document: Document | None, cleaner: Cleaner) -> SubmitOutcome:
    """A response without a task; some errors come with status 200 and a `code` in the body."""
    message = responses.message_of(response, cleaner)
    if document is None:
        return responses.refused(ACCOUNT, response, message)
    if (unnamed := piapi_tasks.unnamed_task_of(document.value)) is not None:
        update = piapi_tasks.read(unnamed, cleaner)
        if update.status is Status.FAILED and update.error is not None and not update.doubtful:
            text = update.error.provider_message or message
            status = 402 if responses.is_broke(text) else 400
            code = response.status if response.status >= 400 else None
            return Rejected(responses.rejection(ACCOUNT, status, text, code))
    return responses.refused(ACCOUNT, response, message, _status_in_body(response, document.value))


def _status_in_body(response: ProviderResponse, document: dict[str, Any]) -> int | None:
    """The status in a body sent with HTTP 200: its `code`, or 400 for an error without one."""
    if not 200 <= response.status < 300:
        return None
    code = document.get("code")
    if isinstance(code, int) and 400 <= code < 600:
        return code
    failed = isinstance(code, int) and code not in (0, 200)
    told = any(document.get(name) for name in ("error", "errors", "description"))
    return 400 if failed or told or document.get("success") is False else None
