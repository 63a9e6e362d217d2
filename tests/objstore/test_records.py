"""The committed records: one record has one spelling, and what is not one is refused before it costs anything."""

from __future__ import annotations

import contextlib
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from objstore import layout
from objstore.errors import Corrupt, InvalidName, StoreError, Unsupported
from objstore.ids import Kind, ObjectId, hash_object
from objstore.records import (
    ChunkList,
    Commit,
    Mode,
    Tree,
    TreeEntry,
    canonical,
    check_checkout_name,
    check_format,
    check_name,
    checkout_key,
    checkout_keys,
    collision_key,
    format_bytes,
    pages,
    parse_canonical,
)

MIB = layout.MIB
counts = st.integers(0, layout.COUNT_MAX)
ids = st.binary(min_size=32, max_size=32).map(ObjectId)
names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20
).filter(lambda name: name not in (".", ".."))
leaf_modes = st.sampled_from([Mode.FILE, Mode.EXEC, Mode.LINK, Mode.TREE])


def trees(modes: st.SearchStrategy[Mode]) -> st.SearchStrategy[Tree]:
    """Trees whose entries are in order."""
    entries = st.builds(TreeEntry, names, modes, ids, counts)
    return st.lists(entries, max_size=8, unique_by=lambda e: e.name).map(
        lambda found: Tree(tuple(sorted(found, key=lambda e: e.name.encode())))
    )


any_tree = trees(leaf_modes) | trees(st.just(Mode.PAGE))
json_values = st.recursive(
    st.none() | st.booleans() | counts | st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = [
    "v",
    "key",
    "path",
    "parents",
    "generation",
    "stamp",
    "state",
    "covers",
    "cut",
    "deleted",
    "rolling",
]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
commits = st.builds(
    Commit,
    key=st.text("0123456789abcdef", min_size=32, max_size=32),
    path=st.lists(texts, max_size=4).map(tuple),
    parents=st.lists(ids, max_size=3).map(tuple),
    generation=counts,
    stamp=counts,
    state=ids,
    covers=st.dictionaries(texts, counts, max_size=4),
    cut=counts,
    deleted=st.booleans(),
    rolling=st.booleans(),
    extra=st.dictionaries(texts.filter(lambda name: name not in FIELDS), json_values, max_size=3),
)
lists = st.tuples(
    st.just(0), st.lists(st.tuples(ids, st.integers(1, layout.CHUNK_MAX)), min_size=1, max_size=9).map(tuple)
) | st.tuples(
    st.just(1), st.lists(st.tuples(ids, st.integers(1, layout.RAW_MAX)), min_size=1, max_size=9).map(tuple)
)
A_COMMIT = Commit("0" * 32, ("task", "p", "n"), (), 1, 2, hash_object(Kind.TREE, b""), {"w": 3})
A_ROW = ["name", "file", "00" * 32, 1]


def peak(action: Callable[[], object]) -> int:
    """Bytes of Python memory that `action`, which refuses its input, takes at most."""
    tracemalloc.start()
    try:
        with pytest.raises(Corrupt):
            action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- canonical JSON ------------------------------------------------------------------------------------------------


@given(st.dictionaries(texts, json_values, max_size=5))
def test_canonical_bytes_read_back(record: dict[str, Any]) -> None:
    """What was written is read, and is what Python's own writer gives with sorted keys and no white space."""
    data = canonical(record)
    assert parse_canonical(data, "it") == record
    assert orjson.loads(data) == json.loads(data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1}',
        b'{"a":1}\n',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1.0e1}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\/"}',
        b'{"a":-0}',
        b'{"a":18446744073709551616}',
        b'{"a":NaN}',
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b"[]",
        b"1",
        b"",
        b"\xef\xbb\xbf{}",
        b"[" * 5000,
        b'{"a":' * 900 + b"1" + b"}" * 900,
    ],
)
def test_other_spellings_are_refused(data: bytes) -> None:
    """JSON that is valid but not canonical would give one record two ids."""
    with pytest.raises(Corrupt):
        parse_canonical(data, "it")


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_a_record_or_corrupt(data: bytes) -> None:
    """Nothing but Corrupt is raised, and what is accepted is written again as it was."""
    for decode in (Tree.decode, ChunkList.decode, Commit.decode):
        try:
            record: Any = decode(data)
        except Corrupt:
            continue
        assert record.encode() == data


