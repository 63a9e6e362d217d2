"""Captures of frameworks, with the real libraries: what each tells the recorder, and that it leaves nothing behind."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import lightgbm
import matplotlib as mpl
import numpy as np
import pytest
import tensorboardX  # type: ignore[import-untyped] # it has no types
import xgboost
from matplotlib.figure import Figure

from tests.tracker.capture.conftest import Memory
from tracker.capture import CAPTURES, Installed, install_all
from tracker.capture.joblib_ import JoblibCapture
from tracker.capture.replaced import replace
from tracker.capture.tensorboard_ import TensorboardXCapture

mpl.use("agg")

FRAMEWORKS = ("joblib", "lightgbm", "matplotlib", "tensorboardX", "xgboost")


@pytest.fixture
def features() -> Any:
    """Two hundred rows of four numbers, and what is to be predicted of them."""
    rng = np.random.default_rng(1)
    x = rng.random((200, 4))
    return x, x @ np.array([1.0, 2.0, 0.5, 0.0])


def originals() -> list[Any]:
    """What the captures replace."""
    from matplotlib import pyplot

    return [
        *(joblib.dump, joblib.load, Figure.savefig, Figure.show, pyplot.show, pyplot.imshow),
        *(
            xgboost.train,
            vars(xgboost.sklearn)["train"],
            xgboost.Booster.save_model,
            xgboost.Booster.load_model,
        ),
        *(lightgbm.train, lightgbm.Booster.save_model, lightgbm.Booster.__init__),
        tensorboardX.writer.FileWriter.add_event,
    ]


def test_all_that_was_replaced_is_put_back(recorder: Memory) -> None:
    """The very objects; and they were replaced before."""
    before = originals()
    installed = install_all(recorder, FRAMEWORKS)
    during = originals()
    installed()
    assert all(old is not new for old, new in zip(before, during, strict=True))
    assert all(old is new for old, new in zip(before, originals(), strict=True))


def test_who_keeps_a_wrapper_has_the_original_afterwards(recorder: Memory, tmp_path: Path) -> None:
    """As `from joblib import dump` within the run does."""
    installed = install_all(recorder, ["joblib"])
    kept = joblib.dump
    installed()
    kept([1], tmp_path / "a.pkl")
    assert joblib.load(tmp_path / "a.pkl") == [1]
    assert recorder.weights == []


def test_a_name_that_the_script_has_imported_before_is_replaced_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """And put back; another of that name is left alone."""
    owner = SimpleNamespace(work=lambda: "plain")
    script = SimpleNamespace(own=owner.work, other=lambda: "other")
    monkeypatch.setitem(sys.modules, "__main__", script)
    original = owner.work
    undo = replace(owner, "work", lambda work: lambda: f"recorded {work()}")
    assert (owner.work(), script.own(), script.other()) == ("recorded plain", "recorded plain", "other")
    undo()
    undo()
    assert owner.work is original
    assert script.own is original


def test_joblibs_paths_are_models_and_nothing_else_is(recorder: Memory, tmp_path: Path) -> None:
    """By position and by keyword, with the framework of the object; not open files, and not what Memory caches."""
    installed = install_all(recorder, ["joblib"])
    try:
        joblib.dump([1], tmp_path / "a.pkl")
        joblib.dump(value=[2], filename=str(tmp_path / "b.pkl"))
        joblib.dump(lightgbm.LGBMRegressor(), tmp_path / "c.pkl")
        assert joblib.load(filename=tmp_path / "b.pkl") == [2]
        joblib.dump([3], io.BytesIO())
        cached = joblib.Memory(tmp_path / "cache", verbose=0).cache(abs)
        assert [cached(-1), cached(-1)] == [1, 1]
    finally:
        installed()
    assert recorder.weights == [
        ("saved", str(tmp_path / "a.pkl"), "ScikitLearn"),
        ("saved", str(tmp_path / "b.pkl"), "ScikitLearn"),
        ("saved", str(tmp_path / "c.pkl"), "LightGBM"),
        ("loaded", str(tmp_path / "b.pkl"), "ScikitLearn"),
    ]


def test_patterns_choose_files_by_path_or_name(recorder: Memory, tmp_path: Path) -> None:
    """As a shell's."""
    undo = JoblibCapture(["?.joblib", f"{tmp_path}/a/*"]).install(recorder)
    (tmp_path / "a").mkdir()
    try:
        for name in ("x.joblib", "x.pkl", "a/x.pkl"):
            joblib.dump([1], tmp_path / name)
    finally:
        undo()
    assert [Path(path).relative_to(tmp_path).as_posix() for _, path, _ in recorder.weights] == [
        "x.joblib",
        "a/x.pkl",
    ]


