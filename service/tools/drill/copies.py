"""Checks that the folder of copies holds exactly the copies that the tasks name."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from service.core.copies import folder_of


def wrong_copies(tasks: Iterable[dict[str, Any]], results: Path) -> list[str]:
    """Sentences; empty when all is well."""
    found = []
    folders = set()
    for task in tasks:
        folder = results / folder_of(task["id"])
        folders.add(folder)
        for file in (task["output"] or {"files": []})["files"]:
            copy = file["copy"]
            if copy["status"] == "stored" and not _holds(folder / copy["url"].rpartition("/")[2], copy["sha256"]):
                found.append(f"the copy {copy['url'].rpartition('/')[2]} of {task['id']} is not what was stored")
    strangers = [path for path in results.rglob("*") if path.is_file() and path.parent not in folders]
    return found + [f"{path.relative_to(results)} belongs to no task" for path in strangers]


def _holds(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256
