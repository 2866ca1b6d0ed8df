"""Checks a task against ModelsLab's documents."""

from typing import Any

from service.core.errors import Fault, ValidationFailed
from service.ports.providers import Prepared
from service.providers import known
from service.providers.prepare import blank_prompt, is_key, not_called, without_nulls
from service.wire import schema_faults, validation

PROVIDER = "modelslab"
ENTERPRISE = "flux"
V6 = "v6"
KEY = "key"
# Always set by the service, whatever the caller wrote.
HOOKS = ("webhook", "track_id")
# Sizes and counts may be strings of digits; their limits are those of numbers.
NUMBERS = ("width", "height", "samples", "strength", "seed", "num_inference_steps", "guidance_scale", "clip_skip")


def prepare(task_type: str, model: str, input: dict[str, Any], config: dict[str, Any]) -> Prepared:
    """Raises ValidationFailed with every fault."""
    schema = known.schema_of(PROVIDER, family(model), task_type)
    if schema is None:
        takes = " or ".join(known.models(PROVIDER)[family(model)]["task_types"])
        raise _invalid([Fault("/task_type", f"must be {takes}")])
    input = without_nulls(schema, {name: value for name, value in input.items() if name == KEY or not is_key(name)})
    faults = validation.faults(schema, _numbers(input), at="/input")
    faults += _model_id_faults(model, input)
    faults += [] if any(fault.pointer == "/input/prompt" for fault in faults) else blank_prompt(input, required=True)
    if faults:
        raise _invalid(faults)
    warnings = ["ModelsLab knows no config: it was not sent"] if config else []
    warnings += [not_called(f"input.{name}") for name in HOOKS if input.get(name)]
    emptied = {name: "" if name in (KEY, *HOOKS) and value else value for name, value in input.items()}
    return Prepared(emptied, config, tuple(warnings))


def family(model: str) -> str:
    """`flux` is the Enterprise server; `v6` and every other name is the v6 API, where the name is `model_id`."""
    return ENTERPRISE if model == ENTERPRISE else V6


def _invalid(faults: list[Fault]) -> ValidationFailed:
    kept = tuple(dict.fromkeys(faults))[: schema_faults.MAX_FAULTS]
    return ValidationFailed("The task does not follow the rules of ModelsLab; see `errors`", faults=kept)


def _model_id_faults(model: str, input: dict[str, Any]) -> list[Fault]:
    given = input.get("model_id")
    if family(model) == ENTERPRISE:
        return []
    if model == V6:
        return [] if given else [Fault("/input/model_id", "is required with model v6; or give the id as `model`")]
    return [] if given in (None, "", model) else [Fault("/input/model_id", "must be empty or the same as `model`")]


def _numbers(input: dict[str, Any]) -> dict[str, Any]:
    """The input with its strings of digits as numbers, to be measured; it is sent as it came."""
    return {name: _number(value) if name in NUMBERS else value for name, value in input.items()}


def _number(value: Any) -> Any:
    if not isinstance(value, str) or not value.isascii() or len(value) > 20:
        return value
    if value.isdigit():
        return int(value)
    whole, _, rest = value.partition(".")
    return float(value) if rest.isdigit() and (whole.isdigit() or not whole) else value
