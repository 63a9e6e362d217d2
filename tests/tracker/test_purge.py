"""What a purge does to states, histories, journals and caches; what it refuses; and how places agree about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from objstore import trash
from objstore.errors import Ambiguous, Conflict, InvalidName, NotFound, ReadOnly
from objstore.ids import Kind, ObjectId
from objstore.journal import JournalWriter
from objstore.records import Commit
from objstore.remotes.folder import FolderRemote
from tracker import events, layout, pages, purge, purging, reader, remotes, removal, roots
from tracker.errors import UsageError
from tracker.events import Blob, SetKey
from tracker.history import history
from tracker.purged import key_of, mark_of
from tracker.records import Ref, State
from tracker.workspace import Workspace

A, B, M = "a" * 32, "b" * 32, "c" * 32
SECRET = b"the secret itself, in a few words"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An open, empty store."""
    return Workspace.open_or_create(tmp_path / "here" / ".tracker")


def fresh(workspace: Workspace) -> Workspace:
    """The same store as another process opens it."""
    return Workspace.open(workspace.root)


def artifact(workspace: Workspace, content: bytes, **more: Any) -> dict[str, Any]:
    """The record of an artifact."""
    return {"$ref": workspace.attach(content), "type": "string", "file": "x.txt", "timestamp": 1, **more}


def task(workspace: Workspace, key: str, **changes: Any) -> None:
    """A completed task."""
    workspace.edit(key, {"name": key[:3], "project": "p", "status": "completed", **changes}, new=True)


def id_of(content: bytes) -> str:
    """The hash of content."""
    from objstore.ids import hash_object

    return str(hash_object(Kind.BLOB, content))


def purged(workspace: Workspace, content: bytes = SECRET) -> Workspace:
    """Purge it; returns the store as another process opens it."""
    purge.purge(workspace, purge.foresee(workspace, id_of(content)))
    return fresh(workspace)


def has(workspace: Workspace, object_id: str) -> bool:
    """Whether the store has an object, be it in the trash."""
    from objstore.gc import Relations

    return Relations(workspace.root).has(ObjectId.parse(object_id))


def states(workspace: Workspace, key: str) -> list[State]:
    """All states of a history, newest first."""
    store = workspace.store

    def read_commit(commit_id: ObjectId) -> Commit:
        return Commit.decode(store.objects.read(commit_id, Kind.COMMIT))

    heads = [(head.id, head.commit) for head in store.heads.of(key)]
    steps = history(heads, read_commit, lambda commit: reader.read_state(store, commit))
    assert [step.error for step in steps] == [""] * len(steps)
    return [reader.read_state(store, read_commit(ObjectId.parse(step.commit))) for step in steps]


def test_every_state_says_that_it_was_purged_and_since_when(workspace: Workspace) -> None:
    """Also the earlier ones; what else they say is as it was, and so are their places in the history."""
    secret = artifact(workspace, SECRET, preview="the secret itself", metadata={"a": "b"}, mac="m")
    task(workspace, A, **{"artifact/x": secret, "artifact/y": artifact(workspace, b"kept")})
    workspace.edit(A, {"tag/one": True})
    workspace.edit(A, {"comment": "two"})
    before = states(workspace, A)
    after = states(purged(workspace), A)
    assert len(after) == len(before) + 1
    note = fresh(workspace).purged(id_of(SECRET))
    assert note is not None
    for old, new in zip(before, after[1:], strict=True):
        found = new.get("artifact/x")
        assert found == {
            "type": "string", "file": "x.txt", "timestamp": 1, "metadata": {"a": "b"},
            "purged": note.time, "hash": id_of(SECRET), "size": len(SECRET),
        }  # fmt: skip
        assert {k: e for k, e in new.keys.items() if k != "artifact/x"} == {
            k: e for k, e in old.keys.items() if k != "artifact/x"
        }
        assert new.keys["artifact/x"].stamp == old.keys["artifact/x"].stamp
    assert after[0].keys["artifact/x"].stamp > before[0].stamp
    assert after[0].get(f"purged/{id_of(SECRET)}") == note.time
    (item,) = [each for each in pages.artifacts(after[0]) if each.name == "x"]
    assert (item.hash, item.purged) == ("", note.time)


