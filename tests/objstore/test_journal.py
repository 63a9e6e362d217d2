"""Journals: what was acknowledged is read back, and nothing else is, whatever happens to process, disk or bytes."""

from __future__ import annotations

import errno
import json
import os
import random
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_digest

from objstore.errors import Conflict
from objstore.journal import (
    FIRST_SEGMENT_SIZE,
    SEGMENT_SIZE,
    JournalWriter,
    Record,
    liveness,
    read,
    scan,
)

CHILD = Path(__file__).with_name("journal_child.py")
payload_of: Callable[[int], bytes] = runpy.run_path(str(CHILD))["payload_of"]
both_ways = pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "plain"])


def written(folder: Path, count: int, *, segment_size: int = 512, mapped: bool = True) -> list[Record]:
    """A closed journal of `count` records in small segments; returns them."""
    writer = JournalWriter(folder, "0123456789abcdef", segment_size=segment_size, mapped=mapped)
    for number in range(1, count + 1):
        assert writer.append(1 + number % 255, payload_of(number)) == number
    writer.close()
    return list(read(folder))


def segments(folder: Path) -> list[Path]:
    """The segment files, in order."""
    return sorted(folder.glob("segment.*"))


@contextmanager
def child(mode: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of `journal_child.py`, killed at the end with SIGKILL."""
    process = subprocess.Popen(
        [sys.executable, str(CHILD), mode, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def acknowledged(process: subprocess.Popen[bytes]) -> int:
    """Wait for the next number that the child sends."""
    assert process.stdout is not None
    return int.from_bytes(process.stdout.read(8), "little")


# The shape of the files.


GOLDEN = (
    "4f534a4c 01 000000 30313233343536373839616263646566 01000000 0100000000000000" + "00" * 28,
    "00000000 01 00 0200 0100000000000000 26d43a8e",
    "05000000 ff 00 0300 0200000000000000 6576656e74 e3666a30",
)


@both_ways
def test_bytes_are_the_documented_ones(tmp_path: Path, mapped: bool) -> None:
    """A header and two records: an older or newer version writes and reads exactly these bytes."""
    golden = b"".join(map(bytes.fromhex, GOLDEN))
    writer = JournalWriter(tmp_path / "w", "0123456789abcdef", attempt=2, mapped=mapped)
    writer.append(1, b"")
    writer.attempt = 3
    writer.append(255, b"event")
    writer.close()
    assert [path.name for path in segments(tmp_path / "w")] == ["segment.00000001"]
    assert segments(tmp_path / "w")[0].read_bytes() == golden
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "segment.00000001").write_bytes(golden + bytes(1000))
    assert list(read(tmp_path / "old")) == [Record(1, 1, 2, b""), Record(2, 255, 3, b"event")]


@both_ways
def test_what_was_appended_is_read_back(tmp_path: Path, mapped: bool) -> None:
    """Empty, small, over the first segment, over any segment: number, kind, attempt and payload come back."""
    payloads = [b"", b"x", b"y" * FIRST_SEGMENT_SIZE, b"", b"z" * (SEGMENT_SIZE + 1), b"end"]
    writer = JournalWriter(tmp_path / "w", "w", attempt=7, mapped=mapped)
    numbers = [writer.append(kind, payload) for kind, payload in enumerate(payloads, 1)]
    before_close = list(read(tmp_path / "w"))
    writer.close()
    expected = [Record(number, number, 7, payload) for number, payload in enumerate(payloads, 1)]
    assert numbers == [1, 2, 3, 4, 5, 6]
    assert before_close == list(read(tmp_path / "w")) == expected
    assert scan(tmp_path / "w") == ("w", 1, 6, 6, 0, (), ())
    assert scan(tmp_path / "w").intact


def test_writer_that_logs_nothing_leaves_nothing(tmp_path: Path) -> None:
    """A forked data loader worker makes a writer that it may never use."""
    writer = JournalWriter(tmp_path / "task" / "w", "w")
    writer.beat()
    assert writer.sync() == writer.last == 0
    writer.close()
    assert list(tmp_path.iterdir()) == []
    assert list(read(tmp_path / "task" / "w")) == []
    assert scan(tmp_path / "task" / "w") == ("", 0, 0, 0, 0, (), ())


def test_small_journal_is_small_on_disk(tmp_path: Path) -> None:
    """A run of one event pays for a first segment while it runs, and for its bytes afterwards."""
    writer = JournalWriter(tmp_path / "w", "w")
    writer.append(1, b"x" * 100)
    assert segments(tmp_path / "w")[0].stat().st_size == FIRST_SEGMENT_SIZE
    writer.close()
    assert segments(tmp_path / "w")[0].stat().st_size == 64 + 16 + 100 + 4


def test_reading_after_a_number_gives_the_rest(tmp_path: Path) -> None:
    """From every number on, within a segment, at its end, and past the last record."""
    records = written(tmp_path / "w", 60)
    assert len(segments(tmp_path / "w")) > 5
    for after in range(70):
        assert list(read(tmp_path / "w", after)) == records[after:]


def test_covered_segments_may_be_removed(tmp_path: Path) -> None:
    """What lies after them is still read; asked for what is gone, nothing comes rather than something later."""
    records = written(tmp_path / "w", 60)
    second = next(iter(read_segment_firsts(tmp_path / "w")[1:]))
    segments(tmp_path / "w")[0].unlink()
    assert list(read(tmp_path / "w", second - 1)) == records[second - 1 :]
    assert list(read(tmp_path / "w", second - 2)) == []
    summary = scan(tmp_path / "w")
    assert (summary.first, summary.records, summary.last) == (second, 61 - second, 60)
    assert summary.missing == ((1, 1),)


def read_segment_firsts(folder: Path) -> list[int]:
    """The number of the first record of each segment, out of its header."""
    return [int.from_bytes(path.read_bytes()[28:36], "little") for path in segments(folder)]


# Arguments and states.


@both_ways
@pytest.mark.parametrize(("kind", "attempt"), [(0, 1), (256, 1), (-1, 1), (1, -1), (1, 65536)])
def test_kind_or_attempt_out_of_range_is_refused(
    tmp_path: Path, mapped: bool, kind: int, attempt: int
) -> None:
    """A zero kind would end the journal; nothing is added and no number is used."""
    writer = JournalWriter(tmp_path / "w", "w", mapped=mapped)
    writer.append(1, b"first")
    writer.attempt = attempt
    with pytest.raises(ValueError, match="1 to 255"):
        writer.append(kind, b"")
    writer.attempt = 1
    assert writer.append(1, b"second") == 2
    writer.close()
    assert [record.payload for record in read(tmp_path / "w")] == [b"first", b"second"]


@pytest.mark.parametrize("writer", ["", "x" * 17, "é", "a\0b"])
def test_writer_id_has_to_fit_the_header(tmp_path: Path, writer: str) -> None:
    """16 bytes of ASCII, and no zeros, which pad it."""
    with pytest.raises(ValueError, match="16 printable ASCII"):
        JournalWriter(tmp_path / "w", writer)


def test_closed_journal_takes_no_record(tmp_path: Path) -> None:
    """Closing twice is fine; appending then is an error, whether or not there ever was a record."""
    writer = JournalWriter(tmp_path / "w", "w")
    writer.append(1, b"")
    unused = JournalWriter(tmp_path / "unused", "w")
    for each in (writer, unused):
        each.close()
        each.close()
        with pytest.raises(ValueError, match="closed"):
            each.append(1, b"")
    assert writer.last == 1
    assert not (tmp_path / "unused").exists()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="nothing is allocated by a call here")
def test_journal_that_is_closed_in_the_midst_of_an_append_takes_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a signal handler may: the append says so, and leaves no segment that nobody would end."""
    writer = JournalWriter(tmp_path / "w", "w")
    allocate = os.posix_fallocate

    def interrupted(fd: int, start: int, size: int) -> None:
        allocate(fd, start, size)
        writer.close()

    monkeypatch.setattr(os, "posix_fallocate", interrupted)
    with pytest.raises(ValueError, match="was closed meanwhile"):
        writer.append(1, b"x")
    assert segments(tmp_path / "w") == []
    with pytest.raises(ValueError, match="is closed"):
        writer.append(1, b"x")


def test_folder_of_another_writer_is_refused(tmp_path: Path) -> None:
    """A second writer, and one that finds segments without an alive file, would mix two sequences of numbers."""
    writer = JournalWriter(tmp_path / "w", "first")
    writer.append(1, b"x")
    second = JournalWriter(tmp_path / "w", "second")
    with pytest.raises(Conflict, match="another writer"):
        second.append(1, b"y")
    writer.close()
    (tmp_path / "w" / "alive").unlink()
    with pytest.raises(Conflict, match="another writer"):
        second.append(1, b"y")
    assert [record.payload for record in read(tmp_path / "w")] == [b"x"]


def test_working_directory_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training scripts do; the next segment lands beside the first."""
    monkeypatch.chdir(tmp_path)
    writer = JournalWriter(Path("w"), "w", segment_size=100)
    writer.append(1, b"x" * 100)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    writer.append(1, b"y" * 100)
    writer.close()
    assert len(list(read(tmp_path / "w"))) == 2


def test_sync_covers_all_that_was_appended(tmp_path: Path) -> None:
    """It returns the last number, over several segments, after the removal of a covered one, and after close."""
    writer = JournalWriter(tmp_path / "a" / "b" / "w", "w", segment_size=512)
    for number in range(1, 31):
        writer.append(1, payload_of(number))
    segments(tmp_path / "a" / "b" / "w")[0].unlink()
    assert writer.sync() == 30
    writer.append(1, b"")
    assert writer.sync() == 31
    writer.close()
    assert writer.sync() == 31
    segments(tmp_path / "a" / "b" / "w")[-1].unlink()
    with pytest.raises(FileNotFoundError):
        writer.sync()


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc to tell what is fsynced")
def test_sync_makes_every_segment_and_every_new_folder_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their names too, up to the folder that was there before; the second time only what is new."""
    synced: list[str] = []
    fsync = os.fsync

    def watched(fd: int) -> None:
        fsync(fd)
        synced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), tmp_path))

    monkeypatch.setattr(os, "fsync", watched)
    writer = JournalWriter(tmp_path / "a" / "b" / "w", "w", segment_size=512)
    for number in range(1, 31):
        writer.append(1, payload_of(number))
    writer.sync()
    files = [str(path.relative_to(tmp_path)) for path in segments(tmp_path / "a" / "b" / "w")]
    assert len(files) > 2
    assert set(synced) == {*files, "a/b/w", "a/b", "a", "."}
    del synced[:]
    writer.append(1, b"")
    writer.sync()
    assert set(synced) == {str(segments(tmp_path / "a" / "b" / "w")[-1].relative_to(tmp_path)), "a/b/w"}
    writer.close()


