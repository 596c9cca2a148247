"""First momenta: Maxwell-Boltzmann, at rest where nothing moves the whole, reproducible by seed and walker."""

from __future__ import annotations

from typing import Any

import pytest

np = pytest.importorskip("numpy")

from psiflow_cli.worker.md import velocities  # noqa: E402

MASSES = np.array([1.0, 16.0, 63.5, 2.0])
KT = velocities.KB * 300.0


def many(rest: bool, fixed: tuple[int, ...] = (), count: int = 4000) -> Any:
    rng = velocities.generator(1, 0)
    return np.array([velocities.draw(MASSES, 300.0, rng, rest, fixed) for _ in range(count)])


def test_each_component_is_gaussian_with_its_own_width() -> None:
    stats = pytest.importorskip("scipy.stats")
    momenta = many(rest=False)
    for atom, mass in enumerate(MASSES):
        assert stats.kstest(momenta[:, atom].ravel() / (mass * KT) ** 0.5, "norm").pvalue > 1e-3


@pytest.mark.parametrize(
    ("rest", "fixed", "dof"), [(False, (), 12), (True, (), 9), (True, (1, 2), 6), (False, (0,), 9)]
)
def test_the_kinetic_energy_is_distributed_over_its_degrees_of_freedom(
    rest: bool, fixed: tuple[int, ...], dof: int
) -> None:
    """Not rescaled: a gamma distribution, whose mean is the temperature asked for."""
    stats = pytest.importorskip("scipy.stats")
    momenta = many(rest, fixed)
    assert dof == velocities.degrees_of_freedom(4 - len(fixed), rest and not fixed)
    kinetic = np.array([velocities.kinetic_energy(each, MASSES) for each in momenta])
    assert stats.kstest(kinetic / KT, stats.gamma(0.5 * dof).cdf).pvalue > 1e-3
    kelvin = np.array([velocities.temperature(each, dof) for each in kinetic])
    assert abs(kelvin.mean() - 300.0) < 4 * kelvin.std() / len(kelvin) ** 0.5
    assert not momenta[:, list(fixed)].any()
    total = np.abs(momenta.sum(axis=1)).max()
    assert total < 1e-12 if rest and not fixed else total > 1.0


def test_a_lone_atom_keeps_its_momentum() -> None:
    assert velocities.draw([1.0], 300.0, velocities.generator(1, 0), True).any()
    assert velocities.degrees_of_freedom(1, True) == 3
    assert velocities.draw([1.0, 2.0], 300.0, velocities.generator(1, 0), True, [0])[1].any()
    assert velocities.temperature(1.0, 0) == 0.0


@pytest.mark.parametrize(
    ("ensemble", "thermostat", "rests"),
    [
        *(("nve", "langevin", True), ("nvt", "langevin", False), ("nvt", "csvr", True), ("nvt", "nose-hoover", True)),
        *(("npt", "langevin", False), ("npt", "nose-hoover", True), ("nvst", "langevin", False)),
    ],
)
def test_which_dynamics_leave_the_whole_at_rest(ensemble: str, thermostat: str, rests: bool) -> None:
    assert velocities.conserves_momentum({"ensemble": ensemble, "thermostat": thermostat}) is rests


def test_noise_belongs_to_seed_and_walker() -> None:
    first = velocities.generator(1, 0).random(4).tolist()
    assert velocities.generator(1, 0).random(4).tolist() == first
    assert velocities.generator(1, 1).random(4).tolist() != first
    assert velocities.generator(2, 0).random(4).tolist() != first


def test_a_generator_goes_on_from_its_builtins() -> None:
    import json

    rng = velocities.generator(3, 5)
    rng.standard_normal(7)
    kept = json.loads(json.dumps(velocities.generator_state(rng)))
    wanted = rng.standard_normal(5).tolist()
    other = velocities.generator(0, 0)
    other.bit_generator.state = kept
    assert other.standard_normal(5).tolist() == wanted
