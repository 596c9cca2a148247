"""NWChem: equal to NWChem run by hand; which part of a template counts; failures in the right class."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.references import nwchem as reference
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.process.launcher import environment

installed = pytest.mark.skipif(not shutil.which("nwchem"), reason="nwchem is not installed")
EV, ANGSTROM = 27.211386, 0.529177211
"""Of a Hartree and a bohr, from the CODATA tables rather than from what the program uses."""
BASIS = "basis spherical\n * library 6-31g\nend\n"
DFT = f"{BASIS}dft\n xc xpbe96 cpbe96\nend\ntask dft gradient\n"
NUMBER = r"(-?\d+\.\d+)"
CHARGED = {"charge": 1, "multiplicity": 2}


def read(folder: Path, text: str) -> dict[str, Any]:
    path = folder / "nwchem.nw"
    path.write_text(text)
    return reference.settings(path, {})


def one(frame: dict[str, Any], settings: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    (label,) = reference.label([frame], settings, context)
    return label


@installed
@pytest.mark.parametrize(
    ("template", "state", "by_hand", "energy"),
    [
        (DFT, {}, DFT, "Total DFT energy ="),
        (DFT, CHARGED, "charge 1\n" + DFT.replace("cpbe96", "cpbe96\n mult 2"), "Total DFT energy ="),
        (
            f"{BASIS}dft\n xc b3lyp\n disp vdw 3\nend\ntask dft\n",
            {},
            f"{BASIS}dft\n xc b3lyp\n disp vdw 3\nend\ntask dft gradient\n",
            "Total DFT energy =",
        ),
        (
            f"charge 1\n{DFT.replace('xc', 'mult 2; xc')}",
            {},
            f"charge 1\n{DFT.replace('xc', 'mult 2; xc')}",
            "Total DFT energy =",
        ),
        (
            f"{BASIS}scf\n uhf\nend\ntask mp2 optimize\n",
            CHARGED,
            f"charge 1\n{BASIS}scf\n uhf\n doublet\nend\ntask mp2 gradient\n",
            "Total MP2 energy",
        ),
    ],
)
def test_equals_nwchem_by_hand(
    molecule: Any, context: Any, tmp_path: Path, template: str, state: dict[str, int], by_hand: str, energy: str
) -> None:
    frame, task = molecule(**state), context()
    label = one(frame, read(tmp_path, template), task)
    atoms = "".join(f" {s} {x} {y} {z}\n" for s, (x, y, z) in zip(frame["symbols"], frame["positions"], strict=True))
    geometry = f"geometry units angstrom noautosym noautoz nocenter\n{atoms}end\n"
    (tmp_path / "hand.nw").write_text(f"start hand\n{geometry}{by_hand}")
    done = subprocess.run(
        ["nwchem", "hand.nw"], cwd=tmp_path, env=environment(task), capture_output=True, text=True, check=True
    )
    printed = float(re.findall(rf"{energy}\s+{NUMBER}", done.stdout)[-1])
    rows = re.findall(rf"^ +\d+ [OH] +(?:{NUMBER} +){{3}}{NUMBER} +{NUMBER} +{NUMBER}$", done.stdout, re.M)
    assert label["energy"] == pytest.approx(printed * EV, abs=1e-3)  # EV has eight digits
    assert label["energy"] / printed == pytest.approx(EV, rel=3e-8)
    by_hand_forces = [[-float(x) * EV / ANGSTROM for x in row[1:]] for row in rows]
    assert len(rows) == 3
    assert label["forces"] == [pytest.approx(row, abs=5e-5) for row in by_hand_forces]  # six digits are printed
    assert label["stress"] is None
    assert re.fullmatch(r"NWChem \d+\.\d+\.\d+", label["code"])


@installed
@pytest.mark.parametrize(
    ("changes", "template", "kind", "message"),
    [
        ({}, DFT.replace("xc", "iterations 2\n xc"), "unconverged", "did not converge"),
        ({}, f"{BASIS}scf\n maxiter 1\nend\ntask scf gradient\n", "unconverged", "did not converge"),
        ({"charge": 1}, DFT, "invalid-input", "impossible for 9 electrons"),
        ({"multiplicity": 2}, DFT, "invalid-input", "multiplicity 2 is impossible"),
        ({}, DFT.replace("xc", "mult 2\n xc"), "invalid-input", "multiplicity 2 is impossible"),
        ({}, f"{BASIS}ccsd\n maxiter 2\nend\ntask ccsd gradient\n", "unconverged", "did not converge"),
        (CHARGED, f"{BASIS}task mp2 gradient\n", "invalid-input", "unknown SCFTYPE"),
    ],
)
def test_failures(
    molecule: Any, context: Any, tmp_path: Path, changes: dict[str, Any], template: str, kind: str, message: str
) -> None:
    label = one(molecule(**changes), read(tmp_path, template), context())
    assert label["failure"] == kind, label
    assert message in label["message"]


@installed
@pytest.mark.parametrize(
    ("template", "message"),
    [
        (DFT.replace("xpbe96", "nonsense"), "xc_input: invalid format"),
        (DFT.replace("6-31g", "no-such-basis"), "failed opening basis file"),
        ("nonsense 3\nend\n" + DFT, "unknown directive nonsense"),
        (DFT.replace("xc", "iteration 9\n xc"), "dft_input: unknown directive: iteration 9"),
    ],
)
def test_a_wrong_template_ends_the_run(
    molecule: Any, context: Any, tmp_path: Path, template: str, message: str
) -> None:
    with pytest.raises(Fatal, match=message) as caught:
        one(molecule(), read(tmp_path, template), context())
    assert caught.value.exit_code == 65


def test_a_periodic_frame_is_refused(frame: Any, context: Any, tmp_path: Path) -> None:
    label = one(frame(), read(tmp_path, DFT), context())
    assert label["failure"] == "invalid-input"
    assert "the frame is periodic" in label["message"]


TAGS = DFT.replace("* library 6-31g", "O library 6-31g\n H library sto-3g\n H1 library 6-31g")
OWN_ATOMS = "geometry units au\n symmetry c1\n O 0 0 0 mass 18\n H1 0 0 1\n H_x 0 1d0 0\nend\n"


@installed
def test_the_basis_of_a_tag_equals_nwchem_by_hand(molecule: Any, context: Any, tmp_path: Path) -> None:
    """The template's own atoms say whose it is; its other H has the basis of H, as NWChem has it."""
    frame, task = molecule(), context()
    label = one(frame, read(tmp_path, OWN_ATOMS + TAGS), task)
    rows = [" ".join([tag, *map(str, row)]) for tag, row in zip(["O", "H1", "H"], frame["positions"], strict=True)]
    geometry = "\n".join(["geometry noautosym noautoz nocenter", *rows, "end"])
    (tmp_path / "hand.nw").write_text(f"start hand\n{geometry}\n{TAGS}")
    done = subprocess.run(
        ["nwchem", "hand.nw"], cwd=tmp_path, env=environment(task), capture_output=True, text=True, check=True
    )
    assert label["energy"] == pytest.approx(
        float(re.findall(rf"Total DFT energy =\s+{NUMBER}", done.stdout)[-1]) * EV, abs=1e-3
    )
    other = {**frame, "symbols": ["H", "O", "H"]}
    mismatch = one(other, read(tmp_path, OWN_ATOMS + TAGS), task)
    assert mismatch["failure"] == "invalid-input"
    assert "the atoms of its geometry are not those of the frame in the same order" in mismatch["message"]


