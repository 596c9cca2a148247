"""P5: reading (with every check and the id) and writing extended XYZ, in frames per second, against ase.io."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import ase.io
from pairs import compare

from psiflow_cli import extxyz

DATA = Path(__file__).parents[2] / "shared" / "data"
PUBLIC = ("3bpa-train-300K.xyz", "water-192-dft.xyz")
REPEATS = 9


def synthetic(path: Path, frames: int = 300, atoms: int = 50) -> Path:
    """A file with energies and forces."""
    draw = random.Random(1)

    def rows() -> list[list[float]]:
        return [[draw.gauss(0, 3) for _ in range(3)] for _ in range(atoms)]

    cell = [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]]
    symbols = [draw.choice("HCNO") for _ in range(atoms)]
    texts = (
        extxyz.new_frame(symbols, rows(), cell, [True] * 3, {"energy": draw.gauss(0, 9)}, {"forces": ("R", rows())})
        for _ in range(frames)
    )
    extxyz.write(path, texts)
    return path


def rate(frames: int, work: Callable[[], object]) -> Callable[[], float]:
    """Frames per second of one run of the work."""

    def measure() -> float:
        start = time.perf_counter()
        work()
        return frames / (time.perf_counter() - start)

    return measure


def reading(path: Path) -> None:
    """Read every frame and name it, as every command does first."""
    for frame in extxyz.read(path):
        extxyz.frame_id(frame)


def measure(path: Path, folder: Path) -> None:
    """Both directions on one file."""
    size = sum(1 for _ in extxyz.read(path))
    compare(
        f"P5 read {path.name}, frames/s, psiflow / ase.io",
        rate(size, lambda: reading(path)),
        rate(size, lambda: ase.io.read(path, ":", format="extxyz")),
        ">= 4",
        REPEATS,
    )
    frames, theirs = list(extxyz.read(path)), ase.io.read(path, ":", format="extxyz")
    labels = [extxyz.labels(frame) for frame in frames]

    def writing() -> None:
        texts = (
            extxyz.render(frame, {"energy": label["energy"]}, {"forces": ("R", label["forces"])})
            for frame, label in zip(frames, labels, strict=True)
        )
        extxyz.write(folder / "ours.xyz", texts)

    compare(
        f"P5 write {path.name}, frames/s, psiflow / ase.io",
        rate(size, writing),
        rate(size, lambda: ase.io.write(folder / "theirs.xyz", theirs, format="extxyz")),
        ">= 2",
        REPEATS,
    )


def main(full: bool = False) -> None:
    """One file made here and, where they are, public ones."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure(synthetic(folder / "synthetic.xyz"), folder)
        for path in (DATA / name for name in PUBLIC if (DATA / name).is_file()):
            measure(path, folder)


if __name__ == "__main__":
    main()
