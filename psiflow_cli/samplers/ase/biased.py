"""A model's calculator with PLUMED's bias in its forces and stress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from psiflow_cli import voigt
from psiflow_cli.worker.md.plumed.kernel import BiasForces
from psiflow_cli.worker.md.validation import MOVES_CELL
from psiflow_cli.worker.md.walker import model_stress

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from psiflow_cli.worker.md.walker import MovingWalker


class Biased:
    """What ASE's atoms and integrators ask a calculator for; `energy` is the model's alone."""

    def __init__(self, model: Calculator, walker: MovingWalker) -> None:
        self._model, self._walker = model, walker
        self._moves_cell = walker.job["ensemble"] in MOVES_CELL
        self._atoms: Atoms | None = None  # where the results are of
        self.results: dict[str, Any] = {}

    def forget(self) -> None:
        """The walker is in another window, and its results are not those of this one."""
        self._atoms = None

    def get_potential_energy(self, atoms: Atoms, force_consistent: bool = False) -> float:
        return float(self.get_property("energy", atoms))

    def get_forces(self, atoms: Atoms) -> np.ndarray:
        return cast("np.ndarray", self.get_property("forces", atoms).copy())

    def get_stress(self, atoms: Atoms) -> np.ndarray:
        return cast("np.ndarray", self.get_property("stress", atoms).copy())

    def get_property(self, name: str, atoms: Atoms) -> Any:
        """`energy`, `forces` or `stress`, in ASE's units. Raises ASE's PropertyNotImplementedError."""
        from ase.calculators.calculator import PropertyNotImplementedError

        if self._atoms is None or name not in self.results or self._have_moved(atoms):
            self._calculate(atoms, stress=name == "stress" or self._moves_cell)
        if name not in self.results:
            raise PropertyNotImplementedError(name)
        return self.results[name]

    def _have_moved(self, atoms: Atoms) -> bool:
        assert self._atoms is not None
        there = (self._atoms.positions, self._atoms.cell.array)
        return bool((there[0] != atoms.positions).any() or (there[1] != atoms.cell.array).any())

    def _calculate(self, atoms: Atoms, stress: bool) -> None:
        import numpy as np

        self._atoms = atoms.copy()
        # The stress first, as a model may leave it out where it is not asked for.
        of_model = model_stress(self._model, atoms) if stress and voigt.is_defined(atoms.pbc) else None
        energy = float(self._model.get_property("energy", atoms))
        forces = np.array(self._model.get_property("forces", atoms), dtype=float)
        virial = np.zeros((3, 3))
        if of_model is not None:
            virial = np.array(voigt.to_matrix(of_model.tolist())) * atoms.get_volume()
        model = BiasForces(energy, forces, virial)
        bias = self._walker.bias  # an exchange may have changed it
        assert bias
        bias_forces = bias.apply(self._walker.step, atoms.positions, atoms.cell.array, model)
        self.results = {"energy": energy, "forces": forces + bias_forces.forces}
        if of_model is not None:
            of_bias = np.array(voigt.from_matrix((bias_forces.virial / atoms.get_volume()).tolist()))
            self.results["stress"] = of_model + of_bias
