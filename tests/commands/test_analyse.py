"""psiflow analyse: trajectories of psiflow sample and foreign ones, in one table, and what is refused before work."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("scipy")
ase_io = pytest.importorskip("ase.io")


@pytest.fixture
def analyse(psiflow, in_threads):
    return lambda *arguments, code=0: psiflow("analyse", *arguments, code=code)


def trajectory(name, walkers=(0, 1), frames=40, interval=2.0, says_time=True, pbc="T T T", element="Ar"):
    """Atoms on a lattice of 3 Å in a cell of 6 Å that vibrate at 25 THz, all walkers one after another."""
    rng = np.random.default_rng(1)
    sites = 3.0 * np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    with open(name, "w") as stream:
        for walker in walkers:
            phases = rng.uniform(0, 2 * np.pi, (8, 3))
            for frame in range(frames):
                time = frame * interval
                places = (sites + 0.05 * np.cos(2 * np.pi * 0.025 * time + phases)) % 6.0
                said = f" walker={walker} step={frame} time={time} temperature=30{walker}.0" if says_time else ""
                stream.write(f'8\nLattice="6 0 0 0 6 0 0 0 6" Properties=species:S:1:pos:R:3 pbc="{pbc}"{said}\n')
                stream.writelines(f"{element} {x} {y} {z}\n" for x, y, z in places)


def test_everything_at_once_and_again(analyse):
    trajectory("traj.xyz")
    pytest.importorskip("matplotlib")
    everything = ("traj.xyz", "--rdf", "Ar-Ar", "--msd", "--vacf", "--plot", "all.svg", "--json", "--blocks", 2)
    said = json.loads(analyse(*everything).stdout)
    assert (said["trajectories"], said["frames"], said["interval_fs"], said["blocks"]) == (2, 80, 2.0, 2)
    values = {(row["quantity"], row["of"], row["unit"]): row["value"] for row in said["values"]}
    assert values["temperature", "all", "K"] == 300.5
    assert values["density", "all", "g/cm³"] == pytest.approx(8 * 39.948 / 216 * 1.66053907)
    assert values["highest peak at", "Ar-Ar", "Å"] == pytest.approx(3.0, abs=0.1)
    assert values["strongest vibration", "all", "THz"] == pytest.approx(25.0, abs=8.0)
    assert any("the frames have no velocities" in remark for remark in said["remarks"])
    assert any("does not diffuse" in remark for remark in said["remarks"])
    with open("traj.analysed.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["quantity"] for row in rows} >= {"temperature", "rdf", "coordination", "msd", "vacf", "spectrum"}
    msd = [(float(row["x"]), float(row["value"])) for row in rows if row["quantity"] == "msd"]
    assert msd[:2] == [(0.0, 0.0), (2.0, pytest.approx(msd[1][1]))]
    assert Path("all.svg").read_text().count("mean squared") == 1
    again = analyse(*everything)
    assert "up to date" in again.stderr
    assert not list(Path("traj.analysed.csv.run").glob("frames*"))


def test_a_foreign_trajectory_needs_its_timestep(analyse):
    trajectory("foreign.xyz", walkers=(0,), says_time=False)
    assert "--timestep '5 fs'" in analyse("foreign.xyz", "--msd", code=2).stderr
    assert "± " in analyse("foreign.xyz", "--msd", "--timestep", "2 fs").stdout
    assert "temperature" not in analyse("foreign.xyz", "-o", "plain.csv").stdout


@pytest.mark.parametrize(
    ("changes", "arguments", "code", "what"),
    [
        ({}, ("--rdf", "O-O"), 65, "traj.xyz:1: frame 1: it contains no O"),
        ({}, ("--rdf", "Ar"), 2, "not a pair of elements"),
        ({}, ("--rdf", "Ar-Xx"), 2, "Xx"),
        ({}, ("--rdf", "Ar-Ar", "--rmax", "4"), 2, "half the narrowest width"),
        ({}, ("--rmax", "4"), 2, "--rmax without --rdf"),
        ({}, ("--msd", "--fit", "9:3"), 2, "two increasing times"),
        ({}, ("--plot", "a.png"), 2, "--plot needs a curve"),
        ({}, ("--msd", "--timestep", "3"), 65, "frame 2: 2 fs after the previous frame, not 3.0 fs"),
        ({"frames": 1}, ("--msd",), 65, "the only frame of its trajectory"),
        ({"frames": 4}, ("--vacf",), 65, "too few frames for --msd and --vacf"),
        ({"pbc": "T T F"}, ("--rdf", "Ar-Ar"), 65, "not periodic in three directions"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(analyse, changes, arguments, code, what):
    trajectory("traj.xyz", **changes)
    assert what in analyse("traj.xyz", *arguments, code=code).stderr


def test_walkers_are_never_mixed(analyse):
    """In whatever order frames stand; one alone is as its own file; a foreign clock that goes back is refused."""
    trajectory("traj.xyz", walkers=(0, 1))
    lines = Path("traj.xyz").read_text().splitlines(keepends=True)
    frames = ["".join(lines[n : n + 10]) for n in range(0, len(lines), 10)]
    Path("mixed.xyz").write_text("".join(a + b for a, b in zip(frames[40:], frames[:40], strict=True)))
    Path("one.xyz").write_text("".join(frames[40:]))
    tables = []
    for words in (("traj.xyz",), ("mixed.xyz",), ("mixed.xyz", "--walker", 1), ("one.xyz",)):
        analyse(*words, "--msd", "--blocks", 2, "-o", f"{len(tables)}.csv")
        with open(f"{len(tables)}.csv", newline="") as stream:
            tables.append([float(row["value"]) for row in csv.DictReader(stream)])
    assert tables[0] == pytest.approx(tables[1], rel=1e-12)
    assert tables[2] == pytest.approx(tables[3], rel=1e-12)
    assert tables[0] != pytest.approx(tables[2], rel=1e-3)
    assert "frames have 0, 1" in analyse("traj.xyz", "--walker", 7, "-o", "x.csv", code=2).stderr
    Path("foreign.xyz").write_text(Path("traj.xyz").read_text().replace("walker=", "replica="))
    assert (
        "frame 41: its time or step is 0, after 78" in analyse("foreign.xyz", "--msd", "--timestep", 2, code=65).stderr
    )


def test_other_atoms_are_no_trajectory_but_have_a_structure(analyse):
    trajectory("one.xyz", walkers=(0,), says_time=False)
    trajectory("two.xyz", walkers=(0,), says_time=False, element="Kr")
    Path("mixed.xyz").write_text(Path("one.xyz").read_text() + Path("two.xyz").read_text())
    assert "its atoms differ from" in analyse("mixed.xyz", "--msd", "--timestep", 1, code=65).stderr
    assert "density" in analyse("mixed.xyz").stdout
