"""CP2K itself: labels equal to a run by hand, and every failure in its class."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.references import cp2k
from psiflow_cli.worker.failures import Fatal
from tests.references import cp2k_log

CP2K = shutil.which("cp2k.psmp")
pytestmark = pytest.mark.skipif(CP2K is None, reason="cp2k.psmp is not installed")
pytest.importorskip("ase", reason="ASE is not installed")

METHOD = """\
  METHOD QS
  &DFT
    BASIS_SET_FILE_NAME BASIS_MOLOPT
    POTENTIAL_FILE_NAME GTH_POTENTIALS
    &MGRID
      CUTOFF 150
    &END MGRID
    &SCF
      EPS_SCF 1.0E-6
      MAX_SCF 25
      &OT
        MINIMIZER DIIS
        PRECONDITIONER FULL_ALL
      &END OT
    &END SCF
    {dft}
    &XC
      &XC_FUNCTIONAL PADE
      &END XC_FUNCTIONAL
    &END XC
  &END DFT
"""
KINDS = """\
    &KIND O
      BASIS_SET SZV-MOLOPT-GTH
      POTENTIAL GTH-PADE-q6
    &END KIND
    &KIND H
      BASIS_SET SZV-MOLOPT-GTH
      POTENTIAL GTH-PADE-q1
    &END KIND
"""
BY_HAND = """\
&GLOBAL
  PROJECT hand
  RUN_TYPE ENERGY_FORCE
&END GLOBAL
&FORCE_EVAL
  {stress}
  &PRINT
    &FORCES ON
    &END FORCES
    &STRESS_TENSOR ON
    &END STRESS_TENSOR
  &END PRINT
{method}
  &SUBSYS
    &CELL
      ABC {edge} {edge} {edge}
      PERIODIC {periodic}
    &END CELL
    &COORD
      O 0.0 0.0 0.1
      H 0.76 0.0 0.6
      H -0.77 0.05 0.57
    &END COORD
{kinds}
  &END SUBSYS
