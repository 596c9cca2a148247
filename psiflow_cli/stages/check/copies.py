"""Structures that are there twice, and what their labels say."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

from psiflow_cli.extxyz.structure import projected
from psiflow_cli.stages.check.findings import ERROR, WARNING, Findings, Places
from psiflow_cli.stages.check.sample import Sample, Table

_ENERGY = 1e-5
"""eV per atom: labels of one structure that are further apart are not one method's rounding."""
_FORCE = 1e-3  # eV/Å for each component


class Copies:
    """A number that the forces of every frame decide, in 4 bytes a frame."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._forces = array("f")

    def see(self, sample: Sample) -> None:
        # what isolated atoms' labels say of each other is found elsewhere
        forces = None if sample.isolated else sample.forces
        self._forces.append(math.nan if forces is None else projected(sample.frame, forces))

    def report(self, findings: Findings, firsts: Sequence[int], places: Places) -> None:
        """Compare each frame with the first of the same structure, whose number `firsts` has for each."""
        alike, unlike = array("I"), array("I")
        for index, first in enumerate(firsts):
            if first != index and self._table.heads[first] == self._table.heads[index]:  # each head has its own labels
                (unlike if self._differ(first, index) else alike).append(index)
        for severity, copies, more, hint in (
            (ERROR, unlike, ", with different labels", "keep those of one method, charge and multiplicity"),
            (WARNING, alike, "", "it is trained on twice; psiflow split keeps copies together"),
        ):
            if copies:
                what = f"same structure as {places[firsts[copies[0]]]}{more}"
                findings.add(severity, "duplicate", what, hint).concerns(len(copies), (places[i] for i in copies))

    def _differ(self, one: int, two: int) -> bool:
        natoms, energies = self._table.natoms(one), self._table.energies
        # a missing label compares as equal, since every comparison with nan is false
        far = abs(energies[one] - energies[two]) > _ENERGY * natoms + 1e-6
        return far or abs(self._forces[one] - self._forces[two]) > _FORCE * math.sqrt(3 * natoms)
