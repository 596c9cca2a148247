"""What a NequIP or Allegro model knows of each atom's surroundings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.models.nequip import nequip_internals
from psiflow_cli.models.nequip.inference import eager

if TYPE_CHECKING:
    import numpy as np
    import torch
    from nequip.integrations.ase import NequIPCalculator

    from psiflow_cli.messages import Context, Frame

_loaded: dict[tuple[str, ...], NequIPCalculator] = {}
"""The last model, which is not compiled: what is compiled gives away no features."""


def of_atoms(frame: Frame, member: str, context: Context) -> np.ndarray:
    """*worker*: NequIP's last node features, which are invariant, shape (atoms, features)."""
    return _outputs(frame, member, context)["node_features"].detach().cpu().numpy()


def of_pairs(frame: Frame, member: str, context: Context) -> np.ndarray:
    """*worker*: Allegro's invariant edge features, of each atom summed over its neighbours, (atoms, features)."""
    import numpy as np

    output = _outputs(frame, member, context)
    edges = output["edge_features"].detach().cpu().numpy()
    features = np.zeros((len(frame["symbols"]), edges.shape[1]), dtype=edges.dtype)
    np.add.at(features, output["edge_index"][0].cpu().numpy(), edges)
    return features


def _outputs(frame: Frame, member: str, context: Context) -> dict[str, torch.Tensor]:
    key = (member, str(context.get("device")), str(context.get("dtype")))
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = eager(member, context)
    return nequip_internals.outputs(frame, _loaded[key])
