"""What the API takes and answers, one row for each route: `openapi.py` writes its description from this table."""

from dataclasses import dataclass

from service.core.delivery import DeliveryStatus
from service.core.event import EVENT_TYPES
from service.core.task import Status
from service.web.requests import LARGEST_PAGE

JSON = "application/json"
STREAM = "text/event-stream"
HIGHEST = 2**53
# What any call with a key may be answered, what a query adds to that, and what a body adds.
KEYED = (401, 429, 503)
QUERY = (422,)
BODY = (400, 408, 413, 415, 422)


@dataclass(frozen=True, slots=True)
class Parameter:
    """`place` is query, header or path; `schema` as JSON Schema; `many` is a comma-separated list."""

    name: str
    schema: dict[str, object]
    about: str
    place: str = "query"
    many: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """`answers`: status to the file under schemas/ of its body (`api/` left out; None: no body, or none that is JSON).

    `problems`: statuses with a problem document as body. `access`: key, link (a key or a signed link) or open.
    """

    method: str
    path: str
    summary: str
    answers: dict[int, str | None]
    problems: tuple[int, ...] = ()
    about: str = ""
    body: str | None = None
    parameters: tuple[Parameter, ...] = ()
    headers: dict[int, tuple[str, ...]] | None = None
    access: str = "key"
    media: tuple[str, ...] = (JSON,)


TEXT: dict[str, object] = {"type": "string"}
TYPES: dict[str, object] = {"type": "array", "minItems": 1, "items": {"enum": list(EVENT_TYPES)}}
SEQ: dict[str, object] = {"type": "integer", "minimum": 0, "maximum": HIGHEST}
WAIT = Parameter("Prefer", TEXT, "wait=N: answer when the task is finished, or after N seconds (1 to 120)", "header")
LIMIT = Parameter("limit", {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE}, "How many at most")
CURSOR = Parameter("cursor", TEXT, "next_cursor of the page before")
TASK = Parameter("task_id", TEXT, "Of this task only")
AFTER = Parameter("after", SEQ, "Only events with a larger seq")
LAST = Parameter("Last-Event-ID", SEQ, "The id of the last event that was read; a browser sends it by itself", "header")
ONLY = Parameter("types", TYPES, "Of these types only, separated by commas", many=True)

