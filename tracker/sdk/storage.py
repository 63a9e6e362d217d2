"""StorageManager: files to and from folders, buckets and web servers. What fails is a warning and None."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from objstore.errors import NotFound, StoreError
from tracker.errors import TrackerError
from tracker.notice import say

_T = TypeVar("_T")


class StorageManager:
    """ClearML's verbs. URLs: paths, file://, s3://, gs://, az:// or azure://, http(s)://."""

    _cache_files: int | None = None

    @classmethod
    def get_local_copy(
        cls,
        remote_url: str,
        cache_context: str | None = None,
        extract_archive: bool = True,
        name: str | None = None,
        force_download: bool = False,
    ) -> str | None:
        """The path of a local copy; of a local file itself, of a zip, tgz or tar.gz what it holds. None: it failed."""
        from tracker.storage import transfer

        def copy() -> str:
            keep = transfer.CACHE_FILES if cls._cache_files is None else cls._cache_files
            path = transfer.fetch(remote_url, fresh=force_download, name=name, keep=keep)
            return str(transfer.extracted(path) if extract_archive else path)

        return _told(f"no copy of {remote_url}", copy)

    @classmethod
    def upload_file(
        cls, local_file: str | Path, remote_url: str, wait_for_upload: bool = True, retries: int | None = None
    ) -> str | None:
        """Copy a file to a URL, on return it is there; returns the URL, None when it failed."""
        from tracker.storage import transfer

        return _told(
            f"{local_file} was not uploaded",
            lambda: transfer.send(Path(local_file), remote_url, 1 + (retries or 0)),
        )

    @classmethod
    def upload_folder(
        cls,
        local_folder: str | Path,
        remote_url: str,
        match_wildcard: str | None = None,
        retries: int | None = None,
    ) -> str | None:
        """Copy the files of a folder that fit a wildcard below a URL; returns the URL, None when it failed."""
        from tracker.storage import transfer

        return _told(
            f"{local_folder} was not uploaded",
            lambda: transfer.send_folder(Path(local_folder), remote_url, match_wildcard, 1 + (retries or 0)),
        )

    @classmethod
    def download_file(
        cls,
        remote_url: str,
        local_folder: str | Path | None = None,
        overwrite: bool = False,
        skip_zero_size_check: bool = False,
        silence_errors: bool = False,
    ) -> str | None:
        """Copy a file into a folder (the working directory), below its path at the URL; None when it failed."""
        from tracker.storage import transfer

        target = Path(local_folder or ".").joinpath(*_parts(remote_url))
        download: Callable[[], str] = lambda: str(transfer.download(remote_url, target, overwrite=overwrite))  # noqa: E731 - one line says it
        return _told(f"{remote_url} was not downloaded", download, silent=silence_errors)

    @classmethod
    def download_folder(
        cls,
        remote_url: str,
        local_folder: str | Path | None = None,
        match_wildcard: str | None = None,
        overwrite: bool = False,
        skip_zero_size_check: bool = False,
        silence_errors: bool = False,
    ) -> str | None:
        """Copy the files below a URL that fit a wildcard into a folder, below their path there; returns the folder."""
        from tracker.storage import transfer

        base = Path(local_folder or ".")

        def download() -> str:
            transfer.download_folder(
                remote_url, base.joinpath(*_parts(remote_url)), match_wildcard, overwrite=overwrite
            )
            return str(base)

        return _told(f"{remote_url} was not downloaded", download, silent=silence_errors)

    @classmethod
    def list(
        cls,
        remote_url: str,
        return_full_path: bool = False,
        with_metadata: bool = False,
        read_hash: bool = False,
    ) -> Sequence[Any] | None:
        """The files below a URL, relative to it, or as whole URLs; with metadata as dicts. None: it cannot tell."""
        from tracker.storage import transfer

        base = remote_url.rstrip("/")

        def found() -> Sequence[Any]:
            entries = list_(transfer.listed(remote_url))
            names = [f"{base}/{entry.name}" if return_full_path else entry.name for entry in entries]
            if not with_metadata:
                return names
            return [{"name": n, "size": e.size, "time": e.time} for n, e in zip(names, entries, strict=True)]

        return _told(f"{remote_url} was not listed", found)

    @classmethod
    def exists_file(cls, remote_url: str) -> bool:
        """Whether a file is there."""
        return cls.get_metadata(remote_url) is not None

    @classmethod
    def get_file_size_bytes(cls, remote_url: str, silence_errors: bool = False) -> int | None:
        """A file's bytes; None where it is not there, or nobody tells."""
        found = _told(f"no size of {remote_url}", lambda: _head(remote_url), silent=silence_errors)
        return found["size"] if found and found["size"] >= 0 else None

    @classmethod
    def get_metadata(cls, remote_url: str, return_full_path: bool = False) -> dict[str, Any] | None:
        """A file's name, size and time of change (seconds since the epoch); None where it is not there."""
        found = _told(f"nothing is known of {remote_url}", lambda: _head(remote_url), silent=True)
        if found is not None and return_full_path:
            found["name"] = remote_url
        return found

    @classmethod
    def get_stream(cls, remote_url: str) -> Iterator[bytes] | None:
        """A file's content in pieces; None where it is not there."""
        from tracker.storage import file_at

        def begin() -> Iterator[bytes]:
            place, name = file_at(remote_url)
            pieces = place.get(name)
            first = next(pieces, b"")  # asked for now, so that what is not there is known now
            return _rest(first, pieces)

        return _told(f"no stream of {remote_url}", begin)

    @classmethod
    def set_cache_file_limit(cls, cache_file_limit: int, cache_context: str | None = None) -> int:
        """Keep so many fetched files, from the next fetch on; returns the limit."""
        cls._cache_files = int(cache_file_limit)
        return cls._cache_files

    @classmethod
    def get_files_server(cls) -> str:
        """Where uploads go by default: the configured destination, or "" where the store alone has them."""
        from tracker.workspace import Workspace

        try:
            return Workspace.open().config.default_output_uri
        except StoreError:
            from tracker import config

            return config.load(None).default_output_uri


list_ = list  # StorageManager.list hides it


def _rest(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from pieces


def _head(url: str) -> dict[str, Any]:
    from tracker.storage import file_at

    place, name = file_at(url)
    entry = place.head(name)
    return {"name": entry.name, "size": entry.size, "time": entry.time}


def _parts(url: str) -> list_[str]:
    """The path of a URL below its server or bucket; of a local one its last part."""
    from urllib.parse import urlsplit

    from tracker.storage.registry import is_local

    parts = [part for part in urlsplit(url).path.split("/") if part not in ("", ".", "..")]
    return parts[-1:] if is_local(url) else parts


def _told(what: str, call: Callable[[], _T], *, silent: bool = False) -> _T | None:
    """What a call gives; or one warning and None."""
    try:
        return call()
    except (StoreError, TrackerError, OSError, ModuleNotFoundError) as error:
        if not silent or not isinstance(error, (NotFound, OSError)):
            say(f"{what}: {error}")
        return None