def test_nothing_too_long_is_parsed() -> None:
    """A record over the limit is refused for its length, before a byte of it is looked at."""
    data = b"[" + b"0," * (layout.RECORD_MAX // 2) + b"0]"
    assert peak(lambda: parse_canonical(data, "it")) < MIB
    assert peak(lambda: ChunkList.decode(data)) < MIB


def test_what_json_cannot_hold_is_refused() -> None:
    """Numbers over 64 bits and text that is not UTF-8 never get into a record."""
    for value in (1 << 64, "\ud800", b"bytes"):
        with pytest.raises(Corrupt):
            canonical({"a": value})


# --- trees ---------------------------------------------------------------------------------------------------------


@given(any_tree)
def test_a_tree_survives_its_bytes(tree: Tree) -> None:
    """Encode and decode are inverse; the size is the sum of the entries'."""
    assert Tree.decode(tree.encode()) == tree
    assert tree.size == sum(entry.size for entry in tree.entries)


@given(any_tree, st.data())
def test_a_damaged_tree_is_refused_or_is_another_tree(tree: Tree, data: st.DataObject) -> None:
    """Whatever one byte is changed to, no two byte strings are one tree."""
    raw = bytearray(tree.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(Corrupt):
        assert Tree.decode(bytes(raw)).encode() == raw


@pytest.mark.parametrize(
    "record",
    [
        {"entries": [], "v": 2},
        {"entries": [], "v": True},
        {"entries": []},
        {"v": 1},
        {"entries": {}, "v": 1},
        {"entries": None, "v": 1},
        {"entries": ["abcd"], "v": 1},
        {"entries": [A_ROW[:3]], "v": 1},
        {"entries": [[*A_ROW, 1]], "v": 1},
        {"entries": [A_ROW, A_ROW], "v": 1},
        {"entries": [["b", *A_ROW[1:]], ["a", *A_ROW[1:]]], "v": 1},
        {"entries": [["a", *A_ROW[1:]], ["b", "page", *A_ROW[2:]]], "v": 1},
        {"entries": [["name", "fifo", "00" * 32, 1]], "v": 1},
        {"entries": [["name", "file", "0A" * 32, 1]], "v": 1},
        {"entries": [["name", "file", "00" * 31, 1]], "v": 1},
        {"entries": [["name", "file", "00" * 32, -1]], "v": 1},
        {"entries": [["name", "file", "00" * 32, 1.5]], "v": 1},
        {"entries": [["name", "file", "00" * 32, True]], "v": 1},
        {"entries": [["name", "file", "00" * 32, 1 << 53]], "v": 1},
        *({"entries": [[name, *A_ROW[1:]]], "v": 1} for name in ("", ".", "..", "a/b", "a\0", 1, None)),
    ],
)
def test_a_tree_with_a_fault_is_refused(record: dict[str, Any]) -> None:
    """Each rule of a tree is checked when it is read, whoever wrote it."""
    with pytest.raises(Corrupt):
        Tree.decode(canonical(record))


def test_entries_are_sorted_by_their_bytes() -> None:
    """By UTF-8, not by UTF-16 or by locale: the order is the same in every language."""
    in_order = ["Z", "a", "é", "\uffff", "\U0001f600"]
    rows = [[name, *A_ROW[1:]] for name in in_order]
    assert [e.name for e in Tree.decode(canonical({"entries": rows, "v": 1})).entries] == in_order
    with pytest.raises(Corrupt, match="order"):
        Tree.decode(canonical({"entries": [rows[4], rows[3]], "v": 1}))


def test_a_tree_record_holds_at_most_one_page_of_entries() -> None:
    """10,000 entries are read, 10,001 are refused: larger folders are paged."""
    rows = [[f"{n:05}", *A_ROW[1:]] for n in range(layout.TREE_PAGE_MAX + 1)]
    assert len(Tree.decode(canonical({"entries": rows[:-1], "v": 1})).entries) == layout.TREE_PAGE_MAX
    with pytest.raises(Corrupt, match="10001"):
        Tree.decode(canonical({"entries": rows, "v": 1}))


def test_unknown_members_of_a_tree_do_not_hide_it() -> None:
    """A later version may add a member; the tree is passed on byte for byte, so nothing of it is lost."""
    assert Tree.decode(canonical({"entries": [A_ROW], "v": 1, "zone": 1})).entries[0].name == "name"


# --- chunk lists ---------------------------------------------------------------------------------------------------


@given(lists)
def test_a_chunk_list_survives_its_bytes(parts: tuple[int, tuple[tuple[ObjectId, int], ...]]) -> None:
    """Encode and decode are inverse, 12 bytes and 40 an item."""
    found = ChunkList(*parts)
    data = found.encode()
    assert ChunkList.decode(data) == found
    assert len(data) == 12 + 40 * len(found.items)
    assert found.size == sum(n for _, n in found.items)


@given(lists, st.data())
def test_a_damaged_chunk_list_is_refused_or_is_another_list(
    parts: tuple[int, tuple[tuple[ObjectId, int], ...]], data: st.DataObject
) -> None:
    """Whatever one byte is changed to, no two byte strings are one list."""
    raw = bytearray(ChunkList(*parts).encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(Corrupt):
        assert ChunkList.decode(bytes(raw)).encode() == raw


def test_a_chunk_list_with_a_fault_is_refused() -> None:
    """No items, an item of no bytes or of too many, a wrong count, level or length."""
    one = (ObjectId(bytes(32)), 5)
    good = ChunkList(0, (one,)).encode()
    bad = [
        ChunkList(0, ()).encode(),
        ChunkList(0, ((one[0], 0),)).encode(),
        ChunkList(0, ((one[0], layout.CHUNK_MAX + 1),)).encode(),
        ChunkList(1, ((one[0], layout.RAW_MAX + 1),)).encode(),
        ChunkList(2, (one,)).encode(),
        good[:-1],
        good + b"\0",
        good[:6] + b"\1" + good[7:],
        good[:4] + b"\2" + good[5:],
        *(good[:n] for n in range(len(good))),
    ]
    for data in bad:
        with pytest.raises(Corrupt):
            ChunkList.decode(data)


def test_a_lying_count_allocates_nothing() -> None:
    """Four billion items are claimed in twelve bytes."""
    data = b"OSCL\x01\x00\x00\x00\xff\xff\xff\xff"
    assert peak(lambda: ChunkList.decode(data)) < 100_000


def test_a_page_of_a_chunk_list_is_bounded() -> None:
    """A level-0 list of more than 16,384 items is refused, so a page never takes much memory."""
    items = ((ObjectId(bytes(32)), 1),) * (layout.LIST_PAGE_MAX + 1)
    assert len(ChunkList.decode(ChunkList(0, items[1:]).encode()).items) == layout.LIST_PAGE_MAX
    assert ChunkList.decode(ChunkList(1, items).encode()).level == 1
    with pytest.raises(Corrupt, match="16385"):
        ChunkList.decode(ChunkList(0, items).encode())


# --- commits -------------------------------------------------------------------------------------------------------


@given(commits)
@example(A_COMMIT)
def test_a_commit_survives_its_bytes(commit: Commit) -> None:
    """Encode and decode are inverse, unknown fields included; the id is the hash of the bytes."""
    data = commit.encode()
    assert Commit.decode(data) == commit
    assert Commit.decode(data).encode() == data
    assert commit.id == hash_object(Kind.COMMIT, data)


@given(commits, st.data())
def test_a_damaged_commit_is_refused_or_is_another_commit(commit: Commit, data: st.DataObject) -> None:
    """Whatever one byte is changed to, no two byte strings are one commit."""
    raw = bytearray(commit.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(Corrupt):
        assert Commit.decode(bytes(raw)).encode() == raw


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("v", 2),
        ("v", True),
        ("v", 1.0),
        ("key", "0" * 31),
        ("key", "A" * 32),
        ("key", 1),
        ("path", "abc"),
        ("path", [1]),
        ("path", {"a": 1}),
        ("parents", "ab"),
        ("parents", ["ab"]),
        ("parents", None),
        ("generation", -1),
        ("generation", True),
        ("generation", 1 << 53),
        ("stamp", 1.5),
        ("stamp", "1"),
        ("state", "00"),
        ("state", None),
        ("covers", ["w"]),
        ("covers", {"w": -1}),
        ("covers", {"w": None}),
        ("cut", None),
        ("deleted", 0),
        ("rolling", "no"),
    ],
)
def test_a_commit_with_a_fault_is_refused(name: str, value: object) -> None:
    """Each field is checked for its type and range when it is read."""
    record = orjson.loads(A_COMMIT.encode())
    assert Commit.decode(canonical(record)) == A_COMMIT
    with pytest.raises(Corrupt):
        Commit.decode(canonical({**record, name: value}))


@pytest.mark.parametrize("name", FIELDS)
def test_a_commit_without_a_field_is_refused(name: str) -> None:
    """Every field of version 1 must be there."""
    record = orjson.loads(A_COMMIT.encode())
    del record[name]
    with pytest.raises(Corrupt):
        Commit.decode(canonical(record))


def test_unknown_fields_of_a_commit_are_carried_along() -> None:
    """An older program that edits a newer one's commit drops nothing."""
    newer = replace(A_COMMIT, extra={"signature": {"by": "somebody"}})
    edited = replace(Commit.decode(newer.encode()), stamp=9)
    assert orjson.loads(edited.encode())["signature"] == {"by": "somebody"}


def test_a_known_field_is_not_overridden_by_an_unknown_one() -> None:
    """What is carried along never replaces what the program says."""
    assert Commit.decode(replace(A_COMMIT, extra={"key": "f" * 32}).encode()).key == A_COMMIT.key


# --- pages ---------------------------------------------------------------------------------------------------------


@cache
def digest(number: int) -> bytes:
    """Something like the hash of a name."""
    return hash_object(Kind.BLOB, str(number).encode())


def cut_pages(items: list[int]) -> list[list[int]]:
    """Numbers, paged by the hash of each."""
    return list(pages(items, map(digest, items), layout.TREE_PAGE_MAX))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 30_000), st.integers(0, 9_999))
