"""The CPUs of tasks: under mpirun, those that share a node get disjoint ones."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.commands import inputs
from tests.commands.test_label_cp2k import TEMPLATE, WATER

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two tasks at once need two cores")
SITE = """
[providers.here]
type = "local"
[resources.singlepoint]
cores = 1
launch = "{launch}"
executable = "{program}"
[executors.default]
provider = "here"
resources = "singlepoint"
tasks_per_node = 2
[use]
default = "default"
"""
PROGRAM = """#!/bin/sh
[ "$1" = --check ] || grep Cpus_allowed_list /proc/$$/status >> {seen}
exec cp2k.psmp "$@"
"""


SEEN = (
    '"""Records its CPUs."""\nimport os\n'
    + inputs.REFERENCE
    + """def label(frames, settings, context):
    with open(settings["seen"], "w") as stream:
        print(*sorted(os.sched_getaffinity(0)), file=stream)
    return [{"energy": 0.0, "forces": [[0.0] * 3] * 4, "stress": None, "code": "-"} for _ in frames]
"""
)


def test_the_only_task_of_a_command_is_not_bound_to_the_first_cpu(psiflow, tmp_path):
    Path("mine.py").write_text(SEEN)
    Path("in.xyz").write_text(inputs.copper(1))
    psiflow("label", "in.xyz", "--reference", "./mine.py", "--set", f"seen={tmp_path}/seen")
    assert Path("seen").read_text().split() == [str(cpu) for cpu in sorted(os.sched_getaffinity(0))]


@pytest.mark.skipif(not shutil.which("cp2k.psmp"), reason="cp2k.psmp is not installed")
@pytest.mark.skipif(not shutil.which("mpirun"), reason="mpirun is not installed")
@pytest.mark.parametrize("binding", ["", "--cpu-list {cpus} --bind-to cpu-list:ordered"])
def test_two_at_once_share_no_core(psiflow, tmp_path, binding):
    launch = f"mpirun -np {{ranks}} {binding}".strip()
    if binding:
        version = subprocess.run(["mpirun", "--version"], capture_output=True, text=True, check=True).stdout
        if not re.search(r"Open MPI\) [1-4]\.", version):
            pytest.skip("--cpu-list is an option of Open MPI up to 4")
    program, seen = tmp_path / "program", tmp_path / "seen"
    program.write_text(PROGRAM.format(seen=seen))
    program.chmod(0o755)
    Path("site.toml").write_text(SITE.replace("{launch}", launch).replace("{program}", str(program)))
    Path("cp2k.inp").write_text(TEMPLATE)
    Path("in.xyz").write_text("".join(WATER.format(x=0.95 + 0.01 * i) for i in range(4)))
    psiflow("label", "in.xyz", "--reference", "cp2k", "--input", "cp2k.inp", "--site", "site.toml")
    cores = {line.split()[1] for line in seen.read_text().splitlines()}
    assert len(cores) == 2, "two workers must have been at work"
    assert all(core.isdigit() for core in cores), "a task of one core has one core"
