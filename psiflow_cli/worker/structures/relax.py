"""Geometries, and cells, of least energy (or enthalpy), of the frames of a task together.

Between two steps the model is asked about all frames that are not at their end. LBFGS and FIRE move them together,
ASE's optimisers one after the other where these cannot.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from psiflow_cli.errors import counted
from psiflow_cli.worker.failures import Fatal, failure
from psiflow_cli.worker.md import limits
from psiflow_cli.worker.models.predictions import crashed, largest, predictor, unfit
from psiflow_cli.worker.structures import conversion
from psiflow_cli.worker.structures.optimisation import moves
from psiflow_cli.worker.structures.optimisation.moves import MOVES_CELL

if TYPE_CHECKING:
    from ase import Atoms
    from ase.optimize.optimize import Optimizer

    from psiflow_cli.messages.dynamics import Limits
    from psiflow_cli.messages.frames import Context, Failure, Frame, PredictionResult
    from psiflow_cli.messages.models import ModelWeights
    from psiflow_cli.messages.structures import Relaxed, RelaxResult, RelaxSettings

OPTIMIZERS = {"lbfgs": "LBFGS", "bfgs": "BFGS", "fire": "FIRE"}
NEAREST = 0.4
"""Å: a frame whose atoms come nearer than this, and were not so near before, has fallen into a hole of its model."""
_OF_ASE = ("energy", "forces", "stress")


def relax(frames: list[Frame], model: ModelWeights, settings: RelaxSettings, context: Context) -> list[RelaxResult]:
    """*worker*: each frame at its minimum, or as far as it came: then it is a failure `unconverged`, too."""
    predict = predictor(model, context)
    kind = _Run if settings["optimizer"] in moves.TOGETHER and not settings["keep_symmetry"] else _AseRun
    runs = [kind(frame, settings) for frame in frames]
    together = moves.Moves(settings) if kind is _Run else None
    while live := [run for run in runs if run.result is None]:
        for run, prediction in zip(live, predict([run.message for run in live]), strict=True):
            run.guarded(run.take, prediction)
        live = [run for run in live if run.result is None]
        if together and live:
            together.step(live)
        for run in live:
            run.guarded(run.step)
    return [run.result for run in runs if run.result is not None]


class _Run:
    """The optimisation of one frame, which is moved together with others."""

    def __init__(self, frame: Frame, settings: RelaxSettings) -> None:
        self._frame, self._settings = frame, settings
        self._steps = 0
        self.result: RelaxResult | None = unfit(frame, settings["elements"])
        if self.result is None:
            self.guarded(self._start)

    def guarded(self, act: Callable[..., None], *arguments: object) -> None:
        """Act; an exception ends this optimisation alone."""
        try:
            act(*arguments)
        except Fatal:
            raise
        except Exception as error:
            self.result = crashed(error)

    def _start(self) -> None:
        self.atoms = conversion.to_ase(self._frame)
        _constrain(self.atoms, self._frame, self._settings)
        self._watch = _Watch(self.atoms)

    @property
    def message(self) -> Frame:
        """Where the atoms are now."""
        cell = self.atoms.cell.tolist() if self.atoms.cell.rank else None
        return {**self._frame, "positions": self.atoms.positions.tolist(), "cell": cell}

    def take(self, prediction: PredictionResult) -> None:
        """Note what the model says of where the atoms are, and end if that is the end."""
        from ase.calculators.singlepoint import SinglePointCalculator

        settings, steps = self._settings, self._steps
        if "failure" in prediction:
            failed, after = cast("Failure", prediction), f" after {counted(steps, 'step')}" if steps else ""
            self.result = failure(failed["failure"], failed["message"] + after)
            return
        if prediction["stress"] is None and settings["cell"] in MOVES_CELL:
            raise Fatal("the model predicts no stress, which is needed to change the cell", "leave out --cell")
        numbers = {key: value for key, value in prediction.items() if key in _OF_ASE and value is not None}
        self.atoms.calc = SinglePointCalculator(self.atoms, **numbers)
        if reason := self._watch.fault():
            self.result = failure("inconsistent", f"{reason} after {counted(steps, 'step')}")
            return
        force, stress = _residuals(self.atoms, settings)
        message = self.message
        relaxed: Relaxed = {
            **prediction, "positions": message["positions"], "cell": message["cell"], "max_force": force,
            "steps": steps,
        }  # fmt: skip
        if force < settings["fmax"] and stress < settings["smax"]:
            self.result = relaxed
        elif steps >= settings["steps"]:
            off = f"largest force {force:.3g} eV/Å" + (f", stress off by {stress:.4g} bar" if stress else "")
            self.result = {**relaxed, **failure("unconverged", f"{off} after {counted(steps, 'step')}")}

    def step(self) -> None:
        """Note that the atoms have moved; what the model says of where they were is used, and not asked again."""
        self._steps += 1
        if self._settings["cell"] in MOVES_CELL:
            first = self._frame["cell"]
            if first and (lost := limits.cell_lost(first, self.atoms.cell.array)):
                self.result = failure("inconsistent", f"{lost['reason']} after {counted(self._steps, 'step')}")


class _AseRun(_Run):
    """One that is moved by ASE, alone."""

    def _start(self) -> None:
        super()._start()
        self._optimizer = _optimizer(self.atoms, self._settings)

    def step(self) -> None:
        """Move the atoms."""
        self._optimizer.step()
        super().step()


def _constrain(atoms: Atoms, frame: Frame, settings: RelaxSettings) -> None:
    """Hold the fixed atoms, or the symmetry; the latter first makes it exact."""
    if frame.get("fixed"):
        from ase.constraints import FixAtoms

        atoms.set_constraint(FixAtoms(indices=frame["fixed"]))
    if settings["keep_symmetry"]:
        try:
            from ase.constraints import FixSymmetry

            atoms.set_constraint(FixSymmetry(atoms, symprec=settings["symprec"]))
        except ImportError:
            problem = "symmetry detection needs spglib, which is not installed in the workers' environment"
            raise Fatal(problem, "pip install spglib there, or leave out --keep-symmetry") from None


def _optimizer(atoms: Atoms, settings: RelaxSettings) -> Optimizer:
    from ase import units
    from ase.filters import FrechetCellFilter

    moved: Atoms | FrechetCellFilter = atoms
    if settings["cell"] in MOVES_CELL:
        moved = FrechetCellFilter(
            atoms,
            hydrostatic_strain=settings["cell"] == "isotropic",
            constant_volume=settings["cell"] == "shape",
            scalar_pressure=settings["pressure"] * units.bar,
        )
    optimizers = importlib.import_module("ase.optimize")
    optimizer: Callable[..., Optimizer] = getattr(optimizers, OPTIMIZERS[settings["optimizer"]])
    return optimizer(moved, logfile=None)


def _residuals(atoms: Atoms, settings: RelaxSettings) -> tuple[float, float]:
    """The largest force on an atom (eV/Å), and by how much (bar) a component of the stress is not what it should be."""
    import numpy as np
    from ase import units

    force = largest(atoms.get_forces())
    if settings["cell"] not in MOVES_CELL:
        return force, 0.0
    off = atoms.get_stress() / units.bar
    mean = off[:3].mean()
    if settings["cell"] == "isotropic":
        return force, abs(float(mean) + settings["pressure"])
    off[:3] += -mean if settings["cell"] == "shape" else settings["pressure"]
    return force, float(np.abs(off).max())


class _Watch:
    """Tells when an optimisation has exploded, or fallen into a hole of its model."""

    def __init__(self, atoms: Atoms) -> None:
        self._atoms = atoms
        self._limits: Limits = {"distance": NEAREST}
        if limits.overlap(self._limits, atoms):
            self._limits = {}  # so it came: to take such atoms apart is what it is relaxed for

    def fault(self) -> str:
        """What is wrong with where the atoms are now, or ""."""
        atoms = self._atoms
        energy, forces = float(atoms.get_potential_energy()), atoms.get_forces()
        stop = limits.broken_by_step({}, energy, atoms.positions, forces, 0.0) or limits.overlap(self._limits, atoms)
        return str(stop["reason"]) if stop else ""
