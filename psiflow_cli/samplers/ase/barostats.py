"""Langevin dynamics with a moving cell: ASE's LangevinBAOAB (Quigley and Probert, J. Chem. Phys. 120, 11432 (2004)).

What ASE lacks or has otherwise, and these classes put right:

- its step keeps the force on the cell for the next one, with momenta that are gone by then; here a step is a palindrome
  of exact parts, without memory, and the cell feels the momenta in the middle of a step, whose distribution is
  canonical for harmonic forces (those between two steps are too cold; see `integrators.half_kick`);
- a flexible cell of the paper damps the momenta by p_g + Tr(p_g) / Nf times the identity matrix; ASE 3.29 adds that
  number to every element of p_g, so that a growing cell shears the momenta;
- the cell's momentum p_g is symmetric, so the cell cannot rotate, and of six degrees of freedom;
- with its trace left out, a cell that moves its shape at constant volume: the (N, V, sigma_a = 0, T) ensemble of Rogge
  et al., J. Chem. Theory Comput. 11, 5583 (2015).

All 3N degrees of freedom are canonical, and p(V) of an ideal gas is V^N exp(-PV/kT): its mean is (N + 1) kT / P.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from psiflow_cli.worker.md import limits, velocities

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

    from psiflow_cli.messages import MDJob, Vectors

    Variables = dict[str, float | list[float] | list[list[float]]]
    """An integrator's own, beside positions and momenta, as builtins."""

AseClass: Any = object
"""In its place ASE's own stands where an integrator is made, behind these classes in the order of methods."""


def make(
    atoms: Atoms, job: MDJob, temperature: float, dof: int, rng: np.random.Generator, more: Variables
) -> Isotropic:
    """The integrator of a job in `npt` or `nvst`, with the variables that `variables` gave before."""
    import numpy as np
    from ase import units
    from ase.md.langevinbaoab import LangevinBAOAB

    kind = Shape if job["ensemble"] == "nvst" else Flexible if job["cell"] == "flexible" else Isotropic
    md: Isotropic = type(kind.__name__, (kind, LangevinBAOAB), {})(
        atoms,
        job["timestep"] * units.fs,
        temperature_K=temperature,
        externalstress=-job["pressure"] * units.bar,
        hydrostatic=kind is Isotropic,  # what its noise is of
        T_tau=1000.0 * units.fs / job["friction"],
        P_tau=job["barostat_time"] * units.fs,
        P_mass=cell_mass(job, temperature, dof),
        rng=rng,
    )
    md.p_eps = more.get("p_eps", 0.0) if kind is Isotropic else np.array(more.get("p_eps", np.zeros((3, 3))))
    if isinstance(md, Shape):
        md.volume = more.get("volume", atoms.get_volume())
    return md


def variables(md: Isotropic) -> Variables:
    """The cell's momentum, as builtins, and the volume that stays."""
    momentum: Variables = {"p_eps": md.p_eps.tolist() if hasattr(md.p_eps, "tolist") else md.p_eps}
    return {**momentum, "volume": md.volume} if isinstance(md, Shape) else momentum


def cell_mass(job: MDJob, temperature: float, dof: int) -> float:
    """Of the cell, in eV·(ASE's time)², as Martyna, Tobias and Klein choose it, J. Chem. Phys. 101, 4177 (1994)."""
    from ase import units

    whole = (dof + 3) * velocities.KB * temperature * (job["barostat_time"] * units.fs) ** 2
    return float(whole) if job["ensemble"] == "npt" and job["cell"] == "isotropic" else float(whole) / 3.0


