"""Rules that JSON Schema cannot say: a schema names them in `x-rules`, and what only warns in `x-warnings`."""

from typing import Any

from service.core.errors import Fault

MAX_PIXELS = 1_048_576
# The growth depends on the size of the picture, which is not known here. Pictures under 512 pixels fail at the provider
# anyway, so what is too much for 512 is too much for every picture.
SMALLEST_SIDE = 512


def pixels(input: dict[str, Any]) -> list[Fault]:
    return _pixels(input, default_height=1)


def kontext_pixels(input: dict[str, Any]) -> list[Fault]:
    return _pixels(input, default_height=1024)


def _pixels(input: dict[str, Any], default_height: int) -> list[Fault]:
    width, height = input.get("width", 1), input.get("height", default_height)
    if not _sizes(width, height) or width * height <= MAX_PIXELS:
        return []
    sentence = f"width * height is {int(width * height)}; it may be at most {MAX_PIXELS}"
    return [Fault(f"/{name}", sentence) for name in ("width", "height") if name in input]


def outpaint_growth(input: dict[str, Any]) -> list[Fault]:
    """The area that is added must stay below 1024 * 1024, whatever the picture."""
    across = down = 0
    settings = input.get("custom_settings")
    for setting in settings if isinstance(settings, list) else []:
        sides = [setting.get(f"outpaint_{side}", 0) for side in ("left", "right", "top", "bottom")]
        if not _sizes(*sides):
            return []
        across += sides[0] + sides[1]
        down += sides[2] + sides[3]
    growth = int(SMALLEST_SIDE + across) * int(SMALLEST_SIDE + down) - SMALLEST_SIDE**2
    if growth < MAX_PIXELS:
        return []
    sentence = f"the pixels added in all must be fewer than {MAX_PIXELS} (1024 * 1024); here they are at least {growth}"
    return [Fault("/custom_settings", sentence)]


def no_size(input: dict[str, Any]) -> list[Fault]:
    """PiAPI's page wants no size here. With LoRA or ControlNet clients in use always send one, and it is taken."""
    if _has_lora(input):
        return []
    sentence = "is for task types txt2img and kontext only: here the size is that of the picture, or the model's own"
    return [Fault(f"/{name}", sentence) for name in ("width", "height") if input.get(name) is not None]


def size_beside_lora(input: dict[str, Any]) -> list[str]:
    sides = [name for name in ("width", "height") if input.get(name) is not None]
    if not sides or not _has_lora(input):
        return []
    return [
        f"PiAPI documents no {' and '.join(sides)} beside LoRA and ControlNet: the size may be ignored; sent as asked"
    ]


def _has_lora(input: dict[str, Any]) -> bool:
    return bool(input.get("lora_settings") or input.get("control_net_settings"))


def _sizes(*values: Any) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


RULES = {
    "pixels": pixels,
    "kontext_pixels": kontext_pixels,
    "outpaint_growth": outpaint_growth,
    "no_size": no_size,
}
WARNINGS = {"size_beside_lora": size_beside_lora}
