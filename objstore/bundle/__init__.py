"""Bundles: files of a store in one file, or in parts of limited size, for the way to where no network goes.

Made as a push to a remote that holds nothing, and taken in as a pull from one, of all or nothing. No name in a bundle
is used as a path, and nothing of it is published before all of it has been checked.
"""

from __future__ import annotations

from objstore.bundle.checking import Report, verify
from objstore.bundle.form import Prerequisite
from objstore.bundle.making import Made, create
from objstore.bundle.source import Bundle
from objstore.bundle.taking import lacking, unbundle
from objstore.sync.incoming import Received

__all__ = ["Bundle", "Made", "Prerequisite", "Received", "Report", "create", "lacking", "unbundle", "verify"]
