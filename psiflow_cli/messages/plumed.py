"""What PLUMED is asked about an input before anything is computed, and what it says."""

from __future__ import annotations

from typing import TypedDict


class PlumedQuestion(TypedDict):
    """An input, and the system for which PLUMED is to read it."""

    text: str
    files: dict[str, str]  # text of each file that it reads, by name
    atoms: int
    energy_unit: float  # an eV in kJ/mol
    kT: float  # eV
    timestep: float  # fs


class PlumedAnswer(TypedDict):
    """What PLUMED says."""

    kind: str  # what is wrong: `package`, `kernel`, `input`, or ""
    problem: str
    log: str  # of PLUMED, as far as it came
