"""Quantum ESPRESSO: equal to pw.x run by hand; which part of a template counts; failures in the right class."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.errors import BadData, NoInput, UsageError
from psiflow_cli.references import espresso as reference
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.process.launcher import environment
from tests.references import programs, pseudopotential

installed = pytest.mark.usefixtures("pw")


@pytest.fixture(scope="session")
def pw() -> None:
    """Skips the test where pw.x cannot be used."""
    if reason := programs.missing("pw.x"):
        pytest.skip(reason)


TEMPLATE = """\
&SYSTEM
  ecutwfc = 20
/
&ELECTRONS
  conv_thr = 1d-10
/
ATOMIC_SPECIES
H 1.008 H.UPF
K_POINTS gamma
"""
SPIN = TEMPLATE.replace("= 20", "= 20, nspin = 2, starting_magnetization(1) = 1.0, tot_charge = 0")
HYDROGEN: dict[str, Any] = {
    "id": "0123456789abcdef",
    "symbols": ["H", "H"],
    "positions": [[0.1, 0.0, 0.2], [0.85, 0.1, 0.15]],
    "cell": [[4.0, 0.0, 0.0], [0.0, 4.2, 0.0], [0.0, 0.0, 4.5]],
    "pbc": [True] * 3,
}
BY_HAND = """\
&control
  calculation = 'scf', outdir = './hand', pseudo_dir = './', tprnfor = .true., tstress = .true.
/
&system
  ibrav = 8, A = 4.0, B = 4.2, C = 4.5, nat = 2, ntyp = 1, ecutwfc = 20 {system}
/
&electrons
  conv_thr = 1d-10
