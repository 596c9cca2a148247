"""Rounds whose walkers live on under a bias with a memory: PLUMED's own library, in every round and after a kill."""

from __future__ import annotations

import json
import os
import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.recipes.conftest import LOOP, PROJECT, Recipe, made, prepare
from tests.recipes.test_online_learning import kill

pytestmark = pytest.mark.skipif(not os.environ.get("PLUMED_KERNEL"), reason="needs PLUMED (PLUMED_KERNEL)")
BIAS = """UNITS LENGTH=A ENERGY=eV
near: DISTANCE ATOMS=1,2
far: DISTANCE ATOMS=3,4
METAD ARG=near PACE=10 SIGMA=0.1 HEIGHT=0.01 BIASFACTOR=5 TEMP=300 FILE=HILLS
RESTRAINT ARG=far AT=@AT@ KAPPA=@ROUND@
PRINT ARG=near,far STRIDE=5 FILE=COLVAR
"""
ROUNDS = (
    "ROUNDS=3\nFRAMES=5\nCONTINUE=yes\nRESET=forces:2000\nTEMPERATURE=100:500\nPLUMED=bias.dat\nVARY=(AT=3.2:3.6)\n"
)


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_a_bias_lives_on_through_the_rounds_and_a_kill(
    start: Path, cheap: dict[str, str], recipe: Recipe, root: Path, tmp_path: Path
) -> None:
    quiet = prepare(tmp_path / "quiet", LOOP + ROUNDS)
    killed = prepare(tmp_path / "killed", LOOP + ROUNDS)
    for folder in (quiet, killed):
        (folder / "bias.dat").write_text(BIAS)
        (folder / "psiflow.toml").write_text(
            PROJECT.replace("walkers = 2", "walkers = 1") + "[sample.round-3]\nsteps = 60\n"
        )
    done = recipe("online-learning.sh", start, quiet, env=cheap)
    rounds = [quiet / f"round-{k}" for k in (1, 2, 3)]
    assert [re.findall("AT=(.*) KAPPA=(.*)", (quiet / f"round-{k}.bias.dat").read_text()) for k in (1, 2, 3)] == [
        [("3.2", "1")], [("3.4", "2")], [("3.6", "3")]
    ]  # fmt: skip
    counts = [sum(line[:1] != "#" for line in (each / "samples.hills").open()) for each in rounds]
    assert counts == [12, 24, 30]
    for before, after in pairwise(rounds):
        assert hills(after)[: len(hills(before))] == hills(before)
    temperatures = [json.loads((each / "samples.xyz.run" / "run.json").read_text())["argv"] for each in rounds]
    assert [argv[argv.index("--temperature") + 1] for argv in temperatures] == ["100", "300", "500"]
    assert "--hills" not in done.stderr.split("round-1/samples.xyz")[0]

    for sign in ("round-2/samples.xyz.run/journal.jsonl", "round-3/samples.xyz.run/journal.jsonl"):
        kill(root, cheap, start, killed, sign)
    recipe("online-learning.sh", start, killed, env=cheap)
    assert made(killed) == made(quiet)
    for before, after in zip(rounds, (killed / f"round-{k}" for k in (1, 2, 3)), strict=True):
        assert (before / "samples.hills").read_bytes() == (after / "samples.hills").read_bytes()


def hills(folder: Path) -> list[list[str]]:
    return [line.split()[1:] for line in (folder / "samples.hills").open() if not line.startswith("#")]
