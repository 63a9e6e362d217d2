"""Where users' files go besides the store: folders, buckets, web servers, each by its URL. Knows of no task."""

from __future__ import annotations

from tracker.storage.protocol import Entry, Place
from tracker.storage.registry import file_at, normalised, place_at

__all__ = ["Entry", "Place", "file_at", "normalised", "place_at"]
