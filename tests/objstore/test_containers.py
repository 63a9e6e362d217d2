"""Tensors in containers are found where they are, and what is damaged or hostile has none."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from objstore import layout
from objstore.chunker import Region
from objstore.containers import regions

KIB = layout.KIB
Arrays = Mapping[str, "NDArray[np.generic]"]
Writer = Callable[[Path, Arrays], None]


def arrays() -> dict[str, NDArray[np.generic]]:
    """Arrays of every item size and of sizes around the least that counts, none equal to another."""
    source = np.random.default_rng(7)
    made: dict[str, NDArray[np.generic]] = {
        f"{kind}/{count}": source.integers(0, 100, count // np.dtype(kind).itemsize).astype(kind)
        for kind in ("u1", "i2", "f2", "i4", "f4", "i8", "f8")
        for count in (32 * KIB - 8, 32 * KIB, 100_000)
    }
    return {**made, "scalar": np.array(3.0), "empty": np.zeros((0, 3), "f4")}


NAMES = {"u1": "U8", "i2": "I16", "f2": "F16", "i4": "I32", "f4": "F32", "i8": "I64", "f8": "F64"}


def by_hand(path: Path, content: Arrays, metadata: Mapping[str, str] = {"format": "np"}) -> None:
    """A safetensors file, from the format's description."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name, array in content.items():
        place = [at, at + array.nbytes]
        header[name] = {
            "dtype": NAMES[array.dtype.str[1:]],
            "shape": list(array.shape),
            "data_offsets": place,
        }
        at += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(array.tobytes() for array in content.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def by_library(path: Path, content: Arrays) -> None:
    """A safetensors file, from the library itself."""
    library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    library.save_file(dict(content), path, metadata={"config": '{"a": {"b": [1]}}'})


def npz(path: Path, content: Arrays) -> None:
    """Numpy's own zip."""
    with path.open("wb") as file:
        np.savez(file, **dict(content))  # type: ignore[arg-type]  # any name


def aligned(path: Path, content: Arrays) -> None:
    """A zip as torch lays it out: stored members whose local headers are filled up, so that data begins at 64 bytes."""
    with path.open("wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", b"no tensor" * 9)
        for number, array in enumerate(content.values()):
            info = zipfile.ZipInfo(f"archive/data/{number}")
            gap = -(file.tell() + 30 + len(info.filename) + 4) % 64
            info.extra = struct.pack("<2sH", b"FB", gap) + b"Z" * gap
            archive.writestr(info, array.tobytes())
        archive.writestr("archive/version", b"3\n")


def torch_zip(path: Path, content: Arrays) -> None:
    """torch.save itself."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.save({name: torch.from_numpy(array) for name, array in content.items()}, path)


def found(path: Path) -> tuple[Region, ...]:
    """The regions of a file."""
    with path.open("rb") as file:
        return regions(file.fileno(), os.fstat(file.fileno()).st_size)


def expect(path: Path, content: Arrays, sized: bool) -> None:
    """Check that each array of 32 KiB or more, and nothing else, is a region."""
    data = path.read_bytes()
    got = sorted((data[r.start : r.end], r.item_size) for r in found(path))
    assert got == sorted(
        (array.tobytes(), array.itemsize if sized else 0)
        for array in content.values()
        if array.nbytes >= 32 * KIB
    )
    assert len(got) == 14


@pytest.mark.parametrize(
    ("write", "sized"),
    [(by_hand, True), (by_library, True), (npz, True), (aligned, False), (torch_zip, False)],
)
def test_each_large_tensor_of_a_container_is_found(tmp_path: Path, write: Writer, sized: bool) -> None:
    """Where its bytes are, with its item size where the container says it in a header; small ones are left out."""
    write(tmp_path / "it", arrays())
    expect(tmp_path / "it", arrays(), sized)


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("<f4", 4), (">f8", 8), ("|u1", 1), ("<f2", 2), ("<c8", 4), ("<c16", 8), ("|b1", 1), ("<U3", 0)],
)
def test_an_npy_file_is_one_region(tmp_path: Path, dtype: str, size: int) -> None:
    """From the end of its header to its own; an element that is no plain number has no item size."""
    array = np.zeros(100_000, np.dtype(dtype))
    np.save(tmp_path / "it.npy", array)
    whole = (tmp_path / "it.npy").stat().st_size
    assert found(tmp_path / "it.npy") == (Region(whole - array.nbytes, whole, size),)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_npy_is_read(tmp_path: Path, version: tuple[int, int]) -> None:
    """They differ in the width of a length; a record of several fields has no item size."""
    array = np.zeros(10_000, [("field", "<f4"), ("other", "<i8")])
    with (tmp_path / "it.npy").open("wb") as file:
        np.lib.format.write_array(file, array, version=version)
        whole = file.tell()
    assert found(tmp_path / "it.npy") == (Region(whole - array.nbytes, whole, 0),)


@pytest.mark.parametrize("write", [npz, aligned])
def test_a_zip_of_more_than_4_gib_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Writer
) -> None:
    """Its zip64 fields, which Python is made to write for a small one too, but for those at the end."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    write(tmp_path / "it", arrays())
    expect(tmp_path / "it", arrays(), write is npz)
    data = bytearray((tmp_path / "it").read_bytes())
    assert data[-42:-38] == b"PK\6\7"
    data[-14:-2] = b"\xff" * 12
    (tmp_path / "it").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "it") as archive:
        assert archive.testzip() is None
    expect(tmp_path / "it", arrays(), write is npz)


