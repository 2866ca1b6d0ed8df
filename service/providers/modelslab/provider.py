"""ModelsLab: Enterprise Flux and the v6 image pair. The key travels in the body, errors come with HTTP 200,
and callbacks are authenticated by the token in their address and by `track_id`."""

import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson

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
    Unclear,
)
from service.providers import documents, responses
from service.providers.documents import Document
from service.providers.modelslab import check as modelslab_check
from service.providers.modelslab import tasks as modelslab_tasks
from service.providers.modelslab.check import ENTERPRISE, V6, family
from service.providers.redact import Cleaner
from service.providers.responses import ProviderAccount

ACCOUNT = ProviderAccount("ModelsLab", "MODELSLAB_API_KEY", "MODELSLAB_BASE_URL")
SUBMIT = {ENTERPRISE: "/api/v1/enterprise/flux/{}", V6: "/api/v6/images/{}"}


class ModelsLab:
    name = "modelslab"

    def __init__(self, api_key: str, base_url: str, max_inflight: int) -> None:
        self.max_inflight = max_inflight
        self.routes: Mapping[str, frozenset[str]] = {}
        self._key = api_key
        self._base = base_url.rstrip("/")
        self._cleaner = Cleaner(api_key)

    def prepare(self, task_type: str, model: str, input: dict[str, Any], config: dict[str, Any]) -> Prepared:
        return modelslab_check.prepare(task_type, model, input, config)

    def submit(self, task: Task, callback: CallbackAddress) -> Exchange[SubmitOutcome]:
        body = {**task.input, "key": self._key, "webhook": callback.url, "track_id": task.id}
        if family(task.model) == V6 and task.model != V6:
            body["model_id"] = task.model
        path = SUBMIT[family(task.model)].format(quote(task.task_type, safe=""))
        return Exchange("submit", self._post(path, body), self._read_submit)

    def stream_reader(self, task: Task) -> StreamReader | None:
        return None

    def authenticate(self, headers: Mapping[bytes, bytes], secrets: Sequence[str]) -> None:
        """ModelsLab sends no secret header; `read_callback` checks `track_id`."""

    def read_callback(self, task_id: str, body: bytes) -> Update:
        document = documents.read(body)
        job = modelslab_tasks.task_of(document)
        if document is None or job is None:
            raise CallbackRefused(400, "malformed", "The body is not a JSON object with a task in it")
        given = job.get("track_id")
        given = str(given) if isinstance(given, int | str) else ""
        if not hmac.compare_digest(given.encode(errors="replace"), task_id.encode()):
            raise CallbackRefused(401, "bad_track_id", "track_id is missing or not the one that was sent")
        return modelslab_tasks.read(job, self._cleaner, self._warnings(document))

    def fetch(self, task: Task) -> Exchange[Update | None] | None:
        """At the address of the task's own family: a response's `fetch_result` may point anywhere."""
        if not task.provider_task_id:
            return None
        path = SUBMIT[family(task.model)].format(f"fetch/{quote(task.provider_task_id, safe='')}")
        return Exchange("fetch", self._post(path, {"key": self._key}), self._read_fetch)

    def cancel(self, task: Task) -> Exchange[str | None] | None:
        return None

    def search(self, task: Task, is_ours: Callable[[str], bool], page: int) -> Exchange[Update | None] | None:
        return None

    def list_tasks(self, since: int, until: int, page: int) -> Exchange[list[Update]] | None:
        return None

    def _read_fetch(self, response: ProviderResponse) -> Update | None:
        document = documents.read(response.body) if response.status == 200 else None
        job = modelslab_tasks.task_of(document)
        if document is None or job is None or not modelslab_tasks.is_about_task(job):
            return None
        return modelslab_tasks.read(job, self._cleaner, self._warnings(document))

    def _read_submit(self, response: ProviderResponse) -> SubmitOutcome:
        document = documents.read(response.body)
        job = modelslab_tasks.task_of(document)
        message = responses.message_of(response, self._cleaner)
        if job is not None and modelslab_tasks.is_busy(job) and not responses.is_broke(message):
            return responses.busy(response)
        if document is not None and job is not None and response.status not in (429, 402):
            answer = self._read_job(response, job, self._warnings(document), message)
            if answer is not None:
                return answer
        if document is not None and job is None and response.status < 300 and message:
            # An error with HTTP 200, and nothing that could be a task.
            return responses.refused(ACCOUNT, response, message, modelslab_tasks.code_of(message))
        return responses.refused(ACCOUNT, response, message)

    def _post(self, path: str, body: dict[str, Any]) -> ProviderRequest:
        return ProviderRequest("POST", self._base + path, {"Content-Type": "application/json"}, orjson.dumps(body))

    def _warnings(self, document: Document) -> tuple[str, ...]:
        return tuple(self._cleaner.text(text) for text in document.warnings)

    def _read_job(
        self, response: ProviderResponse, job: dict[str, Any], warnings: tuple[str, ...], message: str | None
    ) -> SubmitOutcome | None:
        """The outcome as far as the body tells; None when only the HTTP status can."""
        update = modelslab_tasks.read(job, self._cleaner, warnings)
        if update.status is Status.FAILED and update.error is not None and not update.doubtful:
            word = modelslab_tasks.status_word(job)
            if isinstance(word, str) and word.strip().lower() == "error":
                status = response.status if 400 <= response.status < 500 else modelslab_tasks.code_of(message)
                code = response.status if response.status >= 400 else None
                return Rejected(
                    responses.rejection(ACCOUNT, 402 if responses.is_broke(message) else status, message, code)
                )
            return Rejected(update.error)
        if response.status >= 300:
            return None
        if update.status is not None:
            return Accepted(update)
        if update.provider_task_id is not None:
            return Accepted(modelslab_tasks.submitted(update))
        return Unclear("ModelsLab answered without a status and without an id")
