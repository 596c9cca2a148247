"""What a frame of a trajectory says: where, when, how hot, under which pressure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psiflow_cli.extxyz.writer import Columns, Rows, new_frame
from psiflow_cli.worker.structures.units import BAR

Wire = dict[str, Any]


def text(
    job: Wire,
    walker: Wire,
    *,
    step: int,
    positions: Rows,
    cell: Rows | None,
    energy: float,
    kinetic: float,
    temperature: float,
    target: float | None = None,
    stress: Any = None,
    spread: tuple[float, list[float]] | None = None,
    more: Mapping[str, Any] | None = None,
) -> str:
    """One frame of a walker (`{"walker": number, "start": frame}`) after a step.

    `positions` and `cell` in Å; `energy` (of the model) and `kinetic` in eV; `temperature`, and the thermostat's
    `target`, in K; `stress` of the model in eV/Å³ with ASE's sign and order, from which, with the momenta, comes the
    `pressure` in bar; `spread` of a committee: see `committee_calculator.spread`; `more` goes in as it is, behind.
    """
    start = walker["start"]
    info: Wire = {"walker": walker["walker"], "step": step, "time": step * float(job["timestep"])}
    info["temperature"] = temperature
    if target is not None and (job.get("exchange") or job.get("ramp_steps")):
        info["target_temperature"] = target
    if stress is not None and cell is not None:
        volume = _volume(cell)
        info["pressure"] = (2.0 * kinetic / volume - float(stress[0] + stress[1] + stress[2])) / 3.0 / BAR
        info["volume"] = volume
    info |= {"model_energy": energy, "kinetic_energy": kinetic}
    # a label of this frame must be of the same charge and multiplicity as the start
    info |= {key: start[key] for key in ("charge", "multiplicity") if key in start}
    info.update(more or {})
    columns: Columns = {}
    if spread:
        info["model_energy_std"], columns = spread[0], {"model_forces_std": ("R", spread[1])}
    return new_frame(start["symbols"], positions, cell, start["pbc"], info, columns)


def _volume(cell: Rows) -> float:
    (a, b, c), (d, e, f), (g, h, i) = ((float(x) for x in row) for row in cell)
    return abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))
