"""Training data in other units than eV and Å are warned of, as nobody may have checked them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from psiflow_cli import extxyz
from psiflow_cli.stages.train.unit_checks import UnitChecks

HARTREE, HARTREE_BOHR = 27.211386, 51.422067
STIFFNESS, LENGTH = 50.0, 0.97  # eV/Å², Å


def water(energy_unit: float = 1.0, force_unit: float = 1.0, sign: float = 1.0, more: str = "") -> Iterator[str]:
    """Molecules with harmonic bonds along x and y: labels in these units, which are given in eV and eV/Å."""
    rng = random.Random(0)
    for _ in range(40):
        x, y = rng.gauss(LENGTH, 0.03), rng.gauss(LENGTH, 0.03)
        energy = (-2080 + 0.5 * STIFFNESS * ((x - LENGTH) ** 2 + (y - LENGTH) ** 2)) / energy_unit
        fx, fy = (-sign * STIFFNESS * (each - LENGTH) / force_unit for each in (x, y))
        yield (
            f'3\nProperties=species:S:1:pos:R:3:forces:R:3 energy={energy} {more} pbc="F F F"\n'
            f"O 0 0 0 {-fx} {-fy} 0\nH {x} 0 0 {fx} 0 0\nH 0 {y} 0 0 {fy} 0\n"
        )


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (water(), ""),
        (water(HARTREE, HARTREE_BOHR), "the forces look like Ha/bohr, and the energies"),
        (water(HARTREE), "the energies look like Hartree beside forces in eV/Å"),
        (water(sign=-1), "the forces have the wrong sign"),
        (water(HARTREE, HARTREE_BOHR, more="subtracted=xtb"), ""),
    ],
)
def test_what_a_unit_looks_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Iterator[str], said: str):
    monkeypatch.chdir(tmp_path)
    Path("in.xyz").write_text("".join(made))
    checks = UnitChecks()
    for frame in extxyz.read(Path("in.xyz")):
        checks.see(frame, extxyz.labels(frame), isolated=False)
    notes = checks.notes(mixed=False)
    assert len(notes) == bool(said), notes
    assert not said or (notes[0].startswith(f"warning: in.xyz: {said}") and "psiflow check in.xyz" in notes[0])
