"""psiflow sample: velocities written into frames, read from them, and a run that goes on from --final exactly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import warm
from tests.commands import springs
from tests.samplers.plumed_systems import needs_kernel

np = pytest.importorskip("numpy")
ase_io = pytest.importorskip("ase.io", reason="the frames are read with ase")
pytest.importorskip("ase.md.langevinbaoab", reason="needs ASE 3.27 or later")

NVE = ("--ensemble", "nve", "--seed", 5, "--velocities", "--every", 20)
START = """3
Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3:move_mask:L:1 pbc="T T T"
O 0.01 0 0 F
H 0.96 0 0 T
H -0.24 0.93 0 T
"""
MOVING = """3
Properties=species:S:1:pos:R:3:vel:R:3 pbc="F F F"
O 0 0 0 0.001 0 0
H 0.96 0 0 0 0.01 0
H -0.24 0.93 0 0 0 0.02
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PSIFLOW_SITE", raising=False)
    springs.bundle(Path("springs.model"))
    Path("threads.toml").write_text(springs.SITE)


def sample(start, *arguments, code=0):
    usual = ("--model", "springs.model", "--site", "threads.toml", "--engine", "ase")
    done = warm.server().run([springs.__file__, "sample", start, *usual, *map(str, arguments)])
    assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    return done.stderr


@pytest.mark.parametrize("between", ["half.xyz", "half.traj"])
def test_nve_goes_on_exactly(between):
    """The second half starts from --final, through either format, with masses of elements and a fixed atom."""
    Path("start.xyz").write_text(START)
    Path("heavy.toml").write_text("masses = { H = 2.014 }")
    how = (*NVE, "--config", "heavy.toml")
    sample("start.xyz", *how, "--steps", 80, "-o", "whole.xyz")
    sample("start.xyz", *how, "--steps", 40, "-o", "first.xyz", "--final", between)
    said = sample(between, *how, "--steps", 40, "-o", "second.xyz")
    assert "1 frame: momenta (sqrt(u·eV)) used as initial velocities" in said
    whole, second = ase_io.read("whole.xyz", ":"), ase_io.read("second.xyz", ":")
    for a, b in zip(whole[2:], second, strict=True):
        assert a.positions.tolist() == b.positions.tolist()
        assert a.get_momenta().tolist() == b.get_momenta().tolist()
    assert whole[0].get_masses()[1] == 2.014, "without their masses, momenta are no velocities"
    assert whole[0].get_kinetic_energy() == pytest.approx(whole[0].info["kinetic_energy"], rel=1e-12)
    assert not whole[0].get_momenta()[0].any()


@needs_kernel
def test_nve_of_ipi_goes_on_exactly():
    """Where PLUMED reports a distance; momenta pass through i-PI's units."""
    Path("start.xyz").write_text(springs.START)
    Path("d.dat").write_text("d: DISTANCE ATOMS=1,2\n")
    how = (*NVE, "--plumed", "d.dat", "--engine", "ipi")
    sample("start.xyz", *how, "--steps", 80, "-o", "whole.xyz")
    sample("start.xyz", *how, "--steps", 40, "-o", "first.xyz", "--final", "half.xyz")
    sample("half.xyz", *how, "--steps", 40, "-o", "second.xyz")
    for a, b in zip(ase_io.read("whole.xyz", "2:"), ase_io.read("second.xyz", ":"), strict=True):
        assert a.positions == pytest.approx(b.positions, abs=1e-14)
        assert a.get_momenta() == pytest.approx(b.get_momenta(), abs=1e-14)


def test_velocities_of_other_programs_and_other_ones(tmp_path):
    """Those of GPUMD are in Å/fs; --draw-velocities takes none; walkers with the same ones must differ by noise."""
    from ase import units

    Path("start.xyz").write_text(MOVING)
    how = ("--steps", 1, "--every", 1, "--timestep", "0.001", "--velocities")
    assert "vel (Å/fs) used" in sample("start.xyz", *how, "--friction", "1e-6", "-o", "one.xyz")
    atoms = ase_io.read("one.xyz")
    assert atoms.get_velocities()[2, 2] * units.fs == pytest.approx(0.02, rel=1e-3)
    assert "vel not used" in sample("start.xyz", *how, "-o", "two.xyz", "--draw-velocities")
    assert abs(ase_io.read("two.xyz").get_velocities()[0, 1]) > 0
    said = sample("start.xyz", *how, "--ensemble", "nve", "--walkers", 2, code=65)
    assert "start.xyz:1: frame 1: 2 walkers would start with the same vel" in said
    sample("start.xyz", *how, "--walkers", 2, "--friction", 50, "-o", "three.xyz")
    pair = ase_io.read("three.xyz", ":")
    assert pair[0].get_momenta().tolist() != pair[1].get_momenta().tolist()


def test_what_cannot_hold_or_have_velocities():
    Path("start.xyz").write_text(START)
    assert "--velocities" in sample("start.xyz", "--velocities", "-o", "x.cif", code=2)
    said = sample("start.xyz", "--velocities", "--beads", 4, "--engine", "auto", "-o", "x.xyz", code=2)
    assert "the momenta of beads are not velocities of atoms" in said
