"""matplotlib's figures: plotly's own conversion where it takes them, else a picture of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tracker import Logger, Task

matplotlib = pytest.importorskip("matplotlib", reason="its figures are the subject")
Reopen = Callable[[Task], Task]


@pytest.fixture
def plt(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Pyplot without a screen; all figures are closed in the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what matplotlib imports
        matplotlib.use("agg")
        from matplotlib import pyplot

        yield pyplot
        pyplot.close("all")


def lines(plt: Any) -> Any:
    """A figure with one axes, which plotly can convert."""
    figure, axes = plt.subplots()
    axes.plot([1, 2, 3], [1, 4, 9])
    return figure


def test_figure_with_one_axes_is_a_plotly_figure(plt: Any, task: Task, reopened: Reopen) -> None:
    """Its data, in a plot whose title is the series; pyplot stands for its current figure."""
    pytest.importorskip("plotly", reason="its converter is what converts")
    figure = lines(plt)
    log = task.get_logger()
    log.report_matplotlib_figure("t", "figure", figure, 3)
    log.report_matplotlib_figure("t", "pyplot", plt, 3)
    assert plt.gcf() is figure
    for plot in reopened(task).plots():
        assert (plot.kind, plot.iteration) == ("plot", 3)
        assert plot.figure()["data"][0]["y"] == [1, 4, 9]
        assert plot.figure()["layout"]["title"] == {"text": plot.series}


def pictures(plt: Any) -> dict[str, Any]:
    """Figures that no conversion shows as they are."""
    two, (left, right) = plt.subplots(1, 2)
    left.plot([1])
    right.plot([2])
    shown, axes = plt.subplots()
    axes.imshow([[1, 2], [3, 4]])
    round_, axes = plt.subplots(subplot_kw={"projection": "polar"})
    axes.plot([1, 2])
    return {"two axes": two, "image": shown, "polar": round_, "empty": plt.figure()}


@pytest.mark.parametrize("name", ["two axes", "image", "polar", "empty"])
def test_other_figures_are_pictures(name: str, plt: Any, task: Task, reopened: Reopen) -> None:
    """A PNG of the figure's own size, kept beside a figure that shows it."""
    task.get_logger().report_matplotlib_figure("t", name, pictures(plt)[name], 3)
    for found in (task, reopened(task)):
        (plot,) = found.plots()
        assert (plot.kind, plot.file) == ("picture", f"t_{name}_00000000.png")
        image = plot.image()
        assert (image.format, image.size) == ("PNG", (640, 480))
        layout = plot.figure()["layout"]
        assert layout["images"][0]["source"] == plot.url == f"tracker://{plot.hash}/{plot.file}"
        assert (layout["width"], layout["height"]) == (640, 480)
    assert task.samples() == []


def test_a_picture_can_be_asked_for(plt: Any, task: Task) -> None:
    """In a plot, as a debug sample, or always."""
    log, figure = task.get_logger(), lines(plt)
    log.report_matplotlib_figure("t", "plot", figure, 1, report_interactive=False)
    log.report_matplotlib_figure("t", "sample", figure, 1, report_image=True)
    try:
        Logger.matplotlib_force_report_non_interactive(True)
        log.report_matplotlib_figure("t", "forced", figure, 1)
    finally:
        Logger.matplotlib_force_report_non_interactive(False)
    assert [(plot.kind, plot.series) for plot in task.plots()] == [("picture", "plot"), ("picture", "forced")]
    (sample,) = task.samples()
    assert (sample.kind, sample.series, sample.image().size) == ("image", "sample", (640, 480))


def test_what_is_no_figure_is_refused(task: Task) -> None:
    """At the call."""
    with pytest.raises(ValueError, match="matplotlib Figure or pyplot is expected, not list"):
        task.get_logger().report_matplotlib_figure("t", "s", [])


def test_figure_that_cannot_be_drawn_costs_itself(
    plt: Any, task: Task, said: Callable[[], list[str]]
) -> None:
    """One warning, and the run goes on."""
    figure = lines(plt)
    figure.axes[0].set_title("$\\frac{$")
    task.get_logger().report_matplotlib_figure("t", "broken", figure, report_interactive=False)
    task.get_logger().report_scalar("t", "s", 1.0)
    (line,) = said()
    assert line.startswith("tracker: the plot 't' / 'broken' was not recorded: ")
    assert (task.plots(), task.get_last_scalar_metrics()["t"]["s"]["last"]) == ([], 1.0)
