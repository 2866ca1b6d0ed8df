"""What PiAPI refuses with a 400, as far as its documents say: Flux in full, other models hardly checked."""

from typing import Any

FLUX_MODELS = {"Qubico/flux1-schnell", "Qubico/flux1-dev", "Qubico/flux1-dev-advanced"}
FLUX_TASKS = {
    "txt2img", "img2img", "txt2img-lora", "img2img-lora", "controlnet-lora", "fill-inpaint", "fill-outpaint",
    "redux-variation", "kontext",
}  # fmt: skip
FROM_IMAGE = {"img2img", "img2img-lora", "fill-inpaint", "fill-outpaint", "redux-variation", "kontext"}
INTEGERS = {"width", "height", "steps", "seed"}
FLOATS = {"denoise", "guidance_scale", "batch_size"}
MAX_PIXELS = 1_048_576

# The short names of the history's `model` filter that are no part of the model's own name.
FAMILIES = {"midjourney": "mj"}
NAMES = ("music-s", "music-u", "diffrhythm", "hug_video", "image_toolkit", "video_toolkit", "skyreels", "hunyuan",
         "trellis", "mmaudio", "hailuo", "kling", "luma", "flux", "tts", "wan")  # fmt: skip


def refusal(body: dict[str, Any]) -> str | None:
    """The message of the 400, or None when the task is accepted."""
    for name in ("model", "task_type"):
        if not isinstance(body.get(name), str) or not body[name]:
            return f"invalid request: {name} is required"
    given = body.get("input")
    if not isinstance(given, dict):
        return "invalid request: input is required"
    config = body.get("config")
    webhook = config.get("webhook_config") if isinstance(config, dict) else config
    if not isinstance(config, dict | None) or not isinstance(webhook, dict | None):
        return "invalid request: config and webhook_config are objects"
    for name, value in (webhook or {}).items():
        if not isinstance(value, str | None):
            return f"json: cannot unmarshal {_kind(value)} into Go struct field .webhook_config.{name} of type string"
    count = given.get("batch_size")
    if count is not None and (isinstance(count, bool) or not isinstance(count, int | float)):
        return _not_a_number(count, "batch_size", "float64")
    return _flux_refusal(body["task_type"], given) if body["model"] in FLUX_MODELS else None


def family(model: str) -> str:
    name = model.lower().replace("-", "_")
    return FAMILIES.get(model) or next((short for short in NAMES if short.replace("-", "_") in name), name)


def _flux_refusal(task_type: str, given: dict[str, Any]) -> str | None:
    if task_type not in FLUX_TASKS:
        return f"invalid request: unknown task_type {task_type}"
    for name in sorted(INTEGERS | FLOATS):
        value = given.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            return _not_a_number(value, name, "int" if name in INTEGERS else "float64")
    if not isinstance(given.get("prompt"), str) or not given["prompt"]:
        return "invalid request: prompt is required"
    if task_type in FROM_IMAGE and not given.get("image"):
        return "invalid request: image is required"
    if (given.get("width") or 0) * (given.get("height") or 0) > MAX_PIXELS:
        return f"invalid request: width*height cannot exceed {MAX_PIXELS}"
    if not 1 <= (given.get("batch_size") or 1) <= 4:
        return "invalid request: batch_size is 1 to 4"
    return None


def _not_a_number(value: object, name: str, wanted: str) -> str:
    return f"json: cannot unmarshal {_kind(value)} into Go struct field .input.{name} of type {wanted}"


def _kind(value: object) -> str:
    return {str: "string", bool: "bool", list: "array", dict: "object"}.get(type(value), "number")
