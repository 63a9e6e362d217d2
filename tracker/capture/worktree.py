"""What git knows of a folder: the repository, the commit, and the uncommitted changes as a patch.

Read by libgit2 (no git binary needed), else by the git binary where libgit2 lacks a feature (sparse or split index,
SHA-256 ids, partial clones). Nothing is written, nothing is fetched, no hook, filter or external diff is run by us.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tracker.capture.background import import_undisturbed

if TYPE_CHECKING:
    import pygit2

LARGEST_FILE = 8 << 20
"""Bytes of a changed file, before or after, up to which its change is part of the patch: data sets and weights that
someone has put under git would otherwise cost minutes and be stored a second time."""

LARGEST_PATCH = 64 << 20
"""Bytes of the whole patch; what comes after is left out like a file that is too large."""

MOST_UNTRACKED = 5_000
"""Entries of untracked folders that are looked at for counting; with more, the count is a lower bound."""

_GIT_TIMEOUT = 60.0
"""Seconds for one command of the git binary."""

_GITLINK = 0o160000  # the mode by which a tree names a submodule's commit
_SKIP_WORKTREE = 1 << 14  # an index entry's flag: left out of a sparse checkout on purpose
_DEEPEST_SUBMODULE = 8


@dataclass(frozen=True, slots=True)
class Worktree:
    """One working tree. `root`: its real absolute path. `url`: of the remote, as configured, "" without one.
    `branch`: "" where HEAD is detached. `commit`: None before the first one.
    `patch`: what `git apply` makes of a fresh checkout of `commit` the tracked files as they are now.
    `left_out`: paths, relative to `root`, of changed files that are too large for it.
    `untracked`: number of files that git neither tracks nor ignores."""

    root: str
    url: str
    branch: str
    commit: str | None
    patch: bytes = b""
    left_out: tuple[str, ...] = ()
    untracked: int = 0


def read_worktree(folder: str) -> Worktree | None:
    """The state of the working tree that holds a folder, None where there is none (or only a bare repository)."""
    try:
        return _by_libgit2(folder)
    except Exception:  # noqa: BLE001 - a missing library, an unknown feature, a broken repository: git may know better
        return _by_git(folder)


@dataclass(slots=True)
class _Patch:
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    left_out: list[str] = field(default_factory=list)

    def add(self, path: str, data: bytes) -> None:
        if self.size + len(data) > LARGEST_PATCH:
            self.left_out.append(path)
        else:
            self.parts.append(data)
            self.size += len(data)


def _by_libgit2(folder: str) -> Worktree | None:
    import_undisturbed("pygit2")
    import pygit2

    found = pygit2.discover_repository(folder)
    if found is None:
        return None
    repository = _open(found)
    if repository.is_bare or repository.workdir is None:
        return None
    root = os.path.realpath(repository.workdir)
    url = _url(repository)
    if repository.head_is_unborn:
        return Worktree(root, url, "", None)
    branch = "" if repository.head_is_detached else repository.head.shorthand
    commit = repository.head.peel(pygit2.Commit)
    patch = _Patch()
    untracked = _changes(repository, commit.tree, patch)
    return Worktree(
        root, url, branch, str(commit.id), b"".join(patch.parts), tuple(patch.left_out), untracked
    )


def _open(path: str) -> pygit2.Repository:
    """Another user's repository may be read, too: libgit2 runs no program that a configuration names. It is what
    root in a container sees of a mounted folder. The option is the whole process's, so it is put back."""
    import pygit2
    from pygit2.enums import Option

    before = pygit2.option(Option.GET_OWNER_VALIDATION)
    pygit2.option(Option.SET_OWNER_VALIDATION, False)
    try:
        return pygit2.Repository(path)
    finally:
        pygit2.option(Option.SET_OWNER_VALIDATION, bool(before))


def _url(repository: pygit2.Repository) -> str:
    names = list(repository.remotes.names())
    name = "origin" if "origin" in names else names[0] if len(names) == 1 else None
    if name is None:
        return ""
    return repository.remotes[name].url or ""


