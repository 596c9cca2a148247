"""Families that others train: which is chosen for a model file, and that the numbers are those of its own package."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli import registry
from psiflow_cli.commands.shared import bundles
from psiflow_cli.errors import BadData, PsiflowError, UsageError
from tests.potentials import random_weights

OTHERS = [name for name in registry.families() if name not in registry.names("models")]
SALT: Any = {
    "id": "", "symbols": ["Na", "Cl"], "positions": [[0.1, 0.0, 0.0], [2.8, 0.0, 0.1]], "pbc": [True] * 3,
    "cell": [[5.6, 0.0, 0.0], [0.0, 3.9, 0.3], [0.0, 0.0, 4.0]],
}  # fmt: skip


def file(folder: Path, name: str) -> str:
    (folder / name).write_text("no model")
    return str(folder / name)


@pytest.mark.parametrize("name", OTHERS)
def test_every_family_has_an_extra_and_the_suffixes_of_its_files(root: Path, name: str) -> None:
    family = registry.load("potentials", name)
    extra = re.search(rf"^{name} = \[(.*?)^(?=\w)", (root / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE)
    assert extra, "psiflow env create needs it"
    assert "ase>" in extra[1]
    assert "ase" in family.REQUIRES
    assert bundles.suffixes(name)


def test_a_name_that_does_not_tell_the_family_is_asked_for(tmp_path: Path) -> None:
    model = file(tmp_path, "checkpoint.pth")
    with pytest.raises(UsageError, match=r"the family of .* is not known: mattersim or sevennet"):
        bundles.load(model, bundles.ModelUse(True, None))
    loaded = bundles.load(model, bundles.ModelUse(True, "PBE", "sevennet"))
    assert (loaded.family, loaded.head) == ("sevennet", "PBE")
    with pytest.raises(BadData, match="is a program"):
        bundles.load(model, bundles.ModelUse(False, None, "sevennet"))
    with pytest.raises(BadData, match="not a model file of orb"):
        bundles.load(model, bundles.ModelUse(True, None, "orb"))
    with pytest.raises(UsageError, match="which has no heads"):
        bundles.load(model, bundles.ModelUse(True, "PBE", "mattersim"))


def test_a_family_that_psiflow_trains_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bundles.load(file(tmp_path, "best.ckpt"), bundles.ModelUse(True, None)).family in ("allegro", "nequip")
    assert "--family orb" in capsys.readouterr().err


def test_no_training_starts_from_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a model of sevennet") as raised:
        bundles.start(file(tmp_path, "checkpoint.pth"), bundles.ModelUse(True, None, "sevennet"), None)
    assert "does not train them" in raised.value.hint


def test_what_lies_beside_a_model_of_grace_is_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    weights = Path(file(tmp_path / "variables", "variables.data-00000-of-00001"))
    use = bundles.ModelUse(True, None)
    before = bundles.load(file(tmp_path, "saved_model.pb"), use)
    weights.write_text("others")
    assert bundles.load(str(tmp_path / "saved_model.pb"), use).fingerprint != before.fingerprint


def test_a_file_that_it_cannot_open_ends_the_run(tmp_path: Path) -> None:
    pytest.importorskip("sevenn", reason="SevenNet is not installed (the extra sevennet)")
    sevennet: Any = registry.load("potentials", "sevennet")
    with pytest.raises(PsiflowError, match="cannot open this model"):
        sevennet.predict([SALT], [file(tmp_path, "checkpoint.pth")], {})


def assert_same(found: Any, calculator: Any) -> None:
    from ase import Atoms

    atoms = Atoms(SALT["symbols"], SALT["positions"], cell=SALT["cell"], pbc=True)
    atoms.calc = calculator
    assert found["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    assert found["forces"] == pytest.approx(atoms.get_forces(), abs=1e-6)
    assert found["stress"] == pytest.approx(atoms.get_stress(), abs=1e-6)


def test_sevennet_gives_its_own_numbers() -> None:
    sevenn = pytest.importorskip("sevenn", reason="SevenNet is not installed (the extra sevennet)")
    from sevenn.calculator import SevenNetCalculator

    model = str(next(Path(sevenn.__file__).parent.rglob("checkpoint_sevennet_0.pth")))
    sevennet: Any = registry.load("potentials", "sevennet")
    ((found,),) = sevennet.predict(frames=[SALT], members=[model], context={})
    assert_same(found, SevenNetCalculator(model, device="cpu"))


def test_fairchem_gives_its_own_numbers(tmp_path: Path) -> None:
    pytest.importorskip("fairchem.core", reason="fairchem is not installed (the extra fairchem)")
    from fairchem.core import FAIRChemCalculator

    random_weights.uma(tmp_path / "uma.pt")
    fairchem: Any = registry.load("potentials", "fairchem")
    ((found,),) = fairchem.predict(frames=[SALT], members=[str(tmp_path / "uma.pt")], context={"head": "omat"})
    options = {"task_name": "omat", "inference_settings": "batch", "device": "cpu"}
    assert_same(found, FAIRChemCalculator.from_model_checkpoint(str(tmp_path / "uma.pt"), **options))
    with pytest.raises(PsiflowError, match=r"Valid options are .*'omat', 'omol'"):
        fairchem.predict(frames=[SALT], members=[str(tmp_path / "uma.pt")], context={})


def test_grace_gives_its_own_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorpotential", reason="GRACE is not installed (the extra grace)")
    from tensorpotential.calculator import TPCalculator

    random_weights.grace(tmp_path)
    grace: Any = registry.load("potentials", "grace")
    ((found,),) = grace.predict(frames=[SALT], members=[str(tmp_path / "saved_model.pb")], context={})
    assert_same(found, TPCalculator(str(tmp_path)))
