"""What lightgbm's training evaluates, round by round, and the boosters that it writes and reads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from tracker.capture.protocol import Guard, Recorder, Undo
from tracker.capture.replaced import all_of, replace
from tracker.capture.weights import Weights


class LightgbmCapture:
    """Each evaluation set is a graph, each metric a series of it."""

    name = "lightgbm"
    module: str | None = "lightgbm"

    def __init__(self, patterns: Sequence[str] | None = None) -> None:
        self._patterns = patterns

    def install(self, recorder: Recorder) -> Undo:
        """Adds a callback to each training, and watches the boosters' files."""
        lightgbm: Any = sys.modules["lightgbm"]
        guard = Guard(self.name)
        weights = Weights(recorder, guard, self._patterns)
        owners = [lightgbm, lightgbm.engine, *filter(None, (getattr(lightgbm, "sklearn", None),))]

        def around(original: Callable[..., Any]) -> Callable[..., Any]:
            def train(*args: Any, **kwargs: Any) -> Any:
                # The first: one that ends the training raises, and those behind it are not called.
                kwargs["callbacks"] = [_Told(recorder, guard), *(kwargs.get("callbacks") or ())]
                return original(*args, **kwargs)

            return train

        return all_of(
            [
                *(replace(owner, "train", around) for owner in owners if hasattr(owner, "train")),
                weights.saves(lightgbm.Booster, "save_model", 1, "filename", lambda _: "LightGBM"),
                weights.loads(lightgbm.Booster, "__init__", 3, "model_file", lambda _: "LightGBM"),
            ]
        )


class _Told:
    """Called after each round."""

    def __init__(self, recorder: Recorder, guard: Guard) -> None:
        self._recorder = recorder
        self._guard = guard

    def __call__(self, env: Any) -> None:
        self._guard.run(self._tell, env)

    def _tell(self, env: Any) -> None:
        for data, metric, value, *_ in env.evaluation_result_list or ():
            self._recorder.scalar(str(data), str(metric), float(value), int(env.iteration))
