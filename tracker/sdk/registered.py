"""Registered DataFrames: watched while the task runs, and stored again when they have changed. Copies before it reads.

Nothing is watched in forked children: the frames there are not the ones that the parent changes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tracker.errors import BadValue

if TYPE_CHECKING:
    import pandas as pd

    from tracker.sdk.task.artifacts import Outputs

INTERVAL: Final = 300.0  # seconds between two looks at the frames, as in ClearML
TYPE: Final = "data-audit-table"


@dataclass
class _Watched:
    """One frame, what else the caller said of it, and what it was when it was last stored."""

    frame: pd.DataFrame
    metadata: Mapping[str, Any] = field(default_factory=dict)
    columns: bool | Sequence[str] = True
    print: object = None


class Registered:
    """The frames that one running task watches. interval: seconds between two looks."""

    def __init__(self, task: Outputs, interval: float = INTERVAL) -> None:
        self._task = task
        self._pid = os.getpid()
        self._interval = interval
        self._watched: dict[str, _Watched] = {}
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def add(
        self, name: str, frame: Any, metadata: Mapping[str, Any] | None, columns: bool | Sequence[str]
    ) -> None:
        """Store a frame under a name and watch it. Raises BadValue for what is no DataFrame."""
        import pandas as pd

        if not isinstance(frame, pd.DataFrame):
            raise BadValue(
                f"register_artifact takes a DataFrame, not {type(frame).__name__}: upload_artifact"
            )
        if not isinstance(columns, bool):
            unknown = [column for column in columns if column not in frame.columns]
            if unknown:
                raise BadValue(f"uniqueness_columns has {unknown}, which frame {name!r} has not")
        with self._lock:
            self._watched[name] = _Watched(frame, dict(metadata or {}), columns)
            self._store(name)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="tracker-frames", daemon=True)
                self._thread.start()

    def remove(self, name: str) -> None:
        """Stop watching a frame; what was stored of it stays."""
        with self._lock:
            self._watched.pop(name, None)

    def frames(self) -> dict[str, pd.DataFrame]:
        """The frames themselves, by name."""
        with self._lock:
            return {name: watched.frame for name, watched in self._watched.items()}

    def store_changed(self) -> None:
        """Store those again that are not what they were when last stored."""
        with self._lock:
            for name in list(self._watched):
                try:
                    self._store(name)
                except Exception as error:  # noqa: BLE001 - the user may be in the middle of changing the frame
                    self._task.fault(f"registered artifact {name!r} was not stored: {error}", None)

    def close(self) -> None:
        """Store what has changed, and watch no longer."""
        self._ended.set()
        if os.getpid() == self._pid:
            self.store_changed()
        self._watched.clear()

    def _watch(self) -> None:
        while not self._ended.wait(self._interval):
            self.store_changed()

    def _store(self, name: str) -> None:
        from tracker.sdk import uploads

        watched = self._watched[name]
        frame = watched.frame.copy()
        print_ = _print_of(frame)
        if watched.print is not None and watched.print == print_:
            return
        options = uploads.Options(
            metadata=watched.metadata,
            preview=_preview(frame, watched.columns),
            type=TYPE,
            extension_name=".csv.gz",
        )
        if uploads.upload(self._task, name, frame, options):
            watched.print = print_


def _print_of(frame: pd.DataFrame) -> object:
    """What changes when a frame does: columns, types and a hash of each row; of what cannot be hashed, its pickle's."""
    from pandas.util import hash_pandas_object

    shape = [(str(column), str(kind)) for column, kind in zip(frame.columns, frame.dtypes, strict=True)]
    try:
        content = hash_pandas_object(frame, index=True).to_numpy().tobytes()
    except TypeError:  # lists or dicts in cells
        from tracker.codecs.protocol import pickled

        content = pickled(frame)
    from hashlib import blake2b

    return shape, blake2b(content).digest()


def _preview(frame: pd.DataFrame, columns: bool | Sequence[str]) -> str:
    """The frame's repr, and how many of its rows are unique."""
    text = f"{frame!r}\n"
    if columns is False:
        return text
    chosen = frame if columns is True else frame[list(columns)]
    try:
        unique = len(chosen.drop_duplicates())
    except TypeError:  # unhashable cells
        unique = len(chosen.astype(str).drop_duplicates())
    share = 100 * unique / len(frame) if len(frame) else 100.0
    over = "all columns" if columns is True else ", ".join(map(str, chosen.columns))
    return f"{text}\nuniqueness over {over}: {unique} of {len(frame)} rows, {share:.1f} %\n"
