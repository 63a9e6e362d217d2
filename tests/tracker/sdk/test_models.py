"""Models: weights by their hash, a record of their own, and the link from the task."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from objstore.errors import Conflict, NotFound
from objstore.ids import ObjectId
from objstore.store import Store
from tracker import StorageManager, Task
from tracker.errors import BadValue, TaskNotFound
from tracker.sdk.models import InputModel, Model, OutputModel
from tracker.sdk.models.inputs import loaded
from tracker.sdk.models.weights import discard, mark

Reopen = Callable[[Task], Task]
Start = Callable[..., Task]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A small file of weights."""
    path = tmp_path / "net.pt"
    path.write_bytes(b"weights")
    return path


@pytest.mark.parametrize("size", [0, 7, (1 << 20) + 1, 9_000_000])
def test_weights_come_back(task: Task, reopened: Reopen, tmp_path: Path, size: int) -> None:
    """By the hash of their bytes, from the running task, from a reader, from the stored task; the file stays."""
    path = tmp_path / "net.pt"
    path.write_bytes(os.urandom(size))
    model = OutputModel(name="my net", tags=["a"], label_enumeration={"cat": 0}, comment="hello")
    url = model.update_weights(str(path), iteration=3)
    digest = blake3(path.read_bytes()).hexdigest()
    assert url == model.url == f"tracker://{digest}/net.pt"
    for found in (task, Task.get_tasks()[0], reopened(task)):
        (stored,) = found.models["output"]
        assert (stored.id, stored.name, stored.hash, stored.size) == (model.id, "my net", digest, size)
        assert (stored.framework, stored.task, stored.project) == ("PyTorch", task.id, "sdk")
        assert (stored.tags, stored.labels, stored.comment) == (
            ["a"],
            {"cat": 0},
            "hello\nsnapshot net.pt stored",
        )
        copy = stored.get_weights()
        assert copy is not None
        assert Path(copy).name == "net.pt"
        assert Path(copy).read_bytes() == path.read_bytes()
        assert stored.get_local_copy() == copy
    assert Model(model.id).hash == digest
    assert Store.open(task.workspace.root).fsck().clean


def test_names_and_order_of_a_tasks_models(task: Task, reopened: Reopen, tmp_path: Path) -> None:
    """A list in the order of making that takes names too."""
    for n in ("b", "a", "c"):
        (tmp_path / f"{n}.pkl").write_text(n)
        OutputModel().update_weights(tmp_path / f"{n}.pkl")
    models = reopened(task).models.output
    assert models.keys() == ["b", "a", "c"]
    assert [m.name for m in models] == ["run"] * 3
    assert models["a"].hash == models[1].hash == blake3(b"a").hexdigest()
    assert models[-1].hash == blake3(b"c").hexdigest()
    assert [m.hash for m in models[:2]] == [blake3(b"b").hexdigest(), blake3(b"a").hexdigest()]
    assert (len(models), models.get("nothing"), models[0].framework) == (3, None, "ScikitLearn")
    with pytest.raises(KeyError, match="no model 'd': there are b, a, c"):
        models["d"]
    with pytest.raises(IndexError):
        models[3]
    with pytest.raises(KeyError, match="input and output"):
        task.models["inputs"]


def test_later_weights_replace_earlier_ones(task: Task, reopened: Reopen, weights: Path) -> None:
    """One model, its newest file; the comment says so once."""
    model = OutputModel(name="net")
    model.update_weights(weights)
    weights.write_bytes(b"better")
    model.update_weights(weights, target_filename="best.onnx")
    (stored,) = reopened(task).models.output
    assert (stored.hash, stored.url) == (blake3(b"better").hexdigest(), f"tracker://{stored.hash}/best.onnx")
    assert stored.comment.count("snapshot") == 1


def test_folder_of_weights(task: Task, reopened: Reopen, tmp_path: Path) -> None:
    """Comes back as a folder."""
    (tmp_path / "model" / "shards").mkdir(parents=True)
    (tmp_path / "model" / "shards" / "1.bin").write_bytes(b"1")
    OutputModel(name="big").update_weights(tmp_path / "model")
    (stored,) = reopened(task).models.output
    copy = stored.get_weights()
    assert copy is not None
    assert (Path(copy) / "shards" / "1.bin").read_bytes() == b"1"