def test_pages_make_up_the_list_and_keep_the_limits(size: int, start: int) -> None:
    """Nothing is lost; only the last page may be short."""
    items = list(range(start, start + size))
    found = cut_pages(items)
    assert [n for page in found for n in page] == items
    assert all(layout.PAGE_MIN <= len(page) <= layout.TREE_PAGE_MAX for page in found[:-1])
    assert all(0 < len(page) <= layout.TREE_PAGE_MAX for page in found)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 39_999), st.integers(1, 1 << 40))
def test_an_insertion_changes_few_pages(where: int, new: int) -> None:
    """A folder of 40,000 entries that gains one stores a page or a few anew, not all."""
    items = list(range(40_000))
    before = {tuple(page) for page in cut_pages(items)}
    after = {tuple(page) for page in cut_pages([*items[:where], -new, *items[where:]])}
    assert len(before) >= 5
    assert len(after - before) <= 3


def test_chosen_items_cannot_make_tiny_pages() -> None:
    """Where every item asks for the end of a page, pages still have 256: paging the pages comes to an end."""
    found = list(pages(list(range(1000)), (bytes(32) for _ in range(1000)), layout.TREE_PAGE_MAX))
    assert [len(page) for page in found] == [256, 256, 256, 232]


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\0b", "\ud800"])
def test_no_tree_holds_such_a_name(name: str) -> None:
    """Nothing with these names gets in."""
    with pytest.raises(InvalidName):
        check_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "C:", "c:x", "a\\b", "\\\\server", "a*", "a?", 'a"', "a<", "a>", "a|", "a\n", "a\x1f", "a.", "a ", "...",
        "CON", "con", "Con.txt", "con .txt", "aux.tar.gz", "NUL", "com1", "LPT9.x", "COM¹", "conin$", "é" * 128,
    ],
)  # fmt: skip
def test_no_checkout_writes_such_a_name(name: str) -> None:
    """These may be in a tree, but some file system would refuse or misread them."""
    assert check_name(name) == name
    with pytest.raises(InvalidName):
        check_checkout_name(name)


