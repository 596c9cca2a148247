"""Walkers in tensors on the model's device: what integrators move, and where the predictions of the models are put."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import torch

    Evaluate = Callable[["BatchState"], None]
    """Put what the models predict at the state's positions and cells into the state."""

_OF_ATOMS = ("positions", "momenta", "masses", "moves", "forces", "forces_std")
_OF_WALKERS = ("cells", "dof", "kelvin", "pressure", "energy", "stress", "energy_std", "nearest")


@dataclass
class BatchState:
    """B walkers with N atoms in all, one walker's atoms after another's; float64, in ASE's units (eV, Å, u).

    Whoever changes a field gives it a new tensor and changes none in place: so a shallow copy is a snapshot.
    """

    counts: list[int]  # number of atoms of each walker
    positions: torch.Tensor  # [N, 3]
    momenta: torch.Tensor  # [N, 3]
    masses: torch.Tensor  # [N, 3], equal columns: operations that broadcast [N, 1] are several times slower
    moves: torch.Tensor | None  # [N, 3]: 0 for an atom that does not move, else 1; None where all move
    cells: torch.Tensor  # [B, 3, 3], rows are the vectors
    dof: torch.Tensor  # [B], degrees of freedom that carry the temperature
    kelvin: torch.Tensor  # [B], temperature of the thermostat in this step
    pressure: torch.Tensor  # [B], of the barostat, in eV/Å³
    energy: torch.Tensor  # [B]
    forces: torch.Tensor  # [N, 3]
    stress: torch.Tensor | None = None  # [B, 3, 3] in eV/Å³, with ASE's sign; None where nobody asked for it
    energy_std: torch.Tensor | None = None  # [B], of a committee; see `committee.spread`
    forces_std: torch.Tensor | None = None  # [N]
    nearest: torch.Tensor | None = None  # [B], smallest distance (Å) within the models' cutoff, else infinity
    own: dict[str, torch.Tensor] = field(default_factory=dict)
    """The integrator's variables, [B, ...] each; a walker's are in its `WalkerState.more` by the same names."""

    def __post_init__(self) -> None:
        import torch

        device, counts = self.positions.device, torch.tensor(self.counts, dtype=torch.long)
        walkers = torch.arange(len(self.counts))
        self.system = torch.repeat_interleave(walkers, counts).to(device)
        """[N], the walker of each atom."""
        self.inverse_masses = 1.0 / self.masses
        """[N, 3], as a product is faster than a quotient."""
        self._half_inverse_masses = 0.5 * self.inverse_masses
        self._rows: torch.Tensor | None = None
        self._places: torch.Tensor | None = None
        if len(set(self.counts)) > 1:
            ends = counts.cumsum(0)
            columns = torch.arange(max(self.counts))
            rows = (ends - counts)[:, None] + columns
            self._rows = torch.where(columns < counts[:, None], rows, len(self.system)).to(device)
            """[B, most atoms], the atoms of each walker; N where it has fewer."""
            self._places = (columns < counts[:, None]).flatten().nonzero()[:, 0].to(device)
            """[N], where the atoms are among these."""

    def per_atom(self, values: torch.Tensor) -> torch.Tensor:
        """Values of the walkers, [B, ...], for each of their atoms, [N, ...]."""
        return values.index_select(0, self.system)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of values of the atoms, [N, ...], over each walker, [B, ...], always in the same order."""
        return self.by_walker(values).sum(dim=1)

    def largest(self, values: torch.Tensor) -> torch.Tensor:
        """The largest of values of the atoms, [N] and not negative, in each walker, [B]; NaN where one is."""
        return self.by_walker(values).amax(dim=1)

    def kinetic(self, momenta: torch.Tensor) -> torch.Tensor:
        """The kinetic energy of each walker, [B]."""
        return self.by_walker((momenta * momenta).mul_(self._half_inverse_masses)).flatten(1).sum(dim=1)

    def kicked(self, time: float) -> torch.Tensor:
        """The momenta after the forces have acted for a time (ASE's unit), [N, 3]."""
        if self.moves is None:
            return self.momenta.add(self.forces, alpha=time)
        return self.momenta.addcmul(self.forces, self.moves, value=time)

    def copy(self) -> BatchState:
        """The same tensors in another state."""
        other = copy.copy(self)
        other.own = dict(self.own)
        return other

    def parts(self) -> list[slice]:
        """The rows of each walker's atoms."""
        ends = list(itertools.accumulate(self.counts))
        return [slice(end - count, end) for end, count in zip(ends, self.counts, strict=True)]

    def atoms_of(self, walkers: Sequence[int]) -> torch.Tensor:
        """The rows of the atoms of some of the walkers."""
        import torch

        parts = self.parts()
        atoms = [torch.arange(parts[i].start, parts[i].stop) for i in walkers]
        return torch.cat([torch.arange(0), *atoms]).to(self.positions.device)

    def only(self, walkers: Sequence[int]) -> BatchState:
        """Some of the walkers, by their places in the batch."""
        import torch

        rows = self.atoms_of(walkers)
        places = torch.tensor(walkers, dtype=torch.long).to(self.positions.device)
        fields = {name: _select(getattr(self, name), rows) for name in _OF_ATOMS}
        fields |= {name: _select(getattr(self, name), places) for name in _OF_WALKERS}
        own = {name: values.index_select(0, places) for name, values in self.own.items()}
        return BatchState(counts=[self.counts[i] for i in walkers], own=own, **cast("dict[str, torch.Tensor]", fields))

    def by_walker(self, values: torch.Tensor) -> torch.Tensor:
        """Values of the atoms, [N, ...], as [B, most atoms, ...]; 0 where a walker has fewer."""
        import torch

        if self._rows is None:
            return values.reshape(len(self.counts), -1, *values.shape[1:])
        values = torch.cat([values, values.new_zeros((1, *values.shape[1:]))])
        return values[self._rows]

    def by_atom(self, values: torch.Tensor) -> torch.Tensor:
        """Values as `by_walker` has them, as [N, ...] again."""
        values = values.flatten(0, 1)
        return values if self._places is None else values.index_select(0, self._places)


def _select(values: torch.Tensor | None, rows: torch.Tensor) -> torch.Tensor | None:
    return None if values is None else values.index_select(0, rows)
