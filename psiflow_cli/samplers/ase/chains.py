"""Nose-Hoover chains, and the moving cell of Martyna, Tobias and Klein, as ASE has them, on 3N - 3 degrees of freedom.

What ASE has otherwise, and is put right here:

- chains conserve a total momentum of zero, so it has no part in the temperature: N - 1 stands for N in ASE's equations
  (of a walker with atoms that do not move: the number of those that do). The mean pressure is still P; p(V) of an ideal
  gas is V^(N - 1) exp(-PV/kT);
- ASE 3.29 lets forces act on the momenta of atoms that do not move, and heats them with the others: they get none here;
- it counts nine degrees of freedom of a flexible cell, whose momentum is symmetric and so has six: its chain would keep
  them at 1.5 T;
- with the trace of its momentum left out, a cell that moves its shape at constant volume; see `cells`.

Masses follow from the times as in Martyna, Tobias and Klein, J. Chem. Phys. 101, 4177 (1994). The chains' positions act
upon nothing, and are not kept.
"""

from __future__ import annotations

from typing import Any

from psiflow_cli.samplers.ase.cells import mass, with_volume, without_trace
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.md.velocities import KB

Wire = dict[str, Any]

Base: Any = object
"""ASE's class, which comes behind these in the order of methods."""
CHAIN = "_thermostat._p_eta"
"""Where ASE has the momenta of a thermostat's chain."""


def make(atoms: Any, job: Wire, temperature: float, dof: int, more: Wire) -> Any:
    """The integrator of a job, with the variables that `keep` gave before."""
    import numpy as np
    from ase import units
    from ase.md import nose_hoover_chain as chain

    length = job["chain_length"]
    timestep, time = job["timestep"] * units.fs, job["thermostat_time"] * units.fs
    if job["ensemble"] == "nvt":
        md: Any = _type(Still, chain.NoseHooverChainNVT)(atoms, timestep, temperature, time, tchain=length)
    else:
        isotropic = job["ensemble"] == "npt" and job["cell"] == "isotropic"
        kind = Isotropic if isotropic else Flexible if job["ensemble"] == "npt" else Shape
        base = chain.IsotropicMTKNPT if isotropic else chain.MTKNPT
        pressure, slow = job["pressure"] * units.bar, job["barostat_time"] * units.fs
        md = _type(kind, base)(atoms, timestep, temperature, pressure, time, slow, tchain=length, pchain=length)
    if isinstance(md, Shape):
        md.volume = atoms.get_volume()
    heat(md, job, temperature, dof)
    for path in md.kept if more else ():
        setattr(*_find(md, path), np.array(more[path]) if isinstance(more[path], list) else more[path])
    return md


def keep(md: Any) -> Wire:
    """The variables of the chains and of the cell, as builtins."""
    values = {path: getattr(*_find(md, path)) for path in md.kept}
    return {path: value.tolist() if hasattr(value, "tolist") else value for path, value in values.items()}


def scaled(more: Wire, factor: float) -> Wire:
    """The variables, where all momenta are scaled by a factor because the temperature is by its square.

    The chain's masses grow with the temperature, so p_eta² / (2 Q kT) stays what it is.
    """
    found = {CHAIN} & set(more)
    return {**more, **{path: [p * factor**2 for p in more[path]] for path in found}}


def heat(md: Any, job: Wire, temperature: float, dof: int) -> None:
    """Set all that depends on the temperature (K) and on the degrees of freedom."""
    from ase import units

    kt = KB * temperature
    thermostat, time = md._thermostat, job["thermostat_time"] * units.fs
    _put(thermostat, _num_atoms_global=dof / 3, _kT=kt)
    thermostat._Q[:] = kt * time**2
    thermostat._Q[0] *= dof
    if job["ensemble"] == "nvt":
        return
    barostat, slow = md._barostat, job["barostat_time"] * units.fs
    _put(md, _num_atoms_global=dof / 3, _kT=kt)
    _put(barostat, _num_atoms_global=dof / 3, _kT=kt, _W=mass(job, temperature, dof))
    if md.cell_dof > 1:
        _put(barostat, _cell_dof=md.cell_dof)
    barostat._R[:] = kt * slow**2
    barostat._R[0] *= md.cell_dof


class Still(Base):  # type: ignore[misc]
    """A cell that stands still."""

    kept = (CHAIN,)
    """Paths of the attributes that a checkpoint needs beside positions, momenta and cell."""

    def _get_forces(self) -> Any:
        self._update_atoms()
        return self.atoms.get_forces()


class Isotropic(Base):  # type: ignore[misc]
    """A cell that keeps its shape: a multiple of the first one."""

    kept: tuple[str, ...] = (CHAIN, "_barostat._p_xi", "_p_eps", "_eps", "_cell0", "_volume0")
    cell_dof = 1
    """Degrees of freedom of its momentum."""
    _seen: Any = None
    """The positions that the model's results are of; ASE makes a new array of them where they move."""

    def _evaluate(self) -> None:
        """Have the model's results, once a step; the stress first, as a model may leave it out of the forces' call."""
        if self._seen is not self._q:
            self._update_atoms()
            self._stress = self.atoms.get_stress(voigt=False)
            self._forces = self.atoms.get_forces()
            self._seen = self._q

    def _get_forces(self) -> Any:
        self._evaluate()
        return self._forces

    def _get_stress(self) -> Any:
        """The internal pressure, as a tensor (eV/Å³)."""
        self._evaluate()
        return (self._p / self.masses).T @ self._p / self._get_volume() - self._stress

    def _get_pressure(self) -> Any:
        return self._get_stress().trace() / 3.0


class Flexible(Isotropic):
    """A cell that moves as a whole."""

    kept: tuple[str, ...] = (CHAIN, "_barostat._p_xi", "_p_g")
    cell_dof = 6


class Shape(Flexible):
    """A cell that moves its shape alone."""

    kept = (CHAIN, "_barostat._p_xi", "_p_g", "volume")
    cell_dof = 5
    volume: float
    """Å³."""
    _p_g: Any
    _h: Any

    def _integrate_p_cell(self, delta: float) -> None:
        super()._integrate_p_cell(delta)
        self._p_g = without_trace(self._p_g)

    def _integrate_q_cell(self, delta: float) -> None:
        super()._integrate_q_cell(delta)
        self._h = with_volume(self._h, self.volume)


def _type(kind: type, base: type) -> Any:
    return type(kind.__name__, (kind, base), {})


def _find(md: Any, path: str) -> tuple[Any, str]:
    """The object that has an attribute of this path, and the attribute's name."""
    *parts, name = path.split(".")
    for part in parts:
        md = getattr(md, part)
    return md, name


def _put(owner: Any, **values: float) -> None:
    """Set attributes of ASE's own, which must be there: under another name they would change nothing."""
    for name, value in values.items():
        if not hasattr(owner, name):
            raise Fatal(
                f"the ASE of this environment has no {type(owner).__name__}.{name}",
                "choose --thermostat langevin, or install ase 3.29",
            )
        setattr(owner, name, value)
