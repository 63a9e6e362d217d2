"""One task in full, and two tasks compared.

Pure: states in, frozen records out. It opens nothing; what a state only refers to is read by the caller's function.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from tracker.index import Metric, Read, Row, reading, row, whole
from tracker.records import Ref, State
from tracker.reported import Exhibit, exhibits

_T = TypeVar("_T")
Pair = tuple[_T | None, _T | None]  # left and right; None: that side has none
Models = Callable[[str], State | None]  # a model's id -> its state, None where it is not here

PATCH_MAX: Final = (
    20_000  # lines of two patches that are compared: at worst difflib takes the square of their number
)


@dataclass(frozen=True, slots=True)
class Item:
    """An artifact, or a model with its weights. hash, kind: empty where only a URL was registered; size in bytes.

    name: the artifact's, or the one that the task links the model by; id: the model's, empty for an artifact; purged:
    when its content was, microseconds since the epoch, else 0.
    """

    name: str
    hash: str
    kind: str
    size: int
    type: str
    file: str
    url: str
    id: str = ""
    purged: int = 0

    @property
    def own_name(self) -> str:
        """What to call it on disk. A folder's record has a zip's name, as ClearML has it."""
        return (self.file.removesuffix(".zip") if self.kind == "tree" else self.file) or self.name


@dataclass(frozen=True, slots=True)
class Script:
    """The code that ran. patch: the uncommitted changes, or without a repository (no commit) the script's own text.

    patch is None where it is an object of its own, which `patch_ref` names.
    """

    repository: str = ""
    branch: str = ""
    commit: str = ""
    working_dir: str = ""
    entry_point: str = ""
    binary: str = ""
    untracked: int = 0
    left_out: tuple[str, ...] = ()
    patch: str | None = ""
    patch_ref: Ref | None = None

    @property
    def changed(self) -> bool:
        """Whether the repository had uncommitted changes."""
        return bool(self.commit) and self.patch != ""


@dataclass(frozen=True, slots=True)
class Shown:
    """Plots, tables or samples of one kind, title and series: the newest one, how many there are, and their bytes."""

    newest: Exhibit
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class Page:
    """All of one task but its series and its console. Times in microseconds since the epoch, 0 where not known.

    plots: "title/series" to how many figures were reported; shown: plots, tables and samples, the newest of each name;
    health: what went wrong while recording, and how often.
    """

    row: Row
    comment: str
    user: str
    host: str
    started: int
    completed: int
    status_reason: str
    status_message: str
    script: Script
    packages: Mapping[str, str]
    artifacts: tuple[Item, ...]
    inputs: tuple[Item, ...]
    outputs: tuple[Item, ...]
    plots: Mapping[str, int]
    shown: tuple[Shown, ...]
    health: Mapping[str, int]


def page(key: str, state: State, models: Models) -> Page:
    """A task's page; `models` gives the state of a model by its id, None where it is not here. Raises CorruptRecord."""
    short = row(key, state)
    with reading(key):
        return Page(
            row=short,
            comment=str(state.get("comment", "")),
            user=str(state.get("user", "")),
            host=str(state.get("host", "")),
            started=whole(state.get("started")),
            completed=whole(state.get("completed")),
            status_reason=str(state.get("status_reason", "")),
            status_message=str(state.get("status_message", "")),
            script=script(state),
            packages=packages(state),
            artifacts=artifacts(state),
            inputs=linked_models(state, "input", models),
            outputs=linked_models(state, "output", models),
            plots=plots(state),
            shown=shown(state),
            health={name: whole(count) for name, count in state.section("health").items()},
        )


def artifacts(state: State) -> tuple[Item, ...]:
    """A task's artifacts, by name."""
    return tuple(_item(name, record) for name, record in state.section("artifact").items())


def linked_models(state: State, direction: str, models: Models) -> tuple[Item, ...]:
    """The models that a task links to as "input" or "output", in the order of their making, else of linking."""
    start = f"model/{direction}/"
    links = sorted(
        (whole(e.value.get("created")) or e.stamp, k)
        for k, e in state.keys.items()
        if k.startswith(start) and e.value is not None
    )
    found = []
    for _, key in links:
        link, model_id = state.get(key), key[len(start) :]
        found.append(weights(str(link["name"]), model_id, models(model_id)))
    return tuple(found)


def weights(name: str, model_id: str, state: State | None) -> Item:
    """A model as an item; without a hash where its record or its weights are not here."""
    record = state.get("weights", {}) if state else {}
    return _item(name, {"type": state.get("framework", "") if state else "", **record}, model_id)


def _item(name: str, record: Mapping[str, Any], model_id: str = "") -> Item:
    ref = Ref.parse(record["$ref"]) if "$ref" in record else None
    kind, object_id, size = (ref.kind, ref.id, ref.size) if ref else ("", "", 0)
    sort, file, url = (str(record.get(member) or "") for member in ("type", "file", "url"))
    return Item(name, object_id, kind, size, sort, file, url, model_id, whole(record.get("purged")))


def script(state: State) -> Script:
    """The code that ran."""
    found: Mapping[str, Any] = state.get("script", {})
    diff = found.get("diff", "")
    ref = Ref.parse(diff["$ref"]) if isinstance(diff, Mapping) else None
    return Script(
        **{
            name: str(found.get(name, ""))
            for name in ("repository", "branch", "working_dir", "entry_point", "binary")
        },
        commit=str(found.get("version_num", "")),
        untracked=whole(found.get("untracked")),
        left_out=tuple(map(str, found.get("left_out", ()))),
        patch=None if ref else str(diff),
        patch_ref=ref,
    )


