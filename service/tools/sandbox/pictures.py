"""Results that can be fetched: a small PNG, a second of silence, and the headers of an MP4 and a GLB."""

import base64
import hashlib
import random
import struct
import uuid
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache

FILES_KEPT = 50_000
SIDE = 64
TYPES = {"png": "image/png", "mp4": "video/mp4", "wav": "audio/wav", "glb": "model/gltf-binary", "base64": "text/plain"}


@dataclass(slots=True)
class Item:
    seed: str
    kilobytes: int
    ready: bool
    # What the first read gets instead; see behaviour.py.
    fault: str = ""


class Gallery:
    def __init__(self) -> None:
        self._items: OrderedDict[str, Item] = OrderedDict()

    def clear(self) -> None:
        self._items.clear()

    def add(self, seed: str, kind: str = "png", kilobytes: int = 0, ready: bool = True, fault: str = "") -> str:
        """Returns the file's name; one that is not ready is a promise, and a 404 until `finish`."""
        name = f"{uuid.uuid4()}.{kind}"
        self._items[name] = Item(seed, kilobytes, ready, fault)
        if len(self._items) > FILES_KEPT:
            self._items.popitem(last=False)
        return name

    def finish(self, name: str) -> None:
        if name in self._items:
            self._items[name].ready = True

    def fault(self, name: str) -> str:
        """Once; empty from then on."""
        item = self._items.get(name)
        if item is None:
            return ""
        fault, item.fault = item.fault, ""
        return fault

    def read(self, name: str) -> tuple[str, bytes] | None:
        item = self._items.get(name)
        if item is None or not item.ready:
            return None
        kind = name.rpartition(".")[2]
        return TYPES[kind], content(kind, item.seed, item.kilobytes)


@lru_cache(maxsize=64)
def content(kind: str, seed: str, kilobytes: int = 0) -> bytes:
    match kind:
        case "mp4":
            return _box(b"ftyp", b"isom\0\0\2\0isomiso2mp41") + _box(b"free", seed.encode()[:64])
        case "wav":
            return _silence()
        case "glb":
            scene = b'{"asset":{"version":"2.0"}}'.ljust(28)
            return struct.pack("<4sIII4s", b"glTF", 2, 20 + len(scene), len(scene), b"JSON") + scene
        case "base64":
            return base64.b64encode(png(seed, kilobytes))
        case _:
            return png(seed, kilobytes)


def png(seed: str, kilobytes: int = 0) -> bytes:
    """A picture whose colour comes from the seed, made at least `kilobytes` long by a chunk that viewers skip."""
    digest = hashlib.sha256(seed.encode()).digest()
    rows = b"".join(
        b"\0" + b"".join(bytes((digest[0], (digest[1] + 2 * x) % 256, (digest[2] + 2 * y) % 256)) for x in range(SIDE))
        for y in range(SIDE)
    )
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0))
    padding = _chunk(b"paDd", random.Random(digest).randbytes(kilobytes * 1024)) if kilobytes else b""
    return b"\x89PNG\r\n\x1a\n" + head + padding + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _box(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", 8 + len(data)) + name + data


def _silence(rate: int = 8000) -> bytes:
    data = bytes([128]) * rate
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate, 1, 8)
    head = struct.pack("<4sI4s", b"RIFF", 36 + len(data), b"WAVE")
    return head + form + struct.pack("<4sI", b"data", len(data)) + data
