"""What lets code that was written for other programs run unchanged."""

from __future__ import annotations
