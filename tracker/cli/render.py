"""How things look: numbers, times and names as text, tables as wide as the terminal, JSON documents.

Every text that came out of a store is escaped here before it is printed. Decides nothing about what is shown.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType

Cell = str | tuple[str, str]  # text, or text and its style

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_WIDTH: Final = 100  # columns where there is no terminal to ask
_PAD_MAX: Final = 64  # columns that a cell may make all cells above and below it wide, where nothing is cut
_GAP: Final = 2  # columns between two columns of a table
_QUIET: Final = 1.0  # seconds in which progress is not shown, since most of what is asked for is done by then
_EVERY: Final = 0.1  # seconds between two drawings
_BAR: Final = 24  # columns of a bar
_LEAST: Final = 6  # columns to which a column that may be cut is cut when nothing else helps
# What moves the cursor, changes colours or the direction of text, or cannot be seen: C0, DEL, C1, marks and overrides
# of direction, invisible spaces, line separators, lone surrogates. (A joiner, U+200D, is part of many an emoji.)
_HARMFUL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]"
)
_QUOTED_ADVICE: Final = re.compile("`fsck( [^`]*)?`")
_BARE_ADVICE: Final = re.compile(r"\brun fsck((?: --[a-z]+)*)\b")
_NAMED: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
STATUS_STYLES: Final = {
    "completed": "green",
    "published": "green",
    "failed": "red",
    "stopped": "yellow",
    "in_progress": "cyan",
    "queued": "dim",
    "created": "dim",
}


# --- text ------------------------------------------------------------------------------------------------------------


def escape(text: str, keep: str = "") -> str:
    """`text` with everything that a terminal would obey, or not show, spelled out; but for the characters in `keep`."""
    return _HARMFUL.sub(lambda m: m[0] if m[0] in keep else _spelled(m[0]), text)


def is_harmless(text: str) -> bool:
    """Whether a terminal shows `text` as it is; line ends and tabs are harmless."""
    return escape(text, "\n\t") == text


def _spelled(character: str) -> str:
    code = ord(character)
    return _NAMED.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def number(value: float) -> str:
    """A metric's value in six digits."""
    return f"{value:.6g}"


def size(count: int) -> str:
    """Bytes in B, KiB, MiB, GiB or TiB."""
    amount, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while amount >= 1024 and len(units) > 1:
        amount /= 1024
        units.pop(0)
    return f"{count} B" if units[0] == "B" else f"{amount:.1f} {units[0]}"


def plural(count: int, noun: str) -> str:
    """`1 task`, `2 tasks`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def joined(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def age(stamp: int, now: float | None = None) -> str:
    """How long ago a time in microseconds since the epoch was, in one unit: 12s, 5m, 3h, 2d, 6w, 2y."""
    seconds = max(0, int((time.time() if now is None else now) - stamp / 1e6))
    for unit, length in (("y", 365 * 86_400), ("w", 14 * 86_400), ("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // (7 * 86_400 if unit == 'w' else length)}{unit}"
    return f"{seconds}s"


def duration(microseconds: int) -> str:
    """How long something took, in its two greatest units."""
    seconds = max(0, microseconds) / 1e6
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24}h"
    return f"{hours}h {minutes % 60}m" if hours else f"{minutes}m {int(seconds % 60)}s"


def when(stamp: int) -> str:
    """A time in microseconds since the epoch as `2026-11-23 13:44:09 UTC`."""
    found = _time(stamp)
    return f"{found:%Y-%m-%d %H:%M:%S} UTC" if found else "?"


def iso(stamp: int) -> str | None:
    """The same as ISO 8601 in UTC; None for 0, which stands for a time that is not known."""
    found = _time(stamp) if stamp else None
    return found.isoformat(timespec="microseconds") if found else None


def _time(stamp: int) -> datetime | None:
    try:
        return _EPOCH + timedelta(microseconds=stamp)
    except OverflowError:
        return None


# --- JSON ------------------------------------------------------------------------------------------------------------


def document(schema: str, content: Mapping[str, Any], *, indent: bool) -> str:
    """One JSON document that names its schema."""
    return json_text({"schema": f"tracker.{schema}/1", **content}, indent=indent)


def json_text(value: Any, *, indent: bool, sort: bool = False) -> str:
    """A value as JSON that is as harmless to a terminal as what `escape` gives."""
    import orjson

    option = (orjson.OPT_INDENT_2 if indent else 0) | (orjson.OPT_SORT_KEYS if sort else 0)
    text = orjson.dumps(plain(value), option=option).decode()
    # Outside of its texts JSON has none of these; inside them it may spell any character like this.
    return _HARMFUL.sub(lambda m: m[0] if m[0] == "\n" else f"\\u{ord(m[0]):04x}", text)


def plain(value: Any) -> Any:
    """A value as JSON can hold it: NaN and infinities as text, integers over 64 bits as text, no lone surrogates."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return value