def test_payload_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No reader would take it; no number is used up."""
    monkeypatch.setattr("objstore.journal.writing.PAYLOAD_MAX", 1000)
    writer = JournalWriter(tmp_path / "w", "w", segment_size=512)
    with pytest.raises(ValueError, match="store it as an object"):
        writer.append(1, bytes(1001))
    assert writer.append(1, bytes(1000)) == 1
    writer.close()


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is mapped there")
def test_file_system_that_cannot_map_gets_plain_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layout is the same."""

    def refused(fd: int, size: int) -> None:
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr("objstore.journal.files.mmap", refused)
    assert [record.payload for record in written(tmp_path / "w", 5)] == [payload_of(n) for n in range(1, 6)]


def test_segments_may_go_while_they_are_read(tmp_path: Path) -> None:
    """Sealed, and removed by another process between the listing and the reading: what was read is a part, no error."""
    records = written(tmp_path / "w", 60)
    firsts = read_segment_firsts(tmp_path / "w")
    reading = read(tmp_path / "w")
    got = [next(reading)]
    for path in segments(tmp_path / "w")[1:]:
        path.unlink()
    assert [*got, *reading] == records[: firsts[1] - 1]


def test_segment_whose_first_number_is_0_is_none(tmp_path: Path) -> None:
    """Numbers begin at 1; what claims 0 would not follow on anything."""
    written(tmp_path / "w", 1)
    (path,) = segments(tmp_path / "w")
    data = path.read_bytes()
    body = (0).to_bytes(4, "little") + bytes([1, 0, 1, 0]) + (0).to_bytes(8, "little")
    path.write_bytes(data[:28] + bytes(8) + data[36:64] + body + xxh3_64_digest(body)[:3:-1])
    assert list(read(tmp_path / "w", -1)) == []
    assert scan(tmp_path / "w").records == 0


