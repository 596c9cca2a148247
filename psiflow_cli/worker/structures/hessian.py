"""Hessians by central differences of a model's forces, and the frequencies that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli import atomic_file
from psiflow_cli.worker.failures import Fatal, failure
from psiflow_cli.worker.models.predictions import crashed, largest, predictor, unfit
from psiflow_cli.worker.structures import conversion, normal_modes, supercell_phonons

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

    from psiflow_cli.messages import (
        Context,
        Failure,
        Frame,
        HarmonicResult,
        HarmonicSettings,
        ModelWeights,
        PredictionResult,
    )

_TOGETHER = 100_000  # atoms of displaced frames that are there at once; the family's `predict` cuts them into batches


def analyse(
    frames: list[Frame], model: ModelWeights, settings: HarmonicSettings, context: Context, folder: str = ""
) -> list[HarmonicResult]:
    """*worker*: the harmonic modes of each frame, or `invalid-input` for one that is not relaxed.

    Fixed atoms are never displaced. In `folder`, if one is named, each frame's Hessian is written; see `_write`.
    """
    predict = predictor(model, context)
    analyses = [_Analysis(frame, settings, folder) for frame in frames]
    good = [each for each in analyses if each.result is None]
    for each, prediction in zip(good, predict([each.frame for each in good]) if good else (), strict=True):
        each.guarded(each.start, prediction)
    for some in _together(good):
        for (each, _), prediction in zip(some, predict([frame for _, frame in some]), strict=True):
            each.guarded(each.take, prediction)
    return [each.result for each in analyses if each.result is not None]


def _together(analyses: list[_Analysis]) -> Iterator[list[tuple[_Analysis, Frame]]]:
    """The displaced frames, those of several analyses at once."""
    some: list[tuple[_Analysis, Frame]] = []
    atoms = 0
    for analysis in analyses:
        for frame in analysis.displaced():
            some.append((analysis, frame))
            atoms += len(frame["symbols"])
            if atoms >= _TOGETHER:
                yield some
                some, atoms = [], 0
    if some:
        yield some


class _Analysis:
    """That of one frame."""

    def __init__(self, frame: Frame, settings: HarmonicSettings, folder: str) -> None:
        self.frame, self._settings, self._folder = frame, settings, folder
        self.result: HarmonicResult | None = unfit(frame, settings["elements"])
        self._forces: list[np.ndarray] = []

    def guarded(self, act: Callable[[PredictionResult], None], prediction: PredictionResult) -> None:
        """Act, unless this analysis has ended; an exception ends it alone."""
        if self.result is not None:
            return
        try:
            act(prediction)
        except Fatal:
            raise
        except Exception as error:
            self.result = crashed(error)

    def start(self, prediction: PredictionResult) -> None:
        """Take what the model says of the frame itself, and find out what is to be displaced."""
        import numpy as np

        if "failure" in prediction:
            self.result = cast("Failure", prediction)
            return
        frame, settings = self.frame, self._settings
        self._prediction = prediction
        self._atoms = conversion.to_ase(frame)
        self._atoms.set_masses(conversion.masses(frame, self._atoms.get_masses()))
        fixed = set(frame.get("fixed", ()))
        self._moving = [index for index in range(len(self._atoms)) if index not in fixed]
        self._force = largest(np.array(prediction["forces"])[self._moving])
        if not self._force < settings["fmax"]:
            problem = f"not relaxed: the largest force is {self._force:.3g} eV/Å, not below {settings['fmax']:g} eV/Å"
            self.result = failure("invalid-input", f"{problem} (psiflow relax)")
            return
        self._crystal = None
        self._missing = 6 * len(self._moving)
        if settings["supercell"]:
            self._crystal = supercell_phonons.Crystal(self._atoms, settings, "masses" in frame)
            self._missing = self._crystal.count
        if not self._missing:
            self._end()

    def displaced(self) -> Iterator[Frame]:
        """The frames whose forces are needed, as long as nothing is wrong."""
        if self.result is not None:
            return
        frames = (
            self._crystal.displaced()
            if self._crystal
            else displaced(self.frame, self._moving, self._settings["displacement"])
        )
        for frame in frames:
            if self.result is not None:
                return
            yield frame

    def take(self, prediction: PredictionResult) -> None:
        """Take what the model says of the next displaced frame; raises ValueError where that is no forces."""
        import numpy as np

        if "failure" in prediction:
            raise _error(cast("Failure", prediction))
        forces = np.array(prediction["forces"])
        if not np.isfinite(forces).all():
            raise ValueError("a force is not finite when an atom is displaced")
        self._forces.append(forces if self._crystal else forces[self._moving])
        if len(self._forces) == self._missing:
            self._end()

    def _end(self) -> None:
        prediction, force, atoms = self._prediction, self._force, self._atoms
        if self._crystal:
            mesh, supercell = self._crystal.modes(self._forces)
            _write(self._folder, self.frame, *supercell, list(range(len(supercell[1]))))
            self.result = {**prediction, **mesh, "max_force": force}
            return
        hessian = central_differences(self._forces, self._settings["displacement"])
        masses = atoms.get_masses()[self._moving]
        motions = None if self.frame.get("fixed") else normal_modes.rigid(atoms.positions, masses, not any(atoms.pbc))
        frequencies = normal_modes.frequencies(hessian, masses, motions)
        _write(self._folder, self.frame, hessian, atoms, self._moving)
        self.result = {
            **prediction, "frequencies": frequencies, "modes": [frequencies], "weights": [1], "max_force": force,
        }  # fmt: skip


def _error(failed: Failure) -> Exception:
    if failed["failure"] == "out-of-memory":
        return MemoryError(failed["message"])
    return ValueError(f"with a displaced atom: {failed['message']}")


def displaced(frame: Frame, moving: list[int], displacement: float) -> Iterator[Frame]:
    """The frame with each coordinate of the atoms in `moving` larger, and smaller, by the displacement (Å)."""
    import numpy as np

    start = np.array(frame["positions"])
    for index in moving:
        for axis in range(3):
            for sign in (1, -1):
                positions = start.copy()
                positions[index, axis] += sign * displacement
                yield {**frame, "positions": positions.tolist()}


def central_differences(forces: list[np.ndarray], displacement: float) -> np.ndarray:
    """The symmetrised Hessian (eV/Å²), of shape (3M, 3M), from the forces on M atoms in the frames of `displaced`."""
    import numpy as np

    size = len(forces) // 2
    pushed = np.array(forces).reshape(-1, 2, size)
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
