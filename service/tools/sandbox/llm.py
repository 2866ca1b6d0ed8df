"""PiAPI's LLM routes: chat completions (gpt-4o-image is a stream only) and images in OpenAI's shape."""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from typing import Any, TypeGuard

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .behaviour import Behaviour, UnknownBehaviour
from .clock import now_ns
from .context import SandboxContext, json_object, key_works, prompt_of
from .ledger import Entry
from .llm_stream import chat_frames, image_frames, stream_pieces
from .llm_texts import chat_text, image_chat_text, usage_of
from .pictures import content
from .responses import ProviderJson, ProviderStream, fault_response

IMAGE_CHAT = "gpt-4o-image"


def error_body(status: int, message: str) -> dict[str, Any]:
    # The documents show an empty object for a 500, and nothing of what went wrong.
    if status >= 500:
        return {}
    return {"error": {"message": message, "type": "invalid_request_error", "code": str(status)}}


class Llm:
    def __init__(self, context: SandboxContext) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/images/generations", self.images, methods=["POST"]),
        ]

    async def chat(self, request: Request) -> Response:
        return await self._submit(request, "chat-completions")

    async def images(self, request: Request) -> Response:
        return await self._submit(request, "image-generations")

    async def _submit(self, request: Request, route: str) -> Response:
        raw = await request.body()
        self._context.ledger.record_request(request, raw)
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key_works(key):
            return ProviderJson(error_body(401, "Incorrect API key provided"), 401)
        body = json_object(raw) or {}
        prompt = last_user_text(body) if route == "chat-completions" else prompt_of(body.get("prompt"))
        if problem := _problem(route, body, prompt):
            return ProviderJson(error_body(400, problem), 400)
        try:
            behaviour = self._context.behaviour(request, prompt)
        except UnknownBehaviour as error:
            return ProviderJson(error_body(400, str(error)), 400)
        if not behaviour.accepted:
            await asyncio.sleep(behaviour.answer_delay)
            return fault_response(behaviour.response_fault, error_body, behaviour.retry_after)

        if route == "image-generations" and behaviour.fail is not None and not body.get("stream"):
            return ProviderJson(error_body(400, behaviour.fail), 400)

        entry = self._context.ledger.add(f"{route}-{uuid.uuid4().hex}", "piapi", body["model"], route, prompt)
        self._context.ledger.set_status(entry, "processing")
        await asyncio.sleep(behaviour.answer_delay)
        if behaviour.response_fault:
            self._context.ledger.set_status(entry, "failed")
            return fault_response(behaviour.response_fault, error_body)
        if route == "chat-completions":
            return await self._respond_chat(request, body, prompt, behaviour, entry)
        return await self._respond_images(request, body, prompt, behaviour, entry)

    async def _respond_chat(
        self, request: Request, body: dict[str, Any], prompt: str, behaviour: Behaviour, entry: Entry
    ) -> Response:
        if body["model"] == IMAGE_CHAT:
            before, after = image_chat_text(prompt, behaviour, lambda: self._picture(request, prompt, behaviour))
        else:
            before, after = "", chat_text(prompt, behaviour)
        usage = usage_of(prompt, before + after)
        if body.get("stream"):
            return self._stream(chat_frames(body["model"], before, after, usage, behaviour), behaviour, entry)
        await self._work(behaviour, entry)
        choice = {"index": 0, "message": {"role": "assistant", "content": before + after}, "finish_reason": "stop"}
        return ProviderJson({"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion", "created": _seconds(),
                     "model": body["model"], "choices": [choice], "usage": usage})  # fmt: skip

    async def _respond_images(
        self, request: Request, body: dict[str, Any], prompt: str, behaviour: Behaviour, entry: Entry
    ) -> Response:
        if body.get("stream"):
            return self._stream(image_frames(body, prompt, behaviour), behaviour, entry)
        await self._work(behaviour, entry)
        inline = behaviour.output == "base64" or body.get("response_format") == "b64_json"
        count = 0 if behaviour.no_output else int(body.get("n") or 1)
        data = [
            {"b64_json": content("base64", f"{prompt} {n}", behaviour.size).decode()}
            if inline
            else {"url": self._picture(request, prompt, behaviour)}
            for n in range(count)
        ]
        usage = {"total_tokens": 4210, "input_tokens": 50, "output_tokens": 4160}
        return ProviderJson({"created": _seconds(), "data": data, "usage": usage})

    def _stream(self, frames: list[bytes], behaviour: Behaviour, entry: Entry) -> Response:
        async def told() -> AsyncGenerator[bytes]:
            ending = "failed"
            try:
                async for piece in stream_pieces(frames, behaviour, self._context.released):
                    yield piece
                ending = "completed"
            finally:
                self._context.ledger.set_status(entry, ending)

        return ProviderStream(told())

    async def _work(self, behaviour: Behaviour, entry: Entry) -> None:
        await asyncio.sleep(behaviour.delay)
        await self._context.released(behaviour.hold)
        self._context.ledger.set_status(entry, "completed")

    def _picture(self, request: Request, prompt: str, behaviour: Behaviour) -> str:
        name = self._context.gallery.add(prompt, "png", behaviour.size)
        return f"{self._context.base_url(request)}/pictures/{name}"


def last_user_text(body: dict[str, Any]) -> str:
    messages = body.get("messages")
    users = [message for message in messages if message.get("role") == "user"] if _is_objects(messages) else []
    said = users[-1].get("content") if users else None
    if _is_objects(said):
        return "\n".join(part["text"] for part in said if isinstance(part.get("text"), str))
    return said if isinstance(said, str) else ""


def _is_objects(value: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _problem(route: str, body: dict[str, Any], prompt: str) -> str | None:
    if not isinstance(body.get("model"), str):
        return "you must provide a model parameter"
    if route == "chat-completions" and not _is_objects(body.get("messages")):
        return "'messages' is a required property"
    if route == "image-generations" and not prompt:
        return "'prompt' is a required property"
    if body.get("n") is not None and body["n"] not in range(1, 11):
        return "'n' is a number from 1 to 10"
    if body["model"] == IMAGE_CHAT and body.get("stream") is not True:
        return f"{IMAGE_CHAT} can only be used in stream mode: set stream to true"
    return None


def _seconds() -> int:
    return now_ns() // 1_000_000_000
