"""Streams of the simulated models: events cut in odd places, with the faults that a request may ask for."""

import asyncio
import itertools
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import orjson

from .behaviour import Behaviour
from .clock import now_ns
from .pictures import content
from .responses import ConnectionCut

CUTS = (1, 7, 3, 17, 2, 11, 5)
SLOWER = 10


def chat_frames(model: str, before: str, after: str, usage: dict[str, Any], behaviour: Behaviour) -> list[bytes]:
    id, created = f"chatcmpl-{uuid.uuid4().hex}", now_ns() // 1_000_000_000
    head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model}

    def frame(delta: dict[str, str], end: str | None = None, **more: Any) -> bytes:
        return _frame({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": end}], **more}, behaviour)

    frames = [frame({"role": "assistant", "content": ""})]
    frames += [frame({"content": piece}) for piece in odd_pieces(before + after)]
    frames.append(frame({}, "stop", usage=usage))
    if "none_done" in behaviour.stream:
        frames.append(_line(b"data:[none]", behaviour))
    elif "no_done" not in behaviour.stream:
        frames.append(_line(b"data: [DONE]", behaviour))
    return frames


def image_frames(body: dict[str, Any], prompt: str, behaviour: Behaviour) -> list[bytes]:
    about = {"size": body.get("size") or "1024x1024", "quality": body.get("quality") or "high", "background": "opaque",
             "output_format": "png", "created_at": now_ns() // 1_000_000_000}  # fmt: skip
    partial = body.get("partial_images")
    frames = []
    for n in range(partial if isinstance(partial, int) else 1):
        picture = content("base64", f"{prompt} partial {n}", behaviour.size).decode()
        data = {"b64_json": picture, "partial_image_index": n, **about}
        frames.append(_event("image_generation.partial_image", data, behaviour))
    if behaviour.fail is not None or "fail_text" in behaviour.stream:
        message = behaviour.fail or "the request was rejected by the safety system"
        frames.append(_event("error", {"error": {"code": "moderation_blocked", "message": message}}, behaviour))
    elif not behaviour.no_output and "no_image" not in behaviour.stream:
        usage = {"total_tokens": 4210, "input_tokens": 50, "output_tokens": 4160}
        picture = content("base64", prompt, behaviour.size).decode()
        frames.append(_event("image_generation.completed", {"b64_json": picture, "usage": usage, **about}, behaviour))
    return frames


def odd_pieces(text: str) -> list[str]:
    sizes = itertools.cycle(CUTS)
    pieces = []
    while text:
        size = next(sizes)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


async def stream_pieces(
    frames: list[bytes], behaviour: Behaviour, released: Callable[[str], Awaitable[None]]
) -> AsyncGenerator[bytes]:
    """The frames over `delay` seconds, each network piece ending in the middle of a frame."""
    half = len(frames) // 2
    slow = "slow" in behaviour.stream
    pause = behaviour.delay / len(frames) * (SLOWER if slow else 1) if frames else 0
    carried = b""
    for n, frame in enumerate(frames):
        if n == half:
            await released(behaviour.hold)
            if "break" in behaviour.stream:
                raise ConnectionCut
            if "stall" in behaviour.stream:
                await asyncio.Event().wait()
        if slow:
            frame = _line(b": keep-alive", behaviour) + frame
        carried += frame
        kept = min(CUTS[n % len(CUTS)], len(carried))
        yield carried[:-kept]
        carried = carried[-kept:]
        await asyncio.sleep(pause)
    yield carried


def _event(name: str, data: dict[str, Any], behaviour: Behaviour) -> bytes:
    end = _end(behaviour)
    return b"event: " + name.encode() + end + _frame({"type": name, **data}, behaviour)


def _frame(data: dict[str, Any], behaviour: Behaviour) -> bytes:
    return _line(b"data: " + orjson.dumps(data), behaviour)


def _line(line: bytes, behaviour: Behaviour) -> bytes:
    return line + 2 * _end(behaviour)


def _end(behaviour: Behaviour) -> bytes:
    return b"\r\n" if "crlf" in behaviour.stream else b"\n"