def patch_size(patch: str) -> tuple[int, int, int]:
    """(files, lines added, lines removed) of a unified diff."""
    lines = patch.split("\n")
    files = sum(line.startswith("diff --git ") for line in lines)
    added = sum(line.startswith("+") and not line.startswith("+++ ") for line in lines)
    removed = sum(line.startswith("-") and not line.startswith("--- ") for line in lines)
    return files, added, removed


def plots(state: State) -> dict[str, int]:
    """How many figures were reported, by "title/series"."""
    found: dict[str, int] = {}
    for segment in state.reports:
        for each in segment.plots:
            name = f"{each['title']}/{each['series']}"
            found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items()))


def shown(state: State) -> tuple[Shown, ...]:
    """Plots, tables and samples by name; the newest of one is that of the greatest iteration."""
    found: dict[tuple[str, str, str], list[Exhibit]] = {}
    for each in exhibits(state):
        found.setdefault((each.title, each.series, each.kind), []).append(each)
    return tuple(
        Shown(newest_of(several), len(several), sum(e.ref.size for e in several if e.ref))
        for _, several in sorted(found.items())
    )


def newest_of(several: Iterable[Exhibit]) -> Exhibit:
    """The one of the greatest iteration, of these the one reported last."""
    return max(several, key=lambda each: (each.iteration, each.time))


def packages(state: State) -> dict[str, str]:
    """Package to version, from the recorded requirements; "" for a line that names no exact version."""
    found = {}
    for line in str(state.get("packages", "")).splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, version = line.partition("==")
            found[name.strip()] = version.strip()
    return found


# --- two tasks compared ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two tasks, by name; what is equal is left out.

    tags: those that only the left, only the right has; patch: a unified diff from the left's uncommitted changes (or
    script text) to the right's; patch_sizes: bytes of both where they are too long to be compared line by line.
    """

    fields: Mapping[str, Pair[str]] = field(default_factory=dict)
    params: Mapping[str, Pair[str]] = field(default_factory=dict)
    tags: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    script: Mapping[str, Pair[str]] = field(default_factory=dict)
    patch: str = ""
    patch_sizes: tuple[int, int] | None = None
    packages: Mapping[str, Pair[str]] = field(default_factory=dict)
    metrics: Mapping[str, Pair[Metric]] = field(default_factory=dict)
    singles: Mapping[str, Pair[float]] = field(default_factory=dict)
    artifacts: Mapping[str, Pair[Item]] = field(default_factory=dict)
    models: Mapping[str, Pair[Item]] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing differs."""
        return self == Difference()


def difference(left: Page, right: Page, read_left: Read, read_right: Read) -> Difference:
    """Compare two pages; artifacts and models by hash. A patch that is an object of its own is read to be compared."""
    patch, sizes = _patches(left.script, right.script, read_left, read_right)
    tags = set(left.row.tags), set(right.row.tags)
    return Difference(
        fields=_differing(_fields(left), _fields(right)),
        params=_differing(left.row.params, right.row.params),
        tags=(tuple(sorted(tags[0] - tags[1])), tuple(sorted(tags[1] - tags[0]))),
        script=_differing(_code(left.script), _code(right.script)),
        patch=patch,
        patch_sizes=sizes,
        packages=_differing(left.packages, right.packages),
        metrics=_differing(left.row.metrics, right.row.metrics),
        singles=_differing(left.row.singles, right.row.singles),
        artifacts=_differing(_by_name(left.artifacts), _by_name(right.artifacts), _content),
        models=_differing(_by_name(left.outputs), _by_name(right.outputs), _content),
    )


def _differing(
    left: Mapping[str, _T], right: Mapping[str, _T], what: Callable[[Any], object] = repr
) -> dict[str, Pair[_T]]:
    """What one side lacks, or has another `what` of. The repr of NaN equals itself, unlike NaN."""
    found: dict[str, Pair[_T]] = {}
    for name in sorted({*left, *right}):
        if not (name in left and name in right and what(left[name]) == what(right[name])):
            found[name] = (left.get(name), right.get(name))
    return found


def _fields(each: Page) -> dict[str, str]:
    values = {name: getattr(each.row, name) for name in ("project", "type", "status")}
    values |= {name: getattr(each, name) for name in ("host", "user", "status_reason")}
    return {name: value for name, value in values.items() if value}


def _code(code: Script) -> dict[str, str]:
    names = ("repository", "branch", "commit", "working_dir", "entry_point", "binary")
    return {name: value for name in names if (value := getattr(code, name))}


def _by_name(items: Iterable[Item]) -> dict[str, Item]:
    """Items by name; several models of one name get a number."""
    found: dict[str, Item] = {}
    for each in items:
        name, number = each.name, 2
        while name in found:
            name, number = f"{each.name} ({number})", number + 1
        found[name] = each
    return found


def _content(each: Item) -> str:
    return each.hash or each.url


def _patches(
    left: Script, right: Script, read_left: Read, read_right: Read
) -> tuple[str, tuple[int, int] | None]:
    if (left.patch, left.patch_ref) == (right.patch, right.patch_ref):
        return "", None
    a, b = _patch(left, read_left), _patch(right, read_right)
    if a == b:
        return "", None
    lines = a.split("\n"), b.split("\n")
    if sum(map(len, lines)) > PATCH_MAX:
        return "", (len(a.encode()), len(b.encode()))
    return "\n".join(difflib.unified_diff(*lines, "left", "right", lineterm="")), None


def _patch(code: Script, read: Read) -> str:
    return read(code.patch_ref).decode("utf-8", "replace") if code.patch_ref else code.patch or ""
