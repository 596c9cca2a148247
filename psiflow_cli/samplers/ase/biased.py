"""A model's calculator with PLUMED's bias in its forces and stress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli import voigt
from psiflow_cli.worker.md.plumed.kernel import BiasForces
from psiflow_cli.worker.md.validation import MOVES_CELL
from psiflow_cli.worker.md.walker import model_stress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from psiflow_cli.worker.md.walker import MovingWalker


def calculator(model: Calculator, walker: MovingWalker) -> Calculator:
    """What ASE's integrators ask for the walker: the model where it has no bias; `energy` is the model's alone."""
    import numpy as np
    from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

    bias, moves_cell = walker.bias, walker.job["ensemble"] in MOVES_CELL
    if bias is None:
        return model

    class Biased(Calculator):  # type: ignore[misc]
        implemented_properties = ("energy", "forces", "stress")

        def calculate(
            self, atoms: Atoms, properties: Sequence[str] = ("energy",), system_changes: Sequence[str] = all_changes
        ) -> None:
            super().calculate(atoms, properties, system_changes)
            periodic = voigt.is_defined(atoms.pbc)
            stress = model_stress(model, atoms) if periodic and (moves_cell or "stress" in properties) else None
            energy = float(model.get_property("energy", atoms))
            forces = np.array(model.get_property("forces", atoms), dtype=float)
            volume = atoms.get_volume() if periodic else 0.0
            virial = np.zeros((3, 3)) if stress is None else volume * np.array(voigt.to_matrix(stress))
            found = bias.apply(walker.step, atoms.positions, atoms.cell.array, BiasForces(energy, forces, virial))
            self.results = {"energy": energy, "forces": forces + found.forces}
            if stress is not None:
                self.results["stress"] = np.array(stress) + voigt.from_matrix(found.virial / volume)
            elif "stress" in properties:
                raise PropertyNotImplementedError("stress")

    return Biased()
