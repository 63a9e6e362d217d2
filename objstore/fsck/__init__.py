"""Checks a store: its files against their names, stored bytes against what pins them, objects against their ids, and
heads for what they reach. Reads only; what is wrong is named, with the heads that it touches and what to do.
"""

from __future__ import annotations

from objstore.fsck.inspection import Inspection, check
from objstore.fsck.journals import unread_events
from objstore.fsck.lost import headless
from objstore.fsck.names import is_as_named
from objstore.fsck.report import HEAL, Damage, Level, Problem, Progress, Report
from objstore.fsck.walk import IdSet, Walk

__all__ = [
    "HEAL",
    "Damage",
    "IdSet",
    "Inspection",
    "Level",
    "Problem",
    "Progress",
    "Report",
    "Walk",
    "check",
    "headless",
    "is_as_named",
    "unread_events",
]