def _changes(
    repository: pygit2.Repository,
    tree: pygit2.Tree,
    patch: _Patch,
    prefix: str = "",
    depth: int = 0,
) -> int:
    """Adds to the patch what differs between a tree and the working tree, as `git diff HEAD` sees it: through the
    index. Returns the number of untracked files. (Tree.diff_to_workdir ignores the index; it is ten times slower,
    and wrong for staged files.)"""
    from pygit2.enums import DeltaStatus, DiffOption

    index = repository.index
    worktree = index.diff_to_workdir(
        flags=DiffOption.SHOW_BINARY | DiffOption.INCLUDE_UNTRACKED | DiffOption.ENABLE_FAST_UNTRACKED_DIRS
    )
    untracked = _count_untracked(
        repository,
        [delta.new_file.path for delta in worktree.deltas if delta.status == DeltaStatus.UNTRACKED],
    )
    diff = index.diff_to_tree(tree, flags=DiffOption.SHOW_BINARY)
    diff.merge(worktree)
    conflicts: set[str] = set()
    for number, delta in enumerate(diff.deltas):
        path = delta.new_file.path or delta.old_file.path
        if delta.status in (DeltaStatus.UNTRACKED, DeltaStatus.IGNORED, DeltaStatus.UNMODIFIED):
            continue
        if delta.status == DeltaStatus.DELETED and _is_skipped(index, path):
            continue
        if delta.status == DeltaStatus.CONFLICTED:
            conflicts.add(path)
        elif _GITLINK in (delta.old_file.mode, delta.new_file.mode):
            _submodule_changes(repository, delta, diff[number].data, patch, prefix, depth)
        elif _is_filtered(repository, path):
            if not _is_as_its_pointer_says(repository, delta):
                patch.left_out.append(prefix + path)
        elif _is_too_large(repository, delta):
            patch.left_out.append(prefix + path)
        else:
            patch.add(prefix + path, _with_prefix(diff[number].data, prefix))
    for path in sorted(conflicts):
        patch.add(prefix + path, _with_prefix(_conflict(repository, tree, path), prefix))
    return untracked


def _is_skipped(index: pygit2.Index, path: str) -> bool:
    """Whether the file is absent because a sparse checkout leaves it out."""
    from pygit2.ffi import C

    entry = C.git_index_get_bypath(index._index, os.fsencode(path), 0)
    return bool(entry) and bool(entry.flags_extended & _SKIP_WORKTREE)


def _is_too_large(repository: pygit2.Repository, delta: pygit2.DiffDelta) -> bool:
    if max(delta.old_file.size, delta.new_file.size) > LARGEST_FILE:
        return True
    import pygit2

    if delta.old_file.mode == 0:
        return False
    committed = delta.old_file.id  # its size is not in the delta
    if hasattr(repository.odb, "read_header"):
        return repository.odb.read_header(committed)[1] > LARGEST_FILE
    blob = repository[committed]  # before pygit2 1.19: this reads the whole file
    return isinstance(blob, pygit2.Blob) and blob.size > LARGEST_FILE


def _is_filtered(repository: pygit2.Repository, path: str) -> bool:
    """Whether what lies in the working tree is not what git would store, so that a patch of it would be wrong."""
    filtered = repository.get_attr(path, "filter")
    return isinstance(filtered, str) and (filtered == "lfs" or filtered.startswith("git-crypt"))


_POINTER = re.compile(rb"version https://git-lfs\S*\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\nsize (\d+)\n")


def _is_as_its_pointer_says(repository: pygit2.Repository, delta: pygit2.DiffDelta) -> bool:
    """Whether a file of git-lfs is the committed one. libgit2 compares it with its pointer, and so takes every file
    whose times do not tell otherwise for changed."""
    import pygit2

    old = repository.get(delta.old_file.id) if delta.old_file.mode else None
    pointer = _POINTER.match(old.data) if isinstance(old, pygit2.Blob) and old.size < 1024 else None
    path = os.path.join(repository.workdir, delta.new_file.path)
    if pointer is None or not os.path.isfile(path) or os.path.getsize(path) != int(pointer[2]):
        return False
    from hashlib import sha256

    digest = sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest().encode() == pointer[1]


def _conflict(repository: pygit2.Repository, tree: pygit2.Tree, path: str) -> bytes:
    """The patch from HEAD to the working file of a path that a merge has left unresolved."""
    import pygit2
    from pygit2.enums import DiffOption

    old = repository.get(tree[path].id) if path in tree else None
    new = None
    full = os.path.join(repository.workdir, path)
    if os.path.isfile(full) and not os.path.islink(full) and os.path.getsize(full) <= LARGEST_FILE:
        with open(full, "rb") as file:
            new = file.read()
    if not isinstance(old, pygit2.Blob | None) or (old is None and new is None):
        return b""
    patch = pygit2.Patch.create_from(old, new, path, path, flag=DiffOption.SHOW_BINARY)
    return patch.data


def _submodule_changes(
    repository: pygit2.Repository,
    delta: pygit2.DiffDelta,
    data: bytes,
    patch: _Patch,
    prefix: str,
    depth: int,
) -> None:
    """A submodule's new commit as its line in the patch (which `git apply` reads over), then its changed files."""
    import pygit2

    path = delta.new_file.path or delta.old_file.path
    if delta.old_file.id != delta.new_file.id:
        patch.add(prefix + path, _with_prefix(data.replace(b"-dirty\n", b"\n"), prefix))
    folder = os.path.join(repository.workdir, path)
    if delta.old_file.mode != _GITLINK or delta.new_file.mode != _GITLINK or depth >= _DEEPEST_SUBMODULE:
        return
    submodule = _open(folder)
    if submodule.head_is_unborn:
        return
    base = submodule.get(delta.old_file.id) or submodule.head.peel(pygit2.Commit)
    _changes(submodule, base.peel(pygit2.Tree), patch, f"{prefix}{path}/", depth + 1)


