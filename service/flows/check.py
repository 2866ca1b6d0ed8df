"""Validate a submitted task, and report all of its faults at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.core.errors import Fault, ProviderNotConfigured, ValidationFailed
from service.ports.outlets import Outlet
from service.ports.providers import Prepared, Provider
from service.wire import schema_faults, validation


@dataclass(frozen=True, slots=True)
class Checked:
    provider: Provider
    prepared: Prepared


class TaskChecker:
    def __init__(self, providers: Mapping[str, Provider], outlet: Outlet) -> None:
        self.providers = providers
        self.outlet = outlet

    def check(self, body: Any) -> Checked:
        """Raises ValidationFailed with all faults of form, addresses and input, or ProviderNotConfigured."""
        faults = validation.faults("api/task.submit", body)
        if isinstance(body, dict) and isinstance(url := body.get("callback_url"), str):
            faults += target_faults(self.outlet, url, "/callback_url")
        if faults and not _has_input(body):
            raise ValidationFailed("The request body is invalid; see errors.", faults=tuple(faults))
        provider = self.providers.get(body["provider"])
        if provider is None and not faults:
            raise not_configured(body["provider"])
        prepared: Prepared | None = None
        config = body.get("config") or {}
        if provider is not None:
            try:
                prepared = provider.prepare(body["task_type"], body["model"], body["input"], config)
            except ValidationFailed as error:
                if not faults:
                    raise
                faults += error.faults
        if faults or provider is None or prepared is None:
            kept = tuple(dict.fromkeys(faults))[: schema_faults.MAX_FAULTS]
            raise ValidationFailed("The request body is invalid; see errors.", faults=kept)
        return Checked(provider, prepared)


def _has_input(body: Any) -> bool:
    """Whether enough of the form is valid for the provider's own check."""
    return (
        isinstance(body, dict)
        and all(isinstance(body.get(name), str) for name in ("provider", "model", "task_type"))
        and isinstance(body.get("input"), dict)
        and isinstance(body.get("config") or {}, dict)
    )


def not_configured(provider: str) -> ProviderNotConfigured:
    return ProviderNotConfigured(f"This installation has no key for {provider}; set {provider.upper()}_API_KEY.")


def target_faults(outlet: Outlet, url: str, pointer: str) -> list[Fault]:
    """Why deliveries may not go to this address."""
    try:
        outlet.check(url)
    except ValueError as refused:
        return [Fault(pointer, str(refused))]
    return []
