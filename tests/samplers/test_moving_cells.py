"""Moving cells, of ASE and in batches: the distribution of the volume, the mean pressure, shapes at constant volume.

`test_torchsim_cell` holds that both engines move a walker alike; so what takes long is here of the batched one.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("ase.md.langevinbaoab", reason="needs ASE 3.27 or later")

from ase import Atoms, units  # noqa: E402
from ase.build import bulk  # noqa: E402
from ase.calculators.emt import EMT  # noqa: E402
from ase.calculators.lj import LennardJones  # noqa: E402
from ase.filters import FrechetCellFilter  # noqa: E402
from ase.optimize import BFGS  # noqa: E402
from scipy import stats  # noqa: E402

from psiflow_cli.samplers import ase as engine  # noqa: E402
from psiflow_cli.samplers.ase import barostats, integrators  # noqa: E402
from psiflow_cli.worker.failures import Fatal  # noqa: E402
from tests.samplers import ase_systems, batch_systems  # noqa: E402
from tests.samplers.ase_systems import KELVIN, KT, Gas, agrees, error, solid  # noqa: E402

KINDS = [(thermostat, cell) for thermostat in ("langevin", "nose-hoover") for cell in ("isotropic", "flexible")]
PRESSURE = 5000.0 * units.bar
BOTH = [
    pytest.param(batch_systems.seen, id="torchsim"),
    pytest.param(ase_systems.seen, id="ase", marks=pytest.mark.full),
]
seen = ase_systems.seen


def gas(number: int, pressure: float) -> Any:
    """An ideal gas near its mean volume."""
    length = ((number + 1) * KT / (pressure * units.bar)) ** (1 / 3)
    atoms = Atoms(f"He{number}", np.random.default_rng(0).random((number, 3)) * length, cell=[length] * 3, pbc=True)
    atoms.calc = Gas()
    return atoms


@pytest.mark.parametrize("seen", BOTH)
def test_the_volume_of_an_ideal_gas_has_its_exact_distribution(seen: Any) -> None:
    """p(V) is V^N exp(-PV/kT): a gamma distribution, by a Kolmogorov-Smirnov test; all momenta are canonical."""
    number, pressure = 4, 2000.0
    found = seen(gas(number, pressure), 8000, every=8, friction=50.0, barostat_time=20.0, pressure=pressure)
    volume = found.volume * pressure * units.bar / KT
    assert agrees(volume, number + 1)
    assert not agrees(volume, number)  # what one degree of freedom more or less would show as
    assert agrees((volume - volume.mean()) ** 2, number + 1)
    assert stats.kstest(volume[::5], stats.gamma(number + 1).cdf).pvalue > 1e-3
    assert stats.kstest(found.kinetic[::5] / KT, stats.gamma(1.5 * number).cdf).pvalue > 1e-3
    assert np.mean(_squares(found)) / found.cell_mass / KT == pytest.approx(1.0, abs=0.15)


def _squares(found: Any) -> Any:
    """Of the cell's momentum; one that keeps its shape is a number times the identity matrix in a batch."""
    isotropic = found.job["ensemble"] == "npt" and found.job["cell"] == "isotropic"
    squares = (found.cell**2).reshape(len(found.cell), -1).sum(axis=1)
    return squares / 3.0 if isotropic and found.cell.ndim == 3 else squares


@pytest.mark.parametrize("seen", BOTH)
@pytest.mark.parametrize(("thermostat", "cell"), KINDS)
def test_the_pressure_of_a_solid(seen: Any, thermostat: str, cell: str) -> None:
    """Exact at any size: <P> is the pressure asked for, <(P - p) V> is -kT, and so each element of the tensor."""
    found = seen(solid(), 5000, skip=500, thermostat=thermostat, cell=cell)
    _check_pressure(found, cell)


