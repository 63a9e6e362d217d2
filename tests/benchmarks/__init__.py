"""Benchmarks: `make bench` prints one table. They assert nothing about time."""

from __future__ import annotations
