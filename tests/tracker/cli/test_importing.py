"""`tracker import clearml`: what is typed and said; what is taken in is in tests/tracker/sessions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.commands import Cli

SESSION = Path(__file__).parents[1] / "sessions/clearml-offline-sample.zip"


def test_a_session_is_taken_in_once_and_continued(cli: Cli) -> None:
    """The id is said, and that it is here already; --json has the same; --task names a task by its beginning."""
    assert cli("init").code == 0
    done = cli("import", "clearml", str(SESSION), "--json").json
    assert (done["schema"], done["known"], done["left_out"]) == ("tracker.import.clearml/1", False, {})
    said = cli("import", "clearml", str(SESSION))
    assert (said.code, said.err) == (
        0,
        f"{SESSION} is here already, as task {done['id']}; --again takes it in once more\n",
    )
    more = ("--again", "--task", done["id"][:8], "--iteration-offset", "100")
    assert cli("import", "clearml", str(SESSION), *more, "--json").json["id"] == done["id"]
    (row,) = cli("ls", "--json").json["tasks"]
    assert (row["iteration"], row["metrics"]["train/loss"]["count"]) == (104, 10)


def test_what_is_no_session_is_an_error(cli: Cli) -> None:
    """With what is wrong and what to do, and no traceback."""
    assert cli("init").code == 0
    done = cli("import", "clearml", "gone.zip")
    assert (done.code, done.out) == (2, "")
    assert "there is no gone.zip: name the zip or the folder of an offline session" in done.err
