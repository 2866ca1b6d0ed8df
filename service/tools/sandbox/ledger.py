"""What the sandbox recorded: tasks accepted (and so charged), callbacks sent, requests received."""

from collections import Counter, OrderedDict, deque
from dataclasses import asdict, dataclass, field

import orjson
from starlette.requests import Request

from .clock import now_ns

ENTRIES_KEPT = 20_000
REQUESTS_KEPT = 500
BODY_KEPT = 65_536
OPEN = frozenset({"pending", "processing"})


@dataclass(slots=True)
class CallbackAttempt:
    status: str
    code: int | None
    error: str | None = None


@dataclass(slots=True)
class Entry:
    id: str
    provider: str
    model: str
    task_type: str
    prompt: str
    submitted_at: int
    status: str = "pending"
    callbacks: list[CallbackAttempt] = field(default_factory=list)


class Ledger:
    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._submits = 0
        self._entries: OrderedDict[int, Entry] = OrderedDict()
        self._requests: deque[dict[str, object]] = deque(maxlen=REQUESTS_KEPT)
        self._calls: Counter[str] = Counter()
        self._open: Counter[str] = Counter()
        self._peak: Counter[str] = Counter()

    def add(self, id: str, provider: str, model: str, task_type: str, prompt: str) -> Entry:
        entry = Entry(id, provider, model, task_type, prompt[:2000], now_ns() // 1_000_000)
        self._submits += 1
        self._entries[self._submits] = entry
        if len(self._entries) > ENTRIES_KEPT:
            self._entries.popitem(last=False)
        self._open[provider] += 1
        self._peak[provider] = max(self._peak[provider], self._open[provider])
        return entry

    def set_status(self, entry: Entry, status: str) -> None:
        if entry.status in OPEN and status not in OPEN:
            self._open[entry.provider] -= 1
        entry.status = status

    def record_request(self, request: Request, body: bytes) -> None:
        self._requests.append({
            "at": now_ns() // 1_000_000, "method": request.method, "path": request.url.path,
            "headers": dict(request.headers), "body": _readable(body),
        })  # fmt: skip

    def calls_with(self, prompt: str) -> int:
        """Counts one more submit of this prompt; returns how many there were."""
        self._calls[prompt] += 1
        return self._calls[prompt]

    def report(self) -> dict[str, object]:
        return {
            "submits": self._submits,
            "in_flight": dict(self._open),
            "peak_in_flight": dict(self._peak),
            "tasks": [asdict(entry) for entry in self._entries.values()],
        }

    def requests(self) -> list[dict[str, object]]:
        return list(self._requests)


def _readable(body: bytes) -> object:
    if len(body) > BODY_KEPT:
        return f"{len(body)} bytes, not kept"
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")
