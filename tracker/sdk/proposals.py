"""What captures find out is a proposal: where the user has said it himself, his word stays."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracker.capture import Capture, Installed
    from tracker.recorder import Recorder


class Proposals:
    """The recorder as captures see it."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._decided: set[str] = set()
        self._installed: Installed | None = None
        self.adjust: Callable[[str, Any], Any] = lambda key, value: value
        self.text = recorder.text
        self.scalar = recorder.scalar
        self.attach = recorder.attach
        self.overrides = recorder.overrides
        self.redacted = recorder.redacted

    def set(self, key: str, value: object) -> None:
        """Record a key as it was wished for, unless the user has said it."""
        if key not in self._decided:
            self._recorder.set(key, self.adjust(key, value))

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
