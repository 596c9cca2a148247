"""Blocks as SLURM jobs: the same bytes as without, and nothing lost when jobs or the command die."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import warm
from tests.commands.inputs import PSIFLOW, alive, copper

SLOW = str(Path(__file__).parents[1] / "commands" / "slow_reference.py")
SITE = """
[providers.cpu]
type = "slurm"
partition = "cpu"
cores_per_node = 2
max_blocks = 2
walltime = "10 min"
status_every = 2

[resources.task]
cores = 1

[executors.default]
provider = "cpu"
resources = "task"
address = "127.0.0.1"

[use]
default = "default"
"""


@pytest.fixture
def folder(slurm, tmp_path, monkeypatch):
    """A folder with a site and frames, where commands find the cluster."""
    monkeypatch.chdir(tmp_path)
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    Path("slurm.toml").write_text(SITE)
    Path("in.xyz").write_text(copper(24))
    return tmp_path


def label(*arguments, site="slurm.toml", seconds=0.2):
    return [PSIFLOW, "label", "in.xyz", "--reference", SLOW, "--set", f"seconds={seconds}", "--site", site, *arguments]


def run(command, code=0, **options):
    done = warm.server().run(command, timeout=200, **options)
    assert done.returncode == code, done.stderr
    return done


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def noted():
    """The ids of the jobs that the command of out.xyz has on record."""
    record = Path("out.xyz.run/blocks.json")
    return list(json.loads(record.read_text())["jobs"]) if record.exists() else []


@contextmanager
def started(command):
    """A command that does not outlive a test which failed."""
    with subprocess.Popen(command) as process:
        try:
            yield process
        finally:
            process.kill()


def units(output):
    journal = Path(f"{output}.run/journal.jsonl")
    text = journal.read_text() if journal.exists() else ""
    return [json.loads(line)["id"] for line in text.splitlines() if '"kind":"unit"' in line]


def test_labels_are_those_of_the_local_site(slurm, folder):
    run(label("-o", "slurm.xyz"))
    run(label("-o", "local.xyz", site="local"))
    assert Path("slurm.xyz").read_bytes() == Path("local.xyz").read_bytes()
    assert slurm.run("squeue", "-h") == ""


def test_variables_of_the_shell_do_not_overrule_the_site(slurm, folder):
    """Two nodes, so that srun reads the memory of the script and that of the shell, which exclude each other."""
    shell = {
        "SBATCH_PARTITION": "nope", "SLURM_CLUSTERS": "elsewhere", "SQUEUE_STATES": "CD", "SQUEUE_FORMAT": "%j",
        "SLURM_MEM_PER_CPU": "500", "SBATCH_EXPORT": "NONE", "SCANCEL_STATE": "PENDING",
    }  # fmt: skip
    more = 'nodes = 2\nmemory_per_node = "2 GB"\nmax_blocks = 1'
    Path("slurm.toml").write_text(SITE.replace("max_blocks = 2", more))
    Path("in.xyz").write_text(copper(4))
    said = run(label("-o", "out.xyz"), env={**os.environ, **shell}).stderr
    assert "not passed on to jobs: SBATCH_EXPORT, SBATCH_PARTITION" in said
    assert Path("out.xyz").read_text().count("psiflow_id=") == 4
    wait_for(lambda: not slurm.run("squeue", "-h"), 60, "scancel heeded the shell")


@pytest.mark.full
def test_cancelled_blocks_are_replaced_and_nothing_is_lost(slurm, folder):
    with started(label("-o", "out.xyz", seconds=1)) as command:
        wait_for(lambda: len(units("out.xyz")) > 2, 60, "no frame was labelled")
        slurm.run("scancel", slurm.run("squeue", "-h", "-t", "running", "-o", "%i").split()[0])
        assert command.wait(150) == 0
    assert len(units("out.xyz")) == len(set(units("out.xyz"))) == 24
    assert Path("out.xyz").read_text().count("psiflow_id=") == 24


def test_a_killed_command_leaves_no_job_behind(slurm, folder):
    with started(label("-o", "out.xyz", seconds=2)) as command:
        wait_for(lambda: units("out.xyz"), 60, "no frame was labelled")
        command.send_signal(signal.SIGKILL)
    wait_for(lambda: not alive(str(Path.cwd() / "out.xyz.run")), 15, "processes are left")
    wait_for(lambda: not slurm.run("squeue", "-h"), 120, "jobs are left in the queue")


def test_what_a_killed_command_left_in_the_queue_is_cancelled(slurm, folder):
    slurm.run("scontrol", "update", "partitionname=cpu", "state=down")
    try:
        with started(label("-o", "out.xyz")) as command:
            waiting = Path("out.xyz.run/blocks.json")
            wait_for(waiting.exists, 60, "no job was submitted")
            state = json.loads(run([PSIFLOW, "status", "out.xyz", "--json"]).stdout)[0]
            assert state["state"] == "running"
            assert state["waiting"]
            assert set(state["waiting"]) <= set(slurm.run("squeue", "-h", "-o", "%i").split())
            command.send_signal(signal.SIGKILL)
        left = slurm.run("squeue", "-h", "-o", "%i").split()
        assert set(left) >= set(state["waiting"])
    finally:
        slurm.run("scontrol", "update", "partitionname=cpu", "state=up")
    run(label("-o", "out.xyz"))
    assert not set(left) & set(slurm.run("squeue", "-h", "-o", "%i").split())


def test_a_refused_submission_is_said_in_one_line(slurm, folder):
    Path("slurm.toml").write_text(SITE.replace('partition = "cpu"', 'partition = "nope"'))
    said = run(label("-o", "out.xyz"), code=69).stderr
    assert "Invalid partition name" in said
    assert len(said.strip().splitlines()) <= 2


def test_blocks_that_die_at_once_are_not_resubmitted_for_ever(slurm, folder):
    Path("slurm.toml").write_text(
        SITE.replace("status_every = 2", 'status_every = 1\nworker_init = ["echo broken >&2; exit 0"]')
    )
    said = run(label("-o", "out.xyz"), code=69).stderr
    assert re.search(r"blocks ended without finishing a task: broken \(\d on n1, ", said)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('partition = "cpu\\n#SBATCH --wrap=id"', "partition"),
        ('clusters = "a; touch pwned"', "clusters"),
        ('constraint = "a\\nb"', "constraint"),
        ('partitoin = "cpu"', "'partition'"),
        ('walltime = "soon"', "walltime"),
        ("cores_per_node = 0", "cores_per_node"),
    ],
)
def test_words_that_a_script_must_not_hold_are_refused(folder, line, what):
    key = line.split(" ")[0]
    kept = [old for old in SITE.splitlines() if not old.startswith(key + " ")]
    kept.insert(kept.index('type = "slurm"') + 1, line)
    Path("slurm.toml").write_text("\n".join(kept))
    said = run(label("-o", "out.xyz"), code=78).stderr
    assert what in said
    assert not list(folder.glob("pwned"))
    assert "providers.cpu" in said


def test_a_task_that_fits_into_no_block_is_refused(folder):
    Path("slurm.toml").write_text(SITE.replace("cores = 1", 'cores = 1\nwalltime = "1h"'))
    assert "does not fit" in run(label("-o", "out.xyz"), code=78).stderr
    assert os.listdir(".") == ["slurm.toml", "in.xyz"] or not Path("out.xyz.run").exists()
