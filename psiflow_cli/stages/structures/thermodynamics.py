"""Thermodynamics of harmonic oscillators, classical and quantum, from their wavenumbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

# ase.units (CODATA 2014), for where there may be no ASE
INVCM = 1.239841973964072e-4  # eV: of 1 cm^-1
KB = 8.617330337217213e-05  # eV/K

Rows = Sequence[Sequence[float]]


class Harmonic(NamedTuple):
    """What a frame's vibrations amount to at a temperature; of a crystal, per cell as the frame has it."""

    temperature: float  # K
    zero_point_energy: float  # eV: sum of ħω/2
    free_energy: float  # eV, quantum: sum of ħω/2 + kT ln(1 - exp(-ħω/kT))
    free_energy_classical: float  # eV: sum of kT ln(ħω/kT)
    entropy: float  # eV/K, quantum
    entropy_classical: float  # eV/K
    heat_capacity: float  # eV/K, quantum, at constant volume; each classical mode has k


def imaginary(modes: Rows, weights: Sequence[int], threshold: float) -> int:
    """How many modes are imaginary, which are negative here: below `-threshold` (cm^-1)."""
    return sum(weight * sum(nu < -threshold for nu in point) for point, weight in zip(modes, weights, strict=True))


def counted(modes: Rows, weights: Sequence[int], threshold: float) -> float:
    """How many modes the sums have, of a mesh in the mean over its points."""
    return sum(weight for _, weight in _sound(modes, weights, threshold)) / sum(weights)


def at(temperature: float, modes: Rows, weights: Sequence[int], threshold: float) -> Harmonic:
    """The sums over all modes (cm^-1) above the threshold; of several points with weights, their mean."""
    kT = KB * temperature
    sums = [0.0] * 6
    for nu, weight in _sound(modes, weights, threshold):
        energy = nu * INVCM
        x = energy / kT
        occupied = math.exp(-x) / -math.expm1(-x)  # 1 / (e^x - 1), for large x, too
        rest = math.log(-math.expm1(-x))
        terms = (
            energy / 2,
            energy / 2 + kT * rest,
            kT * math.log(x),
            KB * (x * occupied - rest),
            KB * (1 - math.log(x)),
            KB * x * x * occupied * (1 + occupied),
        )
        sums = [total + weight * term for total, term in zip(sums, terms, strict=True)]
    return Harmonic(temperature, *(total / sum(weights) for total in sums))


def _sound(modes: Rows, weights: Sequence[int], threshold: float) -> Iterator[tuple[float, int]]:
    return ((nu, weight) for point, weight in zip(modes, weights, strict=True) for nu in point if nu > threshold)