/
ATOMIC_SPECIES
H 1.008 H.UPF
ATOMIC_POSITIONS angstrom
H 0.1  0.0 0.2
H 0.85 0.1 0.15
K_POINTS {points}
"""
GRID = "automatic\n2 1 1 0 0 0"
CHARGED = {"charge": 1, "multiplicity": 2}


def read(folder: Path, text: str, pseudo: bool = True) -> dict[str, Any]:
    path = folder / "pw.in"
    path.write_text(text)
    if pseudo and not (folder / "H.UPF").exists():
        (folder / "H.UPF").write_text("<UPF/>")
    return reference.settings(path, {})


def one(frame: dict[str, Any], settings: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    (label,) = reference.label([frame], settings, context)
    return label


@installed
@pytest.mark.parametrize(
    ("template", "state", "system", "points"),
    [
        (TEMPLATE, {}, "", "gamma"),
        (TEMPLATE.replace("gamma", GRID), {}, "", GRID),
        (SPIN, {"multiplicity": 3}, ", nspin = 2, starting_magnetization(1) = 1.0, tot_magnetization = 2", "gamma"),
        (
            SPIN,
            CHARGED,
            ", tot_charge = 1, nspin = 2, starting_magnetization(1) = 1.0, tot_magnetization = 1",
            "gamma",
        ),
        (
            TEMPLATE.replace("= 20", "= 20, occupations = 'smearing', smearing = 'fd', degauss = 0.05"),
            {},
            ", occupations = 'smearing', smearing = 'fd', degauss = 0.05",
            "gamma",
        ),
    ],
)
def test_equals_pw_by_hand(
    context: Any, tmp_path: Path, template: str, state: dict[str, int], system: str, points: str
) -> None:
    """Read by ASE, which knows the units and the sign of the stress on its own."""
    io = pytest.importorskip("ase.io", reason="ASE is not installed")
    pseudopotential.hydrogen(tmp_path)
    task = context()
    # To 1d-10 alone, the forces of two spins keep 1e-5 eV/Å of the way they came, which differs between processors.
    tight = ("1d-10", "1d-14, diago_full_acc = .true.")
    label = one({**HYDROGEN, **state}, read(tmp_path, template.replace(*tight)), task)
    (tmp_path / "hand.in").write_text(BY_HAND.format(system=system, points=points).replace(*tight))
    with (tmp_path / "hand.out").open("w") as log:
        subprocess.run(["pw.x", "-in", "hand.in"], cwd=tmp_path, env=environment(task), stdout=log, check=True)
    atoms = io.read(tmp_path / "hand.out", format="espresso-out")
    assert label["energy"] == pytest.approx(
        atoms.get_potential_energy(force_consistent=True), rel=1.5e-7
    )  # CODATA 2006
    assert label["forces"] == [pytest.approx(row, abs=2e-6, rel=1e-6) for row in atoms.get_forces().tolist()]
    assert label["stress"] == pytest.approx(atoms.get_stress().tolist(), abs=1e-6)  # eight digits are printed
    assert abs(label["stress"][0]) > 1e-3
    assert label["code"].startswith("Quantum ESPRESSO ")


@installed
@pytest.mark.parametrize(
    ("changes", "template", "kind", "message"),
    [
        ({}, TEMPLATE.replace("1d-10", "1d-10, electron_maxstep = 2"), "unconverged", "did not converge"),
        (
            {},
            TEMPLATE.replace("1d-10", "1d-10, electron_maxstep = 2, scf_must_converge = .false."),
            "unconverged",
            "did not converge",
        ),
        ({}, TEMPLATE + "\n&", "", ""),
        ({"charge": 1}, TEMPLATE, "invalid-input", "smearing is needed"),
        ({"positions": [[0.1, 0.0, 0.2], [0.1, 0.0, 0.21]]}, TEMPLATE, "invalid-input", "Å apart"),
        ({"cell": None, "pbc": [False] * 3}, TEMPLATE, "invalid-input", "periodic in three directions"),
        ({"pbc": [True, True, False]}, TEMPLATE, "invalid-input", "periodic in three directions"),
    ],
)
def test_failures(
    context: Any, tmp_path: Path, changes: dict[str, Any], template: str, kind: str, message: str
) -> None:
    pseudopotential.hydrogen(tmp_path)
    if not kind:
        with pytest.raises(BadData, match="unknown namelist &"):
            read(tmp_path, template)
        return
    label = one({**HYDROGEN, **changes}, read(tmp_path, template), context())
    assert label["failure"] == kind, label
    assert message in label["message"]


TWO_SPECIES = (
    TEMPLATE.replace("= 20", "= 15, tot_charge = 1")
    .replace("1d-10", "1d-12")
    .replace("H 1.008 H.UPF", "H_u 1.008 H.UPF\nH2 1.008 hard.UPF")
)
OWN_ATOMS = "ATOMIC_POSITIONS {crystal}\nH2 0 0 0\nH_u 0.3 0 0 0 0 0\nH_u 0.6 0 0\n"
THREE = {**HYDROGEN, "symbols": ["H"] * 3, "positions": [[0.1, 0.0, 0.2], [0.9, 0.1, 0.15], [1.9, 0.0, 0.4]]}


@installed
def test_two_species_of_an_element_equal_pw_by_hand(context: Any, tmp_path: Path) -> None:
    """The template's own atoms say which of two pseudopotentials is whose."""
    pseudopotential.hydrogen(tmp_path)
    pseudopotential.hydrogen(tmp_path, "hard.UPF", 0.8)
    task = context()
    label = one(THREE, read(tmp_path, TWO_SPECIES + OWN_ATOMS), task)
    control = "&CONTROL\n outdir = './hand', pseudo_dir = './'\n/\n&SYSTEM\n nat = 3, ntyp = 2, ibrav = 0"
    atoms = "ATOMIC_POSITIONS angstrom\nH2 0.1 0.0 0.2\nH_u 0.9 0.1 0.15\nH_u 1.9 0.0 0.4\n"
    cell = "CELL_PARAMETERS angstrom\n4 0 0\n0 4.2 0\n0 0 4.5\n"
    (tmp_path / "hand.in").write_text(TWO_SPECIES.replace("&SYSTEM", control) + atoms + cell)
    done = subprocess.run(
        ["pw.x", "-in", "hand.in"], cwd=tmp_path, env=environment(task), capture_output=True, text=True, check=True
    )
    energy = float(re.findall(r"^! +total energy += +(\S+) Ry", done.stdout, re.M)[-1]) * 13.605693
    assert label["energy"] == pytest.approx(energy, abs=2e-5)
    others = OWN_ATOMS.replace("H2", "H_u").replace("H_u 0.3", "H2 0.3")
    assert abs(one(THREE, read(tmp_path, TWO_SPECIES + others), task)["energy"] - label["energy"]) > 0.05


