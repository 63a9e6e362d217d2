"""The recorder: what a call has returned from is in the journal; a disk that refuses costs reports, never the run."""

from __future__ import annotations

import io
import math
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from objstore import trash
from objstore.ids import Kind, hash_object
from tracker import deltas, layout, notice
from tracker.config import Config
from tracker.deltas import Journal
from tracker.errors import BadValue, RecordingFault
from tracker.mounts import file_system
from tracker.recorder import Recorder, forget
from tracker.records import Entry, Ref, recoverer
from tracker.state import Fold

KEY = "ab" * 16


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Callable[..., Recorder]]:
    """Makes recorders of one task, and forgets them afterwards."""
    made: list[Recorder] = []

    def make(*, strict: bool = False, **options: Any) -> Recorder:
        made.append(Recorder(tmp_path, KEY, Config(strict=strict), **options))
        return made[-1]

    yield make
    for recorder in made:
        recorder.close()
        forget(recorder)


def folded(recorder: Recorder) -> Fold:
    """What a reader finds in a recorder's journal right now."""
    folder = recorder.root / layout.live_path(recorder.key, recorder.writer)
    return deltas.fold(Journal(recorder.key, recorder.writer, folder), 0)


def points(fold: Fold) -> dict[tuple[str, str], list[float]]:
    """The scalars in a fold by series."""
    return {(s.title, s.series): list(s.values) for s in deltas._series(fold).get(None, [])}


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Makes the place of journals refuse, and lets it take them again; a refused report is tried again at once."""
    monkeypatch.setattr(layout, "RETRY", 0.0)
    live, aside = tmp_path / "live", tmp_path / "live.aside"

    def works(yes: bool) -> None:
        if yes:
            live.unlink()
            if aside.exists():
                aside.rename(live)
        else:
            if live.exists():
                live.rename(aside)
            live.write_text("a file where a folder belongs")

    return works


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The lines that went to stderr since it was last asked."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", stream)

    def lines() -> list[str]:
        text = stream.getvalue()
        stream.seek(0)
        stream.truncate()
        return text.splitlines()

    return lines


# Reports


def test_report_is_in_the_journal_when_the_call_returns(record: Callable[..., Recorder]) -> None:
    """Each kind, at once, for any reader."""
    recorder = record()
    recorder.set("name", "run")
    recorder.set("name", "weights", of="cd" * 16)
    for value in (1.0, math.inf, -0.0):
        recorder.scalar("loss", "train", value, 7)
    recorder.text("stderr", "hello")
    recorder.plot("t", "s", 1, {"data": []})
    ref = Ref.parse(recorder.attach(b"content"))
    found = folded(recorder)
    assert found.keys[None]["name"].value == "run"
    assert found.keys["cd" * 16]["name"].value == "weights"
    assert points(found) == {("loss", "train"): [1.0, math.inf, -0.0]}
    assert [(t.stream, t.message) for t in found.texts] == [("stderr", "hello")]
    assert [(p.title, p.figure) for p in found.plots] == [("t", {"data": []})]
    assert found.blobs == {ref.id: b"content"}
    assert ref == Ref("blob", str(hash_object(Kind.BLOB, b"content")), 7)
    assert not found.ended
    recorder.close()
    assert folded(recorder).ended


def test_recorder_that_reports_nothing_leaves_nothing(
    record: Callable[..., Recorder], tmp_path: Path
) -> None:
    """A forked data loader worker has one that it may never use."""
    record().close()
    assert list(tmp_path.iterdir()) == []


def test_large_content_goes_to_the_store_and_small_into_the_journal(record: Callable[..., Recorder]) -> None:
    """A mebibyte still shares the run's one pack."""
    taken: list[int] = []

    def attach(data: bytes) -> str:
        taken.append(len(data))
        return "in the store"

    recorder = record(attach=attach)
    assert recorder.attach(bytes(layout.INLINE_MAX)).startswith("blob:")
    assert recorder.attach(bytes(layout.INLINE_MAX + 1)) == "in the store"
    assert taken == [layout.INLINE_MAX + 1]


