"""A model of torch-sim as an ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psiflow_cli import voigt
from psiflow_cli.worker.models.interfaces import computed

if TYPE_CHECKING:
    import torch
    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from torch_sim import SimState
    from torch_sim.models.interface import ModelInterface

_SHAPES = {"energy": (-1,), "forces": (-1, 3), "stress": (-1, 3, 3)}


def predicted(model: ModelInterface, state: SimState) -> dict[str, torch.Tensor]:
    """Energies (n,), forces (atoms, 3) and, where the model has them, stresses (n, 3, 3) of n systems.

    torch-sim 0.3 removes axes of length one from what ORB gives, such as that of a single system.
    """
    output = model(state)
    return {name: output[name].reshape(shape) for name, shape in _SHAPES.items() if name in output}


def calculator(model: ModelInterface) -> Calculator:
    """An ASE calculator that asks a model of torch-sim about one structure at a time."""
    import torch_sim

    def compute(atoms: Atoms, _: Sequence[str]) -> computed.Results:
        state = torch_sim.io.atoms_to_state([atoms], model.device, model.dtype)
        if hasattr(model, "setup_from_system_idx"):
            model.setup_from_system_idx(state.atomic_numbers, state.system_idx)
        arrays = {name: value.detach().cpu().double().numpy() for name, value in predicted(model, state).items()}
        results: computed.Results = {"energy": float(arrays["energy"][0]), "forces": arrays["forces"]}
        if "stress" in arrays and voigt.is_defined(atoms.pbc):
            results["stress"] = arrays["stress"][0][[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        return results

    return computed.calculator(compute, computed.PROPERTIES[: 2 + bool(model.compute_stress)])
