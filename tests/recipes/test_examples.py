"""The examples of learning with the real parts: MACE, xTB and, for two of them, PLUMED, in the smallest settings."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.commands.springs import SITE
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
WORKERS = SITE.replace('"threads"', '"htex"\nenvironment = "here"').replace('cores = "all"', "cores = 1")
WORKERS += "[environments.here]\nkeep_pythonpath = true\n"  # where PLUMED's package may be
ACID = """5
Properties=species:S:1:pos:R:3 pbc="F F F"
O -1.041 -0.436 0
C 0 0.424 0
O 1.169 0.104 0
H -0.650 -1.335 0
H -0.378 1.453 0
"""
OWN = {  # formic acid in place of alanine dipeptide, whose path takes xTB minutes
    "start.xyz": ACID,
    "plumed.dat": "phi: TORSION ATOMS=4,1,2,3\nMETAD ARG=phi SIGMA=0.3 HEIGHT=2 PACE=5 TEMP=300 BIASFACTOR=20\n",
    "around.dat": "phi: TORSION ATOMS=4,1,2,3\nMOVINGRESTRAINT ARG=phi STEP0=0 AT0=0 KAPPA0=200 STEP1=1600 AT1=3.14\n",
}
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
    for own, text in OWN.items() if name == "alanine" else ():
        (folder / own).write_text(text)
    (tmp_path / "workers.toml").write_text(WORKERS)
    env = {**os.environ, "PSIFLOW_SITE": str(tmp_path / "workers.toml")}
    done = recipe(f"learn-{name}.sh", folder, env=env)
    assert "round-1" in done.stdout
    assert json.loads((folder / "round-1" / "errors.json").read_text())["errors"]
    before = made(folder)
    done = recipe(f"learn-{name}.sh", folder, env=env)
    assert "computed now" not in done.stderr
    assert made(folder) == before
