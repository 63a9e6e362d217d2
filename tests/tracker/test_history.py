"""A task's commits, and what each changed."""

from __future__ import annotations

from typing import Any

from objstore.ids import Kind, ObjectId, hash_object
from objstore.records import Commit
from tracker.errors import CorruptRecord
from tracker.history import Step, history, unsealed
from tracker.records import Entry, Segment, State

KEY = "0" * 32


class Line:
    """Commits of one task in memory."""

    def __init__(self) -> None:
        self.commits: dict[ObjectId, Commit] = {}
        self.states: dict[ObjectId, State] = {}

    def add(self, stamp: int, keys: dict[str, object], *parents: ObjectId, **changes: Any) -> ObjectId:
        """A commit with these keys set."""
        state = State("task", {key: Entry(value, stamp, "w") for key, value in keys.items()})
        state_id = hash_object(Kind.TREE, state.encode() + str(stamp).encode())
        generation = 1 + max((self.commits[p].generation for p in parents if p in self.commits), default=0)
        covers = {"w": stamp, "w.r": 1}
        fields: dict[str, Any] = {"covers": covers, "stamp": stamp, "generation": generation, **changes}
        commit = Commit(key=KEY, path=("task", "p", "n"), parents=parents, state=state_id, **fields)
        self.commits[commit.id] = commit
        self.states[state_id] = state
        return commit.id

    def steps(self, *heads: ObjectId) -> list[Step]:
        """The history below these heads."""
        return history(
            [(i, self.commits[i]) for i in heads], self.commits.get, lambda c: self.states[c.state]
        )


def test_commits_come_newest_first_with_what_they_changed() -> None:
    """Keys added, changed, removed; a value that was only set again is no change."""
    line = Line()
    first = line.add(10, {"name": "n", "status": "in_progress", "tag/a": True, "comment": "c"})
    second = line.add(20, {"name": "n", "status": "completed", "tag/b": True, "comment": None}, first)
    newest, oldest = line.steps(second)
    assert (newest.commit, newest.parents, newest.time) == (str(second), (str(first),), 20)
    assert (newest.added, newest.changed, newest.removed) == (("tag/b",), ("status",), ("comment", "tag/a"))
    assert (newest.status, newest.writers) == ("completed", 1)
    assert oldest.added == ("comment", "name", "status", "tag/a")


def test_a_child_comes_before_its_parents_whatever_the_clocks_say() -> None:
    """Of equal stamps the generation decides; a commit that two reach is there once."""
    line = Line()
    root = line.add(10, {"name": "n"})
    left, right = line.add(10, {"name": "l"}, root), line.add(10, {"name": "r"}, root)
    joined = line.add(10, {"name": "j"}, left, right)
    order = [step.commit for step in line.steps(joined)]
    assert order[0] == str(joined)
    assert order[-1] == str(root)
    assert len(order) == 4


def test_histories_that_diverged_are_both_there() -> None:
    """Two live heads."""
    line = Line()
    root = line.add(10, {"name": "n"})
    left, right = line.add(20, {"name": "l"}, root), line.add(30, {"name": "r"}, root)
    assert [step.commit for step in line.steps(left, right)] == [str(right), str(left), str(root)]


def test_parents_that_are_not_here_are_named() -> None:
    """History may be cut off; what is there is shown against nothing."""
    line = Line()
    lost = ObjectId(b"x" * 32)
    (step,) = line.steps(line.add(10, {"name": "n"}, lost))
    assert step.absent == (str(lost),)
    assert step.added == ("name",)


def test_a_state_that_cannot_be_read_costs_its_own_step_only() -> None:
    """The step says why."""
    line = Line()
    first = line.add(10, {"name": "n"})
    second = line.add(20, {"name": "m"}, first)

    def read_state(commit: Commit) -> State:
        if commit.stamp == 20:
            raise CorruptRecord("it is broken")
        return line.states[commit.state]

    newest, oldest = history([(second, line.commits[second])], line.commits.get, read_state)
    assert (newest.error, newest.added) == ("it is broken", ())
    assert oldest.added == ("name",)


def test_what_journals_hold_beyond_the_heads_is_a_step_without_a_commit() -> None:
    """None when that is nothing."""
    before = State("task", {"name": Entry("n", 1, "w")})
    console = {"$ref": "", "lines": 4}
    after = State(
        "task", {**before.keys, "tag/a": Entry(True, 7, "w")}, (Segment("w", 1, 5, console=(console,)),)
    )
    step = unsealed(before, after)
    assert step is not None
    assert (step.commit, step.time, step.added, step.lines) == ("", 7, ("tag/a",), 4)
    assert unsealed(after, after) is None
