"""Checks a task against PiAPI's documents: schemas, named rules, and which model takes which task type."""

from typing import Any

from service.core.errors import Fault, ValidationFailed
from service.ports.providers import Prepared
from service.providers import known
from service.providers.prepare import MAX_WARNINGS, blank_prompt, not_called, without_keys, without_nulls
from service.providers.rules import RULES, WARNINGS
from service.wire import schema_faults, schemas, validation

PROVIDER = "piapi"
GENERAL, CONFIG = "piapi/task", "piapi/config"
CHAT = "chat-completions"
STREAMED = {CHAT: "piapi/chat-completions", "image-generations": "piapi/image-generations"}
_LISTS = (("lora_settings", "lora_type", "LoRA"), ("control_net_settings", "control_type", "ControlNet"))


def prepare(task_type: str, model: str, input: dict[str, Any], config: dict[str, Any]) -> Prepared:
    """Raises ValidationFailed with every fault."""
    if misplaced := _misplaced(task_type, model):
        raise _invalid([misplaced])
    schema = known.schema_of(PROVIDER, model, task_type) or STREAMED.get(task_type, GENERAL)
    input = without_nulls(schema, without_keys(input))
    faults = validation.faults(schema, input, at="/input")
    document = schemas.load(schema)
    for rule in document.get("x-rules", ()):
        faults += [Fault(f"/input{fault.pointer}", fault.detail) for fault in RULES[rule](input)]
    faults += blank_prompt(input, required=_wants_prompt(document))
    if task_type == CHAT:
        faults += _says_nothing(input)
    warnings: list[str] = []
    if task_type not in STREAMED:
        config = without_nulls(CONFIG, without_keys(config))
        faults += validation.faults(CONFIG, config, at="/config")
        config, warnings = _without_webhook(config)
    if faults:
        raise _invalid(faults)
    for rule in document.get("x-warnings", ()):
        warnings += WARNINGS[rule](input)
    warnings += [*_unknown(task_type, model), *_unknown_names(input), *_rounds(model, input)]
    return Prepared(input, config, tuple(dict.fromkeys(warnings))[:MAX_WARNINGS])


def _wants_prompt(document: dict[str, Any]) -> bool:
    """Flux inputs share a common part that requires it; those with a picture to work from can do without words."""
    shared = schemas.load("piapi/flux/common")["$defs"]["input"] if "allOf" in document else document
    return "prompt" in shared.get("required", ()) and "image" not in document.get("required", ())


def _invalid(faults: list[Fault]) -> ValidationFailed:
    kept = tuple(dict.fromkeys(faults))[: schema_faults.MAX_FAULTS]
    return ValidationFailed("The task does not follow the rules of PiAPI; see `errors`", faults=kept)


def _without_webhook(config: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The caller's own webhook is replaced by the service's, with a warning in the task."""
    webhook = config.get("webhook_config")
    if not webhook:
        return config, []
    own = isinstance(webhook, dict) and any(webhook.values())
    warnings = [not_called("config.webhook_config")] if own else []
    return {**config, "webhook_config": {"endpoint": "", "secret": ""}}, warnings


def _says_nothing(input: dict[str, Any]) -> list[Fault]:
    """Messages without any text or picture."""
    messages = input.get("messages")
    if not isinstance(messages, list) or not messages or any(_says_something(message) for message in messages):
        return []
    return [Fault("/input/messages", "must hold at least one message that is not empty")]


def _says_something(message: Any) -> bool:
    if not isinstance(message, dict):
        return not isinstance(message, str) or bool(message.strip())
    content = message.get("content")
    if isinstance(content, str):
        return bool(content.strip()) or bool(message.get("tool_calls") or message.get("function_call"))
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    return len(texts) < len(parts) or any(isinstance(text, str) and text.strip() for text in texts)


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
        # Among the models of that kind: those that take the task type, else those that answer in the same way.
        same_kind = [name for name, entry in models.items() if task_type in entry["task_types"]] or [
            name for name, entry in models.items() if entry.get("streams", False) == (task_type in STREAMED)
        ]
        return [known.unknown("The model", model, same_kind)]
    if task_type not in models[model]["task_types"]:
        return [known.unknown(f"The task type of {model},", task_type, models[model]["task_types"])]
    return []


def _unknown_names(input: dict[str, Any]) -> list[str]:
    found: dict[str, None] = {}
    for settings, field, what in _LISTS:
        listed = known.names(PROVIDER, field)
        entries = input.get(settings)
        for entry in entries if isinstance(entries, list) else []:
            name = entry.get(field) if isinstance(entry, dict) else None
            if isinstance(name, str) and name not in listed and len(found) < MAX_WARNINGS:
                found.setdefault(known.unknown(f"The {what}", name, listed))
    return list(found)


def _rounds(model: str, input: dict[str, Any]) -> list[str]:
    messages = input.get("messages")
    if model != "gpt-4o-image" or not isinstance(messages, list):
        return []
    users = [m for m in messages if isinstance(m, dict) and m.get("role") == "user"]
    if len(users) < 2:
        return []
    return ["gpt-4o-image does not have multiple rounds of conversation; the earlier ones may be ignored"]
