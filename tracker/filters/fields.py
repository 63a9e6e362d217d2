"""What of a task can be asked for: the names of its fields, of what sort each is, and names near to a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

TEXT: Final = "text"
NUMBER: Final = "number"
TIME: Final = "time"  # microseconds since the epoch
TAGS: Final = "tags"  # any number of texts
MAPPED: Final = "mapped"  # a value by name: parameters, runtime properties, metrics
NAMED: Final = "named"  # a bare name, which may be a metric, a single value or a parameter

FIELDS: Final = {
    "id": TEXT,
    "name": TEXT,
    "project": TEXT,
    "status": TEXT,
    "type": TEXT,
    "tags": TAGS,
    "system_tags": TAGS,
    "user": TEXT,
    "host": TEXT,
    "comment": TEXT,
    "parent": TEXT,
    "created": TIME,
    "started": TIME,
    "completed": TIME,
    "updated": TIME,
    "status_changed": TIME,
    "status_reason": TEXT,
    "status_message": TEXT,
    "iteration": NUMBER,
    "progress": NUMBER,
    "script.repository": TEXT,
    "script.branch": TEXT,
    "script.commit": TEXT,
    "script.entry_point": TEXT,
    "script.working_dir": TEXT,
    "models": TAGS,
    "framework": TEXT,
    "task": TEXT,
}
ALIASES: Final = {
    "tag": "tags",
    "last_update": "updated",
    "last_iteration": "iteration",
    "script.version_num": "script.commit",
    "models.input": "models",
    "models.output": "models",
}
PARAMS: Final = "params"
METRICS: Final = "metrics"
RUNTIME: Final = "runtime"
SECTIONS: Final = {
    "params": PARAMS,
    "param": PARAMS,
    "hyperparams": PARAMS,
    "metrics": METRICS,
    "metric": METRICS,
    "runtime": RUNTIME,
}
PARTS: Final = ("last", "min", "max", "count")

_NEAR: Final = 6  # names offered for one that is unknown


@dataclass(frozen=True, slots=True)
class Field:
    """What is asked for. section: "" for one of FIELDS, else params, metrics, runtime; "?" for a bare name that is
    looked for among metrics, single values and parameters. at: where in the query it stands.
    """

    section: str
    name: str
    at: tuple[int, int] | None = field(default=None, compare=False)

    @property
    def sort(self) -> str:
        """TEXT, NUMBER, TIME, TAGS, MAPPED or NAMED."""
        if self.section == "?":
            return NAMED
        return MAPPED if self.section else FIELDS[self.name]

    def __str__(self) -> str:
        return f"{self.section}.{self.name}" if self.section not in ("", "?") else self.name

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """Under which (name, part) a metric may be stored, best first.

        A name that ends like a part may be one whole; a single value is a metric of its own, with or without its title.
        """
        whole = [(self.name, "last")]
        stem, _, part = self.name.rpartition(".")
        if stem and part in PARTS:
            whole.append((stem, part))
        return tuple(whole)


def find(text: str, at: tuple[int, int] | None = None) -> Field:
    """The field of a name as people write it: `name`, `params.Args/lr`, `metrics.val/acc.min`, or a bare `val/acc`."""
    name = ALIASES.get(text, text)
    if name in FIELDS:
        return Field("", name, at)
    section, dot, rest = text.partition(".")
    if dot and rest and section in SECTIONS:
        return Field(SECTIONS[section], rest, at)
    return Field("?", text, at)


def near(name: str, names: Iterable[str], most: int = _NEAR) -> list[str]:
    """Names that contain `name` or are much like it."""
    known = list(dict.fromkeys(names))
    low = name.casefold()
    found = [each for each in known if low and low in each.casefold()][:most]
    if len(known) <= 20_000:  # comparing more takes seconds
        found += [each for each in difflib.get_close_matches(name, known, most, 0.5) if each not in found]
    return found[:most]


def hint(name: str, names: Sequence[str]) -> str:
    """What to say of an unknown name."""
    if found := near(name, names):
        return f"did you mean {', '.join(found)}?"
    return f"there are {', '.join(names[:20])}" if names else "there are none"
