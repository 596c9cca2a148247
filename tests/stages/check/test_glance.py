"""psiflow check on what a practitioner sees at a glance, and on sane data in which it must see nothing."""

from __future__ import annotations

import math
import random

import pytest

from psiflow_cli import extxyz, voigt
from psiflow_cli.stages.check.stage import Reading
from tests.stages.check.checked import PLACES, bonded, check, frame, only

ATOM = " config_type=IsolatedAtom"


def atom(element, energy, more=ATOM):
    return frame([(0.0, 0.0, 0.0)], None, energy, more, [element])


@pytest.fixture(scope="module")
def emt():
    """Frames of EMT, strained and rattled, as a function of element, number, rattle, strain and the cell."""
    pytest.importorskip("ase")
    import numpy as np
    from ase.build import bulk
    from ase.calculators.emt import EMT

    draw = np.random.default_rng(0)

    def make(element="Cu", count=16, rattle=0.05, strain=0.02, shift=0.0, a=None, **more):
        texts = []
        for number in range(count):
            atoms = bulk(element, a=a(number) if a else None, cubic=True)
            change = draw.normal(0, strain, (3, 3))
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + (change + change.T) / 2), scale_atoms=True)
            atoms.positions += draw.normal(0, rattle, atoms.positions.shape)
            atoms.calc = EMT()
            info = {"energy": float(atoms.get_potential_energy()) + shift * len(atoms)}
            info |= {"stress": atoms.get_stress(voigt=False).tolist(), **{k: v(number) for k, v in more.items()}}
            texts.append(
                extxyz.new_frame(
                    list(atoms.symbols), atoms.positions.tolist(), atoms.cell.tolist(), [True] * 3, info,
                    {"forces": ("R", atoms.get_forces().tolist())},
                )
            )  # fmt: skip
        return "".join(texts)

    return make


def changed(tmp_path, text, energy=1.0, force=1.0, stress=None):
    """The frames with labels times these, or with what `stress` makes of six numbers and the volume."""
    (tmp_path / "in.xyz").write_text(text)
    texts = []
    for each in extxyz.read(tmp_path / "in.xyz"):
        label = extxyz.labels(each)
        info = {"energy": label["energy"] * energy}
        if stress and label["stress"]:
            volume = extxyz.layout.volume(each.lattice)
            info["stress"] = voigt.to_matrix([stress(x, volume) for x in label["stress"]])
        forces = [[x * force for x in row] for row in label["forces"] or ()]
        texts.append(extxyz.render(each, set_info=info, set_columns={"forces": ("R", forces)} if forces else {}))
    return "".join(texts)


def sane(found):
    """What is found besides keys and missing atoms."""
    return [each for each in found if each.check != "keys" and "no isolated atom" not in each.what]


@pytest.mark.parametrize(
    "how",
    [
        {"count": 1}, {"count": 5}, {"rattle": 0.15, "strain": 0.04}, {"shift": -45000.0}, {"element": "Al"},
        {"strain": 0.0, "a": lambda n: 2.6 + 0.05 * n}, {"charge": lambda n: n % 3},
    ],
)  # fmt: skip
def test_sane_metals(emt, tmp_path, how):
    """Few frames, hot ones, total energies of all electrons, an equation of state up to hundreds of GPa, charges."""
    element, shift = how.get("element", "Cu"), how.get("shift", 0.0)
    assert sane(check(tmp_path, emt(**how) + atom(element, 3.5 + shift))) == []


def test_a_perfect_crystal_in_many_cells(emt, tmp_path):
    found = check(tmp_path, emt(rattle=0.0) + atom("Cu", 3.5))
    assert [each.check for each in sane(found)] in ([], ["zero-forces"])


def test_sane_molecules_and_atoms(tmp_path):
    atoms = atom("H", -13.6) + atom("O", -432.0)
    assert sane(check(tmp_path, atoms)) == [], "atoms alone"
    others = atom("H", -12.5) + atom("O", -429.0)  # atoms that are not polarised
    assert sane(check(tmp_path, bonded(20) + others)) == []
    ions = bonded(10) + bonded(10, offset=-456.0, seed=1, more=" charge=1")
    assert sane(check(tmp_path, ions + atoms)) == []
    singlets = bonded(10, more=" multiplicity=1")
    triplets = bonded(10, offset=-461.0, seed=1, more=" multiplicity=3")
    assert sane(check(tmp_path, singlets + triplets + atoms)) == []


