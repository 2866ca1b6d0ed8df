"""PiAPI's LLM routes. They have no callback and no task to fetch: the service holds the response stream itself."""

from typing import Any

import orjson

from service.core.result import Failure
from service.core.task import Task
from service.ports.providers import Accepted, ProviderRequest, ProviderResponse, Rejected, StreamReader, SubmitOutcome
from service.providers import documents, responses
from service.providers.piapi.chat_stream import ChatReader
from service.providers.piapi.image_stream import ImageReader
from service.providers.redact import Cleaner
from service.providers.responses import ProviderAccount

ACCOUNT = ProviderAccount("PiAPI", "PIAPI_API_KEY", "PIAPI_LLM_BASE_URL")
CHAT, IMAGES = "chat-completions", "image-generations"
PATHS = {CHAT: "/v1/chat/completions", IMAGES: "/v1/images/generations"}
# Messages are not nested deeper than this where they hold addresses.
MAX_DEPTH = 12
# Name parts of chat models that return a picture or a video.
_MEDIA_WORDS = ("image", "video", "sora", "veo")


def makes_media(model: str) -> bool:
    return any(word in model.lower() for word in _MEDIA_WORDS)


def is_llm(task: Task) -> bool:
    return task.task_type in PATHS


def request(task: Task, key: str, base: str, llm_base: str) -> ProviderRequest:
    """Completions go to the host without the 120 s limit; everything that is silent for long is streamed."""
    body = {"model": task.model, **task.input}
    if task.task_type == CHAT or (task.model == "gpt-image-1" and body.get("stream") is None):
        body["stream"] = True
    host = base if task.task_type == IMAGES or makes_media(task.model) else llm_base
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return ProviderRequest("POST", host + PATHS[task.task_type], headers, orjson.dumps(body))


def reader(task: Task, cleaner: Cleaner) -> StreamReader:
    if task.task_type == IMAGES:
        return ImageReader(cleaner)
    return ChatReader(cleaner, makes_media(task.model), frozenset(_addresses(task.input)))


def read_submit(response: ProviderResponse, cleaner: Cleaner, stream: StreamReader) -> SubmitOutcome:
    """A response that is not a stream: a refusal, or (status 200) everything at once."""
    if response.status < 300:
        stream.feed(response.body)
        return Accepted(stream.finish(complete=True))
    message = responses.message_of(response, cleaner)
    document = documents.read(response.body)
    if response.status >= 500 and document is not None and document.value.get("error"):
        # The model's own error; a gateway timeout comes as a web page instead.
        sentence = f"The model answered with an error: {message}"
        return Rejected(Failure("provider_failed", sentence, str(response.status), message))
    return responses.refused(ACCOUNT, response, message)


def _addresses(node: Any, depth: int = 0) -> list[str]:
    """Addresses in the prompt: pictures that the user provided."""
    if depth > MAX_DEPTH:
        return []
    if isinstance(node, str):
        return [word for word in node.split() if word.startswith(("http://", "https://"))]
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, list):
        return [address for item in node for address in _addresses(item, depth + 1)]
    return []
