"""One attack: what is done to a fresh service, and and how a bystander and the memory fared."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from service.tools.drill.siege.bystander import BystanderReport, bystander
from service.tools.drill.siege.target import SiegeTarget, started

MAX_MB = 256
MAX_WAIT = 1.0


@dataclass(frozen=True, slots=True)
class Attack:
    """`prepare` runs before the bystander starts. `files`: the limit of open files."""

    name: str
    run: Callable[[SiegeTarget], Awaitable[None]]
    prepare: Callable[[SiegeTarget], Awaitable[None]] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    files: int | None = None


@dataclass(frozen=True, slots=True)
class AttackResult:
    attack: Attack
    seen: BystanderReport
    peak_mb: float

    def passed(self, max_wait: float = MAX_WAIT) -> bool:
        return not self.seen.refused and self.seen.worst < max_wait and self.peak_mb < MAX_MB


async def play(attack: Attack, folder: Path) -> AttackResult:
    async with started(folder, attack.settings, attack.files) as target:
        if attack.prepare is not None:
            await attack.prepare(target)
        async with bystander(target) as seen:
            await attack.run(target)
        return AttackResult(attack, seen, target.peak_mb())
