"""Errors that users see: a code, a status, and a sentence that says what to do."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of the input: where it is (a JSON pointer, or `?name` of the query) and what is wrong."""

    pointer: str
    detail: str


class CallbridgeError(Exception):
    """Base class; `str(error)` is the sentence for the client."""

    code = "internal_error"
    status = 500
    title = "Internal error"

    def __init__(self, detail: str, *, faults: tuple[Fault, ...] = (), retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = faults
        self.retry_after = retry_after

    def document(self) -> dict[str, Any]:
        """RFC 9457 problem document."""
        body: dict[str, Any] = {
            "type": f"urn:callbridge:error:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.faults:
            body["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in self.faults]
        return body


class InvalidRequest(CallbridgeError):
    code, status, title = "invalid_request", 400, "The request cannot be read"


class Unauthorized(CallbridgeError):
    code, status, title = "unauthorized", 401, "A valid API key is required"


class NotFound(CallbridgeError):
    code, status, title = "not_found", 404, "Not found"


class MethodNotAllowed(CallbridgeError):
    code, status, title = "method_not_allowed", 405, "Method not allowed"


class RequestTimeout(CallbridgeError):
    code, status, title = "request_timeout", 408, "The request took too long"


class Conflict(CallbridgeError):
    code, status, title = "conflict", 409, "Conflict with the current state"


class UnknownCursor(CallbridgeError):
    code, status, title = "unknown_cursor", 409, "Unknown cursor"


class PayloadTooLarge(CallbridgeError):
    code, status, title = "payload_too_large", 413, "Request too large"


class UnsupportedMediaType(CallbridgeError):
    code, status, title = "unsupported_media_type", 415, "Send application/json"


class ValidationFailed(CallbridgeError):
    code, status, title = "validation_failed", 422, "Invalid input"


class IdempotencyMismatch(CallbridgeError):
    code, status, title = "idempotency_mismatch", 422, "This Idempotency-Key was used with a different body"


class ProviderNotConfigured(CallbridgeError):
    code, status, title = "provider_not_configured", 422, "Provider not configured"


class RateLimited(CallbridgeError):
    code, status, title = "rate_limited", 429, "Too many requests"


class Unavailable(CallbridgeError):
    code, status, title = "unavailable", 503, "Temporarily unavailable"


def bad_query(name: str, detail: str) -> ValidationFailed:
    """An invalid query parameter; `detail` continues from its name: "must be …"."""
    return ValidationFailed(f"The query is invalid: {name} {detail}.", faults=(Fault(f"?{name}", detail),))
