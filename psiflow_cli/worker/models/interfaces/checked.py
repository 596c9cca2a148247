"""The ASE calculator that a user's file returns, whose results have the shapes that ASE expects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psiflow_cli.errors import BAD_DATA, counted
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models.interfaces import computed

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from ase.calculators.calculator import Calculator

_HINT = "return an energy in eV, forces (atoms, 3) in eV/Å and, if there is one, a stress xx yy zz yz xz xy in eV/Å³"


def calculator(given: Calculator, file: str) -> Calculator:
    """The calculator, which raises Fatal where the energy, the forces or the stress cannot be those of any structure.

    A number that is not finite may be the fault of the structure, and passes.
    """

    def compute(atoms: Atoms, properties: Sequence[str]) -> computed.Results:
        import numpy as np

        shapes: dict[str, list[tuple[int, ...]]] = {"energy": [(), (1,)], "forces": [(len(atoms), 3)]}
        if "stress" in properties:
            shapes["stress"] = [(6,), (3, 3)]
        results: computed.Results = {name: _checked(given, file, name, atoms, shapes[name]) for name in shapes}
        return {**results, "energy": float(np.ravel(results["energy"])[0])}

    return computed.calculator(compute, parts=[given])


def _checked(given: Calculator, file: str, name: str, atoms: Atoms, shapes: Sequence[tuple[int, ...]]) -> np.ndarray:
    import numpy as np
    from ase.calculators.calculator import PropertyNotImplementedError

    try:
        value = given.get_property(name, atoms)
    except PropertyNotImplementedError:
        value = None
    if value is None:
        if name == "stress":
            raise PropertyNotImplementedError(name)
        raise _wrong(file, f"it gives no {name}")
    try:
        numbers = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise _wrong(file, f"{name} is a {type(value).__name__} that is not made of real numbers") from None
    if numbers.shape not in shapes:
        raise _wrong(file, f"{name} has the shape {numbers.shape} for {counted(len(atoms), 'atom')}, not {shapes[0]}")
    return numbers


def _wrong(file: str, problem: str) -> Fatal:
    return Fatal(f"{file}: the results of its calculator are wrong: {problem}", _HINT, BAD_DATA)