def test_species_of_an_element(tmp_path: Path) -> None:
    (tmp_path / "hard.UPF").write_text("<UPF/>")
    found = read(tmp_path, TWO_SPECIES + OWN_ATOMS)
    reference.check(found, {"H"})
    written = reference.render(THREE, found).partition("ATOMIC_POSITIONS")[2]
    assert re.findall(r"^H\w* ", written, re.M) == ["H2 ", "H_u ", "H_u "]
    with pytest.raises(ValueError, match="the input has several kinds of H"):
        reference.render(HYDROGEN, found)
    with pytest.raises(BadData, match="ATOMIC_SPECIES has several H: H_u, H2"):
        reference.check(read(tmp_path, TWO_SPECIES), {"H"})
    unused = read(tmp_path, TWO_SPECIES + OWN_ATOMS.replace("H_u", "H2"))
    reference.check(unused, {"H"})
    atom = {**HYDROGEN, "symbols": ["H"], "positions": [[0.0] * 3]}
    assert "\nH2 0.0" in reference.render(atom, unused).partition("ATOMIC_POSITIONS")[2]
    assert "ATOMIC_POSITIONS but for its labels" in reference.replaced(tmp_path / "pw.in")
    iron = "starting_magnetization(2) = -0.5, Hubbard_U(3) = 4.0, ntyp = 3"
    rows = "Fe1 55.8 H.UPF\nFe2 55.8 H.UPF\nO 16.0 H.UPF"
    oxide = TEMPLATE.replace("= 20", f"= 20, {iron}").replace("H 1.008 H.UPF", rows)
    oxide += "ATOMIC_POSITIONS bohr\nFe2 0 0 0\nO 1 1 1\nFe1 2 2 2\n"
    three = {**THREE, "symbols": ["Fe", "O", "Fe"]}
    written = reference.render(three, read(tmp_path, oxide))
    assert re.findall(r"^(\w+) -?\d+\.\d{14} ", written, re.M)[-3:] == ["Fe2", "O", "Fe1"]
    assert rows in written
    assert {"  ntyp = 3", "  starting_magnetization(2) = -0.5", "  hubbard_u(3) = 4.0"} <= set(written.splitlines())
    with pytest.raises(
        ValueError, match=r"several kinds of Fe \(Fe1, Fe2\), but the atoms of its ATOMIC_POSITIONS are not"
    ):
        reference.render({**three, "symbols": ["O", "Fe", "Fe"]}, read(tmp_path, oxide))
    for template in (TWO_SPECIES, TWO_SPECIES + OWN_ATOMS):
        alone = reference.isolated(read(tmp_path, template))
        reference.check(alone, {"H"})
        assert "\nH_u 0.0" in reference.render({**atom, "multiplicity": 2}, alone).partition("ATOMIC_POSITIONS")[2]


@pytest.mark.parametrize(
    ("isolation", "pbc", "message"),
    [
        ("'none'", [False] * 3, "periodic in three directions"),
        ("'mt'", [True] * 3, 'is for frames with pbc="F F F"'),
        ("'martyna-tuckerman'", [True, True, False], 'is for frames with pbc="F F F"'),
        ("'2D'", [True] * 3, 'is for frames with pbc="T T F"'),
        ("'esm', esm_bc = 'bc1'", [False] * 3, 'is for frames with pbc="T T F"'),
        ("'esm', esm_bc = 'pbc'", [False] * 3, "periodic in three directions"),
    ],
)
def test_a_frame_is_periodic_as_the_template_has_it(
    context: Any, tmp_path: Path, isolation: str, pbc: list[bool], message: str
) -> None:
    settings = read(tmp_path, TEMPLATE.replace("= 20", f"= 20, assume_isolated = {isolation}"))
    label = one({**HYDROGEN, "pbc": pbc}, settings, context())
    assert label["failure"] == "invalid-input"
    assert message in label["message"]


def test_a_multiplicity_without_a_meaning(context: Any, tmp_path: Path) -> None:
    settings = read(tmp_path, TEMPLATE.replace("= 20", "= 20, noncolin = .true."))
    label = one({**HYDROGEN, "multiplicity": 3}, settings, context())
    assert label["failure"] == "invalid-input"
    assert "no effect with noncolin" in label["message"]


