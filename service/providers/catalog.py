"""The document of `GET /v1/catalog`, built from the same files that the checks use."""

from typing import Any

from service.wire import schemas


def catalog() -> dict[str, Any]:
    """Providers, their models, the task types of each with the address of its input schema, and the published names."""
    listed = schemas.load("catalog")
    return {"providers": [_provider(name, entry) for name, entry in listed.items()]}


def _provider(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    shown = {"provider": name, "models": [_model(model, about) for model, about in entry["models"].items()]}
    return shown | {kind: names for kind, names in entry.items() if kind != "models"}


def _model(model: str, about: dict[str, Any]) -> dict[str, Any]:
    task_types = [
        {"task_type": task_type, "input_schema": f"/schemas/{schema}.json"}
        for task_type, schema in about["task_types"].items()
    ]
    shown = {"model": model, "streams": about.get("streams", False), "files_kept_hours": about["kept_hours"]}
    if "about" in about:
        shown["about"] = about["about"]
    return shown | {"task_types": task_types}
