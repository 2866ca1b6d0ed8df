"""CloudEvents in binary mode: https://github.com/cloudevents/spec, bindings/http-protocol-binding.md, section 3.1."""


def cloud_event_lines(event_id: str, event_type: str, time: str, source: str, task_id: str | None) -> str:
    """Header lines. `time` is RFC 3339, `source` the address of the service; without a task there is no subject."""
    subject = "" if task_id is None else f"ce-subject: {task_id}\r\n"
    return (
        f"ce-specversion: 1.0\r\nce-id: {event_id}\r\nce-type: {event_type}\r\n"
        f"ce-source: {source}\r\nce-time: {time}\r\n{subject}"
    )


def cloud_event_headers(event_id: str, event_type: str, time: str, source: str, task_id: str | None) -> dict[str, str]:
    lines = cloud_event_lines(event_id, event_type, time, source, task_id).splitlines()
    return dict(line.split(": ", 1) for line in lines)
