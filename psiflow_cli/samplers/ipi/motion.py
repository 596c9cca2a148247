"""One walker's way through a block: every step of all its beads judged, every so many steps a frame of each.

Distances are looked at where frames are recorded, and not at the end of a block: how a trajectory is cut into blocks
must leave no trace in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psiflow_cli.samplers.ipi import together
from psiflow_cli.samplers.ipi.bias import Bias
from psiflow_cli.samplers.ipi.field import Field
from psiflow_cli.samplers.ipi.rings import Rings
from psiflow_cli.worker.md import checkpoint, frame_record, job_check, limits, velocities
from psiflow_cli.worker.models.calculators import calculator
from psiflow_cli.worker.structures import conversion

Wire = dict[str, Any]


def movers(job: Wire, context: Wire, group: checkpoint.Group) -> list[Mover]:
    """A mover for each walker of the job, from its last checkpoint or its start, all with one model."""
    ways = [together.able(job, context, each["start"]) for each in job["walkers"]]
    shared = None if all(ways) else calculator(job["model"], context)
    states: Sequence[checkpoint.State | None] = group.states or [None] * len(job["walkers"])
    return [Mover(job, i, each, states[i], shared, group, ways[i]) for i, each in enumerate(job["walkers"])]


class Mover:
    """One walker, and the rings that are its atoms."""

    def __init__(
        self,
        job: Wire,
        index: int,
        each: Wire,
        state: checkpoint.State | None,
        shared: Any,
        group: checkpoint.Group,
        way: together.Together | None,
    ) -> None:
        self.job, self.index, self.each, self.group = job, index, each, group
        self.start = each["start"]
        self.cell_moves = job["ensemble"] in job_check.MOVES_CELL
        self.rng = velocities.generator(job["seed"], each["walker"])
        self.field = Field(_atoms(self.start), shared, self.cell_moves, way)
        kept = None if state is None else state.more
        self.bias = Bias(job, each["walker"], self.field.atoms, kept and kept["plumed"]) if job.get("plumed") else None
        temperature, fixed = each["temperature"][0], self.start.get("fixed", ())
        self.rings = Rings(job, self.field, temperature, self.rng, fixed, self.bias)
        self.step, self.stopped = 0, None
        if state is None:
            self.rings.begin()
        else:
            self.step, self.stopped = state.step, state.stopped
            self.rings.restore(state.more)
            self.rng.bit_generator.state = state.rng

    def state(self) -> checkpoint.State:
        """What a checkpoint keeps, after the last move; its positions and momenta are those of the centroids."""
        positions, momenta = self.rings.centroids()
        return checkpoint.State(
            step=self.step,
            positions=positions.tolist(),
            momenta=momenta.tolist(),
            cell=None if self.start["cell"] is None else self._cell(),
            rng=velocities.builtins(self.rng.bit_generator.state),
            more={**self.rings.keep(), **({"plumed": self.bias.close()} if self.bias else {})},
            stopped=self.stopped,
        )

    def move(self, end: int) -> None:
        """Go on to a step, or to where the walker is to be stopped."""
        import numpy as np

        if self.stopped is not None or self.step >= end:
            return
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # an exploding walker is judged below
                self._move(end)
        except Exception:
            # Neither a calculator nor i-PI may take what is no number; that is the walker's end, not the worker's.
            if self.rings.finite():
                raise
            self.stopped = {"reason": "positions not finite", "kind": "nan", "step": self.step}

    def _move(self, end: int) -> None:
        begin, every = self.step, self.job["every"]
        # Which answers have a stress depends on the step alone: with it a model may answer in other last digits.
        for step in range(begin, end + 1):
            self.step = step
            self.field.stress = all(self.start["pbc"]) and step % every == 0
            if self.bias:
                self.bias.step = step
            if step > begin:
                self.rings.step()
            else:
                self.rings.ask()
            if step == begin > 0:
                continue  # the block before this one has judged and recorded it
            if self.bias:
                self.bias.update()
            self.stopped = self._judge(step)
            if self.stopped:
                break
            if step > 0 and step % every == 0:
                self._record(step)

    def _judge(self, step: int) -> Wire | None:
        import numpy as np

        bounds, found = self.job["limits"], self.field.found
        energy = sum(bead.energy for bead in found)
        positions = np.concatenate([bead.positions for bead in found])
        forces = np.concatenate([bead.forces for bead in found])
        wrong = limits.fault(bounds, energy, positions, forces, self.rings.temperature)
        for bead in found if wrong is None else ():
            if step % self.job["every"] == 0:
                self.field.atoms.set_positions(bead.positions)
                wrong = wrong or limits.overlap(bounds, self.field.atoms)
            if bead.spread:
                wrong = wrong or limits.apart(bounds, bead.spread[1])
        return None if wrong is None else {**wrong, "step": step}

    def _record(self, step: int) -> None:
        import numpy as np

        found, rings = self.field.found, self.rings
        stresses = [bead.stress for bead in found if bead.stress is not None]
        stress = np.mean(stresses, axis=0) if len(stresses) == len(found) else None
        kinetic, temperature = rings.kinetic_energy(), rings.temperature
        cell = None if self.start["cell"] is None else self._cell()
        more = {"bias_energy": self.bias.energy} if self.bias else {}
        for number, bead in enumerate(found):
            text = frame_record.text(
                self.job,
                {"walker": self.each["walker"], "start": self.start},
                step=step,
                positions=bead.positions.tolist(),
                cell=cell,
                energy=bead.energy,
                kinetic=kinetic,
                temperature=temperature,
                stress=stress if all(self.start["pbc"]) else None,
                spread=bead.spread,
                more=more if len(found) == 1 else {"bead": number, **more},
            )
            self.group.append(self.index, text)

    def _cell(self) -> list[list[float]]:
        return self.rings.lattice() if self.cell_moves else self.start["cell"]


def _atoms(frame: Wire) -> Any:
    """The start with its masses, and with what a model may want to know of it."""
    atoms = conversion.to_ase(frame)
    names = {"charge": ("charge",), "multiplicity": ("multiplicity", "spin")}  # MACE calls the multiplicity spin
    atoms.info.update({name: frame[key] for key in names if key in frame for name in names[key]})
    atoms.set_masses(conversion.masses(frame, atoms.get_masses()))
    return atoms