# Processes, threads, signals.


@both_ways
def test_no_acknowledged_record_is_lost_to_sigkill(tmp_path: Path, mapped: bool) -> None:
    """Killed at random moments, within records and between segments, a writer leaves all that had returned."""
    chance = random.Random(20)
    for round_ in range(8):
        folder = tmp_path / str(round_)
        with child("mapped" if mapped else "plain", folder) as process:
            last = acknowledged(process)
            deadline = time.monotonic() + chance.random() * 0.05
            while time.monotonic() < deadline:
                last = acknowledged(process)
            process.kill()
            assert process.stdout is not None
            rest = process.stdout.read()
            last += len(rest) // 8
        records = list(read(folder))
        assert len(records) >= last >= 1
        assert [(r.number, r.kind, r.payload) for r in records] == [
            (n, 1 + (n - 1) % 255, payload_of(n)) for n in range(1, len(records) + 1)
        ]
        summary = scan(folder)
        assert (summary.records, summary.missing, summary.unread) == (len(records), (), ())


@both_ways
def test_reader_follows_a_writer_at_work(tmp_path: Path, mapped: bool) -> None:
    """Whatever moment a read falls into, what comes is what was written, without a gap."""
    after = reads = 0
    with child("mapped" if mapped else "plain", tmp_path / "w") as process:
        assert process.stdout is not None
        drain = threading.Thread(target=process.stdout.read)
        drain.start()
        deadline = time.monotonic() + 30
        while after < 5000 and time.monotonic() < deadline:
            reads += 1
            for record in read(tmp_path / "w", after):
                after += 1
                assert (record.number, record.payload) == (after, payload_of(after))
        process.kill()
        drain.join()
    assert after >= 5000
    assert reads > 3


