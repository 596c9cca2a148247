"""Hessians and frequencies: springs whose modes are known, ASE's Vibrations, and phonopy by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
ase = pytest.importorskip("ase")

from ase import Atoms, units  # noqa: E402
from ase.build import bulk, fcc111, molecule  # noqa: E402
from ase.calculators.calculator import Calculator  # noqa: E402
from ase.calculators.emt import EMT  # noqa: E402
from ase.optimize import BFGS  # noqa: E402
from ase.vibrations import Vibrations  # noqa: E402

from psiflow_cli.worker import failures  # noqa: E402
from psiflow_cli.worker.models import predictions  # noqa: E402
from psiflow_cli.worker.pool import call  # noqa: E402
from psiflow_cli.worker.structures import hessian, normal_modes  # noqa: E402

CONTEXT: dict[str, Any] = {"scratch": "", "device": "cpu", "dtype": None}
USUAL: dict[str, Any] = {"displacement": 0.01, "fmax": 0.01, "supercell": None, "mesh": None, "elements": None}
SPRING = 30.0
"""eV/Å²."""
LENGTH = 1.2
"""Å."""
UNIT = np.sqrt(units._e * 1e20 / units._amu) / (2 * np.pi * 100 * units._c)
"""cm^-1: sqrt(1 eV/Å²/u) / (2πc)."""


class Chain(Calculator):
    """Springs between neighbours in a chain of atoms, and as strong ones against bending at 180° if `bent`."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = ()) -> None:
        super().calculate(atoms, properties, system_changes)
        energy, forces = 0.0, np.zeros((len(atoms), 3))
        for i in range(len(atoms) - 1):
            apart = atoms.positions[i + 1] - atoms.positions[i]
            far = float(np.linalg.norm(apart))
            energy += SPRING / 2 * (far - LENGTH) ** 2
            pull = SPRING * (far - LENGTH) * apart / far
            forces[i] += pull
            forces[i + 1] -= pull
        for i in range(1, len(atoms) - 1):
            bend = atoms.positions[i - 1] - 2 * atoms.positions[i] + atoms.positions[i + 1]
            energy += 0.5 * float(bend @ bend)
            forces[i - 1 : i + 2] -= np.outer([1, -2, 1], bend)
        self.results = {"energy": energy, "forces": forces}


def calculator(member: str, context: dict[str, Any]) -> Any:
    """This file as a model family."""
    return Chain() if member == "chain" else EMT()


def wire(atoms: Any, **more: Any) -> dict[str, Any]:
    cell = atoms.cell.tolist() if atoms.cell.rank else None
    frame = {"id": "a" * 16, "symbols": atoms.get_chemical_symbols(), "positions": atoms.positions.tolist()}
    return {**frame, "cell": cell, "pbc": atoms.pbc.tolist(), **more}


def analysed(frame: Any, member: str = "emt", folder: str = "", **changes: Any) -> dict[str, Any]:
    frames = [frame if isinstance(frame, dict) else wire(frame)]
    model = {"family": __file__, "members": [member]}
    (result,) = hessian.analyse(frames, model, USUAL | changes, CONTEXT, folder)
    return result


def of_emt(atoms: Any, moving: list[int], displacement: float) -> Any:
    """The Hessian by EMT."""
    predict = predictions.predictor({"family": __file__, "members": ["emt"]}, CONTEXT)
    results: Any = predict(list(hessian.displaced(wire(atoms), moving, displacement)))
    return hessian.central_differences([np.array(each["forces"])[moving] for each in results], displacement)


def relaxed(atoms: Any) -> Any:
    atoms.calc = EMT()
    BFGS(atoms, logfile=None).run(fmax=1e-4)
    return atoms


def test_a_diatomic_vibrates_at_the_root_of_spring_over_reduced_mass() -> None:
    atoms = Atoms("CO", [[0, 0, 0], LENGTH * np.array([1, 2, 2]) / 3])
    result = analysed(atoms, "chain", displacement=1e-3)
    carbon, oxygen = atoms.get_masses()
    expected = np.sqrt(SPRING * (carbon + oxygen) / (carbon * oxygen)) * UNIT
    assert result["frequencies"] == pytest.approx([expected], rel=1e-6)
    assert (result["modes"], result["weights"]) == ([result["frequencies"]], [1])
    heavy = analysed(wire(atoms, masses=[4 * carbon, 4 * oxygen]), "chain", displacement=1e-3)
    assert heavy["frequencies"] == pytest.approx([expected / 2], rel=1e-6)


