"""The settings under which the service is measured."""

import os
from pathlib import Path

from bench.calls import API_KEY, USER_KEY
from bench.databases import Database
from bench.run import BenchRun
from bench.tasks import OWNER, SECRET_KEY

FSYNCS = "fsyncs"


def environment(run: BenchRun, folder: Path, port: int, database: Database, *, fsync_us: int) -> dict[str, str]:
    """`fsync_us` is added to every fsync, and fsyncs are counted, where there is a C compiler."""
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV") if name in os.environ}
    env |= {
        # A `.env` of somebody's own must neither change the figures nor be called with.
        "PYTHON_DOTENV_DISABLED": "1",
        "PORT": str(port),
        "API_KEYS": f"{OWNER}:{API_KEY}:admin,{OWNER}:{USER_KEY}",
        "SECRET_KEY": SECRET_KEY,
        "DATABASE_URL": database.url,
        "MEDIA_DIR": str(folder / "media"),
        "PIAPI_API_KEY": "bench-piapi-key",
        "PIAPI_BASE_URL": run.sink.url,
        "PIAPI_LLM_BASE_URL": run.sink.url,
        "PIAPI_MAX_INFLIGHT": "100000",
        "MODELSLAB_API_KEY": "",
        "ALLOW_PRIVATE_TARGETS": "true",
        "RATE_LIMIT": "0",
        "SWEEP_AFTER": "3600",
    }
    if run.shim is not None:
        env |= {"LD_PRELOAD": str(run.shim), "BENCH_FSYNC_COUNT": str(folder / FSYNCS)}
        env["BENCH_FSYNC_DELAY_US"] = str(fsync_us)
    return env
