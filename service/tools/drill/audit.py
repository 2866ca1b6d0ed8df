"""The audit after the kills: the provider's ledger and the receiver's counts against what the service says."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.tools.drill.copies import wrong_copies
from service.tools.drill.receiver import CountingReceiver
from service.tools.drill.traffic import Order, Traffic

FINISHED = ("completed", "failed", "canceled")
FINISHING = tuple(f"task.{status}" for status in FINISHED)
ORDER = re.compile(r"order (\d+)\.")


@dataclass(slots=True)
class OrderRecord:
    """One order as each side recorded it."""

    order: Order
    task: dict[str, Any] | None
    paid: list[dict[str, Any]]
    events: list[dict[str, Any]]
    # How many task.stored events it has.
    stored: int
    # Rows with 200 in the service's callback log: one for each acknowledged callback.
    calls_stored: int

    @property
    def calls_acknowledged(self) -> list[str]:
        """Statuses in callbacks that got a 200, by the provider's ledger."""
        return [call["status"] for entry in self.paid for call in entry["callbacks"] if call["code"] == 200]

    @property
    def provider_finished(self) -> bool:
        return any(entry["status"] in FINISHED for entry in self.paid)

    @property
    def told_finished(self) -> bool:
        return any(status in ("completed", "failed", "success") for status in self.calls_acknowledged)

    @property
    def streamed(self) -> bool:
        return self.order.kind.startswith("stream")

    @property
    def status(self) -> str:
        return "gone" if self.task is None else str(self.task["status"])

    @property
    def findable(self) -> bool:
        """Whether the service must find its finish: PiAPI keeps a history, ModelsLab can only be asked by id."""
        if self.task is None or not self.provider_finished or self.streamed:
            return False
        return self.task["provider"] == "piapi" or self.told_finished or bool(self.task["provider_task_id"])

    @property
    def copies(self) -> list[dict[str, Any]]:
        output = (self.task or {}).get("output") or {"files": []}
        return [file["copy"] for file in output["files"]]

    @property
    def settled(self) -> bool:
        if self.status in FINISHED:
            return all(copy["status"] != "pending" for copy in self.copies)
        return self.status == "unconfirmed" and not self.findable and not self.still_running

    @property
    def still_running(self) -> bool:
        return any(entry["status"] not in FINISHED for entry in self.paid)

    def losses(self, acknowledged: Counter[str]) -> list[str]:
        """Sentences; empty when nothing is lost."""
        found = []
        if self.task is None:
            return ["was acknowledged with 202 and is not there"]
        if len(self.order.ids) > 1:
            found.append(f"one Idempotency-Key made {len(self.order.ids)} tasks")
        if not self.settled:
            found.append(f"is {self.status}, at the provider {[entry['status'] for entry in self.paid]}")
        elif self.told_finished and not self._result_is_here():
            found.append(f"its result was called and acknowledged, but it is {self.status}")
        if len(self.calls_acknowledged) > self.calls_stored:
            found.append(f"{len(self.calls_acknowledged)} calls acknowledged, {self.calls_stored} stored")
        found += [f"a file is not copied: {copy['error']}" for copy in self.copies if copy["status"] != "stored"]
        if self.stored != bool(self.copies):
            found.append(f"{self.stored} events say that its files are copied")
        untold = [event for event in self.events if not acknowledged[event["id"]]]
        found += [f"{event['type']} never reached the subscriber" for event in untold]
        if self.status in FINISHED and f"task.{self.status}" not in {event["type"] for event in self.events}:
            found.append(f"is {self.status} and no event says so")
        return found

    def _result_is_here(self) -> bool:
        first = next(status for status in self.calls_acknowledged if status in ("completed", "failed", "success"))
        return self.status == ("failed" if first == "failed" else "completed") or "opposite" in self.order.kind

    @property
    def told_twice(self) -> bool:
        """The same finish in two events; a finish of ours that gave way to a result is two by contract."""
        return any(count > 1 for count in Counter(event["type"] for event in self.events).values())


@dataclass(slots=True)
class Audit:
    accepted: int = 0
    submitted: int = 0
    finished: Counter[str] = field(default_factory=Counter)
    unconfirmed_paid: int = 0
    unconfirmed_unpaid: int = 0
    streams_cut: int = 0
    copies: int = 0
    events: int = 0
    delivered: int = 0
    delivered_again: int = 0
    calls_acknowledged: int = 0
    lost: dict[str, list[str]] = field(default_factory=dict)
    paid_twice: list[str] = field(default_factory=list)
    told_twice: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.paid_twice or self.told_twice)


async def read_records(traffic: Traffic) -> list[OrderRecord]:
    tasks = {task["id"]: task for task in await traffic.service.pages("/v1/tasks")}
    paid: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for entry in await traffic.ledger():
        if found := ORDER.search(entry["prompt"]):
            paid[int(found[1])].append(entry)
    events: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in await traffic.service.pages("/v1/events", types=",".join(FINISHING)):
        events[event["data"]["id"]].append(event)
    stored = Counter(event["data"]["id"] for event in await traffic.service.pages("/v1/events", types="task.stored"))
    calls = Counter(row["task_id"] for row in await traffic.service.pages("/v1/callbacks") if row["status_code"] == 200)
    return [
        OrderRecord(order, tasks.get(task_id), paid[order.number], events[task_id], stored[task_id], calls[task_id])
        for order in traffic.orders
        for task_id in sorted(order.ids)[:1]
    ]


def audit_orders(records: list[OrderRecord], subscriber: CountingReceiver, results: Path) -> Audit:
    """`results` is the folder of the copies."""
    audit = Audit(accepted=len(records), copies=sum(len(one.copies) for one in records))
    for wrong in wrong_copies([one.task for one in records if one.task is not None], results):
        audit.lost.setdefault("copies", []).append(wrong)
    for one in records:
        name = f"order {one.order.number} ({one.order.kind})"
        audit.submitted += bool(one.paid)
        if one.status in FINISHED:
            audit.finished[one.status] += 1
        elif one.status == "unconfirmed" and one.paid:
            audit.unconfirmed_paid += 1
        elif one.status == "unconfirmed":
            audit.unconfirmed_unpaid += 1
        error = (one.task or {}).get("error") or {}
        audit.streams_cut += error.get("code") == "stream_interrupted"
        audit.calls_acknowledged += len(one.calls_acknowledged)
        ids = [event["id"] for event in one.events]
        audit.events += len(ids)
        audit.delivered += sum(subscriber.acknowledged[event_id] > 0 for event_id in ids)
        audit.delivered_again += sum(max(0, subscriber.acknowledged[event_id] - 1) for event_id in ids)
        if losses := one.losses(subscriber.acknowledged):
            audit.lost[name] = losses
        if len(one.paid) > 1:
            audit.paid_twice.append(name)
        if one.told_twice:
            audit.told_twice.append(name)
    return audit
