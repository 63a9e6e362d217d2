"""The grammar of `tracker ls`: text -> terms. An error shows the place and names near to what is not known.

query   = all ("or" all)*                     all     = part+           "and" may stand between two parts
part    = ("-" | "!" | "not") part | "(" query ")" | field operator value | word
operator: `:` fits, `=` equals, `!=`, `<`, `<=`, `>`, `>=`, `~` or `:~` matches a regular expression, `!~`
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tracker.errors import BadValue
from tracker.filters import dates, fields, patterns
from tracker.filters.fields import Field
from tracker.filters.terms import ALL, Compare, Exists, Holds, Match, Not, Order, Term, some, together

TEXT_MAX: Final = 20_000  # characters of a query
DEPTH_MAX: Final = (
    50  # of groups and negations inside one another: SQLite and Python have limits of their own
)
PARTS_MAX: Final = 500

_OPERATOR: Final = re.compile(r":?(!=|<=|>=|!~|==|=|<|>|~)|:")
_QUOTES: Final = "\"'"
_OR: Final = ("or", "OR", "|", "||")
_AND: Final = ("and", "AND", "&", "&&")
_NOT: Final = ("not", "NOT")


class BadQuery(BadValue):
    """A query that cannot be understood. Its text shows the place; `problem` alone says what is wrong there."""

    def __init__(self, problem: str, text: str, at: tuple[int, int]) -> None:
        self.problem = problem
        self.text = re.sub(r"\s", " ", text)
        self.at = at
        super().__init__(self.pointed())

    def pointed(self, shown: Callable[[str], str] = str) -> str:
        """The problem, the query, and a line of carets under the place. shown: what each text is printed as."""
        start, end = self.at
        before, place = shown(self.text[:start]), shown(self.text[start:end])
        return (
            f"{shown(self.problem)}\n  {before}{place}{shown(self.text[end:])}\n"
            f"  {' ' * len(before)}{'^' * max(1, len(place))}"
        )


def parse(text: str) -> Term:
    """What a query asks for; an empty one asks for everything. Raises BadQuery."""
    if len(text) > TEXT_MAX:
        raise BadQuery(f"a query of {len(text)} characters: at most {TEXT_MAX} are read", text[:80], (0, 80))
    parser = _Parser(text)
    found = parser.alternatives(0)
    if not parser.ended():
        raise BadQuery("there is no group to close here", text, (parser.at, parser.at + 1))
    return found


def parse_sort(text: str) -> Order:
    """A key to sort by, descending where a dash precedes it. Raises BadQuery."""
    name = text.removeprefix("-").strip().strip(_QUOTES)
    if not name:
        raise BadQuery("a name to sort by is expected", text, (0, len(text)))
    return Order(
        fields.find(name, (len(text) - len(text.removeprefix("-")), len(text))), text.startswith("-")
    )


@dataclass(frozen=True, slots=True)
class _Piece:
    """A run of characters, without the quotes around them or around parts of them."""

    text: str
    at: tuple[int, int]
    quoted: bool


class _Parser:
    """Reads a query from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._parts = 0
        self.at = 0

    def ended(self) -> bool:
        """Whether nothing but spaces is left."""
        self._skip()
        return self.at >= len(self._text)

    def _skip(self) -> None:
        while self.at < len(self._text) and self._text[self.at].isspace():
            self.at += 1

    def _is_next(self, words: tuple[str, ...]) -> bool:
        """Whether one of these words comes next, which is then passed."""
        self._skip()
        for word in words:
            end = self.at + len(word)
            after = self._text[end : end + 1]
            if self._text.startswith(word, self.at) and (not after or after.isspace() or after in "()"):
                self.at = end
                return True
        return False

    def alternatives(self, depth: int) -> Term:
        """Parts with `or` between them, up to the end or to a closing parenthesis."""
        found = [self._all(depth)]
        while self._is_next(_OR):
            found.append(self._all(depth))
        if len(found) > 1 and ALL in found:
            raise self._error("something has to stand on both sides of `or`")
        return some(found)

    def _all(self, depth: int) -> Term:
        found: list[Term] = []
        while not self.ended() and self._text[self.at] != ")":
            before = self.at
            if self._is_next(_OR):
                self.at = before
                break
            if self._is_next(_AND):
                continue
            found.append(self._part(depth))
        return together(found)

    def _part(self, depth: int) -> Term:
        self._parts += 1
        if depth > DEPTH_MAX or self._parts > PARTS_MAX:
            limit = f"{DEPTH_MAX} groups inside one another" if depth > DEPTH_MAX else f"{PARTS_MAX} parts"
            raise self._error(f"a query has at most {limit}")
        self._skip()
        if self.at >= len(self._text):
            raise self._error("something has to follow here")
        if self._is_next(_NOT):
            return Not(self._part(depth + 1))
        here = self._text[self.at]
        if here in "-!":
            self.at += 1
            return Not(self._part(depth + 1))
        if here == "(":
            return self._group(depth)
        if here == ")":
            raise self._error("there is no group to close here")
        return self._term()

    def _group(self, depth: int) -> Term:
        opened = self.at
        self.at += 1
        found = self.alternatives(depth + 1)
        if self.ended():
            raise BadQuery("this group is not closed: `)` is missing", self._text, (opened, opened + 1))
        self.at += 1
        if found == ALL:
            raise BadQuery("this group is empty", self._text, (opened, self.at))
        return found

    def _term(self) -> Term:
        left = self._piece(stop=":=<>~()")
        after = self.at
        self._skip()
        operator = _OPERATOR.match(self._text, self.at)
        if operator is None or (not left.text and not left.quoted):
            self.at = after
            if not left.text and not left.quoted:
                raise BadQuery("a field is expected before this", self._text, (after, after + 1))
            return _word(left.text)
        self.at = operator.end()
        field = fields.find(left.text, left.at)
        self._skip()
        values = self._values(several=operator[0] == ":")
        return _Comparison(self._text, field, left, operator[1] or ":", values).term()

    def _values(self, *, several: bool) -> list[_Piece]:
        """The value, or several with commas between them."""
        found = [self._piece(stop="," if several else "", value=True)]
        while several and self._text.startswith(",", self.at):
            self.at += 1
            found.append(self._piece(stop=",", value=True))
        for each in found:
            if not each.text and not each.quoted:
                raise self._error("a value is expected here")
        return found

    def _piece(self, stop: str, *, value: bool = False) -> _Piece:
        """Characters up to a space or one of `stop`; what is in quotes counts as it is. In a value, parentheses that
        were opened in it belong to it.
        """
        start, depth, quoted, found = self.at, 0, False, list[str]()
        while self.at < len(self._text):
            here = self._text[self.at]
            if here in _QUOTES and (not found or not value):
                found.append(self._quoted(here))
                quoted = True
                continue
            if here.isspace() or here in stop or (value and here == ")" and not depth):
                break
            if here == "!" and not value and self._text[self.at + 1 : self.at + 2] in ("=", "~"):
                break
            depth += (here == "(") - (here == ")")
            found.append(here)
            self.at += 1
        return _Piece("".join(found), (start, self.at), quoted)

    def _quoted(self, mark: str) -> str:
        opened, found = self.at, list[str]()
        self.at += 1
        while self.at < len(self._text) and self._text[self.at] != mark:
            # A backslash takes the meaning from a quote and from itself; any other stays, as in regular expressions.
            if self._text[self.at] == "\\" and self._text[self.at + 1 : self.at + 2] in (mark, "\\"):
                self.at += 1
            found.append(self._text[self.at])
            self.at += 1
        if self.at >= len(self._text):
            raise BadQuery(f"this quote is not closed: {mark} is missing", self._text, (opened, opened + 1))
        self.at += 1
        return "".join(found)

    def _error(self, problem: str) -> BadQuery:
        return BadQuery(problem, self._text, (self.at, self.at + 1))


