"""One target under atheris, in a process of its own: `python -m tests.fuzz.one TARGET [libFuzzer option …] CORPUS`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["objstore", "tracker"]):
    from tests.fuzz.limits import watched
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until the time is up or something is found. Does not return: libFuzzer ends the process."""
    name, *options = sys.argv[1:]
    run = TARGETS[name].run
    for seed in (b"", *TARGETS[name].seeds()):
        run(seed)  # imports what it needs before the clock runs

    def one(data: bytes) -> None:
        watched(run, data)

    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