def test_registered_weights_have_a_place_only(task: Task, reopened: Reopen) -> None:
    """Where they cannot be fetched, that is said."""
    url = "http://127.0.0.1:9/net.pt"
    assert OutputModel(name="far").update_weights(register_uri=url) == url
    (stored,) = reopened(task).models.output
    assert (stored.url, stored.hash, stored.framework) == (url, "", "PyTorch")
    assert stored.get_weights() is None
    with pytest.raises(BadValue, match="only registered"):
        stored.get_weights(raise_on_error=True)


def test_model_is_recorded_with_its_first_weights(task: Task, weights: Path) -> None:
    """Made and never filled, it is nothing; filled after the run, it is the task's all the same."""
    OutputModel(name="never filled")
    model = OutputModel(name="late")
    assert len(task.models.output) == 0
    task.close()
    model.update_weights(weights)
    (found,) = Task.get_tasks()
    assert [m.name for m in found.models.output] == ["late"]
    assert found.status == "completed"


def test_model_needs_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running one, or one that is given."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadValue, match=r"call Task\.init first"):
        OutputModel()


def test_input_model_is_linked(task: Task, reopened: Reopen, weights: Path) -> None:
    """One task's output is another's input."""
    model = OutputModel(name="net")
    model.update_weights(weights)
    InputModel(model.id).connect(task, "base")
    found = reopened(task).models
    assert (found.input.keys(), found["input"]["base"].id) == (["base"], model.id)
    assert list(found) == ["input", "output"]


def test_weights_that_cannot_be_read_cost_one_warning(
    task: Task, weights: Path, said: Callable[[], list[str]], tmp_path: Path
) -> None:
    """A folder with something in it that is no file: the run goes on."""
    (tmp_path / "model").mkdir()
    os.mkfifo(tmp_path / "model" / "pipe")
    assert OutputModel(name="broken").update_weights(tmp_path / "model") == ""
    (line,) = said()
    assert line.startswith("tracker: the weights model were not stored: ")
    assert len(task.models.output) == 0
    assert OutputModel(name="sound").update_weights(weights) != ""


def test_models_are_listed_in_the_order_of_their_making(task: Task, reopened: Reopen, tmp_path: Path) -> None:
    """Whichever of them was updated last; an entry is called as it was connected, else as its file."""
    first, second = OutputModel(name="first"), OutputModel(name="second")
    for model, file in ((second, "b.pt"), (first, "a.pt"), (second, "c.pt"), (first, "d.pt")):
        (tmp_path / file).write_text(file)
        model.update_weights(tmp_path / file)
    assert task.models.output.keys() == ["d", "c"]
    second.connect(task, "the second")
    found = reopened(task)
    assert found.models.output.keys() == list(found.output_models_id) == ["d", "the second"]
    assert found.output_models_id["the second"] == second.id
    assert found.models["output"][-1].id == second.id


@pytest.mark.parametrize("size", [7, 3_000_000])
def test_update_output_model_stores_the_file_and_deletes_it(
    task: Task, reopened: Reopen, tmp_path: Path, size: int
) -> None:
    """By default; with the name, comment, tags and iteration that were given."""
    for name in ("gone.onnx", "kept.pt"):
        (tmp_path / name).write_bytes(os.urandom(size))
    content = (tmp_path / "gone.onnx").read_bytes()
    url = task.update_output_model(str(tmp_path / "gone.onnx"), "best", "a comment", ["x"], iteration=7)
    task.update_output_model(tmp_path / "kept.pt", model_name="own name", auto_delete_file=False)
    assert [(tmp_path / name).exists() for name in ("gone.onnx", "kept.pt")] == [False, True]
    best, own = reopened(task).models["output"]
    assert (best.name, best.url, best.tags, best.framework) == ("run - best", url, ["x"], "ONNX")
    assert (best.comment, own.name) == ("a comment\nsnapshot gone.onnx stored", "own name")
    assert Path(best.get_local_copy() or "").read_bytes() == content
    closed = Task.get_tasks()[0]
    with pytest.raises(BadValue, match="does not exist"):
        closed.update_output_model(tmp_path / "nothing.pt")


