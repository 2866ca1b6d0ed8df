"""Which routes of a provider are paused because they were busy, and for how long."""

from collections.abc import Mapping

from service.ports.work import EVERY_TYPE, TaskTypes

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
OTHERS = ""


class RouteRests:
    """Times are seconds of one clock. Task types without a route of their own share one."""

    def __init__(self, routes: Mapping[str, frozenset[str]]) -> None:
        self._routes = routes
        self._until: dict[str, float] = {}
        self._pause: dict[str, float] = {}

    def open(self, now: float) -> TaskTypes | None:
        """The task types that may be sent; None while everything is paused."""
        resting = {name for name, until in self._until.items() if until > now}
        if not resting:
            return EVERY_TYPE
        if OTHERS not in resting:
            return TaskTypes(frozenset().union(*(self._routes[name] for name in resting)), excluded=True)
        types = frozenset().union(*(types for name, types in self._routes.items() if name not in resting))
        return TaskTypes(types, excluded=False) if types else None

    def rest(self, task_type: str, seconds: float | None, now: float) -> float:
        """Pause the route of a task type; without `seconds`, longer each time. Returns for how long."""
        route = self._route_of(task_type)
        if seconds is None:
            seconds = self._pause.get(route, FIRST_PAUSE)
            self._pause[route] = min(seconds * 2, LONGEST_PAUSE)
        self._until[route] = max(self._until.get(route, 0.0), now + seconds)
        return seconds

    def took(self, task_type: str) -> None:
        self._pause.pop(self._route_of(task_type), None)

    def _route_of(self, task_type: str) -> str:
        return next((name for name, types in self._routes.items() if task_type in types), OTHERS)
