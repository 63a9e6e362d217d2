"""Arguments as argparse has parsed them, and as a replayed run gets them back."""

from __future__ import annotations

import argparse
import enum
import os
import subprocess
import sys
import threading
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tracker.capture import argparse_
from tracker.capture.argparse_ import ArgparseCapture, tap

if TYPE_CHECKING:
    from tests.tracker.capture.conftest import Memory, RunScript

Replay = Callable[[dict[str, str]], "Memory"]
PATCHED = ("parse_known_args", "parse_known_intermixed_args", "_get_value")


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test has a tap of its own (that of `import tracker` goes on below), and ends with argparse as it was,
    object for object."""
    monkeypatch.setattr(argparse_, "_tap", argparse_._Tap())
    before = {name: ArgumentParser.__dict__[name] for name in PATCHED}
    yield
    assert {name: ArgumentParser.__dict__[name] for name in PATCHED} == before


@pytest.fixture
def installed(recorder: Memory) -> Iterator[Memory]:
    """A recorder with the capture installed."""
    undo = ArgparseCapture().install(recorder)
    yield recorder
    undo()


def replay(
    replaying: Replay, overrides: dict[str, str], parser: ArgumentParser, *argv: str
) -> argparse.Namespace:
    """What a parser returns in a run that replays stored arguments."""
    undo = ArgparseCapture().install(replaying(overrides))
    try:
        return parser.parse_args(argv)
    finally:
        undo()


class Colour(enum.Enum):
    """Something that only a type function can make of a text."""

    RED = "r"


def test_arguments_are_recorded_as_typed_with_type_and_help(installed: Memory) -> None:
    """Defaults as str() shows them, None as nothing."""
    parser = ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--lr", type=float, default=0.1, help="learning rate (%(default)s)")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--name")
    parser.add_argument("--flag", action="store_true", help=SUPPRESS)
    parser.add_argument("--no-cache", dest="cache", action="store_false")
    parser.add_argument("--untyped", default=3)
    parser.add_argument("--verbose", "-v", action="count", default=0)
    parser.parse_args(["imgs", "--lr", "1e-3", "-vv"])
    assert installed.args() == {
        "data": {"value": "imgs", "type": "str", "description": None},
        "lr": {"value": "1e-3", "type": "float", "description": "learning rate (%(default)s)"},
        "epochs": {"value": "10", "type": "int", "description": None},
        "name": {"value": "", "type": "str", "description": None},
        "flag": {"value": "False", "type": "bool", "description": None},
        "cache": {"value": "True", "type": "bool", "description": None},
        "untyped": {"value": "3", "type": "int", "description": None},
        "verbose": {"value": "2", "type": "int", "description": None},
    }


def test_what_type_functions_made_is_recorded_as_typed(installed: Memory) -> None:
    """A reader wants "r" or "config.json", not an object's address."""
    parser = ArgumentParser()
    parser.add_argument("--colour", type=Colour, default=Colour.RED)
    parser.add_argument("--path", type=Path)
    parser.add_argument("--activation", type=lambda name: {"len": len}[name])
    parser.add_argument("--yes", type=lambda text: text == "y")
    parser.parse_args(["--colour", "r", "--path", "./a//b", "--activation", "len", "--yes", "y"])
    assert installed.values() == {"colour": "r", "path": "./a//b", "activation": "len", "yes": "y"}
    assert [one["type"] for one in installed.args().values()] == ["Colour", "Path", "<lambda>", "<lambda>"]
    parser.parse_args([])
    assert installed.values()["colour"] == "Colour.RED"


def test_the_last_of_several_values_counts(installed: Memory) -> None:
    """As it does for the script."""
    parser = ArgumentParser()
    parser.add_argument("--lr", type=float)
    parser.parse_args(["--lr", "1", "--lr", "2.50"])
    assert installed.values() == {"lr": "2.50"}


def test_lists_are_recorded_so_that_they_can_be_read_back(installed: Memory) -> None:
    """Of plain values as Python writes them, of others as typed; the type is the elements'."""
    parser = ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[1])
    parser.add_argument("--names", nargs="*")
    parser.add_argument("--add", action="append")
    parser.add_argument("--colours", type=Colour, nargs=2)
    parser.add_argument("--default", nargs="*", default=(1, 2))
    parser.parse_args(
        ["--sizes", "64", "0128", "--names", "a", "b,c", "--add", "x", "--add", "y", "--colours", "r", "r"]
    )
    assert installed.values() == {
        "sizes": "[64, 128]",
        "names": "['a', 'b,c']",
        "add": "['x', 'y']",
        "colours": "['r', 'r']",
        "default": "(1, 2)",
    }
    assert [one["type"] for one in installed.args().values()] == ["int", "list", "list", "Colour", "tuple"]


