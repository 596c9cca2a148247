"""A model family for the samplers' tests: each atom on a spring to where `sites.json` in the member's folder says."""

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
        implemented_properties = ("energy", "forces")
        sites = np.array(json.loads(Path(member, "sites.json").read_text()))

        def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = all_changes) -> None:
            super().calculate(atoms, properties, system_changes)
            away = atoms.positions - self.sites
            self.results = {"energy": 0.5 * SPRING * float((away**2).sum()), "forces": -SPRING * away}

    return Harmonic()
