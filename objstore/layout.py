"""Every path, limit and magic number of a store, each with its unit and its reason. Computes names, touches no disk."""

from __future__ import annotations

import re
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- the tree of a store ---------------------------------------------------------------------------------------

FORMAT_FILE: Final = "format"
CONFIG_FILE: Final = "config.toml"
PACKS: Final = "packs"
REFS: Final = "refs"
TABLES: Final = "refs.packed"
LIVE: Final = "live"
QUEUES: Final = "queues"
TRASH: Final = "trash"
CACHE: Final = "cache"
TMP: Final = "tmp"
STAT_CACHE: Final = f"{CACHE}/stat"
FOLDERS: Final = (PACKS, REFS, TABLES, LIVE, QUEUES, TRASH, CACHE, TMP)
UNION: Final = (PACKS, REFS, TABLES)  # what a copier has to carry; the rest belongs to one place

# Names of what was added to version 1 since, and is understood here: what else a store's `format` names is not.
FEATURES: Final[dict[str, frozenset[str]]] = {"read": frozenset(), "write": frozenset(), "gc": frozenset()}
FORMAT: Final[dict[str, object]] = {
    "version": 1,
    "hash": "blake3",
    "chunker": "fastcdc2020/32768/131072/524288",
    "features": {"read": [], "write": [], "gc": []},
}

# --- limits ----------------------------------------------------------------------------------------------------

BLOB_MAX: Final = 8 * MIB  # a file up to this size is one blob; larger ones become chunk lists
CHUNK_MIN: Final = 32 * KIB
CHUNK_AVG: Final = 128 * KIB  # the knee between bytes saved in a second version and entries in a list
CHUNK_MAX: Final = 512 * KIB
FRAME_RAW_MAX: Final = (
    1 * MIB
)  # neighbouring chunks encoded together: better ratio, still a small random read
GROUP_RAW_MAX: Final = (
    64 * KIB
)  # small records share a frame up to here: alone they compress to 0.79, together to 0.16
PACK_TARGET: Final = (
    64 * MIB
)  # one plain put to any object service, and large enough that a listing stays short
RECORD_MAX: Final = 16 * MIB  # any record; larger ones are refused before they are looked at
# A tree, commit or table head. orjson takes 12 times a text's bytes before it begins, so that this is 42 MiB; and
# 10,000 entries with the longest names that a file system can hold need 3.4 MiB.
JSON_MAX: Final = 3584 * KIB
VALUES_MAX: Final = 1 << 16  # commas, colons, opening brackets in one: up to 100 bytes of memory for each
RAW_MAX: Final = 1 << 50  # bytes an object may claim to hold
FOOTER_MAX: Final = 10 * MIB  # 218,000 objects; to hold one as Python objects takes five times its bytes
FOOTER_FULL: Final = 6 * MIB  # at which a writer ends the pack: what a frame adds has room up to the limit
TABLE_MAX: Final = 1024 * MIB
HEADS_MAX: Final = 24 * MIB  # bytes of heads in one table: 40,000 of 600; decoding them takes twice that
DROPPED_MAX: Final = (
    10_000  # packs that a table says are given up: what was so longer ago is in no table by now
)
TREE_PAGE_MAX: Final = 10_000  # entries in one tree record before it is paged
LIST_PAGE_MAX: Final = 16_384  # entries in one chunk-list record before it is paged
LIST_PAGES_MAX: Final = 1 << 17  # pages of one chunk list: enough for RAW_MAX where each page is full
PAGE_MIN: Final = (
    256  # entries before a page may end: else chosen names, or one chunk repeated, make pages of one
)
PAGE_MASK: Final = (
    4095  # pages end where a hash is 0 under this mask: 4096 entries on average, whatever came before
)
DEPTH_MAX: Final = 64  # of nested trees
# Names in one checkout, each as often as it is written: a few trees that name each other often describe any number.
CHECKOUT_MAX: Final = 1 << 24
# Writers that are compared to sort out the heads of one key, beyond a linear look at them: half a second, in which 500
# that all live are told apart. A comparison costs as much as so many writers of a long one.
COVERS_MAX: Final = 1 << 22
COVERS_LOOK: Final = 16
SAVES: Final = 0.95  # of its size: what compresses to less is stored so; reading raw is six times as fast
RATIO_MAX: Final = 40_000  # of expansion: zstd reaches 32,692 on zeros
# Bytes of content that a chunk list may claim whatever is stored; beyond, RATIO_MAX times the packs of the store. To
# prove a list costs reading all that it claims, and a chunk and some pages can claim a pebibyte.
SPARSE_MAX: Final = 1 << 40
# The same for all lists together that one pull, or one check of a bundle, proves: they are somebody else's, and two
# minutes are enough. What does not repeat itself never comes near: a list alone takes 1/16,384 of what it claims.
SPARSE_FOREIGN_MAX: Final = 1 << 37
COUNT_MAX: Final = (1 << 53) - 1  # the greatest number in a record: what every JSON reader holds exactly
REGIONS_MAX: Final = 100_000  # tensors looked for in one file: more than any model has, and 20 MiB of memory
CONTAINER_HEADER_MAX: Final = 16 * MIB  # bytes read of what a container says of itself
STAT_SPOTS_MIN: Final = 64 * KIB  # bytes from which an unchanged file is looked into on every hit
STAT_SAMPLE: Final = 64  # smaller unchanged files of a folder that are read whole, at random, on every hit
STAT_MARGIN: Final = (
    100_000_000  # ns: a change less than ten ticks of a kernel's clock ago may hide the next one
)
STAT_MARGIN_COARSE: Final = (
    10_000_000_000  # ns, where times are whole seconds, or two, by some server's clock
)
STAT_ROWS_MAX: Final = 200_000  # files remembered of one folder; 50 MiB of memory
STAT_CACHE_MAX: Final = 32 * MIB  # bytes of one cache
STAT_CACHES_MAX: Final = 1024  # paths remembered
FORMAT_MAX: Final = 64 * KIB  # bytes of the `format` file
PREFIX_MIN: Final = 6  # characters of an id that may stand for it
PROOFS_MAX: Final = 2 * MIB  # bytes of remembered proofs of chunk lists: 30,000 of them
INDEX: Final = f"{CACHE}/index"  # where each object is, as sorted segments
SEGMENT_SUFFIX: Final = ".v1"  # of an index segment: one with another was written by another version