def test_functions_and_suppressed_arguments_are_no_parameters(installed: Memory) -> None:
    """`set_defaults(func=...)` is how sub-commands are dispatched; other defaults set by code do count."""
    parser = ArgumentParser()
    parser.add_argument("--hidden", default=SUPPRESS)
    parser.add_argument("--call", default=len)
    parser.set_defaults(func=lambda args: None, level=3, names=["a"], thing=object())
    parser.parse_args([])
    assert installed.values() == {"level": "3", "names": "['a']"}


def test_a_value_that_cannot_be_shown_costs_itself_only(installed: Memory) -> None:
    """Somebody's class with a broken __str__, or an array that does not like to be compared."""

    class Odd:
        def __str__(self) -> str:
            raise RuntimeError

        def __eq__(self, other: object) -> Any:
            raise RuntimeError

        __hash__ = None  # type: ignore[assignment] # as of arrays

    parser = ArgumentParser()
    parser.add_argument("--odd", default=Odd())
    parser.add_argument("--lr", default=1)
    parser.parse_args([])
    assert installed.values() == {"odd": "<Odd>", "lr": "1"}


def sub_parsers(**options: Any) -> ArgumentParser:
    """A parser with two sub-commands, one of which has sub-commands itself."""
    parser = ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    commands = parser.add_subparsers(**options)
    train = commands.add_parser("train", aliases=["t"])
    train.add_argument("--lr", type=float, default=0.1)
    deeper = train.add_subparsers(**{**options, **({"dest": "model"} if "dest" in options else {})})
    deeper.add_parser("cnn").add_argument("--layers", type=int, default=2)
    deeper.add_parser("mlp").add_argument("--width", type=int)
    test = commands.add_parser("test")
    test.add_argument("--split", default="val")
    test.set_defaults(func=print)
    return parser


def test_sub_commands_are_recorded_with_their_arguments(installed: Memory) -> None:
    """Of those that were chosen, at any depth, each argument once and as typed."""
    sub_parsers(dest="command").parse_args(
        ["--seed", "007", "train", "--lr", "5e-1", "cnn", "--layers", "03"]
    )
    assert installed.values() == {
        "seed": "007",
        "command": "train",
        "lr": "5e-1",
        "model": "cnn",
        "layers": "03",
    }


def test_unnamed_sub_commands_get_a_name(installed: Memory) -> None:
    """By their order, or by the title that they have been given; ClearML's names."""
    sub_parsers().parse_args(["train", "mlp", "--width", "3"])
    assert installed.values() == {
        "seed": "0",
        "/subparser1": "train",
        "lr": "0.1",
        "/subparser2": "mlp",
        "width": "3",
    }
    sub_parsers(title="what to do").parse_args(["test"])
    assert installed.values()["/what to do"] == "test"


def test_an_argument_of_parent_and_sub_command_is_the_one_that_was_typed(installed: Memory) -> None:
    """As argparse gives the sub-command's to the script."""
    parser = ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.5)
    parser.add_subparsers().add_parser("train").add_argument("--lr", type=float)
    assert parser.parse_args(["--lr", "1", "train", "--lr", "2e0"]).lr == 2.0
    assert installed.values()["lr"] == "2e0"


def test_several_parsers_merge(installed: Memory) -> None:
    """A script and the library that it is built on each parse their own part."""
    first = ArgumentParser()
    first.add_argument("--lr")
    first.add_argument("--both", default="first")
    namespace, rest = first.parse_known_args(["--lr", "1", "--width", "2"])
    second = ArgumentParser()
    second.add_argument("--width")
    second.add_argument("--both", default="second")
    second.parse_args(rest, namespace)
    assert installed.values() == {"lr": "1", "both": "first", "width": "2"}


def test_intermixed_arguments_are_recorded(installed: Memory) -> None:
    """Through the other door that argparse has."""
    parser = ArgumentParser()
    parser.add_argument("--lr")
    parser.add_argument("files", nargs="*")
    parser.parse_intermixed_args(["a", "--lr", "1", "b"])
    assert installed.values() == {"lr": "1", "files": "['a', 'b']"}


