"""Terms -> SQL. Every value and every name of the user's is bound; what is put together here are column names of ours.

A condition is true or false and never unknown, so that its negation is what it says.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from tracker.errors import BadValue
from tracker.filters import fields, patterns
from tracker.filters.fields import Field
from tracker.filters.terms import Compare, Exists, Holds, Match, Not, Order, Some, Term, Together
from tracker.projection.schema import METRIC, PARAM, RUNTIME, SINGLE, SYSTEM_TAG, TAG

_SINGLE_TITLE: Final = "Summary/"
_LAST: Final = "\U0010ffff"  # greater than any character of an id
_OPERATORS: Final = frozenset(("=", "<", "<=", ">", ">="))
_TAG_SECTIONS: Final = {"tags": TAG, "system_tags": SYSTEM_TAG}
_MORE: Final = {
    "host": "host",
    "comment": "comment",
    "status_reason": "status_reason",
    "status_message": "status_message",
    "framework": "framework",
    "task": "task",
    "script.repository": "repository",
    "script.branch": "branch",
    "script.commit": "commit_id",
    "script.entry_point": "entry_point",
    "script.working_dir": "working_dir",
    "models": "models",
}
_COLUMNS: Final = {
    **{
        name: f"t.{name}"
        for name in ("name", "project", "status", "type", "user", "parent", "created", "started", "completed")
    },
    **{name: f"t.{name}" for name in ("updated", "status_changed", "iteration", "progress")},
    "id": "t.key",
    **{name: f"(SELECT m.{column} FROM more m WHERE m.n = t.n)" for name, column in _MORE.items()},
}


class UnknownName(BadValue):
    """A name that no task has. field: which."""

    def __init__(self, problem: str, of: Field) -> None:
        self.field = of
        super().__init__(problem)


@dataclass(frozen=True, slots=True)
class _Value:
    """Where a named value lies: the table, the id of its name, the columns of its number and of its text."""

    table: str
    name: int
    number: str
    text: str = ""


@dataclass(slots=True)
class Names:
    """The names that a store's tables know, of one connection or of several that are read as one."""

    connections: list[sqlite3.Connection]

    def every(self, *sections: int) -> list[str]:
        """All names of some sections, sorted."""
        marks = ", ".join("?" * len(sections))
        asked = f"SELECT text FROM name WHERE section IN ({marks})"
        return sorted({row[0] for c in self.connections for row in c.execute(asked, sections)})

    def has(self, section: int, text: str) -> bool:
        """Whether there is such a name."""
        return any(_id(c, section, text) is not None for c in self.connections)

    def has_tasks(self) -> bool:
        """Whether there is any task at all."""
        asked = "SELECT 1 FROM thing WHERE NOT deleted LIMIT 1"
        return any(c.execute(asked).fetchone() is not None for c in self.connections)


def check(term: Term, names: Names) -> None:
    """Raise UnknownName for a parameter, metric or bare name that somebody typed and no task has."""
    if isinstance(term, Together | Some):
        for each in term.terms:
            check(each, names)
    elif isinstance(term, Not):
        check(term.term, names)
    elif term.field.at is not None:
        check_name(term.field, names)


def check_name(of: Field, names: Names) -> None:
    """The same of one field."""
    sections = [section for section, _, _ in _candidates(of)]
    if not of.section or any(names.has(s, text) for s, text, _ in _candidates(of)) or not names.has_tasks():
        return
    known = names.every(*dict.fromkeys(sections))
    what = {fields.METRICS: "metric", fields.PARAMS: "parameter", fields.RUNTIME: "runtime property"}
    if of.section == "?":
        known += fields.FIELDS
        raise UnknownName(f"no task has a value named {of.name!r}: {fields.hint(of.name, known)}", of)
    raise UnknownName(f"no task has a {what[of.section]} {of.name!r}: {fields.hint(of.name, known)}", of)


def _candidates(of: Field) -> list[tuple[int, str, str]]:
    """(section, name, part): where the values of a field may lie, the likeliest first."""
    found: list[tuple[int, str, str]] = []
    if of.section in (fields.METRICS, "?"):
        for name, part in of.names:
            found += [(METRIC, name, part), (SINGLE, name, part)]
            if name.startswith(_SINGLE_TITLE):
                found.append((SINGLE, name.removeprefix(_SINGLE_TITLE), part))
    if of.section in (fields.PARAMS, "?"):
        found.append((PARAM, of.name, ""))
    if of.section == fields.RUNTIME:
        found.append((RUNTIME, of.name, ""))
    return found


