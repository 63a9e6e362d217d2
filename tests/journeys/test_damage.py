"""A store of real runs, damaged bit by bit and cut at every length: what is wrong is found, and never given out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.scripts import QUIET, Scripts

FLIPS = 1000
SAMPLE = 100  # of the flips, where `make faults` tries all
MEMORY_MAX = 100  # MiB, of the process that reads and checks

RUNS = f"""
import os, random
from tracker import *
for n in range(3):
    task = Task.init("damage", f"run {{n}}", tags=["t"], reuse_last_task_id=False, {QUIET})
    task.connect({{"lr": n, "seed": 2 * n}})
    for step in range(60):
        task.get_logger().report_scalar("loss", "train", 1 / (step + 1 + n), step)
    task.upload_artifact("noise", random.Random(n).randbytes(3000))
    task.upload_artifact("text", f"some text {{n}} " * 400)
    open("w.bin", "wb").write(random.Random(9 + n).randbytes(2000))
    OutputModel(task=task).update_weights("w.bin")
    task.close()
    Task.get_task(task_id=task.id).add_tags(["later"])
task = Task.init("damage", "killed", reuse_last_task_id=False, {QUIET})
for step in range(200):
    task.get_logger().report_scalar("loss", "train", 1.0, step)
    task.set_parameter(f"Args/p{{step}}", "value")
os._exit(9)
"""

# Reads all that there is: objects by id, heads, and the journals' records; what cannot be read is left out.
READ = """
import json, random, sys
from pathlib import Path
from objstore import journal
from objstore.errors import StoreError
from objstore.fsck import check
from objstore.heads import Heads
from objstore.objects import Objects

root = Path(sys.argv[1])
union = sorted(p for part in ("packs", "refs", "refs.packed") for p in (root / part).rglob("*") if p.is_file())
segments = sorted(root.glob("live/*/*/segment.*"))

def state():
    objects = Objects(root, keep=False, trust=False)
    found = {}
    for object_id, kind in ids.items():
        try:
            found[object_id] = objects.read(object_id, kind)
        except StoreError:
            pass
    objects.close()
    heads = Heads(root)
    live = heads.sound(h for several in heads.live().values() for h in several)
    records = {p.parent.name: list(journal.read(p.parent)) for p in segments}
    return found, {(h.key, h.id): h.raw for h in live}, records

ids = {}
objects = Objects(root, keep=False, trust=False)
for _, footer in objects.footers():
    ids.update({entry.id: footer.kind(entry) for entry in footer.objects})
sound = state()
assert check(root).clean and len(ids) > 30 and len(segments) > 0

def judge(where):
    '''What is wrong with how this damage is treated; "" when it is as it should be.'''
    objects, heads, records = state()
    if any(sound[0][i] != data for i, data in objects.items()):
        return f"{where}: wrong bytes were given out"
    if any(sound[1].get(name, raw) != raw for name, raw in heads.items()):
        return f"{where}: a wrong head was given out"
    if any(sound[2][name][: len(found)] != found for name, found in records.items()):
        return f"{where}: a wrong event was given out"
    told = not check(root).clean
    if not told and (objects, heads, records) != sound:
        return f"{where}: something is lost, and nothing is said"
    return ""

def report(wrong):
    status = Path("/proc/self/status")
    peak = next(l for l in status.read_text().splitlines() if l.startswith("VmHWM")) if status.exists() else "0 0"
    print(json.dumps({"wrong": wrong, "peak": int(peak.split()[1]) // 1024}))
"""

FLIP = (
    READ
    + """
source, wrong = random.Random(6), []
sizes = {p: len(p.read_bytes().rstrip(b"\\0")) for p in [*union, *segments]}
for number in range(int(sys.argv[2])):
    path = source.choice(union if number % 4 else segments)
    data = path.read_bytes()
    at, bit = source.randrange(sizes[path]), source.randrange(8)
    path.write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
    wrong.append(judge(f"{path.relative_to(root)} byte {at} bit {bit}"))
    path.write_bytes(data)
assert state() == sound
report([each for each in wrong if each])
"""
)

CUT = (
    READ
    + """
wrong = []
for path in (*(p for kind in ("packs", "refs", "refs.packed") for p in union if kind in p.parts), *segments):
    data = path.read_bytes()
    used = len(data.rstrip(b"\\0"))
    for length in sorted({*range(100), *range(used - 40, used)} & set(range(used)))[::int(sys.argv[2])]:
        path.write_bytes(data[:length])
        found = judge(f"{path.relative_to(root)} cut to {length}")
        # What is cut off a journal cannot be told from what a dying writer never wrote.
        if found and not (path in segments and found.endswith("nothing is said")):
            wrong.append(found)
    path.write_bytes(data)
report(wrong)
"""
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three sealed runs, edits, some heads in a table, and the journal of a run that was killed."""
    scripts = Scripts(tmp_path_factory.mktemp("damage"))
    scripts.run(RUNS, code=9)
    scripts.run(
        """
        from objstore import layout
        from objstore.heads import Heads, Table
        from objstore.ids import hash_bytes
        from pathlib import Path
        root = Path(".tracker")
        heads = [h for several in Heads(root).live().values() for h in several][::2]
        data = Table(tuple(heads)).encode()
        (root / layout.table_path(hash_bytes(data).hex())).write_bytes(data)
        for head in heads:
            (root / head.where).unlink()
        """
    )
    return scripts.store


def judge(recorded: Path, tmp_path: Path, source: str, *arguments: str) -> dict[str, Any]:
    """Damage a copy of the store as a script says; what that found."""
    import shutil

    shutil.copytree(recorded, tmp_path / "store")
    with Scripts(tmp_path).start(source, str(tmp_path / "store"), *arguments) as script:
        found: dict[str, Any] = script.end(limit=800).value
    return found


EVERY = pytest.mark.exhaustive
ALL = [
    pytest.param(False, id="sample"),
    pytest.param(True, id="all", marks=[EVERY, pytest.mark.timeout(900)]),
]


@pytest.mark.parametrize("whole", ALL)
def test_every_flipped_bit_is_found_or_does_no_harm(recorded: Path, tmp_path: Path, whole: bool) -> None:
    """A thousand of them over packs, heads, tables and journals: no wrong byte, event or head is ever given out."""
    found = judge(recorded, tmp_path, FLIP, str(FLIPS if whole else SAMPLE))
    assert found["wrong"] == []
    assert found["peak"] < MEMORY_MAX


@pytest.mark.parametrize("whole", ALL)
def test_every_cut_through_a_header_or_an_end_is_found_or_does_no_harm(
    recorded: Path, tmp_path: Path, whole: bool
) -> None:
    """To each length of the first hundred bytes, and of the last forty."""
    found = judge(recorded, tmp_path, CUT, "1" if whole else "13")
    assert found["wrong"] == []
    assert found["peak"] < MEMORY_MAX
