"""How stiff bonds of hydrogen are, from the forces along them: all codes and methods agree within a factor of two."""

from __future__ import annotations

import math
from collections.abc import Sequence

from psiflow_cli.stages.check.sample import Sample
from psiflow_cli.stages.check.units.pairs import shortest

_STIFFNESS = {"C": 32.0, "N": 43.0, "O": 42.0}  # eV/Å², where only the hydrogen atom moves
_LENGTHS = {"C": (1.00, 1.22), "N": (0.93, 1.13), "O": (0.88, 1.09)}
"""Å; a bond that is stretched or compressed further is no spring."""
_FEWEST, _MOST = 12, 500  # bonds
_MOST_DISTANCES = 200_000
"""So many are looked at, which takes about a second, where H is bound to other elements."""
_CORRELATION = -0.7
_SPREAD = 0.004  # Å; bonds that are all relaxed say nothing


class Stretching:
    """Bonds of H to C, N and O: their lengths (Å), and the forces along them that act on H."""

    def __init__(self) -> None:
        self._bonds: dict[str, list[tuple[float, float]]] = {element: [] for element in _STIFFNESS}
        self._count = self._distances = 0

    def see(self, sample: Sample) -> None:
        frame = sample.frame
        if sample.forces is None or self._count >= _MOST or self._distances >= _MOST_DISTANCES:
            return
        heavy = [place for place, symbol in enumerate(frame.symbols) if symbol != "H"]
        self._distances += len(heavy) * (frame.natoms - len(heavy))
        for place, symbol in enumerate(frame.symbols):
            if symbol != "H" or not heavy:
                continue
            away = [[axis[place] - axis[other] for other in heavy] for axis in frame.xyz]
            if frame.lattice is not None and frame.periodic != (False, False, False):
                away = shortest(away, frame.lattice, frame.periodic)
            length, nearest = min((math.hypot(*vector), n) for n, vector in enumerate(zip(*away, strict=True)))
            element = frame.symbols[heavy[nearest]]
            shortest_bond, longest = _LENGTHS.get(element, (0.0, -1.0))
            if shortest_bond < length < longest:
                along = (
                    math.fsum(f * axis[nearest] for f, axis in zip(sample.forces[place], away, strict=True)) / length
                )
                self._bonds[element].append((length, along))
                self._count += 1

    def ratio(self) -> float | None:
        """How many times stiffer the bonds are than they should be in eV/Å²; None where the frames do not tell."""
        weights = ratios = 0.0
        for element, bonds in self._bonds.items():
            stiffness = _stiffness(bonds)
            if stiffness is not None:
                weights += len(bonds)
                ratios += len(bonds) * math.log(stiffness / _STIFFNESS[element])
        return math.exp(ratios / weights) if weights else None


def _stiffness(bonds: Sequence[tuple[float, float]]) -> float | None:
    """Minus the slope of the force over the length."""
    if len(bonds) < _FEWEST:
        return None
    length, force = (math.fsum(bond[k] for bond in bonds) / len(bonds) for k in (0, 1))
    lengths = math.fsum((r - length) ** 2 for r, _ in bonds)
    forces = math.fsum((f - force) ** 2 for _, f in bonds)
    across = math.fsum((r - length) * (f - force) for r, f in bonds)
    if lengths < len(bonds) * _SPREAD**2 or not forces or across > _CORRELATION * math.sqrt(lengths * forces):
        return None
    return -across / lengths