def _check_pressure(found: Any, cell: str) -> None:
    inside = np.trace(found.pressure, axis1=1, axis2=2) / 3.0 - PRESSURE
    volume = found.volume
    assert agrees(inside * volume.mean() / KT, 0.0)
    assert agrees(inside * volume / KT, -1.0)
    assert agrees(found.kinetic / KT / (0.5 * found.dof), 1.0)
    assert agrees(_squares(found) / found.cell_mass / KT, 6.0 if cell == "flexible" else 1.0)
    edges = found.edges
    if cell == "isotropic":
        assert edges == pytest.approx(edges[0, 0] * np.identity(3), abs=1e-12)
        return
    assert found.cell == pytest.approx(found.cell.transpose(0, 2, 1), abs=1e-9)  # it does not turn
    for one, other in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
        element = (found.pressure[:, one, other] - PRESSURE * (one == other)) * volume / KT
        assert agrees(element, -1.0 * (one == other))


@pytest.mark.full
@pytest.mark.parametrize("seen", [ase_systems.seen, batch_systems.seen])
@pytest.mark.parametrize(("thermostat", "cell"), KINDS)
def test_the_pressure_of_a_solid_long(seen: Any, thermostat: str, cell: str) -> None:
    """As above, ten times as long; and the volumes agree with those of another thermostat.

    Without a total momentum p(V) has one factor of V less, as if there were an atom less in an ideal gas: this moves
    the mean volume by -var(V)/V.
    """
    found = seen(solid(), 60000, thermostat=thermostat, cell=cell, timestep=3.0)
    _check_pressure(found, cell)
    if thermostat == "nose-hoover" and seen is ase_systems.seen:
        return  # one path with chains is too slow in a harmonic solid: means of 60,000 steps differ by 0.1 Å³
    other = seen(solid(), 30000, seed=1, cell=cell, timestep=3.0)
    expected = -other.volume.var() / other.volume.mean() if thermostat == "nose-hoover" else 0.0
    difference = found.volume.mean() - other.volume.mean()
    assert abs(difference - expected) < 4.5 * np.hypot(error(found.volume), error(other.volume))


@pytest.mark.parametrize("seen", BOTH)
@pytest.mark.parametrize("thermostat", ["langevin", "nose-hoover"])
def test_a_cell_of_constant_volume_feels_no_shear(seen: Any, thermostat: str) -> None:
    """The volume is constant to rounding, the mean stress isotropic, and five degrees of freedom move the shape."""
    atoms = solid()
    before, volume = atoms.cell.array.copy(), atoms.get_volume()
    found = seen(atoms, 4000, skip=500, thermostat=thermostat, ensemble="nvst")
    assert np.abs(found.volume / volume - 1.0).max() < 1e-13
    assert np.abs(found.edges / before[0, 0] - np.identity(3)).max() > 1e-3
    assert np.abs(np.trace(found.cell, axis1=1, axis2=2)).max() < 1e-9 * np.abs(found.cell).max()
    assert agrees(_squares(found) / found.cell_mass / KT, 5.0)
    mean = np.trace(found.pressure, axis1=1, axis2=2) / 3.0
    for one, other in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
        assert agrees((found.pressure[:, one, other] - mean * (one == other)) * volume / KT, 0.0)
    assert agrees(found.kinetic / KT / (0.5 * found.dof), 1.0)


@pytest.mark.parametrize("ensemble", ["npt", "nvst"])
@pytest.mark.parametrize("cell", ["isotropic", "flexible"])
def test_chains_and_cell_conserve_their_energy(ensemble: str, cell: str) -> None:
    """By the second order of the timestep: the equations are those of an extended Hamiltonian."""
    spread = []
    for timestep, steps in ((4.0, 200), (2.0, 400)):
        atoms = solid()
        found = seen(atoms, 0, thermostat="nose-hoover", ensemble=ensemble, cell=cell, timestep=timestep)
        energies = []
        for _ in range(steps):
            found.md.step()
            energies.append(found.md.get_conserved_energy())
        spread.append(np.ptp(energies))
    assert spread[0] < 0.03 * KT * found.dof / 2
    assert spread[1] < 0.35 * spread[0]


