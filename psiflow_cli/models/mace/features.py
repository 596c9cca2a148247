"""What a MACE model knows of each atom's surroundings."""

from __future__ import annotations

from typing import Any

from psiflow_cli.models.mace.inference import loaded
from psiflow_cli.worker.structures import conversion

Wire = dict[str, Any]


def features(frame: Wire, member: str, context: Wire) -> Any:
    """*worker*: the invariant node features of all layers, shape (atoms, features); see MACE's `get_descriptors`."""
    return loaded(member, context).calculator.get_descriptors(conversion.to_ase(frame))
