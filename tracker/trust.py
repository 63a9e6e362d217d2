"""Which pickles this user recorded: a MAC over task and object, under a key that lies in the user's config folder."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from blake3 import blake3

from tracker.config import user_config

_KEY_SIZE = 32


def sign(task: str, object_id: str) -> str | None:
    """The MAC (64 hex digits) that lets this user load the object again without being asked; None without a home."""
    key = _key(create=True)
    return None if key is None else _mac(key, task, object_id)


def trusted(task: str, object_id: str, mac: object) -> bool:
    """Whether this very user recorded the object in that task. `mac` is what a record says, and may be anything."""
    key = _key(create=False)
    if key is None or not isinstance(mac, str):
        return False
    return secrets.compare_digest(_mac(key, task, object_id).encode(), mac.encode("utf-8", "replace"))


def _mac(key: bytes, task: str, object_id: str) -> str:
    return blake3(f"{task}/{object_id}".encode(), key=key).hexdigest()


def _key(*, create: bool) -> bytes | None:
    config = user_config()
    if config is None:
        return None
    path = config.with_name("key")
    try:
        data = path.read_bytes()
        if len(data) == _KEY_SIZE or not create:
            return data if len(data) == _KEY_SIZE else None
    except FileNotFoundError:
        if not create:
            return None
    except OSError:
        return None
    return _make(path)


def _make(path: Path) -> bytes | None:
    """A new key, or the one that another process made meanwhile. A link, so that nobody reads half a key."""
    part = path.with_name(f"key.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(secrets.token_bytes(_KEY_SIZE))
            with suppress(FileExistsError):
                os.link(part, path)
        finally:
            part.unlink()
        data = path.read_bytes()
    except OSError:
        return None
    return data if len(data) == _KEY_SIZE else None
