"""Fuzz the parsers for as long as is asked, guided by coverage: `python -m tests.fuzz [--seconds 60] [TARGET …]`.

Each target runs in a process of its own, on a corpus that begins with valid inputs and is kept from run to run. An
input that makes a parser raise something undeclared, or take too much, is saved; its path is printed.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.targets import TARGETS

LENGTH_MAX = 1 << 16  # bytes of an input; what costs by its size is in tests/objstore/test_hostile.py


def main() -> int:
    """Fuzz; the exit code is 1 where something was found."""
    asked = _arguments()
    if find_spec("atheris") is None:
        print("atheris is not installed: it is the extra `fuzz`, and has wheels for Linux on x86-64 only")
        return 2
    found = [name for name in asked.targets or TARGETS if not _fuzz(name, asked.seconds, asked.folder)]
    print(f"{len(found)} targets failed: {', '.join(found)}" if found else "nothing found")
    return 1 if found else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument(
        "--folder", type=Path, default=Path(".fuzz"), help="where corpora and findings are kept"
    )
    asked = parser.parse_args()
    if unknown := set(asked.targets) - TARGETS.keys():
        parser.error(f"no target is named {', '.join(sorted(unknown))}")
    return asked


def _fuzz(name: str, seconds: int, base: Path) -> bool:
    """Whether a target stood its time."""
    folder = base / name.replace(" ", "-")
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    _plant(corpus, TARGETS[name].seeds())
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LENGTH_MAX}",
        "-timeout=20",  # of the clock; what a busy machine cannot stretch is measured in `limits`
        "-rss_limit_mb=1024",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    command = [sys.executable, "-m", "tests.fuzz.one", name, *options, str(corpus)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    stood = done.returncode == 0
    runs = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
    print(f"{'ok  ' if stood else 'FAIL'} {name}: {runs[0] if runs else '?'} inputs", flush=True)
    if not stood:
        (folder / "log").write_text(done.stdout + done.stderr, encoding="utf-8")
        print(f"     see {folder}/log, and the input beside it", flush=True)
    return stood


def _plant(corpus: Path, seeds: Iterable[bytes]) -> None:
    for seed in seeds:
        if len(seed) <= LENGTH_MAX:
            (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)


if __name__ == "__main__":
    sys.exit(main())
