"""A collection over a million small objects, most of them blobs of a few bytes in folders. Prints one JSON object."""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from objstore.ids import Kind, ObjectId, hash_object
from objstore.pack import PackWriter
from objstore.publish import encode_group, publish_pack, temporary
from objstore.records import Commit, Mode, Tree, TreeEntry
from objstore.store import Store

OBJECTS = 1_000_000
KEYS = 1_000
GROUP = 300  # objects a frame
PACK = 60_000  # objects a pack


def objects(count: int, commits: list[Commit]) -> Iterator[tuple[Kind, ObjectId, bytes]]:
    """A thousand commits, each a folder of folders of blobs; every tenth of the folders is named by nothing."""
    each = count // KEYS
    for key in range(KEYS):
        folders = []
        for folder in range(each // 50):
            entries = []
            for blob in range(49):
                data = b"%d %d %d" % (key, folder, blob)
                entries.append(TreeEntry(f"{blob:03}", Mode.FILE, hash_object(Kind.BLOB, data), len(data)))
                yield Kind.BLOB, entries[-1].id, data
            raw = Tree(tuple(entries)).encode()
            tree = hash_object(Kind.TREE, raw)
            yield Kind.TREE, tree, raw
            if folder % 10:
                folders.append(TreeEntry(f"{folder:03}", Mode.TREE, tree, 0))
        raw = Tree(tuple(folders)).encode()
        state = hash_object(Kind.TREE, raw)
        yield Kind.TREE, state, raw
        name = hashlib.blake2b(b"%d" % key, digest_size=16).hexdigest()
        commit = Commit(name, ("task", "p", str(key)), (), 1, 1, state, {"w": 1})
        commits.append(commit)
        yield Kind.COMMIT, commit.id, commit.encode()


def build(store: Store, count: int) -> None:
    """Straight into packs: as many as the store's own writer would make, in a fraction of its time."""
    commits: list[Commit] = []
    waiting: dict[Kind, list[tuple[ObjectId, bytes | memoryview]]] = {kind: [] for kind in Kind}
    writer, held = PackWriter(temporary(store.root)), 0
    for kind, object_id, raw in objects(count, commits):
        waiting[kind].append((object_id, raw))
        held += 1
        if len(waiting[kind]) == GROUP:
            for frame in encode_group(kind, waiting.pop(kind)):
                writer.add(*frame)
            waiting[kind] = []
        if held == PACK:
            publish_pack(store.root, store.objects, writer)
            writer, held = PackWriter(temporary(store.root)), 0
    for kind, group in waiting.items():
        for frame in encode_group(kind, group) if group else ():
            writer.add(*frame)
    publish_pack(store.root, store.objects, writer)
    from objstore.publish import publish_heads

    publish_heads(store.root, commits)


def main() -> None:
    """Build in one process, measure in others, so that memory is the collector's own."""
    root = Path(".tracker")
    if sys.argv[1:2] == ["build"]:
        build(Store.create(root), int(sys.argv[2]))
        return
    if sys.argv[1:2] == ["collect"]:
        began = time.perf_counter()
        report = Store.open(root).gc(grace=float(sys.argv[2]))
        seconds = time.perf_counter() - began
        assert not report.refused, report.refused
        status = Path("/proc/self/status").read_text()
        peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
        print(json.dumps({"s": seconds, "mib": peak / 1024, "rewritten": report.rewritten.files}))
        return
    import subprocess

    def child(*words: str) -> bytes:
        command = [sys.executable, __file__, *words]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout

    child("build", str(OBJECTS))
    mark, sweep = json.loads(child("collect", "86400")), json.loads(child("collect", "0"))
    found = {
        "mark_s": mark["s"],
        "mark_mib": mark["mib"],
        "sweep_s": sweep["s"],
        "sweep_mib": sweep["mib"],
        "rewritten": sweep["rewritten"],
        "children_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