def test_stored_members_are_found_beside_compressed_ones(tmp_path: Path) -> None:
    """An archive may have both."""
    aligned(tmp_path / "it", arrays())
    with zipfile.ZipFile(tmp_path / "it", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("text", b"text " * 100_000)
    expect(tmp_path / "it", arrays(), False)


@pytest.mark.parametrize("write", [by_hand, aligned])
def test_more_tensors_than_any_model_has_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Writer
) -> None:
    """The limit is lowered, to save making a hundred thousand."""
    write(tmp_path / "it", arrays())
    monkeypatch.setattr(layout, "REGIONS_MAX", 30)
    expect(tmp_path / "it", arrays(), write is by_hand)
    monkeypatch.setattr(layout, "REGIONS_MAX", 20)
    assert found(tmp_path / "it") == ()


def test_a_zip_with_a_comment_is_read(tmp_path: Path) -> None:
    """The end of its directory is then not at the end of the file."""
    aligned(tmp_path / "it", arrays())
    with zipfile.ZipFile(tmp_path / "it", "a") as archive:
        archive.comment = b"c" * 60_000
    expect(tmp_path / "it", arrays(), False)


def test_what_is_compressed_or_encrypted_has_no_regions(tmp_path: Path) -> None:
    """There the bytes are no numbers."""
    np.savez_compressed(tmp_path / "it.npz", a=np.random.default_rng(1).random(100_000))
    assert found(tmp_path / "it.npz") == ()
    aligned(tmp_path / "locked", arrays())
    data = bytearray((tmp_path / "locked").read_bytes())
    at = -1
    while (at := data.find(b"PK\1\2", at + 1)) >= 0:
        data[at + 8] |= 1
    (tmp_path / "locked").write_bytes(data)
    assert found(tmp_path / "locked") == ()


def test_metadata_with_braces_hides_no_tensor(tmp_path: Path) -> None:
    """Settings are kept there as JSON in a text."""
    metadata = {"config": '{"a": {"data_offsets": [1, 2]}}', "open": "{{{", "close": "}", "long": "{x" * 9000}
    by_hand(tmp_path / "it", arrays(), metadata)
    expect(tmp_path / "it", arrays(), True)


def test_a_dtype_of_the_future_has_no_item_size(tmp_path: Path) -> None:
    """Its tensors are cut out all the same."""
    by_hand(tmp_path / "it", {"a": np.zeros(10_000, "f4")})
    (tmp_path / "it").write_bytes((tmp_path / "it").read_bytes().replace(b"F32", b"X99"))
    assert [region.item_size for region in found(tmp_path / "it")] == [0]


