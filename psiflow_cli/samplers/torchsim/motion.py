"""The way of a batch of walkers through a block: one step for all of them, each judged and recorded by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli import voigt
from psiflow_cli.samplers.ase.integrators import half_kick
from psiflow_cli.samplers.torchsim import integrators
from psiflow_cli.samplers.torchsim.batch import Batch, BatchedWalker
from psiflow_cli.samplers.torchsim.forces import Forces, models
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.md import frame_record, limits, velocities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psiflow_cli.messages import Context, MDJob
    from psiflow_cli.worker.md.checkpoint import WalkerGroup, WalkerState


class BatchMotion:
    """The walkers of a job, from their last checkpoint or their starts; those that go on move together."""

    def __init__(self, job: MDJob, context: Context, group: WalkerGroup) -> None:
        self.job, self.group = job, group
        states: Sequence[WalkerState | None] = group.states or [None] * len(job["walkers"])
        self.walkers = [BatchedWalker(job, *each) for each in zip(job["walkers"], states, strict=True)]
        self._indices = {walker.number: index for index, walker in enumerate(self.walkers)}
        kinds = {tuple(walker.start["pbc"]) for walker in self.walkers}
        if len(kinds) > 1 or len(set(next(iter(kinds)))) > 1:
            raise Fatal("torch-sim's frames are periodic in all directions or in none, all alike", "--engine ase")
        going = [walker for walker in self.walkers if walker.live]
        pbc = self.walkers[0].start["pbc"][0]
        numbers, cells = [walker.numbers for walker in going], [walker.cell for walker in going]
        self.forces = Forces(models(job["model"], context, stress=pbc), job["batch"], numbers, cells, pbc)
        self.batch = Batch(going, self.forces)
        if going[0].step == 0:
            self._judge(0)

    def move(self, end: int) -> None:
        """Go on to a step, with those that are not stopped on the way."""
        begin = self.batch.walkers[0].step if self.batch.walkers else end
        for step in range(begin + 1, end + 1):
            if not self.batch.walkers:
                return
            integrators.make_step(self.batch, self.job, step)
            self._judge(step)

    def _judge(self, step: int) -> None:
        """Stop the walkers that have left their limits, and record the others where a frame is due."""
        from ase import units

        batch, bounds = self.batch, self.job["limits"]
        kick = half_kick(self.job) * units.fs
        due = step % self.job["every"] == 0
        for index, (walker, part) in enumerate(zip(batch.walkers, batch.parts, strict=True)):
            forces = batch.predicted.forces[part]
            momenta = batch.momenta[part] + kick * forces * batch.moves[part]
            kinetic = velocities.kinetic_energy(momenta, batch.masses[part, 0])
            temperature = velocities.temperature(kinetic, walker.degrees_of_freedom)
            spread = batch.predicted.spread(index, part)
            violation = limits.broken_by_step(bounds, walker.energy, walker.positions, forces, temperature)
            violation = violation or limits.broken_by_structure(bounds, walker.atoms() if due else None, spread)
            if violation is not None:
                walker.stop(violation)
            elif due and step > 0:
                self._record(index, temperature, kinetic)
        batch.drop_stopped()

    def _record(self, index: int, temperature: float, kinetic: float) -> None:
        walker, predicted = self.batch.walkers[index], self.batch.predicted
        record = frame_record.FrameRecord(
            step=walker.step, positions=walker.positions.tolist(), cell=walker.start["cell"],
            energy=walker.energy, kinetic=kinetic, temperature=temperature,
            target=walker.target_temperature(walker.step),
            stress=None if predicted.stress is None else voigt.from_matrix(predicted.stress[index]),
            spread=predicted.spread(index, self.batch.parts[index]),
        )  # fmt: skip
        self.group.append(self._indices[walker.number], frame_record.text(self.job, walker.message, record))
