"""Copies of a task with parameters of their own, left as drafts."""

from __future__ import annotations

from random import Random

from clearml import Task

task = Task.init("examples", "random search", task_type=Task.TaskTypes.optimizer)
dice = Random(1)
space = {"batch_size": lambda: dice.choice([32, 64]), "lr": lambda: dice.uniform(0.001, 0.1)}
template = Task.get_task(project_name="examples", task_name="base task")
for number in range(3):
    copy = Task.clone(source_task=template, name=f"base task {number}", parent=template.id)
    parameters = copy.get_parameters()
    for name, sample in space.items():
        parameters[f"General/{name}"] = sample()
    copy.set_parameters(parameters)
    print("made", copy.id, copy.status)
