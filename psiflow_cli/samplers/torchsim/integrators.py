"""One step of a batch: velocity Verlet, with the thermostat in its middle (BAOAB) or before it (CSVR)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from psiflow_cli.worker.md import velocities

if TYPE_CHECKING:
    from psiflow_cli.messages import MDJob
    from psiflow_cli.samplers.torchsim.batch import Batch


def make_step(batch: Batch, job: MDJob, step: int) -> None:
    """Move all walkers to this step."""
    from ase import units

    timestep = job["timestep"] * units.fs
    if job["ensemble"] == "nvt" and not _is_langevin(job):
        _rescale(batch, job, step)
    batch.momenta += 0.5 * timestep * batch.predicted.forces * batch.moves
    if _is_langevin(job):
        batch.positions += 0.5 * timestep * batch.momenta / batch.masses
        _add_noise(batch, job, step)
        batch.positions += 0.5 * timestep * batch.momenta / batch.masses
    else:
        batch.positions += timestep * batch.momenta / batch.masses
    batch.evaluate()
    batch.momenta += 0.5 * timestep * batch.predicted.forces * batch.moves
    for walker in batch.walkers:
        walker.step = step


def _is_langevin(job: MDJob) -> bool:
    return job["ensemble"] == "nvt" and job["thermostat"] == "langevin"


def _add_noise(batch: Batch, job: MDJob, step: int) -> None:
    """The Ornstein-Uhlenbeck part of BAOAB, with the noise of each walker."""
    import numpy as np

    decay = math.exp(-job["friction"] * 1e-3 * job["timestep"])
    spread = math.sqrt(velocities.KB * (1.0 - decay * decay))
    noise = np.empty_like(batch.momenta)
    for walker, part in zip(batch.walkers, batch.parts, strict=True):
        kelvin = walker.target_temperature(step - 1)
        noise[part] = walker.rng.standard_normal(noise[part].shape) * (spread * math.sqrt(kelvin))
    batch.momenta *= decay
    batch.momenta += noise * np.sqrt(batch.masses) * batch.moves


def _rescale(batch: Batch, job: MDJob, step: int) -> None:
    """Canonical velocity rescaling (Bussi, Donadio and Parrinello, J. Chem. Phys. 126, 014101 (2007), eq. A7)."""
    decay = math.exp(-job["timestep"] / job["thermostat_time"])
    for walker, part in zip(batch.walkers, batch.parts, strict=True):
        dof = walker.degrees_of_freedom
        kinetic = velocities.kinetic_energy(batch.momenta[part], batch.masses[part, 0])
        target = 0.5 * dof * velocities.KB * walker.target_temperature(step - 1)
        one = float(walker.rng.standard_normal())
        others = 2.0 * float(walker.rng.standard_gamma(0.5 * (dof - 1)))
        ratio = (1.0 - decay) * target / kinetic / dof
        factor = decay + ratio * (others + one * one) + 2.0 * one * math.sqrt(decay * ratio)
        batch.momenta[part] *= math.sqrt(factor)
