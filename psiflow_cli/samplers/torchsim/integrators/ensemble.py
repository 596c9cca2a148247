"""Which integrator moves a batch in which ensemble."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.samplers.torchsim.integrators import barostats, nose_hoover, verlet
from psiflow_cli.worker.md.validation import MOVES_CELL

if TYPE_CHECKING:
    from psiflow_cli.messages import MDJob
    from psiflow_cli.samplers.torchsim.integrators.integrator import Integrator


def integrator_for(job: MDJob) -> Integrator:
    """The integrator of a job."""
    moves_cell = job["ensemble"] in MOVES_CELL
    if job["ensemble"] == "nve":
        return verlet.VelocityVerlet(job)
    if job["thermostat"] == "nose-hoover":
        return nose_hoover.ChainedCell(job) if moves_cell else nose_hoover.FixedCell(job)
    if job["thermostat"] == "csvr":
        return verlet.VelocityRescaling(job)
    return barostats.LangevinCell(job) if moves_cell else verlet.Langevin(job)
