"""Heads: which live is the same for every reader, and nothing that lies is believed."""

from __future__ import annotations

import contextlib
import os
import random
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from objstore import layout
from objstore.errors import Corrupt, StoreError, Unsupported
from objstore.heads import Head, Heads, Table, covers, living, uncovered
from objstore.heads import head as head_module
from objstore.ids import ObjectId, hash_bytes
from objstore.records import Commit, canonical
from objstore.store import Store
from objstore.zstd import compress

KEY = "0123456789abcdef0123456789abcdef"
A = Commit(KEY, ("task", "project", "name"), (), 1, 5, ObjectId(bytes(32)), {"w": 1})


def head(commit: Commit, where: str = "refs/x/y") -> Head:
    """A head of a commit's key."""
    return Head(commit.key, commit.id, commit.encode(), where)


def reference(heads: list[Head]) -> set[ObjectId]:
    """The rule as the design words it, by looking at every pair: what `living` must agree with."""
    unique = {h.id: h for h in heads}.values()

    def kills(one: Head, other: Head) -> bool:
        mine, its = one.commit.covers, other.commit.covers
        if not covers(mine, its):
            return False
        if not covers(its, mine):
            return True
        return (-one.commit.generation, one.id) < (-other.commit.generation, other.id)

    return {h.id for h in unique if not any(kills(other, h) for other in unique if other is not h)}


cover_maps = st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3)
made_heads = st.builds(
    lambda covered, generation, stamp: head(replace(A, covers=covered, generation=generation, stamp=stamp)),
    cover_maps,
    st.integers(0, 2),
    st.integers(0, 2),
)
many = st.lists(made_heads, max_size=9)


def alive(heads: list[Head]) -> set[ObjectId]:
    """The ids that live."""
    return {h.id for h in living(heads)}


@settings(max_examples=300, deadline=None)
@given(many)
def test_the_living_are_those_of_the_rule(heads: list[Head]) -> None:
    """Dead is what another covers; of equals the higher generation, then the smaller id lives."""
    assert alive(heads) == reference(heads)


@given(many, st.randoms(use_true_random=False))
def test_the_order_of_finding_decides_nothing(heads: list[Head], shuffle: random.Random) -> None:
    """However heads are listed, and however often one is seen, every reader has the same answer in the same order."""
    mixed = [*heads, *heads[:3]]
    shuffle.shuffle(mixed)
    assert [h.id for h in living(mixed)] == [h.id for h in living(heads)]


@given(many, many)
def test_an_old_head_never_revives(one: list[Head], other: list[Head]) -> None:
    """What was dead stays dead, whatever heads a copy brings in besides."""
    dead = {h.id for h in one} - alive(one)
    assert not dead & alive(one + other)


@given(many, many)
def test_the_dead_may_be_forgotten(one: list[Head], other: list[Head]) -> None:
    """Folding away dead heads changes nothing: a union of what lives gives what a union of all gives."""
    assert alive(living(one) + living(other)) == alive(one + other)
    assert alive(living(one)) == alive(one)


@given(many.filter(len))
def test_something_always_lives(heads: list[Head]) -> None:
    """A key that has heads has a living one, and together the living cover all that any covered."""
    left = living(heads)
    assert left
    for writer in "abc":
        most = max(h.commit.covers.get(writer, 0) for h in heads)
        assert max(h.commit.covers.get(writer, 0) for h in left) == most


@given(cover_maps, cover_maps, cover_maps)
def test_covering_is_a_partial_order(a: dict[str, int], b: dict[str, int], c: dict[str, int]) -> None:
    """Reflexive and transitive; a writer that is not named counts as 0."""
    assert covers(a, a)
    assert covers(a, c) or not (covers(a, b) and covers(b, c))
    assert covers(a, {**a, "z": 0})


def test_thousands_of_old_heads_are_sorted_out_quickly() -> None:
    """Time grows with the living, not with the square of the dead; the step counter shows it without a clock."""
    looks = 0
    original = head_module.covers

    def counting(a: dict[str, int], b: dict[str, int]) -> bool:
        nonlocal looks
        looks += 1
        return original(a, b)

    chain = [head(replace(A, generation=n, covers={"w": n})) for n in range(1, 2001)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head_module, "covers", counting)
        assert [h.commit.generation for h in living(chain)] == [2000]
    assert looks <= 4000


