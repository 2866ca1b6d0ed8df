"""Programs of Node: where they are, and one sentence when they are not."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "tests" / "node" / "node_modules"


def node() -> str:
    """The path of `node`; fails the test, instead of leaving it out, where something is missing."""
    program = shutil.which("node")
    if program is None:
        pytest.fail("Node 20 or newer is needed (Debian: apt install nodejs npm), then make install.", pytrace=False)
    if not MODULES.is_dir():
        pytest.fail("The Node packages of the tests are missing: make install.", pytrace=False)
    return program


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "NODE_PATH": str(MODULES), **more}
