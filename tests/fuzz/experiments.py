"""The formats of `tracker`: events, records, scalars, artifacts, settings; and what is shown of a hostile record."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.fuzz.registry import GOLDEN, declared, golden, target
from tests.fuzz.stores import KEY, folder
from tracker import codecs, config, events, scalars, trust
from tracker.deltas import deltas
from tracker.history import unsealed
from tracker.index import console
from tracker.pages import Page, difference, page
from tracker.records import Ref, Segment, State
from tracker.sdk.reports import last_iteration, last_metrics, single_values
from tracker.state import Fold, merge


def _events() -> list[bytes]:
    lines = (GOLDEN / "tracker-events.txt").read_text(encoding="ascii").splitlines()
    return [bytes([int(kind)]) + bytes.fromhex(payload) for _, kind, payload in map(str.split, lines)]


@target("event", seeds=_events)
def event(data: bytes) -> None:
    """A journal record's kind, then its payload."""
    with declared():
        events.decode(data[0] if data else 0, data[1:])


class _Record:
    """A record as the journal gives it."""

    attempt = 1

    def __init__(self, number: int, kind: int, payload: bytes) -> None:
        self.number = number
        self.kind = kind
        self.payload = payload


def _journal(payloads: list[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(payload)) + payload for payload in payloads)


@target("journal of events", seeds=lambda: [_journal(_events())], examples=60)
def journal_of_events(data: bytes) -> None:
    """A run's events, folded, sealed in memory and shown."""
    records: list[_Record] = []
    at = 0
    while at + 5 <= len(data) and len(records) < 10_000:
        length = int.from_bytes(data[at : at + 4], "little")
        payload = data[at + 4 : at + 4 + length]
        records.append(_Record(len(records) + 1, payload[0] if payload else 0, payload[1:]))
        at += 4 + length
    folded = Fold("w")
    with declared():
        folded.add_all(records)
    content: dict[str, bytes] = {}

    def put(data: bytes) -> str:
        content[ref := f"blob:{len(content):064x}:{len(data)}"] = data
        return ref

    with declared():
        for delta in deltas(folded, put).values():
            show(State.decode(delta.state.encode()))


def _states() -> list[bytes]:
    lines = (GOLDEN / "tracker-records.txt").read_text(encoding="utf-8").splitlines()
    return [line.partition(" ")[2].encode() for line in lines]


@target("state", seeds=_states)
def state(data: bytes) -> None:
    """A committed record: parsed, merged with itself and others, and shown."""
    with declared():
        found = State.decode(data)
        for text in found.references():
            with declared():
                Ref.parse(text)
        show(found)
        for other in _states():
            with declared():
                show(merge([found, State.decode(other), found]))


def show(found: State) -> None:
    """What the commands make of a state."""
    pages: list[Page] = []
    for read in (
        last_iteration,
        last_metrics,
        single_values,
        lambda state: unsealed(State(state.kind), state),
    ):
        with declared():
            read(found)
    with declared():
        pages.append(page(KEY, found, lambda _: found))
    for one in pages:
        with declared():
            difference(one, pages[0], lambda _: b"", lambda _: b"")


@target("console", seeds=lambda: [b'[1,"stdout","a line"]\n[2,"stderr","another"]\n'])
def console_lines(data: bytes) -> None:
    """An object with lines of the console."""
    chunk = {"$ref": f"blob:{'ab' * 32}:1", "lines": 1}
    with declared():
        console(State("task", {}, (Segment("w", 1, 2, 1, console=(chunk,)),)), lambda _: data, 10)


@target("scalars", seeds=lambda: golden("scalars-v1.tscl"))
def scalar_columns(data: bytes) -> None:
    """A file of columns: decoded and summed up."""
    with declared():
        for series in scalars.decode(data):
            if len(series.steps):
                scalars.summarise(series)


# --- artifacts -------------------------------------------------------------------------------------------------------


@cache
def _artifacts() -> dict[str, tuple[str, str, bytes]]:
    """Per target its type, file name and a valid content."""
    import numpy as np
    import pandas as pd
    from PIL import Image

    array, frame = np.arange(12.0).reshape(3, 4), pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    made = {
        "npz": codecs.encode("a", array),
        "numpy csv": codecs.encode("a", array, extension_name=".csv.gz"),
        "frame csv": codecs.encode("a", frame),
        "parquet": codecs.encode("a", frame, extension_name=".parquet"),
        "feather": codecs.encode("a", frame, extension_name=".feather"),
        "json": codecs.encode("a", {"a": [1, None, {"b": "c"}]}),
        "yaml": codecs.encode("a", {"a": [1, None, {"b": "c"}]}, extension_name=".yaml"),
        "text": codecs.encode("a", "some text"),
        **{
            ending: codecs.encode("a", Image.new("RGB", (8, 8)), extension_name=f".{ending}")
            for ending in ("png", "jpg", "gif", "bmp", "tiff", "webp")
        },
    }
    return {n: (e.type, e.file_name, e.payload) for n, e in made.items() if isinstance(e.payload, bytes)}


def _read(name: str) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        kind, file_name, _ = _artifacts()[name]
        with declared(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a parser thinks of hostile content is nobody's concern
            codecs.decode(kind, data, file_name=file_name, name="a")

    run.__doc__ = f"The content of a {name} artifact."
    return run


def _seed(name: str) -> Callable[[], list[bytes]]:
    return lambda: [_artifacts()[name][2]]


_NAMES = ("npz", "numpy csv", "frame csv", "parquet", "feather", "json", "yaml", "text")
_IMAGES = ("png", "jpg", "gif", "bmp", "tiff", "webp")
for _name in (*_NAMES, *_IMAGES):
    target(f"artifact {_name}", seeds=_seed(_name), examples=25)(_read(_name))


# --- this user's own files -------------------------------------------------------------------------------------------


@target("settings", seeds=lambda: [b'strict = true\nclose_timeout = 3\n[remote.origin]\nurl = "../there"\n'])
def settings(data: bytes) -> None:
    """A store's config.toml, which a copy of the store brings along."""
    from tracker.remotes import configured

    with folder() as root:
        (root / "config.toml").write_bytes(data)
        with declared():
            config.load(root, {})
        with declared():
            configured(root)


@target("key", seeds=lambda: [bytes(32)], examples=30)
def key(data: bytes) -> None:
    """The key of the MAC that trust rests on, and the MAC out of a record."""
    with folder() as root:
        before = os.environ.get("XDG_CONFIG_HOME")
        os.environ["XDG_CONFIG_HOME"] = str(root)
        try:
            place = Path(root) / "tracker" / "key"
            place.parent.mkdir()
            place.write_bytes(data)
            assert not trust.trusted(KEY, "ab" * 32, data.decode("utf-8", "surrogateescape"))
            assert (trust.sign(KEY, "ab" * 32) is not None) == (len(data) == 32)
        finally:
            if before is None:
                del os.environ["XDG_CONFIG_HOME"]
            else:
                os.environ["XDG_CONFIG_HOME"] = before