# --- the screen ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. least: the width to which it may be cut where a terminal is too narrow (None: it is not);
    drop: columns with the greatest are left out first when that is not enough (0: never); wrap: the rest goes on below.
    """

    title: str
    right: bool = False
    style: str = ""
    least: int | None = None
    drop: int = 0
    wrap: bool = False


@dataclass(frozen=True, slots=True)
class Screen:
    """Where output goes. people: somebody looks at it, so ids are short and tables fit `width`; else all is whole."""

    people: bool
    color: bool
    width: int

    def line(self, *parts: Cell) -> None:
        """One line on stdout. Its texts are printed as they are: whatever a store gave has to be escaped before."""
        if not self.people:
            _write("".join(_text(part) for part in parts))
            return
        from rich.text import Text

        self._print(Text.assemble(*parts), soft_wrap=True)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], indent: int = 0) -> None:
        """A table on stdout; its titles and cells are escaped here."""
        titles = [escape(column.title) for column in columns]
        safe = [[_escaped(cell) for cell in each] for each in rows]
        if self.people:
            self._fitted(columns, titles, safe, indent)
        else:
            self._whole(columns, titles, safe, indent)

    def document(self, schema: str, content: Mapping[str, Any]) -> None:
        """One JSON document on stdout: on one line, but for people."""
        _write(document(schema, content, indent=self.people))

    def _whole(
        self, columns: Sequence[Column], titles: list[str], rows: Sequence[Sequence[Cell]], indent: int
    ) -> None:
        texts = [titles, *([_text(cell) for cell in each] for each in rows)]
        widths = [min(_PAD_MAX, max(map(_cells, column))) for column in zip(*texts, strict=True)]
        for each in texts:
            padded = (
                _pad(cell, width, right=column.right)
                for cell, width, column in zip(each, widths, columns, strict=True)
            )
            _write((" " * indent + (" " * _GAP).join(padded)).rstrip())

    def _fitted(
        self, columns: Sequence[Column], titles: list[str], rows: Sequence[Sequence[Cell]], indent: int
    ) -> None:
        from rich.table import Table
        from rich.text import Text

        natural = [max(_cells(_text(each[i])) for each in [titles, *rows]) for i in range(len(columns))]
        widths = fit(columns, natural, self.width - indent)
        kept = [i for i, width in enumerate(widths) if width]
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
        for i in kept:
            column, margin = columns[i], indent if i == kept[0] else 0
            table.add_column(
                Text(" " * margin + titles[i]),
                style=column.style,
                justify="right" if column.right else "left",
                width=widths[i] + margin,
                no_wrap=not column.wrap,
                overflow="fold" if column.wrap else "ellipsis",
            )
        for each in rows:
            cells = [_pair(each[i]) for i in kept]
            cells[0] = (" " * indent + cells[0][0], cells[0][1])
            table.add_row(*(Text(*cell) for cell in cells))
        self._print(table, width=_total(widths) + indent)

    def _print(self, shown: RenderableType, *, width: int = 0, soft_wrap: bool = False) -> None:
        """By way of a buffer: rich ends the process when stdout is a pipe that was closed."""
        from io import StringIO

        from rich.console import Console

        buffer = StringIO()
        console = Console(
            file=buffer,
            width=max(self.width, width),
            force_terminal=True,
            color_system="standard" if self.color else None,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
        )
        console.print(shown, soft_wrap=soft_wrap)
        sys.stdout.write(buffer.getvalue())


def screen(environment: Mapping[str, str] = os.environ) -> Screen:
    """The screen that stdout is. NO_COLOR, FORCE_COLOR, TERM=dumb and COLUMNS are honoured."""
    forced = environment.get("FORCE_COLOR", "") not in ("", "0")
    people = forced or sys.stdout.isatty()
    color = people and not environment.get("NO_COLOR") and (forced or environment.get("TERM") != "dumb")
    return Screen(people, color, max(40, shutil.get_terminal_size((_WIDTH, 24)).columns))


def fit(columns: Sequence[Column], natural: Sequence[int], width: int) -> list[int]:
    """A width for each column, 0 for those left out, so that together they are no wider than `width` if that can be."""
    widths = list(natural)
    least = [_least(column, wide, column.least) for column, wide in zip(columns, natural, strict=True)]
    for i in sorted((i for i, column in enumerate(columns) if column.drop), key=lambda i: -columns[i].drop):
        if _total(least) <= width:
            break
        widths[i] = least[i] = 0
    _shrink(widths, least, width)
    _shrink(
        widths, [_least(column, wide, _LEAST) for column, wide in zip(columns, widths, strict=True)], width
    )
    return widths


def _least(column: Column, wide: int, least: int | None) -> int:
    return wide if column.least is None or least is None else min(wide, least)


def _shrink(widths: list[int], least: Sequence[int], width: int) -> None:
    """Take from the widest that can give, until they fit or none can."""
    while _total(widths) > width and widths != least:
        widest = max((i for i in range(len(widths)) if widths[i] > least[i]), key=lambda i: widths[i])
        widths[widest] -= 1


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * max(0, sum(map(bool, widths)) - 1)


def pasteable(text: str) -> str:
    """A message of the store, which knows no program around it, with its advice as a command that can be typed."""
    text = _QUOTED_ADVICE.sub(lambda m: f"`tracker fsck{m[1] or ''}`", text)
    return _BARE_ADVICE.sub(r"run `tracker fsck\1`", text)


def say(text: str) -> None:
    """Talk: one line on stderr."""
    if sys.stderr is not None:
        sys.stderr.write(escape(pasteable(text)) + "\n")
        sys.stderr.flush()


class Progress:
    """How far something is, on the last line of a terminal on stderr, from its second second on; else nothing at all.

    Called with bytes done and to do it has a bar; where nothing is told it shows how long it takes. wanted: False for
    who asked for a document, and is a program even at a terminal.
    """

    def __init__(self, verb: str, *, wanted: bool = True) -> None:
        self._verb = verb
        self._on = wanted and sys.stderr is not None and sys.stderr.isatty()
        self._begun = time.monotonic()
        self._next = self._begun + _QUIET
        self._text = ""
        self._width = 0  # columns that were drawn on
        self._drawing = threading.Lock()
        self._over = threading.Event()

    def __call__(self, done: int, total: int) -> None:
        """Show bytes done and to do."""
        part = min(1.0, done / total) if total else 0.0
        bar = ("#" * round(part * _BAR)).ljust(_BAR, ".")
        self.show(f"[{bar}] {int(part * 100):3}%  {size(done)} of {size(total)}" if total else size(done))

    def show(self, text: str) -> None:
        """Show any text."""
        self._text = text
        if self._on and time.monotonic() >= self._next:
            self._draw()

    def _draw(self) -> None:
        with self._drawing:
            if self._over.is_set():
                return
            now = time.monotonic()
            self._next = now + _EVERY
            taken = duration(int(now - self._begun) * 1_000_000).replace(".0s", "s")
            line = " ".join(part for part in (self._verb, self._text, f" {taken}") if part)
            self._width = _columns(sys.stderr) - 1  # in the last column a terminal may begin a new line
            sys.stderr.write("\r" + escape(line)[: self._width].ljust(self._width))
            sys.stderr.flush()

    def _tick(self) -> None:
        """Draw by the clock, too: a step that takes long tells nothing meanwhile."""
        wait = max(0.0, self._next - time.monotonic())
        while not self._over.wait(wait):
            self._draw()
            wait = 0.5

    def __enter__(self) -> Progress:
        if self._on:
            threading.Thread(target=self._tick, name="tracker-progress", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with self._drawing:
            if self._width:
                sys.stderr.write("\r" + " " * self._width + "\r")
                sys.stderr.flush()


def _columns(stream: TextIO) -> int:
    """How wide the terminal is that a stream goes to."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")


def _pair(cell: Cell) -> tuple[str, str]:
    return (cell, "") if isinstance(cell, str) else cell


def _text(cell: Cell) -> str:
    return _pair(cell)[0]


def _escaped(cell: Cell) -> Cell:
    text, style = _pair(cell)
    return (escape(text), style) if style else escape(text)


def _cells(text: str) -> int:
    from rich.cells import cell_len

    return len(text) if text.isascii() else cell_len(text)


def _pad(text: str, width: int, *, right: bool) -> str:
    gap = " " * max(0, width - _cells(text))
    return gap + text if right else text + gap
