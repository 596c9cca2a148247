"""PySCF: equal to PySCF run by hand, forces the slope of the energy, failures in the right class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.errors import BadData, NoInput, UsageError
from psiflow_cli.references import pyscf as reference
from psiflow_cli.worker.failures import Fatal

pyscf = pytest.importorskip("pyscf", reason="pyscf is not installed")
PBE = reference.settings(None, {"xc": "pbe", "basis": "sto-3g", "conv_tol": "1e-10"})
HF = reference.settings(None, {"method": "hf", "basis": "sto-3g"})
EV, ANGSTROM = 27.211386, 0.529177211
"""Of a Hartree and a bohr, from the CODATA tables rather than from what the program uses."""


def one(frame: dict[str, Any], settings: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    (label,) = reference.label([frame], settings, context)
    return label


CHARGED = {"charge": 1, "multiplicity": 2}


@pytest.mark.parametrize(
    ("options", "state", "by_hand"),
    [
        ({"xc": "pbe"}, {}, lambda m: m.RKS(xc="pbe")),
        ({"xc": "b3lyp", "grids_level": "4"}, CHARGED, lambda m: m.UKS(xc="b3lyp").set(grids=_level(m, 4))),
        ({"xc": "pbe", "density_fit": "true"}, {}, lambda m: m.RKS(xc="pbe").density_fit()),
        ({"method": "hf"}, {"multiplicity": 3}, lambda m: m.UHF()),
        ({"method": "mp2"}, CHARGED, lambda m: m.UHF().set(conv_tol=1e-10).run().MP2()),
    ],
)
def test_equals_pyscf_by_hand(
    molecule: Any, context: Any, options: dict[str, str], state: dict[str, int], by_hand: Any
) -> None:
    frame = molecule(**state)
    label = one(frame, reference.settings(None, {"basis": "6-31g", "conv_tol": "1e-10", **options}), context())
    lines = [f"{s} {x} {y} {z}" for s, (x, y, z) in zip(frame["symbols"], frame["positions"], strict=True)]
    charge, spin = state.get("charge", 0), state.get("multiplicity", 1) - 1
    run = by_hand(pyscf.M(atom="; ".join(lines), unit="Å", charge=charge, spin=spin, basis="6-31g", verbose=0))
    run.conv_tol = 1e-10
    run.run()
    assert label["energy"] == pytest.approx(run.e_tot * EV, abs=1e-3)  # EV has eight digits
    assert label["energy"] / run.e_tot == pytest.approx(EV, rel=3e-8)
    gradient = run.nuc_grad_method().kernel()
    assert label["forces"] == [pytest.approx([-x * EV / ANGSTROM for x in row], abs=3e-5) for row in gradient.tolist()]
    assert label["stress"] is None


def _level(molecule: Any, level: int) -> Any:
    grids = pyscf.dft.Grids(molecule)
    grids.level = level
    return grids


def test_dispersion_is_added_in_energy_and_forces(molecule: Any, context: Any) -> None:
    pytest.importorskip("pyscf.dispersion", reason="pyscf-dispersion is not installed")
    dftd3 = pytest.importorskip("dftd3.interface", reason="dftd3 is not installed")
    import numpy as np

    frame = molecule()
    without = one(frame, PBE, context())
    with_it = one(frame, reference.changed(PBE, {"disp": "d3bj"}), context())
    model = dftd3.DispersionModel(np.array([8, 1, 1]), np.array(frame["positions"]) / ANGSTROM)
    alone = model.get_dispersion(dftd3.RationalDampingParam(method="pbe", atm=True), grad=True)
    assert with_it["energy"] - without["energy"] == pytest.approx(alone["energy"] * EV, abs=1e-6)
    forces = np.array(with_it["forces"]) - without["forces"]
    assert forces == pytest.approx(-alone["gradient"] * EV / ANGSTROM, abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "settings", "kind", "message"),
    [
        ({"multiplicity": 2}, PBE, "invalid-input", "multiplicity 2 is impossible for 10 electrons"),
        ({"charge": 1}, PBE, "invalid-input", "a frame without a multiplicity (1) is impossible for 9 electrons"),
        ({"positions": [[0, 0, 0.1], [0, 0, 0.1], [-0.77, 0, 0.5]]}, PBE, "invalid-input", "0.000 Å apart"),
        ({}, reference.changed(HF, {"max_cycle": "2"}), "unconverged", "did not converge in 2 cycles"),
    ],
)
def test_failures(
    molecule: Any, context: Any, changes: dict[str, Any], settings: dict[str, Any], kind: str, message: str
) -> None:
    label = one(molecule(**changes), settings, context())
    assert label["failure"] == kind
    assert message in label["message"]
    if kind == "unconverged":
        assert "SCF not converged" in Path(label["log"]).read_text()


def test_a_periodic_frame_is_refused(frame: Any, context: Any) -> None:
    label = one(frame(), PBE, context())
    assert label["failure"] == "invalid-input"
    assert "the frame is periodic" in label["message"]


@pytest.mark.parametrize(
    ("change", "message"), [({"basis": "no-such-basis"}, "no-such-basis"), ({"xc": "no-such-xc"}, "xc=no-such-xc")]
)
def test_a_method_nobody_has_ends_the_run(molecule: Any, context: Any, change: dict[str, str], message: str) -> None:
    with pytest.raises(Fatal, match=message):
        one(molecule(), reference.changed(PBE, change), context())


def test_nothing_is_printed_and_the_log_is_kept(molecule: Any, context: Any, capfd: Any) -> None:
    task = context()
    one(molecule(), PBE, task)
    assert capfd.readouterr().out == ""
    assert sorted(path.name for path in Path(task["logs"]).iterdir()) == [
        "0123456789abcdef.inp.gz",
        "0123456789abcdef.out.gz",
    ]


def test_options_come_from_a_file_and_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "pyscf.toml"
    path.write_text('xc = "b3lyp"\ngrids_level = 5\n[basis]\nO = "6-31g"\nh = "sto-3g"\n')
    found = reference.settings(path, {"xc": "pbe"})
    basis = {"H": "sto-3g", "O": "6-31g"}
    assert found == {"method": "dft", "xc": "pbe", "grids_level": 5, "basis": basis}
    reference.check(found, {"H", "O"})
    with pytest.raises(BadData, match="no N"):
        reference.check(found, {"N"})
    path.write_text('xc = "pbe"\n[basis]\ndefault = "sto-3g"\nH = "6-31g"\n')
    with_default = reference.settings(path, {})
    assert with_default["basis"] == {"H": "6-31g", "default": "sto-3g"}
    reference.check(with_default, {"H", "N"})
    isolated = reference.isolated(reference.changed(found, {"disp": "d4"}))
    assert isolated == {**found, "unrestricted": True}


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({}, "needs basis", "--input pyscf.toml"),
        ({"basis": "sto-3g"}, "needs xc", "--set xc=pbe"),
        ({"basis": "sto-3g", "xc": "pbe", "bassis": "x"}, "unknown option 'bassis'", "basis"),
        ({"basis": "sto-3g", "method": "ccsd"}, "must be one of dft, hf, mp2", ""),
        ({"basis": "sto-3g", "method": "hf", "xc": "pbe"}, "xc has no effect with method=hf", ""),
        ({"basis": "sto-3g", "method": "mp2", "density_fit": "yes"}, "density_fit has no gradient", ""),
        ({"basis": "sto-3g", "xc": "pbe", "conv_tol": "0"}, "must be a positive number", ""),
        ({"basis": "sto-3g", "xc": "pbe", "max_cycle": "1.5"}, "must be a positive whole number", ""),
        ({"basis": "sto-3g", "xc": "pbe", "newton": "maybe"}, "must be true or false", ""),
    ],
)
def test_wrong_options(options: dict[str, str], message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        reference.settings(None, options)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('xc = "pbe"\nbasis = \n', ":2: not valid TOML"),
        ('xc = "pbe"\nbasis = 3\n', ":2: basis: must be a text, or a table"),
        ('xc = "pbe"\n[basis]\nH = "sto-3g"\nH1 = "6-31g"\n', ":2: basis: H1 is not an element"),
        ('xc = "pbe"\nbasis = "sto-3g"\necp = {ghost-H = "x"}\n', ":3: ecp: ghost-H is not an element"),
        ('xc = "pbe"\nbassis = "sto-3g"\n', ":2: unknown option 'bassis'"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "pyscf.toml"
    path.write_text(text)
    with pytest.raises(BadData) as caught:
        reference.settings(path, {})
    assert caught.value.message.startswith(f"{path}{message}")
    with pytest.raises(NoInput):
        reference.settings(tmp_path / "none.toml", {})
