"""Operations on deliveries, and the log of received callbacks."""

from service.core.callback import CALLBACK_RESULTS
from service.core.delivery import DeliveryStatus
from service.web.operations.operation import CURSOR, KEYED, LIMIT, TASK, TEXT, Operation, Parameter

LIST = Operation(
    "get",
    "/v1/deliveries",
    "List deliveries, newest first",
    {200: "delivery.list"},
    KEYED,
    parameters=(
        Parameter("subscription_id", TEXT, "Only those of this subscription"),
        TASK,
        Parameter("status", {"enum": [status.value for status in DeliveryStatus]}, "Only deliveries in this status"),
        LIMIT,
        CURSOR,
    ),
)
RETRY = Operation("post", "/v1/deliveries/{id}/retry", "Retry a delivery now", {202: "delivery"}, (*KEYED, 404, 409))
CALLBACKS = Operation(
    "get",
    "/v1/callbacks",
    "List received callbacks, accepted and refused (admin keys)",
    {200: "callback.list"},
    (*KEYED, 404),
    parameters=(
        Parameter("result", {"enum": list(CALLBACK_RESULTS)}, "Only those with this result"),
        TASK,
        LIMIT,
        CURSOR,
    ),
    access="admin",
)
ALL = (LIST, RETRY, CALLBACKS)
