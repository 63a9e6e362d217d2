"""20 checkpoints of 256 MiB and 64 tensors, 5 % of these changed from one to the next: what a store takes for all.

As safetensors and as torch's zip, in a store each. Prints one JSON object. Arguments: MiB of one, how many, tensors.
"""

from __future__ import annotations

import json
import struct
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

import numpy as np
import numpy.typing as npt

from objstore import files
from objstore.store import Store

Tensors = Mapping[str, "npt.NDArray[np.float32]"]
CHANGED = 0.05


def safetensors(path: Path, tensors: Tensors, step: int) -> None:
    """A file of the format's own layout; the metadata, which tell the step, differ from one to the next."""
    header: dict[str, object] = {"__metadata__": {"step": f"{step * 97}"}}
    at = 0
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [at, at + tensor.nbytes],
        }
        at += tensor.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.data)


def torch_zip(path: Path, tensors: Tensors, step: int) -> None:
    """torch.save's file where torch is installed; else the same layout: members stored, data aligned to 64 bytes."""
    try:
        torch = import_module("torch")
    except ImportError:
        _aligned_zip(path, tensors, step)
        return
    torch.save({"step": step * 97, **{name: torch.from_numpy(t) for name, t in tensors.items()}}, path)


def _aligned_zip(path: Path, tensors: Tensors, step: int) -> None:
    with path.open("wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", json.dumps([step * 97, list(tensors)]))
        for number, tensor in enumerate(tensors.values()):
            info = zipfile.ZipInfo(f"archive/data/{number}")
            gap = -(file.tell() + 30 + len(info.filename) + 4) % 64
            info.extra = struct.pack("<2sH", b"FB", gap) + b"Z" * gap
            with archive.open(info, "w") as member:
                member.write(tensor.data)


def measure(
    write: Callable[[Path, Tensors, int], None], mib: int, count: int, tensors: int
) -> dict[str, float]:
    """Store the checkpoints one after another, each a new file; returns sizes and milliseconds of the later ones."""
    source = np.random.default_rng(1)
    length = mib * (1 << 20) // tensors // 4
    state = {
        f"layer.{n}.weight": source.standard_normal(length, dtype=np.float32) * np.float32(0.02)
        for n in range(tensors)
    }
    store = Store.create(Path(f"{write.__name__}.store"))
    sizes: list[int] = []
    took: list[float] = []
    for step in range(count):
        path = Path(f"{step}.checkpoint")
        write(path, state, step)
        began = time.perf_counter()
        with store.begin() as transaction:
            files.put_file(transaction, path)
        took.append((time.perf_counter() - began) * 1000)
        sizes.append(sum(pack.stat().st_size for pack in (store.root / "packs").rglob("*.pack")))
        path.unlink()
        for n in source.choice(tensors, max(1, round(CHANGED * tensors)), replace=False):
            state[f"layer.{n}.weight"] += source.standard_normal(length, dtype=np.float32) * np.float32(0.001)
    return {
        "one_of_raw": sizes[0] / (mib << 20),
        "all_of_one": sizes[-1] / sizes[0],
        "first_ms": took[0],
        "later_ms": sum(took[1:]) / max(1, len(took) - 1),
    }


def main() -> None:
    """Measure and print."""
    mib, count, tensors = [int(text) for text in sys.argv[1:]] or [256, 20, 64]
    found = {
        f"{write.__name__}_{name}": value
        for write in (safetensors, torch_zip)
        for name, value in measure(write, mib, count, tensors).items()
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
