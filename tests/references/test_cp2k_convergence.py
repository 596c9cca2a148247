"""Every method's own way to say that it converged or not, from the installed CP2K."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.references import cp2k
from tests.references import cp2k_log

CP2K = shutil.which("cp2k.psmp")
pytestmark = pytest.mark.skipif(CP2K is None, reason="cp2k.psmp is not installed")
pytest.importorskip("ase", reason="ASE is not installed")

TEMPLATE = """\
&FORCE_EVAL
  METHOD QS
  STRESS_TENSOR NONE
  &DFT
    BASIS_SET_FILE_NAME GTH_BASIS_SETS
    POTENTIAL_FILE_NAME GTH_POTENTIALS
    &MGRID
      CUTOFF 120
    &END MGRID
    {dft}
    &XC
      &XC_FUNCTIONAL PADE
      &END XC_FUNCTIONAL
    &END XC
  &END DFT
  &SUBSYS
    &KIND O
      BASIS_SET SZV-GTH
      POTENTIAL GTH-PADE-q6
    &END KIND
    &KIND H
      BASIS_SET SZV-GTH
      POTENTIAL GTH-PADE-q1
    &END KIND
    &KIND He
      BASIS_SET DZVP-GTH
      POTENTIAL GTH-PADE-q2
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
"""
SCF = "&SCF\nMAX_SCF 40\nEPS_SCF 1E-6\n&OT\nMINIMIZER DIIS\nPRECONDITIONER FULL_ALL\n&END\n&END"
LINEAR_SCALING = "&QS\nLS_SCF T\n&END\n&LS_SCF\nMAX_SCF {steps}\nEPS_SCF 1E-7\n&END"
ALMO = """\
&QS
ALMO_SCF T
&END
&ALMO_SCF
DELOCALIZE_METHOD FULL_SCF
&ALMO_OPTIMIZER_DIIS
MAX_ITER 50
EPS_ERROR 1E-5
&END
&XALMO_OPTIMIZER_PCG
MAX_ITER {steps}
EPS_ERROR 1E-5
&END
&END"""
SCCS = "&SCCS\nEPS_SCCS 1E-9\nMAX_ITER {steps}\n&END\n" + SCF
IMPLICIT = (
    "&POISSON\nPOISSON_SOLVER IMPLICIT\n&IMPLICIT\nBOUNDARY_CONDITIONS PERIODIC\nMAX_ITER {steps}\nTOL 1E-9\n"
    "&DIELECTRIC\nDIELECTRIC_CONSTANT 4.0\n&END\n&END\n&END\n" + SCF
)
DFTB = """\
&QS
METHOD DFTB
&DFTB
SELF_CONSISTENT F
&PARAMETER
PARAM_FILE_PATH DFTB/nonscc
PARAM_FILE_NAME nonscc_parameter
&END
&END
&END"""
CONVERGED = {
    "orbital transformation": SCF,
    "linear scaling": LINEAR_SCALING.format(steps=30),
    "localized orbitals": ALMO.format(steps=50),
    "solvent": SCCS.format(steps=100),
    "dielectric": IMPLICIT.format(steps=100),
    "tight binding without charges": DFTB,
}
UNCONVERGED = {
    "one step": (SCF.replace("40", "1"), "the SCF did not converge"),
    "linear scaling": (LINEAR_SCALING.format(steps=2), "the SCF did not converge"),
    "localized orbitals": (ALMO.format(steps=1), "Optimization not converged"),
    "solvent": (SCCS.format(steps=1), "SCCS| Iteration cycle did not converge"),
    "dielectric": (IMPLICIT.format(steps=1), "POISSON| No convergence achieved"),
}
HELIUM = {"symbols": ["He", "He"], "positions": [[1.0, 1.0, 1.0], [2.6, 1.1, 1.0]]}
"""Two molecules of which each is an atom."""
IN_FULL = ("solvent", "dielectric", "localized orbitals")


def cases(names: dict[str, Any]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.full) if name in IN_FULL else name for name in names]


def changes(method: str) -> dict[str, Any]:
    return HELIUM if method == "localized orbitals" else {}


def labelled(folder: Path, dft: str, frame: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """The label with a template of this method."""
    (folder / "cp2k.inp").write_text(TEMPLATE.format(dft=dft))
    (label,) = cp2k.label([frame], cp2k.settings(folder / "cp2k.inp", {}), context)
    return label


@pytest.mark.parametrize("method", cases(CONVERGED))
def test_a_method_that_converges_equals_a_run_by_hand(frame: Any, context: Any, tmp_path: Path, method: str) -> None:
    from ase.units import Bohr, Hartree

    structure = frame(**changes(method))
    label = labelled(tmp_path, CONVERGED[method], structure, context(executable=str(CP2K)))
    assert "failure" not in label, label
    rows = zip(structure["symbols"], structure["positions"], strict=True)
    atoms = "".join(f"{symbol} {' '.join(map(str, row))}\n" for symbol, row in rows)
    subsys = f"&SUBSYS\n&CELL\nABC 5 5 5\n&END\n&COORD\n{atoms}&END\n"
    text = TEMPLATE.format(dft=CONVERGED[method]).replace("&SUBSYS\n", subsys, 1)
    text = text.replace("METHOD QS\n", "METHOD QS\n&PRINT\n&FORCES\nNDIGITS 14\n&END\n&END\n", 1)
    (tmp_path / "hand.inp").write_text(text)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(CP2K), "hand.inp"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert label["energy"] / Hartree == pytest.approx(cp2k_log.energy(done.stdout), abs=1e-8)
    for ours, theirs in zip(label["forces"], cp2k_log.forces(done.stdout), strict=True):
        assert [x * Bohr / Hartree for x in ours] == pytest.approx(theirs, abs=1e-7)


@pytest.mark.parametrize("method", cases(UNCONVERGED))
def test_a_method_that_does_not_converge(frame: Any, context: Any, tmp_path: Path, method: str) -> None:
    dft, message = UNCONVERGED[method]
    label = labelled(tmp_path, dft, frame(**changes(method)), context(executable=str(CP2K)))
    assert label.get("failure") == "unconverged", label
    assert message in label["message"]


def test_a_failure_that_cp2k_is_told_to_ignore(frame: Any, context: Any, tmp_path: Path) -> None:
    run = context(executable=str(CP2K))
    if tuple(map(int, cp2k.code(run).removeprefix("CP2K ").split("."))) < (2024, 1):
        pytest.skip("this version has no IGNORE_CONVERGENCE_FAILURE")
    label = labelled(tmp_path, SCF.replace("MAX_SCF 40", "MAX_SCF 2\nIGNORE_CONVERGENCE_FAILURE"), frame(), run)
    assert label.get("failure") == "unconverged", label
