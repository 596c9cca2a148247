"""What CP2K reports after an SCF that did not converge is never a label (R8), whatever the kind of SCF."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("ase", reason="the cp2k reference needs ase")
pytestmark = [
    pytest.mark.skipif(not shutil.which("cp2k.psmp"), reason="cp2k.psmp is not installed"),
    pytest.mark.usefixtures("in_threads"),
]

OT = "&OT\nMINIMIZER DIIS\nPRECONDITIONER FULL_ALL\n&END OT"
SMEAR = "ADDED_MOS 4\n&SMEAR\nMETHOD FERMI_DIRAC\nELECTRONIC_TEMPERATURE [K] 300\n&END SMEAR"
MIXING = "&DIAGONALIZATION\nALGORITHM STANDARD\n&END DIAGONALIZATION\n&MIXING\nMETHOD BROYDEN_MIXING\n&END MIXING"
OUTER = "&OUTER_SCF\nMAX_SCF {}\nEPS_SCF 1e-6\n&END OUTER_SCF"
KINDS = {
    "OT": f"MAX_SCF 3\n{OT}",
    "OT without a preconditioner": "MAX_SCF 3\n&OT\nMINIMIZER CG\nPRECONDITIONER NONE\n&END OT",
    "diagonalisation": f"MAX_SCF 3\n{MIXING}",
    "diagonalisation by default": "MAX_SCF 3",
    "smearing": f"MAX_SCF 3\n{MIXING}\n{SMEAR}",
    "outer SCF": f"MAX_SCF 2\n{OT}\n{OUTER.format(2)}",
    "outer SCF of diagonalisation": f"MAX_SCF 2\n{MIXING}\n{OUTER.format(1)}",
}
USUAL = ("OT", "diagonalisation", "outer SCF")
GOOD = f"MAX_SCF 30\n{OT}\n{OUTER.format(5)}"
METHOD = """\
&FORCE_EVAL
  METHOD QS
  &DFT
    {dft}
    &QS
      {qs}
    &END QS
    BASIS_SET_FILE_NAME BASIS_MOLOPT
    POTENTIAL_FILE_NAME GTH_POTENTIALS
    &MGRID
      CUTOFF 120
    &END MGRID
    &SCF
      EPS_SCF 1e-6
      {scf}
    &END SCF
    &XC
      &XC_FUNCTIONAL PADE
      &END XC_FUNCTIONAL
    &END XC
  &END DFT
  &SUBSYS
    &KIND O
      BASIS_SET SZV-MOLOPT-GTH
      POTENTIAL GTH-PADE-q6
    &END KIND
    &KIND H
      BASIS_SET SZV-MOLOPT-GTH
      POTENTIAL GTH-PADE-q1
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
"""
WATER = """3
Lattice="4.5 0 0 0 4.5 0 0 0 4.5" Properties=species:S:1:pos:R:3 pbc="T T T"
O 0.0 0.0 0.1
H {x!r} 0.0 0.6
H -0.77 0.05 0.57
"""


def label(psiflow, scf, code, dft="", qs="METHOD GPW", frames=2):
    """Label rattled waters with an SCF; returns how many labels came of it."""
    Path("cp2k.inp").write_text(METHOD.format(scf=scf, dft=dft, qs=qs))
    Path("in.xyz").write_text("".join(WATER.format(x=0.75 + 0.01 * i) for i in range(frames)))
    psiflow("label", "in.xyz", "--reference", "cp2k", "--input", "cp2k.inp", "-o", "out.xyz", code=code)
    return Path("out.xyz").read_text().count("psiflow_id")


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in USUAL else pytest.mark.full) for kind in KINDS]
)
def test_no_unconverged_scf_is_a_label(psiflow, kind):
    assert label(psiflow, KINDS[kind], code=1) == 0
    failed = Path("out.failed.xyz").read_text()
    assert failed.count("failure=unconverged") == 2


@pytest.mark.parametrize(
    ("dft", "qs"), [pytest.param("UKS T\nMULTIPLICITY 3", "METHOD GPW", marks=pytest.mark.full), ("", "METHOD xTB")]
)
def test_nor_with_two_spins_nor_of_tight_binding(psiflow, dft, qs):
    assert label(psiflow, f"MAX_SCF 2\n{MIXING}", code=1, dft=dft, qs=qs) == 0
    assert Path("out.failed.xyz").read_text().count("failure=unconverged") == 2


def test_an_inner_loop_that_ends_early_is_no_failure(psiflow):
    """The last of the outer loops decides: what converges there is a label."""
    assert label(psiflow, f"MAX_SCF 4\n{OT}\n{OUTER.format(20)}", code=0) == 2
    by_outer_loops = energies()
    assert label(psiflow, GOOD, code=0) == 2
    assert energies() == pytest.approx(by_outer_loops, abs=1e-4)


def energies():
    return [float(part.split()[0]) for part in Path("out.xyz").read_text().split(" energy=")[1:]]
