"""What was reported beside numbers, as it comes back: a figure as a dict, a table as a frame, a file byte for byte."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.errors import BadValue, CorruptRecord

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image as Pillow

    from tracker.records import Ref
    from tracker.reported import Exhibit
    from tracker.workspace import Workspace


class Report:
    """One plot, table, picture, image or media file of a task or a model."""

    def __init__(self, workspace: Workspace, key: str, exhibit: Exhibit) -> None:
        self._workspace = workspace
        self._key = key
        self._exhibit = exhibit

    @property
    def kind(self) -> str:
        """plot, table, picture (a plot that is one), image or media."""
        return self._exhibit.kind

    @property
    def title(self) -> str:
        """As it was reported."""
        return self._exhibit.title

    @property
    def series(self) -> str:
        """As it was reported."""
        return self._exhibit.series

    @property
    def iteration(self) -> int:
        """As it was reported."""
        return self._exhibit.iteration

    @property
    def timestamp(self) -> datetime:
        """When it was reported, in UTC."""
        return datetime.fromtimestamp(self._exhibit.time / 1e6, timezone.utc)

    @property
    def file(self) -> str:
        """What its file is called."""
        return self._exhibit.own_name

    @property
    def content_type(self) -> str:
        """The media type of the file."""
        return self._exhibit.content_type or ("application/json" if self._exhibit.figure else "")

    @property
    def hash(self) -> str:
        """The object id of the file, or of a plot's JSON; empty where only a URL was registered."""
        return self._exhibit.ref.id if self._exhibit.ref else ""

    @property
    def size(self) -> int:
        """Bytes of the file, or of a plot's JSON."""
        return self._exhibit.ref.size if self._exhibit.ref else 0

    @property
    def url(self) -> str:
        """Where it is: `tracker://HASH/FILE`, or the URL that was registered."""
        return url_of(self._exhibit)

    def read(self) -> bytes:
        """The file's bytes; of a plot its JSON. Raises BadValue where only a URL was registered; NotFound, Corrupt."""
        if self._exhibit.ref is None:
            raise BadValue(f"{self._exhibit.name!r} is only registered, at {self.url}: fetch it from there")
        return self._content(self._exhibit.ref)

    def get(self) -> Any:
        """What it was: a plot as a dict, a table as a DataFrame, an image or picture as a PIL image, media as bytes."""
        if self.kind == "table":
            return self.frame()
        if self.kind in ("image", "picture"):
            return self.image()
        return self.figure() if self.kind == "plot" else self.read()

    def figure(self) -> dict[str, Any]:
        """The plotly figure, of a table and a picture the one that shows it; for `plotly.graph_objects.Figure`."""
        found = json.loads(self.figure_json())
        if not isinstance(found, dict):
            raise CorruptRecord(
                f"the figure {self._exhibit.name!r} is a {type(found).__name__}, not an object"
            )
        return found

    def figure_json(self) -> str:
        """The same as JSON, with NaN and infinities as "nan", "inf", "-inf". Raises BadValue for samples."""
        if self._exhibit.figure is None:
            raise BadValue(
                f"{self._exhibit.name!r} is an {self.kind} file and has no figure: read() gives its bytes"
            )
        return self._content(self._exhibit.figure).decode("utf-8", "replace")

    def frame(self) -> pd.DataFrame:
        """A table as a DataFrame. Raises BadValue for what is none."""
        from tracker.sdk import tables

        if self.kind != "table":
            raise BadValue(f"{self._exhibit.name!r} is no table but of kind {self.kind}")
        return tables.frame(self.read(), self.file)

    def rows(self) -> list[list[Any]]:
        """A table that was reported as rows, without pandas. Raises BadValue."""
        from tracker.sdk import tables

        if self.kind != "table" or not self.file.endswith(".json"):
            raise BadValue(f"{self._exhibit.name!r} was not reported as rows: frame() reads it")
        return tables.rows(self.read())

    def image(self) -> Pillow.Image:
        """An image or picture as a PIL image, fully loaded. Raises BadValue for what is none, CorruptRecord."""
        from tracker import codecs

        if self.kind not in ("image", "picture"):
            raise BadValue(f"{self._exhibit.name!r} is no image but of kind {self.kind}")
        found = codecs.decode("image", self.read(), file_name=self.file, name=self._exhibit.name)
        if isinstance(found, bytes | Path):
            raise CorruptRecord(
                f"{self._exhibit.name!r} is a file that Pillow does not open: read() gives its bytes"
            )
        return found  # type: ignore[return-value]  # the codec's value

    def get_local_copy(self, raise_on_error: bool = False) -> str | None:
        """A verified copy of the file in the store's cache folder; None where only a URL was registered."""
        from tracker.sdk import artifacts

        if self._exhibit.ref is None:
            if raise_on_error:
                raise BadValue(f"{self._exhibit.name!r} is only registered, at {self.url}")
            return None
        thing = self._workspace.thing(self._key)
        return str(artifacts.local_copy(self._workspace, thing, self._exhibit.ref, self.file))

    def _content(self, ref: Ref) -> bytes:
        return self._workspace.read(self._workspace.thing(self._key), ref)

    def __repr__(self) -> str:
        return f"<{self.kind} {self._exhibit.name!r} at {self.iteration}: {self.file or self.url}, {self.size} bytes>"


def url_of(exhibit: Exhibit) -> str:
    """Where it is: `tracker://HASH/FILE`, or the URL that was registered."""
    return exhibit.url or (f"tracker://{exhibit.ref.id}/{exhibit.own_name}" if exhibit.ref else "")
