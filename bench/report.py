"""Rows, goals, and the three forms of the result: a table, JSON, a chart."""

import json
import platform
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape


@dataclass
class ReportRow:
    """`rounds` are the measurements; `against` those of the base of comparison, pairwise from the same moments.

    `goal` is "< 15" or ">= 0.6": for the ratio when there is a base, else for the median.
    """

    case: int
    what: str
    unit: str
    rounds: list[float]
    against: list[float] = field(default_factory=list)
    base: str = ""
    goal: str = ""
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def ratios(self) -> list[float]:
        return [ours / theirs for ours, theirs in zip(self.rounds, self.against, strict=False) if theirs]

    @property
    def ratio(self) -> float | None:
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def met(self) -> bool | None:
        if not self.goal:
            return None
        sign, _, limit = self.goal.partition(" ")
        value = self.median if self.ratio is None else self.ratio
        return value >= float(limit) if sign == ">=" else value < float(limit)

    def document(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "what": self.what,
            "unit": self.unit,
            "median": self.median,
            "rounds": self.rounds,
            "base": self.base,
            "against": self.against,
            "ratio": self.ratio,
            "ratios": self.ratios,
            "goal": self.goal,
            "met": self.met,
            "note": self.note,
        }


HEAD = ("case", "what", "median", "low .. high", "ratio", "goal", "")


def number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cells(row: ReportRow) -> tuple[str, ...]:
    ratio = "" if row.ratio is None else f"{row.ratio:.2f} of {row.base}{spread_of(row.ratios)}"
    spread = f"{number(min(row.rounds))} .. {number(max(row.rounds))}" if len(row.rounds) > 1 else ""
    verdict = {None: "", True: "met", False: "MISSED"}[row.met]
    return (
        str(row.case),
        row.what,
        f"{number(row.median)} {row.unit}",
        spread,
        ratio,
        row.goal,
        " ".join(part for part in (verdict, row.note) if part),
    )


def spread_of(ratios: list[float]) -> str:
    """How far the pairs are apart: what a goal for their median is worth here and now."""
    return f" ({min(ratios):.2f} .. {max(ratios):.2f})" if len(ratios) > 1 else ""


def table(rows: list[ReportRow]) -> str:
    lines = [HEAD, *map(cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def write(rows: list[ReportRow], complaints: list[str], notes: list[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"system": platform.platform(), "python": platform.python_version()},
        "notes": notes,
        "lost_or_wrong": complaints,
        "rows": [row.document() for row in rows],
    }
    (folder / "bench.json").write_text(json.dumps(document, indent=1))
    (folder / "bench.svg").write_text(chart(rows))


LINE, LEFT, WIDTH, BAR = 22, 470, 1100, 380


def chart(rows: list[ReportRow]) -> str:
    """One bar a row, as long as its share of its goal or of its base: the mark is where the goal lies."""
    height = 60 + LINE * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        '<text x="16" y="26" font-size="16">Callbridge benchmark: medians; the line marks the goal</text>',
    ]
    for index, row in enumerate(rows):
        parts += bar(row, 48 + LINE * index)
    return "\n".join([*parts, "</svg>\n"])


def bar(row: ReportRow, top: int) -> list[str]:
    value = row.median if row.ratio is None else row.ratio
    goal = float(row.goal.split(" ")[1]) if row.goal else None
    longest = max(value, goal * 1.5 if goal else value * 1.5, 1e-9)
    colour = {None: "#8a97a6", True: "#3f8f5f", False: "#c0563b"}[row.met]
    label, text = escape(f"{row.case}  {row.what}"), escape(f"{number(row.median)} {row.unit}  {cells(row)[4]}")
    length = max(1, round(BAR * value / longest))
    parts = [
        f'<text x="16" y="{top + 13}">{label}</text>',
        f'<rect x="{LEFT}" y="{top + 3}" width="{length}" height="13" fill="{colour}"/>',
        f'<text x="{LEFT + BAR + 10}" y="{top + 13}">{text}</text>',
    ]
    if goal:
        mark = LEFT + round(BAR * goal / longest)
        parts.append(f'<line x1="{mark}" x2="{mark}" y1="{top}" y2="{top + 19}" stroke="black"/>')
    return parts
