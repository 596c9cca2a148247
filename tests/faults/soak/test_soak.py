"""A bad half hour on a cluster of eight nodes: the run ends well, nothing is lost, hardly anything is done twice.

python -m pytest tests/faults/soak --full -s [--soak MINUTES] [--soak-seed NUMBER]
"""

from __future__ import annotations

import math
import os
import random
import stat
import sys
import time
from pathlib import Path

import pytest

from tests.commands.inputs import PSIFLOW, copper
from tests.faults.soak import chaos
from tests.slurm.conftest import slurm

__all__ = ["slurm"]  # a fixture
SITE = """
[providers.cluster]
type = "slurm"
partition = "cpu,gpu"
cores_per_node = 16
max_blocks = 8
walltime = "10 min"
status_every = 3

[resources.task]
cores = 8
walltime = "90 s"

[executors.default]
provider = "cluster"
resources = "task"
address = "127.0.0.1"

[use]
default = "default"
"""
SLOTS = 16


@pytest.mark.full
@pytest.mark.timeout(0)
def test_a_bad_day(slurm, tmp_path, monkeypatch, request):
    minutes = request.config.getoption("--soak")
    seed = request.config.getoption("--soak-seed") or random.randrange(10**6)
    longest = min(60.0, 6.0 * minutes)
    mean = (longest - 1) / math.log(longest)  # of a logarithmic distribution
    frames = int(SLOTS * 60 * minutes / mean * 0.7)
    print(f"\nsoak of {minutes:g} min, seed {seed}: {frames} frames of 1 to {longest:g} s")

    monkeypatch.chdir(tmp_path)
    moods = tmp_path / "moods"
    moods.mkdir()
    for name in ("sbatch", "squeue", "sacct", "scancel"):
        program = moods / name
        program.write_text(f"#!{sys.executable}\n" + Path(chaos.__file__).with_name("moody_queue.py").read_text())
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    path = os.environ["PATH"]
    Path("site.toml").write_text(SITE)
    Path("in.xyz").write_text(copper(frames))
    reference = Path(chaos.__file__).with_name("sleeper.py")
    command = [
        "env", f"PATH={moods}:{path}", PSIFLOW, "label", "in.xyz", "--reference", str(reference),
        "--set", f"longest={longest}", "--site", "./site.toml", "-o", "out.xyz",
    ]  # fmt: skip

    run = chaos.Run(command, "out.xyz", slurm, moods)
    trouble = chaos.Chaos(run, seed, pace=min(20.0, 5.0 * minutes), stall=min(300.0, 10.0 * minutes))
    begin = time.time()
    run.start()
    try:
        trouble.until(begin + 60 * minutes)
        calm = time.time()
        while run.look() and time.time() < calm + max(300, 45 * minutes):
            time.sleep(0.5)
        assert run.process.poll() is not None, "it does not come to an end, though all is well again"
    finally:
        took = time.time() - begin
        run.process.kill()
        jobs, there = chaos.left(str(tmp_path / "out.xyz.run"), slurm, 60)
        sleeps, journal = run.sleeps(), run.journal()
        explained, other = chaos.repeats(sleeps, trouble.deaths)
        ended = sum(what == "end" for what, *_ in sleeps)
        print(f"events: {dict(run.count)}")
        print(
            f"{took:.0f} s; {len(journal)} of {frames} frames in the journal, {max(journal.values(), default=0)} times"
        )
        print(f"begun {len(sleeps) - ended}, ended {ended}")
        print(f"repeated: {len(explained)} with dead blocks, {len(other)} without")
        print(f"at most in flight at {sum(map(len, trouble.deaths.values()))} deaths of jobs: 2 each")
        print(f"left: jobs {jobs}, processes {sorted(there)}; ended unasked: {len(run.unasked)}")
        for code, words in run.unasked:
            print(f"  exit code {code}: ...{words.strip()}")
        print(f"repeated without a death: {other[:20]}")
    assert run.process.returncode == 0
    assert run.unasked == []
    assert set(journal.values()) == {1}
    assert len(journal) == frames
    assert Path("out.xyz").read_text().count("psiflow_id=") == frames
    assert (jobs, there) == ([], set())
    assert other == []
    assert len(explained) <= 2 * sum(map(len, trouble.deaths.values()))
