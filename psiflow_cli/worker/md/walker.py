"""A walker while an engine moves it: its start, its noise, how far it is, and what of it a checkpoint keeps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from psiflow_cli.worker.md import velocities
from psiflow_cli.worker.md.checkpoint import WalkerState
from psiflow_cli.worker.md.plumed.bias import Bias, restore_files
from psiflow_cli.worker.md.plumed.window import in_window
from psiflow_cli.worker.structures import conversion

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from psiflow_cli.messages import Frame, MDJob, PlumedState, Stop, Vectors, Violation, WalkerStart


class MovingWalker:
    """What every engine has of a walker, whatever moves it; its positions and momenta are the engine's."""

    def __init__(self, job: MDJob, message: WalkerStart) -> None:
        self.job, self.message = job, message
        self.number, self.start = message["walker"], message["start"]
        self.conditions = message
        """The temperature, pressure and window under which it moves; an exchange gives it those of another walker."""
        self.exchanged = False  # whether the engine has still to take over other conditions
        self.trials: dict[str, list[int]] = {}
        """[tried, accepted] exchanges by pair, of those in which this walker was the lower one."""
        self.fixed: list[int] = self.start.get("fixed", [])
        self.degrees_of_freedom = velocities.degrees_of_freedom(
            len(self.start["symbols"]) - len(self.fixed), velocities.conserves_momentum(job) and not self.fixed
        )
        self.rng = velocities.generator(job["seed"], self.number, self.start)
        self.step = 0
        self.stopped: Stop | None = None
        self.energy = math.nan  # of the model, in eV, at the present positions
        self.volume = math.nan  # Å³, where walkers exchange pressures
        self.more: dict[str, Any] = {}  # see `WalkerState`
        self.bias: Bias | None = None  # of PLUMED, of a walker that goes on
        self._plumed: PlumedState | None = None  # what it goes on from

    @property
    def temperatures(self) -> list[float]:
        """[at the first, at the last step] in K; equal but for a ramp."""
        return self.conditions["temperature"]

    @property
    def pressure(self) -> float:
        """The barostat's, in bar."""
        return self.conditions.get("pressure", self.job["pressure"])

    @property
    def live(self) -> bool:
        """Whether this walker goes on."""
        return self.stopped is None and self.step < self.job["steps"]

    def restore(self, state: WalkerState) -> None:
        """Go on from a checkpoint, whose positions, momenta and cell are the engine's to take over."""
        self.step, self.stopped, self.more = state.step, state.stopped, dict(state.more)
        number, before = self.more.pop("conditions_of", self.number), self.more.pop("temperatures", None)
        self.conditions = next((w for w in self.job["walkers"] if w["walker"] == number), self.message)
        if before:  # what older checkpoints have in place of it
            self.conditions = {**self.message, "temperature": before}
        self.trials = self.more.pop("trials", {})
        self._plumed = self.more.pop("plumed", None)
        self.rng.bit_generator.state = state.rng

    def restore_shared_hills(self) -> None:
        """Leave those that the checkpoint counts, before another walker of this process reads them."""
        if self.job.get("shared_bias") and self.live:
            restore_files(self.job, self.number, self._plumed)

    def start_bias(self, atoms: Atoms) -> None:
        """Have PLUMED act on this walker, if the job asks for it and the walker goes on."""
        if self.job.get("plumed") and self.live:
            job = in_window(self.job, self.conditions.get("window", {}))
            self.bias = Bias(job, self.conditions, atoms, self._plumed)

    def state(self, positions: np.ndarray, momenta: np.ndarray, cell: Vectors | None) -> WalkerState:
        """What a checkpoint keeps; PLUMED has ended."""
        more: dict[str, Any] = {}
        if self.job.get("exchange"):
            more = {"conditions_of": self.conditions["walker"], "trials": self.trials}
        plumed = self.bias.close() if self.bias else self._plumed
        if plumed:
            more["plumed"] = plumed
        return WalkerState(
            step=self.step, positions=positions.tolist(), momenta=momenta.tolist(), cell=cell,
            rng=velocities.generator_state(self.rng), more={**self.more, **more}, stopped=self.stopped,
        )  # fmt: skip

    def target_temperature(self, step: int) -> float:
        """The thermostat's (K) after a step: linear over `job["ramp_steps"]` steps, if that is given."""
        (first, last), steps = self.temperatures, self.job.get("ramp_steps")
        return first if not steps else first + (last - first) * min(step, steps) / steps

    def first_momenta(self, masses: np.ndarray) -> np.ndarray:
        """Those of the start or else, drawn at its temperature, those of `velocities.draw`."""
        rest = velocities.conserves_momentum(self.job)
        # nve goes on exactly, also under forces from outside; a thermostat that scales would heat a drift
        momenta = velocities.from_start(self.start, masses, rest and self.job["ensemble"] != "nve", self.fixed)
        if momenta is not None:
            return momenta
        return velocities.draw(masses, self.target_temperature(0), self.rng, rest, self.fixed)

    def recorded_conditions(self) -> dict[str, float]:
        """What a frame says of its conditions beside the temperature."""
        pressure = {"target_pressure": self.conditions["pressure"]} if "pressure" in self.conditions else {}
        return {**pressure, **self.conditions.get("window", {})}

    def place(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions, shape (N, 3), and cell, (3, 3), in Å, at a step where walkers exchange their conditions."""
        raise NotImplementedError(f"{type(self).__name__} cannot exchange windows")

    def swap_conditions(self, other: MovingWalker) -> None:
        """Exchange the conditions, with PLUMED and its files."""
        self.conditions, other.conditions = other.conditions, self.conditions
        self.bias, other.bias = other.bias, self.bias
        self.exchanged = other.exchanged = True

    def scale_momenta(self, factor: float) -> None:
        """Multiply all momenta, as an exchange of temperatures does."""
        raise NotImplementedError(f"{type(self).__name__} cannot exchange temperatures")

    def stop(self, violation: Violation) -> None:
        """Let the walker end where it is."""
        self.stopped = {"reason": violation["reason"], "kind": violation["kind"], "step": self.step}


def start_atoms(start: Frame) -> Atoms:
    """A start with its masses, and with what a model may want to know of it."""
    atoms: Atoms = conversion.to_ase(start)
    atoms.set_masses(conversion.masses(start, atoms.get_masses()))
    return atoms


def model_stress(calculator: Calculator, atoms: Atoms) -> np.ndarray | None:
    """The model's stress (eV/Å³, shape (6,)), or None where it has none."""
    from ase.calculators.calculator import PropertyNotImplementedError

    try:
        return cast("np.ndarray", calculator.get_property("stress", atoms))
    except (PropertyNotImplementedError, NotImplementedError):
        return None
