"""ClearML's automation: names that say what to use instead."""

from __future__ import annotations

from tracker.compat.names import finder

_NAMES = (
    *("HyperParameterOptimizer", "GridSearch", "RandomSearch", "SearchStrategy", "Objective", "Parameter"),
    *("UniformParameterRange", "UniformIntegerParameterRange", "LogUniformParameterRange"),
    *("DiscreteParameterRange", "ParameterSet", "ClearmlJob", "TaskScheduler", "TriggerScheduler"),
    *("PipelineController", "PipelineDecorator"),
)
__getattr__ = finder("clearml.automation", dict.fromkeys(_NAMES, "tracker.automation"))