@both_ways
def test_threads_share_a_writer(tmp_path: Path, mapped: bool) -> None:
    """Every number is given once, and each thread's records stand in its own order."""
    writer = JournalWriter(tmp_path / "w", "w", segment_size=4096, mapped=mapped)
    numbers: dict[int, list[int]] = {1: [], 2: [], 3: []}

    def work(kind: int) -> None:
        for index in range(2000):
            numbers[kind].append(writer.append(kind, payload_of(index)))

    threads = [threading.Thread(target=work, args=(kind,)) for kind in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    records = list(read(tmp_path / "w"))
    assert len(records) == 6000
    for kind, own in numbers.items():
        mine = [record for record in records if record.kind == kind]
        assert [record.number for record in mine] == own
        assert [record.payload for record in mine] == [payload_of(index) for index in range(2000)]


@both_ways
def test_signal_handler_may_append(tmp_path: Path, mapped: bool) -> None:
    """It interrupts appends of the same thread; neither its records nor theirs are lost or take the other's number."""
    writer = JournalWriter(tmp_path / "w", "w", segment_size=1 << 16, mapped=mapped)
    expected: dict[int, bytes] = {}
    handled = 0

    def handler(_signal: int, _frame: object) -> None:
        nonlocal handled
        handled += 1
        payload = payload_of(handled)  # once: this handler may itself be interrupted
        with suppress(OSError):  # EBUSY, while a segment is being opened
            expected[writer.append(2, payload)] = payload

    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    try:
        index = 0
        while handled < 500:
            index += 1
            number = writer.append(1, payload_of(index))
            assert number not in expected
            expected[number] = payload_of(index)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    writer.close()
    assert {record.number: record.payload for record in read(tmp_path / "w")} == expected


class Interrupted(Exception):
    """What the signal handler of a test raises, as Ctrl-C raises KeyboardInterrupt."""


@both_ways
def test_interrupted_append_happened_or_did_not(tmp_path: Path, mapped: bool) -> None:
    """An exception out of a signal handler, at any point of an append, leaves a journal that goes on without a gap."""

    def handler(_signal: int, _frame: object) -> None:
        raise Interrupted

    writer = JournalWriter(tmp_path / "w", "w", segment_size=1 << 14, mapped=mapped)
    writer.append(1, payload_of(0))
    expected: dict[int, bytes] = {1: payload_of(0)}
    tried = {payload_of(0)}
    interruptions = index = 0
    previous = signal.signal(signal.SIGALRM, handler)
    try:
        while interruptions < 500:
            index += 1
            payload = payload_of(index)
            tried.add(payload)
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.00001 + index % 50 * 1e-6)
                while True:
                    expected[writer.append(1, payload)] = payload
            except Interrupted:
                interruptions += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    last = writer.append(1, b"end")
    writer.close()
    found = {record.number: record.payload for record in read(tmp_path / "w")}
    assert list(found) == list(range(1, last + 1))
    assert found.pop(last) == b"end"
    assert expected.items() <= found.items()
    assert set(found.values()) <= tried
    assert scan(tmp_path / "w").intact


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_child_leaves_its_parents_journal_alone(tmp_path: Path) -> None:
    """The child abandons it and writes its own; the parent's lock is still held, and its next records still count."""
    with child("fork", tmp_path / "w") as process:
        assert acknowledged(process) == 0
        assert liveness(tmp_path / "w") == "alive"
        assert liveness(tmp_path / "forked") == "dead"
        process.kill()
    assert liveness(tmp_path / "w") == "dead"
    assert [record.payload for record in read(tmp_path / "w")] == [payload_of(1), payload_of(2)]
    assert [record.payload for record in read(tmp_path / "forked")] == [payload_of(1)]


