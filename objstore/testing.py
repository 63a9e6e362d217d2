"""For those who write a remote: the contract as a test suite, and wrappers that count, fail and lie on demand.

A new remote's test file is a subclass of `RemoteContract` with one fixture. pytest is only needed to run it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar, cast

from objstore import layout
from objstore.errors import InvalidName, NotFound, RemoteError
from objstore.remotes import Listed, Remote

T = TypeVar("T")

BAD_NAMES: Final = (
    "",
    "/etc/passwd",
    "..",
    ".",
    "packs/../../escape",
    "packs/..",
    "packs//x",
    "packs/",
    "./packs/x",
    "packs/a\\b",
    "packs/a\0b",
    "packs/" + "x" * 256,
    "/".join(["x" * 200] * 6),
    "packs/\ud800",
)
BAD_PREFIXES: Final = ("/", "..", "../", "packs/../", "packs//", "a\\", "a\0")


class RemoteContract:
    """What every remote has to do. Subclass it in a test file and give it a fixture named `remote`, empty and fresh.

        class TestMine(RemoteContract):
            @pytest.fixture
            def remote(self, tmp_path):
                return MyRemote(tmp_path)

    many: files in the test of long listings; a remote that lists by pages sets it above its page.
    """

    many = 40

    def test_a_file_comes_back_as_it_was_put(self, remote: Remote) -> None:
        """Bytes in, the same bytes out; the empty file too."""
        for data in (b"content", b"", bytes(range(256)) * 4096):
            remote.put("packs/ab/one.pack", data)
            assert remote.get("packs/ab/one.pack") == data

    def test_a_local_file_is_put_like_bytes(self, remote: Remote, tmp_path: Path) -> None:
        """A path as the source gives the same as its bytes, and leaves the file alone."""
        source = tmp_path / "source"
        source.write_bytes(b"\0from a file\n" * 100_000)
        remote.put("packs/ab/one.pack", source)
        assert remote.get("packs/ab/one.pack") == source.read_bytes() == b"\0from a file\n" * 100_000

    def test_a_source_that_cannot_be_read_puts_nothing(self, remote: Remote, tmp_path: Path) -> None:
        """A missing local file is the caller's OSError, and no name appears."""
        raises(FileNotFoundError, lambda: remote.put("packs/ab/one.pack", tmp_path / "absent"))
        assert names(remote, "") == []

    def test_putting_the_same_again_is_harmless(self, remote: Remote) -> None:
        """A put whose reply was lost is repeated: one file, unchanged."""
        for _ in range(3):
            remote.put("refs.packed/t.table", b"same")
        assert list(remote.list("")) == [Listed("refs.packed/t.table", 4)]
        assert remote.get("refs.packed/t.table") == b"same"

    def test_what_is_absent_is_not_found(self, remote: Remote) -> None:
        """Both get and get_range raise NotFound, beside other files and inside a name that is a file."""
        remote.put("packs/ab/one.pack", b"content")
        for name in ("packs/ab/two.pack", "refs/x/y", "packs/ab", "packs/ab/one.pack/below"):
            raises(NotFound, partial(remote.get, name))
            raises(NotFound, partial(remote.get_range, name, 0, 1))

    def test_a_get_has_a_limit(self, remote: Remote) -> None:
        """More bytes than the caller accepts are a RemoteError, never an overfull memory."""
        remote.put("refs/x/y", b"12345")
        assert remote.get("refs/x/y", 5) == b"12345"
        raises(RemoteError, lambda: remote.get("refs/x/y", 4))

    def test_a_range_is_exactly_those_bytes(self, remote: Remote) -> None:
        """In the middle, at both ends, over the end (shorter), behind it and of length 0 (empty)."""
        data = bytes(range(200))
        remote.put("packs/ab/one.pack", data)
        for offset, length in (
            (0, 200),
            (0, 1),
            (50, 100),
            (199, 1),
            (150, 1000),
            (0, 10**12),
            (200, 5),
            (900, 5),
            (7, 0),
        ):
            found = remote.get_range("packs/ab/one.pack", offset, length)
            assert found == data[offset : offset + length], (offset, length)

    def test_a_negative_range_is_refused(self, remote: Remote) -> None:
        """A negative offset would silently be the file's end somewhere."""
        remote.put("packs/ab/one.pack", b"content")
        for offset, length in ((-1, 1), (0, -1)):
            raises(ValueError, partial(remote.get_range, "packs/ab/one.pack", offset, length))

    def test_a_listing_shows_names_and_sizes(self, remote: Remote) -> None:
        """Every file below, with its whole name and its bytes, each once."""
        files = {f"packs/{n % 7:02x}/{n:04x}.pack": b"x" * (n % 5) for n in range(self.many)}
        for name, data in files.items():
            remote.put(name, data)
        found = list(remote.list("packs/"))
        assert len(found) == len(files)
        assert {entry.name: entry.size for entry in found} == {
            name: len(data) for name, data in files.items()
        }

    def test_a_prefix_is_the_beginning_of_a_name(self, remote: Remote) -> None:
        """`refs` shows refs/ and refs.packed/ alike; a prefix may end in the middle of a part."""
        for name in ("refs/a/1", "refs/ab/2", "refs.packed/3", "packs/ab/4", "format"):
            remote.put(name, b".")
        assert names(remote, "refs") == ["refs.packed/3", "refs/a/1", "refs/ab/2"]
        assert names(remote, "refs/") == ["refs/a/1", "refs/ab/2"]
        assert names(remote, "refs/a") == ["refs/a/1", "refs/ab/2"]
        assert names(remote, "refs/a/") == ["refs/a/1"]
        assert names(remote, "refs/a/1") == ["refs/a/1"]
        assert names(remote, "form") == ["format"]
        assert names(remote, "") == ["format", "packs/ab/4", "refs.packed/3", "refs/a/1", "refs/ab/2"]

    def test_nothing_below_a_prefix_is_an_empty_listing(self, remote: Remote) -> None:
        """Of an empty remote, of an absent folder, below a file."""
        assert names(remote, "") == names(remote, "refs") == []
        remote.put("packs/ab/one.pack", b"content")
        assert names(remote, "refs") == names(remote, "packs/b") == names(remote, "packs/ab/one.pack/") == []

    def test_a_deleted_file_is_gone(self, remote: Remote) -> None:
        """Not listed, not found, and nothing else with it; deleting it again is no error."""
        remote.put("packs/ab/one.pack", b"1")
        remote.put("packs/ab/two.pack", b"2")
        remote.delete("packs/ab/one.pack")
        remote.delete("packs/ab/one.pack")
        remote.delete("refs/never/was")
        raises(NotFound, lambda: remote.get("packs/ab/one.pack"))
        assert names(remote, "") == ["packs/ab/two.pack"]

    def test_unsafe_names_are_refused_by_every_verb(self, remote: Remote) -> None:
        """Names that leave the remote's place, or that some remote cannot hold, reach no disk and no server."""
        for name in BAD_NAMES:
            verbs: list[Callable[[], object]] = [
                partial(remote.put, name, b"x"),
                partial(remote.get, name),
                partial(remote.get_range, name, 0, 1),
                partial(remote.delete, name),
            ]
            for verb in verbs:
                raises(InvalidName, verb)
        for prefix in BAD_PREFIXES:
            raises(InvalidName, partial(names, remote, prefix))
        assert names(remote, "") == []

    def test_a_reader_never_sees_part_of_a_put(self, remote: Remote) -> None:
        """While a file is put, get and list show all of it or nothing."""
        data = bytes(range(256)) * (1 << 14)
        done = threading.Event()

        def look() -> set[int]:
            seen: set[int] = set()
            while not done.is_set():
                seen.update(entry.size for entry in remote.list("packs"))
                for n in range(4):
                    try:
                        seen.add(len(remote.get(f"packs/ab/{n}.pack")))
                    except NotFound:
                        continue
            return seen

        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(look)
            try:
                for n in range(4):
                    remote.put(f"packs/ab/{n}.pack", data)
            finally:
                done.set()
            assert found.result() <= {len(data)}
        assert len(names(remote, "packs")) == 4

    def test_threads_may_use_one_remote(self, remote: Remote) -> None:
        """Eight of them put, some the same names, and each finds what was put."""

        def work(number: int) -> bool:
            name, data = f"packs/ab/{number % 4}.pack", bytes([number % 4]) * 1000
            remote.put(name, data)
            return remote.get(name) == data

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(32)))
        assert len(names(remote, "")) == 4

    def test_a_remote_has_a_name_for_messages(self, remote: Remote) -> None:
        """The URL is text, always the same, and part of the errors."""
        assert remote.url
        error = raises(NotFound, lambda: remote.get("refs/x/absent"))
        assert remote.url in str(error)
        assert "refs/x/absent" in str(error)


