"""The mean of several models as one ASE calculator, which knows how far they are apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def spread(energies: Any, forces: Any) -> tuple[float, list[float]]:
    """Standard deviations over the members of a committee: of the energy (eV), and of the force on each atom (eV/Å).

    The latter is the norm of those of the three components. Both are those of the members themselves (division by
    their number), as MACE's calculator gives them.
    """
    import numpy as np

    return float(np.std(energies)), np.linalg.norm(np.std(forces, axis=0), axis=1).tolist()


def calculator(members: Sequence[Any]) -> Any:
    """Mean energy, forces and stress; `spread` is that of the positions computed last, see the function."""
    import numpy as np
    from ase.calculators.calculator import Calculator, all_changes

    class Mean(Calculator):
        implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012
        spread: tuple[float, list[float]]

        def reset(self) -> None:
            super().reset()  # type: ignore[no-untyped-call]
            for member in members:
                member.reset()

        def calculate(
            self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
        ) -> None:
            names = ["energy", "forces", *(["stress"] if "stress" in properties else [])]
            found = {name: [member.get_property(name, atoms) for member in members] for name in names}
            self.atoms = atoms.copy()
            self.results = {name: np.mean(values, axis=0) for name, values in found.items()}
            self.results["energy"] = float(self.results["energy"])
            self.spread = spread(found["energy"], found["forces"])

    return Mean()  # type: ignore[no-untyped-call]
