"""Images and media: what is stored of each source, that it comes back as what it was, and how many are kept."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from tests.scripts import QUIET, Scripts
from tracker import Task, UsageError
from tracker.sdk import images

Reopen = Callable[[Task], Task]
SHADE = np.tile(np.linspace(0, 255, 16).astype(np.uint8), (8, 1))  # smooth, so that a JPEG is close to it


def opened(data: bytes) -> Image.Image:
    """An image file, loaded."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


# --- arrays ----------------------------------------------------------------------------------------------------------

ARRAYS: dict[str, tuple[Any, str, str, Any]] = {
    "grey": (SHADE, "JPEG", "L", SHADE),
    "grey with a channel": (SHADE[:, :, None], "JPEG", "L", SHADE),
    "colour": (np.dstack([SHADE] * 3), "JPEG", "RGB", np.dstack([SHADE] * 3)),
    "colour, channels first": (np.stack([SHADE] * 3), "JPEG", "RGB", np.dstack([SHADE] * 3)),
    "floats up to 1": ((SHADE / 255).astype(np.float32), "JPEG", "L", SHADE),
    "floats up to 255": (SHADE.astype(np.float64), "JPEG", "L", SHADE),
    "floats beyond": (SHADE - 20.0, "JPEG", "L", np.clip(SHADE.astype(int) - 20, 0, 255)),
    "integers": (SHADE.astype(np.int64), "JPEG", "L", SHADE),
    "booleans": (SHADE > 100, "JPEG", "L", np.where(SHADE > 100, 255, 0)),
    "negative strides": (SHADE[:, ::-1], "JPEG", "L", SHADE[:, ::-1]),
    "half floats": (SHADE.astype(np.float16) / np.float16(256), "JPEG", "L", np.rint(SHADE / 256 * 255)),
    "grey and alpha": (np.dstack([SHADE] * 2), "PNG", "LA", np.dstack([SHADE] * 2)),
    "colour and alpha": (np.dstack([SHADE] * 4), "PNG", "RGBA", np.dstack([SHADE] * 4)),
    "16 bits": (SHADE.astype(np.uint16) * 257, "PNG", "I;16", SHADE.astype(np.uint16) * 257),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_array_becomes_an_image(name: str, task: Task) -> None:
    """JPEG where one can hold it, else PNG, which is exact; live like stored."""
    array, kind, mode, expected = ARRAYS[name]
    before = array.copy()
    task.get_logger().report_image("t", "s", 2, image=array)
    (sample,) = task.samples()
    image = opened(sample.read())
    assert (image.format, image.mode) == (kind, mode)
    assert sample.file == f"t_s_00000000.{kind.lower()}"
    assert (sample.kind, sample.iteration) == ("image", 2)
    difference = np.abs(np.asarray(image).astype(int) - np.asarray(expected).astype(int)).max()
    assert difference <= (12 if kind == "JPEG" else 0)
    assert np.array_equal(array, before)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "HSV", "I;16", "F", "YCbCr"])
def test_pil_image_of_any_mode(mode: str, task: Task) -> None:
    """What a JPEG cannot hold is PNG."""
    image = Image.fromarray(np.dstack([SHADE] * 3)).convert("I" if mode == "I;16" else mode)
    task.get_logger().report_image("t", "s", image=image.convert(mode))
    found = task.samples()[0].image()
    assert found.size == image.size
    assert found.format == ("JPEG" if mode in ("L", "RGB", "CMYK") else "PNG")


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([2, 4]))))
def test_any_image_with_alpha_comes_back_bit_for_bit(array: Any) -> None:
    """As uint8, and as floats up to 1."""
    for given_ in (array, array / 255.0) if array.max() else (array,):
        data, extension = images.encode(given_)
        assert extension == ".png"
        assert np.array_equal(np.asarray(opened(data)), array)


