"""Offline sessions of ClearML as tasks: nothing of the sample is lost, and no session is there twice."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from pathlib import Path

import pytest

from tests.tracker.sessions.conftest import OFFLINE_ID, SAMPLE, Made, scalar
from tracker import Model, Task, index
from tracker.errors import BadValue, UnsafeArtifact, UsageError
from tracker.records import Ref, State
from tracker.sessions import import_session
from tracker.sessions.session import SINGLE
from tracker.workspace import Workspace


def found(key: str) -> Task:
    """The task of that id."""
    task = Task.get_task(task_id=key)
    assert task is not None
    return task


def samples(state: State) -> list[dict[str, object]]:
    """The images and media that a state's segments name."""
    return [sample for segment in state.segments for sample in segment.record().get("samples", [])]


@pytest.fixture
def sample(workspace: Workspace) -> Task:
    """The sample that ClearML 2.1.12 has made, taken in."""
    return found(import_session(workspace, SAMPLE).key)


def test_the_record_is_taken_over_whole(sample: Task) -> None:
    """Names, tags, comment, parameters with types and descriptions, properties, configuration, labels, code."""
    assert (sample.name, sample.get_project_name(), sample.task_type) == (
        "offline sample",
        "examples/offline",
        "training",
    )
    assert (sample.get_tags(), sample.comment) == (["offline", "sample"], "comment set by hand")
    assert (sample.get_status(), len(sample.get_parameters())) == ("completed", 23)
    state = sample._fresh().state
    epochs = {"value": "5", "type": "int", "description": "number of epochs"}
    assert state.get("param/Args/epochs") == epochs
    assert state.get("param/properties/backbone")["description"] == "network type"
    yaml = {"value": "a: 1\nb: [2, 3]\n", "type": "yaml", "description": "a file"}
    assert state.get("config/yaml file") == yaml
    assert state.get("labels") == {"background": 0, "cat": 1}
    assert state.get("script")["entry_point"] == "clearml_offline_sample.py"
    assert "Task.set_offline" in state.get("script")["diff"]
    assert "clearml == 2.1.12" in state.get("packages")