def test_the_descriptor_stays_where_it_was(tmp_path: Path) -> None:
    """Who reads on misses nothing."""
    npz(tmp_path / "it", arrays())
    with (tmp_path / "it").open("rb", buffering=0) as file:
        file.seek(11)
        assert regions(file.fileno(), os.fstat(file.fileno()).st_size)
        assert file.tell() == 11


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """A failing disk must not look like a file without tensors."""
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="directory"):
            regions(fd, 1 << 20)
    finally:
        os.close(fd)


# --- damaged and hostile -------------------------------------------------------------------------------------------

SMALL: dict[str, NDArray[np.generic]] = {
    "a": np.arange(9000, dtype="f4"),
    "b": np.arange(5000, dtype="f8"),
    "c": np.zeros(3, "i2"),
}


@settings(max_examples=300)
@given(
    write=st.sampled_from([by_hand, npz, aligned]),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.booleans(), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 80_000),
    claimed=st.integers(0, 1 << 40) | st.none(),
)
def test_damage_gives_sound_regions_or_none(
    tmp_path_factory: pytest.TempPathFactory,
    write: Writer,
    changes: list[tuple[int, bool, int]],
    cut: int,
    claimed: int | None,
) -> None:
    """Bytes changed near either end, a file cut short, one that is not as long as is said: never an exception."""
    path = tmp_path_factory.mktemp("damaged") / "it"
    write(path, SMALL)
    data = bytearray(path.read_bytes())
    for at, from_end, value in changes:
        data[-1 - at if from_end else at] = value
    path.write_bytes(data[: max(0, len(data) - cut)] if cut % 3 == 0 else data)
    size = path.stat().st_size if claimed is None else claimed
    with path.open("rb") as file:
        got = regions(file.fileno(), size)
    at = 0
    for region in got:
        assert at <= region.start <= region.end - 32 * KIB
        assert region.item_size in (0, 1, 2, 4, 8)
        at = region.end
    assert at <= size


def header(text: bytes) -> bytes:
    """A safetensors file of this header, with a MiB of tensors."""
    return struct.pack("<Q", len(text)) + text + bytes(1 << 20)


def tensor(begin: object, end: object, name: str = "a") -> bytes:
    """What a header says of one tensor."""
    return json.dumps({name: {"dtype": "F32", "shape": [1], "data_offsets": [begin, end]}}).encode()


@pytest.mark.parametrize(
    "content",
    [
        header(tensor(0, 1 << 30)),
        header(tensor(-40_000, 10)),
        header(tensor(50_000, 0)),
        header(tensor(0, 1 << 70)),
        header(tensor("0", "40000")),
        header(tensor(0.0, 40000.0)),
        header(b'{"a":{"data_offsets":[0,40000]},"b":{"data_offsets":[39999,90000]}}'),
        header(b'{"a":{"data_offsets":5}}'),
        header(b'{"b":{"data_offsets":[0,40000]},"a":{"data_offsets":5}}'),
        header(b'{"a":{"data_offsets":[0]}}'),
        header(tensor(0, 40_000) + b" " * (16 << 20)),
        b"\xff" * 8 + b"{" + bytes(1 << 20),
        struct.pack("<Q", 1 << 40) + b"{" + bytes(1 << 20),
        struct.pack("<Q", 0) + b"{" + bytes(1 << 20),
        b"\x93NUMPY\x01\x00\xff\xff" + bytes(40_000),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(40_000),
        b"\x93NUMPY\x02\x00"
        + (70_000).to_bytes(4, "little")
        + b"{'descr': '<f4'}".ljust(70_000)
        + bytes(50_000),
        b"PK\3\4" + bytes(100_000),
        b"PK\3\4" + bytes(100_000) + b"PK\5\6" + b"\xff" * 18,
        b"PK\3\4" + bytes(100_000) + b"PK\6\7" + b"\xff" * 16 + b"PK\5\6" + b"\xff" * 18,
        b"PK\3\4" + bytes(100_000) + b"PK\6\7" + bytes(16) + b"PK\5\6" + b"\xff" * 18,
        b"PK\3\4" + b"PK\5\6" + b"\xff" * 18 + bytes(40_000),
        b"PK\5\6" * 50_000,
        b"PK\3\4" * 50_000,
    ],
)
def test_a_container_that_lies_has_no_regions(tmp_path: Path, content: bytes) -> None:
    """Places outside of the file, backwards, overlapping, of no number; lengths without end."""
    (tmp_path / "it").write_bytes(content)
    assert found(tmp_path / "it") == ()


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    """Two names for one place, as a zip bomb has them."""
    aligned(tmp_path / "it", SMALL)
    data = bytearray((tmp_path / "it").read_bytes())
    places = []
    at = -1
    while (at := data.find(b"PK\1\2", at + 1)) >= 0:
        places.append(at)
    data[places[2] + 20 : places[2] + 28] = data[places[1] + 20 : places[1] + 28]
    data[places[2] + 42 : places[2] + 46] = data[places[1] + 42 : places[1] + 46]
    (tmp_path / "it").write_bytes(data)
    assert found(tmp_path / "it") == ()