@pytest.mark.parametrize(
    "name", ["a", ".hidden", "..a", "a b", "con1", "console", "é" * 127, "emoji 😀", "-rf", "~"]
)
def test_ordinary_names_pass(name: str) -> None:
    """The rules refuse no more than they say."""
    assert check_checkout_name(name) == name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("readme", "README"),
        ("é", "e\u0301"),
        ("straße", "STRASSE"),
        ("Å", "\u212b"),
        ("ﬀ", "FF"),
    ],
)
def test_names_that_some_file_system_cannot_tell_apart_collide(one: str, other: str) -> None:
    """Case and normal form are folded together."""
    assert collision_key(one) == collision_key(other)


@given(names)
def test_folding_is_complete(name: str) -> None:
    """What a case-folding and normalising file system may do to a name does not change what it collides with."""
    import unicodedata

    for form in ("NFC", "NFD"):
        assert collision_key(unicodedata.normalize(form, name)) == collision_key(name)
    assert collision_key(name.casefold()) == collision_key(name)


# --- format --------------------------------------------------------------------------------------------------------


def changed(**fields: object) -> bytes:
    """The `format` file with other fields."""
    return orjson.dumps({**orjson.loads(format_bytes()), **fields})


def features(**lists: object) -> bytes:
    """The `format` file with other features."""
    return changed(features={"read": [], "write": [], "gc": [], **lists})