def test_what_does_not_refer_to_it_keeps_its_commits(workspace: Workspace) -> None:
    """Other tasks, and the commits of this one from before."""
    task(workspace, A, comment="first")
    (first,) = workspace.store.heads.of(A)
    task(workspace, B, **{"artifact/y": artifact(workspace, b"other")})
    other = workspace.store.heads.of(B)
    workspace.edit(A, {"artifact/x": artifact(workspace, SECRET)})
    after = purged(workspace)
    assert [head.id for head in after.store.heads.of(B)] == [head.id for head in other]
    (head,) = after.store.heads.of(A)
    (parent,) = head.commit.parents
    assert Commit.decode(after.store.objects.read(parent, Kind.COMMIT)).parents == (first.id,)


def test_each_sort_of_reference_is_replaced(workspace: Workspace) -> None:
    """Weights of a model, a configuration, a diff, a pin; a preview that is an object of its own goes along."""
    ref = workspace.attach(SECRET)
    preview = workspace.attach(b"a long preview")
    task(
        workspace,
        A,
        **{
            "artifact/x": {
                "$ref": ref,
                "type": "string",
                "file": "x",
                "timestamp": 1,
                "preview": {"$ref": preview},
            },
            "config/c": {"value": {"$ref": ref}, "type": "text"},
            "script": {"diff": {"$ref": ref}, "branch": "b"},
        },
    )
    workspace.edit(
        M, {"weights": {"$ref": ref, "file": "w", "url": "file:///copy"}}, kind=layout.MODEL, new=True
    )
    workspace.edit(B, {"object": {"$ref": ref}}, kind=layout.PIN, new=True)
    plan = purge.foresee(workspace, id_of(SECRET))
    assert {user.key: user.places for user in plan.users} == {
        A: ("artifact/x", "config/c", "script"),
        B: ("object",),
        M: ("weights",),
    }
    assert plan.urls == ("file:///copy",)
    after = purged(workspace)
    note = after.purged(id_of(SECRET))
    assert note is not None
    mark = mark_of(note.id, note.time)
    assert after.thing(A).state.get("config/c")["value"] == mark
    assert after.thing(A).state.get("script") == {"diff": mark, "branch": "b"}
    assert after.thing(B).state.get("object") == mark
    assert after.thing(M).state.get("weights") == {
        "file": "w", "purged": note.time, "hash": note.id, "size": len(SECRET)
    }  # fmt: skip
    assert not has(after, id_of(b"a long preview"))
    assert not has(after, note.id)
    assert after.store.fsck().problems == ()


def test_the_journal_of_a_dead_writer_goes_too(workspace: Workspace) -> None:
    """It has the content, and is kept for a day once it is sealed; from the trash as well."""
    ref = Ref("blob", id_of(SECRET), len(SECRET))
    for key, writer in ((A, "1" * 16), (B, "2" * 16)):
        journal = JournalWriter(workspace.root / layout.live_path(key, writer), writer)
        made: list[events.Event] = [
            SetKey("name", "killed", 1), SetKey("project", "p", 2), Blob(id_of(SECRET), SECRET),
            SetKey("artifact/x", {"$ref": str(ref), "type": "string", "timestamp": 1}, 3),
        ]  # fmt: skip
        for event in made:
            journal.append(*events.encode(event))
        journal.close()
    workspace.recover()
    trash.set_aside(workspace.root, layout.live_path(B, "2" * 16), 1000)
    left = [path for path in workspace.root.rglob("segment.*") if SECRET in path.read_bytes()]
    assert len(left) == 2
    after = purged(workspace)
    assert [path for path in workspace.root.rglob("segment.*") if SECRET in path.read_bytes()] == []
    assert after.thing(A).state.get("artifact/x")["purged"]


