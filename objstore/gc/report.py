"""What a collection did, or would do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Amount:
    """How many files, and their bytes."""

    files: int = 0
    size: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.files + other.files, self.size + other.size)

    @classmethod
    def of(cls, sizes: Iterable[int]) -> Amount:
        """That of files of these sizes."""
        found = list(sizes)
        return cls(len(found), sum(found))


@dataclass(frozen=True, slots=True)
class GcReport:
    """What became of a store's files, or would. kept: packs that stay; aside: packs moved to the trash; rewritten:
    packs whose live part was written anew, and the bytes that were dead; put_back: packs that something needs, out of
    the trash; deleted: files and journals out of the trash, for good; waiting: those still in it; swept: leftovers.

    refused: why nothing was touched, if so; problems: what could not be done.
    """

    kept: Amount = Amount()
    aside: Amount = Amount()
    rewritten: Amount = Amount()
    put_back: Amount = Amount()
    deleted: Amount = Amount()
    waiting: Amount = Amount()
    swept: Amount = Amount()
    refused: str = ""
    problems: tuple[str, ...] = ()
