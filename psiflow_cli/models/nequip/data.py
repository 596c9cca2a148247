"""Training data as NequIP reads them: no isolated atoms, and nothing that it would pass over in silence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli import atomic_file
from psiflow_cli.errors import BAD_DATA
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.structures.training_frames import training_frames

if TYPE_CHECKING:
    from ase import Atoms

WEIGHTS = ("config_weight", "config_energy_weight", "config_forces_weight", "config_stress_weight")


@dataclass
class Counts:
    """What is in a file."""

    frames: int = 0
    with_stress: int = 0


def copy(source: Path, target: Path) -> Counts:
    """Copy extended XYZ without isolated atoms, every number as it is written.

    Raises Fatal for no frames, and for frames that are to count more or less than others: NequIP's loss has no weights.
    """
    counts = Counts()
    with source.open(encoding="utf-8") as lines, atomic_file.writing(target) as output:
        for words, atoms in training_frames(lines):
            keys = dict(word.partition("=")[::2] for word in words)
            _check_weights(keys, source)
            counts.frames += 1
            counts.with_stress += "stress" in keys
            output.write(f"{len(atoms)}\n{' '.join(words)}\n{''.join(atoms)}".encode())
    if not counts.frames:
        raise Fatal(f"{source}: no frames besides isolated atoms", "give labelled frames", BAD_DATA)
    return counts


def _check_weights(keys: dict[str, str], source: Path) -> None:
    for key in WEIGHTS:
        value = keys.get(key, "1").strip("\"'")
        if float(value) != 1.0:
            raise Fatal(
                f"{source}: {key}={value}, but NequIP's trainer has no weights of frames",
                "remove the key, leave the frame out, or give it more than once",
                BAD_DATA,
            )


def average_energies(path: Path, elements: list[str]) -> dict[str, float]:
    """Energies (eV) by element whose sums are nearest to those of the frames, in the sense of least squares."""
    import ase.io
    import numpy as np

    frames = cast("list[Atoms]", ase.io.read(path, ":", format="extxyz"))
    counts = np.array([[list(frame.symbols).count(element) for element in elements] for frame in frames], dtype=float)
    energies = np.array([frame.get_potential_energy() for frame in frames])
    fitted = np.linalg.lstsq(counts, energies, rcond=None)[0]
    return dict(zip(elements, fitted.tolist(), strict=True))
