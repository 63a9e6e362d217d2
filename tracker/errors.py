"""Every error the tracker raises on purpose.

TrackerError
├── UsageError      (RuntimeError)     a call that does not fit the state of things, e.g. a second main task
├── BadValue        (ValueError)       an argument that is not what was expected
│   └── WrongKind   (AssertionError)   one of the wrong type, where ClearML asserts
├── DeleteError     (RuntimeError)     a task that is to be deleted and cannot be
├── TaskNotFound    (ValueError, LookupError)
├── CorruptRecord   (ValueError)       a committed record or a journal event that cannot be read
├── UnsafeArtifact  (PermissionError)  loading it would run code from the artifact
├── MissingPackage  (ImportError)      an optional package that a call needs is not installed
└── RecordingFault  (OSError)          the environment failed, and `strict = true` asks to hear of it
"""

from __future__ import annotations


class TrackerError(Exception):
    """The root: what went wrong, with what, and what to do."""


class UsageError(TrackerError, RuntimeError):
    """A call that does not fit the state of things."""


class BadValue(TrackerError, ValueError):
    """An argument that is not what was expected."""


class WrongKind(BadValue, AssertionError):
    """An argument of the wrong type, where ClearML asserts what it is."""


class DeleteError(TrackerError, RuntimeError):
    """A task that is to be deleted and cannot be: it is published, or runs."""


class TaskNotFound(TrackerError, ValueError, LookupError):
    """No task has that id, or that project and name."""


class CorruptRecord(TrackerError, ValueError):
    """A committed record or a journal event that cannot be read; nothing of it was used."""


class UnsafeArtifact(TrackerError, PermissionError):
    """Loading the artifact would run code from it."""


class MissingPackage(TrackerError, ImportError):
    """An optional package that a call needs is not installed; the message names the extra that brings it."""


class RecordingFault(TrackerError, OSError):
    """The environment kept something from being recorded, and `strict = true` asks to hear of it."""
