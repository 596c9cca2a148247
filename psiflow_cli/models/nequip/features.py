"""What a NequIP or Allegro model knows of each atom's surroundings."""

from __future__ import annotations

from typing import Any

from psiflow_cli.models.nequip.inference import eager
from psiflow_cli.worker.structures import conversion

Wire = dict[str, Any]

_loaded: dict[tuple[str, ...], Any] = {}
"""The last model, which is not compiled: what is compiled gives away no features."""


def of_atoms(frame: Wire, member: str, context: Wire) -> Any:
    """*worker*: NequIP's last node features, which are invariant, shape (atoms, features)."""
    return _output(frame, member, context)["node_features"].detach().cpu().numpy()


def of_pairs(frame: Wire, member: str, context: Wire) -> Any:
    """*worker*: Allegro's invariant edge features, of each atom summed over its neighbours, (atoms, features)."""
    import numpy as np

    output = _output(frame, member, context)
    edges = output["edge_features"].detach().cpu().numpy()
    found = np.zeros((len(frame["symbols"]), edges.shape[1]), dtype=edges.dtype)
    np.add.at(found, output["edge_index"][0].cpu().numpy(), edges)
    return found


def _output(frame: Wire, member: str, context: Wire) -> Any:
    key = (member, str(context.get("device")), str(context.get("dtype")))
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = eager(member, context)
    model = _loaded[key]
    return model.call_model(model.atoms_to_data(conversion.to_ase(frame)))