FORKS = """
import os, signal, sys, threading
from pathlib import Path
from objstore.journal import JournalWriter, liveness
folder = Path(sys.argv[1])
writer = JournalWriter(folder / "parent", "parent")
writer.append(1, b"x")
over = threading.Event()
def work():
    while not over.is_set():
        writer.append(1, b"y" * 50_000)
        liveness(folder / "parent")
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
bad = 0
for number in range(60):
    if (child := os.fork()) == 0:
        signal.alarm(20)
        writer.abandon()
        try:
            writer.append(1, b"")
            os._exit(3)
        except ValueError:
            os._exit(0 if liveness(folder / "parent") == "alive" else 4)
    bad = bad or os.waitpid(child, 0)[1]
over.set()
for thread in threads:
    thread.join()
reading, writing = os.pipe()
if os.fork() == 0:
    os.close(writing)
    os.read(reading, 1)  # until the parent has died
    print(bad, liveness(folder / "parent"), flush=True)
    os._exit(0)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forks_in_the_midst_of_appends_find_no_lock_held_and_the_parent_dead_once_it_is(
    tmp_path: Path,
) -> None:
    """What other threads held is nobody's in the child; and the parent's journal is not taken for the child's own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (done.stdout, done.stderr) == ("0 dead\n", "")


# Damage.


@pytest.mark.parametrize("filled", [False, True], ids=["cut", "zeros"])
def test_torn_tail_costs_the_last_record_only(tmp_path: Path, filled: bool) -> None:
    """The file ends, or turns to zeros, at any byte of the last record: all before it is read."""
    records = written(tmp_path / "w", 5, segment_size=1 << 16)
    (path,) = segments(tmp_path / "w")
    whole = path.read_bytes()
    size = 16 + len(records[-1].payload) + 4
    for kept in range(size):
        cut = whole[: len(whole) - size + kept]
        path.write_bytes(cut.ljust(len(whole) + 50, b"\0") if filled else cut)
        if filled and not whole[len(cut) :].strip(b"\0"):
            continue
        assert list(read(tmp_path / "w")) == records[:-1]
        summary = scan(tmp_path / "w")
        assert summary.last == 4
        assert summary.torn == (len(cut.rstrip(b"\0")) - (len(whole) - size) if kept else 0)


