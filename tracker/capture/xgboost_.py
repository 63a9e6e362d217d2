"""What xgboost's training evaluates, round by round, and the boosters that it writes and reads."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tracker.capture.protocol import Guard, Recorder, Undo
from tracker.capture.replaced import all_of, replace
from tracker.capture.weights import Weights


class XgboostCapture:
    """Each evaluation set is a graph, each metric a series of it; of a second training its name is `train - 1`."""

    name = "xgboost"
    module: str | None = "xgboost"

    def __init__(self, patterns: Sequence[str] | None = None) -> None:
        self._patterns = patterns

    def install(self, recorder: Recorder) -> Undo:
        """Adds a callback to each training, and watches the boosters' files."""
        xgboost: Any = sys.modules["xgboost"]
        guard = Guard(self.name)
        weights = Weights(recorder, guard, self._patterns)
        around = _training(xgboost.callback.TrainingCallback, recorder, guard)
        return all_of(
            [
                *(replace(owner, "train", around) for owner in (xgboost, xgboost.training, xgboost.sklearn)),
                weights.saves(xgboost.Booster, "save_model", 1, "fname", lambda _: "XGBoost"),
                weights.loads(xgboost.Booster, "load_model", 1, "fname", lambda _: "XGBoost"),
            ]
        )


def _training(
    callback: type[Any], recorder: Recorder, guard: Guard
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    trainings = itertools.count()

    class Told(callback):  # type: ignore[misc] # a class that is only known once xgboost is there
        """Hands on what the round has evaluated."""

        def __init__(self) -> None:
            super().__init__()
            number = next(trainings)
            self.suffix = f" - {number}" if number else ""

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            """False: the training goes on."""
            guard.run(self.tell, epoch, evals_log)
            return False

        def tell(self, epoch: int, log: Any) -> None:
            """One point for each set and metric."""
            for data, metrics in log.items():
                for metric, values in metrics.items():
                    recorder.scalar(f"{data}{self.suffix}", metric, float(values[-1]), epoch)

    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def train(*args: Any, **kwargs: Any) -> Any:
            # The first: a callback that ends the training keeps those behind it from being called.
            told = guard.run(Told)
            if told is not None:
                kwargs["callbacks"] = [told, *(kwargs.get("callbacks") or ())]
            return original(*args, **kwargs)

        return train

    return around
