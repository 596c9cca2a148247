"""What a job of molecular dynamics must say to make sense; see `psiflow_cli.protocols.Sampler`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psiflow_cli.messages import Dynamics, MDJob

THERMOSTATS = ("langevin", "csvr", "nose-hoover")
MOVES_CELL = ("npt", "nvst")  # the ensembles in which the cell moves


def thermostat_of_moving_cell(settings: Dynamics) -> str:
    """Why the thermostat does not go with the ensemble, for an engine whose csvr scales the atoms' momenta alone."""
    if settings["ensemble"] in MOVES_CELL and settings.get("thermostat") == "csvr":
        return f"{settings['ensemble']} needs a thermostat for a changing cell: langevin or nose-hoover"
    return ""


def validate(job: MDJob, ensembles: tuple[str, ...]) -> None:
    """Raise ValueError for numbers that no integrator can use, or an ensemble the engine does not have."""
    if job["ensemble"] not in ensembles:
        raise ValueError(f"ensemble {job['ensemble']!r}: this engine has {', '.join(ensembles)}")
    for name, value in (("timestep", job["timestep"]), ("every", job["every"]), ("block", job["block"])):
        if not value > 0:
            raise ValueError(f"{name} must be above zero, not {value}")
    if job["ensemble"] == "nve":
        return
    if not all(min(walker["temperature"]) > 0 for walker in job["walkers"]):
        raise ValueError(f"{job['ensemble']} needs a temperature above zero")
    thermostat = job.get("thermostat", "langevin")
    if thermostat not in THERMOSTATS:
        raise ValueError(f"thermostat {thermostat!r}: not one of {', '.join(THERMOSTATS)}")
    times = ["friction" if thermostat == "langevin" else "thermostat_time"]
    if job["ensemble"] in MOVES_CELL:
        times.append("barostat_time")
        if any(walker["start"].get("fixed") for walker in job["walkers"]):
            raise ValueError(f"{job['ensemble']} changes the cell, which fixed atoms cannot follow")
    values: Mapping[str, object] = job
    for name in times:
        time = values.get(name)
        if not (isinstance(time, (int, float)) and time > 0):
            raise ValueError(f"{job['ensemble']} needs a {name} above zero")
