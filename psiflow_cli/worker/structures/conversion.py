"""A frame as ASE's Atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

    from psiflow_cli.messages import Frame


def to_ase(frame: Frame) -> Atoms:
    """The frame without a calculator."""
    import ase

    return ase.Atoms(
        symbols=frame["symbols"], positions=frame["positions"], cell=frame.get("cell"), pbc=frame.get("pbc") or False
    )


def masses(frame: Frame, usual: np.ndarray) -> np.ndarray:
    """The frame's own masses (u) of its atoms, or of some elements, over the `usual` ones; shape (N,)."""
    import numpy as np

    own = frame.get("masses") or {}
    if isinstance(own, dict):
        return np.array([own.get(symbol, mass) for symbol, mass in zip(frame["symbols"], usual, strict=True)])
    return np.array(own, dtype=float)
