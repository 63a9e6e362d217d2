"""Parameters out of a command line, a dict that changes afterwards, objects and declared ones; user properties."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from dataclasses import dataclass
from enum import Enum

from clearml import Task
from clearml.task_parameters import TaskParameters, param, percent_param


class Color(Enum):
    RED = 1
    BLUE = 2


class Declared(TaskParameters):
    iterations = param(type=int, desc="how many", range=(0, 100000))
    part = percent_param()


@dataclass
class Plain:
    width: int = 3
    kind: str = "wide"


parser = ArgumentParser()
parser.add_argument("--argparser_int_value", help="a number", type=int, default=1)
parser.add_argument("--argparser_disabled", action="store_true", default=False)
parser.add_argument("--argparser_str_value", help="a text", default="a string")

task = Task.init(project_name="examples", task_name="hyper-parameters")
args = parser.parse_args()
given = {
    "list": [1, 2, 3],
    "dict": {"a": 1, "b": 2},
    "tuple": (1, 2, 3),
    "int": 3,
    "float": 2.2,
    "string": "my string",
    "color": Color.RED,
    "nothing": None,
}
given = task.connect(given)
given["new_param"] = "this is new"
given["float"] = "9.9"
Declared_ = Declared(iterations=200, part=0.25)
task.connect(Declared_, "declared")
task.connect(Plain(), name="plain object")
task.connect_configuration({"value": 13.37, "dict": {"sub_value": "string", "sub_integer": 11}}, "settings")
task.set_user_properties(custom1="great", custom2=True)
task.set_user_properties(
    {"name": "custom3", "description": "of some use", "value": 7}, {"name": "custom4", "value": "last"}
)
assert task.get_parameter("General/float") == "9.9"
print("argv", sys.argv[1:], args.argparser_int_value)