@dataclass(slots=True)
class Compiler:
    """Makes SQL for one connection. values: what the SQL's question marks stand for, in their order."""

    connection: sqlite3.Connection
    values: list[Any] = field(default_factory=list)
    error: list[Exception] = field(default_factory=list)  # what one of our functions raised
    _functions: int = 0

    def where(self, term: Term) -> str:
        """The condition of all that holds; one value that has to be there leads, and the others are looked up."""
        terms: list[Term] = list(term.terms) if isinstance(term, Together) else [term]
        leader = next((each for each in terms if self._leads(each)), None)
        if leader is None:
            return self.condition(term)
        terms.remove(leader)
        return " AND ".join([self._led(leader), *(self.condition(each) for each in terms)])

    def _leads(self, term: Term) -> bool:
        return isinstance(term, Compare) and (
            term.field.name in _TAG_SECTIONS
            or (bool(term.field.section) and len(self._places(term.field)) == 1)
        )

    def _led(self, term: Term) -> str:
        assert isinstance(term, Compare)
        if term.field.name in _TAG_SECTIONS and not term.field.section:
            ids = self._ids(_TAG_SECTIONS[term.field.name], [str(term.value)])
            return f"t.n IN (SELECT v.task FROM tag v WHERE v.name IN {ids})"
        (place,) = self._places(term.field)
        self.values.append(place.name)
        compared = self._compared(f"v.{place.number}", place.text and f"v.{place.text}", term)
        return f"t.n IN (SELECT v.task FROM {place.table} v WHERE v.name = ? AND {compared})"

    def condition(self, term: Term) -> str:
        """An expression that is 1 or 0."""
        if isinstance(term, Together):
            return f"({' AND '.join(map(self.condition, term.terms))})" if term.terms else "1"
        if isinstance(term, Some):
            return f"({' OR '.join(map(self.condition, term.terms))})" if term.terms else "0"
        if isinstance(term, Not):
            return f"(NOT {self.condition(term.term)})"
        if term.field.section:
            return self._of_named(term)
        if term.field.name in _TAG_SECTIONS:
            return self._of_tags(term)
        if term.field.name == "models":
            return self._of_texts(term)
        return self._of_column(term)

    # --- tags --------------------------------------------------------------------------------------------------------

    def _of_tags(self, term: Compare | Match | Holds | Exists) -> str:
        section = _TAG_SECTIONS[term.field.name]
        if isinstance(term, Compare):
            wanted = [str(term.value)]
        else:
            fits = _text_test(term) if not isinstance(term, Exists) else lambda _: True
            asked = "SELECT text FROM name WHERE section = ?"
            wanted = [text for (text,) in self.connection.execute(asked, (section,)) if fits(text)]
        ids = self._ids(section, wanted)
        return f"EXISTS (SELECT 1 FROM tag v WHERE v.task = t.n AND v.name IN {ids})"

    def _ids(self, section: int, texts: Iterable[str]) -> str:
        """The ids of some names, as what follows IN."""
        found = [each for text in texts if (each := _id(self.connection, section, text)) is not None]
        if len(found) <= 8:
            return f"({', '.join(map(str, found))})"
        self.values.append(json.dumps(found))
        return "(SELECT value FROM json_each(?))"

    # --- columns -----------------------------------------------------------------------------------------------------

    def _of_column(self, term: Compare | Match | Holds | Exists) -> str:
        column = _COLUMNS[term.field.name]
        if isinstance(term, Exists):
            return (
                f"coalesce({column} <> '', 0)"
                if term.field.sort == fields.TEXT
                else f"({column} IS NOT NULL)"
            )
        if isinstance(term, Compare):
            return self._compare(column, term)
        if isinstance(term, Holds) and term.how == "begins":
            self.values += [term.text, f"{term.text}{_LAST}"]
            return f"coalesce({column} >= ? AND {column} < ?, 0)"
        if isinstance(term, Holds) and term.how == "below":
            # What begins with "a/" lies between "a/" and "a0", which is what follows.
            self.values += [term.text, f"{term.text}/", f"{term.text}0"]
            return f"({column} = ? OR ({column} >= ? AND {column} < ?))"
        return f"{self._function(_text_test(term))}({column})"

    def _compare(self, column: str, term: Compare) -> str:
        self.values.append(_bound(term.value))
        return f"coalesce({column} {_checked(term.op)} ?, 0)"

    def _of_texts(self, term: Compare | Match | Holds | Exists) -> str:
        """Several texts in one column, a line each."""
        column = _COLUMNS[term.field.name]
        if isinstance(term, Exists):
            return f"({column} <> '')"
        if isinstance(term, Compare):
            wanted = str(term.value)
            return f"{self._function(lambda text: text != '' and wanted in text.split(chr(10)))}({column})"
        fits = _text_test(term)
        return f"{self._function(lambda text: text != '' and any(map(fits, text.split(chr(10)))))}({column})"

    # --- values by name ----------------------------------------------------------------------------------------------

    def _of_named(self, term: Compare | Match | Holds | Exists) -> str:
        found = []
        for place in self._places(term.field):
            start = f"EXISTS (SELECT 1 FROM {place.table} v WHERE v.name = {place.name} AND v.task = t.n"
            if isinstance(term, Exists):
                found.append(f"{start})")
            elif isinstance(term, Compare):
                compared = self._compared(f"v.{place.number}", place.text and f"v.{place.text}", term)
                found.append(f"{start} AND {compared})")
            elif place.text:
                found.append(f"{start} AND {self._function(_text_test(term))}(v.{place.text}))")
        return f"({' OR '.join(found)})" if found else "0"

    def _compared(self, column: str, text: str, term: Compare) -> str:
        if isinstance(term.value, str) and not text:
            return f"({column} IS NULL)" if term.value == "nan" else "0"
        self.values.append(_bound(term.value))
        return f"coalesce({text if isinstance(term.value, str) else column} {_checked(term.op)} ?, 0)"

    def _places(self, of: Field) -> list[_Value]:
        found = []
        for section, text, part in _candidates(of):
            name = _id(self.connection, section, text)
            if name is not None and section in (PARAM, RUNTIME):
                found.append(_Value("param", name, "number", "text"))
            elif name is not None:
                found.append(_Value("metric", name, _part(part)))
        return found

    # --- order -------------------------------------------------------------------------------------------------------

    def value(self, of: Field) -> str:
        """An expression for what a task is sorted by: a number, a text, or NULL."""
        if of.sort == fields.TAGS:
            raise BadValue(f"{of} cannot be sorted by: a task has any number of them")
        if not of.section:
            return f"nullif({_COLUMNS[of.name]}, '')"
        found = []
        for place in self._places(of):
            column = f"v.{place.number}" if not place.text else f"coalesce(v.{place.number}, v.{place.text})"
            found.append(
                f"(SELECT {column} FROM {place.table} v WHERE v.name = {place.name} AND v.task = t.n)"
            )
        return found[0] if len(found) == 1 else f"coalesce({', '.join(['NULL', *found])}, NULL)"

    def order(self, orders: Iterable[Order]) -> tuple[list[str], list[str]]:
        """The expressions to select as s0, s1 … and those to order by."""
        selected, ordered = [], []
        for i, each in enumerate(orders):
            selected.append(f"{self.value(each.field)} AS s{i}")
            way = "DESC" if each.down else "ASC"
            ordered.append(f"s{i} IS NULL")
            if each.field.section or each.field.sort == fields.TEXT:
                fold = self._fold()
                ordered += [
                    f"typeof(s{i}) = 'text'",
                    f"CASE WHEN typeof(s{i}) = 'text' THEN {fold}(s{i}) ELSE s{i} END {way}",
                ]
            else:
                ordered.append(f"s{i} {way}")
        return selected, [*ordered, "updated DESC", "key"]

    # --- functions ---------------------------------------------------------------------------------------------------

    def _fold(self) -> str:
        self.connection.create_function("fold", 1, str.casefold, deterministic=True)
        return "fold"

    def _function(self, fits: Callable[[str], bool]) -> str:
        """Make a test of texts known to SQLite; returns its name."""
        name = f"fits_{self._functions}"
        self._functions += 1

        def call(text: object) -> bool:
            try:
                return isinstance(text, str) and fits(text)
            except BadValue as error:
                self.error.append(error)
                raise

        self.connection.create_function(name, 1, call, deterministic=True)
        return name


