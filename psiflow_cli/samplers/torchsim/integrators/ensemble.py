"""The integrator of a job's ensemble and thermostat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.samplers.torchsim.integrators import verlet

if TYPE_CHECKING:
    from psiflow_cli.messages import MDJob
    from psiflow_cli.samplers.torchsim.integrators.integrator import Integrator


def integrator(job: MDJob) -> Integrator:
    """What moves the walkers of a job."""
    if job["ensemble"] == "nve":
        return verlet.VelocityVerlet(job)
    return verlet.Langevin(job) if job["thermostat"] == "langevin" else verlet.VelocityRescaling(job)
