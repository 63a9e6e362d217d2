"""What is lost of the journal of a writer that died."""

from __future__ import annotations

from pathlib import Path

from objstore import journal


def unread_events(folder: Path, covered: int) -> str:
    """What is lost of a journal of which events up to number `covered` are sealed; "" where nothing is.

    A record at the end that was cut short when its writer died was never acknowledged: that is no loss.
    """
    found = journal.scan(folder)
    if found.last < covered:
        return _beyond_damage(folder, covered)
    inner = [(first, last) for first, last in found.missing if first > 1]
    if not found.unread and not inner and not (found.torn and journal.goes_on(folder)):
        return ""
    if journal.scan(folder).last > found.last or not folder.exists():
        return ""  # its writer was just writing, or it was sealed and removed
    parts = [f"{found.records} events can be read"]
    if found.torn:
        parts.append(f"{found.torn} bytes behind them cannot")
    if inner:
        parts.append("segments are missing: " + ", ".join(f"{first} to {last}" for first, last in inner))
    if found.unread:
        parts.append("segments that cannot be read: " + ", ".join(map(str, found.unread)))
    return "; ".join(parts)


def _beyond_damage(folder: Path, covered: int) -> str:
    """What is lost where the damage lies among events that are sealed: later ones, which nothing leads to any more."""
    last = max((record.number for record in journal.read(folder, covered)), default=covered)
    if not journal.holds(folder, last) or any(journal.read(folder, last)):
        return ""  # what cannot be read is sealed, or its writer was just writing
    return f"events from {last + 1} on cannot be read, for damage before them"
