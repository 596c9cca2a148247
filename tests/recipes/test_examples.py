"""The examples of learning with the real parts: MACE, xTB and, for two of them, PLUMED, in the smallest settings."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.recipes.conftest import Recipe, made

pytest.importorskip("mace", reason="needs MACE")
pytest.importorskip("tblite", reason="needs xTB")
SMALL = """
[sample]
engine = "ase"
walkers = 2
steps = 20
every = 5
{more}
[label]
reference = "xtb"
[atomic-energies]
reference = "xtb"
[train]
arch = "mace"
members = 2
set = [
    "num_channels=4", "max_L=0", "correlation=1", "r_max=3.0", "batch_size=4", "max_num_epochs=2",
    "default_dtype=float64",
]
"""
LOOP = "ROUNDS=1\nFIRST=8\nTEST=4\nFRAMES=3\nCONTINUE=yes\nRESET=forces:500\nAMPLITUDE=0.1\n"


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("name", "loop", "sample"),
    [
        ("water", "", ""),
        ("breathing", "STRAIN=0.03\n", 'ensemble = "npt"\ncell = "flexible"'),
        ("proton", "PLUMED=plumed.dat\nVARY=(AT=-0.5:0.5)\n", ""),
        ("alanine", "PLUMED=plumed.dat\n", "share-bias = true"),
    ],
)
def test_an_example_comes_to_its_end_and_again_does_nothing(
    name: str, loop: str, sample: str, recipe: Recipe, tmp_path: Path
) -> None:
    if "PLUMED" in loop and not os.environ.get("PLUMED_KERNEL"):
        pytest.skip("needs PLUMED (PLUMED_KERNEL)")
    folder = tmp_path / name
    folder.mkdir()
    (folder / "loop.conf").write_text(LOOP + loop)
    (folder / "psiflow.toml").write_text(SMALL.format(more=sample))
    done = recipe(f"learn-{name}.sh", folder, env=dict(os.environ))
    assert "round-1" in done.stdout
    assert json.loads((folder / "round-1" / "errors.json").read_text())["errors"]
    before = made(folder)
    done = recipe(f"learn-{name}.sh", folder, env=dict(os.environ))
    assert "computed now" not in done.stderr
    assert made(folder) == before
