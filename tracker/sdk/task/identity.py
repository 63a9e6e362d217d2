"""Task, identity: what it is called, where it stands, its tags and its progress."""

from __future__ import annotations

from collections.abc import Iterable

from tracker.errors import BadValue
from tracker.sdk.task.core import Core


class Identity(Core):
    """Names, project, type, comment, tags, progress."""

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self._state.get("name", ""))

    @property
    def task_type(self) -> str:
        """training, testing, …"""
        return str(self._state.get("type", ""))

    @property
    def comment(self) -> str:
        """Free text."""
        return str(self._state.get("comment", ""))

    def get_project_name(self) -> str:
        """The name of its project."""
        return str(self._state.get("project", ""))

    def add_tags(self, tags: str | Iterable[str]) -> None:
        """Add tags; a text is split at spaces."""
        self._set_all({f"tag/{tag}": True for tag in tags_of(tags)})

    def get_tags(self) -> list[str]:
        """Sorted."""
        return list(self._state.section("tag"))

    def set_progress(self, progress: int) -> None:
        """A whole number from 0 to 100; anything else changes nothing and warns."""
        if not isinstance(progress, int) or not 0 <= progress <= 100:
            self.fault(f"progress {progress!r} was ignored: a whole number from 0 to 100 is expected", None)
            return
        self.set_key("progress", int(progress))

    def get_progress(self) -> int | None:
        """The last progress, None if there is none."""
        value = self._state.get("progress")
        return None if value is None else int(value)


def tags_of(tags: str | Iterable[str] | None) -> list[str]:
    """Tags from a text split at spaces, or from a list of texts. Raises BadValue."""
    if tags is None:
        return []
    texts = tags.split(" ") if isinstance(tags, str) else tags
    found = list(texts) if isinstance(texts, Iterable) else [texts]
    if not all(isinstance(tag, str) for tag in found):
        raise BadValue(f"tags are a text or a list of texts, not {tags!r}")
    return [tag for tag in found if tag]
