"""Paths and limits of the tracker's own, each with its unit and its reason. Touches no disk."""

from __future__ import annotations

from typing import Final

STORE: Final = ".tracker"
NAME_MIN: Final = 3  # characters of a task, project or model name, as ClearML's server has it
NAME_MAX: Final = 65_536  # characters; the name is content, no path is made of it whole
STATE_MAX: Final = 256 << 20  # bytes of one state's record; 50,000 artifacts with the longest previews in it
PREVIEW_MAX: Final = (
    2048  # bytes of a preview in the record itself: listing 10,000 tasks reads 10,000 records
)
INLINE_MAX: Final = 1 << 20  # bytes of an artifact that travel in the journal and so share the run's one pack
ROLL_HELD: Final = (
    64 << 20
)  # bytes of content in a journal after which the same is done: sealing has them in memory
HEARTBEAT: Final = 30.0  # seconds between two signs of life of a writer
ROLL: Final = 1 << 17  # events after which a journal is sealed while the run goes on
QUICK: Final = (
    0.5  # seconds that the end of a run waits for a long journal to be sealed; the next process does the rest
)
LONG: Final = 4 << 20  # bytes of a journal that is long; a shorter one takes 0.2 s, or the disk is stuck
RETRY: Final = 30.0  # seconds between two tries after the disk refused
WRITER_SIZE: Final = 16  # hex digits of a writer's id
TIDY: Final = 0.2  # seconds that folding heads and merging packs may hold up the end of a run, about

# File systems where a mapped page may need a new block, and so a full disk or a lost server be a SIGBUS: there each
# event is one plain write.
_NETWORK: Final = (
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "fuse",
    "gfs2",
    "glusterfs",
    "gpfs",
    "lustre",
    "nfs",
    "nfs4",
)
_SHARED: Final = ("fuseblk", "ocfs2", "orangefs", "smb3", "vboxsf", "virtiofs")
_COPY_ON_WRITE: Final = ("bcachefs", "btrfs", "f2fs", "zfs")
NETWORK: Final = frozenset((*_NETWORK, *_SHARED))
UNMAPPED: Final = frozenset((*_NETWORK, *_SHARED, *_COPY_ON_WRITE))

TASK: Final = "task"
MODEL: Final = "model"
ALIAS: Final = "alias"
PIN: Final = "pin"
PURGE: Final = "purge"  # says that an object was purged, here and wherever this is copied to
KINDS: Final = (TASK, MODEL, ALIAS, PIN, PURGE)


def live_path(key: str, writer: str) -> str:
    """Where a writer's journal lies, relative to the store."""
    return f"live/{key}/{writer}"
