"""Which task a process belongs to, by what a launcher or a parent says in its environment."""

from __future__ import annotations

import os

import pytest

from tracker.errors import BadValue
from tracker.sdk.identity import OWNER, TASK_ID, Identity, inherited, of_process, rank

KEY = "ab" * 16
TORCH = {"TORCHELASTIC_RUN_ID": "7", "MASTER_ADDR": "n1", "MASTER_PORT": "29500", "WORLD_SIZE": "8"}
SLURM = {"SLURM_JOB_ID": "42", "SLURM_STEP_ID": "0"}


def test_process_of_its_own_has_an_id_of_its_own() -> None:
    """New each time, and it decides the status."""
    first, second = (of_process("p", "n", 0, {}) for _ in range(2))
    assert first.key != second.key
    assert (first.owner, first.shared) == (True, False)


@pytest.mark.parametrize(
    ("launch", "number"), [(TORCH, "RANK"), (SLURM, "SLURM_PROCID")], ids=["torchrun", "srun"]
)
def test_ranks_of_one_launch_share_a_task(launch: dict[str, str], number: str) -> None:
    """Rank 0 owns it; another launch, project, name or number of the main task is another task."""
    found = [of_process("p", "n", 0, {**launch, number: str(n), "LOCAL_RANK": str(n % 2)}) for n in range(4)]
    assert len({who.key for who in found}) == 1
    assert [who.owner for who in found] == [True, False, False, False]
    assert all(who.shared for who in found)
    others = [of_process(*given, launch) for given in (("q", "n", 0), ("p", "m", 0), ("p", "n", 1))]
    others += [of_process("p", "n", 0, {**launch, name: "other"}) for name in launch if name != "WORLD_SIZE"]
    assert len({found[0].key, *(who.key for who in others)}) == 1 + len(others)


def test_elements_of_an_array_job_are_runs_of_their_own() -> None:
    """Slurm gives each its own job id, but a step of one may look like a step of another."""
    array = [{**SLURM, "SLURM_ARRAY_JOB_ID": "42", "SLURM_ARRAY_TASK_ID": str(n)} for n in range(3)]
    assert len({of_process("p", "n", 0, environment).key for environment in array}) == 3


def test_batch_script_without_a_step_is_no_launch() -> None:
    """It runs its commands one after another: each is a run of its own."""
    batch = {"SLURM_JOB_ID": "42", "SLURM_PROCID": "0"}
    assert of_process("p", "n", 0, batch).key != of_process("p", "n", 0, batch).key


def test_launches_that_are_all_called_none_are_told_apart() -> None:
    """On one node, without --rdzv-id: the launching process tells them apart, here this test's parent."""
    standalone = {**TORCH, "TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": "8"}
    named = {**TORCH, "TORCHELASTIC_RUN_ID": "none"}
    assert of_process("p", "n", 0, standalone).key == of_process("p", "n", 0, standalone).key
    assert of_process("p", "n", 0, standalone).key != of_process("p", "n", 0, named).key


def test_parents_task_is_inherited() -> None:
    """By any name and project; a child process does not own it, the very process that set it does."""
    child = {TASK_ID: KEY, OWNER: str(os.getpid() + 1)}
    assert inherited(child) == of_process("p", "n", 3, child) == Identity(KEY, False, True)
    itself = {TASK_ID: KEY, OWNER: str(os.getpid())}  # after os.exec
    assert inherited(itself) == Identity(KEY, True, True)
    assert inherited({}) is inherited({TASK_ID: ""}) is None
    assert of_process("p", "n", 0, {**TORCH, **child}).key == KEY


def test_named_task_is_its_first_ranks() -> None:
    """Somebody set TRACKER_TASK_ID for all ranks of a launcher that we do not know."""
    assert inherited({TASK_ID: KEY}) == Identity(KEY, True, True)
    assert inherited({TASK_ID: KEY, "RANK": "0"}) == Identity(KEY, True, True)
    assert inherited({TASK_ID: KEY, "RANK": "3"}) == Identity(KEY, False, True)
    assert inherited({TASK_ID: KEY, "SLURM_PROCID": "3"}) == Identity(KEY, False, True)
    assert (rank({}), rank({"RANK": "2"}), rank({"SLURM_PROCID": "5"})) == ("0", "2", "5")


@pytest.mark.parametrize("damaged", ["x", KEY[:-1], KEY.upper(), KEY + "0", "../../etc", "é" * 32])
def test_damaged_id_is_an_error_that_says_what_is_expected(damaged: str) -> None:
    """It would become a folder's name."""
    with pytest.raises(BadValue, match=r"TRACKER_TASK_ID .*: 32 lower-case hex digits are expected"):
        inherited({TASK_ID: damaged})
