"""Operations open to everyone (and the catalog): health, descriptions, files, and the callback addresses."""

from service.web.operations.operation import KEYED, TEXT, Operation, Parameter

CATALOG = Operation(
    "get", "/v1/catalog", "Providers, models, task types and their input schemas", {200: "catalog"}, KEYED
)
HEALTH = Operation("get", "/healthz", "Liveness: the process runs", {200: "health"}, access="open")
READY = Operation(
    "get",
    "/readyz",
    "Readiness: the store responds and the workers make progress",
    {200: "ready"},
    (503,),
    access="open",
)
OPENAPI = Operation("get", "/openapi.json", "This OpenAPI document", {200: None}, access="open")
SCHEMA = Operation(
    "get",
    "/schemas/{name:path}",
    "A JSON Schema, such as api/task.json",
    {200: None},
    (404,),
    access="open",
    media=("application/schema+json",),
)
MEDIA = Operation(
    "get",
    "/media/{token}",
    "A picture that a provider sent inline, by its signed address",
    {200: None},
    (404,),
    access="open",
    media=("image/*",),
)
RESULT = Operation(
    "get",
    "/results/{token}/{name}",
    "A copy of a result file, by its signed address",
    {200: None, 206: None, 307: None},
    (404, 503),
    about="The bytes (Range and If-None-Match work), or a redirect to a short-lived address of the object store.",
    access="open",
    media=("image/*", "video/*", "audio/*", "application/octet-stream"),
    headers={206: ("Content-Range",), 307: ("Location",)},
)
METRICS = Operation(
    "get",
    "/metrics",
    "Metrics of the whole service, for Prometheus (admin keys)",
    {200: None},
    (*KEYED, 404),
    access="admin",
    media=("text/plain",),
)
ALL = (CATALOG, HEALTH, READY, OPENAPI, SCHEMA, MEDIA, RESULT, METRICS)

DOOR_PROBLEMS = (400, 401, 404, 408, 409, 413, 503)
SECRET = Parameter("x-webhook-secret", TEXT, "The secret of this task, as submitted with the address", "header")
# Served by door.py ahead of the route table.
DOORS = (
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
)