TASKS = (
    Operation(
        "post",
        "/v1/tasks",
        "Submit a task",
        {202: "task", 200: "task"},
        (*KEYED, *BODY, 409),
        about="The task is on disk before the answer leaves. 200: it is finished (with Prefer).",
        body="task.submit",
        parameters=(
            Parameter(
                "Idempotency-Key",
                {"type": "string", "minLength": 1, "maxLength": 255},
                "The same key and body answers with the first task, for 48 h",
                "header",
            ),
            WAIT,
        ),
        headers={
            202: ("Location", "Idempotent-Replayed", "Preference-Applied"),
            200: ("Location", "Idempotent-Replayed", "Preference-Applied"),
        },
    ),
    Operation(
        "get",
        "/v1/tasks",
        "List tasks, newest first",
        {200: "task.list"},
        (*KEYED, *QUERY),
        parameters=(
            Parameter("status", {"enum": [status.value for status in Status]}, "Only tasks in this status"),
            Parameter("provider", TEXT, "Only tasks of this provider"),
            Parameter("model", TEXT, "Only tasks of this model"),
            Parameter("metadata.KEY", TEXT, "Only tasks whose metadata has this value under KEY, any name of yours"),
            LIMIT,
            CURSOR,
        ),
    ),
    Operation(
        "get",
        "/v1/tasks/{id}",
        "Read a task",
        {200: "task", 202: "task"},
        (*KEYED, 404),
        about="202: it was waited for (with Prefer) and is not finished.",
        parameters=(WAIT,),
        headers={200: ("Preference-Applied",), 202: ("Preference-Applied",)},
    ),
    Operation("post", "/v1/tasks/{id}/cancel", "Cancel a task", {200: "task"}, (*KEYED, 404, 409)),
    Operation(
        "post",
        "/v1/tasks/{id}/resubmit",
        "Send an unconfirmed or failed task again",
        {202: "task"},
        (*KEYED, 404, 409, 422),
        about="A person's decision: the provider may charge for it twice.",
        headers={202: ("Location",)},
    ),
    Operation(
        "get",
        "/v1/tasks/{id}/events",
        "Follow one task as server-sent events",
        {200: None, 204: None},
        (*KEYED, *QUERY, 404),
        about="From its first event; ends after the finishing one, and answers 204 to a resume after that.",
        parameters=(AFTER, LAST),
        access="link",
        media=(STREAM,),
    ),
)
EVENTS = (
    Operation(
        "get",
        "/v1/events",
        "List events, oldest first, or follow them",
        {200: "event.list"},
        (*KEYED, *QUERY),
        about="With Accept: text/event-stream a stream: from now on, unless after or Last-Event-ID say from where.",
        parameters=(ONLY, TASK, AFTER, LAST, LIMIT),
        media=(JSON, STREAM),
    ),
    Operation(
        "get",
        "/v1/events/latest",
        "The latest events as a bare array, newest first",
        {200: "event.array"},
        (*KEYED, *QUERY),
        parameters=(ONLY, TASK, LIMIT),
    ),
)
SUBSCRIPTIONS = (
    Operation(
        "post",
        "/v1/subscriptions",
        "Subscribe an address",
        {201: "subscription.made"},
        (*KEYED, *BODY),
        body="subscription.create",
        headers={201: ("Location",)},
    ),
    Operation("get", "/v1/subscriptions", "List subscriptions", {200: "subscription.list"}, KEYED),
    Operation("get", "/v1/subscriptions/{id}", "Read a subscription", {200: "subscription"}, (*KEYED, 404)),
    Operation(
        "patch",
        "/v1/subscriptions/{id}",
        "Change a subscription",
        {200: "subscription"},
        (*KEYED, *BODY, 404),
        about="enabled: true brings back one that was disabled.",
        body="subscription.change",
    ),
    Operation("delete", "/v1/subscriptions/{id}", "Remove a subscription", {204: None}, (*KEYED, 404)),
    Operation(
        "post",
        "/v1/subscriptions/{id}/ping",
        "Send a ping now",
        {200: "delivery"},
        (*KEYED, 404),
        about="One attempt; the answer says how it went.",
    ),
    Operation(
        "post",
        "/v1/subscriptions/{id}/rotate-secret",
        "Make a new secret",
        {200: "subscription.made"},
        (*KEYED, 404),
        about="Old and new both sign for 24 hours.",
    ),
    Operation(
        "post",
        "/v1/subscriptions/{id}/replay",
        "Deliver stored events again",
        {202: "replay.queued"},
        (*KEYED, *BODY, 404),
        body="replay",
    ),
    Operation(
        "get", "/v1/webhook-secret", "The secret that signs deliveries to a task's callback_url", {200: "secret"}, KEYED
    ),
)
DELIVERIES = (
    Operation(
        "get",
        "/v1/deliveries",
        "List deliveries, newest first",
        {200: "delivery.list"},
        (*KEYED, *QUERY),
        parameters=(
            Parameter("subscription_id", TEXT, "Of this subscription only"),
            TASK,
            Parameter("status", {"enum": [status.value for status in DeliveryStatus]}, "Only in this status"),
            LIMIT,
            CURSOR,
        ),
    ),
    Operation("post", "/v1/deliveries/{id}/retry", "Try a delivery again now", {202: "delivery"}, (*KEYED, 404)),
    Operation(
        "get",
        "/v1/callbacks",
        "Calls at the provider doors, accepted and refused (admin keys)",
        {200: "callback.list"},
        (*KEYED, *QUERY, 404),
        parameters=(Parameter("result", TEXT, "Only with this result"), TASK, LIMIT, CURSOR),
    ),
)
DOOR_PROBLEMS = (400, 401, 404, 408, 409, 413, 503)
SECRET = Parameter("x-webhook-secret", TEXT, "The secret of this task, as it was given with the address", "header")
AROUND = (
    Operation(
        "post",
        "/webhooks/piapi/{token}",
        "Where PiAPI reports about a task",
        {200: None},
        DOOR_PROBLEMS,
        about="The token is signed and names one task. 503 asks PiAPI to call again.",
        body="callbacks/piapi",
        parameters=(SECRET,),
        access="open",
    ),
    Operation(
        "post",
        "/webhooks/modelslab/{token}",
        "Where ModelsLab reports about a task",
        {200: None},
        DOOR_PROBLEMS,
        about="The token is signed and names one task, and track_id must be that task's id.",
        body="callbacks/modelslab",
        access="open",
    ),
    Operation("get", "/v1/catalog", "Providers, models, task types and their input schemas", {200: "catalog"}, KEYED),
    Operation("get", "/healthz", "Does the process live", {200: "health"}, access="open"),
    Operation("get", "/readyz", "Do the store and the workers answer", {200: "ready"}, (503,), access="open"),
    Operation("get", "/openapi.json", "This description", {200: None}, access="open"),
    Operation("get", "/docs", "This description, to read", {200: None}, access="open", media=("text/html",)),
    Operation(
        "get",
        "/schemas/{name}",
        "A JSON Schema, such as api/task.json",
        {200: None},
        (404,),
        access="open",
        media=("application/schema+json",),
    ),
    Operation(
        "get",
        "/media/{token}",
        "A picture that a provider sent inline, by its signed address",
        {200: None},
        (404,),
        access="open",
        media=("image/*",),
    ),
    Operation("get", "/metrics", "Not part of this version yet", {}, (404,), access="open"),
)
OPERATIONS = (*TASKS, *EVENTS, *SUBSCRIPTIONS, *DELIVERIES, *AROUND)
