"""What `make demo` runs, as a person runs it."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from service.tools.demo.console import StepFailed
from service.tools.demo.processes import running
from service.tools.demo.receiver import verified
from service.tools.demo.run import main
from service.tools.demo.steps import TASKS
from service.wire.signature import Signer, new_secret

ROOT = Path(__file__).parents[1]


async def start(*arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "demo", *arguments, cwd=ROOT, stdout=pipe, stderr=asyncio.subprocess.STDOUT,
        preexec_fn=heed_ctrl_c,
    )  # fmt: skip


def heed_ctrl_c() -> None:
    """What a shell starts in the background ignores it, and so would all that is started from there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def test_the_demo_shows_every_step_of_both_providers_and_ends_with_0() -> None:
    process = await start()
    told = (await process.communicate())[0].decode()
    assert process.returncode == 0, told
    for provider in ("piapi", "modelslab"):
        chapter = told.split(f"\n{provider}, ")[1].split("\n\n")[0]
        for step in (
            "submit    202",
            "stream    task.completed",
            "callback  accepted",
            "signature is good",
            "image/png",
        ):
            assert step in chapter
    assert "no second event" in told
    assert "404 for a made-up callback address" in told
    assert "2 tasks, 8 events stored, 2 webhooks delivered" in told


async def test_a_kept_demo_exits_with_0_on_ctrl_c() -> None:
    process = await start("--keep")
    assert process.stdout is not None
    while b"until Ctrl-C" not in (line := await process.stdout.readline()):
        assert line, "the demo ended by itself"
    process.send_signal(signal.SIGINT)
    rest = (await process.communicate())[0].decode()
    assert process.returncode == 0
    assert "Stopped." in rest


def test_the_demo_ends_with_1_and_a_sentence_when_a_step_goes_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    broken = TASKS[0] | {"input": {"prompt": "a cat [sandbox: delay=0.1 fail=sorry]"}}
    assert main(keep=False, tasks=[broken]) == 1
    assert "The webhook reported task.failed of tsk_" in capsys.readouterr().out


async def test_a_service_that_does_not_start_is_reported_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        parts.processes[1].kill()
        await parts.processes[1].wait()
        with pytest.raises(StepFailed, match="The service did not start"):
            await parts.ready()


async def test_the_demos_service_exits_with_0_when_asked_to_stop(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.ready()
    assert parts.processes[1].returncode == 0


def test_the_demo_receiver_accepts_only_our_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    secret, now = new_secret(), 1_800_000_000
    monkeypatch.setattr("time.time", lambda: now)
    good = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(now),
        "webhook-signature": Signer([secret]).sign("evt_1", now, b"{}"),
    }
    assert verified(secret, good, b"{}")
    assert not verified(secret, good, b"{} ")
    assert not verified(new_secret(), good, b"{}")
    assert not verified(secret, good | {"webhook-timestamp": str(now - 301)}, b"{}")
    assert not verified(secret, {}, b"{}")
