"""The peers, and an environment for each: `make bench-peers` makes them, and keeps why one could not be made."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".venv-peers"
SECONDS_MAX = 900  # for one installation
REASON_MAX = 300  # characters


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that does the same work. name: of its package, and of its file here."""

    name: str
    version: str

    @property
    def python(self) -> Path:
        """The Python of its environment."""
        return FOLDER / self.name / "bin" / "python"

    @property
    def _note(self) -> Path:
        return FOLDER / f"{self.name}.txt"

    def missing(self) -> str:
        """Why it cannot be measured; "" where it can."""
        said = self._note.read_text(encoding="utf-8") if self._note.exists() else "not installed"
        return "" if said == self._installed else f"{said} (`make bench-peers` installs {self.version})"

    @property
    def _installed(self) -> str:
        return f"installed {self.version}"

    def make(self) -> None:
        """Make the environment anew if it is not whole, with this process's Python; or write down why it failed."""
        FOLDER.mkdir(exist_ok=True)
        # Written first: an installation that is cut off leaves no environment that looks whole.
        self._note.write_text("its installation did not end", encoding="utf-8")
        command = ["sh", ".ci/environment", str(FOLDER / self.name), "", f"{self.name}=={self.version}"]
        environment = {**os.environ, "PYTHON": sys.executable}
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        said = " ".join(line for line in done.stderr.split("\n") if not line.startswith("installing "))
        failed = f"cannot be installed: {' '.join(said.split())[:REASON_MAX]}"
        self._note.write_text(failed if done.returncode else self._installed, encoding="utf-8")


# Exact: a figure is one version's.
PEERS = (
    Peer("clearml", "2.1.12"),
    Peer("mlflow", "3.17.2"),
    Peer("wandb", "0.31.0"),
    Peer("aim", "3.29.1"),
    Peer("trackio", "0.43.0"),
)


def main() -> None:
    """Make all environments; one that fails stops no other."""
    for peer in PEERS:
        try:
            peer.make()
        except (OSError, subprocess.SubprocessError) as error:
            print(f"{peer.name}: {error}", file=sys.stderr)
        print(f"{peer.name} {peer.version}: {peer.missing() or 'there'}", flush=True)


if __name__ == "__main__":
    main()
