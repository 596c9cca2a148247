"""Dipole moments and charges: those that CP2K prints, in e·Å and e, about the frame's own origin."""

from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.references import cp2k
from psiflow_cli.references.cp2k import output, properties
from tests.references.test_cp2k import KINDS, METHOD

DIPOLE = """\
 ELECTRIC/MAGNETIC MOMENTS
  Reference Point [Bohr]              0.00000000      0.00000000      0.00000000
  Charges
    Electronic=     -7.00000000    Core=     8.00000000    Total=     1.00000000
  Dipoles are based on the traditional operator.
  Dipole moment [Debye]
    X=  0.25417462E+01 Y= -0.50834925E+01 Z=  0.00000000   Total=     5.68351766
"""
TIGHT = """\
 TB_DIPOLE| Dipole type                                   periodic (Berry phase)
 TB_DIPOLE| Moment [a.u.]          -0.00768126       0.03317921       0.64298887
 TB_DIPOLE| Moment [Debye]         -0.01952382       0.08433313       1.63431453
"""
CLOSED = """\
                     Mulliken Population Analysis

 #  Atom  Element  Kind  Atomic population                           Net charge
       1     O        1          6.841071                             -0.841071
       2     H        2          0.581096                              0.418904
       3     H        2          0.577833                              0.422167
 # Total charge                              8.000000                  0.000000
                           Hirshfeld Charges

  #Atom  Element  Kind  Ref Charge     Population                    Net charge
      1       O      1       6.000          7.283                        -1.283
      2       H      2       1.000          0.357                         0.643
      3       H      2       1.000          0.357                         0.643

  Total Charge                                                            0.003
"""
OPEN = """\
                     Mulliken Population Analysis

 #  Atom  Element  Kind  Atomic population (alpha,beta) Net charge  Spin moment
       1     O        1         3.611993     2.560425    -0.172418     1.051568
       2     H        2         0.194383     0.220101     0.585516    -0.025717
 # Total charge and spin        3.806376     2.780526     0.413098     1.025851
                           Hirshfeld Charges

  #Atom  Element  Kind  Ref Charge     Population       Spin moment  Net charge
      1       O      1       6.000    3.278   2.371            0.907      0.351
      2       H      2       1.000    0.362   0.315            0.047      0.324

  Total Charge                                                            0.675
"""


def test_what_logs_say() -> None:
    found = properties.dipole(DIPOLE)
    assert found is not None
    assert found.moment == pytest.approx([1.0, -2.0, 0.0], abs=1e-7)
    assert found.charge == 1.0
    tight = properties.dipole(TIGHT)
    assert tight is not None
    assert tight.moment == [-0.00768126, 0.03317921, 0.64298887]
    assert properties.charges(CLOSED, "mulliken_charges", 3) == [-0.841071, 0.418904, 0.422167]
    assert properties.charges(CLOSED, "hirshfeld_charges", 3) == [-1.283, 0.643, 0.643]
    assert properties.charges(OPEN, "mulliken_charges", 2) == [-0.172418, 0.585516]
    assert properties.charges(OPEN, "hirshfeld_charges", 2) == [0.351, 0.324]
    assert properties.dipole("") is properties.charges("", "mulliken_charges", 2) is None


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ("-0.841071", "*********"),
        ("-0.841071", "-0.814071"),
        ("       2     H", "       3     H"),
        ("6.841071  ", "6.841071  1.0"),
        ("# Total charge", "# Sum"),
        ("       3     H        2          0.577833                              0.422167\n", ""),
    ],
)
def test_charges_that_cannot_be_read_are_no_numbers(there: str, instead: str) -> None:
    with pytest.raises(output.Unreadable, match="Mulliken"):
        properties.charges(CLOSED[: CLOSED.index("Hirsh")].replace(there, instead), "mulliken_charges", 3)


@pytest.mark.parametrize(("there", "instead"), [("[Debye]", "[a.u.]"), ("Core=", "Nuclei="), ("Y= ", "Y=*")])
def test_a_dipole_that_cannot_be_read_is_none(there: str, instead: str) -> None:
    with pytest.raises(output.Unreadable, match="dipole"):
        properties.dipole(DIPOLE.replace(there, instead))


