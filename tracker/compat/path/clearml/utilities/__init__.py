"""Parts of ClearML that scripts import by their own names."""

from __future__ import annotations