def _with_prefix(data: bytes, prefix: str) -> bytes:
    """The patch of one file, with its names seen from `prefix` ("libs/sub/", "" changes nothing)."""
    if not prefix:
        return data
    folder = prefix.encode("utf-8", "surrogateescape")
    lines = data.split(b"\n")
    for number, line in enumerate(lines):
        if line.startswith(b"diff --git "):
            # Both names are the same, so the middle is where one ends: names may hold spaces.
            names = line[len(b"diff --git ") :]
            middle = len(names) // 2
            old, new = _inside(names[:middle], b"a/", folder), _inside(names[middle + 1 :], b"b/", folder)
            lines[number] = b"diff --git " + old + b" " + new
        elif line.startswith(b"--- "):
            lines[number] = b"--- " + _inside(line[4:], b"a/", folder)
        elif line.startswith(b"+++ "):
            lines[number] = b"+++ " + _inside(line[4:], b"b/", folder)
            break
        elif line.startswith(b"GIT binary patch"):
            break
    return b"\n".join(lines)


def _inside(name: bytes, side: bytes, folder: bytes) -> bytes:
    """`a/x` as `a/folder/x`, quoted (`"a/x"`) or not; /dev/null stays."""
    for start in (side, b'"' + side):
        if name.startswith(start):
            return start + folder + name[len(start) :]
    return name


def _count_untracked(repository: pygit2.Repository, paths: list[str]) -> int:
    """Files among and below untracked paths; a repository inside counts as one, as `git status` has it."""
    count = looked = 0
    waiting = []
    for path in paths:
        if path.endswith("/"):
            waiting.append(path)
        else:
            count += 1
    while waiting and looked < MOST_UNTRACKED:
        for path in _entries(repository.workdir, waiting.pop()):
            looked += 1
            if looked > MOST_UNTRACKED:
                break
            if path.endswith(("/.git", "/.git/")):
                count += 1
                break
            if not repository.path_is_ignored(path):
                if path.endswith("/"):
                    waiting.append(path)
                else:
                    count += 1
    return count


def _entries(root: str, folder: str) -> Iterator[str]:
    """The entries of a folder relative to a root: `.git` first, folders with a slash at the end."""
    try:
        with os.scandir(os.path.join(root, folder)) as found:
            names = [entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in found]
    except OSError:
        return
    for name in sorted(names, key=lambda name: name.rstrip("/") != ".git"):
        yield folder + name


def _by_git(folder: str) -> Worktree | None:
    import shutil

    if shutil.which("git") is None:
        return None
    top = _ask(folder, "rev-parse", "--show-toplevel")
    if not top:
        return None
    root = os.path.realpath(os.fsdecode(top.removesuffix(b"\n")))
    url = _text(_ask(root, "config", "--get", "remote.origin.url"))
    commit = _text(_ask(root, "rev-parse", "--verify", "-q", "HEAD^{commit}"))
    if not commit:
        return Worktree(root, url, "", None)
    branch = _text(_ask(root, "symbolic-ref", "-q", "--short", "HEAD"))
    changed = [
        "diff",
        "HEAD",
        "--no-renames",
        "--no-ext-diff",
        "--no-textconv",
        "--no-color",
        "--no-relative",
    ]
    names = (_ask(root, *changed, "--name-only", "-z") or b"").split(b"\0")
    large = tuple(os.fsdecode(name) for name in names if name and _size(root, name) > LARGEST_FILE)
    patch = _ask(
        root,
        *changed,
        "--binary",
        "--src-prefix=a/",
        "--dst-prefix=b/",
        "--submodule=short",
        "--ignore-submodules=dirty",
        "--",
        ":/",
        *(f":(exclude,top,literal){name}" for name in large),
    )
    if patch is None or len(patch) > LARGEST_PATCH:
        patch, large = b"", tuple(os.fsdecode(name) for name in names if name)
    untracked = (_ask(root, "ls-files", "--others", "--exclude-standard", "-z") or b"").count(b"\0")
    return Worktree(root, url, branch, commit, patch, large, untracked)


def _ask(folder: str, *command: str) -> bytes | None:
    """What a git command prints, None where it fails. It may neither write, nor ask, nor use the network."""
    import subprocess

    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment.update(
        LC_ALL="C",
        GIT_OPTIONAL_LOCKS="0",
        GIT_TERMINAL_PROMPT="0",
        GIT_NO_LAZY_FETCH="1",
        GIT_ALLOW_PROTOCOL="none",  # names no protocol that exists: also older versions then fetch nothing
    )
    try:
        done = subprocess.run(
            [
                "git",
                "-C",
                folder,
                "-c",
                "core.fsmonitor=false",
                "-c",
                "diff.autoRefreshIndex=false",
                *command,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=_GIT_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def _text(printed: bytes | None) -> str:
    return (printed or b"").decode("utf-8", "replace").strip()


def _size(root: str, name: bytes) -> int:
    try:
        found = os.lstat(os.path.join(os.fsencode(root), name))
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
