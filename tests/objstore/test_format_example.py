"""The worked example in docs/format.md is what today's code writes, byte for byte.

Every frame in it is raw, as a writer may always choose, so it does not depend on the version of zstd. After a
deliberate change of the format run this file as a program, which writes the example anew:

    PYTHONPATH=. python tests/objstore/test_format_example.py
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

from objstore import layout
from objstore.frame import Encoding, FrameHeader
from objstore.ids import Kind, ObjectId, hash_object
from objstore.pack import PackWriter
from objstore.publish import head_file, publish_heads
from objstore.records import Commit, Mode, Tree, TreeEntry
from objstore.store import Store

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "format.md"
BEGIN, END = "<!-- worked example: generated -->", "<!-- end -->"

BLOB = b"hello, world\n"
TREE = Tree((TreeEntry("hello.txt", Mode.FILE, hash_object(Kind.BLOB, BLOB), len(BLOB)),)).encode()
COMMIT = Commit(
    key="00112233445566778899aabbccddeeff",
    path=("task", "demo", "first run"),
    parents=(),
    generation=1,
    stamp=1_700_000_000_000_000,
    state=hash_object(Kind.TREE, TREE),
    covers={"a1b2c3d4e5f60718": 3},
)
OBJECTS = ((Kind.BLOB, BLOB), (Kind.TREE, TREE), (Kind.COMMIT, COMMIT.encode()))


def build(root: Path) -> bytes:
    """Write the store of the example; returns the bytes of its one pack."""
    store = Store.create(root)
    writer = PackWriter(root / "tmp" / "pack")
    for kind, raw in OBJECTS:
        header = FrameHeader(kind, Encoding.RAW, (0, 0), len(raw), len(raw))
        writer.add(header, raw, [(hash_object(kind, raw), len(raw))])
    pack_id, _ = writer.finish()
    target = root / layout.pack_path(pack_id)
    target.parent.mkdir()
    writer.path.rename(target)
    publish_heads(root, [COMMIT])
    store.close()
    return target.read_bytes()


class Dump:
    """Bytes, line by line, each with what it means."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self.lines: list[str] = []

    def take(self, size: int, meaning: str) -> bytes:
        """The next bytes, in rows of 16; the first row says what they are."""
        part = self._data[self._at : self._at + size]
        for start in range(0, size, 16):
            row = part[start : start + 16].hex(" ")
            self.lines.append(f"{self._at + start:04x}  {row:<47}  {meaning if start == 0 else ''}".rstrip())
        self._at += size
        return part

    def number(self, size: int, meaning: str) -> int:
        """The next bytes as a number."""
        value = int.from_bytes(self._data[self._at : self._at + size], "little")
        self.take(size, f"{meaning}: {value}")
        return value

    def text(self, size: int, meaning: str) -> None:
        """The next bytes as text, 88 characters a row."""
        shown = self._data[self._at : self._at + size].decode().replace("\n", "\\n")
        self.lines.append(f"{self._at:04x}  {meaning}, {size} bytes:")
        self.lines += [f"        {shown[n : n + 88]}" for n in range(0, len(shown), 88)]
        self._at += size

    def gap(self, title: str) -> None:
        """A heading between the parts."""
        self.lines += ["", title]

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        return self._at == len(self._data)


def dump_header(dump: Dump) -> int:
    """A frame header, or what a footer repeats of it; returns the stored size."""
    kind = dump.number(1, "kind")
    dump.lines[-1] += f", a {Kind(kind).name.lower()}"
    dump.number(1, "encoding")
    dump.lines[-1] += ", raw"
    dump.take(2, "parameters: none")
    return kind


