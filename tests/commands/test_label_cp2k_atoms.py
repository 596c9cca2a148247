"""What a CP2K input says of single atoms and of a molecule's cell counts as in a run by hand, or ends with 65."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.references import cp2k_log

ase_io = pytest.importorskip("ase.io", reason="needs ase")
pytestmark = [
    pytest.mark.usefixtures("in_threads"),
    pytest.mark.skipif(not shutil.which("cp2k.psmp"), reason="cp2k.psmp is not installed"),
]

INPUT = """\
&GLOBAL
  RUN_TYPE ENERGY_FORCE
  PROJECT hand
&END
&FORCE_EVAL
  METHOD QS
  &PRINT
    &FORCES
      NDIGITS 12
    &END
  &END
  &DFT
    BASIS_SET_FILE_NAME BASIS_MOLOPT
    POTENTIAL_FILE_NAME GTH_POTENTIALS
    &POISSON
      PERIODIC {periodic}
      POISSON_SOLVER {solver}
    &END
    &MGRID
      CUTOFF 120
    &END
    &SCF
      EPS_SCF 1e-6
    &END
    &XC
      &XC_FUNCTIONAL PADE
      &END
    &END
  &END DFT
  &SUBSYS
    &CELL
      ABC 6 6 6
      PERIODIC {periodic}
    &END
    &COORD
      O 3.01 2.99 3.13
      H1 3.03 2.23 2.5
      H 2.98 3.77 2.55
    &END
    &KIND H
      BASIS_SET SZV-MOLOPT-SR-GTH
      POTENTIAL GTH-PADE-q1
    &END
    &KIND H1
      BASIS_SET {basis}-MOLOPT-SR-GTH
      POTENTIAL GTH-PADE-q1
    &END
    &KIND O
      BASIS_SET SZV-MOLOPT-SR-GTH
      POTENTIAL GTH-PADE-q6
    &END
  &END
&END
"""
ATOMS = "O 3.01 2.99 3.13\nH 3.03 2.23 2.5\nH 2.98 3.77 2.55\n"
FRAME = f'3\nProperties=species:S:1:pos:R:3 pbc="F F F"\n{ATOMS}'
PERIODIC = FRAME.replace('pbc="F F F"', 'pbc="T T T" Lattice="6 0 0 0 6 0 0 0 6"')
KINDS = INPUT.format(periodic="XYZ", solver="PERIODIC", basis="DZVP")
CELL = INPUT.format(periodic="NONE", solver="MT", basis="SZV")
LABEL = ("label", "in.xyz", "--reference", "cp2k", "--input", "cp2k.inp", "-o", "out.xyz")


@pytest.mark.parametrize(("text", "frame"), [(KINDS, PERIODIC), (CELL, FRAME)], ids=["kinds", "cell"])
def test_as_by_hand(psiflow, text, frame):
    import numpy as np
    from ase.units import Bohr, Hartree

    Path("cp2k.inp").write_text(text)
    Path("in.xyz").write_text(frame)
    done = psiflow(*LABEL)
    assert ("warning: 1 frame computed in a cell with too little room" in done.stderr) is (text == CELL)
    atoms = ase_io.read("out.xyz")
    assert "psiflow_box" not in atoms.info
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    log = subprocess.run(["cp2k.psmp", "cp2k.inp"], env=env, capture_output=True, text=True, check=True).stdout
    assert atoms.get_potential_energy() / Hartree == pytest.approx(cp2k_log.energy(log), abs=1e-6)
    assert atoms.get_forces() * Bohr / Hartree == pytest.approx(np.array(cp2k_log.forces(log)), abs=1e-4)


def test_what_cannot_be_carried(psiflow):
    Path("cp2k.inp").write_text(KINDS)
    Path("in.xyz").write_text(PERIODIC.replace(ATOMS, "H 3.03 2.23 2.5\nO 3.01 2.99 3.13\nH 2.98 3.77 2.55\n"))
    wrong = psiflow(*LABEL, code=65)
    place = f"cp2k.inp:{KINDS.splitlines().index('  &SUBSYS') + 1}"
    assert f"{place}: the frame does not match the template: the template has several &KINDs of H" in wrong.stderr
    Path("cp2k.inp").write_text(re.sub(r"    &COORD[\s\S]*?&END\n", "", KINDS))
    wrong = psiflow(*LABEL, code=65)
    assert f"{place}: &KIND H and &KIND H1 are all for H, but differ" in wrong.stderr
    assert "give the template a &COORD" in wrong.stderr
    assert not Path("out.xyz").exists()


def test_a_box_that_psiflow_makes_is_in_the_frame(psiflow):
    Path("cp2k.inp").write_text(
        re.sub(r"    &CELL[\s\S]*?&END\n|      POISSON_SOLVER.*\n|      PERIODIC NONE\n", "", CELL)
    )
    Path("in.xyz").write_text(FRAME)
    dry = psiflow(*LABEL, "--dry-run")
    assert (
        "1 frame without a cell: computed in a cube of 12 Å (psiflow_box); to change this, use --set box=EDGE or"
        in dry.stderr
    )
    psiflow(*LABEL, "--set", "box=8")
    assert ase_io.read("out.xyz").info["psiflow_box"] == 8.0
