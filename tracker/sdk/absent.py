"""Names of ClearML that can be imported and used for nothing else: each use says why, and what to use instead."""

from __future__ import annotations

from typing import Any, NoReturn

from tracker.errors import UsageError


class Absent(type):
    """The class of a class that is not there: it can be named and compared, no more."""

    _reason: str

    def __call__(cls, *given: Any, **named: Any) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(cls._reason)

    def __getattr__(cls, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)  # Python's own questions: for annotations, copying, documentation
        raise UsageError(cls._reason)


def absent(name: str, module: str, reason: str) -> Absent:
    """A stand-in for a class of that name."""
    return Absent(name, (), {"__module__": module, "__doc__": reason, "_reason": reason})


_STEPS = "a script that makes a task for each step, and gets what earlier ones left with Task.get_task"
Dataset = absent(
    "Dataset",
    "tracker",
    "Dataset is not here: versioned files are artifacts. Use task.upload_artifact(name, folder) and "
    "task.artifacts[name].get_local_copy(): content that is stored already takes no room again",
)
PipelineController = absent(
    "PipelineController",
    "tracker",
    f"PipelineController is not here: it needs a server's queues to run its steps. Use {_STEPS}",
)
PipelineDecorator = absent(
    "PipelineDecorator",
    "tracker",
    f"PipelineDecorator is not here: it needs a server's queues to run its steps. Use {_STEPS}",
)

_SEARCH = (
    "is not here: it clones and enqueues tasks on a server. Use a search library of your own (optuna, a loop over "
    "settings) with one Task.init a trial, and `tracker ls --sort` to compare them"
)
_TIMETABLE = "is not here: it is a service that waits on a server. Use cron, or your cluster's scheduler"
_AUTOMATION = {
    **dict.fromkeys(
        (
            "HyperParameterOptimizer",
            "SearchStrategy",
            "GridSearch",
            "RandomSearch",
            "Objective",
            "Parameter",
            "UniformParameterRange",
            "UniformIntegerParameterRange",
            "LogUniformParameterRange",
            "DiscreteParameterRange",
            "ParameterSet",
            "ClearmlJob",
        ),
        _SEARCH,
    ),
    **dict.fromkeys(("TaskScheduler", "TriggerScheduler"), _TIMETABLE),
}
AUTOMATION: dict[str, Absent] = {
    **{name: absent(name, "tracker.automation", f"{name} {why}") for name, why in _AUTOMATION.items()},
    "PipelineController": PipelineController,
    "PipelineDecorator": PipelineDecorator,
}
