"""The service as the drill starts it: like `python -m service`, but it kills itself at one commit point.

`python -m service.tools.drill.child before:add_task`, settings in the environment. The service itself knows nothing
of this.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable

import uvloop

from service.main import serve
from service.settings import load_settings


def kill_at(wanted: str) -> Callable[[str], None]:
    def pass_point(point: str) -> None:
        if point == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    return pass_point


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    uvloop.run(serve(load_settings(os.environ), kill_at(sys.argv[1] if len(sys.argv) > 1 else "")))