def test_keys_are_known_at_once_and_removal_is_a_value(record: Callable[..., Recorder]) -> None:
    """In this process without reading; `known` is what was set before."""
    recorder = record(known={"tag/old": Entry(True, 5, "other"), "tag/gone": Entry(None, 6, "other")})
    recorder.set("tag/new", True)
    recorder.set("tag/old", None)
    assert recorder.section("tag") == {"new": True}
    assert (recorder.get("tag/old", "default"), recorder.get("nothing")) == ("default", None)
    assert recorder.snapshot().keys() == {"tag/old", "tag/gone", "tag/new"}


def test_stamps_grow_and_beat_what_was_seen(record: Callable[..., Recorder]) -> None:
    """Whatever the clock says: another host's may be an hour ahead."""
    ahead = time.time_ns() // 1000 + 3_600_000_000
    recorder = record(known={"name": Entry("theirs", ahead, "zz")})
    recorder.set("name", "ours")
    recorder.learn({"comment": Entry("theirs", ahead + 100, "zz")})
    for n in range(3):
        recorder.set("comment", f"ours {n}")
    stamps = [folded(recorder).keys[None][key].stamp for key in ("name", "comment")]
    assert stamps == [ahead + 1, ahead + 103]


def test_learning_takes_in_what_others_set_but_not_ones_own_death(record: Callable[..., Recorder]) -> None:
    """A process that reads that it died knows better; the end of its run is still its own to tell."""
    recorder = record()
    recorder.set("status", "in_progress")
    mine = recorder.snapshot()["status"]
    recorder.learn(
        {
            "status": Entry("stopped", mine.stamp + 1, recoverer(recorder.writer)),
            "tag/theirs": Entry(True, mine.stamp + 1, "other"),
        }
    )
    assert (recorder.get("status"), recorder.get("tag/theirs")) == ("in_progress", True)
    recorder.set("status", "completed")
    assert recorder.snapshot()["status"].stamp > mine.stamp + 1


@pytest.mark.parametrize("iteration", [1.5, "x", None, 2**63, -(2**63) - 1, 2**70])
def test_wrong_iteration_raises_and_costs_only_itself(
    record: Callable[..., Recorder], iteration: Any
) -> None:
    """What came before and after is there."""
    recorder = record()
    recorder.scalar("t", "s", 1.0, 1)
    with pytest.raises(BadValue, match="a whole number of 64 bits is expected"):
        recorder.scalar("t", "s", 2.0, iteration)
    with pytest.raises(BadValue):
        recorder.scalar("t", "another series", 2.0, iteration)
    recorder.scalar("t", "s", 3.0, -(2**63))
    assert points(folded(recorder)) == {("t", "s"): [1.0, 3.0]}


def test_value_that_is_not_json_raises_and_changes_nothing(record: Callable[..., Recorder]) -> None:
    """Neither on disk nor in memory."""
    recorder = record()
    recorder.set("k", 1)
    with pytest.raises(TypeError):
        recorder.set("k", object())
    assert recorder.get("k") == 1
    assert folded(recorder).keys[None]["k"].value == 1


def test_threads_lose_nothing(record: Callable[..., Recorder]) -> None:
    """Eight at once: every point of every series under its own name, every key, every stamp once."""
    recorder = record()

    def work(thread: int) -> None:
        for i in range(500):
            recorder.scalar("shared", f"s{i % 7}", float(thread * 1000 + i), i)
            recorder.scalar("own", f"thread {thread}", float(i), i)
            if i % 10 == 0:
                recorder.set(f"param/{thread}/{i}", i)
                recorder.snapshot()
                recorder.section("param")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = folded(recorder)
    series = points(found)
    for n in range(8):
        assert series["own", f"thread {n}"] == [float(i) for i in range(500)]
    for i in range(7):
        expected = sorted(float(t * 1000 + j) for t in range(8) for j in range(500) if j % 7 == i)
        assert sorted(series["shared", f"s{i}"]) == expected
    keys = found.keys[None]
    assert len(keys) == 8 * 50
    assert len({entry.stamp for entry in keys.values()}) == 8 * 50


# The end


