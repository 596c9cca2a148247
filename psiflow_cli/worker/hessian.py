"""Hessians by central differences of a model's forces, and the frequencies that follow from them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from psiflow_cli.worker import calculators, harmonic, relaxing, supercells
from psiflow_cli.worker import frames as wire
from psiflow_cli.worker.guard import Fatal, failure

Wire = dict[str, Any]


def analyse(frames: list[Wire], model: Wire, settings: Wire, context: Wire, folder: str = "") -> list[Wire]:
    """*worker*: the harmonic modes of each frame, which must be relaxed.

    model: see `seams.Sampler`; settings: {"displacement": Å, "fmax": eV/Å, "supercell": [3 int] or None, "mesh":
    [3 int] or None, "elements": those the model knows, or None}. A frame may have "fixed" atoms, which are never
    displaced, and "masses". In `folder`, if one is named, each frame's Hessian is left; see `_leave`.

    Returns for each frame {"frequencies": in cm^-1, of a crystal at Γ, without rigid motions unless atoms are fixed,
    "modes": [those of each point of the mesh], "weights": [of each point], "positions", "cell", "energy", "forces",
    "stress", "max_force"} or a failure, which is `invalid-input` for a frame that is not relaxed.
    """
    calculator = calculators.calculator(model, context)
    return [_guarded(frame, calculator, settings, folder) for frame in frames]


def _guarded(frame: Wire, calculator: Any, settings: Wire, folder: str) -> Wire:
    if bad := relaxing.unfit(frame, settings["elements"]):
        return bad
    try:
        return _analysed(frame, calculator, settings, folder)
    except Fatal:
        raise
    except Exception as error:
        return relaxing.crashed(error, "computing the Hessian")


def _analysed(frame: Wire, calculator: Any, settings: Wire, folder: str) -> Wire:
    import numpy as np

    calculator.reset()
    atoms = wire.atoms(frame)
    atoms.set_masses(wire.masses(frame, atoms.get_masses()))
    atoms.calc = calculator
    fixed = set(frame.get("fixed", ()))
    moving = [index for index in range(len(atoms)) if index not in fixed]
    found = relaxing.described(atoms)
    found["max_force"] = largest = relaxing.largest(np.array(found["forces"])[moving])
    if not largest < settings["fmax"]:
        said = (
            f"not relaxed: the largest force is {largest:.3g} eV/Å, not below {settings['fmax']:g} eV/Å (psiflow relax)"
        )
        return failure("invalid-input", said)
    if settings["supercell"]:
        found |= supercells.modes(atoms, settings, "masses" in frame, lambda *parts: _leave(folder, frame, *parts))
        return found
    hessian = central_differences(atoms, moving, settings["displacement"])
    if not np.isfinite(hessian).all():
        return failure("inconsistent", "the force on an atom is not finite where another is displaced")
    masses = atoms.get_masses()[moving]
    motions = None if fixed else harmonic.rigid(atoms.positions, masses, not any(atoms.pbc))
    frequencies = harmonic.frequencies(hessian, masses, motions)
    _leave(folder, frame, hessian, atoms, moving)
    return {**found, "frequencies": frequencies, "modes": [frequencies], "weights": [1]}


def central_differences(atoms: Any, moving: list[int], displacement: float) -> Any:
    """The symmetrised Hessian (eV/Å²) of the atoms in `moving`, of shape (3M, 3M), from 6M evaluations of forces."""
    import numpy as np

    start = atoms.positions.copy()
    rows = []
    for index in moving:
        for axis in range(3):
            forces = []
            for sign in (1, -1):
                atoms.positions = start
                atoms.positions[index, axis] += sign * displacement
                forces.append(np.array(atoms.get_forces(apply_constraint=False))[moving].ravel())
            rows.append((forces[1] - forces[0]) / (2 * displacement))
    atoms.positions = start
    hessian = np.array(rows)
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