def test_no_flipped_bit_makes_a_wrong_record(tmp_path: Path) -> None:
    """Any bit of any byte: what is read is a proper prefix of what was written, and the summary tells."""
    records = written(tmp_path / "w", 6, segment_size=400)
    paths = segments(tmp_path / "w")
    assert len(paths) >= 2
    for path in paths:
        whole = path.read_bytes()
        for index in range(len(whole)):
            damaged = bytearray(whole)
            damaged[index] ^= 1 << index % 8
            path.write_bytes(damaged)
            got = list(read(tmp_path / "w"))
            assert got == records[: len(got)]
            assert len(got) < len(records)
            assert not scan(tmp_path / "w").intact
        path.write_bytes(whole)
    assert list(read(tmp_path / "w")) == records


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 60), st.integers(0, 8))
def test_arbitrary_bytes_raise_nothing(junk: bytes, place: int, cut: int, after: int) -> None:
    """Junk spliced into a journal, or all there is: no exception, and no record that was not written."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "w"
        records = written(folder, 6, segment_size=1 << 16)
        (path,) = segments(folder)
        whole = path.read_bytes()
        path.write_bytes(whole[:place] + junk + whole[place + cut :])
        got = list(read(folder, after))
        assert got == records[after : after + len(got)]
        assert scan(folder).records <= len(records)
        path.write_bytes(junk)
        assert list(read(folder)) == []


def test_claimed_length_allocates_nothing(tmp_path: Path) -> None:
    """A record that says it has a gibibyte, in a file that does not, costs no memory."""
    written(tmp_path / "w", 1)
    (path,) = segments(tmp_path / "w")
    header = path.read_bytes()[:64]
    claim = (1 << 30).to_bytes(4, "little") + bytes([1, 0, 1, 0]) + (1).to_bytes(8, "little")
    path.write_bytes(header + claim + b"x" * 100_000)
    tracemalloc.start()
    try:
        assert list(read(tmp_path / "w")) == []
        assert scan(tmp_path / "w").torn == len(claim) + 100_000
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


def test_length_over_the_limit_is_no_record(tmp_path: Path) -> None:
    """Also where the file is as long as it says: no memory is taken for it."""
    written(tmp_path / "w", 1)
    (path,) = segments(tmp_path / "w")
    header = path.read_bytes()[:64]
    claim = (3 << 30).to_bytes(4, "little") + bytes([1, 0, 1, 0]) + (1).to_bytes(8, "little")
    path.write_bytes(header + claim)
    os.truncate(path, 4 << 30)
    tracemalloc.start()
    try:
        assert list(read(tmp_path / "w")) == []
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


def test_record_of_kind_0_ends_the_reading(tmp_path: Path) -> None:
    """Even one with the right number and checksum: zeros are no record, whoever wrote them."""
    written(tmp_path / "w", 1)
    (path,) = segments(tmp_path / "w")
    body = (0).to_bytes(4, "little") + bytes([0, 0, 1, 0]) + (2).to_bytes(8, "little")
    path.write_bytes(path.read_bytes() + body + xxh3_64_digest(body)[:3:-1])
    assert [record.number for record in read(tmp_path / "w")] == [1]


def test_folder_that_another_has_only_claimed_is_refused(tmp_path: Path) -> None:
    """Its alive file is there, a segment not yet: whoever made that file is the writer."""
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "alive").write_bytes(b"")
    with pytest.raises(Conflict, match="another writer's journal"):
        JournalWriter(tmp_path / "w", "w").append(1, b"x")
    assert segments(tmp_path / "w") == []


def test_missing_segment_ends_the_reading(tmp_path: Path) -> None:
    """Events are folded without gaps: what lies behind one is not read but reported."""
    records = written(tmp_path / "w", 60)
    paths, firsts = segments(tmp_path / "w"), read_segment_firsts(tmp_path / "w")
    paths[2].unlink()
    assert list(read(tmp_path / "w")) == records[: firsts[2] - 1]
    summary = scan(tmp_path / "w")
    assert (summary.first, summary.last, summary.torn) == (1, firsts[2] - 1, 0)
    assert summary.missing == ((3, 3),)
    assert summary.unread == tuple(range(4, len(paths) + 1))
    assert not summary.intact


def test_segment_of_another_writer_is_not_read(tmp_path: Path) -> None:
    """A file copied from elsewhere has the right name and, by chance, the right numbers; but not the writer."""
    written(tmp_path / "w", 60)
    firsts = read_segment_firsts(tmp_path / "w")
    path = segments(tmp_path / "w")[1]
    path.write_bytes(path.read_bytes().replace(b"0123456789abcdef", b"fedcba9876543210"))
    assert len(list(read(tmp_path / "w"))) == firsts[1] - 1


def test_segment_that_was_only_just_created_is_no_damage(tmp_path: Path) -> None:
    """A reader may come between the creation of a file and its header."""
    records = written(tmp_path / "w", 20)
    count = len(segments(tmp_path / "w"))
    for content in (b"", bytes(4096)):
        (tmp_path / "w" / f"segment.{count + 1:08d}").write_bytes(content)
        assert list(read(tmp_path / "w")) == records
        assert scan(tmp_path / "w").intact


def test_pipe_in_the_place_of_a_segment_is_an_error_and_not_waited_for(tmp_path: Path) -> None:
    """Nor does it look like a journal that ends there: whoever cleans up must not take what it held for folded."""
    written(tmp_path / "w", 1)
    (path,) = segments(tmp_path / "w")
    path.unlink()
    os.mkfifo(path)
    for look in (lambda: list(read(tmp_path / "w")), lambda: scan(tmp_path / "w")):
        with pytest.raises(OSError, match=rf"no regular file.*{path.name}"):
            look()


def test_pipe_in_the_place_of_the_alive_file_is_as_good_as_none(tmp_path: Path) -> None:
    """Nobody waits for what it would say."""
    folder = tmp_path / "w"
    folder.mkdir()
    os.mkfifo(folder / "alive")
    assert liveness(folder, now=folder.stat().st_mtime + 61) == "dead"


def test_journal_that_cannot_be_read_does_not_look_empty(tmp_path: Path) -> None:
    """A segment that cannot be opened as a file is an error: whoever cleans up must not take it for nothing."""
    written(tmp_path / "w", 1)
    (path,) = segments(tmp_path / "w")
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        list(read(tmp_path / "w"))
    with pytest.raises(OSError, match="directory"):
        scan(tmp_path / "w")


# Disks.


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """Something mounted on a new folder, or a skipped test where this user may not."""
    folder.mkdir()
    command = ["mount", *options, str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount, and this is Linux's mount")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@both_ways
def test_full_disk_costs_only_what_was_refused(tmp_path: Path, mapped: bool) -> None:
    """Appends fail with ENOSPC and use no number; with space again they go on where they were."""
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=1m", "none") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(600 << 10))
        writer = JournalWriter(disk / "w", "w", segment_size=64 << 10, mapped=mapped)
        refusal: OSError | None = None
        while refusal is None:
            try:
                writer.append(1, payload_of(writer.last + 1))
            except OSError as error:
                refusal = error
        assert refusal.errno == errno.ENOSPC
        number = writer.last
        refused_again = payload_of(399) * 20
        for _ in range(3):
            with pytest.raises(OSError, match="No space"):
                writer.append(1, refused_again)
        assert 0 < writer.last == number == scan(disk / "w").last
        assert scan(disk / "w").intact
        ballast.unlink()
        assert writer.append(1, payload_of(number + 1)) == number + 1
        for _ in range(1000):
            number = writer.append(1, payload_of(writer.last + 1))
        writer.close()
        assert [record.payload for record in read(disk / "w")] == [
            payload_of(n) for n in range(1, number + 1)
        ]
        assert scan(disk / "w").intact


@both_ways
def test_disk_that_is_full_from_the_start_is_tried_again(tmp_path: Path, mapped: bool) -> None:
    """Not even the alive file could be written: the folder is still this writer's, once there is room."""
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=1m", "none") as disk:
        with (disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
            while True:
                ballast.write(bytes(4096))
        writer = JournalWriter(disk / "w", "w", mapped=mapped)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                writer.append(1, b"x")
            assert segments(disk / "w") == []  # an empty file is one that a full disk has to carry
        (disk / "ballast").unlink()
        assert writer.append(1, b"x") == 1
        assert json.loads((disk / "w" / "alive").read_bytes())["pid"] == os.getpid()
        writer.close()
        assert [record.payload for record in read(disk / "w")] == [b"x"]


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL])
def test_file_system_that_cannot_allocate_gets_plain_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As some network file systems and musl say; the layout is the same, only nothing is allocated ahead."""

    def refuse(_fd: int, _offset: int, _length: int) -> None:
        raise OSError(number, "cannot allocate")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    written(tmp_path / "fallback", 20)
    monkeypatch.undo()
    written(tmp_path / "w", 20)
    writer = JournalWriter(tmp_path / "open", "w", mapped=False)
    writer.append(1, b"x")
    assert segments(tmp_path / "open")[0].stat().st_size == 64 + 16 + 1 + 4
    writer.close()
    for one, other in zip(segments(tmp_path / "fallback"), segments(tmp_path / "w"), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_blocks_are_allocated_where_no_call_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS: zeros are written, so that a full disk is an error and never a SIGBUS."""
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    writer = JournalWriter(tmp_path / "w", "w")
    writer.append(1, b"x" * (3 << 20))
    status = segments(tmp_path / "w")[0].stat()
    assert status.st_blocks * 512 >= 3 << 20
    writer.close()
    assert len(list(read(tmp_path / "w"))) == 1