LOOSE_MAX: Final = (
    64  # head files of their own; more are folded into a table: a listing of so many takes 1 ms
)
ABSORB: Final = 4  # a table takes over those up to this many times its size, so that a handful stay alive
MERGE_MAX: Final = 8 * MIB  # packs below are merged; from here on only gc rewrites them
MERGE_COUNT: Final = (
    16  # packs of about one size that become one: each byte is rewritten once a tier, five times in all
)
MERGE_MOST: Final = 256  # packs that become one where many have gathered
MERGE_STOP: Final = 8 * MIB  # bytes after which a merge takes no more: what it made is large enough to stay
MERGE_OBJECTS: Final = 30_000  # after which it takes no more: one footer has to list them all
MERGE_RAW_MAX: Final = 256 * MIB  # bytes of content, decoded, of a pack that is merged: a bomb is left alone
SETTLE: Final = 3600.0  # seconds that superfluous files stay where they were: a copier may have listed them
WAITING_MAX: Final = 16  # of these files at most: in a burst of runs the oldest go sooner

DAY: Final = 86_400  # seconds
GRACE: Final = (
    14 * DAY
)  # how long what nothing names is kept, and again in the trash: longer than any run is offline
DEAD_SHARE: Final = (
    0.25  # of a pack's bytes that are dead before it is rewritten: less is not worth the writing
)
STALE: Final = (
    DAY  # seconds after which an unfinished file is nobody's: who has written nothing for a day starts anew
)
GRACE_NOW: Final = (
    3600  # seconds; both of these where a disk is full: what is younger may be needed by who runs now
)
CACHE_STALE: Final = 90 * DAY  # seconds after which a note in cache/ that nobody wrote again is not missed