def test_tags(molecule: Any, tmp_path: Path) -> None:
    found = read(tmp_path, OWN_ATOMS + TAGS)
    assert found["atoms"] == ["O", "H1", "H"]
    reference.check(found, {"O", "H"})
    with pytest.raises(BadData, match="several H: H, H1"):
        reference.check(read(tmp_path, TAGS), {"O", "H"})
    reference.check(read(tmp_path, TAGS), {"O"})
    reference.check(reference.isolated(read(tmp_path, TAGS)), {"O", "H"})
    of_all = TAGS.replace("O library 6-31g\n H library sto-3g", "* library 6-31g except H1")
    assert read(tmp_path, OWN_ATOMS + of_all)["atoms"] == ["O", "H1", "H"]
    only = read(tmp_path, TAGS.replace(" H library sto-3g\n", ""))
    assert "atoms" not in only
    assert "  H1 " in reference.render(molecule(), only)
    in_full = read(tmp_path, BASIS.replace("*", "nitrogen") + "task scf\n")
    assert "  Ni 0" in reference.render(molecule(symbols=["Ni"], positions=[[0.0] * 3]), in_full)


PRODUCTION = """\
# a run as users have it
START water; title "water; of some kind"
memory 500 mb
charge -1
geometry units angstrom
  system crystal
    lat_a 5.0
  end
  O 0 0 0
end
Basis  # of two lines
  O library 6-31g
  H library \\
    sto-3g
END
dft; xc b3lyp; iterations 50; end
constraints; fix atom 1; end
task dft optimize
"""


