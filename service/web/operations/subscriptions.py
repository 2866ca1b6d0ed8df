"""Operations on subscriptions."""

from service.web.operations.operation import BODY, CURSOR, KEYED, LIMIT, Operation

CREATE = Operation(
    "post",
    "/v1/subscriptions",
    "Create a subscription",
    {201: "subscription.made"},
    (*KEYED, *BODY, 409),
    body="subscription.create",
    headers={201: ("Location",)},
)
LIST = Operation(
    "get",
    "/v1/subscriptions",
    "List subscriptions, newest first",
    {200: "subscription.list"},
    KEYED,
    parameters=(LIMIT, CURSOR),
)
READ = Operation("get", "/v1/subscriptions/{id}", "Get a subscription", {200: "subscription"}, (*KEYED, 404))
CHANGE = Operation(
    "patch",
    "/v1/subscriptions/{id}",
    "Change a subscription",
    {200: "subscription"},
    (*KEYED, *BODY, 404),
    about="enabled: true re-enables one that was disabled.",
    body="subscription.change",
)
REMOVE = Operation("delete", "/v1/subscriptions/{id}", "Delete a subscription", {204: None}, (*KEYED, 404))
PING = Operation(
    "post",
    "/v1/subscriptions/{id}/ping",
    "Send a ping now",
    {200: "delivery"},
    (*KEYED, 404),
    about="One attempt; the response says how it went. A body is optional.",
    body="ping",
)
ROTATE_SECRET = Operation(
    "post",
    "/v1/subscriptions/{id}/rotate-secret",
    "Rotate the secret",
    {200: "subscription.made"},
    (*KEYED, 404, 409),
    about="Old and new both sign for 24 hours. 409 while ten older secrets still sign.",
)
REPLAY = Operation(
    "post",
    "/v1/subscriptions/{id}/replay",
    "Deliver stored events again",
    {202: "replay.queued"},
    (*KEYED, *BODY, 404, 409),
    body="replay",
)
OWNER_SECRET = Operation(
    "get", "/v1/webhook-secret", "The secret that signs deliveries to a task's callback_url", {200: "secret"}, KEYED
)
ALL = (CREATE, LIST, READ, CHANGE, REMOVE, PING, ROTATE_SECRET, REPLAY, OWNER_SECRET)
