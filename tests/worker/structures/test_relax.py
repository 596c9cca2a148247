"""Relaxation: ASE's optimisers by hand, EMT's known lattice constant, pressures, fixed atoms, symmetry, explosions."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

np = pytest.importorskip("numpy")
ase = pytest.importorskip("ase")

from ase import Atoms, units  # noqa: E402
from ase.build import bulk, fcc111, molecule  # noqa: E402
from ase.calculators.calculator import Calculator  # noqa: E402
from ase.calculators.emt import EMT  # noqa: E402
from ase.filters import FrechetCellFilter  # noqa: E402
from ase.optimize import BFGS, FIRE, LBFGS  # noqa: E402

from psiflow_cli.worker.failures import Fatal  # noqa: E402
from psiflow_cli.worker.models import predictions  # noqa: E402
from psiflow_cli.worker.pool import call  # noqa: E402
from psiflow_cli.worker.structures import relax  # noqa: E402

CONTEXT: dict[str, Any] = {"scratch": "", "device": "cpu", "dtype": None}
USUAL: dict[str, Any] = {
    **{"fmax": 0.01, "smax": 100.0, "steps": 500, "cell": "fixed", "pressure": 0.0, "keep_symmetry": False},
    **{"symprec": 0.01, "optimizer": "lbfgs", "elements": None},
}
LATTICE_CONSTANT = 3.5900
"""Å, of copper: where EMT's energy is least, on a grid of lattice constants."""


def calculator(member: str, context: dict[str, Any]) -> Any:
    """This file as a model family: EMT, with and without stress, or a hole into which two atoms fall."""
    if member == "hole":
        return Hole()
    if member == "forces only":
        return ForcesOnly()
    return EMT()