@installed
def test_a_molecule_has_no_stress(context: Any, tmp_path: Path) -> None:
    pseudopotential.hydrogen(tmp_path)
    settings = read(tmp_path, TEMPLATE.replace("= 20", "= 20, assume_isolated = 'mt'"))
    assert one({**HYDROGEN, "pbc": [False] * 3}, settings, context())["stress"] is None


@installed
def test_an_isolated_atom(context: Any, tmp_path: Path) -> None:
    """Half a Hartree, within what the pseudopotential, PBE and the cut-off leave."""
    pseudopotential.hydrogen(tmp_path)
    # PBE beside an atom is not smooth enough for more digits
    template = TEMPLATE.replace("gamma", GRID).replace("1d-10", "1d-6")
    settings = reference.isolated(read(tmp_path, template))
    atom = {**HYDROGEN, "symbols": ["H"], "positions": [[0.0] * 3], "cell": None, "pbc": [False] * 3, "multiplicity": 2}
    label = one(atom, {**settings, "box": 6.0}, context())
    assert "failure" not in label, label
    assert label["energy"] == pytest.approx(-13.6, abs=0.3)


@installed
@pytest.mark.parametrize(
    ("template", "message"),
    [
        (TEMPLATE.replace("= 20", "= 20, nonsense = 2"), "bad line in namelist &system"),
        (TEMPLATE.replace("= 20", "= 20, input_dft = 'nonsense'"), "unrecognized dft"),
        (TEMPLATE.replace("gamma", "nonsense"), "error while reading"),
    ],
)
def test_a_wrong_template_ends_the_run(context: Any, tmp_path: Path, template: str, message: str) -> None:
    pseudopotential.hydrogen(tmp_path)
    with pytest.raises(Fatal, match=message) as caught:
        one(HYDROGEN, read(tmp_path, template), context())
    assert caught.value.exit_code == 65


PRODUCTION = """\
! as users have it
&CONTROL
  calculation = 'vc-relax'   ! with a comment
  prefix='water', outdir='/scratch/tmp', pseudo_dir = './pseudo/', etot_conv_thr=1e-5
/
&system
  ibrav=1, celldm(1)=10.0, nat=3, ntyp=2,
  ecutwfc=30, occupations='smearing', degauss=0.01
  starting_magnetization(1) = 0.5, vdw_corr = 'grimme-d3'
/
&ELECTRONS
  conv_thr=1d-8 /
&IONS
/
&CELL
  press = 0.0
/
ATOMIC_SPECIES
H_a 1.008 H.UPF
O   15.999 O.UPF
ATOMIC_POSITIONS {crystal}
O 0 0 0
H_a 0.1 0 0
H_a 0 0.1 0
K_POINTS automatic
2 2 2 0 0 0
CELL_PARAMETERS
1 0 0
"""


def test_a_production_input_works_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "pseudo").mkdir()
    for name in ("H.UPF", "O.UPF"):
        (tmp_path / "pseudo" / name).write_bytes(f"<UPF {name}/>\xe9".encode("latin-1"))
    found = read(tmp_path, PRODUCTION, pseudo=False)
    assert found["namelists"] == {
        "control": {},
        "system": {
            **{"ecutwfc": "30", "occupations": "'smearing'", "degauss": "0.01"},
            **{"starting_magnetization(1)": "0.5", "vdw_corr": "'grimme-d3'"},
        },
        "electrons": {"conv_thr": "1d-8"},
    }
    assert found["species"] == [["H_a", "1.008", "H.UPF"], ["O", "15.999", "O.UPF"]]
    assert found["files"]["O.UPF"].encode("latin-1") == (tmp_path / "pseudo" / "O.UPF").read_bytes()
    assert {"&IONS", "&CELL", "calculation", "celldm(1)", "CELL_PARAMETERS"} <= set(
        reference.replaced(tmp_path / "pw.in")
    )
    reference.check(found, {"H", "O"})
    with pytest.raises(BadData, match="has no Fe"):
        reference.check(found, {"Fe", "O"})
    lines = reference.render({**HYDROGEN, "charge": 1}, found).splitlines()
    assert "  tot_charge = 1" in lines
    assert lines[-1].startswith("H_a 1.606")
    alone = reference.isolated(found)
    assert "vdw_corr" not in alone["namelists"]["system"]
    assert alone["cards"] == {"K_POINTS": "K_POINTS gamma"}