def zip_with(path: Path, content: Arrays, *changes: tuple[bytes, int, int, bytes]) -> None:
    """A zip as torch's in which, from byte `offset` of the n-th record of a magic on, other bytes stand."""
    aligned(path, content)
    data = bytearray(path.read_bytes())
    for magic, number, offset, value in changes:
        at = -1
        for _ in range(number + 1):
            at = data.index(magic, at + 1)
        data[at + offset : at + offset + len(value)] = value
    path.write_bytes(data)


MEMBER, LOCAL, END = b"PK\1\2", b"PK\3\4", b"PK\5\6"


@pytest.mark.parametrize(
    "change",
    [
        (END, 0, 10, b"\x06\0"),  # one member more than there is
        (MEMBER, 2, 0, b"PK\1\3"),
        (MEMBER, 4, 32, b"\xff\xff"),  # the last one's comment is longer than the directory
        (MEMBER, 1, 20, b"\1\0\0\0"),  # a stored member that is packed
        (MEMBER, 1, 24, b"\xff\xff\xff\xff"),  # a length in a field that is not there
        (LOCAL, 1, 0, b"PK\3\5"),
        (MEMBER, 1, 42, b"\xff\xff\xff\x7f"),
        (MEMBER, 1, 20, b"\0\0\0\x7f\0\0\0\x7f"),
        (END, 0, 16, b"\xff\xff\xff\x7f"),
        (END, 0, 12, b"\xff\xff\xff\x7f"),
    ],
)
def test_a_zip_with_one_lie_has_no_regions(tmp_path: Path, change: tuple[bytes, int, int, bytes]) -> None:
    """Counts, lengths, places and magics, one at a time; without it each tensor is found."""
    zip_with(tmp_path / "good", SMALL)
    assert len(found(tmp_path / "good")) == 2
    zip_with(tmp_path / "it", SMALL, change)
    assert found(tmp_path / "it") == ()


def test_a_zip64_field_that_is_too_short_is_refused(tmp_path: Path) -> None:
    """Numbers of 64 bits of which there are 32."""
    with zipfile.ZipFile(tmp_path / "it", "w", zipfile.ZIP_STORED) as archive:
        info = zipfile.ZipInfo("a")
        info.extra = struct.pack("<HHL", 1, 4, 50_000)
        archive.writestr(info, bytes(50_000))
    data = bytearray((tmp_path / "it").read_bytes())
    at = data.index(MEMBER)
    data[at + 24 : at + 28] = b"\xff" * 4
    (tmp_path / "it").write_bytes(data)
    assert found(tmp_path / "it") == ()