class Hole(Calculator):
    """A spring pulls two atoms to one place."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = ()) -> None:
        super().calculate(atoms, properties, system_changes)
        apart = atoms.positions[1] - atoms.positions[0]
        self.results = {"energy": 0.5 * float(apart @ apart), "forces": np.array([apart, -apart])}


class ForcesOnly(EMT):
    """EMT, as models are that know no stress."""

    implemented_properties = ("energy", "forces")


def wire(atoms: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": "0" * 16,
        "symbols": atoms.get_chemical_symbols(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.tolist() if atoms.cell.rank else None,
        "pbc": atoms.pbc.tolist(),
        **more,
    }


def relaxed(*frames: Any, members: tuple[str, ...] = ("emt",), **changes: Any) -> list[dict[str, Any]]:
    wires = [frame if isinstance(frame, dict) else wire(frame) for frame in frames]
    model = {"family": __file__, "members": list(members)}
    return relax.relax(frames=wires, model=model, settings=USUAL | changes, context=CONTEXT)


def after(result: dict[str, Any], start: Any) -> Any:
    atoms = Atoms(start.symbols, result["positions"], cell=result["cell"], pbc=start.pbc)
    atoms.calc = EMT()
    return atoms


def rattled(atoms: Any, size: float = 0.08) -> Any:
    atoms = atoms.copy()
    atoms.rattle(size, seed=3)
    return atoms


@pytest.mark.parametrize(("name", "optimizer"), [("lbfgs", LBFGS), ("bfgs", BFGS), ("fire", FIRE)])
def test_positions_are_those_of_ases_optimiser_by_hand(name: str, optimizer: Any) -> None:
    start = rattled(molecule("C2H6"))
    (result,) = relaxed(start, optimizer=name)
    by_hand = start.copy()
    by_hand.calc = EMT()
    steps = optimizer(by_hand, logfile=None)
    steps.run(fmax=0.01, steps=8)
    (early,) = relaxed(start, optimizer=name, steps=8)
    assert np.allclose(early["positions"], by_hand.positions, rtol=0, atol=1e-13)
    assert steps.run(fmax=0.01)
    assert "failure" not in result
    assert result["steps"] == steps.nsteps > 8
    apart = 1e-5 if name == "lbfgs" else 1e-9  # the last digits grow tenfold every few steps
    assert np.allclose(result["positions"], by_hand.positions, rtol=0, atol=apart)
    assert result["energy"] == pytest.approx(by_hand.get_potential_energy(), abs=1e-9)
    assert result["max_force"] == pytest.approx(np.linalg.norm(by_hand.get_forces(), axis=1).max(), abs=10 * apart)
    assert result["stress"] is None


@pytest.mark.parametrize(
    ("cell", "filtered"),
    [("flexible", {}), ("isotropic", {"hydrostatic_strain": True}), ("shape", {"constant_volume": True})],
)
@pytest.mark.parametrize(("name", "optimizer"), [("lbfgs", LBFGS), ("fire", FIRE)])
def test_a_cell_that_moves_is_that_of_ases_filter_by_hand(
    cell: str, filtered: dict[str, bool], name: str, optimizer: Any
) -> None:
    start = rattled(bulk("Cu", cubic=True))
    strain = np.array([[1.02, 0.01, 0], [0, 0.99, 0], [0, 0.03, 1.02]])
    start.set_cell(start.cell.array @ strain, scale_atoms=True)
    changes: dict[str, Any] = {"cell": cell, "pressure": 5000.0, "optimizer": name}
    (result,) = relaxed(start, **changes, steps=8, fmax=1e-9)
    by_hand = start.copy()
    by_hand.calc = EMT()
    steps = optimizer(FrechetCellFilter(by_hand, scalar_pressure=5000.0 * units.bar, **filtered), logfile=None)
    steps.run(fmax=0.0, steps=8)
    assert abs(by_hand.cell.array - start.cell.array).max() > 1e-2
    assert np.allclose(result["cell"], by_hand.cell.array, atol=1e-10)
    assert np.allclose(result["positions"], by_hand.positions, atol=1e-10)


@pytest.mark.parametrize("cell", ["isotropic", "flexible"])
def test_copper_has_its_lattice_constant(cell: str) -> None:
    (result,) = relaxed(bulk("Cu", a=3.7, cubic=True), cell=cell, fmax=1e-4, smax=1.0)
    grid = np.linspace(3.58, 3.60, 201)
    energies = []
    for a in grid:
        atoms = bulk("Cu", a=a, cubic=True)
        atoms.calc = EMT()
        energies.append(atoms.get_potential_energy())
    assert grid[np.argmin(energies)] == pytest.approx(LATTICE_CONSTANT, abs=2e-4)
    assert np.allclose(result["cell"], LATTICE_CONSTANT * np.eye(3), atol=3e-4)


@pytest.mark.parametrize("cell", ["isotropic", "flexible"])
@pytest.mark.parametrize("pressure", [50_000.0, -20_000.0])
def test_the_stress_is_minus_the_pressure(cell: str, pressure: float) -> None:
    start = bulk("Cu", cubic=True)
    (result,) = relaxed(start, cell=cell, pressure=pressure, smax=10.0)
    assert "failure" not in result
    stress = after(result, start).get_stress() / units.bar
    assert np.allclose(stress[:3], -pressure, atol=10)
    assert np.allclose(stress[3:], 0, atol=10)
    assert np.allclose(result["stress"], stress * units.bar)
    assert (np.linalg.det(result["cell"]) < LATTICE_CONSTANT**3) == (pressure > 0)


def test_a_shape_relaxes_at_constant_volume() -> None:
    start = bulk("Cu", a=3.7, cubic=True)
    start.set_cell(start.cell.array * [[1.03], [1.0], [0.99]], scale_atoms=True)
    volume = start.get_volume()
    (result,) = relaxed(start, cell="shape", fmax=1e-3, smax=20.0)
    assert "failure" not in result
    stress = after(result, start).get_stress() / units.bar
    assert np.linalg.det(result["cell"]) == pytest.approx(volume, rel=1e-9)
    assert np.allclose(stress[:3], stress[:3].mean(), atol=20)
    assert abs(stress[:3].mean()) > 1e4, "it was stretched, and stays so"
    assert np.allclose(result["cell"], volume ** (1 / 3) * np.eye(3), atol=3e-3)


def test_an_isotropic_cell_keeps_its_shape() -> None:
    start = bulk("Cu", cubic=True)
    start.set_cell(start.cell.array * [[1.02], [1.0], [1.0]], scale_atoms=True)
    (result,) = relaxed(start, cell="isotropic", smax=10.0)
    factor = np.array(result["cell"]).diagonal() / start.cell.array.diagonal()
    assert np.allclose(factor, factor[0], atol=1e-9)
    assert abs(after(result, start).get_stress()[:3].mean() / units.bar) < 10


def test_fixed_atoms_stay() -> None:
    start = rattled(fcc111("Cu", (2, 2, 3), vacuum=6.0))
    held = [0, 1, 2, 3]
    (result,) = relaxed(wire(start, fixed=held))
    moved = np.abs(np.array(result["positions"]) - start.positions).max(axis=1)
    assert (moved[held] == 0).all()
    assert (moved[4:] > 1e-3).all()
    forces = np.linalg.norm(result["forces"], axis=1)
    assert forces[4:].max() == result["max_force"] < 0.01 < forces[held].max(), "forces are the model's own"


def test_symmetry_is_kept_on_request() -> None:
    spglib = pytest.importorskip("spglib", reason="ASE finds symmetry with it")
    start = bulk("Cu", a=3.7, cubic=True)
    start.set_cell(start.cell.array * [[1.04], [1.04], [1.0]], scale_atoms=True)  # tetragonal
    start.rattle(1e-4, seed=1)

    def group(result: dict[str, Any]) -> int:
        cell = (result["cell"], np.linalg.solve(np.array(result["cell"]).T, np.array(result["positions"]).T).T)
        return int(spglib.get_symmetry_dataset((*cell, start.numbers), symprec=1e-8).number)

    few: dict[str, Any] = {"cell": "flexible", "steps": 3}
    assert group(relaxed(start, **few)[0]) != 139
    assert group(relaxed(start, **few, keep_symmetry=True)[0]) == 139  # I4/mmm
    (result,) = relaxed(start, cell="flexible", keep_symmetry=True, smax=10.0)
    assert "failure" not in result
    assert np.allclose(result["cell"], np.array(result["cell"]).diagonal().mean() * np.eye(3), atol=2e-3)


def test_a_frame_that_needs_more_steps_says_so_and_keeps_what_it_reached() -> None:
    start, done = rattled(molecule("C2H6")), relaxed(rattled(molecule("C2H6")))[0]
    (result,) = relaxed(start, steps=2)
    assert result["failure"] == "unconverged"
    assert result["steps"] == 2
    assert f"largest force {result['max_force']:.3g} eV/Å after 2 steps" in result["message"]
    assert result["max_force"] > 0.01
    assert result["energy"] > done["energy"]
    assert result["positions"] != start.positions.tolist()
    (still,) = relaxed(start, steps=0)
    assert (still["failure"], still["positions"]) == ("unconverged", start.positions.tolist())
    (stretched,) = relaxed(bulk("Cu", a=3.7, cubic=True), cell="isotropic", steps=0)
    assert "stress off by" in stretched["message"]


def test_a_frame_at_its_minimum_takes_no_step() -> None:
    (first,) = relaxed(rattled(molecule("C2H6")), fmax=0.005)
    again = wire(molecule("C2H6")) | {"positions": first["positions"]}
    (second,) = relaxed(again)
    assert second["steps"] == 0
    assert second["positions"] == first["positions"]


def test_one_bad_frame_fails_alone_and_says_why() -> None:
    good, pair = molecule("C2H6"), Atoms("Cu2", [[0, 0, 0], [2.0, 0, 0]])
    near = Atoms("Cu2", [[0, 0, 0], [0.05, 0, 0]])
    results = relaxed(good, near, Atoms("Fe2", [[0, 0, 0], [2, 0, 0]]), elements=["C", "H", "Cu"])
    assert "failure" not in results[0]
    assert results[1]["failure"] == "invalid-input"
    assert "apart" in results[1]["message"]
    assert (results[2]["failure"], results[2]["message"]) == ("invalid-input", "the model does not know Fe")
    (fallen,) = relaxed(pair, members=("hole",))
    assert fallen["failure"] == "inconsistent"
    assert "distance" in fallen["message"]
    assert "positions" not in fallen
    (unknown,) = relaxed(Atoms("Fe2", [[0, 0, 0], [2, 0, 0]]))
    assert unknown["failure"] == "crashed"
    assert "NotImplementedError" in unknown["message"]


def test_a_cell_that_is_lost_fails_before_its_model_is_asked() -> None:
    for pressure, optimizer in ((-1e6, "fire"), (1e8, "lbfgs")):
        (lost,) = relaxed(bulk("Cu", cubic=True), cell="flexible", pressure=pressure, optimizer=optimizer, steps=100)
        assert lost["failure"] == "inconsistent"
        assert "times as large after" in lost["message"]


def test_a_model_without_stress_moves_no_cell() -> None:
    start = bulk("Cu", cubic=True)
    (still,) = relaxed(rattled(start), members=("forces only",))
    assert still["stress"] is None
    with pytest.raises(Fatal, match="the model predicts no stress"):
        relaxed(start, members=("forces only",), cell="flexible")


def test_a_committee_moves_by_its_mean_and_says_its_spread() -> None:
    start = rattled(molecule("C2H6"))
    (one,) = relaxed(start)
    (two,) = relaxed(start, members=("emt", "emt"))
    assert np.allclose(two["positions"], one["positions"], atol=1e-10)
    assert two["energy_std"] == pytest.approx(0, abs=1e-12)
    assert len(two["forces_std"]) == len(start)
    assert "energy_std" not in one


def many(frames: list[Any], members: list[str], context: Any) -> Any:
    """EMT as a family that takes many frames at once."""
    CALLS.append(len(frames))
    return [[predictions.labelled(frame, EMT()) for frame in frames] for _ in members]


CALLS: list[int] = []


def test_frames_that_move_in_step_come_where_each_comes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = [rattled(molecule("C2H6"), size) for size in (0.02, 0.05, 0.1)] + [rattled(bulk("Cu", cubic=True))]
    for changes in ({}, {"cell": "flexible", "smax": 50.0}):
        frames = starts[3:] * 2 if changes else starts
        with monkeypatch.context() as patched:
            patched.setattr(call, "resolve", lambda target: {"predict": many}[target.rpartition(":")[2]])
            CALLS.clear()
            together = relaxed(*frames, **changes)
            assert CALLS[0] == len(frames)
            assert all(later <= earlier for earlier, later in itertools.pairwise(CALLS))
            assert len(CALLS) == 1 + max(result["steps"] for result in together)
            alone = [relaxed(frame, **changes)[0] for frame in frames]
        assert together == alone
        assert all("failure" not in result for result in together)


def test_frames_that_meet_keep_apart() -> None:
    """Those that end in one minimum, all but equal, do not take each other's forces."""
    starts = [Atoms("Cu2", [[0, 0, 0], [2.2 + 0.01 * n, 0, 0]]) for n in range(8)]
    together = relaxed(*starts, fmax=1e-12, steps=60)
    assert together == [relaxed(start, fmax=1e-12, steps=60)[0] for start in starts]
