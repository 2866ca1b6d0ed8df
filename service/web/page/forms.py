"""Forms as browsers send them, read with a size limit."""

from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

from service.core.errors import CallbridgeError, InvalidRequest, UnsupportedMediaType
from service.web.requests import Bodies, read_body

MOST_FIELDS = 1000


class Form(Mapping[str, str]):
    """Fields by name; the mapping gives the first of several with the same name, `all` gives each."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs
        self._first = dict(reversed(pairs))

    def __getitem__(self, name: str) -> str:
        return self._first[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)

    def all(self, name: str) -> list[str]:
        return [value for field, value in self._pairs if field == name]

    def text(self, name: str) -> str:
        """Without blanks around it; empty when the field is absent."""
        return self._first.get(name, "").strip()


def alert_of(error: CallbridgeError | None) -> str | None:
    """For a form that shows each error beside its field; `detail` is written for programs."""
    if error is None:
        return None
    return "Nothing was submitted: correct the marked fields." if error.faults else error.detail


def query_form(request: Request) -> Form:
    return Form(_checked(request.query_params.multi_items()))


async def read_form(request: Request, bodies: Bodies, caller: str = "") -> Form:
    """Raises 400, 413, 415, 503. Visitors who have not signed in share the budget's part of one caller."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    with bodies.budget.reserve(caller) as reservation:
        body = await read_body(request.receive, request.headers.get("content-length"), bodies.limit, reservation)
    if body and kind != "application/x-www-form-urlencoded":
        raise UnsupportedMediaType("Send the form as application/x-www-form-urlencoded.")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise InvalidRequest("The form cannot be read.") from None
    return Form(_checked(pairs))


def _checked(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    if any("\x00" in name + value for name, value in pairs):
        raise InvalidRequest("The form holds a NUL character.")
    # Browsers send line ends of a text area as CRLF.
    return [(name, value.replace("\r\n", "\n")) for name, value in pairs]
