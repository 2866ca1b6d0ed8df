"""Child processes on chosen CPUs, and what the kernel says about them."""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from bench.clock import cpu_seconds
from bench.order import LoadOrder, Result

ROOT = Path(__file__).resolve().parents[1]
ALL_CPUS = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else (0,)
# The service has the last CPU, everything that plays the world around it the first one.
SERVICE_CPU = ALL_CPUS[-1:]
WORLD_CPU = ALL_CPUS[:1]


def raise_file_limit() -> int:
    """To the hard limit, also for every child; returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Child:
    def __init__(
        self,
        command: Sequence[str],
        cpus: Sequence[int],
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        self._log = log.open("ab") if log else None
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(env) if env is not None else None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            preexec_fn=lambda: pin(cpus),
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def line(self) -> str:
        """The next line it prints. Raises RuntimeError when it ended."""
        assert self.process.stdout is not None
        text = self.process.stdout.readline().decode().strip()
        if not text:
            raise RuntimeError(f"{self.process.args!r} ended with {self.process.wait()}")
        return text

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    def memory_mb(self, name: str = "VmRSS") -> float:
        """`VmHWM`: the most it ever had."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        if self._log:
            self._log.close()

    def kill(self) -> None:
        self.process.kill()
        self.stop()


def pin(cpus: Sequence[int]) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


def python(module: str) -> list[str]:
    return [sys.executable, "-m", module]


def wait_until_ready(port: int, child: Child, log: Path) -> None:
    """Raises RuntimeError when it ends instead."""
    with httpx.Client() as http:
        while True:
            try:
                if http.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if child.process.poll() is not None:
                raise RuntimeError(f"the service ended; see {log}")
            time.sleep(0.005)


def load(order: LoadOrder, cpus: Sequence[int] = WORLD_CPU, server: Child | None = None) -> Result:
    """Run one order in a load generator of its own; what it costs the server is noted where that is given."""
    child = Child(python("bench.load"), cpus)
    wanted = asdict(order) | {"server": server.pid if server else 0}
    out, _ = child.process.communicate(json.dumps(wanted).encode())
    if child.process.returncode:
        raise RuntimeError("the load generator failed; its error is above")
    found: dict[str, Any] = json.loads(out)
    return Result(**found)


def send(port: int, request: bytes) -> int:
    """One request on a connection of its own, answered with 200; the moment (monotonic ns) at which it left."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        left = time.monotonic_ns()
        line.sendall(request)
        answer = line.recv(4096)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the answer was {answer[:60]!r}")
    return left


def compile_c(source: Path, target: Path) -> Path | None:
    """A shared library, or None without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(target), str(source), "-ldl"]
    return target if subprocess.run(command, capture_output=True, check=False).returncode == 0 else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
