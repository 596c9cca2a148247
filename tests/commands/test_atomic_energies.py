"""psiflow atomic-energies: every state that could be the lowest, with the reference that labels."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from psiflow_cli.elements import SYMBOLS
from psiflow_cli.stages.label.atomic_energies import ground_state, multiplicities
from tests.commands.inputs import WATER
from tests.commands.test_label_cp2k import TEMPLATE

pytestmark = pytest.mark.usefixtures("in_threads")
REFERENCE = '''"""An atom has the energy -10 S, and iron has none."""
from psiflow_cli.worker.failures import failure

SUMMARY = "for a test"
REQUIRES = ()
FRAME_INPUTS = ("charge", "multiplicity")
DEFAULT_TASK_SECONDS = 0.5

def settings(input_file, options):
    return {}

def check(settings, elements):
    pass

def label(frames, settings, context):
    return [one(frame) for frame in frames]

def one(frame):
    if frame["symbols"] == ["Fe"]:
        return failure("unconverged", "too many states")
    if (frame["symbols"], frame["multiplicity"]) == (["N"], 4):
        return failure("crashed", "this one only")
    energy = -5.0 * (frame["multiplicity"] - 1)
    return {"energy": energy, "forces": [[0.0, 0.0, 0.0]], "stress": None, "code": "test 1"}
'''


def frames(path):
    rows = Path(path).read_text().splitlines()
    found = {}
    for comment, atom in zip(rows[1::3], rows[2::3], strict=True):
        assert "config_type=IsolatedAtom" in comment
        found[atom.split()[0]] = (
            float(re.search(r"energy=(\S+)", comment)[1]), int(re.search(r"multiplicity=(\d+)", comment)[1])
        )  # fmt: skip
    return found


def test_the_states_hold_the_ground_state_of_every_element():
    data = pytest.importorskip("ase.data", reason="its table is the independent source")
    for number in range(1, 87):
        if SYMBOLS[number - 1] != "Ce":  # the table gives its moment after relativity, of no whole spin
            real = round(data.ground_state_magnetic_moments[number]) + 1
            assert real in multiplicities(number)
            assert ground_state(SYMBOLS[number - 1]) in (real, None)
    assert [ground_state(e) for e in ("H", "Be", "C", "N", "O", "Ga", "Fe", "Zn", "Ce")] == [
        2,
        1,
        3,
        4,
        3,
        2,
        None,
        None,
        None,
    ]


def test_all_states_of_an_element_have_its_parity():
    for number in range(1, 104):
        assert all((number + m) % 2 == 1 for m in multiplicities(number))
        assert multiplicities(number) == sorted(set(multiplicities(number)))


def test_the_lowest_state_is_kept(psiflow):
    Path("mine.py").write_text(REFERENCE)
    Path("water.xyz").write_text(WATER)
    done = psiflow("atomic-energies", "water.xyz", "--elements", "N", "--reference", "./mine.py", "-o", "atoms.xyz")
    assert frames("atoms.xyz") == {"H": (-5.0, 2), "N": (-5.0, 2), "O": (-10.0, 3)}
    assert "O        -10.00000000 eV, 2S+1 = 3" in done.stdout
    assert "In the real atom, 2S+1 is 4 for N. This method" in done.stderr
    again = psiflow("atomic-energies", "water.xyz", "--elements", "N", "--reference", "./mine.py", "-o", "atoms.xyz")
    assert "up to date" in again.stderr
    assert again.stdout == done.stdout


def test_an_element_without_any_state_is_a_failure(psiflow):
    Path("mine.py").write_text(REFERENCE)
    done = psiflow("atomic-energies", "--elements", "H,Fe", "--reference", "./mine.py", "--json", code=1)
    summary = json.loads(done.stdout)
    assert summary["energies"] == {"H": -5.0}
    assert summary["failures"] == {"unconverged": 1}
    assert "Fe: too many states" in done.stderr
    assert frames("atoms.xyz").keys() == {"H"}
    assert "failure=unconverged" in Path("atoms.failed.xyz").read_text()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [((), "no elements"), (("--elements", "H,Xx"), "'Xx' is not an element")],
)
def test_wrong_usage(psiflow, arguments, what):
    Path("mine.py").write_text(REFERENCE)
    assert what in psiflow("atomic-energies", *arguments, "--reference", "./mine.py", code=2).stderr
    assert not Path("atoms.xyz.run").exists()


def test_train_takes_them(psiflow, trained):
    """Made by the reference that labelled the data, they are what its own one-atom frames say."""
    psiflow("atomic-energies", "--elements", "H,O", "--reference", "xtb", "-o", "atoms.xyz")
    made = frames("atoms.xyz")
    model = json.loads(json.dumps(_toml(Path(trained.model) / "model.toml")["atomic_energies"]))
    assert made["H"][0] == pytest.approx(model["H"], abs=1e-9)
    assert made["O"][0] <= model["O"] + 1e-9


def _toml(path):
    from psiflow_cli import toml

    return toml.loads(path.read_text())


@pytest.mark.skipif(not shutil.which("cp2k.psmp"), reason="cp2k.psmp is not installed")
@pytest.mark.parametrize("elements", ["H", pytest.param("H,O", marks=pytest.mark.full)])
def test_cp2k_finds_hunds_ground_states(psiflow, elements):
    pytest.importorskip("ase", reason="needs ase")
    dispersion = """      &VDW_POTENTIAL
        POTENTIAL_TYPE PAIR_POTENTIAL
        &PAIR_POTENTIAL
          TYPE DFTD3
          PARAMETER_FILE_NAME dftd3.dat
          REFERENCE_FUNCTIONAL PBE
        &END PAIR_POTENTIAL
      &END VDW_POTENTIAL
    &END XC
"""
    Path("cp2k.inp").write_text(
        TEMPLATE.replace("    &END XC\n", dispersion).replace("  &DFT\n", "  &DFT\n    CHARGE 1\n    MULTIPLICITY 2\n")
    )
    method = ("--reference", "cp2k", "--input", "cp2k.inp")
    arguments = ("atomic-energies", "--elements", elements, *method, "-o", "atoms.xyz")
    plan = psiflow(*arguments, "--dry-run").stdout
    assert "UKS T" in plan
    assert "CHARGE 0" in plan
    assert "VDW_POTENTIAL" not in plan
    psiflow(*arguments)
    found = frames("atoms.xyz")
    assert found["H"][1] == 2
    assert -14 < found["H"][0] < -10
    if "O" in elements:
        assert found["O"][1] == 3
        assert -445 < found["O"][0] < -420
