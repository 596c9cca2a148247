"""Geometries, and cells, of least energy (or enthalpy) by ASE's optimisers."""

from __future__ import annotations

import math
from typing import Any

from psiflow_cli.worker import calculators, limits
from psiflow_cli.worker import frames as wire
from psiflow_cli.worker.guard import Fatal, failure

Wire = dict[str, Any]

MOVES_CELL = ("isotropic", "shape", "flexible")
OPTIMIZERS = {"lbfgs": "LBFGS", "bfgs": "BFGS", "fire": "FIRE"}
NEAREST = 0.4
"""Å: a frame whose atoms come nearer than this, and were not so near before, has fallen into a hole of its model."""
_GROWTH = 10.0
"""A cell that became so many times larger or smaller has left what its model can describe."""


def relax(frames: list[Wire], model: Wire, settings: Wire, context: Wire) -> list[Wire]:
    """*worker*: each frame at its minimum, or as far as it came.

    model: see `seams.Sampler`; settings: {"fmax": eV/Å, "smax": bar, "steps": int, "cell": "fixed" | "isotropic" (its
    size) | "shape" (all but its size) | "flexible", "pressure": bar, "keep_symmetry": bool, "symprec": Å,
    "optimizer": of `OPTIMIZERS`, "elements": those the model knows, or None}.
    A frame's "fixed" are its atoms that do not move. Returns for each frame {"positions", "cell", "energy", "forces",
    "stress", "max_force": eV/Å on an atom that may move, "steps"}, and of a committee "energy_std" and "forces_std";
    a frame that did not converge has the same and is a failure `unconverged`.
    """
    calculator = calculators.calculator(model, context)
    return [_guarded(frame, calculator, settings) for frame in frames]


def unfit(frame: Wire, elements: list[str] | None) -> Wire | None:
    """The failure of a frame that no model, or not this one, can describe."""
    if reason := wire.invalid(frame):
        return failure("invalid-input", reason)
    foreign = set(frame["symbols"]) - set(frame["symbols"] if elements is None else elements)
    return failure("invalid-input", f"the model does not know {', '.join(sorted(foreign))}") if foreign else None


def crashed(error: Exception, doing: str) -> Wire:
    """The failure that an exception of a model or an optimiser is; memory that ran out is the machine's."""
    memory = isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error)
    return failure("out-of-memory" if memory else "crashed", f"{doing}: {type(error).__name__}: {error}")


def _guarded(frame: Wire, calculator: Any, settings: Wire) -> Wire:
    if bad := unfit(frame, settings["elements"]):
        return bad
    try:
        return _relaxed(frame, calculator, settings)
    except Fatal:
        raise
    except Exception as error:
        return crashed(error, "relaxing")


def _relaxed(frame: Wire, calculator: Any, settings: Wire) -> Wire:
    calculator.reset()
    atoms = wire.atoms(frame)
    _constrain(atoms, frame, settings)
    atoms.calc = calculator
    optimizer = _optimizer(atoms, settings)
    watch, steps, converged = _Watch(atoms), 0, False
    # The criterion is ours, since ASE's mixes forces and stress: hence no `fmax` that ASE could stop at.
    for steps, _ in enumerate(optimizer.irun(fmax=0.0, steps=settings["steps"])):
        if reason := watch.fault():
            return failure("inconsistent", f"{reason} after {steps} steps")
        force, stress = _residuals(atoms, settings)
        converged = force < settings["fmax"] and stress < settings["smax"]
        if converged:
            break
    found = {**described(atoms), "steps": steps}
    if reason := wire.invalid({**frame, **found}):
        return failure("inconsistent", f"{reason} after {steps} steps")
    if converged:
        return found
    said = f"largest force {force:.3g} eV/Å" + (f", stress off by {stress:.4g} bar" if stress else "")
    return {**found, **failure("unconverged", f"{said} after {steps} steps")}


def described(atoms: Any) -> Wire:
    """Where the atoms are, and what their calculator says of it."""
    from ase.calculators.calculator import PropertyNotImplementedError

    forces = atoms.get_forces(apply_constraint=False)
    try:
        stress = atoms.get_stress(apply_constraint=False).tolist() if atoms.cell.rank == 3 and all(atoms.pbc) else None
    except PropertyNotImplementedError:
        stress = None
    energy_std, forces_std = getattr(atoms.calc, "spread", (None, None))
    return {
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.tolist() if atoms.cell.rank else None,
        "energy": float(atoms.get_potential_energy()),
        "forces": forces.tolist(),
        "stress": stress,
        "max_force": largest(atoms.get_forces()),
        **({"energy_std": energy_std, "forces_std": forces_std} if energy_std is not None else {}),
    }


def largest(forces: Any) -> float:
    """The largest norm of the force on an atom; `forces` has shape (N, 3)."""
    import numpy as np

    return float(np.sqrt((np.asarray(forces) ** 2).sum(axis=1).max()))


def _constrain(atoms: Any, frame: Wire, settings: Wire) -> None:
    """Hold the fixed atoms, or the symmetry; the latter first makes it exact."""
    if frame.get("fixed"):
        from ase.constraints import FixAtoms

        atoms.set_constraint(FixAtoms(indices=frame["fixed"]))  # type: ignore[no-untyped-call]
    if settings["keep_symmetry"]:
        try:
            from ase.constraints import FixSymmetry

            atoms.set_constraint(FixSymmetry(atoms, symprec=settings["symprec"]))  # type: ignore[no-untyped-call]
        except ImportError:
            said = "spglib is not among the workers' packages, and symmetry is found with it"
            raise Fatal(said, "pip install spglib there, or leave --keep-symmetry out") from None


def _optimizer(atoms: Any, settings: Wire) -> Any:
    import importlib

    from ase import units
    from ase.filters import FrechetCellFilter

    what = atoms
    if settings["cell"] in MOVES_CELL:
        what = FrechetCellFilter(  # type: ignore[no-untyped-call]
            atoms,
            hydrostatic_strain=settings["cell"] == "isotropic",
            constant_volume=settings["cell"] == "shape",
            scalar_pressure=settings["pressure"] * units.bar,
        )
    make = getattr(importlib.import_module("ase.optimize"), OPTIMIZERS[settings["optimizer"]])
    return make(what, logfile=None)


def _residuals(atoms: Any, settings: Wire) -> tuple[float, float]:
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

    def __init__(self, atoms: Any) -> None:
        self._atoms = atoms
        self._limits = {"distance": NEAREST}
        if limits.overlap(self._limits, atoms):
            self._limits = {}  # so it came: to take such atoms apart is what it is relaxed for
        self._volume = atoms.get_volume() if atoms.cell.rank == 3 else 0.0

    def fault(self) -> str:
        """What is wrong with where the atoms are now, or ""."""
        atoms = self._atoms
        energy, forces = float(atoms.get_potential_energy()), atoms.get_forces()
        found = limits.fault({}, energy, atoms.positions, forces, 0.0) or limits.overlap(self._limits, atoms)
        if found:
            return str(found["reason"])
        if self._volume:
            growth = atoms.get_volume() / self._volume
            if not (math.isfinite(growth) and 1 / _GROWTH < growth < _GROWTH):
                return f"the cell is {growth:.3g} times as large as it was"
        return ""
