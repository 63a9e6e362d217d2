"""The environment fails: one warning, the script's own exit code, and what could be kept. `strict` makes it an error.

Read-only places and full disks are real ones, mounted for a test: that takes root on Linux. Elsewhere those tests are
skipped, and what `tests/tracker/test_recorder.py` refuses by other means has to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from objstore.store import Store
from tests.scripts import QUIET, Ended, Scripts
from tracker import adoption

RUN = f"""
from tracker import OutputModel, Task
task = Task.init("faults", "run", {QUIET})
log = task.get_logger()
for n in range(100):
    log.report_scalar("t", "s", float(n), n)
log.report_text("text", print_console=False)
log.report_confusion_matrix("t", "s", [[1]])
task.set_parameter("p", 1)
task.add_tags("tag")
small, large = task.upload_artifact("small", {{"a": 1}}), task.upload_artifact("large", "x" * 3_000_000)
open(WEIGHTS, "wb").write(b"weights")
url = OutputModel(name="model").update_weights(WEIGHTS)
print(task.get_parameters(), task.get_tags(), task.status, small, large, bool(url))
"""
WHOLE = "{'General/p': '1'} ['tag'] in_progress True True True"
READ = """
t, = Task.get_tasks()
answer = [t.name, t.status, t.get_reported_scalars()["t"]["s"]["y"] == [float(n) for n in range(100)],
          t.get_parameters(), t.get_tags(), sorted(t.artifacts), len(t.models["output"]), t.get_progress()]
"""
FOUND = ["run", "completed", True, {"General/p": "1"}, ["tag"], ["large", "small"], 1, 100]


def run(weights: str) -> str:
    """The script, with the place where it writes a file of weights."""
    return RUN.replace("WEIGHTS", repr(weights))


@pytest.fixture
def mount() -> Iterator[Callable[..., None]]:
    """Mounts something for the length of a test; skips the test where that is not allowed."""
    with ExitStack() as mounted:

        def mount(*arguments: str) -> None:
            if sys.platform != "linux" or os.geteuid() != 0:
                pytest.skip("mounting takes root on Linux")
            result = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
            if result.returncode:
                pytest.skip(f"nothing can be mounted here: {result.stderr.strip()}")
            mounted.callback(subprocess.run, ["umount", "--lazy", arguments[-1]], check=True)

        yield mount


@pytest.fixture
def read_only(mount: Callable[..., None]) -> Callable[[Path], None]:
    """Makes a folder one in which nothing can be written, whoever tries."""

    def forbid(folder: Path) -> None:
        mount("--bind", str(folder), str(folder))
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)

    return forbid


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    """In a folder of the test's own, with a state folder beside it."""
    (tmp_path / "work").mkdir()
    (tmp_path / "tmp").mkdir()
    return Scripts(tmp_path / "work", XDG_STATE_HOME=str(tmp_path / "state"), TMPDIR=str(tmp_path / "tmp"))


def write(scripts: Scripts, name: str, source: str) -> None:
    """A script where the folder can still be written."""
    (scripts.folder / name).write_text(source)


