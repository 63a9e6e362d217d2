"""Object ids: what they are the hash of, and that nothing else passes for one."""

from __future__ import annotations

import re
import shutil
import subprocess
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.errors import InvalidName
from objstore.ids import Hasher, IdTable, Kind, ObjectId, hash_bytes, hash_object

# From BLAKE3's own test_vectors.json: input bytes are 0, 1, 2, … 250, 0, 1, …
PUBLISHED = {
    0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
    102400: "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
}


@pytest.mark.parametrize("size", PUBLISHED)
def test_a_blobs_id_is_plain_blake3(size: int) -> None:
    """The published vectors hold, so any tool that knows BLAKE3 can check a file by its id."""
    data = bytes(i % 251 for i in range(size))
    assert str(hash_object(Kind.BLOB, data)) == PUBLISHED[size]
    assert hash_bytes(data).hex() == PUBLISHED[size]


@pytest.mark.skipif(shutil.which("b3sum") is None, reason="b3sum is not installed")
def test_b3sum_prints_a_files_id(tmp_path: Path) -> None:
    """`b3sum file` is the id of the file's content."""
    (tmp_path / "file").write_bytes(b"content")
    printed = subprocess.run(["b3sum", tmp_path / "file"], capture_output=True, text=True, check=True).stdout
    assert printed.split()[0] == str(hash_object(Kind.BLOB, b"content"))


@given(st.binary(max_size=200))
def test_no_byte_string_is_two_kinds(data: bytes) -> None:
    """The same bytes have another id as each kind of object."""
    assert len({hash_object(kind, data) for kind in Kind}) == len(Kind)


@given(st.lists(st.binary(max_size=3000), max_size=6), st.sampled_from(Kind), st.sampled_from([1, 2]))
def test_pieces_hash_like_the_whole(parts: list[bytes], kind: Kind, threads: int) -> None:
    """However content arrives, its id is one."""
    hasher = Hasher(kind, threads=threads)
    for part in parts:
        hasher.update(memoryview(part))
    assert hasher.id() == hash_object(kind, b"".join(parts))


@given(st.binary(min_size=32, max_size=32))
def test_an_id_survives_its_text(raw: bytes) -> None:
    """`str` and `parse` are inverse, and the text is 64 lower-case hex digits."""
    text = str(ObjectId(raw))
    assert ObjectId.parse(text) == raw
    assert len(text) == 64
    assert text == text.lower()


@given(st.text(max_size=70) | st.text("0123456789abcdefABCDEF", min_size=62, max_size=66))
def test_other_text_is_refused(text: str) -> None:
    """Only 64 lower-case hex digits are an id; anything else is InvalidName, with the text in the message."""
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        assert str(ObjectId.parse(text)) == text
    else:
        with pytest.raises(InvalidName, match=re.escape(repr(text))):
            ObjectId.parse(text)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_other_lengths_are_refused(size: int) -> None:
    """An id has 32 bytes."""
    with pytest.raises(InvalidName, match="32 bytes"):
        ObjectId(bytes(size))


def test_upper_case_and_trailing_newline_are_no_id() -> None:
    """One id has one spelling: a second would make two names for a file."""
    text = "ab" * 32
    for wrong in (text.upper(), text + "\n", " " + text):
        with pytest.raises(InvalidName):
            ObjectId.parse(wrong)


@given(st.lists(st.integers(0, 40)))
def test_a_table_numbers_ids_as_they_come(wanted: list[int]) -> None:
    """Each once, whatever came before; and it says of any other that it has it not."""
    ids = [hash_object(Kind.BLOB, b"%d" % n) for n in range(41)]
    table, order = IdTable(), list(dict.fromkeys(wanted))
    assert [table.add(ids[n]) for n in wanted] == [order.index(n) for n in wanted]
    assert list(table) == [ids[n] for n in order]
    assert [ids[n] in table for n in range(41)] == [n in order for n in range(41)]
    assert [table.find(i) for i in ids] == [order.index(n) if n in order else -1 for n in range(41)]


def test_a_table_finds_ids_however_many_there_are() -> None:
    """Past many times its first size, and ids that begin or end alike are told apart."""
    ids = [ObjectId(n.to_bytes(32, "big")) for n in range(5_000)]
    ids += [ObjectId(n.to_bytes(32, "little")) for n in range(1, 5_000)]
    table = IdTable()
    assert [table.add(i) for i in ids] == list(range(len(ids)))
    assert [table.find(i) for i in ids] == list(range(len(ids)))
    assert table.find(bytes([1]) * 32) == -1
    assert table.id(4_999) == ids[4_999]


def test_a_table_takes_a_third_of_the_memory_of_a_set() -> None:
    """What holds a million ids holds 60 MiB at most."""
    tracemalloc.start()
    table = IdTable()
    for n in range(30_000):
        table.add(hash_object(Kind.BLOB, b"%d" % n))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(table) == 30_000
    assert size < 60 * 30_000
