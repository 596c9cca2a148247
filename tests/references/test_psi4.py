"""Psi4: equal to Psi4 run by hand; which part of a template counts; failures in the right class."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.references import psi4 as reference
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.process.launcher import environment

installed = pytest.mark.skipif(not shutil.which("psi4"), reason="psi4 is not installed")
EV, ANGSTROM = 27.211386, 0.529177211
"""Of a Hartree and a bohr, from the CODATA tables rather than from what the program uses."""
NUMBER = r"(-?\d+\.\d+)"
CHARGED = {"charge": 1, "multiplicity": 2}
PBE = "set basis 6-31g\ngradient('pbe')\n"


def read(folder: Path, text: str) -> dict[str, Any]:
    path = folder / "psi4.dat"
    path.write_text(text)
    return reference.settings(path, {})


def one(frame: dict[str, Any], settings: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    (label,) = reference.label([frame], settings, context)
    return label


@installed
@pytest.mark.parametrize(
    ("method", "options", "state", "total"),
    [
        ("pbe", "", {}, rf"@DF-RKS Final Energy: +{NUMBER}"),
        ("pbe", "", CHARGED, rf"@DF-UKS Final Energy: +{NUMBER}"),
        ("mp2", "scf_type df", {}, rf"\n\t Total Energy +=\s+{NUMBER} \[Eh\]"),
        ("ccsd(t)", "e_convergence 1e-9", {}, rf"\* CCSD\(T\) total energy +=\s+{NUMBER}"),
    ],
)
def test_equals_psi4_by_hand(
    molecule: Any, context: Any, tmp_path: Path, method: str, options: str, state: dict[str, int], total: str
) -> None:
    frame, task = molecule(**state), context()
    options = f"set basis sto-3g\nset d_convergence 1e-8\n{f'set {options}' if options else ''}\n"
    label = one(frame, read(tmp_path, f"{options}energy('{method}')\n"), task)
    rows = [f"{s} {x} {y} {z}" for s, (x, y, z) in zip(frame["symbols"], frame["positions"], strict=True)]
    charge, multiplicity = state.get("charge", 0), state.get("multiplicity", 1)
    by_hand = ["molecule {", f"{charge} {multiplicity}", *rows, "symmetry c1", "no_reorient", "no_com", "}", options]
    by_hand += ["set reference uks"] if multiplicity > 1 else []
    (tmp_path / "hand.dat").write_text("\n".join([*by_hand, f"gradient('{method}')", ""]))
    subprocess.run(["psi4", "hand.dat"], cwd=tmp_path, env=environment(task), check=True)
    printed = (tmp_path / "hand.out").read_text()
    energy = float(re.findall(total, printed)[-1])
    assert label["energy"] == pytest.approx(energy * EV, abs=1e-3)  # EV has eight digits
    assert label["energy"] / energy == pytest.approx(EV, rel=3e-8)
    block = printed[printed.rindex("-Total Gradient:" if "-Total Gradient:" in printed else "-Total gradient:") :]
    found = re.findall(rf"^ +\d+ +{NUMBER} +{NUMBER} +{NUMBER}$", block, re.M)
    forces = [[-float(x) * EV / ANGSTROM for x in row] for row in found[:3]]
    assert label["forces"] == [pytest.approx(row, abs=2e-5) for row in forces]
    assert label["stress"] is None
    assert re.fullmatch(r"Psi4 \d+\.\d+\S*", label["code"])


LABELS = "set basis sto-3g\nbasis {\nassign sto-3g\nassign H1 6-31g\n}\ngradient('hf')\n"
OWN_ATOMS = "molecule {{\n{state}\nO 0 0 0\nH1 0.7 0 0.6 # first\nH_x@2.014 1 0.9 2 a\na = 104\nunits angstrom\n}}\n"


@installed
def test_what_a_molecule_says_of_its_atoms_equals_psi4_by_hand(molecule: Any, context: Any, tmp_path: Path) -> None:
    """Charge, multiplicity, and the label with a basis of its own."""
    frame, task = molecule(), context()
    label = one(
        frame, read(tmp_path, OWN_ATOMS.format(state="1 2") + LABELS.replace("set", "set reference uhf\nset", 1)), task
    )
    rows = [" ".join([tag, *map(str, row)]) for tag, row in zip(["O", "H1", "H"], frame["positions"], strict=True)]
    by_hand = ["molecule {", "1 2", *rows, "}", "set reference uhf", LABELS.replace("gradient", "energy")]
    (tmp_path / "hand.dat").write_text("\n".join(by_hand))
    subprocess.run(["psi4", "hand.dat"], cwd=tmp_path, env=environment(task), check=True)
    printed = (tmp_path / "hand.out").read_text()
    assert label["energy"] == pytest.approx(float(re.findall(rf"Final Energy: +{NUMBER}", printed)[-1]) * EV, abs=1e-3)


def test_labels(molecule: Any, context: Any, tmp_path: Path) -> None:
    found = read(tmp_path, OWN_ATOMS.format(state="-1 1") + LABELS)
    assert (found["charge"], found["multiplicity"], found["atoms"]) == (-1, 1, ["O", "H1", "H"])
    reference.check(found, {"O", "H"})
    assert "\n  -1 1\n" in reference.render(molecule(), found)
    assert "\n  0 2\n" in reference.render(molecule(charge=0, multiplicity=2), found)
    with pytest.raises(ValueError, match="the input has several kinds of H"):
        reference.render(molecule(symbols=["H", "O", "H"]), found)
    with pytest.raises(BadData, match="the Psi4 input has several H: H, H1"):
        reference.check(read(tmp_path, LABELS), {"H"})
    assert "charge" not in reference.isolated(found)
    reference.check(reference.isolated(found), {"H"})
    neutral = read(tmp_path, OWN_ATOMS.format(state="0 1") + PBE)
    assert neutral == read(tmp_path, PBE)
    assert one(molecule(multiplicity=1), found, context())["failure"] == "invalid-input"


@installed
@pytest.mark.parametrize("method", ["mp2", pytest.param("mp3", marks=pytest.mark.full)])
def test_the_energy_is_that_of_the_forces(molecule: Any, context: Any, tmp_path: Path, method: str) -> None:
    """Of correlated methods Psi4 keeps more than one energy."""
    template = "set basis sto-3g\nset e_convergence 1e-9\nset d_convergence 1e-8\nset r_convergence 1e-7\n"
    settings = read(tmp_path, f"{template}gradient('{method}')\n")

    def at(x: float) -> dict[str, Any]:
        return one(molecule(positions=[[0.0, 0.0, 0.1], [x, 0.0, 0.6], [-0.77, 0.05, 0.57]]), settings, context())

    slope = (at(0.762)["energy"] - at(0.758)["energy"]) / 0.004
    assert at(0.76)["forces"][1][0] == pytest.approx(-slope, rel=2e-4)


@installed
@pytest.mark.parametrize(
    ("changes", "template", "kind", "message"),
    [
        ({}, "set basis sto-3g\nset maxiter 2\ngradient('scf')\n", "unconverged", "did not converge"),
        (
            {},
            "set basis sto-3g\nset maxiter 2\nset fail_on_maxiter false\ngradient('scf')\n",
            "unconverged",
            "did not converge",
        ),
        ({"charge": 1}, PBE, "invalid-input", "impossible for 9 electrons"),
        (CHARGED, f"set reference rhf\n{PBE}", "invalid-input", "only for singlets"),
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
        (PBE.replace("pbe", "nonsense"), "Derivative method 'name' nonsense"),
        (PBE.replace("pbe", "b2plyp"), "Derivative method 'name' b2plyp"),  # a numerical gradient
        (PBE.replace("6-31g", "nonsense"), "Unable to find a basis set"),
        (f"set nonsense 3\n{PBE}", "NONSENSE is not a valid option"),
        (f"set scf_type nonsense\n{PBE}", "NONSENSE is not a valid choice"),
    ],
)
def test_a_wrong_template_ends_the_run(
    molecule: Any, context: Any, tmp_path: Path, template: str, message: str
) -> None:
    with pytest.raises(Fatal, match=message) as caught:
        one(molecule(), read(tmp_path, template), context())
    assert caught.value.exit_code == 65


def test_a_periodic_frame_is_refused(frame: Any, context: Any, tmp_path: Path) -> None:
    label = one(frame(), read(tmp_path, PBE), context())
    assert label["failure"] == "invalid-input"
    assert "the frame is periodic" in label["message"]


PRODUCTION = """\
# as users have it
memory 2 GB
molecule water {
  0 1
  O
  H 1 0.96
}
set {
  basis def2-svp   # of everything
  scf_type df
}
basis {
  assign H sto-3g
  assign O 6-31g
}
E, wfn = optimize('b3lyp-d3bj')
"""


def test_a_production_input_works_as_it_is(tmp_path: Path) -> None:
    found = read(tmp_path, PRODUCTION)
    kept = "memory 2 GB\nset {\nbasis def2-svp\nscf_type df\n}\nbasis {\nassign H sto-3g\nassign O 6-31g\n}\n"
    assert found == {"template": kept, "method": "b3lyp-d3bj"}
    assert reference.replaced(tmp_path / "psi4.dat") == ["molecule", "optimize()"]
    reference.check(found, {"O", "H"})
    with pytest.raises(BadData, match="no N"):
        reference.check(found, {"N"})
    alone = reference.isolated(found)
    assert alone["method"] == "b3lyp"
    assert alone["template"].endswith("set reference uhf\n")


def test_changes(tmp_path: Path) -> None:
    found = read(tmp_path, PBE)
    assert reference.changed(found, {"MAXITER": "200"})["template"] == "set basis 6-31g\nset maxiter 200\n"
    with pytest.raises(UsageError, match="not an option of Psi4"):
        reference.changed(found, {"maxiter": "2; import os"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("set basis 6-31g\n", ":1: no calculation"),
        (f"{PBE}energy('scf')\n", ":3: a second calculation"),
        ("set {\n basis 6-31g\n", ":1: the block set is never closed"),
        ("gradient('pbe', molecule=water)\n", ":1: gradient() takes only its method"),
        ("molecule { H\n@O 1 0.9\n}\n" + PBE, ":2: @O is a basis without an atom"),
        ("molecule {\nH 0 0 0\nGh(H) 0 0 1\n}\n" + PBE, ":3: Gh(H) is a basis without an atom"),
        ("molecule {\n0 1\nHe\n--\n1 1\nHe 1 3\n}\n" + PBE, ":5: charge and multiplicity of a fragment"),
        ("set {\n docc [4]\n}\n" + PBE, ":2: docc applies to the template's own molecule"),
        ("import os\n" + PBE, ":1: import is not understood"),
        ("}\n" + PBE, ":1: } is not understood"),
    ],
)
def test_wrong_templates(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadData) as caught:
        read(tmp_path, text)
    assert caught.value.message.startswith(f"{tmp_path / 'psi4.dat'}{message}")
    assert caught.value.hint