def test_times_are_those_of_the_session(sample: Task) -> None:
    """Neither points nor the task itself are of today."""
    state = sample._fresh().state
    assert state.get("started") // 10**6 == 1795434564
    assert state.updated < 1795434570 * 10**6
    points = sample.get_reported_scalars(x_axis="timestamp")["train"]["loss"]["x"]
    assert {point // 1000 for point in points} == {1795434564}


def test_scalars_single_values_and_plots_are_there(workspace: Workspace, sample: Task) -> None:
    """Each series with its points in order, the marker iteration as a single value, each figure."""
    loss = sample.get_reported_scalars()["train"]["loss"]
    assert (loss["x"], loss["y"][0]) == ([0, 1, 2, 3, 4], 1.0)
    assert sample.get_reported_single_values() == {"best": 0.9}
    state = sample._fresh().state
    plots = {plot["title"]: plot for segment in state.segments for plot in segment.plots}
    assert set(plots) == {
        *("confusion", "hist", "line", "mpl manual", "mpl title", "plotly", "scatter", "scatter3"),
        *("surface", "table"),
    }
    table = workspace.read(sample._fresh(), Ref.parse(plots["table"]["content"]["$ref"]))
    assert json.loads(table) == {"rows": [["a", "b"], [1, "x"], [2, "nan"]]}
    picture = plots["mpl manual"]
    ref = Ref.parse(picture["content"]["$ref"])
    assert workspace.read(sample._fresh(), ref).startswith(b"\x89PNG")
    figure = workspace.read(sample._fresh(), Ref.parse(picture["$ref"])).decode()
    assert f"tracker://{ref.id}/" in figure
    assert "clearml-offline-cache" not in figure


def test_images_and_media_are_content_and_urls_stay_urls(workspace: Workspace, sample: Task) -> None:
    """The file of a sample is in the store; what was only registered is only registered."""
    by_name = {(s["title"], s["series"]): s for s in samples(sample._fresh().state)}
    assert {name: s["kind"] for name, s in by_name.items()} == {
        ("image", "noise"): "image",
        ("image", "url"): "image",
        ("media", "clip"): "media",
    }
    clip = by_name["media", "clip"]["content"]
    assert isinstance(clip, dict)
    assert workspace.read(sample._fresh(), Ref.parse(clip["$ref"])) == b"media"
    url = by_name["image", "url"]["content"]
    assert url == {"url": "https://example.com/a.png", "file": "a.png", "content_type": "image/png"}


def test_console_lines_keep_their_order_and_stream(workspace: Workspace, sample: Task) -> None:
    """What went to stderr is told apart from what was printed."""
    text = index.console(sample._fresh().state, lambda ref: workspace.read(sample._fresh(), ref))
    assert text.index("plain print") < text.index("to stderr")
    chunk = sample._fresh().state.segments[0].console[0]
    stored = workspace.read(sample._fresh(), Ref.parse(chunk["$ref"])).decode()
    assert '"stderr","to stderr"' in stored
    assert '"stdout","plain print"' in stored


def test_artifacts_have_the_bytes_that_clearml_hashed(workspace: Workspace, sample: Task) -> None:
    """Every file that the session has is content, and reads as what it was."""
    assert len(sample.artifacts) == 14
    assert sample.artifacts["dict"].get() == {"a": [1, 2], "b": 1}
    assert sample.artifacts["text"].get() == "just a string"
    assert sample.artifacts["array"].get().tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert sample.artifacts["df"].get()["b"].tolist() == [3.5, 4.5]
    assert sample.artifacts["dict"].metadata == {"key": "value", "n": "3"}
    assert sample.artifacts["url"].url == "https://example.com/x.csv"
    folder = sample.artifacts["folder"]
    path = folder.get_local_copy(extract_archive=False)
    digest = hashlib.sha256(Path(str(path)).read_bytes()).hexdigest()
    assert digest == "ddbda11b4124934150aab77a8469382cd6f8a942fa1bebb5add0ebc8c415426b"
    assert folder.sha256 == digest
    for unpacked in (folder.get_local_copy(), folder.get(), folder.get_local_copy(force_download=True)):
        assert Path(str(unpacked)).is_dir()
        files = sorted(each.name for each in Path(str(unpacked)).rglob("*") if each.is_file())
        assert files == ["one.txt", "two.txt"]


def test_an_archive_that_is_hostile_is_not_unpacked(workspace: Workspace, made: Made, tmp_path: Path) -> None:
    """None and a reason, or BadValue; the file itself is to be had."""
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../outside.txt", "x")
    evil = (tmp_path / "evil.zip").read_bytes()
    listed = [{"key": "folder", "type": "archive", "uri": "data/evil.zip"}]
    key = import_session(
        workspace, made({"execution": {"artifacts": listed}}, files={"data/evil.zip": evil})
    ).key
    artifact = found(key).artifacts["folder"]
    assert artifact.get_local_copy() is None
    with pytest.raises(BadValue, match="extract_archive=False"):
        artifact.get_local_copy(raise_on_error=True)
    assert Path(str(artifact.get_local_copy(extract_archive=False))).read_bytes() == evil
    assert not list(tmp_path.rglob("outside.txt"))


def test_weights_that_are_a_package_stay_one(workspace: Workspace, made: Made, tmp_path: Path) -> None:
    """Their files are given, as ClearML does."""
    with zipfile.ZipFile(tmp_path / "net.zip", "w") as archive:
        archive.writestr("a.bin", "aa")
        archive.writestr("b.bin", "bb")
    model = {
        "id": "offline-m",
        "init": {"name": "packed"},
        "weights": {"weights_filename": "models/net.zip", "is_package": True},
    }
    files = {"models/net.zip": (tmp_path / "net.zip").read_bytes()}
    key = import_session(workspace, made({"offline_output_models": [model]}, files=files)).key
    (packed,) = found(key).models["output"]
    names = packed.get_weights_package()
    assert isinstance(names, list)
    assert [path.name for path in names] == ["a.bin", "b.bin"]


def test_a_pickle_of_a_session_is_not_trusted(sample: Task) -> None:
    """Somebody else wrote it."""
    with pytest.raises(UnsafeArtifact):
        sample.artifacts["a/b name"].get()
    assert sample.artifacts["a/b name"].get(allow_pickle=True) == {1, 2}


def test_models_have_their_weights_design_and_metrics(workspace: Workspace, sample: Task) -> None:
    """In the order of their making, linked to the task."""
    first, second = sample.models["output"]
    assert (first.name, first.framework, first.tags, first.labels) == (
        "manual model",
        "PyTorch",
        ["best"],
        {"cat": 1},
    )
    assert Path(str(first.get_weights())).read_bytes() == b"weights"
    assert (second.url, second.task) == ("https://example.com/model.onnx", sample.id)
    state = workspace.thing(first.id).state
    assert (state.get("config"), state.get("weights")["iteration"]) == ({"layers": 2}, 4)
    assert [series[:2] for chunk in state.segments[0].scalars for series in chunk["series"]] == [
        ["model", "score"]
    ]
    assert workspace.thing(second.id).state.get("single/model best")["value"] == 1.0


def test_the_same_session_is_one_task_whatever_it_lies_in(workspace: Workspace, tmp_path: Path) -> None:
    """Its zip, its folder, and a zip that has the folder in it; --again asks for another."""
    first = import_session(workspace, SAMPLE)
    folder = tmp_path / "outer" / "offline-x"
    with zipfile.ZipFile(SAMPLE) as archive:
        archive.extractall(folder)
    wrapped = tmp_path / "wrapped.zip"
    with zipfile.ZipFile(wrapped, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent))
    for other in (SAMPLE, folder, wrapped):
        assert import_session(workspace, other) == type(first)(first.key, first.session, known=True)
    assert len(workspace.tasks()) == 1
    another = import_session(workspace, SAMPLE, again=True)
    assert (another.key != first.key, another.known, len(workspace.tasks())) == (True, False, 2)


