"""A model of torch-sim as an ASE calculator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from psiflow_cli import voigt
from psiflow_cli.errors import BAD_DATA, counted
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models.interfaces import computed

if TYPE_CHECKING:
    import torch
    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from torch_sim import SimState
    from torch_sim.models.interface import ModelInterface


def predicted(model: ModelInterface, state: SimState) -> dict[str, torch.Tensor]:
    """Energies (n,), forces (atoms, 3) and, where the model has them, stresses (n, 3, 3) of n systems.

    torch-sim 0.3 removes axes of length one from what ORB gives, such as that of a single system. Raises Fatal for a
    model that returns something else.
    """
    output = model(state)
    systems, atoms = len(state.cell), len(state.positions)
    shapes = {"energy": (systems,), "forces": (atoms, 3), "stress": (systems, 3, 3)}
    if missing := [name for name in ("energy", "forces") if output.get(name) is None]:
        raise _wrong(model, f"no {' and no '.join(missing)}")
    found = {name: output[name] for name in shapes if output.get(name) is not None}
    for name, values in found.items():
        if values.numel() != math.prod(shapes[name]):
            raise _wrong(
                model, f"{name} of shape {tuple(values.shape)} for {counted(systems, 'system')} of {atoms} atoms in all"
            )
    return {name: values.reshape(shapes[name]) for name, values in found.items()}


def _wrong(model: ModelInterface, problem: str) -> Fatal:
    hint = "its forward() returns energy (systems,), forces (atoms, 3) and perhaps stress (systems, 3, 3)"
    return Fatal(f"{type(model).__name__}, a model of torch-sim, returned {problem}", hint, BAD_DATA)


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
