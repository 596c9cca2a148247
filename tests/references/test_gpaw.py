"""GPAW: equal to GPAW run by hand; parameters from TOML; failures in the right class."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.references import gpaw as reference
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.process.launcher import environment

installed = pytest.mark.skipif(not shutil.which("gpaw"), reason="gpaw is not installed")
PW = 'mode = {name = "pw", ecut = 200}\nxc = "PBE"\n'
LCAO = 'mode = "lcao"\nbasis = "sz(dzp)"\nxc = "LDA"\nh = 0.3\nvacuum = 2.5\n'
HYDROGEN: dict[str, Any] = {
    "id": "0123456789abcdef",
    "symbols": ["H", "H"],
    "positions": [[0.1, 0.0, 0.2], [0.85, 0.1, 0.15]],
    "cell": [[4.0, 0.0, 0.0], [0.0, 4.2, 0.0], [0.0, 0.0, 4.5]],
    "pbc": [True] * 3,
}
MOLECULE = {**HYDROGEN, "cell": None, "pbc": [False] * 3}
CRYSTAL = "Atoms('H2', [[0.1, 0, 0.2], [0.85, 0.1, 0.15]], cell=[4, 4.2, 4.5], pbc=True)"
BOX = "Atoms('H2', [[0.1, 0, 0.2], [0.85, 0.1, 0.15]]); a.center(vacuum=2.5)"
BY_HAND = """\
import json
from ase import Atoms
from gpaw import GPAW, PW, FermiDirac
a = {atoms}
a.calc = GPAW(txt=None, {parameters})
energy = a.get_potential_energy(force_consistent=True)
stress = a.get_stress().tolist() if a.pbc.all() else None
print(json.dumps([energy, a.get_forces().tolist(), stress]))
"""


def read(folder: Path, text: str, **options: str) -> dict[str, Any]:
    path = folder / "gpaw.toml"
    path.write_text(text)
    return reference.settings(path, options)


def one(frame: dict[str, Any], settings: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    (label,) = reference.label([frame], settings, context)
    return label


@installed
@pytest.mark.parametrize(
    ("frame", "template", "atoms", "parameters"),
    [
        (HYDROGEN, f"{PW}kpts = [2, 1, 1]\n", CRYSTAL, "mode=PW(200), xc='PBE', kpts=(2, 1, 1)"),
        pytest.param(MOLECULE, LCAO, BOX, "mode='lcao', basis='sz(dzp)', xc='LDA', h=0.3", marks=pytest.mark.full),
        (
            {**HYDROGEN, "charge": 1, "multiplicity": 2},
            PW,
            f"{CRYSTAL}; a.set_initial_magnetic_moments([0.5, 0.5])",
            "mode=PW(200), xc='PBE', charge=1, spinpol=True, occupations=FermiDirac(0.1, fixmagmom=True)",
        ),
        (
            {**MOLECULE, "moments": [0.5, 0.4]},
            f"{LCAO}charge = 1\n",
            f"{BOX}; a.set_initial_magnetic_moments([0.5, 0.4])",
            "mode='lcao', basis='sz(dzp)', xc='LDA', h=0.3, charge=1",
        ),
    ],
)
def test_equals_gpaw_by_hand(
    context: Any, tmp_path: Path, frame: dict[str, Any], template: str, atoms: str, parameters: str
) -> None:
    task = context()
    label = one(frame, read(tmp_path, template), task)
    (tmp_path / "hand.py").write_text(BY_HAND.format(atoms=atoms, parameters=parameters))
    done = subprocess.run(
        ["gpaw", "python", "hand.py"], cwd=tmp_path, env=environment(task), capture_output=True, text=True, check=True
    )
    energy, forces, stress = json.loads(done.stdout.splitlines()[-1])
    assert label["energy"] == pytest.approx(energy, abs=1e-9)
    assert label["forces"] == [pytest.approx(row, abs=1e-8) for row in forces]
    assert label["stress"] == (None if stress is None else pytest.approx(stress, abs=1e-10))
    assert label["code"].startswith("GPAW ")


@installed
@pytest.mark.parametrize(
    ("frame", "template", "kind", "message"),
    [
        (HYDROGEN, f"{PW}maxiter = 3\n", "unconverged", "did not converge"),
        (MOLECULE, PW, "invalid-input", "no cell"),
        (MOLECULE, f"{PW}vacuum = 3\ngpts = [8, 8, 8]\n", "invalid-input", "gpts need a cell"),
        ({**HYDROGEN, "multiplicity": 3, "moments": [1.0, -1.0]}, PW, "invalid-input", "initial_magmoms add up to 0"),
        (MOLECULE, f"{LCAO}charge = 20\n", "invalid-input", "Charge 20.000000 is not possible"),
    ],
)
def test_failures(context: Any, tmp_path: Path, frame: dict[str, Any], template: str, kind: str, message: str) -> None:
    label = one(frame, read(tmp_path, template), context())
    assert label["failure"] == kind, label
    assert message in label["message"]


@installed
def test_setups_that_are_not_there_end_the_run(context: Any, tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="no-such-setups"):
        one(HYDROGEN, read(tmp_path, f'{PW}setups = "no-such-setups"\n'), context())


@installed
@pytest.mark.parametrize(
    "wrong", ["convergence = {nonsense = 1}", "mixer = {nonsense = 1}", 'occupations = {name = "nonsense"}']
)
def test_a_wrong_parameter_ends_the_run(context: Any, tmp_path: Path, wrong: str) -> None:
    with pytest.raises(Fatal, match="nonsense") as caught:
        one(MOLECULE, read(tmp_path, f"{LCAO}{wrong}\n"), context())
    assert caught.value.exit_code == 65


def test_parameters(tmp_path: Path) -> None:
    found = read(tmp_path, PW, kpts="[2, 2, 2]", xc="RPBE", vacuum="4.5")
    parameters = {"mode": {"name": "pw", "ecut": 200}, "xc": "RPBE", "kpts": [2, 2, 2]}
    assert found == {"parameters": parameters, "vacuum": 4.5}
    assert reference.changed(found, {"maxiter": "500"})["parameters"]["maxiter"] == 500
    alone = reference.isolated(found)
    assert alone["parameters"] == {"mode": parameters["mode"], "xc": "RPBE", "spinpol": True}
    with pytest.raises(BadData, match="no dataset for U"):
        reference.check(found, {"H", "U"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('mode = "lcao"\n', ": GPAW needs mode and xc"),
        (f"{PW}nonsense = 3\n", ":3: unknown parameter 'nonsense'"),
        (f"{PW}hund = true\n", ":3: unknown parameter 'hund'"),
        (f'{PW}setups = {{0 = "paw"}}\n', ":3: setups: 0 is not an element"),
        (f'{PW}basis = {{H1 = "dzp"}}\n', ":3: basis: H1 is not an element"),
        (f'{PW}charge = "one"\n', ": charge must be a number"),
        (f"{PW}vacuum = -1\n", ": vacuum must be a positive number"),
        (PW.replace('"pw"', '"pv"'), ": unknown mode 'pv'"),
        ("mode = \n", ":1: not valid TOML"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadData) as caught:
        read(tmp_path, text)
    assert caught.value.message.startswith(f"{tmp_path / 'gpaw.toml'}{message}")


def test_wrong_options(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown option 'ecut'"):
        read(tmp_path, PW, ecut="3")