def test_two_stores_give_a_session_one_id(workspace: Workspace, tmp_path: Path) -> None:
    """So that they unite to one task."""
    elsewhere = Workspace.open_or_create(tmp_path / "elsewhere" / ".tracker")
    assert import_session(workspace, SAMPLE).key == import_session(elsewhere, SAMPLE).key
    heads = [w.store.heads.of(import_session(w, SAMPLE).key) for w in (workspace, elsewhere)]
    assert heads[0][0].id == heads[1][0].id


def test_a_deleted_import_says_how_it_comes_back(workspace: Workspace) -> None:
    """It is not silently there again."""
    from tracker.state import deletion

    key = import_session(workspace, SAMPLE).key
    workspace.edit(key, deletion)
    with pytest.raises(UsageError, match="tracker restore"):
        import_session(workspace, SAMPLE)


def test_a_session_continues_a_task_with_an_offset(workspace: Workspace, made: Made) -> None:
    """Points are shifted, single values are not; what the task was called stays; the second time nothing is done."""
    first = import_session(workspace, made(metrics=[scalar(0), scalar(1)])).key
    single = scalar(SINGLE, 7.0, metric="Summary", variant="score")
    more = made(
        {"name": "later", "tags": ["more"], "hyperparams": {"Args": {"lr": {"value": "0.1"}}}},
        [scalar(1, 0.2, 1_700_000_300_000), scalar(0, 0.3, 1_700_000_200_000), single],
        name="more.zip",
    )
    done = import_session(workspace, more, first, 100)
    task = found(first)
    assert (done.key, task.name, task.get_tags()) == (first, "made", ["more"])
    assert task.get_reported_scalars()["train"]["loss"] == {
        "name": "loss",
        "x": [0, 1, 100, 101],
        "y": [1.0, 1.0, 0.3, 0.2],
    }
    assert task.get_reported_single_values() == {"score": 7.0}
    assert task.get_parameters() == {"Args/lr": "0.1"}
    assert import_session(workspace, more, first, 100).known
    assert import_session(workspace, more).key == first
    assert len(workspace.tasks()) == 1