def test_a_deleted_task_can_be_restored_without_it(workspace: Workspace) -> None:
    """Its history is cleaned like any; and its deletion stays confirmed."""
    task(
        workspace,
        A,
        **{"artifact/x": artifact(workspace, SECRET), "artifact/y": artifact(workspace, b"kept")},
    )
    removal.delete(workspace, removal.foresee(workspace, [A]).things)
    (head,) = workspace.store.heads.of(A)
    with pytest.raises(UsageError, match="is the state of"):
        purge.foresee(workspace, str(head.commit.state))
    after = purged(workspace)
    assert after.thing(A).state.get("deleted")
    assert removal.unconfirmed(after) == []
    removal.restore(after, A)
    state = fresh(workspace).thing(A).state
    assert not state.get("deleted")
    assert state.get("artifact/x")["purged"]
    assert fresh(workspace).store.fsck().problems == ()


def test_the_tables_of_queries_are_made_anew(workspace: Workspace) -> None:
    """They hold what heads said that are no more: nothing of an old file is kept."""
    task(workspace, A, **{"artifact/x": artifact(workspace, SECRET)})
    index = workspace.root / "cache" / "index.sqlite"
    assert workspace.projection.projects() == {"p"}
    assert index.exists()
    purged(workspace)
    assert not index.exists()


def test_two_places_that_purge_the_same_agree(workspace: Workspace, tmp_path: Path) -> None:
    """Their notes are one thing, and their histories unite."""
    task(workspace, A, **{"artifact/x": artifact(workspace, SECRET, preview="secret")})
    other = Workspace.open_or_create(tmp_path / "there" / ".tracker")
    other.store.pull(FolderRemote(workspace.root))
    purged(other)
    purged(workspace)
    workspace = fresh(workspace)
    workspace.store.pull(FolderRemote(other.root), without=purging.unwanted(workspace))
    workspace = fresh(workspace)
    assert list(workspace.purges()) == [id_of(SECRET)]
    assert workspace.thing(A).state.get("artifact/x")["purged"]
    assert not has(workspace, id_of(SECRET))
    assert purging.held(workspace) == {}
    assert workspace.store.fsck().problems == ()


def test_an_edit_that_knew_nothing_of_it_does_not_undo_it(workspace: Workspace, tmp_path: Path) -> None:
    """What is shown stays purged; the content that came along is told of, and a second purge takes it."""
    task(workspace, A, **{"artifact/x": artifact(workspace, SECRET, preview="secret")})
    other = Workspace.open_or_create(tmp_path / "there" / ".tracker")
    other.store.pull(FolderRemote(workspace.root))
    fresh(other).edit(A, {"tag/new": True})
    workspace = purged(workspace)
    workspace.store.pull(FolderRemote(other.root), without=purging.unwanted(workspace))
    workspace = fresh(workspace)
    assert workspace.thing(A).state.get("artifact/x")["purged"]
    assert list(purging.held(workspace)) == [id_of(SECRET)]
    with pytest.raises(UsageError, match="run `tracker purge"):
        purging.refuse_push(workspace)
    workspace = purged(workspace)
    assert purging.held(workspace) == {}
    purging.refuse_push(workspace)
    assert workspace.thing(A).state.section("tag") == {"new": True}
    assert not has(workspace, id_of(SECRET))


def test_the_same_content_can_be_recorded_again(workspace: Workspace) -> None:
    """Somebody may want to: it is there then, and said to have been purged once."""
    task(workspace, A, **{"artifact/x": artifact(workspace, SECRET)})
    workspace = purged(workspace)
    task(workspace, B, **{"artifact/x": artifact(workspace, SECRET)})
    workspace = fresh(workspace)
    assert workspace.store.objects.read(ObjectId.parse(id_of(SECRET))) == SECRET
    assert list(purging.held(workspace)) == [id_of(SECRET)]
    assert not has(purged(workspace), id_of(SECRET))


