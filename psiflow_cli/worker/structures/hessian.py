"""Hessians by central differences of a model's forces, and the frequencies that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli import atomic_file
from psiflow_cli.worker.failures import Fatal, failure
from psiflow_cli.worker.models.predictions import Predict, crashed, largest, predictor, unfit
from psiflow_cli.worker.structures import conversion, normal_modes, supercell_phonons

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

    from psiflow_cli.messages import Context, Failure, Frame, HarmonicResult, HarmonicSettings, ModelWeights

_TOGETHER = 240  # displaced frames that are made at once; the family's `predict` cuts them into batches that fit


def analyse(
    frames: list[Frame], model: ModelWeights, settings: HarmonicSettings, context: Context, folder: str = ""
) -> list[HarmonicResult]:
    """*worker*: the harmonic modes of each frame, or `invalid-input` for one that is not relaxed.

    Fixed atoms are never displaced. In `folder`, if one is named, each frame's Hessian is written; see `_write`.
    """
    predict = predictor(model, context)
    return [_guarded(frame, predict, settings, folder) for frame in frames]


def _guarded(frame: Frame, predict: Predict, settings: HarmonicSettings, folder: str) -> HarmonicResult:
    if bad := unfit(frame, settings["elements"]):
        return bad
    try:
        return _analysed(frame, predict, settings, folder)
    except Fatal:
        raise
    except Exception as error:
        return crashed(error)


def _analysed(frame: Frame, predict: Predict, settings: HarmonicSettings, folder: str) -> HarmonicResult:
    import numpy as np

    (prediction,) = predict([frame])
    if "failure" in prediction:
        return cast("Failure", prediction)
    atoms = conversion.to_ase(frame)
    atoms.set_masses(conversion.masses(frame, atoms.get_masses()))
    fixed = set(frame.get("fixed", ()))
    moving = [index for index in range(len(atoms)) if index not in fixed]
    force = largest(np.array(prediction["forces"])[moving])
    if not force < settings["fmax"]:
        problem = f"not relaxed: the largest force is {force:.3g} eV/Å, not below {settings['fmax']:g} eV/Å"
        return failure("invalid-input", f"{problem} (psiflow relax)")
    forces = _Forces(predict)
    if settings["supercell"]:
        mesh, supercell = supercell_phonons.modes(atoms, settings, "masses" in frame, forces)
        _write(folder, frame, *supercell, list(range(len(supercell[1]))))
        return {**prediction, **mesh, "max_force": force}
    hessian = central_differences(frame, moving, settings["displacement"], forces)
    masses = atoms.get_masses()[moving]
    motions = None if fixed else normal_modes.rigid(atoms.positions, masses, not any(atoms.pbc))
    frequencies = normal_modes.frequencies(hessian, masses, motions)
    _write(folder, frame, hessian, atoms, moving)
    return {**prediction, "frequencies": frequencies, "modes": [frequencies], "weights": [1], "max_force": force}


class _Forces:
    """The forces (eV/Å) of frames, in arrays of shape (N, 3); raises ValueError where there are none."""

    def __init__(self, predict: Predict) -> None:
        self._predict = predict

    def __call__(self, frames: list[Frame]) -> list[np.ndarray]:
        import numpy as np

        forces = []
        for first in range(0, len(frames), _TOGETHER):
            for result in self._predict(frames[first : first + _TOGETHER]):
                if "failure" in result:
                    raise _error(cast("Failure", result))
                forces.append(np.array(result["forces"]))
        if not np.isfinite(forces).all():
            raise ValueError("a force is not finite where an atom is displaced")
        return forces


def _error(failed: Failure) -> Exception:
    if failed["failure"] == "out-of-memory":
        return MemoryError(failed["message"])
    return ValueError(f"with a displaced atom: {failed['message']}")


def central_differences(
    frame: Frame, moving: list[int], displacement: float, forces: Callable[[list[Frame]], list[np.ndarray]]
) -> np.ndarray:
    """The symmetrised Hessian (eV/Å²) of the atoms in `moving`, of shape (3M, 3M), from 6M evaluations of forces."""
    import numpy as np

    start = np.array(frame["positions"])
    displaced: list[Frame] = []
    for index in moving:
        for axis in range(3):
            for sign in (1, -1):
                positions = start.copy()
                positions[index, axis] += sign * displacement
                displaced.append({**frame, "positions": positions.tolist()})
    pushed = np.array(forces(displaced))[:, moving].reshape(-1, 2, 3 * len(moving))
    hessian: np.ndarray = (pushed[:, 1] - pushed[:, 0]) / (2 * displacement)
    hessian = (hessian + hessian.T) / 2
    return hessian


def _write(folder: str, frame: Frame, hessian: np.ndarray, atoms: Atoms, moving: list[int]) -> None:
    """Write `ID.npz`: `hessian` (eV/Å²), and the atoms that it is of, `positions` and `cell` (Å), `moving`."""
    import numpy as np

    if not folder:
        return
    with atomic_file.writing(Path(folder, f"{frame['id']}.npz")) as stream:
        np.savez(stream, hessian=hessian, positions=atoms.positions, cell=atoms.cell.array, moving=np.array(moving))
