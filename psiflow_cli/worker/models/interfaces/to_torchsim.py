"""An ASE calculator as a model of torch-sim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from ase.calculators.calculator import Calculator
    from torch_sim import SimState
    from torch_sim.models.interface import ModelInterface


def of_calculator(calculator: Calculator, device: torch.device, dtype: torch.dtype, stress: bool) -> ModelInterface:
    """A model of torch-sim that asks an ASE calculator about one system after another."""
    import numpy as np
    import torch
    from ase import Atoms
    from torch_sim.models.interface import ModelInterface

    class OneByOne(ModelInterface):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._device, self._dtype, self._compute_stress, self._compute_forces = device, dtype, stress, True

        def forward(self, state: SimState, **_: Any) -> dict[str, torch.Tensor]:
            numbers, positions = state.atomic_numbers.cpu().numpy(), state.positions.detach().double().cpu().numpy()
            cells, systems = state.cell.detach().double().mT.cpu().numpy(), state.system_idx.cpu().numpy()
            pbc = np.broadcast_to(np.asarray(torch.as_tensor(state.pbc).cpu()), 3)
            energies, forces, stresses = [], [], []
            for index, cell in enumerate(cells):
                rows = systems == index
                calculator.reset()
                atoms = Atoms(
                    numbers=numbers[rows], positions=positions[rows], cell=cell, pbc=pbc, calculator=calculator
                )
                forces.append(atoms.get_forces())
                energies.append(atoms.get_potential_energy())
                if stress:
                    stresses.append(atoms.get_stress(voigt=False))
            arrays = {"energy": np.array(energies), "forces": np.concatenate(forces)}
            if stress:
                arrays["stress"] = np.array(stresses)
            return {name: torch.as_tensor(each).to(device, torch.float64) for name, each in arrays.items()}

    return OneByOne()
