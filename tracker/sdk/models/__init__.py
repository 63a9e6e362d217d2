"""Models: weights in the store, a record of their own, and a link from the task that made or used them."""

from __future__ import annotations

from tracker.sdk.models.callbacks import WeightsFileHandler
from tracker.sdk.models.inputs import InputModel
from tracker.sdk.models.links import ModelList, TaskModels, linked
from tracker.sdk.models.model import Model
from tracker.sdk.models.outputs import OutputModel

__all__ = ["InputModel", "Model", "ModelList", "OutputModel", "TaskModels", "WeightsFileHandler", "linked"]
