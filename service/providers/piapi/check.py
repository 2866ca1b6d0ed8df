"""What PiAPI's documents ask of a task: schemas, named rules, and which model takes which task type."""

from typing import Any

from service.core.errors import Fault
from service.providers import known
from service.providers.rules import RULES
from service.wire import schemas

PROVIDER = "piapi"
GENERAL = "piapi/task"
STREAMED = {"chat-completions": "piapi/chat-completions", "image-generations": "piapi/image-generations"}
_LISTS = (("lora_settings", "lora_type", "LoRA"), ("control_net_settings", "control_type", "ControlNet"))


def check(task_type: str, model: str, input: dict[str, Any], config: dict[str, Any]) -> tuple[list[Fault], list[str]]:
    if misplaced := _misplaced(task_type, model):
        return [misplaced], []
    schema = known.schema_of(PROVIDER, model, task_type) or STREAMED.get(task_type, GENERAL)
    faults = schemas.faults(schema, input, at="/input")
    for rule in schemas.load(schema).get("x-rules", ()):
        faults += [Fault(f"/input{fault.pointer}", fault.detail) for fault in RULES[rule](input)]
    if task_type not in STREAMED:
        faults += schemas.faults("piapi/config", config, at="/config")
    return faults, [*_unknown(task_type, model), *_unknown_names(input), *_rounds(model, input)]


def _misplaced(task_type: str, model: str) -> Fault | None:
    """A known task type on a known model of the same kind that does not take it."""
    models = known.models(PROVIDER)
    if model not in models or task_type in models[model]["task_types"]:
        return None
    takers = [name for name, entry in models.items() if task_type in entry["task_types"]]
    streams = models[model].get("streams", False)
    if streams:
        takes = ", ".join(models[model]["task_types"])
        return Fault("/task_type", f"{model} works with task type {takes} only")
    if model.startswith("Qubico/flux") and any(name.startswith("Qubico/flux") for name in takers):
        return Fault("/model", f"task type {task_type} works with model {', '.join(takers)} only")
    return None


def _unknown(task_type: str, model: str) -> list[str]:
    models = known.models(PROVIDER)
    if model not in models:
        same_kind = [name for name, entry in models.items() if entry.get("streams", False) == (task_type in STREAMED)]
        return [known.unknown("The model", model, same_kind)]
    if task_type not in models[model]["task_types"]:
        return [known.unknown(f"The task type of {model},", task_type, models[model]["task_types"])]
    return []


def _unknown_names(input: dict[str, Any]) -> list[str]:
    found = []
    for settings, field, what in _LISTS:
        listed = known.names(PROVIDER, field)
        entries = input.get(settings)
        for entry in entries if isinstance(entries, list) else []:
            name = entry.get(field) if isinstance(entry, dict) else None
            if isinstance(name, str) and name not in listed:
                found.append(known.unknown(f"The {what}", name, listed))
    return found


def _rounds(model: str, input: dict[str, Any]) -> list[str]:
    messages = input.get("messages")
    if model != "gpt-4o-image" or not isinstance(messages, list):
        return []
    users = [m for m in messages if isinstance(m, dict) and m.get("role") == "user"]
    return (
        ["gpt-4o-image does not have multiple rounds of conversation; the earlier ones may be ignored"]
        if len(users) > 1
        else []
    )
