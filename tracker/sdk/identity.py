"""Which task this process belongs to: a new one, or one that it shares with other processes of the same run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from objstore.layout import is_key
from tracker.errors import BadValue

TASK_ID: Final = "TRACKER_TASK_ID"
OWNER: Final = "TRACKER_OWNER_PID"  # set beside TASK_ID for child processes: who owns the run


@dataclass(frozen=True, slots=True)
class Identity:
    """The task's id; owner: whether this process's exit decides the run's status; shared: whether others report too."""

    key: str
    owner: bool
    shared: bool


def inherited(environment: Mapping[str, str] = os.environ) -> Identity | None:
    """The task that a parent process, or whoever started this one, has named. Raises BadValue for a damaged id."""
    key = environment.get(TASK_ID)
    if not key:
        return None
    if not is_key(key):
        raise BadValue(f"{TASK_ID} is {key!r}: 32 lower-case hex digits are expected")
    parent = environment.get(OWNER)
    owner = parent == str(os.getpid()) if parent is not None else rank(environment) == "0"
    return Identity(key, owner, True)


def rank(environment: Mapping[str, str] = os.environ) -> str:
    """Which of a launch's processes this is; "0" where nothing tells."""
    return environment.get("RANK") or environment.get("SLURM_PROCID") or "0"


def of_process(
    project: str, name: str, ordinal: int, environment: Mapping[str, str] = os.environ
) -> Identity:
    """The identity for a new main task: inherited, else the launcher's (torchrun, srun), else one of its own.

    Ranks of one launch derive the same id from what the launcher tells all of them, the task's project and name, and
    `ordinal`, the number of main tasks the process has had before.
    """
    found = inherited(environment)
    if found is not None:
        return found
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