def test_copper_has_the_volume_of_its_relaxed_cell() -> None:
    """At 20 K and 50 kbar, with ASE's EMT: 0.1 % more, its thermal expansion, of 4 % that the pressure makes."""
    relaxed = bulk("Cu", cubic=True)
    relaxed.calc = EMT()
    free = relaxed.get_volume()
    with BFGS(FrechetCellFilter(relaxed, scalar_pressure=5e4 * units.bar), logfile=None) as search:
        search.run(fmax=1e-4)
    wanted = relaxed.get_volume()
    assert free - wanted > 0.02 * free
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.calc = EMT()
    job: dict[str, Any] = {"ensemble": "npt", "thermostat": "langevin", "cell": "flexible", "pressure": 5e4}
    job |= {"timestep": 5.0, "friction": 10.0, "barostat_time": 2000.0}
    md = integrators.make(atoms, job, 20.0, 24, np.random.default_rng(1), {})
    volumes = []
    for _ in range(900):
        md.step()
        volumes.append(atoms.get_volume() / 2)
    assert np.mean(volumes[300:]) == pytest.approx(1.001 * wanted, rel=2e-3)


def test_a_cell_that_grows_evenly_damps_momenta_evenly() -> None:
    """The flexible cell's drag of an even strain is the isotropic one's, without a shear."""
    drags = []
    for cell, strain in (("isotropic", 1.0), ("flexible", np.identity(3))):
        atoms = solid()
        found = seen(atoms, 0, cell=cell)
        found.md.p_eps = 0.01 * found.md.barostat_mass * strain
        found.md._drag()
        drags.append(atoms.get_momenta())
    assert drags[0] == pytest.approx(drags[1], abs=1e-12)


def test_a_model_without_stress_is_refused() -> None:
    atoms = Atoms("He2", [[0, 0, 0], [0, 0, 3]], cell=[9, 9, 9], pbc=True)
    atoms.calc = LennardJones()
    atoms.calc.implemented_properties = ["energy", "forces"]
    with pytest.raises(Fatal, match="no stress"):
        seen(atoms, 1)


def test_velocity_rescaling_has_no_moving_cell() -> None:
    for ensemble in ("npt", "nvst"):
        assert "langevin or nose-hoover" in engine.refuses({"ensemble": ensemble, "thermostat": "csvr"})
        assert engine.refuses({"ensemble": ensemble, "thermostat": "langevin"}) == ""


@pytest.mark.parametrize("thermostat", ["langevin", "nose-hoover"])
def test_one_evaluation_a_step_stress_included(thermostat: str) -> None:
    atoms = solid()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen(atoms, 20, thermostat=thermostat, cell="flexible")
    assert len(atoms.calc.asked) == 21
    assert all("stress" in asked for asked in atoms.calc.asked)


@pytest.mark.parametrize("thermostat", ["langevin", "csvr", "nose-hoover"])
def test_the_stress_is_not_asked_for_where_the_cell_stands_still(thermostat: str) -> None:
    atoms = solid()
    seen(atoms, 20, skip=20, ensemble="nvt", thermostat=thermostat)
    assert not any("stress" in asked for asked in atoms.calc.asked)


def test_the_exponential_of_a_strain() -> None:
    from scipy.linalg import expm

    strain = np.array([[0.1, 0.2, -0.1], [0.2, -0.3, 0.05], [-0.1, 0.05, 0.02]])
    assert barostats.exponential(strain) == pytest.approx(expm(strain), abs=1e-14)
    assert barostats.with_volume(strain, 8.0) == pytest.approx(strain * (8.0 / abs(np.linalg.det(strain))) ** (1 / 3))
    assert KELVIN * units.kB == KT