def test_a_production_input_works_as_it_is(tmp_path: Path) -> None:
    found = read(tmp_path, PRODUCTION)
    kept = "memory 500 mb\nBasis\nO library 6-31g\nH library sto-3g\nEND\ndft\nxc b3lyp\niterations 50\nend\n"
    assert found == {"template": kept, "theory": "dft", "charge": -1}
    dropped = reference.replaced(tmp_path / "nwchem.nw")
    assert dropped == ["start", "title", "geometry", "constraints", "task dft optimize"]
    reference.check(found, {"O", "H"})
    with pytest.raises(BadData, match="no N"):
        reference.check(found, {"N"})
    lines = reference.render({"symbols": ["O"], "positions": [[0.0, 0.0, 0.0]], "charge": 0}, found).splitlines()
    assert lines.index("charge 0") < lines.index("Basis") < lines.index("task dft gradient")


def test_changes_and_isolated_atoms(tmp_path: Path) -> None:
    found = read(tmp_path, DFT.replace("xc", "disp vdw 3\n xc"))
    assert reference.changed(found, {"dft/iterations": "200"})["template"].endswith("dft\niterations 200\nend\n")
    with pytest.raises(UsageError, match="'iterations' cannot be changed"):
        reference.changed(found, {"iterations": "200"})
    alone = reference.isolated({**found, "charge": 2})
    assert alone["charge"] == 0
    assert "disp" not in alone["template"]
    assert alone["template"].endswith("odft\nend\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("basis\n * library 6-31g\n", ":1: the block basis is never closed"),
        (BASIS, ":1: no task"),
        (DFT + "task dft energy\n", ":8: a second task"),
        (BASIS + "task shell ls\n", ":4: task shell gives no forces"),
        (BASIS + "charge\ntask dft\n", ":4: charge needs a whole number"),
        (BASIS + "charge 0.5\ntask dft\n", ":4: charge needs a whole number"),
        ("geometry\n bqH 0 0 0\nend\n" + DFT, ":2: bqh is a centre without an atom"),
        ("geometry\n H 0 0 0 charge 0.5\nend\n" + DFT, ":2: a separate charge"),
        ("bq\n 0 0 3 1.0\nend\n" + DFT, ":1: point charges are placed relative to"),
        ("constraints\n fix atom 1\n spring bond 1 2 1.0 2.0\nend\n" + DFT, ":3: spring adds an energy"),
        (DFT.replace("xc", "cdft 1 1 charge 0.5\n xc"), ":5: cdft refers to atom numbers"),
        ("include other.nw\n" + DFT, ":1: include is not understood"),
    ],
)
def test_wrong_templates(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadData) as caught:
        read(tmp_path, text)
    assert caught.value.message.startswith(f"{tmp_path / 'nwchem.nw'}{message}")
    assert caught.value.hint