# --- one head ------------------------------------------------------------------------------------------------------


def test_a_head_is_checked_when_it_is_first_read() -> None:
    """Bytes that are not the commit of its name, or are another key's commit, are not used."""
    other = replace(A, key="f" * 32)
    wrong = [
        Head(KEY, A.id, replace(A, stamp=6).encode(), "refs/a/b"),
        Head(KEY, A.id, A.encode()[:-1], "refs/a/b"),
        Head(KEY, other.id, other.encode(), "refs/a/b"),
    ]
    assert head(A).commit == A
    for lying in wrong:
        with pytest.raises(Corrupt, match="refs/a/b"):
            _ = lying.commit


# --- tables --------------------------------------------------------------------------------------------------------

keys = st.text("0123456789abcdef", min_size=32, max_size=32)
hex_ids = st.binary(min_size=32, max_size=32).map(bytes.hex)
table_heads = st.builds(lambda key, n: head(replace(A, key=key, generation=n)), keys, st.integers(0, 9))
tables = st.builds(
    Table,
    st.lists(table_heads, max_size=5, unique_by=lambda h: (h.key, h.id)).map(
        lambda found: tuple(sorted(found, key=lambda h: (h.key, h.id)))
    ),
    st.dictionaries(hex_ids, st.binary(max_size=60), max_size=4),
    st.lists(hex_ids, max_size=3, unique=True).map(lambda found: tuple(sorted(found))),
    st.dictionaries(hex_ids, st.integers(0, layout.COUNT_MAX), max_size=3),
)


def decoded(data: bytes) -> Table:
    """A table under the name that its bytes have."""
    return Table.decode(data, hash_bytes(data).hex())


def plain(table: Table) -> tuple[object, ...]:
    """What a table says, without the file that its heads name for messages."""
    rows = [(h.key, h.id, h.raw) for h in table.heads]
    return rows, dict(table.packs), table.covers, dict(table.dropped)


@given(tables)
@example(Table())
def test_a_table_survives_its_bytes(table: Table) -> None:
    """Heads, footers, covered tables and dropped packs; the bytes depend on the content alone."""
    data = table.encode()
    assert plain(decoded(data)) == plain(table)
    assert decoded(data).encode() == data
    assert Table(tuple(reversed(table.heads)), table.packs, table.covers, table.dropped).encode() == data


