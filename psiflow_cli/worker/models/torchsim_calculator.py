"""torch-sim's models and ASE's calculators, each as the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from psiflow_cli import voigt

if TYPE_CHECKING:
    import torch
    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from torch_sim import SimState
    from torch_sim.models.interface import ModelInterface


def calculator(model: ModelInterface) -> Calculator:
    """An ASE calculator that asks a model of torch-sim about one structure at a time."""
    import torch_sim
    from ase.calculators.calculator import Calculator, all_changes

    class TorchSimCalculator(Calculator):
        implemented_properties = ["energy", "forces", *(["stress"] if model.compute_stress else [])]  # noqa: RUF012

        def calculate(
            self,
            atoms: Atoms | None = None,
            properties: Sequence[str] = ("energy",),
            system_changes: Sequence[str] = all_changes,
        ) -> None:
            assert atoms is not None
            self.atoms = atoms.copy()
            state = torch_sim.io.atoms_to_state([atoms], model.device, model.dtype)
            if hasattr(model, "setup_from_system_idx"):
                model.setup_from_system_idx(state.atomic_numbers, state.system_idx)
            found = {name: value.detach().cpu().double().numpy() for name, value in model(state).items()}
            self.results = {"energy": float(found["energy"].ravel()[0]), "forces": found["forces"]}
            if "stress" in found and voigt.is_defined(atoms.pbc):
                self.results["stress"] = found["stress"][0][[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]

    return TorchSimCalculator()  # type: ignore[no-untyped-call]


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
            found = {"energy": np.array(energies), "forces": np.concatenate(forces)}
            if stress:
                found["stress"] = np.array(stresses)
            return {name: torch.as_tensor(each).to(device, torch.float64) for name, each in found.items()}

    return OneByOne()
