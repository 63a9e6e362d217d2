"""Nested options and a command, parsed before the task begins."""

from __future__ import annotations

from clearml import Task
from jsonargparse import ArgumentParser

parser = ArgumentParser()
parser.add_argument("--arg1.opt1", type=str, default="a", help="the first")
parser.add_argument("--arg1.opt2", type=int, default=3)
parser.add_argument("--nothing", type=float | None, default=None)
fit = ArgumentParser()
fit.add_argument("--steps", type=list[int], required=True)
fit.add_argument("--fast", type=bool, default=False)
parser.add_subcommands().add_subcommand("fit", fit)
given = parser.parse_args()
task = Task.init("examples", "jsonargparse nested")
print(given.arg1.opt1, given.arg1.opt2 + 1, given.nothing, given.subcommand, given.fit.steps, given.fit.fast)