def start(scripts: Scripts, name: str, code: int = 0, **environment: str) -> Ended:
    """Run a script that lies in the folder already."""
    result = subprocess.run(
        [sys.executable, name],
        cwd=scripts.folder,
        env={**os.environ, **scripts.environment, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert result.returncode == code, result.stderr
    return Ended(result.returncode, result.stdout, result.stderr)


# No permission


@pytest.mark.parametrize("there", [False, True], ids=["no store yet", "store there"])
def test_run_in_a_place_that_cannot_be_written_is_recorded_in_the_state_folder(
    scripts: Scripts, read_only: Callable[[Path], None], tmp_path: Path, there: bool
) -> None:
    """One warning that says where; and once the place can be written, everything can be brought there."""
    write(scripts, "run.py", run(str(tmp_path / "w.pkl")))
    if there:
        scripts.run(f"from tracker import Task\nTask.init('faults', 'before', {QUIET})")
    before = sorted(path for path in scripts.folder.rglob("*"))
    read_only(scripts.folder)
    result = start(scripts, "run.py")
    (stand_in,) = (tmp_path / "state" / "tracker").glob("*/.tracker")
    assert result.out.strip() == WHOLE
    (warning,) = result.warnings
    assert str(scripts.store) in warning
    assert str(stand_in) in warning
    assert "tracker recover" in warning
    assert sorted(path for path in scripts.folder.rglob("*")) == before
    elsewhere = Scripts(tmp_path, TRACKER_DIR=str(stand_in))
    assert elsewhere.ask(READ) == FOUND
    assert Store.open(stand_in).fsck().clean
    start(scripts, "run.py")
    assert list((tmp_path / "state" / "tracker").glob("*/.tracker")) == [stand_in]
    subprocess.run(["mount", "-o", "remount,rw,bind", str(scripts.folder)], check=True)
    store = Store.create(scripts.store)
    adopted = adoption.adopt(store, stand_in)
    assert (len(adopted.keys), adopted.kept, stand_in.exists()) == (4, "", False)  # two runs, two models
    names = scripts.ask("answer = sorted(t.name for t in Task.get_tasks())")
    assert names == ["before", "run", "run"] if there else names == ["run", "run"]


def test_without_a_state_folder_the_temporary_one_serves(
    scripts: Scripts, read_only: Callable[[Path], None], tmp_path: Path
) -> None:
    """A container that can write nowhere else."""
    write(scripts, "run.py", run(str(tmp_path / "w.pkl")))
    read_only(scripts.folder)
    (tmp_path / "state").mkdir()
    read_only(tmp_path / "state")
    result = start(scripts, "run.py")
    assert result.out.strip() == WHOLE
    assert len(result.warnings) == 1
    (stand_in,) = (tmp_path / "tmp").glob("*/*/.tracker")
    assert stand_in.parents[1].stat().st_mode & 0o077 == 0
    assert Scripts(tmp_path, TRACKER_DIR=str(stand_in)).ask(READ) == FOUND


def test_where_nothing_can_be_written_the_script_runs_all_the_same(scripts: Scripts) -> None:
    """A container whose every file system is read-only: one warning, and every call of the script goes through."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a name space of mounts takes root and unshare on Linux")
    write(scripts, "run.py", run("/dev/null"))
    everything = "mount --make-rprivate / && mount -o remount,bind,ro / || exit 77"
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{everything}; exec "{sys.executable}" run.py'],
        cwd=scripts.folder,
        env={**os.environ, **scripts.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    if result.returncode == 77:
        pytest.skip(f"nothing can be mounted here: {result.stderr.strip()}")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "{'General/p': '1'} ['tag'] in_progress False False False"
    (warning,) = Ended(0, "", result.stderr).warnings
    assert "this run is not recorded" in warning


def test_strict_makes_a_place_that_cannot_be_written_an_error(
    scripts: Scripts, read_only: Callable[[Path], None], tmp_path: Path
) -> None:
    """At once, by environment or by the store's own settings; nothing is made elsewhere."""
    write(scripts, "run.py", run("/dev/null"))
    scripts.run(f"from tracker import Task\nTask.init('faults', 'before', {QUIET})")
    (scripts.store / "config.toml").write_text("strict = true\n")
    read_only(scripts.folder)
    for environment in ({}, {"TRACKER_STRICT": "1"}):
        result = start(scripts, "run.py", 1, **environment)
        assert "RecordingFault" in result.err.splitlines()[-1]
        assert str(scripts.store) in result.err.splitlines()[-1]
    assert not (tmp_path / "state").exists()
    start(scripts, "run.py", TRACKER_STRICT="no")


def test_reading_a_store_that_cannot_be_written(
    scripts: Scripts, read_only: Callable[[Path], None], tmp_path: Path
) -> None:
    """Also a run that died there: it is folded in memory, and content is copied to the temporary folder."""
    write(scripts, "run.py", run(str(tmp_path / "w.pkl")))
    write(
        scripts,
        "die.py",
        run(str(tmp_path / "w.pkl")).replace('"run"', '"dead"') + "\nimport os\nos._exit(0)",
    )
    start(scripts, "run.py")
    start(scripts, "die.py")
    before = sorted((path, path.stat().st_mtime_ns) for path in scripts.store.rglob("*"))
    read_only(scripts.store)
    found = Scripts(tmp_path, TRACKER_DIR=str(scripts.store), TMPDIR=str(tmp_path / "tmp")).ask(
        """
        answer = {t.name: [t.status, len(t.get_reported_scalars()["t"]["s"]["y"]), t.artifacts["small"].get(),
                           len(open(t.artifacts["large"].get_local_copy()).read()),
                           open(t.models["output"][0].get_weights()).read()] for t in Task.get_tasks()}
        """
    )
    whole = [100, {"a": 1}, 3_000_000, "weights"]
    assert found == {"run": ["completed", *whole], "dead": ["stopped", *whole]}
    assert sorted((path, path.stat().st_mtime_ns) for path in scripts.store.rglob("*")) == before


# A full disk

FULL = f"""
import os, sys, time
from pathlib import Path
from tracker import Task, layout
layout.RETRY = 0.2
ballast = Path("ballast")

def fill():
    with ballast.open("ab", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass

task = Task.init("faults", "full", {QUIET})
log = task.get_logger()
for n in range(1000):
    log.report_scalar("t", "s", float(n), n)
fill()
for n in range(1000, 20_000):
    log.report_scalar("t", "s", float(n), n)
    if n % 1000 == 0:
        log.report_text("text", print_console=False)
        task.set_progress(n // 1000)
stored = task.upload_artifact("large", "x" * 1_500_000)
print(stored, flush=True)
"""


@pytest.fixture
def small_disk(scripts: Scripts, mount: Callable[..., None]) -> Scripts:
    """Scripts on a file system of two megabytes."""
    mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", str(scripts.folder))
    return scripts


def test_full_disk_is_one_warning_and_costs_what_came_after(small_disk: Scripts) -> None:
    """Exit code 0, no SIGBUS; what was reported before is readable once somebody has made room."""
    result = small_disk.run(FULL)
    assert result.out == "False\n"
    (warning,) = result.warnings
    assert "No space left on device" in warning
    (small_disk.folder / "ballast").unlink()
    status, reason, y = small_disk.ask(
        """
        t, = Task.get_tasks()
        answer = [t.status, t._state.get("status_reason"), t.get_reported_scalars()["t"]["s"]["y"]]
        """
    )
    assert (status, reason.startswith("aborted: ")) == ("stopped", True)
    assert len(y) >= 1000
    assert y == [float(n) for n in range(len(y))]
    assert Store.open(small_disk.store).fsck().clean


def test_recording_goes_on_when_there_is_room_again(small_disk: Scripts) -> None:
    """After the pause between two tries; the task says how many reports it lost, and how it ended."""
    room_for_a_segment = ["mount", "-o", "remount,size=8m", str(small_disk.folder)]
    subprocess.run(room_for_a_segment, check=True)
    result = small_disk.run(
        FULL
        + """
ballast.unlink()
time.sleep(0.3)
for n in range(20_000, 20_100):
    log.report_scalar("t", "s", float(n), n)
task.upload_artifact("small", {"a": 1})
"""
    )
    assert len(result.warnings) == 1
    status, progress, x, dropped, artifacts, lines = small_disk.ask(
        """
        t, = Task.get_tasks()
        answer = [t.status, t.get_progress(), t.get_reported_scalars()["t"]["s"]["x"],
                  t._state.get("health/dropped"), list(t.artifacts), len(t.console())]
        """
    )
    assert (status, progress, artifacts) == ("completed", 100, ["small"])
    assert x[:1000] == list(range(1000))
    assert x[-100:] == list(range(20_000, 20_100))
    assert len(x) < 20_100
    lost_progress = 19 - 1  # the last of them was made good
    assert 0 <= dropped - (20_100 - len(x)) - (19 - lines) <= lost_progress
    assert Store.open(small_disk.store).fsck().clean


def test_run_that_begins_on_a_full_disk_is_there_when_there_is_room(small_disk: Scripts) -> None:
    """Its name and status are made good; the warning comes once."""
    small_disk.run(f"from tracker import Task\nTask.init('faults', 'before', {QUIET})")
    begin = FULL.replace("task = Task", "fill()\ntask = Task")
    result = small_disk.run(
        begin + "\nballast.unlink()\ntime.sleep(0.3)\nlog.report_scalar('t', 'late', 1.0, 1)\n"
    )
    assert len(result.warnings) == 1
    found = small_disk.ask(
        "answer = [[t.name, t.status, list(t.get_reported_scalars())] for t in Task.get_tasks()]"
    )
    assert found == [["full", "completed", ["t"]], ["before", "completed", []]]


def test_strict_makes_a_full_disk_an_error(small_disk: Scripts) -> None:
    """Where it strikes: in a report, in an upload, at the close."""
    result = small_disk.run(FULL, code=1, TRACKER_STRICT="true")
    assert "RecordingFault" in result.err
    assert "No space left on device" in result.err
    assert "in <module>" in result.err


def test_strict_tells_that_the_run_could_not_be_sealed(small_disk: Scripts) -> None:
    """From close(), which otherwise never raises."""
    small_disk.run(
        f"""
        from pathlib import Path
        from tracker import Task
        from tracker.errors import RecordingFault
        task = Task.init("faults", "full", {QUIET})
        task.get_logger().report_scalar("t", "s", 1.0, 1)
        with open("ballast", "ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        try:
            task.close()
        except RecordingFault as error:
            print("told:", error)
        assert Task.current_task() is None
        """,
        TRACKER_STRICT="true",
    )
    (small_disk.folder / "ballast").unlink()
    assert small_disk.ask("answer = [t.status for t in Task.get_tasks()]") == ["completed"]


# Other faults


def test_no_more_files_may_be_opened(scripts: Scripts) -> None:
    """The script holds all that it may: recording waits until it gives some back."""
    result = scripts.run(
        f"""
        import os, resource, time
        from tracker import Task, layout
        layout.RETRY = 0.1
        task = Task.init("faults", "files", {QUIET})
        log = task.get_logger()
        log.report_scalar("t", "s", 0.0, 0)
        task.upload_artifact("before", "x")  # imports what it needs
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        held = []
        try:
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        for n in range(1, 10_000):
            log.report_scalar("t", "s", float(n), n)
        print(task.upload_artifact("large", "x" * 2_000_000))
        for fd in held:
            os.close(fd)
        time.sleep(0.2)
        log.report_scalar("t", "s", 10_000.0, 10_000)
        """
    )
    assert result.out == "False\n"
    assert result.warnings != []
    assert all("Too many open files" in line for line in result.warnings)
    status, x, dropped = scripts.ask(
        """
        t, = Task.get_tasks()
        answer = [t.status, t.get_reported_scalars()["t"]["s"]["x"], t._state.get("health/dropped")]
        """
    )
    assert (status, x[0], x[-1], len(x) + dropped) == ("completed", 0, 10_000, 10_001)


def test_store_that_is_deleted_during_the_run(scripts: Scripts) -> None:
    """Somebody cleaned up too much: at most a warning, and the script's own exit code."""
    result = scripts.run(
        f"""
        import shutil
        from tracker import Task
        task = Task.init("faults", "deleted", {QUIET})
        log = task.get_logger()
        log.report_scalar("t", "s", 0.0, 0)
        shutil.rmtree(".tracker")
        for n in range(20_000):
            log.report_scalar("t", "s", float(n), n)
        task.upload_artifact("large", "x" * 2_000_000)
        raise SystemExit(task.set_parameter("p", 1))
        """
    )
    assert len(result.warnings) <= 2


@pytest.mark.parametrize("stderr", ["closed", "/dev/full"])
def test_nobody_listens_on_stderr(scripts: Scripts, stderr: str) -> None:
    """What would be said is not, and the run is recorded."""
    if stderr != "closed" and not Path(stderr).exists():
        pytest.skip(f"there is no {stderr} here")
    write(scripts, "run.py", run("w.pkl") + "\ntask.set_progress('x')")
    redirected = "2>&-" if stderr == "closed" else f"2>{stderr}"
    subprocess.run(
        ["sh", "-c", f'exec "{sys.executable}" run.py {redirected}'],
        cwd=scripts.folder,
        env={**os.environ, **scripts.environment},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    assert scripts.ask(READ) == FOUND


def test_broken_object_in_a_plot_costs_that_plot(scripts: Scripts) -> None:
    """One warning, exit code 0; with strict an exception."""
    source = f"""
        from tracker import Task
        task = Task.init("faults", "plots", {QUIET})
        log = task.get_logger()
        for n in range(3):
            log.report_plotly("t", f"good {{n}}", {{"data": []}}, n)
            log.report_plotly("t", f"broken {{n}}", {{"data": [object()]}}, n)
        """
    assert len(scripts.run(source).warnings) == 1
    plots = scripts.ask(
        "t, = Task.get_tasks()\nanswer = [p['series'] for s in t._state.segments for p in s.plots]"
    )
    assert plots == ["good 0", "good 1", "good 2"]
    result = scripts.run(source, code=1, TRACKER_STRICT="1", TRACKER_TASK_NO_REUSE="1")
    assert "not JSON serializable" in result.err.splitlines()[-1]
    assert scripts.ask("answer = [t.status for t in Task.get_tasks()]") == ["failed", "completed"]


def test_settings_that_are_wrong_are_named_at_once(scripts: Scripts) -> None:
    """Not a fault of the environment: somebody wrote them."""
    scripts.run(f"from tracker import Task\nTask.init('faults', 'before', {QUIET})")
    (scripts.store / "config.toml").write_text("strict = 'perhaps'")
    result = scripts.run(f"from tracker import Task\nTask.init('faults', 'wrong', {QUIET})", code=1)
    assert "config.toml" in result.err.splitlines()[-1]
    shutil.rmtree(scripts.store)
