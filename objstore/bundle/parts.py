"""A bundle's files on disk: found, checked and read as one; written, and renamed once all of them are durable."""

from __future__ import annotations

import os
import re
import secrets
import stat
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from objstore import layout
from objstore.bundle.form import LEAD_SIZE, TRAILER_SIZE, Lead
from objstore.errors import Conflict, Corrupt, NotFound, RemoteError, StoreError, Unsupported
from objstore.files import check_target
from objstore.ids import Hasher, hash_bytes
from objstore.publish import fsync_folder
from objstore.sync import Progress

_FRAMING: Final = LEAD_SIZE + TRAILER_SIZE
_STEP: Final = 4 * layout.MIB  # bytes read at once: enough for BLAKE3 to use several threads
_NUMBER: Final = re.compile(r"\.[0-9]{3,4}")
_NAMED_MOST: Final = 8


# --- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    path: Path
    lead: Lead


class Parts:
    """The files of one bundle, in their order; together they are its content."""

    def __init__(self, parts: list[_Part]) -> None:
        self._parts = parts
        self._starts = [part.lead.offset for part in parts]
        self.lead = parts[0].lead
        self._open: tuple[Path, int] | None = None

    @classmethod
    def find(cls, given: Sequence[Path]) -> Parts:
        """Read the leads of the given files, in any order; parts not given are looked for beside them.

        Raises NotFound for files and parts that are not there; Corrupt for what is damaged, cut short, or a part of
        another bundle; Unsupported.
        """
        found: dict[int, _Part] = {}
        for path in _names(given):
            part = _read(path)
            first = next(iter(found.values()), part)
            if not part.lead.fits(first.lead):
                raise Corrupt(
                    f"{path} is part {part.lead.number} of bundle {_short(part.lead)}, but {first.path} is of "
                    f"{_short(first.lead)}: name the parts of one bundle"
                )
            found.setdefault(part.lead.number, part)
        if not found:
            raise NotFound("no bundle was named")
        swapped = _look_beside(found)
        _refuse_missing(found, swapped)
        parts = [found[number] for number in sorted(found)]
        at = 0
        for part in parts:
            if part.lead.offset != at:
                raise Corrupt(f"{part.path} does not go on where the part before it ends: copy it again")
            at += part.lead.length
        if at != parts[0].lead.content:
            raise Corrupt(f"{parts[-1].path}: the parts do not make up the bundle: copy them again")
        return cls(parts)

    @property
    def paths(self) -> list[Path]:
        """The files, in order."""
        return [part.path for part in self._parts]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(part.lead.length + _FRAMING for part in self._parts)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the content. Raises RemoteError, Corrupt where a file ends too early."""
        pieces, end = [], offset + length
        number = bisect_right(self._starts, offset) - 1
        while offset < end:
            part = self._parts[number]
            count = min(end, part.lead.offset + part.lead.length) - offset
            pieces.append(self._pread(part.path, LEAD_SIZE + offset - part.lead.offset, count))
            offset, number = offset + count, number + 1
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def check(self, progress: Progress | None = None) -> None:
        """Hash every file. Raises Corrupt, which names all parts that are damaged."""
        wrong, done, total = [], 0, sum(part.lead.length for part in self._parts)
        for part in self._parts:
            hasher, at, end = Hasher(threads=os.cpu_count() or 1), 0, part.lead.length
            try:
                while at < end:
                    data = self._pread(part.path, LEAD_SIZE + at, min(_STEP, end - at))
                    hasher.update(data)
                    at += len(data)
                    done += len(data)
                    if progress is not None:
                        progress(done, total)
                hasher.update(part.lead.encode())
                if bytes(hasher.id()) != self._pread(part.path, LEAD_SIZE + end, TRAILER_SIZE):
                    wrong.append(str(part.path))
            except Corrupt:
                wrong.append(str(part.path))
        if wrong:
            raise Corrupt(
                f"{_listed(wrong)} {'is' if len(wrong) == 1 else 'are'} damaged: copy again from the source"
            )

    def close(self) -> None:
        """Close the file that is open; reading opens it again."""
        if self._open is not None:
            os.close(self._open[1])
            self._open = None

    def _pread(self, path: Path, offset: int, length: int) -> bytes:
        try:
            if self._open is None or self._open[0] != path:
                self.close()
                self._open = (path, _opened(path))
            data = os.pread(self._open[1], length, offset)
        except OSError as error:
            raise RemoteError(f"{path} cannot be read: {error.strerror or error}") from error
        if len(data) != length:
            raise Corrupt(f"{path} is cut short: copy it again")
        return data

    def __del__(self) -> None:
        if hasattr(self, "_open"):
            self.close()


def part_path(out: Path, number: int) -> Path:
    """What part `number` of a split bundle is called."""
    return out.with_name(f"{out.name}.{number:03d}")


def _names(given: Sequence[Path]) -> Iterator[Path]:
    """The given files; where one is the name that was given to split, its first part."""
    for path in given:
        first = part_path(path, 1)
        yield first if not path.exists() and first.exists() else path


def _opened(path: Path) -> int:
    # Not blocking: a pipe would wait for a writer for ever.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Corrupt(f"{path} is no file")
    return fd


def _read(path: Path) -> _Part:
    try:
        fd = _opened(path)
    except FileNotFoundError:
        raise NotFound(f"{path} is not there: name a bundle, or the parts of one") from None
    except OSError as error:
        raise RemoteError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        size = os.fstat(fd).st_size
        lead = Lead.decode(os.pread(fd, LEAD_SIZE, 0))
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise RemoteError(f"{path} cannot be read: {error.strerror or error}") from error
    except (Corrupt, Unsupported) as error:
        raise type(error)(f"{path}: {error}") from error
    finally:
        os.close(fd)
    if size != lead.length + _FRAMING:
        raise Corrupt(f"{path} has {size} of {lead.length + _FRAMING} bytes: copy it again")
    return _Part(path, lead)


def _look_beside(found: dict[int, _Part]) -> list[str]:
    """Add the parts that lie beside those found, by name; returns files that have such a name and are none of them."""
    swapped: dict[str, None] = {}
    first = next(iter(found.values()))
    for given in list(found.values()):
        if not _NUMBER.fullmatch(given.path.suffix):
            continue
        for number in [n for n in range(1, first.lead.count + 1) if n not in found]:
            path = part_path(given.path.with_suffix(""), number)
            if not path.exists():
                continue
            try:
                part = _read(path)
            except StoreError as error:
                swapped[str(error)] = None
                continue
            if part.lead.fits(first.lead):
                found.setdefault(part.lead.number, part)
            else:
                swapped[f"{path} is part {part.lead.number} of another bundle, {_short(part.lead)}"] = None
    return list(swapped)


def _refuse_missing(found: dict[int, _Part], swapped: list[str]) -> None:
    first = next(iter(found.values()))
    missing = [number for number in range(1, first.lead.count + 1) if number not in found]
    if not missing:
        return
    numbers = _listed([str(number) for number in missing])
    parts = "part" if len(missing) == 1 else "parts"
    text = f"{parts} {numbers} of {first.lead.count} of bundle {_short(first.lead)} cannot be found"
    if swapped:
        raise Corrupt(f"{text}; {'; '.join(swapped[:_NAMED_MOST])}: copy the right ones beside {first.path}")
    raise NotFound(f"{text}: put them beside {first.path}, or name them all")


def _short(lead: Lead) -> str:
    return lead.bundle.hex()[:12]


def _listed(names: list[str]) -> str:
    shown = names[:_NAMED_MOST]
    more = [f"{len(names) - _NAMED_MOST} more"] if len(names) > _NAMED_MOST else []
    *most, last = [*shown, *more]
    return f"{', '.join(most)} and {last}" if most else last


# --- writing ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Unfinished:
    path: Path
    offset: int
    length: int = 0
    hasher: Hasher = field(default_factory=lambda: Hasher(threads=2))


class PartsWriter:
    """Content in, one file or several of at most `split` bytes out. Use it in a `with` block: it leaves no half file.

    Raises Conflict where something is there that may not be replaced, NotFound where there is no folder to write into,
    StoreError for what the medium refuses.
    """

    def __init__(self, out: Path, split: int | None, *, force: bool) -> None:
        self._out = out
        self._split = split
        self._force = force
        self._token = secrets.token_hex(4)
        self._parts: list[_Unfinished] = []
        self._file = -1
        self.size = 0
        if split is not None and split < layout.BUNDLE_PART_MIN:
            raise StoreError(f"parts of {split} bytes are too small: {layout.BUNDLE_PART_MIN} at least")
        if out.name in ("", "..") or out.is_dir():
            raise Conflict(f"{out} is a folder: name a file")
        if not out.parent.is_dir():
            raise NotFound(f"{out.parent} is no folder: make it first, or name another place")
        self._refuse_existing([out, part_path(out, 1)])

    def __enter__(self) -> PartsWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()
        for part in self._parts:
            with suppress(OSError):
                part.path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Append to the content."""
        view = memoryview(data)
        with self._errors():
            while view:
                part = self._current()
                room = len(view) if self._split is None else self._split - _FRAMING - part.length
                piece, view = view[:room], view[room:]
                _write(self._file, piece)
                part.hasher.update(piece)
                part.length += len(piece)
                self.size += len(piece)

    def copy(self, path: Path) -> None:
        """Append the content of a file."""
        with path.open("rb", buffering=0) as file:
            for data in iter(lambda: file.read(_STEP), b""):
                self.write(data)

    def finish(self, index: bytes) -> list[Path]:
        """Append the index, make all files durable and give them their names; returns these."""
        self.write(index)
        with self._errors():
            self._close()
            for number, part in enumerate(self._parts, 1):
                counts = (number, len(self._parts), self.size, len(index), part.offset, part.length)
                self._seal(part, Lead(*counts, hash_bytes(index)).encode())
            numbers = range(1, len(self._parts) + 1)
            names = [self._out] if self._split is None else [part_path(self._out, n) for n in numbers]
            self._refuse_existing(names)
            former = self._former() if self._force else []
            for part, name in zip(self._parts, names, strict=True):
                os.replace(part.path, name)
            for path in former:
                if path not in names:
                    path.unlink(missing_ok=True)
            fsync_folder(self._out.parent)
        return names

    def _former(self) -> list[Path]:
        """The files of the bundle that is replaced: who reads what is left of it beside the new one, reads neither."""
        found: list[Path] = []
        with suppress(StoreError):
            if _read(self._out).lead.count == 1:
                found.append(self._out)
        with suppress(StoreError):
            first = _read(part_path(self._out, 1)).lead
            for number in range(1, first.count + 1) if first.number == 1 else ():
                path = part_path(self._out, number)
                with suppress(StoreError):
                    lead = _read(path).lead
                    if lead.number == number and lead.fits(first):
                        found.append(path)
        return found

    def _current(self) -> _Unfinished:
        if self._parts and (self._split is None or self._parts[-1].length < self._split - _FRAMING):
            return self._parts[-1]
        self._close()
        number = len(self._parts) + 1
        if number > layout.BUNDLE_PARTS_MAX:
            raise StoreError(
                f"{layout.BUNDLE_PARTS_MAX} parts of {self._split} bytes are not enough: choose a larger --split"
            )
        name = self._out if self._split is None else part_path(self._out, number)
        path = name.with_name(f"{name.name}.{self._token}.part")
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._parts.append(_Unfinished(path, self.size))
        _write(self._file, memoryview(bytes(LEAD_SIZE)))  # its place: what it says is known at the end
        return self._parts[-1]

    def _seal(self, part: _Unfinished, lead: bytes) -> None:
        part.hasher.update(lead)
        fd = os.open(part.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.lseek(fd, 0, os.SEEK_END)
            _write(fd, memoryview(bytes(part.hasher.id())))
            os.lseek(fd, 0, os.SEEK_SET)
            _write(fd, memoryview(lead))
            os.fsync(fd)
        finally:
            os.close(fd)

    def _refuse_existing(self, names: list[Path]) -> None:
        for path in names:
            if path.is_dir():
                raise Conflict(f"{path} is a folder: name a file")
            check_target(path)
            if not self._force and os.path.lexists(path):
                raise Conflict(f"{path} is there already: name another file, or replace it with --force")

    def _close(self) -> None:
        if self._file >= 0:
            fd, self._file = self._file, -1
            os.close(fd)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(
                f"{self._out} cannot be written: {error.strerror or error}, after {self.size} bytes: nothing is left "
                "there; free some space, name another place, or split it over several media with --split"
            ) from error


def _write(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]
