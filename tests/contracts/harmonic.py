"""A model family for the samplers' tests: each atom on a spring to its site, which moves with the cell.

`sites.json` in the member's folder has the sites in multiples of the cell's vectors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SPRING = 2.0
"""eV/Å²."""


def calculator(member: str, context: dict[str, Any]) -> Any:
    import numpy as np
    from ase.calculators.calculator import Calculator, all_changes

    class Harmonic(Calculator):
        implemented_properties = ("energy", "forces", "stress")
        sites = np.array(json.loads(Path(member, "sites.json").read_text()))

        def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = all_changes) -> None:
            super().calculate(atoms, properties, system_changes)
            cell = atoms.cell.array
            away = atoms.positions - self.sites @ cell
            self.results = {"energy": 0.5 * SPRING * float((away**2).sum()), "forces": -SPRING * away}
            if "stress" in properties:  # as some models leave it out where it is not asked for
                stress = SPRING * away.T @ away / abs(np.linalg.det(cell))
                self.results["stress"] = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]

    return Harmonic()
