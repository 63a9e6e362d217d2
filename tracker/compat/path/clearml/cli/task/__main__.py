"""`python -m clearml.cli.task`."""

from __future__ import annotations

import sys

from tracker.compat.clearml_task import main

sys.exit(main())
