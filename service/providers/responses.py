"""Reading the HTTP responses of any provider: the error text, what a status means, what to do about it."""

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from service.core.result import Failure
from service.ports.providers import Busy, ProviderResponse, Rejected, SubmitOutcome, Unclear
from service.providers import documents, reasons, strings
from service.providers.redact import Cleaner

MAX_WAIT = 3_600.0
MAX_ID = 200
_ADVICE = {
    401: "{name} refused the API key (401); check {key}",
    402: "The {name} account has no credits left (402); top it up, then resubmit the task",
    403: "The plan of the {name} account does not allow this (403); check the plan and the model",
    404: "{name} does not know this address (404); check {base}, the model and the task type",
}
# Waiting does not fill an empty account, whatever status reports it.
_BROKE = (
    *("insufficient_quota", "exceeded your current quota", "insufficient quota", "quota is not enough"),
    *("insufficient credit", "insufficient balance", "insufficient fund", "insufficient point", "not enough credit"),
    *("not enough balance", "not enough point", "out of credit", "no credit", "no balance", "credits exhausted"),
    *("credit exhausted", "balance is not enough", "balance not enough", "balance is insufficient", "balance too low"),
    *("balance is too low", "credits are insufficient", "credits are not enough", "credit limit reached"),
    *("billing hard limit", "payment required", "top up", "recharge", "insufficient_balance", "insufficient_credits"),
    *(
        "insufficient_funds",
        "arrearage",
        "overdue payment",
        "no available credits",
        "lack of credit",
        "run out of credit",
    ),
    *("ran out of credit", "account balance", "wallet balance", "freeze point", "zero balance", "no remaining credit"),
)
_SLOW_DOWN = ("per minute", "per second", "per hour", "too many requests", "rate limit", "concurren", "queued requests")


class ProviderAccount(Struct, frozen=True):
    """How messages call a provider and the settings of its account."""

    name: str
    key: str
    base: str


def provider_id(value: Any) -> str | None:
    """Ids come as number, string, empty or null."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return str(value).replace("\x00", "").strip()[:MAX_ID] or None


def is_page(response: ProviderResponse) -> bool:
    """A web page where a document was expected: what firewalls, proxies and login walls answer with."""
    return reasons.is_page(response.body[:2_000].decode(errors="replace"))


def message_of(response: ProviderResponse, cleaner: Cleaner) -> str | None:
    """What the response says about its error, cleaned; the beginning of the text when it is no JSON."""
    document = documents.read(response.body)
    if document is not None:
        found = reasons.reason(document.value, *_inner_errors(document.value))
    elif is_page(response):
        found = reasons.page_title(response.body[:20_000].decode(errors="replace"))
    else:
        found = strings.plain(response.body[:400].decode(errors="replace")) or None
    return cleaner.text(found) if found else None


def _inner_errors(document: dict[str, Any]) -> list[Any]:
    data = document.get("data")
    if not isinstance(data, dict):
        return []
    return [data.get("error"), data.get("detail"), reasons.last_lines(data.get("logs"))]


def refused(
    account: ProviderAccount, response: ProviderResponse, message: str | None, status: int | None = None
) -> SubmitOutcome:
    """What a response without a task means for the task; `status` is what the body says in place of the HTTP status."""
    meant = response.status if status is None else status
    if 300 <= response.status < 400:
        return _redirected(account, response)
    if is_broke(message) or is_broke(_kind_of(response)):
        meant = 402
    elif meant == 429:
        return busy(response)
    if not 400 <= meant < 500:
        return unclear(account, response, message)
    code = meant if response.status < 400 else response.status
    if is_page(response):
        sentence = (
            f"{account.name} was not reached: a firewall or a proxy answered with a web page ({response.status});"
            f" check {account.base} and the address that this service calls from"
        )
        return Rejected(Failure("provider_rejected", sentence, str(code), message))
    return Rejected(rejection(account, meant, message, code))


def _kind_of(response: ProviderResponse) -> str:
    """The provider's own words for the kind of its error, such as `insufficient_quota`."""
    document = documents.read(response.body)
    error = document.value.get("error") if document else None
    nodes = [node for node in (document.value if document else None, error) if isinstance(node, dict)]
    return " ".join(str(node[name])[:100] for node in nodes for name in ("type", "code") if name in node)


def rejection(account: ProviderAccount, status: int, message: str | None, code: int | None) -> Failure:
    """`provider_rejected` with what to do about it, going by `status`; `code` is what the provider itself said."""
    advice = _ADVICE.get(status, "{name} did not take the task").format(
        name=account.name, key=account.key, base=account.base
    )
    sentence = f"{advice}: {message}" if message else advice
    return Failure("provider_rejected", sentence, None if code is None else str(code), message)


def _redirected(account: ProviderAccount, response: ProviderResponse) -> Rejected:
    location = next((value for name, value in response.headers.items() if name.lower() == "location"), "")
    try:
        host = urlsplit(location).hostname
    except ValueError:
        host = None
    where = f" to {strings.plain(host)}" if host else ""
    sentence = (
        f"{account.name} answered with a redirect ({response.status}){where}; set {account.base} to the new address"
    )
    return Rejected(Failure("provider_rejected", sentence, str(response.status)))


def is_broke(message: str | None) -> bool:
    """Whether the words mean an empty account, and not too many requests."""
    text = (message or "").lower()
    if not any(words in text for words in _BROKE):
        return False
    return "insufficient" in text or "exceeded your current quota" in text or not any(w in text for w in _SLOW_DOWN)


def busy(response: ProviderResponse) -> Busy:
    """How long to wait: `Retry-After` in seconds or as a date, or `retry_after` of the body."""
    header = next((value for name, value in response.headers.items() if name.lower() == "retry-after"), None)
    wait = _seconds(header, response.received_at)
    if wait is None and (document := documents.read(response.body)) is not None:
        wait = _seconds(document.value.get("retry_after"), response.received_at)
    return Busy(None if wait is None else min(max(wait, 0.0), MAX_WAIT))


def unclear(account: ProviderAccount, response: ProviderResponse, message: str | None = None) -> Unclear:
    what = "a web page" if is_page(response) else f"{response.status}"
    said = f' and said "{message}"' if message else ""
    return Unclear(f"{account.name} answered {what}{said}: it may have the task or not")


def _seconds(value: Any, now: int) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        wait = float(value)
    except ValueError:
        return _until(str(value), now)
    return wait if wait == wait else None


def _until(date: str, now: int) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() - now / 1000
