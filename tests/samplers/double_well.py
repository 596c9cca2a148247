"""A particle on a spring in y and z, and in a double well along x, about a fixed point: a model of one's own."""

from __future__ import annotations

from typing import Any

BARRIER, HALF, SPRING = 0.15, 1.0, 3.0  # eV, Å, eV/Å²


def calculator(member: str = "", context: Any = None) -> Any:
    import numpy as np
    from ase.calculators.calculator import Calculator, all_changes

    class DoubleWell(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = all_changes) -> None:
            super().calculate(atoms, properties, system_changes)
            x, *across = atoms.positions[0] - 5.0
            energy = BARRIER * ((x / HALF) ** 2 - 1.0) ** 2 + 0.5 * SPRING * float(np.dot(across, across))
            force = [-4.0 * BARRIER * x / HALF**2 * ((x / HALF) ** 2 - 1.0), *(-SPRING * a for a in across)]
            self.results = {"energy": energy, "forces": np.array([force])}

    return DoubleWell()


def torchsim(member: str = "", context: Any = None, stress: bool = False) -> Any:
    import torch
    from torch_sim.models.interface import ModelInterface

    class DoubleWells(ModelInterface):
        def __init__(self) -> None:
            super().__init__()
            self._device, self._dtype = torch.device("cpu"), torch.float64
            self._compute_forces, self._compute_stress = True, False

        def forward(self, state: Any) -> dict[str, Any]:
            away = state.positions - 5.0
            x, across = away[:, 0], away[:, 1:]
            energy = BARRIER * ((x / HALF) ** 2 - 1.0) ** 2 + 0.5 * SPRING * (across**2).sum(dim=1)
            along = -4.0 * BARRIER * x / HALF**2 * ((x / HALF) ** 2 - 1.0)
            return {"energy": energy, "forces": torch.cat([along[:, None], -SPRING * across], dim=1)}

    return DoubleWells()
