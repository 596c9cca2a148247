"""Walkers in several blocks that fill one bias together, one of which is cancelled in the middle."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import pytest

from tests.commands.inputs import PSIFLOW
from tests.commands.springs import START
from tests.samplers.plumed_systems import needs_kernel
from tests.slurm.test_provider import SITE, folder, run, started, units, wait_for

__all__ = ["folder"]  # a fixture
WALKERS, STEPS, PACE, HEIGHT, SIGMA = 8, 6000, 60, 0.002, 0.1
LJ = """def calculator(device, dtype):
    from ase.calculators.lj import LennardJones

    return LennardJones(sigma=0.9, epsilon=0.3, rc=4.0)
"""


def sample(steps):
    return [
        PSIFLOW, "sample", "start.xyz", "--model", "./lj.py", "--site", "slurm.toml", "--engine", "ase", "--plumed",
        "metad.dat", "--walkers", str(WALKERS), "--share-bias", "--steps", str(steps), "-o", "shared.xyz",
    ]  # fmt: skip


def hills():
    """(walker, time in fs, place, height) of each hill in shared.hills."""
    walker, rows = -1, []
    for line in Path("shared.hills").read_text().splitlines():
        if line.startswith("#! SET walker "):
            walker = int(line.split()[-1])
        elif not line.startswith("#"):
            time, place, _, height, *_ = map(float, line.split())
            rows.append((walker, round(time, 6), place, height))
    return rows


def bias(d, rows):
    """The sum of PLUMED's hills, which are stretched to end at zero where a Gaussian of width SIGMA has exp(-6.25)."""
    end = math.exp(-6.25)
    halves = [0.5 * ((d - place) / SIGMA) ** 2 for _, _, place, _ in rows]
    return sum(HEIGHT * (math.exp(-half) - end) / (1.0 - end) for half in halves if half < 6.25)


@needs_kernel
@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_cancelled_block_leaves_each_hill_once(slurm, folder):
    """In the file of all hills, and in the memory of each walker, as it feels them when it goes on."""
    ase_io = pytest.importorskip("ase.io")
    place = SITE.replace("max_blocks = 2", "max_blocks = 4").replace('"task"\n', '"task"\nenvironment = "here"\n', 1)
    Path("slurm.toml").write_text(f"{place}[environments.here]\nkeep_pythonpath = true\n")
    Path("start.xyz").write_text(START)
    Path("lj.py").write_text(LJ)
    Path("metad.dat").write_text(
        f"UNITS LENGTH=A ENERGY=eV TIME=fs\nd: DISTANCE ATOMS=1,2\n"
        f"m: METAD ARG=d PACE={PACE} SIGMA={SIGMA} HEIGHT={HEIGHT}\n"
    )
    with started(sample(STEPS)) as command:
        wait_for(lambda: len(set(units("shared.xyz"))) == WALKERS, 120, "not all walkers have moved")
        blocks = slurm.run("squeue", "-h", "-t", "running", "-o", "%i").split()
        assert len(blocks) == 4
        slurm.run("scancel", blocks[0])
        assert command.wait(300) == 0
    rows = hills()
    times = [0.5 * PACE * number for number in range(1, STEPS // PACE + 1)]
    assert [row[:2] for row in rows] == [(walker, time) for walker in range(WALKERS) for time in times]
    assert {row[3] for row in rows} == {HEIGHT}
    run(sample(STEPS + 10))
    frames = ase_io.read("shared.xyz", ":")
    last = [frame for frame in frames if frame.info["step"] == STEPS + 10]
    assert Counter(frame.info["walker"] for frame in last) == dict.fromkeys(range(WALKERS), 1)
    for frame in last:
        assert frame.info["bias_energy"] == pytest.approx(bias(frame.get_distance(0, 1, mic=True), rows), rel=1e-6)
    lost = json.dumps(
        [line for line in Path("shared.xyz.run/journal.jsonl").read_text().splitlines() if "lost" in line]
    )
    assert "walker-" in lost, "the cancelled block held no walker"
