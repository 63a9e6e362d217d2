"""The report methods that a task's logger and a model share. Each checks its arguments and hands one event on."""

from __future__ import annotations

import operator
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tracker.errors import BadValue, UsageError

if TYPE_CHECKING:
    from tracker.sdk.sink import Sink

HISTORY: Final = 100  # samples of one title and series that are kept, ClearML's


class Reporter:
    """Reports. `iteration=None` is iteration 0; what has returned survives the death of the process.

    Methods raise BadValue (a ValueError) and UsageError for arguments that are wrong in themselves; what the
    environment does costs one warning, and that report.
    """

    _history: int = HISTORY
    _interactive: bool = True

    @property
    def _sink(self) -> Sink:
        """Where the reports go."""
        raise NotImplementedError

    # --- numbers -----------------------------------------------------------------------------------------------------

    def report_scalar(self, title: str, series: str, value: float, iteration: int | None = None) -> None:
        """One point of a series. NaN and infinities are kept."""
        title, series = text("title", title), text("series", series)
        self._sink.scalar(title, series, number(f"{title}/{series}", value), step(iteration))

    def report_single_value(self, name: str, value: float) -> None:
        """One number that belongs to the run as a whole; a later one replaces it."""
        from tracker.scalars import number_to_json

        record = {"value": number_to_json(number(text("name", name), value)), "time": time.time_ns() // 1000}
        self._sink.set(f"single/{name}", record)

    # --- plots -------------------------------------------------------------------------------------------------------

    def report_histogram(
        self,
        title: str,
        series: str,
        values: Any,
        iteration: int | None = None,
        labels: Sequence[str] | None = None,
        xlabels: Sequence[str] | None = None,
        xaxis: str | None = None,
        yaxis: str | None = None,
        mode: str | None = None,
        data_args: Mapping[str, Any] | None = None,
        extra_layout: Mapping[str, Any] | None = None,
    ) -> None:
        """Bars of these heights; a matrix is a trace for each row, named by `labels`.

        mode: group, stack or relative, else AssertionError. `data_args` go into each trace, `extra_layout` into the
        layout, as plotly has them.
        """
        from tracker.sdk import charts

        names = _names(title, series, iteration)
        axes = charts.Axes(xaxis, yaxis)
        found = charts.histogram(series, values, axes, labels, xlabels, mode, data_args, extra_layout)
        self._sink.plot(*names, found)

    def report_vector(
        self,
        title: str,
        series: str,
        values: Any,
        iteration: int | None = None,
        labels: Sequence[str] | None = None,
        xlabels: Sequence[str] | None = None,
        xaxis: str | None = None,
        yaxis: str | None = None,
        mode: str | None = None,
        extra_layout: Mapping[str, Any] | None = None,
    ) -> None:
        """Deprecated by ClearML: `report_histogram` under another name."""
        self.report_histogram(
            title, series, values, iteration, labels, xlabels, xaxis, yaxis, mode, None, extra_layout
        )

    def report_table(
        self,
        title: str,
        series: str,
        iteration: int | None = None,
        table_plot: Any = None,
        csv: str | Path | None = None,
        url: str | None = None,
        extra_layout: Mapping[str, Any] | None = None,
        extra_data: Mapping[str, Any] | None = None,
    ) -> None:
        """A table, kept as a table and shown as one. Exactly one source, else UsageError.

        table_plot: a DataFrame, or rows of which the first is the header; csv: a csv file whose first column is the
        index; url: the same, by its URL. A file that cannot be read costs a warning.
        """
        from tracker.sdk import charts, tables

        names = _names(title, series, iteration)
        _one_of(table_plot=table_plot, csv=csv, url=url)
        what = f"the table {title!r} / {series!r}"
        place = csv if csv is not None else url
        own = f"{title}_{series}"
        if place is None:
            table = tables.of(own, table_plot)
        else:
            try:
                table = tables.of_csv(own, place)
            except OSError as error:
                self._sink.fault(f"{what} was not recorded: {error}", error)
                return
        content = self._sink.keep(what, table.data, table.file)
        if content is not None:
            shown = tables.figure(series, table, None, extra_data)
            merged = charts.merged(shown["layout"], extra_layout or {})
            self._sink.plot(*names, {**shown, "layout": merged}, "table", content)

    def report_line_plot(
        self,
        title: str,
        series: Any,
        xaxis: str,
        yaxis: str,
        mode: str = "lines",
        iteration: int | None = None,
        reverse_xaxis: bool = False,
        comment: str | None = None,
        extra_layout: Mapping[str, Any] | None = None,
    ) -> None:
        """Deprecated by ClearML: lines in one plot. `series`: SeriesInfo or dicts of its members, one or a list."""
        from tracker.sdk import charts

        names = text("title", title), "", step(iteration)
        axes = charts.Axes(xaxis, yaxis)
        found = charts.lines(_noted(title, comment), series, axes, mode, reverse_xaxis, extra_layout)
        self._sink.plot(*names, found)

    def report_scatter2d(
        self,
        title: str,
        series: str,
        scatter: Any,
        iteration: int | None = None,
        xaxis: str | None = None,
        yaxis: str | None = None,
        labels: Sequence[str] | None = None,
        mode: str = "lines",
        comment: str | None = None,
        extra_layout: Mapping[str, Any] | None = None,
    ) -> None:
        """Points in a plane, n rows of x and y. mode: lines, markers, lines+markers; labels: a text for each point."""
        from tracker.sdk import charts

        names = _names(title, series, iteration)
        axes = charts.Axes(xaxis, yaxis)
        self._sink.plot(
            *names, charts.scatter2d(_noted(series, comment), scatter, axes, labels, mode, extra_layout)
        )

    def report_scatter3d(
        self,
        title: str,
        series: str,
        scatter: Any,
        iteration: int | None = None,
        xaxis: str | None = None,
        yaxis: str | None = None,
        zaxis: str | None = None,
        labels: Sequence[str] | None = None,
        mode: str = "markers",
        fill: bool = False,
        comment: str | None = None,
        extra_layout: Mapping[str, Any] | None = None,
    ) -> None:
        """Points in space, n rows of x, y and z; or a list of such arrays, each named by one of `labels`."""
        from tracker.sdk import charts

        names = _names(title, series, iteration)
        axes, shown = charts.Axes(xaxis, yaxis, zaxis), _noted(series, comment)
        self._sink.plot(*names, charts.scatter3d(shown, scatter, axes, labels, mode, fill, extra_layout))

    def report_confusion_matrix(
        self,
        title: str,
        series: str,
        matrix: Any,
        iteration: int | None = None,
        xaxis: str | None = None,
        yaxis: str | None = None,
        xlabels: Sequence[str] | None = None,
        ylabels: Sequence[str] | None = None,
        yaxis_reversed: bool = False,
        comment: str | None = None,
        extra_layout: Mapping[str, Any] | None = None,
    ) -> None:
        """A matrix as a heat map with its numbers. `matrix` is 2-D: rows of numbers, or an ndarray."""
        from tracker.sdk import charts

        names = _names(title, series, iteration)
        axes, shown = charts.Axes(xaxis, yaxis), _noted(series, comment)
        found = charts.heatmap(shown, matrix, axes, xlabels, ylabels, yaxis_reversed, extra_layout)
        self._sink.plot(*names, found)

    def report_matrix(
        self,
        title: str,
        series: str,
        matrix: Any,
        iteration: int | None = None,
        xaxis: str | None = None,
        yaxis: str | None = None,
        xlabels: Sequence[str] | None = None,
        ylabels: Sequence[str] | None = None,
        yaxis_reversed: bool = False,
        extra_layout: Mapping[str, Any] | None = None,
    ) -> None:
        """Deprecated by ClearML: `report_confusion_matrix` without a comment."""
        self.report_confusion_matrix(
            title,
            series,
            matrix,
            iteration,
            xaxis,
            yaxis,
            xlabels,
            ylabels,
            yaxis_reversed,
            None,
            extra_layout,
        )

    def report_surface(
        self,
        title: str,
        series: str,
        matrix: Any,
        iteration: int | None = None,
        xaxis: str | None = None,
        yaxis: str | None = None,
        zaxis: str | None = None,
        xlabels: Sequence[str] | None = None,
        ylabels: Sequence[str] | None = None,
        camera: Sequence[float] | None = None,
        comment: str | None = None,
        extra_layout: Mapping[str, Any] | None = None,
    ) -> None:
        """A matrix as heights over a plane. `camera`: x, y and z from where one looks at it."""
        from tracker.sdk import charts

        names = _names(title, series, iteration)
        axes, shown = charts.Axes(xaxis, yaxis, zaxis), _noted(series, comment)
        self._sink.plot(*names, charts.surface(shown, matrix, axes, xlabels, ylabels, camera, extra_layout))

    def report_plotly(self, title: str, series: str, figure: Any, iteration: int | None = None) -> None:
        """A plotly Figure, or its dict. A figure that cannot be written as JSON costs that figure only."""
        from tracker.sdk import charts

        if not isinstance(figure, Mapping) and not hasattr(figure, "to_plotly_json"):
            raise BadValue(f"a plotly Figure or a dict is expected, not {type(figure).__name__}")
        names = _names(title, series, iteration)
        try:
            found = charts.titled(figure, series)
        except Exception as error:  # a figure is the user's object, and may raise anything
            self._sink.recorder.lose_plot(title, series, error)
            if self._sink.recorder.config.strict:
                raise
            return
        self._sink.plot(*names, found)

    def report_matplotlib_figure(
        self,
        title: str,
        series: str,
        figure: Any,
        iteration: int | None = None,
        report_image: bool = False,
        report_interactive: bool = True,
    ) -> None:
        """A matplotlib Figure, or pyplot for its current one, as it looks now.

        With one axes, and where plotly's own converter takes it, a plotly figure; else a plot that is a picture (.png).
        report_image: a debug sample instead; report_interactive=False: always the picture.
        """
        from tracker.sdk import drawings

        names = _names(title, series, iteration)
        drawn = drawings.figure_of(figure)
        drawings.by_hand.add(drawn)
        self._draw(names, drawn, sample=report_image, interactive=report_interactive)

    def _draw(
        self,
        names: tuple[str, str, int],
        figure: Any,
        *,
        sample: bool = False,
        interactive: bool = True,
        picture: str | None = None,
    ) -> None:
        """A figure under a title, a series (`picture`: where it becomes one) and an iteration."""
        from tracker.sdk import charts, drawings

        title, series, iteration = names
        try:
            converted = (
                drawings.converted(figure) if interactive and self._interactive and not sample else None
            )
            if converted is not None:
                self._sink.plot(*names, charts.titled(converted, series))
                return
            series = picture or series
            data, width, height = drawings.png(figure)
        except Exception as error:  # matplotlib draws here, and what the user has put into the figure
            self._sink.recorder.lose_plot(title, series, error)
            if self._sink.recorder.config.strict:
                raise
            return
        if sample:
            self._sample(title, series, iteration, "image", data, ".png", None)
            return
        what = f"the figure {title!r} / {series!r}"
        content = self._sink.keep(what, data, self._sink.sample_name(title, series, ".png", 0))
        if content is not None:
            found = charts.picture(series, url_of(content), width, height)
            self._sink.plot(title, series, iteration, found, "picture", content)

    # --- samples -----------------------------------------------------------------------------------------------------

    def report_image(
        self,
        title: str,
        series: str,
        iteration: int | None = None,
        local_path: str | Path | None = None,
        image: Any = None,
        matrix: Any = None,
        max_image_history: int | None = None,
        delete_after_upload: bool = False,
        url: str | None = None,
    ) -> None:
        """A debug sample. Exactly one source, else UsageError.

        local_path: a file, kept byte for byte (one that is not there costs a warning); image: a PIL image or an ndarray
        (see `images.encode`), kept as JPEG of quality 87, as PNG where a JPEG cannot hold it; matrix: deprecated, the
        same; url: only registered. max_image_history: how many of this title and series are kept, 0 or less for all.
        """
        names = _names(title, series, iteration)
        _one_of(local_path=local_path, image=image, matrix=matrix, url=url)
        if url is not None:
            self._registered(*names, "image", url, max_image_history)
        elif local_path is not None:
            self._file(*names, "image", local_path, max_image_history, delete_after_upload)
        else:
            from tracker.sdk import images

            try:
                data, extension = images.encode(image if image is not None else matrix)
            except OSError as error:  # PIL's, of an image that was cut short, say
                self._sink.fault(f"the image {title!r} / {series!r} was not recorded: {error}", error)
                return
            self._sample(*names, "image", data, extension, max_image_history)

    def report_image_and_upload(
        self,
        title: str,
        series: str,
        iteration: int | None = None,
        path: str | Path | None = None,
        matrix: Any = None,
        max_image_history: int | None = None,
        delete_after_upload: bool = False,
    ) -> None:
        """Deprecated by ClearML: `report_image`."""
        self.report_image(
            title, series, iteration, path, None, matrix, max_image_history, delete_after_upload
        )

    def report_media(
        self,
        title: str,
        series: str,
        iteration: int | None = None,
        local_path: str | Path | None = None,
        stream: Any = None,
        file_extension: str | None = None,
        max_history: int | None = None,
        delete_after_upload: bool = False,
        url: str | None = None,
    ) -> None:
        """A file of any type: sound, film, HTML, text. Exactly one source, else UsageError.

        local_path: a file, kept byte for byte; stream: bytes or text, read from its beginning, which needs a
        `file_extension` (else BadValue); url: only registered.
        """
        names = _names(title, series, iteration)
        _one_of(local_path=local_path, stream=stream, url=url)
        if url is not None:
            self._registered(*names, "media", url, max_history)
        elif local_path is not None:
            self._file(*names, "media", local_path, max_history, delete_after_upload)
        else:
            if not file_extension:
                raise BadValue("a stream needs a file_extension, such as '.wav'")
            extension = file_extension if file_extension.startswith(".") else f".{file_extension}"
            self._sample(*names, "media", _content(stream), extension, max_history)

    def _sample(
        self,
        title: str,
        series: str,
        iteration: int,
        kind: str,
        data: bytes,
        extension: str,
        history: int | None,
    ) -> None:
        most = self._most(history)
        file = self._sink.sample_name(title, series, extension, most)
        content = self._sink.keep(f"the sample {title!r} / {series!r}", data, file)
        if content is not None:
            self._sink.sample(title, series, iteration, kind, content, most)

    def _file(
        self,
        title: str,
        series: str,
        iteration: int,
        kind: str,
        place: str | Path,
        history: int | None,
        delete: bool,
    ) -> None:
        path, what = Path(os.path.expanduser(place)), f"the sample {title!r} / {series!r}"
        if not path.is_file():
            self._sink.fault(f"{what} was not recorded: there is no file {path}")
            return
        most = self._most(history)
        content = self._sink.keep_file(what, path, self._sink.sample_name(title, series, path.suffix, most))
        if content is not None:
            self._sink.sample(title, series, iteration, kind, content, most)
            if delete:
                self._sink.remove(path)

    def _registered(
        self, title: str, series: str, iteration: int, kind: str, url: str, history: int | None
    ) -> None:
        from tracker.codecs.protocol import media_type

        place = text("url", url)
        file = place.partition("?")[0].rpartition("/")[2]
        content = {"url": place, "file": file, "content_type": media_type(file)}
        self._sink.sample(title, series, iteration, kind, content, self._most(history))

    def _most(self, history: int | None) -> int:
        return max(0, self._history if history is None else step(history))


def _names(title: Any, series: Any, iteration: Any) -> tuple[str, str, int]:
    """What a report is called, and when it was. Raises BadValue."""
    return text("title", title), text("series", series), step(iteration)


def url_of(content: Mapping[str, Any]) -> str:
    """Where stored content is: `tracker://HASH/FILE`."""
    return f"tracker://{content['$ref'].split(':')[1]}/{content['file']}"


def step(iteration: Any) -> int:
    """An iteration as a number; None is 0. Raises BadValue."""
    try:
        found = 0 if iteration is None else operator.index(iteration)
    except TypeError:
        found = 1 << 63
    if not -(1 << 63) <= found < 1 << 63:
        raise BadValue(f"iteration {iteration!r}: a whole number of 64 bits is expected")
    return found


def number(what: str, value: Any) -> float:
    """A float of whatever float() takes. Raises BadValue."""
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise BadValue(f"{what}: {value!r:.80} is no number") from error


def text(what: str, value: object) -> str:
    """A text. Raises BadValue."""
    if not isinstance(value, str):
        raise BadValue(f"{what} must be text, not {type(value).__name__}")
    return str(value)


def _noted(name: str, comment: str | None) -> str:
    return f"{name} ({comment})" if comment else name


def _one_of(**sources: Any) -> None:
    given = [name for name, value in sources.items() if value is not None]
    if len(given) != 1:
        names = ", ".join(sources)
        raise UsageError(f"give exactly one of {names}, not {' and '.join(given) or 'none'}")


def _content(stream: Any) -> bytes:
    """All of a stream, from its beginning where it can go back there. Raises BadValue."""
    if not callable(getattr(stream, "read", None)):
        raise BadValue(f"a stream has to have read(), which a {type(stream).__name__} has not")
    if callable(getattr(stream, "seekable", None)) and stream.seekable():
        stream.seek(0)
    data = stream.read()
    return data.encode("utf-8", "surrogateescape") if isinstance(data, str) else bytes(data)