def test_a_task_that_runs_or_is_published_is_not_continued(workspace: Workspace, made: Made) -> None:
    """Its own process speaks for it; and what is published does not change."""
    published = import_session(workspace, SAMPLE).key
    workspace.edit(published, {"status": "published"})
    with pytest.raises(UsageError, match="published"):
        import_session(workspace, made(), published)
    running = Task.init(
        "sessions",
        "running",
        auto_connect_frameworks=False,
        auto_connect_streams=False,
        auto_connect_arg_parser=False,
    )
    try:
        with pytest.raises(UsageError, match="still runs"):
            import_session(workspace, made(), running.id)
    finally:
        running.close()


def test_what_the_server_would_refuse_is_taken(workspace: Workspace, made: Made) -> None:
    """Names of two characters, an iteration that is absent, NaN, events out of order, a vector."""
    absent = scalar(0, math.nan)
    del absent["iter"]
    vector = {"type": "training_stats_vector", "metric": "v", "variant": "w", "iter": 3, "values": [1, 2]}
    done = import_session(workspace, made({"name": "ab", "project_name": "p"}, [scalar(5), absent, vector]))
    task = found(done.key)
    assert (task.name, task.get_project_name()) == ("ab", "p")
    points = task.get_reported_scalars()["train"]["loss"]
    assert points["x"] == [0, 5]
    assert math.isnan(points["y"][0])
    plot = workspace.thing(done.key).state.segments[0].plots[0]
    figure = workspace.read(workspace.thing(done.key), Ref.parse(plot["$ref"]))
    assert (plot["iteration"], b'"y":[1,2]' in figure) == (3, True)


def test_no_file_outside_of_the_session_is_read(workspace: Workspace, made: Made, tmp_path: Path) -> None:
    """A record that names one gets its path registered, and that is said."""
    secret = tmp_path / "secret.txt"
    secret.write_text("nobody's business")
    artifacts = [{"key": "stolen", "type": "custom", "uri": str(secret)}]
    models = [{"id": "offline-m", "init": {"name": "mm"}, "weights": {"weights_filename": str(secret)}}]
    record = {"execution": {"artifacts": artifacts}, "offline_output_models": models}
    done = import_session(workspace, made(record))
    task = found(done.key)
    assert (task.artifacts["stolen"].hash, task.models["output"][0].hash) == ("", "")
    assert done.left_out == {"files that are not in the session": 2}


def test_secrets_of_a_session_are_left_out(workspace: Workspace, made: Made) -> None:
    """As they are of a live run: in parameters, console, code and the record that is kept."""
    secret = "ghp_" + "a1B2" * 9
    record = {
        "hyperparams": {"Args": {"x": {"value": secret}}},
        "script": {"diff": f"token = '{secret}'\n" + "#" * 70_000},
    }
    log = [{"type": "log", "level": "info", "msg": f"login {secret}", "timestamp": 1_700_000_000_000}]
    key = import_session(workspace, made(record, log=log)).key
    thing = workspace.thing(key)
    assert secret not in thing.state.encode().decode()
    for text in set(thing.state.references()):
        assert secret.encode() not in workspace.read(thing, Ref.parse(text))


def test_task_import_offline_session_is_the_same(workspace: Workspace, tmp_path: Path) -> None:
    """ClearML's own way to say it, and its error."""
    key = Task.import_offline_session(SAMPLE)
    assert key == import_session(workspace, SAMPLE).key
    with pytest.raises(ValueError, match="there is no"):
        Task.import_offline_session(tmp_path / "gone.zip")


def test_model_ids_are_known_to_the_model_class(workspace: Workspace, sample: Task) -> None:
    """A model is reached by its id, as any other."""
    assert Model(sample.models["output"][0].id, workspace=workspace).name == "manual model"


def test_the_record_of_the_session_is_kept_as_it_came(workspace: Workspace, made: Made) -> None:
    """What has no place here is not lost."""
    key = import_session(workspace, made({"of_a_later_version": 5})).key
    state = workspace.thing(key).state
    (origin,) = state.section("session").values()
    assert origin["id"] == OFFLINE_ID
    raw = workspace.read(workspace.thing(key), Ref.parse(origin["record"]["$ref"]))
    assert b'"of_a_later_version": 5' in raw


def test_an_offset_that_is_no_number_is_refused(workspace: Workspace, made: Made) -> None:
    """Before anything is read."""
    with pytest.raises(BadValue, match="iteration_offset"):
        import_session(workspace, made(), iteration_offset=2**62)
