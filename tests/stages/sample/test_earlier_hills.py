"""Earlier hills as a new run needs them: its columns, and times that end at 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from psiflow_cli.errors import BadData, NoInput
from psiflow_cli.stages.sample.plumed import earlier_hills

ALONE = """#! FIELDS time d sigma_d height biasf
#! SET walker 0
#! SET energy_unit_eV 1
#! SET time_unit_ps 0.001
#! SET multivariate false
 10 1.50 0.1 0.010 10
 20 1.25 0.1 0.009 10
"""
SHARED = """#! FIELDS time d sigma_d height biasf clock
#! SET walker 0
#! SET multivariate false
 10 1.50 0.1 0.010 10 1796084618
 20 1.25 0.1 0.009 10 1796084619
#! FIELDS time d sigma_d height biasf clock
#! SET walker 1
#! SET multivariate false
 10 1.00 0.1 0.008 10 1796084618
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("metad.dat").write_text(
        "UNITS LENGTH=A ENERGY=eV TIME=fs\nd: DISTANCE ATOMS=1,2\nMETAD ARG=d PACE=5 SIGMA=0.1 HEIGHT=0.01\n"
    )


def read(text: str, share: bool = False) -> list[str]:
    Path("HILLS").write_text(text)
    return earlier_hills.read("HILLS", "metad.dat", share).splitlines()


def test_times_end_at_zero_and_constants_of_psiflow_are_left_out() -> None:
    assert read(ALONE) == [
        "#! FIELDS time d sigma_d height biasf",
        "#! SET multivariate false",
        "-10 1.50 0.1 0.010 10",
        "0 1.25 0.1 0.009 10",
    ]
    assert read("\n".join(read(ALONE))) == read(ALONE)


@pytest.mark.parametrize("text", [ALONE, SHARED])
@pytest.mark.parametrize("share", [False, True])
def test_the_columns_are_those_of_the_new_run(text: str, share: bool) -> None:
    lines = read(text, share)
    assert lines[0] == "#! FIELDS time d sigma_d height biasf" + share * " clock"
    rows = [line.split() for line in lines if not line.startswith("#")]
    assert {len(row) for row in rows} == {5 + share}
    assert [float(row[0]) for row in rows] == sorted(float(row[0]) for row in rows)
    assert len(rows) == text.count("0.1 0.0")
    assert sum(line.startswith("#! FIELDS") for line in lines) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (ALONE.replace("eV 1", "eV 0.0103642696"), "HILLS:3: energies in units of 0.0103643 eV, but .* 1 eV"),
        (ALONE.replace("ps 0.001", "ps 1"), "HILLS:4: times in units of 1 ps, but .* 0.001 ps"),
        ("#! FIELDS time d m.bias\n 1 2 3\n", "HILLS:1: not a HILLS file"),
        ("3\nLattice\n", "HILLS:1: not a HILLS file"),
        (ALONE.replace("eV 1", "eV one"), "HILLS:3: energy_unit_eV is 'one'"),
        (ALONE.replace(" 20 ", " nan "), "HILLS:7: not a hill"),
        (ALONE + " 30 1.2\n", "HILLS:8: not a hill: 5 numbers expected"),
        (ALONE.replace("1.25", "x"), "HILLS:7: not a hill"),
        (ALONE.split(" 10 ")[0], "HILLS: it contains no hills"),
        (ALONE + ALONE.replace("walker 0", "walker 1"), "HILLS: hills of 2 walkers, each with its own bias"),
    ],
)
def test_what_are_no_hills_of_this_input_is_refused(text: str, problem: str) -> None:
    with pytest.raises(BadData, match=problem):
        read(text)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(NoInput, match="nowhere: No such file"):
        earlier_hills.read("nowhere", "metad.dat", False)
