"""Logger: ClearML's report methods for the task that runs in this process, its console among them."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tracker.errors import BadValue
from tracker.sdk.charts import SeriesInfo
from tracker.sdk.reporter import Reporter, number, step, text
from tracker.sdk.sink import Sink

if TYPE_CHECKING:
    from tracker.recorder import Recorder
    from tracker.sdk.task.reports import Reports

_LEVEL_MAX: Final = 32_767
_loggers: weakref.WeakSet[Logger] = weakref.WeakSet()


class Logger(Reporter):
    """Reports of one task. Get it from `task.get_logger()` or `Logger.current_logger()`."""

    SeriesInfo = SeriesInfo
    _nan: ClassVar[float] = math.nan
    _infinity: ClassVar[float] = math.inf
    _group_scalars: ClassVar[bool] = False
    _single_series: ClassVar[bool] = False

    def __init__(self, task: Reports, recorder: Recorder) -> None:
        self._task = task
        self._recorder = recorder
        self._output = Sink(task, recorder)
        self._destination: str | None = None
        _loggers.add(self)
        self._choose()

    @classmethod
    def current_logger(cls) -> Logger | None:
        """The logger of the process's task; None without one."""
        from tracker.sdk.task import Task

        task = Task.current_task()
        return task.get_logger() if task else None

    @property
    def _sink(self) -> Sink:
        return self._output

    def report_scalar(self, title: str, series: str, value: float, iteration: int | None = None) -> None:
        """One point of a series. NaN and infinities are kept. Raises BadValue for what is no number."""
        if title.__class__ is not str or series.__class__ is not str:
            title, series = text("title", title), text("series", series)
        try:
            found = float(value)
        except (TypeError, ValueError) as error:
            raise BadValue(f"{title}/{series}: {value!r:.80} is no number") from error
        self._scalar(title, series, found, 0 if iteration is None else iteration)

    # --- console -----------------------------------------------------------------------------------------------------

    def report_text(self, msg: str, level: int = 20, print_console: bool = True) -> None:
        """A message for the console log with a level as Python's logging has them, and for the console."""
        found = str(msg)
        if not -_LEVEL_MAX - 1 <= (rank := step(level)) <= _LEVEL_MAX:
            raise BadValue(f"level {level!r}: a level of Python's logging is expected, such as logging.INFO")
        if print_console:
            from tracker.capture.console import unrecorded

            with unrecorded():
                print(found, flush=True)  # noqa: T201 - what the caller asked for
        for line in found.splitlines() or [""]:
            self._recorder.text("log", line, None if rank == 20 else rank)

    @contextmanager
    def capture_logging(self) -> Iterator[None]:
        """Records what goes to Python's logging inside, with its levels, where it is not recorded anyway."""
        import logging

        if self._task.captures_console:
            yield
            return
        recorder = self._recorder

        class Handler(logging.Handler):
            """Each message, as its own formatter writes it."""

            def emit(self, record: logging.LogRecord) -> None:
                try:
                    for line in self.format(record).splitlines() or [""]:
                        recorder.text("log", line, max(-_LEVEL_MAX, min(record.levelno, _LEVEL_MAX)))
                except Exception:  # noqa: BLE001 - as every handler does: what cannot be written breaks nobody
                    self.handleError(record)

        handler = Handler()
        logging.getLogger().addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)

    # --- settings ----------------------------------------------------------------------------------------------------

    def set_default_upload_destination(self, uri: str) -> None:
        """Where samples, and artifacts without an output_uri, are copied to besides the store."""
        self._destination = text("uri", uri)

    def get_default_upload_destination(self) -> str | None:
        """The same; the task's `output_uri` where none was set, None without one."""
        return self._destination or getattr(self._task, "output_uri", None) or None

    def set_default_debug_sample_history(self, max_history: int) -> None:
        """How many samples of one title and series are kept from here on; 0 or less for all."""
        self._history = step(max_history)

    def get_default_debug_sample_history(self) -> int:
        """The same: 100 where nothing was set."""
        return self._history

    def set_flush_period(self, period: float) -> None:
        """Nothing: a report that has returned is already kept."""

    def flush(self, wait: bool = False) -> bool:
        """True: a report that has returned is already kept."""
        return True

    @classmethod
    def set_reporting_nan_value(cls, value: float, warn_period: int = 1000) -> None:
        """What is stored in place of a NaN; by default NaN itself."""
        Logger._nan = number("value", value)
        cls._choose_all()

    @classmethod
    def set_reporting_inf_value(cls, value: float, warn_period: int = 1000) -> None:
        """What is stored in place of an infinity, with its sign; by default infinity itself."""
        Logger._infinity = number("value", value)
        cls._choose_all()

    @classmethod
    def tensorboard_auto_group_scalars(cls, group_scalars: bool = False) -> None:
        """Whether tensorboard's scalars without a slash in their names share the title `Scalars`."""
        Logger._group_scalars = bool(group_scalars)

    @classmethod
    def tensorboard_single_series_per_graph(cls, single_series: bool = False) -> None:
        """Whether each of tensorboard's series has a title of its own."""
        Logger._single_series = bool(single_series)

    @classmethod
    def matplotlib_force_report_non_interactive(cls, force: bool) -> None:
        """Whether matplotlib's figures are always pictures."""
        Reporter._interactive = not force

    @classmethod
    def _choose_all(cls) -> None:
        for logger in list(_loggers):
            logger._choose()

    def _choose(self) -> None:
        """Point at the recorder itself as long as nothing is replaced: a look at each value would cost each point."""
        kept = math.isnan(Logger._nan) and Logger._infinity == math.inf
        self._scalar: Any = self._recorder.scalar if kept else self._replacing

    def _replacing(self, title: str, series: str, value: float, iteration: int) -> None:
        if math.isnan(value):
            value = Logger._nan
        elif math.isinf(value):
            value = math.copysign(1.0, value) * Logger._infinity
        self._recorder.scalar(title, series, value, iteration)
