"""The main labelling job with real CP2K: numbers as by hand, failures in their class, kill and resume."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ase_io = pytest.importorskip("ase.io", reason="needs ase")
pytestmark = pytest.mark.skipif(not shutil.which("cp2k.psmp"), reason="cp2k.psmp is not installed")

WATER = """3
Lattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3 pbc="T T T"
O 0.0 0.0 0.0
H {x} 0.0 0.0
H -0.24 0.93 0.0
"""
TEMPLATE = """\
&FORCE_EVAL
  METHOD QS
  STRESS_TENSOR ANALYTICAL
  &DFT
    BASIS_SET_FILE_NAME BASIS_MOLOPT
    POTENTIAL_FILE_NAME GTH_POTENTIALS
    &MGRID
      CUTOFF 150
    &END MGRID
    &SCF
      EPS_SCF 1e-6
      MAX_SCF 25
      &OT
        MINIMIZER DIIS
        PRECONDITIONER FULL_SINGLE_INVERSE
      &END OT
    &END SCF
    &XC
      &XC_FUNCTIONAL PBE
      &END XC_FUNCTIONAL
    &END XC
  &END DFT
  &SUBSYS
    &KIND O
      BASIS_SET SZV-MOLOPT-GTH
      POTENTIAL GTH-PBE-q6
    &END KIND
    &KIND H
      BASIS_SET SZV-MOLOPT-GTH
      POTENTIAL GTH-PBE-q1
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
"""
PRINTED = """\
  &PRINT
    &FORCES
      NDIGITS 12
    &END FORCES
    &STRESS_TENSOR
    &END STRESS_TENSOR
  &END PRINT
