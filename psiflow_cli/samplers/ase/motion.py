"""One walker's way through a block: every step judged, every so many steps a frame recorded.

Distances are looked at where frames are recorded, and not at the end of a block: how a trajectory is cut into blocks
must leave no trace in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from psiflow_cli.samplers.ase import chains, integrators
from psiflow_cli.worker.md import checkpoint, frame_record, limits, velocities
from psiflow_cli.worker.md.job_check import MOVES_CELL
from psiflow_cli.worker.md.replica_exchange import target
from psiflow_cli.worker.models.calculators import calculator
from psiflow_cli.worker.structures import conversion

Wire = dict[str, Any]


def movers(job: Wire, context: Wire, group: checkpoint.Group) -> list[Mover]:
    """A mover for each walker of the job, from its last checkpoint or its start, all with one calculator."""
    shared = calculator(job["model"], context)
    states: Sequence[checkpoint.State | None] = group.states or [None] * len(job["walkers"])
    return [Mover(job, i, each, states[i], shared, group) for i, each in enumerate(job["walkers"])]


class Mover:
    """One walker, and what moves it."""

    def __init__(
        self, job: Wire, index: int, each: Wire, state: checkpoint.State | None, shared: Any, group: checkpoint.Group
    ) -> None:
        self.job, self.index, self.start, self.number = job, index, each["start"], each["walker"]
        self.group, self.shared = group, shared
        self.atoms = _atoms(self.start)
        self.rng = velocities.generator(job["seed"], self.number)
        self.step, self.stopped, self.energy = 0, None, math.nan
        self.temperatures: list[float] = each["temperature"]
        self.more: Wire = {}
        if state is None:
            masses = self.atoms.get_masses()
            first = target(job, self.temperatures, 0)
            fixed = self.start.get("fixed", ())
            self.atoms.set_momenta(velocities.draw(masses, first, self.rng, velocities.rests(job), fixed))
        else:
            self.step, self.stopped, self.more = state.step, state.stopped, dict(state.more)
            self.temperatures = self.more.pop("temperatures", self.temperatures)
            if state.cell is not None:
                self.atoms.set_cell(state.cell)
            self.atoms.set_positions(state.positions)
            self.atoms.set_momenta(state.momenta, apply_constraint=False)
            self.rng.bit_generator.state = state.rng

    @property
    def live(self) -> bool:
        """Whether this walker goes on."""
        return self.stopped is None and self.step < self.job["steps"]

    def state(self) -> checkpoint.State:
        """What a checkpoint keeps."""
        cell = None if self.start["cell"] is None else self.atoms.cell.tolist()
        exchanged = {"temperatures": self.temperatures} if self.job.get("exchange") else {}
        return checkpoint.State(
            step=self.step,
            positions=self.atoms.positions.tolist(),
            momenta=self.atoms.get_momenta().tolist(),
            cell=cell,
            rng=velocities.builtins(self.rng.bit_generator.state),
            more={**self.more, **exchanged},
            stopped=self.stopped,
        )

    def scale_momenta(self, factor: float) -> None:
        """Multiply all momenta, as an exchange of temperatures does."""
        self.atoms.set_momenta(self.atoms.get_momenta() * factor)
        self.more = chains.scaled(self.more, factor)

    def move(self, end: int) -> None:
        """Go on to a step, or to where the walker is to be stopped."""
        if not self.live:
            return
        self.atoms.calc = self.shared
        try:
            self._move(end)
        except Exception as error:
            # A calculator may refuse positions that are no numbers; that is the walker's end, not the worker's.
            if not math.isfinite(float(self.atoms.positions.sum())):
                what = "positions"
            elif self.job["ensemble"] in MOVES_CELL and type(error).__name__ == "LinAlgError":
                what = "strain of the cell"  # which no eigenvalues can be found of
            else:
                raise
            self.stopped = {"reason": f"{what} not finite", "kind": "nan", "step": self.step}

    def _move(self, end: int) -> None:
        import numpy as np
        from ase import units

        job, atoms, begin = self.job, self.atoms, self.step
        fixed = self.start.get("fixed", ())
        dof = velocities.degrees_of_freedom(len(atoms) - len(fixed), velocities.rests(job) and not fixed)
        kick = np.full((len(atoms), 1), integrators.half_kick(job) * units.fs)
        kick[list(fixed)] = 0.0
        md = integrators.make(atoms, job, target(job, self.temperatures, begin), dof, self.rng, self.more)
        # Not `md.run`, which asks for the forces once more after each step, and compares all atoms to find them made.
        for step in range(begin, end + 1):
            self.step = step
            if step > begin:
                if job.get("ramp_steps"):
                    integrators.warm(md, job, target(job, self.temperatures, step - 1), dof)
                md.step()
            elif begin > 0:
                continue  # the block before this one has judged and recorded it
            else:
                atoms.get_forces(apply_constraint=False)  # the calculator may hold those of another walker
            self.energy, forces = _results(atoms)
            momenta = atoms.get_momenta()
            kinetic = velocities.kinetic_energy(momenta + forces * kick, atoms.get_masses())
            temperature = velocities.temperature(kinetic, dof)
            self.stopped = self._judge(step, forces, temperature)
            if self.stopped:
                break
            if step > 0 and step % job["every"] == 0:
                self._record(step, temperature, kinetic)
        self.more = integrators.keep(md, job)

    def _judge(self, step: int, forces: Any, temperature: float) -> Wire | None:
        bounds = self.job["limits"]
        wrong = limits.fault(bounds, self.energy, self.atoms.positions, forces, temperature)
        if wrong is None and step % self.job["every"] == 0:
            wrong = limits.overlap(bounds, self.atoms)
        if wrong is None and (spread := getattr(self.atoms.calc, "spread", None)):
            wrong = limits.apart(bounds, spread[1])
        return None if wrong is None else {**wrong, "step": step}

    def _record(self, step: int, temperature: float, kinetic: float) -> None:
        atoms = self.atoms
        self.group.append(
            self.index,
            frame_record.text(
                self.job,
                {"walker": self.number, "start": self.start},
                step=step,
                positions=atoms.positions.tolist(),
                cell=None if self.start["cell"] is None else atoms.cell.tolist(),
                energy=self.energy,
                kinetic=kinetic,
                temperature=temperature,
                target=target(self.job, self.temperatures, step),
                stress=_stress(atoms) if all(self.start["pbc"]) else None,
                spread=getattr(atoms.calc, "spread", None),
            ),
        )


def _atoms(frame: Wire) -> Any:
    atoms = conversion.to_ase(frame)
    names = {"charge": ("charge",), "multiplicity": ("multiplicity", "spin")}  # MACE calls the multiplicity spin
    atoms.info.update({name: frame[key] for key in names if key in frame for name in names[key]})
    atoms.set_masses(conversion.masses(frame, atoms.get_masses()))
    if frame.get("fixed"):
        from ase.constraints import FixAtoms

        atoms.set_constraint(FixAtoms(indices=frame["fixed"]))  # type: ignore[no-untyped-call]
    return atoms


def _results(atoms: Any) -> tuple[float, Any]:
    """Energy (eV) and forces (eV/Å) of the step just made, past ASE's getters, which compare all atoms first."""
    results = atoms.calc.results
    if "energy" in results and "forces" in results:
        return float(results["energy"]), results["forces"]
    return float(atoms.get_potential_energy()), atoms.get_forces(apply_constraint=False)


def _stress(atoms: Any) -> Any:
    """The model's stress (eV/Å³, shape (6,)) of the positions just computed, or None where it has none."""
    from ase.calculators.calculator import PropertyNotImplementedError

    try:
        return atoms.calc.get_property("stress", atoms)
    except (PropertyNotImplementedError, NotImplementedError):
        return None
