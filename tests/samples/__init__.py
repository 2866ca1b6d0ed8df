"""What the providers' documents print: requests, answers, callbacks, streams. Each file names its `source`.

`{key}`, `{secret}`, `{callback_url}` and `{task_id}` stand for what the service fills in.
"""

from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest

from service.core.inline import with_addresses
from service.core.task import Task
from service.core.times import now_ms
from service.core.update import Update
from service.ports.providers import CallbackAddress, Exchange, ProviderResponse, StreamReader
from service.providers.modelslab.provider import ModelsLab
from service.providers.piapi.provider import PiAPI

T = TypeVar("T")
FOLDER = Path(__file__).parent
KEY = "provider-key-0123456789"
TASK_ID = "tsk_000000000001"
TOKEN = "piapi.tsk_000000000001.1.to-ken_signature"
CALLBACK = CallbackAddress(f"https://bridge.example.com/webhooks/piapi/{TOKEN}", "callback-secret")
PLACES = {
    "{key}": KEY,
    "{secret}": CALLBACK.secret,
    "{callback_url}": CALLBACK.url,
    "{task_id}": TASK_ID,
}


def piapi() -> PiAPI:
    return PiAPI(KEY, "https://api.piapi.ai", "https://proxy.piapi.ai", 20)


def modelslab() -> ModelsLab:
    return ModelsLab(KEY, "https://modelslab.com", 5)


def output_of(update: Update) -> dict[str, Any]:
    """The output as the API shows it, where files that came inline have addresses such as `https://media.test/1.png`."""
    assert update.output is not None
    placeholders = dict.fromkeys(file.placeholder for file in update.files)
    addresses = {text: f"https://media.test/{n}.{text.rpartition('.')[2]}" for n, text in enumerate(placeholders, 1)}
    return with_addresses(update.output, addresses).document()


def error_of(update: Update) -> dict[str, Any]:
    assert update.error is not None
    return update.error.document()


def provider(name: str) -> PiAPI | ModelsLab:
    return piapi() if name == "piapi" else modelslab()


def reader_of(task: Task) -> StreamReader:
    reader = piapi().stream_reader(task)
    assert reader is not None
    return reader


def asked(exchange: Exchange[T] | None) -> Exchange[T]:
    """A question that can be asked."""
    assert exchange is not None
    return exchange


def make_task(provider: str, **fields: Any) -> Task:
    known: dict[str, Any] = {"model": "Qubico/flux1-dev", "task_type": "txt2img", "input": {"prompt": "a bear"}}
    rest: dict[str, Any] = {
        "id": TASK_ID,
        "owner": "me",
        "provider": provider,
        "created_at": 1_700_000_000_000,
        "updated_at": 0,
    }
    return Task(**(rest | known | fields))


def each(pattern: str) -> list[Any]:
    """Every sample under a path such as `piapi/requests`, as parameters named by provider and file."""
    paths = sorted(FOLDER.glob(f"{pattern}/*.json"))
    return [pytest.param(p.parts[-3], load(p), id=f"{p.parts[-3]}-{p.stem}") for p in paths]


def load(path: Path) -> dict[str, Any]:
    text = path.read_text()
    for name, value in PLACES.items():
        text = text.replace(name, value)
    sample: dict[str, Any] = orjson.loads(text)
    return sample


def provider_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> ProviderResponse:
    """`body` as JSON; a text or bytes as they are."""
    text = body.encode() if isinstance(body, str) else body
    content = text if isinstance(text, bytes) else orjson.dumps(text)
    return ProviderResponse(status, headers or {}, content, now_ms())


def differs(update: Update, expect: dict[str, Any]) -> list[str]:
    """What of an update is not as a sample says."""
    output = output_of(update) if update.output else {}
    error = error_of(update) if update.error else {}
    seen = {
        "status": update.status and update.status.value,
        "url": output.get("url"),
        "urls": output.get("urls"),
        "text": output.get("text"),
        "kinds": [file["kind"] for file in output.get("files", [])],
        "error_code": error.get("code"),
        "provider_code": error.get("provider_code"),
        "provider_message": error.get("provider_message"),
        "provider_status": update.provider_status,
        "provider_task_id": update.provider_task_id,
        "usage": update.usage,
        "callback_dropped": update.callback_dropped,
    }
    wrong = [f"{name}: {seen[name]!r}" for name, value in expect.items() if name in seen and seen[name] != value]
    if expect.get("message_has", "") not in error.get("message", ""):
        wrong.append(f"message: {error.get('message')}")
    if update.kept_hours != expect.get("expires_in_hours", update.kept_hours):
        wrong.append(f"kept_hours: {update.kept_hours}")
    return wrong
