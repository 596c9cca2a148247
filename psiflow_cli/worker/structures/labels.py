"""Numbers of a code as a label, checked against the frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from psiflow_cli import voigt
from psiflow_cli.errors import counted
from psiflow_cli.worker.failures import failure

if TYPE_CHECKING:
    from psiflow_cli.messages import Frame, LabelResult


def label(
    frame: Frame, energy: float, forces: Sequence[Sequence[float]], stress: Sequence[float] | None, code: str,
    log: str = "",
) -> LabelResult:  # fmt: skip
    """A label (eV, eV/Å, eV/Å³) for the wire, or an `inconsistent` failure if it does not fit the frame.

    Whatever stress a code gives for a frame that has none (see `voigt.is_defined`) is left out.
    """
    stress = stress if voigt.is_defined(frame.get("pbc") or [False]) else None
    numbers = [energy, *(x for row in forces for x in row), *(() if stress is None else stress)]
    if len(forces) != len(frame["symbols"]) or any(len(row) != 3 for row in forces):
        return failure(
            "inconsistent", f"{counted(len(forces), 'force')} for {counted(len(frame['symbols']), 'atom')}", log
        )
    if not all(map(math.isfinite, numbers)):
        return failure("inconsistent", "the energy, a force or the stress is not a finite number", log)
    rows = [[float(x) for x in row] for row in forces]
    six = None if stress is None else [float(x) for x in stress]
    return {"energy": float(energy), "forces": rows, "stress": six, "code": code}
