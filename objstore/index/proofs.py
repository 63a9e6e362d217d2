"""Which chunk lists are known to make up the objects they stand for: lines in `cache/proofs`, only appended to.

A proof that is lost costs one reading of the object; a line that is torn or garbage is passed over.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from objstore import layout
from objstore.ids import SIZE, ObjectId, hash_bytes

_LINE = 2 * SIZE + 2  # bytes a proof takes: a line feed on either side, so that a torn line spoils no other


def proof_of(blob_id: ObjectId, encoded: bytes) -> bytes:
    """What stands for "this list makes up that blob", whichever pack the list is read from."""
    return hash_bytes(blob_id + encoded)


class Proofs:
    """The proofs of one store. keep: whether new ones may be written below it; trust: whether those there count."""

    def __init__(self, root: Path, *, keep: bool, trust: bool = True) -> None:
        self._trust = trust
        self._path = root / layout.CACHE / "proofs"
        self._keep = keep
        self._known: set[bytes] = set()
        self._read = 0  # bytes the file had when it was read

    def __contains__(self, proof: bytes) -> bool:
        return proof in self._known or (self._trust and self._look() and proof in self._known)

    def add(self, proof: bytes) -> None:
        """Remember a proof, on disk too if that can be."""
        if proof in self:
            return
        self._known.add(proof)
        if not self._keep:
            return
        with suppress(OSError):  # a full disk costs the proof, not the reading
            self._path.parent.mkdir(exist_ok=True)
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                os.write(fd, b"\n%s\n" % proof.hex().encode())
                size = os.fstat(fd).st_size
            finally:
                os.close(fd)
            if size > layout.PROOFS_MAX:
                self._shorten()

    def _look(self) -> bool:
        """Read the file if another process has changed it; whether there was anything new."""
        try:
            size = self._path.stat().st_size
            if size == self._read:
                return False
            with self._path.open("rb") as file:
                data = file.read(2 * layout.PROOFS_MAX)
        except OSError:
            return False
        self._read = size
        self._known.update(_parse(data))
        return True

    def _shorten(self) -> None:
        """Keep the newer half. What another process appends meanwhile is lost, and proved again when it matters."""
        data = self._path.read_bytes()[-layout.PROOFS_MAX // 2 :]
        kept = b"".join(b"\n%s\n" % proof.hex().encode() for proof in _parse(data))
        part = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}.part")
        try:
            part.write_bytes(kept)
            part.replace(self._path)
        except OSError:
            part.unlink(missing_ok=True)
            raise


def _parse(data: bytes) -> list[bytes]:
    lines = (line.decode("ascii", "replace") for line in data.split(b"\n") if len(line) == 2 * SIZE)
    return [bytes.fromhex(line) for line in lines if layout.is_hex_id(line)]
