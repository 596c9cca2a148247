"""One walker's way through a block: every step judged, every so many steps a frame recorded.

Distances are looked at where frames are recorded, and not at the end of a block: how a trajectory is cut into blocks
must leave no trace in it.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from psiflow_cli import voigt
from psiflow_cli.samplers.ase import barostats, integrators, nose_hoover
from psiflow_cli.samplers.ase.biased import Biased
from psiflow_cli.worker.md import frame_record, limits, velocities
from psiflow_cli.worker.md.validation import MOVES_CELL
from psiflow_cli.worker.md.walker import MovingWalker, model_stress, start_atoms
from psiflow_cli.worker.models.calculators import calculator

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from psiflow_cli.messages import Context, MDJob, Violation, WalkerStart
    from psiflow_cli.worker.md.checkpoint import WalkerGroup, WalkerState


def restored_walkers(job: MDJob, context: Context, group: WalkerGroup) -> list[AseWalker]:
    """The walkers of the job, from their last checkpoint or their starts, all with one calculator."""
    shared = calculator(job["model"], context)
    walkers = [AseWalker(job, i, message, shared, group) for i, message in enumerate(job["walkers"])]
    for index, walker in enumerate(walkers):
        if group.states:
            walker.restore(group.states[index])
        else:
            walker.atoms.set_momenta(walker.first_momenta(walker.atoms.get_masses()))
        walker.start_bias(walker.atoms)
        if walker.bias:
            walker.calculator = Biased(shared, walker)
    return walkers


class AseWalker(MovingWalker):
    """One walker, and ASE's atoms, which an integrator moves."""

    def __init__(self, job: MDJob, index: int, message: WalkerStart, shared: Calculator, group: WalkerGroup) -> None:
        super().__init__(job, message)
        self.index, self.shared, self.group = index, shared, group
        self.calculator: Calculator | Biased = shared
        self.atoms = start_atoms(self.start)
        if self.fixed:
            from ase.constraints import FixAtoms

            self.atoms.set_constraint(FixAtoms(indices=self.fixed))

    def restore(self, state: WalkerState) -> None:
        super().restore(state)
        if state.cell is not None:
            self.atoms.set_cell(state.cell)
        self.atoms.set_positions(state.positions)
        self.atoms.set_momenta(state.momenta, apply_constraint=False)

    def checkpoint(self) -> WalkerState:
        """What a checkpoint keeps; the bias of a window that was just exchanged is that of the present positions."""
        if self.exchanged and isinstance(self.calculator, Biased):
            self.calculator.forget()
            self.calculator.get_forces(self.atoms)
        cell = None if self.start["cell"] is None else self.atoms.cell.tolist()
        return self.state(self.atoms.positions, self.atoms.get_momenta(), cell)

    def scale_momenta(self, factor: float) -> None:
        self.atoms.set_momenta(self.atoms.get_momenta() * factor)
        self.more = integrators.scaled(self.more, factor)

    def place(self) -> tuple[np.ndarray, np.ndarray]:
        return self.atoms.positions, self.atoms.cell.array

    def move(self, end: int) -> None:
        """Go on to a step, or to where the walker is to be stopped."""
        if not self.live:
            return
        self.atoms.calc = self.calculator
        if self.exchanged and isinstance(self.calculator, Biased):
            self.calculator.forget()
        self.exchanged = False
        try:
            self._move(end)
        except limits.CellLost as lost:
            self.stop(lost.violation)
        except Exception as error:
            # A calculator may refuse positions that are no numbers; that is the walker's end, not the worker's.
            if not math.isfinite(float(self.atoms.positions.sum())):
                what = "positions"
            elif self.job["ensemble"] in MOVES_CELL and type(error).__name__ == "LinAlgError":
                what = "strain of the cell"  # which no eigenvalues can be found of
            else:
                raise
            self.stop({"reason": f"{what} not finite", "kind": "nan"})

    def _move(self, end: int) -> None:
        import numpy as np
        from ase import units

        job: MDJob = {**self.job, "pressure": self.pressure}
        atoms, begin, dof = self.atoms, self.step, self.degrees_of_freedom
        kick = np.full((len(atoms), 1), integrators.half_kick(job) * units.fs)
        kick[self.fixed] = 0.0
        md = integrators.make(atoms, job, self.target_temperature(begin), dof, self.rng, self.more)
        if isinstance(md, (barostats.Isotropic, nose_hoover.MovingCell)):
            md.first_cell = self.start["cell"]
        # Not `md.run`, which asks for the forces once more after each step, and compares all atoms to find them made.
        for step in itertools.count(begin):
            self.step = step
            if step > begin:
                if job.get("ramp_steps"):
                    integrators.set_temperature(md, job, self.target_temperature(step - 1), dof)
                md.step()
            elif begin == 0 or self.bias:
                atoms.get_forces(apply_constraint=False)  # the calculator may hold those of another walker
            if self.bias:
                self.bias.update(checkpoint=step >= end)
            if step == begin > 0:
                continue  # the block before this one has judged and recorded it
            self.energy, forces = _results(atoms)
            momenta = atoms.get_momenta()
            kinetic = velocities.kinetic_energy(momenta + forces * kick, atoms.get_masses())
            temperature = velocities.temperature(kinetic, dof)
            if violation := self._judge(forces, temperature):
                self.stop(violation)
                break
            if step > 0 and step % job["every"] == 0:
                self._record(temperature, kinetic)
            if step >= end and (self.bias is None or self.bias.can_go_on or step >= job["steps"]):
                break
        self.more = dict(integrators.variables(md))
        self.volume = atoms.get_volume() if job["ensemble"] in MOVES_CELL else math.nan

    def _judge(self, forces: np.ndarray, temperature: float) -> Violation | None:
        bounds, atoms = self.job["limits"], self.atoms
        seen = atoms if self.step % self.job["every"] == 0 else None
        violation = limits.broken_by_step(bounds, self.energy, atoms.positions, forces, temperature)
        return violation or limits.broken_by_structure(bounds, seen, getattr(self.shared, "spread", None))

    def _record(self, temperature: float, kinetic: float) -> None:
        atoms = self.atoms
        record = frame_record.FrameRecord(
            step=self.step, positions=atoms.positions.tolist(),
            cell=None if self.start["cell"] is None else atoms.cell.tolist(), energy=self.energy,
            kinetic=kinetic, temperature=temperature, target=self.target_temperature(self.step),
            stress=model_stress(atoms.calc, atoms) if voigt.is_defined(self.start["pbc"]) else None,
            spread=getattr(self.shared, "spread", None), more=self.bias.recorded() if self.bias else {},
            momenta=atoms.get_momenta().tolist() if self.job.get("velocities") else None,
            conditions=self.recorded_conditions(),
        )  # fmt: skip
        self.group.append(self.index, frame_record.text(self.job, self.message, record))


def _results(atoms: Atoms) -> tuple[float, np.ndarray]:
    """Energy (eV) and forces (eV/Å) of the step just made, past ASE's getters, which compare all atoms first."""
    results = atoms.calc.results
    if "energy" in results and "forces" in results:
        return float(results["energy"]), results["forces"]
    return float(atoms.get_potential_energy()), atoms.get_forces(apply_constraint=False)