def test_after_close_reports_are_refused_with_one_warning(
    record: Callable[..., Recorder], said: Callable[[], list[str]]
) -> None:
    """A logger that somebody kept does not break what comes after the run."""
    recorder = record()
    recorder.scalar("t", "s", 1.0, 1)
    recorder.close()
    recorder.close()
    recorder.scalar("t", "s", 2.0, 2)
    recorder.scalar("t", "new series", 2.0, 2)
    recorder.text("log", "late")
    recorder.set("name", "late")
    recorder.plot("t", "s", 1, {})
    with pytest.raises(RecordingFault):
        recorder.attach(b"late")
    assert said() == ["tracker: reports after the task was closed are not recorded"]
    assert points(folded(recorder)) == {("t", "s"): [1.0]}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_child_has_a_journal_of_its_own(record: Callable[..., Recorder], tmp_path: Path) -> None:
    """Made at its first report; the parent's goes on, and both name their series themselves."""
    recorder = record()
    recorder.scalar("t", "before", 1.0, 1)
    child = os.fork()
    if child == 0:
        try:
            recorder.scalar("t", "before", 2.0, 2)
            recorder.scalar("t", "child", 3.0, 3)
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    idle = os.fork()
    if idle == 0:
        os._exit(0)
    os.waitpid(idle, 0)
    recorder.scalar("t", "parent", 4.0, 4)
    writers = {path.name for path in (tmp_path / "live" / KEY).iterdir()}
    assert len(writers) == 2
    (other,) = writers - {recorder.writer}
    assert points(folded(recorder)) == {("t", "before"): [1.0], ("t", "parent"): [4.0]}
    theirs = deltas.fold(Journal(KEY, other, tmp_path / "live" / KEY / other), 0)
    assert points(theirs) == {("t", "before"): [2.0], ("t", "child"): [3.0]}


def test_fork_while_another_thread_reports_is_no_deadlock(record: Callable[..., Recorder]) -> None:
    """The child has the lock as the other thread left it, and no such thread to open it."""
    recorder = record()
    stop = threading.Event()

    def busy() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            recorder.set("progress", n)

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for _ in range(5):
            child = _fork_quietly()
            if child == 0:
                signal.alarm(10)  # a deadlock ends the child, and with it the test
                recorder.set("name", "child")
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        thread.join()


def _fork_quietly() -> int:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


