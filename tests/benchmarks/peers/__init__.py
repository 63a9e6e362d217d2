"""The same work done by this program and by its peers: a file each, which is run by the Python of its environment.

Each file has `start`, which begins a run and returns how to report a scalar and how to close, and `read`, which counts
the points of a series that a run has left.
"""

from __future__ import annotations
