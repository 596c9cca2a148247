"""The integrators of ASE that move a walker in each ensemble.

NVE is velocity Verlet. NVT is Langevin in the BAOAB splitting (Leimkuhler and Matthews, J. Chem. Phys. 138, 174102
(2013)), whose positions are exact for harmonic forces at any stable timestep, velocity rescaling (Bussi, Donadio and
Parrinello, J. Chem. Phys. 126, 014101 (2007)), or Nose-Hoover chains; see `barostats` and `nose_hoover` for those with
a cell that moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from psiflow_cli.samplers.ase import barostats, nose_hoover
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.md.velocities import KB

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

    from psiflow_cli.messages import MDJob
    from psiflow_cli.samplers.ase.barostats import Variables


MOMENTA = (nose_hoover.CHAIN, "_barostat._p_xi", "_p_eps", "_p_g", "p_eps")
"""Which of an integrator's variables are momenta of chains and cells."""


class Integrator(Protocol):
    """What of ASE's integrators a walker is moved by."""

    def step(self) -> None:
        """Move all atoms by a timestep."""


def make(
    atoms: Atoms, job: MDJob, temperature: float, dof: int, rng: np.random.Generator, more: Variables
) -> Integrator:
    """The integrator of the job's ensemble, at a temperature (K), with the variables that `variables` gave before."""
    from ase import units

    timestep = job["timestep"] * units.fs
    if job["ensemble"] == "nve":
        from ase.md.verlet import VelocityVerlet

        return VelocityVerlet(atoms, timestep)
    try:
        from ase.md import bussi, langevinbaoab
    except ImportError:
        raise Fatal("the ASE of this environment has no BAOAB integrator", "install ase 3.27 or later") from None
    if job["ensemble"] != "nvt":
        _need_stress(atoms, job)
    if job["thermostat"] == "nose-hoover":
        return nose_hoover.make(atoms, job, temperature, dof, more)
    if job["ensemble"] != "nvt":
        return barostats.make(atoms, job, temperature, dof, rng, more)
    if job["thermostat"] == "csvr":
        time = job["thermostat_time"] * units.fs
        md = bussi.Bussi(atoms, timestep, temperature, time, rng=rng)
        md.ndof = dof  # ASE counts the total momentum, which nothing changes here
        set_temperature(md, job, temperature, dof)
        return md
    if job["thermostat"] != "langevin":
        raise ValueError(f"thermostat {job['thermostat']!r}: the engine ase has no such thermostat")
    # `hydrostatic` without a stress changes nothing but spares a matrix exponential in every step.
    return langevinbaoab.LangevinBAOAB(
        atoms, timestep, temperature_K=temperature, T_tau=1000.0 * units.fs / job["friction"], hydrostatic=True, rng=rng
    )


def variables(md: Integrator) -> Variables:
    """The integrator's own variables, which a checkpoint needs beside positions and momenta, as builtins."""
    if isinstance(md, (nose_hoover.FixedCell, nose_hoover.MovingCell)):
        return nose_hoover.variables(md)
    return barostats.variables(md) if isinstance(md, barostats.Isotropic) else {}


def scaled(more: Variables, factor: float) -> Variables:
    """The variables, where the momenta of the atoms are scaled by a factor because the temperature is by its square.

    The masses Q of chains and cells grow with the temperature, so p² / (2 Q kT) stays what it is.
    """
    import numpy as np

    return {name: (np.array(value) * factor**2).tolist() if name in MOMENTA else value for name, value in more.items()}


def set_temperature(md: Any, job: MDJob, temperature: float, dof: int) -> None:
    """Give the thermostat another temperature (K)."""
    if job["ensemble"] == "nve":
        return
    if job["thermostat"] == "nose-hoover":
        nose_hoover.set_temperature(md, job, temperature, dof)
    elif job["thermostat"] == "csvr":
        md.temp = KB * temperature
        md.target_kinetic_energy = 0.5 * dof * md.temp
    else:
        if job["ensemble"] != "nvt":
            md.barostat_mass = barostats.cell_mass(job, temperature, dof)
        md.set_temperature(temperature)


def half_kick(job: MDJob) -> float:
    """The time (fs) by which the forces advance the momenta before the temperature is taken; not zero for BAOAB only.

    Those of BAOAB between two steps are too cold by a fraction (timestep * frequency)² / 4; after the next half kick,
    p + F timestep / 2, they are canonical for harmonic forces: their variance gains (k timestep / 2)² kT / k. The other
    thermostats act on the momenta between two steps.
    """
    langevin = job["ensemble"] != "nve" and job.get("thermostat", "langevin") == "langevin"
    return 0.5 * job["timestep"] if langevin else 0.0


def _need_stress(atoms: Atoms, job: MDJob) -> None:
    """Have the stress computed, with what else there is."""
    from ase.calculators.calculator import PropertyNotImplementedError

    try:
        atoms.get_stress()
    except (PropertyNotImplementedError, NotImplementedError):
        problem = f"this model predicts no stress, which {job['ensemble']} needs to change the cell"
        raise Fatal(problem, "choose --ensemble nvt") from None
