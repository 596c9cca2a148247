"""Energies and forces of many walkers from one call of each model, in as many batches as the memory asks for."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from psiflow_cli.worker.failures import Fatal, is_out_of_memory
from psiflow_cli.worker.models import weights
from psiflow_cli.worker.models.calculators import same_digits
from psiflow_cli.worker.pool.call import resolve

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch_sim import SimState
    from torch_sim.models.interface import ModelInterface

    from psiflow_cli.messages import Context, ModelWeights
    from psiflow_cli.samplers.torchsim.state import BatchState

_loaded: dict[tuple[object, ...], list[ModelInterface]] = {}


def models(model: ModelWeights, context: Context, stress: bool) -> list[ModelInterface]:
    """torch-sim's interface to each member, loaded once in this process. Raises Fatal where there is none."""
    weights.check(model.get("weights", {}))
    family = model["family"]
    thread = threading.get_ident()  # an interface keeps the last batch's arrays
    how = (str(context.get(name)) for name in ("device", "dtype", "head"))
    key = (thread, family, *model["members"], *how, stress)
    if key not in _loaded:
        for other in [each for each in list(_loaded) if each[0] == thread]:
            del _loaded[other]  # two models may not fit on one GPU
        try:
            make = resolve(f"{family}:torchsim")
        except AttributeError:
            raise Fatal("torch-sim has no interface to this kind of model", "--engine ase has") from None
        try:
            import torch_sim  # noqa: F401
        except ImportError:
            raise Fatal(
                f"torch-sim is not installed in {sys.prefix}",
                "pip install 'torch-sim-atomistic>=0.3' there (Python 3.11 or later), or --engine ase",
            ) from None
        _loaded[key] = [make(member, context, stress) for member in model["members"]]
        if context.get("device") != "cuda":
            same_digits()
    return _loaded[key]


class Forces:
    """The models, and the walkers that they are asked about, `size` at once at most."""

    def __init__(self, members: Sequence[ModelInterface], size: int, numbers: Sequence[np.ndarray], pbc: bool) -> None:
        """`numbers` are the atomic numbers of each walker, shape (N,)."""
        self.members, self.size, self.pbc = members, size, pbc
        self.device = members[0].device
        self._numbers = list(numbers)
        self._states: list[tuple[SimState, slice, slice]] = []
        self._build()

    def keep(self, walkers: Sequence[int]) -> None:
        """Ask about these of the walkers only from now on."""
        self._numbers = [self._numbers[i] for i in walkers]
        self._build()

    def __call__(self, state: BatchState, stress: bool) -> None:
        """Put the predictions into the state. Raises RuntimeError where not even one walker fits into the memory."""
        while True:
            try:
                results = [self._one(model, state) for model in self.members]
                break
            except RuntimeError as error:
                if self.size == 1 or not is_out_of_memory(error):
                    raise
            self.size = (min(self.size, len(self._numbers)) + 1) // 2
            self._build()
        _put(state, results)

    def _one(self, model: ModelInterface, state: BatchState) -> dict[str, torch.Tensor]:
        import torch

        parts = []
        for part, atoms, walkers in self._states:
            part.positions = state.positions[atoms].to(part.cell.dtype)
            part.cell = state.cells[walkers].mT.contiguous().to(part.cell.dtype)  # torch-sim has the vectors as columns
            _set_up(model, part)
            parts.append(model(part))
        names = ("energy", "forces", "stress") if model.compute_stress else ("energy", "forces")
        return {name: torch.cat([part[name] for part in parts]).to(torch.float64) for name in names}

    def _build(self) -> None:
        """The states that the models are given, each of `size` walkers at most."""
        import torch
        import torch_sim

        self._states = []
        device, dtype = self.members[0].device, self.members[0].dtype
        begin = 0
        for first in range(0, len(self._numbers), self.size):
            numbers = self._numbers[first : first + self.size]
            counts = torch.tensor([len(each) for each in numbers])
            system = torch.repeat_interleave(torch.arange(len(numbers)), counts).to(device)
            atoms = torch.cat([torch.as_tensor(each) for each in numbers]).to(device)
            state = torch_sim.SimState(
                positions=torch.zeros((len(atoms), 3), device=device, dtype=dtype),
                masses=torch.ones(len(atoms), device=device, dtype=dtype),
                cell=torch.zeros((len(numbers), 3, 3), device=device, dtype=dtype),
                pbc=self.pbc,
                atomic_numbers=atoms,
                system_idx=system,
            )
            self._states.append((state, slice(begin, begin + len(atoms)), slice(first, first + len(numbers))))
            begin += len(atoms)


def _set_up(model: ModelInterface, state: SimState) -> None:
    """Tell a model which atoms are whose: torch-sim's for MACE looks at the list of elements only."""
    if getattr(model, "psiflow_state", None) is not state and hasattr(model, "setup_from_system_idx"):
        model.setup_from_system_idx(state.atomic_numbers, state.system_idx)
        model.psiflow_state = state


def _put(state: BatchState, results: Sequence[dict[str, torch.Tensor]]) -> None:
    """The mean over the members, and their spread where there are several."""
    import torch

    means = results[0]
    if len(results) > 1:
        stacked = {name: torch.stack([result[name] for result in results]) for name in results[0]}
        means = {name: values.mean(dim=0) for name, values in stacked.items()}
        state.energy_std = stacked["energy"].std(dim=0, correction=0)
        state.forces_std = stacked["forces"].std(dim=0, correction=0).norm(dim=1)
    state.energy, state.forces, state.stress = means["energy"], means["forces"], means.get("stress")
