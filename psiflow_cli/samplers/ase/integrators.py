"""The integrators of ASE that move a walker in each ensemble.

NVE is velocity Verlet. NVT is Langevin in the BAOAB splitting (Leimkuhler and Matthews, J. Chem. Phys. 138, 174102
(2013)), whose positions are exact for harmonic forces at any stable timestep.
"""

from __future__ import annotations

from typing import Any

from psiflow_cli.worker.guard import Fatal

Wire = dict[str, Any]


def make(atoms: Any, job: Wire, temperature: float, rng: Any, more: Wire) -> Any:
    """The integrator of the job's ensemble, at a temperature (K), with the variables that `keep` gave before."""
    from ase import units

    timestep = job["timestep"] * units.fs
    if job["ensemble"] == "nve":
        from ase.md.verlet import VelocityVerlet

        return VelocityVerlet(atoms, timestep)
    try:
        from ase.md.langevinbaoab import LangevinBAOAB
    except ImportError:
        raise Fatal("the ASE of this environment has no BAOAB integrator", "install ase 3.27 or later") from None
    # `hydrostatic` without a stress changes nothing but spares a matrix exponential in every step.
    return LangevinBAOAB(  # type: ignore[no-untyped-call]
        atoms,
        timestep,
        temperature_K=temperature,
        T_tau=1000.0 * units.fs / job["friction"],
        hydrostatic=True,
        rng=rng,
    )


def keep(md: Any, job: Wire) -> Wire:
    """The integrator's own variables, which a checkpoint needs beside positions and momenta, as builtins."""
    return {}


def warm(md: Any, job: Wire, temperature: float) -> None:
    """Give the thermostat another temperature (K)."""
    if job["ensemble"] != "nve":
        md.set_temperature(temperature)


def half_kick(job: Wire) -> float:
    """By how much of the timestep (fs) the momenta after a step are to be kicked before the temperature is taken.

    Those of BAOAB between two steps are too cold by a fraction (timestep * frequency)² / 4; after the next half kick,
    p + F timestep / 2, they are canonical for harmonic forces: their variance gains (k timestep / 2)² kT / k.
    """
    return 0.5 * float(job["timestep"]) if job["ensemble"] == "nvt" else 0.0
