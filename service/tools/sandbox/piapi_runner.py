"""A PiAPI task from its submit to its last callback."""

import asyncio
import itertools
from base64 import b64encode
from dataclasses import replace
from typing import Any

from .clock import now_ns
from .context import SandboxContext, prompt_of
from .piapi_outputs import blank, finished_output, open_output
from .piapi_tasks import PiapiTask, callback, view
from .pictures import content

MAX_PICTURES = 4


class PiapiTaskRunner:
    def __init__(self, context: SandboxContext) -> None:
        self._context = context
        self._running: dict[str, asyncio.Task[None]] = {}

    def cancel(self, task: PiapiTask) -> None:
        self._running.pop(task.id).cancel()
        self._end(task, "cancelled")

    async def begin(self, task: PiapiTask) -> dict[str, Any]:
        """Starts the task; returns what the submit's response shows."""
        if task.behaviour.instant:
            self._start(task)
            self._finish(task)
            self._context.spawn(self._send_finish(task, view(task)))
            return view(task)
        answer = view(task)
        if "early" in task.behaviour.callback:
            self._start(task)
            processing = view(task)
            self._finish(task)
            await self._send_finish(task, processing)
        else:
            life = self._running[task.id] = self._context.spawn(self._run(task))
            life.add_done_callback(lambda _: self._running.pop(task.id, None))
        return answer

    async def _run(self, task: PiapiTask) -> None:
        modes = task.behaviour.callback
        if "created" in modes:
            await self._send(task, view(task), "pending")
        await self._context.queue(task.behaviour)
        self._start(task)
        processing = view(task)
        told = None if "late_processing" in modes else self._context.spawn(self._send(task, processing, "processing"))
        await self._context.work(task.behaviour)
        self._finish(task)
        if told:  # callbacks of one task go out in order, as long as the receiver responds
            await asyncio.wait({told}, timeout=self._context.callback_timeout)
        await self._send_finish(task, processing)

    async def _send_finish(self, task: PiapiTask, processing: dict[str, Any]) -> None:
        modes = task.behaviour.callback
        await asyncio.sleep(task.behaviour.callback_delay)
        call = callback(task, view(task), task.status, self._context.callback_retry)
        await self._context.send(call)
        if "twice" in modes:
            await self._context.send(call)
        if "late_processing" in modes:
            await self._send(task, processing, "processing")
        if "conflict" in modes:
            await self._send_conflict(task)

    async def _send_conflict(self, task: PiapiTask) -> None:
        failed = task.error is None
        other = replace(task, status="failed" if failed else "completed", error="too late" if failed else None,
                        output=None if failed else self._output(task))  # fmt: skip
        await self._send(other, view(other), other.status)

    async def _send(self, task: PiapiTask, data: dict[str, Any], status: str) -> None:
        await self._context.send(callback(task, data, status, self._context.callback_retry))

    def _start(self, task: PiapiTask) -> None:
        task.status, task.started, task.output = "processing", now_ns(), open_output(task.model)
        self._context.ledger.set_status(task.entry, "processing")

    def _finish(self, task: PiapiTask) -> None:
        if task.behaviour.fail is not None:
            task.error, task.output = task.behaviour.fail or "task failed", None
            self._end(task, "failed")
            return
        task.output = self._output(task)
        self._end(task, "completed")

    def _end(self, task: PiapiTask, status: str) -> None:
        task.status, task.ended = status, now_ns()
        self._context.ledger.set_status(task.entry, status)

    def _output(self, task: PiapiTask) -> dict[str, Any]:
        count = min(MAX_PICTURES, int(task.input.get("batch_size") or 1))
        prompt, size, numbers = prompt_of(task.input), task.behaviour.size, itertools.count()
        if task.behaviour.output == "base64":
            return {"image_url": "", "image_base64": content("base64", prompt, size).decode()}

        if task.behaviour.output == "film":
            return {"video_url": f"data:video/mp4;base64,{b64encode(content('mp4', prompt, size)).decode()}"}

        def new(kind: str) -> str:
            name = self._context.gallery.add(f"{prompt} {next(numbers)}", kind, size, fault=task.behaviour.file)
            return f"{task.base_url}/pictures/{name}"

        output = finished_output(task.model, task.task_type, count, new)
        emptied: dict[str, Any] = blank(output)
        return emptied if task.behaviour.no_output else output
