"""The committed records, frozen, and their canonical bytes: what a tree, a chunk list, a commit and `format` look like.

Trees and commits are canonical JSON: UTF-8, keys sorted, no white space. Bytes that are valid JSON but not canonical
are refused, so that one record has one id. Fields that this version does not know are kept as they came.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from itertools import accumulate, islice, pairwise
from operator import lt
from typing import Any, Final

import orjson

from objstore import layout
from objstore.errors import Corrupt, InvalidName, StoreError, Unsupported
from objstore.ids import Kind, ObjectId, hash_object

_NOT_PORTABLE: Final = re.compile(r'[\\:*?"<>|\x00-\x1f]')
# A name of which no rule of `check_checkout_name` needs to be asked: printable ASCII that no system objects to.
_PLAIN: Final = re.compile(
    r"(?!(?i:con|prn|aux|nul|com|lpt))[ !#-)+-.0-9;=@-\[\]-{}~]{0,254}[!#-)+,\-0-9;=@-\[\]-{}~]"
)
_PLAIN_LETTERS: Final = frozenset(map(chr, range(32, 127))) - frozenset('\\/:*?"<>|') | {"\n"}
_DEVICES: Final = frozenset(name[:3] for name in layout.RESERVED)
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def canonical(record: Mapping[str, Any]) -> bytes:
    """The canonical JSON of a record.

    Raises Corrupt for what JSON cannot hold (NaN must be spelled out before), StoreError for what no reader accepts.
    """
    try:
        data = orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise Corrupt(f"a record cannot be written as JSON: {error}") from error
    if excess := _excess(data):
        raise StoreError(f"a record {excess}: make it smaller")
    return data


def parse_canonical(data: bytes, what: str) -> dict[str, Any]:
    """The record in canonical bytes; `what` names it in errors. Raises Corrupt for anything but canonical JSON.

    Takes less than 64 MiB, whatever the bytes are.
    """
    if excess := _excess(data):
        raise Corrupt(f"{what} {excess}")
    try:
        record = orjson.loads(data)
        again = orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, RecursionError) as error:
        raise Corrupt(f"{what} is not JSON: {error}") from error
    if not isinstance(record, dict) or again != data:
        raise Corrupt(f"{what} is not a canonical record")
    return record


def _excess(data: bytes) -> str:
    """What a record has too much of, to go behind its name; nothing where it keeps the limits."""
    if len(data) > layout.JSON_MAX:
        return f"has {len(data)} bytes, more than the {layout.JSON_MAX} that one may have"
    if count_values(data, layout.VALUES_MAX) > layout.VALUES_MAX:
        return f"has more than the {layout.VALUES_MAX} values that one may have"
    return ""


def count_values(data: bytes, limit: int) -> int:
    """How many commas, colons and opening brackets a JSON text has outside of strings, or some number over `limit`.

    So many objects, less one, a parser makes of it at most. Made of whole-text searches where there are few, since the
    parser itself takes no longer.
    """
    if (found := _count(data, 0, len(data))) <= limit:
        return found
    found = at = 0
    # Many may stand in strings. Two quotes more end the last string even of a text that was cut within one: a pattern
    # that fails would be tried again from every quote on.
    for number, string in enumerate(_STRING.finditer(data + b'""')):
        found += _count(data, at, string.start())
        at = string.end()
        if found > limit or number > 2 * limit:
            return limit + 1
    return found + _count(data, at, len(data))


def _count(data: bytes, start: int, end: int) -> int:
    return sum(data.count(mark, start, end) for mark in (b",", b":", b"[", b"{"))


class Mode(str, Enum):
    """What a tree entry is, as written on disk."""

    FILE = "file"
    EXEC = "exec"
    LINK = "link"  # a symbolic link: its target is the blob's content, data only
    TREE = "tree"
    PAGE = "page"  # a part of this very tree, which had too many entries for one record

    @property
    def kind(self) -> Kind:
        """The kind of object that an entry of this mode names."""
        return Kind.TREE if self in (Mode.TREE, Mode.PAGE) else Kind.BLOB


_MODES: Final = {mode.value: mode for mode in Mode}
_NO_NAMES: Final = frozenset(("", ".", ".."))


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One name in a folder: `size` is the content's bytes, or the sum over a tree."""

    name: str
    mode: Mode
    id: ObjectId
    size: int


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree record: entries sorted by the UTF-8 bytes of their names."""

    entries: tuple[TreeEntry, ...]

    def encode(self) -> bytes:
        """Canonical bytes."""
        rows = [[e.name, e.mode.value, str(e.id), e.size] for e in self.entries]
        return canonical({"entries": rows, "v": 1})

    @classmethod
    def decode(cls, data: bytes) -> Tree:
        """Parse and check one record: order, names, sizes. Raises Corrupt."""
        record = parse_canonical(data, "a tree")
        try:
            version, rows = check_count(record["v"]), _list(record["entries"])
            if version != 1 or len(rows) > layout.TREE_PAGE_MAX:
                raise Corrupt(f"a tree of version {version} with {len(rows)} entries cannot be read")
            entries = _entries(rows) or tuple(map(_entry, rows))
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, Corrupt):
                raise
            raise Corrupt(f"a tree has a damaged entry: {error}") from error
        names = [e.name.encode() for e in entries]
        if not all(map(lt, names, islice(names, 1, None))):
            raise Corrupt("a tree's entries are not in order, or a name stands twice")
        modes = {e.mode for e in entries}
        if Mode.PAGE in modes and len(modes) > 1:
            raise Corrupt("a tree has both pages and other entries")
        return cls(entries)

    @property
    def size(self) -> int:
        """Bytes of content below it."""
        return sum(e.size for e in self.entries)


def _entries(rows: list[Any]) -> tuple[TreeEntry, ...]:
    """The rows of a tree as entries, or nothing where one of them, which has to be found, is not as it should be.

    All of one column at once: a folder of a million entries is read in seconds.
    """
    if set(map(type, rows)) != {list} or set(map(len, rows)) != {4}:
        return ()
    names, modes, hexes, sizes = zip(*rows, strict=True)
    if set(map(type, (*names, *hexes))) != {str} or set(map(type, sizes)) != {int}:
        return ()
    text, digits = "".join(names), "".join(hexes)
    if "/" in text or "\0" in text or not _NO_NAMES.isdisjoint(names):
        return ()
    if min(sizes) < 0 or max(sizes) > layout.COUNT_MAX or set(map(len, hexes)) != {64}:
        return ()
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        return ()
    if raw.hex() != digits:  # capitals or spaces
        return ()
    as_id = partial(bytes.__new__, ObjectId)  # not by its constructor, which counts the bytes
    ids = map(as_id, (raw[at : at + 32] for at in range(0, len(raw), 32)))
    return tuple(map(TreeEntry, names, map(_MODES.__getitem__, modes), ids, sizes))


def _entry(row: Any) -> TreeEntry:
    name, mode, hex_id, size = _list(row)
    if not isinstance(name, str) or name in _NO_NAMES or "/" in name or "\0" in name:
        check_name(_text(name))
    if not (type(size) is int and 0 <= size <= layout.COUNT_MAX):
        check_count(size)
    return TreeEntry(name, _MODES[mode], ObjectId.parse(hex_id), size)


def check_name(name: str) -> str:
    """Return `name` if a tree may hold it. Raises InvalidName for empty, `.`, `..`, `/`, NUL, or what is not UTF-8."""
    if name in _NO_NAMES or "/" in name or "\0" in name:
        raise InvalidName(f"{name!r:.80} cannot be a name in a tree")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InvalidName(f"{name!r:.300} is not valid UTF-8: rename the file") from error
    return name


def check_checkout_name(name: str) -> str:
    """Return `name` if every supported file system can hold it. Raises InvalidName with the rule that it breaks."""
    check_name(name)
    if _NOT_PORTABLE.search(name):
        raise InvalidName(f"{name!r} has a character that some file systems refuse")
    if name[-1] in ". ":
        raise InvalidName(f"{name!r} ends with a dot or a space")
    if name[:3].lower() in _DEVICES and name.split(".")[0].rstrip().lower() in layout.RESERVED:
        raise InvalidName(f"{name!r} is a reserved device name")
    if len(name) > 63 and len(name.encode()) > 255:  # a character has at most four bytes
        raise InvalidName(f"{name[:40]!r}… is longer than 255 bytes")
    return name


def checkout_key(name: str) -> str:
    """The collision key of a name that every supported file system can hold. Raises InvalidName, as its check does."""
    if _PLAIN.fullmatch(name):  # nearly all are, and a folder may have a million
        return name.lower()
    return collision_key(check_checkout_name(name))


def checkout_keys(names: list[str]) -> list[str]:
    """`checkout_key` of many names, of a page at once where all of them are plain."""
    text = "\n".join(names) + "\n"
    keys = text.lower().split("\n")[:-1]
    plain = (
        set(text) <= _PLAIN_LETTERS
        and len(keys) == len(names)
        and " \n" not in text
        and ".\n" not in text
        and max(map(len, names)) <= 255
        and _DEVICES.isdisjoint([key[:3] for key in keys])
    )
    return keys if plain else list(map(checkout_key, names))


def collision_key(name: str) -> str:
    """What two names share when a case-folding or normalising file system cannot tell them apart."""
    if name.isascii():
        return name.lower()
    # Twice, because folding can undo the normal form: Unicode's "canonical caseless match".
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def pages(items: list[Any], hashed: Iterable[bytes], limit: int) -> Iterator[list[Any]]:
    """Cut a long list into pages whose ends depend on nearby content, so that an insertion changes one page.

    A page ends at `limit` items, or after PAGE_MIN or more at one whose `hashed` bytes are 0 under PAGE_MASK
    (little-endian, last four).
    """
    page: list[Any] = []
    for item, digest in zip(items, hashed, strict=True):
        page.append(item)
        cut = int.from_bytes(digest[-4:], "little") & layout.PAGE_MASK == 0
        if len(page) >= (layout.PAGE_MIN if cut else limit):
            yield page
            page = []
    if page:
        yield page


_LIST_HEAD: Final = struct.Struct("<4sBBHI")
_LIST_MAGIC: Final = b"OSCL"
_LIST_ENTRY: Final = struct.Struct("<32sQ")
_LIST_LENGTH: Final = struct.Struct("<32xQ")


@dataclass(frozen=True, slots=True)
class ChunkList:
    """A large file as its chunks (level 0), or as pages of such a list (level 1): pairs of (id, bytes of content)."""

    level: int
    items: tuple[tuple[ObjectId, int], ...]

    def encode(self) -> bytes:
        """Magic, version, level, count, then 40 bytes an item. Raises StoreError for more pages than one may have."""
        if self.level and len(self.items) > layout.LIST_PAGES_MAX:
            raise StoreError(
                f"a file of {self.size} bytes needs {len(self.items)} pages of chunks: store it in parts"
            )
        head = _LIST_HEAD.pack(_LIST_MAGIC, 1, self.level, 0, len(self.items))
        return head + b"".join(_LIST_ENTRY.pack(i, n) for i, n in self.items)

    @classmethod
    def decode(cls, data: bytes) -> ChunkList:
        """Parse and check one record. Raises Corrupt."""
        level, _ = _list_lengths(data)
        items = ((ObjectId(i), n) for i, n in _LIST_ENTRY.iter_unpack(data[_LIST_HEAD.size :]))
        return cls(level, tuple(items))

    @property
    def size(self) -> int:
        """Bytes of content."""
        return sum(n for _, n in self.items)


def _list_lengths(data: bytes) -> tuple[int, list[int]]:
    """The level of an encoded chunk list, and its items' lengths, all checked. Raises Corrupt."""
    if len(data) < _LIST_HEAD.size or len(data) > layout.RECORD_MAX:
        raise Corrupt(f"a chunk list of {len(data)} bytes")
    magic, version, level, zero, count = _LIST_HEAD.unpack_from(data)
    if (magic, version, zero) != (_LIST_MAGIC, 1, 0) or level > 1:
        raise Corrupt("not a chunk list of version 1")
    if len(data) != _LIST_HEAD.size + count * _LIST_ENTRY.size or count == 0:
        raise Corrupt("a chunk list's length is not what its count says")
    if count > (layout.LIST_PAGES_MAX if level else layout.LIST_PAGE_MAX):
        raise Corrupt(f"a chunk list of level {level} has {count} entries")
    lengths = [n for (n,) in _LIST_LENGTH.iter_unpack(memoryview(data)[_LIST_HEAD.size :])]
    if min(lengths) == 0 or max(lengths) > (layout.CHUNK_MAX if level == 0 else layout.RAW_MAX):
        raise Corrupt("a chunk list has an impossible length")
    return level, lengths


