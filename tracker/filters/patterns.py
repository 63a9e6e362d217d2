"""Regular expressions from outside: searched with a limit on the time that all of a query's searches may take."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tracker.errors import BadValue

if TYPE_CHECKING:
    import regex

LENGTH_MAX: Final = 2_000  # characters of an expression
SECONDS: Final = 2.0  # that all searches of one query may take
_PLAIN: Final = re.compile(r"\^?[A-Za-z0-9_ /=,:;@%&<>!\"'#~-]*\$?")

Search = Callable[[str], bool]


def check(pattern: object) -> None:
    """Raise BadValue for what is no regular expression, or too long to be one."""
    if not isinstance(pattern, str):
        raise BadValue(f"{pattern!r} is not a regular expression: a text is expected")
    if len(pattern) > LENGTH_MAX:
        raise BadValue(f"a regular expression of {len(pattern)} characters: at most {LENGTH_MAX} are taken")
    if not _PLAIN.fullmatch(pattern):
        _compiled(pattern, False)


def searcher(pattern: str, *, ignore_case: bool = False, seconds: float = SECONDS) -> Search:
    """Whether the pattern is found in a text, as a function, which raises BadValue when its time is up.

    seconds: of searching, of all calls together.
    """
    check(pattern)
    if _PLAIN.fullmatch(pattern) and not ignore_case:
        return _plain(pattern)
    compiled, left = _compiled(pattern, ignore_case), [seconds]

    def search(text: str) -> bool:
        began = time.perf_counter()
        try:
            return compiled.search(text, timeout=max(left[0], 0.001)) is not None
        except TimeoutError:
            left[0] = 0.0
            raise BadValue(
                f"the regular expression {pattern!r} took longer than {seconds:g} seconds: make it simpler"
            ) from None
        finally:
            left[0] -= time.perf_counter() - began

    return search


def _plain(pattern: str) -> Search:
    """An expression that means itself: no engine is needed, whose import would take longer than the search."""
    text = pattern.removeprefix("^").removesuffix("$")
    if pattern.startswith("^") and pattern.endswith("$") and pattern != "^":
        return lambda found: found in (text, text + "\n")
    if pattern.startswith("^"):
        return lambda found: found.startswith(text)
    if pattern.endswith("$"):
        return lambda found: found.endswith((text, text + "\n"))
    return lambda found: text in found


def _compiled(pattern: str, ignore_case: bool) -> regex.Pattern[str]:
    import regex

    try:
        return regex.compile(pattern, regex.IGNORECASE if ignore_case else 0)
    except (regex.error, OverflowError, RecursionError) as error:
        raise BadValue(f"{pattern!r} is not a regular expression: {error}") from error