@given(tables, st.data())
def test_a_lying_table_is_refused_or_says_something_else(table: Table, data: st.DataObject) -> None:
    """With any byte changed, under the name that fits, only declared errors are raised."""
    raw = bytearray(table.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = decoded(bytes(raw))
    except (Corrupt, Unsupported):
        return
    for each in found.heads:
        with contextlib.suppress(Corrupt):
            assert each.commit.id == each.id


@given(st.binary(max_size=120) | st.binary(max_size=90).map(lambda rest: b"OSTB\x01\0\0\0" + rest))
def test_an_arbitrary_table_raises_only_declared_errors(data: bytes) -> None:
    """A table is read or refused."""
    with pytest.raises((Corrupt, Unsupported)):
        decoded(data)


def test_every_changed_byte_and_every_cut_of_a_table_is_noticed() -> None:
    """A table's name is the hash of all its bytes."""
    data = Table((head(A),), {"ab" * 32: b"footer"}, ("cd" * 32,)).encode()
    name = hash_bytes(data).hex()
    assert Table.decode(data, name)
    damaged = [data[:n] for n in range(len(data))] + [data + b"\0"]
    damaged += [data[:n] + bytes([data[n] ^ 1 << n % 8]) + data[n + 1 :] for n in range(len(data))]
    for wrong in damaged:
        with pytest.raises(Corrupt, match=name):
            Table.decode(wrong, name)


def table_bytes(
    rows: list[tuple[bytes, ObjectId, int, int]], raw: bytes, count: int | None = None, **changed: object
) -> bytes:
    """A table with these rows over these bytes of heads, and other members of its head."""
    stored = compress(raw, 3)
    info = canonical(
        {"covers": [], "dropped": {}, "heads_size": len(raw), "heads_stored": len(stored), "v": 1, **changed}
    )
    start = struct.pack("<4sB3xIII", b"OSTB", 1, len(info), len(rows) if count is None else count, 0)
    return start + info + b"".join(struct.pack("<16s32sQI", *row) for row in rows) + stored


def test_a_table_with_a_fault_is_refused() -> None:
    """Rows that overlap, leave gaps, are out of order or too many; sizes and lists of the wrong kind."""
    raw, key, size = A.encode(), bytes.fromhex(KEY), len(A.encode())
    row = (key, A.id, 0, size)
    assert decoded(table_bytes([row], raw)).heads[0].commit == A
    wrong = [
        table_bytes([row, (key, ObjectId(b"\xff" * 32), 0, size)], raw),
        table_bytes([(key, A.id, 1, size - 1)], raw),
        table_bytes([(key, A.id, 0, size - 1)], raw),
        table_bytes([(key, A.id, 0, size + 1)], raw),
        table_bytes([row, row], raw + raw),
        table_bytes([(b"\xff" * 16, A.id, 0, size), (key, A.id, size, size)], raw + raw),
        table_bytes([row], raw, count=2),
        table_bytes([row], raw, count=0),
        table_bytes([row], raw, count=0xFFFFFFFF),
        table_bytes([(key, A.id, 1 << 32, size)], raw),
        table_bytes([(key, A.id, 0, size + 1)], raw, heads_size=size + 1),
        table_bytes([(key, A.id, 0, size - 1)], raw, heads_size=size - 1),
        table_bytes([row], raw, heads_size=size - 1),
        table_bytes([row], raw, heads_size=size + 1),
        table_bytes([row], raw, heads_size=layout.HEADS_MAX + 1),
        table_bytes([row], raw, heads_stored=-1),
        table_bytes([row], raw, heads_stored="1"),
        table_bytes([row], raw, heads_stored=1.0),
        table_bytes([row], raw, covers=["xy"]),
        table_bytes([row], raw, covers=[1]),
        table_bytes([row], raw, covers=None),
        table_bytes([row], raw, dropped=["ab" * 32]),
        table_bytes([row], raw, dropped={"ab" * 32: "1"}),
        table_bytes([row], raw, dropped={"ab": 1}),
        table_bytes([row], raw, v=2),
        table_bytes([row], raw) + b"\0",
    ]
    for data in wrong:
        with pytest.raises(Corrupt):
            decoded(data)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 0)])
def test_claimed_packs_are_in_order_and_once(order: tuple[int, int]) -> None:
    """Else one table would have several names, and a pack two footers."""
    info = canonical(
        {"covers": [], "dropped": {}, "heads_size": 0, "heads_stored": len(compress(b"", 3)), "v": 1}
    )
    start = struct.pack("<4sB3xIII", b"OSTB", 1, len(info), 0, 2) + info + compress(b"", 3)
    packs = [b"\x01" * 32, b"\x02" * 32]
    data = start + b"".join(struct.pack("<32sI", packs[n], 1) for n in order) + b"ab"
    if order == (0, 1):
        assert list(decoded(data).packs) == [pack.hex() for pack in packs]
        return
    with pytest.raises(Corrupt, match="lists packs"):
        decoded(data)


