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


def torchsim(member: str, context: dict[str, Any], stress: bool) -> Any:
    """The same springs behind torch-sim's interface."""
    import torch
    from torch_sim.models.interface import ModelInterface

    class Springs(ModelInterface):
        sites = torch.tensor(json.loads(Path(member, "sites.json").read_text()), dtype=torch.float64)

        def __init__(self) -> None:
            super().__init__()
            self._device, self._dtype = torch.device("cpu"), torch.float64
            self._compute_forces, self._compute_stress = True, stress

        def forward(self, state: Any) -> dict[str, Any]:
            cells, count = state.cell.mT, len(state.cell)
            sites = torch.cat([self.sites @ cell for cell in cells])
            away = state.positions - sites
            energy = torch.zeros(count, dtype=torch.float64)
            energy.index_add_(0, state.system_idx, 0.5 * SPRING * (away**2).sum(dim=1))
            pulled = (away[:, :, None] * away[:, None, :]).reshape(count, -1, 3, 3).sum(dim=1)
            found = {"energy": energy, "forces": -SPRING * away}
            if stress:
                found["stress"] = SPRING * pulled / torch.linalg.det(cells).abs()[:, None, None]
            return found

    return Springs()