def test_changes(tmp_path: Path) -> None:
    found = read(tmp_path, TEMPLATE)
    assert reference.changed(found, {"electrons/mixing_beta": "0.3"})["namelists"]["electrons"] == {
        "conv_thr": "1d-10",
        "mixing_beta": "0.3",
    }
    for path in ("mixing_beta", "system/nat", "ions/x"):
        with pytest.raises(UsageError, match="cannot be changed"):
            reference.changed(found, {path: "1"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEMPLATE.replace("K_POINTS gamma\n", ""), ": there is no card K_POINTS"),
        (TEMPLATE.replace("H 1.008 H.UPF\n", ""), ": there are no ATOMIC_SPECIES"),
        (TEMPLATE.replace("H 1.008 H.UPF", "H 1.008"), ":8: H 1.008 is not a species"),
        (TEMPLATE.replace("H.UPF\n", "H.UPF\nH 2.0 H.UPF\n"), ":9: H occurs twice"),
        (TEMPLATE.replace("H 1.008", "Qq 1.008"), ":8: Qq does not start with an element"),
        (TEMPLATE.replace("gamma", "tpiba\n1\n0.25 0.25 0.25 1"), ":9: K_POINTS tpiba lists points in units of"),
        (TEMPLATE.replace("K_POINTS gamma", "K_POINTS\n2\n0 0 0 1\n0 0 0.5 1"), ":9: K_POINTS tpiba lists points"),
        (TEMPLATE.replace("gamma", "{crystal_b}\n1\n0 0 0 9"), ":9: K_POINTS crystal_b is a band path"),
        (TEMPLATE + "HUBARD {atomic}\nU H-1s 1.0\n", ":10: HUBARD {atomic} is neither part of K_POINTS gamma"),
        (TEMPLATE + "ATOMIC_FORCES\nH 0 0 0.1\n", ":10: forces on the template's own atoms"),
        (
            TEMPLATE + "HUBBARD atomic\nU H-1s 1.0\nV H-1s H-1s 1 2 0.5\n",
            ":12: V H-1s H-1s 1 2 0.5 refers to atom num",
        ),
        (TEMPLATE.replace("= 20", "= 20\n Hubbard_V(1,2,1) = 0.5"), ":3: hubbard_v(1,2,1) refers to atom numbers"),
        (TEMPLATE.replace("= 20", "= 20\n assume_isolated = 'm-p'"), ":3: pw.x prints the Makov-Payne correction"),
        (TEMPLATE.replace("ecutwfc = 20", "ecutwfc 20"), ":2: ecutwfc 20 is not KEY = VALUE"),
        ("&SYSTEM\n ecutwfc = 20\n", ":1: the namelist &SYSTEM is never closed"),
        ("nonsense\n" + TEMPLATE, ":1: nonsense is neither"),
        ("&CONTROL\n calculation = 'bands' /\n" + TEMPLATE, ":2: calculation = 'bands' gives no forces"),
    ],
)
def test_wrong_templates(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadData) as caught:
        read(tmp_path, text)
    assert caught.value.message.startswith(f"{tmp_path / 'pw.in'}{message}")
    assert caught.value.hint


def test_a_missing_pseudopotential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoInput, match=r"pw.in:8: H.UPF was found in none of"):
        read(tmp_path, TEMPLATE, pseudo=False)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "H.UPF").write_text("<UPF/>")
    monkeypatch.setitem(os.environ, "ESPRESSO_PSEUDO", str(tmp_path / "elsewhere"))
    assert read(tmp_path, TEMPLATE, pseudo=False)["files"] == {"H.UPF": "<UPF/>"}


@installed
def test_two_ranks(context: Any, tmp_path: Path) -> None:
    if not shutil.which("mpirun"):
        pytest.skip("mpirun is not installed")
    pseudopotential.hydrogen(tmp_path)
    settings = read(tmp_path, TEMPLATE)
    alone = one(HYDROGEN, settings, context())
    both = one(HYDROGEN, settings, context(ranks=2, cores=2, launch="mpirun --oversubscribe -np {ranks}"))
    assert both["energy"] == pytest.approx(alone["energy"], abs=1e-7)
    assert both["forces"] == [
        pytest.approx(row, abs=2e-4) for row in alone["forces"]
    ]  # of the SCF: they start at random
