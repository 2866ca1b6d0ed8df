"""Ports that tests and tools hand out, while other runs do the same."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TAKE = "from service.tools.harness.ports import free_port\nprint(*(free_port() for _ in range(300)))\ninput()"


def test_no_two_processes_are_given_the_same_port() -> None:
    pipe = subprocess.PIPE
    takers = [subprocess.Popen([sys.executable, "-c", TAKE], cwd=ROOT, stdin=pipe, stdout=pipe) for _ in range(3)]
    ports: list[bytes] = []
    for one in takers:
        assert one.stdout is not None
        ports += one.stdout.readline().split()
    for one in takers:
        one.communicate(b"\n")
    assert len(ports) == len(set(ports)) == 900
