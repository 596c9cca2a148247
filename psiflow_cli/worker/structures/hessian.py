"""Hessians by central differences of a model's forces, and the frequencies that follow from them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from psiflow_cli.worker.failures import Fatal, failure
from psiflow_cli.worker.models.predictions import Predict, crashed, largest, predictor, unfit
from psiflow_cli.worker.structures import conversion, normal_modes, supercell_phonons

Wire = dict[str, Any]
_TOGETHER = 240
"""Displaced frames that are made at once; the family's `predict` cuts them into batches that fit."""


def analyse(frames: list[Wire], model: Wire, settings: Wire, context: Wire, folder: str = "") -> list[Wire]:
    """*worker*: the harmonic modes of each frame, which must be relaxed.

    settings: {"displacement": Å, "fmax": eV/Å, "supercell": [3 int] or None, "mesh":
    [3 int] or None, "elements": those the model knows, or None}. A frame may have "fixed" atoms, which are never
    displaced, and "masses". In `folder`, if one is named, each frame's Hessian is left; see `_leave`.

    Returns for each frame {"frequencies": in cm^-1, of a crystal at Γ, without rigid motions unless atoms are fixed,
    "modes": [those of each point of the mesh], "weights": [of each point], "energy", "forces", "stress", "max_force"},
    and of a committee "energy_std" and "forces_std"; or a failure, `invalid-input` for a frame that is not relaxed.
    """
    predict = predictor(model, context)
    return [_guarded(frame, predict, settings, folder) for frame in frames]


def _guarded(frame: Wire, predict: Predict, settings: Wire, folder: str) -> Wire:
    if bad := unfit(frame, settings["elements"]):
        return bad
    try:
        return _analysed(frame, predict, settings, folder)
    except Fatal:
        raise
    except Exception as error:
        return crashed(error)


def _analysed(frame: Wire, predict: Predict, settings: Wire, folder: str) -> Wire:
    import numpy as np

    (found,) = predict([frame])
    if "failure" in found:
        return found
    atoms = conversion.to_ase(frame)
    atoms.set_masses(conversion.masses(frame, atoms.get_masses()))
    fixed = set(frame.get("fixed", ()))
    moving = [index for index in range(len(atoms)) if index not in fixed]
    force = largest(np.array(found["forces"])[moving])
    if not force < settings["fmax"]:
        said = f"not relaxed: the largest force is {force:.3g} eV/Å, not below {settings['fmax']:g} eV/Å"
        return failure("invalid-input", f"{said} (psiflow relax)")
    found["max_force"] = force
    forces = _Forces(predict)
    if settings["supercell"]:
        made = supercell_phonons.modes(
            atoms, settings, "masses" in frame, forces, lambda *of: _leave(folder, frame, *of)
        )
        return {**found, **made}
    hessian = central_differences(frame, moving, settings["displacement"], forces)
    masses = atoms.get_masses()[moving]
    motions = None if fixed else normal_modes.rigid(atoms.positions, masses, not any(atoms.pbc))
    frequencies = normal_modes.frequencies(hessian, masses, motions)
    _leave(folder, frame, hessian, atoms, moving)
    return {**found, "frequencies": frequencies, "modes": [frequencies], "weights": [1]}


class _Forces:
    """The forces (eV/Å) of frames, in arrays of shape (N, 3); raises ValueError where there are none."""

    def __init__(self, predict: Predict) -> None:
        self._predict = predict

    def __call__(self, frames: list[Wire]) -> list[Any]:
        import numpy as np

        found = []
        for first in range(0, len(frames), _TOGETHER):
            for result in self._predict(frames[first : first + _TOGETHER]):
                if result.get("failure") == "out-of-memory":
                    raise MemoryError(result["message"])
                if "failure" in result:
                    raise ValueError(f"with a displaced atom: {result['message']}")
                found.append(np.array(result["forces"]))
        if not np.isfinite(found).all():
            raise ValueError("a force is not finite where an atom is displaced")
        return found


def central_differences(
    frame: Wire, moving: list[int], displacement: float, forces: Callable[[list[Wire]], list[Any]]
) -> Any:
    """The symmetrised Hessian (eV/Å²) of the atoms in `moving`, of shape (3M, 3M), from 6M evaluations of forces."""
    import numpy as np

    start = np.array(frame["positions"])
    displaced = []
    for index in moving:
        for axis in range(3):
            for sign in (1, -1):
                positions = start.copy()
                positions[index, axis] += sign * displacement
                displaced.append({**frame, "positions": positions.tolist()})
    pushed = np.array(forces(displaced))[:, moving].reshape(-1, 2, 3 * len(moving))
    hessian = (pushed[:, 1] - pushed[:, 0]) / (2 * displacement)
    return (hessian + hessian.T) / 2


def _leave(folder: str, frame: Wire, hessian: Any, atoms: Any, moving: list[int]) -> None:
    """Write `ID.npz` whole: `hessian` (eV/Å²), and the atoms that it is of, `positions` and `cell` (Å), `moving`."""
    import numpy as np

    if not folder:
        return
    final = Path(folder, f"{frame['id']}.npz")
    temporary = final.with_suffix(f".{os.getpid()}.part")
    with temporary.open("wb") as stream:
        np.savez(
            stream,
            hessian=hessian,
            positions=atoms.positions,
            cell=atoms.cell.array,
            moving=np.array(moving),
        )
    os.replace(temporary, final)
