"""The way of a batch of walkers through a block: one step for all of them, each judged and recorded by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from psiflow_cli import voigt
from psiflow_cli.samplers.torchsim.forces import Forces, models
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.md import checkpoint, frame_record, limits, velocities
from psiflow_cli.worker.md.replica_exchange import target
from psiflow_cli.worker.structures import conversion

Wire = dict[str, Any]


@dataclass
class Member:
    """One walker of a batch; `positions` and `momenta` are those of when it last joined or left, shape (N, 3)."""

    number: int
    start: Wire
    temperatures: list[float]
    step: int
    stopped: Wire | None
    rng: Any
    masses: Any
    positions: Any
    momenta: Any
    energy: float = math.nan
    cell: Any = field(default=None)

    def live(self, job: Wire) -> bool:
        """Whether this walker goes on."""
        return self.stopped is None and self.step < job["steps"]

    def scale_momenta(self, factor: float) -> None:
        """Multiply all momenta, as an exchange of temperatures does."""
        self.momenta *= factor  # a view of the batch's


class Batch:
    """The walkers of a job, the ones that go on in arrays one after another."""

    def __init__(self, job: Wire, context: Wire, group: checkpoint.Group) -> None:
        self.job, self.group = job, group
        states = group.states
        self.members = [
            _member(job, each, states[index] if states else None) for index, each in enumerate(job["walkers"])
        ]
        kinds = {tuple(member.start["pbc"]) for member in self.members}
        if len(kinds) > 1 or len(set(next(iter(kinds)))) > 1:
            raise Fatal("torch-sim's frames are periodic in all directions or in none, all alike", "--engine ase")
        self.live = [i for i, member in enumerate(self.members) if member.live(job)]
        self.pbc = self.members[0].start["pbc"][0]
        self.forces = Forces(
            models(job["model"], context, stress=self.pbc),
            job["batch"],
            [_numbers(self.members[i].start) for i in self.live],
            [self.members[i].cell for i in self.live],
            self.pbc,
        )
        self._gather()
        self._now: Wire | None = None

    def state(self, member: Member) -> checkpoint.State:
        """What a checkpoint keeps of a walker."""
        exchanged = {"temperatures": member.temperatures} if self.job.get("exchange") else {}
        return checkpoint.State(
            step=member.step,
            positions=member.positions.tolist(),
            momenta=member.momenta.tolist(),
            cell=member.start["cell"],
            rng=velocities.builtins(member.rng.bit_generator.state),
            more=exchanged,
            stopped=member.stopped,
        )

    def move(self, end: int) -> None:
        """Go on to a step, with those that are not stopped on the way."""
        begin = self.members[self.live[0]].step if self.live else end
        if self._now is None and self.live:
            self._evaluate()
            if begin == 0:
                self._judge(0)
        for step in range(begin + 1, end + 1):
            if not self.live:
                return
            self._step(step)
            self._judge(step)

    def _gather(self) -> None:
        """Put the walkers that go on into arrays of their own; each keeps a view of its part."""
        import numpy as np

        going = [self.members[i] for i in self.live]
        self.x = np.concatenate([m.positions for m in going]) if going else np.zeros((0, 3))
        self.p = np.concatenate([m.momenta for m in going]) if going else np.zeros((0, 3))
        self.m = np.concatenate([m.masses for m in going])[:, None] if going else np.zeros((0, 1))
        self.moves = np.ones_like(self.m)
        self.parts: list[slice] = []
        begin = 0
        for member in going:
            part = slice(begin, begin + len(member.masses))
            member.positions, member.momenta = self.x[part], self.p[part]
            self.moves[part][list(member.start.get("fixed", ()))] = 0.0
            self.parts.append(part)
            begin = part.stop

    def _evaluate(self) -> None:
        """Energies, forces and stress of the present positions, as arrays."""
        import torch

        device = self.forces.members[0].device
        found = self.forces(torch.as_tensor(self.x).to(device))
        self._now = {name: None if value is None else value.cpu().numpy() for name, value in found.items()}
        for index, each in enumerate(self.live):
            self.members[each].energy = float(self._now["energy"][index])

    def _step(self, step: int) -> None:
        """One step of velocity Verlet, with the thermostat in its middle (BAOAB) or before it (CSVR)."""
        from ase import units

        assert self._now is not None
        timestep, nvt = self.job["timestep"] * units.fs, self.job["ensemble"] == "nvt"
        langevin = nvt and self.job["thermostat"] == "langevin"
        if nvt and not langevin:
            self._rescale(step)
        self.p += 0.5 * timestep * self._now["forces"] * self.moves
        if langevin:
            self.x += 0.5 * timestep * self.p / self.m
            self._langevin(step)
            self.x += 0.5 * timestep * self.p / self.m
        else:
            self.x += timestep * self.p / self.m
        self._evaluate()
        self.p += 0.5 * timestep * self._now["forces"] * self.moves
        for each in self.live:
            self.members[each].step = step

    def _langevin(self, step: int) -> None:
        """The Ornstein-Uhlenbeck part of BAOAB, with the noise of each walker."""
        import numpy as np

        decay = math.exp(-self.job["friction"] * 1e-3 * self.job["timestep"])
        spread = math.sqrt(velocities.KB * (1.0 - decay * decay))
        noise = np.empty_like(self.p)
        for each, part in zip(self.live, self.parts, strict=True):
            member = self.members[each]
            kelvin = target(self.job, member.temperatures, step - 1)
            noise[part] = member.rng.standard_normal(noise[part].shape) * (spread * math.sqrt(kelvin))
        self.p *= decay
        self.p += noise * np.sqrt(self.m) * self.moves

    def _rescale(self, step: int) -> None:
        """Canonical velocity rescaling (Bussi, Donadio and Parrinello, J. Chem. Phys. 126, 014101 (2007), eq. A7)."""
        decay = math.exp(-self.job["timestep"] / self.job["thermostat_time"])
        for each, part in zip(self.live, self.parts, strict=True):
            member, dof = self.members[each], self._dof(part, each)
            kinetic = velocities.kinetic_energy(self.p[part], self.m[part, 0])
            wanted = 0.5 * dof * velocities.KB * target(self.job, member.temperatures, step - 1)
            one = float(member.rng.standard_normal())
            others = 2.0 * float(member.rng.standard_gamma(0.5 * (dof - 1)))
            ratio = (1.0 - decay) * wanted / kinetic / dof
            factor = decay + ratio * (others + one * one) + 2.0 * one * math.sqrt(decay * ratio)
            self.p[part] *= math.sqrt(factor)

    def _dof(self, part: slice, each: int) -> int:
        fixed = self.members[each].start.get("fixed", ())
        return velocities.degrees_of_freedom(
            part.stop - part.start - len(fixed), velocities.rests(self.job) and not fixed
        )

    def _judge(self, step: int) -> None:
        """Stop the walkers that have left their limits, and record the others where a frame is due."""
        from ase import units

        assert self._now is not None
        langevin = self.job["ensemble"] == "nvt" and self.job["thermostat"] == "langevin"
        kick = 0.5 * self.job["timestep"] * units.fs if langevin else 0.0
        due = step % self.job["every"] == 0
        gone = []
        for index, (each, part) in enumerate(zip(self.live, self.parts, strict=True)):
            member, forces = self.members[each], self._now["forces"][part]
            momenta = self.p[part] + kick * forces * self.moves[part]  # see samplers.ase.integrators.half_kick
            kinetic = velocities.kinetic_energy(momenta, self.m[part, 0])
            temperature = velocities.temperature(kinetic, self._dof(part, each))
            wrong = limits.fault(self.job["limits"], member.energy, self.x[part], forces, temperature)
            if wrong is None and due:
                wrong = limits.overlap(self.job["limits"], self._atoms(member))
            spread = self._spread(index, part)
            if wrong is None and spread:
                wrong = limits.apart(self.job["limits"], spread[1])
            if wrong is not None:
                member.stopped = {**wrong, "step": step}
                gone.append(index)
            elif due and step > 0:
                self._record(index, step, temperature, kinetic, spread)
        if gone:
            self._drop(gone)

    def _spread(self, index: int, part: slice) -> tuple[float, list[float]] | None:
        assert self._now is not None
        if "forces_std" not in self._now:
            return None
        return float(self._now["energy_std"][index]), self._now["forces_std"][part].tolist()

    def _atoms(self, member: Member) -> Any:
        atoms = conversion.to_ase(member.start)
        atoms.positions[:] = member.positions
        return atoms

    def _record(self, index: int, step: int, temperature: float, kinetic: float, spread: Any) -> None:
        assert self._now is not None
        each = self.live[index]
        member, stress = self.members[each], self._now["stress"]
        text = frame_record.text(
            self.job,
            {"walker": member.number, "start": member.start},
            step=step,
            positions=member.positions.tolist(),
            cell=member.start["cell"],
            energy=member.energy,
            kinetic=kinetic,
            temperature=temperature,
            target=target(self.job, member.temperatures, step),
            stress=None if stress is None else voigt.from_matrix(stress[index]),
            spread=spread,
        )
        self.group.append(each, text)

    def _drop(self, gone: list[int]) -> None:
        """Go on without some of the walkers."""
        import numpy as np

        assert self._now is not None
        for index in gone:
            member = self.members[self.live[index]]
            member.positions, member.momenta = member.positions.copy(), member.momenta.copy()
        kept = [index for index in range(len(self.live)) if index not in gone]
        rows = [np.arange(self.parts[i].start, self.parts[i].stop) for i in kept]
        atoms = np.concatenate(rows) if rows else np.arange(0)
        per_atom = ("forces", "forces_std")
        self._now = {
            name: None if value is None else value[atoms if name in per_atom else kept]
            for name, value in self._now.items()
        }
        self.live = [self.live[index] for index in kept]
        self.forces.keep(kept)
        self._gather()


def _member(job: Wire, each: Wire, state: checkpoint.State | None) -> Member:
    import numpy as np

    start, rng = each["start"], velocities.generator(job["seed"], each["walker"])
    masses = conversion.masses(start, conversion.to_ase(start).get_masses())
    temperatures = each["temperature"]
    if state is None:
        positions = np.array(start["positions"], dtype=float)
        first = target(job, temperatures, 0)
        momenta = velocities.draw(masses, first, rng, velocities.rests(job), start.get("fixed", ()))
    else:
        positions, momenta = np.array(state.positions), np.array(state.momenta)
        rng.bit_generator.state = state.rng
        temperatures = state.more.get("temperatures", temperatures)
    return Member(
        number=each["walker"],
        start=start,
        temperatures=temperatures,
        step=state.step if state else 0,
        stopped=state.stopped if state else None,
        rng=rng,
        masses=masses,
        positions=positions,
        momenta=momenta,
        cell=np.array(start["cell"] if start["cell"] is not None else np.zeros((3, 3)), dtype=float),
    )


def _numbers(start: Wire) -> Any:
    return conversion.to_ase(start).numbers