def test_what_is_meant_has_to_be_clear(workspace: Workspace) -> None:
    """No hash, a short one, one that fits two, one that fits nothing, a task."""
    contents = [f"content {n}".encode() for n in range(300)]
    task(workspace, A, **{f"artifact/{n}": artifact(workspace, each) for n, each in enumerate(contents)})
    for text, error in (
        ("xyz", InvalidName),
        ("abc", InvalidName),
        ("0" * 64, NotFound),
        (A[:8], UsageError),
    ):
        with pytest.raises(error):
            purge.foresee(workspace, text)
    from objstore.gc import Relations

    relations = Relations(workspace.root)
    ids = sorted(str(relations.inventory.id(n)) for n in range(relations.inventory.count))
    for length in (1, 2, 3, 12, 64):
        for prefix in {each[:length] for each in ids}:
            assert list(map(str, relations.resolve(prefix))) == [i for i in ids if i.startswith(prefix)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(purge, "_PREFIX_MIN", 1)
        with pytest.raises(Ambiguous):
            purge.foresee(workspace, ids[0][:1])


def test_what_may_not_be_written_is_not_touched(workspace: Workspace, tmp_path: Path) -> None:
    """A store, or a remote, that a newer version has written to; what would go can be asked all the same."""
    task(workspace, A, **{"artifact/x": artifact(workspace, SECRET)})
    url = remotes.add(workspace.root, "far", str(tmp_path / "far"))
    workspace.store.push(remotes.open_remote(workspace.root, url))
    for root in (tmp_path / "far", workspace.root):
        record = json.loads((root / "format").read_text())
        record["features"]["gc"] = ["of-tomorrow"]
        (root / "format").write_text(json.dumps(record))
        if root == tmp_path / "far":
            with pytest.raises(ReadOnly, match="far"):
                purging.chosen(workspace, ["far"], all_remotes=False)
    there = fresh(workspace)
    plan = purge.foresee(there, id_of(SECRET))
    assert plan.held
    with pytest.raises(ReadOnly):
        purge.purge(there, plan)
    assert has(there, id_of(SECRET))
    assert there.purges() == {}


def test_content_of_a_journal_that_is_still_written_is_refused(workspace: Workspace) -> None:
    """Its process would bring it back."""
    journal = JournalWriter(workspace.root / layout.live_path(A, "1" * 16), "1" * 16)
    for event in (SetKey("name", "runs", 1), SetKey("project", "p", 2), Blob(id_of(SECRET), SECRET)):
        journal.append(*events.encode(event))
    ref = str(Ref("blob", id_of(SECRET), len(SECRET)))
    journal.append(*events.encode(SetKey("artifact/x", {"$ref": ref, "type": "string", "timestamp": 1}, 3)))
    try:
        with pytest.raises(Conflict, match="is running"):
            purge.foresee(workspace, id_of(SECRET))
    finally:
        journal.close()


def test_the_key_of_a_note_is_made_of_the_hash() -> None:
    """As docs/format.md says: other programs find it so."""
    assert key_of("0" * 64) == "75d6f27dc4e98402d33bbcb4cfe69ea6"


def test_collections_leave_a_purged_store_alone(workspace: Workspace) -> None:
    """Nothing is missing for them, and what the purge left over goes."""
    task(
        workspace,
        A,
        **{"artifact/x": artifact(workspace, SECRET), "artifact/y": artifact(workspace, b"kept")},
    )
    workspace = purged(workspace)
    for _ in range(2):
        report = workspace.store.gc(lambda: roots.of_journals(workspace.store), grace=0)
        assert (report.refused, report.problems) == ("", ())
    assert fresh(workspace).store.fsck().problems == ()
    assert fresh(workspace).thing(A).state.get("artifact/x")["purged"]