class Isotropic(AseClass):  # type: ignore[misc]
    """A cell that keeps its shape; `p_eps` and the force on it are numbers, in eV·(ASE's time) and eV."""

    p_eps: Any
    first_cell: Vectors | None = None
    """Where the walker's began (Å): see `limits.CELL`."""

    def step(self) -> None:
        """Forces, cell and momenta, positions, noise, and the same backwards."""
        self._BAOAB_B()
        self._push()
        self._move()
        self._drag()
        self._noise()
        self._barostat_BAOAB_OU()
        self._drag()
        self._move(back=True)
        self._update_accel()
        self._push()
        self._BAOAB_B()

    def _update_accel(self) -> None:
        """Have the model's results; the stress first, as a model may leave it out where only forces are asked for."""
        limits.check_cell(self.first_cell, self.atoms.cell.array)
        self.stress = self.atoms.get_stress(voigt=False)
        super()._update_accel()

    def _update_force_eps(self) -> None:
        """The force on the cell: V (internal less external pressure), and what belongs to its part in the drag."""
        import numpy as np

        kinetic = self._kinetic()
        volume = abs(np.linalg.det(self.atoms.cell.array))
        whole = kinetic + volume * (self.externalstress * np.identity(3) - self.stress)
        self.force_eps = self._part(whole + np.trace(kinetic) / self.Ndof * np.identity(3))

    def _kinetic(self) -> np.ndarray:
        """Twice the kinetic energy, as a tensor (eV, shape (3, 3))."""
        momenta = self.atoms.arrays["momenta"]
        return cast("np.ndarray", (momenta / self.masses).T @ momenta)

    def _part(self, matrix: np.ndarray) -> float | np.ndarray:
        """What of the force on the cell moves it."""
        return float(matrix.trace())

    def _push(self) -> None:
        """Half a step of the cell's momentum."""
        self._update_force_eps()
        self.p_eps = self.p_eps + 0.5 * self.dt * self.force_eps

    def _move(self, back: bool = False) -> None:
        """Half a step of the positions, after (or before) that of the cell."""
        if back:
            self._BAOAB_A()
        self._strain(0.5 * self.dt * self.p_eps / self.barostat_mass)
        if not back:
            self._BAOAB_A()

    def _strain(self, strain: float | np.ndarray) -> None:
        import numpy as np

        atoms, factor = self.atoms, np.exp(strain)
        atoms.positions *= factor
        atoms.cell.array[:] *= factor

    def _noise(self) -> None:
        """The Ornstein-Uhlenbeck part of the momenta, without the cell's drag."""
        momenta = self.atoms.arrays["momenta"]
        momenta *= math.exp(-self.gamma * self.dt)
        momenta += self.BAOAB_prefactor * self.rng.normal(size=momenta.shape) * self.masses**0.5

    def _drag(self) -> None:
        """Half a step of what the moving cell does to the momenta."""
        import numpy as np

        rate = (1.0 + 3.0 / self.Ndof) * self.p_eps / self.barostat_mass
        self.atoms.arrays["momenta"] *= np.exp(-0.5 * self.dt * rate)


class Flexible(Isotropic):
    """A cell that moves as a whole; `p_eps` and the force on it are symmetric matrices of shape (3, 3)."""

    def _part(self, matrix: np.ndarray) -> np.ndarray:
        return matrix

    def _drag(self) -> None:
        import numpy as np

        rate = (self.p_eps + np.trace(self.p_eps) / self.Ndof * np.identity(3)) / self.barostat_mass
        momenta = self.atoms.arrays["momenta"]
        momenta[:] = momenta @ exponential(-0.5 * self.dt * rate)

    def _strain(self, strain: float | np.ndarray) -> None:
        atoms, deformation = self.atoms, exponential(strain)
        atoms.positions[:] = atoms.positions @ deformation
        atoms.cell.array[:] = atoms.cell.array @ deformation


class Shape(Flexible):
    """A cell that moves its shape alone; the trace of `p_eps` is zero."""

    volume: float  # Å³

    def _part(self, matrix: np.ndarray) -> np.ndarray:
        return without_trace(matrix)

    def _barostat_BAOAB_OU(self) -> None:
        super()._barostat_BAOAB_OU()
        self.p_eps = without_trace(self.p_eps)

    def _strain(self, strain: float | np.ndarray) -> None:
        super()._strain(strain)
        self.atoms.cell.array[:] = with_volume(self.atoms.cell.array, self.volume)


def without_trace(matrix: np.ndarray) -> np.ndarray:
    """The matrix (3, 3) less a third of its trace on the diagonal."""
    import numpy as np

    return cast("np.ndarray", matrix - np.trace(matrix) / 3.0 * np.identity(3))


def with_volume(cell: np.ndarray, volume: float) -> np.ndarray:
    """The cell (3, 3) scaled by what rounding has taken from its volume (Å³)."""
    import numpy as np

    return cast("np.ndarray", cell * (volume / abs(np.linalg.det(cell))) ** (1.0 / 3.0))


def exponential(symmetric: float | np.ndarray) -> np.ndarray:
    """The exponential of a symmetric matrix (3, 3)."""
    import numpy as np

    values, vectors = np.linalg.eigh(symmetric)
    return cast("np.ndarray", (vectors * np.exp(values)) @ vectors.T)