&END FORCE_EVAL
"""
MT = "&POISSON\nPERIODIC NONE\nPSOLVER MT\n&END POISSON"


def template(folder: Path, dft: str = "", **changes: str) -> dict[str, Any]:
    """The settings from a template without coordinates."""
    text = f"&FORCE_EVAL\n{METHOD.format(dft=dft)}  &SUBSYS\n{KINDS}  &END SUBSYS\n&END FORCE_EVAL\n"
    for there, instead in changes.items():
        assert there in text
        text = text.replace(there, instead)
    (folder / "cp2k.inp").write_text(text)
    return cp2k.settings(folder / "cp2k.inp", {})


def by_hand(folder: Path, **words: str) -> tuple[float, list[list[float]], str]:
    """Energy (Ha), forces (Ha/bohr) and the log of cp2k.psmp on an input of its own."""
    (folder / "hand.inp").write_text(BY_HAND.format(kinds=KINDS, **words))
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(CP2K), "hand.inp"], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return cp2k_log.energy(done.stdout), cp2k_log.forces(done.stdout), done.stdout


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return template(tmp_path_factory.mktemp("template"))


def one(frame: dict[str, Any], settings: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    (label,) = cp2k.label([frame], settings, context)
    assert not list(Path(context["scratch"]).glob("*")), "the scratch folder is left empty"
    return label


@pytest.fixture(scope="module")
def label(frame: Any, context: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """The label of the periodic water."""
    return one(frame(), settings, context())


def test_equals_a_run_by_hand_to_the_last_bit_each_time(
    frame: Any, context: Any, settings: dict[str, Any], label: dict[str, Any], tmp_path: Path
) -> None:
    from ase.units import Bohr, GPa, Hartree

    words = {"stress": "STRESS_TENSOR ANALYTICAL", "method": METHOD.format(dft=""), "edge": "5.0", "periodic": "XYZ"}
    energy, forces, log = by_hand(tmp_path, **words)
    assert label["energy"] / Hartree == pytest.approx(energy, abs=1e-9)
    assert [[x / Hartree * Bohr for x in row] for row in label["forces"]] == [
        pytest.approx(r, abs=1e-8) for r in forces
    ]
    x, y, z = cp2k_log.stress(log)
    pressure = [x[0], y[1], z[2], y[2], x[2], x[1]]
    assert [-s / GPa for s in label["stress"]] == pytest.approx(pressure, abs=1e-5)
    assert f"CP2K version {label['code'].removeprefix('CP2K ')}\n" in log
    assert set(label) == {"energy", "forces", "stress", "code"}
    here = context()
    assert json.dumps(one(frame(), settings, here)) == json.dumps(label)
    kept = gzip.decompress((Path(here["logs"]) / "0123456789abcdef.out.gz").read_bytes()).decode()
    assert "PROGRAM ENDED" in kept
    assert "H 0.76 0.0 0.6" in gzip.decompress((Path(here["logs"]) / "0123456789abcdef.inp.gz").read_bytes()).decode()


def test_a_molecule_equals_a_run_by_hand(frame: Any, context: Any, tmp_path: Path) -> None:
    from ase.units import Bohr, Hartree

    words = {"stress": "", "method": METHOD.format(dft=MT), "edge": "8.0", "periodic": "NONE"}
    energy, forces, _ = by_hand(tmp_path, **words)
    cell = [[8.0, 0.0, 0.0], [0.0, 8.0, 0.0], [0.0, 0.0, 8.0]]
    label = one(frame(cell=cell, pbc=[False] * 3), template(tmp_path, MT), context())
    assert label["energy"] / Hartree == pytest.approx(energy, abs=1e-9)
    assert [[x / Hartree * Bohr for x in row] for row in label["forces"]] == [
        pytest.approx(r, abs=1e-8) for r in forces
    ]
    assert label["stress"] is None


def test_a_molecule_without_a_cell_and_its_ions(molecule: Any, context: Any, settings: dict[str, Any]) -> None:
    boxed = {**settings, "box": 8.0}
    neutral = one(molecule(), boxed, context())
    cation = one(molecule(charge=1, multiplicity=2), boxed, context())
    assert neutral["stress"] is None
    # The vertical ionisation energy of water is 12.6 eV; a minimal basis and a coarse grid are not far off.
    assert cation["energy"] - neutral["energy"] == pytest.approx(12.6, abs=2.0)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"charge": 1}, "odd number of electrons"),
        ({"multiplicity": 2}, "multiplicity"),
        ({"charge": 11}, "removes more electrons"),
    ],
)
def test_an_impossible_charge_or_multiplicity(
    frame: Any, context: Any, settings: dict[str, Any], state: dict[str, int], message: str
) -> None:
    label = one(frame(**state), settings, context())
    assert label["failure"] == "invalid-input"
    assert message in label["message"]


def test_an_unconverged_scf_is_a_failure(frame: Any, context: Any, settings: dict[str, Any]) -> None:
    stretched = frame(positions=[[0.0, 0.0, 0.1], [2.3, 0.0, 0.1], [-0.6, 2.2, 0.1]])
    label = one(stretched, settings, context())
    assert label["failure"] == "unconverged"
    assert "SCF run NOT converged" in Path(label["log"]).read_text()


def test_coincident_atoms_do_not_reach_cp2k(frame: Any, context: Any, settings: dict[str, Any]) -> None:
    positions = [[0.0, 0.0, 0.1], [0.0, 0.0, 5.1], [-0.77, 0.05, 0.57]]
    label = one(frame(positions=positions), settings, context(executable="no-such-program"))
    assert label == {
        "failure": "invalid-input",
        "message": "O (atom 1) and H (atom 2) are 0.000 Å apart across the cell boundary",
        "log": "",
    }


def test_the_time_limit(frame: Any, context: Any, settings: dict[str, Any]) -> None:
    label = one(frame(), settings, context(walltime=0.2))
    assert label["failure"] == "timeout"
    assert Path(label["log"]).exists()


def test_the_memory_limit(frame: Any, context: Any, settings: dict[str, Any]) -> None:
    assert one(frame(), settings, context(memory=5))["failure"] == "out-of-memory"


def test_a_failure_leaves_its_neighbours_alone(frame: Any, context: Any, settings: dict[str, Any]) -> None:
    frames = [frame(id="a", positions=[[float("nan")] * 3] * 3), frame(id="b")]
    bad, good = cp2k.label(frames, settings, context())
    assert bad["failure"] == "invalid-input"
    assert good["stress"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"CUTOFF": "CUTOF"}, "unknown keyword CUTOF in section MGRID"),
        ({"FULL_ALL": "FULL_AL"}, "invalid value for enumeration:FULL_AL"),
        ({"GTH-PADE-q6": "GTH-PADE-q5"}, "<GTH-PADE-q5> for element <O> was not found"),
    ],
)
def test_a_wrong_template_ends_the_run(
    frame: Any, context: Any, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(Fatal, match=message) as caught:
        one(frame(), template(tmp_path, **changes), context())
    assert caught.value.exit_code == 65


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"executable": "cp2k.nope"}, "executable 'cp2k.nope'"),
        ({"launch": "nope -np {ranks}"}, "launch 'nope'"),
        ({"launch": "mpirun -np {rank}"}, "cannot be filled in"),
    ],
)
def test_a_wrong_site_ends_the_run(
    frame: Any, context: Any, settings: dict[str, Any], changes: dict[str, str], message: str
) -> None:
    with pytest.raises(Fatal, match=re.escape(message)) as caught:
        one(frame(), settings, context(**changes))
    assert caught.value.exit_code == 78


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not installed")
def test_two_ranks(frame: Any, context: Any, settings: dict[str, Any], label: dict[str, Any]) -> None:
    site = {"ranks": 2, "launch": "mpirun -np {ranks} --oversubscribe"}
    assert one(frame(), settings, context(**site))["energy"] == pytest.approx(label["energy"], abs=1e-8)
    with pytest.raises(Fatal, match=r"executable 'cp2k\.nope'") as caught:
        one(frame(), settings, context(**site, executable="cp2k.nope"))
    assert caught.value.exit_code == 78


def test_a_basis_set_file_of_ones_own(frame: Any, context: Any, tmp_path: Path) -> None:
    (tmp_path / "MINE").write_text("H MINE\n 1\n 1 0 0 1 1\n 0.5 1.0\n")
    changed = {"BASIS_MOLOPT\n": "BASIS_MOLOPT\n    BASIS_SET_FILE_NAME ./MINE\n"}
    settings = template(
        tmp_path, **changed, **{"SZV-MOLOPT-GTH\n      POTENTIAL GTH-PADE-q1": "MINE\n POTENTIAL GTH-PADE-q1"}
    )
    shutil.rmtree(tmp_path)
    assert one(frame(), settings, context())["energy"] < 0
