"""The API's own description."""

from typing import Any


def openapi(version: str) -> dict[str, Any]:
    return {"openapi": "3.1.0", "info": {"title": "Callbridge", "version": version}, "paths": {}}
