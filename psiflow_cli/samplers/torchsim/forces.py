"""What the models predict for a batch, in as many calls as the memory asks for, with one list of pairs for all."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.samplers.torchsim.interface import InterfaceModel
from psiflow_cli.samplers.torchsim.neighbours import NeighbourList, Pairs
from psiflow_cli.worker.failures import Fatal, is_out_of_memory
from psiflow_cli.worker.models import graphs, weights
from psiflow_cli.worker.models.calculators import same_digits
from psiflow_cli.worker.models.kernels import fast_paths
from psiflow_cli.worker.pool.call import resolve

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch_sim.models.interface import ModelInterface

    from psiflow_cli.messages import Context, Frame, ModelWeights
    from psiflow_cli.samplers.torchsim.state import BatchState

_loaded: dict[tuple[object, ...], list[graphs.GraphModel]] = {}


def models(model: ModelWeights, context: Context, stress: bool) -> list[graphs.GraphModel]:
    """The members behind torch-sim's interface, loaded once in this process. Raises Fatal where there is none."""
    weights.check(model.get("weights", {}))
    family = model["family"]
    thread = threading.get_ident()  # an interface keeps the last batch's arrays
    how = (str(context.get(name)) for name in ("device", "dtype", "head", "kernels"))
    key = (thread, family, *model["members"], *how, stress)
    if key not in _loaded:
        for other in [each for each in list(_loaded) if each[0] == thread]:
            del _loaded[other]  # two models may not fit on one GPU
        try:
            resolve(f"{family}:torchsim")
        except AttributeError:
            raise Fatal("torch-sim has no interface to this kind of model", "use --engine ase") from None
        try:
            import torch_sim  # noqa: F401
        except ImportError:
            raise Fatal(
                f"torch-sim is not installed in {sys.prefix}",
                "pip install 'torch-sim-atomistic>=0.3' there (Python 3.11 or later), or use --engine ase",
            ) from None
        _loaded[key] = [_fastest(model, member, context, stress) for member in model["members"]]
        if context.get("device") != "cuda":
            same_digits()
    return _loaded[key]


def _fastest(model: ModelWeights, member: str, context: Context, stress: bool) -> graphs.GraphModel:
    """A member by the fastest of its family's paths; see `protocols.HasFastPaths`."""
    family = model["family"]
    make = resolve(f"{family}:torchsim")
    try:
        paths = cast("Sequence[fast_paths.FastPath]", resolve(f"{family}:FAST_PATHS"))
    except AttributeError:
        paths = ()
    if not paths:
        return _on_graphs(family, cast("ModelInterface", make(member, context, stress)))

    def by_path(path: str, build: bool) -> graphs.GraphModel:
        return _on_graphs(family, cast("ModelInterface", make(member, context, stress, path, build)))

    own = [Path(file) for file in model.get("weights", {}) if Path(file).parent == Path(member)]
    fastest = fast_paths.Fastest(by_path, paths, own[0] if own else None, context, f"torchsim, stress {stress}")
    return cast("graphs.GraphModel", fastest)


def _on_graphs(family: str, interface: ModelInterface) -> graphs.GraphModel:
    """The model past its interface, where the family can; see `protocols.TakesGraphs`."""
    try:
        make = resolve(f"{family}:graph_model")
    except AttributeError:
        return InterfaceModel(interface)
    return cast("graphs.GraphModel | None", make(interface)) or InterfaceModel(interface)


@dataclass(frozen=True)
class _Part:
    """Walkers that a model is given at once."""

    structures: graphs.Structures
    pairs: NeighbourList | None  # None where no model takes a graph
    atoms: slice
    walkers: slice