PRINTS = "&PRINT\n{}&MULLIKEN\n&END\n&HIRSHFELD ON\nFILENAME =x\n&END\n&E_DENSITY_CUBE\n&END\n&END PRINT"
MOMENTS = "&MOMENTS\nPERIODIC {}\nREFERENCE {}\n&EACH\nMD 5\n&END\n&END\n"


def settings(folder: Path, moments: str) -> dict[str, Any]:
    method = METHOD.format(dft=PRINTS.format(moments))
    (folder / "cp2k.inp").write_text(f"&FORCE_EVAL\n{method}  &SUBSYS\n{KINDS}  &END SUBSYS\n&END FORCE_EVAL\n")
    return {**cp2k.settings(folder / "cp2k.inp", {}), "box": 8.0}


def one(frame: dict[str, Any], method: dict[str, Any], context: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """A label, and the log that it was read from."""
    pytest.importorskip("ase", reason="ASE is not installed")
    (label,) = cp2k.label([frame], method, context)
    assert "failure" not in label, label
    return label, gzip.decompress((Path(context["logs"]) / f"{frame['id']}.out.gz").read_bytes()).decode()


needs_cp2k = pytest.mark.skipif(not shutil.which("cp2k.psmp"), reason="cp2k.psmp is not installed")


@needs_cp2k
def test_a_molecule(molecule: Any, context: Any, tmp_path: Path) -> None:
    from ase.units import Debye

    label, log = one(molecule(), settings(tmp_path, MOMENTS.format("F", "COM")), context())
    said = re.search(r"Dipole moment \[Debye\]\s+X=(.*) Y=(.*) Z=(.*?) +Total", log)
    assert said
    assert label["info"]["dipole"] == pytest.approx([float(x) * Debye for x in said.groups()], abs=1e-6)
    assert label["info"]["dipole"][2] > 0.2, "it points from O to H"
    rows = re.findall(r"^ +\d+ +[OH] .*", log[log.index("Mulliken Population") :], re.M)
    assert label["arrays"]["mulliken_charges"] == [float(row.split()[-1]) for row in rows[:3]]
    assert label["arrays"]["hirshfeld_charges"] == [float(row.split()[-1]) for row in rows[3:6]]
    assert label["arrays"]["mulliken_charges"][0] < -0.2
    assert "density cube" not in log.lower()


@needs_cp2k
def test_a_crystal(frame: Any, context: Any, tmp_path: Path) -> None:
    """Of a period, the dipole moment is known but for multiples of the cell."""
    label, log = one(frame(), settings(tmp_path, MOMENTS.format("T", "ZERO")), context())
    assert "Berry phase" in log
    assert label["info"]["dipole"][2] == pytest.approx(0.4, abs=0.2)
    assert abs(sum(label["arrays"]["mulliken_charges"])) < 1e-5


@pytest.mark.full
@needs_cp2k
def test_an_ions_dipole_is_about_the_origin_of_the_frame(molecule: Any, context: Any, tmp_path: Path) -> None:
    """The ion is moved to the middle of its box; its dipole is not."""
    method = settings(tmp_path, MOMENTS.format("F", "ZERO"))
    here, _ = one(molecule(charge=1, multiplicity=2), method, context())
    away = [[x + 2.0, y, z - 3.0] for x, y, z in molecule()["positions"]]
    there, _ = one(molecule(charge=1, multiplicity=2, positions=away), method, context())
    difference = [b - a for a, b in zip(here["info"]["dipole"], there["info"]["dipole"], strict=True)]
    assert difference == pytest.approx([2.0, 0.0, -3.0], abs=1e-4)
    assert max(map(abs, here["info"]["dipole"])) < 2.0
    about_itself, _ = one(
        molecule(charge=1, multiplicity=2, positions=away), settings(tmp_path, MOMENTS.format("F", "COM")), context()
    )
    assert max(map(abs, about_itself["info"]["dipole"])) < 1.0


@needs_cp2k
def test_nothing_is_returned_that_was_not_asked_for(frame: Any, context: Any, tmp_path: Path) -> None:
    settings(tmp_path, "")
    text = (tmp_path / "cp2k.inp").read_text().replace("HIRSHFELD ON", "HIRSHFELD OFF")
    (tmp_path / "cp2k.inp").write_text(text)
    label, _ = one(frame(), cp2k.settings(tmp_path / "cp2k.inp", {}), context())
    assert set(label["arrays"]) == {"mulliken_charges"}
    assert "info" not in label