def names(remote: Remote, prefix: str) -> list[str]:
    """The sorted names of a listing."""
    return sorted(entry.name for entry in remote.list(prefix))


E = TypeVar("E", bound=Exception)


def raises(kind: type[E], call: Callable[[], object]) -> E:
    """The error of `kind` that the call raises. Raises AssertionError when it raises none."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} was raised")


# --- wrappers ------------------------------------------------------------------------------------------------------


class Counting:
    """A remote around a remote that counts: `calls` by verb, `bytes` that came back or went out."""

    def __init__(self, inner: Remote) -> None:
        self.inner = inner
        self.url = inner.url
        self.calls: Counter[str] = Counter()
        self.bytes = 0

    @property
    def total(self) -> int:
        """Calls of all verbs."""
        return self.calls.total()

    def reset(self) -> None:
        """Begin to count anew."""
        self.calls.clear()
        self.bytes = 0

    def list(self, prefix: str) -> Iterator[Listed]:
        """See `objstore.remotes.Lists`."""
        self.calls["list"] += 1
        return self.inner.list(prefix)

    def get(self, name: str, limit: int = layout.TABLE_MAX) -> bytes:
        """See `objstore.remotes.Gets`."""
        self.calls["get"] += 1
        return self._count(self.inner.get(name, limit))

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """See `objstore.remotes.Ranges`."""
        self.calls["get_range"] += 1
        return self._count(self.inner.get_range(name, offset, length))

    def put(self, name: str, source: bytes | Path) -> None:
        """See `objstore.remotes.Puts`."""
        self.calls["put"] += 1
        self.bytes += len(source) if isinstance(source, bytes) else source.stat().st_size
        self.inner.put(name, source)

    def delete(self, name: str) -> None:
        """See `objstore.remotes.Deletes`."""
        self.calls["delete"] += 1
        self.inner.delete(name)

    def _count(self, data: bytes) -> bytes:
        self.bytes += len(data)
        return data


class Faulty:
    """A remote around a remote whose calls fail from the `first` on, `times` of them; calls are counted from 1.

    lost: the call is done, and only its reply is lost; truncate: what comes back ends in the middle, without an error.
    verbs: those that count and fail, all by default.
    """

    def __init__(
        self,
        inner: Remote,
        first: int,
        *,
        times: int = 1,
        lost: bool = False,
        truncate: bool = False,
        verbs: tuple[str, ...] = ("list", "get", "get_range", "put", "delete"),
    ) -> None:
        self.inner = inner
        self.url = inner.url
        self.calls = 0
        self._failing = range(first, first + times)
        self._lost = lost
        self._truncate = truncate
        self._verbs = verbs

    def list(self, prefix: str) -> Iterator[Listed]:
        """See `objstore.remotes.Lists`."""
        return self._call("list", lambda: iter([*self.inner.list(prefix)]))

    def get(self, name: str, limit: int = layout.TABLE_MAX) -> bytes:
        """See `objstore.remotes.Gets`."""
        return self._call("get", lambda: self.inner.get(name, limit))

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """See `objstore.remotes.Ranges`."""
        return self._call("get_range", lambda: self.inner.get_range(name, offset, length))

    def put(self, name: str, source: bytes | Path) -> None:
        """See `objstore.remotes.Puts`."""
        self._call("put", lambda: self.inner.put(name, source))

    def delete(self, name: str) -> None:
        """See `objstore.remotes.Deletes`."""
        self._call("delete", lambda: self.inner.delete(name))

    def _call(self, verb: str, call: Callable[[], T]) -> T:
        if verb not in self._verbs:
            return call()
        self.calls += 1
        if self.calls not in self._failing:
            return call()
        if not self._lost and not self._truncate:
            raise RemoteError(f"{self.url}: call {self.calls} ({verb}) fails, as it was told to")
        found = call()
        if self._lost:
            raise RemoteError(
                f"{self.url}: the reply to call {self.calls} ({verb}) is lost, as it was told to be"
            )
        return cast("T", found[: len(found) // 2]) if isinstance(found, bytes) else found
