"""One walker's way through a block: every step of all its beads judged, every so many steps a frame of each.

Distances are looked at where frames are recorded, and not at the end of a block: how a trajectory is cut into blocks
must leave no trace in it.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, cast

from psiflow_cli import voigt
from psiflow_cli.samplers.ipi.batched_beads import batched_beads
from psiflow_cli.samplers.ipi.bias import CentroidBias
from psiflow_cli.samplers.ipi.force_field import ModelForceField
from psiflow_cli.samplers.ipi.ring_polymer import RingPolymers, Variables
from psiflow_cli.worker.md import frame_record, limits
from psiflow_cli.worker.md.validation import MOVES_CELL
from psiflow_cli.worker.md.walker import MovingWalker, start_atoms
from psiflow_cli.worker.models.calculators import calculator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psiflow_cli.messages import Context, MDJob, Vectors, Violation, WalkerStart
    from psiflow_cli.worker.md.checkpoint import WalkerGroup, WalkerState


def restored_walkers(job: MDJob, context: Context, group: WalkerGroup) -> list[RingPolymerWalker]:
    """The walkers of the job, from their last checkpoint or their starts, all with one model."""
    batched = [batched_beads(job, context, message["start"]) for message in job["walkers"]]
    shared = None if all(batched) else calculator(job["model"], context)
    states: Sequence[WalkerState | None] = group.states or [None] * len(batched)
    walkers = []
    for index, message in enumerate(job["walkers"]):
        cell_moves = job["ensemble"] in MOVES_CELL
        field = ModelForceField(start_atoms(message["start"]), shared, cell_moves, batched[index])
        walkers.append(RingPolymerWalker(job, index, message, states[index], field, group))
    return walkers


class RingPolymerWalker(MovingWalker):
    """One walker, and the ring polymers that are its atoms."""

    def __init__(
        self, job: MDJob, index: int, message: WalkerStart, state: WalkerState | None, field: ModelForceField,
        group: WalkerGroup,
    ) -> None:  # fmt: skip
        super().__init__(job, message)
        self.index, self.field, self.group = index, field, group
        if state is not None:
            self.restore(state)
        self.start_bias(field.atoms)
        self.centroid_bias = CentroidBias(self.bias) if self.bias else None
        own: MDJob = {**job, "pressure": self.pressure}
        self.rings = RingPolymers(own, field, self.temperatures[0], self.rng, self.fixed, self.centroid_bias)
        if state is None:
            self.rings.begin(self.first_momenta(field.atoms.get_masses()))
        else:
            self.rings.restore(cast("Variables", state.more))

    def checkpoint(self) -> WalkerState:
        """What a checkpoint keeps, after the last move; its positions and momenta are those of the centroids."""
        positions, momenta = self.rings.centroids()
        self.more = dict(self.rings.variables())
        return self.state(positions, momenta, self._cell())

    def move(self, end: int) -> None:
        """Go on to a step, or to where the walker is to be stopped."""
        import numpy as np

        if self.stopped is not None or self.step >= end:
            return
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # an exploding walker is judged below
                self._move(end)
        except limits.CellLost as lost:
            self.stop(lost.violation)
        except Exception:
            # Neither a calculator nor i-PI may take what is no number; that is the walker's end, not the worker's.
            if self.rings.finite():
                raise
            self.stop({"reason": "positions not finite", "kind": "nan"})

    def _move(self, end: int) -> None:
        begin, every = self.step, self.job["every"]
        # Which answers have a stress depends on the step alone: with it a model may answer in other last digits.
        for step in itertools.count(begin):
            self.step = step
            self.field.wants_stress = voigt.is_defined(self.start["pbc"]) and step % every == 0
            if self.centroid_bias:
                self.centroid_bias.step = step
            if step > begin:
                self.rings.step()
            else:
                self.rings.evaluate()
            if self.bias:
                self.bias.update(checkpoint=step >= end)
            if step == begin > 0:
                continue  # the block before this one has judged and recorded it
            if violation := self._judge():
                self.stop(violation)
                break
            if step > 0 and step % every == 0:
                self._record()
            if step >= end and (self.bias is None or self.bias.can_go_on or step >= self.job["steps"]):
                break

    def _judge(self) -> Violation | None:
        import numpy as np

        bounds, beads, atoms = self.job["limits"], self.field.predicted, self.field.atoms
        energy = sum(bead.energy for bead in beads)
        positions = np.concatenate([bead.positions for bead in beads])
        forces = np.concatenate([bead.forces for bead in beads])
        violation = limits.broken_by_step(bounds, energy, positions, forces, self.rings.temperature)
        due = self.step % self.job["every"] == 0
        for bead in beads if violation is None else ():
            if due:
                atoms.set_positions(bead.positions)
            violation = violation or limits.broken_by_structure(bounds, atoms if due else None, bead.spread)
        return violation

    def _record(self) -> None:
        import numpy as np

        beads = self.field.predicted
        stresses = [bead.stress for bead in beads if bead.stress is not None]
        whole = len(stresses) == len(beads) and voigt.is_defined(self.start["pbc"])
        stress = np.mean(stresses, axis=0) if whole else None
        if self.bias and stress is not None:
            stress = stress + voigt.from_matrix(self.bias.virial / self.field.atoms.get_volume())
        kinetic, temperature, cell = self.rings.kinetic_energy(), self.rings.temperature, self._cell()
        more = self.bias.recorded() if self.bias else {}
        momenta = self.rings.centroids()[1].tolist() if self.job.get("velocities") else None
        for number, bead in enumerate(beads):
            record = frame_record.FrameRecord(
                step=self.step, positions=bead.positions.tolist(), cell=cell, energy=bead.energy,
                kinetic=kinetic, temperature=temperature, stress=stress, spread=bead.spread, momenta=momenta,
                conditions=self.recorded_conditions(), more=more if len(beads) == 1 else {"bead": number, **more},
            )  # fmt: skip
            self.group.append(self.index, frame_record.text(self.job, self.message, record))

    def _cell(self) -> Vectors | None:
        start = self.start["cell"]
        return self.rings.lattice() if self.field.cell_moves and start is not None else start