def test_this_versions_format_may_be_written() -> None:
    """What is written is what is accepted; a feature of gc is no matter to reader and writer."""
    assert check_format(format_bytes(), "it")
    assert check_format(features(gc=["new"]), "it")
    assert check_format(changed(more=1), "it")


def test_an_unknown_write_feature_or_chunker_makes_a_store_read_only() -> None:
    """It can be read all the same."""
    assert not check_format(features(write=["new"]), "it")
    assert not check_format(changed(chunker="other"), "it")


@pytest.mark.parametrize(
    "data", [features(read=["new"]), changed(version=2), changed(hash="sha256"), b'{"version":2,"hash":3}']
)
def test_an_unknown_format_is_refused_by_name(data: bytes) -> None:
    """A version, hash or read feature that is not known: Unsupported, not a guess."""
    with pytest.raises(Unsupported, match="it "):
        check_format(data, "it")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"format"',
        changed(features=None),
        changed(chunker=1),
        features(write="x"),
        features(gc=None),
        format_bytes()[:-3],
        b" " * (layout.FORMAT_MAX + 1),
    ],
)
def test_a_damaged_format_is_corrupt(data: bytes) -> None:
    """The message says what to do."""
    with pytest.raises(Corrupt, match="copy it"):
        check_format(data, "it")


@given(st.binary(max_size=60))
def test_an_arbitrary_format_raises_only_declared_errors(data: bytes) -> None:
    """No other error gets out."""
    with pytest.raises(StoreError):
        check_format(data, "it")