def test_a_namespace_of_the_users_own_is_read(installed: Memory) -> None:
    """Some give a class, also one with slots."""

    class Slotted:
        __slots__ = ("lr",)
        lr: float

    parser = ArgumentParser()
    parser.add_argument("--lr", type=float)
    found = parser.parse_args(["--lr", "1.0"], Slotted())
    assert found.lr == 1.0
    assert installed.values() == {"lr": "1.0"}


def test_a_subclass_that_parses_in_its_own_way_is_recorded_once(installed: Memory) -> None:
    """ConfigArgParse and others override parse_known_args and call the original."""

    class Own(ArgumentParser):
        def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
            return super().parse_known_args([*args, "--extra", "1"], namespace)

    parser = Own()
    parser.add_argument("--extra")
    parser.parse_args([])
    assert installed.values() == {"extra": "1"}


@pytest.mark.parametrize("argv", [["--help"], ["--nonsense"], ["--lr", "x"]])
def test_an_exit_of_the_parser_passes(
    installed: Memory, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    """Same code, same text, and the next parse works."""
    parser = ArgumentParser(prog="p")
    parser.add_argument("--lr", type=float)
    with pytest.raises(SystemExit) as ours:
        parser.parse_args(argv)
    printed = capsys.readouterr()
    parser.parse_args(["--lr", "1"])
    assert installed.values() == {"lr": "1"}
    code = (
        "import argparse\np = argparse.ArgumentParser(prog='p')\n"
        f"p.add_argument('--lr', type=float)\np.parse_args({argv})\n"
    )
    plain = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ours.value.code, printed.out, printed.err) == (plain.returncode, plain.stdout, plain.stderr)


