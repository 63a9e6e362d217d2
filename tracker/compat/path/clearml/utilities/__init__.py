"""Parts of ClearML that scripts import by their own names."""

from __future__ import annotations

from tracker.compat.names import finder

__getattr__ = finder("clearml.utilities", {}, modules=("plotly_reporter", "proxy_object"))
