"""The mean of several models as one ASE calculator, which knows how far they are apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from ase.calculators.calculator import Calculator


def spread(
    energies: Sequence[float] | np.ndarray, forces: Sequence[np.ndarray] | np.ndarray
) -> tuple[float, list[float]]:
    """Standard deviations over a committee's members: of the energy (eV), and of the force on each atom (eV/Å).

    The latter is the norm of those of the three components. Both are those of the members themselves (division by
    their number), as MACE's calculator gives them.
    """
    import numpy as np

    return float(np.std(energies)), np.linalg.norm(np.std(forces, axis=0), axis=1).tolist()


def mean(members: Sequence[Calculator]) -> Calculator:
    """Mean energy, forces and stress; its `spread` is that of the positions computed last, see the function."""
    import numpy as np
    from ase.calculators.calculator import Calculator, all_changes

    class MeanCalculator(Calculator):
        implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012
        spread: tuple[float, list[float]]

        def reset(self) -> None:
            super().reset()  # type: ignore[no-untyped-call]
            for member in members:
                member.reset()

        def calculate(
            self,
            atoms: Atoms | None = None,
            properties: Sequence[str] = ("energy",),
            system_changes: Sequence[str] = all_changes,
        ) -> None:
            names = ["energy", "forces", *(["stress"] if "stress" in properties else [])]
            values = {name: [member.get_property(name, atoms) for member in members] for name in names}
            self.atoms = None if atoms is None else atoms.copy()
            self.results = {name: np.mean(each, axis=0) for name, each in values.items()}
            self.results["energy"] = float(self.results["energy"])
            self.spread = spread(np.array(values["energy"]), np.array(values["forces"]))

    return MeanCalculator()  # type: ignore[no-untyped-call]
