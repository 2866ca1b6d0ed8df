"""One small round of the benchmark: its figures come, and its own check that nothing was lost holds."""

from pathlib import Path

from bench.cases.ingest import ladder
from bench.report import chart, table
from bench.run import Options, the_run


def test_a_small_round_of_case_1_gives_rows_and_loses_nothing(tmp_path: Path) -> None:
    options = Options(cases=(1,), seconds=0.2, rounds=1, quick=True, folder=tmp_path)
    with the_run(options) as run:
        rows = list(ladder(run, 1, (4,), 0, {4: ">= 0.6"}, {}, ""))
    assert run.complaints == []
    assert all(row.median > 0 for row in rows)
    assert rows[0].ratio is not None
    assert "callbacks, 4 in parallel" in table(rows)
    assert chart(rows).count("<rect") == len(rows) + 1
