"""What every reference keeps to. A new one gets a row in ROWS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psiflow_cli import registry
from psiflow_cli.errors import BadData, NoInput, UsageError
from psiflow_cli.protocols import Reference
from tests.contracts import checks, emt_family
from tests.contracts.checks import Wire
from tests.references import programs, pseudopotential

HYDROGEN: Wire = {
    "id": "0123456789abcdef",
    "symbols": ["H", "H"],
    "positions": [[0.1, 0.0, 0.2], [0.85, 0.1, 0.15]],
    "cell": [[4.0, 0.0, 0.0], [0.0, 4.2, 0.0], [0.0, 0.0, 4.5]],
    "pbc": [True] * 3,
}
COPPER: Wire = {
    "id": "0123456789abcdef",
    "symbols": ["Cu"] * 4,
    "positions": [[0.1, 0.0, 0.0], [1.8, 1.85, 0.0], [1.8, 0.0, 1.8], [0.0, 1.8, 1.8]],
    "cell": [[3.6, 0.0, 0.0], [0.0, 3.6, 0.0], [0.0, 0.0, 3.7]],
    "pbc": [True] * 3,
}
MOLECULE: Wire = {**HYDROGEN, "cell": None, "pbc": [False] * 3}
PYSCF = """\
xc = "pbe"
conv_tol = 1e-10
[basis]
H = "sto-3g"
"""
NWCHEM = """\
basis
  H library sto-3g
end
dft
  xc xpbe96 cpbe96
  convergence energy 1e-8
end
task dft gradient
"""
PSI4 = """\
basis {
  assign H sto-3g
}
set e_convergence 1e-9
gradient('pbe')
"""
ESPRESSO = """\
&SYSTEM
  ecutwfc = 20
/
&ELECTRONS
  conv_thr = 1d-9
