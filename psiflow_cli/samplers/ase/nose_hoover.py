"""Nose-Hoover chains, and the moving cell of Martyna, Tobias and Klein, as ASE has them, on 3N - 3 degrees of freedom.

What ASE has otherwise, and is put right here:

- chains conserve a total momentum of zero, so it has no part in the temperature: N - 1 stands for N in ASE's equations
  (of a walker with atoms that do not move: the number of those that do). The mean pressure is still P; p(V) of an ideal
  gas is V^(N - 1) exp(-PV/kT);
- ASE 3.29 lets forces act on the momenta of atoms that do not move, and heats them with the others: they get none here;
- it counts nine degrees of freedom of a flexible cell, whose momentum is symmetric and so has six: its chain would keep
  them at 1.5 T;
- with the trace of its momentum left out, a cell that moves its shape at constant volume; see `barostats`.

Masses follow from the times as in Martyna, Tobias and Klein, J. Chem. Phys. 101, 4177 (1994). The chains' positions act
on nothing, and are not kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from psiflow_cli.samplers.ase.barostats import AseClass, cell_mass, with_volume, without_trace
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.md import limits
from psiflow_cli.worker.md.velocities import KB

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

    from psiflow_cli.messages import MDJob, Vectors
    from psiflow_cli.samplers.ase.barostats import Variables

CHAIN = "_thermostat._p_eta"  # where ASE has the momenta of a thermostat's chain


def make(atoms: Atoms, job: MDJob, temperature: float, dof: int, more: Variables) -> FixedCell | MovingCell:
    """The integrator of a job, with the variables that `variables` gave before."""
    import numpy as np
    from ase import units
    from ase.md import nose_hoover_chain

    length = job["chain_length"]
    timestep, time = job["timestep"] * units.fs, job["thermostat_time"] * units.fs
    md: FixedCell | MovingCell
    if job["ensemble"] == "nvt":
        fixed = type("FixedCell", (FixedCell, nose_hoover_chain.NoseHooverChainNVT), {})
        md = fixed(atoms, timestep, temperature, time, tchain=length)
    else:
        isotropic = job["ensemble"] == "npt" and job["cell"] == "isotropic"
        kind = Isotropic if isotropic else Flexible if job["ensemble"] == "npt" else Shape
        base = nose_hoover_chain.IsotropicMTKNPT if isotropic else nose_hoover_chain.MTKNPT
        pressure, slow = job["pressure"] * units.bar, job["barostat_time"] * units.fs
        moving = type(kind.__name__, (kind, base), {})
        md = moving(atoms, timestep, temperature, pressure, time, slow, tchain=length, pchain=length)
    if isinstance(md, Shape):
        md.volume = atoms.get_volume()
    set_temperature(md, job, temperature, dof)
    for path in md.variables if more else ():
        value = more[path]
        setattr(*_owner(md, path), np.array(value) if isinstance(value, list) else value)
    return md


def variables(md: FixedCell | MovingCell) -> Variables:
    """The variables of the chains and of the cell, as builtins."""
    values = {path: getattr(*_owner(md, path)) for path in md.variables}
    return {path: value.tolist() if hasattr(value, "tolist") else value for path, value in values.items()}


def set_temperature(md: FixedCell | MovingCell, job: MDJob, temperature: float, dof: int) -> None:
    """Set all that depends on the temperature (K) and on the degrees of freedom."""
    from ase import units

    kt = KB * temperature
    thermostat, time = md._thermostat, job["thermostat_time"] * units.fs
    _set(thermostat, _num_atoms_global=dof / 3, _kT=kt)
    thermostat._Q[:] = kt * time**2
    thermostat._Q[0] *= dof
    if isinstance(md, FixedCell):
        return
    barostat, slow = md._barostat, job["barostat_time"] * units.fs
    _set(md, _num_atoms_global=dof / 3, _kT=kt)
    _set(barostat, _num_atoms_global=dof / 3, _kT=kt, _W=cell_mass(job, temperature, dof))
    if md.cell_dof > 1:
        _set(barostat, _cell_dof=md.cell_dof)
    barostat._R[:] = kt * slow**2
    barostat._R[0] *= md.cell_dof


class FixedCell(AseClass):  # type: ignore[misc]
    """A cell that stands still."""

    variables: tuple[str, ...] = (CHAIN,)
    """Paths of the attributes that a checkpoint needs beside positions, momenta and cell."""

    def _get_forces(self) -> np.ndarray:
        self._update_atoms()
        return cast("np.ndarray", self.atoms.get_forces())


class MovingCell(AseClass):  # type: ignore[misc]
    """A cell that moves somehow."""

    variables: tuple[str, ...]
    cell_dof: int  # degrees of freedom of its momentum
    _evaluated: np.ndarray | None = None
    """The positions that the model's results are of; ASE makes a new array of them where they move."""

    first_cell: Vectors | None = None
    """Where the walker's began (Å): see `limits.CELL`."""
    _forces: np.ndarray

    def _evaluate(self) -> None:
        """Have the model's results, once a step; the stress first, as a model may leave it out of the forces' call."""
        if self._evaluated is not self._q:
            self._update_atoms()
            limits.check_cell(self.first_cell, self.atoms.cell.array)
            self._stress = self.atoms.get_stress(voigt=False)
            self._forces = self.atoms.get_forces()
            self._evaluated = self._q

    def _get_forces(self) -> np.ndarray:
        self._evaluate()
        return self._forces

    def _get_stress(self) -> np.ndarray:
        """The internal pressure, as a tensor (eV/Å³)."""
        self._evaluate()
        return cast("np.ndarray", (self._p / self.masses).T @ self._p / self._get_volume() - self._stress)


class Isotropic(MovingCell):
    """A cell that keeps its shape: a multiple of the first one."""

    variables = (CHAIN, "_barostat._p_xi", "_p_eps", "_eps", "_cell0", "_volume0")
    cell_dof = 1

    def _get_pressure(self) -> float:
        return cast("float", self._get_stress().trace() / 3.0)


class Flexible(MovingCell):
    """A cell that moves as a whole."""

    variables: tuple[str, ...] = (CHAIN, "_barostat._p_xi", "_p_g")
    cell_dof = 6


class Shape(Flexible):
    """A cell that moves its shape alone."""

    variables = (CHAIN, "_barostat._p_xi", "_p_g", "volume")
    cell_dof = 5
    volume: float  # Å³
    _p_g: np.ndarray
    _h: np.ndarray

    def _integrate_p_cell(self, delta: float) -> None:
        super()._integrate_p_cell(delta)
        self._p_g = without_trace(self._p_g)

    def _integrate_q_cell(self, delta: float) -> None:
        super()._integrate_q_cell(delta)
        self._h = with_volume(self._h, self.volume)


def _owner(md: FixedCell | MovingCell, path: str) -> tuple[object, str]:
    """The object that has an attribute of this path, and the attribute's name."""
    *parts, name = path.split(".")
    owner: object = md
    for part in parts:
        owner = getattr(owner, part)
    return owner, name


def _set(owner: object, **values: float) -> None:
    """Set attributes of ASE's own, which must be there: under another name they would change nothing."""
    for name, value in values.items():
        if not hasattr(owner, name):
            problem = f"the ASE of this environment has no {type(owner).__name__}.{name}"
            raise Fatal(problem, "choose --thermostat langevin, or install ase 3.29")
        setattr(owner, name, value)