class ListMap:
    """An encoded chunk list in which the items of a range are found without making objects of the others."""

    __slots__ = ("_data", "_ends", "level")

    def __init__(self, data: bytes) -> None:
        """Raises Corrupt, as `ChunkList.decode`."""
        self.level, lengths = _list_lengths(data)
        self._data = data
        self._ends = list(accumulate(lengths))

    @property
    def size(self) -> int:
        """Bytes of content."""
        return self._ends[-1]

    def between(self, offset: int, end: int) -> tuple[int, list[tuple[ObjectId, int]]]:
        """The items with bytes from `offset` to `end`, and where the first of them begins."""
        first = bisect_right(self._ends, offset)
        last = bisect_left(self._ends, end) + 1 if end > offset else first
        starts = [self._ends[first - 1] if first else 0, *self._ends[first:last]]
        ids = (self._data[at : at + 32] for at in range(_LIST_HEAD.size + first * 40, len(self._data), 40))
        return starts[0], [(ObjectId(i), b - a) for i, (a, b) in zip(ids, pairwise(starts), strict=False)]


_COMMIT_FIELDS: Final = frozenset(
    ["v", "key", "path", "parents", "generation", "stamp", "state", "covers", "cut", "deleted", "rolling"]
)


@dataclass(frozen=True, slots=True)
class Commit:
    """One state of one key, with what it covers and where it came from.

    key: 32 hex digits of the thing it is a state of; path: (kind, group, name), for people; parents: ids of commits;
    generation: 1 + the greatest of its parents'; stamp: microseconds since the epoch; state: id of a tree;
    covers: per writer, the number of its last event folded in; cut: parents with a stamp up to it may be absent;
    rolling: a state of a run that was still going on, which no later commit names as its parent.
    """

    key: str
    path: tuple[str, ...]
    parents: tuple[ObjectId, ...]
    generation: int
    stamp: int
    state: ObjectId
    covers: Mapping[str, int]
    cut: int = 0
    deleted: bool = False
    rolling: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Canonical bytes: what a head file holds."""
        return canonical(
            {
                **self.extra,
                "v": 1,
                "key": self.key,
                "path": list(self.path),
                "parents": [str(p) for p in self.parents],
                "generation": self.generation,
                "stamp": self.stamp,
                "state": str(self.state),
                "covers": dict(self.covers),
                "cut": self.cut,
                "deleted": self.deleted,
                "rolling": self.rolling,
            }
        )

    @property
    def id(self) -> ObjectId:
        """The id of its canonical bytes."""
        return hash_object(Kind.COMMIT, self.encode())

    @classmethod
    def decode(cls, data: bytes) -> Commit:
        """Parse and check one record. Raises Corrupt."""
        record = parse_canonical(data, "a commit")
        try:
            version = check_count(record["v"])
            commit = cls(
                key=_text(record["key"]),
                path=tuple(_text(part) for part in _list(record["path"])),
                parents=tuple(ObjectId.parse(p) for p in _list(record["parents"])),
                generation=check_count(record["generation"]),
                stamp=check_count(record["stamp"]),
                state=ObjectId.parse(record["state"]),
                covers={_text(w): check_count(n) for w, n in record["covers"].items()},
                cut=check_count(record["cut"]),
                deleted=_flag(record["deleted"]),
                rolling=_flag(record["rolling"]),
                extra={k: v for k, v in record.items() if k not in _COMMIT_FIELDS},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Corrupt(f"a commit has a damaged field: {error}") from error
        if version != 1 or not layout.is_key(commit.key):
            raise Corrupt("a commit has an unknown version or a damaged key")
        return commit


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80} is not text")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r:.80} is not a list")
    return value


def check_count(value: Any) -> int:
    """Return `value` if a record may hold it as a number: 0 to 2**53 - 1. Raises TypeError."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= layout.COUNT_MAX:
        raise TypeError(f"{value!r:.80} is not a count")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r:.80} is not true or false")
    return value


