"""Attacks on a real process: the quick ones of `python -m service drill --siege`."""

from pathlib import Path

import pytest

from service.tools.drill.siege.attack import Attack, play
from service.tools.drill.siege.command import ATTACKS

QUICK = (
    "trailers without end",
    "one trailer without end",
    "a chunk extension without end",
    "2,000 requests of garbage",
    "bodies of 300,000 to 500,000 wrong items",
)
# The bound of the siege is a second; a machine that runs the whole suite may take longer.
PATIENCE = 10.0


@pytest.mark.parametrize(
    "attack", [attack for attack in ATTACKS if attack.name in QUICK], ids=lambda attack: attack.name
)
async def test_an_attack_affects_nobody_else_and_memory_stays_flat(attack: Attack, tmp_path: Path) -> None:
    result = await play(attack, tmp_path)
    assert result.passed(PATIENCE), result


def test_every_quick_attack_is_part_of_the_siege() -> None:
    assert set(QUICK) < {attack.name for attack in ATTACKS}
