"""Recipes that begin with a model or a cheap method: fine-tuning, learning of the difference, and a fast student."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from psiflow_cli import bundle
from tests.recipes.conftest import CLUSTER, PROJECT, Recipe

ase_io = pytest.importorskip("ase.io", reason="needs ase")


class Given(NamedTuple):
    """What a user comes with."""

    model: Path
    start: Path
    data: Path
    """Labelled frames, with the isolated atom."""


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory, cheap: dict[str, str]) -> Given:
    folder = tmp_path_factory.mktemp("given")
    (folder / "start.xyz").write_text(CLUSTER)
    (folder / "psiflow.toml").write_text(PROJECT)

    def psiflow(*args: object) -> None:
        done = subprocess.run(["psiflow", *map(str, args)], cwd=folder, env=cheap, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    psiflow("rattle", "start.xyz", "-n", 30, "--amplitude", 0.1, "-o", "rattled.xyz")
    psiflow("label", "rattled.xyz", "-o", "labelled.xyz")
    psiflow("atomic-energies", "start.xyz", "-o", "atoms.xyz")
    psiflow("train", "labelled.xyz", "atoms.xyz", "-o", "general.model")
    data = folder / "data.xyz"
    data.write_text((folder / "labelled.xyz").read_text() + (folder / "atoms.xyz").read_text().replace("3.51", "4.51"))
    return Given(folder / "general.model", folder / "start.xyz", data)


def prepare(folder: Path) -> Path:
    folder.mkdir()
    (folder / "psiflow.toml").write_text(PROJECT.replace("members = 3", "members = 1"))
    return folder


def rmse(file: Path) -> float:
    return next(float(row["rmse"]) for row in json.loads(file.read_text())["errors"] if row["quantity"] == "forces")


def test_finetuning_starts_from_the_model_and_counts_from_the_datas_own_atoms(
    given: Given, cheap: dict[str, str], recipe: Recipe, tmp_path: Path
) -> None:
    folder = prepare(tmp_path / "tuned")
    (folder / "scratch").mkdir()
    (folder / "scratch" / "psiflow.toml").write_text((folder / "psiflow.toml").read_text())
    sized = {**cheap, "SIZES": "10"}
    done = recipe("foundation-finetune.sh", given.model, given.data, folder, env=sized)
    rows = [row[0] for row in map(str.split, done.stdout.splitlines()) if row[1:2] == ["3"]]
    assert rows == ["before", "after", "tuned", "scratch"]
    assert "forces with 10 frames: " in done.stderr
    assert len(ase_io.read(folder / "tuned" / "10" / "frames.xyz", ":")) == 10
    scratch = bundle.load(str(folder / "scratch" / "10" / "scratch.model")).facts
    assert scratch["atomic_energies"]["Cu"] == pytest.approx(4.51)
    facts = bundle.load(str(folder / "tuned.model")).facts
    assert facts["init"] == bundle.load(str(given.model)).fingerprint
    assert facts["replayed_frames"] == 0
    assert facts["atomic_energies"]["Cu"] == pytest.approx(4.51)
    again = recipe("foundation-finetune.sh", given.model, given.data, folder, env=sized)
    assert again.stderr.count("is up to date") == 9
    assert again.stdout == done.stdout
    recipe("foundation-finetune.sh", given.model, tmp_path / "gone.xyz", folder, env=cheap, code=66)


def test_the_difference_and_the_baseline_add_up(
    given: Given, cheap: dict[str, str], recipe: Recipe, tmp_path: Path
) -> None:
    folder = prepare(tmp_path / "delta")
    done = recipe("delta.sh", given.data, "0.5*emt", folder, env=cheap)
    assert [line.split()[0] for line in done.stdout.splitlines()[2:4]] == ["delta", "direct"]
    # what the labels were, the difference to learn, and what the total model says
    for whole, less in zip(
        *(ase_io.read(folder / f"{name}.train.xyz", ":") for name in ("data", "delta")), strict=True
    ):
        assert less.get_potential_energy() + less.info["subtracted_energy"] == pytest.approx(
            whole.get_potential_energy()
        )
        assert less.get_forces() + less.arrays["subtracted_forces"] == pytest.approx(whole.get_forces(), abs=1e-7)
    assert [term["factor"] for term in bundle.load(str(folder / "total.model")).facts["terms"]] == [0.5, 1]


@pytest.mark.full
def test_a_student_learns_its_teacher(given: Given, cheap: dict[str, str], recipe: Recipe, tmp_path: Path) -> None:
    folder = prepare(tmp_path / "distilled")
    done = recipe("distil.sh", given.model, given.start, folder, env={**cheap, "FRAMES": "30"})
    assert [line.split()[0] for line in done.stdout.splitlines()[2:4]] == ["test", "visited"]
    # of the same form as its teacher: what is left is what its frames do not say
    assert 0 < rmse(folder / "test" / "errors.json") < 20
    again = recipe("distil.sh", given.model, given.start, folder, env={**cheap, "FRAMES": "30"})
    assert again.stderr.count("is up to date") == 11
    assert again.stdout == done.stdout
