"""A ModelsLab job, its responses and its webhook."""

import uuid
from dataclasses import dataclass, field
from typing import Any

import orjson

from .behaviour import Behaviour
from .callbacks import OutgoingCallback
from .clock import now_ns
from .ledger import Entry
from .untidy import encoding, untidy

YES_NO = ("base64", "instant_response", "safety_checker", "temp")


@dataclass(slots=True)
class ModelsLabJob:
    number: int
    family: str
    kind: str  # text2img, img2img
    body: dict[str, Any]
    behaviour: Behaviour
    entry: Entry
    base_url: str
    fetch_path: str
    files: list[str] = field(default_factory=list)
    status: str = "processing"
    began: int = field(default_factory=now_ns)
    ended: int | None = None
    reads: int = 0
    # How often its finish was reported without the output.
    empty_reports: int = 0

    @property
    def public_id(self) -> int | str | None:
        match self.behaviour.id:
            case "str":
                return str(uuid.uuid5(uuid.NAMESPACE_OID, str(self.number)))
            case "null" | "missing":
                return None
            case "empty":
                return ""
        return self.number

    @property
    def links(self) -> list[str]:
        return [f"{self.base_url}/pictures/{name}" for name in self.files]

    @property
    def empty_output(self) -> list[str] | str:
        as_list = self.behaviour.output == "list" or (not self.behaviour.output and self.family == "v6")
        return [] if as_list else ""

    def output(self) -> list[str] | str:
        """The output that the next report of the finish holds."""
        if self.empty_reports < self.behaviour.late_output:
            self.empty_reports += 1
            return self.empty_output
        return self.empty_output if self.behaviour.no_output else self.links

    def spell(self, status: str) -> str:
        return status if status == "processing" or self.behaviour.status is None else self.behaviour.status

    @property
    def seconds(self) -> float:
        return round(((self.ended or now_ns()) - self.began) / 1e9, 2)


def processing_response(job: ModelsLabJob) -> dict[str, Any]:
    answer = {
        "status": "processing",
        "tip": "Get more details about this API in the documentation.",
        "eta": round(job.behaviour.delay, 2),
        "messege": "Try to fetch request after seconds estimated",
        "webhook_status": "",
        "fetch_result": f"{job.base_url}{job.fetch_path}/{job.public_id}",
        "id": job.public_id,
        "output": job.empty_output,
        "future_links": job.links,
        "meta": meta(job),
    }
    return _without_id(answer) if job.behaviour.id == "missing" else answer


def success_response(job: ModelsLabJob) -> dict[str, Any]:
    """An immediate success: the enterprise server writes id null (img2img) or none at all (text2img)."""
    enterprise = job.family == "enterprise" and not job.behaviour.id
    output = job.output()
    answer = {
        "status": job.spell("success"),
        "warning": "",
        "id": None if enterprise else job.public_id,
        "generationTime": job.seconds,
        "output": output,
        "proxy_links": output,
        "nsfw_content_detected": False,
        "webhook_status": "",
        "meta": meta(job),
    }
    missing = job.behaviour.id == "missing" or (enterprise and job.kind == "text2img")
    return _without_id(answer) if missing else answer


def failed_response(job: ModelsLabJob) -> dict[str, Any]:
    return {"status": job.spell("failed"), "id": job.public_id, "message": job.behaviour.fail, "output": ""}


def fetch_response(job: ModelsLabJob) -> dict[str, Any]:
    if job.status == "success":
        return {"status": job.spell("success"), "id": job.public_id, "output": job.output()}
    if job.status == "failed":
        return failed_response(job)
    return {"status": "processing", "id": job.public_id, "message": "Try Again", "output": job.empty_output}


def webhook(job: ModelsLabJob, status: str) -> OutgoingCallback | None:
    address = job.body.get("webhook")
    modes = job.behaviour.callback
    if not isinstance(address, str) or not address or "none" in modes:
        return None
    track_id = "somebody-else" if "wrong_track" in modes else job.body.get("track_id")
    body: dict[str, Any] = {
        "status": job.spell(status),
        "id": job.number + 1 if "wrong_id" in modes else job.public_id,
    }
    if status == "success":
        body |= {"output": job.output(), "generationTime": job.seconds, "track_id": track_id, "meta": meta(job)}
    elif status == "failed":
        body |= {"message": job.behaviour.fail or "something went wrong", "track_id": track_id}
    else:
        body |= {"output": job.empty_output, "eta": job.behaviour.delay, "track_id": track_id}
    way = job.behaviour.json
    raw = b"<html>not a job</html>" if "garbage" in modes else untidy(way, orjson.dumps(body))
    return OutgoingCallback(address, raw, status, job.entry, encoding(way), drip="slow" in modes)


def meta(job: ModelsLabJob) -> dict[str, Any]:
    """The request as the server understood it: numbers, and yes or no for every switch."""
    given = {key: value for key, value in job.body.items() if key not in {"key", "webhook", "track_id"}}
    switches = {name: "yes" if given.get(name) in (True, "yes", "true") else "no" for name in YES_NO}
    sizes = {name: _number(given.get(name), 512) for name in ("width", "height")}
    return {**given, **switches, **sizes, "n_samples": _number(given.get("samples"), 1),
            "model_id": given.get("model_id") or "flux", "file_prefix": job.entry.id}  # fmt: skip


def _number(value: object, default: int) -> int:
    text = str(value)
    return int(text) if text.isdigit() else default


def _without_id(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "id"}
