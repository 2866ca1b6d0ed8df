"""CloudEvents in binary mode: https://github.com/cloudevents/spec, bindings/http-protocol-binding.md, section 3.1."""


def cloud_event_headers(event_id: str, event_type: str, time: str, source: str, task_id: str | None) -> dict[str, str]:
    """`time` is RFC 3339, `source` the address of the service; the subject is the task, absent where there is none."""
    headers = {
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-type": event_type,
        "ce-source": source,
        "ce-time": time,
    }
    return headers if task_id is None else headers | {"ce-subject": task_id}