@pytest.mark.parametrize("begun", [False, True], ids=["as a whole", "file by file"])
def test_journal_that_was_moved_to_the_trash_is_taken_back(
    record: Callable[..., Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    """Somebody took this process for dead; its next heartbeat finds out, also when it has begun a new segment there."""
    monkeypatch.setattr(layout, "HEARTBEAT", 0.0)
    recorder = record()
    recorder.scalar("t", "s", 1.0, 1)
    folder = tmp_path / layout.live_path(KEY, recorder.writer)
    assert trash.set_aside(tmp_path, layout.live_path(KEY, recorder.writer), 20_000)
    folder.parent.rmdir()
    if begun:
        folder.mkdir(parents=True)
    recorder.scalar("t", "s", 2.0, 2)
    deadline = time.monotonic() + 20
    while not (folder / "alive").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    recorder.scalar("t", "s", 3.0, 3)
    assert points(folded(recorder)) == {("t", "s"): [1.0, 2.0, 3.0]}


# A disk that refuses


def test_refusal_is_one_warning_and_no_error(
    record: Callable[..., Recorder], disk: Callable[[bool], None], said: Callable[[], list[str]]
) -> None:
    """For any number of reports of any kind, and for the close."""
    recorder = record()
    disk(False)
    for i in range(3):
        recorder.scalar("t", f"s{i}", 1.0, 1)
        recorder.set(f"k{i}", i)
        recorder.text("log", "x")
        recorder.plot("t", "s", 1, {})
    with pytest.raises(RecordingFault, match="7 bytes could not be stored"):
        recorder.attach(b"content")
    recorder.close()
    (line,) = said()
    assert f"{recorder.root} cannot be written" in line
    assert "is lost" in line


def test_strict_turns_a_refusal_into_an_error(
    record: Callable[..., Recorder], disk: Callable[[bool], None], said: Callable[[], list[str]]
) -> None:
    """Each time, until the disk takes reports again; none is dropped in silence."""
    recorder = record(strict=True)
    disk(False)
    for _ in range(2):
        with pytest.raises(RecordingFault, match="refused an event of the run"):
            recorder.scalar("t", "s", 1.0, 1)
        with pytest.raises(RecordingFault):
            recorder.set("k", 1)
    disk(True)
    recorder.scalar("t", "s", 2.0, 2)
    assert points(folded(recorder)) == {("t", "s"): [2.0]}
    assert said() == []


def test_when_the_disk_takes_reports_again_keys_are_made_good_and_the_rest_counted(
    record: Callable[..., Recorder], disk: Callable[[bool], None]
) -> None:
    """What was set meanwhile holds, with its own stamp; what else was reported is lost, and the task says how much."""
    recorder = record()
    disk(False)
    recorder.set("status", "in_progress")
    recorder.set("name", "first")
    recorder.set("name", "second")
    stamp = recorder.snapshot()["name"].stamp
    recorder.scalar("t", "s", 1.0, 1)
    recorder.text("log", "lost")
    disk(True)
    recorder.text("log", "kept")
    keys = folded(recorder).keys[None]
    assert (keys["status"].value, keys["name"].value, keys["name"].stamp) == ("in_progress", "second", stamp)
    assert keys["health/dropped"].value == 3  # the first name, the point, the line
    assert [text.message for text in folded(recorder).texts] == ["kept"]


def test_series_that_could_not_be_declared_is_never_taken_for_another(
    record: Callable[..., Recorder], disk: Callable[[bool], None]
) -> None:
    """Its points are lost, not given to the series that is declared next; and it can be declared later."""
    recorder = record()
    disk(False)
    recorder.scalar("t", "lost", 1.0, 1)
    disk(True)
    recorder.scalar("t", "a", 2.0, 2)
    recorder.scalar("t", "b", 3.0, 3)
    recorder.scalar("t", "lost", 4.0, 4)
    assert points(folded(recorder)) == {("t", "a"): [2.0], ("t", "b"): [3.0], ("t", "lost"): [4.0]}


def test_first_report_that_is_taken_again_is_whole(
    record: Callable[..., Recorder], disk: Callable[[bool], None]
) -> None:
    """Content: a reference that was given out is to something that is there, though reports were dropped before."""
    recorder = record()
    disk(False)
    recorder.text("log", "lost")
    disk(True)
    ref = Ref.parse(recorder.attach(b"content"))
    assert folded(recorder).blobs == {ref.id: b"content"}


def test_status_is_written_at_the_end_though_reports_are_still_being_dropped(
    record: Callable[..., Recorder], disk: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end does not wait for the next try."""
    recorder = record()
    recorder.set("status", "in_progress")
    other = record()
    disk(False)
    monkeypatch.setattr(layout, "RETRY", 1e9)
    other.set("status", "in_progress")
    disk(True)
    other.text("log", "still dropped")
    other.retry()
    other.set("status", "completed")
    other.close()
    found = folded(other)
    assert (found.keys[None]["status"].value, found.ended) == ("completed", True)
    assert found.keys[None]["health/dropped"].value == 1


def test_close_itself_tries_once_more(
    record: Callable[..., Recorder], disk: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends soon after the disk had room again."""
    recorder = record()
    disk(False)
    monkeypatch.setattr(layout, "RETRY", 1e9)
    recorder.set("name", "run")
    disk(True)
    recorder.close()
    found = folded(recorder)
    assert (found.keys[None]["name"].value, found.ended) == ("run", True)


def test_broken_plot_costs_that_plot(record: Callable[..., Recorder], said: Callable[[], list[str]]) -> None:
    """One warning for all of them; `strict` makes it an error."""
    recorder = record()
    recorder.plot("t", "good", 1, {"data": []})
    for n in range(3):
        recorder.plot("t", f"broken {n}", 1, {"data": [object()]})
    recorder.plot("t", "good too", 1, {"data": []})
    assert [plot.series for plot in folded(recorder).plots] == ["good", "good too"]
    (line,) = said()
    assert line.startswith("tracker: the plot 't' / 'broken 0' was not recorded: ")
    with pytest.raises(TypeError):
        record(strict=True).plot("t", "broken", 1, {"data": [object()]})


def test_warning_that_cannot_be_shown_is_no_error(
    record: Callable[..., Recorder], disk: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal that is closed, or never was there."""

    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    closed = io.StringIO()
    closed.close()
    disk(False)
    for stream in (Broken(), closed, None):
        monkeypatch.setattr(sys, "__stderr__", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        notice.say("hello")
        record().set("k", 1)


def test_file_system_is_known() -> None:
    """By its type's name; nothing for a place that does not exist."""
    if sys.platform == "linux":
        assert file_system(Path("/proc")) == "proc"
        assert file_system(Path(__file__)) != ""
    assert file_system(Path("/nowhere") / secrets.token_hex(4)) == ""
