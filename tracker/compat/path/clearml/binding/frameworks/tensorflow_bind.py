"""WeightsGradientHistHelper, by which integrations report histograms of weights and gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracker import Logger


class WeightsGradientHistHelper:
    """Histograms of arrays, as bars; of each title and series one in every `report_freq` calls."""

    def __init__(
        self,
        logger: Logger,
        report_freq: int = 100,
        histogram_update_freq_multiplier: int = 10,
        histogram_granularity: int = 50,
    ) -> None:
        self._logger, self._every, self._bins = logger, max(1, report_freq), histogram_granularity
        self._calls: dict[tuple[str, str], int] = {}

    def add_histogram(self, title: str, series: str, step: int, hist_data: Any) -> None:
        """Report how the numbers of an array are distributed at this step."""
        import numpy as np

        calls = self._calls[title, series] = self._calls.get((title, series), -1) + 1
        if calls % self._every:
            return
        counts, edges = np.histogram(np.asarray(hist_data).ravel(), bins=self._bins)
        middles = [f"{middle:.6g}" for middle in (edges[:-1] + edges[1:]) / 2]
        self._logger.report_histogram(title, series, counts, iteration=step, xlabels=middles)