def test_a_linear_molecule_has_3n_minus_5_modes() -> None:
    """CO2's textbook modes: stretches at sqrt(k/m) and sqrt(k (1/m + 2/M)), two equal bends."""
    atoms = Atoms("OCO", [[0, 0, z] for z in (-LENGTH, 0, LENGTH)])
    result = analysed(atoms, "chain", displacement=1e-3)
    oxygen, carbon = atoms.get_masses()[:2]
    bends = np.sqrt(2 * 1.0 * (1 / oxygen + 2 / carbon)) * UNIT  # the energy of bending is |a - 2b + c|²/2
    stretches = np.sqrt(SPRING / oxygen) * UNIT, np.sqrt((SPRING + 2) * (1 / oxygen + 2 / carbon)) * UNIT
    assert result["frequencies"] == pytest.approx([bends, bends, *stretches], rel=1e-4)
    slightly = atoms.copy()
    slightly.positions[1, 0] += 0.003
    assert len(analysed(slightly, "chain", fmax=0.1)["frequencies"]) == 4, "relaxed to so much only, it is linear still"


def test_a_molecules_modes_are_those_of_ases_vibrations(tmp_path: Path) -> None:
    atoms = relaxed(molecule("C2H6"))
    result = analysed(atoms)
    by_hand = Vibrations(atoms, name=str(tmp_path / "vib"), delta=0.01)
    by_hand.run()
    expected = by_hand.get_frequencies()
    real = np.sort(np.where(abs(expected.imag) > abs(expected.real), -abs(expected), abs(expected)))
    moving = real[np.argsort(abs(real))[6:]]
    assert len(result["frequencies"]) == 18
    found = np.array(result["frequencies"])
    hard = np.sort(moving) > 300
    assert found[hard] == pytest.approx(np.sort(moving)[hard], rel=1e-3)


def test_rigid_motions_have_no_force() -> None:
    """The Hessian of a relaxed molecule maps what is projected out to nothing."""
    atoms = relaxed(molecule("C2H6"))
    found = of_emt(atoms, list(range(8)), 1e-3)
    assert np.allclose(found, found.T)
    root = np.repeat(np.sqrt(atoms.get_masses()), 3)
    motions = normal_modes.rigid(atoms.positions, atoms.get_masses(), rotates=True)
    assert motions.shape == (24, 6)
    moved = (motions.T / root) / np.linalg.norm(motions.T / root, axis=1)[:, None]
    assert abs(found @ moved.T).max() < 2e-3 * abs(found).max()
    assert normal_modes.rigid(np.zeros((1, 3)), np.ones(1), rotates=True).shape == (3, 3)


def test_a_saddle_point_has_an_imaginary_mode() -> None:
    atoms = Atoms("Cu3", [[0, 0, 0], [2.3, 0, 0], [4.6, 0, 0]])
    result = analysed(relaxed(atoms))
    assert min(result["frequencies"]) < -5
    assert len(result["frequencies"]) == 4


def test_an_atom_has_no_modes() -> None:
    result = analysed(Atoms("Cu"))
    assert (result["frequencies"], result["modes"]) == ([], [[]])


def test_a_crystal_at_gamma_loses_its_translations_only() -> None:
    atoms = bulk("Cu", a=3.59, cubic=True)
    result = analysed(atoms)
    assert len(result["frequencies"]) == 9
    whole = of_emt(atoms, [0, 1, 2, 3], 0.01)
    full = normal_modes.frequencies(whole, atoms.get_masses())
    assert sorted(full, key=abs)[:3] == pytest.approx([0, 0, 0], abs=0.1)
    assert sorted(sorted(full, key=abs)[3:]) == pytest.approx(result["frequencies"], rel=1e-6)
    assert result["stress"] is not None


def test_the_atoms_that_may_move_vibrate_against_the_fixed(tmp_path: Path) -> None:
    slab = relaxed(fcc111("Cu", (1, 1, 3), vacuum=6.0))
    result = analysed(wire(slab, fixed=[0, 1]))
    by_hand = Vibrations(slab, indices=[2], name=str(tmp_path / "vib"), delta=0.01)
    by_hand.run()
    assert result["frequencies"] == pytest.approx(by_hand.get_frequencies().real, rel=1e-6)


