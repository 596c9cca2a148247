"""What a MACE model knows of each atom's surroundings."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from psiflow_cli.models.mace.inference import loaded
from psiflow_cli.worker.structures import conversion

if TYPE_CHECKING:
    import numpy as np
    from mace.calculators import MACECalculator

    from psiflow_cli.messages import Context, Frame


def features(frame: Frame, member: str, context: Context) -> np.ndarray:
    """*worker*: the invariant node features of all layers, shape (atoms, features); see MACE's `get_descriptors`."""
    calculator = cast("MACECalculator", loaded(member, context).calculator)
    return cast("np.ndarray", calculator.get_descriptors(conversion.to_ase(frame)))
