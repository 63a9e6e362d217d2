"""What captures find out is a proposal: where the user has said it himself, his word stays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tracker.errors import UsageError
from tracker.sdk import frameworks

if TYPE_CHECKING:
    from tracker.capture import Capture, Installed
    from tracker.recorder import Recorder
    from tracker.sdk.task import Task


class Proposals:
    """The recorder as captures see it."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._decided: set[str] = set()
        self._installed: Installed | None = None
        self.adjust: Callable[[str, Any], Any] = lambda key, value: value
        self.task: Task | None = None  # from the moment on that it has begun
        self._figures = frameworks.Figures()
        self.text = recorder.text
        self.scalar = recorder.scalar
        self.attach = recorder.attach
        self.overrides = recorder.overrides
        self.redacted = recorder.redacted

    def set(self, key: str, value: object) -> None:
        """Record a key as it was wished for, unless the user has said it."""
        if key not in self._decided:
            self._recorder.set(key, self.adjust(key, value))

    def sample(self, title: str, series: str, data: bytes, extension: str, iteration: int) -> None:
        """A picture or another file, as the task's logger reports it."""
        frameworks.sample(self._task(), title, series, data, extension, iteration)

    def histogram(
        self, title: str, series: str, counts: Sequence[float], edges: Sequence[str], iteration: int
    ) -> None:
        """Bars, as the task's logger reports them."""
        self._task().get_logger().report_histogram(title, series, list(counts), iteration, xlabels=edges)

    def figure(self, title: str, figure: object, *, sample: bool = False) -> None:
        """A figure that was shown or saved."""
        self._figures.report(self._task(), title, figure, sample=sample)

    def saved(self, path: str, framework: str) -> None:
        """Weights that were written are an output model."""
        frameworks.saved(self._task(), path, framework)

    def loaded(self, path: str, framework: str) -> None:
        """Weights that were read are an input model."""
        frameworks.loaded(self._task(), path, framework)

    def configuration(self, name: str, text: str, kind: str) -> None:
        """A configuration object, as the script would set it."""
        self._task().set_configuration_object(name, config_text=text, config_type=kind)

    def job_ended(self, problem: BaseException | None) -> None:
        """The task is closed, or has failed."""
        if problem is None:
            self._task().close()
        else:
            kind = type(problem).__name__
            self._task().mark_failed(status_reason=f"Exception {kind}", status_message=f"{kind}: {problem}")

    def chosen(self, name: str) -> bool:
        """What the script has told `Logger`."""
        return frameworks.chosen(name)

    def _task(self) -> Task:
        if self.task is None:
            raise UsageError("no task has begun that a framework could report to")
        return self.task

    def remove(self, name: str) -> None:
        """Take one capture out."""
        if self._installed is not None:
            self._installed.remove(name)

    def decide(self, key: str) -> None:
        """Take no further proposal for this key."""
        self._decided.add(key)

    def install(
        self,
        install_all: Callable[[Proposals, Iterable[str | Capture]], Installed],
        captures: Iterable[str | Capture],
    ) -> Installed:
        """Install captures on this."""
        self._installed = install_all(self, captures)
        return self._installed

    def wait(self, timeout: float) -> bool:
        """Whether all that is found out in the background was proposed within `timeout` seconds."""
        return self._installed is None or self._installed.wait(timeout)
