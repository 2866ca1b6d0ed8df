"""Who is asking: the name of an API key, which owns what it creates."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    admin: bool = False

    @property
    def owner(self) -> str | None:
        """The owner to filter by in the store; None sees everything."""
        return None if self.admin else self.name

    def may_see(self, owner: str) -> bool:
        return self.admin or self.name == owner
