"""What the queue says: why jobs wait, when waiting ends, who asks it how often, and what jobs have cost."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.commands.inputs import PSIFLOW
from tests.slurm.test_faults import site
from tests.slurm.test_provider import folder, label, noted, run, wait_for
from tests.slurm.test_site_check import check

__all__ = ["folder"]  # a fixture


def status(*names):
    return json.loads(run([PSIFLOW, "status", *names, "--json"]).stdout)


def test_a_held_job_is_shown_and_ends_the_run_after_a_while(slurm, folder):
    site(sbatch=["--hold"], max_blocks=1)
    with Path("slurm.toml").open("a") as file:
        file.write('\n[run]\nqueue_patience = "12 s"\n')
    run([PSIFLOW, "status"])  # the first of these takes a while, and patience is short
    with subprocess.Popen(label("-o", "out.xyz"), stderr=subprocess.PIPE, text=True) as command:
        wait_for(noted, 60, "no block")
        wait_for(lambda: status("out.xyz")[0]["blocks"][0]["reason"], 20, "no reason")
        (block,) = status("out.xyz")[0]["blocks"]
        assert block["reason"] == "JobHeldUser (held by its user)"
        assert block["reason"] in run([PSIFLOW, "status", "out.xyz"]).stdout
        assert command.wait(60) == 69
        said = command.stderr.read()
    assert f"no job can start: job {block['job']}: JobHeldUser (held by its user)" in said
    assert "queue_patience" in said
    assert slurm.run("squeue", "-h") == ""


def test_what_may_pass_is_waited_for_and_three_commands_ask_once(slurm, folder, monkeypatch):
    """A partition that is down is up again; then all that the jobs cost is what SLURM itself counts."""
    (folder / "bin").mkdir()
    for program in ("squeue", "sacct"):
        script = folder / "bin" / program
        script.write_text(f'#!/bin/sh\necho "$0 $*" >> {folder}/asked\nPATH=${{PATH#*:}} exec {program} "$@"\n')
        script.chmod(0o755)
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{folder}/bin:{path}")
    site(status_every=4, max_blocks=1)
    with Path("slurm.toml").open("a") as file:
        file.write('\n[run]\nqueue_patience = "1 s"\n')
    slurm.run("scontrol", "update", "partitionname=cpu", "state=down")
    begun = time.monotonic()
    commands = [subprocess.Popen(label("-o", f"{n}.xyz", seconds=0.5)) for n in range(3)]
    runs = [f"{n}.xyz.run" for n in range(3)]
    try:
        blocks = [Path(name, "blocks.json") for name in runs]
        told = lambda: all(block.exists() and "PartitionDown" in block.read_text() for block in blocks)  # noqa: E731
        wait_for(told, 60, "no reason")
        assert [each["eta_s"] for each in status(*runs)] == [None] * 3
        assert "queued" in run([PSIFLOW, "status", runs[0]]).stdout
        jobs = {job for each in status(*runs) for job in each["waiting"]}
        time.sleep(2)
    finally:
        slurm.run("scontrol", "update", "partitionname=cpu", "state=up")
        codes = [command.wait(120) for command in commands]
    assert codes == [0, 0, 0]
    asked = Path("asked").read_text().splitlines()
    assert len(asked) <= 2 + (time.monotonic() - begun) / 4, "\n".join(asked)
    lines = slurm.run("squeue", "-h", "-t", "all", "-o", "%i %C %M").splitlines()
    times = {job: int(cores) * _seconds(clock) for job, cores, clock in map(str.split, lines)}
    cost = sum(each["core_hours"] for each in status(*runs)) * 3600
    # SLURM counts whole seconds, and a job ends some time after it was cancelled
    assert cost == pytest.approx(sum(times[job] for job in jobs), abs=2 * 4 * len(jobs))
    assert all(each["rate_per_s"] > 0.5 for each in status(*runs)), "the wait for the partition is no part of it"


def _seconds(clock):
    minutes, seconds = clock.split(":")
    return 60 * int(minutes) + int(seconds)


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ({"cores_per_node": 40}, "cores_per_node: 40 requested, but partition 'cpu' has 16 cores on a node"),
        ({"memory_per_node": "20 GB"}, "20480 requested, but partition 'cpu' has 16000 MB on a node"),
        ({"gpus_per_node": 3, "partition": "gpu"}, "3 requested, but partition 'gpu' has 2 GPUs on a node"),
        ({"nodes": 7}, "nodes: 7 requested, but partition 'cpu' has 6 nodes for a job"),
        ({"constraint": "skylake"}, "sbatch --test-only: Invalid feature specification"),
        ({"sbatch": ["--no-such-option"]}, "sbatch --test-only: sbatch: unrecognized option '--no-such-option'"),
    ],
)
def test_site_check_gives_the_numbers_and_the_words_of_sbatch(slurm, folder, keys, what):
    site(**keys)
    assert what in check("slurm.toml", code=78)
    assert slurm.run("squeue", "-h") == "", "nothing was submitted"


def test_a_controller_that_does_not_answer_is_no_fault_of_the_site(slurm, folder, monkeypatch):
    stub = folder / "sinfo"  # the cluster is for all tests: its own controller must not stop
    words = "sinfo: error: Unable to contact slurm controller (connect failure)"
    stub.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    done = run([PSIFLOW, "site", "check", "slurm.toml"], code=69)
    assert f"psiflow: {words}" in done.stderr
    assert "is this a login node of the cluster?" in done.stderr
    assert done.stdout == f"default: good\ndefault: note: not checked by its batch system: {words}\n"
    # what can be seen without the controller is told all the same
    text = Path("slurm.toml").read_text()
    Path("slurm.toml").write_text(text.replace("[resources.task]", '[resources.task]\nwalltime = "30h"'))
    done = run([PSIFLOW, "site", "check", "slurm.toml"], code=78)
    assert "default: [resources.task] walltime: 30h does not fit into a block of [providers." in done.stdout