def _word(text: str) -> Term:
    """A bare word is in the name, the project or a tag, or begins the id."""
    places: list[Term] = [Holds(Field("", name), text) for name in ("name", "project", "tags")]
    return some([*places, Holds(Field("", "id"), text, "begins")])


@dataclass(frozen=True, slots=True)
class _Comparison:
    """One field, an operator and its values."""

    text: str
    field: Field
    left: _Piece
    op: str
    values: list[_Piece]

    def term(self) -> Term:
        """What it asks for. Raises BadQuery."""
        if self.op in ("!=", "!~"):
            return Not(self._with("=" if self.op == "!=" else "~").term())
        return some([self._one(value) for value in self.values])

    def _with(self, op: str) -> _Comparison:
        return _Comparison(self.text, self.field, self.left, op, self.values)

    def _one(self, value: _Piece) -> Term:
        field, op = self.field, {"==": "="}.get(self.op, self.op)
        if op == "~":
            return self._match(value)
        if op == ":" and value.text == "*" and not value.quoted:
            return Exists(field)
        if field.sort == fields.TIME:
            return self._time(op, value)
        if op in (":", "=") and field.sort in (fields.TEXT, fields.TAGS):
            return self._fits(op, value)
        texts = field.section in (fields.PARAMS, fields.RUNTIME, "?") or value.text == "nan"
        if op in (":", "=") and texts and field.sort != fields.NUMBER and _number(value.text) is None:
            return Compare(field, "=", value.text)
        if field.sort in (fields.TEXT, fields.TAGS):
            raise self._error(f"{field} is text, which is no number: use `:`, `=` or `~`", self.left)
        number = _number(value.text)
        if number is None:
            raise self._error(f"{value.text!r} is no number", value)
        if op in (":", "=") and field.section in (fields.PARAMS, fields.RUNTIME, "?"):
            return some([Compare(field, "=", number), Compare(field, "=", value.text)])
        return Compare(field, "=" if op == ":" else op, number)

    def _fits(self, op: str, value: _Piece) -> Term:
        """`:` on a text: as it is most likely meant."""
        name = self.field.name
        if op == "=" or name in ("status", "type", "tags", "system_tags", "user", "parent", "models", "task"):
            return Compare(self.field, "=", value.text)
        how = {"id": "begins", "project": "below", "script.commit": "begins"}.get(name, "in")
        return Holds(self.field, value.text, how)

    def _match(self, value: _Piece) -> Term:
        try:
            patterns.check(value.text)
        except BadValue as error:
            raise self._error(str(error), value) from error
        if self.field.sort in (fields.TIME, fields.NUMBER) or self.field.section == fields.METRICS:
            raise self._error(f"{self.field} is no text, and no expression matches it", self.left)
        return Match(self.field, value.text)

    def _time(self, op: str, value: _Piece) -> Term:
        try:
            start, before = dates.parse(value.text)
        except ValueError as error:
            raise self._error(str(error), value) from error
        if op in (":", "="):
            return together([Compare(self.field, ">=", start), Compare(self.field, "<", before)])
        return Compare(self.field, op, start)

    def _error(self, problem: str, where: _Piece) -> BadQuery:
        return BadQuery(problem, self.text, where.at)


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return None if math.isnan(found) else found
