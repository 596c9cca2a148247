"""Launch templates of shipped sites inside a block, which is one SLURM task with many cores."""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path

import pytest

from psiflow_cli.site import load
from tests.commands.inputs import PSIFLOW, copper
from tests.slurm.test_provider import folder, run

__all__ = ["folder"]  # a fixture

LAUNCH = """
import json, subprocess, sys
from psiflow_cli.worker.process import launcher
context = json.loads(sys.argv[1])
argv = [*launcher.prefix(context), "printenv", "SLURM_PROCID", "OMP_NUM_THREADS"]
done = subprocess.run(argv, env=launcher.environment(context), capture_output=True, text=True, timeout=60)
print(json.dumps([done.returncode, done.stdout, done.stderr]))
"""


@pytest.mark.parametrize(("ranks", "threads"), [(4, 1), (2, 2)])
def test_srun_starts_the_ranks_that_lumi_is_asked_for(slurm, tmp_path: Path, root: Path, ranks, threads) -> None:
    launch = load.parse(root / "site.d" / "lumi.toml").resources["singlepoint"].launch
    context = json.dumps({"launch": launch, "ranks": ranks, "threads": threads})
    (tmp_path / "launch.py").write_text(LAUNCH)
    script = tmp_path / "block.sh"
    command = shlex.join([sys.executable, str(tmp_path / "launch.py"), context])
    script.write_text(
        f"#!/bin/bash\n#SBATCH --nodes=1 --ntasks-per-node=1 --cpus-per-task=4 --time=2\ncd {root}\n{command}\n"
    )
    output = tmp_path / "out.json"
    slurm.run("sbatch", f"--output={output}", str(script))
    deadline = time.monotonic() + 60
    while not (output.exists() and output.read_text().endswith("]\n")):
        assert time.monotonic() < deadline, output.read_text() if output.exists() else "the job did not run"
        time.sleep(0.2)
    code, out, err = json.loads(output.read_text())
    assert code == 0, err
    assert sorted(out.split()) == sorted([*map(str, range(ranks)), *[str(threads)] * ranks])


STEPS = """
import json, subprocess, sys, time
from pathlib import Path
from psiflow_cli.worker.process import launcher

SUMMARY, REQUIRES, FRAME_INPUTS, DEFAULT_TASK_SECONDS = "x", (), (), 0
def settings(input_file, options): return {}
def check(settings, elements): pass
def label(frames, settings, context):
    argv = [*launcher.prefix(context), "sh", "-c", "echo $SLURMD_NODENAME $SLURM_PROCID; sleep 2"]
    start = time.time()
    done = subprocess.run(argv, env=launcher.environment(context), capture_output=True, text=True, timeout=60)
    ranks = sorted(line.split()[-2:] for line in done.stdout.splitlines())
    with open("SEEN", "a") as stream:
        print(json.dumps([start, time.time(), done.returncode, ranks, done.stderr]), file=stream)
    return [{"energy": 0.0, "forces": [[0.0] * 3] * 4, "stress": None} for _ in frames]
"""
SITE = """
[providers.two]
type = "slurm"
partition = "cpu"
cores_per_node = 4
memory_per_node = "4 GB"
nodes = 2
walltime = "10 min"
status_every = 2
[resources.task]
ranks = 2
cores = 2
launch = "srun -n {ranks}"
[executors.default]
provider = "two"
resources = "task"
address = "127.0.0.1"
[use]
default = "default"
"""


def test_srun_starts_tasks_side_by_side_each_on_its_workers_node(slurm, folder) -> None:
    """In a block of two nodes with two workers each, whose pools are a step of the same job themselves."""
    Path("in.xyz").write_text(copper(8))
    Path("mine.py").write_text(STEPS.replace("SEEN", f"{folder}/seen"))
    Path("two.toml").write_text(SITE)
    run([PSIFLOW, "label", "in.xyz", "--reference", "./mine.py", "--site", "two.toml", "-o", "out.xyz"])
    seen = [json.loads(line) for line in Path("seen").read_text().splitlines()]
    assert [row[2] for row in seen] == [0] * 8, seen
    nodes = [{node for node, _ in row[3]} for row in seen]
    assert all(len(node) == 1 for node in nodes), "a task is spread over nodes"
    assert len(set.union(*nodes)) == 2
    assert all([rank for _, rank in row[3]] == ["0", "1"] for row in seen)
    at_once = [sum(other[0] < row[1] - 0.5 and row[0] < other[1] - 0.5 for other in seen) for row in seen]
    assert max(at_once) >= 4, "steps waited for each other"
