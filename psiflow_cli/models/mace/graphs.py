"""Frames as graphs, many of them in one call of a MACE model; seen in mace-torch 0.3.16."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psiflow_cli import voigt
from psiflow_cli.models.mace import mace_internals
from psiflow_cli.worker.models import batches
from psiflow_cli.worker.models.batching.neighbours import neighbours, whole_cell

if TYPE_CHECKING:
    import numpy as np
    import torch
    from mace.calculators import MACECalculator

    from psiflow_cli.messages import Frame, PredictionResult


def graph(frame: Frame, calculator: MACECalculator) -> dict[str, np.ndarray]:
    """A frame as `forward` takes it, in Å; MACE's own way takes ten times longer, and holds Python's lock."""
    import numpy as np
    from ase.data import atomic_numbers

    pbc, cutoff = frame.get("pbc") or [False] * 3, float(calculator.r_max)
    positions = np.array(frame["positions"], dtype=float)
    given = frame.get("cell")
    cell = whole_cell(positions, None if given is None else np.array(given, dtype=float), pbc, cutoff)
    pairs, shifts = neighbours(positions, cell, pbc, cutoff)
    elements = list(calculator.z_table.zs)
    return {
        "atoms": np.array([elements.index(atomic_numbers[symbol]) for symbol in frame["symbols"]]),
        "positions": positions,
        "cell": cell,
        "edge_index": pairs,
        "unit_shifts": shifts,
        "shifts": shifts @ cell,
    }


def forward(frames: list[Frame], graphs: Sequence[batches.Graph], calculator: MACECalculator) -> list[PredictionResult]:
    """One batch through the calculator's first model."""
    from mace.tools import torch_tools

    with torch_tools.default_dtype(calculator.default_dtype):
        with_stress = any(voigt.is_defined(frame["pbc"]) for frame in frames)
        output = calculator.models[0](_data(frames, graphs, calculator), compute_stress=with_stress, training=False)
    forces = batches.by_frame(output["forces"], frames)
    stresses = output["stress"].detach().cpu() if with_stress else ()
    return batches.results(frames, output["energy"].detach().cpu().tolist(), forces, stresses)


def describe(frames: list[Frame], graphs: Sequence[batches.Graph], calculator: MACECalculator) -> list[np.ndarray]:
    """The invariant node features of all layers, each of shape (atoms, features), as of MACE's `get_descriptors`."""
    import torch
    from mace.tools import torch_tools

    with torch_tools.default_dtype(calculator.default_dtype), torch.no_grad():
        output = calculator.models[0](_data(frames, graphs, calculator), compute_force=False)
    invariants = mace_internals.invariants(output["node_feats"], calculator.models[0])
    return [each.numpy() for each in batches.by_frame(invariants, frames)]


def _data(frames: list[Frame], graphs: Sequence[batches.Graph], calculator: MACECalculator) -> dict[str, torch.Tensor]:
    """The batch as a model takes it, on its device."""
    import numpy as np
    import torch

    if mace_internals.needs_more_than_a_graph(calculator.models[0]):
        return mace_internals.own_batch(frames, calculator)
    device, dtype = calculator.device, getattr(torch, calculator.default_dtype)
    counts = np.array([len(each["atoms"]) for each in graphs])
    first = np.concatenate([[0], counts.cumsum()])

    def joined(name: str) -> torch.Tensor:
        return torch.from_numpy(np.concatenate([each[name] for each in graphs])).to(device)

    pairs = np.concatenate([each["edge_index"] + begin for each, begin in zip(graphs, first[:-1], strict=True)], axis=1)
    kinds = torch.nn.functional.one_hot(joined("atoms"), len(calculator.z_table.zs))
    head = calculator.available_heads.index(calculator.head)
    return {
        "positions": joined("positions").to(dtype), "node_attrs": kinds.to(dtype), "cell": joined("cell").to(dtype),
        "edge_index": torch.from_numpy(pairs).to(device), "unit_shifts": joined("unit_shifts").to(dtype),
        "shifts": joined("shifts").to(dtype), "ptr": torch.from_numpy(first).to(device),
        "batch": torch.from_numpy(np.repeat(np.arange(len(graphs)), counts)).to(device),
        "head": torch.full((len(graphs),), head, device=device),
        "total_charge": torch.tensor([frame.get("charge", 0) for frame in frames], dtype=dtype, device=device),
        "total_spin": torch.tensor([frame.get("multiplicity", 1) for frame in frames], dtype=dtype, device=device),
    }  # fmt: skip
