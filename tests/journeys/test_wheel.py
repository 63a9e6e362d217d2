"""The package as a stranger gets it: the wheel, in an empty environment, far from the checkout, running the demo."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Install = Callable[[str], Path]  # extras ("" or "[demo]") -> the environment's bin folder

# What the demo shows, in this order, and how often.
SHOWN = [
    (r"\$ python train_digits\.py --hidden \d+ --lr [\d.]+", 6),
    (r"\$ tracker ls --sort -test_accuracy", 1),
    (r"\$ tracker show [0-9a-f]{8}", 1),
    (r"\$ tracker diff [0-9a-f]{8} [0-9a-f]{8}", 1),
    (r"\$ tracker get [0-9a-f]{12} -o best\.joblib", 1),
    (r"\$ python score_model\.py best\.joblib digits\.npz", 1),
    (r"\$ tracker remote add backup \.\./backup", 1),
    (r"\$ tracker push backup", 1),
    (r"\$ tracker clone \.\./backup \.\./laptop", 1),
    (r"\$ cd \.\./laptop", 1),
    (r"\$ tracker fsck", 1),
    (r"\$ tracker get [0-9a-f]{12} -o best\.joblib", 1),
    (r"    \$ python my_script\.py", 1),
    (r"    \$ tracker ls", 1),
    (r"    \$ tracker show ID", 1),
]


def run(command: list[str], environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run to the end, with both outputs in one text."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


def succeed(command: list[str], environment: dict[str, str], cwd: Path) -> str:
    """Run to the end and return what it printed; anything but exit code 0 fails the test with it."""
    done = run(command, environment, cwd)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory, outer_environment: dict[str, str]
) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    succeed(command, outer_environment, checkout)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def install(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory, outer_environment: dict[str, str]
) -> Install:
    """Installs the wheel with some extras into an empty environment: with uv where it runs, else with pip."""
    cwd = tmp_path_factory.mktemp("elsewhere")
    environment = outer_environment | {"UV_PYTHON_DOWNLOADS": "never"}
    if "PIP_FIND_LINKS" in environment:
        environment.setdefault("UV_FIND_LINKS", ",".join(environment["PIP_FIND_LINKS"].split()))
    uv = shutil.which("uv", path=environment.get("PATH"))
    with_uv = uv is not None and run([uv, "--version"], environment, cwd).returncode == 0

    def install_into_new(extras: str) -> Path:
        folder = tmp_path_factory.mktemp("environment") / "venv"
        python = folder / "bin" / "python"
        what = f"dottracker{extras} @ {wheel.as_uri()}"
        if with_uv:
            assert uv is not None
            succeed([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], environment, cwd)
            installer = [uv, "pip", "install", "--quiet", "--python", str(python)]
        else:
            succeed([sys.executable, "-m", "venv", str(folder)], environment, cwd)
            installer = [str(python), "-m", "pip", "install", "--quiet"]
        succeed([*installer, "--only-binary", ":all:", what], environment, cwd)
        return folder / "bin"

    return install_into_new


@pytest.fixture
def stranger(tmp_path: Path, outer_environment: dict[str, str]) -> dict[str, str]:
    """Variables of someone who has never seen this checkout: an empty home, the usual PATH, bytecode kept."""
    home = tmp_path / "home"
    home.mkdir()
    return {"HOME": str(home), "PATH": outer_environment["PATH"], "LANG": "C.UTF-8"}


def test_the_wheel_alone_runs_the_demo(
    install: Install, stranger: dict[str, str], checkout: Path, tmp_path: Path
) -> None:
    """Template, scripts and all come from the wheel; each claim of the demo is on its screen, in order."""
    tracker = install("[demo]") / "tracker"
    printed = succeed([str(tracker), "demo", "--dir", "first look"], stranger, tmp_path)

    position = 0
    for pattern, times in SHOWN:
        for _ in range(times):
            found = re.compile(f"(?m)^{pattern}").search(printed, position)
            assert found is not None, f"{pattern} is missing after:\n{printed[:position]}\n--- in:\n{printed}"
            position = found.end()

    recorded = re.search(r"(?m)^The run recorded (\S+): the same\.$", printed)
    assert recorded is not None
    assert float(recorded[1]) > 0.9
    assert "Byte for byte the model that was scored above." in printed
    assert str(checkout) not in printed
    assert {path.name for path in (tmp_path / "first look").iterdir()} == {"digits", "backup", "laptop"}


def test_the_wheel_carries_template_and_examples(
    install: Install, stranger: dict[str, str], checkout: Path, tmp_path: Path
) -> None:
    """The installed folders hold the checkout's files, byte for byte, and both packages are marked as typed."""
    python = install("") / "python"
    program = (
        "import tracker, objstore; from tracker.package_data import template_dir, examples_dir;"
        "print(template_dir(), examples_dir(), *tracker.__path__, *objstore.__path__, sep='\\n')"
    )
    template, examples, *packages = map(
        Path, succeed([str(python), "-c", program], stranger, tmp_path).split()
    )
    for installed, source in ((template, ".tracker-template"), (examples, "docs/examples")):
        assert installed.is_relative_to(python.parent.parent)
        names = {path.relative_to(installed) for path in installed.rglob("*") if path.is_file()}
        assert names == {
            path.relative_to(checkout / source)
            for path in (checkout / source).rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }
        for name in names:
            assert (installed / name).read_bytes() == (checkout / source / name).read_bytes()
    assert all((package / "py.typed").is_file() for package in packages)


def test_without_its_extra_the_demo_says_what_to_install(
    install: Install, stranger: dict[str, str], tmp_path: Path
) -> None:
    """One line, exit code 1, and no folder made."""
    tracker = install("") / "tracker"
    done = run([str(tracker), "demo", "--dir", "first look"], stranger, tmp_path)
    assert done.returncode == 1
    assert done.stdout.count("\n") == 1
    assert "pip install joblib pandas scikit-learn" in done.stdout
    assert not (tmp_path / "first look").exists()
