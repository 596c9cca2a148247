"""Analysis of trajectories against what is known exactly: ideal gases, crystals, flights, random walks, oscillators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("scipy")
ase = pytest.importorskip("ase")

from ase import units  # noqa: E402
from ase.build import bulk  # noqa: E402

from psiflow_cli.worker.analysis.compute import compute  # noqa: E402
from psiflow_cli.worker.failures import Fatal  # noqa: E402


def path(folder: Path, positions: Any, cells: Any, symbols: str = "Ar", velocities: Any = None, **more: Any) -> Any:
    """Frames [T, N, 3] (Å), in cells [T, 3, 3] or one cell, as the command has written them."""
    frames, count, _ = np.shape(positions)
    cells = np.broadcast_to(cells, (frames, 3, 3))
    parts = [np.transpose(positions, (0, 2, 1)).reshape(frames, -1)]
    if velocities is not None:
        parts.append(np.transpose(velocities, (0, 2, 1)).reshape(frames, -1))
    parts += [cells.reshape(frames, 9), np.full((frames, 2), np.nan)]
    file = folder / f"{len(list(folder.iterdir()))}.bin"
    np.hstack(parts).astype("<f8").tofile(file)
    names = [symbols] * count if isinstance(symbols, str) else symbols
    return {
        "source": str(file), "symbols": names, "frames": frames, "pbc": [True] * 3, "masses": None,
        "velocities": "" if velocities is None else "velocities", "keeps_drift": False,
        "series": ["temperature", "pressure"], **more,
    }  # fmt: skip


def analysed(*paths: Any, **asked: Any) -> tuple[dict[Any, Any], dict[Any, Any], list[str]]:
    usual = {
        "rdf": (),
        "rmax": None,
        "bins": 50,
        "msd": False,
        "vacf": False,
        "fit": None,
        "blocks": 5,
        "interval": 1.0,
    }
    result = compute({"paths": list(paths), **usual, **asked})  # type: ignore[typeddict-item]
    values = {(row["quantity"], row["of"], row["unit"]): row for row in result["values"]}
    curves = {(c["quantity"], c["of"]): {k: np.array(c[k]) for k in ("x", "y", "error")} for c in result["curves"]}
    return values, curves, result["remarks"]


SKEWED = np.array([[10.0, 0.0, 0.0], [3.0, 9.0, 0.0], [-2.0, 1.0, 11.0]])


def test_an_ideal_gas_has_no_structure_whatever_its_cell(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    cells = SKEWED * rng.uniform(0.9, 1.1, (40, 1, 1))  # as under constant pressure
    places = rng.uniform(-1, 2, (40, 200, 3)) @ cells  # not wrapped
    _, curves, _ = analysed(path(tmp_path, places, cells), rdf=(("Ar", "Ar"),), bins=8, rmax=4.0)
    curve = curves["rdf", "Ar-Ar"]
    assert np.abs(curve["y"][2:] - 199 / 200).max() < 0.03
    assert 0 < np.median(curve["error"][2:]) < 0.02


def test_a_crystal_has_its_shells(tmp_path: Path) -> None:
    atoms = bulk("Cu", "fcc", 4.0, cubic=True) * (3, 3, 3)
    whole = path(tmp_path, atoms.positions[None], atoms.cell.array, "Cu")
    _, curves, _ = analysed(whole, rdf=(("Cu", "Cu"),), bins=60, rmax=6.0)
    counts = curves["coordination", "Cu-Cu"]
    for radius, neighbours in ((2.7, 0), (2.9, 12), (4.1, 18), (5.0, 42), (5.7, 54)):
        assert np.interp(radius, counts["x"], counts["y"]) == pytest.approx(neighbours), radius
    assert curves["rdf", "Cu-Cu"]["error"].size == 0, "one frame has no error"


def test_where_no_pair_is_in_reach_there_is_no_peak(tmp_path: Path) -> None:
    one = path(tmp_path, np.zeros((10, 1, 3)), 4.0 * np.eye(3))
    values, curves, _ = analysed(one, rdf=(("Ar", "Ar"),), rmax=2.0)
    assert not curves["rdf", "Ar-Ar"]["y"].any()
    assert not [quantity for quantity, of, _ in values if of == "Ar-Ar"]


def test_the_rdf_of_a_mixture_is_that_of_ase(tmp_path: Path) -> None:
    from ase import Atoms
    from ase.geometry.rdf import get_rdf

    rng = np.random.default_rng(2)
    symbols = ["O"] * 30 + ["H"] * 60
    places = rng.uniform(0, 12, (1, 90, 3))
    _, curves, _ = analysed(path(tmp_path, places, 12 * np.eye(3), symbols), rdf=(("O", "H"),), rmax=6.0, bins=30)
    atoms = Atoms(symbols, places[0], cell=[12] * 3, pbc=True)
    theirs, _ = get_rdf(atoms, 6.0 - 1e-9, 30, elements=(8, 1))
    assert curves["rdf", "O-H"]["y"] == pytest.approx(theirs * 90 / 60 * 60 / 90, rel=0.05, abs=0.05)


@pytest.mark.parametrize("cell", [30 * np.eye(3), SKEWED], ids=["cube", "skewed"])
def test_a_flight_is_ballistic_though_wrapped(tmp_path: Path, cell: Any) -> None:
    velocity = np.array([[[0.3, -0.2, 0.1]], [[-0.3, 0.2, -0.1]]])[:, 0]
    times = np.arange(100)[:, None, None]
    places = ((velocity * times) @ np.linalg.inv(cell) % 1.0) @ cell
    _, curves, remarks = analysed(path(tmp_path, places, cell), msd=True, interval=2.0, blocks=2)
    curve = curves["msd", "Ar"]
    assert curve["x"][:3].tolist() == [0.0, 2.0, 4.0]
    assert curve["y"] == pytest.approx(0.14 * (curve["x"] / 2.0) ** 2, rel=1e-8, abs=1e-10)
    assert "to the power of 2.00" in remarks[0]


def test_drift_is_taken_out_unless_it_is_to_be_kept(tmp_path: Path) -> None:
    places = np.arange(40)[:, None, None] * np.array([0.1, 0.0, 0.0]) + np.zeros((1, 5, 3))
    for keep, square in ((False, 0.0), (True, 0.01)):
        _, curves, _ = analysed(path(tmp_path, places, 20 * np.eye(3), keeps_drift=keep), msd=True, fit=(1.0, 4.0))
        assert curves["msd", "Ar"]["y"][1] == pytest.approx(square, abs=1e-12)


def test_a_random_walk_has_its_diffusion_coefficient(tmp_path: Path) -> None:
    """In cells that breathe, with all atoms carried along: of 3D steps of 0.1 Å in each direction, D = σ²/2 per fs."""
    rng = np.random.default_rng(3)
    walk = rng.normal(0, 0.1, (1000, 60, 3)).cumsum(axis=0)
    sizes = 1.0 + 0.02 * np.sin(np.arange(1000) / 7.0)
    cells = 20 * np.eye(3) * sizes[:, None, None]
    places = (walk % 20.0) * sizes[:, None, None]
    values, _, remarks = analysed(path(tmp_path, places, cells), msd=True, fit=(1.0, 20.0))
    row = values["diffusion", "Ar", "Å²/fs"]
    assert row["value"] == pytest.approx(0.005 * 59 / 60, rel=0.05)
    assert 0 < row["error"] < 0.05 * row["value"]
    assert values["diffusion", "Ar", "1e-9 m²/s"]["value"] == pytest.approx(1e4 * row["value"])
    assert not remarks


def oscillators(interval: float, frames: int = 2000) -> tuple[Any, Any]:
    """Positions (Å), and velocities in ASE's units, of H at 50 THz and O at 20 THz against each other's drift."""
    rng = np.random.default_rng(4)
    times = interval * np.arange(frames)[:, None, None]
    frequencies = np.array([50.0, 50.0, 20.0, 20.0])[None, :, None] * 2e-3 * np.pi
    phases = rng.uniform(0, 2 * np.pi, (1, 1, 3)) + np.pi * np.array([0, 1, 0, 1])[None, :, None]
    places = 5.0 + 0.1 * np.cos(frequencies * times + phases)
    return places, -0.1 * frequencies * np.sin(frequencies * times + phases) / units.fs


@pytest.mark.parametrize("has_velocities", [True, False])
def test_oscillators_have_their_frequencies(tmp_path: Path, has_velocities: bool) -> None:
    places, speeds = oscillators(0.5)
    given = path(tmp_path, places, 10 * np.eye(3), list("HHOO"), speeds if has_velocities else None)
    values, curves, remarks = analysed(given, vacf=True, blocks=2, interval=0.5)
    correlation = curves["vacf", "H"]
    assert correlation["y"][:200] == pytest.approx(np.cos(0.1 * np.pi * correlation["x"][:200]), abs=0.02)
    for element, frequency in (("H", 50.0), ("O", 20.0)):
        spectrum = curves["spectrum", element]
        assert spectrum["x"][spectrum["y"].argmax()] == pytest.approx(frequency, abs=2.0)
    whole = curves["spectrum", "all"]
    assert whole["y"].sum() * (whole["x"][1] - whole["x"][0]) == pytest.approx(1.0)
    kelvin = 16 * 20**2 / (16 * 20**2 + 1.008 * 50**2)  # the share of O by the mass-weighted squares
    assert curves["spectrum", "O"]["y"].sum() / whole["y"].sum() == pytest.approx(kelvin, abs=0.01)
    top = values["strongest vibration", "all", "cm^-1"]["value"]
    assert top == pytest.approx(values["strongest vibration", "all", "THz"]["value"] * 33.35641, rel=1e-6)
    assert bool(remarks) != has_velocities


def test_momenta_are_divided_by_masses(tmp_path: Path) -> None:
    places, speeds = oscillators(0.5)
    masses = [2.014, 2.014, 18.0, 18.0]
    given = path(tmp_path, places, 10 * np.eye(3), list("HHOO"), speeds, masses=masses)
    moved = path(
        tmp_path, places, 10 * np.eye(3), list("HHOO"), speeds * np.array(masses)[None, :, None], masses=masses
    )
    moved["velocities"] = "momenta"
    one, other = (analysed(each, vacf=True, interval=0.5)[1]["spectrum", "H"]["y"] for each in (given, moved))
    assert other == pytest.approx(one, rel=1e-9, abs=1e-12)


def test_what_cannot_be_told_is_refused(tmp_path: Path) -> None:
    cell = 10 * np.eye(3)
    far = np.arange(40)[:, None, None] * np.array([4.0, 0.0, 0.0]) * np.array([1.0, -1.0])[None, :, None]
    with pytest.raises(Fatal, match="its direction is not known"):
        analysed(path(tmp_path, far, cell), msd=True)
    with pytest.raises(Fatal, match="too few frames for --msd"):
        analysed(path(tmp_path, np.zeros((9, 2, 3)), cell), msd=True)
    with pytest.raises(Fatal, match="--fit 500:900 fs has 0 of the times"):
        analysed(path(tmp_path, np.zeros((90, 2, 3)), cell), msd=True, fit=(500.0, 900.0))


def test_paths_are_cut_into_equal_blocks(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    several = [path(tmp_path, rng.normal(0, 0.01, (n, 3, 3)), 9 * np.eye(3)) for n in (40, 30, 5)]
    result = compute({
        "paths": several, "rdf": (), "rmax": None, "bins": 9, "msd": True, "vacf": False, "fit": None, "blocks": 4,
        "interval": 1.0,
    })  # fmt: skip
    assert (result["blocks"], result["block_frames"]) == (4, 15)