/
ATOMIC_SPECIES
H 1.008 H.UPF
K_POINTS gamma
"""
GPAW = """\
mode = {name = "pw", ecut = 300}
xc = "PBE"
convergence = {density = 1e-6}
"""
CP2K = """\
&FORCE_EVAL
  METHOD QS
  STRESS_TENSOR ANALYTICAL
  &DFT
    BASIS_SET_FILE_NAME BASIS_MOLOPT
    POTENTIAL_FILE_NAME GTH_POTENTIALS
    &MGRID
      CUTOFF 120
    &END MGRID
    &SCF
      EPS_SCF 1e-7
    &END SCF
    &XC
      &XC_FUNCTIONAL PBE
      &END XC_FUNCTIONAL
    &END XC
  &END DFT
  &SUBSYS
    &KIND H
      BASIS_SET SZV-MOLOPT-GTH
      POTENTIAL GTH-PBE-q1
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
"""


@dataclass(frozen=True)
class Row:
    """What the suite cannot know of a reference."""

    frame: Wire
    """Small, not at rest, and periodic where the reference takes that."""
    code: str
    """How `code` begins."""
    foreign: str
    """An element that it cannot label."""
    input_text: str = ""
    executable: str = ""
    beside: Callable[[Path], Path] | None = None
    """Makes what the input needs beside it."""
    makes_input: Callable[[Path], Path] | None = None
    """Makes an input that is no text."""
    options: dict[str, str] = field(default_factory=dict)
    other_options: dict[str, str] | None = None
    """Options that make another method, if it has any."""
    least_force: float = 0.1
    """eV/Å of the first atom along x."""
    least_charge: float = 1.0
    """eV that taking an electron away changes."""
    exact_stress: bool = True
    """Whether energies of strained cells are smooth; a grid that follows the cell makes them jump."""


ROWS = {
    "emt": Row(frame=COPPER, code="ASE ", foreign="Fe"),
    "dftd": Row(
        frame={**COPPER, "cell": None, "pbc": [False] * 3},  # neighbours that cross its cut-off make energies jump
        code="s-dftd3 ",
        foreign="Og",
        options={"xc": "pbe"},
        other_options={"xc": "pbe", "version": "d3bj"},
        least_force=1e-4,
        least_charge=1e-3,
    ),
    "model": Row(
        frame=COPPER,
        code="psiflow model",
        foreign="Fe",
        makes_input=lambda folder: emt_family.bundle(folder / "copper.model"),
        other_options={"dtype": "float64"},
    ),
    "xtb": Row(frame=HYDROGEN, code="tblite ", foreign="Og", other_options={"accuracy": "0.1"}),
    "pyscf": Row(frame=MOLECULE, code="PySCF ", foreign="Fe", input_text=PYSCF, other_options={"xc": "blyp"}),
    "nwchem": Row(frame=MOLECULE, code="NWChem ", foreign="Fe", input_text=NWCHEM, executable="nwchem"),
    "psi4": Row(frame=MOLECULE, code="Psi4 ", foreign="Fe", input_text=PSI4, executable="psi4"),
    # its own tests play it with a stand-in
    "orca": Row(frame=MOLECULE, code="ORCA ", foreign="Og", input_text="! PBE STO-3G TightSCF\n", executable="orca"),
    "espresso": Row(
        frame=HYDROGEN,
        code="Quantum ESPRESSO ",
        foreign="Fe",
        input_text=ESPRESSO,
        executable="pw.x",
        beside=pseudopotential.hydrogen,
        exact_stress=False,
    ),
    "gpaw": Row(frame=HYDROGEN, code="GPAW ", foreign="Og", input_text=GPAW, executable="gpaw", exact_stress=False),
    "cp2k": Row(
        frame=HYDROGEN,
        code="CP2K ",
        foreign="Fe",
        input_text=CP2K,
        executable="cp2k.psmp",
        exact_stress=False,
    ),
}


def test_every_reference_has_a_row() -> None:
    checks.every_name_has_a_row("references", ROWS)


@dataclass(frozen=True)
class Method:
    """A reference with settings, ready to label."""

    module: Any
    row: Row
    settings: Wire
    input_file: Path | None
    context: Wire

    def label(self, *frames: Wire) -> list[Wire]:
        found: list[Wire] = self.module.label(list(frames), self.settings, self.context)
        assert len(found) == len(frames)
        return found


@pytest.fixture(scope="module", params=sorted(ROWS))
def method(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, context: Wire) -> Method:
    row = ROWS[request.param]
    module = registry.load("references", request.param)
    checks.needs(module)
    if row.executable and (reason := programs.missing(row.executable)):
        pytest.skip(reason)
    path = tmp_path_factory.mktemp(request.param) / "template.inp" if row.input_text else None
    if path:
        path.write_text(row.input_text)
    if path and row.beside:
        row.beside(path.parent)
    if row.makes_input:
        path = row.makes_input(tmp_path_factory.mktemp(request.param))
    return Method(module, row, module.settings(path, row.options), path, context)


@pytest.fixture(scope="module")
def labelled(method: Method) -> Wire:
    return method.label(method.row.frame)[0]


def test_it_satisfies_the_protocol(method: Method) -> None:
    checks.satisfies(method.module, Reference)
    assert set(method.module.FRAME_INPUTS) <= {"charge", "multiplicity", "moments"}
    assert method.module.DEFAULT_TASK_SECONDS >= 0


def test_settings_are_builtins_and_repeat(method: Method) -> None:
    checks.is_builtin(method.settings)
    assert method.module.settings(method.input_file, method.row.options) == method.settings
    if method.row.other_options is not None:
        assert method.module.settings(method.input_file, method.row.other_options) != method.settings


def test_an_unknown_option_is_wrong_usage(method: Method) -> None:
    with pytest.raises(UsageError) as caught:
        method.module.settings(method.input_file, {**method.row.options, "no_such_option": "1"})
    assert "no_such_option" in caught.value.message
    assert caught.value.hint


def test_the_input_file(method: Method) -> None:
    if method.input_file is None:
        with pytest.raises(UsageError, match="reads no input") as caught:
            method.module.settings(Path(__file__), method.row.options)
        assert "--input" in caught.value.hint
        return
    with pytest.raises(UsageError) as missing:
        method.module.settings(None, method.row.options)
    assert "--input" in missing.value.hint
    with pytest.raises(NoInput):
        method.module.settings(method.input_file.with_name("none.inp"), method.row.options)


def test_elements_are_checked_before_anything_runs(method: Method) -> None:
    method.module.check(method.settings, set(method.row.frame["symbols"]))
    with pytest.raises(BadData) as caught:
        method.module.check(method.settings, {*method.row.frame["symbols"], method.row.foreign})
    assert method.row.foreign in caught.value.message
    assert caught.value.hint


def test_labels_have_their_shape(method: Method, labelled: Wire) -> None:
    checks.is_label(labelled, method.row.frame, "code")
    assert labelled["code"].startswith(method.row.code)
    assert method.module.code(method.context) == labelled["code"]


def is_the_same(again: Wire, labelled: Wire) -> None:
    """Equal to the last bits, which some BLAS libraries choose by where an array lies in memory."""
    assert again.keys() == labelled.keys()
    for name, value in labelled.items():
        if isinstance(value, float | list):
            assert np.asarray(again[name]) == pytest.approx(np.asarray(value), rel=0, abs=1e-9)
        else:
            assert again[name] == value


def test_a_repeat_gives_the_same_numbers(method: Method, labelled: Wire) -> None:
    [again] = method.label(method.row.frame)
    is_the_same(again, labelled)


def test_forces_are_the_slope_of_the_energy(method: Method, labelled: Wire) -> None:
    """In eV/Å, downhill."""
    ends = method.label(*(checks.moved(method.row.frame, 0, 0, s * checks.STEP) for s in (1, -1)))
    force = labelled["forces"][0][0]
    assert abs(force) > method.row.least_force
    assert -checks.derivatives([end["energy"] for end in ends]) == pytest.approx(force, rel=0.02)


def test_stress_is_the_slope_over_the_volume(method: Method, labelled: Wire) -> None:
    """In eV/Å³, positive under tension."""
    if not any(method.row.frame["pbc"]):
        pytest.skip("the row has a molecule")
    if not method.row.exact_stress:
        pytest.skip("its own tests compare the stress with the code's")
    frame = method.row.frame
    for axis in range(3):
        ends = method.label(*(checks.strained(frame, axis, s * checks.STEP) for s in (1, -1)))
        slope = checks.derivatives([end["energy"] for end in ends], checks.volume(frame))
        assert slope == pytest.approx(labelled["stress"][axis], rel=0.01, abs=1e-5)


def test_a_bad_frame_fails_alone(method: Method, labelled: Wire) -> None:
    frame = method.row.frame
    nan = checks.moved(frame, 1, 2, float("nan"))
    overlapping = {**frame, "positions": [frame["positions"][0], *frame["positions"][:-1]]}
    foreign = {**frame, "symbols": ["Qq", *frame["symbols"][1:]]}
    found = method.label(nan, frame, overlapping, foreign)
    is_the_same(found[1], labelled)
    for failed in (found[0], *found[2:]):
        checks.is_failure(failed, "invalid-input")
    assert "finite" in found[0]["message"]
    assert "apart" in found[2]["message"]


def test_frame_inputs_are_read_and_no_others(method: Method, labelled: Wire) -> None:
    charged = {**method.row.frame, "charge": 1, "multiplicity": 2}
    found = method.label(charged)[0]
    if method.module.FRAME_INPUTS:
        assert abs(found["energy"] - labelled["energy"]) > method.row.least_charge
    else:
        is_the_same(found, labelled)