def test_as_many_members_as_a_count_of_16_bits_can_say_are_read(tmp_path: Path) -> None:
    """65,535 is also the mark that a zip64 record has the count; here there is none."""
    with zipfile.ZipFile(tmp_path / "it", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("large", bytes(40_000))
        for number in range(0xFFFF - 1):
            archive.writestr(zipfile.ZipInfo(f"{number}"), b"")
    assert len(found(tmp_path / "it")) == 1


def test_a_wrong_magic_before_the_count_of_64_bits_is_refused(tmp_path: Path) -> None:
    """The record that has the count of 65,536 members is not one."""
    with zipfile.ZipFile(tmp_path / "it", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("large", bytes(40_000))
        for number in range(0xFFFF):
            archive.writestr(zipfile.ZipInfo(f"{number}"), b"")
    assert len(found(tmp_path / "it")) == 1
    data = (tmp_path / "it").read_bytes()
    (tmp_path / "it").write_bytes(data.replace(b"PK\6\6", b"PK\6\5"))
    assert found(tmp_path / "it") == ()


def test_a_directory_of_a_zip_without_end_is_not_read(tmp_path: Path) -> None:
    """Sixteen MiB of names and comments are more than any model has."""
    with zipfile.ZipFile(tmp_path / "it", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("large", bytes(40_000))
        for number in range(300):
            info = zipfile.ZipInfo(f"{number}")
            info.comment = b"c" * 60_000
            archive.writestr(info, b"")
    assert found(tmp_path / "it") == ()


def test_tensors_may_be_named_in_any_order(tmp_path: Path) -> None:
    """A safetensors header sorts by name or by type; regions go by place."""
    (tmp_path / "it").write_bytes(
        header(tensor(40_000, 90_000)[:-1] + b", " + tensor(0, 40_000, "b")[1:-1] + b"}")
    )
    got = found(tmp_path / "it")
    assert [region.end - region.start for region in got] == [40_000, 50_000]


def test_a_header_that_is_cut_off_has_no_regions(tmp_path: Path) -> None:
    """The file has become shorter since its size was asked for."""
    text = tensor(0, 40_000)
    (tmp_path / "it").write_bytes(struct.pack("<Q", 5000) + text)
    with (tmp_path / "it").open("rb") as file:
        assert regions(file.fileno(), 1 << 20) == ()


BOUNDED = """
import os, resource, sys, time
from objstore.containers import regions
fd = os.open(sys.argv[1], os.O_RDONLY)
regions(fd, 40000)  # what is imported late is no part of it
def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
print(len(regions(fd, os.fstat(fd).st_size)), peak() - before)
"""


def brackets() -> bytes:
    """16 MiB of JSON lists, which parsed would take half a GiB."""
    return header((b'{"a":[' + b"[]," * ((16 << 20) // 3))[: (16 << 20) - 2] + b"]}")


def many_tensors() -> bytes:
    """More tensors than are looked for."""
    rows = b",".join(b'"%d":{"dtype":"F32","data_offsets":[0,1]}' % n for n in range(300_000))
    return header(b"{" + rows + b"}")


def many_members() -> bytes:
    """A directory of 65,535 members that all lie at one place."""
    data = b"PK\3\4" + bytes(26 + 40_000)
    member = struct.pack("<4s4xHH8xLLHHH8xL", b"PK\1\2", 0, 0, 40_000, 40_000, 0, 0, 0, 0)
    end = struct.pack("<4s6xHLL2x", b"PK\5\6", 65_534, 65_534 * len(member), len(data))
    return data + member * 65_534 + end


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="peak memory is read from /proc")
@pytest.mark.parametrize("make", [brackets, many_tensors, many_members])
def test_hostile_headers_take_little_memory(
    tmp_path: Path, make: Callable[[], bytes], checkout: Path
) -> None:
    """Under 64 MiB, whatever a container claims to hold."""
    (tmp_path / "it").write_bytes(make())
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, tmp_path / "it"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(checkout)},
    )
    count, peak = map(int, done.stdout.split())
    assert count == 0
    assert peak < 64 << 20, f"{peak / (1 << 20)} MiB"
