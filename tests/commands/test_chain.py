"""The loop through pipes: sample, label what was sampled, judge the model by it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.commands.inputs import PSIFLOW, WATER

np = pytest.importorskip("numpy")
ase_io = pytest.importorskip("ase.io", reason="the frames are read with ase")

CHAIN = """set -eo pipefail
"$PSIFLOW" sample start.xyz --model "$MODEL" --steps 40 --every 10 --walkers 2 --seed 1 -o - |
    "$PSIFLOW" label - --reference xtb -o - |
    "$PSIFLOW" evaluate - --model "$MODEL" -o - >evaluated.xyz
"""


@pytest.fixture
def chain(trained):
    """Run the three through pipes; returns what they said on stderr."""

    def run():
        env = {**os.environ, "PSIFLOW": PSIFLOW, "MODEL": trained.model}
        done = subprocess.run(["bash", "-c", CHAIN], env=env, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stderr
        return done.stderr

    return run


@pytest.mark.full
def test_sample_label_evaluate(psiflow, chain, trained):
    tblite = pytest.importorskip("tblite.ase", reason="the xtb reference needs tblite")
    from mace.calculators import MACECalculator

    Path("start.xyz").write_text(WATER)
    said = chain()
    frames = ase_io.read("evaluated.xyz", ":")
    assert [(a.info["walker"], a.info["step"]) for a in frames] == [(w, s) for w in (0, 1) for s in (10, 20, 30, 40)]
    model = MACECalculator(model_paths=f"{trained.model}/member-0/mace.model", device="cpu", default_dtype="float64")
    errors = []
    for atoms in frames:
        label, forces = atoms.get_potential_energy(), atoms.get_forces()
        predicted = atoms.info["model_energy"]
        errors.append(1e3 * (predicted - label) / len(atoms))
        atoms.calc = model
        assert predicted == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
        assert atoms.arrays["model_forces"] == pytest.approx(atoms.get_forces(), abs=1e-8)
        atoms.calc = tblite.TBLite(method="GFN1-xTB", verbosity=0)
        assert label == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
        assert forces == pytest.approx(atoms.get_forces(), abs=1e-5)
        assert atoms.info["psiflow_reference"].startswith("xtb-")
        assert len(atoms.info["psiflow_id"]) == 16
    row = next(line for line in said.splitlines() if line.startswith("energy"))
    assert float(row.split()[1]) == pytest.approx(np.sqrt(np.mean(np.square(errors))), abs=5e-4)

    sampled = ase_io.read(next(Path(".psiflow").glob("sample-*")) / "output.xyz", ":")
    for before, after in zip(sampled, frames, strict=True):  # what the walkers saw is what evaluate says
        assert after.info["model_energy"] == pytest.approx(before.info["model_energy"], abs=1e-8)
        assert after.info["temperature"] == before.info["temperature"]

    first = Path("evaluated.xyz").read_bytes()
    assert chain().count("is up to date") == 3
    assert Path("evaluated.xyz").read_bytes() == first
    runs = json.loads(psiflow("status", "--json").stdout)
    assert sorted(run["command"] for run in runs) == ["evaluate", "label", "sample"]
    assert {run["state"] for run in runs} == {"done"}
    assert all(run.stat().st_mode & 0o777 == 0o700 for run in Path(".psiflow").iterdir())
