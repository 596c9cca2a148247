"""Structures from structures: optimisations, and harmonic vibrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from psiflow_cli.messages.frames import Failure, Prediction

if TYPE_CHECKING:
    from psiflow_cli.messages.frames import Vectors


class RelaxOptions(TypedDict):
    """How far the user wants frames relaxed."""

    fmax: float  # eV/Å, on every atom
    steps: int  # at most
    cell: str  # `fixed`, `isotropic` (its size), `shape` (all but its size) or `flexible`
    pressure: float  # bar
    smax: float  # bar
    keep_symmetry: bool
    symprec: float  # Å
    optimizer: str  # one of `relax.OPTIMIZERS`


class RelaxSettings(RelaxOptions):
    """All that decides where a frame ends."""

    elements: list[str] | None  # those the model knows; None where nobody says


class HarmonicOptions(TypedDict):
    """How the user wants vibrations computed."""

    supercell: list[int] | None  # [3]; None for the frame itself
    mesh: list[int] | None  # [3] wave vectors along each reciprocal vector; None for `supercell_phonons.mesh`
    displacement: float  # Å
    fmax: float  # eV/Å: a frame with larger forces is not relaxed


class HarmonicSettings(HarmonicOptions):
    """All that decides the vibrations of a frame."""

    elements: list[str] | None  # those the model knows; None where nobody says


class Relaxed(Prediction):
    """A frame at the end of an optimisation."""

    positions: Vectors
    cell: Vectors | None
    max_force: float  # eV/Å, on an atom that may move
    steps: int


class Unconverged(Relaxed, Failure):
    """A frame that needs more steps, where they ended."""


class ModesOfMesh(TypedDict):
    """Harmonic vibrations at the points of a mesh."""

    frequencies: list[float]
    """cm⁻¹, imaginary ones negative; of a crystal at the zone centre; without rigid motions unless atoms are fixed."""
    modes: list[list[float]]  # cm⁻¹ at each wave vector
    weights: list[int]  # of each wave vector


class Modes(Prediction, ModesOfMesh):
    """Harmonic vibrations of a frame."""

    max_force: float  # eV/Å, on an atom that may move


class Contact(TypedDict):
    """The two atoms of a frame that are nearest to each other for their size."""

    ratio: float  # distance over the sum of covalent radii; `contacts.WITHIN` where all are further apart
    distance: float | None  # Å
    atoms: str  # what they are, such as `H (atom 1) and O (atom 3)`
    across: str  # what to add where it is an image of one that is so near, or ""


class Stress(TypedDict):
    """A stress by differences of energies."""

    stress: list[float]  # xx, yy, zz, yz, xz, xy in eV/Å³; positive under tension


RelaxResult = Relaxed | Unconverged | Failure
HarmonicResult = Modes | Failure
