"""Artifact values <-> (bytes or files, media type). Opens only what the caller names; unpickles only when told to."""

from __future__ import annotations

from tracker.codecs.protocol import Encoded
from tracker.codecs.registry import decode, encode

__all__ = ["Encoded", "decode", "encode"]
