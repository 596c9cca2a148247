"""The way of a batch of walkers through a block: steps on the device, and a look at the outcome where one is due.

The host looks where frames are recorded and every `INTERVAL` steps. Where a walker has broken a limit since the last
look, the batch goes back there, and on step by step: so a walker stops where it would if each step were looked at.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from psiflow_cli import voigt
from psiflow_cli.samplers.torchsim.biases import Biases
from psiflow_cli.samplers.torchsim.cell_limits import CellLimits
from psiflow_cli.samplers.torchsim.forces import Forces, models
from psiflow_cli.samplers.torchsim.integrators import ensemble
from psiflow_cli.samplers.torchsim.judging import Judge
from psiflow_cli.samplers.torchsim.noise import Noise
from psiflow_cli.samplers.torchsim.records import Records
from psiflow_cli.samplers.torchsim.transfer import read, read_later, to_host
from psiflow_cli.samplers.torchsim.walkers import BatchedWalker, gathered, scatter
from psiflow_cli.worker.md import limits
from psiflow_cli.worker.md.validation import MOVES_CELL
from psiflow_cli.worker.structures.units import BAR

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from psiflow_cli.messages import Context, MDJob, Violation
    from psiflow_cli.samplers.torchsim.state import BatchState
    from psiflow_cli.worker.md.checkpoint import WalkerGroup, WalkerState

INTERVAL = {"cpu": 1}
"""Steps from one look of the host to the next, by type of device; a CPU has nothing to wait for."""
USUAL_INTERVAL = 10


class BatchMotion:
    """The walkers of a job, from their last checkpoint or their starts; those that go on move together."""

    def __init__(self, job: MDJob, context: Context, group: WalkerGroup) -> None:
        self.job = job
        states: Sequence[WalkerState | None] = group.states or [None] * len(job["walkers"])
        self.walkers = [BatchedWalker(job, *each) for each in zip(job["walkers"], states, strict=True)]
        if len({tuple(walker.start["pbc"]) for walker in self.walkers}) > 1:
            raise ValueError("walkers that move together are periodic in the same directions")
        self.going = [walker for walker in self.walkers if walker.live]
        self.step = self.going[0].step
        self._last = min(self.step + job["block"], job["steps"])
        self._periodic = voigt.is_defined(self.walkers[0].start["pbc"])
        starts, self._moves_cells = [walker.start for walker in self.going], job["ensemble"] in MOVES_CELL
        self.forces = Forces(models(job["model"], context, self._periodic), job["batch"], starts, self._moves_cells)
        device = self.forces.device
        # What PLUMED remembers cannot go back to the last look.
        self.interval = 1 if job["plumed"] else INTERVAL.get(device.type, USUAL_INTERVAL)
        self._integrator, self._judge = ensemble.integrator_for(job), Judge(job, device)
        self._noise = Noise(self._integrator, self.going, device)
        self._records = Records(job, group, self.walkers, self._moves_cells)
        self.state = gathered(self.going, device)
        self._set_bounds()
        self._biases = Biases(job, self.going)
        self._evaluate(self.state, self.step)
        self._biases.update(checkpoint=False)
        if not self.state.own:
            self.state.own = self._integrator.begin(self.state)
        if self.step == 0:
            self._look()

    def move(self, end: int) -> None:
        """Go on to a step, with those that are not stopped on the way."""
        careful = 0  # up to this step, each one is looked at
        while self.going and self.step < end:
            begin = self.step
            self._noise.prepare(begin + 1, self._last, self.interval)
            stop = begin + 1 if begin < careful else self._next_look(end)
            before = self.state.copy() if stop > begin + 1 else None
            self.forces.wait(before is None)
            try:
                sound = self._advance(stop)
            except Exception:
                if before is None:
                    raise
                sound = False  # a walker that is beyond its limits can make any model fail
            self._biases.update(checkpoint=stop >= self._last)
            if not sound and before is not None:
                self.state, self.step, careful = before, begin, stop
            elif not sound or stop % self.job["every"] == 0:
                self._look()
        self._settle()

    def take_over_exchanges(self) -> None:
        """Take over what the walkers have exchanged: conditions, and factors of their momenta."""
        import torch

        if not any(walker.exchanged for walker in self.going):
            return
        state, factors = self.state, [walker.factor for walker in self.going]
        if set(factors) != {1.0}:
            self._integrator.scale(state, torch.tensor(factors, dtype=torch.float64).to(state.energy.device))
        pressures = [walker.pressure * BAR for walker in self.going]
        state.pressure = torch.tensor(pressures, dtype=torch.float64).to(state.energy.device)
        self._set_bounds()
        if self.job["plumed"]:
            self._biases.only(self.going)
            self._evaluate(state, self.step)
        for walker in self.going:
            walker.factor, walker.exchanged = 1.0, False

    def finish(self) -> None:
        """Have all frames in their files, and all walkers where they are, which is a step from which they can go on."""
        while self.going and not self._biases.can_go_on and self.step < self.job["steps"]:
            self._last = self.step + 1
            self.move(self._last)
        self._records.finish()
        if self.going:
            scatter(self.state, self.going)
        for walker in self.going:
            self._noise.settle(walker)

    def close(self) -> None:
        """End what runs beside."""
        self._records.close()

    def _next_look(self, end: int) -> int:
        """The step at which the host looks next."""
        step = self.step
        return min(end, *((step // every + 1) * every for every in (self.interval, self.job["every"])))

    def _advance(self, stop: int) -> bool:
        """Move the batch to a step; whether all walkers have kept their limits."""
        import torch

        state, worst = self.state, list[torch.Tensor]()
        for step in range(self.step + 1, stop + 1):
            self._set_temperatures(step - 1)
            self._integrator.step(state, partial(self._evaluate, step=step), self._noise.at(step))
            worst += self._judge.worst(state, self._cell_limits)
        self.step = stop
        self._noise.draw_ahead(self._last, self.interval)  # while the device is still at work
        numbers = to_host(torch.stack([*worst, *self.forces.worn()])).numpy()
        held = self.forces.held(numbers[len(worst) :])
        return self._judge.within_limits(numbers[: len(worst)]) and held

    def _evaluate(self, state: BatchState, step: int) -> None:
        """Ask the models where the walkers are; for their stress only where it is recorded, or moves the cell."""
        due, positions, cells = step % self.job["every"] == 0, state.positions, state.cells
        stress = self._integrator.stress or (due and self._periodic)
        if self._cell_limits:
            state.positions, state.cells = self._cell_limits.askable(state)
        self.forces(state, stress, distances=due and self.forces.cutoff >= (self.job["limits"].get("distance") or 0.0))
        state.positions, state.cells = positions, cells
        self._biases.add(state, step)

    def _look(self) -> None:
        """Stop the walkers that are beyond a limit, and record the others where a frame is due."""
        state, due = self.state, self.step % self.job["every"] == 0
        near_counts = due and self.job["limits"].get("distance") is not None
        names: tuple[str, ...] = ("cells",) if self._cell_limits or near_counts else ()
        if near_counts:
            names += ("positions",) if state.nearest is None else ("nearest",)
        arrays = read({"sizes": self._judge.sizes(state), **{name: getattr(state, name) for name in names}})
        parts, all_sizes, committee = state.parts(), arrays["sizes"].T.tolist(), state.forces_std is not None
        sound, stopped = [], []
        for place, walker in enumerate(self.going):
            walker.step = self.step
            near = self._near(walker, arrays, place, parts[place]) if near_counts else None
            lost = self._cell_limits.violation(place, arrays["cells"][place]) if self._cell_limits else None
            if violation := lost or self._judge.violation(all_sizes[place], near, committee):
                walker.stop(violation)
                stopped.append(place)
            else:
                sound.append(place)
        if due and self.step:
            names = ("positions", "cells", "stress", "energy_std", "forces_std")
            names += ("momenta",) if self.job.get("velocities") else ()
            rest = read_later({name: getattr(state, name) for name in names})
            walkers = [(place, parts[place], self.going[place]) for place in sound]
            self._records.put(self.step, arrays["sizes"], rest, walkers)
        if stopped:
            self._drop(stopped, sound)

    def _near(self, walker: BatchedWalker, arrays: dict[str, np.ndarray], place: int, atoms: slice) -> Violation | None:
        """Whether two atoms of a walker are too near to each other."""
        if "nearest" in arrays:
            return limits.too_near(self.job["limits"], float(arrays["nearest"][place]))
        walker.positions, walker.cell = arrays["positions"][atoms], arrays["cells"][place]
        return limits.overlap(self.job["limits"], walker.atoms())

    def _drop(self, stopped: list[int], sound: list[int]) -> None:
        """Go on without the walkers at these places of the batch, with those at the others."""
        scatter(self.state.only(stopped), [self.going[place] for place in stopped])
        for place in stopped:
            self._noise.settle(self.going[place])
        self.going = [self.going[place] for place in sound]
        if not sound:
            return
        self._noise.only(sound, self.state.atoms_of(sound))
        self.state = self.state.only(sound)
        self.forces.restrict_to(sound)
        self._biases.only(self.going)
        self._set_bounds()

    def _settle(self) -> None:
        """Tell the walkers how far they are and, where they may exchange their conditions, where they are."""
        for walker in self.going:
            walker.step = self.step
        if not self.job.get("exchange") or not self.going:
            return
        import numpy as np

        state, parts = self.state, self.state.parts()
        arrays = read({name: getattr(state, name) for name in ("energy", "positions", "cells")})
        for place, walker in enumerate(self.going):
            walker.energy, walker.cell = float(arrays["energy"][place]), arrays["cells"][place]
            walker.positions, walker.volume = arrays["positions"][parts[place]], abs(float(np.linalg.det(walker.cell)))

    def _set_bounds(self) -> None:
        """Send the temperatures between which the thermostats go to the device."""
        import torch

        bounds = torch.tensor([walker.temperatures for walker in self.going], dtype=torch.float64)
        self._bounds = bounds.to(self.state.energy.device).unbind(1)
        self._cell_limits = CellLimits(self.going, self.state.energy.device) if self._moves_cells else None
        self._set_temperatures(self.step)

    def _set_temperatures(self, step: int) -> None:
        """Those of the thermostats after a step; see `MovingWalker.target_temperature`."""
        steps = self.job.get("ramp_steps")
        first, last = self._bounds
        self.state.kelvin = first if not steps else first + (last - first) * min(step, steps) / steps
