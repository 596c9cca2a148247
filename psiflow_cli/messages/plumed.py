"""What PLUMED is asked about an input before anything is computed, and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from psiflow_cli.messages.frames import Frame


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


class NearestQuestion(TypedDict):
    """Windows of an input, and the frames of which each is to have one."""

    text: str  # with the names of windows, `@NAME@`
    files: dict[str, str]
    windows: list[dict[str, float]]
    frames: list[Frame]  # all of the same atoms
    kT: float  # eV
    timestep: float  # fs


class NearestAnswer(TypedDict):
    """The frame of each window, by its place, with the bias of the window there."""

    problem: str  # "" where there is an answer
    hint: str
    places: list[int]
    energies: list[float]  # eV
