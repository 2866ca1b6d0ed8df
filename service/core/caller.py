"""Who sends a request: an API key, whose name owns what it creates."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ApiKey:
    name: str
    key: str = field(repr=False)
    admin: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    admin: bool = False

    @property
    def owner(self) -> str | None:
        """The owner to filter by in the store; None for everything."""
        return None if self.admin else self.name

    def may_see(self, owner: str) -> bool:
        return self.admin or self.name == owner
