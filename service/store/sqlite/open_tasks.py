"""A cache of open tasks that were written recently, so that a callback need not read and decode its task."""

from service.core.task import Task

KEPT = 4096
# Larger tasks are read from the file each time.
LARGEST = 16 * 1024


class OpenTasks:
    """As changed in the running transaction; only for the writer."""

    def __init__(self) -> None:
        self._tasks: dict[str, tuple[int, Task]] = {}
        # Written in this transaction, but not kept after it.
        self._passing: list[str] = []

    def get(self, task_id: str) -> tuple[int, Task] | None:
        return self._tasks.get(task_id)

    def put(self, n: int, task: Task, size: int) -> None:
        self._tasks[task.id] = (n, task)
        if task.finished or size > LARGEST:
            self._passing.append(task.id)

    def trim(self) -> None:
        """After the commit: drop finished and large tasks, and the oldest of the others."""
        for task_id in self._passing:
            self._tasks.pop(task_id, None)
        self._passing.clear()
        while len(self._tasks) > KEPT:
            del self._tasks[next(iter(self._tasks))]

    def forget(self) -> None:
        """After a rollback."""
        self._tasks.clear()
        self._passing.clear()
