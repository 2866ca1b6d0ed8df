"""What the load generator is asked for, and what it answers: both travel as JSON."""

from dataclasses import dataclass, field


@dataclass
class LoadOrder:
    """`parallel` for a closed loop, `rate` for an open one. `what`: callbacks, submits or the path of a GET."""

    port: int
    seconds: float
    what: str = "callbacks"
    parallel: int = 0
    rate: float = 0.0
    file: str = ""
    first: int = 0
    count: int = 1_000_000
    # Keep the moment of each answer's request, for joining with arrivals elsewhere.
    moments: bool = False
    # The process that is called, 0 when its cost does not matter.
    server: int = 0


@dataclass
class Result:
    """Latencies are sorted, in milliseconds. `begun` and `ended` are ns of the monotonic clock."""

    answered: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    tasks: int = 0
    begun: int = 0
    ended: int = 0
    late_ms: float = 0.0
    # CPU seconds of the process that was called, from the first request to the last answer.
    server_cpu: float = 0.0
    latencies: list[float] = field(default_factory=list)
    # ns at which the n-th request of each task left, when asked for.
    moments: list[list[int]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return (self.ended - self.begun) / 1e9

    @property
    def rate(self) -> float:
        return self.answered / self.seconds if self.seconds else 0.0

    @property
    def server_us(self) -> float:
        """CPU of the called process for one answer."""
        return self.server_cpu / self.answered * 1e6 if self.answered else 0.0

    def percentile(self, share: float) -> float:
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * share))] if self.latencies else 0.0
