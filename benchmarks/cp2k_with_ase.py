"""The frames of a file through ASE's CP2K calculator: python cp2k_with_ase.py FRAMES TEMPLATE.

Prints one JSON list of [energy in Ha, forces in Ha/bohr].
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ase.io
from ase.calculators.cp2k import CP2K
from ase.units import create_units

NOTHING = (
    "basis_set",
    "basis_set_file",
    "cutoff",
    "force_eval_method",
    "max_scf",
    "potential_file",
    "pseudo_potential",
    "xc",
)
"""Set by the template."""
CP2K_UNITS = create_units("2006")
"""What CP2K converts with before ASE sees a number; ASE's own constants are newer, and would differ by 1e-6 Ha."""


def main(frames: str, template: str) -> None:
    """One calculator for all frames, as its documentation has it."""
    found = []
    hartree, bohr = CP2K_UNITS["Hartree"], CP2K_UNITS["Bohr"]
    nothing = dict.fromkeys(NOTHING)
    with CP2K(
        command="cp2k.psmp --shell", inp=Path(template).read_text(), label="water", stress_tensor=False, **nothing
    ) as calculator:
        for atoms in ase.io.read(frames, ":"):
            atoms.calc = calculator
            energy, forces = atoms.get_potential_energy() / hartree, atoms.get_forces() * bohr / hartree
            found.append([energy, forces.tolist()])
    print()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
