"""How many rows are kept, read and removed, and the highest number, the same on every engine."""

# Callbacks in the audit log, and how many are removed in one step: they are small and stored side by side.
KEPT_CALLBACKS = 20_000
CALLBACKS_AT_ONCE = 500
# Rows that one count for the pages may read: tasks, deliveries of one subscription, tasks of one model.
NEWEST_TASKS = 20_000
NEWEST_DELIVERIES = 1000
NEWEST_DEAD = 20_000
NEWEST_OF_MODEL = 500
# Completed tasks of one model whose durations are returned.
TIMES_OF_MODEL = 100
# Above every number of an event or a delivery.
ABOVE_ALL = (1 << 62) - 1
