"""Molecular dynamics of many walkers at once: their forces come from one call of the model through torch-sim.

The ensembles, thermostats and barostats are those of the ASE engine, as are their paths, to rounding.
The integration is in float64 whatever the model's precision, and every walker has its own generator of noise: with
whom it shares a batch shows in the last digits of the forces only.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from psiflow_cli.worker.md import checkpoint, replica_exchange, validation

if TYPE_CHECKING:
    from psiflow_cli.messages import BlockReport, Context, Dynamics, MDJob

SUMMARY = "many walkers at once, with their forces from one call of the model (torch-sim)"
REQUIRES = ("torch_sim",)
BATCHED = True
ENSEMBLES = ("nve", "nvt", "npt", "nvst")
THERMOSTATS = ("langevin", "csvr", "nose-hoover")


def refuses(settings: Dynamics) -> str:
    """Why this engine cannot do what the settings ask for, or "". Nothing is loaded."""
    if settings["ensemble"] not in ENSEMBLES:
        return f"its ensembles are {', '.join(ENSEMBLES)}"
    if settings["ensemble"] != "nve" and settings["thermostat"] not in THERMOSTATS:
        return f"its thermostats are {', '.join(THERMOSTATS)}"
    if reason := validation.thermostat_of_moving_cell(settings):
        return reason
    if settings["beads"] > 1:
        return "only i-PI has path integrals (--beads)"
    return ""


def advance(job: MDJob, context: Context) -> BlockReport:
    """*worker*: move the walkers by `job["block"]` steps at most, from their last checkpoint; see `Sampler`."""
    from psiflow_cli.samplers.torchsim.motion import BatchMotion

    began, size, choice = time.perf_counter(), job["batch"], None
    validation.validate(job, ENSEMBLES)
    if reason := refuses(job):
        raise ValueError(reason)
    with checkpoint.open_group(job) as group:
        if group.unfinished(job["steps"]):
            group.open()
            motion = BatchMotion(job, context, group)
            walkers = motion.walkers
            try:
                for end in replica_exchange.meeting_steps(job, [walker.step for walker in walkers if walker.live]):
                    motion.move(end)
                    replica_exchange.exchange(job, end, walkers)
                    motion.take_over_exchanges()
                motion.finish()
            finally:
                motion.close()
            group.commit([walker.checkpoint() for walker in walkers])
            size, choice = motion.forces.size, getattr(motion.forces.members[0], "choice", None)
        report: BlockReport = {"walkers": group.report(), "seconds": time.perf_counter() - began}
    if size < job["batch"]:
        report["batch"] = size
    if choice:
        report["kernels"] = choice
    return report
