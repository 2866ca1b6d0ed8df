"""A real S3 server on loopback, with a bucket of its own for each test."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex

import httpx

from service.tools.harness.ports import free_port

START_SECONDS = 60.0


class S3:
    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": "test-id",
            "AWS_SECRET_ACCESS_KEY": "test-secret",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": self.url,
        }

    def start(self) -> None:
        """What it kept before a stop is gone: its memory is all it has."""
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                httpx.get(f"{self.url}/moto-api/", timeout=5)
                return
            except httpx.HTTPError:
                assert time.monotonic() < until, "the S3 server does not start"
                time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def stopped(self) -> bool:
        return self._process is None

    def make_bucket(self) -> str:
        name = f"results-{token_hex(6)}"
        httpx.put(f"{self.url}/{name}").raise_for_status()
        return name

    def names(self, bucket: str) -> list[str]:
        """Of everything in the bucket, half uploads included."""
        objects = re.findall(r"<Key>(.*?)</Key>", httpx.get(f"{self.url}/{bucket}?list-type=2").text)
        uploads = re.findall(r"<Key>(.*?)</Key>", httpx.get(f"{self.url}/{bucket}?uploads").text)
        return sorted([*objects, *(f"unfinished {name}" for name in uploads)])


@contextmanager
def s3_server() -> Iterator[S3]:
    one = S3()
    before = {name: os.environ.get(name) for name in one.env}
    os.environ.update(one.env)
    try:
        yield one
    finally:
        one.stop()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
