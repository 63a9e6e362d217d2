"""Planes: numbers come back bit for bit from any phase, are smaller than zstd makes them, and lies are refused."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import struct
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore import layout, planes, zstd
from objstore.errors import Corrupt, StoreError
from objstore.frame import Encoding, FrameHeader, decode, encode
from objstore.ids import Kind
from objstore.zstd import squeeze

NOISE = np.random.default_rng(1)


def floats(dtype: str, count: int = 1 << 18) -> bytes:
    """Normal noise of a type; `bf16` is the upper half of float32."""
    numbers = NOISE.standard_normal(count)
    if dtype == "bf16":
        return (numbers.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return numbers.astype(dtype).tobytes()


@settings(deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from(planes.SIZES),
    st.integers(0, 7),
    st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_any_content_survives_any_grouping(raw: bytes, size: int, phase: int, worth: list[bool]) -> None:
    """Whatever the length, the item size, the phase, and which planes are tried."""
    payload = planes.encode(raw, size, phase % size, worth)
    assert planes.decode(payload, len(raw), size, phase % size) == raw


def test_a_plane_is_the_bytes_of_one_place() -> None:
    """By the format's own rule: byte i belongs to plane (i + phase) mod size, and planes follow one another."""
    raw, size, phase = bytes(range(11)), 4, 3
    expected = b""
    for number in range(size):
        plane = bytes(raw[i] for i in range(len(raw)) if (i + phase) % size == number)
        expected += struct.pack("<B3sI", 0, bytes(3), len(plane)) + plane
    assert planes.encode(raw, size, phase, [False] * 4) == expected


@pytest.mark.parametrize(
    ("dtype", "size", "share"),
    [("<f4", 4, 0.85), ("bf16", 2, 0.70), ("<f8", 8, 0.96), ("<f2", 2, 0.93)],
)
@pytest.mark.parametrize("before", [0, 1, 3, 5], ids=lambda n: f"{n} bytes before")
def test_noise_of_numbers_is_smaller_in_planes(dtype: str, size: int, share: float, before: int) -> None:
    """Found without being told the type, wherever in an item the content begins; zstd alone is worse each time."""
    raw = floats(dtype)[before:]
    header, stored = encode(Kind.BLOB, raw, offset=before)
    assert (header.encoding, header.parameters) == (Encoding.PLANES, (size, before % size))
    assert decode(header, bytes(stored)) == raw
    assert len(stored) <= share * len(raw)
    assert len(stored) < len(squeeze(raw, 19))


def test_a_known_item_size_is_the_only_one_tried() -> None:
    """Containers say what they hold; 1 means that there are no numbers at all."""
    raw = floats("<f8")
    assert encode(Kind.BLOB, raw, item=4)[0].parameters in ((4, 0), (0, 0))
    assert encode(Kind.BLOB, raw, item=1)[0].encoding is not Encoding.PLANES


def test_what_planes_do_not_help_is_not_put_in_planes() -> None:
    """Random bytes stay raw, text and repetition are plain zstd, and small content is never grouped."""
    assert encode(Kind.BLOB, NOISE.bytes(1 << 20))[0].encoding is Encoding.RAW
    assert encode(Kind.BLOB, b"some text, again and again; " * 40_000)[0].encoding is Encoding.ZSTD
    assert encode(Kind.BLOB, bytes(1 << 20))[0].encoding is Encoding.ZSTD
    assert encode(Kind.BLOB, floats("<f4", 1000))[0].encoding is not Encoding.PLANES


def test_a_plane_that_does_not_compress_stays_as_it_is() -> None:
    """Though it was worth a try by a sample."""
    raw = NOISE.bytes(2000)
    assert len(planes.encode(raw, 2, 0, [True, True])) == len(raw) + 2 * 8


