"""psiflow label --subtract-from: labels less what a reference gives."""

from __future__ import annotations

import pytest

ase_io = pytest.importorskip("ase.io", reason="the references of these tests need ASE")
pytestmark = pytest.mark.usefixtures("in_threads")


@pytest.fixture
def labelled(tmp_path):
    """Two crystals and an isolated atom, with labels under the names of another program."""
    import numpy as np
    from ase import Atoms
    from ase.build import bulk

    frames = [bulk("Cu", cubic=True), bulk("Cu", cubic=True), Atoms("Cu")]
    for number, atoms in enumerate(frames):
        atoms.rattle(0.1 * (len(atoms) > 1), seed=number)
        atoms.info["REF_energy"] = -10.0 - number
        atoms.arrays["REF_forces"] = np.full((len(atoms), 3), 0.25)
        if atoms.pbc.all():
            atoms.info["REF_stress"] = np.eye(3) * 0.5
    frames[2].info["config_type"] = "IsolatedAtom"
    ase_io.write(tmp_path / "data.xyz", frames)
    return frames


def test_the_difference_and_what_was_subtracted(psiflow, labelled):
    done = psiflow("label", "data.xyz", "--reference", "emt", "--subtract-from", "REF_energy", "-o", "delta.xyz")
    assert "3 of 3 labelled" in done.stderr
    psiflow("label", "data.xyz", "--reference", "emt", "-o", "emt.xyz")
    for before, delta, emt in zip(labelled, ase_io.read("delta.xyz", ":"), ase_io.read("emt.xyz", ":"), strict=True):
        assert "REF_energy" not in delta.info
        energy = emt.get_potential_energy()
        assert delta.get_potential_energy() == pytest.approx(before.info["REF_energy"] - energy, abs=1e-12)
        assert delta.info["subtracted_energy"] == energy
        assert delta.get_forces() == pytest.approx(before.arrays["REF_forces"] - emt.get_forces(), abs=1e-8)
        assert delta.arrays["subtracted_forces"] == pytest.approx(emt.get_forces(), abs=1e-8)
        assert delta.info["subtracted"] == emt.info["psiflow_reference"]
        assert delta.info["psiflow_reference"] == f"labels-minus-{delta.info['subtracted']}"
        if before.pbc.all():
            assert delta.get_stress()[:3] == pytest.approx(0.5 - emt.get_stress()[:3], abs=1e-9)
    # what was labelled is known, and nothing is subtracted twice
    again = psiflow("label", "data.xyz", "--reference", "emt", "--subtract-from", "REF_energy", "-o", "delta.xyz")
    assert "up to date" in again.stderr
    twice = psiflow("label", "delta.xyz", "--reference", "emt", "--subtract-from", "energy", "-o", "no.xyz", code=65)
    assert "delta.xyz:1: frame 1: emt-" in twice.stderr
    # relabelled or moved, the frames have nothing of it
    psiflow("label", "delta.xyz", "--reference", "emt", "-o", "plain.xyz")
    psiflow("rattle", "delta.xyz", "-n", 1, "-o", "moved.xyz")
    for name in ("plain.xyz", "moved.xyz"):
        with open(name) as stream:
            assert "subtracted" not in stream.read()


def test_no_labels_to_subtract_from(psiflow, labelled):
    wrong = psiflow("label", "data.xyz", "--reference", "emt", "--subtract-from", "dft", "-o", "delta.xyz", code=65)
    assert "data.xyz:1: frame 1" in wrong.stderr
    assert "dft" in wrong.stderr


def test_differences_are_not_mixed_with_whole_labels(psiflow, labelled, tmp_path):
    psiflow("label", "data.xyz", "--reference", "emt", "--subtract-from", "REF_energy", "-o", "delta.xyz")
    frames = ase_io.read("data.xyz", ":")
    ase_io.write("atom.xyz", frames[2])
    ase_io.write("some.xyz", ase_io.read("delta.xyz", ":2"))
    subtracted = ase_io.read("delta.xyz").info["subtracted"]
    assert f"labels minus {subtracted}: 3 frames" in psiflow("check", "delta.xyz").stdout
    for command in (
        ("check", "some.xyz", "atom.xyz"),
        ("train", "some.xyz", "atom.xyz", "--arch", "mace", "--dry-run"),
    ):
        said = psiflow(*command, code=65)
        assert "was subtracted from" in said.stdout + said.stderr
