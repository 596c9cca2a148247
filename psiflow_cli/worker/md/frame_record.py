"""What a frame of a trajectory says: where, when, how hot, under which pressure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psiflow_cli import voigt
from psiflow_cli.extxyz.writer import Rows, Values, new_frame
from psiflow_cli.worker.structures import conversion
from psiflow_cli.worker.structures.units import BAR

if TYPE_CHECKING:
    import numpy as np

    from psiflow_cli.messages import Frame, MDJob, WalkerStart

Spread = tuple[float, list[float]]  # of a committee, about one set of positions; see `committee.spread`


@dataclass(frozen=True)
class FrameRecord:
    """A walker after a step."""

    step: int
    positions: Rows  # Å
    cell: Rows | None  # Å
    energy: float  # of the model, in eV
    kinetic: float  # eV
    temperature: float  # K
    target: float | None = None  # the thermostat's temperature, in K
    stress: Sequence[float] | np.ndarray | None = None
    """The model's in eV/Å³, with ASE's sign and order; with the momenta's part it gives the pressure."""
    spread: Spread | None = None
    momenta: Rows | None = None  # in sqrt(u·eV), where frames have them
    conditions: Mapping[str, float] = field(default_factory=dict)  # pressure and window, where there are several
    more: Mapping[str, float] = field(default_factory=dict)  # what is written as it is, behind the others


def text(job: MDJob, walker: WalkerStart, record: FrameRecord) -> str:
    """The frame as extended XYZ; `pressure` in bar, `time` in fs."""
    start, cell, stress = walker["start"], record.cell, record.stress
    info: dict[str, float] = {"walker": walker["walker"], "step": record.step}
    info |= {"time": record.step * float(job["timestep"]), "temperature": record.temperature}
    if record.target is not None and (job.get("exchange") or job.get("ramp_steps")):
        info["target_temperature"] = record.target
    info |= record.conditions
    if stress is not None and cell is not None and voigt.is_defined(start["pbc"]):
        volume = _volume(cell)
        info["pressure"] = (2.0 * record.kinetic / volume - float(stress[0] + stress[1] + stress[2])) / 3.0 / BAR
        info["volume"] = volume
    info |= {"model_energy": record.energy, "kinetic_energy": record.kinetic}
    # a label of this frame must be of the same charge and multiplicity as the start
    if "charge" in start:
        info["charge"] = start["charge"]
    if "multiplicity" in start:
        info["multiplicity"] = start["multiplicity"]
    info |= record.more
    columns: dict[str, tuple[str, Values]] = {}
    if fixed := set(start.get("fixed", ())):
        columns["move_mask"] = ("L", [index not in fixed for index in range(len(start["symbols"]))])
    if record.momenta is not None:
        columns |= _moving(start, record.momenta)
    if record.spread:  # in the last column, where `stages.sample.trajectories` looks for it
        info["model_energy_std"], forces_std = record.spread
        columns["model_forces_std"] = ("R", forces_std)
    return new_frame(start["symbols"], record.positions, cell, start["pbc"], info, columns)


def _moving(start: Frame, momenta: Rows) -> dict[str, tuple[str, Values]]:
    """The columns of the momenta and, where they are not the usual ones, of the masses, so that velocities follow."""
    if "masses" not in start:
        return {"momenta": ("R", momenta)}
    from ase.data import atomic_masses, atomic_numbers

    usual = atomic_masses[[atomic_numbers[symbol] for symbol in start["symbols"]]]
    return {"masses": ("R", conversion.masses(start, usual).tolist()), "momenta": ("R", momenta)}


def _volume(cell: Rows) -> float:
    (a, b, c), (d, e, f), (g, h, i) = ((float(x) for x in row) for row in cell)
    return abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))
