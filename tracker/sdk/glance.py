"""Tasks, artifacts and models at a glance, as notebooks show them. Names come out of a store: all of it is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tracker import cards

if TYPE_CHECKING:
    from tracker.sdk.artifacts import Artifact, Artifacts
    from tracker.sdk.models import Model
    from tracker.sdk.models.links import ModelList
    from tracker.sdk.task import Task


def of_task(task: Task) -> str:
    """What a task is, what it was run with, and what it has made; a line alone of one that is gone."""
    from tracker.errors import TaskNotFound

    try:
        status = task.status
    except TaskNotFound:
        return cards.card(f"Task {task.id}", {"status": "deleted, or in another store"})
    last = task.get_last_scalar_metrics()
    points = {
        f"{title}/{series}": value["last"]
        for title, all_of in last.items()
        for series, value in all_of.items()
    }
    facts: dict[str, Any] = {
        "id": task.id,
        "project": task.get_project_name(),
        "status": f"{status} ({reason})" if (reason := task.data.status_reason) else status,
        "type": task.task_type,
        "tags": task.get_tags(),
        "parameters": task.get_parameters(),
        "single values": task.get_reported_single_values(),
        "last values": {name: value for name, value in points.items() if not name.startswith("Summary/")},
        "artifacts": {name: each.type for name, each in task.artifacts.items()},
        **{f"{direction} models": _named(models) for direction, models in task.models.items()},
    }
    return cards.card(task.name, facts)


def of_artifact(artifact: Artifact) -> str:
    """What an artifact is, and how it begins."""
    facts = {
        "type": artifact.type,
        "size": f"{artifact.size:,} bytes",
        "hash": artifact.hash,
        "stored": f"{artifact.timestamp:%Y-%m-%d %H:%M:%S} UTC",
        "metadata": artifact.metadata,
        "preview": artifact.preview,
    }
    return cards.card(artifact.name, facts)


def of_artifacts(artifacts: Artifacts) -> str:
    """A line each."""
    return cards.table(
        ("name", "type", "bytes", "hash"),
        ((name, each.type, f"{each.size:,}", each.hash[:12]) for name, each in artifacts.items()),
    )


def of_model(model: Model) -> str:
    """What a model is, and where its weights are."""
    facts = {
        "id": model.id,
        "project": model.project,
        "task": model.task,
        "framework": model.framework,
        "tags": model.tags,
        "comment": model.comment,
        "size": f"{model.size:,} bytes" if model.size else "",
        "hash": model.hash,
        "url": model.url,
        "labels": model.labels,
        "metadata": {name: each["value"] for name, each in model.get_all_metadata().items()},
    }
    return cards.card(model.name, facts)


def of_models(models: Mapping[str, ModelList]) -> str:
    """A line each."""
    return cards.table(
        ("", "name", "framework", "bytes", "hash"),
        (
            (direction, name, model.framework, f"{model.size:,}", model.hash[:12])
            for direction, found in models.items()
            for name, model in _pairs(found)
        ),
    )


def _pairs(models: ModelList) -> list[tuple[str, Model]]:
    return list(zip(models.keys(), models, strict=True))


def _named(models: ModelList) -> dict[str, str]:
    return {f"{number + 1}. {name}": model.id for number, (name, model) in enumerate(_pairs(models))}
