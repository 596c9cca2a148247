"""i-PI's barostats, with what its flexible one leaves out."""

from __future__ import annotations

from typing import Any

Wire = dict[str, Any]


def make(job: Wire, femtosecond: float) -> Any:
    """The barostat of the job's ensemble, or None; `femtosecond` is one in the caller's units of time.

    npt: Bussi, Zykova-Timan and Parrinello, J. Chem. Phys. 130, 074101 (2009), or, for a flexible cell, Martyna, Tobias
    and Klein, J. Chem. Phys. 101, 4177 (1994). nvst: the latter with a traceless momentum of the cell (Rogge et al., J.
    Chem. Theory Comput. 11, 5583 (2015)). A Langevin thermostat with the time of the barostat acts on the cell.
    """
    from ipi.engine.barostats import BaroBZP, BaroMTK
    from ipi.engine.thermostats import ThermoLangevin

    if job["ensemble"] not in ("npt", "nvst"):
        return None
    time = job["barostat_time"] * femtosecond
    if job["ensemble"] == "npt" and job["cell"] == "isotropic":
        return BaroBZP(tau=time, thermostat=ThermoLangevin(tau=time))

    class Flexible(BaroMTK):  # type: ignore[misc]
        """With the off-diagonal part of the kinetic stress, which i-PI 3.3.1 leaves out.

        Without it nothing is conserved that the equations of motion are to conserve: the drift of i-PI's own conserved
        quantity does not become smaller with the timestep.
        """

        def kstress_mts(self, level: int) -> Any:
            import numpy as np

            momenta = np.array(self.beads.pc).reshape(-1, 3)
            kinetic = momenta.T @ (momenta / np.array(self.beads.m)[:, None]) * self.beads.nbeads
            np.fill_diagonal(kinetic, 0.0)
            return super().kstress_mts(level) + kinetic

    return Flexible(tau=time, thermostat=ThermoLangevin(tau=time), vol_constraint=job["ensemble"] == "nvst")


def momenta(barostat: Any) -> Any:
    """The momenta of the cell that are free to move, as i-PI's array: one, or the six of a flexible cell."""
    return barostat.p6 if hasattr(barostat, "p6") else barostat.p


def draw(barostat: Any, temperature: float, rng: Any) -> Any:
    """Such momenta from their canonical distribution at i-PI's (higher) temperature."""
    import numpy as np

    shape = np.array(momenta(barostat)).shape
    return rng.standard_normal(shape) * float(barostat.m[0] * temperature) ** 0.5
