"""Which task this process belongs to: a new one, one that it shares with other processes, or one that it runs again."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from objstore.layout import is_key
from tracker.errors import BadValue

TASK_ID: Final = "TRACKER_TASK_ID"
RUN_TASK: Final = "TRACKER_RUN_TASK"  # set by who starts a process to run a task that is there already
CLEARML_TASK: Final = "CLEARML_TASK_ID"  # the same, as ClearML's agents say it
OWNER: Final = "TRACKER_OWNER_PID"  # set beside TASK_ID for child processes: who owns the run


class Identity(NamedTuple):  # a dataclass would load `inspect` for each script that imports Task
    """The task's id; owner: whether this process's exit decides the run's status; shared: whether others report too;
    runs: whether a task that was there before is run again, so that its stored values go into the script.
    """

    key: str
    owner: bool
    shared: bool
    runs: bool = False


def inherited(environment: Mapping[str, str] = os.environ) -> Identity | None:
    """The task that a parent process, or whoever started this one, has named. Raises BadValue for a damaged id."""
    key = environment.get(TASK_ID)
    if not key:
        return None
    if not is_key(key):
        raise BadValue(f"{TASK_ID} is {key!r}: 32 lower-case hex digits are expected")
    parent = environment.get(OWNER)
    owner = parent == str(os.getpid()) if parent is not None else rank(environment) == "0"
    return Identity(key, owner, True, key == to_run(environment))


def to_run(environment: Mapping[str, str] = os.environ) -> str | None:
    """The task that this process was started to run again, if any. Raises BadValue for a damaged id.

    ClearML's variable counts where none of ours says otherwise, and not if it is no id of ours.
    """
    key = environment.get(RUN_TASK)
    if key:
        if not is_key(key):
            raise BadValue(f"{RUN_TASK} is {key!r}: 32 lower-case hex digits are expected")
        return key
    theirs = environment.get(CLEARML_TASK, "")
    return theirs if not environment.get(TASK_ID) and is_key(theirs) else None


def rank(environment: Mapping[str, str] = os.environ) -> str:
    """Which of a launch's processes this is; "0" where nothing tells."""
    return next((found for name in _RANKS if (found := environment.get(name))), "0")


_RANKS: Final = ("RANK", "SLURM_PROCID", "CLEARML_NODE_ID")


def of_process(
    project: str,
    name: str,
    ordinal: int,
    environment: Mapping[str, str] = os.environ,
    exists: Callable[[str], bool] = lambda key: True,
) -> Identity:
    """The identity for a new main task: inherited, else the task that is to be run again (for the process's first one),
    else the launcher's (torchrun, srun), else one of its own.

    Ranks of one launch derive the same id from what the launcher tells all of them, the task's project and name, and
    `ordinal`, the number of main tasks the process has had before.
    """
    found = inherited(environment)
    if found is not None:
        return found
    again = to_run(environment) if ordinal == 0 else None
    if again is not None and (environment.get(RUN_TASK) or exists(again)):
        return Identity(again, rank(environment) == "0", True, True)
    launch = _torchrun(environment) or _slurm(environment)
    if launch is None:
        return Identity(os.urandom(16).hex(), True, False)
    from hashlib import blake2b

    source, number = launch
    text = "\0".join((*source, project, name, str(ordinal)))
    return Identity(
        blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest(), number == "0", True
    )


def _torchrun(environment: Mapping[str, str]) -> tuple[tuple[str, ...], str] | None:
    run = environment.get("TORCHELASTIC_RUN_ID")
    if not run:
        return None
    source = ["torchelastic", run, environment.get("MASTER_ADDR", ""), environment.get("MASTER_PORT", "")]
    if run == "none" and environment.get("LOCAL_WORLD_SIZE") == environment.get("WORLD_SIZE"):
        # torchrun without --rdzv-id names every launch "none"; on one node the launching process tells them apart.
        source.append(f"{os.getppid()}/{_started(os.getppid())}")
    return tuple(source), environment.get("RANK", "0")


def _slurm(environment: Mapping[str, str]) -> tuple[tuple[str, ...], str] | None:
    job, step = environment.get("SLURM_JOB_ID"), environment.get("SLURM_STEP_ID")
    if not job or not step:
        return None  # a batch script runs its commands one after another: each is a run of its own
    array = environment.get("SLURM_ARRAY_JOB_ID", ""), environment.get("SLURM_ARRAY_TASK_ID", "")
    cluster = environment.get("SLURM_CLUSTER_NAME", "")
    return ("slurm", cluster, job, *array, step), environment.get("SLURM_PROCID", "0")


def _started(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty where the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
