"""A model of torch-sim as an ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psiflow_cli import voigt

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator
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
