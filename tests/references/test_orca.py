"""ORCA, played by a stand-in that writes in its layout: units and signs, templates, failures in the right class."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.references import orca as reference
from psiflow_cli.worker.failures import Fatal
from tests.references import playback_orca

pytest.importorskip("ase", reason="ASE is not installed")
PBE = "! PBE def2-SVP\n"
EV, ANGSTROM = 27.211386, 0.529177211


def read(folder: Path, text: str) -> dict[str, Any]:
    path = folder / "orca.inp"
    path.write_text(text)
    return reference.settings(path, {})


@pytest.fixture
def orca(context: Any, tmp_path: Path) -> Any:
    """Label a frame with the stand-in as the site's executable."""
    path = tmp_path / "orca"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{playback_orca.__file__}" "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    task = context(executable=str(path))

    def one(frame: dict[str, Any], template: str, **changes: Any) -> dict[str, Any]:
        (label,) = reference.label([frame], read(tmp_path, template), {**task, **changes})
        return label

    one.task = task  # type: ignore[attr-defined]
    return one


def test_units_and_signs(orca: Any, molecule: Any) -> None:
    label = orca(molecule(), PBE)
    rows = molecule()["positions"]
    energy = 0.05 * sum(x * x for row in rows for x in row) / ANGSTROM**2 * EV
    assert label["energy"] == pytest.approx(energy, rel=1e-7)
    forces = [pytest.approx([-0.1 * x / ANGSTROM**2 * EV for x in row], rel=1e-6, abs=1e-9) for row in rows]
    assert label["forces"] == forces
    assert label["stress"] is None
    assert label["code"] == "ORCA 5.0.4" == reference.code(orca.task)
    charged = orca(molecule(charge=1, multiplicity=2), PBE)
    assert label["energy"] - charged["energy"] == pytest.approx(0.5 * EV, abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "template", "kind", "message"),
    [
        ({}, f"{PBE}%scf\n maxiter 2\nend\n", "unconverged", "did not converge"),
        ({}, f"{PBE}%scf\n crash\nend\n", "crashed", "error termination in SCF"),
        ({"multiplicity": 2}, PBE, "invalid-input", "multiplicity 2 is impossible"),
        ({}, f"{PBE}* xyz 1 1\n*\n", "invalid-input", "impossible for 9 electrons"),
        ({"pbc": [True] * 3, "cell": [[5, 0, 0], [0, 5, 0], [0, 0, 5]]}, PBE, "invalid-input", "is periodic"),
    ],
)
def test_failures(orca: Any, molecule: Any, changes: dict[str, Any], template: str, kind: str, message: str) -> None:
    label = orca(molecule(**changes), template)
    assert label["failure"] == kind, label
    assert message in label["message"]


def test_an_unknown_keyword_ends_the_run(orca: Any, molecule: Any) -> None:
    """Though ORCA's exit code is 0."""
    with pytest.raises(Fatal, match=r"UNRECOGNIZED OR DUPLICATED KEYWORD.* nonsense") as caught:
        orca(molecule(), "! PBE nonsense\n")
    assert caught.value.exit_code == 65


def test_it_starts_its_own_ranks(orca: Any, molecule: Any) -> None:
    label = orca(molecule(), PBE, ranks=4, launch="no-such-mpirun -np {ranks}")
    assert "failure" not in label
    assert "%pal nprocs 4 end" in reference.render(molecule(), {"template": PBE, "charge": 0, "multiplicity": 1}, 4)


PRODUCTION = """\
# as users have it
! B3LYP D3BJ def2-SVP TightSCF Opt PAL8
%maxcore 2000
%pal nprocs 8
end
%scf
  MaxIter 300
end
%geom MaxIter 50 end
* xyz -1 2
O 0 0 0
H 0 0 0.96
*
"""


def test_a_production_input_works_as_it_is(tmp_path: Path) -> None:
    found = read(tmp_path, PRODUCTION)
    kept = "! B3LYP D3BJ def2-SVP TightSCF\n%maxcore 2000\n%scf\nMaxIter 300\nend\n"
    assert found == {"template": kept, "charge": -1, "multiplicity": 2}
    assert reference.replaced(tmp_path / "orca.inp") == ["Opt", "PAL8", "%pal", "%geom", "coordinates"]
    alone = reference.isolated(found)
    assert alone["template"].startswith("! B3LYP def2-SVP TightSCF\n")
    assert alone["template"].endswith("! UKS\n")
    basis = f'{PBE}%basis\nNewGTO O "def2-TZVP" end\nNewGTO H\nS 1\n1 1.0 1.0\nend\nend\n'
    assert read(tmp_path, basis)["template"] == basis
    scan = '! PBE STO-3G TightSCF L-Opt NEB-TS\n%base "x"\n%geom\nConstraints\n{ B 0 1 C }\nend\nend\n'
    assert read(tmp_path, scan)["template"] == "! PBE STO-3G TightSCF\n"
    assert read(tmp_path, f"{PBE}*xyzfile 1 2 water.xyz\n") == {"template": PBE, "charge": 1, "multiplicity": 2}


def test_changes(tmp_path: Path) -> None:
    found = read(tmp_path, PBE)
    assert reference.changed(found, {"scf/maxiter": "500"})["template"] == f"{PBE}%scf\nmaxiter 500\nend\n"
    with pytest.raises(UsageError, match="cannot be changed"):
        reference.changed(found, {"maxiter": "500"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%scf\n maxiter 3\nend\n", ":1: no keyword line"),
        (f"{PBE}%scf\n maxiter 3\n", ":2: the block that starts here is never closed"),
        (f"{PBE}* xyz\n*\n", ":2: no charge and multiplicity"),
        (f"{PBE}maxiter 3\n", ":2: maxiter is not part"),
        (f"{PBE}$new_job\n{PBE}", ":2: $new_job is not part"),
        (f"{PBE}* xyz 0 1\nO 0 0 0\nH: 0 0 1\n*\n", ":4: H: is not just an element"),
        (f"{PBE}* xyz 0 1\nO(1) 0 0 0\n*\n", ":3: O(1) is not just an element"),
        (f"{PBE}* xyz 0 1\nQ 0.5 0 0 0\n*\n", ":3: Q is not just an element"),
        (f"{PBE}* xyz 0 1\nO 0 0 0 NewGTO S 1\n1 1.0 1.0\nend\n*\n", ":3: NewGTO is for one atom"),
        (f"{PBE}* xyz 0 1\nH 0 0 0 Z = 0.5\n*\n", ":3: Z = is for one atom"),
        (f"{PBE}%coords\nCTyp xyz\nCharge 1\ncoords\nH 0 0 0\nend\nend\n", ":2: %coords cannot be used here"),
        (f'{PBE}%pointcharges "q.pc"\n', ":2: %pointcharges cannot be used here"),
        (f"{PBE}%tddft\nnroots 5\nend\n", ":2: %tddft cannot be used here"),
        (f"{PBE}%scf FlipSpin 1\nFinalMs 0\nend\n", ":2: FlipSpin refers to atom numbers"),
        (f"{PBE}%scf\nFlipSpin 1\nFinalMs 0\nend\n", ":3: FlipSpin refers to atom numbers"),
    ],
)
def test_wrong_templates(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadData) as caught:
        read(tmp_path, text)
    assert caught.value.message.startswith(f"{tmp_path / 'orca.inp'}{message}")
