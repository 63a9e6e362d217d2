"""What is written for tensorboard, by tensorboardX or PyTorch, is reported as well. The files stay as they are."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from itertools import takewhile
from typing import Any, Final

from tracker.capture.protocol import Guard, Recorder, Undo
from tracker.capture.replaced import replace

_FIRST: Final = 4  # histograms of a tag that are all shown; then every fifth


class TensorboardXCapture:
    """Scalars, pictures, sound, text, histograms and hyper-parameters of each event that a `FileWriter` takes.

    hparams: whether hyper-parameters become parameters of the section TB_hparams.
    """

    name = "tensorboardX"
    module: str | None = "tensorboardX.writer"
    protocol = "tensorboardX.proto.plugin_hparams_pb2"

    def __init__(self, *, hparams: bool = True) -> None:
        self._hparams = hparams

    def install(self, recorder: Recorder) -> Undo:
        """Watches the writer's `add_event`."""
        guard = Guard(self.name)
        events = _Events(recorder, self.protocol if self._hparams else None)

        def around(original: Callable[..., Any]) -> Callable[..., Any]:
            def add_event(writer: Any, event: Any, step: Any = None, *args: Any, **kwargs: Any) -> Any:
                done = original(writer, event, step, *args, **kwargs)
                guard.run(events.take, writer, event, step)
                return done

            return add_event

        assert self.module is not None
        return replace(sys.modules[self.module].FileWriter, "add_event", around)


class TensorboardCapture(TensorboardXCapture):
    """The same of `torch.utils.tensorboard`."""

    name = "tensorboard"
    module = "torch.utils.tensorboard.writer"
    protocol = "tensorboard.plugins.hparams.plugin_data_pb2"


class _Events:
    """Events -> reports, under the names that ClearML gives them."""

    def __init__(self, recorder: Recorder, hparams: str | None) -> None:
        self._recorder = recorder
        self._hparams = hparams
        self._first: dict[str, str] = {}  # which folder wrote a tag first
        self._histograms: Counter[tuple[str, str]] = Counter()

    def take(self, writer: Any, event: Any, step: Any) -> None:
        """Report each value of an event; a step that is not given is 0."""
        at = int(step) if step is not None else 0
        folder = str(writer.get_logdir()) if hasattr(writer, "get_logdir") else ""
        for value in event.summary.value:
            kind = value.WhichOneof("value")
            if value.metadata.plugin_data.plugin_name == "hparams":
                self._parameters(value.metadata.plugin_data.content)
            elif kind == "simple_value":
                title, series = self._scalar(value.tag, folder)
                self._recorder.scalar(title, series, float(value.simple_value), at)
            elif kind == "histo":
                self._histogram(*_named(value.tag, "Histograms"), value.histo, at)
            elif (found := _content(value, kind)) is not None:
                heading, data, extension = found
                self._recorder.sample(*_named(value.tag, heading), data, extension, at)

    def _scalar(self, tag: str, folder: str) -> tuple[str, str]:
        first = self._first.setdefault(tag, folder)
        *above, series = tag.split("/")
        title = "_".join(above)
        if not title:
            title = "Scalars" if self._recorder.chosen("group_scalars") else series
        if folder != first:  # another writer has this tag: its folder tells them apart
            series = f"{_apart(folder, first)}: {series}"
        if self._recorder.chosen("single_series"):
            title = f"{title}/{series}" if title != series else title
        return title, series

    def _histogram(self, title: str, series: str, histogram: Any, step: int) -> None:
        self._histograms[title, series] += 1
        count = self._histograms[title, series]
        if count <= _FIRST or count % 5 == 0:
            self._recorder.histogram(
                title,
                series,
                list(histogram.bucket),
                [f"{limit:.4g}" for limit in histogram.bucket_limit],
                step,
            )

    def _parameters(self, content: bytes) -> None:
        form = sys.modules.get(self._hparams or "")
        if form is None:
            return
        data = form.HParamsPluginData()
        data.ParseFromString(content)
        for name, value in data.session_start_info.hparams.items():
            kind = value.WhichOneof("kind")
            given = getattr(value, kind) if kind else ""
            record = {"value": str(given), "type": type(given).__name__, "description": None}
            self._recorder.set(f"param/TB_hparams/{name}", record)


def _named(tag: str, heading: str) -> tuple[str, str]:
    """Title and series of what is no scalar: up to three parts at the end are the series."""
    parts = tag.split("/")
    if len(parts) == 1:
        return heading, tag
    keep = max(1, len(parts) - 3)
    return "_".join(parts[:keep]), "_".join(parts[keep:])


def _apart(folder: str, other: str) -> str:
    """What tells a folder from another: `y` of `runs/loss_y` and `runs/loss_x`, `b` of `runs/b` and `runs/a`."""
    name, its = os.path.basename(os.path.normpath(folder)), os.path.basename(os.path.normpath(other))
    if name == its:
        return folder
    same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(name, its, strict=False))))
    return name[name.rfind("_", 0, same) + 1 :]


def _content(value: Any, kind: str | None) -> tuple[str, bytes, str] | None:
    """What a value is filed under, its bytes and their type; None for what is not known."""
    if kind == "image":
        data = bytes(value.image.encoded_image_string)
        return "Images", data, ".gif" if data.startswith(b"GIF8") else ".png"
    if kind == "audio":
        return "Audio", bytes(value.audio.encoded_audio_string), ".wav"
    if kind == "tensor" and value.metadata.plugin_data.plugin_name == "text":
        return "Text", b"\n".join(value.tensor.string_val), ".txt"
    return None
