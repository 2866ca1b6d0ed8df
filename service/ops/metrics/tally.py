"""Counts and distributions of one process; several of them add up to those of the service.

The metric objects of prometheus-client cost a callback several times as much, and know no other process than those that
share a folder. So this only counts, and `render` hands the sums to prometheus-client when somebody asks.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

import msgspec

Labels = tuple[str, ...]


class Distribution(msgspec.Struct):
    """`counts` has one more than there are bounds: what lies beyond the last."""

    counts: list[int]
    total: float = 0.0

    def observe(self, bounds: Sequence[float], value: float) -> None:
        """A value that equals a bound belongs to that bucket."""
        self.counts[bisect_left(bounds, value)] += 1
        self.total += value


class Snapshot(msgspec.Struct):
    """By metric, then by the values of its labels."""

    counts: dict[str, list[tuple[Labels, float]]]
    distributions: dict[str, list[tuple[Labels, Distribution]]]


class Tally:
    def __init__(self) -> None:
        self.counts: dict[str, dict[Labels, float]] = defaultdict(lambda: defaultdict(int))
        self.distributions: dict[str, dict[Labels, Distribution]] = defaultdict(dict)

    def count(self, metric: str, *labels: str, by: float = 1) -> None:
        self.counts[metric][labels] += by

    def distribution(self, metric: str, bounds: Sequence[float], *labels: str) -> Distribution:
        found = self.distributions[metric].get(labels)
        if found is None:
            found = self.distributions[metric][labels] = Distribution([0] * (len(bounds) + 1))
        return found

    def observe(self, metric: str, bounds: Sequence[float], value: float, *labels: str) -> None:
        self.distribution(metric, bounds, *labels).observe(bounds, value)

    def encoded(self) -> bytes:
        return msgspec.json.encode(
            Snapshot(
                {name: list(values.items()) for name, values in self.counts.items()},
                {name: list(values.items()) for name, values in self.distributions.items()},
            )
        )

    def add(self, encoded: bytes, times: int = 1) -> None:
        """Add the counts of another process; `times` -1 takes them away. Raises msgspec.MsgspecError."""
        other = msgspec.json.decode(encoded, type=Snapshot)
        for name, values in other.counts.items():
            for labels, value in values:
                self.count(name, *labels, by=times * value)
        for name, distributions in other.distributions.items():
            for labels, distribution in distributions:
                own = self.distributions[name].setdefault(labels, Distribution([0] * len(distribution.counts)))
                # Another version may have other buckets: those cannot be added.
                if len(own.counts) == len(distribution.counts):
                    own.counts = [a + times * b for a, b in zip(own.counts, distribution.counts, strict=True)]
                    own.total += times * distribution.total