def _text_test(term: Match | Holds) -> Callable[[str], bool]:
    if isinstance(term, Match):
        return patterns.searcher(term.pattern, ignore_case=term.ignore_case)
    if term.how == "begins":
        return lambda text: text.startswith(term.text)
    if term.how == "below":
        return lambda text: text == term.text or text.startswith(f"{term.text}/")
    folded = term.text.casefold()
    return lambda text: folded in text.casefold()


def _id(connection: sqlite3.Connection, section: int, text: str) -> int | None:
    row = connection.execute("SELECT id FROM name WHERE section = ? AND text = ?", (section, text)).fetchone()
    return None if row is None else int(row[0])


def listed(texts: Iterable[str]) -> str:
    """Texts as one value, for json_each."""
    return json.dumps(list(texts))


def _bound(value: Any) -> Any:
    """A value that SQLite can hold: an integer beyond its 64 bits is compared as a float."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value)
    return value if not isinstance(value, float) or not math.isnan(value) else None


def _checked(op: str) -> str:
    if op not in _OPERATORS:
        raise BadValue(f"{op!r} compares nothing: there are {', '.join(sorted(_OPERATORS))}")
    return op


def _part(part: str) -> str:
    if part not in fields.PARTS:
        raise BadValue(f"{part!r} is no part of a metric: there are {', '.join(fields.PARTS)}")
    return part
