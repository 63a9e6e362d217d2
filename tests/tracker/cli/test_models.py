"""`tracker models`, `which` and `tag`: by real processes, over a store of their own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from blake3 import blake3

if TYPE_CHECKING:
    from tests.commands import Cli
    from tests.tracker.cli.conftest import Sample

SCRIPT = """
from pathlib import Path
from tracker import OutputModel, Task
task = Task.init("zoo/cats", "trainer", auto_connect_frameworks=False, auto_connect_streams=False)
Path("folder/sub").mkdir(parents=True)
Path("folder/sub/inner.bin").write_bytes(b"inner" * 1000)
for name, text in (("best", b"one"), ("other", b"two"), ("best", b"three")):
    Path(f"{name}.pt").write_bytes(text)
    OutputModel(name=name, tags=["cats"]).update_weights(f"{name}.pt")
task.upload_artifact("data", Path("folder"))
task.upload_artifact("copy", Path("other.pt"))
OutputModel(name="pub", framework="JAX").update_weights(register_uri="s3://bucket/x.bin")
task.close()
print(task.id)
"""


@pytest.fixture
def zoo(cli: Cli) -> tuple[Cli, str]:
    """Commands in a folder with a run that made four models, and the run's id."""
    done = cli.python(SCRIPT)
    assert done.code == 0, done.err
    return cli, done.out.split()[-1]


def listed(cli: Cli, *arguments: str) -> list[dict[str, Any]]:
    """The models that a command lists."""
    found: list[dict[str, Any]] = cli("models", *arguments, "--json").json["models"]
    return found


def test_models_are_listed_newest_first(zoo: tuple[Cli, str]) -> None:
    """With hash, size, task; filtered by word, project, tag, framework, task."""
    cli, task = zoo
    models = listed(cli)
    assert [each["name"] for each in models] == ["pub", "best", "other", "best"]
    assert (models[1]["hash"], models[1]["size"]) == (blake3(b"three").hexdigest(), 5)
    assert (models[1]["task"], models[1]["file"], models[1]["stored"]) == (task, "best.pt", True)
    assert (models[0]["hash"], models[0]["url"], models[0]["stored"]) == (None, "s3://bucket/x.bin", False)
    assert len(listed(cli, "best")) == 2
    assert len(listed(cli, "--project", "zoo")) == len(listed(cli, "--task", task[:8])) == 4
    assert len(listed(cli, "--tag", "cats", "--limit", "2")) == 2
    assert [each["name"] for each in listed(cli, "--tag", "-cats")] == ["pub"]
    assert [each["name"] for each in listed(cli, "--framework", "jax")] == ["pub"]
    assert listed(cli, "--published") == listed(cli, "nothing like it") == []
    assert cli("models", "nothing like it").err == "no model fits\n"
    table = cli("models", "--limit", "2")
    assert table.out.splitlines()[0].split()[:3] == ["id", "name", "project"]
    assert models[1]["hash"] in table.out
    assert table.err == "2 of 4 models\n"


def test_one_model_is_shown_by_id_hash_or_alias(zoo: tuple[Cli, str]) -> None:
    """A prefix will do."""
    cli, _ = zoo
    best = listed(cli)[1]
    assert cli("tag", best["id"], "best@prod").code == 0
    for name in (best["id"], best["id"][:8], best["hash"], best["hash"][:10], "best@prod"):
        (found,) = listed(cli, name)
        assert found["id"] == best["id"]
    assert f"hash       {best['hash']}" in cli("models", "best@prod").out
    assert cli("models", "no@alias").code == 3


def test_file_is_found_by_its_content(zoo: tuple[Cli, str]) -> None:
    """As an artifact, as weights, inside of a folder, and as the folder; whatever it is called."""
    cli, task = zoo
    shutil.copy(cli.folder / "other.pt", cli.folder / "renamed")
    found = cli("which", "renamed", "--json").json
    assert found["hash"] == blake3(b"two").hexdigest()
    assert [(e["kind"], e["name"], e["task"], e["path"]) for e in found["found"]] == [
        ("artifact", "copy", task, ""),
        ("model", "other", task, ""),
    ]
    (inner,) = cli("which", "folder/sub/inner.bin", "--json").json["found"]
    assert (inner["kind"], inner["name"], inner["path"]) == ("artifact", "data", "sub/inner.bin")
    (below,) = cli("which", "folder/sub", "--json").json["found"]
    assert below["path"] == "sub"
    (whole,) = cli("which", "folder", "--json").json["found"]
    assert (whole["name"], whole["path"]) == ("data", "")
    done = cli("which", "renamed")
    assert [line.split()[:2] for line in done.out.splitlines()[1:]] == [
        ["artifact", "copy"],
        ["model", "other"],
    ]


