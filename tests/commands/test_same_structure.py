"""A data set that has passed through other programs is still the same: nothing leaks, and nothing is computed twice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from psiflow_cli import extxyz

ase_io = pytest.importorskip("ase.io", reason="other programs are played by ase")
COUNT = 6


def alloys(seed):
    """Distinct frames of four atoms in skewed cells, with all digits."""
    from ase.build import bulk

    frames = []
    for number in range(COUNT):
        atoms = bulk("Cu", cubic=True)
        atoms.symbols[1::2] = "Al"
        atoms.rattle(0.05, seed=100 * seed + number)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * np.random.default_rng(seed).random((3, 3))), True)
        frames.append(atoms)
    return frames


def write(name, frames):
    """As psiflow's own files are: every digit."""
    text = (extxyz.new_frame(list(a.symbols), a.positions.tolist(), a.cell.tolist(), a.pbc.tolist()) for a in frames)
    Path(name).write_text("".join(text))


def through_ase(source, name, change=lambda atoms: None):
    frames = ase_io.read(source, ":")
    for atoms in frames:
        change(atoms)
    ase_io.write(name, frames)


def with_other_vectors(atoms):
    atoms.set_cell([[1, 1, 0], [0, 1, 0], [0, -1, 1]] @ atoms.cell.array)
    atoms.wrap()


def labels(name):
    return [extxyz.labels(frame) for frame in extxyz.read(Path(name))]


@pytest.fixture
def label(psiflow, in_threads):
    def run(*words):
        return json.loads(psiflow("label", *words, "--reference", "emt", "--json").stdout)

    return run


def test_no_label_is_paid_twice(label):
    write("in.xyz", alloys(1))
    assert label("in.xyz", "-o", "out.xyz")["computed"] == COUNT
    through_ase("in.xyz", "ase.xyz", with_other_vectors)
    assert label("ase.xyz", "--from", "out.xyz", "--dry-run")["todo"] == 0
    assert label("ase.xyz", "--from", "out.xyz", "-o", "again.xyz")["computed"] == 0
    assert labels("again.xyz") == labels("out.xyz")
    for frame in extxyz.read(Path("again.xyz")):  # of what stands there: it can be taken on from here
        assert frame.info["psiflow_id"] == extxyz.frame_id(frame)
    assert label("again.xyz", "--from", "again.xyz", "-o", "third.xyz", "--dry-run")["todo"] == 0
    # labels that were through ase, for frames that were not
    through_ase("out.xyz", "rounded.xyz")
    assert label("in.xyz", "--from", "rounded.xyz", "-o", "third.xyz", "--dry-run")["todo"] == 0

    # the input itself is rewritten, and has grown
    before = labels("out.xyz")
    through_ase("in.xyz", "in.xyz", with_other_vectors)
    Path("in.xyz").write_text(Path("in.xyz").read_text() + Path("in.xyz").read_text().replace("Cu ", "Ni "))
    assert label("in.xyz", "-o", "out.xyz")["computed"] == COUNT
    assert labels("out.xyz")[:COUNT] == before


def test_a_label_goes_to_the_same_atoms_in_the_same_places_only(label):
    write("in.xyz", alloys(2))
    through_ase("in.xyz", "ase.xyz")
    assert label("in.xyz", "ase.xyz", "-o", "out.xyz")["computed"] == COUNT  # the second half are copies
    assert labels("out.xyz")[COUNT:] == labels("out.xyz")[:COUNT]
    changes = {
        "other order": lambda atoms: atoms.set_positions(atoms.positions[[2, 1, 0, 3]]),
        "rotated": lambda atoms: atoms.rotate(90, "z", rotate_cell=True),
        "moved": lambda atoms: atoms.translate([0.1, 0, 0]),
        "one atom": lambda atoms: atoms.positions.__setitem__((0, 0), atoms.positions[0, 0] + 1e-4),
    }
    for change in changes.values():
        through_ase("in.xyz", "changed.xyz", change)
        assert label("changed.xyz", "--from", "out.xyz", "-o", "new.xyz", "--dry-run")["todo"] == COUNT
    # ase keeps the label of an atom that was moved
    through_ase("out.xyz", "stale.xyz", changes["one atom"])
    through_ase("in.xyz", "changed.xyz", changes["one atom"])
    assert "energy=" in Path("stale.xyz").read_text()
    assert label("changed.xyz", "--from", "stale.xyz", "-o", "new.xyz", "--dry-run")["todo"] == COUNT


def test_no_copy_leaks(psiflow, label):
    write("in.xyz", alloys(3))
    label("in.xyz", "-o", "out.xyz")
    through_ase("out.xyz", "ase.xyz", with_other_vectors)
    through_ase("out.xyz", "copy.traj")
    os.mkdir("vasp")
    ase_io.write("vasp/POSCAR", ase_io.read("out.xyz", "0"), sort=True)
    files = ("out.xyz", "ase.xyz", "copy.traj", "vasp/POSCAR")

    psiflow("split", *files, "--parts", "a=0.5,b=0.5", "-o", "parts.xyz")
    atoms = [len(ase_io.read(f"parts.{part}.xyz", ":")) for part in "ab"]
    assert sum(atoms) == 3 * COUNT + 1
    assert sorted(number % 3 for number in atoms) == [0, 1], "copies are in different parts"
    energies = [{a.get_potential_energy() for a in ase_io.read(f"parts.{p}.xyz", ":") if a.calc} for p in "ab"]
    assert not energies[0] & energies[1]

    found = json.loads(psiflow("check", *files, "--json", code=65).stdout)["findings"]
    assert [(f["severity"], f["count"]) for f in found if f["check"] == "duplicate"] == [("warning", 2 * COUNT + 1)]

    chosen = json.loads(psiflow("select", *files, "-n", 9, "--by", "random", "-o", "new.xyz", "--json").stdout)
    assert (chosen["chosen"], chosen["left_out"]["duplicate"]) == (COUNT, 2 * COUNT + 1)
    write("others.xyz", alloys(4))
    words = ("out.xyz", "others.xyz", "--exclude", "ase.xyz", "-n", 99, "--by", "random", "-o", "rest.xyz", "--json")
    assert json.loads(psiflow("select", *words).stdout)["left_out"] == {"excluded": COUNT}

    ase_io.write("valid.xyz", ase_io.read("ase.xyz", "2:4"))
    words = ("out.xyz", "--arch", "mace", "--e0s", "average", "--dry-run")
    said = psiflow("train", *words, "--valid", "valid.xyz", code=65).stderr
    assert "valid.xyz:1: frame 1: also a training frame (out.xyz:13: frame 3, and 1 more)" in said
