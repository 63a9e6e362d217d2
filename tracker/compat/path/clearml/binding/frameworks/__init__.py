"""What watches frameworks in ClearML; integrations ask for some of it by name."""

from __future__ import annotations

from tracker.compat.names import finder

__getattr__ = finder(
    "clearml.binding.frameworks",
    {"WeightsFileHandler": "tracker.sdk.models.callbacks"},
    "there is WeightsFileHandler; report models with OutputModel.update_weights",
)
