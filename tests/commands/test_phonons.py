"""psiflow phonons: springs whose frequencies are known, what is not relaxed, Hessians, and what is not repeated."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests import warm
from tests.commands import springs
from tests.commands.inputs import WATER

np = pytest.importorskip("numpy")
ase_io = pytest.importorskip("ase.io", reason="the frames are read with ase")
units = pytest.importorskip("ase.units")

UNIT = np.sqrt(units._e * 1e20 / units._amu) / (2 * np.pi * 100 * units._c)
"""cm^-1: sqrt(1 eV/Å²/u) / (2πc)."""
MASSES = {"O": 15.999, "H": 1.008}
FIXED = springs.START.replace("pos:R:3", "pos:R:3:move_mask:L:1").replace("O 0.0 0.0 0.0", "O 0.0 0.0 0.0 F")
HELD = FIXED.replace("0.96 0.0 0.0", "0.96 0.0 0.0 T").replace("0.93 0.0", "0.93 0.0 T")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a model that costs nothing (2 eV/Å² for each atom), and a site that begins at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PSIFLOW_SITE", raising=False)
    springs.bundle(Path("springs.model"))
    Path("threads.toml").write_text(springs.SITE)


def phonons(*arguments, code=0):
    words = [springs.__file__, "phonons", *map(str, arguments)]
    words += ["--model", "springs.model", "--site", "threads.toml"]
    done = warm.server().run(words)
    assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def of_springs(*symbols):
    """Three modes for each atom on its own spring, in order."""
    return np.sort(np.repeat([UNIT * np.sqrt(2.0 / MASSES[symbol]) for symbol in symbols], 3))


def test_atoms_on_springs_have_the_frequencies_and_free_energies_of_theory(here):
    Path("start.xyz").write_text(HELD + HELD.replace(" F\n", " T\n"))
    done = phonons("start.xyz", "--temperature", "300,600", "--json")
    said = json.loads(done.stdout)
    held, free = ase_io.read("start.phonons.xyz", ":")
    expected = of_springs("H", "H")
    assert held.info["frequencies"] == pytest.approx(expected, rel=1e-6)
    assert len(free.info["frequencies"]) == 6, "a crystal's translations are projected out"
    assert held.info["imaginary_modes"] == 0
    assert held.info["zero_point_energy"] == pytest.approx(expected.sum() / 2 * units.invcm, rel=1e-6)
    rows = said["harmonic"]
    assert [(row["frame"], row["temperature"]) for row in rows] == [(1, 300), (1, 600), (2, 300), (2, 600)]
    for row in rows[:2]:
        kT = units.kB * row["temperature"]
        x = expected * units.invcm / kT
        assert row["free_energy_classical"] == pytest.approx((kT * np.log(x)).sum(), rel=1e-6)
        assert row["free_energy"] == pytest.approx((kT * np.log(2 * np.sinh(x / 2))).sum(), rel=1e-6)
        assert row["heat_capacity"] == pytest.approx((units.kB * (x / 2 / np.sinh(x / 2)) ** 2).sum(), rel=1e-6)
        assert row["modes"] == 6
    lines = phonons("start.xyz", "--temperature", "300,600").stdout.splitlines()  # up to date
    (head,) = (n for n, line in enumerate(lines) if "ZPE" in line)
    first = lines[head + 1].split()
    assert first[:4] == ["1", "300", "6", "0"]
    assert float(first[5]) == pytest.approx(rows[0]["free_energy"], abs=1e-5)


def test_another_temperature_computes_no_hessian_and_hessians_come_when_asked(here):
    Path("start.xyz").write_text(HELD)
    assert json.loads(phonons("start.xyz", "--json").stdout)["computed"] == 1
    assert "up to date" in phonons("start.xyz").stderr
    warm = json.loads(phonons("start.xyz", "--temperature", 500, "--table", "h.csv", "--json").stdout)
    with Path("h.csv").open() as file:
        assert [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)] == warm["harmonic"]
    assert (warm["computed"], warm["harmonic"][0]["temperature"]) == (0, 500)
    assert json.loads(phonons("start.xyz", "--hessian", "h.npz", "--json").stdout)["computed"] == 1
    with np.load("h.npz") as file:
        assert file["hessian_0"] == pytest.approx(2.0 * np.eye(6), abs=1e-9)
        assert file["moving_0"].tolist() == [1, 2]
        assert file["positions_0"] == pytest.approx(np.array(springs.PLACES))
        assert file["cell_0"] == pytest.approx(9 * np.eye(3))
    assert json.loads(phonons("start.xyz", "--hessian", "other.npz", "--json").stdout)["computed"] == 0
    assert Path("other.npz").read_bytes() == Path("h.npz").read_bytes()


def test_a_frame_that_is_not_relaxed_is_refused_or_fails(here):
    away = HELD.replace("0.96", "0.98")
    Path("start.xyz").write_text(HELD + away)
    done = phonons("start.xyz", code=1)
    assert "1 of 2 failed: 1 invalid-input -> start.phonons.failed.xyz" in done.stderr
    assert "not relaxed: the largest force is 0.04 eV/Å, not below 0.02 eV/Å" in done.stderr
    assert len(ase_io.read("start.phonons.xyz", ":")) == 1
    Path("known.xyz").write_text(HELD + away.replace(" pbc=", " max_force=0.04 pbc="))
    done = phonons("known.xyz", code=65)
    assert "known.xyz:6: frame 2: not relaxed: max_force is 0.04 eV/Å, not below 0.02 eV/Å" in done.stderr
    assert "psiflow relax" in done.stderr
    phonons("known.xyz", "--fmax", 0.1)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--supercell", "2,2,2"), 65, "frame 1: it has fixed atoms, but --supercell displaces every atom"),
        (("--supercell", "2,2"), 2, "is not three numbers"),
        (("--mesh", "2,2,2"), 2, "--mesh without --supercell"),
        (("--temperature", "0"), 2, "is not a temperature above 0 K"),
        (("--hessian", "h.txt"), 2, "the name may end in .npz"),
    ],
)
def test_what_cannot_be_asked(here, arguments, code, said):
    Path("start.xyz").write_text(HELD)
    assert said in phonons("start.xyz", *arguments, code=code).stderr


@pytest.mark.full
def test_relaxed_by_a_trained_model_water_vibrates(psiflow, trained):
    """Three modes, as the Hessian of the model's own calculator has them."""
    from ase.vibrations import Vibrations
    from mace.calculators import MACECalculator

    Path("start.xyz").write_text(WATER)
    psiflow("relax", "start.xyz", "--model", trained.model, "--fmax", 0.002, "-o", "relaxed.xyz")
    psiflow("phonons", "relaxed.xyz", "--model", trained.model, "-o", "phonons.xyz")
    atoms = ase_io.read("phonons.xyz")
    path = str(Path(trained.model) / "member-0" / "mace.model")
    atoms.calc = MACECalculator(model_paths=path, device="cpu", default_dtype="float64")
    by_hand = Vibrations(atoms, name="vib", delta=0.01)
    by_hand.run()
    assert len(atoms.info["frequencies"]) == 3
    assert atoms.info["frequencies"] == pytest.approx(by_hand.get_frequencies().real[6:], abs=3)
    assert atoms.info["frequencies"].min() > 500