def test_update_weights_deletes_the_file_only_where_there_is_a_destination(
    start: Start, tmp_path: Path, weights: Path
) -> None:
    """Without one it stays, as in ClearML; the copy is in ClearML's layout."""
    task = start()
    OutputModel().update_weights(weights)
    assert weights.exists()
    task.output_uri = tmp_path / "dest"
    keep = OutputModel()
    keep.update_weights(weights, auto_delete_file=False)
    assert weights.exists()
    model = OutputModel(name="net")
    url = model.update_weights(weights, target_filename="best of.pt", async_enable=False)
    assert not weights.exists()
    assert url == model.url == f"{task.output_uri}/sdk/run.{task.id}/models/best of.pt"
    assert (tmp_path / "dest" / "sdk" / f"run.{task.id}" / "models" / "best of.pt").read_bytes() == b"weights"
    weights.write_bytes(b"later")
    own = model.update_weights(weights, upload_uri=str(tmp_path / "own"))
    task.flush(wait_for_uploads=True)
    assert (own, model.url) == (model.url, f"{(tmp_path / 'own').as_uri()}/sdk/run.{task.id}/models/net.pt")
    assert task.models["output"][-1].url == own
    OutputModel.wait_for_uploads()


def test_file_that_changes_while_it_is_stored_is_not_deleted(
    task: Task, weights: Path, said: Callable[[], list[str]]
) -> None:
    """What a training wrote meanwhile would be lost."""
    before = {weights: mark(weights)}
    weights.write_bytes(b"other weights")
    assert discard(task, before) is False
    assert weights.exists()
    assert "were changed while they were stored" in said()[0]
    assert discard(task, {weights: mark(weights)}) is True
    assert not weights.exists()


def test_weights_may_be_registered_only(
    start: Start, reopened: Reopen, monkeypatch: pytest.MonkeyPatch, weights: Path, tmp_path: Path
) -> None:
    """By the settings: nothing of them is stored, the file is its own copy, and is never deleted for the store."""
    monkeypatch.setenv("TRACKER_MODELS_STORE", "register")
    task = start()
    assert task.update_output_model(weights) == weights.as_uri()
    assert weights.exists()
    model = OutputModel(name="copied")
    url = model.update_weights(weights, upload_uri=str(tmp_path / "dest"), async_enable=False)
    assert not weights.exists()
    first, second = reopened(task).models.output
    assert (first.hash, first.size, first.url) == ("", 7, weights.as_uri())
    assert first.get_weights() is None
    assert Path(second.get_weights() or "").read_bytes() == b"weights"
    assert second.url == url
    blob = ObjectId(blake3(b"weights").digest())
    assert not Store.open(task.workspace.root).objects.has(blob)


def test_large_weights_are_registered_with_a_warning(
    start: Start, monkeypatch: pytest.MonkeyPatch, weights: Path, said: Callable[[], list[str]]
) -> None:
    """Those above models.max_size; others are stored."""
    monkeypatch.setenv("TRACKER_MODELS_MAX_SIZE", "6")
    task = start()
    assert task.update_output_model(weights) == weights.as_uri()
    assert weights.exists()
    assert "7 bytes, more than models.max_size" in said()[0]
    weights.write_bytes(b"small")
    assert OutputModel().update_weights(weights).startswith("tracker://")


def test_same_weights_twice_cost_nothing(start: Start, tmp_path: Path) -> None:
    """Of one model, another, or another task's."""
    path = tmp_path / "net.pt"
    path.write_bytes(os.urandom(2_000_000))
    sizes = []
    for n in range(3):
        task = start("sdk", f"run {n}")
        OutputModel().update_weights(path)
        OutputModel().update_weights(path)
        task.close()
        sizes.append(sum(p.stat().st_size for p in (tmp_path / ".tracker" / "packs").rglob("*.pack")))
    assert sizes[2] - sizes[0] < 100_000