def test_a_fault_while_recording_costs_one_warning(
    recorder: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is written, what the library returns comes back, and nothing is tried again."""

    def broken(path: str, framework: str) -> None:
        raise OSError(f"no room for {path}")

    monkeypatch.setattr(recorder, "saved", broken)
    installed = install_all(recorder, ["joblib"])
    try:
        with caplog.at_level(logging.WARNING, "tracker"):
            for _ in range(2):
                assert joblib.dump([1], tmp_path / "a.pkl") == [str(tmp_path / "a.pkl")]
    finally:
        installed()
    assert joblib.load(tmp_path / "a.pkl") == [1]
    assert [each.message.partition(":")[0] for each in caplog.records] == [
        "Recording of joblib is switched off for the rest of this run"
    ]


def test_xgboosts_rounds_are_points(recorder: Memory, features: Any, tmp_path: Path) -> None:
    """The last one too, where another callback ends the training; the script's own callbacks are called."""
    x, y = features
    seen = []

    class Own(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            seen.append(epoch)
            return epoch == 4

    installed = install_all(recorder, ["xgboost"])
    try:
        data = xgboost.DMatrix(x, label=y)
        booster = xgboost.train(
            {"nthread": 1, "eval_metric": ["rmse", "mae"]},
            data,
            num_boost_round=50,
            evals=[(data, "train")],
            callbacks=[Own()],
            verbose_eval=False,
        )
        booster.save_model(tmp_path / "b.ubj")
        xgboost.Booster().load_model(fname=tmp_path / "b.ubj")
    finally:
        installed()
    assert seen == [0, 1, 2, 3, 4]
    assert [(title, series, step) for title, series, _, step in recorder.points] == [
        ("train", metric, step) for step in range(5) for metric in ("rmse", "mae")
    ]
    assert recorder.weights == [(what, str(tmp_path / "b.ubj"), "XGBoost") for what in ("saved", "loaded")]


@pytest.mark.filterwarnings("ignore:The argument 'eval_set'")
def test_lightgbms_rounds_are_points(recorder: Memory, features: Any, tmp_path: Path) -> None:
    """Of the function and of its face for scikit-learn, the round that ends the training among them."""
    x, y = features
    installed = install_all(recorder, ["lightgbm"])
    options = {"num_threads": 1, "verbose": -1}
    try:
        data = lightgbm.Dataset(x, label=y)
        stop = lightgbm.early_stopping(1, min_delta=1e9, verbose=False)
        booster = lightgbm.train(
            {**options, "metric": "l2"}, data, 50, valid_sets=[data.create_valid(x, y)], callbacks=[stop]
        )
        lightgbm.LGBMRegressor(n_estimators=2, n_jobs=1, verbose=-1).fit(
            x, y, eval_set=[(x, y)], eval_names=["own"]
        )
        booster.save_model(tmp_path / "b.txt")
        lightgbm.Booster(model_file=tmp_path / "b.txt")
    finally:
        installed()
    assert [(title, series, step) for title, series, _, step in recorder.points] == [
        ("valid_0", "l2", 0),
        ("valid_0", "l2", 1),
        ("own", "l2", 0),
        ("own", "l2", 1),
    ]
    assert recorder.weights == [(what, str(tmp_path / "b.txt"), "LightGBM") for what in ("saved", "loaded")]


def test_figures_are_told_by_their_titles(recorder: Memory, tmp_path: Path) -> None:
    """Of the figure, else of its axes, else by a number that it keeps; to a path, and not to a buffer."""
    from matplotlib import pyplot

    pyplot.close("all")
    installed = install_all(recorder, ["matplotlib"])
    try:
        plain, other, named, whole = Figure(), Figure(), Figure(), Figure()
        named.subplots(1, 2)[1].set_title("of an axes")
        whole.subplots().set_title("below")
        whole.suptitle("of the figure")
        for figure in (plain, other, named, whole, plain):
            figure.savefig(tmp_path / "f.png")
        plain.savefig(io.BytesIO())
        pyplot.imshow(np.eye(4))
        pyplot.show()
        pyplot.close()
    finally:
        installed()
    assert recorder.figures == [
        ("untitled 00", False),
        ("untitled 01", False),
        ("of an axes", False),
        ("of the figure", False),
        ("untitled 00", False),
        ("untitled 02", True),
    ]


def test_tensorboards_choices_are_the_scripts(recorder: Memory, tmp_path: Path) -> None:
    """Scalars without a slash under one title, or each under its own; hyper-parameters left out."""
    undo = TensorboardXCapture(hparams=False).install(recorder)
    try:
        for choices in (set(), {"group_scalars"}, {"single_series"}):
            recorder.choices = choices
            with tensorboardX.SummaryWriter(str(tmp_path / "a")) as writer:
                writer.add_scalar("loss", 1.0)
                writer.add_scalar("train/loss", 1.0, 3)
        with tensorboardX.SummaryWriter(str(tmp_path / "a")) as writer:
            writer.add_hparams({"lr": 0.1}, {})
            tone = tensorboardX.proto.summary_pb2.Summary()
            tone.value.add(tag="tone").audio.encoded_audio_string = b"RIFF"
            writer.file_writer.add_summary(tone, 5)
    finally:
        undo()
    assert [(title, series, step) for title, series, _, step in recorder.points] == [
        *(("loss", "loss", 0), ("train", "loss", 3)),
        *(("Scalars", "loss", 0), ("train", "loss", 3)),
        *(("loss", "loss", 0), ("train/loss", "loss", 3)),
    ]
    assert recorder.state == {}
    ((data, extension),) = recorder.samples.values()
    assert (data, extension) == (b"RIFF", ".wav")


def test_frameworks_that_nobody_imports_cost_nothing() -> None:
    """Neither they nor their captures are loaded, until they are."""
    script = f"""
import sys
from tests.tracker.capture.conftest import Memory
from tracker.capture import CAPTURES, install_all
installed = install_all(Memory(), {FRAMEWORKS!r})
loaded = [name for name in {FRAMEWORKS!r} if CAPTURES[name][1].partition(":")[0] in sys.modules or name in sys.modules]
import joblib
print(loaded, "tracker.capture.joblib_" in sys.modules)
"""
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[] True\n"


def test_one_capture_is_taken_out_of_several(recorder: Memory, tmp_path: Path) -> None:
    """The others stay."""
    installed: Installed = install_all(recorder, ["joblib", "matplotlib"])
    try:
        installed.remove("matplotlib")
        installed.remove("nothing of that name")
        Figure().savefig(tmp_path / "f.png")
        joblib.dump([1], tmp_path / "a.pkl")
    finally:
        installed()
    assert (recorder.figures, len(recorder.weights)) == ([], 1)
    assert set(FRAMEWORKS) < set(CAPTURES)
