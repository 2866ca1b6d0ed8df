"""Operations on events: list them, or follow them as a stream."""

from service.web.operations.operation import (
    AFTER,
    JSON,
    KEYED,
    LAST_EVENT_ID,
    LAST_EVENT_ID_QUERY,
    LIMIT,
    ONLY_TYPES,
    STREAM,
    TASK,
    Operation,
    Parameter,
)

UNTIL = Parameter("until", {"enum": ["finished", "stored"], "default": "finished"}, "Where the stream ends")
OF_TASK = Operation(
    "get",
    "/v1/tasks/{id}/events",
    "Follow one task as server-sent events",
    {200: None, 204: None},
    (*KEYED, 404),
    about="From its first event; ends after the finishing one (with until=stored after task.stored, when its files are"
    " copied), and responds 204 to a resume after that.",
    parameters=(UNTIL, AFTER, LAST_EVENT_ID, LAST_EVENT_ID_QUERY),
    access="link",
    media=(STREAM,),
)
LIST = Operation(
    "get",
    "/v1/events",
    "List events, oldest first, or follow them",
    {200: "event.list"},
    (*KEYED, 409),
    about="With Accept: text/event-stream a stream: from now on, unless after or Last-Event-ID say from where.",
    parameters=(ONLY_TYPES, TASK, AFTER, LAST_EVENT_ID, LAST_EVENT_ID_QUERY, LIMIT),
    media=(JSON, STREAM),
)
LATEST = Operation(
    "get",
    "/v1/events/latest",
    "The latest events as a bare array, newest first",
    {200: "event.array"},
    KEYED,
    parameters=(ONLY_TYPES, TASK, LIMIT),
)
ALL = (OF_TASK, LIST, LATEST)
