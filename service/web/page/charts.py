"""Numbers to geometry: the templates draw it as SVG, with a table beside it for screen readers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.core.delivery import Delivery
from service.core.times import from_iso
from service.ports.insight import HourCount, ModelTime
from service.web.page.words import percentile

HOUR = 3_600_000
HOURS = 24
RESULTS = ("completed", "failed", "canceled", "open")
WIDTH, HEIGHT = 480.0, 96.0


@dataclass(frozen=True, slots=True)
class Part:
    """One rectangle of a stacked bar."""

    name: str
    count: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    hour: int
    x: float
    width: float
    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        return sum(part.count for part in self.parts)


@dataclass(frozen=True, slots=True)
class HourChart:
    names: tuple[str, ...]
    bars: tuple[Bar, ...]
    highest: int

    @property
    def total(self) -> int:
        return sum(bar.total for bar in self.bars)


@dataclass(frozen=True, slots=True)
class TimeRow:
    """`median` and `p90` in milliseconds, and where they stand on a scale of 0 to 100 shared by all rows."""

    model: str
    count: int
    median: float
    p90: float
    median_at: float
    p90_at: float


@dataclass(frozen=True, slots=True)
class Health:
    """Attempts of a subscription: `rate` from 0 to 1, times in milliseconds; None without any."""

    chart: HourChart
    attempts: int
    rate: float | None
    median: float | None
    p90: float | None


def hour_chart(counts: Mapping[tuple[int, str], int], names: tuple[str, ...], now: int) -> HourChart:
    """The 24 hours up to `now`. `counts` by the hour's first millisecond and name."""
    last = now // HOUR * HOUR
    hours = [last - HOUR * back for back in range(HOURS - 1, -1, -1)]
    highest = max((sum(counts.get((hour, name), 0) for name in names) for hour in hours), default=0)
    step = WIDTH / HOURS
    bars = tuple(
        Bar(
            hour,
            round(step * n + 1.5, 2),
            round(step - 3, 2),
            _stack([(x, counts.get((hour, x), 0)) for x in names], highest),
        )
        for n, hour in enumerate(hours)
    )
    return HourChart(names, bars, highest)


def _stack(counts: Sequence[tuple[str, int]], highest: int) -> tuple[Part, ...]:
    parts: list[Part] = []
    top = HEIGHT
    for name, count in counts:
        height = count / highest * HEIGHT if highest else 0.0
        top -= height
        parts.append(Part(name, count, round(top, 2), round(height, 2)))
    return tuple(parts)


def tasks_chart(counts: Sequence[HourCount], now: int) -> HourChart:
    summed: dict[tuple[int, str], int] = {}
    for hour, status, count in counts:
        key = hour, status if status in RESULTS else "open"
        summed[key] = summed.get(key, 0) + count
    return hour_chart(summed, RESULTS, now)


def times_chart(times: Sequence[ModelTime], most: int = 8) -> list[TimeRow]:
    """The models with the most results."""
    by_model: dict[str, list[int]] = {}
    for model, ms in times:
        by_model.setdefault(model, []).append(ms)
    common = sorted(by_model.items(), key=lambda item: -len(item[1]))[:most]
    rows = [
        (model, len(found), percentile(found, 0.5) or 0.0, percentile(found, 0.9) or 0.0) for model, found in common
    ]
    longest = max((p90 for *_, p90 in rows), default=0.0) or 1.0
    return [
        TimeRow(model, count, median, p90, round(median / longest * 100, 1), round(p90 / longest * 100, 1))
        for model, count, median, p90 in rows
    ]


def health_chart(deliveries: Sequence[Delivery], now: int) -> Health:
    """Of every attempt in the last 24 hours."""
    counts: dict[tuple[int, str], int] = {}
    times: list[float] = []
    good = total = 0
    for attempt in (attempt for delivery in deliveries for attempt in delivery.attempts):
        at = from_iso(attempt["at"])
        if at < now - HOURS * HOUR:
            continue
        succeeded = attempt["status_code"] is not None and 200 <= attempt["status_code"] < 300
        total, good = total + 1, good + succeeded
        key = at // HOUR * HOUR, "delivered" if succeeded else "failed"
        counts[key] = counts.get(key, 0) + 1
        if attempt["status_code"] is not None:
            times.append(attempt["duration_ms"])
    chart = hour_chart(counts, ("delivered", "failed"), now)
    return Health(chart, total, good / total if total else None, percentile(times, 0.5), percentile(times, 0.9))
