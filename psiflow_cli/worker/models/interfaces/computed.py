"""A function of a structure as an ASE calculator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from ase.calculators.calculator import Calculator

Results: TypeAlias = "dict[str, float | np.ndarray]"
Compute: TypeAlias = "Callable[[Atoms, Sequence[str]], Results]"
PROPERTIES = ("energy", "forces", "stress")


def calculator(
    compute: Compute, properties: Sequence[str] = PROPERTIES, parts: Sequence[Calculator] = ()
) -> Calculator:
    """An ASE calculator whose results are what `compute` returns of a structure and the properties asked for.

    `parts` are calculators that `compute` asks: they forget when it does.
    """
    from ase.calculators.calculator import Calculator, all_changes

    class Computed(Calculator):
        implemented_properties = list(properties)  # noqa: RUF012

        def reset(self) -> None:
            super().reset()  # type: ignore[no-untyped-call]
            for part in parts:
                part.reset()

        def calculate(
            self,
            atoms: Atoms | None = None,
            properties: Sequence[str] = ("energy",),
            system_changes: Sequence[str] = all_changes,
        ) -> None:
            assert atoms is not None
            self.results = compute(atoms, properties)
            self.atoms = atoms.copy()

    return Computed()  # type: ignore[no-untyped-call]


def together(parts: Sequence[Calculator], atoms: Atoms, properties: Sequence[str]) -> dict[str, np.ndarray]:
    """What each of several calculators gives for a structure, by property; the first axis is the calculators'.

    The stress is in it only where it is asked for. Raises PropertyNotImplementedError where a part lacks one.
    """
    import numpy as np
    from ase.calculators.calculator import PropertyNotImplementedError

    stacked = {}
    for name in ("energy", "forces", *(["stress"] if "stress" in properties else [])):
        values = [part.get_property(name, atoms) for part in parts]
        if any(value is None for value in values):
            raise PropertyNotImplementedError(name)
        stacked[name] = np.array(values, dtype=float)
    return stacked
