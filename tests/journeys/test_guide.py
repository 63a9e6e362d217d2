"""The guide's Python blocks run, in order, as one script."""

from __future__ import annotations

import re
from pathlib import Path

from tests.scripts import Scripts


def test_the_guides_examples_run_as_they_stand(checkout: Path, tmp_path: Path) -> None:
    """All of them, without a warning, and what they print is what the page says of it."""
    blocks = re.findall(
        r"(?ms)^```python\n(.*?)^```", (checkout / "docs" / "guide.md").read_text(encoding="utf-8")
    )
    assert len(blocks) >= 5
    ended = Scripts(tmp_path).run("\n".join(blocks))
    assert ended.warnings == []
    status, last, settings, digest, weights = ended.out.splitlines()
    assert status.startswith("completed {")
    assert "'General/lr': '0.05'" in status
    assert "'General/layers/hidden': '32'" in status
    assert float(last) == 0.1
    assert settings == "{'momentum': 0.9, 'optimizer': 'sgd'}"
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert Path(weights).read_bytes() == b"weights" * 1000