@given(st.text(max_size=12) | st.text(st.sampled_from('con.aAlpt1 \\/:*?"<>|~}{!,-é\x7f'), max_size=8))
def test_the_quick_look_at_a_name_says_what_the_rules_say(name: str) -> None:
    """A name that passes at a glance passes each rule, and has the key that all others are compared by."""
    try:
        wanted = collision_key(check_checkout_name(name))
    except InvalidName:
        with pytest.raises(InvalidName):
            checkout_key(name)
    else:
        assert checkout_key(name) == wanted


def test_every_character_is_judged_alike_by_both() -> None:
    """Of ASCII, alone, at the end and within: the glance knows no more than the rules."""
    for name in (n for c in map(chr, range(1, 128)) for n in (c, f"a{c}", f"a{c}b", f"con{c}", f"{c}com1")):
        try:
            wanted: str | None = collision_key(check_checkout_name(name))
        except InvalidName:
            wanted = None
        try:
            found: str | None = checkout_key(name)
        except InvalidName:
            found = None
        assert found == wanted, name


@given(
    st.lists(
        st.text(st.sampled_from("ab ."), min_size=1, max_size=4)
        | st.sampled_from(["con", "COM1.x", "é", "a\nb", "a" * 255, "a" * 256, "x:y", "\x7f", "A", "aUx"]),
        max_size=5,
    )
)
def test_a_page_of_names_is_judged_as_each_of_them(names: list[str]) -> None:
    """All at once, with the same keys, and refused where one of them is."""
    try:
        wanted = [checkout_key(name) for name in names]
    except InvalidName:
        with pytest.raises(InvalidName):
            checkout_keys(names)
    else:
        assert checkout_keys(names) == wanted


BAD_ROWS: list[Any] = [
    ["", "file", "ab" * 32, 1],
    ["..", "file", "ab" * 32, 1],
    ["a/b", "file", "ab" * 32, 1],
    ["a\0", "file", "ab" * 32, 1],
    [1, "file", "ab" * 32, 1],
    ["zz", "file", "AB" * 32, 1],
    ["zz", "file", "ab" * 31 + " a", 1],
    ["zz", "file", "ab" * 31, 1],
    ["zz", "file", "ab" * 33, 1],
    ["zz", "file", 7, 1],
    ["zz", "file", "ab" * 32, -1],
    ["zz", "file", "ab" * 32, True],
    ["zz", "file", "ab" * 32, 1.0],
    ["zz", "file", "ab" * 32, layout.COUNT_MAX + 1],
    ["zz", "socket", "ab" * 32, 1],
    ["zz", [], "ab" * 32, 1],
    ["zz", "file", "ab" * 32],
    ["zz", "file", "ab" * 32, 1, 1],
    "four",
    {"a": 1, "b": 2, "c": 3, "d": 4},
    None,
]


@pytest.mark.parametrize("row", BAD_ROWS, ids=repr)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_bad_row_among_good_ones_spoils_a_tree(row: Any, place: int) -> None:
    """Though the columns of a tree are looked at as a whole."""
    rows: list[Any] = [["zx", "file", "ab" * 32, 1], ["zy", "exec", "cd" * 32, 2]]
    assert len(Tree.decode(canonical({"entries": rows, "v": 1})).entries) == 2
    rows.insert(place, row)
    with pytest.raises(StoreError, match=r"damaged|cannot be|valid|object id"):
        Tree.decode(canonical({"entries": rows, "v": 1}))


def test_two_short_ids_do_not_make_up_for_one_that_is_long() -> None:
    """Their digits together are as many as they should be."""
    rows = [["a", "file", "ab" * 31, 1], ["b", "file", "ab" * 33, 1]]
    with pytest.raises(StoreError, match="object id"):
        Tree.decode(canonical({"entries": rows, "v": 1}))
