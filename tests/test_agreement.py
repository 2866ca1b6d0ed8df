"""Schemas, samples, settings, README, Makefile and code say the same."""

import re
import tomllib
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.__main__ import VERBS
from service.core.errors import CallbridgeError
from service.core.event import EVENT_TYPES, FINISHING_EVENTS, TASK_EVENTS
from service.core.task import Status
from service.providers.catalog import catalog
from service.wire import schemas, validation

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "tests" / "samples"
# Parts that other schemas refer to; no document has their form by itself.
SHARED = {"api/subscription.fields"}
OURS = [name for name in schemas.names() if name.startswith(("api/", "events/")) and name not in SHARED]


def sample(name: str) -> Any:
    return orjson.loads((SAMPLES / f"{name}.json").read_bytes())


def enum_of(name: str, *path: str) -> list[str]:
    node: Any = schemas.load(name)
    for part in path:
        node = node[part]
    names: list[str] = node["enum"]
    return names


# --- schemas and samples (those of the providers: test_schemas_providers.py) ---


@pytest.mark.parametrize("name", OURS)
def test_every_schema_has_a_sample_that_fits(name: str) -> None:
    assert validation.faults(name, sample(name)) == []


def test_every_sample_has_a_schema() -> None:
    found = {str(path.relative_to(SAMPLES).with_suffix("")) for path in SAMPLES.glob("[ae][pv]*/*.json")}
    assert found == set(OURS)


@pytest.mark.parametrize("name", OURS)
def test_a_sample_has_no_field_that_its_schema_does_not_name(name: str) -> None:
    shown = sample(name)
    known = schemas.load("api/event" if name.startswith("events/") else name).get("properties")
    assert known is None or set(shown) <= set(known)


@pytest.mark.parametrize("name", [name for name in OURS if name.startswith("events/")])
def test_an_event_of_one_type_does_not_validate_as_another(name: str) -> None:
    fits = [other for other in OURS if other.startswith("events/") and not validation.faults(other, sample(name))]
    assert fits == [name]


def test_schemas_and_code_name_the_same_events_statuses_and_codes() -> None:
    events = {name.removeprefix("events/") for name in schemas.names() if name.startswith("events/")}
    assert events == set(EVENT_TYPES) == set(enum_of("api/event", "properties", "type"))
    assert enum_of("api/subscription.fields", "$defs", "events", "items") == list(EVENT_TYPES)
    assert enum_of("api/task.submit", "properties", "callback_events", "items") == list(TASK_EVENTS)
    assert schemas.load("api/task.submit")["properties"]["callback_events"]["default"] == list(FINISHING_EVENTS)
    assert schemas.load("api/subscription.fields")["$defs"]["events"]["default"] == list(FINISHING_EVENTS)
    assert set(enum_of("api/task", "properties", "status")) == {status.value for status in Status}
    errors: tuple[type[CallbridgeError], ...] = (CallbridgeError, *CallbridgeError.__subclasses__())
    codes = {error.code for error in errors}
    assert set(enum_of("api/problem", "properties", "code")) == codes


# --- what is installed ---


def pins(path: str) -> dict[str, str]:
    lines = [line for line in (ROOT / path).read_text().splitlines() if line and not line.startswith("#")]
    return {normal(name): version for name, version in (line.split("==") for line in lines)}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(lines: list[str]) -> dict[str, tuple[int, ...]]:
    """Names and lowest versions."""
    found = [re.match(r"([\w.-]+)(?:\[[\w,-]+\])?>=([\d.]+)", line) for line in lines]
    return {normal(one[1]): numbers(one[2]) for one in found if one}


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def test_the_pins_are_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for path, lines in (
        ("requirements.txt", project["project"]["dependencies"]),
        ("tests/requirements.txt", project["project"]["dependencies"] + project["dependency-groups"]["dev"]),
    ):
        pinned = pins(path)
        asked = wanted(lines)
        assert len(asked) == len(lines)
        assert {name: numbers(pinned[name]) >= low for name, low in asked.items()} == dict.fromkeys(asked, True)
    assert pins("requirements.txt").items() <= pins("tests/requirements.txt").items()


# --- README ---

README = (ROOT / "README.md").read_text()


def make_targets() -> set[str]:
    phony = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return {name for line in phony for name in line.split()} - {"help", "new-venv"}


def test_the_readme_names_every_make_target_and_no_other() -> None:
    assert set(re.findall(r"make ([a-z]+)\b", README)) == make_targets()


def test_the_readme_runs_commands_that_exist() -> None:
    assert set(re.findall(r"python -m service ([a-z]+)", README)) <= VERBS.keys()


def test_the_supported_systems_in_the_readme_are_the_catalogue() -> None:
    table = README.split("## Providers and models")[1].split("\n## ")[0]
    for provider in catalog()["providers"]:
        for model in provider["models"]:
            assert f"`{model['model']}`" in table
    named = set(re.findall(r"`([^`]+)`", "\n".join(re.findall(r"^\| \w.*$", table, re.MULTILINE))))
    models = {model["model"] for provider in catalog()["providers"] for model in provider["models"]}
    kinds = {one["task_type"] for p in catalog()["providers"] for m in p["models"] for one in m["task_types"]}
    assert named <= models | kinds


def test_the_readme_names_every_status_event_and_error_code() -> None:
    for name in [*(status.value for status in Status), *EVENT_TYPES]:
        assert f"`{name}`" in README
    for error in CallbridgeError.__subclasses__():
        assert f"`{error.code}`" in README
