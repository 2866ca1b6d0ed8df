"""One attack: what is done to a fresh service, and what an innocent caller and the memory have seen of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from service.tools.drill.siege.innocent import Seen, innocent
from service.tools.drill.siege.target import Target, started

MAX_MB = 256
MAX_WAIT = 1.0


@dataclass(frozen=True, slots=True)
class Scene:
    """`prepare` comes before the innocent caller begins. `files`: the limit of open files."""

    name: str
    attack: Callable[[Target], Awaitable[None]]
    prepare: Callable[[Target], Awaitable[None]] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    files: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    scene: Scene
    seen: Seen
    peak_mb: float

    def passed(self, max_wait: float = MAX_WAIT) -> bool:
        return not self.seen.refused and self.seen.worst < max_wait and self.peak_mb < MAX_MB


async def play(scene: Scene, folder: Path) -> Result:
    async with started(folder, scene.settings, scene.files) as target:
        if scene.prepare is not None:
            await scene.prepare(target)
        async with innocent(target) as seen:
            await scene.attack(target)
        return Result(scene, seen, target.peak_mb())