def test_a_bug_in_grouping_never_costs_the_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is decoded and compared before it is kept."""
    raw = floats("<f4")
    monkeypatch.setattr(planes, "squeeze", lambda data, level: squeeze(bytes(data)[:-1] + b"\xff", level))
    with pytest.raises(Corrupt, match="nothing was stored"):
        encode(Kind.BLOB, raw)


def payload_of(*parts: tuple[int, bytes, int, bytes]) -> bytes:
    """Planes with any codec, zeros, claimed length and bytes."""
    return b"".join(struct.pack("<B3sI", codec, zero, length) + data for codec, zero, length, data in parts)


@pytest.mark.parametrize(
    "payload",
    [
        payload_of((0, bytes(3), 3, b"abc")),
        payload_of((0, bytes(3), 3, b"abc"), (0, bytes(3), 2, b"de")),
        payload_of((0, bytes(3), 3, b"abc"), (0, bytes(3), 4, b"defg")),
        payload_of((0, bytes(3), 3, b"abc"), (0, bytes(3), 3, b"de")),
        payload_of((0, bytes(3), 3, b"abc"), (0, bytes(3), 3, b"def")) + b"x",
        payload_of((0, bytes(3), 3, b"abc"), (2, bytes(3), 3, b"def")),
        payload_of((0, b"\0\0\1", 3, b"abc"), (0, bytes(3), 3, b"def")),
        payload_of((0, bytes(3), 3, b"abc"), (1, bytes(3), 3, b"def")),
        payload_of((0, bytes(3), 3, b"abc"), (1, bytes(3), 11, squeeze(b"de", 1))),
        payload_of((0, bytes(3), 3, b"abc"), (1, bytes(3), len(squeeze(b"defg", 1)), squeeze(b"defg", 1))),
        payload_of((0, bytes(3), 2**32 - 1, b"abc"), (0, bytes(3), 3, b"def")),
        b"",
    ],
)
def test_planes_that_lie_are_corrupt(payload: bytes) -> None:
    """Lengths, codecs, zeros and content that are not as they should be for 6 bytes in items of 2."""
    with pytest.raises(Corrupt):
        planes.decode(payload, 6, 2, 0)


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2_000), st.integers(1, 255))
def test_damaged_planes_are_corrupt_or_have_the_right_length(where: int, mask: int) -> None:
    """What the id will refuse is never longer than the header says."""
    raw = floats("<f4", 500)
    stored = bytearray(planes.encode(raw, 4, 0, [True] * 4))
    stored[where % len(stored)] ^= mask
    with contextlib.suppress(StoreError):
        assert len(planes.decode(bytes(stored), len(raw), 4, 0)) == len(raw)


def test_a_bomb_of_planes_is_refused_before_it_unfolds() -> None:
    """A header may claim 16 MiB at most, and a plane unfolds to no more than its share of that."""
    bomb = squeeze(bytes(64 << 20), 1)
    payload = payload_of((1, bytes(3), len(bomb), bomb), (1, bytes(3), len(bomb), bomb))
    head = FrameHeader(Kind.BLOB, Encoding.PLANES, (2, 0), 16 << 20, len(payload))
    tracemalloc.start()
    with pytest.raises(Corrupt, match="more than"):
        decode(head, payload)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * layout.MIB


def test_a_frame_that_wants_a_large_window_is_refused() -> None:
    """A reader keeps 8 MiB for zstd's window and no more."""
    import zstandard

    parameters = zstandard.ZstdCompressionParameters(window_log=26, enable_ldm=True)
    wide = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    stored = wide.compress(bytes(1 << 20)) + wide.flush()
    with pytest.raises(Corrupt):
        zstd.decompress(stored, 1 << 20)


# --- memory that is used again ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", planes.SIZES)
def test_room_for_a_plane_is_beside_the_content(size: int) -> None:
    """Whatever the phase, all planes compressed: no plane on its way touches what is decoded already."""
    raw = bytes(random.Random(size).choices(range(1, 5), k=4001))
    for phase in range(size):
        assert planes.decode(planes.encode(raw, size, phase, [True] * size), len(raw), size, phase) == raw


def test_what_was_decoded_stays_while_more_is_decoded() -> None:
    """The memory that is used again is not what the caller is given."""
    one, other = floats("<f4", 1000), floats("<f4", 1000)
    payloads = [planes.encode(raw, 4, 0, [True] * 4) for raw in (one, other)]
    decoded = [planes.decode(payload, 4000, 4, 0) for payload in payloads]
    assert decoded == [one, other]


def test_threads_decode_beside_each_other() -> None:
    """Each has memory of its own: numpy and zstd let other threads run in the midst of their work."""
    contents = [floats("<f4") for _ in range(4)]
    payloads = [planes.encode(raw, 4, 0, [True] * 4) for raw in contents]
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(25):
            try:
                good = planes.decode(payloads[number], len(contents[number]), 4, 0) == contents[number]
            except Corrupt:
                good = False
            if not good:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings(
    "ignore:.*multi-threaded:DeprecationWarning"
)  # to fork beside threads is what is tested
def test_a_child_decodes_while_its_parents_threads_were_decoding() -> None:
    """No lock and no memory that a thread holds that is not in the child."""
    raw = floats("<f4")
    payload = planes.encode(raw, 4, 0, [True] * 4)
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            planes.decode(payload, len(raw), 4, 0)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            if (child := os.fork()) == 0:
                status = 1
                try:
                    signal.alarm(20)
                    status = 0 if planes.decode(payload, len(raw), 4, 0) == raw else 2
                finally:
                    os._exit(status)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_a_thread_keeps_little_memory() -> None:
    """What a frame of 12 MiB needs is given back; only what frames of chunks need stays."""
    raw = bytes(random.Random(1).choices(range(4), k=12 * layout.MIB))
    payload = planes.encode(raw, 2, 0, [True, True])
    kept: list[int] = []

    def work() -> None:
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        planes.decode(payload, len(raw), 2, 0)
        kept.append(tracemalloc.get_traced_memory()[0] - before)
        tracemalloc.stop()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert kept[0] < 4 * layout.MIB


def test_a_raw_plane_of_another_length_is_refused_before_memory_is_taken() -> None:
    """It is told by its header, not by what would be made of it."""
    payload = payload_of((0, bytes(3), 5, b"abcde"), (0, bytes(3), 3, b"def"))
    with pytest.raises(Corrupt, match="as its header says"):
        planes.decode(payload, 16 << 20, 2, 0)
