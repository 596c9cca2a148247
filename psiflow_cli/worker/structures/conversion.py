"""A frame as ASE's Atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psiflow_cli.messages import Frame


def to_ase(frame: Frame) -> Any:
    """The frame as `ase.Atoms`, without a calculator."""
    import ase

    return ase.Atoms(
        symbols=frame["symbols"],
        positions=frame["positions"],
        cell=frame.get("cell"),
        pbc=frame.get("pbc") or False,
    )


def masses(frame: Frame, usual: Any) -> Any:
    """The frame's own masses (u) of its atoms, or of some elements, over the `usual` ones, an array of shape (N,)."""
    import numpy as np

    given = frame.get("masses") or {}
    if isinstance(given, dict):
        return np.array([given.get(symbol, mass) for symbol, mass in zip(frame["symbols"], usual, strict=True)])
    return np.array(given, dtype=float)