def test_a_fault_of_the_recorder_does_not_reach_the_parser(
    installed: Memory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The script gets its arguments whatever happens."""
    monkeypatch.setattr(installed, "set", None)
    parser = ArgumentParser()
    parser.add_argument("--lr")
    assert parser.parse_args(["--lr", "1"]).lr == "1"
    assert parser.parse_args(["--lr", "2"]).lr == "2"
    assert caplog.text.count("Recording of argparse is switched off") == 1


def test_a_namespace_that_cannot_be_read_is_the_parsers_result_all_the_same(installed: Memory) -> None:
    """What we fail to read is not our business to refuse."""

    class Odd:
        def __init__(self) -> None:
            self.lr = ""

        def __getattribute__(self, name: str) -> Any:
            if sys._getframe(1).f_globals["__name__"].startswith("tracker."):
                raise RuntimeError(name)
            return super().__getattribute__(name)

    parser = ArgumentParser()
    parser.add_argument("--lr")
    assert parser.parse_args(["--lr", "1"], Odd()).lr == "1"
    assert installed.state == {}


def test_a_broken_recorder_does_not_take_another_one_down(installed: Memory, replaying: Replay) -> None:
    """Of two tasks in one process, one has failed."""
    installed.set = None  # type: ignore[assignment, method-assign] # it cannot be called
    second = replaying({})
    undo = ArgparseCapture().install(second)
    parser = ArgumentParser()
    parser.add_argument("--lr")
    for value in ("1", "2"):
        parser.parse_args(["--lr", value])
    undo()
    assert second.values() == {"lr": "2"}


def test_parsers_in_several_threads_do_not_mix(installed: Memory) -> None:
    """Each has its own parse, however they interleave."""
    meet = threading.Barrier(2)

    def slow(text: str) -> str:
        meet.wait(5)
        return text

    def work(name: str) -> None:
        parser = ArgumentParser()
        parser.add_argument(f"--{name}", type=slow)
        parser.parse_args([f"--{name}", name.upper()])

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert installed.values() == {"a": "A", "b": "B"}


def test_a_parser_inside_a_type_function_does_not_disturb(installed: Memory) -> None:
    """A parse within a parse that is no sub-command."""
    inner = ArgumentParser()
    inner.add_argument("--inner")
    parser = ArgumentParser()
    parser.add_argument("--outer", type=lambda text: inner.parse_args(text.split()).inner)
    parser.add_argument("--lr")
    assert parser.parse_args(["--outer", "--inner 1", "--lr", "2"]).outer == "1"
    assert installed.values() == {"outer": "--inner 1", "lr": "2"}


def test_arguments_parsed_before_the_install_are_known(recorder: Memory) -> None:
    """Task.init often comes after parse_args; the tap is what has listened."""
    untap = tap()
    parser = ArgumentParser()
    parser.add_argument("--lr")
    parser.parse_args(["--lr", "1"])
    undo = ArgparseCapture().install(recorder)
    assert recorder.values() == {"lr": "1"}
    undo()
    untap()


def test_a_second_run_knows_them_too_and_a_closed_one_hears_no_more(
    recorder: Memory, replaying: Replay
) -> None:
    """Two tasks in one process have the same arguments; a closed task does not change."""
    untap = tap()
    parser = ArgumentParser()
    parser.add_argument("--lr")
    first = ArgparseCapture().install(recorder)
    parser.parse_args(["--lr", "1"])
    first()
    first()
    parser.parse_args(["--lr", "2"])
    second = replaying({})
    undo = ArgparseCapture().install(second)
    undo()
    untap()
    assert recorder.values() == {"lr": "1"}
    assert second.values() == {"lr": "2"}


def test_what_was_known_is_forgotten_with_the_last_tap(recorder: Memory) -> None:
    """Undo means undone."""
    untap = tap()
    parser = ArgumentParser()
    parser.add_argument("--lr")
    parser.parse_args([])
    untap()
    undo = ArgparseCapture().install(recorder)
    undo()
    assert recorder.state == {}


def test_a_patch_upon_ours_stays_and_ours_passes_through(recorder: Memory) -> None:
    """Another tool may have wrapped argparse meanwhile; taking ours out must not take its out."""
    original = ArgumentParser.__dict__["parse_known_args"]
    undo = ArgparseCapture().install(recorder)
    ours = ArgumentParser.__dict__["parse_known_args"]
    calls: list[Any] = []

    def theirs(self: ArgumentParser, *args: Any, **named: Any) -> Any:
        calls.append(args)
        return ours(self, *args, **named)

    ArgumentParser.parse_known_args = theirs  # type: ignore[method-assign] # what such a tool does
    try:
        undo()
        assert ArgumentParser.__dict__["parse_known_args"] is theirs
        parser = ArgumentParser()
        parser.add_argument("--lr")
        assert parser.parse_args(["--lr", "1"]).lr == "1"
        assert len(calls) == 1
        assert recorder.state == {}
        assert argparse_._tap.known == {}
    finally:
        ArgumentParser.parse_known_args = original  # type: ignore[method-assign] # as it was


def test_the_patched_methods_look_like_the_originals(installed: Memory) -> None:
    """Documentation tools and signature checks see what they saw."""
    import inspect

    assert ArgumentParser.parse_known_args.__name__ == "parse_known_args"
    assert str(inspect.signature(ArgumentParser.parse_known_args)) == "(self, args=None, namespace=None)"


def test_argparse_is_not_imported_by_the_tap(tmp_path: Path) -> None:
    """The import of the tracker stays cheap, and a later import of argparse is caught."""
    code = (
        "import sys\n"
        "from tracker.capture.argparse_ import tap, _tap\n"
        "tap()\n"
        "assert 'argparse' not in sys.modules, 'imported'\n"
        "assert 'logging' not in sys.modules and 'subprocess' not in sys.modules\n"
        "import argparse\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--lr')\n"
        "parser.parse_args(['--lr', '1'])\n"
        "print(_tap.known)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.stdout == "{'lr': {'value': '1', 'type': 'str', 'description': None}}\n", done.stderr


def test_a_script_is_recorded_from_its_command_line(tmp_path: Path, run_script: RunScript) -> None:
    """The whole way, with what a shell passes."""
    (tmp_path / "train.py").write_text(
        "import argparse\n"
        "from rec import record\n"
        "record('argparse')\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--lr', type=float, help='rate')\n"
        "print(parser.parse_args().lr)\n"
    )
    ran = run_script("train.py", "--lr", ".5", cwd=tmp_path)
    assert ran.out == b"0.5\n"
    assert ran.record is not None
    assert ran.record.state == {"param/Args/lr": {"value": ".5", "type": "float", "description": "rate"}}


def test_stored_values_become_defaults_and_typed_ones_win(replaying: Replay) -> None:
    """Cast by the action, with requirements lifted; what is not stored keeps its default."""
    parser = ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--name", default="old")
    parser.add_argument("--other", default="kept")
    parser.add_argument("--untyped", default=3)
    found = replay(
        replaying,
        {"data": "imgs", "lr": "1e-3", "epochs": "7", "name": "new", "untyped": "4", "absent": "x"},
        parser,
        "--epochs",
        "9",
    )
    assert vars(found) == {
        "data": Path("imgs"),
        "lr": 0.001,
        "epochs": 9,
        "name": "new",
        "other": "kept",
        "untyped": 4,
    }


def test_the_parser_is_afterwards_what_it_was(replaying: Replay) -> None:
    """A replayed run must not leave a parser that no longer requires what it requires."""
    parser = ArgumentParser()
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--a", type=int)
    group.add_argument("--b", type=int)
    parser.add_argument("--lr", required=True)
    parser.add_argument("files", nargs="+")
    actions = {action.dest: dict(vars(action)) for action in parser._actions}
    found = replay(replaying, {"a": "1", "lr": "2", "files": "['x', 'y']"}, parser)
    assert (found.a, found.b, found.lr, found.files) == (1, None, "2", ["x", "y"])
    assert {action.dest: dict(vars(action)) for action in parser._actions} == actions
    assert group.required


@pytest.mark.parametrize(
    ("options", "text", "value"),
    [
        ({"action": "store_true"}, "True", True),
        ({"action": "store_true"}, "0", False),
        ({"action": "store_false"}, "False", False),
        ({"action": argparse.BooleanOptionalAction}, "true", True),
        ({"action": "count"}, "3", 3),
        ({"action": "store_const", "const": 5}, "5", 5),
        ({"type": int, "nargs": "+"}, "[1, 2]", [1, 2]),
        ({"type": int, "nargs": "+"}, "1, 2", [1, 2]),
        ({"nargs": "*"}, "['a', 'b,c']", ["a", "b,c"]),
        ({"nargs": "*"}, "[a, b]", ["a", "b"]),
        ({"action": "append", "type": float}, "[1, 2.5]", [1.0, 2.5]),
        ({"nargs": 2, "type": int}, "[3, 4]", [3, 4]),
        ({"default": True}, "False", False),
        ({"default": 1.5}, "2", 2.0),
        ({"default": (1, 2)}, "[3, 4]", (3, 4)),
        ({"default": None}, "", None),
        ({"type": int, "default": 3}, "", None),
        ({"default": "x"}, "", ""),
        ({"type": Colour}, "r", Colour.RED),
        ({"choices": ["a", "b"]}, "b", "b"),
    ],
)
def test_stored_texts_are_cast_as_the_action_would(
    replaying: Replay, options: dict[str, Any], text: str, value: object
) -> None:
    """Each kind of action, with the texts that a run records and those that a person writes."""
    parser = ArgumentParser()
    parser.add_argument("--x", **options)
    found = replay(replaying, {"x": text}, parser).x
    assert found == value
    assert type(found) is type(value)


def test_a_stored_default_is_the_very_default(replaying: Replay) -> None:
    """An object that no text can make again."""
    default = object()
    parser = ArgumentParser()
    parser.add_argument("--x", default=default)
    assert replay(replaying, {"x": str(default)}, parser).x is default


def test_a_stored_value_that_does_not_fit_is_not_used(
    replaying: Replay, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named in the log, and the run goes on with the default."""
    parser = ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--flag", action="store_true")
    found = replay(replaying, {"lr": "fast", "flag": "perhaps"}, parser)
    assert (found.lr, found.flag) == (0.1, False)
    assert "'fast' of argument lr is not used" in caplog.text
    assert "'perhaps' of argument flag is not used" in caplog.text


def test_the_stored_sub_command_runs_where_none_is_given(replaying: Replay) -> None:
    """An agent starts the script without arguments."""
    stored = {"command": "train", "seed": "5", "lr": "0.7", "model": "cnn", "layers": "9"}
    parser = sub_parsers(dest="command", required=True)
    found = replay(replaying, stored, parser)
    assert vars(found) == {"seed": 5, "command": "train", "lr": 0.7, "model": "cnn", "layers": 9}
    found = replay(replaying, stored, parser, "test")
    assert (found.command, found.split) == ("test", "val")


def test_replayed_values_are_recorded_again(replaying: Replay) -> None:
    """The new task shows what it ran with."""
    recorder = replaying({"lr": "1e-3"})
    undo = ArgparseCapture().install(recorder)
    parser = ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.parse_args([])
    undo()
    assert recorder.values() == {"lr": "1e-3"}
