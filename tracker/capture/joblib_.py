"""Models that joblib writes and reads, as scikit-learn's manual has it. What `joblib.Memory` caches is none of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from tracker.capture.protocol import Guard, Recorder, Undo
from tracker.capture.replaced import all_of
from tracker.capture.weights import Weights

_BY_MODULE: Final = {"xgboost": "XGBoost", "lightgbm": "LightGBM", "catboost": "CatBoost"}


class JoblibCapture:
    """`joblib.dump` makes an output model of the file, `joblib.load` an input model."""

    name = "joblib"
    module: str | None = "joblib"

    def __init__(self, patterns: Sequence[str] | None = None) -> None:
        self._patterns = patterns

    def install(self, recorder: Recorder) -> Undo:
        """Watches both functions."""
        joblib = sys.modules["joblib"]
        weights = Weights(recorder, Guard(self.name), self._patterns)
        return all_of(
            [
                weights.saves(joblib, "dump", 1, "filename", _framework),
                weights.loads(joblib, "load", 0, "filename", lambda _: "ScikitLearn"),
            ]
        )


def _framework(args: tuple[Any, ...]) -> str:
    value = args[0] if args else None
    return _BY_MODULE.get(type(value).__module__.partition(".")[0], "ScikitLearn")