def test_several_files_are_a_package(task: Task, reopened: Reopen, tmp_path: Path) -> None:
    """By a list, a wildcard or a folder; the copy at a destination is one zip."""
    folder = tmp_path / "ckpt"
    folder.mkdir()
    for name in ("a.bin", "b.bin"):
        (folder / name).write_text(name)
    task.output_uri = str(tmp_path / "dest")
    for n, given in enumerate(
        (
            {"weights_filenames": [folder / "a.bin", str(folder / "b.bin")]},
            {"weights_path": str(folder / "*.bin")},
        )
    ):
        OutputModel(name=f"package {n}").update_weights_package(**given, auto_delete_file=False)  # type: ignore[arg-type]  # both forms
    model = OutputModel(name="folder")
    assert model.update_weights_package(weights_path=folder, async_enable=False).endswith("/models/ckpt.zip")
    assert not folder.exists()
    for stored in reopened(task).models.output:
        assert "package" in stored.system_tags
        files = stored.get_weights_package()
        assert isinstance(files, list)
        assert [p.name for p in files] == ["a.bin", "b.bin"]
        path = stored.get_weights_package(return_path=True)
        assert isinstance(path, str)
        assert (Path(path) / "a.bin").read_text() == "a.bin"
    (packed,) = (tmp_path / "dest").rglob("ckpt.zip")
    assert zipfile.ZipFile(packed).namelist() == ["a.bin", "b.bin"]
    for bad in (
        {},
        {"weights_filenames": [folder / "c.bin"]},
        {"weights_filenames": [], "weights_path": "x"},
    ):
        with pytest.raises(BadValue):
            model.update_weights_package(**bad)
    zipped = tmp_path / "own.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("inner.bin", "x")
    late = OutputModel(task=Task.get_tasks()[0], name="own zip")
    late.update_weights(zipped, is_package=True, auto_delete_file=False)
    files = Model(late.id).get_weights_package()
    assert isinstance(files, list)
    assert [p.name for p in files] == ["inner.bin"]


def test_model_is_found_by_id_hash_and_prefix(task: Task, weights: Path) -> None:
    """Of several with one content the newest; what nothing has is an error, and so is a task's id."""
    first, second = OutputModel(name="first"), OutputModel(name="second")
    first.update_weights(weights)
    second.update_weights(weights)
    digest = blake3(b"weights").hexdigest()
    assert Model(first.id).name == "first"
    assert Model(first.id[:12]).name == "first"
    assert Model(digest).name == Model(digest[:10]).name == "second"
    for text in ("0" * 32, "0" * 64, task.id, "abc", "no@alias"):
        with pytest.raises((TaskNotFound, NotFound)):
            Model(text)
    with pytest.raises(BadValue):
        Model("")


def test_queries_of_models(task: Task, tmp_path: Path, weights: Path) -> None:
    """Newest first; exact names; tags of which any will do and none with a dash; archived ones on request."""
    made = {}
    for name, tags in (("one", ["a"]), ("two", ["a", "b"]), ("three", [])):
        model = OutputModel(name=name, tags=tags)
        model.update_weights(weights)
        made[name] = model
    made["one"].publish()
    made["three"].archive()
    made["two"].set_metadata("score", 0.5)

    def names(**wanted: Any) -> list[str]:
        return [model.name for model in Model.query_models(**wanted)]

    assert names() == ["two", "one"]
    assert names(include_archived=True) == ["three", "two", "one"]
    assert names(tags=["a"]) == ["two", "one"]
    assert names(tags=["a", "-b"]) == names(only_published=True) == ["one"]
    assert names(model_name="two", project_name="sdk") == names(metadata={"score": 0.5}) == ["two"]
    assert names(model_name="tw") == names(project_name="other") == names(metadata={"score": 1}) == []
    assert names(max_results=1) == ["two"]
    made["three"].unarchive()
    assert InputModel(name="three").id == InputModel(project="sdk").id == made["three"].id
    assert InputModel(tags=["b"]).id == InputModel(name="two", only_published=False).id == made["two"].id
    assert InputModel(project="sdk", only_published=True).id == made["one"].id
    for wanted in ({"name": "four"}, {"model_id": None}):
        with pytest.raises(ValueError, match=r"no model of name|needs a model_id"):
            InputModel(**wanted)


