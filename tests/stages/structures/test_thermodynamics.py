"""Free energies of oscillators against ASE, phonopy, and each other where they must agree."""

from __future__ import annotations

import math

import pytest

from psiflow_cli.stages.structures import thermodynamics

NU = [50.0, 300.0, 1200.0, 3700.0]


def test_constants_are_ases() -> None:
    units = pytest.importorskip("ase.units")
    assert pytest.approx(units.invcm, rel=1e-12) == thermodynamics.INVCM
    assert pytest.approx(units.kB, rel=1e-12) == thermodynamics.KB


@pytest.mark.parametrize("temperature", [10.0, 300.0, 2000.0])
def test_quantum_sums_are_ases(temperature: float) -> None:
    thermochemistry = pytest.importorskip("ase.thermochemistry")
    by_hand = thermochemistry.HarmonicThermo([nu * thermodynamics.INVCM for nu in NU])
    found = thermodynamics.at(temperature, [NU], [1], 1.0)
    assert found.free_energy == pytest.approx(by_hand.get_helmholtz_energy(temperature, verbose=False), rel=1e-9)
    assert found.entropy == pytest.approx(by_hand.get_entropy(temperature, verbose=False), rel=1e-9)
    assert found.zero_point_energy == pytest.approx(by_hand.get_ZPE_correction(), rel=1e-12)
    step = 0.01
    higher, lower = (by_hand.get_internal_energy(temperature + s, verbose=False) for s in (step, -step))
    assert found.heat_capacity == pytest.approx((higher - lower) / (2 * step), rel=1e-5)


def test_hot_oscillators_are_classical_and_cold_ones_at_their_zero_point() -> None:
    hot, cold = (thermodynamics.at(temperature, [NU], [1], 1.0) for temperature in (1e6, 0.5))
    assert hot.free_energy == pytest.approx(hot.free_energy_classical, rel=1e-6)
    assert hot.entropy == pytest.approx(hot.entropy_classical, rel=1e-5)
    assert hot.heat_capacity == pytest.approx(4 * thermodynamics.KB, rel=1e-5)
    assert cold.free_energy == pytest.approx(cold.zero_point_energy, rel=1e-12)
    assert (cold.entropy, cold.heat_capacity) == (pytest.approx(0, abs=1e-30), pytest.approx(0, abs=1e-30))


def test_the_classical_free_energy_of_one_oscillator() -> None:
    found = thermodynamics.at(300.0, [[200.0]], [1], 1.0)
    kT = thermodynamics.KB * 300
    ratio = 200.0 * thermodynamics.INVCM / kT
    assert found.free_energy_classical == pytest.approx(kT * math.log(ratio))
    slope = [thermodynamics.at(300 + s, [[200.0]], [1], 1.0).free_energy_classical for s in (0.01, -0.01)]
    assert found.entropy_classical == pytest.approx(-(slope[0] - slope[1]) / 0.02, rel=1e-6)


def test_imaginary_and_rigid_modes_are_left_out_and_counted() -> None:
    modes, weights = [[-80.0, -0.2, 0.5, 100.0], [20.0, 30.0, 40.0, 100.0]], [1, 3]
    assert thermodynamics.imaginary(modes, weights, 1.0) == 1
    assert thermodynamics.counted(modes, weights, 1.0) == pytest.approx((1 + 3 * 4) / 4)
    parts = [thermodynamics.at(300.0, [sound], [1], 1.0) for sound in ([100.0], modes[1])]
    found = thermodynamics.at(300.0, modes, weights, 1.0)
    for whole, first, second in zip(found[1:], parts[0][1:], parts[1][1:], strict=True):
        assert whole == pytest.approx((first + 3 * second) / 4)
    assert thermodynamics.at(300.0, [[]], [1], 1.0)[1:] == (0.0,) * 6


def test_means_over_a_mesh_are_phonopys() -> None:
    phonopy = pytest.importorskip("phonopy", reason="the extra phonons is not installed")
    np = pytest.importorskip("numpy")
    from phonopy.structure.atoms import PhonopyAtoms

    cell = PhonopyAtoms(symbols=["Cu"], cell=np.eye(3) * 2.5, scaled_positions=[[0, 0, 0]])
    crystal = phonopy.Phonopy(cell, np.diag([2, 2, 2]), primitive_matrix=np.eye(3))
    crystal.generate_displacements()
    springs = [-2.0 * (each.positions - crystal.supercell.positions) for each in crystal.supercells_with_displacements]
    crystal.forces = np.array(springs)  # each atom on a spring of its own
    crystal.produce_force_constants()
    crystal.run_mesh([2, 2, 2])
    crystal.run_thermal_properties(temperatures=[300.0])
    expected = crystal.thermal_properties
    modes = (crystal.mesh.frequencies * 33.3564095198152).tolist()
    found = thermodynamics.at(300.0, modes, crystal.mesh.weights.tolist(), 1.0)
    per_mol = 96.485332  # kJ/mol of 1 eV
    assert found.free_energy * per_mol == pytest.approx(expected.free_energy[0], rel=1e-5)
    assert found.entropy * per_mol * 1e3 == pytest.approx(expected.entropy[0], rel=1e-5)
    assert found.heat_capacity * per_mol * 1e3 == pytest.approx(expected.heat_capacity[0], rel=1e-5)