@given(hnp.arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_any_image_of_16_bits_comes_back_bit_for_bit(array: Any) -> None:
    """Where eight do not hold it."""
    data, extension = images.encode(array)
    if array.max() > 255:
        assert extension == ".png"
        assert np.array_equal(np.asarray(opened(data)), array)


FLOATS = hnp.arrays(
    st.sampled_from([np.float16, np.float32, np.float64]), (3, 3), elements=st.floats(width=16)
)


@given(FLOATS)
def test_any_floats_are_some_image(array: Any) -> None:
    """NaN is black, what is beyond is cut off; no warning is raised."""
    assert np.asarray(opened(images.encode(array)[0])).shape == (3, 3)


def test_nan_and_infinities_in_an_image() -> None:
    """Black and white; they do not decide on the scale."""
    array = np.zeros((8, 8, 4))
    array[..., 3] = 1.0
    array[0, 0, 0], array[0, 1, 0], array[0, 2, 0], array[0, 3, 0] = np.nan, np.inf, -np.inf, 0.5
    assert np.asarray(opened(images.encode(array)[0]))[0, :4, 0].tolist() == [0, 255, 0, 128]


# --- files, streams, places ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10, (1 << 20) + 1, 9 << 20])
def test_file_is_kept_byte_for_byte(size: int, task: Task, tmp_path: Path, reopened: Reopen) -> None:
    """Of any size, be it an image or not; under ClearML's names."""
    path = tmp_path / "some file.bin"
    path.write_bytes(os.urandom(size))
    task.get_logger().report_image("a title", "s/t", 1, local_path=path)
    task.get_logger().report_media("m", "s", 1, local_path=str(path))
    for found in (task, reopened(task)):
        image, media = found.samples()
        assert (image.kind, media.kind) == ("image", "media")
        assert (image.file, media.file) == ("a title_s.slash.t_00000000.bin", "m_s_00000000.bin")
        assert image.read() == media.read() == path.read_bytes()
        assert image.hash == media.hash
        assert Path(str(media.get_local_copy())).read_bytes() == path.read_bytes()
        assert media.url == f"tracker://{media.hash}/m_s_00000000.bin"
    assert path.exists()


def test_file_that_is_to_be_deleted_is_deleted_once_stored(task: Task, tmp_path: Path) -> None:
    """The bytes are in the store by then."""
    for n, report in enumerate((task.get_logger().report_image, task.get_logger().report_media)):
        path = tmp_path / f"{n}.gif"
        path.write_bytes(b"GIF")
        report("t", str(n), 1, local_path=path, delete_after_upload=True)
        assert not path.exists()
        assert task.samples("t", str(n))[0].read() == b"GIF"


def test_missing_file_costs_a_warning(task: Task, said: Callable[[], list[str]]) -> None:
    """A file, or a folder in its place; the run goes on."""
    log = task.get_logger()
    log.report_image("t", "s", 1, local_path="nowhere.png")
    log.report_media("t", "s", 1, local_path=os.curdir)
    assert [line.partition("recorded: ")[2] for line in said()] == [
        "there is no file nowhere.png",
        "there is no file .",
    ]
    assert task.samples() == []


STREAMS = {
    "bytes": (io.BytesIO(b"\xff\x00"), b"\xff\x00"),
    "text": (io.StringIO("grüße"), "grüße".encode()),
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("extension", [".txt", "txt"])
def test_stream_is_read_from_its_beginning(name: str, extension: str, task: Task) -> None:
    """Wherever it stands, as one that was just written does."""
    stream, expected = STREAMS[name]
    stream.seek(1)
    task.get_logger().report_media("t", "s", 1, stream=stream, file_extension=extension)
    (sample,) = task.samples()
    assert (sample.read(), sample.get(), sample.file) == (expected, expected, "t_s_00000000.txt")
    assert sample.content_type == "text/plain"


def test_url_is_only_registered(task: Task, reopened: Reopen) -> None:
    """It is not fetched, and the error of asking for it says where it is."""
    url = "https://example.org/a/b.png?key=1"
    task.get_logger().report_image("t", "s", 1, url=url)
    task.get_logger().report_media("t", "m", 1, url=url)
    for sample in reopened(task).samples():
        assert (sample.url, sample.hash, sample.size, sample.get_local_copy()) == (url, "", 0, None)
        with pytest.raises(ValueError, match="only registered"):
            sample.read()


@pytest.mark.parametrize(
    ("method", "given", "kind", "message"),
    [
        ("report_image", {}, UsageError, "exactly one of local_path, image, matrix, url"),
        ("report_image", {"image": SHADE, "url": "x"}, UsageError, "image and url"),
        ("report_image", {"image": [[1]]}, ValueError, "numpy array or a PIL image, not a list"),
        ("report_image", {"image": "x.png"}, ValueError, "not a str"),
        ("report_image", {"matrix": np.zeros((2, 2, 7))}, ValueError, r"shape \(2, 2, 7\)"),
        ("report_image", {"image": np.zeros((0, 2))}, ValueError, "is no image"),
        ("report_image", {"image": np.zeros((2, 2), complex)}, ValueError, "complex128 is no image"),
        ("report_media", {}, UsageError, "exactly one of local_path, stream, url"),
        ("report_media", {"stream": io.BytesIO()}, ValueError, "file_extension"),
        ("report_media", {"stream": b"x", "file_extension": "x"}, ValueError, "read()"),
    ],
)
def test_wrong_sources_are_refused(
    method: str, given: Any, kind: type[Exception], message: str, task: Task
) -> None:
    """At the call; nothing is stored."""
    with pytest.raises(kind, match=message):
        getattr(task.get_logger(), method)("t", "s", 1, **given)
    assert task.samples() == []


def test_deprecated_names_do_the_same(task: Task) -> None:
    """`matrix` and `report_image_and_upload`."""
    task.get_logger().report_image("t", "s", matrix=SHADE)
    task.get_logger().report_image_and_upload("t", "s", matrix=SHADE)
    first, second = task.samples()
    assert first.hash == second.hash
    assert [first.file, second.file] == ["t_s_00000000.jpeg", "t_s_00000001.jpeg"]


# --- how many --------------------------------------------------------------------------------------------------------


def reported(task: Task, count: int, **options: Any) -> None:
    """Media of one title and series, each with content of its own."""
    for n in range(count):
        task.get_logger().report_media(
            "t", "s", n, stream=io.BytesIO(b"%d of %d" % (n, id(task))), file_extension="x", **options
        )


def test_only_the_last_samples_of_a_name_are_kept(task: Task, reopened: Reopen) -> None:
    """100 by default: names come again, and what they stood for before is not stored."""
    reported(task, 103)
    task.get_logger().report_media("t", "other", 0, stream=io.BytesIO(b"other"), file_extension="x")
    live = task.samples("t", "s")
    found = reopened(task)
    kept = found.samples("t", "s")
    assert [each.iteration for each in kept] == [each.iteration for each in live] == list(range(3, 103))
    assert (kept[0].file, kept[-1].file) == ("t_s_00000003.x", "t_s_00000002.x")
    assert [each.read() for each in kept] == [b"%d of %d" % (n, id(task)) for n in range(3, 103)]
    assert len(found.samples("t", "other")) == 1
    objects = found.workspace.store.objects
    from objstore.ids import Kind, hash_object

    gone, there = (hash_object(Kind.BLOB, b"%d of %d" % (n, id(task))) for n in (2, 3))
    assert (objects.has(gone), objects.has(there)) == (False, True)


def test_sample_that_something_else_needs_is_stored(task: Task, reopened: Reopen) -> None:
    """An artifact with the content of a sample that was replaced."""
    reported(task, 2, max_history=1)
    task.upload_artifact("same", {"a": 1}, serialization_function=lambda _: b"0 of %d" % id(task))
    found = reopened(task)
    assert [each.iteration for each in found.samples()] == [1]
    assert Path(found.artifacts["same"].get()).read_bytes() == b"0 of %d" % id(task)


@pytest.mark.parametrize(("history", "kept"), [(2, [3, 4]), (0, [0, 1, 2, 3, 4]), (-1, [0, 1, 2, 3, 4])])
def test_history_can_be_chosen(history: int, kept: list[int], task: Task, reopened: Reopen) -> None:
    """For all samples, or at the call."""
    log = task.get_logger()
    assert log.get_default_debug_sample_history() == 100
    log.set_default_debug_sample_history(history)
    assert log.get_default_debug_sample_history() == history
    reported(task, 5)
    for n in range(5):
        log.report_image("i", "s", n, image=SHADE, max_image_history=history)
    found = reopened(task)
    assert [each.iteration for each in found.samples("t")] == kept
    assert [each.iteration for each in found.samples("i")] == kept


def test_history_goes_over_what_was_sealed_meanwhile(task: Task, reopened: Reopen) -> None:
    """A long run is sealed as it goes on: what it then replaces is dropped from its record, too."""
    from tracker import seal

    log = task.get_logger()
    for n in range(4):
        log.report_image("t", "s", n, image=SHADE, max_image_history=2)
        assert task.recorder is not None
        seal.seal(task.workspace.store, task.id, own=task.recorder.writer, rolling=True)
    assert [each.iteration for each in task.samples()] == [2, 3]
    assert [each.iteration for each in reopened(task).samples()] == [2, 3]


def test_samples_in_clearmls_shape(task: Task, reopened: Reopen) -> None:
    """The newest first, of the last so many iterations."""
    reported(task, 3)
    task.get_logger().report_media("t", "s", 2, url="https://example.org/x.mp3")
    found = reopened(task)
    events = found.get_debug_samples("t", "s")
    assert [event["iter"] for event in events] == [2, 2, 1, 0]
    assert events[0]["url"] == "https://example.org/x.mp3"
    assert events[-1]["url"] == found.samples()[0].url
    assert {event["type"] for event in events} == {"training_debug_image"}
    assert {(e["metric"], e["variant"], e["task"]) for e in events} == {("t", "s", task.id)}
    assert [event["iter"] for event in found.get_debug_samples("t", "s", 2)] == [2, 2, 1]
    assert found.get_debug_samples("t", "s", 0) == found.get_debug_samples("t", "none") == []
    for wrong in (-1, "all", 1.5):
        with pytest.raises(TypeError, match="n_last_iterations"):
            found.get_debug_samples("t", "s", wrong)  # type: ignore[arg-type]  # the point


# --- what outlives the process ---------------------------------------------------------------------------------------


def test_what_was_reported_survives_a_kill(tmp_path: Path) -> None:
    """Plots of any size, tables, images, media, a model's metrics: whatever had returned."""
    scripts = Scripts(tmp_path)
    scripts.run(
        f"""
        import io, os, signal
        import numpy as np
        from tracker import OutputModel, Task
        task = Task.init("sdk", "killed", {QUIET})
        log = task.get_logger()
        log.report_plotly("large", "plot", {{"data": [{{"y": np.arange(300_000) / 7}}]}})
        log.report_table("a", "table", 1, [["x"], [1]])
        log.report_image("an", "image", 1, image=np.zeros((4, 4), np.uint8))
        log.report_media("large", "media", 1, stream=io.BytesIO(bytes(3 << 20)), file_extension="bin")
        model = OutputModel(task, name="of a killed run")
        model.report_scalar("val", "loss", 0.5, 1)
        model.report_matrix("val", "confusion", [[1]])
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        code=-9,
    )
    read = """
        task, = Task.get_tasks()
        model, = task.models["output"]
        answer = [
            task.status,
            len(task.plots("large", "plot")[0].figure()["data"][0]["y"]),
            task.plots("a", "table")[0].rows(),
            task.samples("an")[0].image().size,
            len(task.samples("large")[0].read()),
            model.get_reported_scalars(),
            model.plots()[0].figure()["data"][0]["z"],
        ]
    """
    scalars = {"val": {"loss": {"name": "loss", "x": [1], "y": [0.5]}}}
    expected = ["stopped", 300_000, [["x"], [1]], [4, 4], 3 << 20, scalars, [[1]]]
    assert scripts.ask(read) == expected
    scripts.run("from tracker.workspace import Workspace; Workspace.open().recover()")
    assert scripts.ask(read) == expected


def test_collection_spares_what_a_running_task_has_reported(tmp_path: Path) -> None:
    """Large files and figures are named by events only, until the run is sealed."""
    scripts = Scripts(tmp_path)
    result = scripts.run(
        f"""
        import io, os, subprocess, sys
        from tracker import Task
        task = Task.init("sdk", "collected", {QUIET})
        task.get_logger().report_media("t", "s", 1, stream=io.BytesIO(os.urandom(3 << 20)), file_extension="bin")
        gc = [sys.executable, "-m", "tracker", "gc", "--now", "--grace", "0s", "--yes"]
        subprocess.run(gc, check=True, stdout=sys.stderr)
        sample, = task.samples()
        print(len(sample.read()))
        """
    )
    assert result.value == 3 << 20
