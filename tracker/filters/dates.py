"""Dates as people write them: 2024, 2024-05, 2024-05-01, 2024-05-01T12:30, now, today, -7d."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_AGO: Final = re.compile(r"-(\d{1,6})(y|w|d|h|m|s)")
_UNITS: Final = {"y": 365 * 86_400, "w": 7 * 86_400, "d": 86_400, "h": 3600, "m": 60, "s": 1}
_DATE: Final = re.compile(
    r"(\d{4})(?:-(\d\d?)(?:-(\d\d?)(?:[T ](\d\d?):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?)?)?"
    r"\s?(Z|UTC|[+-]\d\d:?\d\d)?"
)


def parse(text: str, now: float | None = None) -> tuple[int, int]:
    """(from, before): the time that a text stands for, in microseconds since the epoch; a date is a whole day.

    UTC where the text names no offset. Raises ValueError.
    """
    second = time.time() if now is None else now
    if text == "now":
        return int(second * 1e6), int(second * 1e6) + 1
    if text in ("today", "yesterday"):
        day = int(second // 86_400) - (text == "yesterday")
        return day * 86_400_000_000, (day + 1) * 86_400_000_000
    if ago := _AGO.fullmatch(text):
        instant = int((second - int(ago[1]) * _UNITS[ago[2]]) * 1e6)
        return instant, instant + 1
    found = _DATE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no date: write 2024-05-01, 2024-05-01T12:30, today or -7d")
    return _span(text, found)


def _span(text: str, found: re.Match[str]) -> tuple[int, int]:
    year, month, day, hour, minute, second = (int(part) if part else None for part in found.groups()[:6])
    fraction = int((found[7] or "0").ljust(6, "0")[:6])
    try:
        start = datetime(
            year or 0, month or 1, day or 1, hour or 0, minute or 0, second or 0, fraction, _zone(found[8])
        )
        if month is None:
            end = start.replace(year=start.year + 1)
        elif day is None:
            end = start.replace(year=start.year + month // 12, month=month % 12 + 1)
        else:
            end = start + _step(hour, second, found[7])
        return (start - _EPOCH) // timedelta(microseconds=1), (end - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is no date: {error}") from error


def _step(hour: int | None, second: int | None, fraction: str | None) -> timedelta:
    if hour is None:
        return timedelta(days=1)
    if second is None:
        return timedelta(minutes=1)
    return timedelta(microseconds=1) if fraction else timedelta(seconds=1)


def _zone(text: str | None) -> timezone:
    if text in (None, "Z", "UTC"):
        return timezone.utc
    sign = -1 if text[0] == "-" else 1
    digits = text[1:].replace(":", "")
    return timezone(sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:])))
