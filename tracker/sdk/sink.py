"""Where reports of a task or a model go: its recorder, and the store for what is too large for that."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objstore.errors import StoreError
from tracker import layout

if TYPE_CHECKING:
    from tracker.recorder import Recorder
    from tracker.sdk.task.core import Core


class Sink:
    """One task's reports, or those of the model `of` that it makes or uses."""

    def __init__(self, task: Core, recorder: Recorder, of: str | None = None) -> None:
        self._task = task
        self._counts: dict[tuple[str, str], itertools.count[int]] = {}
        self._lock = threading.Lock()
        self.recorder = recorder
        self.of = of

    def scalar(self, title: str, series: str, value: float, iteration: int) -> None:
        """One point."""
        if self.of is None:
            self.recorder.scalar(title, series, value, iteration)
        else:
            self.recorder.model_scalar(self.of, title, series, value, iteration)

    def set(self, key: str, value: Any) -> None:
        """One key."""
        self.recorder.set(key, value, of=self.of)

    def plot(
        self,
        title: str,
        series: str,
        iteration: int,
        figure: Any,
        kind: str = "plot",
        content: Mapping[str, Any] | None = None,
    ) -> None:
        """One figure; see `Recorder.plot`."""
        self.recorder.plot(title, series, iteration, figure, of=self.of, kind=kind, content=content)

    def sample(
        self, title: str, series: str, iteration: int, kind: str, content: Mapping[str, Any], history: int
    ) -> None:
        """One image or media file; see `Recorder.sample`."""
        self.recorder.sample(title, series, iteration, kind, content, history=history, of=self.of)

    def sample_name(self, title: str, series: str, extension: str, history: int) -> str:
        """What a sample's file is called: names are used again after `history` of them, as in ClearML."""
        from tracker.codecs.protocol import file_name

        with self._lock:
            number = next(self._counts.setdefault((title, series), itertools.count()))
        return file_name(f"{title}_{series}_{number % history if history else number:08d}", extension)

    def keep(self, what: str, data: bytes, file: str) -> dict[str, Any] | None:
        """Content as a record names it; None, after a warning, where it could not be stored."""
        try:
            return content(self._task.attach(data), file)
        except (OSError, StoreError) as error:
            self.fault(f"{what} was not stored: {error}", error)
            return None

    def keep_file(self, what: str, path: Path, file: str) -> dict[str, Any] | None:
        """The same of a file, whatever its size."""
        from objstore import files

        try:
            if path.stat().st_size <= layout.INLINE_MAX:
                return content(self._task.attach(path.read_bytes()), file)
            workspace = self._task.workspace
            force = workspace.config.force_read
            return content(workspace.store_with(lambda tx: files.put_file(tx, path, force=force)), file)
        except (OSError, StoreError) as error:
            self.fault(f"{what} was not stored: {error}", error)
            return None

    def fault(self, message: str, error: Exception | None = None) -> None:
        """Something was not recorded; see `Core.fault`."""
        self._task.fault(message, error)

    def remove(self, path: Path) -> None:
        """Delete a file whose content has been stored, once that would survive a loss of power."""
        if self._task.sync():
            try:
                os.unlink(path)
            except OSError as error:
                self.fault(f"{path} was stored and could not be removed: {error}")


def content(ref: str, file: str) -> dict[str, Any]:
    """Stored content as a record names it."""
    from tracker.codecs.protocol import media_type

    return {"$ref": ref, "file": file, "content_type": media_type(file)}
