"""A short soak of a real process, as `python -m service drill --soak` does it for long."""

from pathlib import Path

import pytest

from service.tools.drill.soak.run import Sample, Soak, SoakResult


async def test_everything_finishes_beside_lost_callbacks_slow_receivers_and_unread_streams(tmp_path: Path) -> None:
    result = await Soak(2, 30, lambda sample: None).run(tmp_path)
    assert result.accepted
    assert (result.refused, result.unfinished) == (0, set())
    assert result.samples[-1].open_tasks == 0


@pytest.mark.parametrize(
    ("late", "complaint"),
    [
        ((100.0, 50, 4.0), None),
        ((131.0, 50, 4.0), "the memory grew"),
        ((300.0, 50, 4.0), "the memory was over 256 MB"),
        ((100.0, 150, 4.0), "the open files grew"),
        ((100.0, 50, 80.0), "the write-ahead log was over 64 MB"),
    ],
)
def test_what_grows_is_complained_about(late: tuple[float, int, float], complaint: str | None) -> None:
    samples = [Sample(0, 100.0, 50, 4.0, 1, 0), Sample(1, *late, 1, 0)]
    found = SoakResult(samples, {"tsk_1"}).complaints()
    assert found == [] if complaint is None else complaint in found


def test_what_never_finished_or_was_refused_is_complained_about() -> None:
    complaints = SoakResult([], {"tsk_1", "tsk_2"}, refused=3, unfinished={"tsk_1"}).complaints()
    assert complaints == ["3 submits were refused", "1 of 2 tasks never finished"]