"""
BY_HAND = {
    "  STRESS_TENSOR": PRINTED + "  STRESS_TENSOR",
    "  &SUBSYS\n": "  &SUBSYS\n    &CELL\n      ABC 5 5 5\n    &END CELL\n    &COORD\n{coord}\n    &END COORD\n",
}


def by_hand(folder, atoms):
    """Energy (Ha), forces (Ha/bohr), stress (GPa, CP2K's sign) from CP2K's own log of an input written here."""
    folder.mkdir()
    coord = "\n".join(
        f"{s} {x!r} {y!r} {z!r}"
        for s, (x, y, z) in zip(atoms.get_chemical_symbols(), atoms.positions.tolist(), strict=True)
    )
    text = "&GLOBAL\n  RUN_TYPE ENERGY_FORCE\n  PROJECT hand\n&END GLOBAL\n" + TEMPLATE
    for old, new in BY_HAND.items():
        text = text.replace(old, new.replace("{coord}", coord))
    (folder / "hand.inp").write_text(text)
    run = ["cp2k.psmp", "-i", "hand.inp", "-o", "hand.out"]
    # Open MPI 5 does not start without HOME
    env = {"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(folder)}
    subprocess.run(run, cwd=folder, check=True, env=env)
    log = (folder / "hand.out").read_text()
    energy = float(re.search(r"ENERGY\| Total FORCE_EVAL .*\s(-\S+)", log)[1])
    # 2023.1 prints index, kind, element and the components; 2025.1 a name, the index, the components and their norm
    before, lines = 3, log[log.index("ATOMIC FORCES in") :].splitlines()[3:6] if "ATOMIC FORCES in" in log else []
    if not lines:
        before, lines = 2, re.findall(r"FORCES\|\s+\d+ .*", log)
    forces = [[float(x) for x in line.split()[before : before + 3]] for line in lines]
    unit = {"GPa": 1.0, "bar": 1e-4}[re.search(r"STRESS\| Analytical stress tensor \[(\w+)\]", log)[1]]
    stress = [[unit * float(x) for x in re.search(rf"STRESS\|\s+{axis}\s+(-?\d.*)", log)[1].split()] for axis in "xyz"]
    return energy, forces, stress


@pytest.mark.parametrize("count", [2, pytest.param(12, marks=pytest.mark.full)])
def test_labels_equal_cp2k_by_hand(psiflow, tmp_path, count):
    import numpy as np
    from ase.units import Bohr, GPa, Hartree

    Path("cp2k.inp").write_text(TEMPLATE)
    Path("water.xyz").write_text(WATER.format(x=0.96))
    psiflow("rattle", "water.xyz", "-n", count, "--amplitude", "0.05", "-o", "waters.xyz")
    psiflow("label", "waters.xyz", "--reference", "cp2k", "--input", "cp2k.inp", "-o", "out.xyz")
    for index, atoms in enumerate(ase_io.read("out.xyz", ":")):
        energy, forces, stress = by_hand(tmp_path / f"hand{index}", atoms)
        assert atoms.get_potential_energy() / Hartree == pytest.approx(energy, abs=1e-6)
        assert atoms.get_forces() * Bohr / Hartree == pytest.approx(np.array(forces), abs=1e-4)
        # CP2K prints the negative of what ASE calls stress
        assert -atoms.get_stress(voigt=False) / GPa == pytest.approx(np.array(stress), abs=1e-4)


@pytest.mark.full
def test_failures_kill_and_resume(psiflow, start, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    Path("cp2k.inp").write_text(TEMPLATE)
    stretched = [WATER.format(x=0.93 + 0.01 * i) for i in range(4)]
    coincident, unconverged = WATER.format(x=0.0), WATER.format(x=2.3)
    Path("in.xyz").write_text("".join([stretched[0], coincident, *stretched[1:], unconverged]))
    arguments = ("label", "in.xyz", "--reference", "cp2k", "--input", "cp2k.inp")
    psiflow(*arguments, "-o", "whole.xyz", code=1)
    assert len(ase_io.read("whole.xyz", ":")) == 4
    failed = ase_io.read("whole.failed.xyz", ":")
    assert [f.info["failure"] for f in failed] == ["invalid-input", "unconverged"]

    process = start(*arguments, "-o", "killed.xyz")
    journal = Path("killed.xyz.run/journal.jsonl")
    deadline = time.monotonic() + 100
    while not journal.exists() or journal.read_text().count('"kind":"unit"') < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert list(scratch.glob("cp2k-*")), "where CP2K runs"
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while list(scratch.glob("cp2k-*")):
        assert time.monotonic() < deadline, "the scratch folder of a killed run was left"
        time.sleep(0.1)
    done = {json.loads(line)["id"] for line in journal.read_text().splitlines() if '"kind":"unit"' in line}
    assert len(done) < 6
    psiflow(*arguments, "-o", "killed.xyz", code=1)
    units = [json.loads(line)["id"] for line in journal.read_text().splitlines() if '"kind":"unit"' in line]
    assert len(units) == len(set(units)) == 6, "a finished frame was computed again"
    for name in ("xyz", "failed.xyz"):
        assert Path(f"killed.{name}").read_bytes() == Path(f"whole.{name}").read_bytes()
    third = psiflow(*arguments, "-o", "killed.xyz", code=1)
    assert "up to date" in third.stderr
    assert len(journal.read_text().splitlines()) == len(units) + 4  # two begins, two outputs


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("    &END SCF\n", "", "cp2k.inp"),
        ("EPS_SCF 1e-6", "EPS_SFC 1e-6", "EPS_SFC"),
        ("&KIND H", "&KIND C", "H"),
    ],
)
def test_a_wrong_template_is_said_before_any_frame_is_labelled(psiflow, old, new, where):
    assert old in TEMPLATE
    Path("cp2k.inp").write_text(TEMPLATE.replace(old, new))
    Path("in.xyz").write_text(WATER.format(x=0.96))
    done = psiflow("label", "in.xyz", "--reference", "cp2k", "--input", "cp2k.inp", code=65)
    assert where in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3
    assert not Path("in.labelled.xyz").exists()


@pytest.mark.full
def test_a_declared_recovery_labels_what_did_not_converge(psiflow):
    """A stretched O–H, with as many steps as it takes; an ordinary water beside it is as without the recovery."""
    Path("cp2k.inp").write_text(TEMPLATE)
    Path("in.xyz").write_text(WATER.format(x=0.95) + WATER.format(x=2.3))
    arguments = ("label", "in.xyz", "--reference", "cp2k", "--input", "cp2k.inp")
    psiflow(*arguments, "-o", "strict.xyz", code=1)
    psiflow(*arguments, "--recover", "FORCE_EVAL/DFT/SCF/MAX_SCF=300", "-o", "out.xyz")
    ordinary, stretched = ase_io.read("out.xyz", ":")
    assert stretched.info["psiflow_recovery"] == "FORCE_EVAL/DFT/SCF/MAX_SCF=300"
    assert "psiflow_recovery" not in ordinary.info
    assert Path("out.xyz").read_text().startswith(Path("strict.xyz").read_text())
    Path("cp2k.inp").write_text(TEMPLATE.replace("MAX_SCF 25", "MAX_SCF 300"))
    psiflow(*arguments, "-o", "patient.xyz")
    assert ase_io.read("patient.xyz", ":")[1].get_potential_energy() == stretched.get_potential_energy()
