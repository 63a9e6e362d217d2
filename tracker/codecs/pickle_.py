"""Any Python value as a pickle, the last resort. Reading one runs code, so it is read only when the caller says so."""

from __future__ import annotations

from typing import Any, Final

from tracker.codecs.protocol import Encoded, Request, Stored, file_name, pickled, shown

types: Final = ("pickle",)


def fits(value: object) -> bool:
    """Whatever is left."""
    return True


def encode(value: Any, request: Request) -> Encoded:
    """The pickle. Raises BadValue for what has none."""
    return Encoded(
        "pickle", file_name(request.name, ".pkl"), "application/pickle", shown(value), pickled(value)
    )


def decode(stored: Stored) -> object:
    """The value. Raises UnsafeArtifact unless unpickling was allowed."""
    stored.require_trust()
    import pickle

    with stored.open() as file:
        return pickle.load(file)
