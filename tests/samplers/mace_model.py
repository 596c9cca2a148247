"""An untrained MACE model for H and O: as smooth as a real one, and a few milliseconds a call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def untrained(path: Path, channels: int = 8, seed: int = 0, heads: Sequence[str] = ("Default",), **more: Any) -> None:
    """Write one in float64, with a cut-off of 4 Å; the atomic energies of each head are 1 eV above the one before.

    `more` are arguments of MACE's own.
    """
    import mace  # noqa: F401  (first: it lets torch load what e3nn has pickled)
    import numpy as np
    import torch
    from e3nn import o3
    from mace import modules

    torch.manual_seed(seed)
    torch.set_default_dtype(torch.float64)
    kinds = modules.interaction_classes
    model = modules.ScaleShiftMACE(
        r_max=4.0,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=2,
        interaction_cls=kinds["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=kinds["RealAgnosticInteractionBlock"],
        num_interactions=2,
        num_elements=2,
        hidden_irreps=o3.Irreps(f"{channels}x0e"),
        MLP_irreps=o3.Irreps(f"{channels}x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.array([[-13.0 + i, -430.0 + i] for i in range(len(heads))]),
        avg_num_neighbors=8,
        atomic_numbers=[1, 8],
        correlation=2,
        atomic_inter_scale=[1.0] * len(heads),
        atomic_inter_shift=[0.0] * len(heads),
        heads=list(heads),
        **more,
    )
    torch.save(model, path)
    torch.set_default_dtype(torch.float32)
