"""ClearML's `task_filter`: a dict of rules -> a term, an order, and a page. The dict is not changed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from tracker.errors import BadValue
from tracker.filters import algebra, dates, fields, patterns
from tracker.filters.fields import Field
from tracker.filters.terms import Compare, Holds, Match, Not, Order, Term, some, together

Names = Callable[[], Iterable[str]]  # the names of all metrics, "title/series"

# Where `search_text` looks; and what ClearML calls otherwise than we do.
SEARCHED: Final = (
    "name",
    "id",
    "comment",
    "models",
    "script.repository",
    "script.branch",
    "script.commit",
    "script.entry_point",
    "script.working_dir",
)
_LISTS: Final = ("id", "status", "type", "parent", "user", "tags", "system_tags", "project")
_TIMES: Final = ("created", "started", "completed", "status_changed", "last_update", "last_change")
_SETTINGS: Final = ("order_by", "page", "page_size", "only_fields", "search_hidden", "include_subprojects")
_ANY: Final = ("_any_", "_or_")
_EVERY: Final = ("_all_", "_and_")
KEYS: Final = (
    *_LISTS,
    "name",
    "comment",
    "search_text",
    *_TIMES,
    "last_iteration",
    "last_metrics.TITLE.SERIES",
    "hyperparams.SECTION.NAME",
    "runtime.NAME",
    *_ANY,
    *_EVERY,
    *_SETTINGS,
)
_TEXTS: Final = frozenset(_LISTS) | {"name", "comment", "host", "framework", "models"}
_COMPARISON: Final = re.compile(r"\s*(>=|<=|>|<|==?)\s*(.+)")
_METRIC_PARTS: Final = {
    "value": "last",
    "last": "last",
    "min_value": "min",
    "min": "min",
    "max_value": "max",
    "max": "max",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a task_filter asks for. page: counted from 0, of `page_size` tasks; None: all of them."""

    term: Term
    order: tuple[Order, ...] = ()
    page: int = 0
    page_size: int | None = None
    search_hidden: bool = False
    include_subprojects: bool = False
    only_fields: tuple[str, ...] = ()


def parse(rules: Mapping[str, Any] | None, metrics: Names = tuple) -> Asked:
    """What the rules ask for; all have to hold, and None or an empty list asks nothing. Raises BadValue.

    metrics: the names of metrics, to find those that a rule spells with dots or by their MD5, as ClearML does.
    """
    if not isinstance(rules, Mapping | None):
        raise BadValue(f"task_filter is a dict, not {type(rules).__name__}")
    given = {key: value for key, value in (rules or {}).items() if value is not None}
    below = _flag(given, "include_subprojects")
    terms = [_rule(key, value, below, metrics) for key, value in given.items() if key not in _SETTINGS]
    size, page = _count(given, "page_size", 1), _count(given, "page", 0)
    return Asked(
        together(terms),
        tuple(_order(text, metrics) for text in _texts("order_by", given.get("order_by", ()))),
        page or 0,
        500 if size is None and page is not None else size,
        _flag(given, "search_hidden"),
        below,
        tuple(_texts("only_fields", given.get("only_fields", ()))),
    )


def field_of(name: str, metrics: Names = tuple) -> Field:
    """The field that a name of ClearML's means. Raises BadValue."""
    known = {"last_change": "updated", "last_worker": "host", "execution.queue": "queue"}.get(name, name)
    head, _, rest = known.partition(".")
    if head == "last_metrics" and rest:
        return _metric(rest, metrics)
    if head == "hyperparams" and rest:
        return Field(fields.PARAMS, rest.removesuffix(".value").replace(".", "/", 1))
    if head == "runtime" and rest:
        return Field(fields.RUNTIME, rest)
    if head == "script" and rest in ("version_num", "tag"):
        known = "script.commit" if rest == "version_num" else known
    found = fields.find(known)
    if found.section == "?":
        raise BadValue(f"task_filter names {name!r}: {fields.hint(name, [*_TEXTS, *_TIMES, *fields.FIELDS])}")
    return found


def projects(values: Iterable[str | None], *, below: bool) -> Term:
    """In one of these projects, which may be the tag algebra's list; below: or in one inside them."""
    of = Field("", "project")
    return (
        algebra.combine("project", values, of, lambda name: Holds(of, name, "below"))
        if below
        else (algebra.combine("project", values, of))
    )


def _rule(key: str, value: Any, below: bool, metrics: Names) -> Term:
    what = f"task_filter's {key}"
    if key == "project":
        return projects(_listed(value), below=below)
    if key in _LISTS:
        return algebra.combine(what, _listed(value), Field("", key))
    if key in ("name", "comment"):
        return some([_match(Field("", key), text) for text in _texts(what, value)]) if value else together(())
    if key == "search_text":
        return some([_match(field_of(name), _text(what, value), ignore_case=True) for name in SEARCHED])
    if key in _ANY or key in _EVERY:
        return _several(what, value, every=key in _EVERY, metrics=metrics)
    if key in _TIMES or key == "last_iteration" or key.startswith("last_metrics."):
        return _range(what, field_of(key, metrics), value)
    if key.startswith(("runtime.", "hyperparams.")):
        of = field_of(key)
        if _is_range(value):
            return _range(what, of, value)
        return algebra.combine(what, [_plain(v) for v in _listed(value)], of)
    raise BadValue(f"task_filter has {key}: it takes {', '.join(KEYS)}; {fields.hint(key, KEYS)}")