def test_file_that_nothing_holds_is_said_to_be_nowhere(zoo: tuple[Cli, str]) -> None:
    """Exit code 3; one that an earlier state had is in the store still."""
    cli, task = zoo
    (cli.folder / "new").write_text("new")
    done = cli("which", "new")
    assert (done.code, done.out) == (3, "")
    assert "is not in this store" in done.err
    assert "absent is not there" in cli("which", "absent").err
    script = f"from tracker import Task; Task.get_task(task_id={task!r}).delete_artifacts(['data'])"
    assert cli.python(script).code == 0
    done = cli("which", "folder/sub/inner.bin")
    assert done.code == 3
    assert "nothing that is current names it" in done.err


def test_tags_come_and_go(zoo: tuple[Cli, str]) -> None:
    """Of a task and of a model."""
    cli, task = zoo
    assert cli("tag", task, "a", "b").err.endswith("(trainer): a, b\n")
    assert cli("tag", task[:8], "c", "--remove", "a", "--json").json["tags"] == ["b", "c"]
    assert cli("ls", "--tag", "c", "--json").json["total"] == 1
    model = listed(cli)[1]
    assert cli("tag", model["hash"], "good", "--json").json["tags"] == ["cats", "good"]
    assert cli("tag", model["id"]).err.endswith("(best): cats, good\n")
    done = cli("tag", task, "--remove", "nothing")
    assert (done.code, "has no tag 'nothing'" in done.err) == (3, True)
    assert cli("tag", "0" * 32, "x").code == 3


def test_alias_stands_for_one_thing_until_it_is_moved(zoo: tuple[Cli, str], tmp_path: Path) -> None:
    """By id, or for the newest of a name; wherever an id is expected; its history is kept, and another place agrees."""
    cli, task = zoo
    _, new, other, old = listed(cli)
    assert cli("tag", "model", "best@prod", "--json").json["id"] == new["id"]
    assert cli("get", "best@prod", "-o", "got").code == 0
    assert (tmp_path / "got").read_bytes() == b"three"
    assert cli("tag", old["id"], "best@prod", "--json").json["aliases"] == ["best@prod"]
    assert cli("get", "best@prod", "-o", "got").code == 0
    assert (tmp_path / "got").read_bytes() == b"one"
    assert cli.python("from tracker import Model; print(Model('best@prod').id)").out.split()[-1] == old["id"]
    assert cli("tag", task, "run@latest").code == 0
    assert cli("show", "run@latest", "--json").json["task"]["id"] == task
    assert cli("cat", "run@latest", "--json").json["id"] == task
    assert listed(cli, other["id"])[0]["aliases"] == []
    assert cli("tag", new["id"], "--remove", "best@prod").code == 3
    assert cli("tag", old["id"], "--remove", "best@prod").code == 0
    assert cli("get", "best@prod", "-o", "got").code == 3
    for bad in (("model", "best"), ("model", "a@x", "b@y"), ("task", "nobody@x")):
        assert cli("tag", *bad).code in (2, 3)
    assert cli("fsck").code == 0


def test_aliases_travel_with_the_store(zoo: tuple[Cli, str], tmp_path: Path) -> None:
    """Pushed and cloned; given in two places, the later one counts in both."""
    cli, _ = zoo
    _, new, _, old = listed(cli)
    cli("tag", old["id"], "best@prod")
    cli("remote", "add", "hub", "hub")
    assert cli("push").code == 0
    assert cli("clone", "hub", "laptop").code == 0
    laptop = cli.at(tmp_path / "laptop")
    assert listed(laptop, "best@prod")[0]["id"] == old["id"]
    laptop("tag", new["id"], "best@prod")
    assert laptop("push").code == 0
    assert cli("pull").code == 0
    assert listed(cli, "best@prod")[0]["id"] == new["id"]


def test_models_of_the_sample_are_listed(sample: Sample) -> None:
    """Hostile names do nothing to a terminal."""
    done = sample.cli("models")
    assert done.code == 0
    assert "\x1b" not in done.out
