"""`python -m tracker`: the command line, also where no script of that name is on PATH."""

from __future__ import annotations

import sys

from tracker.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
