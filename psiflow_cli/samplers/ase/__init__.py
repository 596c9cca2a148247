"""Molecular dynamics with ASE's own integrators, one walker after another, in blocks that can be killed at any moment.

How a trajectory is cut into blocks leaves no trace in it, as long as the model's forces depend on the positions alone:
the state of the noise is in the checkpoint. A calculator that remembers earlier positions (ASE's EMT keeps its
neighbour list) is reset at each block, so it is repeatable for equal blocks.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from psiflow_cli.worker.md import checkpoint, replica_exchange, validation

if TYPE_CHECKING:
    from psiflow_cli.messages import BlockReport, Context, Dynamics, MDJob

SUMMARY = "ASE's own integrators, one walker after another"
REQUIRES = ("ase",)
BATCHED = False
ENSEMBLES = ("nve", "nvt", "npt", "nvst")
THERMOSTATS = ("langevin", "csvr", "nose-hoover")


def refuses(settings: Dynamics) -> str:
    """Why this engine cannot do what the settings ask for, or "". Nothing is loaded."""
    if settings.get("beads", 1) > 1:
        return "only i-PI has path integrals (--beads)"
    if settings["ensemble"] not in ENSEMBLES:
        return f"its ensembles are {', '.join(ENSEMBLES)}"
    if settings["ensemble"] != "nve" and settings.get("thermostat", "langevin") not in THERMOSTATS:
        return f"its thermostats are {', '.join(THERMOSTATS)}"
    return validation.thermostat_of_moving_cell(settings)


def advance(job: MDJob, context: Context) -> BlockReport:
    """*worker*: move the walkers by `job["block"]` steps at most, from their last checkpoint; see `Sampler`."""
    from psiflow_cli.samplers.ase import motion

    began = time.perf_counter()
    validation.validate(job, ENSEMBLES)
    if reason := refuses(job):
        raise ValueError(reason)
    with checkpoint.open_group(job) as group:
        if group.unfinished(job["steps"]):
            group.open()
            walkers = motion.restored_walkers(job, context, group)
            for end in replica_exchange.meeting_steps(job, [walker.step for walker in walkers if walker.live]):
                for walker in walkers:
                    walker.move(end)
                replica_exchange.exchange(job, end, walkers)
            group.commit([walker.checkpoint() for walker in walkers])
        return {"walkers": group.report(), "seconds": time.perf_counter() - began}