# Liveness.


def dead_journal(folder: Path, **changes: object) -> Path:
    """A journal whose writer is gone, its alive file with some fields changed; returns that file."""
    written(folder, 1)
    alive = folder / "alive"
    alive.write_text(json.dumps({**json.loads(alive.read_text()), **changes}))
    return alive


def test_killed_writer_is_dead_and_a_running_one_alive(tmp_path: Path) -> None:
    """The lock tells, at once; and asking changes nothing in the folder."""
    with child("mapped", tmp_path / "w") as process:
        acknowledged(process)
        before = (tmp_path / "w" / "alive").stat()
        assert liveness(tmp_path / "w") == "alive"
        assert (tmp_path / "w" / "alive").stat().st_mtime_ns == before.st_mtime_ns
        assert (tmp_path / "w" / "alive").read_bytes()
        process.kill()
    assert liveness(tmp_path / "w") == "dead"


def test_asking_about_oneself_does_not_drop_the_lock(tmp_path: Path) -> None:
    """POSIX drops a process's locks when it closes any descriptor of the file, by whatever path it opened it."""
    writer = JournalWriter(tmp_path / "w", "w")
    writer.append(1, b"x")
    (tmp_path / "other").symlink_to(tmp_path / "w")
    assert liveness(tmp_path / "w") == liveness(tmp_path / "other") == "alive"
    ask = "import sys, pathlib, objstore.journal as j; print(j.liveness(pathlib.Path(sys.argv[1])))"
    asked = [sys.executable, "-c", ask, str(tmp_path / "w")]
    root = Path(__file__).parents[2]
    assert subprocess.run(asked, cwd=root, capture_output=True, text=True, check=True).stdout == "alive\n"
    writer.close()
    assert subprocess.run(asked, cwd=root, capture_output=True, text=True, check=True).stdout == "dead\n"
    assert liveness(tmp_path / "w") == "dead"