def test_rows_cannot_multiply_a_tables_bytes() -> None:
    """A hundred thousand rows over the same megabyte would be a hundred gigabytes of heads."""
    row = (bytes(16), ObjectId(bytes(32)), 0, 1 << 20)
    data = table_bytes([row] * 100_000, bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(Corrupt):
        decoded(data)
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


def test_a_later_table_is_unsupported() -> None:
    """Not damage: an older program says so."""
    with pytest.raises(Unsupported, match="version 2"):
        decoded(b"OSTB\x02" + Table().encode()[5:])


def test_too_many_heads_for_one_table_are_refused_when_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no reader would accept is not written."""
    monkeypatch.setattr(layout, "HEADS_MAX", 100)
    with pytest.raises(StoreError, match="several"):
        Table((head(A),)).encode()


def test_a_table_that_is_too_long_is_neither_written_nor_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its bytes are in memory."""
    path = put_table(store, Table((head(A),), {"ab" * 32: bytes(5000)}))
    monkeypatch.setattr(layout, "TABLE_MAX", 4000)
    with pytest.raises(StoreError, match="write several"):
        Table((head(A),), {"ab" * 32: bytes(5000)}).encode()
    heads = Heads(store.root)
    assert heads.of(KEY) == []
    assert "more than the 4000" in heads.damaged[path.relative_to(store.root).as_posix()]


def test_only_so_many_dropped_packs_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were given up last."""
    from objstore.heads import latest

    monkeypatch.setattr(layout, "DROPPED_MAX", 2)
    assert latest({"a": 1, "b": 3, "c": 2}) == {"b": 3, "c": 2}


def test_covered_tables_are_left_out() -> None:
    """Only the tables that no other covers count."""
    a, b, c = Table(), Table(covers=("a",)), Table(covers=("b", "x"))
    assert uncovered({"a": a, "b": b, "c": c}) == {"c": c}


# --- a folder of heads ---------------------------------------------------------------------------------------------


def put(store: Store, commit: Commit, label: str = "x") -> Path:
    """Write a commit's head file."""
    path = store.root / layout.head_path(label, commit.key, str(commit.id))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(commit.encode())
    return path


def put_table(store: Store, table: Table) -> Path:
    """Write a table."""
    data = table.encode()
    path = store.root / layout.table_path(hash_bytes(data).hex())
    path.write_bytes(data)
    return path


def live(store: Store) -> dict[str, list[int]]:
    """The generations of the living heads by key, as a new reader sees them."""
    return {key: [h.commit.generation for h in found] for key, found in Heads(store.root).live().items()}


def test_files_and_tables_are_one(store: Store) -> None:
    """A head counts wherever it is, under whichever label, once."""
    later = replace(A, generation=2, covers={"w": 2})
    put(store, A, "one")
    put(store, A, "two")
    put_table(store, Table((head(later), head(replace(A, key="f" * 32)))))
    assert live(store) == {KEY: [2], "f" * 32: [1]}
    assert [h.commit.generation for h in Heads(store.root).of(KEY)] == [2]
    assert Heads(store.root).of("e" * 32) == []


def test_diverged_heads_are_all_shown(store: Store) -> None:
    """Two edits that do not know of each other both live until somebody covers both."""
    put(store, replace(A, covers={"a": 1}))
    put(store, replace(A, covers={"b": 1}))
    assert live(store) == {KEY: [1, 1]}
    put(store, replace(A, generation=2, covers={"a": 1, "b": 1}))
    assert live(store) == {KEY: [2]}


def test_an_old_head_that_a_copy_brings_back_stays_dead(store: Store) -> None:
    """Also when it comes under another label, long after it was removed."""
    old = put(store, A)
    put(store, replace(A, generation=2, covers={"w": 2}))
    old.unlink()
    assert live(store) == {KEY: [2]}
    put(store, A, "elsewhere")
    assert live(store) == {KEY: [2]}


def test_a_damaged_head_is_left_out_and_named(store: Store) -> None:
    """Every changed byte and every cut: the head before it is seen, and the file is named."""
    put(store, A)
    later = replace(A, generation=2, covers={"w": 2})
    path = put(store, later)
    data = path.read_bytes()
    where = path.relative_to(store.root).as_posix()
    damaged = [data[:n] for n in range(len(data))] + [data + b" "]
    damaged += [data[:n] + bytes([data[n] ^ 1 << n % 8]) + data[n + 1 :] for n in range(len(data))]
    for wrong in damaged:
        path.write_bytes(wrong)
        heads = Heads(store.root)
        assert [h.commit.generation for h in heads.live()[KEY]] == [1]
        assert list(heads.damaged) == [where]


def test_a_sound_copy_is_seen_once_it_is_there(store: Store) -> None:
    """A reader that met a damaged head looks at the file again, and forgets the fault."""
    path = put(store, A)
    path.write_bytes(b"damaged")
    heads = Heads(store.root)
    assert heads.live() == {}
    assert heads.damaged
    path.write_bytes(A.encode())
    assert list(heads.live()) == [KEY]
    assert heads.damaged == {}


def test_a_sound_copy_elsewhere_stands_in(store: Store) -> None:
    """A head that is damaged under one label and in a table sound is sound."""
    put(store, A).write_bytes(b"damaged")
    put_table(store, Table((head(A),)))
    assert live(store) == {KEY: [1]}


def test_a_damaged_table_hides_nothing_else(store: Store) -> None:
    """It is named; files, other tables and the tables that it covers are seen."""
    put(store, A)
    first = put_table(store, Table((head(replace(A, key="b" * 32)),)))
    second = put_table(store, Table((head(replace(A, key="c" * 32)),), covers=(first.stem,)))
    third = put_table(store, Table((head(replace(A, key="d" * 32)),)))
    second.write_bytes(second.read_bytes()[:-1])
    heads = Heads(store.root)
    assert set(heads.live()) == {KEY, "b" * 32, "d" * 32}
    assert list(heads.damaged) == [second.relative_to(store.root).as_posix()]
    third.write_bytes(b"")
    assert set(Heads(store.root).live()) == {KEY, "b" * 32}


def test_a_covered_table_is_passed_over(store: Store) -> None:
    """What it had that still matters is in the one that covers it; both stay side by side for a while."""
    old = put_table(store, Table((head(A), head(replace(A, key="b" * 32)))))
    put_table(store, Table((head(A),), covers=(old.stem,)))
    assert live(store) == {KEY: [1]}


def test_a_later_table_is_named_and_the_rest_is_read(store: Store) -> None:
    """One file of a newer program does not lock the store."""
    put(store, A)
    data = b"OSTB\x02" + Table().encode()[5:]
    (store.root / layout.table_path(hash_bytes(data).hex())).write_bytes(data)
    heads = Heads(store.root)
    assert list(heads.live()) == [KEY]
    assert "newer version" in next(iter(heads.damaged.values()))


def test_a_table_with_a_lying_commit_names_itself(store: Store) -> None:
    """A table whose row gives a commit another id or key: who reads the row is told, the others are used."""
    lying = Head(KEY, ObjectId(b"\x01" * 32), A.encode(), "")
    stolen = Head("e" * 32, A.id, A.encode(), "")
    path = put_table(store, Table((lying, stolen, head(replace(A, key="b" * 32)))))
    heads = Heads(store.root)
    assert heads.of(KEY) == heads.of("e" * 32) == []
    found = [each for several in heads.live().values() for each in several]
    assert {each.key for each in found} == {KEY, "b" * 32, "e" * 32}
    for each in found:
        if each.key != "b" * 32:
            with pytest.raises(Corrupt, match=path.name):
                _ = each.commit
    assert heads.damaged == {}
    assert [each.key for each in heads.sound(found)] == ["b" * 32]
    assert list(heads.damaged) == [path.relative_to(store.root).as_posix()]


def test_tables_that_are_gone_are_forgotten(store: Store) -> None:
    """A reader that stays open sees what is there now."""
    path = put_table(store, Table((head(A),)))
    heads = Heads(store.root)
    assert list(heads.live()) == [KEY]
    path.unlink()
    assert heads.live() == {}


def test_a_table_that_is_folded_away_between_listing_and_reading(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader lists again, and finds its heads in the table that covers it."""
    old = put_table(store, Table((head(A),)))
    listing = Heads.table_ids

    def folded_after_listing(heads: Heads) -> set[str]:
        found = listing(heads)
        if old.exists():
            put_table(store, Table((head(A), head(replace(A, key="b" * 32))), covers=(old.stem,)))
            old.unlink()
        return found

    monkeypatch.setattr(Heads, "table_ids", folded_after_listing)
    assert live(store) == {KEY: [1], "b" * 32: [1]}


def test_a_key_in_several_tables_is_one(store: Store) -> None:
    """What one table holds is dead by what another holds; where neither covers the other, both live."""
    put_table(store, Table((head(A), head(replace(A, key="b" * 32, covers={"a": 1})))))
    put_table(store, Table((head(replace(A, generation=2, covers={"w": 2})), head(replace(A, key="b" * 32)))))
    assert live(store) == {KEY: [2], "b" * 32: [1, 1]}


def test_two_heads_of_one_key_in_one_table_are_sorted_out(store: Store) -> None:
    """A table may hold what died in it; it is no more shown than what died elsewhere."""
    later = replace(A, generation=2, covers={"w": 2})
    put_table(store, Table((head(A), head(later), head(replace(A, key="f" * 32)))))
    assert live(store) == {KEY: [2], "f" * 32: [1]}
    listed = Heads(store.root).live()
    assert [h.id for h in listed[KEY]] == [later.id]
    assert sorted(key for key, _ in listed.items()) == [KEY, "f" * 32]


@pytest.mark.parametrize("seen_in", ["all", "live", "of"])
@pytest.mark.parametrize("after", ["the labels", "the tables"])
def test_a_fold_between_two_listings_hides_no_head(
    store: Store, monkeypatch: pytest.MonkeyPatch, seen_in: str, after: str
) -> None:
    """Heads go from refs/ to refs.packed/: who looks in that order meets each of them in one place at least."""
    path = put(store, A)
    listdir, folded = os.listdir, list[Path]()

    def listing(folder: Path) -> list[str]:
        found = listdir(folder)
        if (
            Path(folder) == (path.parent if after == "the labels" else store.root / layout.TABLES)
            and not folded
        ):
            folded.append(put_table(store, Table((head(A),))))
            path.unlink()
        return found

    monkeypatch.setattr(os, "listdir", listing)
    heads = Heads(store.root)
    if seen_in == "of":
        found = heads.of(KEY)
    else:
        found = heads.all()[KEY] if seen_in == "all" else heads.live()[KEY]
    assert folded
    assert {h.id for h in found} == {A.id}
    assert heads.damaged == {}


@pytest.mark.timeout(20)
def test_a_pipe_under_a_heads_name_stops_nobody(store: Store) -> None:
    """It is named as damage; nobody waits for a writer."""
    path = put(store, A)
    path.unlink()
    os.mkfifo(path)
    heads = Heads(store.root)
    assert heads.of(KEY) == []
    assert "is no regular file" in heads.damaged[path.relative_to(store.root).as_posix()]


def test_a_head_file_without_end_costs_little_memory(store: Store) -> None:
    """No more of it is read than a commit may have."""
    path = put(store, A)
    os.truncate(path, 1 << 30)
    heads = Heads(store.root)
    tracemalloc.start()
    assert heads.of(KEY) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert heads.damaged
    assert peak < 64 * layout.MIB


def test_the_heads_of_one_key_are_found_among_many(store: Store) -> None:
    """In whichever table and row; keys before, between and after them are not there."""
    made = [replace(A, key=f"{n:032x}", covers={"w": n + 1}) for n in range(1, 200, 2)]
    put_table(store, Table(tuple(head(commit) for commit in made[:70])))
    put_table(store, Table(tuple(head(commit) for commit in made[60:])))
    heads = Heads(store.root)
    for commit in made:
        (found,) = heads.of(commit.key)
        assert found.commit == commit
    assert all(heads.of(f"{n:032x}") == [] for n in range(0, 202, 2))
    assert heads.of("f" * 32) == []
    listed = heads.live()
    assert {key: [h.commit for h in found] for key, found in listed.items()} == {c.key: [c] for c in made}
    assert sorted(listed) == [c.key for c in made]
    assert len(listed) == len(list(listed.values())) == len(made)
    assert [h.commit for h in listed[made[3].key]] == [made[3]]
    assert "e" * 32 not in listed


def test_strange_files_are_passed_over(store: Store) -> None:
    """Half-copied files, folders and editors' leftovers are no heads."""
    put(store, A)
    (store.root / "refs" / "loose").write_bytes(b"")
    (store.root / "refs" / "x" / ".hidden").write_bytes(b"")
    (store.root / "refs" / "x" / "deeper").mkdir()
    (store.root / "refs" / "x" / f"{KEY}.{'A' * 64}").write_bytes(A.encode())
    (store.root / "refs.packed" / "folder.table").mkdir()
    assert live(store) == {KEY: [1]}


@settings(max_examples=60)
@given(st.lists(st.text(max_size=300), max_size=3).map(tuple))
@example(("CON", ""))
@example(("..", ".."))
@example(("task", "../../x"))
@example(("task", "a/B", "x"))
@example(("task", "emoji 😀" * 999))
def test_a_label_is_one_safe_component(path: tuple[str, ...]) -> None:
    """Whatever a project is called, its heads go into a folder that every file system can hold."""
    label = layout.label(path)
    assert 0 < len(label) <= layout.LABEL_MAX + 1
    assert set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-")
    assert label[0] != "."
    assert label[-1] != "."
    assert label.split(".")[0] not in layout.RESERVED
