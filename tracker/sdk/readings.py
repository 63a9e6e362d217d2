"""Reading reports back: what a task and a model have in common. Each body is one call to `tracker.sdk.reports`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracker.reader import Thing
    from tracker.scalars import Series
    from tracker.sdk.shown import Report
    from tracker.workspace import Workspace


class Readings:
    """Scalars, plots and samples, in ClearML's shapes and as what they were."""

    _workspace: Workspace

    def _fresh(self) -> Thing:
        raise NotImplementedError

    # --- as what they were -------------------------------------------------------------------------------------------

    def scalars(self, title: str, series: str) -> Series:
        """Every point of one series, in the order of reporting: `steps`, `times`, `values` as numpy arrays.

        int64, int64 in microseconds since the epoch, float64. Raises BadValue, with near names, for an unknown series.
        """
        from tracker.sdk import reports

        return reports.points(self._workspace, self._fresh(), title, series)

    def plots(self, title: str | None = None, series: str | None = None) -> list[Report]:
        """All plots, tables and pictures, in the order of their time; or those of a title, and of a series."""
        from tracker.sdk import reports

        return reports.shown(self._workspace, self._fresh(), reports.FIGURES, title, series)

    def samples(self, title: str | None = None, series: str | None = None) -> list[Report]:
        """All images and media, likewise."""
        from tracker.sdk import reports

        return reports.shown(self._workspace, self._fresh(), reports.SAMPLES, title, series)

    # --- in ClearML's shapes -----------------------------------------------------------------------------------------

    def get_last_iteration(self) -> int:
        """The greatest iteration reported; 0 if there is none."""
        from tracker.sdk import reports

        return reports.last_iteration(self._fresh().state)

    def get_reported_scalars(
        self, max_samples: int = 0, x_axis: str = "iter"
    ) -> dict[str, dict[str, dict[str, Any]]]:
        """`{title: {series: {"name", "x": [...], "y": [...]}}}`, single values left out.

        x_axis: iter, timestamp (milliseconds) or iso_time, else BadValue. Of points with one iteration the last counts.
        `max_samples` > 0: each of that many windows of a longer series becomes its mean, at its first x; 0 keeps all.
        """
        from tracker.sdk import reports

        return reports.scalars(self._workspace, self._fresh(), max_samples, x_axis)

    def get_all_reported_scalars(self, x_axis: str = "iter") -> dict[str, dict[str, dict[str, Any]]]:
        """The same of all points; of neighbours with one x the last counts."""
        from tracker.sdk import reports

        return reports.all_scalars(self._workspace, self._fresh(), x_axis)

    def get_last_scalar_metrics(self) -> dict[str, dict[str, dict[str, float]]]:
        """`{title: {series: {"last", "min", "max"}}}`, with the single values under `Summary`."""
        from tracker.sdk import reports

        thing = self._fresh()
        return reports.last_metrics(thing.state, lambda ref: self._workspace.read(thing, ref))

    def get_reported_single_values(self) -> dict[str, float]:
        """Name to value."""
        from tracker.sdk import reports

        return reports.single_values(self._fresh().state)

    def get_reported_single_value(self, name: str) -> float | None:
        """One single value; None if there is none of that name."""
        return self.get_reported_single_values().get(name)

    def get_reported_plots(self, max_iterations: int | None = None) -> list[dict[str, Any]]:
        """Plots as ClearML's events; of each title and series the newest `max_iterations` iterations, by default one.

        `{timestamp, type: "plot", task, iter, metric, variant, plot_str, @timestamp, worker, plot_len}`
        """
        from tracker.sdk import reports

        return reports.plot_events(self._workspace, self._fresh(), max_iterations)

    def get_debug_samples(
        self, title: str, series: str, n_last_iterations: int | None = None
    ) -> list[dict[str, Any]]:
        """Images and media of one title and series as ClearML's events, of the last 100 iterations or so many.

        The newest first, each with its `url`: `tracker://HASH/FILE`, or the one that was registered. Raises TypeError
        for what is no number, or less than 0.
        """
        from tracker.sdk import reports

        return reports.sample_events(self._fresh(), title, series, n_last_iterations)