class Forces:
    """The models, and the walkers that they are asked about, `size` at once at most."""

    def __init__(
        self, members: Sequence[graphs.GraphModel], size: int, starts: Sequence[Frame], cells_move: bool = False
    ) -> None:
        """`starts` say of each walker what does not move; all are alike in `pbc`."""
        self.members, self.size, self._cells_move, self._exact = members, size, cells_move, True
        self.device = members[0].device
        self._starts = list(starts)
        self._parts: list[_Part] = []
        self._build()

    def restrict_to(self, walkers: Sequence[int]) -> None:
        """Ask about these of the walkers only from now on."""
        self._starts = [self._starts[i] for i in walkers]
        self._build()

    @property
    def cutoff(self) -> float:
        """Up to where all distances are known (Å)."""
        return max((model.cutoff for model in self.members), default=0.0)

    def wait(self, exact: bool) -> None:
        """Whether the host may wait for the number of pairs in each step; else it asks `worn` and `held` later."""
        self._exact = exact
        for part in self._parts:
            if part.pairs:
                part.pairs.exact = exact

    def worn(self) -> list[torch.Tensor]:
        """How far the lists of pairs are used where nobody waits, two numbers each; see `NeighbourList.worn`."""
        lists = [part.pairs for part in self._parts if part.pairs]
        return [] if self._exact else [number for pairs in lists for number in pairs.worn.unbind(0)]

    def held(self, worn: np.ndarray) -> bool:
        """Whether they had all pairs; those that will not last are built again."""
        lists = [part.pairs for part in self._parts if part.pairs]
        held = [pairs.held(*worn[2 * i : 2 * i + 2]) for i, pairs in enumerate(lists if len(worn) else [])]
        return all(held)

    def __call__(self, state: BatchState, stress: bool, distances: bool = False) -> None:
        """Put the predictions into the state; stress and the smallest distances only if they are asked for.

        Raises RuntimeError where not even one walker fits into the memory.
        """
        import torch

        while True:
            try:
                parts = [self._predict(part, state, stress, distances) for part in self._parts]
                break
            except RuntimeError as error:
                if self.size == 1 or not is_out_of_memory(error):
                    raise
            self.size = (min(self.size, len(self._starts)) + 1) // 2
            self._build()
            if not self._exact:
                raise RuntimeError("what the lists of the larger parts have missed is not known")
        whole = {name: parts[0][name] if len(parts) == 1 else torch.cat([p[name] for p in parts]) for name in parts[0]}
        state.energy, state.forces, state.stress = whole["energy"], whole["forces"], whole.get("stress")
        state.energy_std, state.forces_std = whole.get("energy_std"), whole.get("forces_std")
        state.nearest = whole.get("nearest")

    def _predict(self, part: _Part, state: BatchState, stress: bool, distances: bool) -> dict[str, torch.Tensor]:
        """The mean over the members, and their spread where there are several."""
        import torch

        structures, places = part.structures, (state.positions, state.cells)
        if len(self._parts) > 1:
            places = state.positions[part.atoms], state.cells[part.walkers]
        pairs = part.pairs.pairs(*places, structures.system) if part.pairs else None
        by_cutoff: dict[float, graphs.Graph] = {}
        results = []
        for model in self.members:
            if model.cutoff not in by_cutoff:
                by_cutoff[model.cutoff] = _graph(structures, *places, pairs, model.cutoff, self._exact)
            output = model(by_cutoff[model.cutoff], stress)
            results.append({name: values.to(torch.float64) for name, values in output.items()})
        means = _mean(results)
        if pairs and distances:
            walkers = structures.system.index_select(0, pairs.index[0])
            nearest = torch.full_like(means["energy"], torch.inf)
            means["nearest"] = nearest.scatter_reduce(0, walkers, pairs.squares, "amin").sqrt()
        return means

    def _build(self) -> None:
        """The parts of the batch, each of `size` walkers at most."""
        import torch
        from ase.data import atomic_numbers

        self._parts, begin = [], 0
        for first in range(0, len(self._starts), self.size):
            starts = self._starts[first : first + self.size]
            sizes = [len(start["symbols"]) for start in starts]
            counts = torch.tensor(sizes)
            numbers = torch.tensor([atomic_numbers[symbol] for start in starts for symbol in start["symbols"]])
            structures = graphs.Structures(
                numbers=numbers.to(self.device),
                system=torch.repeat_interleave(torch.arange(len(starts)), counts).to(self.device),
                first=torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)]).to(self.device),
                pbc=(bool(starts[0]["pbc"][0]), bool(starts[0]["pbc"][1]), bool(starts[0]["pbc"][2])),
                charge=_of_each(starts, "charge", 0.0).to(self.device),
                multiplicity=_of_each(starts, "multiplicity", 1.0).to(self.device),
            )
            pairs = NeighbourList(sizes, structures.pbc, self.cutoff, self._cells_move) if self.cutoff else None
            atoms = slice(begin, begin + len(numbers))
            self._parts.append(_Part(structures, pairs, atoms, slice(first, first + len(starts))))
            begin = atoms.stop
        self.wait(self._exact)


def _graph(
    structures: graphs.Structures, positions: torch.Tensor, cells: torch.Tensor, pairs: Pairs | None, cutoff: float,
    exact: bool,
) -> graphs.Graph:  # fmt: skip
    """The graph of the pairs within a cutoff (Å), which may be less than theirs; not `exact`: and of some beyond."""
    import torch

    if pairs is None:
        return graphs.Graph(structures, positions, cells, *_no_pairs())
    there = (pairs.squares < cutoff**2).nonzero()[:, 0] if cutoff < pairs.cutoff and exact else slice(None)
    index, shifts = pairs.index[:, there], pairs.shifts[:, there]
    both = torch.cat([index, index.flip(0)], dim=1)
    return graphs.Graph(structures, positions, cells, both, torch.cat([shifts, -shifts], dim=1).T.contiguous())


@functools.cache
def _no_pairs() -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    return torch.zeros((2, 0)), torch.zeros((0, 3))


def _of_each(starts: Sequence[Frame], name: str, usual: float) -> torch.Tensor:
    import torch

    return torch.tensor([float(start.get(name, usual)) for start in starts], dtype=torch.float64)  # type: ignore[arg-type]


def _mean(results: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean over the members, and their spread where there are several; see `committee.spread`."""
    import torch

    if len(results) == 1:
        return results[0]
    stacked = {name: torch.stack([result[name] for result in results]) for name in results[0]}
    means = {name: values.mean(dim=0) for name, values in stacked.items()}
    means["energy_std"] = stacked["energy"].std(dim=0, correction=0)
    means["forces_std"] = stacked["forces"].std(dim=0, correction=0).norm(dim=1)
    return means