def test_dimers_pushed_together_and_pulled_apart(tmp_path):
    """A Morse curve with the repulsion of bare nuclei, screened; noble gases; neither has an energy out of bounds."""
    texts = []
    for number in range(40):
        r = 0.6 + 0.12 * number
        wall, well = 12110 / r * math.exp(-r / 0.13), math.exp(-1.4 * (r - 2.2))
        energy = wall + 2.0 * (well**2 - 2 * well)
        push = wall * (1 / r + 1 / 0.13) + 2.0 * 1.4 * (2 * well**2 - 2 * well)
        texts.append(
            frame([(0, 0, 0), (r, 0.0, 0.0)], [[-push, 0, 0], [push, 0, 0]], energy - 10000.0, symbols=("Cu", "Cu"))
        )
    found = sane(check(tmp_path, "".join(texts) + atom("Cu", -5000.0)))
    assert not [each for each in found if each.check != "outlier"]


@pytest.mark.parametrize(
    ("energy", "severity"), [(-45000.0, "error"), (400.0, "error"), (30.0, "warning"), (12.0, ""), (3.5, ""), (0.0, "")]
)
def test_energies_of_atoms_that_do_not_belong_to_the_frames(emt, tmp_path, energy, severity):
    found = sane(check(tmp_path, emt(count=4) + atom("Cu", energy)))
    assert [(each.severity, each.check) for each in found] == ([(severity, "isolated-atoms")] if severity else [])
    assert all(f"Cu {energy:g} eV" in each.what for each in found)


def test_only_the_atom_that_is_wrong_is_named(emt, tmp_path):
    right = emt(count=4) + atom("Cu", 3.5) + atom("H", -13.6)
    (found,) = sane(check(tmp_path, right + bonded(12) + atom("O", -15.9)))
    assert (found.severity, found.count) == ("error", 12)
    assert "(H -13.6 eV, O -15.9 eV)" in found.what, "one of them is in Hartree; copper is right"


_GPA = 160.21766


@pytest.mark.parametrize(
    ("stress", "what"),
    [
        (lambda x, _: x * _GPA, "looks like GPa:"),
        (lambda x, _: x * -10 * _GPA, "looks like kbar with the wrong sign"),
        (lambda x, _: -x, "has the wrong sign"),
        (lambda x, _: x / 183.63, "looks like Ha/bohr³"),
        (lambda x, volume: -x * volume, "looks like a virial in eV; read it with --keys virial=NAME"),
    ],
)
@pytest.mark.parametrize("rattle", [0.0, 0.05])
def test_the_unit_and_the_sign_of_a_stress_show_where_cells_change(emt, tmp_path, stress, what, rattle):
    (found,) = only(check(tmp_path, changed(tmp_path, emt(rattle=rattle), stress=stress)), "stress")
    assert found.severity == "error"
    assert what in found.what


def test_a_stress_that_no_solid_has_shows_by_itself(emt, tmp_path):
    data = emt(count=1, strain=0.05)
    for factor, severity in ((1, ""), (1602, "error")):
        found = only(check(tmp_path, changed(tmp_path, data, stress=lambda x, _, f=factor: x * f)), "stress")
        assert [each.severity for each in found] == ([severity] if severity else [])


def test_the_stress_of_a_slab_is_not_used(emt, tmp_path):
    (found,) = only(check(tmp_path, emt(count=3).replace('pbc="T T T"', 'pbc="T T F"')), "stress")
    assert (found.severity, found.count) == ("warning", 3)