def format_bytes() -> bytes:
    """The content of a new store's `format`."""
    return orjson.dumps(layout.FORMAT, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2) + b"\n"


_PARSERS: Final[dict[Kind, Callable[[bytes], object]]] = {
    Kind.TREE: Tree.decode,
    Kind.COMMIT: Commit.decode,
    Kind.CHUNKS: ChunkList.decode,
}


def check_record(kind: Kind, data: bytes) -> None:
    """Raise Corrupt or Unsupported for what cannot be read as an object of its kind; a blob may hold anything."""
    if parse := _PARSERS.get(kind):
        parse(data)


@dataclass(frozen=True, slots=True)
class Allowed:
    """What this version may do with a store that it can read: write into it, and delete from it."""

    write: bool
    delete: bool


def check_format(data: bytes, where: object) -> bool:
    """Whether this version may write the store at `where`; else as `read_format`."""
    return read_format(data, where).write


def read_format(data: bytes, where: object) -> Allowed:
    """What this version may do with the store at `where` whose `format` holds `data`.

    Raises Unsupported when it may not even read it, Corrupt.
    """
    damaged = Corrupt(f"{where}: the file {layout.FORMAT_FILE} is damaged: copy it from another store")
    try:
        if len(data) > layout.FORMAT_MAX:
            raise damaged
        found: dict[str, Any] = orjson.loads(data)
        version, algorithm = found["version"], found["hash"]
        if (version, algorithm) != (layout.FORMAT["version"], layout.FORMAT["hash"]):
            # Before anything else is looked at: a later version may have no such fields.
            raise Unsupported(f"{where} has format {version!r:.20}/{algorithm!r:.20}: update this program")
        read, write, delete = (_unknown(found["features"], part) for part in ("read", "write", "gc"))
        chunker = _text(found["chunker"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise damaged from error
    if read:
        raise Unsupported(f"{where} needs {', '.join(read):.200}: update this program")
    # Who cuts differently does no harm, but would store every large file a second time. What may not be written may
    # not be deleted from either: who does not know what is in there cannot tell what is needed.
    writable = not write and chunker == layout.FORMAT["chunker"]
    return Allowed(write=writable, delete=writable and not delete)


def _unknown(features: Any, part: str) -> list[str]:
    """The features of one kind that this version does not know, as they may be shown. Raises KeyError, TypeError."""
    names = (name if isinstance(name, str) else repr(name) for name in _list(features[part]))
    return [ascii(name)[1:-1] for name in names if name not in layout.FEATURES[part]]