def test_phonons_are_phonopys_by_hand(tmp_path: Path) -> None:
    phonopy = pytest.importorskip("phonopy", reason="the extra phonons is not installed")
    from phonopy.structure.atoms import PhonopyAtoms

    atoms = bulk("Cu", a=3.59)
    result = analysed(atoms, supercell=[2, 2, 2], mesh=[3, 3, 3], folder=str(tmp_path))
    cell = PhonopyAtoms(symbols=["Cu"], cell=atoms.cell.array, scaled_positions=[[0, 0, 0]])
    by_hand = phonopy.Phonopy(cell, np.diag([2, 2, 2]), primitive_matrix=np.eye(3))
    by_hand.generate_displacements(distance=0.01, is_plusminus=True)
    forces = []
    for each in by_hand.supercells_with_displacements:
        moved = Atoms(each.symbols, each.positions, cell=each.cell, pbc=True, calculator=EMT())
        forces.append(moved.get_forces())
    by_hand.forces = np.array(forces)
    by_hand.produce_force_constants()
    by_hand.symmetrize_force_constants()
    by_hand.run_mesh([3, 3, 3])
    assert result["weights"] == by_hand.mesh.weights.tolist()
    assert sum(result["weights"]) == 27
    cm = 1e12 / (100 * units._c)
    assert np.array(result["modes"]) == pytest.approx(by_hand.mesh.frequencies * cm, rel=1e-6, abs=0.05)
    assert result["frequencies"] == []
    with np.load(tmp_path / f"{'a' * 16}.npz") as file:
        assert file["hessian"].shape == (24, 24)
        assert file["moving"].tolist() == list(range(8))
        again = Atoms("Cu8", file["positions"], cell=file["cell"], pbc=True)
        direct = of_emt(again, list(range(8)), 0.01)
        assert file["hessian"] == pytest.approx(direct, abs=2e-3), "rows and columns are atom by atom, in eV/Å²"


def test_a_mesh_of_gamma_alone_is_the_hessian_of_the_cell() -> None:
    """Two ways to the same numbers: one by phonopy, one without; and isotopes in both."""
    pytest.importorskip("phonopy", reason="the extra phonons is not installed")
    frame = wire(bulk("Cu", a=3.59, cubic=True), masses=[60.0, 63.0, 65.0, 65.0])
    direct = analysed(frame)
    by_phonopy = analysed(frame, supercell=[1, 1, 1], mesh=[1, 1, 1])
    assert by_phonopy["frequencies"] == pytest.approx(direct["frequencies"], rel=2e-3)
    assert len(by_phonopy["modes"][0]) == 12


def test_without_phonopy_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "phonopy", None)
    with pytest.raises(failures.Fatal) as caught:
        analysed(bulk("Cu", a=3.59), supercell=[2, 2, 2])
    assert "--supercell needs phonopy" in caught.value.message
    assert "phonons" in caught.value.hint


def test_a_frame_that_is_not_relaxed_fails() -> None:
    atoms = molecule("C2H6")
    atoms.rattle(0.05, seed=1)
    result = analysed(atoms)
    assert result["failure"] == "invalid-input"
    assert "not relaxed: the largest force is" in result["message"]
    assert "failure" not in analysed(atoms, fmax=100.0)


class Many:
    """The same model as a family that takes many frames at once, and tells how often it was called."""

    calls: list[int] = []  # noqa: RUF012

    @classmethod
    def predict(cls, frames: list[Any], members: list[str], context: Any) -> Any:
        cls.calls.append(len(frames))
        return [[predictions.labelled(frame, EMT()) for frame in frames] for _ in members]


def test_a_family_that_takes_many_frames_gets_them_together(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = analysed(relaxed(molecule("C2H6")))
    monkeypatch.setitem(globals(), "predict", Many.predict)
    monkeypatch.setattr(call, "resolve", lambda target: globals()[target.rpartition(":")[2]])
    together = analysed(relaxed(molecule("C2H6")))
    assert Many.calls == [1, 48]
    two: Any = [wire(relaxed(molecule("C2H6"))), wire(bulk("Cu", a=3.59, cubic=True)), wire(Atoms("Cu"))]
    results: Any = hessian.analyse(two, {"family": __file__, "members": ["emt"]}, {**USUAL}, CONTEXT)
    assert Many.calls[2:] == [3, 48 + 24 + 6], "those of several frames, too"
    assert [len(each["frequencies"]) for each in results] == [18, 9, 0]
    assert results[0] == together
    assert together["frequencies"] == pytest.approx(alone["frequencies"], rel=1e-9)
    assert together["max_force"] == pytest.approx(alone["max_force"], rel=1e-9)


def test_what_a_model_says_of_a_displaced_frame_is_the_frames_failure() -> None:
    analysis = hessian._Analysis(wire(Atoms("Cu")), USUAL, "")
    with pytest.raises(MemoryError):
        analysis.take(failures.failure("out-of-memory", "no"))
    with pytest.raises(ValueError, match="with a displaced atom: no"):
        analysis.take(failures.failure("crashed", "no"))
