"""Weights that PyTorch writes and reads by path."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tracker.capture.protocol import Guard, Recorder, Undo
from tracker.capture.replaced import all_of
from tracker.capture.weights import Weights


class TorchCapture:
    """`torch.save` makes an output model of the file, `torch.load` an input model."""

    name = "pytorch"
    module: str | None = "torch"

    def __init__(self, patterns: Sequence[str] | None = None) -> None:
        self._patterns = patterns

    def install(self, recorder: Recorder) -> Undo:
        """Watches both functions."""
        torch = sys.modules["torch"]
        weights = Weights(recorder, Guard(self.name), self._patterns)
        return all_of(
            [
                weights.saves(torch, "save", 1, "f", lambda _: "PyTorch"),
                weights.loads(torch, "load", 0, "f", lambda _: "PyTorch"),
            ]
        )
