"""Reading requests: bounded while reading, and every fault of the sender a clear 4xx."""

import asyncio
from collections.abc import AsyncIterator, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

from service.core.errors import (
    Fault,
    InvalidRequest,
    PayloadTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
    ValidationFailed,
    bad_query,
)
from service.web.auth import caller_of
from service.web.budget import Budget, Reservation
from service.wire import schema_faults, validation

# A body must be there in this time, however slowly its pieces come.
BODY_SECONDS = 30.0
# Larger bodies take a part of the budget.
SMALL_BODY = 8 * 1024
DEEPEST = 64
# Of all levels together: a megabyte of empty lists would be 30 MB in memory, and seconds of checks.
MAX_VALUES = 20_000
LARGEST_PAGE = 200
# Clients that reconnect add it to the address as it was: the last one counts.
RESUME = "lastEventId"
BAD_BODY = "The request body is invalid; see errors."
T = TypeVar("T")


class ClientGone(Exception):
    """The client disconnected before the response was sent."""


@dataclass(frozen=True, slots=True)
class Bodies:
    """`limit` is that of one body; those that are not small share the budget."""

    limit: int
    budget: Budget


async def read_body(receive: Receive, declared: str | bytes | None, limit: int, reservation: Reservation) -> bytes:
    """Raises PayloadTooLarge (before reading, when the length is declared), ClientGone, Unavailable.

    Who sends too slowly is disconnected by the server's protocol, which costs nothing for all the others.
    """
    expected = int(declared[:19]) if declared is not None and declared.isdigit() else 0
    if expected > limit:
        raise _too_large(limit)
    if expected > SMALL_BODY:
        await reservation.grow(expected)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        if size > SMALL_BODY and size > reservation.size:
            # Its length is not known: in steps, so that most take little.
            await reservation.grow(min(limit, 4 * size))
        pieces.append(piece)
        if not message.get("more_body"):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body may have at most {limit} bytes.")


@asynccontextmanager
async def json_body(request: Request, bodies: Bodies) -> AsyncIterator[Any]:
    """The body as JSON; its part of the budget is held in the block. Raises 400, 408, 413, 415, 422, 503."""
    kind = request.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise UnsupportedMediaType("Send the body as application/json.")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("Send the body uncompressed, without Content-Encoding.")
    with bodies.budget.reserve(caller_of(request).name) as reservation:
        yield parse(await _in_time(request, bodies.limit, reservation))


async def _in_time(request: Request, limit: int, reservation: Reservation) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await read_body(request.receive, request.headers.get("content-length"), limit, reservation)
    except TimeoutError:
        raise RequestTimeout(f"The body was not complete after {BODY_SECONDS:g} seconds.") from None


async def read_document(request: Request, bodies: Bodies) -> Any:
    """The body as JSON, for requests that are done with it at once."""
    async with json_body(request, bodies) as document:
        return document


async def read_json(request: Request, bodies: Bodies, schema: str) -> dict[str, Any]:
    """The body as an object that agrees with `schema`."""
    document = await read_document(request, bodies)
    found = validation.faults(schema, document)
    if found:
        raise ValidationFailed(BAD_BODY, faults=tuple(found))
    assert isinstance(document, dict)
    return document


def parse(body: bytes) -> Any:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error.msg}.") from None
    if len(body) > MAX_VALUES and _has_too_many_values(body, document):
        raise ValidationFailed(BAD_BODY, faults=(Fault("", f"holds more than {MAX_VALUES} values"),))
    found = _unusable_values(document, "", 0)
    if found:
        raise ValidationFailed(BAD_BODY, faults=tuple(found[: schema_faults.MAX_FAULTS]))
    return document


def _has_too_many_values(body: bytes, document: Any) -> bool:
    """Each value begins after one of these signs, so most bodies need no look at the document."""
    if sum(body.count(sign) for sign in (b",", b"[", b"{")) <= MAX_VALUES:
        return False
    count, level = 0, [document]
    while level and count <= MAX_VALUES:
        value = level.pop()
        if isinstance(value, dict | list):
            count += len(value)
            level.extend(value.values() if isinstance(value, dict) else value)
    return count > MAX_VALUES


def _unusable_values(value: Any, pointer: str, depth: int) -> list[Fault]:
    """What JSON allows and the way through the store and the providers does not keep."""
    if isinstance(value, str):
        return [Fault(pointer, "holds a NUL character")] if "\x00" in value else []
    if isinstance(value, float):
        # Whole numbers beyond 64 bits arrive as floats: they would leave changed.
        return [Fault(pointer, "is a number too large to keep exactly")] if abs(value) >= 2**63 else []
    if not isinstance(value, dict | list):
        return []
    if depth >= DEEPEST:
        return [Fault(pointer[:200], f"is nested deeper than {DEEPEST} levels")]
    found: list[Fault] = []
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(key, str) and "\x00" in key:
            found.append(Fault(pointer, "has a field name with a NUL character"))
        elif isinstance(item, str | float | dict | list):
            found += _unusable_values(item, pointer + schema_faults.pointer(key), depth + 1)
    return found


# --- queries ---


def check_query(request: Request, names: Collection[str], prefixes: tuple[str, ...]) -> None:
    """Raises ValidationFailed for a parameter that is not among `names` and begins with no prefix, or comes twice."""
    given = request.query_params
    for name in given:
        if name not in names and not (prefixes and name.startswith(prefixes)):
            known = ", ".join(sorted(names)) or "none"
            raise bad_query(name[:60], f"is not a parameter of this operation (known: {known})")
    if len(given.multi_items()) == len(given):
        return
    for name in given:
        if len(given.getlist(name)) > 1 and name != RESUME:
            hint = "; separate the types by commas" if name == "types" else ""
            raise bad_query(name[:60], f"is given more than once{hint}")


def whole_number(request: Request, name: str, default: int | None, low: int, high: int) -> int | None:
    raw = request.query_params.get(name)
    if raw is None:
        return default
    if not (raw.isascii() and raw.isdigit()) or len(raw) > 19 or not low <= int(raw) <= high:
        raise bad_query(name, f"must be a whole number from {low} to {high}")
    return int(raw)


def limit_of(request: Request, default: int = 50) -> int:
    limit = whole_number(request, "limit", default, 1, LARGEST_PAGE)
    assert limit is not None
    return limit


def one_of(request: Request, name: str, allowed: tuple[str, ...]) -> str | None:
    raw = request.query_params.get(name)
    if raw is not None and raw not in allowed:
        raise bad_query(name, f"must be one of {', '.join(allowed)}")
    return raw


def plain(request: Request, name: str) -> str | None:
    raw = request.query_params.get(name)
    if raw is not None and "\x00" in name + raw:
        raise bad_query(name, "holds a NUL character")
    return raw


def types_of(request: Request, allowed: tuple[str, ...]) -> tuple[str, ...] | None:
    raw = request.query_params.get("types")
    if raw is None:
        return None
    found = tuple(dict.fromkeys(part.strip() for part in raw.split(",") if part.strip()))
    if not found or any(name not in allowed for name in found):
        raise bad_query("types", f"must be a comma-separated list of {', '.join(allowed)}")
    return found


async def until_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is canceled when the client leaves (ClientGone). The body must have been read."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request.receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def on_client_gone(request: Request, error: Exception) -> Response:
    """Nobody reads this; it only ends the request without a line in the error log."""
    return Response(status_code=400)
