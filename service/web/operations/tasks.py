"""Operations on tasks."""

from service.core.task import Status
from service.web.operations.operation import BODY, CURSOR, KEYED, LIMIT, TEXT, Operation, Parameter
from service.wire import schemas

# Events that callback_events may name.
PROVIDERS: tuple[str, ...] = tuple(schemas.load("api/task.submit")["properties"]["provider"]["enum"])
WAIT = Parameter("Prefer", TEXT, "wait=N: respond when the task has finished, or after N seconds (1 to 120)", "header")

SUBMIT = Operation(
    "post",
    "/v1/tasks",
    "Submit a task",
    {202: "task", 200: "task"},
    (*KEYED, *BODY, 409),
    about="The task is on disk before the response is sent. 200: it has finished (with Prefer).",
    body="task.submit",
    parameters=(
        Parameter(
            "Idempotency-Key",
            {"type": "string", "minLength": 1, "maxLength": 255},
            "A repeated request with the same key and body returns the first task, for 48 h",
            "header",
        ),
        WAIT,
    ),
    headers={
        202: ("Location", "Idempotent-Replayed", "Preference-Applied"),
        200: ("Location", "Idempotent-Replayed", "Preference-Applied"),
    },
)
LIST = Operation(
    "get",
    "/v1/tasks",
    "List tasks, newest first",
    {200: "task.list"},
    KEYED,
    parameters=(
        Parameter("status", {"enum": [status.value for status in Status]}, "Only tasks in this status"),
        Parameter("provider", {"enum": list(PROVIDERS)}, "Only tasks of this provider"),
        Parameter("model", TEXT, "Only tasks of this model"),
        Parameter("metadata.KEY", TEXT, "Only tasks whose metadata has this value under KEY"),
        LIMIT,
        CURSOR,
    ),
)
READ = Operation(
    "get",
    "/v1/tasks/{id}",
    "Get a task",
    {200: "task", 202: "task"},
    (*KEYED, 404),
    about="202: the wait (with Prefer) ended before the task finished.",
    parameters=(WAIT,),
    headers={200: ("Preference-Applied",), 202: ("Preference-Applied",)},
)
CANCEL = Operation("post", "/v1/tasks/{id}/cancel", "Cancel a task", {200: "task"}, (*KEYED, 404, 409))
RESUBMIT = Operation(
    "post",
    "/v1/tasks/{id}/resubmit",
    "Submit an unconfirmed or failed task again",
    {202: "task"},
    (*KEYED, 404, 409),
    about="Never done automatically, since the provider may charge twice.",
    headers={202: ("Location",)},
)
ALL = (SUBMIT, LIST, READ, CANCEL, RESUBMIT)
