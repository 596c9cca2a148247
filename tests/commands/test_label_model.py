"""psiflow label with a model bundle as the reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.inputs import WATER
from tests.contracts import emt_family

pytest.importorskip("ase", reason="the family of these tests needs ASE")
pytestmark = pytest.mark.usefixtures("in_threads")
COPPER = 'pbc="F F F"'.join(["2\nProperties=species:S:1:pos:R:3 ", "\nCu 0 0 0\nAu 2.4 0.1 0\n"])


def test_a_bundle_labels(psiflow, tmp_path):
    (tmp_path / "in.xyz").write_text(COPPER)
    emt_family.bundle(tmp_path / "copper.model", (1.0, 2.0))
    done = psiflow("label", "in.xyz", "--reference", "copper.model", "-o", "out.xyz")
    assert "copper.model is a committee: labels are the mean of its 2 members" in done.stderr
    text = (tmp_path / "out.xyz").read_text()
    assert "psiflow_reference=model-" in text
    (tmp_path / "copper.model").rename(tmp_path / "moved.model")
    again = psiflow("label", "in.xyz", "--reference", "moved.model", "-o", "out.xyz")
    assert "up to date" in again.stderr
    assert (tmp_path / "out.xyz").read_text() == text


def test_an_element_that_the_model_does_not_know(psiflow, tmp_path):
    (tmp_path / "in.xyz").write_text(WATER)
    emt_family.bundle(tmp_path / "copper.model")
    done = psiflow("label", "in.xyz", "--reference", "copper.model", code=65)
    assert "does not know the element H" in done.stderr


@pytest.mark.full
def test_labels_are_what_evaluate_predicts(psiflow_mace, trained):
    ase_io = pytest.importorskip("ase.io")
    psiflow_mace("label", trained.test, "--reference", trained.model, "-o", "labels.xyz")
    psiflow_mace("evaluate", trained.test, "--model", trained.model, "-o", "predicted.xyz")
    for labelled, predicted in zip(ase_io.read("labels.xyz", ":"), ase_io.read("predicted.xyz", ":"), strict=True):
        assert labelled.get_potential_energy() == predicted.info["model_energy"]
        assert (labelled.get_forces() == predicted.arrays["model_forces"]).all()
        if labelled.pbc.all():
            assert (labelled.get_stress(voigt=False) == predicted.info["model_stress"]).all()


@pytest.mark.full
def test_a_bare_model_file_labels_only_if_it_is_trusted(psiflow, trained):
    ase_io = pytest.importorskip("ase.io")
    (file,) = (Path(trained.model) / "member-0").glob("*.model")
    Path("in.xyz").write_text(WATER)
    arguments = ("label", "in.xyz", "--reference", file, "--site", trained.site, "-o", "labels.xyz")
    said = psiflow(*arguments, code=65).stderr
    assert "is a program of unknown origin" in said
    assert "run it with --trust" in said
    psiflow(*arguments, "--trust")
    atoms = ("atomic-energies", "--elements", "H", "--reference", file, "-o", "atoms.xyz", "--dry-run")
    assert "run it with --trust" in psiflow(*atoms, code=65).stderr
    psiflow(*atoms, "--trust")
    psiflow("evaluate", "in.xyz", "--model", trained.model, "--site", trained.site, "-o", "predicted.xyz")
    labelled, predicted = ase_io.read("labels.xyz"), ase_io.read("predicted.xyz")
    assert labelled.get_potential_energy() == predicted.info["model_energy"]
    assert (labelled.get_forces() == predicted.arrays["model_forces"]).all()