def test_read_only_folder_can_be_asked(tmp_path: Path) -> None:
    """Through a read-only mount the lock of a writer is seen, and so is its absence."""
    (tmp_path / "store").mkdir()
    with child("mapped", tmp_path / "store" / "w") as process:
        acknowledged(process)
        with mounted(tmp_path / "view", "--bind", "-o", "ro", str(tmp_path / "store")) as view:
            if os.access(view, os.W_OK):
                pytest.skip("this mount ignores ro with --bind")
            assert liveness(view / "w") == "alive"
            process.kill()
            process.wait()
            assert liveness(view / "w") == "dead"


def test_other_boot_of_this_host_is_dead(tmp_path: Path) -> None:
    """Nothing outlives a boot, so no heartbeat is waited for; not even where nothing can be locked."""
    dead_journal(tmp_path / "w", boot="another")
    assert liveness(tmp_path / "w") == "dead"
    dead_journal(tmp_path / "unlocked", boot="another", locked=False)
    assert liveness(tmp_path / "unlocked") == "dead"


@pytest.mark.parametrize("changes", [{"host": "elsewhere"}, {"locked": False}], ids=["other host", "no lock"])
def test_without_a_lock_to_go_by_the_heartbeat_decides(tmp_path: Path, changes: dict[str, object]) -> None:
    """Another host's lock may not be seen here, and some file systems have none: ten minutes of silence are dead."""
    alive = dead_journal(tmp_path / "w", **changes)
    beaten = alive.stat().st_mtime
    assert liveness(tmp_path / "w") == "unknown"
    assert liveness(tmp_path / "w", now=beaten + 599) == "unknown"
    assert liveness(tmp_path / "w", now=beaten + 601) == "dead"
    os.utime(alive, (beaten - 601, beaten - 601))
    assert liveness(tmp_path / "w") == "dead"
    assert sorted(path.name for path in (tmp_path / "w").iterdir()) == ["alive", "segment.00000001"]


def test_heartbeat_touches_the_alive_file(tmp_path: Path) -> None:
    """And tells the writer when its folder was moved away."""
    writer = JournalWriter(tmp_path / "w", "w")
    writer.append(1, b"x")
    alive = tmp_path / "w" / "alive"
    os.utime(alive, (0, 0))
    writer.beat()
    assert alive.stat().st_mtime > 0
    (tmp_path / "w").rename(tmp_path / "trash")
    with pytest.raises(FileNotFoundError):
        writer.beat()
    writer.close()


@pytest.mark.parametrize("content", [None, b""], ids=["absent", "empty"])
def test_writer_that_never_introduced_itself_is_dead_after_a_minute(
    tmp_path: Path, content: bytes | None
) -> None:
    """It died between making its folder and writing the alive file, or is just about to write it."""
    folder = tmp_path / "w"
    folder.mkdir()
    if content is not None:
        (folder / "alive").write_bytes(content)
    made = folder.stat().st_mtime
    assert liveness(folder) == "unknown"
    assert liveness(folder, now=made + 59) == "unknown"
    assert liveness(folder, now=made + 61) == "dead"


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff", b"[" * 4096, b"1", b'{"host": 3}'])
def test_damaged_alive_file_is_believed_nothing(tmp_path: Path, content: bytes) -> None:
    """Then it is as if from another host: its heartbeat decides."""
    alive = dead_journal(tmp_path / "w")
    alive.write_bytes(content)
    beaten = alive.stat().st_mtime
    assert liveness(tmp_path / "w", now=beaten + 599) == "unknown"
    assert liveness(tmp_path / "w", now=beaten + 601) == "dead"


def test_folder_that_is_gone_is_unknown(tmp_path: Path) -> None:
    """Somebody else has just cleaned it up: there is nothing to recover."""
    assert liveness(tmp_path / "gone") == "unknown"