BUNDLE_PARTS_MAX: Final = 9_999  # files that one bundle may be split into
BUNDLE_PART_MIN: Final = 64 * KIB  # bytes of a part: a medium that holds less is none
BUNDLE_INFO_MAX: Final = 1 * MIB  # bytes of the record in a bundle's index
BUNDLE_FILES_MAX: Final = 1 << 17  # packs and tables in one bundle: 8 TiB of full packs
BUNDLE_ROWS_MAX: Final = 1 << 20  # objects that a bundle rests on, and heads that it takes for known
BUNDLE_HEADS_MAX: Final = 64 * MIB  # bytes of heads in one bundle: 150,000; they are held in memory
BUNDLE_HEADS_COUNT_MAX: Final = 1 << 18
BUNDLE_NAMED_MAX: Final = 1000  # prerequisites that are named one by one

LABEL_MAX: Final = 100  # bytes of a path component; longer ones are cut
LABEL_CUT: Final = 60

# Names that Windows reserves in every folder, whatever their extension.
RESERVED: Final = frozenset(
    [
        "con",
        "prn",
        "aux",
        "nul",
        "conin$",
        "conout$",
        *(f"{p}{n}" for p in ("com", "lpt") for n in "123456789¹²³"),
    ]
)

_KEY = re.compile(r"[0-9a-f]{32}")
_HEX64 = re.compile(r"[0-9a-f]{64}")
_HEAD = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{64})")
_PACK = re.compile(r"([0-9a-f]{64})\.pack")
_HIDDEN = re.compile(r"\.([0-9a-f]{64})\.pack")
_TABLE = re.compile(r"([0-9a-f]{64})\.table")
_NOT_LABEL = re.compile(r"[^a-z0-9_.-]")


def is_key(text: str) -> bool:
    """Whether `text` is a head's key: 32 lower-case hex digits."""
    return _KEY.fullmatch(text) is not None


def is_hex_id(text: str) -> bool:
    """Whether `text` is a full object id: 64 lower-case hex digits."""
    return _HEX64.fullmatch(text) is not None


def pack_path(pack_id: str) -> str:
    """Where a pack lies, relative to the store."""
    return f"{PACKS}/{pack_id[:2]}/{pack_id}.pack"


def table_path(table_id: str) -> str:
    """Where a head table lies, relative to the store."""
    return f"{TABLES}/{table_id}.table"


def head_path(label: str, key: str, commit_id: str) -> str:
    """Where a head file lies, relative to the store."""
    return f"{REFS}/{label}/{key}.{commit_id}"


def parse_pack_name(name: str) -> str | None:
    """The pack id in a file name, or None for anything else."""
    match = _PACK.fullmatch(name)
    return match[1] if match else None


def parse_hidden_name(name: str) -> str | None:
    """The pack id in the name of a pack that was set aside where there was no room for a trash, or None."""
    match = _HIDDEN.fullmatch(name)
    return match[1] if match else None


def parse_table_name(name: str) -> str | None:
    """The table id in a file name, or None for anything else."""
    match = _TABLE.fullmatch(name)
    return match[1] if match else None


def parse_head_name(name: str) -> tuple[str, str] | None:
    """The (key, commit id) in a file name, or None for anything else."""
    match = _HEAD.fullmatch(name)
    return (match[1], match[2]) if match else None


def label(path: tuple[str, ...]) -> str:
    """The folder below refs/ for a commit's display path (kind, group, name): kind and group, folded.

    One component of [a-z0-9_.-], at most 100 bytes, safe on every file system. It is for people: two paths may
    share a label, and a rename may leave a stale one; nothing is ever decided by it.
    """
    folded = _NOT_LABEL.sub("_", ".".join(path[:2]).lower().replace("/", ".")).strip(".")
    if len(folded) > LABEL_MAX:
        import hashlib  # it loads OpenSSL, which few processes need

        digest = hashlib.blake2b(folded.encode(), digest_size=8).hexdigest()
        folded = f"{folded[:LABEL_CUT]}-{digest}"
    folded = folded or "_"
    return f"_{folded}" if folded.split(".")[0] in RESERVED else folded
