"""Molecular dynamics of many walkers at once: their forces come from one call of the model through torch-sim.

NVE is velocity Verlet, NVT is Langevin in the BAOAB splitting or canonical velocity rescaling, as in the ASE engine.
The integration is in float64 whatever the model's precision, and every walker has its own generator of noise: with
whom it shares a batch shows in the last digits of the forces only.
"""

from __future__ import annotations

import time
from typing import Any

from psiflow_cli.worker.md import checkpoint, job_check, replica_exchange

SUMMARY = "many walkers at once, with their forces from one call of the model (torch-sim)"
REQUIRES = ("torch_sim",)
BATCHED = True
ENSEMBLES = ("nve", "nvt")
THERMOSTATS = ("langevin", "csvr")

Wire = dict[str, Any]


def refuses(settings: Wire) -> str:
    """Why this engine cannot do what the settings ask for, or "". Nothing is loaded."""
    if settings["ensemble"] not in ENSEMBLES:
        return f"its ensembles are {', '.join(ENSEMBLES)}"
    if settings["ensemble"] == "nvt" and settings["thermostat"] not in THERMOSTATS:
        return f"its thermostats are {', '.join(THERMOSTATS)}"
    if settings["beads"] > 1:
        return "path integrals (--beads) are i-PI's"
    if settings["plumed"]:
        return "PLUMED is used through i-PI"
    if settings.get("slab"):
        return "torch-sim's frames are periodic in all directions or in none"
    if settings.get("charged"):
        return "charges and multiplicities do not reach a model through torch-sim"
    return ""


def advance(job: Wire, context: Wire) -> Wire:
    """*worker*: move the walkers by `job["block"]` steps at most, from their last checkpoint; see `Sampler`."""
    from psiflow_cli.samplers.torchsim.motion import Batch

    began = time.perf_counter()
    job_check.check(job, ENSEMBLES)
    if reason := refuses(job):
        raise ValueError(reason)
    with checkpoint.group(job) as group:
        told: Wire = {}
        if group.unfinished(job["steps"]):
            group.open()
            batch = Batch(job, context, group)
            for end in replica_exchange.cuts(job, [member.step for member in batch.members if member.live(job)]):
                batch.move(end)
                replica_exchange.exchange(job, end, batch.members)
            group.commit([batch.state(member) for member in batch.members])
            if batch.forces.size < job["batch"]:
                told = {"batch": batch.forces.size}
        return {"walkers": group.report(), "seconds": time.perf_counter() - began, **told}
