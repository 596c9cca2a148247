"""psiflow check on the size of labels: forces that are zero, do not cancel or stand out; energies that stand out."""

from __future__ import annotations

import random

import pytest

from psiflow_cli.stages.check import stresses
from psiflow_cli.stages.check.findings import Findings
from tests.stages.check.checked import PLACES, bonded, check, frame, only

ZERO = [[0.0] * 3] * 3
CELL = ' Lattice="{0} 0 0 0 {0} 0 0 0 {0}"'


def still(count, seed=9):
    """Distinct molecules without forces."""
    draw = random.Random(seed)
    return "".join(
        frame([[x + draw.gauss(0, 0.05) for x in row] for row in PLACES], ZERO, -468.0) for _ in range(count)
    )


def test_forces_that_are_zero_everywhere_and_in_some_frames(tmp_path):
    (found,) = only(check(tmp_path, still(5)), "zero-forces")
    assert (found.severity, found.count, found.frames) == ("error", 5, [1, 2, 3])
    (found,) = only(check(tmp_path, bonded(12) + still(1)), "zero-forces")
    assert (found.severity, found.count, found.frames) == ("warning", 1, [13])
    assert not only(check(tmp_path, bonded(12)), "zero-forces")


def test_a_perfect_crystal_has_no_forces(tmp_path):
    crystals = "".join(
        frame([(0.0, 0.0, 0.0), (a / 2, a / 2, a / 2)], ZERO[:2], -1.0, CELL.format(a), ["Cs", "Cl"], "T T T")
        for a in (4.0, 4.1, 4.2)
    )
    (found,) = only(check(tmp_path, crystals), "zero-forces")
    assert found.severity == "warning"


def test_forces_that_do_not_cancel(tmp_path):
    pushed = frame(PLACES, [[0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [0.2, 0.0, 0.0]], -468.0)
    (found,) = only(check(tmp_path, bonded(12) + pushed), "net-force")
    assert (found.severity, found.count, found.frames) == ("warning", 1, [13])
    assert "0.4 eV/Å per atom" in found.what


def test_a_force_that_stands_out(tmp_path):
    data = bonded(40)
    assert not only(check(tmp_path, data), "outlier")
    torn = frame(PLACES, [[9000.0, 0.0, 0.0], [-9000.0, 0.0, 0.0], [0.0, 0.0, 0.0]], -468.0)
    found = only(check(tmp_path, data + torn), "outlier")
    assert [(f.severity, f.count, f.frames) for f in found] == [("warning", 1, [41])] * 2
    assert "a force on H of 9e+03 eV/Å" in found[0].what


def energies(count, seed=0):
    """Molecules and dimers of water near what their composition gives, without forces."""
    draw = random.Random(seed)
    for number in range(count):
        size = 1 + number % 2
        moved = [[x + 3 * n + draw.gauss(0, 0.05) for x in row] for n in range(size) for row in PLACES]
        yield moved, size * -468.0 + draw.gauss(0, 0.05), ["O", "H", "H"] * size


def test_an_energy_that_stands_out_among_several_compositions(tmp_path):
    frames = [frame(moved, None, energy, "", symbols) for moved, energy, symbols in energies(60)]
    assert not only(check(tmp_path, "".join(frames)), "outlier")
    moved, energy, symbols = list(energies(60))[31]
    frames[31] = frame(moved, None, energy + 6.0, "", symbols)
    (found,) = only(check(tmp_path, "".join(frames)), "outlier")
    assert (found.severity, found.count, found.frames) == ("warning", 1, [32])
    assert "0.99 eV per atom above" in found.what


def test_two_phases_are_no_outliers(tmp_path):
    frames = [
        frame(moved, None, energy + (0.9 if number % 5 == 0 else 0.0) * len(moved), "", symbols)
        for number, (moved, energy, symbols) in enumerate(energies(60))
    ]
    assert not only(check(tmp_path, "".join(frames)), "outlier")


def test_energies_of_compositions_that_depend_on_each_other(tmp_path):
    """Of one composition alone the energies of the elements cannot be told; the outlier can."""
    data = bonded(30)
    high = frame([(0.0, 0.0, 0.0), (0.97, 0.0, 0.0), (-0.2, 0.9, 0.0)], None, -460.0)
    (found,) = [f for f in only(check(tmp_path, data + high), "outlier") if "energy" in f.what]
    assert found.frames == [31]


def stress(label, model):
    findings = Findings()
    stresses.report([(one, {"stress": two}) for one, two in zip(label, model, strict=True)], findings)
    return [(f.severity, f.what) for f in findings.listed()]


MODEL = [[0.01 * n, 0.02, -0.01 * n, 0.005, 0.0, 0.001 * n] for n in range(6)]


def times(factor):
    return [[factor * x for x in row] for row in MODEL]


def test_the_stress_beside_a_models():
    assert stress(MODEL, MODEL) == []
    assert stress(times(1.3), MODEL) == []
    ((severity, what),) = stress(times(-1.0), MODEL)
    assert severity == "error"
    assert "wrong sign" in what


@pytest.mark.parametrize(("factor", "unit"), [(160.2177, "GPa"), (1602.177, "kbar"), (1602176.6, "bar")])
def test_the_stress_in_other_units(factor, unit):
    ((severity, what),) = stress(times(factor), MODEL)
    assert severity == "error"
    assert f"looks like {unit}:" in what
    assert [what.split(":")[0] for _, what in stress(times(-factor), MODEL)] == [
        "the stress has the wrong sign", f"the stress looks like {unit}",
    ]  # fmt: skip


def test_a_stress_that_has_nothing_to_do_with_the_models_or_is_not_there():
    other = [[0.0, 0.0, 0.0, 0.0, 0.02, 0.0] for _ in MODEL]
    ((severity, what),) = stress(other, MODEL)
    assert severity == "warning"
    assert "does not agree with" in what
    findings = Findings()
    stresses.report([([0.1] * 6, {"failure": "crashed", "message": "no such element"})], findings)
    ((severity, what),) = [(f.severity, f.what) for f in findings.listed()]
    assert severity == "warning"
    assert "no such element" in what


def test_so_many_frames_are_compared_evenly(tmp_path):
    labelled = stresses.Labelled(("H", "O"))
    from psiflow_cli import extxyz
    from psiflow_cli.stages.check.sample import read

    more = CELL.format(9) + ' stress="1 0 0 0 1 0 0 0 1"'
    (tmp_path / "data.xyz").write_text(bonded(1000, more=more, pbc="T T T") + bonded(3))
    for each in extxyz.read(tmp_path / "data.xyz"):
        labelled.see(read(each, None, Findings()))
    chosen = list(labelled.chosen(range(1003)))
    assert stresses.FRAMES / 2 <= len(chosen) <= stresses.FRAMES
    assert min(chosen) < 100
    assert max(chosen) > 800
    assert max(chosen) < 1000
