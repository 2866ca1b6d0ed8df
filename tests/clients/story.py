"""Submit a task and wait for it, with the client that openapi-python-client made of the service's description."""

import os

import httpx
from callbridge_client import AuthenticatedClient
from callbridge_client.api.tasks import get_v1_tasks_id, post_v1_tasks
from callbridge_client.models import Task, TaskSubmit, TaskSubmitInput, TaskSubmitProvider


def story(url: str, key: str) -> Task:
    client = AuthenticatedClient(base_url=url, token=key, timeout=httpx.Timeout(30))
    given = TaskSubmitInput()
    given["prompt"] = "a cat [sandbox: delay=0.05]"
    body = TaskSubmit(
        provider=TaskSubmitProvider.PIAPI, model="Qubico/flux1-schnell", task_type="txt2img", input_=given
    )
    submitted = post_v1_tasks.sync(client=client, body=body)
    assert isinstance(submitted, Task), submitted
    finished = get_v1_tasks_id.sync(submitted.id, client=client, prefer="wait=20")
    assert isinstance(finished, Task), finished
    return finished


if __name__ == "__main__":
    task = story(os.environ["CALLBRIDGE_URL"], os.environ["CALLBRIDGE_KEY"])
    assert task.output is not None
    print(task.status, task.output.url)
