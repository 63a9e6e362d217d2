"""All that a query can ask of one task or model, out of its state, as plain JSON: what the projection holds of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from tracker.index import Metric, Row, reading, row, whole
from tracker.records import State
from tracker.scalars import number_from_json, number_to_json

_INT_MAX: Final = 2**63 - 1
_TEXTS: Final = (
    "user",
    "host",
    "comment",
    "parent",
    "status_reason",
    "status_message",
    "framework",
    "task",
)
SCRIPT: Final = {
    "repository": "repository",
    "branch": "branch",
    "version_num": "commit",
    "entry_point": "entry_point",
    "working_dir": "working_dir",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """A task or a model in short. kind: which of them; texts: by the names of `filters.FIELDS`, as far as they are set;
    times: microseconds since the epoch; models: ids and names, by "input" and "output".
    """

    row: Row
    kind: str
    deleted: bool
    texts: dict[str, str]
    times: dict[str, int]
    system_tags: tuple[str, ...]
    runtime: dict[str, str]
    models: dict[str, dict[str, str]]

    def encode(self) -> bytes:
        """As JSON."""
        each = self.row
        metrics = {
            k: [number_to_json(m.last), number_to_json(m.min), number_to_json(m.max), m.count]
            for k, m in each.metrics.items()
        }
        return orjson.dumps(
            {
                "row": [each.id, each.name, each.project, each.status, each.type, each.created, each.updated],
                "numbers": [each.iteration, each.progress],
                "tags": each.tags,
                "metrics": metrics,
                "singles": {k: number_to_json(v) for k, v in each.singles.items()},
                "params": each.params,
                "kind": self.kind,
                "deleted": self.deleted,
                "texts": self.texts,
                "times": self.times,
                "system_tags": self.system_tags,
                "runtime": self.runtime,
                "models": self.models,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Facts:
        """From JSON. Raises KeyError, TypeError, ValueError for what this version did not write."""
        found = orjson.loads(data)
        key, name, project, status, kind, created, updated = found["row"]
        metrics = {
            k: Metric(number_from_json(last), number_from_json(least), number_from_json(most), count)
            for k, (last, least, most, count) in found["metrics"].items()
        }
        short = Row(
            id=key,
            name=name,
            project=project,
            status=status,
            type=kind,
            tags=tuple(found["tags"]),
            created=created,
            updated=updated,
            iteration=found["numbers"][0],
            progress=found["numbers"][1],
            metrics=metrics,
            singles={k: number_from_json(v) for k, v in found["singles"].items()},
            params=found["params"],
        )
        return cls(
            short,
            found["kind"],
            found["deleted"],
            found["texts"],
            found["times"],
            tuple(found["system_tags"]),
            found["runtime"],
            found["models"],
        )


def facts(key: str, state: State) -> Facts:
    """What there is to know of a task or model. Raises CorruptRecord for what no version of this program writes."""
    short = row(key, state)
    with reading(key):
        changed = state.keys.get("status")
        times = {name: whole(state.get(name)) for name in ("started", "completed")}
        times["status_changed"] = changed.stamp if changed else 0
        found = state.get("script", {})
        script = {f"script.{ours}": str(found.get(theirs) or "") for theirs, ours in SCRIPT.items()}
        texts = {name: str(state.get(name) or "") for name in _TEXTS}
        return Facts(
            row=short,
            kind=state.kind,
            deleted=bool(state.get("deleted")),
            texts={k: v for k, v in {**texts, **script}.items() if v},
            times={k: min(v, _INT_MAX) for k, v in times.items() if v},
            system_tags=tuple(state.section("system_tag")),
            runtime={k: _text(v) for k, v in state.section("runtime").items()},
            models={way: _models(state, way) for way in ("input", "output")},
        )


def _models(state: State, way: str) -> dict[str, str]:
    """Names of the linked models by id."""
    return {key: str(link["name"]) for key, link in state.section(f"model/{way}").items()}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("value", "")
    return value if isinstance(value, str) else str(value)


def number(text: str) -> float | None:
    """A parameter's text as the number that it spells; None where it spells none, or NaN."""
    try:
        found = float(text)
    except ValueError:
        return None
    return found if found == found else None
