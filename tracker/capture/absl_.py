"""Records absl's flags in the section TF_DEFINE; a replayed run gets those back that its command line does not say."""

from __future__ import annotations

import sys
from ast import literal_eval
from collections.abc import Callable, Mapping
from typing import Any

from tracker.capture.protocol import Guard, Recorder, Undo, log_fault
from tracker.capture.replaced import replace

SECTION = "TF_DEFINE"


class AbslCapture:
    """Sets `param/TF_DEFINE/<flag>` for every flag that is defined when `absl.flags.FLAGS` is parsed."""

    name = "absl"
    module: str | None = "absl.flags"

    def install(self, recorder: Recorder) -> Undo:
        """Records the flags now, if they have been parsed, and whenever they are."""
        guard = Guard(self.name)
        stored = recorder.overrides(SECTION) or {}

        def tell(flags: Any) -> None:
            for name in flags:
                flag = flags[name]
                text = "" if flag.value is None else str(flag.value)
                record = {"value": text, "type": str(flag.flag_type()), "description": flag.help}
                recorder.set(f"param/{SECTION}/{name}", record)

        undo = watch(lambda: stored, lambda flags: guard.run(tell, flags))
        flags: Any = sys.modules["absl.flags"].FLAGS
        if flags.is_parsed():
            guard.run(tell, flags)
        return undo


def watch(
    stored: Callable[[], Mapping[str, str]], tell: Callable[[Any], object] = lambda flags: None
) -> Undo:
    """Have `FLAGS` take stored values, and what was parsed be told, from now on."""
    guard = Guard("absl")
    absl: Any = sys.modules["absl.flags"]

    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(flags: Any, *args: Any, **kwargs: Any) -> Any:
            rest = original(flags, *args, **kwargs)
            if flags is absl.FLAGS:
                guard.run(_apply, flags, guard.run(stored) or {})
                tell(flags)
            return rest

        return call

    return replace(absl.FlagValues, "__call__", around)


def _apply(flags: Any, stored: Mapping[str, str]) -> None:
    for name, text in stored.items():
        if name not in flags or flags[name].present or text == str(flags[name].value):
            continue
        if not text and flags[name].value is None:
            continue
        try:
            several = isinstance(flags[name].default, list) or text.startswith("[")
            setattr(flags, name, literal_eval(text) if several else flags[name].parser.parse(text))
        except Exception as fault:  # noqa: BLE001 - a parser or validator of the user's may raise anything
            log_fault(f"The stored value {text!r} of flag {name} is not used", fault)
