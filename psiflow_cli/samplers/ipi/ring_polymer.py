"""The ring polymers of one walker as i-PI's own objects, which a step moves and a checkpoint holds exactly.

i-PI's integrators know two constants, kB and ħ, and both are 1 there. With eV and Å as the other units, positions,
cells, energies and forces pass unchanged; times are divided by ħ (in ASE's units), masses by ħ², momenta by ħ.

The steps are BAOAB with the Cayley propagator of the free rings (Korol, Rosa-Raíces, Bou-Rabee and Miller, J. Chem.
Phys. 152, 104102 (2020)): for a stretch of O-H at 300 K, 32 beads and 0.5 fs it leaves an error of 0.4 % in the
potential energy, where i-PI's usual OBABO leaves 4 %. What is canonical are positions after a step, and momenta in its
middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli.samplers.ipi import barostats
from psiflow_cli.worker.md import velocities
from psiflow_cli.worker.structures.units import BAR

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from ipi.engine.barostats import Barostat
    from ipi.engine.cell import Cell
    from ipi.engine.motion.dynamics import Dynamics
    from ipi.engine.thermostats import Thermostat
    from typing_extensions import NotRequired

    from psiflow_cli.messages import MDJob, Vectors
    from psiflow_cli.samplers.ipi.bias import CentroidBias
    from psiflow_cli.samplers.ipi.force_field import ModelForceField


class Variables(TypedDict):
    """All that decides the next step but the noise, in i-PI's units.

    The modes of the positions and the beads' momenta are what the last step has set; the others follow from them.
    """

    modes: Vectors
    momenta: Vectors
    cell: NotRequired[Vectors]
    cell_momenta: NotRequired[list[float] | Vectors]


class RingPolymers:
    """One walker's ring polymers; `field.predicted` is what the model predicts for the beads where they are."""

    def __init__(
        self, job: MDJob, field: ModelForceField, temperature: float, rng: np.random.Generator,
        fixed: Sequence[int], bias: CentroidBias | None = None,
    ) -> None:  # fmt: skip
        from ase import units
        from ipi.engine.beads import Beads
        from ipi.engine.normalmodes import NormalModes
        from ipi.utils.messages import verbosity

        verbosity.level = "quiet"  # it prints what it does on stdout
        atoms, self.field, self.rng, self.fixed = field.atoms, field, rng, fixed
        self.hbar = float(units._hbar * units.J * units.second)  # in Å·sqrt(u·eV)
        self.count, self.target, self.kT = job["beads"], temperature, velocities.KB * temperature
        moving = len(atoms) - len(fixed)
        self.rests = velocities.conserves_momentum(job) and moving > 1 and not fixed
        self.freedom = velocities.degrees_of_freedom(moving, self.rests)
        self.inner = 3 * moving * (self.count - 1)  # degrees of freedom beside those of the centroids
        femtosecond = units.fs / self.hbar
        self.beads = Beads(len(atoms), self.count)
        self.beads.m[:] = atoms.get_masses() / self.hbar**2
        self.cell = _cell(atoms)
        self.modes = NormalModes(transform_method="matrix", propagator="cayley")
        self.barostat = barostats.make(job, femtosecond)
        self.motion = _dynamics(job, femtosecond, self.barostat, self.rests, fixed)
        self._bind(job["pressure"] * BAR if job["ensemble"] == "npt" else 0.0, bias)
        self._watch_kinetic_energy()

    def _bind(self, pressure: float, bias: CentroidBias | None) -> None:
        """Make i-PI's objects know each other; `pressure` in eV/Å³."""
        import numpy as np
        from ipi.engine.ensembles import Ensemble
        from ipi.engine.forces import ForceComponent, Forces
        from ipi.utils.prng import Random

        prng = Random(0)
        prng.rng = [self.rng]
        biases = [] if bias is None else [ForceComponent(bias.name, nbeads=1, mts_weights=np.ones(1))]
        ensemble = Ensemble(temp=self.kT, pext=pressure, bcomponents=biases)
        fields = {field.name: field for field in (self.field, bias) if field is not None}
        model = ForceComponent(self.field.name, mts_weights=np.ones(1))
        self.forces = Forces()
        self.forces.bind(self.beads, self.cell, [model], fields, [], None)
        self.field.bind(self.forces.mforces[0])
        self.modes.bind(ensemble, self.motion, beads=self.beads, forces=self.forces)
        ensemble.bind(self.beads, self.modes, self.cell, self.forces, fields, None)
        self.motion.bind(ensemble, self.beads, self.modes, self.cell, self.forces, prng, None)

    def _watch_kinetic_energy(self) -> None:
        """Keep the kinetic energy of each step where it is canonical, behind the thermostat in its middle."""
        integrator = self.motion.integrator
        self.kinetic = 0.0  # of all beads' momenta, in eV: `count` times the classical one
        if not hasattr(integrator, "tstep"):
            return
        thermostat_step = integrator.tstep

        def tstep() -> None:
            thermostat_step()
            integrator.pconstraints()
            barostats.keep_volume(self.barostat)
            self.kinetic = float(self.modes.kin)

        integrator.tstep = tstep

    def begin(self, momenta_of_centroids: np.ndarray) -> None:
        """All beads where the start is; the other momenta are drawn from the canonical distribution."""
        import numpy as np

        positions, masses = self.field.atoms.positions, self.field.atoms.get_masses()
        self.beads.q[:] = np.tile(positions.ravel(), (self.count, 1))
        first = momenta_of_centroids / self.hbar
        momenta = self.rng.standard_normal((self.count, *first.shape)) * (masses[:, None] * self.kT) ** 0.5 / self.hbar
        momenta[:, list(self.fixed)] = 0.0
        momenta[0] = first
        self.modes.pnm[:] = momenta.reshape(self.count, -1) * self.count**0.5
        if self.barostat:
            barostats.momenta(self.barostat)[:] = barostats.draw(self.barostat, self.kT * self.count, self.rng)
        self.kinetic = float(self.modes.kin)

    def variables(self) -> Variables:
        """What a checkpoint needs to go on."""
        import numpy as np

        values: Variables = {"modes": np.array(self.modes.qnm).tolist(), "momenta": np.array(self.beads.p).tolist()}
        if self.barostat:
            values["cell"] = np.array(self.cell.h).tolist()
            values["cell_momenta"] = np.array(barostats.momenta(self.barostat)).tolist()
        return values

    def restore(self, values: Variables) -> None:
        """Go on from where `variables` was called."""
        if self.barostat:
            self.cell.h[:] = values["cell"]
            barostats.momenta(self.barostat)[:] = values["cell_momenta"]
        self.modes.qnm[:] = values["modes"]
        self.beads.p[:] = values["momenta"]

    def centroids(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions (Å) and momenta (Å·sqrt(u·eV)) of the centroids, each of shape (N, 3)."""
        import numpy as np

        positions, momenta = (np.array(each).reshape(-1, 3) for each in (self.beads.qc, self.beads.pc))
        return positions, momenta * self.hbar

    def lattice(self) -> Vectors:
        """The cell's three vectors, in Å."""
        import numpy as np

        return list(np.array(self.cell.h).T.tolist())

    def finite(self) -> bool:
        """Whether all positions, momenta and the cell are numbers."""
        import numpy as np

        return all(bool(np.isfinite(np.array(each)).all()) for each in (self.beads.q, self.beads.p, self.cell.h))

    def evaluate(self) -> None:
        """Ask the model about all beads, and the bias about the centroids, as a step does before it moves them."""
        self.forces.f[:]  # i-PI computes what is read
        self.motion.ensemble.bias.f[:]

    def step(self) -> None:
        """One step of all beads."""
        self.motion.step()
        if self.motion.enstype == "nve":
            self.kinetic = float(self.modes.kin)

    @property
    def temperature(self) -> float:
        """In K, of the momenta of all beads."""
        return velocities.temperature(self.kinetic / self.count, self.freedom + self.inner)

    def kinetic_energy(self) -> float:
        """In eV: the centroid-virial estimate of the quantum one; of a single bead its momenta's."""
        import numpy as np

        if self.count == 1:
            return float(self.kinetic)
        positions = np.array([bead.positions for bead in self.field.predicted])
        forces = np.array([bead.forces for bead in self.field.predicted])
        virial = float(((positions - positions.mean(axis=0)) * forces).sum())
        return float(0.5 * self.freedom * self.kT - 0.5 * virial / self.count)


def _dynamics(job: MDJob, femtosecond: float, barostat: Barostat | None, rests: bool, fixed: Sequence[int]) -> Dynamics:
    """What moves the beads; csvr keeps a centre of mass that rests where it is."""
    import numpy as np
    from ipi.engine.motion.dynamics import Dynamics

    return Dynamics(
        job["timestep"] * femtosecond, mode="nve" if job["ensemble"] == "nve" else "npt" if barostat else "nvt",
        splitting="baoab", thermostat=_thermostat(job, femtosecond), barostat=barostat,
        fixcom=rests and job["ensemble"] != "nve",
        fixatoms_dof=np.array([3 * atom + axis for atom in fixed for axis in range(3)], dtype=int),
    )  # fmt: skip


def _thermostat(job: MDJob, femtosecond: float) -> Thermostat | None:
    """PILE (Ceriotti, Parrinello, Markland and Manolopoulos, J. Chem. Phys. 133, 124104 (2010)), or None in nve.

    The centroids feel the job's thermostat; the inner modes are always damped critically.
    """
    from ipi.engine.thermostats import ThermoPILE_G, ThermoPILE_L

    if job["ensemble"] == "nve":
        return None
    if job.get("thermostat", "langevin") == "csvr":
        return ThermoPILE_G(tau=job["thermostat_time"] * femtosecond)
    return ThermoPILE_L(tau=1000.0 / job["friction"] * femtosecond)


def _cell(atoms: Atoms) -> Cell:
    """The cell as it lies in space: i-PI's barostats need no triangular one, but a volume above zero."""
    import numpy as np
    from ipi.engine.cell import GenericCell

    class AnyOrientation(GenericCell):  # type: ignore[misc]
        def get_volume(self) -> float:
            return abs(float(np.linalg.det(np.array(self.h))))

    return AnyOrientation(np.array(atoms.cell.array).T.copy())