def _several(what: str, rule: Any, *, every: bool, metrics: Names) -> Term:
    """`{"fields": […], "pattern": …}` or `{"fields": […], "datetime": …}`."""
    if (
        not isinstance(rule, Mapping)
        or not rule.get("fields")
        or not ("pattern" in rule or "datetime" in rule)
    ):
        raise BadValue(f'{what} is {rule!r}: {{"fields": [names], "pattern": expression}} is expected')
    found = [field_of(name, metrics) for name in _texts(what, rule["fields"])]
    if "pattern" in rule:
        terms = [_match(of, _text(what, rule["pattern"]), ignore_case=True) for of in found]
    else:
        terms = [_range(what, of, rule["datetime"]) for of in found]
    return together(terms) if every else some(terms)


def _range(what: str, of: Field, value: Any) -> Term:
    """`[least, most]`, either of which may be None; or one or more of `">=2024-01-01"`, of which all have to hold."""
    values = _listed(value)
    compared = any(isinstance(v, str) and _COMPARISON.fullmatch(v) for v in values)
    if not values or (len(values) > 2 and not compared):
        raise BadValue(f'{what} is {value!r}: [least, most] or [">=…", "<…"] is expected')
    if compared:
        return together(_compared(what, of, v) for v in values if v is not None)
    least, most = [*values, None, None][:2]
    if len(values) == 1:
        return together(_equal(what, of, least))
    bounds = ((">=", least), ("<=", most))
    return together(Compare(of, op, _point(what, of, v)[0]) for op, v in bounds if v is not None)


def _compared(what: str, of: Field, text: Any) -> Term:
    found = _COMPARISON.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return together(_equal(what, of, text))
    if found[1] in ("=", "=="):
        return together(_equal(what, of, found[2]))
    return Compare(of, found[1], _point(what, of, found[2])[0])


def _equal(what: str, of: Field, value: Any) -> list[Term]:
    start, before = _point(what, of, value)
    if of.sort == fields.TIME:
        return [Compare(of, ">=", start), Compare(of, "<", before)]
    return [Compare(of, "=", start)]


def _point(what: str, of: Field, value: Any) -> tuple[float, float]:
    """A number; or the microseconds at which a time begins, and ends."""
    try:
        if of.sort != fields.TIME:
            return float(value), float(value)
        if isinstance(value, datetime):
            aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
            return int(aware.timestamp() * 1e6), int(aware.timestamp() * 1e6) + 1
        if isinstance(value, int | float):
            return int(value * 1e6), int(value * 1e6) + 1
        return dates.parse(str(value).strip())
    except (TypeError, ValueError, OverflowError) as error:
        raise BadValue(f"{what} has {value!r}: {error}") from error


def _is_range(value: Any) -> bool:
    values = _listed(value)
    compared = [v for v in values if isinstance(v, str) and _COMPARISON.fullmatch(v)]
    numbers = [v for v in values if v is None or (isinstance(v, int | float) and not isinstance(v, bool))]
    return bool(values) and (bool(compared) or len(numbers) == len(values) <= 2)


def _metric(rest: str, metrics: Names) -> Field:
    """A metric from `title.series[.part]`, in which title and series may be themselves or their MD5."""
    stem, _, part = rest.rpartition(".")
    spelled = [(stem, _METRIC_PARTS[part])] if part in _METRIC_PARTS else []
    spelled.append((rest, "last"))
    for name, part in spelled:
        for known in metrics():
            if name == known or any(name in _spellings(*cut) for cut in _cuts(known)):
                return Field(fields.METRICS, f"{known}.{part}")
    name, part = spelled[0]
    return Field(fields.METRICS, f"{name if '/' in name else name.replace('.', '/', 1)}.{part}")


def _cuts(name: str) -> list[tuple[str, str]]:
    """The titles and series that a metric's name may be made of: both may have slashes in them."""
    return [(name[:at], name[at + 1 :]) for at, each in enumerate(name) if each == "/"]


def _spellings(title: str, series: str) -> tuple[str, str]:
    return f"{title}.{series}", f"{_md5(title)}.{_md5(series)}"


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _order(text: str, metrics: Names) -> Order:
    return Order(field_of(text.removeprefix("-"), metrics), text.startswith("-"))


def _match(of: Field, pattern: str, *, ignore_case: bool = False) -> Term:
    patterns.check(pattern)
    return Match(of, pattern, ignore_case)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, bool | int | float) else value


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)


def _texts(what: str, value: Any) -> list[str]:
    values = _listed(value)
    if not all(isinstance(v, str) for v in values):
        raise BadValue(f"{what} is {value!r}: a text or a list of texts is expected")
    return values


def _text(what: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadValue(f"{what} is {value!r}: a text is expected")
    return value


def _flag(given: Mapping[str, Any], key: str) -> bool:
    value = given.get(key, False)
    if not isinstance(value, bool | int):
        raise BadValue(f"task_filter's {key} is {value!r}: True or False is expected")
    return bool(value)


def _count(given: Mapping[str, Any], key: str, least: int) -> int | None:
    value = given.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
        raise BadValue(f"task_filter's {key} is {value!r}: a whole number, {least} or more, is expected")
    return value


def hidden() -> Term:
    """Not to be shown unless asked for."""
    return Not(Compare(Field("", "system_tags"), "=", "hidden"))


def archived() -> Term:
    """Put away."""
    return Compare(Field("", "system_tags"), "=", "archived")
