"""Many structures as one graph of atoms and pairs, and what a model is asked about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Structures:
    """What of B structures with N atoms in all does not move; a model may keep what it makes of it, by identity."""

    numbers: torch.Tensor  # [N], atomic numbers
    system: torch.Tensor  # [N], the structure of each atom
    first: torch.Tensor  # [B + 1], the first atom of each structure, and N
    pbc: tuple[bool, bool, bool]
    charge: torch.Tensor  # [B], 0 where nobody says
    multiplicity: torch.Tensor  # [B], 1 where nobody says


@dataclass(frozen=True)
class Graph:
    """Where the atoms are, in float64 (Å), and all their pairs within the cutoff, each in both directions.

    Some pairs beyond the cutoff may be among them, which must contribute nothing.
    """

    structures: Structures
    positions: torch.Tensor  # [N, 3]
    cells: torch.Tensor  # [B, 3, 3], rows are the vectors
    pairs: torch.Tensor  # [2, E]
    shifts: torch.Tensor  # [E, 3]: positions[second] - positions[first] + shift @ cell is the way from one to the other


class GraphModel(Protocol):
    """A model that takes a graph."""

    cutoff: float  # Å; 0 for a model that looks at no pairs
    device: torch.device

    def __call__(self, graph: Graph, stress: bool) -> dict[str, torch.Tensor]:
        """`energy` (eV, [B]), `forces` (eV/Å, [N, 3]) and, if asked for, `stress` (eV/Å³, [B, 3, 3])."""