def dump_pack(data: bytes) -> list[str]:
    """Every byte of a pack whose frames are raw."""
    dump = Dump(data)
    for number in range(len(OBJECTS)):
        dump.gap(f"frame {number}")
        dump.take(4, 'magic "OSF", version 1')
        dump_header(dump)
        dump.number(8, "raw size")
        dump.text(dump.number(8, "stored size"), "payload")
    dump.gap("footer")
    dump.take(4, 'magic "OSPF"')
    dump.number(1, "version")
    dump.take(3, "zeros")
    frames = dump.number(4, "frames")
    objects = dump.number(4, "objects")
    for number in range(frames):
        dump.gap(f"footer, frame {number}")
        dump_header(dump)
        dump.number(4, "objects in it")
        dump.number(8, "raw size")
        dump.number(8, "stored size")
        dump.take(8, "xxh3-64 of header and payload")
        dump.take(32, "pin: zeros, since a raw frame is pinned by its object's id")
    for number in range(objects):
        dump.gap(f"footer, object {number}")
        dump.take(32, "id")
        dump.number(4, "frame")
        dump.number(4, "offset in the frame's content")
        dump.number(8, "size")
    dump.gap("trailer")
    dump.number(4, "bytes of footer")
    dump.take(4, 'magic "OSPE"')
    assert dump.done
    return dump.lines


def generate() -> str:
    """The text between the markers."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / ".tracker"
        data = build(root)
        files = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
        sizes = {name: (root / name).stat().st_size for name in files}
    lines = ["The store's files, with their sizes in bytes:", "", "```"]
    lines += [f"{size:5}  {name}" for name, size in sizes.items()]
    lines += ["```", "", "The objects, with their ids and raw content:", "", "```"]
    for kind, raw in OBJECTS:
        lines += [f"{kind.name.lower()} {hash_object(kind, raw)}"]
        shown = raw.decode().replace("\n", "\\n")
        lines += [f"    {shown[n : n + 100]}" for n in range(0, len(shown), 100)]
    lines += [
        "```",
        "",
        "The head file is the commit's raw content. The pack, offsets in hexadecimal:",
        "",
        "```",
    ]
    lines += dump_pack(data)[1:]
    return "\n".join([*lines, "```"])


def parts(text: str) -> Iterator[str]:
    """A document before, between and after the markers."""
    before, rest = text.split(BEGIN + "\n")
    between, after = rest.split("\n" + END)
    return iter((before, between, after))


def regenerate() -> None:
    """Write the example into the document."""
    before, _, after = parts(DOCUMENT.read_text(encoding="utf-8"))
    DOCUMENT.write_text(f"{before}{BEGIN}\n{generate()}\n{END}{after}", encoding="utf-8")


def test_the_documents_example_is_what_is_written() -> None:
    """Between the markers stands what `generate` gives today."""
    _, between, _ = parts(DOCUMENT.read_text(encoding="utf-8"))
    assert between == generate(), "after a deliberate change run this file as a program"


def test_the_example_is_a_sound_store(tmp_path: Path) -> None:
    """Today's code opens and checks it, and reads from it what went in."""
    build(tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert store.fsck().clean
    (head,) = store.heads.of(COMMIT.key)
    assert head.commit == COMMIT
    store.get(head.commit.state, tmp_path / "out")
    assert (tmp_path / "out" / "hello.txt").read_bytes() == BLOB


def test_a_reader_written_from_the_document_alone_finds_the_file(tmp_path: Path) -> None:
    """From the trailer to the content by the numbers in the tables, without this package's own reader."""
    data = build(tmp_path / "store")
    footer_size, magic = struct.unpack("<I4s", data[-8:])
    assert magic == b"OSPE"
    footer = data[-8 - footer_size : -8]
    _, version, frames, objects = struct.unpack("<4sB3xII", footer[:16])
    assert version == 1
    offsets, at = [], 0
    for number in range(frames):
        row = footer[16 + 64 * number :][:64]
        offsets.append(at + 24)
        at += 24 + struct.unpack("<Q", row[16:24])[0]
    found = {}
    for number in range(objects):
        object_id, frame, offset, size = struct.unpack(
            "<32sIIQ", footer[16 + 64 * frames + 48 * number :][:48]
        )
        found[object_id] = data[offsets[frame] + offset :][:size]
    assert found[hash_object(Kind.BLOB, BLOB)] == BLOB
    name, raw = head_file(COMMIT)
    assert found[ObjectId.parse(name.rpartition(".")[2])] == raw


if __name__ == "__main__":
    regenerate()
