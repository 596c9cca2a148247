"""A frame as ASE's Atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

    from psiflow_cli.messages import Frame


def to_ase(frame: Frame) -> Atoms:
    """The frame without a calculator; its `info` has what a model may want to know of charge and multiplicity."""
    import ase

    atoms = ase.Atoms(
        symbols=frame["symbols"], positions=frame["positions"], cell=frame.get("cell"), pbc=frame.get("pbc") or False
    )
    if "charge" in frame:
        atoms.info["charge"] = frame["charge"]
    if "multiplicity" in frame:
        atoms.info.update(multiplicity=frame["multiplicity"], spin=frame["multiplicity"])  # MACE calls it spin
    return atoms


def of_ase(atoms: Atoms) -> Frame:
    """What `to_ase` was made of, but for its id."""
    frame: Frame = {
        "id": "", "symbols": atoms.get_chemical_symbols(), "positions": atoms.positions.tolist(),
        "cell": atoms.cell.tolist() if atoms.cell.rank else None, "pbc": atoms.pbc.tolist(),
    }  # fmt: skip
    if "charge" in atoms.info:
        frame["charge"] = atoms.info["charge"]
    if "multiplicity" in atoms.info:
        frame["multiplicity"] = atoms.info["multiplicity"]
    return frame


def masses(frame: Frame, usual: np.ndarray) -> np.ndarray:
    """The frame's own masses (u) of its atoms, or of some elements, over the `usual` ones; shape (N,)."""
    import numpy as np

    own = frame.get("masses") or {}
    if isinstance(own, dict):
        return np.array([own.get(symbol, mass) for symbol, mass in zip(frame["symbols"], usual, strict=True)])
    return np.array(own, dtype=float)
