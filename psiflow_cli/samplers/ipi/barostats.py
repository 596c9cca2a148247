"""i-PI's barostats, with what its flexible one (of 3.3.1) lacks.

- The off-diagonal part of the kinetic stress. Without it nothing is conserved that the equations of motion are to
  conserve: the drift of i-PI's own conserved quantity does not become smaller with the timestep.
- A measure of the cells that knows no axes. The upper triangular matrices U by which a cell is stretched are equally
  likely in i-PI's, which presses the second and third axis less (by kT / V and 2 kT / V) than the first. Here a cell
  h has the weight det(h)^(N-2) dh of Martyna, Tobias and Klein: dh = U11² U22 dU dO for a rotation O, and the density
  det(U)^-2 U11² U22 adds (0, -1, -2) kT to what drives the diagonal of U.
- At constant volume, a thermostat that leaves the volume alone where it acts in the middle of a step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from psiflow_cli.worker.md.validation import MOVES_CELL

if TYPE_CHECKING:
    import numpy as np
    from ipi.engine.barostats import Barostat
    from ipi.utils.depend import depend_array

    from psiflow_cli.messages import MDJob


def make(job: MDJob, femtosecond: float) -> Barostat | None:
    """The barostat of the job's ensemble, or None; `femtosecond` is one in the caller's units of time.

    npt: Bussi, Zykova-Timan and Parrinello, J. Chem. Phys. 130, 074101 (2009), or, for a flexible cell, Martyna, Tobias
    and Klein, J. Chem. Phys. 101, 4177 (1994). nvst: the latter with a traceless momentum of the cell (Rogge et al., J.
    Chem. Theory Comput. 11, 5583 (2015)). A Langevin thermostat with the time of the barostat acts on the cell.
    """
    import numpy as np
    from ipi.engine.barostats import BaroBZP, BaroMTK
    from ipi.engine.thermostats import ThermoLangevin

    if job["ensemble"] not in MOVES_CELL:
        return None
    time = job["barostat_time"] * femtosecond
    if job["ensemble"] == "npt" and job["cell"] == "isotropic":
        return BaroBZP(tau=time, thermostat=ThermoLangevin(tau=time))

    class Flexible(BaroMTK):  # type: ignore[misc]
        def kstress_mts(self, level: int) -> depend_array:
            momenta = np.array(self.beads.pc).reshape(-1, 3)
            kinetic = momenta.T @ (momenta / np.array(self.beads.m)[:, None]) * self.beads.nbeads
            np.fill_diagonal(kinetic, 0.0)
            return super().kstress_mts(level) + kinetic

    barostat = Flexible(tau=time, thermostat=ThermoLangevin(tau=time), vol_constraint=job["ensemble"] == "nvst")
    barostat.L = np.diag([3.0, 1.0, -1.0])
    return barostat


def momenta(barostat: Barostat) -> depend_array:
    """The momenta of the cell that are free to move, as i-PI's array: one, or the six of a flexible cell."""
    return barostat.p6 if hasattr(barostat, "p6") else barostat.p


def keep_volume(barostat: Barostat | None) -> None:
    """After the thermostat of the cell: take out what would change a volume that is to stay."""
    if getattr(barostat, "vol_constraint", False):
        free = momenta(barostat)
        free[:3] -= sum(free[:3]) / 3.0


def draw(barostat: Barostat, temperature: float, rng: np.random.Generator) -> np.ndarray:
    """Such momenta from their canonical distribution at i-PI's (higher) temperature."""
    import numpy as np

    shape = np.array(momenta(barostat)).shape
    return cast("np.ndarray", rng.standard_normal(shape) * float(barostat.m[0] * temperature) ** 0.5)
