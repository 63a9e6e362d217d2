"""Takes out of a store what nothing names any more: marks from the roots, sets aside, and deletes after the grace.

Deletes nothing unless every root, and all that the roots reach, could be read and is there. Takes no lock: what a
writer beside it needs, and finds set aside, is put back by that writer, or by the next run before it deletes.
"""

from __future__ import annotations

from objstore.gc.collecting import Roots, collect
from objstore.gc.erasing import Erased, Relations, erase
from objstore.gc.report import Amount, GcReport
from objstore.gc.rescue import rescue

__all__ = ["Amount", "Erased", "GcReport", "Relations", "Roots", "collect", "erase", "rescue"]