@pytest.mark.parametrize(
    ("energy", "force", "what"),
    [
        (23.060548, 1.0, "energies look like kcal/mol"), (96.485332, 1.0, "energies look like kJ/mol"),
        (1 / 13.605693, 1.0, "energies look like Rydberg"), (1.0, 23.060548, "forces look like kcal/mol/Å"),
        (1.0, 1 / 25.711034, "forces look like Ry/bohr"), (23.060548, 23.060548, "kcal/mol"),
        (96.485332, 96.485332, "energies look like"), (1.0, 1 / 1.889726, "not the gradient of the energy"),
    ],
)  # fmt: skip
def test_other_units(tmp_path, energy, force, what):
    found = only(check(tmp_path, bonded(60, energy, force)), "units")
    assert len(found) == 1
    assert what in found[0].what


def test_two_methods_in_one_set(emt, tmp_path):
    mixed = emt(count=10) + emt(count=10, shift=1.0)
    (found,) = only(check(tmp_path, mixed), "mixed-references")
    assert (found.severity, found.count) == ("warning", 10)
    assert "two groups" in found.what
    kinds = emt(count=10, config_type=lambda _: "hot") + emt(count=10, shift=1.0, config_type=lambda _: "cold")
    assert not only(check(tmp_path, kinds), "mixed-references")
    wide = emt(count=10) + emt(count=10, shift=1.0, a=lambda _: 4.2)
    assert not only(check(tmp_path, wide), "mixed-references"), "another density has another energy"


def test_two_methods_whatever_the_composition(tmp_path):
    draw, texts = random.Random(0), []
    for number in range(40):
        symbols = [draw.choice("OH") for _ in range(4)]
        energy = sum({"O": -432.0, "H": -13.6}[s] for s in symbols) - 12 + draw.gauss(0, 0.5)
        places = [[x + draw.gauss(0, 0.05) for x in row] for row in (*PLACES, (0.0, 0.0, 1.2))]
        texts.append(frame(places, None, energy + (80 if number % 2 else 0), symbols=symbols))
    (found,) = only(check(tmp_path, "".join(texts) + atom("H", -13.6) + atom("O", -432.0)), "mixed-references")
    assert "two groups" in found.what


def test_methods_by_name(tmp_path):
    heads = bonded(6, more=" head=pbe") + bonded(6, seed=1, more=" head=ccsdt")
    (found,) = only(check(tmp_path, heads), "heads")
    assert (found.severity, found.what) == ("warning", "frames of 2 heads: ccsdt 6, pbe 6")
    (found,) = only(check(tmp_path, heads + bonded(6, seed=2)), "mixed-references")
    assert found.severity == "error"
    assert "head=ccsdt, but head=pbe in" in found.what
    assert not only(check(tmp_path, bonded(6, more=" head=pbe")), "mixed-references")
    functionals = bonded(6, more=" functional=PBE") + bonded(6, seed=1, more=" functional=SCAN")
    (found,) = only(check(tmp_path, functionals), "mixed-references")
    assert found.severity == "warning"


def test_labels_under_near_names(tmp_path):
    found = only(check(tmp_path, bonded(6, names=("DFT_energy", "Force"))), "keys")
    assert [each.what for each in found] == ["no frame has an energy", "no frame has forces"]


def test_ions_are_no_second_atom(tmp_path):
    ions = atom("H", 0.5, " charge=1") + atom("O", -418.0, " charge=1") + atom("O", -383.0, " charge=2")
    data = bonded(12) + ions
    assert not only(check(tmp_path, data + atom("H", -13.6) + atom("O", -432.0)), "isolated-atoms")
    (found,) = only(check(tmp_path, data + atom("H", -13.6)), "isolated-atoms")
    assert "an isolated O atom at -383.0 eV, but an earlier one at -418.0 eV" in found.what


def test_a_crystal_of_one_atom_is_named_where_an_atom_is_missing(tmp_path):
    alone = frame([(0.0, 0.0, 0.0)], None, -13.6, ' Lattice="9 0 0 0 9 0 0 0 9" config_type=gas', ["H"], "T T T")
    (tmp_path / "in.xyz").write_text(alone)
    reading = Reading(None)
    for each in extxyz.read(tmp_path / "in.xyz"):
        reading.see(each)
    reading.end()
    reading.report()
    (finding,) = (f for f in reading.findings.listed() if f.check == "isolated-atoms")
    assert "unless config_type=IsolatedAtom" in finding.hint
