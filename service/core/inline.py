"""Files that a provider sends inline, as base64.

They travel with the update, which contains placeholders; a flow stores them and inserts their addresses.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from service.core.result import Output

PREFIX = "inline:"
_PLACEHOLDER = re.compile(r"inline:[0-9a-f]{64}\.[a-z0-9]{1,5}")


class InlineFile(Struct, frozen=True):
    """`extension` stands for the type, as recognised from the first bytes: png, mp4, …"""

    data: bytes
    extension: str
    placeholder: str


def inline_file(data: bytes, extension: str) -> InlineFile:
    return InlineFile(data, extension, f"{PREFIX}{hashlib.sha256(data).hexdigest()}.{extension}")


def unique(files: list[InlineFile]) -> tuple[InlineFile, ...]:
    return tuple({file.placeholder: file for file in files}.values())


def is_placeholder(text: str) -> bool:
    return text.startswith(PREFIX) and _PLACEHOLDER.fullmatch(text) is not None


def with_addresses(output: Output, addresses: Mapping[str, str]) -> Output:
    """The output with each placeholder replaced by its address, inside longer texts too."""

    def put(text: str) -> str:
        if PREFIX not in text:
            return text
        return _PLACEHOLDER.sub(lambda match: addresses.get(match.group(), match.group()), text)

    def walk(node: Any) -> Any:
        if isinstance(node, str):
            return put(node)
        if isinstance(node, dict):
            return {name: walk(value) for name, value in node.items()}
        return [walk(item) for item in node] if isinstance(node, list) else node

    files = tuple([replace(file, url=put(file.url)) for file in output.files])
    return Output(files, put(output.text) if output.text else output.text, walk(output.raw))