def test_metadata_keeps_its_types(task: Task, reopened: Reopen, weights: Path) -> None:
    """As text or as what it was; all at once, in place of the others or beside them."""
    model = OutputModel(name="net")
    model.update_weights(weights)
    assert model.set_metadata("lr", 0.5)
    assert model.set_metadata("n", "3", v_type="int")
    task.close()
    found = Model(model.id)
    assert (found.get_metadata("lr"), found.get_metadata_casted("lr"), found.get_metadata_casted("n")) == (
        "0.5",
        0.5,
        3,
    )
    assert found.get_metadata("nothing") is found.get_metadata_casted("nothing") is None
    assert found.get_all_metadata()["n"] == {"key": "n", "value": "3", "type": "int"}
    found.set_all_metadata({"x": {"value": "1", "type": "int"}}, replace=False)
    assert found.get_all_metadata_casted() == {"lr": 0.5, "n": 3, "x": 1}
    found.set_all_metadata({"y": True})
    assert Model(model.id).get_all_metadata_casted() == {"y": True}


def test_edits_of_a_stored_model(task: Task, weights: Path) -> None:
    """Name, comment, tags; design and labels of an output model; none of them once it is published."""
    model = OutputModel(name="net", config_dict={"layers": 2}, label_enumeration={"cat": 1})
    model.config_text = "a: 1"
    assert len(task.models.output) == 1  # an edit records it, too
    model.update_labels({"dog": 2})
    model.framework = "JAX"
    model.update_weights(weights)
    found = Model(model.id)
    assert (found.config_dict, found.config_text, found.labels, found.framework) == (
        {"a": 1},
        "a: 1",
        {"dog": 2},
        "JAX",
    )
    found.name, found.comment, found.tags = "better", "so it is", ["x", "y"]
    found.tags = ["y"]
    again = Model(model.id)
    assert (again.name, again.comment, again.tags) == ("better", "so it is", ["y"])
    model.config_dict = {"b": 2}
    assert Model(model.id).config_dict == {"b": 2}
    assert json.loads(Model(model.id).config_text) == {"b": 2}
    model.publish()
    assert Model(model.id).published
    for call in (
        lambda: model.update_weights(weights),
        lambda: model.update_design("x"),
        lambda: model.update_labels({}),
        lambda: model.update_weights_package(weights_path="x"),
    ):
        with pytest.raises(BadValue, match="is published"):
            call()
    for bad in ({"cat": "one"}, [1]):
        with pytest.raises(BadValue, match="labels are"):
            OutputModel().update_labels(bad)  # type: ignore[arg-type]  # what is refused here
    with pytest.raises(BadValue, match="exactly one"):
        OutputModel().update_design()


def test_loaded_weights_link_to_the_task_that_made_them(start: Start, tmp_path: Path) -> None:
    """By their content, wherever it lies now; where only a place is known, by the place."""
    path = tmp_path / "net.pt"
    path.write_bytes(b"weights of the first")
    first = start("sdk", "first")
    model = OutputModel(name="net")
    model.update_weights(path)
    first.close()
    moved = path.rename(tmp_path / "elsewhere.pt")
    second = start("sdk", "second")
    found = loaded(second, str(moved), framework="PyTorch")
    assert found is not None
    assert (found.id, found.original_task) == (model.id, first.id)
    assert second.models["input"]["elsewhere"].task == first.id
    assert second.input_models_id == {"elsewhere": model.id}
    assert InputModel.load_model(moved.as_uri()).id == model.id  # type: ignore[union-attr]  # it is there
    moved.write_bytes(b"other content at the same place")
    assert InputModel.load_model(str(moved)) is None
    second.remove_input_models([model.id])
    assert len(second.models.input) == 0


