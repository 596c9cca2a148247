"""What a job of molecular dynamics must say to make sense; see `psiflow_cli.protocols.Sampler`."""

from __future__ import annotations

from typing import Any

Wire = dict[str, Any]

THERMOSTATS = ("langevin", "csvr", "nose-hoover")
MOVES_CELL = ("npt", "nvst")
"""The ensembles in which the cell moves."""


def check(job: Wire, ensembles: tuple[str, ...]) -> None:
    """Raise ValueError for numbers that no integrator can use, or an ensemble the engine does not have."""
    if job["ensemble"] not in ensembles:
        raise ValueError(f"ensemble {job['ensemble']!r}: this engine knows {', '.join(ensembles)}")
    for name in ("timestep", "every", "block"):
        if not job[name] > 0:
            raise ValueError(f"{name} must be above zero, not {job[name]}")
    if job["ensemble"] == "nve":
        return
    if not all(min(each["temperature"]) > 0 for each in job["walkers"]):
        raise ValueError(f"{job['ensemble']} needs a temperature above zero")
    thermostat = job.get("thermostat", "langevin")
    if thermostat not in THERMOSTATS:
        raise ValueError(f"thermostat {thermostat!r}: there are {', '.join(THERMOSTATS)}")
    times = ["friction" if thermostat == "langevin" else "thermostat_time"]
    if job["ensemble"] in MOVES_CELL:
        times.append("barostat_time")
        if any(each["start"].get("fixed") for each in job["walkers"]):
            raise ValueError(f"{job['ensemble']} moves the cell, and atoms that do not move cannot follow it")
    for name in times:
        if not (job.get(name) or 0) > 0:
            raise ValueError(f"{job['ensemble']} needs a {name} above zero")
