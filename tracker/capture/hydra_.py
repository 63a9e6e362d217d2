"""Records the overrides and the configuration of hydra's jobs; a run again gets its overrides back.

A task that begins within a job ends with it, so that each job of a sweep is a task of its own.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from tracker.capture.protocol import Guard, Recorder, Undo
from tracker.capture.replaced import all_of, replace

SECTION = "Hydra"
CONFIGURATION: Final = "OmegaConf"

_OVERRIDE: Final = re.compile(r"([+~]*)([^=]+)=?(.*)", re.DOTALL)


class HydraCapture:
    """Sets `param/Hydra/<key>` for every override of a job, and the configuration object OmegaConf: all of it, as YAML
    without interpolations resolved."""

    name = "hydra"
    module: str | None = "hydra._internal.hydra"

    def install(self, recorder: Recorder) -> Undo:
        """Records the job that runs now, if one does, and each that begins from now on."""
        guard = Guard(self.name)
        stored = recorder.overrides(SECTION) or {}
        within = _job.config is not None

        def begins(config: Any) -> None:
            guard.run(_record, recorder, config)

        def ends(problem: BaseException | None) -> None:
            if within:
                guard.run(recorder.job_ended, problem)

        undo = watch(lambda: stored, begins, ends)
        if within:
            begins(_job.config)
        return undo


class _Job:
    """What hydra runs in this process; it runs one job at a time."""

    config: Any = None


_job = _Job()


def watch(
    stored: Callable[[], Mapping[str, str]],
    begins: Callable[[Any], object] = lambda config: None,
    ends: Callable[[BaseException | None], object] = lambda problem: None,
) -> Undo:
    """Have jobs take stored overrides, and tell of each that begins, with its configuration, and ends, with what it
    raised."""
    guard = Guard("hydra")
    callbacks: Any = sys.modules["hydra._internal.callbacks"].Callbacks
    hydra: Any = sys.modules["hydra._internal.hydra"].Hydra

    def starting(original: Callable[..., Any]) -> Callable[..., Any]:
        def on_job_start(*args: Any, **kwargs: Any) -> Any:
            _job.config = kwargs["config"] if "config" in kwargs else args[1]
            begins(_job.config)
            return original(*args, **kwargs)

        return on_job_start

    def ending(original: Callable[..., Any]) -> Callable[..., Any]:
        def on_job_end(*args: Any, **kwargs: Any) -> Any:
            done = original(*args, **kwargs)
            _job.config = None
            result = getattr(kwargs.get("job_return"), "_return_value", None)
            ends(result if isinstance(result, BaseException) else None)
            return done

        return on_job_end

    def running(original: Callable[..., Any]) -> Callable[..., Any]:
        def run(
            self: Any, config_name: Any, task_function: Any, overrides: Any, *args: Any, **kwargs: Any
        ) -> Any:
            values = guard.run(stored) or {}
            groups = partial(_is_group, self.config_loader)
            chosen = guard.run(merged, overrides, values, groups) if values else None
            if chosen:
                overrides = chosen
                kwargs.pop("parsed_overrides", None)  # since 1.4: what was made of those given
            return original(self, config_name, task_function, overrides, *args, **kwargs)

        return run

    def sweeping(original: Callable[..., Any]) -> Callable[..., Any]:
        def multirun(
            self: Any, config_name: Any, task_function: Any, overrides: Any, *args: Any, **kwargs: Any
        ) -> Any:
            if not guard.run(stored):
                return original(self, config_name, task_function, overrides, *args, **kwargs)
            # A task of a sweep is one of its jobs, and run again it is that job alone.
            single = [each for each in overrides if not each.startswith("hydra.mode=")]
            return self.run(config_name, task_function, [*single, "hydra.mode=RUN"], *args, **kwargs)

        return multirun

    return all_of(
        [
            replace(callbacks, "on_job_start", starting),
            replace(callbacks, "on_job_end", ending),
            replace(hydra, "run", running),
            replace(hydra, "multirun", sweeping),
        ]
    )


def merged(
    given: Iterable[str], stored: Mapping[str, str], is_group: Callable[[str], bool] = lambda name: False
) -> list[str]:
    """Overrides, those that are stored in the place of those given for the same key.

    A value is set whether the configuration has it or not, a group (`db=mysql`) is chosen as it was.
    """
    keys = {name.lstrip("+~") for name in stored}
    kept = {match[2]: text for text in given if (match := _OVERRIDE.match(text)) is not None}
    found = [text for key, text in kept.items() if key not in keys]
    for name, value in stored.items():
        if name.startswith("~"):
            found.append(name if not value else f"{name}={value}")
        elif is_group(name):
            mark = _OVERRIDE.match(kept.get(name, ""))
            found.append(f"{mark[1] if mark is not None else ''}{name}={value}")
        else:
            found.append(f"++{name}={value}")
    return found


def _is_group(loader: Any, name: str) -> bool:
    return bool(loader.get_group_options(name.partition("@")[0]))


def _record(recorder: Recorder, config: Any) -> None:
    import copy

    omegaconf: Any = sys.modules["omegaconf"]
    for text in config.hydra.overrides.task:
        match = _OVERRIDE.match(text)
        if match is not None:
            name = f"~{match[2]}" if "~" in match[1] else match[2]
            record = {"value": match[3], "type": None, "description": None}
            recorder.set(f"param/{SECTION}/{name}", record)
    own = copy.copy(config)
    with omegaconf.read_write(own), omegaconf.open_dict(own):
        own.pop("hydra", None)
    recorder.configuration(CONFIGURATION, omegaconf.OmegaConf.to_yaml(own, resolve=False), "OmegaConf YAML")