def test_imported_model_is_registered_once(start: Start, tmp_path: Path) -> None:
    """Where it lies, with its hash; again by the same place or content; without a task at all."""
    path = tmp_path / "pre trained.h5"
    path.write_bytes(b"pretrained")
    start().close()
    model = InputModel.import_model(
        str(path), config_dict={"a": 1}, label_enumeration={"x": 0}, name="base", project="zoo", tags=["t"]
    )
    assert (model.name, model.project, model.tags, model.labels) == ("base", "zoo", ["t"], {"x": 0})
    assert (model.framework, model.task, model.url) == ("Keras", "", path.as_uri())
    assert (model.hash, model.size, model.config_dict) == (blake3(b"pretrained").hexdigest(), 10, {"a": 1})
    assert model.get_weights() == str(path)
    assert InputModel.import_model(path.as_uri(), name="another").id == model.id
    assert Model(model.hash).id == model.id
    path.write_bytes(b"other content at the same place")
    assert InputModel.load_model(str(path)) is None
    far = InputModel.import_model("https://example.com/x/net.onnx?y", create_as_published=True)
    assert (far.name, far.framework, far.published) == ("net", "ONNX", True)
    assert InputModel.import_model("https://example.com/x/net.onnx?y").id == far.id
    assert InputModel.load_model("https://example.com/other") is None
    far.archive()
    assert InputModel.load_model("https://example.com/x/net.onnx?y") is None
    assert InputModel.load_model("https://example.com/x/net.onnx?y", load_archived=True) is not None
    empty = InputModel.empty(config_text="x", label_enumeration={"a": 1})
    assert (empty.config_text, empty.labels, empty.get_weights()) == ("x", {"a": 1}, None)
    assert Store.open(tmp_path / ".tracker").fsck().clean


def test_input_model_is_set_by_id_or_name(task: Task, weights: Path) -> None:
    """Under a name of its own if one is given."""
    model = OutputModel(name="net", label_enumeration={"a": 1})
    model.update_weights(weights)
    task.set_input_model(model_id=model.id, name="by id")
    assert task.models.input.keys() == ["by id"]
    task.set_input_model(model_name="net")
    assert task.models.input.keys() == ["net"]
    task.remove_input_models([Model(model.id)])
    assert task.models.input.keys() == []


def test_removed_model_is_gone(
    start: Start, weights: Path, tmp_path: Path, said: Callable[[], list[str]]
) -> None:
    """From its task, and its copy from the destination; not while a task has it as input, nor once published."""
    task = start(output_uri=str(tmp_path / "dest"))
    model = OutputModel(name="net")
    url = model.update_weights(weights, async_enable=False)
    task.set_input_model(model.id)
    assert Model.remove(model.id) is False
    assert "as input" in said()[0]
    task.remove_input_models([model.id])
    model.publish()
    with pytest.raises(Conflict, match="published"):
        Model.remove(Model(model.id), raise_on_errors=True)
    assert StorageManager.exists_file(url)
    assert Model.remove(model.id, force=True) is True
    assert not StorageManager.exists_file(url)
    assert len(task.models.output) == 0
    assert Model.query_models() == []
    with pytest.raises(TaskNotFound):
        Model(model.id)
    assert Model.remove(model.id) is False


def test_upload_destination_of_models(start: Start, tmp_path: Path, weights: Path) -> None:
    """A model's own, else the class's, else the task's."""
    task = start(output_uri=str(tmp_path / "task"))
    model = OutputModel()
    assert model.upload_storage_uri == (tmp_path / "task").as_uri()
    OutputModel.set_default_upload_uri(str(tmp_path / "class"))
    try:
        assert model.upload_storage_uri == (tmp_path / "class").as_uri()
        model.set_upload_destination(str(tmp_path / "own"))
        assert model.upload_storage_uri == (tmp_path / "own").as_uri()
        model.update_weights(weights, async_enable=False)
    finally:
        OutputModel.set_default_upload_uri(None)
    assert list((tmp_path / "own").rglob("net.pt"))
    assert task.output_uri == (tmp_path / "task").as_uri()
    task.close()
    other = start("sdk", "other")
    with pytest.raises(BadValue, match="cannot be one of"):
        model.connect(other)
